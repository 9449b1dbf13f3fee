//! Prints the events of a source and writes its init segment and fragments to a file: `fragments
//! URI SECONDS OUT`.

use std::io::Write;
use std::time::{Duration, Instant};

use lucid_capture::{HardwareEncoder, MediaEvent, SourceUri, StreamOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let uri = SourceUri::parse(&args.next().ok_or("usage: fragments URI SECONDS OUT")?)?;
    let seconds: u64 = args.next().ok_or("seconds?")?.parse()?;
    let mut out = std::fs::File::create(args.next().ok_or("out?")?)?;
    let hardware = HardwareEncoder::None { reason: "the board was not probed".to_owned() };
    let options = StreamOptions::new(lucid_capture::probe_encoders(&hardware, None)?);
    let mut stream = lucid_capture::open(&uri, &options)?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut show = |event: &MediaEvent| -> std::io::Result<()> {
        println!("{event:?}");
        match event {
            MediaEvent::Init(init) => out.write_all(&init.bytes),
            MediaEvent::Fragment(fragment) => out.write_all(&fragment.bytes),
            _ => Ok(()),
        }
    };
    while Instant::now() < deadline && !stream.is_over() {
        if let Some(event) = stream.next(Duration::from_millis(500)) {
            show(&event)?;
        }
    }
    for event in stream.stop() {
        show(&event)?;
    }
    Ok(())
}
