//! What this device settled, which it knows itself.

use axum::Json;
use axum::extract::State;
use lucid_pay_api::MicroUsdt;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::auth::SignedIn;
use crate::http::App;
use crate::http::problem::Problem;
use crate::http::sessions::blocking;
use crate::http::time::Rfc3339;
use crate::settle::{HOUR_US, LISTED_MAX, Reward, Rewards};

/// The endpoint.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(rewards))
}

/// What a node earned in a span of chain time, and what became of it.
#[derive(Serialize, ToSchema)]
struct RewardView {
    /// The node's key.
    node: String,
    /// The span, by the chain's time.
    from: Rfc3339,
    to: Rfc3339,
    credits: u64,
    /// Paid for one credit.
    rate_micro: u64,
    /// What it comes to; null if that is more than an amount can be.
    amount_micro: Option<MicroUsdt>,
    /// Whom it was asked for; null until it can be asked.
    payee: Option<String>,
    /// The payout it became; its rewards are gathered until they reach the smallest payout.
    payout: Option<String>,
    /// Why it is no payout yet.
    waits: Option<String>,
    /// Every number the amount follows from.
    statement: String,
    /// BLAKE3 of `statement`, which the payout carries.
    evidence_hash: String,
}

#[derive(Serialize, ToSchema)]
struct RewardList {
    items: Vec<RewardView>,
    next_cursor: Option<String>,
}

impl RewardView {
    fn new(reward: Reward) -> Self {
        let at = |hour: u64| Rfc3339::from_us(hour.saturating_mul(HOUR_US));
        Self {
            from: at(reward.from_hour),
            to: at(reward.to_hour),
            credits: reward.credits,
            rate_micro: reward.rate_micro,
            amount_micro: reward.amount(),
            statement: reward.statement(),
            evidence_hash: reward.evidence_hash(),
            payee: reward.request.map(|request| request.payee),
            node: reward.node,
            payout: reward.payout,
            waits: reward.waits,
        }
    }
}

/// What this device settled: the newest 500 rewards of nodes. The daemon knows these itself, also
/// while payments are off.
#[utoipa::path(get, path = "/payments/rewards", tag = "payments",
    responses((status = 200, body = RewardList)))]
async fn rewards(State(app): State<App>, _: SignedIn) -> Answer<RewardList> {
    let listed = blocking(&app, |app| {
        let rewards = Rewards::new(app.archive.data().index());
        rewards.list(LISTED_MAX).map_err(|error| Problem::internal("listing rewards", error))
    });
    let items = listed.await?.into_iter().map(RewardView::new).collect();
    Ok(Json(RewardList { items, next_cursor: None }))
}
