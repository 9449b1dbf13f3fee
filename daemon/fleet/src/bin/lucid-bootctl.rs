//! `lucid-bootctl`: RAUC's custom boot loader backend, and the hand that confirms a system on trial
//! or gives it up. It does one thing and ends.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use lucid_fleet::boot::env::Health;
use lucid_fleet::boot::{Backend, Slot, Slots};
use lucid_fleet::disk::Directory;
use lucid_fleet::verdict::{self, Verdict};

/// Wrong use, as `sysexits.h` has it.
const USAGE: u8 = 64;
/// How often a verdict is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest reason written down, in characters.
const REASON_CHARS_MAX: usize = 400;

/// Says and changes which of the two systems starts.
#[derive(Parser)]
#[command(name = "lucid-bootctl", version, about, max_term_width = 100)]
struct Cli {
    /// Where the boot-config partition is mounted
    #[arg(long, env = "LUCID_BOOT_CONFIG", default_value = "/boot/config", global = true)]
    dir: PathBuf,
    /// Who chooses the slot at a start
    #[arg(long, env = "LUCID_BOOT_BACKEND", default_value = "auto", global = true)]
    backend: Choice,
    /// The kernel's command line, which names the slot that runs
    #[arg(
        long,
        env = "LUCID_BOOT_COMMAND_LINE",
        default_value = "/proc/cmdline",
        value_name = "FILE",
        global = true
    )]
    command_line: PathBuf,
    /// What the Raspberry Pi's firmware leaves; where it is, `auto` is `tryboot`
    #[arg(
        long,
        default_value = "/proc/device-tree/chosen/bootloader",
        value_name = "DIR",
        hide = true,
        global = true
    )]
    firmware: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// The firmware where it left its mark, else the initrd
    Auto,
    /// The Raspberry Pi's firmware
    Tryboot,
    /// The initrd
    Initrd,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Good,
    Bad,
}

#[derive(Subcommand)]
enum Verb {
    /// Print the slot of the next start
    GetPrimary,
    /// Let the next start, and only that one, be of a slot; it stays when it is marked good
    SetPrimary { slot: Slot },
    /// Print `good` or `bad`
    GetState { slot: Slot },
    /// Mark a slot; `good` for the running one confirms it
    SetState { slot: Slot, state: State },
    /// Print the slot that runs
    GetCurrent,
    /// Print everything as JSON
    Status,
    /// Print what a reboot must be given for a waiting trial; nothing when it needs nothing
    RebootArgument,
    /// Make the boot files of a new image
    Init {
        /// The slot that is written
        #[arg(long)]
        default: Slot,
        /// Write them even where they are
        #[arg(long)]
        force: bool,
    },
    /// Confirm the running system once its self-test passed; fail when it failed or never ended
    Confirm {
        /// Where the daemon leaves the verdict of its self-test
        #[arg(long, default_value = verdict::FILE, value_name = "FILE")]
        verdict: PathBuf,
        /// Seconds to wait for it
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(..=3600))]
        wait_s: u64,
    },
    /// Give up the running system if it is on trial; the next start is of the one before it
    FallBack {
        /// Where the reason is left for the system before
        #[arg(long, value_name = "FILE")]
        reason_file: Option<PathBuf>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        /// Restart at once, if something was given up
        #[arg(long)]
        reboot: bool,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _nowhere_to_say_it = error.print();
            return ExitCode::from(if asked { 0 } else { USAGE });
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lucid-bootctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let backend = match cli.backend {
        Choice::Tryboot => Backend::Tryboot,
        Choice::Initrd => Backend::Initrd,
        Choice::Auto if cli.firmware.exists() => Backend::Tryboot,
        Choice::Auto => Backend::Initrd,
    };
    let current = std::fs::read_to_string(&cli.command_line)
        .with_context(|| format!("cannot read {}", cli.command_line.display()))
        .map(|line| Slot::of_command_line(&line))?;
    let disk = Directory::new(&cli.dir);
    let slots = Slots::new(&disk, backend, current);
    let running = || current.context("the kernel's command line has no rauc.slot=A or rauc.slot=B");
    match &cli.verb {
        Verb::GetPrimary => println!("{}", slots.primary()?),
        Verb::SetPrimary { slot } => slots.set_primary(*slot)?,
        Verb::GetState { slot } => match slots.health(*slot)? {
            Health::Good | Health::Untried => println!("good"),
            Health::Bad => println!("bad"),
        },
        Verb::SetState { slot, state: State::Good } => slots.mark_good(*slot)?,
        Verb::SetState { slot, state: State::Bad } => slots.mark_bad(*slot)?,
        Verb::GetCurrent => println!("{}", running()?),
        Verb::Status => println!("{}", serde_json::to_string_pretty(&slots.status()?)?),
        Verb::RebootArgument => {
            if let Some(argument) = slots.reboot_argument()? {
                println!("{argument}");
            }
        }
        Verb::Init { default, force } => slots.init(*default, *force)?,
        Verb::Confirm { verdict, wait_s } => {
            confirm(&slots, running()?, verdict, Duration::from_secs(*wait_s))?;
        }
        Verb::FallBack { reason_file, reason, reboot } => {
            let reason = reason.clone().unwrap_or_else(failed_units);
            let given_up = fall_back(&slots, running()?, reason_file.as_deref(), &reason)?;
            if given_up && *reboot {
                let asked = Command::new("systemctl").args(["--no-block", "reboot"]).status();
                let asked = asked.context("cannot run systemctl")?;
                anyhow::ensure!(asked.success(), "systemctl reboot failed: {asked}");
            }
        }
    }
    Ok(())
}

/// Waits for the verdict, which is taken only from this start: the file lies in memory.
fn confirm(slots: &Slots<'_>, current: Slot, file: &Path, wait: Duration) -> anyhow::Result<()> {
    if !slots.status()?.on_trial {
        println!("slot {current} is the default already");
        return Ok(());
    }
    let began = Instant::now();
    let verdict = loop {
        if let Some(verdict) = Verdict::read(file)? {
            break verdict;
        }
        if began.elapsed() >= wait {
            bail!("no verdict of a self-test in {} after {} s", file.display(), wait.as_secs());
        }
        sleep(LOOK_EVERY);
    };
    match verdict {
        Verdict::Passed => {
            slots.mark_good(current)?;
            println!("slot {current} passed its self-test and is the default now");
            Ok(())
        }
        Verdict::Failed(reason) => bail!("the self-test failed: {reason}"),
    }
}

/// Whether something was given up.
fn fall_back(
    slots: &Slots<'_>,
    current: Slot,
    reason_file: Option<&Path>,
    reason: &str,
) -> anyhow::Result<bool> {
    if !slots.status()?.on_trial {
        println!("slot {current} is the default: there is nothing to fall back from");
        return Ok(false);
    }
    slots.mark_bad(current)?;
    println!("slot {current} is given up: {reason}");
    if let Some(file) = reason_file {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        // Without it the system before says less; it starts all the same.
        if let Err(error) = std::fs::write(file, reason) {
            eprintln!("lucid-bootctl: cannot write {}: {error}", file.display());
        }
    }
    Ok(true)
}

/// The units that failed, or ended and were started again, as a reason. A service that systemd
/// starts again for ever is never in the state `failed` when somebody looks.
fn failed_units() -> String {
    let arguments = ["show", "--property=Id,ActiveState,NRestarts", "--no-pager", "*"];
    let told = Command::new("systemctl").args(arguments).output();
    let told =
        told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned()).unwrap_or_default();
    let (mut failed, mut restarted) = (Vec::new(), Vec::new());
    // One block a unit.
    for unit in told.split("\n\n") {
        let value = |key: &str| {
            unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or("")
        };
        match (value("ActiveState"), value("NRestarts")) {
            ("failed", _) => failed.push(value("Id")),
            (_, "" | "0") => {}
            (_, times) => restarted.push(format!("{} ({times} times)", value("Id"))),
        }
    }
    let mut said = Vec::new();
    if !failed.is_empty() {
        said.push(format!("these units failed: {}", failed.join(", ")));
    }
    if !restarted.is_empty() {
        said.push(format!("these ended and were started again: {}", restarted.join(", ")));
    }
    match said.is_empty() {
        true => "the new system did not confirm itself in time".into(),
        false => format!("on the new system {}", said.join("; ")),
    }
}
