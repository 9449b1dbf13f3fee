//! How fast is sealing and storing 1 GiB of incompressible data durably, beside `restic backup`
//! and `borg create`?
//!
//! All three encrypt and authenticate, write to the same file system and end with their data
//! synced. Figures are ratios of one run on one machine; `LUCID_BENCH_MIB` makes it smaller,
//! `LUCID_BENCH_ALONE=1` leaves the others out.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use lucid_evidence::SessionId;
use lucid_evidence::chunk::{ChunkSealer, MediaKind};
use lucid_evidence::seal::SessionSecret;
use lucid_store::{DataDir, Options};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Media sealed and stored at a time, bytes: what several cameras give in a second.
const BATCH_BYTES: usize = 4 << 20;
/// Recorders that seal side by side, as two cameras on two cores would.
const RECORDERS: u64 = 2;

fn main() {
    let mib: u64 = std::env::var("LUCID_BENCH_MIB").map_or(1024, |text| text.parse().unwrap());
    // Beside the build, not in a temporary directory that may be in memory.
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = tempfile::tempdir_in(base).unwrap();
    let source = dir.path().join("source");
    write_noise(&source, mib << 20);
    println!(
        "sealing and storing {mib} MiB of incompressible data durably, 3 rounds, best of each"
    );
    let before = processor_time();
    let lucid = best(|round| lucid(&source, &dir.path().join(format!("lucid-{round}"))));
    let spent = processor_time() - before;
    report("lucid", mib, lucid, lucid);
    let a_gib = spent / 3.0 * 1024.0 / mib as f64;
    println!("{:<14} {a_gib:>7.2} s of processor time a GiB", "");
    if std::env::var_os("LUCID_BENCH_ALONE").is_some() {
        return;
    }
    let restic = best(|round| restic(&source, &dir.path().join(format!("restic-{round}"))));
    report("restic backup", mib, restic, lucid);
    let borg = best(|round| borg(&source, &dir.path().join(format!("borg-{round}"))));
    report("borg create", mib, borg, lucid);
    let raw = best(|round| raw(&source, &dir.path().join(format!("raw-{round}"))));
    report("copy and sync", mib, raw, lucid);
}

fn report(name: &str, mib: u64, took: Option<Duration>, lucid: Option<Duration>) {
    match took.zip(lucid) {
        Some((took, lucid)) => println!(
            "{name:<14} {:>7.2} s {:>7.0} MiB/s  lucid is {:.2} times as fast",
            took.as_secs_f64(),
            mib as f64 / took.as_secs_f64(),
            took.as_secs_f64() / lucid.as_secs_f64()
        ),
        None => println!("{name:<14} is not installed"),
    }
}

/// Processor time of this process so far, seconds; unlike the clock it does not count what others
/// took.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    // utime and stime, fields 14 and 15 of proc(5), in hundredths of a second.
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}

fn best(mut run: impl FnMut(u32) -> Option<Duration>) -> Option<Duration> {
    (0..3).filter_map(&mut run).min()
}

fn write_noise(path: &Path, bytes: u64) {
    let mut noise = blake3::Hasher::new().update(b"bench").finalize_xof();
    let mut file = std::fs::File::create(path).unwrap();
    let mut block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        noise.fill(&mut block);
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
}

fn lucid(source: &Path, dir: &Path) -> Option<Duration> {
    let (data, _) = DataDir::open(dir, Options::default()).unwrap();
    let volumes = data.volumes();
    let share = std::fs::metadata(source).unwrap().len() / RECORDERS;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for recorder in 0..RECORDERS {
            let volumes = &volumes;
            scope.spawn(move || {
                use std::io::{Seek, SeekFrom};
                let session = SessionId::new(1_793_000_000_000, [recorder as u8; 10]);
                let secret = SessionSecret::from_bytes([recorder as u8; 32]);
                let mut file = std::fs::File::open(source).unwrap();
                file.seek(SeekFrom::Start(recorder * share)).unwrap();
                let mut reader = file.take(share);
                let begin = |index: u64| {
                    ChunkSealer::new(session, index, MediaKind::Video, &secret, [index as u8; 16])
                };
                let mut sealer = begin(0);
                let mut batch = vec![0; BATCH_BYTES];
                loop {
                    let filled = read_full(&mut reader, &mut batch);
                    if filled == 0 {
                        break;
                    }
                    if !sealer.fits(filled) {
                        sealer = begin(sealer.index() + 1);
                    }
                    let first = sealer.pieces();
                    let frames = sealer.push(&batch[..filled]).unwrap();
                    let records = (first..)
                        .zip(frames)
                        .map(|(piece, frame)| {
                            let mut key = session.as_bytes().to_vec();
                            key.extend_from_slice(&sealer.index().to_be_bytes());
                            key.extend_from_slice(&piece.to_be_bytes());
                            (key, frame)
                        })
                        .collect();
                    volumes.append(records).unwrap();
                }
            });
        }
    });
    volumes.seal_current().unwrap();
    Some(started.elapsed())
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]).unwrap() {
            0 => break,
            some => filled += some,
        }
    }
    filled
}

fn run(command: &mut Command) -> Option<Duration> {
    let started = Instant::now();
    let output = command.output().ok()?;
    let took = started.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(took)
}

fn restic(source: &Path, repository: &Path) -> Option<Duration> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new("restic");
        command.env("RESTIC_PASSWORD", "bench").arg("--repo").arg(repository).arg("--no-cache");
        command.args(arguments);
        command
    };
    run(&mut command(&["init"]))?;
    run(command(&["backup", "--quiet"]).arg(source))
}

fn borg(source: &Path, repository: &Path) -> Option<Duration> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new("borg");
        command
            .env("BORG_PASSPHRASE", "bench")
            .env("BORG_BASE_DIR", repository.with_extension("base"));
        command.args(arguments);
        command
    };
    run(command(&["init", "--encryption=repokey-blake2"]).arg(repository))?;
    let archive = format!("{}::bench", repository.display());
    run(command(&["create", "--compression=none"]).arg(archive).arg(source))
}

/// What the disk alone would take.
fn raw(source: &Path, copy: &Path) -> Option<Duration> {
    let started = Instant::now();
    std::fs::copy(source, copy).unwrap();
    std::fs::File::open(copy).unwrap().sync_all().unwrap();
    Some(started.elapsed())
}
