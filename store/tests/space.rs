//! Promises about space: `blobs/` stays empty, disk per byte, and what opening does not touch.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Counting, key, noise, open, options};
use lucid_store::engine::Opener;
use lucid_store::engine::sled_engine::SledOpener;
use lucid_store::{Batch, DataDir, KEY_BYTES_MAX, Options, VALUE_BYTES_MAX};

fn sled() -> Arc<dyn Opener> {
    Arc::new(SledOpener)
}

/// Files in any directory called `blobs` below `path`.
fn blobs(path: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            count += blobs(&entry);
        } else if path.ends_with("blobs") {
            count += 1;
        }
    }
    count
}

/// A key as long as may be, in an order that hits all leaves in turn.
fn long_key(n: u64) -> Vec<u8> {
    let mut key = noise(n.wrapping_mul(0x9e37_79b9) % 97, KEY_BYTES_MAX - 8);
    key.extend_from_slice(&n.to_be_bytes());
    key
}

#[test]
fn the_largest_values_never_become_blobs() {
    let dir = tempfile::tempdir().unwrap();
    {
        let data = open(dir.path(), &sled());
        let store = data.index();
        for round in 0..3 {
            for step in 0..25 {
                let mut batch = Batch::new();
                for n in 0..10 {
                    batch.put(long_key(step * 10 + n), noise(round, VALUE_BYTES_MAX));
                }
                store.apply(batch).unwrap();
                store.flush().unwrap();
            }
        }
        let volumes = data.volumes();
        for step in 0..10 {
            let records = (0..40).map(|n| (long_key(step * 40 + n), noise(n, VALUE_BYTES_MAX)));
            volumes.append(records.collect()).unwrap();
            let records = (0..200).map(|n| (long_key(step * 200 + n), noise(n, 8192)));
            volumes.append(records.collect()).unwrap();
        }
        assert_eq!(blobs(dir.path()), 0);
    }
    let data = open(dir.path(), &sled());
    let fsck = data.fsck(|_| {}).unwrap();
    assert!(fsck.is_clean(), "{fsck:?}");
    assert_eq!(blobs(dir.path()), 0);
}

#[test]
fn a_sealed_volume_takes_at_most_a_quarter_more_than_it_stores() {
    for (length, count) in [(65_536, 1024), (65_536 + 64, 1023), (33_000, 2034), (81_920, 820)] {
        let dir = tempfile::tempdir().unwrap();
        let opts = Options { volume_bytes: Options::default().volume_bytes, ..options(sled()) };
        let (data, _) = DataDir::open(dir.path(), opts).unwrap();
        let volumes = data.volumes();
        let (value, mut n) = (noise(1, length), 0);
        while n < count {
            let step = 16.min(count - n);
            volumes.append((n..n + step).map(|n| (key(n), value.clone())).collect()).unwrap();
            n += step;
        }
        volumes.seal_current().unwrap();
        let info = volumes.list().remove(0);
        assert!(info.sealed);
        let ratio = info.bytes_on_disk as f64 / info.bytes_stored as f64;
        assert!(ratio <= 1.25, "records of {length} bytes: {ratio:.3}");
    }
}

#[test]
fn opening_looks_at_no_sealed_volume() {
    const VOLUMES: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let volumes_dir = dir.path().join("volumes");
    {
        let data = open(dir.path(), &sled());
        data.volumes().append(vec![(key(1), noise(1, 1000))]).unwrap();
        data.volumes().seal_current().unwrap();
    }
    let first = volumes_dir.join("0000000001");
    for id in 2..=VOLUMES {
        let volume = volumes_dir.join(format!("{id:010}"));
        fs::create_dir(&volume).unwrap();
        // Nothing in it but the seal: whoever opens it notices.
        fs::copy(first.join("sealed"), volume.join("sealed")).unwrap();
    }
    let counting = Arc::new(Counting { inner: sled(), opened: AtomicUsize::new(0) });
    let (data, report) = DataDir::open(dir.path(), options(counting.clone())).unwrap();
    assert_eq!(report.quarantined, vec![]);
    assert_eq!(data.volumes().ids().len() as u64, VOLUMES);
    assert_eq!(counting.opened.load(Ordering::SeqCst), 2, "only index and chain");
    assert_eq!(data.volumes().list().len() as u64, VOLUMES);
    assert_eq!(counting.opened.load(Ordering::SeqCst), 2, "not for listing either");
    let home = data.volumes().append(vec![(key(2), noise(2, 10))]).unwrap();
    assert_eq!(home.0, VOLUMES + 1);
}

#[test]
fn few_sealed_volumes_are_open_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let counting = Arc::new(Counting { inner: sled(), opened: AtomicUsize::new(0) });
    let opts = Options { open_volumes_max: 2, ..options(counting.clone()) };
    let (data, _) = DataDir::open(dir.path(), opts).unwrap();
    let volumes = data.volumes();
    let mut homes = Vec::new();
    for n in 0..4 {
        homes.push(volumes.append(vec![(key(n), noise(n, 20_000))]).unwrap());
        volumes.seal_current().unwrap();
    }
    let opened = || counting.opened.swap(0, Ordering::SeqCst);
    let read = |n: u64| {
        let value = volumes.get(homes[n as usize], &key(n)).unwrap();
        assert_eq!(value, Some(noise(n, 20_000)));
    };
    opened();
    for n in [0, 1, 0, 1, 0] {
        read(n);
    }
    assert_eq!(opened(), 2, "kept open");
    read(2);
    read(0);
    assert_eq!(opened(), 1, "the longest unused was closed, not the other");
    read(1);
    assert_eq!(opened(), 1);
}
