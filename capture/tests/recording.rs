//! From a real pipeline to a bundle and back: recorded, sealed, stored, exported, verified; and
//! after a crash.

#![allow(clippy::unwrap_used)]

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::{SessionRecord, SessionState};
use lucid_capture::export::{ExportSpec, export};
use lucid_capture::recorder::{
    self, Anchor, Limits, Observer, Persistence, RecorderConfig, RecorderEvent, SessionSpec,
};
use lucid_capture::{
    ArchiveError, HardwareEncoder, SourceUri, StreamOptions, check, probe_encoders, recovery,
    retention,
};
use lucid_evidence::bundle::read;
use lucid_evidence::manifest::{EndReason, SignedManifest, SourceInfo};
use lucid_evidence::{SessionId, SignedCheckpoint, Verdict};
use lucid_store::{DataDir, Options};
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps what it is given, as the chain would.
#[derive(Default)]
struct Witness {
    opened: Mutex<Vec<SessionId>>,
    checkpoints: Mutex<Vec<SignedCheckpoint>>,
    closed: Mutex<Vec<SignedManifest>>,
    deleted: Mutex<Vec<SessionId>>,
}

impl Anchor for Witness {
    fn opened(&self, session: &SessionRecord) {
        self.opened.lock().unwrap().push(session.id);
    }
    fn checkpoint(&self, _: SessionId, checkpoint: &SignedCheckpoint) {
        self.checkpoints.lock().unwrap().push(checkpoint.clone());
    }
    fn closed(&self, manifest: &SignedManifest) {
        self.closed.lock().unwrap().push(manifest.clone());
    }
    fn deleted(&self, session: &SessionRecord) {
        self.deleted.lock().unwrap().push(session.id);
    }
}

fn archive(path: &Path) -> Arc<Archive> {
    let (data, _) = DataDir::open(path, Options::default()).unwrap();
    Arc::new(Archive::new(data).unwrap())
}

fn config(uri: &str) -> RecorderConfig {
    let uri: SourceUri = uri.parse().unwrap();
    let none = HardwareEncoder::None { reason: "this test asks for software".into() };
    let options = StreamOptions::new(probe_encoders(&none, None).unwrap());
    RecorderConfig {
        spec: SessionSpec {
            source_id: "src-test".into(),
            source: SourceInfo {
                kind: "test".into(),
                name: "Test".into(),
                address: uri.to_string(),
            },
            device_name: "bench".into(),
            software: "lucid test".into(),
            policy: None,
            participants: vec![],
            note: String::new(),
        },
        uri,
        options,
        limits: Limits { chunk_max_us: 2_000_000, ..Limits::default() },
        stop_after_us: Some(5_000_000),
        roll_after_us: None,
        stall_after: Duration::from_secs(10),
        persistence: Persistence::Never,
    }
}

fn quiet() -> Observer {
    Arc::new(|_| {})
}

fn bundle(archive: &Archive, id: SessionId, spec: &ExportSpec) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    export(archive, id, spec, None, &mut out, |_, _| {}).unwrap();
    out.into_inner()
}

const SMALL: &str = "test://?width=160&height=120&fps=10";

#[test]
fn a_recording_becomes_a_bundle_that_holds_together() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let witness = Arc::new(Witness::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer: Observer = {
        let seen = seen.clone();
        Arc::new(move |event| seen.lock().unwrap().push(event))
    };
    let recording =
        recorder::start(archive.clone(), witness.clone(), observer, config(SMALL)).unwrap();
    let sessions = recording.join().unwrap();
    assert_eq!(sessions.len(), 1);
    let id = sessions[0];
    let session = archive.session(id).unwrap();
    assert_eq!(session.state, SessionState::Stored);
    assert!(session.stream_end_us >= 5_000_000 && session.chunks >= 2, "{session:?}");
    let states: Vec<SessionState> = session.transitions.iter().map(|t| t.state).collect();
    use SessionState::{Created, Processing, Recording, Stored};
    assert_eq!(states, [Created, Recording, Processing, Stored]);
    let durable = seen.lock().unwrap().iter().any(|e| matches!(e, RecorderEvent::Durable { .. }));
    assert!(durable);
    assert_eq!(witness.opened.lock().unwrap()[..], [id]);
    assert_eq!(witness.closed.lock().unwrap()[0].hash(), archive.manifest(id).unwrap().hash());
    let last = witness.checkpoints.lock().unwrap().last().unwrap().checkpoint().tree_size;
    assert_eq!(last, session.chunks);

    for spec in [
        ExportSpec::default(),
        ExportSpec { sealed: true, ..ExportSpec::default() },
        ExportSpec { no_video: true, ..ExportSpec::default() },
        ExportSpec { from_us: Some(2_500_000), ..ExportSpec::default() },
        ExportSpec { to_us: Some(1_000_000), ..ExportSpec::default() },
    ] {
        let content = read(&bundle(&archive, id, &spec), &|_, _| {});
        assert_eq!(content.findings.verdict(), Verdict::Valid, "{spec:?} {:?}", content.findings);
    }
    let nothing = ExportSpec { from_us: Some(1 << 50), ..ExportSpec::default() };
    let result = export(&archive, id, &nothing, None, Cursor::new(vec![]), |_, _| {});
    assert!(result.unwrap_err().to_string().contains("nothing of what was asked for"));

    let report = check::check(&archive, false, &mut |_| {}).unwrap();
    assert!(report.is_clean() && report.chunks == session.chunks, "{report:?}");

    // A hold keeps it, and its release lets it go for good.
    archive.hold(id, "case 12", 1).unwrap();
    assert!(matches!(archive.delete(id, 2, "test"), Err(ArchiveError::Held { .. })));
    archive.release(id).unwrap();
    archive.delete(id, 3, "test").unwrap();
    assert!(matches!(archive.secret(id), Err(ArchiveError::Deleted(_))));
    assert!(check::check(&archive, false, &mut |_| {}).unwrap().is_clean());
}

#[test]
fn no_plaintext_of_a_recording_stands_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let witness = Arc::new(Witness::default());
    let recording = recorder::start(archive.clone(), witness, quiet(), config(SMALL)).unwrap();
    let id = recording.join().unwrap()[0];
    let secret = archive.secret(id).unwrap();
    let mut needles = Vec::new();
    for chunk in archive.catalogue().all_chunks(id).unwrap() {
        for fragment in &chunk.map.fragments {
            let bytes = archive.fragment(&secret, &chunk.map, fragment).unwrap();
            assert!(bytes.len() > 64);
            // From the media data behind the boxes.
            needles.push(bytes[bytes.len() - 48..].to_vec());
        }
    }
    needles.push(secret.expose().to_vec());
    drop(archive);
    let mut files = vec![dir.path().to_path_buf()];
    let mut looked_at = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        looked_at += bytes.len();
        for needle in &needles {
            assert!(!bytes.windows(needle.len()).any(|w| w == needle), "{}", path.display());
        }
    }
    assert!(looked_at > 10_000);
}

#[test]
fn what_was_acknowledged_before_a_crash_is_kept_and_the_loss_is_declared() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let live = archive(dir.path());
    let durable = Arc::new(Mutex::new(0));
    let observer: Observer = {
        let durable = durable.clone();
        Arc::new(move |event| {
            if let RecorderEvent::Durable { stream_end_us, .. } = event {
                *durable.lock().unwrap() = stream_end_us;
            }
        })
    };
    let witness = Arc::new(Witness::default());
    let mut config = config(SMALL);
    config.stop_after_us = None;
    let recording = recorder::start(live.clone(), witness.clone(), observer, config).unwrap();
    let acknowledged = loop {
        std::thread::sleep(Duration::from_millis(50));
        let so_far = *durable.lock().unwrap();
        if so_far >= 3_500_000 {
            break so_far;
        }
    };
    // The directory as a crash would leave it: taken while it is written to.
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(dir.path().join("."))
        .arg(copy.path())
        .status()
        .unwrap();
    assert!(status.success());
    recording.stop(EndReason::Stopped);
    recording.join().unwrap();
    drop(live);

    let after = archive(copy.path());
    let report = check::check(&after, false, &mut |_| {}).unwrap();
    assert!(report.is_clean() && report.notes.len() == 1, "{report:?}");
    let recovery = recovery::recover_all(&after, &*witness, &quiet()).unwrap();
    assert!(recovery.failed.is_empty(), "{:?}", recovery.failed);
    let recovered = &recovery.recovered[0];
    assert!(recovered.damage.is_empty(), "{:?}", recovered.damage);
    assert!(recovered.length_us >= acknowledged, "{} < {acknowledged}", recovered.length_us);
    let manifest = after.manifest(recovered.session).unwrap();
    assert_eq!(manifest.manifest().end_reason, EndReason::Crash);
    let gap = manifest.manifest().gaps.last().unwrap().gap;
    assert_eq!(gap.length_us, recovery::LOSS_MAX_US);
    let content = read(&bundle(&after, recovered.session, &ExportSpec::default()), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
    assert!(recovery::recover_all(&after, &*witness, &quiet()).unwrap().recovered.is_empty());
}

#[test]
fn a_quota_deletes_the_oldest_and_never_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let witness = Arc::new(Witness::default());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut config = config(SMALL);
        config.stop_after_us = Some(1_000_000);
        let recording = recorder::start(archive.clone(), witness.clone(), quiet(), config).unwrap();
        ids.extend(recording.join().unwrap());
        archive.volumes().seal_current().unwrap();
    }
    archive.hold(ids[0], "case 12", 1).unwrap();
    let newest = archive.session(ids[2]).unwrap().sealed_bytes;
    let quota = retention::Quota { max_age_us: None, max_bytes: Some(newest) };
    let policy =
        retention::Policy { quotas: [("src-test".to_owned(), quota)].into(), keep_free_bytes: 0 };
    let before = archive.volumes().list().len();
    let report = retention::enforce(&archive, &*witness, &policy).unwrap();
    assert_eq!(report.deleted, [ids[1]]);
    assert_eq!(report.held, [ids[0]]);
    assert!(!report.full && !report.volumes.is_empty());
    assert!(archive.volumes().list().len() <= before);
    assert_eq!(witness.deleted.lock().unwrap()[..], [ids[1]]);
    for id in [ids[0], ids[2]] {
        let content = read(&bundle(&archive, id, &ExportSpec::default()), &|_, _| {});
        assert_eq!(content.findings.verdict(), Verdict::Valid);
    }
    // More free than the disk has: everything that may go goes, and what is held is left.
    let policy = retention::Policy { keep_free_bytes: u64::MAX, ..policy };
    let report = retention::enforce(&archive, &*witness, &policy).unwrap();
    assert!(report.full);
    assert_eq!(report.deleted, [ids[2]]);
    assert!(archive.secret(ids[0]).is_ok());
    assert!(check::check(&archive, false, &mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_long_recording_rolls_over_without_losing_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let witness = Arc::new(Witness::default());
    let mut config = config(SMALL);
    config.roll_after_us = Some(2_000_000);
    config.stop_after_us = None;
    let recording = recorder::start(archive.clone(), witness, quiet(), config).unwrap();
    let mut sessions = 0;
    while sessions < 3 {
        std::thread::sleep(Duration::from_millis(50));
        sessions = archive.catalogue().sessions(None, 10).unwrap().0.len();
    }
    recording.stop(EndReason::Stopped);
    let ids = recording.join().unwrap();
    assert!(ids.len() >= 3);
    let mut end = None;
    for id in &ids[..2] {
        let session = archive.session(*id).unwrap();
        assert_eq!(session.ended.unwrap().reason, EndReason::Limit);
        let chunks = archive.catalogue().all_chunks(*id).unwrap();
        let begins = chunks[0].header.time.wall_start_us;
        if let Some(end) = end.replace(chunks[chunks.len() - 1].header.time.wall_end_us) {
            assert!(begins.abs_diff(end) < 500_000, "{begins} {end}");
        }
    }
}
