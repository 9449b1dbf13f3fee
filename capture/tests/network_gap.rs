//! A camera loses its network for 20 s: the recording goes on, and shows that gap and no other.

#![allow(clippy::unwrap_used)]

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::SessionRecord;
use lucid_capture::export::{ExportSpec, export};
use lucid_capture::recorder::{
    self, Anchor, Limits, Persistence, RecorderConfig, RecorderEvent, SessionSpec,
};
use lucid_capture::{HardwareEncoder, SourceUri, StreamOptions, probe_encoders};
use lucid_evidence::bundle::read;
use lucid_evidence::chunk::GapReason;
use lucid_evidence::manifest::{EndReason, GapRecord, SignedManifest, SourceInfo};
use lucid_evidence::{SessionId, SignedCheckpoint, Verdict};
use lucid_store::{DataDir, Options};
use lucid_tests::camera::{Camera, CameraOptions, Picture};
use lucid_tests::relay::Relay;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const OUTAGE: Duration = Duration::from_secs(20);

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

#[test]
fn twenty_seconds_without_a_network_are_one_declared_gap() {
    let camera = Camera::start(CameraOptions::new(Picture::small())).unwrap();
    let relay = Relay::start(([127, 0, 0, 1], camera.port()).into()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = DataDir::open(dir.path(), Options::default()).unwrap();
    let archive = Arc::new(Archive::new(data).unwrap());
    let none = HardwareEncoder::None { reason: "the camera encodes".into() };
    let uri: SourceUri = camera.uri_with("", relay.port(), "/live").parse().unwrap();
    let config = RecorderConfig {
        spec: SessionSpec {
            id: None,
            source_id: "src-camera".into(),
            source: SourceInfo {
                kind: "rtsp".into(),
                name: "Camera".into(),
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
        stall_after: Duration::from_secs(3),
        persistence: Persistence::Always,
        events: None,
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
    let mut out = Cursor::new(Vec::new());
    export(&archive, id, &ExportSpec::default(), None, &mut out, |_, _| {}).unwrap();
    let content = read(&out.into_inner(), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
}
