//! The process on the losing side: verifies what was promised before, or writes until it is killed.

use std::ops::ControlFlow;
use std::path::Path;

use lucid_store::{Batch, DataDir, Options, Relocated, Store, StoreError, VolumeId};

use super::disk::Seeded;
use super::ledger::{KEPT_EVERY, KEYS, Ledger};

/// Threads that append at once in a burst.
const THREADS: u64 = 3;

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Seeded(seed ^ 0x6c75_6369_6400_0000);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn record(n: u64) -> (Vec<u8>, Vec<u8>) {
    let mut random = Seeded(n);
    let length = match random.below(10) {
        0 => random.below(200),
        1 | 2 => random.below(16_000),
        _ => 30_000 + random.below(36_000),
    };
    (format!("record-{n:010}").into_bytes(), noise(n, length as usize))
}

/// What change number `change` leaves under `key`; some changes delete.
fn value(change: u64, key: u64) -> Option<Vec<u8>> {
    let mut random = Seeded(change * 1000 + key);
    let length = match random.below(8) {
        0 => return None,
        1 => 60_000 + random.below(20_000),
        2 | 3 => random.below(12_000),
        _ => random.below(600),
    };
    let mut bytes = change.to_be_bytes().to_vec();
    bytes.extend(noise(change * 1000 + key, length as usize));
    Some(bytes)
}

fn key(n: u64) -> Vec<u8> {
    format!("key-{n:04}").into_bytes()
}

fn open(path: &Path, volume_bytes: u64) -> Result<DataDir, String> {
    let options = Options { volume_bytes, reserve_bytes: 0, ..Options::default() };
    let (data, report) = DataDir::open(path, options).map_err(|e| format!("does not open: {e}"))?;
    if report.quarantined.is_empty() { Ok(data) } else { Err(format!("{report:?}")) }
}

fn databases(data: &DataDir) -> [std::sync::Arc<dyn Store>; 2] {
    [data.index(), data.chain()]
}

/// Reads back every promise. Returns how many there were, and whether the batch under way arrived.
pub fn verify(path: &Path, volume_bytes: u64, ledger: &Ledger) -> Result<(usize, bool), String> {
    let data = open(path, volume_bytes)?;
    let volumes = data.volumes();
    let is_good = |n: u64, volume: u64| -> Result<bool, String> {
        let (key, expected) = record(n);
        match volumes.get(VolumeId(volume), &key) {
            Ok(found) => Ok(found.is_some_and(|found| found == expected)),
            Err(error) => Err(format!("record {n} in volume {volume}: {error}")),
        }
    };
    for (n, volume) in &ledger.records {
        if !is_good(*n, *volume)? {
            return Err(format!("record {n} is not in volume {volume}"));
        }
    }
    let databases = databases(&data);
    let mut seen_under_way = (0, 0);
    let (way_database, way_change, way_keys) = ledger.under_way.clone().unwrap_or((9, 0, vec![]));
    for (at, store) in databases.iter().enumerate() {
        for n in 0..KEYS {
            let found = store.get(&key(n)).map_err(|e| format!("database {at}, key {n}: {e}"))?;
            let promised = ledger.keys.get(&(at as u8, n)).and_then(|change| value(*change, n));
            if usize::from(way_database) == at && way_keys.contains(&n) {
                let wanted = value(way_change, n);
                if wanted != promised {
                    seen_under_way.0 += u32::from(found == wanted);
                    seen_under_way.1 += 1;
                }
                if found == wanted {
                    continue;
                }
            }
            if found != promised {
                let found = found.map(|bytes| (bytes.len(), bytes[..8].to_vec()));
                let change = ledger.keys.get(&(at as u8, n));
                return Err(format!(
                    "database {at}, key {n}: not as of change {change:?}: {found:?}"
                ));
            }
        }
        let end = [0xff];
        let all = store.scan(&[0], &end, 1000).map_err(|e| format!("database {at}: {e}"))?;
        if all.len() > KEYS as usize {
            return Err(format!("database {at} holds {} keys", all.len()));
        }
    }
    if seen_under_way.0 != 0 && seen_under_way.0 != seen_under_way.1 {
        return Err(format!("a batch was applied in part: {seen_under_way:?}"));
    }
    let fsck = data.fsck(|_| {}).map_err(|e| e.to_string())?;
    for (id, report) in &fsck.volumes {
        // What was never acknowledged may be incomplete, but never among the promised.
        if !report.altered.is_empty() || report.unreadable.is_some() {
            return Err(format!("volume {id}: {report:?}"));
        }
    }
    if let Some((name, report)) = fsck.databases.iter().find(|(_, report)| !report.is_clean()) {
        return Err(format!("{name}: {report:?}"));
    }
    if !volumes.incidents().is_empty() {
        return Err(format!("{:?}", volumes.incidents()));
    }
    let blobs = blobs(path);
    if !blobs.is_empty() {
        return Err(format!("blobs are not empty: {blobs:?}"));
    }
    let promises = ledger.records.len() + ledger.keys.len();
    Ok((promises, seen_under_way.0 > 0))
}

/// What the store says on a disk that is read-only or full.
pub fn refusal(path: &Path, reserve_bytes: u64) -> String {
    let options = Options { reserve_bytes, ..Options::default() };
    match DataDir::open(path, options) {
        Err(error) => error.to_string(),
        Ok((data, _)) => {
            // Room for the databases, not for a record.
            match data.volumes().append(vec![record(1)]) {
                Err(error) => format!("open, but {error}"),
                Ok(_) => "stored".into(),
            }
        }
    }
}

/// What the store says when the disk goes away under it and stays away: it must answer every
/// append with an error, not fall over. Gives the last answer.
pub fn outlive_the_disk(path: &Path) -> String {
    const APPENDS_MAX: u64 = 10_000;
    const AFTER_THE_FIRST_ERROR: u32 = 5;
    let data = match open(path, 1 << 20) {
        Ok(data) => data,
        Err(problem) => return problem,
    };
    let mut last = String::from("no error");
    let mut errors = 0;
    for n in 0..APPENDS_MAX {
        match data.volumes().append(vec![record(n)]) {
            Ok(_) => {}
            Err(StoreError::Closed) => return "the writer is gone".into(),
            Err(error) => {
                errors += 1;
                last = error.to_string();
            }
        }
        if errors > AFTER_THE_FIRST_ERROR {
            break;
        }
    }
    drop(data);
    last
}

/// Files in any `blobs/` directory; the engine never syncs those.
fn blobs(path: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![path.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            if entry.path().is_dir() {
                dirs.push(entry.path());
            } else if dir.ends_with("blobs") {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Writes until the power goes or the process is killed, saying every promise it was given.
pub fn write(path: &Path, volume_bytes: u64, seed: u64, mut next: u64) -> Result<(), String> {
    let data = open(path, volume_bytes)?;
    let volumes = data.volumes();
    let databases = databases(&data);
    let mut random = Seeded(seed);
    loop {
        let step = match random.below(100) {
            0..45 => {
                let count = 1 + random.below(12);
                let records: Vec<u64> = (next..next + count).collect();
                next += count;
                println!("next {next}");
                let pairs = records.iter().map(|n| record(*n)).collect();
                volumes.append(pairs).map(|id| say_stored(id, &records))
            }
            45..52 => {
                // A large append: more than one step, across segments of the engine.
                let records: Vec<u64> = (next..next + 100).collect();
                next += 100;
                println!("next {next}");
                let pairs = records.iter().map(|n| record(*n)).collect();
                volumes.append(pairs).map(|id| say_stored(id, &records))
            }
            52..65 => {
                let first = next;
                next += THREADS * 4;
                println!("next {next}");
                std::thread::scope(|scope| {
                    for thread in 0..THREADS {
                        let volumes = &volumes;
                        scope.spawn(move || {
                            for n in 0..4 {
                                let n = first + thread * 4 + n;
                                if let Ok(id) = volumes.append(vec![record(n)]) {
                                    say_stored(id, &[n]);
                                }
                            }
                        });
                    }
                });
                Ok(())
            }
            65..93 => {
                let database = random.below(2) as usize;
                let change = next;
                next += 1;
                let first = random.below(KEYS);
                let count = 1 + random.below(6);
                let keys: Vec<u64> = (first..(first + count).min(KEYS)).collect();
                let mut batch = Batch::new();
                for n in &keys {
                    match value(change, *n) {
                        Some(value) => batch.put(key(*n), value),
                        None => batch.delete(key(*n)),
                    };
                }
                let list: Vec<String> = keys.iter().map(u64::to_string).collect();
                println!("next {next}\nbatch {database} {change} {}", list.join(" "));
                let store = &databases[database];
                store.apply(batch).and_then(|()| store.flush()).map(|()| println!("flushed"))
            }
            93..95 => volumes.seal_current(),
            _ => match volumes.ids().as_slice() {
                [oldest, _, _, ..] => {
                    println!("removing {}", oldest.0);
                    let mut keep = |key: &[u8]| {
                        let digits = std::str::from_utf8(&key[7..]).unwrap_or("1");
                        digits.parse::<u64>().is_ok_and(|n| n % KEPT_EVERY == 0)
                    };
                    let mut settle = |relocated: &Relocated| {
                        for (key, home) in &relocated.moved {
                            let digits = String::from_utf8_lossy(&key[7..]).into_owned();
                            println!("moved {} {}", digits.parse::<u64>().unwrap_or(0), home.0);
                        }
                        Ok::<(), StoreError>(())
                    };
                    volumes.remove(*oldest, &mut keep, &mut settle).map(drop)
                }
                _ => Ok(()),
            },
        };
        if let ControlFlow::Break(()) = goes_on(step) {
            return Ok(());
        }
    }
}

fn say_stored(volume: VolumeId, records: &[u64]) {
    let list: Vec<String> = records.iter().map(u64::to_string).collect();
    println!("stored {} {}", volume.0, list.join(" "));
}

fn goes_on(step: Result<(), StoreError>) -> ControlFlow<()> {
    match step {
        Ok(()) => ControlFlow::Continue(()),
        // The power is gone; the kill is on its way.
        Err(_) => ControlFlow::Break(()),
    }
}
