//! Damaged files: the data directory opens, nothing wrong is ever returned, the bytes are kept
//! in quarantine, and new data can be recorded.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{key, noise, open, options};
use lucid_store::engine::Opener;
use lucid_store::engine::sled_engine::SledOpener;
use lucid_store::{Batch, DataDir, StoreError, VolumeId};

fn sled() -> Arc<dyn Opener> {
    Arc::new(SledOpener)
}

/// 40 records in one sealed volume, 10 in the current one, 20 keys in each database.
fn filled(path: &Path) -> (VolumeId, VolumeId) {
    let data = open(path, &sled());
    let volumes = data.volumes();
    let sealed = volumes.append((0..40).map(|n| (key(n), noise(n, 45_000))).collect()).unwrap();
    volumes.seal_current().unwrap();
    let current = volumes.append((40..50).map(|n| (key(n), noise(n, 45_000))).collect()).unwrap();
    for store in [data.index(), data.chain()] {
        let mut batch = Batch::new();
        for n in 0..20 {
            batch.put(key(n), noise(n, 700));
        }
        store.apply(batch).unwrap();
        store.flush().unwrap();
    }
    (sealed, current)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

/// Everything that can be read is right, and writing still works. Returns how much was readable.
fn check(path: &Path, sealed: VolumeId, current: VolumeId) -> usize {
    let (data, _) = DataDir::open(path, options(sled())).unwrap();
    let volumes = data.volumes();
    let mut good = 0;
    for n in 0..50 {
        let home = if n < 40 { sealed } else { current };
        if let Ok(Some(value)) = volumes.get(home, &key(n)) {
            assert_eq!(value, noise(n, 45_000), "record {n}");
            good += 1;
        }
    }
    for store in [data.index(), data.chain()] {
        for n in 0..20 {
            if let Ok(Some(value)) = store.get(&key(n)) {
                assert_eq!(value, noise(n, 700), "key {n}");
                good += 1;
            }
        }
        let mut batch = Batch::new();
        batch.put(b"after".to_vec(), b"damage".to_vec());
        // A page that cannot be read cannot be written either; the database then says so.
        match store.apply(batch).and_then(|()| store.flush()) {
            Ok(()) => assert_eq!(store.get(b"after").unwrap(), Some(b"damage".to_vec())),
            Err(error) => assert!(error.is_damage(), "{error}"),
        }
    }
    let home = match volumes.append(vec![(key(99), noise(99, 45_000))]) {
        Ok(home) => home,
        // The damaged current volume was closed early; the next append finds a fresh one.
        Err(_) => volumes.append(vec![(key(99), noise(99, 45_000))]).unwrap(),
    };
    assert_eq!(volumes.get(home, &key(99)).unwrap(), Some(noise(99, 45_000)));
    data.fsck(|_| {}).unwrap();
    good
}

/// The files of the data directory that a flipped byte can hit.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") && !path.ends_with("version") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_flipped_byte_anywhere_never_yields_wrong_data_nor_stops_recording() {
    const PLACES_PER_FILE: usize = 6;
    let original = tempfile::tempdir().unwrap();
    let (sealed, current) = filled(original.path());
    let mut least = usize::MAX;
    for file in files(original.path()) {
        let name = file.strip_prefix(original.path()).unwrap();
        let length = fs::metadata(&file).unwrap().len() as usize;
        for place in 0..PLACES_PER_FILE.min(length) {
            let work = tempfile::tempdir().unwrap();
            copy(original.path(), work.path());
            // Not at even steps, so that headers and bodies are hit.
            let at = (place * length / PLACES_PER_FILE + place * 37) % length;
            flip(&work.path().join(name), at);
            let good = check(work.path(), sealed, current);
            least = least.min(good);
        }
    }
    assert!(least < 90, "some of the flips hurt something");
}

#[test]
fn a_database_that_does_not_open_is_moved_aside_and_reported() {
    for name in ["index", "chain"] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let log = dir.path().join(name).join("db");
        let garbage = noise(5, fs::metadata(&log).unwrap().len() as usize);
        fs::write(&log, &garbage).unwrap();
        fs::write(dir.path().join(name).join("conf"), noise(6, 63)).unwrap();
        let (data, report) = DataDir::open(dir.path(), options(sled())).unwrap();
        assert_eq!(report.quarantined.len(), 1, "{report:?}");
        let aside = &report.quarantined[0];
        assert_eq!(aside.name, name);
        assert_eq!(fs::read(aside.path.join("db")).unwrap(), garbage, "bytes as they were");
        let (fresh, other) = match name {
            "index" => (data.index(), data.chain()),
            _ => (data.chain(), data.index()),
        };
        assert_eq!(fresh.get(&key(1)).unwrap(), None);
        assert_eq!(other.get(&key(1)).unwrap(), Some(noise(1, 700)));
        let mut batch = Batch::new();
        batch.put(key(1), b"again".to_vec());
        fresh.apply(batch).unwrap();
        fresh.flush().unwrap();
        drop((fresh, other, data));
        let (data, report) = DataDir::open(dir.path(), options(sled())).unwrap();
        assert!(report.quarantined.is_empty(), "reported once");
        drop(data);
    }
}

#[test]
fn a_current_volume_that_does_not_open_is_moved_aside_and_its_number_not_reused() {
    let dir = tempfile::tempdir().unwrap();
    let (sealed, current) = filled(dir.path());
    let volume = dir.path().join("volumes").join(current.to_string());
    fs::write(volume.join("conf"), noise(6, 63)).unwrap();
    let (data, report) = DataDir::open(dir.path(), options(sled())).unwrap();
    assert_eq!(report.quarantined.len(), 1, "{report:?}");
    assert!(report.quarantined[0].path.join("db").is_file());
    let volumes = data.volumes();
    assert!(matches!(volumes.get(current, &key(41)), Err(StoreError::UnknownVolume { .. })));
    assert_eq!(volumes.get(sealed, &key(1)).unwrap(), Some(noise(1, 45_000)));
    let home = volumes.append(vec![(key(60), noise(60, 100))]).unwrap();
    assert!(home > current);
}

#[test]
fn a_damaged_tail_is_copied_before_the_engine_can_cut_it_off() {
    let dir = tempfile::tempdir().unwrap();
    let (sealed, _) = filled(dir.path());
    let log = dir.path().join("volumes").join(sealed.to_string()).join("db");
    flip(&log, 1_000_000);
    let before = fs::read(&log).unwrap();
    let data = open(dir.path(), &sled());
    let volumes = data.volumes();
    let report = volumes.scrub(sealed).unwrap();
    assert!(!report.is_clean());
    let incidents = volumes.incidents();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let copy = incidents[0].quarantined.clone().unwrap();
    assert_eq!(fs::read(copy.join("db")).unwrap(), before);
}

#[test]
fn reading_a_sealed_volume_changes_none_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let (sealed, _) = filled(dir.path());
    let volume = dir.path().join("volumes").join(sealed.to_string());
    let contents = || -> Vec<(PathBuf, Vec<u8>)> {
        files(&volume).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    };
    let before = contents();
    for _ in 0..3 {
        let data = open(dir.path(), &sled());
        let volumes = data.volumes();
        for n in 0..40 {
            assert_eq!(volumes.get(sealed, &key(n)).unwrap(), Some(noise(n, 45_000)));
        }
        drop((volumes, data));
        assert!(contents() == before, "a file changed");
    }
}

#[test]
fn a_damaged_record_of_a_database_can_be_put_aside() {
    use lucid_store::engine::fault::{Fault, FaultOpener, Faults};
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let opener = Arc::new(FaultOpener::new(sled(), faults.clone()));
    let (data, _) = DataDir::open(dir.path(), options(opener)).unwrap();
    faults.arm(Fault::BitFlip { bit: 333 });
    let mut batch = Batch::new();
    batch.put(key(1), noise(1, 100));
    data.index().apply(batch).unwrap();
    assert!(!data.fsck(|_| {}).unwrap().is_clean());
    let raw = data.index().raw(&key(1)).unwrap().unwrap();
    let place = data.quarantine_record("index", &key(1)).unwrap().unwrap();
    let kept = fs::read(place).unwrap();
    assert!(kept.ends_with(&raw) && kept[2..].starts_with(&key(1)));
    assert!(data.fsck(|_| {}).unwrap().is_clean());
    assert_eq!(data.index().get(&key(1)).unwrap(), None);
    assert_eq!(data.quarantine_record("index", &key(1)).unwrap(), None);
}

#[test]
fn a_second_opener_is_refused_and_told_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path(), &sled());
    match DataDir::open(dir.path(), options(sled())).map(drop).unwrap_err() {
        StoreError::InUse { path, holder } => {
            assert_eq!(path, dir.path());
            assert_eq!(holder, std::process::id().to_string());
        }
        other => panic!("{other}"),
    }
    drop(data);
    open(dir.path(), &sled());
}

#[test]
fn versions_are_checked_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    assert!(DataDir::open(dir.path(), options(sled())).unwrap().1.created);
    assert!(!DataDir::open(dir.path(), options(sled())).unwrap().1.created);
    let version = dir.path().join("version");
    assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
    let refused = || DataDir::open(dir.path(), options(sled())).map(drop).unwrap_err();
    fs::write(&version, "2\n").unwrap();
    assert!(matches!(refused(), StoreError::VersionNewer { found: 2, known: 1, .. }));
    for wrong in ["", "one", "0", "-1", "1 1"] {
        fs::write(&version, wrong).unwrap();
        assert!(matches!(refused(), StoreError::VersionUnreadable { .. }), "{wrong:?}");
    }
    fs::write(&version, [0xff, 0xfe]).unwrap();
    assert!(matches!(refused(), StoreError::VersionUnreadable { .. }));
    fs::remove_file(&version).unwrap();
    assert!(matches!(refused(), StoreError::VersionUnreadable { .. }));
}

#[test]
fn a_disk_with_less_room_than_the_reserve_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let no_room = || lucid_store::Options { reserve_bytes: u64::MAX / 2, ..options(sled()) };
    match DataDir::open(dir.path(), no_room()).map(drop).unwrap_err() {
        StoreError::Full { path, available, needed } => {
            assert_eq!(path, dir.path());
            assert!(available > 0 && needed > available);
        }
        other => panic!("{other}"),
    }
    // One that is there opens all the same: it is read, and a write is refused by itself.
    let volume = {
        let data = open(dir.path(), &sled());
        let mut batch = Batch::new();
        batch.put(key(1), noise(1, 100));
        data.index().apply(batch).unwrap();
        data.index().flush().unwrap();
        data.volumes().append(vec![(key(2), noise(2, 100))]).unwrap()
    };
    let (data, report) = DataDir::open(dir.path(), no_room()).unwrap();
    assert_eq!(report.quarantined, vec![]);
    assert_eq!(data.index().get(&key(1)).unwrap(), Some(noise(1, 100)));
    assert_eq!(data.volumes().get(volume, &key(2)).unwrap(), Some(noise(2, 100)));
    let mut batch = Batch::new();
    batch.put(key(3), noise(3, 100));
    let refused = data.index().apply(batch).unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    let refused = data.volumes().append(vec![(key(4), noise(4, 100))]).unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    drop(data);
    let file = dir.path().join("a-file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(
        DataDir::open(&file, options(sled())).map(drop).unwrap_err(),
        StoreError::Io { .. }
    ));
}

#[test]
fn room_that_was_set_aside_is_given_up_when_space_is_to_be_given_back() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), &sled()));
    let aside = dir.path().join("reserve");
    if !aside.exists() {
        eprintln!("this file system sets no room aside");
        return;
    }
    assert_eq!(fs::metadata(&aside).unwrap().len(), 512 * 1024);
    let too_much = lucid_store::Options { reserve_bytes: u64::MAX / 2, ..options(sled()) };
    let (data, _) = DataDir::open(dir.path(), too_much).unwrap();
    assert!(!aside.exists());
    drop(data);
    drop(open(dir.path(), &sled()));
    assert!(aside.exists());
    // A reserve of five quarters of what is free: a batch has no room, one of the reserve has.
    let reserve_bytes = {
        let data = open(dir.path(), &sled());
        data.available_bytes().unwrap() / 4 * 5
    };
    let short = lucid_store::Options { reserve_bytes, ..options(sled()) };
    let (data, _) = DataDir::open(dir.path(), short).unwrap();
    let mut batch = Batch::new();
    batch.put(key(1), noise(1, 100));
    let refused = data.index().apply(batch.clone()).unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    data.index().apply(batch.use_reserve().clone()).unwrap();
    assert!(aside.exists());
}

#[test]
fn leftovers_of_interrupted_creation_and_removal_are_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let (sealed, current) = filled(dir.path());
    let volumes = dir.path().join("volumes");
    copy(&volumes.join(sealed.to_string()), &volumes.join("0000000007.new"));
    copy(&volumes.join(sealed.to_string()), &volumes.join("0000000000.removed"));
    let data = open(dir.path(), &sled());
    assert_eq!(data.volumes().ids(), [sealed, current]);
    assert!(!volumes.join("0000000007.new").exists());
    assert!(!volumes.join("0000000000.removed").exists());
}
