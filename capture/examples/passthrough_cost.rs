//! What recording RTSP by passthrough costs, next to `gst-launch-1.0` receiving and writing the
//! same stream.
//!
//! `passthrough_cost [SECONDS]` starts a 1080p30 camera of 4 Mbit/s in a process of its own, then
//! measures processor time over the same number of seconds for `gst-launch-1.0`, for one stream of
//! ours, and for 16; memory too. Both write what they receive to a file. Prints ratios.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lucid_capture::{HardwareEncoder, MediaEvent, SourceUri, StreamOptions};
use lucid_tests::camera::{Camera, CameraOptions, Picture, clip};

/// Time for connecting and the first keyframe before measuring begins, seconds.
const WARM_UP: u64 = 4;
/// Streams of the second measurement.
const MANY: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", path] => serve(Path::new(path)),
        ["take", uri, count, out] => take(uri, count.parse()?, Path::new(out)),
        [] => measure(20),
        [seconds] => measure(seconds.parse()?),
        _ => Err("usage: passthrough_cost [SECONDS]".into()),
    }
}

fn serve(path: &Path) -> Result<(), Box<dyn Error>> {
    let options = CameraOptions::new(Picture::Clip(path.to_owned()));
    let camera = Camera::start(options).map_err(|e| e.to_string())?;
    println!("{}", camera.uri());
    // Ends when the measuring process closes our input.
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn take(uri: &str, count: usize, out: &Path) -> Result<(), Box<dyn Error>> {
    let hardware = HardwareEncoder::None { reason: "not needed".to_owned() };
    let options = StreamOptions::new(lucid_capture::probe_encoders(&hardware, None)?);
    let uri = SourceUri::parse(uri)?;
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let (uri, options) = (uri.clone(), options.clone());
            let path = out.with_extension(n.to_string());
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut file = std::fs::File::create(path)?;
                let mut stream =
                    lucid_capture::open(&uri, &options).map_err(std::io::Error::other)?;
                loop {
                    match stream.next(Duration::from_secs(5)) {
                        Some(MediaEvent::Init(init)) => file.write_all(&init.bytes)?,
                        Some(MediaEvent::Fragment(fragment)) => file.write_all(&fragment.bytes)?,
                        Some(MediaEvent::Lost(lost)) => println!("{lost:?}"),
                        other => {
                            println!("{other:?}");
                            return Err(std::io::Error::other("a stream broke off"));
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a taker panicked")??;
    }
    Ok(())
}

/// A child that is killed when it is no longer needed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(seconds: u64) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("clip.mp4");
    // Long enough for all three measurements.
    let rounds = u32::try_from(3 * (seconds + WARM_UP) / 10 + 3)?;
    clip(&path, (1920, 1080), 30, 4000, rounds).map_err(|e| e.to_string())?;
    let kbps = std::fs::metadata(&path)?.len() * 8 / 10 / 1000 / u64::from(rounds);
    let this = std::env::current_exe()?;
    let mut server = Running(
        Command::new(&this)
            .args(["serve".as_ref(), path.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut uri = String::new();
    let stdout = server.0.stdout.take().ok_or("no output")?;
    BufReader::new(stdout).read_line(&mut uri)?;
    let uri = uri.trim();
    println!("camera: 1920x1080, 30 pictures/s, {kbps} kbit/s; {seconds} s each");

    let out = directory.path().join("gst.mp4");
    let gst = {
        let child = Command::new("gst-launch-1.0")
            .args([
                "-q",
                "rtspsrc",
                &format!("location={uri}"),
                "protocols=tcp",
                "latency=100",
                "!",
            ])
            .args(["rtph264depay", "!", "h264parse", "!", "mp4mux", "!", "filesink"])
            .arg(format!("location={}", out.display()))
            .spawn()?;
        cost(&mut Running(child), seconds)?
    };
    println!("gst-launch-1.0: {gst}");
    for count in [1, MANY] {
        let out = directory.path().join("ours.mp4");
        let child =
            Command::new(&this).args(["take", uri, &count.to_string()]).arg(&out).spawn()?;
        let ours = cost(&mut Running(child), seconds)?;
        let received: u64 = (0..count)
            .map(|n| std::fs::metadata(out.with_extension(n.to_string())).map_or(0, |m| m.len()))
            .sum();
        let expected = kbps * 125 * (seconds + WARM_UP) * u64::try_from(count)?;
        println!("received {} % of what the camera sends in that time", received * 100 / expected);
        let ratio = ours.cpu_ms / gst.cpu_ms / f64::from(u32::try_from(count)?);
        println!("{count} of ours: {ours}; processor time per stream {ratio:.2} of gst-launch-1.0");
    }
    Ok(())
}

struct Cost {
    cpu_ms: f64,
    resident_kib: u64,
    threads: usize,
    seconds: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0} ms of processor time ({:.2} %), {} MiB resident, {} threads",
            self.cpu_ms,
            self.cpu_ms / self.seconds / 10.0,
            self.resident_kib / 1024,
            self.threads
        )
    }
}

fn cost(child: &mut Running, seconds: u64) -> Result<Cost, Box<dyn Error>> {
    let process = format!("/proc/{}", child.0.id());
    std::thread::sleep(Duration::from_secs(WARM_UP));
    let before = cpu_ns(&process)?;
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, threads) = cpu_ns(&process)?;
    let status = std::fs::read_to_string(format!("{process}/status"))?;
    let resident = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .ok_or("no VmHWM")?;
    Ok(Cost {
        cpu_ms: (after - before.0) as f64 / 1e6,
        resident_kib: resident,
        threads,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Time its threads have run, nanoseconds, and their number.
fn cpu_ns(process: &str) -> Result<(u64, usize), Box<dyn Error>> {
    let mut sum = 0;
    let mut threads = 0;
    for task in std::fs::read_dir(format!("{process}/task"))? {
        let path = task?.path().join("schedstat");
        if let Ok(text) = std::fs::read_to_string(path) {
            sum += text.split(' ').next().unwrap_or("0").parse::<u64>()?;
            threads += 1;
        }
    }
    Ok((sum, threads))
}
