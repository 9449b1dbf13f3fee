//! A camera loses its network for 20 s: the recording goes on, and shows that gap and no other.

#![allow(clippy::unwrap_used)]

mod recorded;

use lucid_capture::recorder::{self, Persistence, RecorderConfig, RecorderEvent};
use lucid_evidence::Verdict;
use lucid_evidence::chunk::GapReason;
use lucid_evidence::manifest::{EndReason, GapRecord};
use lucid_tests::camera::{Camera, CameraOptions, Picture};
use lucid_tests::relay::Relay;
use recorded::{Nobody, archive, config, judged};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const OUTAGE: Duration = Duration::from_secs(20);

#[test]
fn twenty_seconds_without_a_network_are_one_declared_gap() {
    let camera = Camera::start(CameraOptions::new(Picture::small())).unwrap();
    let relay = Relay::start(([127, 0, 0, 1], camera.port()).into()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let config = RecorderConfig {
        stall_after: Duration::from_secs(3),
        persistence: Persistence::Always,
        ..config(&camera.uri_with("", relay.port(), "/live"))
    };
    let (told, heard) = channel();
    let observer = Arc::new(move |event| {
        if let RecorderEvent::Durable { stream_end_us, .. } = event {
            // The test may have stopped listening.
            let _ = told.send(stream_end_us);
        }
    });
    let recording = recorder::start(archive.clone(), Arc::new(Nobody), observer, config).unwrap();
    let patience = Duration::from_secs(120);
    let before = loop {
        let end = heard.recv_timeout(patience).unwrap();
        if end >= 4 * SECOND {
            break end;
        }
    };
    relay.freeze();
    std::thread::sleep(OUTAGE);
    relay.restore();
    // What was on its way when the network went may still have arrived; then nothing, then media
    // again.
    loop {
        let end = heard.recv_timeout(patience).unwrap();
        if end >= before + 20 * SECOND + 4 * SECOND {
            break;
        }
    }
    recording.stop(EndReason::Stopped);
    let id = recording.join().unwrap()[0];

    let manifest = archive.manifest(id).unwrap();
    let manifest = manifest.manifest();
    // On a busy machine the first picture may be late; that is declared too, and is not this gap.
    let is_late = |gap: &&GapRecord| gap.before_chunk == 0;
    let late: u64 = manifest.gaps.iter().filter(is_late).map(|gap| gap.gap.length_us).sum();
    let gaps: Vec<_> = manifest.gaps.iter().filter(|gap| !is_late(gap)).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let gap = gaps[0].gap;
    assert!(matches!(gap.reason, GapReason::SourceLost | GapReason::SourceStalled), "{gap:?}");
    assert!(gap.length_us >= 18 * SECOND, "{gap:?}");
    // The gap begins where the last media before it ended, and is all that is missing.
    let chunks = archive.catalogue().all_chunks(id).unwrap();
    let media: u64 = chunks
        .iter()
        .map(|chunk| chunk.header.time.stream_end_us - chunk.header.time.stream_start_us)
        .sum();
    assert_eq!(media + gap.length_us + late, manifest.duration_us);
    let content = judged(&archive, id);
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
}
