//! An X server is killed and comes back on the same display: the process lives, the recording goes
//! on, and what is missing is declared.

#![allow(clippy::unwrap_used)]

mod recorded;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use lucid_capture::recorder::{self, Persistence, RecorderConfig, RecorderEvent};
use lucid_evidence::Verdict;
use lucid_evidence::chunk::GapReason;
use lucid_evidence::manifest::EndReason;
use recorded::{Nobody, archive, config, judged};

const SECOND: u64 = 1_000_000;

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
fn screen(display: u16) -> RecorderConfig {
    let uri = format!("screen://:{display}");
    RecorderConfig { persistence: Persistence::Always, ..config(&uri) }
}

#[test]
fn a_killed_x_server_is_a_declared_gap() {
    let Some((server, display)) = serve(None) else { return };
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let config = screen(display);
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
    let content = judged(&archive, sessions[0]);
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
}

#[test]
fn an_x_server_that_comes_late_is_a_gap_before_the_first_picture() {
    let Some((server, display)) = serve(None) else { return };
    drop(server);
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let mut config = screen(display);
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
    let content = judged(&archive, id);
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
}
