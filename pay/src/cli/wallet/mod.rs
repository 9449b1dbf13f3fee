//! `lucid-pay wallet`.

mod reading;
mod secrets;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use lucid_pay::process::data_dir::DataDir;
use lucid_pay::process::secret::{self, line_of};
use lucid_pay::service::now_ms;
use lucid_pay::tron::Address;
use lucid_pay::tron::key::PrivateKey;
use lucid_pay::wallet::{
    Cost, Kind, Name, OsRandom, Secret, Unlock, Wallet, WalletError, Wallets, WordCount,
};
use lucid_pay_api::{self as api, route};
use serde_json::json;

use super::exit::{Exit, coded};
use super::{Context, block_on, output};

/// How often a busy directory is tried, and how long between.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Makes and keeps wallets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a wallet with new recovery words; the first one makes the directory and its passphrase
    Create {
        /// Name of the wallet
        name: String,
        /// How many recovery words: 12 or 24
        #[arg(long, default_value = "24", value_parser = ["12", "24"])]
        words: String,
    },
    /// Takes in words, a key or a watched address from elsewhere
    Import {
        /// Name of the wallet
        name: String,
        /// File with the recovery words on one line; - is standard input
        #[arg(long, value_name = "FILE", conflicts_with_all = ["key_file", "watch"])]
        words_file: Option<PathBuf>,
        /// File with the private key, 64 hexadecimal digits; - is standard input
        #[arg(long, value_name = "FILE", conflicts_with = "watch")]
        key_file: Option<PathBuf>,
        /// Only watch this address; the key stays elsewhere
        #[arg(long, value_name = "ADDRESS")]
        watch: Option<String>,
        /// The watched address is a Ledger's, at this path, such as m/44'/195'/0'/0/0
        #[arg(long, value_name = "PATH", requires = "watch")]
        ledger_path: Option<String>,
        /// Account of the derivation path m/44'/195'/ACCOUNT'/0/INDEX
        #[arg(long, default_value_t = 0)]
        account: u32,
        /// Index of the derivation path
        #[arg(long, default_value_t = 0)]
        index: u32,
        /// File with the BIP-39 passphrase of the words, if they have one
        #[arg(long, value_name = "FILE", requires = "words_file")]
        words_passphrase_file: Option<PathBuf>,
    },
    /// Lists the wallets
    List {
        /// Archived ones as well
        #[arg(long)]
        all: bool,
    },
    /// What a wallet holds; the process must run
    Balance {
        /// Name or id
        wallet: String,
    },
    /// What went in and out of the paying wallet; the process must run
    History {
        /// Name or id
        wallet: String,
    },
    /// How much USDT another account, such as a router contract, may take from a wallet
    Allowance {
        /// Name, id or address
        wallet: String,
        /// Who may take it
        spender: String,
    },
    /// USDT that moved in a span of final blocks, read from a node: for any address
    Movements {
        /// Name, id or address
        wallet: String,
        /// The first block
        #[arg(long)]
        from: u64,
        /// The last block, at most 1000 further; the newest final one if absent
        #[arg(long)]
        to: Option<u64>,
    },
    /// Shows the address of the Ledger that is plugged in, and watches it as a wallet
    Ledger {
        /// Name of the wallet
        name: String,
        /// Path of the key
        #[arg(long, default_value = "m/44'/195'/0'/0/0")]
        path: String,
    },
    /// Gives a wallet another name
    Rename {
        /// Name or id
        wallet: String,
        /// The new name
        name: String,
    },
    /// Puts a wallet aside: it stays and signs nothing
    Archive {
        /// Name or id
        wallet: String,
        /// Take it back instead
        #[arg(long)]
        undo: bool,
    },
    /// Shows recovery words or key, after the passphrase was given again
    Export {
        /// Name or id
        wallet: String,
        /// File to write, for its owner only; without it the terminal
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Writes the page to print and lock away: recovery words, numbered, and a QR code
    Sheet {
        /// Name or id
        wallet: String,
        /// HTML file to write, for its owner only
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Writes all wallets into one encrypted file with a passphrase of its own
    Backup {
        /// File to write
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// File with the backup's passphrase; without it the terminal asks
        #[arg(long, value_name = "FILE")]
        backup_passphrase_file: Option<PathBuf>,
    },
    /// Takes in the wallets of a backup that are not here yet
    Restore {
        /// The backup
        file: PathBuf,
        /// File with the backup's passphrase; without it the terminal asks
        #[arg(long, value_name = "FILE")]
        backup_passphrase_file: Option<PathBuf>,
    },
}

/// Opens the directory; `make` makes it when it is not there. The running process and commands take
/// turns, so a busy directory is tried for a while.
pub fn open(context: &Context, make: bool) -> anyhow::Result<(Wallets, Unlock)> {
    let path = DataDir::open(&context.config)?.wallets();
    let new = !path.join("keyring").exists();
    if new && !make {
        return Err(WalletError::Missing(path).into());
    }
    let question = if new { "new passphrase of the wallets" } else { "passphrase of the wallets" };
    let unlock = context.source.unlock(question, new)?;
    if new {
        let wallets = Wallets::create(&path, &unlock, Cost::STANDARD, &mut OsRandom)?;
        return Ok((wallets, unlock));
    }
    let mut tries = 0;
    loop {
        match Wallets::open(&path, &unlock) {
            Err(WalletError::Busy(_)) if tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            opened => return Ok((opened?, unlock)),
        }
    }
}

/// The wallet with a name or an id.
pub fn find(wallets: &Wallets, wanted: &str) -> anyhow::Result<Wallet> {
    let named = |wallet: &Wallet| wallet.name.as_str() == wanted || wallet.id.to_string() == wanted;
    let found = wallets.list()?.wallets.into_iter().find(named);
    found.ok_or_else(|| coded(Exit::Missing, format!("there is no wallet {wanted:?}")))
}

fn shown(wallet: &Wallet) -> serde_json::Value {
    json!({
        "id": wallet.id.to_string(), "name": wallet.name.as_str(), "kind": kind(wallet),
        "address": wallet.address.to_string(), "created_ms": wallet.created_s * 1000,
        "archived": wallet.archived,
    })
}

fn kind(wallet: &Wallet) -> &'static str {
    match wallet.kind {
        Kind::WatchOnly => "watch-only",
        Kind::Ledger => "hardware",
        _ => "hot",
    }
}

fn say(context: &Context, wallet: &Wallet, what: &str) -> anyhow::Result<Exit> {
    output::show(context.json, &shown(wallet), || {
        format!("{what}: {} {} {}", wallet.name, wallet.address, wallet.id)
    })?;
    Ok(Exit::Success)
}

fn name(text: &str) -> anyhow::Result<Name> {
    text.parse().map_err(|error| anyhow::Error::from(WalletError::Record(error)))
}

/// Does it.
pub fn run(context: &Context, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create { name: text, words } => {
            let name = name(&text)?;
            let (wallets, _) = open(context, true)?;
            let count = if words == "12" { WordCount::Twelve } else { WordCount::TwentyFour };
            let wallet = wallets.create_wallet(name, count, now_ms() / 1000, &mut OsRandom)?;
            say(context, &wallet, "made")
        }
        Command::Import {
            name: text,
            words_file,
            key_file,
            watch,
            ledger_path,
            account,
            index,
            words_passphrase_file,
        } => {
            let name = name(&text)?;
            let record = |error| anyhow::Error::from(WalletError::Record(error));
            let secret = match (&words_file, &key_file, &watch) {
                (_, _, Some(address)) => {
                    let address = address
                        .parse()
                        .map_err(|error| coded(Exit::Data, format!("{address:?}: {error}")))?;
                    let (wallets, _) = open(context, true)?;
                    let now_s = now_ms() / 1000;
                    let wallet = match ledger_path {
                        Some(path) => wallets.ledger(name, address, &path, now_s, &mut OsRandom),
                        None => wallets.watch(name, address, now_s, &mut OsRandom),
                    };
                    return say(context, &wallet?, "watching");
                }
                (Some(path), _, _) => {
                    let words = line_of(path)?;
                    let passphrase = words_passphrase_file.as_deref().map(line_of).transpose()?;
                    let passphrase = passphrase.unwrap_or_default();
                    Secret::words(words.trim(), &passphrase, account, index).map_err(record)?
                }
                (None, Some(path), _) => {
                    let digits = line_of(path)?;
                    let key = PrivateKey::from_hex(digits.trim());
                    Secret::Key(key.map_err(|error| record(error.into()))?)
                }
                (None, None, None) => {
                    let words = secret::prompt("recovery words", false)?;
                    Secret::words(words.trim(), "", account, index).map_err(record)?
                }
            };
            let (wallets, _) = open(context, true)?;
            let wallet = wallets.import(name, secret, now_ms() / 1000, &mut OsRandom)?;
            say(context, &wallet, "imported")
        }
        Command::List { all } => reading::list(context, all),
        Command::Balance { wallet } => reading::balance(context, &wallet),
        Command::History { wallet } => reading::history(context, &wallet),
        Command::Allowance { wallet, spender } => reading::allowance(context, &wallet, &spender),
        Command::Movements { wallet, from, to } => reading::movements(context, &wallet, from, to),
        Command::Ledger { name: text, path } => {
            let name = name(&text)?;
            let address = ledger(&path)?;
            let (wallets, _) = open(context, true)?;
            let wallet = wallets.ledger(name, address, &path, now_ms() / 1000, &mut OsRandom)?;
            say(context, &wallet, "watching; it signs with `proposal sign --ledger`")
        }
        Command::Rename { wallet, name: text } => {
            let name = name(&text)?;
            let (wallets, _) = open(context, false)?;
            let id = find(&wallets, &wallet)?.id;
            say(context, &wallets.rename(id, name, &mut OsRandom)?, "renamed")
        }
        Command::Archive { wallet, undo } => {
            let (wallets, _) = open(context, false)?;
            let id = find(&wallets, &wallet)?.id;
            let what = if undo { "taken back" } else { "archived" };
            say(context, &wallets.set_archived(id, !undo, &mut OsRandom)?, what)
        }
        Command::Export { wallet, output } => secrets::export(context, &wallet, output.as_deref()),
        Command::Sheet { wallet, output } => secrets::sheet(context, &wallet, &output),
        Command::Backup { output, backup_passphrase_file } => {
            secrets::backup(context, &output, backup_passphrase_file.as_deref())
        }
        Command::Restore { file, backup_passphrase_file } => {
            secrets::restore(context, &file, backup_passphrase_file.as_deref())
        }
    }
}

/// The address at a path of the Ledger, which shows it to be compared by the person.
#[cfg(feature = "ledger")]
fn ledger(path: &str) -> anyhow::Result<Address> {
    use lucid_pay::hardware::{Ledger, hid::UsbLedger};
    let absent = |error| coded(Exit::Unavailable, format!("the Ledger: {error}"));
    let mut device = Ledger::new(UsbLedger::open().map_err(absent)?);
    let _ = output::complain("compare the address on the Ledger and confirm it there\n");
    let refused = |error| coded(Exit::Refused, format!("the Ledger: {error}"));
    device.address(path, true).map_err(refused)
}

#[cfg(not(feature = "ledger"))]
fn ledger(_: &str) -> anyhow::Result<Address> {
    let text = "this lucid-pay was built without Ledger; build it with `--features ledger`";
    Err(coded(Exit::Refused, text))
}

/// The id of a wallet of the running process.
pub fn id(client: &api::Client, wanted: &str) -> anyhow::Result<String> {
    let found: Vec<api::Wallet> = block_on(async { Ok(client.get(route::WALLETS).await?) })?;
    let found = found.into_iter().find(|wallet| wallet.id == wanted || wallet.name == wanted);
    let missing = || coded(Exit::Missing, format!("there is no wallet {wanted:?}"));
    found.map(|wallet| wallet.id).ok_or_else(missing)
}
