//! Stake of a wallet: what it is, and doing something with it.
//!
//! An order is one transaction, signed once; whatever a node answers, only the same bytes are sent.
//! The answer waits a while for a block that shows it, and says when none has yet.

use std::time::Duration;

use lucid_pay_api as api;
use lucid_pay_api::{Problem, StakingAction};

use super::office::{Office, no_node};
use super::{convert, now_ms};
use crate::chain::sending::{self, Progress, SendError, Sending};
use crate::chain::staking::{self, Position, StakingError};
use crate::gateway::Answer;
use crate::tron::{Address, Sun};

/// How long the answer waits for a block.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// What a wallet has staked.
pub(super) async fn staking(office: &Office, wallet: String) -> Answer<api::Staking> {
    let wallet = office.wallet(wallet).await?;
    let position = position(office, wallet.address).await?;
    Ok(position.shown(&wallet.id.to_string(), minimum(office), now_ms()))
}

/// Does something with stake.
pub(super) async fn stake(
    office: &Office,
    order: api::StakingOrder,
) -> Answer<api::StakingReceipt> {
    let wallet = office.wallet(order.wallet).await?;
    let position = position(office, wallet.address).await?;
    let plan = staking::plan(&order.action, &position, minimum(office));
    let plan = plan.map_err(|error| refused(&error))?;
    if let StakingAction::Delegate { receiver, .. } = &order.action {
        let to = convert::address("receiver", receiver)?;
        let fits = staking::check_receiver(office.nodes(), to).await;
        fits.map_err(|error| no_node(&error))?.map_err(|error| refused(&error))?;
    }
    let id = wallet.id;
    let key = office.wallets_do(move |wallets| wallets.signer(id)).await?;
    let frame = sending::frame(office.nodes(), now_ms(), 0, Sun::ZERO, 0).await;
    let (frame, reference) = frame.map_err(unsent)?;
    let unsigned = plan.contract.build(frame);
    let unsigned = unsigned.map_err(|error| convert::unfit("stake-refused", error.to_string()))?;
    let signature = key.sign(&unsigned.txid).to_bytes().to_vec();
    drop(key);
    let sending = Sending::new(&unsigned, vec![signature], reference);
    sending.broadcast(office.nodes()).await.map_err(unsent)?;
    let (state, detail) = outcome(office, &sending, plan.detail).await?;
    let txid = sending.txid().map_err(unsent)?.to_string();
    Ok(api::StakingReceipt { txid, state: state.to_owned(), detail })
}

/// What became of it, once a block shows it or the patience is over.
async fn outcome(
    office: &Office,
    sending: &Sending,
    detail: String,
) -> Answer<(&'static str, String)> {
    let pause = office.config().poll.min(Duration::from_secs(3));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match sending.progress(office.nodes()).await {
            Ok(Progress::Confirmed(_)) => return Ok(("confirmed", detail)),
            Ok(Progress::Failed(executed)) => {
                let detail = format!("it ended with {}", executed.receipt.result);
                return Err(Problem::new(409, "stake-failed", detail));
            }
            Ok(Progress::Expired { .. }) => {
                let detail = "no block took it in time; nothing was done";
                return Err(Problem::new(409, "stake-expired", detail));
            }
            Ok(Progress::Seen { block }) => {
                let detail = format!("{detail}; block {block} holds it and is not final yet");
                return Ok(("broadcast", detail));
            }
            _ if tokio::time::Instant::now() >= deadline => {
                return Ok(("broadcast", format!("{detail}; no block holds it yet")));
            }
            Ok(Progress::Waiting) | Err(_) => tokio::time::sleep(pause).await,
        }
    }
}
