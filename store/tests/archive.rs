//! Export and import: everything arrives, and no damaged stream is taken for a whole one.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{key, noise, nothing_to_settle, open, openers, options};
use lucid_store::engine::Opener;
use lucid_store::engine::fault::{Fault, FaultOpener, Faults};
use lucid_store::engine::memory::MemoryOpener;
use lucid_store::{
    ArchiveError, Batch, DataDir, StoreError, VolumeId, check_archive, export, import,
};

fn fill(data: &DataDir, records: u64) -> Vec<(u64, VolumeId)> {
    for (store, seed) in [(data.index(), 100), (data.chain(), 200)] {
        let mut batch = Batch::new();
        for n in 0..150 {
            batch.put(key(n), noise(seed + n, (n * 37 % 4000) as usize));
        }
        store.apply(batch).unwrap();
    }
    let volumes = data.volumes();
    (0..records)
        .map(|n| {
            if n % 20 == 19 {
                volumes.seal_current().unwrap();
            }
            (n, volumes.append(vec![(key(n), noise(n, (n * 7919 % 70_000) as usize))]).unwrap())
        })
        .collect()
}

#[test]
fn everything_arrives_on_every_engine() {
    for (name, opener) in openers() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = open(from.path(), &opener);
        let homes = fill(&source, 70);
        // A volume is missing in the middle, as after retention.
        let removed = homes[0].1;
        source.volumes().remove(removed, &mut |_| false, &mut nothing_to_settle).unwrap();
        let mut stream = Vec::new();
        let exported = export(&source, &mut stream).unwrap();
        assert_eq!(check_archive(stream.as_slice()).unwrap(), exported, "{name}");
        let target = open(to.path(), &opener);
        let imported = import(&target, stream.as_slice()).unwrap();
        assert_eq!(exported, imported, "{name}");
        assert!(exported.damaged.is_empty() && exported.unreadable.is_empty());
        for (n, home) in homes.iter().filter(|(_, home)| *home != removed) {
            let value = noise(*n, (n * 7919 % 70_000) as usize);
            assert_eq!(target.volumes().get(*home, &key(*n)).unwrap(), Some(value), "{name}");
        }
        let all = |data: &DataDir| data.index().scan(&[0], &[0xff], 1000).unwrap();
        assert_eq!(all(&source), all(&target));
        let created = |data: &DataDir| -> Vec<u64> {
            data.volumes().list().iter().map(|info| info.created_us).collect()
        };
        assert_eq!(created(&source), created(&target), "age counts for retention");
        let next = target.volumes().append(vec![(key(1), vec![1])]).unwrap();
        assert!(homes.iter().all(|(_, home)| *home < next), "{name}: numbers are not reused");
        assert!(matches!(import(&target, stream.as_slice()), Err(ArchiveError::NotEmpty)));
    }
}

#[test]
fn damaged_records_are_named_and_the_rest_arrives() {
    let faults = Faults::default();
    let inner: Arc<dyn Opener> = Arc::new(MemoryOpener::default());
    let opener = Arc::new(FaultOpener::new(inner, faults.clone()));
    let dir = tempfile::tempdir().unwrap();
    let (source, _) = DataDir::open(dir.path(), options(opener)).unwrap();
    let homes = fill(&source, 10);
    faults.arm(Fault::BitFlip { bit: 999 });
    let mut batch = Batch::new();
    batch.put(key(70), noise(1, 900));
    source.index().apply(batch).unwrap();
    faults.arm(Fault::BitFlip { bit: 999 });
    let hurt = source.volumes().append(vec![(key(500), noise(5, 30_000))]).unwrap();
    let mut stream = Vec::new();
    let exported = export(&source, &mut stream).unwrap();
    let expected = [("index".to_owned(), key(70)), (format!("volumes/{hurt}"), key(500))];
    assert_eq!(exported.damaged, expected);
    assert_eq!(exported.records, 149 + 150 + homes.len() as u64);
    let to = tempfile::tempdir().unwrap();
    let target = open(to.path(), &(Arc::new(MemoryOpener::default()) as Arc<dyn Opener>));
    assert_eq!(import(&target, stream.as_slice()).unwrap(), exported);
    assert_eq!(target.index().get(&key(71)).unwrap(), source.index().get(&key(71)).unwrap());
    assert_eq!(target.index().get(&key(70)).unwrap(), None);
}

fn small_stream() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let source = open(dir.path(), &(Arc::new(MemoryOpener::default()) as Arc<dyn Opener>));
    let mut batch = Batch::new();
    batch.put(b"k".to_vec(), b"value".to_vec());
    source.index().apply(batch).unwrap();
    source.volumes().append(vec![(b"r".to_vec(), b"record".to_vec())]).unwrap();
    let mut stream = Vec::new();
    export(&source, &mut stream).unwrap();
    stream
}

/// In memory where there is such a place: thousands of directories need not be synced.
fn import_error(stream: &[u8]) -> ArchiveError {
    // Whoever looks first is told the same.
    check_archive(stream).unwrap_err();
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let target = open(dir.path(), &(Arc::new(MemoryOpener::default()) as Arc<dyn Opener>));
    import(&target, stream).unwrap_err()
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let stream = small_stream();
    for length in 0..stream.len() {
        assert!(matches!(import_error(&stream[..length]), ArchiveError::Invalid { .. }));
    }
    for bit in 0..stream.len() * 8 {
        let mut flipped = stream.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = import_error(&flipped);
        assert!(
            matches!(
                error,
                ArchiveError::Invalid { .. }
                    | ArchiveError::VersionNewer { .. }
                    | ArchiveError::Store(StoreError::VolumeTaken { .. })
            ),
            "bit {bit}: {error}"
        );
    }
}

#[test]
fn lengths_beyond_the_limits_are_refused_before_they_are_believed() {
    let mut stream = b"LUCIDARC\x00\x01\x01\x05index\x03".to_vec();
    stream.extend_from_slice(&[0, 1, 0xff, 0xff, 0xff, 0xff, b'k']);
    match import_error(&stream) {
        ArchiveError::Invalid { problem, .. } => {
            assert!(problem.contains("4294967295"), "{problem}")
        }
        other => panic!("{other}"),
    }
    let newer = b"LUCIDARC\x00\x02\xff";
    assert!(matches!(import_error(newer), ArchiveError::VersionNewer { found: 2, known: 1 }));
    assert!(matches!(import_error(b"LUCIDARC\x00\x01\x09"), ArchiveError::Invalid { .. }));
    assert!(matches!(import_error(b"LUCIDARC\x00\x01\x01\x01x"), ArchiveError::Invalid { .. }));
    assert!(matches!(import_error(b"ZIP"), ArchiveError::Invalid { .. }));
}
