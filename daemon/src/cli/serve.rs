//! `lucid serve`: its options, and what it prints for the person at the console.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::ConfigOptions;
use crate::auth::{ClaimCode, ClaimState};
use crate::config::Flags;
use crate::device::Device;
use crate::exit::{Exit, Failure};

/// Options of `lucid serve`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    config: ConfigOptions,
    /// Address of plain HTTP, or off; all addresses, port 8080, by default
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<String>,
    /// Address of HTTPS, or off; all addresses, port 8081, by default
    #[arg(long, value_name = "ADDRESS:PORT")]
    https: Option<String>,
    /// error, warn, info, debug, trace, or a filter such as lucid=debug,info [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto, human, json or journald [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Write the addresses as JSON to this file once everything runs
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Print the whole configuration, with what each key means and where it was set, and exit
    #[arg(long)]
    print_config: bool,
}

/// Runs the daemon, or prints its configuration.
///
/// # Errors
/// With the exit code that names the cause.
pub fn run(options: Options) -> Result<Exit, Failure> {
    let mut flags = Flags::new();
    for (key, flag, text) in [
        ("http.listen", "--http", &options.http),
        ("http.listen_tls", "--https", &options.https),
        ("log.level", "--log-level", &options.log_level),
        ("log.format", "--log-format", &options.log_format),
    ] {
        if let Some(text) = text {
            flags.push((key.to_owned(), flag.to_owned(), text.clone()));
        }
    }
    let loaded = options.config.load(flags)?;
    if options.print_config {
        std::io::stdout().write_all(loaded.to_toml().as_bytes())?;
        return Ok(Exit::Success);
    }
    crate::daemon(loaded.config, options.ready_file)
}

/// Where the daemon can be reached.
#[derive(Serialize)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: Option<String>,
    /// HTTPS.
    pub https: Option<String>,
    /// The daemon's process.
    pub pid: u32,
}

impl Addresses {
    /// From bound addresses.
    pub fn new(http: Option<SocketAddr>, https: Option<SocketAddr>) -> Self {
        // Plain HTTP is for this machine; HTTPS is what others open.
        Self {
            http: http.map(|address| format!("http://{}", reachable(address, "localhost"))),
            https: https.map(|address| {
                format!("https://{}", reachable(address, &crate::config::host_name()))
            }),
            pid: std::process::id(),
        }
    }

    /// Writes them whole to a file, for scripts that wait for the daemon.
    ///
    /// # Errors
    /// From the file system.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let text = serde_json::to_string(self)?;
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, text + "\n")?;
        std::fs::rename(&temporary, path)
    }
}

/// Prints what the owner needs on standard output: the console, or the journal under systemd. The
/// claim code goes nowhere else.
///
/// # Errors
/// When standard output cannot be written; with an unprinted code nobody could claim the device.
pub fn greet(
    addresses: &Addresses,
    device: &Device,
    claim: &ClaimState,
    code: Option<ClaimCode>,
) -> std::io::Result<()> {
    let mut text = format!("\nLucid {}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |label: &str, value: &str| text.push_str(&format!("  {label:<12} {value}\n"));
    if let Some(https) = &addresses.https {
        line("page", https);
    }
    if let Some(http) = &addresses.http {
        line("", &format!("{http} (on this machine)"));
    }
    if let Some(fingerprint) = device.tls_fingerprint() {
        line("certificate", &format!("SHA-256 {fingerprint}"));
    }
    line("device", &device.fingerprint());
    if let Some(genesis) = device.chain_genesis() {
        line("chain", &genesis);
    }
    match (claim, code) {
        (_, Some(code)) => {
            line("claim code", &format!("{code}  (enter it on the page; it works once)"))
        }
        (ClaimState::Closed(reason), None) => {
            line("claim", &format!("closed: {reason}; see `lucid reset-claim`"));
        }
        _ => {}
    }
    text.push('\n');
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a new claim code where [`greet`] printed the first.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_code(code: &ClaimCode) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(format!("\n  claim code   {code}  (the claim was released)\n\n").as_bytes())?;
    out.flush()
}

/// An address as a person can open it: for "all addresses" a name of this machine.
fn reachable(address: SocketAddr, name: &str) -> String {
    if address.ip().is_unspecified() {
        return format!("{name}:{}", address.port());
    }
    address.to_string()
}
