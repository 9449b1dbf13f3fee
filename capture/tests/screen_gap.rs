//! An X server is killed and comes back on the same display: the process lives, the recording goes
//! on, and what is missing is declared.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Cursor};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::SessionRecord;
use lucid_capture::export::{ExportSpec, export};
use lucid_capture::recorder::{
    self, Anchor, Limits, Persistence, RecorderConfig, RecorderEvent, SessionSpec,
};
use lucid_capture::{HardwareEncoder, SourceUri, StreamOptions, probe_encoders};
use lucid_evidence::bundle::read;
use lucid_evidence::chunk::GapReason;
use lucid_evidence::manifest::{EndReason, SignedManifest, SourceInfo};
use lucid_evidence::{SessionId, SignedCheckpoint, Verdict};
use lucid_store::{DataDir, Options};

const SECOND: u64 = 1_000_000;

/// Nothing is anchored here: this is about the recording alone.
struct Nobody;

impl Anchor for Nobody {
    fn knows(&self, _: SessionId) -> bool {
        false
    }
    fn opened(&self, _: &SessionRecord) {}
    fn checkpoint(&self, _: SessionId, _: &SignedCheckpoint) {}
    fn closed(&self, _: &SignedManifest) {}
    fn deleted(&self, _: &SessionRecord) {}
}

/// An X server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server on this display, or on a free one; waits until it answers and says its number.
/// `None` when it is not installed.
fn serve(display: Option<u16>) -> Option<(Server, u16)> {
    let mut command = Command::new("Xvfb");
    command.args(display.map(|n| format!(":{n}")));
    let mut child = command
        .args(["-displayfd", "1", "-screen", "0", "320x240x24", "-nolisten", "tcp"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .inspect_err(|e| println!("skipped: no Xvfb: {e}"))
        .ok()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Some((Server(child), line.trim().parse().unwrap()))
}

/// Records this display for as long as it takes.
fn config(display: u16) -> RecorderConfig {
    let none = HardwareEncoder::None { reason: "this test asks for software".into() };
    let uri: SourceUri = format!("screen://:{display}").parse().unwrap();
    RecorderConfig {
        spec: SessionSpec {
            id: None,
            source_id: "src-screen".into(),
            source: SourceInfo {
                kind: "screen".into(),
                name: "Screen".into(),
                address: uri.to_string(),
            },
            device_name: "bench".into(),
            software: "lucid test".into(),
            policy: None,
            participants: vec![],
            note: String::new(),
        },
        uri,
        options: StreamOptions::new(probe_encoders(&none, None).unwrap()),
        limits: Limits::default(),
        stop_after_us: None,
        roll_after_us: None,
        stall_after: Duration::from_secs(10),
        persistence: Persistence::Always,
        events: None,
    }
}

#[test]
fn a_killed_x_server_is_a_declared_gap() {
    let Some((server, display)) = serve(None) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = DataDir::open(dir.path(), Options::default()).unwrap();
    let archive = Arc::new(Archive::new(data).unwrap());
    let config = config(display);
    let (told, heard) = channel();
    let observer = Arc::new(move |event| {
        if let RecorderEvent::Durable { stream_end_us, .. } = event {
            // The test may have stopped listening.
            let _ = told.send(stream_end_us);
        }
    });
    let recording = recorder::start(archive.clone(), Arc::new(Nobody), observer, config).unwrap();
    let patience = Duration::from_secs(120);
    let reach = |wanted: u64| loop {
        let end = heard.recv_timeout(patience).unwrap();
        if end >= wanted {
            break end;
        }
    };
    let before = reach(3 * SECOND);
    // Killed, so that it says goodbye to nobody.
    drop(server);
    let (_server, _) = serve(Some(display)).unwrap();
    reach(before + 6 * SECOND);
    recording.stop(EndReason::Stopped);
    let sessions = recording.join().unwrap();
    assert_eq!(sessions.len(), 1);
    let manifest = archive.manifest(sessions[0]).unwrap();
    let gaps = &manifest.manifest().gaps;
    // On a busy machine the first picture may be late, which is declared too.
    let lost: Vec<_> = gaps.iter().filter(|gap| gap.before_chunk > 0).collect();
    assert!(!lost.is_empty(), "nothing is declared");
    for gap in lost {
        assert_eq!(gap.gap.reason, GapReason::SourceLost, "{gap:?}");
    }
    let missing: u64 = gaps.iter().map(|gap| gap.gap.length_us).sum();
    let chunks = archive.catalogue().all_chunks(sessions[0]).unwrap();
    let media: u64 = chunks
        .iter()
        .map(|chunk| chunk.header.time.stream_end_us - chunk.header.time.stream_start_us)
        .sum();
    assert_eq!(media + missing, manifest.manifest().duration_us);
    let mut out = Cursor::new(Vec::new());
    export(&archive, sessions[0], &ExportSpec::default(), None, &mut out, |_, _| {}).unwrap();
    let content = read(&out.into_inner(), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
}

#[test]
fn an_x_server_that_comes_late_is_a_gap_before_the_first_picture() {
    let Some((server, display)) = serve(None) else { return };
    drop(server);
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = DataDir::open(dir.path(), Options::default()).unwrap();
    let archive = Arc::new(Archive::new(data).unwrap());
    let mut config = config(display);
    config.stop_after_us = Some(2 * SECOND);
    let observer = Arc::new(|_| {});
    let recording = recorder::start(archive.clone(), Arc::new(Nobody), observer, config).unwrap();
    // How long it is away.
    std::thread::sleep(Duration::from_secs(3));
    let (_server, _) = serve(Some(display)).unwrap();
    let id = recording.join().unwrap()[0];

    let (signed, session) = (archive.manifest(id).unwrap(), archive.session(id).unwrap());
    let manifest = signed.manifest();
    let first = manifest.gaps[0];
    assert_eq!((first.before_chunk, first.stream_us), (0, 0), "{first:?}");
    assert_eq!((first.wall_us, manifest.start_us), (session.start_us, session.start_us));
    assert_eq!(first.gap.reason, GapReason::SourceLost);
    assert!(first.gap.length_us > 2 * SECOND, "{first:?}");
    // What was asked for is media; the gap is beside it.
    assert!(manifest.duration_us >= first.gap.length_us + 2 * SECOND, "{manifest:?}");
    assert_eq!(archive.gaps(&session).unwrap(), manifest.gaps);
    let mut out = Cursor::new(Vec::new());
    export(&archive, id, &ExportSpec::default(), None, &mut out, |_, _| {}).unwrap();
    let content = read(&out.into_inner(), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
}
