//! `lucid-pay proposal`: transactions that are signed elsewhere or by several, passed on as a file
//! or a QR code. Watched, shared and hardware accounts pay this way.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use lucid_pay::chain::multisig::{MultisigError, Proposal, TEXT_CHARS_MAX};
use lucid_pay::chain::proposing::{self, Action, ProposeError};
use lucid_pay::client::Nodes;
use lucid_pay::node::NodeError;
use lucid_pay::payout::types::TxId;
use lucid_pay::service::now_ms;
use lucid_pay::tron::transaction::Unsigned;
use lucid_pay::tron::{Address, Usdt};
use serde_json::json;

use super::exit::{Exit, coded};
use super::{Context, block_on, output, sandbox, wallet};

/// How long `send` waits for a block.
const PATIENCE: Duration = Duration::from_secs(30);
/// The path of a Ledger's first account.
const LEDGER_PATH: &str = "m/44'/195'/0'/0/0";

/// Transactions that are signed elsewhere or by several people. From the account that lucid-pay
/// itself pays from, use `payout request`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Proposes a payment
    Pay {
        #[command(flatten)]
        from: From,
        /// Who gets it
        #[arg(long)]
        to: String,
        /// How much, such as 12.5
        #[arg(long)]
        amount: String,
        /// Of what
        #[arg(long, default_value = "usdt")]
        coin: Coin,
        #[command(flatten)]
        out: Out,
    },
    /// Proposes how much USDT another account, such as a router contract, may take
    Allow {
        #[command(flatten)]
        from: From,
        /// Who may take it
        #[arg(long)]
        spender: String,
        /// How much in all; 0 ends it
        #[arg(long)]
        amount: String,
        #[command(flatten)]
        out: Out,
    },
    /// Proposes to put an account under several keys; this costs 100 TRX
    Share {
        #[command(flatten)]
        from: From,
        /// A key's address; 2 to 5 of them
        #[arg(long = "key", required = true, num_args = 1)]
        keys: Vec<String>,
        /// How many of the keys must sign
        #[arg(long)]
        threshold: i64,
        #[command(flatten)]
        out: Out,
    },
    /// Says what a proposal does, who has signed it and who must yet
    Show {
        /// The proposal's file; - is standard input
        file: PathBuf,
        /// Show it as a QR code as well
        #[arg(long)]
        qr: bool,
    },
    /// Adds a signature, after saying what is signed
    Sign {
        /// The proposal's file; - is standard input
        file: PathBuf,
        #[command(flatten)]
        with: With,
        #[command(flatten)]
        out: Out,
    },
    /// Puts the signatures of several files of one proposal together
    Merge {
        /// The files
        #[arg(required = true, num_args = 2..)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        out: Out,
    },
    /// Sends it once enough have signed; sending again is harmless, the bytes are the same
    Send {
        /// The proposal's file; - is standard input
        file: PathBuf,
    },
}

/// Whose transaction.
#[derive(Debug, Args)]
pub struct From {
    /// The account's address
    account: String,
    /// Which permission signs: 0 is the owner's, active ones begin at 2
    #[arg(long, default_value_t = 0)]
    permission: i32,
}

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Coin {
    /// The configured token
    Usdt,
    /// TRX
    Trx,
}

/// What signs.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct With {
    /// Name or id of the wallet that signs
    #[arg(long)]
    wallet: Option<String>,
    /// The Ledger that is plugged in signs, at this path
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = LEDGER_PATH)]
    ledger: Option<String>,
    /// A signature made elsewhere: 130 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    signature: Option<String>,
}

/// Where the proposal goes.
#[derive(Debug, Args)]
pub struct Out {
    /// File to write; without it the proposal is printed
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show it as a QR code as well
    #[arg(long)]
    qr: bool,
}

fn data<E: std::error::Error>(what: &'static str) -> impl FnOnce(E) -> anyhow::Error {
    data_as(Exit::Data, what)
}

fn data_as<E: std::error::Error>(
    exit: Exit,
    what: &'static str,
) -> impl FnOnce(E) -> anyhow::Error {
    move |error| {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        coded(exit, text)
    }
}

fn address(what: &'static str, text: &str) -> anyhow::Result<Address> {
    text.parse().map_err(data(what))
}

fn read(path: &Path) -> anyhow::Result<Proposal> {
    let limit = TEXT_CHARS_MAX as u64 + 16;
    let mut text = String::new();
    let found = match path.to_str() {
        Some("-") => std::io::stdin().lock().take(limit).read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)),
    };
    found.with_context(|| format!("cannot read {}", path.display())).map_err(|error| {
        let exit = if path.exists() { Exit::Data } else { Exit::Missing };
        coded(exit, format!("{error:#}"))
    })?;
    Proposal::from_text(&text).map_err(data("the proposal"))
}

fn give(context: &Context, proposal: &Proposal, out: &Out) -> anyhow::Result<Exit> {
    let text = proposal.to_text();
    if let Some(path) = &out.output {
        std::fs::write(path, format!("{text}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let signers: Vec<String> = proposal.signers().map(|signer| signer.to_string()).collect();
    let txid = TxId(proposal.unsigned.txid).to_string();
    let shown = json!({
        "proposal": text, "does": proposal.describe(), "txid": txid, "signed_by": signers,
    });
    output::show(context.json, &shown, || {
        let mut said = format!("{}\ntransaction {txid}", proposal.describe());
        for signer in &signers {
            said.push_str(&format!("\nsigned by {signer}"));
        }
        match &out.output {
            Some(path) => said.push_str(&format!("\nwritten to {}", path.display())),
            None => said.push_str(&format!("\n{text}")),
        }
        said
    })?;
    if out.qr && !context.json {
        output::line(proposal.to_qr().map_err(data("QR code"))?)?;
    }
    Ok(Exit::Success)
}

fn refused(error: ProposeError) -> anyhow::Error {
    let exit = match &error {
        ProposeError::Node(NodeError::Refused(_)) => Exit::Refused,
        ProposeError::Node(_) | ProposeError::Frame(_) => Exit::Unavailable,
        ProposeError::Nothing | ProposeError::NoAccount | ProposeError::FeeLimit(_) => Exit::Data,
        ProposeError::Build(_) | ProposeError::Call(_) => Exit::Data,
        ProposeError::Multisig(MultisigError::New(_)) => Exit::Data,
        _ => Exit::Refused,
    };
    data_as(exit, "the proposal")(error)
}

async fn propose(
    context: &Context,
    nodes: &Nodes,
    from: &From,
    action: &Action,
) -> anyhow::Result<Proposal> {
    let (owner, token) = (address("ACCOUNT", &from.account)?, sandbox::token(context).await?);
    let made = proposing::propose(nodes, token, owner, from.permission, action, now_ms()).await;
    made.map_err(refused)
}

fn payment(to: &str, amount: &str, coin: Coin) -> anyhow::Result<Action> {
    let to = address("--to", to)?;
    Ok(match coin {
        Coin::Usdt => Action::PayUsdt { to, amount: amount.parse().map_err(data("--amount"))? },
        Coin::Trx => Action::PayTrx { to, amount: amount.parse().map_err(data("--amount"))? },
    })
}

async fn show(context: &Context, nodes: &Nodes, proposal: &Proposal) -> anyhow::Result<Exit> {
    let (weight, said) = proposing::weigh(nodes, proposal).await.map_err(refused)?;
    let missing = said.missing;
    let names = |list: &[Address]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let signed: Vec<Address> = weight.signed.iter().map(|(signer, _)| *signer).collect();
    let shown = json!({
        "does": proposal.describe(), "txid": TxId(proposal.unsigned.txid).to_string(),
        "weight": weight.weight, "threshold": weight.threshold, "enough": weight.is_enough(),
        "signed_by": names(&signed), "may_sign_yet": names(&weight.missing), "node": missing,
    });
    output::show(context.json, &shown, || {
        let mut text =
            format!("{}\nweight {} of {}", proposal.describe(), weight.weight, weight.threshold);
        for (signer, weight) in &weight.signed {
            text.push_str(&format!("\nsigned by {signer}, weight {weight}"));
        }
        for signer in &weight.missing {
            text.push_str(&format!("\n{signer} may sign yet"));
        }
        text.push_str(match (&missing, weight.is_enough()) {
            (None, true) => "\nenough have signed; it can be sent",
            (Some(_), true) => "\nthe node does not find it enough",
            (_, false) => "\nmore must sign",
        });
        if let Some(said) = missing.as_ref().filter(|_| weight.is_enough()) {
            text.push_str(&format!(": {said}"));
        }
        text
    })?;
    Ok(Exit::Success)
}

fn sign(context: &Context, mut proposal: Proposal, with: &With) -> anyhow::Result<Proposal> {
    if !context.json {
        let _ = output::complain(&format!("this signs: {}\n", proposal.describe()));
    }
    if let Some(name) = &with.wallet {
        let (wallets, _) = wallet::open(context, false)?;
        let key = wallets.signer(wallet::find(&wallets, name)?.id)?;
        proposal.sign(&key);
    } else if let Some(digits) = &with.signature {
        let bytes = lucid_pay::tron::hex::decode(digits.trim()).map_err(data("--signature"))?;
        proposal.add(&bytes).map_err(data("--signature"))?;
    } else if let Some(path) = &with.ledger {
        let signature = ledger(path, &proposal.unsigned)?;
        proposal.add(&signature).map_err(data("the Ledger's signature"))?;
    }
    Ok(proposal)
}

#[cfg(feature = "ledger")]
fn ledger(path: &str, unsigned: &Unsigned) -> anyhow::Result<Vec<u8>> {
    use lucid_pay::hardware::{Ledger, hid::UsbLedger};
    let absent = |error| coded(Exit::Unavailable, format!("the Ledger: {error}"));
    let mut device = Ledger::new(UsbLedger::open().map_err(absent)?);
    let refused = |error| coded(Exit::Refused, format!("the Ledger: {error}"));
    Ok(device.sign(path, unsigned).map_err(refused)?.to_bytes().to_vec())
}

#[cfg(not(feature = "ledger"))]
fn ledger(_: &str, _: &Unsigned) -> anyhow::Result<Vec<u8>> {
    let text = "this lucid-pay was built without Ledger; build it with `--features ledger`";
    Err(coded(Exit::Refused, text))
}

async fn send(context: &Context, nodes: &Nodes, proposal: &Proposal) -> anyhow::Result<Exit> {
    let pause = context.config.poll.min(Duration::from_secs(1));
    let sent = proposing::send(nodes, proposal, PATIENCE, pause).await.map_err(refused)?;
    let (state, why) = (sent.name(), sent.detail());
    let txid = TxId(proposal.unsigned.txid).to_string();
    let shown = json!({ "txid": txid, "state": state, "detail": why });
    output::show(context.json, &shown, || format!("{state}: {why}\ntransaction {txid}"))?;
    Ok(if state == "failed" { Exit::Refused } else { Exit::Success })
}

/// Does it.
pub fn run(context: &Context, command: Command) -> anyhow::Result<Exit> {
    let nodes = || sandbox::nodes(context);
    match command {
        Command::Pay { from, to, amount, coin, out } => {
            let nodes = nodes()?;
            let action = payment(&to, &amount, coin)?;
            let made = block_on(propose(context, &nodes, &from, &action))?;
            give(context, &made, &out)
        }
        Command::Allow { from, spender, amount, out } => {
            let nodes = nodes()?;
            let spender = address("--spender", &spender)?;
            let amount = amount.parse::<Usdt>().map_err(data("--amount"))?;
            let action = Action::Allow { spender, amount };
            let made = block_on(propose(context, &nodes, &from, &action))?;
            give(context, &made, &out)
        }
        Command::Share { from, keys, threshold, out } => {
            let nodes = nodes()?;
            let keys = keys.iter().map(|key| address("--key", key));
            let keys = keys.collect::<anyhow::Result<_>>()?;
            let action = Action::Share { keys, threshold };
            let made = block_on(propose(context, &nodes, &from, &action))?;
            give(context, &made, &out)
        }
        Command::Show { file, qr } => {
            let (proposal, nodes) = (read(&file)?, nodes()?);
            let exit = block_on(show(context, &nodes, &proposal))?;
            if qr && !context.json {
                output::line(proposal.to_qr().map_err(data("QR code"))?)?;
            }
            Ok(exit)
        }
        Command::Sign { file, with, out } => {
            let signed = sign(context, read(&file)?, &with)?;
            give(context, &signed, &out)
        }
        Command::Merge { files, out } => {
            let mut proposals = files.iter().map(|file| read(file));
            let first = proposals.next().transpose()?;
            let mut all = first.ok_or_else(|| coded(Exit::Usage, "no file is named"))?;
            for other in proposals {
                all.merge(&other?).map_err(data("the proposals"))?;
            }
            give(context, &all, &out)
        }
        Command::Send { file } => {
            let (proposal, nodes) = (read(&file)?, nodes()?);
            block_on(send(context, &nodes, &proposal))
        }
    }
}
