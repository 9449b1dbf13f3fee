//! Who signs: permissions, proposals of several signers, allowances, the Ledger.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lucid_pay_api::{
    AllowanceOrder, AllowanceQuery, Allowances, LedgerState, NewProposal, Proposal,
    ProposalSignature, ProposalTexts, Signers, StakingReceipt, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, client, escaped, problem, segment};
use crate::auth::{Action, SignedIn};
use crate::http::App;
use crate::http::extract::{JsonBody, Path, Query};
use crate::http::problem::{Problem, ProblemDocument};

/// The endpoints.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(signers))
        .routes(routes!(allowances, allow))
        .routes(routes!(propose))
        .routes(routes!(show_proposal))
        .routes(routes!(sign_proposal))
        .routes(routes!(send_proposal))
        .routes(routes!(ledger))
}

/// Who signs for a wallet's account: its permissions and their keys, as the newest block has them.
#[utoipa::path(get, path = "/payments/wallets/{id}/signers", tag = "payments",
    responses((status = 200, body = Signers), (status = 503, body = ProblemDocument)))]
async fn signers(State(app): State<App>, _: SignedIn, Path(id): Path<String>) -> Answer<Signers> {
    let path = format!("{}/{}/signers", route::WALLETS, segment(&id)?);
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// What others may take of a wallet.
#[utoipa::path(get, path = "/payments/wallets/{id}/allowances", tag = "payments",
    params(AllowanceQuery),
    responses((status = 200, body = Allowances), (status = 503, body = ProblemDocument)))]
async fn allowances(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
    Query(query): Query<AllowanceQuery>,
) -> Answer<Allowances> {
    let mut path = format!("{}/{}/allowances", route::WALLETS, segment(&id)?);
    if let Some(spender) = query.spender {
        path.push_str(&format!("?spender={}", escaped(&spender)));
    }
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// Lets the payout router take USDT of a wallet, or takes an allowance back from anybody.
#[utoipa::path(post, path = "/payments/wallets/{id}/allowances", tag = "payments",
    request_body = AllowanceOrder,
    responses((status = 202, body = StakingReceipt), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn allow(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    JsonBody(mut order): JsonBody<AllowanceOrder>,
) -> Result<(StatusCode, Json<StakingReceipt>), Problem> {
    who.may(Action::Administer)?;
    order.by = Some(who.0.username);
    let path = format!("{}/{}/allowances", route::WALLETS, segment(&id)?);
    let receipt = client(&app)?.post(&path, &order).await.map_err(problem)?;
    Ok((StatusCode::ACCEPTED, Json(receipt)))
}

/// Proposes a transaction of an account that several sign, or whose key is elsewhere. Nobody has
/// signed it yet; the answer's text is passed on.
#[utoipa::path(post, path = "/payments/proposals", tag = "payments", request_body = NewProposal,
    responses((status = 200, body = Proposal), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn propose(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(new): JsonBody<NewProposal>,
) -> Answer<Proposal> {
    who.may(Action::Operate)?;
    client(&app)?.post(route::PROPOSALS, &new).await.map(Json).map_err(problem)
}

/// Puts the signatures of a proposal's texts together, and says who has signed and what the node
/// finds of it. Nothing is kept.
#[utoipa::path(post, path = "/payments/proposals/show", tag = "payments",
    request_body = ProposalTexts,
    responses((status = 200, body = Proposal), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn show_proposal(
    State(app): State<App>,
    _: SignedIn,
    JsonBody(texts): JsonBody<ProposalTexts>,
) -> Answer<Proposal> {
    client(&app)?.post(route::PROPOSAL_SHOW, &texts).await.map(Json).map_err(problem)
}

/// Adds a signature to a proposal: of a wallet here, in the name of whoever is signed in, or one
/// made elsewhere.
#[utoipa::path(post, path = "/payments/proposals/sign", tag = "payments",
    request_body = ProposalSignature,
    responses((status = 200, body = Proposal), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn sign_proposal(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(mut with): JsonBody<ProposalSignature>,
) -> Answer<Proposal> {
    who.may(Action::Administer)?;
    with.by = Some(who.0.username);
    client(&app)?.post(route::PROPOSAL_SIGN, &with).await.map(Json).map_err(problem)
}

/// Sends a proposal that enough have signed. Sent again, it is the same transaction.
#[utoipa::path(post, path = "/payments/proposals/send", tag = "payments",
    request_body = ProposalTexts,
    responses((status = 202, body = StakingReceipt), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn send_proposal(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(texts): JsonBody<ProposalTexts>,
) -> Result<(StatusCode, Json<StakingReceipt>), Problem> {
    who.may(Action::Administer)?;
    let receipt = client(&app)?.post(route::PROPOSAL_SEND, &texts).await.map_err(problem)?;
    Ok((StatusCode::ACCEPTED, Json(receipt)))
}

/// The Ledger at the machine of the payment process.
#[utoipa::path(get, path = "/payments/ledger", tag = "payments",
    responses((status = 200, body = LedgerState), (status = 503, body = ProblemDocument)))]
async fn ledger(State(app): State<App>, _: SignedIn) -> Answer<LedgerState> {
    client(&app)?.get(route::LEDGER).await.map(Json).map_err(problem)
}
