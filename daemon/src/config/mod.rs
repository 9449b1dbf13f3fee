//! The daemon's configuration: one typed struct, whole and checked before any socket or device is
//! opened.
//!
//! Sources, later over earlier: built-in defaults, a TOML file, the environment (`LUCID_*`), flags.
//! All four go through the one table in [`keys`], so that a key is spelled, parsed, explained and
//! refused in the same way wherever it comes from.

mod desktops;
mod keys;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use desktops::{Desktops, Presence};
pub use keys::{KEYS, Key};
use value::Value;

use crate::exports::Limits;
use crate::front::PanelConfig;
use crate::settle::Settings;

/// The file read when `--config` is not given and it exists.
pub const DEFAULT_FILE: &str = "/etc/lucid/lucid.toml";

/// Environment variables with this prefix belong to test harnesses and are not configuration.
const TEST_PREFIX: &str = "LUCID_TEST_";
/// Variables of the payment process, which may share an environment.
const PAY_PREFIX: &str = "LUCID_PAY_";

/// Largest configuration file read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

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
    pub settle: Settings,
    /// Directory where requests to restart or shut down the machine are heard.
    pub power_requests: PathBuf,
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
            settle: Settings::default(),
            power_requests: PathBuf::from("/run/lucid-power"),
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

/// Where a value came from, for messages and `--print-config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A command-line flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than a configuration can be.
    #[error("{path}: larger than {MAX_FILE_BYTES} bytes, which is no configuration file")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML.
    #[error("{path} is not valid TOML")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key nobody knows.
    #[error(
        "{origin}: unknown key `{key}`; did you mean `{nearest}`? \
         (`lucid serve --print-config` lists all)"
    )]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The known key that is spelled most like it.
        nearest: String,
    },
    /// A value that does not fit its key.
    #[error("{origin}: `{key}` = {given}: {expected}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The value as written.
        given: String,
        /// What would be right.
        expected: String,
    },
    /// Values that do not fit together.
    #[error("{0}")]
    Conflict(&'static str),
}

/// A checked configuration and where its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Keys that were set, with the place that won.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// Values given by flags: the key, the flag as typed, the text.
pub type Flags = Vec<(String, String, String)>;

/// Merges file, environment and flags over the defaults.
///
/// `file` is a path and its text; `environment` the process's variables, of which those starting
/// with `LUCID_` are looked at.
///
/// # Errors
/// The first unknown key or unfit value, naming its place and what would be right.
pub fn merge(
    file: Option<(&Path, &str)>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded { config: Config::default(), origins: BTreeMap::new() };
    if let Some((path, text)) = file {
        let table: toml::Table = text.parse().map_err(|source| ConfigError::Syntax {
            path: path.into(),
            source: Box::new(source),
        })?;
        for (name, value) in value::flatten(table) {
            loaded.set(&name, value, Origin::File(path.into()))?;
        }
    }
    let mut variables: Vec<_> = environment
        .into_iter()
        .filter(|(name, _)| {
            let others = [TEST_PREFIX, PAY_PREFIX];
            name.starts_with("LUCID_") && !others.iter().any(|other| name.starts_with(other))
        })
        .collect();
    variables.sort();
    for (variable, text) in variables {
        let known = KEYS.iter().find(|key| key.variable() == variable);
        let name = known.map_or_else(|| variable.clone(), |key| key.name.to_owned());
        loaded.set(&name, Value::Text(text), Origin::Environment(variable))?;
    }
    for (name, flag, text) in flags {
        loaded.set(name, Value::Text(text.clone()), Origin::Flag(flag.clone()))?;
    }
    loaded.check()?;
    Ok(loaded)
}

/// [`merge`] from the real file system and environment.
///
/// # Errors
/// As [`merge`], and when a file named by the operator cannot be read.
pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Loaded, ConfigError> {
    let default = Path::new(DEFAULT_FILE);
    let path = file.or_else(|| default.exists().then_some(default));
    let text = path.map(read).transpose()?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    merge(path.zip(text.as_deref()), environment, flags)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read;
    let failed = |source| ConfigError::Read { path: path.into(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.into() });
    }
    Ok(text)
}

impl Loaded {
    fn set(&mut self, name: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(unknown(name, origin));
        };
        (key.set)(&mut self.config, &value).map_err(|expected| ConfigError::Value {
            origin: origin.clone(),
            key: key.name,
            given: value.to_string(),
            expected,
        })?;
        self.origins.insert(key.name, origin);
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let http = &self.config.http;
        if http.listen.is_none() && http.listen_tls.is_none() {
            return Err(ConfigError::Conflict(
                "`http.listen` and `http.listen_tls` are both off: nobody could reach the device",
            ));
        }
        Ok(())
    }

    /// The whole configuration as TOML, every key with its meaning and, where set, its origin.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut table = "";
        for key in KEYS {
            let (head, leaf) = key.name.rsplit_once('.').unwrap_or(("", key.name));
            if head != table {
                out.push_str(&format!("\n[{head}]\n"));
                table = head;
            }
            let origin = self
                .origins
                .get(key.name)
                .map_or_else(|| "default".to_owned(), |origin| format!("from {origin}"));
            let shown = (key.show)(&self.config);
            out.push_str(&format!(
                "# {} ({}; {origin})\n{leaf} = {shown}\n",
                key.help,
                key.variable()
            ));
        }
        out
    }
}

/// The error for a key nobody knows, with the nearest known spelling for its kind of place.
fn unknown(name: &str, origin: Origin) -> ConfigError {
    let environment = matches!(origin, Origin::Environment(_));
    let spelling = |key: &Key| if environment { key.variable() } else { key.name.to_owned() };
    let nearest = KEYS
        .iter()
        .map(spelling)
        .min_by_key(|known| strsim::damerau_levenshtein(name, known))
        .unwrap_or_default();
    ConfigError::UnknownKey { origin, key: name.to_owned(), nearest }
}

#[cfg(test)]
mod tests;
