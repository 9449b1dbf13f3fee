//! One suite for every engine: key-value databases and volumes behave alike on all of them.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{key, noise, open, openers, record};
use lucid_store::{
    APPEND_BYTES_MAX, BATCH_BYTES_MAX, Batch, KEY_BYTES_MAX, Relocated, Store, StoreError,
    VALUE_BYTES_MAX, VolumeId,
};
use proptest::prelude::*;

fn put(store: &dyn Store, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(key, value);
    store.apply(batch).unwrap();
}

#[test]
fn key_value_survives_reopening() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        {
            let data = open(dir.path(), &opener);
            put(data.index().as_ref(), b"a", b"1");
            put(data.chain().as_ref(), b"a", b"2");
            data.index().flush().unwrap();
            data.chain().flush().unwrap();
        }
        let data = open(dir.path(), &opener);
        assert_eq!(data.index().get(b"a").unwrap(), Some(b"1".to_vec()), "{name}");
        assert_eq!(data.chain().get(b"a").unwrap(), Some(b"2".to_vec()), "{name}");
        assert_eq!(data.index().get(b"b").unwrap(), None, "{name}");
    }
}

#[test]
fn scans_are_ordered_half_open_and_limited() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path(), &opener);
        let store = data.index();
        for n in [5u8, 1, 9, 3, 7] {
            put(store.as_ref(), &[n], &[n, n]);
        }
        let keys = |from: u8, to: u8, limit: usize, back: bool| -> Vec<u8> {
            let pairs = if back {
                store.scan_back(&[from], &[to], limit)
            } else {
                store.scan(&[from], &[to], limit)
            };
            pairs
                .unwrap()
                .into_iter()
                .map(|(key, value)| {
                    assert_eq!(value, vec![key[0]; 2]);
                    key[0]
                })
                .collect()
        };
        assert_eq!(keys(1, 9, 10, false), [1, 3, 5, 7], "{name}");
        assert_eq!(keys(2, 10, 2, false), [3, 5], "{name}");
        assert_eq!(keys(2, 10, 2, true), [9, 7], "{name}");
        assert_eq!(keys(4, 4, 10, false), [0u8; 0], "{name}");
        assert_eq!(keys(9, 1, 10, false), [0u8; 0], "{name}");
        assert_eq!(keys(9, 1, 10, true), [0u8; 0], "{name}");
        assert_eq!(keys(0, 255, 0, false), [0u8; 0], "{name}");
    }
}

#[test]
fn limits_are_errors_that_change_nothing() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path(), &opener);
        let store = data.index();
        let apply = |key: Vec<u8>, value: Vec<u8>| {
            let mut batch = Batch::new();
            batch.put(b"companion".to_vec(), b"x".to_vec()).put(key, value);
            store.apply(batch)
        };
        let too_long = vec![1; KEY_BYTES_MAX + 1];
        assert!(
            matches!(apply(vec![], vec![]), Err(StoreError::KeyLength { length: 0 })),
            "{name}"
        );
        assert!(matches!(apply(too_long.clone(), vec![]), Err(StoreError::KeyLength { .. })));
        let too_large = vec![0; VALUE_BYTES_MAX + 1];
        assert!(matches!(apply(vec![1], too_large), Err(StoreError::ValueLength { .. })));
        let mut batch = Batch::new();
        for n in 0..=(BATCH_BYTES_MAX / VALUE_BYTES_MAX) as u64 {
            batch.put(key(n), vec![0; VALUE_BYTES_MAX]);
        }
        assert!(matches!(store.apply(batch), Err(StoreError::BatchTooLarge { .. })));
        assert!(store.scan(&[0], &[255], 10).unwrap().is_empty(), "{name}: nothing was written");
        assert!(store.get(&too_long).is_err() && store.get(b"").is_err());
        store.apply(Batch::new()).unwrap();
        apply(vec![7; KEY_BYTES_MAX], vec![7; VALUE_BYTES_MAX]).unwrap();
        assert_eq!(store.get(&[7; KEY_BYTES_MAX]).unwrap(), Some(vec![7; VALUE_BYTES_MAX]));
    }
}

#[test]
fn a_batch_is_applied_in_order() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path(), &opener);
        let store = data.index();
        put(store.as_ref(), b"old", b"x");
        let mut batch = Batch::new();
        batch.put(b"k", b"1").put(b"k", b"2").delete(b"old").put(b"gone", b"x").delete(b"gone");
        assert_eq!(batch.len(), 5);
        store.apply(batch).unwrap();
        let all = store.scan(&[0], &[255], 10).unwrap();
        assert_eq!(all, vec![(b"k".to_vec(), b"2".to_vec())], "{name}");
        assert!(store.scrub().unwrap().is_clean());
    }
}

#[test]
fn volumes_keep_records_across_rotation_and_reopening() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let mut homes = BTreeMap::new();
        for round in 0..2 {
            let data = open(dir.path(), &opener);
            let volumes = data.volumes();
            for step in 0..20 {
                let first = (round * 20 + step) * 8;
                let records: Vec<_> = (first..first + 8).map(record).collect();
                let home = volumes.append(records).unwrap();
                for n in first..first + 8 {
                    homes.insert(n, home);
                }
            }
            for (n, home) in &homes {
                let (key, value) = record(*n);
                assert_eq!(volumes.get(*home, &key).unwrap(), Some(value), "{name} record {n}");
            }
        }
        let data = open(dir.path(), &opener);
        let volumes = data.volumes();
        let list = volumes.list();
        assert!(list.len() > 3, "{name}: {list:?}");
        assert!(list.iter().rev().skip(1).all(|info| info.sealed), "{name}: {list:?}");
        for (n, home) in &homes {
            let (key, value) = record(*n);
            assert_eq!(volumes.get(*home, &key).unwrap(), Some(value), "{name} record {n}");
            assert_eq!(volumes.get(*home, b"absent").unwrap(), None);
        }
        for info in &list {
            let report = volumes.scrub(info.id).unwrap();
            let expected = homes.values().filter(|home| **home == info.id).count() as u64;
            assert!(report.is_clean(), "{name}: {report:?}");
            assert_eq!(report.records, expected, "{name}");
            let stored: usize = homes
                .iter()
                .filter(|(_, home)| **home == info.id)
                .map(|(n, _)| record(*n))
                .map(|(key, value)| key.len() + value.len())
                .sum();
            assert_eq!(info.bytes_stored, stored as u64, "{name}");
        }
        assert!(matches!(volumes.get(VolumeId(999), b"k"), Err(StoreError::UnknownVolume { .. })));
        assert_eq!(volumes.incidents(), vec![], "{name}");
    }
}

#[test]
fn volumes_scan_in_order_and_replace_a_key() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path(), &opener);
        let volumes = data.volumes();
        let home =
            volumes.append((0..30).rev().map(|n| (key(n), noise(n, 20_000))).collect()).unwrap();
        assert_eq!(volumes.append(vec![(key(3), noise(99, 30_000))]).unwrap(), home);
        assert_eq!(volumes.append(vec![(key(4), b"small now".to_vec())]).unwrap(), home);
        let scan = volumes.scan(home, &key(2), &key(6), 10).unwrap();
        let keys: Vec<_> = scan.items.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys, [key(2), key(3), key(4), key(5)], "{name}");
        assert_eq!(scan.items[1].1, noise(99, 30_000), "{name}");
        assert_eq!(scan.items[2].1, b"small now", "{name}");
        assert!(scan.damaged.is_empty());
        assert_eq!(volumes.scan(home, &key(2), &key(6), 2).unwrap().items.len(), 2);
        assert_eq!(volumes.keys(home, &key(28), 10).unwrap(), [key(28), key(29)]);
    }
}

#[test]
fn removal_gives_kept_records_a_new_home() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let held: Vec<u64> = vec![2, 5, 6];
        let (home, new_home);
        {
            let data = open(dir.path(), &opener);
            let volumes = data.volumes();
            home = volumes.append((0..16).map(record).collect()).unwrap();
            // Both homes can be read while pointers are changed.
            let mut settled = 0;
            let mut settle = |relocated: &Relocated| {
                for (key, new_home) in &relocated.moved {
                    assert!(volumes.get(home, key)?.is_some());
                    assert_eq!(volumes.get(home, key)?, volumes.get(*new_home, key)?);
                    settled += 1;
                }
                Ok::<(), StoreError>(())
            };
            let relocated = volumes
                .remove(home, &mut |k| held.iter().any(|n| key(*n) == k), &mut settle)
                .unwrap();
            assert_eq!(settled, held.len(), "{name}");
            let moved: Vec<_> = relocated.moved.iter().map(|(key, _)| key.clone()).collect();
            assert_eq!(moved, held.iter().map(|n| key(*n)).collect::<Vec<_>>(), "{name}");
            assert!(relocated.lost.is_empty() && relocated.quarantined.is_none());
            new_home = relocated.moved[0].1;
            assert!(new_home > home, "{name}: a number is never used twice");
            assert!(volumes.get(home, &key(0)).is_err());
        }
        let data = open(dir.path(), &opener);
        assert_eq!(data.volumes().ids(), [new_home], "{name}");
        for n in held {
            let (key, value) = record(n);
            assert_eq!(data.volumes().get(new_home, &key).unwrap(), Some(value), "{name}");
        }
    }
}

#[test]
fn a_removal_that_cannot_be_settled_does_not_happen() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path(), &opener);
        let volumes = data.volumes();
        let home = volumes.append((0..8).map(record).collect()).unwrap();
        let mut refuse = |_: &Relocated| Err(StoreError::Closed);
        assert!(volumes.remove(home, &mut |_| false, &mut refuse).is_err());
        assert!(volumes.quarantine(home, &mut refuse).is_err());
        let (key, value) = record(7);
        assert_eq!(volumes.get(home, &key).unwrap(), Some(value), "{name}");
    }
}

#[test]
fn concurrent_appends_are_all_answered() {
    for (name, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path(), &opener);
        let volumes = data.volumes();
        let homes: Vec<(u64, VolumeId)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let volumes = &volumes;
                    scope.spawn(move || {
                        (0..20)
                            .map(|n| thread * 100 + n)
                            .map(|n| (n, volumes.append(vec![record(n)]).unwrap()))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(homes.len(), 160);
        for (n, home) in homes {
            let (key, value) = record(n);
            assert_eq!(volumes.get(home, &key).unwrap(), Some(value), "{name} record {n}");
        }
    }
}

#[test]
fn too_much_in_one_append_is_an_error() {
    for (_, opener) in openers() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path(), &opener);
        let count = APPEND_BYTES_MAX / VALUE_BYTES_MAX + 1;
        let records = (0..count as u64).map(|n| (key(n), vec![0; VALUE_BYTES_MAX])).collect();
        let volumes = data.volumes();
        assert!(matches!(volumes.append(records), Err(StoreError::BatchTooLarge { .. })));
        assert!(matches!(
            volumes.append(vec![(vec![], vec![])]),
            Err(StoreError::KeyLength { .. })
        ));
        assert!(volumes.ids().is_empty());
    }
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<(u8, Option<u16>)>),
    Scan(u8, u8, usize, bool),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((any::<u8>(), prop::option::weighted(0.8, 0u16..9000)), 0..12)
            .prop_map(Step::Apply),
        2 => (any::<u8>(), any::<u8>(), 0usize..40, any::<bool>())
            .prop_map(|(from, to, limit, back)| Step::Scan(from, to, limit, back)),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_engine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..30)) {
        for (name, opener) in openers() {
            let dir = tempfile::tempdir().unwrap();
            let mut data = Some(open(dir.path(), &opener));
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for (at, step) in steps.iter().enumerate() {
                let store = data.as_ref().unwrap().index();
                match step {
                    Step::Apply(changes) => {
                        let mut batch = Batch::new();
                        for (k, length) in changes {
                            match length {
                                Some(length) => {
                                    let value = noise(at as u64, usize::from(*length));
                                    batch.put([*k], value.clone());
                                    model.insert(vec![*k], value);
                                }
                                None => {
                                    batch.delete([*k]);
                                    model.remove(&vec![*k]);
                                }
                            }
                        }
                        store.apply(batch).unwrap();
                    }
                    Step::Scan(from, to, limit, back) => {
                        let all = model
                            .iter()
                            .filter(|(k, _)| k.as_slice() >= &[*from] && k.as_slice() < &[*to])
                            .map(|(k, v)| (k.clone(), v.clone()));
                        let expected: Vec<_> = if *back {
                            all.rev().take(*limit).collect()
                        } else {
                            all.take(*limit).collect()
                        };
                        let got = if *back {
                            store.scan_back(&[*from], &[*to], *limit)
                        } else {
                            store.scan(&[*from], &[*to], *limit)
                        };
                        prop_assert_eq!(got.unwrap(), expected, "{}", name);
                    }
                    Step::Reopen => {
                        store.flush().unwrap();
                        drop(store);
                        drop(data.take());
                        data = Some(open(dir.path(), &opener));
                    }
                }
            }
            let all = data.unwrap().index().scan(&[0], &[255, 255], 1000).unwrap();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>(), "{}", name);
        }
    }
}
