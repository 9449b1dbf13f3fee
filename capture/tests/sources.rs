//! Sources on this machine: the demo picture, files good and bad, screens, devices that are not
//! there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{PATIENCE, failure, file_uri, open, options, record, take};
use lucid_capture::{EncoderPlan, LossReason, MediaEvent, SourceError, TrackKind};
use lucid_tests::fixture;

const STREET: &str = "street-640x272-10s.mp4";
const FILM: &str = "film-1280x720-5s-aac.mp4";

#[test]
fn the_demo_picture_gives_even_fragments_with_sound() {
    let taken = record(open("test://?width=320&height=240&fps=10&audio=1", &options()).unwrap(), 3);
    taken.check();
    let init = taken.inits()[0];
    assert_eq!(taken.inits().len(), 1);
    assert!(init.tracks[0].codec.starts_with("avc1.") && init.tracks[1].codec == "mp4a.40.2");
    assert_eq!((init.tracks[0].width, init.tracks[0].height), (320, 240));
    assert!(!init.encoder.hardware && !init.encoder.passthrough);
    assert!(init.encoder.reason.contains("this board has no H.264 encoder"));
    for fragment in taken.fragments().iter().take(3) {
        assert!(fragment.keyframe && fragment.duration_us == 800_000, "{fragment:?}");
    }
    let decoded = taken.decode();
    assert_eq!(decoded[0].0, "h264");
    assert_eq!(decoded[0].1 as u64, taken.length_us() / 100_000);
    assert!(decoded[1].0 == "aac" && decoded[1].1 > 100, "{decoded:?}");
}

#[test]
fn the_demo_picture_says_that_it_is_one() {
    let taken = record(open("test://?width=640&height=360&fps=10", &options()).unwrap(), 1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("demo.mp4");
    taken.write(&path);
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    assert_eq!(output.stdout.len(), 640 * 360);
    // Right of the white bar only letters are white, and they stand in the middle.
    let white = |from: usize, to: usize| {
        let rows = output.stdout[from * 640..to * 640].chunks(640);
        rows.flat_map(|row| &row[100..]).filter(|p| **p > 235).count()
    };
    assert!(white(140, 220) > 300, "{}", white(140, 220));
    assert!(white(0, 100) == 0, "{}", white(0, 100));
}

#[test]
fn without_sound_means_without_sound() {
    let mut quiet = options();
    quiet.audio = false;
    let taken = record(open("test://?width=64&height=64&fps=10&audio=1", &quiet).unwrap(), 1);
    assert_eq!(taken.inits()[0].tracks.len(), 1);
    let taken = record(open(&file_uri(&fixture(FILM)), &quiet).unwrap(), 1);
    assert_eq!(taken.inits()[0].tracks.len(), 1);
}

#[test]
fn shorter_fragments_can_be_asked_for_but_not_any() {
    let mut short = options();
    short.fragment_us = 500_000;
    let taken = record(open("test://?width=64&height=64&fps=20", &short).unwrap(), 4);
    taken.check();
    for fragment in taken.fragments().iter().take(4) {
        assert!(fragment.keyframe && fragment.duration_us == 500_000, "{fragment:?}");
    }
    short.fragment_us = 0;
    let error = open("test://", &short).unwrap_err();
    assert!(matches!(error, SourceError::Option { option: "fragment_us", .. }));
}

#[test]
fn a_file_is_kept_as_it_is_and_ends() {
    let mut stream = open(&file_uri(&fixture(STREET)), &options()).unwrap();
    let taken = take(&mut stream, |_| false);
    assert!(taken.ended(), "{taken:?}");
    taken.check();
    assert!(taken.inits()[0].encoder.passthrough);
    assert_eq!(taken.inits()[0].tracks[0].codec, "avc1.640015");
    assert_eq!(taken.length_us(), 10_000_000);
    assert_eq!(taken.decode(), [("h264".to_owned(), 250)]);
    assert!(taken.fragments().iter().all(|f| f.duration_us <= 1_060_000));
    // Live pace: it took as long as it plays.
    let fragments = taken.fragments();
    let (first, last) = (fragments[0], fragments[fragments.len() - 1]);
    let wall = last.captured_at_us - first.captured_at_us;
    assert!(wall + 500_000 > last.start_us.unsigned_abs(), "{wall}");
    assert!(stream.next(Duration::from_secs(3600)).is_none() && stream.is_over());
}

#[test]
fn a_repeated_file_has_no_seam() {
    let uri = format!("{}?loop=1", file_uri(&fixture(FILM)));
    let mut stream = open(&uri, &options()).unwrap();
    let mut taken = take(&mut stream, |t| t.length_us() > 12_000_000);
    taken.events.extend(stream.stop());
    taken.check();
    assert_eq!(taken.inits().len(), 1);
    let tracks = &taken.inits()[0].tracks;
    assert_eq!((tracks[0].kind, tracks[1].kind), (TrackKind::Video, TrackKind::Audio));
    // A round is 132 pictures at 25 a second, its sound 5.312 s.
    let decoded = taken.decode();
    assert!(decoded[0].1 > 264 && decoded[1].0 == "aac", "{decoded:?}");
    let mut sound_end = None;
    for fragment in taken.fragments() {
        let info = lucid_capture::fmp4::inspect(&fragment.bytes, tracks).unwrap();
        let Some(sound) = info.tracks.get(1) else { continue };
        assert!(sound_end.is_none_or(|end| end == sound.start), "sound has no holes");
        sound_end = Some(sound.start + sound.duration);
    }
    let keyframes = taken.fragments().iter().filter(|f| f.keyframe).count();
    assert!(keyframes >= 3, "each round starts a fragment");
}

#[test]
fn a_file_in_another_codec_is_encoded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jpeg.avi");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=3"])
        .args(["-f", "lavfi", "-i", "sine=duration=3", "-c:v", "mjpeg", "-c:a", "pcm_s16le"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let mut stream = open(&file_uri(&path), &options()).unwrap();
    let taken = take(&mut stream, |_| false);
    assert!(taken.ended(), "{taken:?}");
    taken.check();
    let encoder = &taken.inits()[0].encoder;
    assert!(!encoder.passthrough && encoder.reason.contains("cannot be kept"), "{encoder:?}");
    let decoded = taken.decode();
    assert_eq!(decoded[0], ("h264".to_owned(), 30));
    assert_eq!(decoded[1].0, "aac");
}

fn ffmpeg(arguments: &[&str], out: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i"]).args(arguments).arg(out);
    assert!(command.status().unwrap().success(), "{arguments:?}");
}

#[test]
fn a_new_size_in_mid_stream_gives_a_new_init_segment() {
    let directory = tempfile::tempdir().unwrap();
    let mut joined = Vec::new();
    for (size, offset) in [("320x240", "0"), ("640x480", "2")] {
        let part = directory.path().join("part.ts");
        let source = format!("testsrc=size={size}:rate=10:duration=2");
        let coded = ["-c:v", "libx264", "-tune", "zerolatency", "-g", "10", "-pix_fmt", "yuv420p"];
        let timed = ["-output_ts_offset", offset, "-muxdelay", "0"];
        ffmpeg(&[&[source.as_str()], &coded[..], &timed[..]].concat(), &part);
        joined.extend(std::fs::read(&part).unwrap());
    }
    let path = directory.path().join("joined.ts");
    std::fs::write(&path, joined).unwrap();
    let mut stream = open(&file_uri(&path), &options()).unwrap();
    let taken = take(&mut stream, |_| false);
    assert!(taken.ended(), "{taken:?}");
    taken.check();
    let widths: Vec<_> = taken.inits().iter().map(|i| i.tracks[0].width).collect();
    assert_eq!(widths, [320, 640]);
    assert!((3_800_000..=4_200_000).contains(&taken.length_us()), "{}", taken.length_us());
}

#[test]
fn a_bare_stream_is_played_at_its_pace() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bare.h264");
    ffmpeg(&["testsrc=size=320x240:rate=10:duration=2", "-c:v", "libx264", "-g", "10"], &path);
    let mut stream = open(&file_uri(&path), &options()).unwrap();
    let taken = take(&mut stream, |_| false);
    assert!(taken.ended(), "{taken:?}");
    taken.check();
    assert_eq!(taken.decode(), [("h264".to_owned(), 20)]);
    assert_eq!(taken.length_us(), 2_000_000);
}

#[test]
fn each_software_encoder_works() {
    for name in ["x264enc", "openh264enc", "jpegenc"] {
        let mut chosen = options();
        let hardware = lucid_capture::HardwareEncoder::None { reason: "none".into() };
        chosen.encoder = EncoderPlan::choose(&hardware, Some(name), &|element| {
            lucid_capture::has_element(element).unwrap()
        });
        let taken = record(open("test://?width=320&height=240&fps=10", &chosen).unwrap(), 2);
        taken.check();
        assert_eq!(taken.inits()[0].encoder.name, name);
        let codec = if name == "jpegenc" { "mjpeg" } else { "h264" };
        assert_eq!(taken.decode()[0].0, codec);
        for fragment in taken.fragments().iter().take(2) {
            assert!(fragment.keyframe && fragment.duration_us == 800_000, "{name} {fragment:?}");
        }
    }
    let mut none = options();
    none.encoder.video = None;
    assert_eq!(open("test://", &none).unwrap_err(), SourceError::NoEncoder);
}

#[test]
fn files_that_are_no_video_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        file_uri(&path)
    };
    let options = options();
    let text = failure(
        &file(
            "notes.mp4",
            b"these are my notes, and there are a lot of them\n".repeat(99).as_slice(),
        ),
        &options,
    );
    assert!(matches!(text, SourceError::NotVideo { .. }), "{text:?}");
    let noise: Vec<u8> =
        (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let noise = failure(&file("noise.mp4", &noise), &options);
    assert!(matches!(noise, SourceError::NotVideo { .. }), "{noise:?}");
    let empty = failure(&file("empty.mp4", b""), &options);
    assert!(matches!(empty, SourceError::Empty { .. }), "{empty:?}");
    let missing = failure("file:///nowhere/x.mp4", &options);
    assert_eq!(missing, SourceError::NoSuchFile { path: "/nowhere/x.mp4".into() });
    let folder = failure(&file_uri(directory.path()), &options);
    assert!(matches!(folder, SourceError::UnreadableFile { .. }), "{folder:?}");

    // A container without a single picture, and one whose pictures are cut off.
    let whole = std::fs::read(fixture(STREET)).unwrap();
    let hollow =
        record(open("test://?width=64&height=64", &options).unwrap(), 1).inits()[0].bytes.clone();
    let hollow = failure(&file("hollow.mp4", &hollow), &options);
    assert!(
        matches!(hollow, SourceError::Empty { .. } | SourceError::NotVideo { .. }),
        "{hollow:?}"
    );
    let cut = failure(&file("cut.mp4", &whole[..whole.len() / 2]), &options);
    assert!(matches!(cut, SourceError::NotVideo { .. } | SourceError::BrokeOff { .. }), "{cut:?}");

    let sound = directory.path().join("sound.m4a");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "sine=duration=2", "-c:a", "aac"])
        .arg(&sound)
        .status()
        .unwrap();
    assert!(made.success());
    let sound = failure(&file_uri(&sound), &options);
    assert!(sound.to_string().contains("no picture track"), "{sound:?}");
}

#[test]
fn devices_that_are_not_there_say_so() {
    let options = options();
    let camera = failure("v4l2:///dev/video97", &options);
    assert!(matches!(&camera, SourceError::Device { device, .. } if device == "/dev/video97"));
    let no_camera = failure("v4l2:///dev/null", &options);
    assert!(matches!(&no_camera, SourceError::Device { .. }), "{no_camera:?}");
    let screen = failure("screen://:9731", &options);
    assert!(matches!(&screen, SourceError::Screen { display: 9731, .. }), "{screen:?}");
    assert!(screen.to_string().contains("no x server answers"), "{screen}");
    if !lucid_capture::has_element("libcamerasrc").unwrap() {
        let missing = failure("libcamera://", &options);
        assert!(missing.to_string().contains("gstreamer1.0-libcamera"), "{missing}");
        assert_eq!(lucid_capture::libcamera_cameras().unwrap(), []);
    }
}

/// An X server that ends with the test.
struct Screen(Child);

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_screen_is_recorded() {
    let number = 4000 + std::process::id() % 1000;
    let Ok(server) = Command::new("Xvfb")
        .args([&format!(":{number}"), "-screen", "0", "320x240x24", "-nolisten", "tcp"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        println!("skipped: Xvfb is not installed");
        return;
    };
    let _screen = Screen(server);
    let socket = format!("/tmp/.X11-unix/X{number}");
    for _ in 0..500 {
        if Path::new(&socket).exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let taken = record(open(&format!("screen://:{number}"), &options()).unwrap(), 2);
    taken.check();
    let tracks = &taken.inits()[0].tracks;
    assert_eq!((tracks[0].width, tracks[0].height), (320, 240));
    // Of a screen the first stands alone, and others when something changes.
    assert!(taken.fragments()[0].keyframe);
    assert_eq!(taken.decode()[0].0, "h264");
}

#[test]
fn an_owner_who_is_too_slow_is_told_what_is_lost() {
    let mut short = options();
    short.fragment_us = 200_000;
    let mut stream = open("test://?width=64&height=64&fps=20", &short).unwrap();
    // Nothing is taken until something no longer fits.
    assert!(stream.wait_behind(PATIENCE));
    let mut taken = take(&mut stream, |t| {
        t.events.iter().any(|e| matches!(e, MediaEvent::Lost(_))) && t.fragments().len() > 10
    });
    taken.events.extend(stream.stop());
    // The check counts what is lost as part of the time line.
    taken.check();
    let lost =
        taken.events.iter().find_map(|e| if let MediaEvent::Lost(l) = e { Some(l) } else { None });
    let lost = lost.unwrap();
    assert_eq!(lost.reason, LossReason::SlowConsumer);
    assert!(lost.fragments >= 1 && lost.start_us == 8 * 200_000, "{lost:?}");
}

#[test]
fn one_encoder_run_serves_the_recording_and_a_listener() {
    let mut options = options();
    let feed = lucid_capture::encoded::EncodedFeed::default();
    options.encoded = Some(feed.clone());
    let frames = feed.listen().unwrap();
    let mut stream = open("test://?width=320&height=240&fps=10", &options).unwrap();
    let mut listened = Vec::new();
    let (mut pictures, mut keyframes) = (0, 0);
    while pictures < 20 {
        let frame = frames.next(common::PATIENCE).unwrap();
        assert!(pictures > 0 || frame.keyframe);
        pictures += 1;
        keyframes += usize::from(frame.keyframe);
        listened.extend(frame.annex_b().unwrap());
    }
    assert!(keyframes >= 2, "{keyframes}");
    assert_eq!(frames.missed(), 0);
    let recorded = take(&mut stream, |taken| taken.fragments().len() >= 2);
    // What was listened to is the byte stream of what was recorded.
    let directory = tempfile::tempdir().unwrap();
    let (mp4, stream) = (directory.path().join("a.mp4"), directory.path().join("a.h264"));
    recorded.write(&mp4);
    std::fs::write(&stream, &listened).unwrap();
    let pixels = |path: &Path| {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args(["-frames:v", "10", "-f", "framemd5", "-"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        rows.map(|row| row.rsplit(',').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let seen = pixels(&stream);
    assert_eq!(seen.len(), 10);
    assert_eq!(seen, pixels(&mp4));
}
