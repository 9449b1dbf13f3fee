//! `lucid verify`: judges a bundle, offline, and says what it checked.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use lucid_chain::verify::{Report, Trust, bundle};
use lucid_evidence::Hash;

use crate::bundle::BundleFile;
use crate::exit::{Exit, Failure};

/// Longest trust file, bytes.
const TRUST_MAX_BYTES: u64 = 1 << 20;

/// Options of `lucid verify`.
#[derive(Args)]
pub struct Options {
    /// The bundle, NAME.lucid
    file: PathBuf,
    /// The device that must have recorded it: its key's fingerprint or its key; may be given again
    #[arg(long, value_name = "HEX")]
    expect_device: Vec<String>,
    /// The chain that must vouch for it: its genesis hash; may be given again
    #[arg(long, value_name = "HEX")]
    expect_chain: Vec<String>,
    /// A file with a line `device HEX` or `chain HEX` for each that is trusted
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Judges the bundle; the exit code is the verdict.
///
/// # Errors
/// [`Exit::Usage`] when there is nothing to judge: no such file, an expectation that cannot be
/// read.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let usage = |error: anyhow::Error| Failure::new(Exit::Usage, error);
    let trust = trust(options).map_err(usage)?;
    let file = BundleFile::open(&options.file)
        .with_context(|| format!("cannot read {}", options.file.display()))
        .map_err(usage)?;
    let bar = bar(options.json);
    let report = bundle(&file, &trust, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let text = match options.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => format!("{report}\n"),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(exit(&report))
}

/// The exit code of a report.
pub fn exit(report: &Report) -> Exit {
    match report.exit_code {
        0 => Exit::Success,
        10 => Exit::Tampered,
        11 => Exit::Incomplete,
        _ => Exit::Unverifiable,
    }
}

/// A progress bar in bytes on standard error, hidden where nobody looks.
pub fn bar(hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let template = "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}";
    let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn trust(options: &Options) -> anyhow::Result<Trust> {
    let mut trust = match &options.trust {
        None => Trust::default(),
        Some(path) => {
            let length = std::fs::metadata(path)
                .with_context(|| format!("cannot read {}", path.display()))?
                .len();
            anyhow::ensure!(
                length <= TRUST_MAX_BYTES,
                "{} has {length} bytes, a trust file has at most {TRUST_MAX_BYTES} bytes",
                path.display()
            );
            Trust::parse(&std::fs::read_to_string(path)?)?
        }
    };
    for text in &options.expect_device {
        let hash: Hash = text.parse().with_context(|| format!("--expect-device {text}"))?;
        trust.devices.push(hash);
    }
    for text in &options.expect_chain {
        let hash: Hash = text.parse().with_context(|| format!("--expect-chain {text}"))?;
        trust.chains.push(hash);
    }
    Ok(trust)
}
