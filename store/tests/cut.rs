//! Damage in a log that the engine takes for the log's end: what was durable is missed, and its
//! bytes are kept.
#![allow(clippy::unwrap_used)]

mod common;

use common::{key, noise, options};
use lucid_store::engine::sled_engine::SledOpener;
use lucid_store::{Batch, DataDir, OpenReport};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const RECORDS: u64 = 24;
/// Flips in each log.
const PLACES: usize = 20;

fn reopen(path: &Path) -> (DataDir, OpenReport) {
    DataDir::open(path, options(Arc::new(SledOpener))).unwrap()
}

/// One acknowledged write after another, into the index and into a volume that stays open.
fn fill(path: &Path) {
    let (data, report) = reopen(path);
    assert!(report.quarantined.is_empty());
    for n in 0..RECORDS {
        let mut batch = Batch::new();
        batch.put(key(n), noise(n, 700));
        data.index().apply(batch).unwrap();
        data.index().flush().unwrap();
        data.volumes().append(vec![(key(n), noise(n, 9000 + n as usize))]).unwrap();
    }
}

/// Says of the index, or of the only volume, whether all is there.
fn whole(data: &DataDir, name: &str) -> bool {
    (0..RECORDS).all(|n| match name {
        "index" => matches!(data.index().get(&key(n)), Ok(Some(value)) if value == noise(n, 700)),
        _ => data.volumes().ids().into_iter().any(|volume| {
            let value = data.volumes().get(volume, &key(n));
            matches!(value, Ok(Some(value)) if value == noise(n, 9000 + n as usize))
        }),
    })
}

fn flip_through(name: &str, log: &str) {
    let (mut hurt, mut cut) = (0, 0);
    let original = tempfile::tempdir().unwrap();
    fill(original.path());
    let bytes = fs::read(original.path().join(log)).unwrap();
    // What is behind the last write is zeros.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for place in 0..PLACES {
        let at = place * end / PLACES + place % 7;
        let work = tempfile::tempdir().unwrap();
        let copied = std::process::Command::new("cp")
            .args(["-r", &format!("{}/.", original.path().display())])
            .arg(work.path())
            .status();
        assert!(copied.unwrap().success());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (place % 8);
        fs::write(work.path().join(log), &flipped).unwrap();
        let (data, report) = reopen(work.path());
        if whole(&data, name) {
            continue;
        }
        hurt += 1;
        // What is gone is said, one way or the other.
        let scrubbed = data.fsck(|_| {}).unwrap().is_clean();
        assert!(!report.quarantined.is_empty() || !scrubbed, "{name}: bit at {at} is not noticed");
        let Some(aside) = report.quarantined.first() else { continue };
        cut += 1;
        let kept = aside.path.join("db");
        assert_eq!(fs::read(kept).unwrap(), flipped, "{name}: bytes as they were, {at}");
        let volume = data.volumes().ids()[0];
        assert_eq!(data.volumes().cut_until_us(volume).is_some(), name != "index", "{at}");
        // What is written from here on is there the next time.
        let mut batch = Batch::new();
        batch.put(key(900), noise(900, 700));
        data.index().apply(batch).unwrap();
        data.index().flush().unwrap();
        let home = data.volumes().append(vec![(key(900), noise(900, 9000))]).unwrap();
        drop(data);
        let (data, again) = reopen(work.path());
        assert_eq!(data.index().get(&key(900)).unwrap(), Some(noise(900, 700)), "{name} {at}");
        assert_eq!(data.volumes().get(home, &key(900)).unwrap(), Some(noise(900, 9000)), "{at}");
        assert!(again.quarantined.is_empty(), "{name}: told once, {at}: {again:?}");
    }
    assert!(hurt > PLACES / 2 && cut > 0, "{name}: {hurt} of {PLACES} hurt, {cut} cut");
}

#[test]
fn a_flipped_bit_in_the_index_is_noticed() {
    flip_through("index", "index/db");
}

#[test]
fn a_flipped_bit_in_the_open_volume_is_noticed() {
    flip_through("volumes", "volumes/0000000001/db");
}

#[test]
fn an_emptied_or_deleted_index_is_noticed() {
    for emptied in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let index = dir.path().join("index");
        fs::remove_dir_all(&index).unwrap();
        if emptied {
            fs::create_dir(&index).unwrap();
        }
        let (data, report) = reopen(dir.path());
        assert_eq!(report.quarantined.len(), 1, "{report:?}");
        assert_eq!(data.index().get(&key(1)).unwrap(), None);
        drop(data);
        assert!(reopen(dir.path()).1.quarantined.is_empty());
    }
}

#[test]
fn a_process_that_dies_before_it_could_say_so_leaves_the_bytes_and_the_word() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    // As after the engine has cut the log, and the copy was not put aside yet.
    let before = dir.path().join("index.before");
    fs::create_dir(&before).unwrap();
    fs::write(before.join("db"), b"as it was").unwrap();
    fs::write(before.join("cut-found"), "3 17\n").unwrap();
    let (_, report) = reopen(dir.path());
    assert_eq!(report.quarantined.len(), 1, "{report:?}");
    assert_eq!(fs::read(report.quarantined[0].path.join("db")).unwrap(), b"as it was");
}
