//! The command line. Secrets are never arguments: they come from a file, a credential, standard
//! input or the terminal.

mod doctor;
mod exit;
mod node;
mod output;
mod payout;
mod proposal;
mod sandbox;
mod serve;
mod stake;
mod units;
mod wallet;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lucid_pay::config::{self, Config, Flags, Loaded, Network};
use lucid_pay::process::harden::{self, Hardened};
use lucid_pay::process::secret::Source;
use lucid_pay_api::Client;

use exit::Exit;

/// Pays USDT on TRON: wallets, payouts and stake in a process of their own.
///
/// Without a command it serves. Exit codes are listed in docs/payments.md.
#[derive(Debug, Parser)]
#[command(name = "lucid-pay", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: /etc/lucid/pay.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which chain: mainnet, nile, shasta or sandbox
    #[arg(long, global = true, value_name = "NAME")]
    network: Option<String>,
    /// Where wallets and journal live
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The unix socket of the running process
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// File with the passphrase of the wallets; - is standard input
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Any configuration key; may be given several times
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes and keeps wallets
    #[command(subcommand)]
    Wallet(wallet::Command),
    /// Asks for payouts and shows where they stand
    #[command(subcommand)]
    Payout(payout::Command),
    /// Transactions signed elsewhere or by several people
    #[command(subcommand)]
    Proposal(proposal::Command),
    /// Stakes TRX, lends energy, votes
    Stake(stake::Stake),
    /// Looks at the TRON nodes
    #[command(subcommand)]
    Node(node::Command),
    /// Looks for what keeps payments from working
    Doctor,
    /// Pays, and answers on the socket until a signal comes
    Serve,
    /// Shows every configuration key, its value and where it comes from
    Config,
    /// Writes what systemd's unit needs for this configuration: a way to each node, nothing else
    #[command(hide = true)]
    Units(units::Options),
}

/// A command's surroundings.
pub struct Context {
    /// The configuration.
    pub config: Config,
    /// The same with the places its values come from.
    pub loaded: Loaded,
    /// Answer in JSON.
    pub json: bool,
    /// Where the wallets' passphrase or key comes from.
    pub source: Source,
    /// What was done to keep secrets in memory.
    pub hardened: Hardened,
}

impl Context {
    /// A client of the running process.
    pub fn client(&self) -> Client {
        Client::new(self.config.socket())
    }
}

fn flags(global: &Global) -> anyhow::Result<Flags> {
    let mut flags = Flags::new();
    let mut push = |key: &str, flag: &str, text: String| {
        flags.push((key.to_owned(), flag.to_owned(), text));
    };
    let absolute =
        |path: &PathBuf| std::path::absolute(path).map(|path| path.to_string_lossy().into_owned());
    if let Some(name) = &global.network {
        push("network", "--network", name.clone());
    }
    if let Some(path) = &global.data_dir {
        push("data_dir", "--data-dir", absolute(path)?);
    }
    if let Some(path) = &global.socket {
        push("gateway.socket", "--socket", absolute(path)?);
    }
    for pair in &global.set {
        let (key, text) = pair
            .split_once('=')
            .ok_or_else(|| exit::coded(Exit::Usage, format!("--set {pair}: expected KEY=VALUE")))?;
        push(key.trim(), "--set", text.trim().to_owned());
    }
    Ok(flags)
}

/// Where data lives when nobody says: the system's place for services and root, the user's own for
/// others.
fn default_data_dir(loaded: &mut Loaded) {
    if loaded.origins.contains_key("data_dir") || rustix::process::geteuid().is_root() {
        return;
    }
    let own = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from).or_else(|| {
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(|| {
            std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"))
        });
        state.map(|state| state.join("lucid-pay"))
    });
    if let Some(own) = own.filter(|own| own.is_absolute()) {
        loaded.config.data_dir = own;
    }
}

fn context(global: &Global) -> anyhow::Result<Context> {
    let mut loaded = config::load(global.config.as_deref(), &flags(global)?)?;
    default_data_dir(&mut loaded);
    let config = loaded.config.clone();
    // Before any secret is read.
    let hardened = harden::harden(config.lock_memory)?;
    let file = global.passphrase_file.clone().or_else(|| config.passphrase_file.clone());
    let generated =
        (config.network == Network::Sandbox).then(|| config.network_dir().join("wallets.key"));
    let source = Source::new(file, generated);
    Ok(Context { config, loaded, json: global.json, source, hardened })
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let context = context(&cli.global)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Wallet(command) => wallet::run(&context, command),
        Command::Payout(command) => payout::run(&context, command),
        Command::Proposal(command) => proposal::run(&context, command),
        Command::Stake(stake) => stake::run(&context, stake),
        Command::Node(command) => node::run(&context, &command),
        Command::Doctor => doctor::run(&context),
        Command::Serve => serve::run(&context),
        Command::Units(options) => units::run(&context.config, &options),
        Command::Config => {
            output::print(&context.loaded.to_toml())?;
            Ok(Exit::Success)
        }
    }
}

/// A runtime for commands that ask the socket or a node.
pub fn block_on<T>(
    work: impl std::future::Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Reads the arguments, does what they say, and says how it went.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            if !error.use_stderr() {
                let _ = error.print();
                return Exit::Success.into();
            }
            // A secret pasted in the wrong place is not said again, to a log perhaps.
            let text = output::without_secrets(error.to_string(), std::env::args());
            let _ = output::complain(&text);
            return Exit::Usage.into();
        }
    };
    let json = cli.global.json;
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = exit::code(&error);
            output::failure(&error, exit, json);
            exit.into()
        }
    }
}
