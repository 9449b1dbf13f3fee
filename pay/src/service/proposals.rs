//! Transactions of several signers over the gateway: made, shown, signed, sent.
//!
//! A key here is added only where it is one of several: whatever one key can do alone is a payout,
//! with its limits and its second person. Who asked for which signature is in the journal, and one
//! person does not sign a transaction with two keys.

use std::fmt::Write as _;
use std::time::Duration;

use lucid_pay_api as api;
use lucid_pay_api::{PROPOSALS_MAX, Problem, ProposalAction};

use super::office::{Office, driver_problem, no_node};
use super::{convert, now_ms};
use crate::chain::multisig::{MultisigError, Proposal};
use crate::chain::proposing::{self, Action, ProposeError, Standing};
use crate::client::HttpNode;
use crate::client::answers::PermissionSet;
use crate::gateway::Answer;
use crate::node::NodeError;
use crate::payout::event::Event;
use crate::payout::types::TxId;
use crate::tron::{Address, Sun, Usdt, hex};
use crate::wallet::{Wallet, Wallets};

/// How long `send` waits for a block.
const PATIENCE: Duration = Duration::from_secs(10);
/// The contract that moves USDT.
const TRIGGER: i32 = 31;
/// Who asks when nobody is named.
const NOBODY: &str = "unnamed";

/// A problem of proposals.
pub(super) fn refused(error: ProposeError) -> Problem {
    let (status, code) = match &error {
        ProposeError::Node(error) => return no_node(error),
        ProposeError::Frame(_) => (503, "no-node"),
        ProposeError::Nothing | ProposeError::FeeLimit(_) => (422, "invalid-amount"),
        ProposeError::Lost { .. } => (422, "payee-refused"),
        ProposeError::Inactive(_) => (409, "account-inactive"),
        ProposeError::TooLight { .. } => (409, "more-must-sign"),
        ProposeError::NotTaken(_) | ProposeError::Fails(_) => (422, "node-refused"),
        ProposeError::Multisig(MultisigError::Stranger(..)) => (409, "stranger-signed"),
        _ => (422, "invalid-proposal"),
    };
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        // What is passed on as it is has said it already.
        if !detail.ends_with(&cause.to_string()) {
            let _ = write!(detail, ": {cause}");
        }
        source = cause.source();
    }
    Problem::new(status, code, detail)
}

fn unreadable(error: MultisigError) -> Problem {
    refused(error.into())
}

fn read(texts: &[String]) -> Answer<Proposal> {
    let (first, others) = texts.split_first().ok_or_else(|| {
        convert::unfit("invalid-proposal", "proposals: at least one text is right")
    })?;
    if texts.len() > PROPOSALS_MAX {
        let detail = format!("proposals: at most {PROPOSALS_MAX} texts at once are right");
        return Err(convert::unfit("invalid-proposal", detail));
    }
    let mut all = Proposal::from_text(first).map_err(unreadable)?;
    for other in others {
        all.merge(&Proposal::from_text(other).map_err(unreadable)?).map_err(unreadable)?;
    }
    Ok(all)
}

fn qr(proposal: &Proposal) -> Option<api::QrCode> {
    let (side, modules) = proposal.to_modules().ok()?;
    let mut path = String::new();
    for (at, _) in modules.iter().enumerate().filter(|(_, dark)| **dark) {
        // Writing to a string cannot fail.
        let _ = write!(path, "M{} {}h1v1h-1z", at % side, at / side);
    }
    Some(api::QrCode { side: u32::try_from(side).ok()?, path })
}

fn holders(
    permission: &PermissionSet,
    wallets: &[Wallet],
    signed: &[Address],
) -> Vec<api::KeyHolder> {
    let holder = |signer: &crate::client::answers::Signer| {
        let known = |wallet: &&Wallet| wallet.address == signer.address && !wallet.archived;
        let mut known: Vec<&Wallet> = wallets.iter().filter(known).collect();
        known.sort_by_key(|wallet| !wallet.kind.signs());
        api::KeyHolder {
            address: signer.address.to_string(),
            weight: signer.weight,
            wallet: known.first().map(|wallet| wallet.name.to_string()),
            here: known.first().is_some_and(|wallet| wallet.kind.signs()),
            signed: signed.contains(&signer.address),
        }
    };
    permission.signers.iter().map(holder).collect()
}

/// Who signs for a wallet's account.
pub(super) async fn signers(office: &Office, wallet: String) -> Answer<api::Signers> {
    let wallet = office.wallet(wallet).await?;
    let wallets = office.wallets_do(Wallets::list).await?.wallets;
    let account = match proposing::account(office.nodes(), wallet.address).await {
        Ok(account) => Some(account),
        Err(ProposeError::Inactive(_)) => None,
        Err(error) => return Err(refused(error)),
    };
    let own_key_suffices = account.as_ref().is_none_or(|account| account.is_own_key());
    let mut permissions = Vec::new();
    for set in account.iter().flat_map(|account| account.owner.iter().chain(&account.actives)) {
        permissions.push(api::Permission {
            id: set.id,
            name: set.name.clone(),
            threshold: set.threshold,
            keys: holders(set, &wallets, &[]),
            pays: set.allows(TRIGGER),
        });
    }
    Ok(api::Signers {
        wallet: wallet.id.to_string(),
        active: account.is_some(),
        kind: if own_key_suffices { office.kind(&wallet) } else { api::WalletKind::Multisig },
        own_key_suffices,
        permissions,
        ledger_path: wallet.path,
    })
}

/// Makes a proposal.
pub(super) async fn propose(office: &Office, asked: api::NewProposal) -> Answer<api::Proposal> {
    let wallet = office.wallet(asked.wallet).await?;
    let unfit =
        |error: crate::tron::AmountError| convert::unfit("invalid-amount", error.to_string());
    let action = match asked.action {
        ProposalAction::PayUsdt { to, amount_micro } => Action::PayUsdt {
            to: convert::address("to", &to)?,
            amount: Usdt::from_units(amount_micro.0).map_err(unfit)?,
        },
        ProposalAction::PayTrx { to, amount_sun } => Action::PayTrx {
            to: convert::address("to", &to)?,
            amount: Sun::from_units(amount_sun.0).map_err(unfit)?,
        },
        ProposalAction::Allow { spender, amount_micro } => Action::Allow {
            spender: convert::address("spender", &spender)?,
            amount: Usdt::from_units(amount_micro.0).map_err(unfit)?,
        },
    };
    not_paying(office, wallet.address)?;
    let (nodes, token) = (office.nodes(), office.setup().token);
    let made =
        proposing::propose(nodes, token, wallet.address, asked.permission, &action, now_ms()).await;
    view(office, &made.map_err(refused)?).await
}

/// What is paid from the paying account is a payout: the process must know of it.
fn not_paying(office: &Office, owner: Address) -> Answer<()> {
    if owner != office.setup().paying.address {
        return Ok(());
    }
    let detail = "payouts are paid from this account: ask for a payout, so that the process knows \
                  of it";
    Err(Problem::new(409, "paying-account", detail))
}

/// Puts the signatures of a proposal's texts together, and says how far it is.
pub(super) async fn show(office: &Office, texts: api::ProposalTexts) -> Answer<api::Proposal> {
    view(office, &read(&texts.proposals)?).await
}

async fn view(office: &Office, proposal: &Proposal) -> Answer<api::Proposal> {
    let owner = proposal.unsigned.owner().ok_or_else(|| refused(ProposeError::NoAccount))?;
    let id = proposal.permission_id().map_err(unreadable)?;
    let txid = TxId(proposal.unsigned.txid);
    let wallets = office.wallets_do(Wallets::list).await?.wallets;
    let nodes = office.nodes();
    let unanswered = |error: NodeError| no_node(&error);
    let standing = proposing::standing(nodes, txid).await.map_err(unanswered)?;
    let account = proposing::account(nodes, owner).await.map_err(refused)?;
    let permission = account.permission(id);
    let permission = permission.ok_or_else(|| refused(ProposeError::NoPermission(owner, id)))?;
    let weight = proposal.weigh(permission).map_err(unreadable)?;
    let expires_ms = u64::try_from(proposal.unsigned.raw.expiration).unwrap_or(0);
    let (mut node, mut state) = (None, standing.name());
    let mut detail = standing.detail();
    if standing == Standing::Nowhere {
        let ask = |node: HttpNode| async move { proposal.ask_node(&node).await };
        let said = nodes.read(ask).await.map_err(unanswered)?;
        node = Some(api::NodeWord {
            enough: said.missing.is_none(),
            weight: said.weight,
            said: said.missing,
        });
        (state, detail) = match (expires_ms <= now_ms(), weight.is_enough()) {
            (true, _) => ("expired", "its time is over: propose it anew".to_owned()),
            (false, true) => ("open", "enough have signed; it can be sent".to_owned()),
            (false, false) => {
                let (have, need) = (weight.weight, weight.threshold);
                ("open", format!("weight {have} of {need}: more must sign"))
            }
        };
    }
    let signed: Vec<Address> = weight.signed.iter().map(|(signer, _)| *signer).collect();
    let own = wallets.iter().find(|wallet| wallet.address == owner);
    Ok(api::Proposal {
        proposal: proposal.to_text(),
        qr: qr(proposal),
        does: proposal.describe(),
        txid: txid.to_string(),
        account: owner.to_string(),
        wallet: own.map(|wallet| wallet.name.to_string()),
        permission: id,
        weight: weight.weight,
        threshold: weight.threshold,
        enough: weight.is_enough(),
        keys: holders(permission, &wallets, &signed),
        node,
        expires_ms,
        state: state.to_owned(),
        detail,
    })
}

/// Adds a signature.
pub(super) async fn sign(office: &Office, with: api::ProposalSignature) -> Answer<api::Proposal> {
    let mut proposal = read(std::slice::from_ref(&with.proposal))?;
    match (with.wallet, with.signature) {
        (Some(wallet), None) => {
            let by = with.by.unwrap_or_else(|| NOBODY.to_owned());
            sign_here(office, &mut proposal, wallet, by).await?;
        }
        (None, Some(digits)) => {
            let bytes = hex::decode(digits.trim()).map_err(|_| {
                let detail = "signature: 130 hexadecimal digits are right";
                convert::unfit("invalid-signature", detail)
            })?;
            let added = proposal.add(&bytes);
            added.map_err(|error| convert::unfit("invalid-signature", error.to_string()))?;
        }
        _ => {
            let detail = "either `wallet` or `signature` is right";
            return Err(convert::unfit("invalid-signature", detail));
        }
    }
    view(office, &proposal).await
}

async fn sign_here(
    office: &Office,
    proposal: &mut Proposal,
    wallet: String,
    by: String,
) -> Answer<()> {
    let wallet = office.wallet(wallet).await?;
    let owner = proposal.unsigned.owner().ok_or_else(|| refused(ProposeError::NoAccount))?;
    not_paying(office, owner)?;
    let id = proposal.permission_id().map_err(unreadable)?;
    let account = proposing::account(office.nodes(), owner).await.map_err(refused)?;
    let permission = account.permission(id);
    let permission = permission.ok_or_else(|| refused(ProposeError::NoPermission(owner, id)))?;
    let own = permission.weight(wallet.address);
    if own == 0 {
        return Err(unreadable(MultisigError::Stranger(wallet.address, id)));
    }
    if own >= permission.threshold {
        let detail = format!(
            "{:?} needs nobody else to sign this; what one key pays is a payout (name the wallet \
             as `wallet.pays`), or is signed at the console with `lucid-pay proposal sign`",
            wallet.name.as_str()
        );
        return Err(Problem::new(409, "no-others-needed", detail));
    }
    let signer = office.wallets_do(move |wallets| wallets.signer(wallet.id)).await?;
    let mut signed = proposal.clone();
    signed.sign(&signer);
    let (txid, what) = (TxId(proposal.unsigned.txid), proposal.describe());
    let event = Event::Cosign { txid, signer: signer.address(), by, what };
    let done = office.ask(move |payer| payer.driver.accept(event, now_ms())).await?;
    done.map_err(|error| driver_problem(&error))?;
    *proposal = signed;
    Ok(())
}

/// Sends a proposal that enough have signed.
pub(super) async fn send(
    office: &Office,
    texts: api::ProposalTexts,
) -> Answer<api::StakingReceipt> {
    let proposal = read(&texts.proposals)?;
    let pause = office.config().poll.min(Duration::from_secs(1));
    let sent = proposing::send(office.nodes(), &proposal, PATIENCE, pause).await;
    let sent = sent.map_err(refused)?;
    let txid = TxId(proposal.unsigned.txid).to_string();
    let detail = format!("{}; {}", proposal.describe(), sent.detail());
    Ok(api::StakingReceipt { txid, state: sent.name().to_owned(), detail, by: None })
}
