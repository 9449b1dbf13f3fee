//! Power cuts under a writing store.
//!
//! A process writes records and key-value batches on a file system that keeps only what was
//! synced. At a seeded moment the power goes: the process is killed, and of what was not synced a
//! seeded part survives. Then everything that was acknowledged must read back and verify; the
//! same disk goes into the next round, so cuts also hit the recovery from earlier cuts.
//!
//! `LUCID_POWER_CUTS` sets the number of cuts (20 without it), `LUCID_POWER_SEED` the first seed.
//! A failure names the seed of its chain of cuts: `LUCID_POWER_SEED=<that> LUCID_POWER_CUTS=<n>`
//! replays it, but for the scheduling of threads. The chain is rounds on one disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod child;
mod disk;
mod ledger;
mod mount;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use disk::{Disk, Seeded};
use ledger::Ledger;
use mount::Condition;

/// Cuts when nothing else is said; enough to notice a store that does not sync.
const CUTS: u64 = 20;
/// Cuts on one disk before the next chain begins with a fresh one.
const CUTS_PER_CHAIN: u64 = 25;
/// Volume sizes, in bytes, one per chain: frequent rotation, several engine segments, the default.
const VOLUME_BYTES: [u64; 3] = [1 << 20, 12 << 20, 32 << 20];
/// Set where the mounts are in a namespace of their own.
const APART: &str = "LUCID_POWER_APART";
/// A writer that does not come to its cut is a bug of this test or a deadlock of the store.
const STUCK: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("power-verify") => child_verify(&args[2..]),
        Some("power-refusal") => {
            println!("{}", child::refusal(Path::new(&args[2]), args[3].parse().unwrap()));
            ExitCode::SUCCESS
        }
        Some("power-outlive") => {
            println!("{}", child::outlive_the_disk(Path::new(&args[2])));
            ExitCode::SUCCESS
        }
        Some("power-write") => child_write(&args[2..]),
        // What test runners ask of every test binary.
        Some("--list") => ExitCode::SUCCESS,
        // `cargo test <name>` of another test.
        Some(filter) if !filter.starts_with('-') && !"power".contains(filter) => ExitCode::SUCCESS,
        _ => {
            if env::var_os(APART).is_none() {
                go_apart(&args[1..]);
            }
            run()
        }
    }
}

/// Goes on in a mount namespace of its own, where that is allowed: a namespace that somebody else
/// on this machine makes meanwhile would else keep a copy of our mounts, and with it the disk.
fn go_apart(args: &[String]) {
    use std::os::unix::process::CommandExt;
    let apart = ["--mount", "--propagation", "private"];
    let allowed = Command::new("unshare").args(apart).arg("true").output();
    if allowed.is_ok_and(|output| output.status.success()) {
        let program = env::current_exe().unwrap();
        let error =
            Command::new("unshare").args(apart).arg(program).args(args).env(APART, "1").exec();
        panic!("unshare worked a moment ago, and now: {error}");
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => otherwise,
    }
}

fn child_verify(args: &[String]) -> ExitCode {
    let mut ledger = Ledger::default();
    for line in std::fs::read_to_string(&args[2]).unwrap().lines() {
        ledger.hear(line).unwrap();
    }
    match child::verify(Path::new(&args[0]), args[1].parse().unwrap(), &ledger) {
        Ok((promises, arrived)) => {
            println!("{promises} {}", u8::from(arrived));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn child_write(args: &[String]) -> ExitCode {
    let numbers: Vec<u64> = args[1..].iter().map(|arg| arg.parse().unwrap()).collect();
    match child::write(Path::new(&args[0]), numbers[0], numbers[1], numbers[2]) {
        Ok(()) => ExitCode::SUCCESS,
        // The power may have gone while opening.
        Err(_) => ExitCode::FAILURE,
    }
}

#[derive(Default)]
struct Figures {
    cuts: u64,
    /// Cuts before the writer had acknowledged anything: during recovery.
    during_recovery: u64,
    verified: u64,
    acknowledged: u64,
}

fn run() -> ExitCode {
    disk::check_model();
    check_refusals();
    check_outliving();
    let cuts = number("LUCID_POWER_CUTS", CUTS);
    let first = number("LUCID_POWER_SEED", 1);
    let began = Instant::now();
    let mut figures = Figures::default();
    for chain in 0..cuts.div_ceil(CUTS_PER_CHAIN) {
        let seed = first + chain;
        let rounds = CUTS_PER_CHAIN.min(cuts - chain * CUTS_PER_CHAIN);
        if let Err(problem) = run_chain(seed, rounds, &mut figures) {
            println!("chain with seed {seed} failed after {} cuts: {problem}", figures.cuts);
            println!("replay: LUCID_POWER_SEED={seed} LUCID_POWER_CUTS={rounds}");
            return ExitCode::FAILURE;
        }
        println!(
            "seed {seed}: {} cuts so far, {} during recovery, {} promises verified, none broken, \
             {:.0?}",
            figures.cuts,
            figures.during_recovery,
            figures.verified,
            began.elapsed()
        );
    }
    println!(
        "power: ok. {} cuts, {} of them during recovery; {} acknowledgements; {} reads of \
         promises, none broken",
        figures.cuts, figures.during_recovery, figures.acknowledged, figures.verified
    );
    ExitCode::SUCCESS
}

/// A disk that is read-only or full is refused in words, and works again when it has room.
fn check_refusals() {
    const RESERVE_BYTES: u64 = 1 << 20;
    let work = tempfile::tempdir().unwrap();
    let at = work.path().join("mount");
    std::fs::create_dir(&at).unwrap();
    let mut disk = Disk::new();
    for (condition, expected) in [
        (Condition::ReadOnly, "file system is read-only at "),
        (Condition::Free(RESERVE_BYTES / 2), "disk is full at "),
        (Condition::Good, "stored"),
        (Condition::ReadOnly, "file system is read-only at "),
        (Condition::Free(RESERVE_BYTES), "open, but disk is full at "),
        (Condition::Good, "stored"),
    ] {
        let mounted = mount::mount_as(condition, disk, &at, None, None);
        let output = Command::new(env::current_exe().unwrap())
            .arg("power-refusal")
            .arg(at.join("data"))
            .arg(RESERVE_BYTES.to_string())
            .output()
            .unwrap();
        disk = mounted.take();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with(expected), "{condition:?}: {said}");
    }
}

/// A disk that goes away and stays away: appends are answered with errors, and nothing falls over.
fn check_outliving() {
    let work = tempfile::tempdir().unwrap();
    let at = work.path().join("mount");
    std::fs::create_dir(&at).unwrap();
    for left in [150, 200, 300, 400] {
        let mounted = mount::mount(Disk::new(), &at, Some(left), None);
        let output = Command::new(env::current_exe().unwrap())
            .arg("power-outlive")
            .arg(at.join("data"))
            .output()
            .unwrap();
        drop(mounted.take());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with("cannot ") && output.status.success(), "{left}: {said}");
    }
}

fn run_chain(seed: u64, rounds: u64, figures: &mut Figures) -> Result<(), String> {
    let work = tempfile::tempdir().unwrap();
    let at = work.path().join("mount");
    std::fs::create_dir(&at).unwrap();
    let mut random = Seeded(seed);
    let volume_bytes = VOLUME_BYTES[(seed % VOLUME_BYTES.len() as u64) as usize];
    let (mut disk, mut ledger) = (Disk::new(), Ledger::default());
    for round in 0..rounds {
        let in_round = |problem: String| format!("round {round}: {problem}");
        // Mostly in the middle of writing, often during opening.
        let left = if random.percent(25) { 1 + random.below(60) } else { 40 + random.below(500) };
        let before = ledger.clone();
        disk = write_until_cut(disk, &at, left, volume_bytes, random.next(), &mut ledger)
            .map_err(in_round)?
            .cut(&mut random);
        figures.cuts += 1;
        let said = ledger.records.len() + ledger.keys.len();
        figures.during_recovery += u64::from(ledger.next == before.next);
        figures.acknowledged +=
            said.saturating_sub(before.records.len() + before.keys.len()) as u64;
        // On a copy, so that the next cut meets the disk as this one left it.
        figures.verified +=
            verify(disk.clone(), &at, volume_bytes, &mut ledger).map_err(in_round)?;
    }
    Ok(())
}

/// Lets a process write on `disk` until the power goes; what it was promised is in `ledger` then.
fn write_until_cut(
    disk: Disk,
    at: &Path,
    left: u64,
    volume_bytes: u64,
    seed: u64,
    ledger: &mut Ledger,
) -> Result<Disk, String> {
    let (cut, gone) = channel();
    let mounted = mount::mount(disk, at, Some(left), Some(cut));
    let errors = at.with_file_name("writer-errors");
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["power-write", &at.join("data").display().to_string()])
        .args([volume_bytes, seed, ledger.next].map(|n| n.to_string()))
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let said = writer.stdout.take().unwrap();
    let listener = std::thread::spawn(move || {
        BufReader::new(said).lines().map_while(Result::ok).collect::<Vec<_>>()
    });
    let mut came = false;
    let began = Instant::now();
    while !came && began.elapsed() < STUCK {
        came = gone.recv_timeout(Duration::from_millis(100)).is_ok();
        if !came && writer.try_wait().unwrap().is_some() {
            came = gone.try_recv().is_ok();
            break;
        }
    }
    // It may have ended by itself when the power went.
    let _ = writer.kill();
    writer.wait().unwrap();
    let lines = listener.join().unwrap();
    let disk = mounted.take();
    if !came {
        let errors = std::fs::read_to_string(&errors).unwrap_or_default();
        return Err(format!("the writer did not come to the cut; its last words: {errors}"));
    }
    // The last line may have been cut off by the kill; then it was not said.
    for line in lines {
        if let Err(problem) = ledger.hear(&line) {
            println!("ignored: {problem}");
        }
    }
    Ok(disk)
}

/// Has a fresh process read back every promise. Returns how many, and settles the batch that was
/// under way: it is there as a whole or not at all, and stays so.
fn verify(disk: Disk, at: &Path, volume_bytes: u64, ledger: &mut Ledger) -> Result<u64, String> {
    let promises = at.with_file_name("promises");
    std::fs::write(&promises, ledger.to_text()).unwrap();
    let mounted = mount::mount(disk, at, None, None);
    let output = Command::new(env::current_exe().unwrap())
        .arg("power-verify")
        .arg(at.join("data"))
        .arg(volume_bytes.to_string())
        .arg(&promises)
        .output()
        .unwrap();
    drop(mounted.take());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Result<Vec<u64>, _> = said.split_whitespace().map(str::parse).collect();
    match figures.as_deref() {
        Ok([promises, arrived]) if output.status.success() => {
            if let Some((database, change, keys)) = ledger.under_way.take()
                && *arrived == 1
            {
                ledger.keys.extend(keys.into_iter().map(|key| ((database, key), change)));
            }
            Ok(*promises)
        }
        _ => Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr))),
    }
}
