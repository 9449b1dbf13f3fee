//! Measures the store: throughput, disk per byte, memory, opening. The figures in
//! `docs/storage.md` come from here.
//!
//! `cargo run --release -p lucid-store --example measure -- <directory> [MiB] [threads]
//! [records an append] [volume MiB]`
//!
//! The directory must not exist; it is left behind for a look.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lucid_store::{DataDir, Options, VolumeId};

/// A piece of 64 KiB with what its sealing adds.
const RECORD_BYTES: usize = 65_536 + 60;
/// Sealed volumes made for the measurement of opening.
const MANY_VOLUMES: u64 = 10_000;

/// A line of /proc/self/status in MiB.
fn status_mib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Processor time of this process so far, in seconds; what others do on the machine matters less.
fn cpu_seconds() -> f64 {
    /// The kernel's unit in /proc, fixed for programs.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}

fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; RECORD_BYTES];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn key(n: u64) -> Vec<u8> {
    let mut key = vec![0; 25];
    key[17..].copy_from_slice(&n.to_be_bytes());
    key
}

fn open(path: &Path, volume_bytes: u64) -> (DataDir, Duration) {
    let began = Instant::now();
    let options = Options { volume_bytes, ..Options::default() };
    let (data, report) = DataDir::open(path, options).unwrap();
    assert!(report.quarantined.is_empty());
    (data, began.elapsed())
}

fn main() {
    let mut args = std::env::args().skip(1);
    let path = PathBuf::from(args.next().expect("give a directory"));
    assert!(!path.exists(), "{} exists", path.display());
    let mut number = |otherwise: u64| args.next().map_or(otherwise, |arg| arg.parse().unwrap());
    let (mib, threads, per_append) = (number(1024), number(2), number(16));
    let volume_bytes = number(Options::default().volume_bytes >> 20) << 20;
    let records = mib * 1024 * 1024 / RECORD_BYTES as u64;
    let samples: Vec<Vec<u8>> = (0..64).map(noise).collect();

    let (data, _) = open(&path, volume_bytes);
    let volumes = data.volumes();
    let base = status_mib("VmRSS");
    let cpu = cpu_seconds();
    let began = Instant::now();
    let mut homes: Vec<(u64, VolumeId, Duration)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (volumes, samples) = (&volumes, &samples);
                scope.spawn(move || {
                    let mut homes = Vec::new();
                    let mut n = thread * per_append;
                    while n < records {
                        let step = n..(n + per_append).min(records);
                        let batch =
                            step.clone().map(|n| (key(n), samples[n as usize % 64].clone()));
                        let asked = Instant::now();
                        let home = volumes.append(batch.collect()).unwrap();
                        homes.extend(step.map(|n| (n, home, asked.elapsed())));
                        n += threads * per_append;
                    }
                    homes
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let elapsed = began.elapsed();
    println!("processor time: {:.2} s for {:.2} s", cpu_seconds() - cpu, elapsed.as_secs_f64());
    let bytes = records * RECORD_BYTES as u64;
    let rate = |bytes: u64, elapsed: Duration| bytes as f64 / 1e6 / elapsed.as_secs_f64();
    println!(
        "{mib} MiB, {threads} threads, {per_append} records of {RECORD_BYTES} bytes an append: \
         {:.0} MB/s durable",
        rate(bytes, elapsed)
    );
    homes.sort_by_key(|(_, _, took)| *took);
    let percentile = |p: usize| homes[(homes.len() - 1) * p / 100].2;
    println!(
        "append: median {:.1?}, 99 % {:.1?}, longest {:.1?}",
        percentile(50),
        percentile(99),
        percentile(100)
    );
    println!(
        "resident: {} MiB before, {} MiB after, {} MiB at most",
        base,
        status_mib("VmRSS"),
        status_mib("VmHWM")
    );
    volumes.seal_current().unwrap();
    let list = volumes.list();
    let (disk, stored) = list
        .iter()
        .fold((0, 0), |sum, info| (sum.0 + info.bytes_on_disk, sum.1 + info.bytes_stored));
    println!(
        "{} volumes, {:.3} bytes on disk per byte stored",
        list.len(),
        disk as f64 / stored as f64
    );
    let dearest = list
        .iter()
        .take(list.len().max(2) - 1)
        .map(|i| i.bytes_on_disk as f64 / i.bytes_stored as f64);
    println!("dearest full volume: {:.3}", dearest.fold(0.0, f64::max));

    homes.sort_by_key(|(n, _, _)| *n);
    let (began, cpu) = (Instant::now(), cpu_seconds());
    for (n, home, _) in &homes {
        assert!(volumes.get(*home, &key(*n)).unwrap().as_ref() == Some(&samples[*n as usize % 64]));
    }
    println!(
        "read back in order: {:.0} MB/s; resident {} MiB, {} MiB at most",
        rate(bytes, began.elapsed()),
        status_mib("VmRSS"),
        status_mib("VmHWM")
    );
    println!("processor time: {:.2} s", cpu_seconds() - cpu);
    let mut random = 1u64;
    let began = Instant::now();
    const SEEKS: u32 = 200;
    for _ in 0..SEEKS {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (n, home, _) = &homes[(random >> 33) as usize % homes.len()];
        assert!(volumes.get(*home, &key(*n)).unwrap().is_some());
    }
    println!(
        "one record of a random volume: {:.1?}; resident {} MiB",
        began.elapsed() / SEEKS,
        status_mib("VmRSS")
    );
    drop((volumes, data));

    let last = list.len() as u64;
    let sealed = path.join("volumes").join(VolumeId(1).to_string());
    for id in last + 1..=MANY_VOLUMES {
        let dir = path.join("volumes").join(VolumeId(id).to_string());
        std::fs::create_dir(&dir).unwrap();
        for entry in std::fs::read_dir(&sealed).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                // The same bytes under another name; opening is not to look at them.
                std::fs::hard_link(entry.path(), dir.join(entry.file_name())).unwrap();
            }
        }
    }
    let (data, took) = open(&path, volume_bytes);
    println!("opening with {} sealed volumes: {took:.1?}", data.volumes().ids().len());
    let began = Instant::now();
    let listed = data.volumes().list().len();
    println!(
        "listing {listed} with sizes: {:.1?}; resident {} MiB",
        began.elapsed(),
        status_mib("VmRSS")
    );
}
