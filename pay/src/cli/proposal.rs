//! `lucid-pay proposal`: transactions that are signed elsewhere or by several, passed on as a file
//! or a QR code. Watched, shared and hardware accounts pay this way.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use lucid_pay::chain::multisig::{self, Proposal, TEXT_CHARS_MAX, Weight};
use lucid_pay::chain::{known, sending};
use lucid_pay::client::{HttpNode, Nodes};
use lucid_pay::node::{Answer, NodeError, TronNode as _};
use lucid_pay::payout::types::TxId;
use lucid_pay::service::now_ms;
use lucid_pay::tron::transaction::{Frame, Unsigned};
use lucid_pay::tron::{Address, Sun, Usdt, abi};
use serde_json::json;
use tron_protobuf::{TransferContract, TriggerSmartContract};

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
    move |error| {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        coded(Exit::Data, text)
    }
}

fn unanswered(error: NodeError) -> anyhow::Error {
    let exit = match error {
        NodeError::Refused(_) => Exit::Refused,
        _ => Exit::Unavailable,
    };
    coded(exit, error.to_string())
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

/// A transaction on a final block. It lives long where several must sign it, or one far away.
async fn frame(nodes: &Nodes, permission: i32, fee_limit: Sun) -> anyhow::Result<Frame> {
    let several = permission.max(1);
    let (mut frame, _) = sending::frame(nodes, now_ms(), 0, fee_limit, several)
        .await
        .map_err(|error| coded(Exit::Unavailable, error.to_string()))?;
    frame.permission_id = permission;
    Ok(frame)
}

/// A call of the token, with the energy a node estimates for it.
async fn call(
    context: &Context,
    nodes: &Nodes,
    from: &From,
    data: Vec<u8>,
) -> anyhow::Result<Proposal> {
    let (owner, token) = (address("ACCOUNT", &from.account)?, sandbox::token(context).await?);
    let asked = &data;
    let limit =
        nodes.read(|node: HttpNode| async move { node.fee_limit(owner, token, asked).await });
    let limit = limit.await.map_err(unanswered)?;
    let limit = limit.map_err(|why| coded(Exit::Refused, format!("it would fail: {why}")))?;
    let limit = Sun::from_units(limit).map_err(self::data("the fee limit"))?;
    let contract = TriggerSmartContract {
        owner_address: owner.to_bytes().to_vec(),
        contract_address: token.to_bytes().to_vec(),
        data,
        ..TriggerSmartContract::default()
    };
    let frame = frame(nodes, from.permission, limit).await?;
    let unsigned = Unsigned::build(&contract, frame).map_err(self::data("the transaction"))?;
    Ok(Proposal::new(unsigned))
}

async fn pay(
    context: &Context,
    nodes: &Nodes,
    from: &From,
    to: &str,
    amount: &str,
    coin: Coin,
) -> anyhow::Result<Proposal> {
    let to = address("--to", to)?;
    if let Some(why) = known::refusal(to) {
        return Err(coded(Exit::Refused, format!("{to} may not be paid: {why}")));
    }
    if coin == Coin::Usdt {
        let amount: Usdt = amount.parse().map_err(data("--amount"))?;
        if amount == Usdt::ZERO {
            return Err(coded(Exit::Data, "--amount: more than 0 is right"));
        }
        return call(context, nodes, from, abi::transfer(&to, amount.units())).await;
    }
    let amount: Sun = amount.parse().map_err(data("--amount"))?;
    if amount == Sun::ZERO {
        return Err(coded(Exit::Data, "--amount: more than 0 is right"));
    }
    let contract = TransferContract {
        owner_address: address("ACCOUNT", &from.account)?.to_bytes().to_vec(),
        to_address: to.to_bytes().to_vec(),
        amount: amount.wire(),
    };
    let frame = frame(nodes, from.permission, Sun::ZERO).await?;
    Ok(Proposal::new(Unsigned::build(&contract, frame).map_err(data("the transaction"))?))
}

async fn allow(
    context: &Context,
    nodes: &Nodes,
    from: &From,
    spender: &str,
    amount: &str,
) -> anyhow::Result<Proposal> {
    let (spender, amount) = (address("--spender", spender)?, amount.parse::<Usdt>());
    let amount = amount.map_err(data("--amount"))?;
    let data = abi::call(
        "approve(address,uint256)",
        &[spender.to_string().as_str(), amount.units().to_string().as_str()],
    );
    call(context, nodes, from, data.map_err(self::data("the call"))?).await
}

async fn share(
    nodes: &Nodes,
    from: &From,
    keys: &[String],
    threshold: i64,
) -> anyhow::Result<Proposal> {
    let owner = address("ACCOUNT", &from.account)?;
    let keys: Vec<Address> =
        keys.iter().map(|key| address("--key", key)).collect::<anyhow::Result<_>>()?;
    let contract = multisig::share_account(owner, &keys, threshold).map_err(data("the keys"))?;
    let frame = frame(nodes, from.permission, Sun::ZERO).await?;
    Ok(Proposal::new(Unsigned::build(&contract, frame).map_err(data("the transaction"))?))
}

/// Who has signed by the account's permission, and what the node makes of it.
async fn weigh(nodes: &Nodes, proposal: &Proposal) -> anyhow::Result<(Weight, Option<String>)> {
    let owner = proposal.unsigned.owner();
    let owner = owner.ok_or_else(|| coded(Exit::Data, "the proposal names no account"))?;
    let id = proposal.permission_id().map_err(data("the proposal"))?;
    let account = nodes.read(move |node: HttpNode| async move { node.account(owner, false).await });
    let account = account.await.map_err(unanswered)?;
    let account = account
        .ok_or_else(|| coded(Exit::Refused, format!("{owner} is no account on this chain yet")))?;
    let permission = account
        .permission(id)
        .ok_or_else(|| coded(Exit::Refused, format!("account {owner} has no permission {id}")))?;
    let weight =
        proposal.weigh(permission).map_err(|error| coded(Exit::Refused, error.to_string()))?;
    let asked = &proposal;
    let said = nodes.read(|node: HttpNode| async move { asked.ask_node(&node).await }).await;
    let said = said.map_err(unanswered)?;
    Ok((weight, said.missing))
}

async fn show(context: &Context, nodes: &Nodes, proposal: &Proposal) -> anyhow::Result<Exit> {
    let (weight, missing) = weigh(nodes, proposal).await?;
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
    let txid = TxId(proposal.unsigned.txid);
    let ended = |node: HttpNode| async move { node.executed(txid, true).await };
    let (mut state, mut why) = ("broadcast", "no block holds it yet".to_owned());
    // It may have been sent before: what is on the chain is not asked to be signed.
    if nodes.read(ended).await.map_err(unanswered)?.is_none() {
        let (weight, missing) = weigh(nodes, proposal).await?;
        if !weight.is_enough() {
            let text = format!("weight {} of {}; more must sign", weight.weight, weight.threshold);
            return Err(coded(Exit::Refused, text));
        }
        let signed = proposal.unsigned.signed(proposal.signatures());
        let mut taken = false;
        for node in nodes.all() {
            match node.broadcast(&signed).await {
                Ok(Answer::Accepted | Answer::Duplicate) => taken = true,
                Ok(Answer::Refused(said) | Answer::Unclear(said)) => why = said,
                Err(error) => why = error.to_string(),
            }
        }
        if !taken {
            let said = missing.map(|said| format!("; {said}")).unwrap_or_default();
            return Err(coded(Exit::Refused, format!("no node took it: {why}{said}")));
        }
        why = "no block holds it yet".to_owned();
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(found)) = nodes.read(ended).await {
            state = if found.worked { "confirmed" } else { "failed" };
            why = match found.worked {
                true => format!("solidified in block {}", found.receipt.block),
                false => format!("it ended with {}", found.receipt.result),
            };
            break;
        }
        let seen = nodes.read(move |node: HttpNode| async move { node.sighted(txid).await }).await;
        if let Ok(Some(block)) = seen {
            (state, why) = ("seen", format!("in block {block}, not yet solid"));
            break;
        }
        if tokio::time::Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(context.config.poll.min(Duration::from_secs(1))).await;
    }
    let shown = json!({ "txid": txid.to_string(), "state": state, "detail": why });
    output::show(context.json, &shown, || format!("{state}: {why}\ntransaction {txid}"))?;
    Ok(if state == "failed" { Exit::Refused } else { Exit::Success })
}

/// Does it.
pub fn run(context: &Context, command: Command) -> anyhow::Result<Exit> {
    let nodes = || sandbox::nodes(context);
    match command {
        Command::Pay { from, to, amount, coin, out } => {
            let nodes = nodes()?;
            let made = block_on(pay(context, &nodes, &from, &to, &amount, coin))?;
            give(context, &made, &out)
        }
        Command::Allow { from, spender, amount, out } => {
            let nodes = nodes()?;
            let made = block_on(allow(context, &nodes, &from, &spender, &amount))?;
            give(context, &made, &out)
        }
        Command::Share { from, keys, threshold, out } => {
            let nodes = nodes()?;
            let made = block_on(share(&nodes, &from, &keys, threshold))?;
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
