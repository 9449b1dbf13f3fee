//! `lucid-pay wallet`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use lucid_pay::chain::usdt;
use lucid_pay::client::Nodes;
use lucid_pay::node::{NodeError, TronNode as _};
use lucid_pay::process::data_dir::DataDir;
use lucid_pay::process::secret::{self, line_of};
use lucid_pay::service::now_ms;
use lucid_pay::tron::key::PrivateKey;
use lucid_pay::tron::{Address, hex};
use lucid_pay::wallet::{
    Cost, Kind, Name, OsRandom, Secret, Unlock, Wallet, WalletError, Wallets, WordCount, file,
    sheet,
};
use lucid_pay_api::{self as api, ClientError, route};
use serde_json::json;
use zeroize::Zeroizing;

use super::exit::{Exit, coded};
use super::{Context, block_on, output, sandbox};

/// How often a busy directory is tried, and how long between.
const BUSY_TRIES: u32 = 50;
/// Blocks `movements` reads at most; each is a question to a node.
const MOVEMENT_BLOCKS_MAX: u64 = 1_000;
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

/// The passphrase of a backup, which is not the wallets'.
fn backup_passphrase(file: Option<&Path>, new: bool) -> anyhow::Result<Zeroizing<String>> {
    Ok(match file {
        Some(path) => line_of(path)?,
        None => secret::prompt("passphrase of the backup", new)?,
    })
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if path.exists() {
        let text = format!("{} is there already; name another file", path.display());
        return Err(coded(Exit::Refused, text));
    }
    file::write(path, bytes).map_err(WalletError::from)?;
    Ok(())
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
                    let wallet = wallets.watch(name, address, now_ms() / 1000, &mut OsRandom)?;
                    return say(context, &wallet, "watching");
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
        Command::List { all } => list(context, all),
        Command::Balance { wallet } => {
            let client = context.client();
            let path = format!("{}/{}/balance", route::WALLETS, id(&client, &wallet)?);
            let found: api::Balance = block_on(async { Ok(client.get(&path).await?) })?;
            output::show(context.json, &found, || {
                format!(
                    "{}\n{} staked {}\nreserved {}\nenergy {} of {}, bandwidth {} of {}\n\
                     block {}, {} s old{}",
                    found.usdt_micro,
                    found.trx_sun,
                    found.staked_sun,
                    found.reserved_micro,
                    found.energy.limit.saturating_sub(found.energy.used),
                    found.energy.limit,
                    found.bandwidth.limit.saturating_sub(found.bandwidth.used),
                    found.bandwidth.limit,
                    found.block,
                    found.age_ms / 1000,
                    if found.active { "" } else { "\nthe chain does not know this account yet" }
                )
            })?;
            Ok(Exit::Success)
        }
        Command::History { wallet } => {
            let client = context.client();
            let path = format!("{}/{}/history", route::WALLETS, id(&client, &wallet)?);
            let found: Vec<api::HistoryEntry> = block_on(async { Ok(client.get(&path).await?) })?;
            output::show(context.json, &found, || {
                let rows: Vec<_> = found
                    .iter()
                    .map(|entry| {
                        vec![
                            lucid_pay::ledger::utc(entry.at_ms),
                            entry.in_micro.to_string(),
                            entry.out_micro.to_string(),
                            entry.what.clone(),
                            entry.txid.clone().unwrap_or_default(),
                        ]
                    })
                    .collect();
                output::table(&["when", "in", "out", "what", "transaction"], &rows)
            })?;
            Ok(Exit::Success)
        }
        Command::Allowance { wallet, spender } => {
            let spender = spender
                .parse()
                .map_err(|error| coded(Exit::Data, format!("{spender:?}: {error}")))?;
            let owner = address(context, &wallet)?;
            let nodes = sandbox::nodes(context)?;
            let found = block_on(async {
                let token = sandbox::token(context).await?;
                let found = usdt::allowance(&nodes, owner, spender, token).await;
                found.map_err(|error| coded(Exit::Unavailable, error.to_string()))
            })?;
            let shown = json!({"allowance_micro": found.units()});
            output::show(context.json, &shown, || format!("{spender} may take {found} USDT"))?;
            Ok(Exit::Success)
        }
        Command::Movements { wallet, from, to } => {
            let owner = address(context, &wallet)?;
            let nodes = sandbox::nodes(context)?;
            let found = block_on(movements(context, &nodes, owner, from, to))?;
            let rows = found.iter().map(|one| {
                vec![
                    lucid_pay::ledger::utc(one.time_ms),
                    one.block.to_string(),
                    one.transfer.from.to_string(),
                    one.transfer.to.to_string(),
                    one.transfer.amount.to_string(),
                    one.txid.to_string(),
                ]
            });
            let shown: Vec<_> = found
                .iter()
                .map(|one| {
                    json!({"at_ms": one.time_ms, "block": one.block,
                           "from": one.transfer.from.to_string(),
                           "to": one.transfer.to.to_string(),
                           "amount_micro": one.transfer.amount.units(),
                           "txid": one.txid.to_string()})
                })
                .collect();
            output::show(context.json, &shown, || {
                let head = ["when", "block", "from", "to", "USDT", "transaction"];
                output::table(&head, &rows.collect::<Vec<_>>())
            })?;
            Ok(Exit::Success)
        }
        Command::Ledger { name: text, path } => {
            let name = name(&text)?;
            let address = ledger(&path)?;
            let (wallets, _) = open(context, true)?;
            let wallet = wallets.watch(name, address, now_ms() / 1000, &mut OsRandom)?;
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
        Command::Export { wallet, output } => {
            let (wallets, unlock) = open(context, false)?;
            let id = find(&wallets, &wallet)?.id;
            let secret = wallets.export(id, &again(context, unlock)?)?;
            let text = match &secret {
                Secret::Words { phrase, .. } => Zeroizing::new(format!("{}\n", **phrase)),
                Secret::Key(key) => {
                    Zeroizing::new(format!("{}\n", hex::encode(&key.to_bytes()[..])))
                }
                _ => return Err(coded(Exit::Refused, "there is nothing to export")),
            };
            match output {
                Some(path) => {
                    write(&path, text.as_bytes())?;
                    output::line(format!("written to {}", path.display()))?;
                }
                None => output::print(&text)?,
            }
            Ok(Exit::Success)
        }
        Command::Sheet { wallet, output } => {
            let (wallets, unlock) = open(context, false)?;
            let wallet = find(&wallets, &wallet)?;
            let secret = wallets.export(wallet.id, &again(context, unlock)?)?;
            let page = sheet::recovery_sheet(&wallet, &secret)?;
            write(&output, page.as_bytes())?;
            output::line(format!(
                "written to {}; print it, lock the paper away, and delete the file",
                output.display()
            ))?;
            Ok(Exit::Success)
        }
        Command::Backup { output, backup_passphrase_file } => {
            let (wallets, unlock) = open(context, false)?;
            let again = again(context, unlock)?;
            let passphrase = backup_passphrase(backup_passphrase_file.as_deref(), true)?;
            let sealed = wallets.backup(&again, &passphrase, Cost::STANDARD, &mut OsRandom)?;
            write(&output, &sealed)?;
            let count = wallets.list()?.wallets.len();
            output::show(context.json, &json!({"wallets": count, "file": output}), || {
                format!("{count} wallets in {}", output.display())
            })?;
            Ok(Exit::Success)
        }
        Command::Restore { file, backup_passphrase_file } => {
            let sealed = fs::read(&file)
                .with_context(|| format!("cannot read {}", file.display()))
                .map_err(|error| coded(Exit::Missing, format!("{error:#}")))?;
            let passphrase = backup_passphrase(backup_passphrase_file.as_deref(), false)?;
            let (wallets, _) = open(context, true)?;
            let done = wallets.restore(&sealed, &passphrase, &mut OsRandom)?;
            let shown = json!({"added": done.added, "present": done.present});
            output::show(context.json, &shown, || {
                format!("{} wallets added, {} were here already", done.added, done.present)
            })?;
            Ok(Exit::Success)
        }
    }
}

/// The secret once more, from the person if a person gave it: what was unlocked a moment ago may
/// not be theirs to take out.
fn again(context: &Context, unlock: Unlock) -> anyhow::Result<Unlock> {
    let by_hand = context.source.file.is_none()
        && context.source.credentials.is_none()
        && context.source.generated.is_none();
    if !by_hand {
        return Ok(unlock);
    }
    Ok(context.source.unlock("the passphrase again, to take secrets out", false)?)
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

/// The address somebody wrote, or that of the wallet with this name or id.
fn address(context: &Context, wanted: &str) -> anyhow::Result<Address> {
    if let Ok(address) = wanted.parse() {
        return Ok(address);
    }
    let (wallets, _) = open(context, false)?;
    Ok(find(&wallets, wanted)?.address)
}

/// Movements of USDT in final blocks, some hundred blocks at most.
async fn movements(
    context: &Context,
    nodes: &Nodes,
    owner: Address,
    from: u64,
    to: Option<u64>,
) -> anyhow::Result<Vec<usdt::Movement>> {
    let token = sandbox::token(context).await?;
    let unanswered = |error: NodeError| coded(Exit::Unavailable, error.to_string());
    let solid = nodes.read(|node| async move { node.solid().await }).await.map_err(unanswered)?;
    let to = to.unwrap_or(solid.number).min(solid.number);
    if from > to || to - from > MOVEMENT_BLOCKS_MAX {
        let text = format!(
            "blocks {from} to {to}: the first to at most {MOVEMENT_BLOCKS_MAX} further are right, \
             and {} is the newest final one",
            solid.number
        );
        return Err(coded(Exit::Data, text));
    }
    let (mut found, mut next) = (Vec::new(), from);
    while next <= to {
        let (more, on) =
            usdt::movements(nodes, owner, token, next, to).await.map_err(unanswered)?;
        found.extend(more);
        next = on.max(next + 1);
    }
    Ok(found)
}

/// The id of a wallet of the running process.
pub fn id(client: &api::Client, wanted: &str) -> anyhow::Result<String> {
    let found: Vec<api::Wallet> = block_on(async { Ok(client.get(route::WALLETS).await?) })?;
    let found = found.into_iter().find(|wallet| wallet.id == wanted || wallet.name == wanted);
    let missing = || coded(Exit::Missing, format!("there is no wallet {wanted:?}"));
    found.map(|wallet| wallet.id).ok_or_else(missing)
}

/// From the running process without a passphrase, otherwise from the directory.
fn list(context: &Context, all: bool) -> anyhow::Result<Exit> {
    let client = context.client();
    let asked: Result<Vec<api::Wallet>, ClientError> =
        block_on(async { Ok(client.get(route::WALLETS).await) })?;
    let found: Vec<serde_json::Value> = match asked {
        Ok(found) => found.iter().map(serde_json::to_value).collect::<Result<_, _>>()?,
        Err(ClientError::Down { .. }) => {
            let (wallets, _) = open(context, false)?;
            let listing = wallets.list()?;
            for error in listing.damaged {
                output::failure(&error.into(), Exit::Data, context.json);
            }
            listing.wallets.iter().map(shown).collect()
        }
        Err(error) => return Err(error.into()),
    };
    let found: Vec<_> =
        found.into_iter().filter(|wallet| all || wallet["archived"] != json!(true)).collect();
    output::show(context.json, &found, || {
        let text = |wallet: &serde_json::Value, key: &str| {
            wallet[key].as_str().unwrap_or_default().to_owned()
        };
        let rows: Vec<_> = found
            .iter()
            .map(|wallet| {
                let mut notes = Vec::new();
                if wallet["pays"] == json!(true) {
                    notes.push("pays".to_owned());
                }
                if wallet["archived"] == json!(true) {
                    notes.push("archived".to_owned());
                }
                vec![
                    text(wallet, "name"),
                    text(wallet, "kind"),
                    text(wallet, "address"),
                    text(wallet, "id"),
                    notes.join(", "),
                ]
            })
            .collect();
        output::table(&["name", "kind", "address", "id", ""], &rows)
    })?;
    Ok(Exit::Success)
}
