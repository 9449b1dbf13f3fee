//! Stake of a wallet: what it is, and doing something with it, each time by one [`order`].

use lucid_pay_api as api;
use lucid_pay_api::{Problem, StakingAction};

use super::office::{Office, no_node};
use super::order::{self, Order};
use super::{convert, now_ms};
use crate::chain::staking::{self, Position, StakingError};
use crate::gateway::Answer;
use crate::payout::stake::Staked;
use crate::tron::{Address, Sun};

/// Without a key, an order that moves an amount is the same as an equal one confirmed in the last
/// so many milliseconds.
const REPEAT_MS: u64 = 86_400_000;

fn refused(error: &StakingError) -> Problem {
    convert::unfit("stake-refused", error.to_string())
}

async fn position(office: &Office, owner: Address) -> Answer<Position> {
    let found = Position::read(office.nodes(), owner).await.map_err(|error| no_node(&error))?;
    let detail = "the chain does not know this account yet; send TRX to it first";
    found.ok_or_else(|| Problem::new(409, "account-inactive", detail))
}

fn minimum(office: &Office) -> Sun {
    Sun::from_units(office.config().stake_minimum_sun).unwrap_or(Sun::MAX)
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
            live.into_iter().map(order::receipt).collect()
        })
        .await?;
    Ok(shown)
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

/// Does something with stake.
pub(super) async fn stake(
    office: &Office,
    asked: api::StakingOrder,
) -> Answer<api::StakingReceipt> {
    let wallet = office.wallet(asked.wallet).await?;
    let (key, action) = (asked.idempotency_key, asked.action);
    let (hash, since) = (order::hash(wallet.id, &action)?, since(&action));
    if let Some(txid) = order::known(office, key.clone(), hash, since).await? {
        return order::outcome(office, txid, true).await;
    }
    let owner = wallet.address;
    let position = position(office, owner).await?;
    let plan = staking::plan(&action, &position, minimum(office));
    let plan = plan.map_err(|error| refused(&error))?;
    if let StakingAction::Delegate { receiver, .. } = &action {
        let to = convert::address("receiver", receiver)?;
        let fits = staking::check_receiver(office.nodes(), to).await;
        fits.map_err(|error| no_node(&error))?.map_err(|error| refused(&error))?;
    }
    let order = Order {
        wallet: wallet.id,
        owner,
        key,
        by: asked.by,
        hash,
        since,
        what: plan.detail,
        fee_limit: Sun::ZERO,
        build: move |frame| plan.contract.build(frame),
    };
    let txid = order::give(office, order).await?;
    order::outcome(office, txid, false).await
}
