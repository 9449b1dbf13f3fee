//! Running sources and looking at what they gave with FFmpeg's tools.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lucid_capture::{
    Fragment, HardwareEncoder, InitSegment, MediaEvent, SourceError, SourceUri, Stream,
    StreamOptions, fmp4,
};

/// Long enough for a busy machine; only a test that fails waits for so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn options() -> StreamOptions {
    let hardware = HardwareEncoder::None { reason: "this board has no H.264 encoder".to_owned() };
    StreamOptions::new(lucid_capture::probe_encoders(&hardware, None).unwrap())
}

pub fn open(uri: &str, options: &StreamOptions) -> Result<Stream, SourceError> {
    lucid_capture::open(&SourceUri::parse(uri).unwrap(), options)
}

pub fn file_uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Everything a run gave.
#[derive(Debug, Default)]
pub struct Taken {
    pub events: Vec<MediaEvent>,
}

impl Taken {
    pub fn inits(&self) -> Vec<&InitSegment> {
        self.events
            .iter()
            .filter_map(|e| if let MediaEvent::Init(i) = e { Some(i) } else { None })
            .collect()
    }

    pub fn fragments(&self) -> Vec<&Fragment> {
        self.events
            .iter()
            .filter_map(|e| if let MediaEvent::Fragment(f) = e { Some(f) } else { None })
            .collect()
    }

    pub fn failure(&self) -> Option<&SourceError> {
        self.events.iter().find_map(|e| if let MediaEvent::Failed(e) = e { Some(e) } else { None })
    }

    pub fn ended(&self) -> bool {
        matches!(self.events.last(), Some(MediaEvent::Ended))
    }

    /// Total length of the pictures, microseconds.
    pub fn length_us(&self) -> u64 {
        self.fragments().iter().map(|f| f.duration_us).sum()
    }

    /// Asserts what must hold for every source: an init segment first, fragments that say of
    /// themselves what is said of them, each starting where the one before ended, times from 0,
    /// wall clock rising.
    pub fn check(&self) {
        assert!(matches!(self.events.first(), Some(MediaEvent::Init(_))), "{:?}", self.events);
        let mut end = 0;
        let mut clock = 0;
        let mut tracks = Vec::new();
        for event in &self.events {
            match event {
                MediaEvent::Init(init) => {
                    assert_eq!(fmp4::parse_init(&init.bytes).unwrap(), init.tracks);
                    tracks = init.tracks.clone();
                }
                MediaEvent::Fragment(fragment) => {
                    let info = fmp4::inspect(&fragment.bytes, &tracks).unwrap();
                    assert_eq!(info.start_us, fragment.start_us);
                    assert_eq!(info.duration_us, fragment.duration_us);
                    assert_eq!(info.keyframe, fragment.keyframe);
                    assert_eq!(fragment.start_us, end, "fragments follow on each other");
                    end += i64::try_from(fragment.duration_us).unwrap();
                    assert!(fragment.captured_at_us > clock, "the clock goes on");
                    clock = fragment.captured_at_us;
                }
                MediaEvent::Lost(lost) => end += i64::try_from(lost.duration_us).unwrap(),
                MediaEvent::Ended | MediaEvent::Failed(_) => {}
            }
        }
        assert!(self.fragments().first().is_some_and(|f| f.keyframe && f.start_us == 0));
    }

    /// Init segment and fragments, one after the other, as a file.
    pub fn write(&self, path: &Path) {
        let mut bytes = Vec::new();
        for event in &self.events {
            match event {
                MediaEvent::Init(init) => bytes.extend_from_slice(&init.bytes),
                MediaEvent::Fragment(fragment) => bytes.extend_from_slice(&fragment.bytes),
                _ => {}
            }
        }
        std::fs::write(path, bytes).unwrap();
    }

    /// `codec,frames` of each stream as FFmpeg decodes it; any complaint of FFmpeg fails.
    pub fn decode(&self) -> Vec<(String, usize)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("media.mp4");
        self.write(&path);
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-count_frames", "-show_entries"])
            .args(["stream=codec_name,nb_read_frames", "-of", "csv=p=0"])
            .arg(&path)
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{complaints}");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| {
                let (codec, frames) = line.split_once(',').unwrap();
                (codec.to_owned(), frames.parse().unwrap())
            })
            .collect()
    }
}

/// Takes events until `done`, the end, or [`PATIENCE`]; the last event is part of what is returned.
pub fn take(stream: &mut Stream, mut done: impl FnMut(&Taken) -> bool) -> Taken {
    let deadline = Instant::now() + PATIENCE;
    let mut taken = Taken::default();
    while !done(&taken) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "not done in time: {taken:?}");
        match stream.next(left) {
            Some(event) => taken.events.push(event),
            None => break,
        }
    }
    taken
}

/// Takes this many fragments, then stops and adds what was still held.
pub fn record(mut stream: Stream, fragments: usize) -> Taken {
    let mut taken = take(&mut stream, |t| t.fragments().len() >= fragments);
    taken.events.extend(stream.stop());
    taken
}

/// How a source ends that cannot be opened or fails soon after.
pub fn failure(uri: &str, options: &StreamOptions) -> SourceError {
    let mut stream = match open(uri, options) {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    let taken = take(&mut stream, |t| t.failure().is_some());
    taken.failure().cloned().unwrap_or_else(|| panic!("it does not fail: {taken:?}"))
}
