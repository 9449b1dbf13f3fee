//! Orders: one transaction each, of stake or of an allowance.
//!
//! Its signed bytes are durable before they are first sent, and the payer sends only these until a
//! final block shows how they ended. The answer waits a while for a block that holds it, and says
//! when none has yet.

use std::time::Duration;

use lucid_pay_api as api;
use lucid_pay_api::Problem;
use serde::Serialize;

use super::office::{Office, driver_problem, no_node};
use super::payer::Payer;
use super::{convert, now_ms};
use crate::chain::sending::{self, SendError};
use crate::gateway::Answer;
use crate::payout::book::State;
use crate::payout::event::Event;
use crate::payout::record::Stake;
use crate::payout::stake::Staked;
use crate::payout::types::TxId;
use crate::tron::transaction::{Frame, TransactionError, Unsigned};
use crate::tron::{Address, Sun};
use crate::wallet::WalletId;

/// How long the answer waits for a block.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is ordered, before it is signed.
pub(super) struct Order<B> {
    /// The wallet that signs.
    pub wallet: WalletId,
    /// Its address.
    pub owner: Address,
    /// The key of whoever asks.
    pub key: Option<String>,
    /// Who that is.
    pub by: Option<String>,
    /// Hash of wallet and action, which equal orders have in common.
    pub hash: [u8; 32],
    /// Without a key, an equal order that was confirmed since then is this one.
    pub since: u64,
    /// What it does, in words.
    pub what: String,
    /// Most that its energy may cost.
    pub fee_limit: Sun,
    /// Makes the transaction.
    pub build: B,
}

fn unsent(error: SendError) -> Problem {
    match error {
        SendError::Node(error) => no_node(&error),
        error => Problem::new(422, "node-refused", error.to_string()),
    }
}

/// Where an order stands.
pub(super) fn receipt(staked: &Staked) -> api::StakingReceipt {
    let what = &staked.stake.what;
    let detail = match staked.state {
        State::Confirmed => what.clone(),
        _ => format!("{what}; {}", staked.cause),
    };
    let txid = staked.stake.txid.to_string();
    let (state, by) = (staked.state.name().to_owned(), staked.stake.by.clone());
    api::StakingReceipt { txid, state, detail, by }
}

/// What two equal orders have in common: wallet and action.
pub(super) fn hash(wallet: WalletId, action: &impl Serialize) -> Answer<[u8; 32]> {
    let internal = |_| Problem::new(500, "internal", "the order cannot be read");
    let action = serde_json::to_vec(action).map_err(internal)?;
    let mut hasher = blake3::Hasher::new_derive_key("lucid-pay order of stake v1");
    hasher.update(&wallet.0).update(&action);
    Ok(*hasher.finalize().as_bytes())
}

fn same(payer: &Payer, key: Option<&str>, hash: &[u8; 32], since: u64) -> Option<TxId> {
    payer.driver.engine.book.stakes.same(key, hash, since).map(|staked| staked.stake.txid)
}

/// The order that this one repeats.
pub(super) async fn known(
    office: &Office,
    key: Option<String>,
    hash: [u8; 32],
    since: u64,
) -> Answer<Option<TxId>> {
    office.ask(move |payer| same(payer, key.as_deref(), &hash, since)).await
}

/// Signs an order; its bytes are durable when this returns.
pub(super) async fn give<B>(office: &Office, order: Order<B>) -> Answer<TxId>
where
    B: FnOnce(Frame) -> Result<Unsigned, TransactionError> + Send + 'static,
{
    let wallet = order.wallet;
    let signer = office.wallets_do(move |wallets| wallets.signer(wallet)).await?;
    let frame = sending::frame(office.nodes(), now_ms(), 0, order.fee_limit, 0).await;
    let (mut frame, reference) = frame.map_err(unsent)?;
    let work = move |payer: &mut Payer| {
        let Order { key, hash, since, .. } = order;
        // Somebody else may have asked for the same meanwhile.
        if let Some(txid) = same(payer, key.as_deref(), &hash, since) {
            return Ok(txid);
        }
        let now = now_ms();
        let book = &payer.driver.engine.book;
        let timestamp = now.max(book.last_timestamp.saturating_add(1));
        frame.timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        let expiration = u64::try_from(frame.expiration).unwrap_or(0);
        let unsigned = (order.build)(frame);
        let unsigned =
            unsigned.map_err(|error| convert::unfit("stake-refused", error.to_string()))?;
        let signature = signer.sign(&unsigned.txid);
        let txid = TxId(unsigned.txid);
        let stake = Stake {
            txid,
            bytes: unsigned.signed_once(&signature),
            owner: order.owner,
            order: hash,
            key,
            what: order.what,
            timestamp,
            expiration,
            reference: reference.number,
            reference_id: reference.id,
            by: order.by,
        };
        let done = payer.driver.accept(Event::Stake { stake, since }, now);
        done.map_err(|error| driver_problem(&error))?;
        payer.due.push(txid);
        Ok(txid)
    };
    office.ask(work).await?
}

/// How the order stands, once a block holds it or the patience is over.
pub(super) async fn outcome(
    office: &Office,
    txid: TxId,
    again: bool,
) -> Answer<api::StakingReceipt> {
    let pause = office.config().poll.min(Duration::from_secs(1));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let over = tokio::time::Instant::now() >= deadline;
        let said = office.ask(move |payer| answer(payer, txid, over, again)).await?;
        match said {
            Some(answer) => return answer,
            None => tokio::time::sleep(pause).await,
        }
    }
}

/// The answer, if there is one to give yet.
fn answer(
    payer: &Payer,
    txid: TxId,
    over: bool,
    again: bool,
) -> Option<Answer<api::StakingReceipt>> {
    let Some(staked) = payer.driver.engine.book.stakes.get(&txid) else {
        return Some(Err(Problem::new(500, "internal", "the order is not in the journal")));
    };
    let mut shown = receipt(staked);
    match staked.state {
        State::Failed => {
            return Some(Err(Problem::new(409, "stake-failed", staked.cause.clone())));
        }
        State::Expired => {
            return Some(Err(Problem::new(409, "stake-expired", staked.cause.clone())));
        }
        State::Confirmed | State::Seen => {}
        _ if over => {
            let refused = staked.answer.as_ref().filter(|(taken, _)| !taken && !staked.taken);
            shown.detail = match refused {
                Some((_, said)) => format!("{}; the node says: {said}", shown.detail),
                None => format!("{}; no block holds it yet", shown.detail),
            };
        }
        _ => return None,
    }
    if again {
        let at = crate::ledger::utc(staked.stake.timestamp);
        shown.detail.push_str(&format!(
            "; this is the order given at {at}, and the same once more needs a key of its own"
        ));
    }
    Some(Ok(shown))
}
