//! What is left of recordings when the index, or the volume that is written, is damaged: all of it
//! is there, or it is said what is not.

#![allow(clippy::unwrap_used)]

mod recorded;

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::SessionState;
use lucid_capture::recorder::{self, Limits, Observer, RecorderConfig, RecorderEvent};
use lucid_capture::{check, recovery};
use lucid_evidence::chunk::GapReason;
use lucid_evidence::manifest::SignedManifest;
use lucid_evidence::{SessionId, Verdict};
use lucid_store::{DataDir, OpenReport, Options};
use recorded::{Nobody, config, judged, quiet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn open(path: &Path) -> (Arc<Archive>, OpenReport) {
    let (data, report) = DataDir::open(path, Options::default()).unwrap();
    (Arc::new(Archive::new(data).unwrap()), report)
}

fn short(chunk_max_us: u64, stop_after_us: Option<u64>) -> RecorderConfig {
    let limits = Limits { chunk_max_us, ..Limits::default() };
    RecorderConfig { limits, stop_after_us, ..config("test://?width=160&height=120&fps=10") }
}

fn verdict(archive: &Archive, id: SessionId) -> Verdict {
    judged(archive, id).findings.verdict()
}

fn copied(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = format!("{}/.", from.display());
    assert!(Command::new("cp").args(["-r", &source]).arg(dir.path()).status().unwrap().success());
    dir
}

fn flip(path: &Path, at: usize, bit: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1 << bit;
    std::fs::write(path, bytes).unwrap();
}

/// Where the last byte that is not zero stands.
fn end(path: &Path) -> usize {
    std::fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap()
}

/// Three sessions that ended: the first on hold, the last deleted.
fn three(path: &Path) -> Vec<SessionId> {
    let (archive, _) = open(path);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let config = short(1_000_000, Some(2_500_000));
        let recording = recorder::start(archive.clone(), Arc::new(Nobody), quiet(), config);
        ids.extend(recording.unwrap().join().unwrap());
    }
    archive.hold(ids[0], "case 12", 1).unwrap();
    archive.delete(ids[2], 2, "no longer wanted").unwrap();
    ids
}

/// What `three` made is whole, as far as it can be without the index.
fn are_whole(archive: &Archive, ids: &[SessionId], manifests: &[SignedManifest]) {
    for (id, manifest) in ids.iter().zip(manifests) {
        assert_eq!(archive.session(*id).unwrap().state, SessionState::Stored);
        assert_eq!(archive.manifest(*id).unwrap().as_bytes(), manifest.as_bytes());
        assert_eq!(verdict(archive, *id), Verdict::Valid);
    }
    assert!(archive.session(ids[0]).unwrap().hold.is_some(), "the hold is kept");
    assert!(archive.secret(ids[2]).is_err(), "a deleted session stays deleted");
}

#[test]
fn sessions_of_a_lost_or_damaged_index_are_rebuilt_and_it_is_said() {
    let original = tempfile::tempdir().unwrap();
    let ids = three(original.path());
    let manifests: Vec<SignedManifest> = {
        let (archive, report) = open(original.path());
        assert!(report.quarantined.is_empty());
        assert!(check::check(&archive, false, &mut |_| {}).unwrap().is_clean());
        assert!(recovery::recover_all(&archive, &Nobody, &quiet()).unwrap().missed.is_empty());
        ids[..2].iter().map(|id| archive.manifest(*id).unwrap()).collect()
    };
    let log = end(&original.path().join("index/db"));
    // Nothing is left of it, nor of what says how far it was durable.
    let none = [None, None];
    let flips = (0..8).map(|n| Some(n * log / 8 + 20 * n));
    for (n, place) in none.into_iter().chain(flips).enumerate() {
        let work = copied(original.path());
        match place {
            Some(at) => flip(&work.path().join("index/db"), at, n % 8),
            None => std::fs::remove_dir_all(work.path().join("index")).unwrap(),
        }
        if n == 0 {
            std::fs::remove_file(work.path().join("index.durable")).unwrap();
        }
        let (archive, report) = open(work.path());
        let is_whole = ids[..2].iter().all(|id| {
            let session = archive.catalogue().session(*id).ok().flatten();
            session.is_some_and(|session| session.state == SessionState::Stored)
        });
        // A check by itself says it, and changes nothing.
        let looked = check::check(&archive, false, &mut |_| {}).unwrap();
        assert!(is_whole || !looked.is_clean() || !report.quarantined.is_empty(), "{place:?}");
        let unlisted = archive.catalogue().session(ids[0]).unwrap().is_none();
        assert_eq!(unlisted, looked.damage.iter().any(|one| one.session == Some(ids[0])));
        check::check(&archive, true, &mut |_| {}).unwrap();
        let recovery = recovery::recover_all(&archive, &Nobody, &quiet()).unwrap();
        assert!(recovery.missed.is_empty(), "the check has put it back");
        are_whole(&archive, &ids, &manifests);
        drop(archive);
        let (archive, report) = open(work.path());
        assert!(report.quarantined.is_empty(), "told once");
        are_whole(&archive, &ids, &manifests);
    }
}

const CRASH_DIR: &str = "LUCID_TEST_LOST_DIR";
const DURABLE: &str = "durable until ";
const KILLED: &str = "what_a_flipped_bit_takes_from_the_volume_that_is_written_is_declared";

fn record_until_killed(dir: &Path) {
    let observer: Observer = Arc::new(|event| {
        if let RecorderEvent::Durable { stream_end_us, .. } = event {
            println!("\n{DURABLE}{stream_end_us}");
        }
    });
    let config = short(60_000_000, None);
    let recording = recorder::start(open(dir).0, Arc::new(Nobody), observer, config).unwrap();
    recording.join().unwrap();
}

#[test]
fn what_a_flipped_bit_takes_from_the_volume_that_is_written_is_declared() {
    if let Some(dir) = std::env::var_os(CRASH_DIR) {
        return record_until_killed(Path::new(&dir));
    }
    let original = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", KILLED, "--nocapture"])
        .env(CRASH_DIR, original.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged: u64 = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Some(until) = line.unwrap().strip_prefix(DURABLE).map(str::to_owned) else { continue };
        acknowledged = until.parse().unwrap();
        if acknowledged >= 8_000_000 {
            child.kill().unwrap();
            break;
        }
    }
    child.wait().unwrap();
    let log = "volumes/0000000001/db";
    let length = end(&original.path().join(log));
    let mut damaged = 0;
    for n in 0..12 {
        let work = copied(original.path());
        flip(&work.path().join(log), n * length / 12 + 7 * n, n % 8);
        let (archive, report) = open(work.path());
        let looked = check::check(&archive, false, &mut |_| {}).unwrap();
        let recovery = recovery::recover_all(&archive, &Nobody, &quiet()).unwrap();
        assert!(recovery.failed.is_empty(), "{n}: {:?}", recovery.failed);
        let one = &recovery.recovered[0];
        let signed = archive.manifest(one.session).unwrap();
        let manifest = signed.manifest();
        assert!(manifest.duration_us >= acknowledged, "{n}: {manifest:?}");
        assert_eq!(verdict(&archive, one.session), Verdict::Valid, "{n}");
        if one.length_us < acknowledged {
            damaged += 1;
            let gap = manifest.gaps.last().unwrap().gap;
            assert_eq!(gap.reason, GapReason::Damaged, "{n}");
            assert!(one.length_us + gap.length_us >= acknowledged + recovery::LOSS_MAX_US, "{n}");
            assert!(!one.damage.is_empty(), "{n}");
            assert!(!report.quarantined.is_empty() || !looked.is_clean(), "{n}: not told");
        }
    }
    assert!(damaged >= 6, "{damaged} of 12 hurt something");
}
