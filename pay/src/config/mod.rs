//! The configuration: one typed struct, whole and checked before anything is opened.
//!
//! Values come from the defaults, then a TOML file, then variables `LUCID_PAY_*`, then flags; the
//! last one wins. An unknown key is refused, with the nearest known one. Secrets never stand here,
//! only the names of files that hold them.

mod keys;
mod network;
mod read;

pub use keys::{KEYS, Key};
pub use lucid_settings::{Flags, Origin, SettingsError};
pub use network::Network;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lucid_settings::Settings;

use crate::payout::router::Router;
use crate::payout::types::Usdt;
use crate::tron::Address;

/// The file that is read when it is there and no other is named.
pub const DEFAULT_FILE: &str = "/etc/lucid/pay.toml";

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

impl Settings for Config {
    const KEYS: &'static [Key] = KEYS;
    const PREFIX: &'static str = "LUCID_PAY_";
    // The file, the seed of the simulation, and what the tests set.
    const NOT_KEYS: &'static [&'static str] =
        &["LUCID_PAY_CONFIG", "LUCID_PAY_SEED", "LUCID_PAY_TEST_"];
    const LISTED_BY: &'static str = "lucid-pay config";

    fn check(&self) -> Result<(), String> {
        if self.minimum > self.maximum {
            return Err(format!(
                "`payout.minimum` ({}) is above `payout.maximum` ({}): nothing could be paid",
                self.minimum, self.maximum
            ));
        }
        if self.fee >= self.minimum {
            return Err(format!(
                "`payout.fee` ({}) leaves nothing of `payout.minimum` ({})",
                self.fee, self.minimum
            ));
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
    let named = std::env::var_os("LUCID_PAY_CONFIG").map(PathBuf::from);
    lucid_settings::load(file.or(named.as_deref()), Path::new(DEFAULT_FILE), flags)
}

#[cfg(test)]
mod tests;
