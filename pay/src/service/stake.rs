//! Stake of a wallet: what it is, and doing something with it.
//!
//! An order is one transaction. Its signed bytes are durable before they are first sent, and the
//! payer sends only these until a final block shows how they ended. The answer waits a while for a
//! block that holds it, and says when none has yet.

use std::time::Duration;

use lucid_pay_api as api;
use lucid_pay_api::{Problem, StakingAction};

use super::office::{Office, driver_problem, no_node};
use super::payer::Payer;
use super::{convert, now_ms};
use crate::chain::sending::{self, SendError};
use crate::chain::staking::{self, Position, StakingError};
use crate::gateway::Answer;
use crate::payout::book::State;
use crate::payout::event::Event;
use crate::payout::record::Stake;
use crate::payout::stake::Staked;
use crate::payout::types::TxId;
use crate::tron::{Address, Sun};
use crate::wallet::WalletId;

/// How long the answer waits for a block.
const PATIENCE: Duration = Duration::from_secs(30);
/// Without a key, an order that moves an amount is the same as an equal one confirmed in the last
/// so many milliseconds.
const REPEAT_MS: u64 = 86_400_000;

fn refused(error: &StakingError) -> Problem {
    convert::unfit("stake-refused", error.to_string())
}

fn unsent(error: SendError) -> Problem {
    match error {
        SendError::Node(error) => no_node(&error),
        error => Problem::new(422, "node-refused", error.to_string()),
    }
}

async fn position(office: &Office, owner: Address) -> Answer<Position> {
    let found = Position::read(office.nodes(), owner).await.map_err(|error| no_node(&error))?;
    let detail = "the chain does not know this account yet; send TRX to it first";
    found.ok_or_else(|| Problem::new(409, "account-inactive", detail))
}

fn minimum(office: &Office) -> Sun {
    Sun::from_units(office.config().stake_minimum_sun).unwrap_or(Sun::MAX)
}

fn receipt(staked: &Staked) -> api::StakingReceipt {
    let what = &staked.stake.what;
    let detail = match staked.state {
        State::Confirmed => what.clone(),
        _ => format!("{what}; {}", staked.cause),
    };
    let txid = staked.stake.txid.to_string();
    api::StakingReceipt { txid, state: staked.state.name().to_owned(), detail }
}

/// What a wallet has staked.
pub(super) async fn staking(office: &Office, wallet: String) -> Answer<api::Staking> {
    let wallet = office.wallet(wallet).await?;
    let position = position(office, wallet.address).await?;
    let mut shown = position.shown(&wallet.id.to_string(), minimum(office), now_ms());
    let owner = wallet.address;
    shown.under_way = office
        .ask(move |payer| {
            let live = payer.driver.engine.book.stakes.live();
            let mut live: Vec<&Staked> =
                live.map(|(_, staked)| staked).filter(|one| one.stake.owner == owner).collect();
            live.sort_by_key(|staked| staked.stake.timestamp);
            live.into_iter().map(receipt).collect()
        })
        .await?;
    Ok(shown)
}

/// What two equal orders have in common: wallet and action.
fn order_hash(wallet: WalletId, action: &StakingAction) -> Answer<[u8; 32]> {
    let internal = |_| Problem::new(500, "internal", "the order cannot be read");
    let action = serde_json::to_vec(action).map_err(internal)?;
    let mut hasher = blake3::Hasher::new_derive_key("lucid-pay order of stake v1");
    hasher.update(&wallet.0).update(&action);
    Ok(*hasher.finalize().as_bytes())
}

/// Since when an equal order without a key is the same. What takes no amount does no harm when it
/// is done again, and is refused where it would do nothing.
fn since(action: &StakingAction) -> u64 {
    match action {
        StakingAction::Freeze { .. }
        | StakingAction::Unfreeze { .. }
        | StakingAction::Delegate { .. }
        | StakingAction::Undelegate { .. } => now_ms().saturating_sub(REPEAT_MS),
        StakingAction::Withdraw
        | StakingAction::CancelUnfreezes
        | StakingAction::Vote { .. }
        | StakingAction::ClaimReward => u64::MAX,
    }
}

/// The order that this one repeats.
fn same(payer: &Payer, key: Option<&str>, order: &[u8; 32], since: u64) -> Option<TxId> {
    payer.driver.engine.book.stakes.same(key, order, since).map(|staked| staked.stake.txid)
}

/// Does something with stake.
pub(super) async fn stake(
    office: &Office,
    asked: api::StakingOrder,
) -> Answer<api::StakingReceipt> {
    let wallet = office.wallet(asked.wallet).await?;
    let (key, order) = (asked.idempotency_key, order_hash(wallet.id, &asked.action)?);
    let known = {
        let key = key.clone();
        let since = since(&asked.action);
        office.ask(move |payer| same(payer, key.as_deref(), &order, since)).await?
    };
    match known {
        Some(txid) => outcome(office, txid, true).await,
        None => {
            let txid = sign(office, wallet.id, wallet.address, &asked.action, key, order).await?;
            outcome(office, txid, false).await
        }
    }
}

/// Checks and signs an order; its bytes are durable when this returns.
async fn sign(
    office: &Office,
    wallet: WalletId,
    owner: Address,
    action: &StakingAction,
    key: Option<String>,
    order: [u8; 32],
) -> Answer<TxId> {
    let position = position(office, owner).await?;
    let plan = staking::plan(action, &position, minimum(office));
    let plan = plan.map_err(|error| refused(&error))?;
    if let StakingAction::Delegate { receiver, .. } = action {
        let to = convert::address("receiver", receiver)?;
        let fits = staking::check_receiver(office.nodes(), to).await;
        fits.map_err(|error| no_node(&error))?.map_err(|error| refused(&error))?;
    }
    let signer = office.wallets_do(move |wallets| wallets.signer(wallet)).await?;
    let frame = sending::frame(office.nodes(), now_ms(), 0, Sun::ZERO, 0).await;
    let (mut frame, reference) = frame.map_err(unsent)?;
    let since = since(action);
    let work = move |payer: &mut Payer| {
        // Somebody else may have asked for the same meanwhile.
        if let Some(txid) = same(payer, key.as_deref(), &order, since) {
            return Ok(txid);
        }
        let now = now_ms();
        let book = &payer.driver.engine.book;
        let timestamp = now.max(book.last_timestamp.saturating_add(1));
        frame.timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        let expiration = u64::try_from(frame.expiration).unwrap_or(0);
        let unsigned = plan.contract.build(frame);
        let unsigned =
            unsigned.map_err(|error| convert::unfit("stake-refused", error.to_string()))?;
        let signature = signer.sign(&unsigned.txid);
        let txid = TxId(unsigned.txid);
        let stake = Stake {
            txid,
            bytes: unsigned.signed_once(&signature),
            owner,
            order,
            key,
            what: plan.detail,
            timestamp,
            expiration,
            reference: reference.number,
            reference_id: reference.id,
        };
        let done = payer.driver.accept(Event::Stake { stake, since }, now);
        done.map_err(|error| driver_problem(&error))?;
        payer.due.push(txid);
        Ok(txid)
    };
    office.ask(work).await?
}

/// How the order stands, once a block holds it or the patience is over.
async fn outcome(office: &Office, txid: TxId, again: bool) -> Answer<api::StakingReceipt> {
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
