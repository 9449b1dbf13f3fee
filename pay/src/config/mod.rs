//! The configuration: one typed struct, whole and checked before anything is opened.
//!
//! Values come from the defaults, then a TOML file, then variables `LUCID_PAY_*`, then flags; the
//! last one wins. An unknown key is refused, with the nearest known one. Secrets never stand here,
//! only the names of files that hold them.

mod keys;
mod network;
mod value;

pub use keys::{KEYS, Key};
pub use network::Network;
pub use value::Value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::payout::router::Router;
use crate::payout::types::Usdt;
use crate::tron::Address;

/// The file that is read when it is there and no other is named.
pub const DEFAULT_FILE: &str = "/etc/lucid/pay.toml";
/// Start of every variable of ours.
pub const PREFIX: &str = "LUCID_PAY_";
/// Variables with that start that are no keys: the file, and the seed of the simulation.
const OTHERS: [&str; 3] = ["LUCID_PAY_CONFIG", "LUCID_PAY_SEED", "LUCID_PAY_TEST_"];
/// Longest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Whether the process's memory is kept out of the swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMemory {
    /// Where the limits allow it; a warning otherwise.
    Auto,
    /// The process does not start without.
    Required,
    /// Not tried.
    Off,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines to read.
    Human,
    /// One JSON object a line.
    Json,
}

/// One node to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUrl {
    /// Its name in answers and logs.
    pub name: String,
    /// `http` or `https`, host and port, no path.
    pub url: String,
}

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of this process alone; each network has its own below it.
    pub data_dir: PathBuf,
    /// Which chain.
    pub network: Network,
    /// How long requests that have begun may take after a stop signal.
    pub drain: Duration,
    /// Form of the log.
    pub log: LogFormat,
    /// Memory out of the swap.
    pub lock_memory: LockMemory,
    /// File with the passphrase of the wallets.
    pub passphrase_file: Option<PathBuf>,
    /// Name or id of the wallet that pays; without it the only one that can sign.
    pub paying_wallet: Option<String>,
    /// The socket; without it `pay.sock` beside the data.
    pub socket: Option<PathBuf>,
    /// Users who may ask, by name or id. Who runs the process always may.
    pub users: Vec<String>,
    /// Nodes; without any those of the network.
    pub nodes: Vec<NodeUrl>,
    /// File with the API key of the nodes.
    pub api_key_file: Option<PathBuf>,
    /// Directory of unix sockets, one for each node's host and port; without it the network.
    pub relays: Option<PathBuf>,
    /// How long one call to a node may take.
    pub node_timeout: Duration,
    /// How long the process waits between two looks at the nodes.
    pub poll: Duration,
    /// The token; without it the network's USDT.
    pub token: Option<Address>,
    /// The router's contract.
    pub router: Option<Router>,
    /// Smallest payout.
    pub minimum: Usdt,
    /// Largest payout.
    pub maximum: Usdt,
    /// Most in a day.
    pub daily: Usdt,
    /// Most in a day to one payee.
    pub daily_per_payee: Usdt,
    /// Node rewards are gathered up to this.
    pub accumulate: Usdt,
    /// Above this a second person approves.
    pub second_person_above: Usdt,
    /// Fee kept from each transfer.
    pub fee: Usdt,
    /// Only these are paid, if any are named.
    pub allow: Vec<Address>,
    /// These are never paid.
    pub deny: Vec<Address>,
    /// The compliance key.
    pub compliance: Option<[u8; 32]>,
    /// How long a signed transaction may wait for a block.
    pub lifetime: Duration,
    /// How far this machine's clock may be from the newest block's time.
    pub clock_skew: Duration,
    /// Least stake, in sun.
    pub stake_minimum_sun: u64,
    /// The simulator's program; without it `tron-node` beside this program or in the path.
    pub sandbox_node: Option<PathBuf>,
    /// Time between two blocks of the simulator, in milliseconds.
    pub sandbox_block_ms: u64,
    /// Controls of a simulator that runs already.
    pub sandbox_control: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/lucid-pay"),
            network: Network::Mainnet,
            drain: Duration::from_secs(20),
            log: LogFormat::Human,
            lock_memory: LockMemory::Auto,
            passphrase_file: None,
            paying_wallet: None,
            socket: None,
            users: Vec::new(),
            nodes: Vec::new(),
            api_key_file: None,
            relays: None,
            node_timeout: Duration::from_secs(10),
            poll: Duration::from_secs(3),
            token: None,
            router: None,
            minimum: Usdt::whole(1),
            maximum: Usdt::whole(10_000),
            daily: Usdt::whole(50_000),
            daily_per_payee: Usdt::whole(20_000),
            accumulate: Usdt::whole(10),
            second_person_above: Usdt::whole(1_000),
            fee: Usdt::ZERO,
            allow: Vec::new(),
            deny: Vec::new(),
            compliance: None,
            lifetime: Duration::from_secs(600),
            clock_skew: Duration::from_secs(120),
            stake_minimum_sun: 1_000_000_000,
            sandbox_node: None,
            sandbox_block_ms: 3000,
            sandbox_control: None,
        }
    }
}

impl Config {
    /// Directory of the network's wallets and journal.
    pub fn network_dir(&self) -> PathBuf {
        self.data_dir.join(self.network.name())
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.data_dir.join("pay.sock"))
    }
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(PathBuf),
    /// In a variable.
    Environment(String),
    /// In a flag, as typed.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
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
    /// Larger than a configuration can be.
    #[error("{0}: larger than {MAX_FILE_BYTES} bytes, which is no configuration file")]
    TooLarge(PathBuf),
    /// Not TOML.
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
         (`lucid-pay config` lists all)"
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
    Conflict(String),
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

/// Merges file, variables and flags over the defaults.
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
    let ours = |name: &str| {
        name.starts_with(PREFIX) && !OTHERS.iter().any(|other| name.starts_with(other))
    };
    let mut variables: Vec<_> = environment.into_iter().filter(|(name, _)| ours(name)).collect();
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
    let named = std::env::var_os("LUCID_PAY_CONFIG").map(PathBuf::from);
    let default = Path::new(DEFAULT_FILE);
    let path = file.or(named.as_deref()).or_else(|| default.exists().then_some(default));
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
        return Err(ConfigError::TooLarge(path.into()));
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
        let config = &self.config;
        if config.minimum > config.maximum {
            return Err(ConfigError::Conflict(format!(
                "`payout.minimum` ({}) is above `payout.maximum` ({}): nothing could be paid",
                config.minimum, config.maximum
            )));
        }
        if config.fee >= config.minimum {
            return Err(ConfigError::Conflict(format!(
                "`payout.fee` ({}) leaves nothing of `payout.minimum` ({})",
                config.fee, config.minimum
            )));
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
            let origin = self.origins.get(key.name);
            let origin =
                origin.map_or_else(|| "default".to_owned(), |origin| format!("from {origin}"));
            let shown = (key.show)(&self.config);
            out.push_str(&format!("# {} ({}; {origin})\n", key.help, key.variable()));
            match shown {
                Some(shown) => out.push_str(&format!("{leaf} = {shown}\n")),
                None => out.push_str(&format!("# {leaf} is not set\n")),
            }
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
