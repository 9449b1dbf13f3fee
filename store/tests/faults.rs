//! An engine that fails: every failure is an error with a name, nothing acknowledged is lost, and
//! the store goes on.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{key, noise, nothing_to_settle, options};
use lucid_store::engine::Opener;
use lucid_store::engine::fault::{Fault, FaultEngine, FaultOpener, Faults};
use lucid_store::engine::memory::{MemoryEngine, MemoryOpener};
use lucid_store::engine::sled_engine::SledOpener;
use lucid_store::{Batch, DataDir, Framed, Store, StoreError};

fn one(key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

fn faulty() -> (Framed, Faults, Arc<MemoryEngine>) {
    let (faults, engine) = (Faults::default(), Arc::new(MemoryEngine::default()));
    let store = Framed::new("index", Arc::new(FaultEngine::new(engine.clone(), faults.clone())));
    (store, faults, engine)
}

#[test]
fn a_refused_write_changes_nothing_and_the_next_one_works() {
    for fault in [Fault::Full, Fault::WriteError] {
        let (store, faults, _) = faulty();
        store.apply(one(b"a", b"1")).unwrap();
        faults.arm(fault);
        let error = store.apply(one(b"a", b"2")).unwrap_err();
        match fault {
            Fault::Full => assert!(matches!(error, StoreError::Full { .. }), "{error}"),
            _ => assert!(matches!(error, StoreError::Io { .. }), "{error}"),
        }
        assert!(faults.spent());
        assert_eq!(store.get(b"a").unwrap(), Some(b"1".to_vec()));
        store.apply(one(b"a", b"3")).unwrap();
        assert_eq!(store.get(b"a").unwrap(), Some(b"3".to_vec()));
    }
}

#[test]
fn refused_reads_and_syncs_are_errors_of_the_machine() {
    let (store, faults, _) = faulty();
    store.apply(one(b"a", b"1")).unwrap();
    faults.arm(Fault::ReadError);
    let error = store.get(b"a").unwrap_err();
    assert!(!error.is_damage(), "{error}");
    faults.arm(Fault::ReadError);
    assert!(store.scan(b"a", b"b", 9).is_err());
    faults.arm(Fault::SyncError);
    assert!(store.flush().is_err());
    store.flush().unwrap();
    assert_eq!(store.get(b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn every_flipped_bit_is_damage_with_the_key_named() {
    for bit in (0..200).chain([8 * 5000]) {
        let (store, faults, _) = faulty();
        store.apply(one(b"good", &noise(1, 5000))).unwrap();
        faults.arm(Fault::BitFlip { bit });
        store.apply(one(b"hurt", &noise(2, 5000))).unwrap();
        match store.get(b"hurt").unwrap_err() {
            StoreError::Damaged { database, key } => {
                assert_eq!((database.as_str(), key.as_slice()), ("index", b"hurt".as_slice()));
            }
            other => panic!("bit {bit}: {other}"),
        }
        let report = store.scrub().unwrap();
        assert_eq!((report.records, report.damaged), (2, vec![b"hurt".to_vec()]));
        assert!(matches!(store.scan(b"a", b"z", 9), Err(StoreError::Damaged { .. })));
        assert_eq!(store.scan(b"a", b"hurt", 9).unwrap().len(), 1, "the rest is readable");
        assert!(store.raw(b"hurt").unwrap().is_some(), "and the bytes are still there");
        store.apply(one(b"hurt", b"new")).unwrap();
        assert!(store.scrub().unwrap().is_clean());
    }
}

#[test]
fn a_torn_write_is_noticed_after_reopening() {
    for bytes in [0, 1, 16, 17, 500] {
        let (store, faults, engine) = faulty();
        store.apply(one(b"a", b"1")).unwrap();
        faults.arm(Fault::TornWrite { operations: 2, bytes });
        let mut batch = Batch::new();
        batch.put(b"b", noise(1, 600)).put(b"c", noise(2, 600)).put(b"d", noise(3, 600));
        assert!(store.apply(batch).is_err());
        assert!(store.get(b"a").is_err(), "dead until it is opened again");
        let store = Framed::new("index", engine);
        assert_eq!(store.get(b"a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(store.get(b"b").unwrap(), Some(noise(1, 600)), "it was stored before the tear");
        assert!(matches!(store.get(b"c"), Err(StoreError::Damaged { .. })), "cut to {bytes}");
        assert_eq!(store.get(b"d").unwrap(), None);
    }
}

fn data_with(path: &Path, inner: Arc<dyn Opener>) -> (DataDir, Faults) {
    let faults = Faults::default();
    let opener = Arc::new(FaultOpener::new(inner, faults.clone()));
    (DataDir::open(path, options(opener)).unwrap().0, faults)
}

fn inner() -> Vec<Arc<dyn Opener>> {
    vec![Arc::new(SledOpener), Arc::new(MemoryOpener::default())]
}

#[test]
fn after_a_failed_append_recording_goes_on_in_a_fresh_volume() {
    let torn = Fault::TornWrite { operations: 1, bytes: 100 };
    for fault in [Fault::Full, Fault::WriteError, Fault::SyncError, torn] {
        for inner in inner() {
            let dir = tempfile::tempdir().unwrap();
            let (data, faults) = data_with(dir.path(), inner);
            let volumes = data.volumes();
            let first = volumes.append(vec![(key(1), noise(1, 60_000))]).unwrap();
            faults.arm(fault);
            assert!(volumes.append(vec![(key(2), noise(2, 60_000))]).is_err());
            assert!(faults.spent());
            let second = volumes.append(vec![(key(3), noise(3, 60_000))]).unwrap();
            assert!(second > first, "{fault:?}");
            assert_eq!(volumes.get(first, &key(1)).unwrap(), Some(noise(1, 60_000)));
            assert_eq!(volumes.get(second, &key(3)).unwrap(), Some(noise(3, 60_000)));
            assert_eq!(volumes.incidents().len(), 1, "{:?}", volumes.incidents());
            assert_eq!(volumes.incidents()[0].volume, first);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_volume_costs_one_record() {
    for bit in [0, 7, 8, 130, 136, 137, 300_000] {
        for inner in inner() {
            let dir = tempfile::tempdir().unwrap();
            let (data, faults) = data_with(dir.path(), inner);
            let volumes = data.volumes();
            let home = volumes.append(vec![(key(1), noise(1, 60_000))]).unwrap();
            faults.arm(Fault::BitFlip { bit });
            volumes.append(vec![(key(2), noise(2, 60_000)), (key(3), noise(3, 60_000))]).unwrap();
            match volumes.get(home, &key(2)).unwrap_err() {
                StoreError::Damaged { key: hurt, .. } => assert_eq!(hurt, key(2)),
                other => panic!("{other}"),
            }
            let scan = volumes.scan(home, &key(0), &key(9), 9).unwrap();
            assert_eq!(scan.damaged, [key(2)]);
            assert_eq!(scan.items.len(), 2);
            assert_eq!(volumes.scrub(home).unwrap().damaged, [key(2)]);

            let relocated = volumes.quarantine(home, &mut nothing_to_settle).unwrap();
            let moved: Vec<_> = relocated.moved.iter().map(|(key, _)| key.clone()).collect();
            assert_eq!(moved, [key(1), key(3)]);
            assert_eq!(relocated.lost, [key(2)]);
            assert!(relocated.quarantined.unwrap().is_dir(), "moved, not deleted");
            let new_home = relocated.moved[0].1;
            assert_eq!(volumes.get(new_home, &key(3)).unwrap(), Some(noise(3, 60_000)));
            assert!(volumes.scrub(new_home).unwrap().is_clean());
        }
    }
}

#[test]
fn a_held_record_that_cannot_be_read_keeps_its_volume_from_deletion() {
    for inner in inner() {
        let dir = tempfile::tempdir().unwrap();
        let (data, faults) = data_with(dir.path(), inner);
        let volumes = data.volumes();
        faults.arm(Fault::BitFlip { bit: 5000 });
        let home = volumes.append(vec![(key(1), noise(1, 60_000))]).unwrap();
        volumes.append(vec![(key(2), noise(2, 60_000))]).unwrap();
        let relocated = volumes.remove(home, &mut |k| k == key(1), &mut nothing_to_settle).unwrap();
        assert_eq!(relocated.lost, [key(1)]);
        assert!(relocated.quarantined.unwrap().is_dir());
    }
}
