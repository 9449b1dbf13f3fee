//! From a real pipeline to a bundle and back: recorded, sealed, stored, exported, verified; and
//! after a crash.

#![allow(clippy::unwrap_used)]

mod recorded;

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::{SessionRecord, SessionState};
use lucid_capture::export::{ExportSpec, export};
use lucid_capture::recorder::{
    self, Anchor, Limits, Observer, Persistence, RecorderConfig, RecorderError, RecorderEvent,
    SourceState, Stamp,
};
use lucid_capture::{ArchiveError, SourceError, check, recovery, retention};
use lucid_evidence::bundle::read;
use lucid_evidence::chunk::{MediaKind, open_chunk};
use lucid_evidence::event::{Event, Events, Value};
use lucid_evidence::manifest::{EndReason, SignedManifest};
use lucid_evidence::{Hash, SessionId, SignedCheckpoint, Verdict};
use recorded::{archive, bundle, config, quiet};
use std::io::{BufRead, BufReader, Cursor};
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
    fn knows(&self, session: SessionId) -> bool {
        self.opened.lock().unwrap().contains(&session)
    }
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

/// Five seconds in chunks of two.
fn five_seconds(uri: &str) -> RecorderConfig {
    let limits = Limits { chunk_max_us: 2_000_000, ..Limits::default() };
    RecorderConfig { limits, stop_after_us: Some(5_000_000), ..config(uri) }
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
        recorder::start(archive.clone(), witness.clone(), observer, five_seconds(SMALL)).unwrap();
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
    let recording =
        recorder::start(archive.clone(), witness, quiet(), five_seconds(SMALL)).unwrap();
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

/// Names the directory a child of this test records into until it is killed.
const CRASH_DIR: &str = "LUCID_TEST_CRASH_DIR";
/// What the child says of each durable fragment, before the end of it on the stream clock.
const DURABLE: &str = "durable until ";
/// What it says of durable events, before the end of them by the wall clock.
const EVENTS: &str = "events until ";

/// The child: records, says what is durable, and ends only by being killed.
fn record_until_killed(dir: &Path) {
    let observer: Observer = Arc::new(|event| match event {
        RecorderEvent::Durable { stream_end_us, .. } => println!("\n{DURABLE}{stream_end_us}"),
        RecorderEvent::Events { wall_end_us, .. } => println!("\n{EVENTS}{wall_end_us}"),
        _ => {}
    });
    let mut config = with_events(five_seconds(SMALL));
    config.stop_after_us = None;
    let witness = Arc::new(Witness::default());
    let recording = recorder::start(archive(dir), witness, observer, config).unwrap();
    let feed = recording.events().unwrap();
    loop {
        std::thread::sleep(Duration::from_millis(50));
        feed.record(|stamp| event(stamp, "again"));
    }
}

#[test]
fn what_was_acknowledged_before_a_crash_is_kept_and_the_loss_is_declared() {
    if let Some(dir) = std::env::var_os(CRASH_DIR) {
        return record_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let witness = Arc::new(Witness::default());
    let name = "what_was_acknowledged_before_a_crash_is_kept_and_the_loss_is_declared";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CRASH_DIR, dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Killed in the midst of it, the directory is what a crash leaves: all of it of one moment.
    let (mut acknowledged, mut acknowledged_events, mut killed) = (0, 0, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(until) = line.strip_prefix(EVENTS) {
            acknowledged_events = until.parse().unwrap();
        }
        let Some(until) = line.strip_prefix(DURABLE) else { continue };
        acknowledged = until.parse().unwrap();
        if acknowledged >= 3_500_000 && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "it ended by itself at {acknowledged}");

    let after = archive(dir.path());
    let report = check::check(&after, false, &mut |_| {}).unwrap();
    assert!(report.is_clean() && report.notes.len() == 1, "{report:?}");
    let recovery = recovery::recover_all(&after, &*witness, &quiet()).unwrap();
    assert!(recovery.failed.is_empty(), "{:?}", recovery.failed);
    let recovered = &recovery.recovered[0];
    assert!(recovered.damage.is_empty(), "{:?}", recovered.damage);
    assert!(recovered.length_us >= acknowledged, "{} < {acknowledged}", recovered.length_us);
    let (lines, kinds) = events_of(&after, recovered.session);
    let last = lines.last().unwrap().wall_us;
    assert!(last >= acknowledged_events, "{last} < {acknowledged_events}");
    assert_eq!(kinds.last(), Some(&MediaKind::Events), "{kinds:?}");
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
        let mut config = five_seconds(SMALL);
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
    let mut config = five_seconds(SMALL);
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

/// Events as a recorder's owner makes them.
fn with_events(mut config: RecorderConfig) -> RecorderConfig {
    config.events = Some(Arc::new(|stamp, count| event(stamp, &format!("{count} lost"))));
    config
}

fn event(stamp: Stamp, what: &str) -> Vec<u8> {
    let (stream_us, wall_us) = (stamp.stream_us, stamp.wall_us);
    Event { stream_us, wall_us, kind: "said", fields: vec![("what", Value::Text(what))] }.encode()
}

/// What an event says, and when: stream and wall clock.
#[derive(Debug)]
struct Said {
    stream_us: u64,
    wall_us: u64,
    what: String,
}

fn said(plaintext: &[u8]) -> Vec<Said> {
    let read = |event: Event<'_>| {
        let Some(Value::Text(what)) = event.field("what") else { return None };
        let (stream_us, wall_us) = (event.stream_us, event.wall_us);
        Some(Said { stream_us, wall_us, what: (*what).to_owned() })
    };
    Events::new(plaintext).map(|event| read(event.unwrap()).unwrap()).collect()
}

/// What the chunks of events of a session hold, and every chunk's kind in order.
fn events_of(archive: &Archive, id: SessionId) -> (Vec<Said>, Vec<MediaKind>) {
    let secret = archive.secret(id).unwrap();
    let (mut all, mut kinds) = (Vec::new(), Vec::new());
    for (at, record) in archive.catalogue().all_chunks(id).unwrap().iter().enumerate() {
        let header = &record.header;
        assert_eq!((header.index, record.map.kind), (at as u64, header.kind));
        kinds.push(header.kind);
        if header.kind == MediaKind::Events {
            assert_eq!(header.time.stream_start_us, header.time.stream_end_us);
            let sealed = archive.sealed_chunk(record).unwrap();
            let key = secret.chunk_key(header.index);
            let plaintext = open_chunk(header, &key, &sealed).unwrap();
            assert!(!plaintext.is_empty(), "a chunk of events without any");
            all.extend(said(&plaintext));
        }
    }
    (all, kinds)
}

#[test]
fn events_are_sealed_and_proved_beside_the_media() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let witness = Arc::new(Witness::default());
    let id = SessionId::new(1_793_000_000_000, [7; 10]);
    let mut config = with_events(five_seconds(SMALL));
    config.spec.id = Some(id);
    config.spec.policy = Some(Hash([9; 32]));
    config.spec.participants = vec!["ada".into()];
    let (durable, told) = std::sync::mpsc::channel();
    let durable = Mutex::new(durable);
    let observer: Observer = Arc::new(move |event| {
        if let RecorderEvent::Durable { .. } = event {
            let _ = durable.lock().unwrap().send(());
        }
    });
    let start =
        |config| recorder::start(archive.clone(), witness.clone(), observer.clone(), config);
    let recording = start(config.clone()).unwrap();
    let feed = recording.events().unwrap();
    feed.record(|stamp| event(stamp, "before the first picture, maybe"));
    let mut sent = 1;
    // One after each fragment, until the recording has its length.
    while told.recv_timeout(Duration::from_secs(60)).is_ok() && !recording.has_ended() {
        feed.record(|stamp| event(stamp, "again"));
        sent += 1;
        if sent == 5 {
            break;
        }
    }
    assert_eq!(recording.join().unwrap(), [id]);
    feed.record(|_| panic!("the recording has ended"));

    let (lines, kinds) = events_of(&archive, id);
    assert_eq!(lines.len(), sent, "{lines:?}");
    let times: Vec<u64> = lines.iter().map(|said| said.stream_us).collect();
    assert!(times.is_sorted() && times[0] < 2_000_000 && times[4] > 1_000_000, "{times:?}");
    let videos = kinds.iter().filter(|kind| **kind == MediaKind::Video).count();
    assert!(videos >= 2 && videos < kinds.len(), "{kinds:?}");
    // Chunks that close together have one checkpoint: the chain takes none that is not larger.
    let points = witness.checkpoints.lock().unwrap().clone();
    let sizes: Vec<u64> = points.iter().map(|point| point.checkpoint().tree_size).collect();
    assert!(sizes.is_sorted_by(|one, next| one < next), "{sizes:?}");
    assert_eq!(sizes.last(), Some(&(kinds.len() as u64)));
    let manifest = archive.manifest(id).unwrap();
    assert_eq!(manifest.manifest().policy, Some(Hash([9; 32])));
    assert_eq!(manifest.manifest().participants, ["ada"]);
    let end = manifest.manifest().duration_us;
    for (spec, lists) in [
        (ExportSpec::default(), true),
        (ExportSpec { no_video: true, ..ExportSpec::default() }, true),
        (ExportSpec { sealed: true, ..ExportSpec::default() }, false),
        // The first and the last second, with the events that go with them.
        (ExportSpec { to_us: Some(1_000_000), ..ExportSpec::default() }, true),
        (ExportSpec { from_us: Some(end - 1), ..ExportSpec::default() }, false),
    ] {
        let bundle = bundle(&archive, id, &spec);
        let content = read(&bundle, &|_, _| {});
        assert_eq!(content.findings.verdict(), Verdict::Valid, "{spec:?} {:?}", content.findings);
        let has_list = bundle.windows(12).any(|bytes| bytes == b"events.jsonl");
        assert_eq!(has_list, lists, "{spec:?}");
    }
    assert!(check::check(&archive, false, &mut |_| {}).unwrap().is_clean());

    // Its identifier is used up, here and wherever the chain knows it; nothing of it is touched.
    let before = archive.session(id).unwrap();
    let again = start(config.clone()).err().unwrap();
    assert!(matches!(again, RecorderError::UsedId(used) if used == id), "{again}");
    let known = SessionId::new(1_793_000_000_001, [7; 10]);
    witness.opened.lock().unwrap().push(known);
    config.spec.id = Some(known);
    assert!(matches!(start(config.clone()).err(), Some(RecorderError::UsedId(_))));
    assert!(archive.keys().load(known).unwrap().is_none());
    config.roll_after_us = Some(1_000_000);
    assert!(matches!(start(config).err(), Some(RecorderError::Rolls)));
    assert_eq!(archive.session(id).unwrap(), before);
}

#[test]
fn a_source_without_events_has_no_chunk_of_them_and_events_need_no_source() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let witness = Arc::new(Witness::default());
    let mut quiet_one = with_events(five_seconds(SMALL));
    quiet_one.stop_after_us = Some(1_000_000);
    let recording = recorder::start(archive.clone(), witness.clone(), quiet(), quiet_one).unwrap();
    let id = recording.join().unwrap()[0];
    let (none, kinds) = events_of(&archive, id);
    assert!(none.is_empty() && kinds == [MediaKind::Video], "{none:?} {kinds:?}");

    // No X server there: never a picture, and still what happened is kept, within its second.
    let (durable, told) = std::sync::mpsc::channel();
    let durable = Mutex::new(durable);
    let observer: Observer = Arc::new(move |event| {
        if let RecorderEvent::Events { .. } = event {
            let _ = durable.lock().unwrap().send(());
        }
    });
    let mut absent = with_events(five_seconds("screen://:4711"));
    absent.persistence = Persistence::Always;
    let recording = recorder::start(archive.clone(), witness, observer, absent).unwrap();
    recording.events().unwrap().record(|stamp| event(stamp, "connected"));
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    let live = recording.live().unwrap();
    assert!(live.open.is_none());
    let open = live.events.unwrap();
    let secret = archive.secret(live.session).unwrap();
    let bytes = archive.fragment(&secret, &open, &open.fragments[0]).unwrap();
    assert_eq!(said(&bytes)[0].what, "connected");
    recording.events().unwrap().record(|stamp| event(stamp, "last words"));
    recording.stop(EndReason::Stopped);
    let id = recording.join().unwrap()[0];
    let (lines, kinds) = events_of(&archive, id);
    assert_eq!((lines.len(), kinds), (2, vec![MediaKind::Events]));
    let content = read(&bundle(&archive, id, &ExportSpec::default()), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
}

#[test]
fn a_source_that_is_refused_leaves_no_session_unless_one_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let witness = Arc::new(Witness::default());
    let text = dir.path().join("text.mp4");
    std::fs::write(&text, "this is no video\n".repeat(100)).unwrap();
    let refused = || five_seconds(&format!("file://{}", text.display()));
    let try_first = |config| {
        recorder::start_with_media(archive.clone(), witness.clone(), quiet(), config).unwrap()
    };
    let recording = try_first(refused());
    while !recording.has_ended() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(recording.state().0, SourceState::Refused);
    let failure = recording.failure();
    assert!(matches!(failure, Some(SourceError::NotVideo { .. })), "{failure:?}");
    assert!(recording.live().is_none() && recording.join().unwrap().is_empty());
    assert!(archive.catalogue().sessions(None, 10).unwrap().0.is_empty());
    assert!(witness.opened.lock().unwrap().is_empty());

    // One that works is recorded from its first picture on.
    let id = try_first(five_seconds(SMALL)).join().unwrap()[0];
    let session = archive.session(id).unwrap();
    assert!(session.stream_end_us >= 5_000_000, "{session:?}");
    assert_eq!(archive.gaps(&session).unwrap(), []);
    let content = read(&bundle(&archive, id, &ExportSpec::default()), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
    let mut prepared = five_seconds(SMALL);
    prepared.spec.id = Some(id);
    let result = recorder::start_with_media(archive.clone(), witness.clone(), quiet(), prepared);
    assert!(matches!(result.err(), Some(RecorderError::Prepared)));

    // Asked for, the session is there before the source; the chain takes no checkpoint of nothing.
    witness.checkpoints.lock().unwrap().clear();
    let recording = recorder::start(archive.clone(), witness.clone(), quiet(), refused()).unwrap();
    let id = recording.join().unwrap()[0];
    assert_eq!(witness.checkpoints.lock().unwrap().len(), 0);
    assert!(archive.catalogue().checkpoints(id).unwrap().is_empty());
    let closed = witness.closed.lock().unwrap().last().unwrap().clone();
    assert_eq!((closed.manifest().session, closed.manifest().tree_size), (id, 0));
    let content = read(&bundle(&archive, id, &ExportSpec::default()), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
}

/// The state a session ended in, and why.
fn ended_as(archive: &Archive, id: SessionId) -> (SessionState, String) {
    let session = archive.session(id).unwrap();
    let last = session.transitions.last().unwrap();
    assert_eq!(last.state, session.state);
    (session.state, last.reason.clone())
}

#[test]
fn a_session_without_media_fails_and_one_that_is_forced_to_end_is_terminated() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let witness = Arc::new(Witness::default());
    let start = |config| recorder::start(archive.clone(), witness.clone(), quiet(), config);

    // An empty file, and a screen that is away until somebody stops waiting for it.
    let empty = dir.path().join("empty.mp4");
    std::fs::write(&empty, []).unwrap();
    let id =
        start(five_seconds(&format!("file://{}", empty.display()))).unwrap().join().unwrap()[0];
    let (state, why) = ended_as(&archive, id);
    assert_eq!(state, SessionState::Failed, "{why}");
    assert!(why.starts_with("no media came: ") && why.contains("no media:"), "{why}");
    let mut away = five_seconds("screen://:4711");
    away.persistence = Persistence::Always;
    let recording = start(away).unwrap();
    while recording.state().0 != SourceState::Failed {
        std::thread::sleep(Duration::from_millis(20));
    }
    recording.stop(EndReason::Stopped);
    let id = recording.join().unwrap()[0];
    let (state, why) = ended_as(&archive, id);
    assert_eq!(state, SessionState::Failed, "{why}");
    assert!(why.starts_with("no media came: stopped; screen :4711"), "{why}");

    // Whatever came of a session that is terminated is kept and proved like any other.
    let (durable, told) = std::sync::mpsc::channel();
    let durable = Mutex::new(durable);
    let observer: Observer = Arc::new(move |event| {
        if let RecorderEvent::Durable { .. } = event {
            let _ = durable.lock().unwrap().send(());
        }
    });
    let mut endless = five_seconds(SMALL);
    endless.stop_after_us = None;
    let recording = recorder::start(archive.clone(), witness.clone(), observer, endless).unwrap();
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    recording.terminate(EndReason::Void, "its policy was altered");
    let id = recording.join().unwrap()[0];
    let expected = (SessionState::Terminated, "its policy was altered".to_owned());
    assert_eq!(ended_as(&archive, id), expected);
    let manifest = archive.manifest(id).unwrap();
    assert_eq!(manifest.manifest().end_reason, EndReason::Void);
    assert_eq!(witness.closed.lock().unwrap().last().unwrap().hash(), manifest.hash());
    let content = read(&bundle(&archive, id, &ExportSpec::default()), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);

    // One that came to its own end before is not.
    let recording = start(five_seconds(SMALL)).unwrap();
    while !recording.has_ended() {
        std::thread::sleep(Duration::from_millis(20));
    }
    recording.terminate(EndReason::Stopped, "too late");
    let id = recording.join().unwrap()[0];
    assert_eq!(ended_as(&archive, id).0, SessionState::Stored);
}
