//! The daemon's configuration: one typed struct, whole and checked before any socket or device is
//! opened.
//!
//! Sources, later over earlier: built-in defaults, a TOML file, the environment (`LUCID_*`), flags.
//! All four go through the one table [`KEYS`], so that a key is spelled, parsed, explained and
//! refused in the same way wherever it comes from.

mod desktops;
mod keys;
mod update_keys;
mod updates;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use desktops::{Desktops, Presence};
pub use keys::{KEYS, Key};
pub use lucid_settings::{Flags, SettingsError};
pub use updates::Updates;

use lucid_settings::Settings;

use crate::exports::Limits;
use crate::front::PanelConfig;
use crate::settle;

/// The file read when `--config` is not given and it exists.
pub const DEFAULT_FILE: &str = "/etc/lucid/lucid.toml";

/// Bytes of a mebibyte.
const MIB: u64 = 1024 * 1024;

/// Everything the operator can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where recordings, the chain, keys and settings live.
    pub data_dir: PathBuf,
    /// What the device is called on its page.
    pub name: String,
    /// How long components get to finish after a stop signal.
    pub drain: Duration,
    /// Listeners and their limits.
    pub http: Http,
    /// Sign-in.
    pub auth: Auth,
    /// Whether `/metrics` answers callers on this machine without a sign-in.
    pub metrics_loopback: bool,
    /// Log output.
    pub log: Log,
    /// What is recorded without being asked.
    pub record: Record,
    /// How long and how much is kept of exports.
    pub exports: Limits,
    /// Light and button.
    pub panel: PanelConfig,
    /// Socket of the payment process; `None` is no payments.
    pub payments_socket: Option<PathBuf>,
    /// Recorded desktops.
    pub desktops: Desktops,
    /// What nodes are paid for their credits.
    pub settle: settle::Settings,
    /// Directory where requests to restart or shut down the machine are heard.
    pub power_requests: PathBuf,
    /// Updates of the system.
    pub updates: Updates,
}

/// Listeners and their limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Plain HTTP; `None` is off.
    pub listen: Option<SocketAddr>,
    /// HTTPS; `None` is off.
    pub listen_tls: Option<SocketAddr>,
    /// Who is served over plain HTTP; everyone else is sent to HTTPS.
    pub plain: PlainHttp,
    /// Names and addresses put into a new certificate besides the host's own.
    pub host_names: Vec<String>,
    /// API requests a minute without a sign-in, per address; 0 is no limit.
    pub anonymous_per_minute: u32,
    /// API requests a minute per signed-in session; 0 is no limit.
    pub signed_in_per_minute: u32,
    /// Playlists and segments a minute per signed-in session, counted apart; 0 is no limit.
    pub media_per_minute: u32,
    /// Requests that may come at once before the rates above bind.
    pub burst: u32,
}

/// Who is served over plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// Callers on this machine only.
    Loopback,
    /// Everyone: the operator takes the network for safe.
    Everywhere,
}

/// Sign-in.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// How long a sign-in lasts.
    pub session: Duration,
    /// Failed claims or sign-ins a minute from one address; 0 is no limit.
    pub attempts_per_minute: u32,
}

/// Log output.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// A level or a `tracing` filter, such as `info` or `lucid=debug,info`.
    pub level: String,
    /// The form.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal when started by systemd, else human.
    Auto,
    /// Lines for people, on standard error.
    Human,
    /// One JSON object a line, on standard error.
    Json,
    /// The systemd journal.
    Journald,
}

/// What is recorded without being asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Whether the claim of a device without a camera starts a marked demo source.
    pub demo: bool,
    /// Bytes of the disk kept free for what is being recorded.
    pub keep_free_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            name: host_name(),
            drain: Duration::from_secs(20),
            http: Http {
                listen: Some(SocketAddr::from(([0u16; 8], 8080))),
                listen_tls: Some(SocketAddr::from(([0u16; 8], 8081))),
                plain: PlainHttp::Loopback,
                host_names: Vec::new(),
                anonymous_per_minute: 100,
                signed_in_per_minute: 1000,
                media_per_minute: 6000,
                burst: 200,
            },
            auth: Auth { session: Duration::from_secs(7 * 24 * 3600), attempts_per_minute: 5 },
            metrics_loopback: false,
            log: Log { level: "info".into(), format: LogFormat::Auto },
            panel: PanelConfig::default(),
            payments_socket: None,
            desktops: Desktops::default(),
            settle: settle::Settings::default(),
            power_requests: PathBuf::from("/run/lucid-power"),
            updates: Updates::default(),
            record: Record { demo: true, keep_free_bytes: 1024 * MIB },
            exports: Limits {
                keep: Duration::from_secs(7 * 24 * 3600),
                bytes_max: 32 * 1024 * MIB,
            },
        }
    }
}

impl Config {
    /// Every key with its value, as TOML.
    pub fn shown(&self) -> String {
        Loaded { config: self.clone(), origins: BTreeMap::new() }.to_toml()
    }
}

/// The system's place for the system's user, the person's own place for everyone else.
fn default_data_dir() -> PathBuf {
    let own =
        |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/lucid");
    }
    own("STATE_DIRECTORY")
        .or_else(|| own("XDG_DATA_HOME").map(|data| data.join("lucid")))
        .or_else(|| own("HOME").map(|home| home.join(".local/share/lucid")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/lucid"))
}

/// This machine's name, or `lucid` if it has none that is text.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "lucid".into() } else { name }
}

impl Settings for Config {
    const KEYS: &'static [Key] = KEYS;
    const PREFIX: &'static str = "LUCID_";
    // Of test harnesses, the payment process and `lucid-bootctl`, which may share an environment.
    const NOT_KEYS: &'static [&'static str] = &["LUCID_TEST_", "LUCID_PAY_", "LUCID_BOOT_"];
    const LISTED_BY: &'static str = "lucid serve --print-config";

    fn check(&self) -> Result<(), String> {
        if self.http.listen.is_none() && self.http.listen_tls.is_none() {
            return Err(
                "`http.listen` and `http.listen_tls` are both off: nobody could reach the \
                        device"
                    .into(),
            );
        }
        Ok(())
    }
}

/// A checked configuration and where its values came from.
pub type Loaded = lucid_settings::Loaded<Config>;

/// The configuration from its file, the environment and flags.
///
/// # Errors
/// The first unknown key or unfit value, naming its place and what would be right.
pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Loaded, SettingsError> {
    lucid_settings::load(file, Path::new(DEFAULT_FILE), flags)
}

#[cfg(test)]
mod tests;
