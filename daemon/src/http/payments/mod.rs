//! The endpoints of payments. Each asks the payment process; the daemon keeps nothing of its
//! answer.

mod rewards;
mod signers;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lucid_pay_api::{
    Approval, Balance, Batch, BatchRequest, BatchSummary, Client, ClientError, Estimate,
    HistoryEntry, NewWallet, Payout, PayoutPage, PayoutQuery, PayoutRequest, Refusal, Staking,
    StakingOrder, StakingReceipt, StatementFormat, StatementQuery, Wallet, WalletChange, Why,
    route,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::{JsonBody, Path, Query};
use super::problem::{Kind, Problem, ProblemDocument};
use crate::auth::{Action, SignedIn};
use crate::payments::PaymentsView;

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(wallets, create_wallet))
        .routes(routes!(change_wallet))
        .routes(routes!(balance))
        .routes(routes!(history))
        .routes(routes!(estimate))
        .routes(routes!(payouts, request))
        .routes(routes!(payout))
        .routes(routes!(why))
        .routes(routes!(approve))
        .routes(routes!(refuse))
        .routes(routes!(retry))
        .routes(routes!(batches, request_batch))
        .routes(routes!(batch))
        .routes(routes!(staking))
        .routes(routes!(stake))
        .routes(routes!(statement))
        .merge(signers::routes())
        .merge(rewards::routes())
}

type Answer<T> = Result<Json<T>, Problem>;

/// What a person writes who refuses a payout.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefusalReason {
    /// Why, 1 to 256 characters.
    reason: String,
}

fn client(app: &App) -> Result<&Client, Problem> {
    app.payments.client().ok_or_else(|| {
        Problem::new(Kind::PaymentsOff, "the configuration key `payments.socket` turns them on")
    })
}

/// The payment process's words as a problem of this API.
fn problem(error: ClientError) -> Problem {
    match error {
        ClientError::Refused(found) => {
            let kind = match found.status {
                404 => Kind::NotFound,
                422 | 400 => Kind::InvalidBody,
                429 => Kind::TooManyRequests,
                413 => Kind::BodyTooLarge,
                status if status >= 500 => Kind::PaymentsDown,
                _ => Kind::PaymentRefused,
            };
            Problem::new(kind, format!("{} ({})", found.detail, found.code))
        }
        error @ (ClientError::Unreadable { .. } | ClientError::Request(_)) => {
            Problem::internal("asking the payment process", error)
        }
        error => Problem::new(Kind::PaymentsDown, error.to_string()),
    }
}

/// An id of the path as one segment of another path.
fn segment(id: &str) -> Result<&str, Problem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if !id.is_empty() && id.len() <= 128 && id.bytes().all(fits) && id != ".." && id != "." {
        return Ok(id);
    }
    Err(Problem::new(Kind::NotFound, "the id in the path is not one"))
}

/// Texts of a query as they stand in a path, everything odd escaped.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Whether payments are on, there, and moving. Never an error.
#[utoipa::path(get, path = "/payments/status", tag = "payments",
    responses((status = 200, body = PaymentsView)))]
async fn status(State(app): State<App>, _: SignedIn) -> Json<PaymentsView> {
    Json(app.payments.view().await)
}

/// All wallets.
#[utoipa::path(get, path = "/payments/wallets", tag = "payments",
    responses((status = 200, body = Vec<Wallet>), (status = 503, body = ProblemDocument)))]
async fn wallets(State(app): State<App>, _: SignedIn) -> Answer<Vec<Wallet>> {
    client(&app)?.get(route::WALLETS).await.map(Json).map_err(problem)
}

/// Adds a wallet. Words and keys never pass here.
#[utoipa::path(post, path = "/payments/wallets", tag = "payments", request_body = NewWallet,
    responses((status = 201, body = Wallet), (status = 503, body = ProblemDocument)))]
async fn create_wallet(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(new): JsonBody<NewWallet>,
) -> Result<(StatusCode, Json<Wallet>), Problem> {
    who.may(Action::Administer)?;
    let wallet = client(&app)?.post(route::WALLETS, &new).await.map_err(problem)?;
    Ok((StatusCode::CREATED, Json(wallet)))
}

/// Renames or archives a wallet.
#[utoipa::path(patch, path = "/payments/wallets/{id}", tag = "payments",
    request_body = WalletChange,
    responses((status = 200, body = Wallet), (status = 503, body = ProblemDocument)))]
async fn change_wallet(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    JsonBody(change): JsonBody<WalletChange>,
) -> Answer<Wallet> {
    who.may(Action::Administer)?;
    let path = format!("{}/{}", route::WALLETS, segment(&id)?);
    client(&app)?.patch(&path, &change).await.map(Json).map_err(problem)
}

/// What a wallet holds, and how old that knowledge is.
#[utoipa::path(get, path = "/payments/wallets/{id}/balance", tag = "payments",
    responses((status = 200, body = Balance), (status = 503, body = ProblemDocument)))]
async fn balance(State(app): State<App>, _: SignedIn, Path(id): Path<String>) -> Answer<Balance> {
    let path = format!("{}/{}/balance", route::WALLETS, segment(&id)?);
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// What went in and out of a wallet, newest first.
#[utoipa::path(get, path = "/payments/wallets/{id}/history", tag = "payments",
    responses((status = 200, body = Vec<HistoryEntry>), (status = 503, body = ProblemDocument)))]
async fn history(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Answer<Vec<HistoryEntry>> {
    let path = format!("{}/{}/history", route::WALLETS, segment(&id)?);
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// What a payout would cost. Nothing is recorded.
#[utoipa::path(post, path = "/payments/estimate", tag = "payments", request_body = PayoutRequest,
    responses((status = 200, body = Estimate), (status = 503, body = ProblemDocument)))]
async fn estimate(
    State(app): State<App>,
    _: SignedIn,
    JsonBody(wanted): JsonBody<PayoutRequest>,
) -> Answer<Estimate> {
    client(&app)?.post(route::ESTIMATE, &wanted).await.map(Json).map_err(problem)
}

/// A page of payouts, newest first.
#[utoipa::path(get, path = "/payments/payouts", tag = "payments", params(PayoutQuery),
    responses((status = 200, body = PayoutPage), (status = 503, body = ProblemDocument)))]
async fn payouts(
    State(app): State<App>,
    _: SignedIn,
    Query(query): Query<PayoutQuery>,
) -> Answer<PayoutPage> {
    let mut parts = Vec::new();
    // The state's word is the one it has in JSON.
    let state = query.state.and_then(|state| serde_json::to_value(state).ok());
    if let Some(state) = state.as_ref().and_then(serde_json::Value::as_str) {
        parts.push(format!("state={state}"));
    }
    for (name, value) in [("payee", query.payee), ("batch", query.batch), ("after", query.after)] {
        parts.extend(value.map(|value| format!("{name}={}", escaped(&value))));
    }
    parts.extend(query.limit.map(|limit| format!("limit={limit}")));
    let path = format!("{}?{}", route::PAYOUTS, parts.join("&"));
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// Asks for a payout, in the name of whoever is signed in.
#[utoipa::path(post, path = "/payments/payouts", tag = "payments", request_body = PayoutRequest,
    responses((status = 201, body = Payout), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn request(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(mut wanted): JsonBody<PayoutRequest>,
) -> Result<(StatusCode, Json<Payout>), Problem> {
    who.may(Action::Operate)?;
    wanted.requested_by = Some(who.0.username);
    let payout = client(&app)?.post(route::PAYOUTS, &wanted).await.map_err(problem)?;
    Ok((StatusCode::CREATED, Json(payout)))
}

/// A payout and every state it took.
#[utoipa::path(get, path = "/payments/payouts/{id}", tag = "payments",
    responses((status = 200, body = Payout), (status = 503, body = ProblemDocument)))]
async fn payout(State(app): State<App>, _: SignedIn, Path(id): Path<String>) -> Answer<Payout> {
    let path = format!("{}/{}", route::PAYOUTS, segment(&id)?);
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// Why a payout is waiting.
#[utoipa::path(get, path = "/payments/payouts/{id}/why", tag = "payments",
    responses((status = 200, body = Why), (status = 503, body = ProblemDocument)))]
async fn why(State(app): State<App>, _: SignedIn, Path(id): Path<String>) -> Answer<Why> {
    let path = format!("{}/{}/why", route::PAYOUTS, segment(&id)?);
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// Approves a payout as the second person.
#[utoipa::path(post, path = "/payments/payouts/{id}/approve", tag = "payments",
    responses((status = 200, body = Payout), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn approve(State(app): State<App>, who: SignedIn, Path(id): Path<String>) -> Answer<Payout> {
    who.may(Action::Administer)?;
    let path = format!("{}/{}/approve", route::PAYOUTS, segment(&id)?);
    let by = Approval { by: who.0.username };
    client(&app)?.post(&path, &by).await.map(Json).map_err(problem)
}

/// Refuses a payout while nothing is signed.
#[utoipa::path(post, path = "/payments/payouts/{id}/refuse", tag = "payments",
    request_body = RefusalReason,
    responses((status = 200, body = Payout), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn refuse(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    JsonBody(said): JsonBody<RefusalReason>,
) -> Answer<Payout> {
    who.may(Action::Administer)?;
    let path = format!("{}/{}/refuse", route::PAYOUTS, segment(&id)?);
    let by = Refusal { by: who.0.username, reason: said.reason };
    client(&app)?.post(&path, &by).await.map(Json).map_err(problem)
}

/// Lets a payout that failed without paying be tried again.
#[utoipa::path(post, path = "/payments/payouts/{id}/retry", tag = "payments",
    responses((status = 200, body = Payout), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn retry(State(app): State<App>, who: SignedIn, Path(id): Path<String>) -> Answer<Payout> {
    who.may(Action::Administer)?;
    let path = format!("{}/{}/retry", route::PAYOUTS, segment(&id)?);
    let by = Approval { by: who.0.username };
    client(&app)?.post(&path, &by).await.map(Json).map_err(problem)
}

/// All batches, newest first.
#[utoipa::path(get, path = "/payments/batches", tag = "payments",
    responses((status = 200, body = Vec<BatchSummary>), (status = 503, body = ProblemDocument)))]
async fn batches(State(app): State<App>, _: SignedIn) -> Answer<Vec<BatchSummary>> {
    client(&app)?.get(route::BATCHES).await.map(Json).map_err(problem)
}

/// Asks for several payouts at once: all or none.
#[utoipa::path(post, path = "/payments/batches", tag = "payments", request_body = BatchRequest,
    responses((status = 201, body = Batch), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn request_batch(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(mut wanted): JsonBody<BatchRequest>,
) -> Result<(StatusCode, Json<Batch>), Problem> {
    who.may(Action::Operate)?;
    for payout in &mut wanted.payouts {
        payout.requested_by = Some(who.0.username.clone());
    }
    let batch = client(&app)?.post(route::BATCHES, &wanted).await.map_err(problem)?;
    Ok((StatusCode::CREATED, Json(batch)))
}

/// A batch and its payouts.
#[utoipa::path(get, path = "/payments/batches/{id}", tag = "payments",
    responses((status = 200, body = Batch), (status = 503, body = ProblemDocument)))]
async fn batch(State(app): State<App>, _: SignedIn, Path(id): Path<String>) -> Answer<Batch> {
    let path = format!("{}/{}", route::BATCHES, segment(&id)?);
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// The staking of a wallet: what gives energy, what matures when.
#[utoipa::path(get, path = "/payments/staking/{wallet}", tag = "payments",
    responses((status = 200, body = Staking), (status = 503, body = ProblemDocument)))]
async fn staking(
    State(app): State<App>,
    _: SignedIn,
    Path(wallet): Path<String>,
) -> Answer<Staking> {
    let path = format!("{}/{}", route::STAKING, segment(&wallet)?);
    client(&app)?.get(&path).await.map(Json).map_err(problem)
}

/// Stakes, unstakes, lends, votes or claims.
#[utoipa::path(post, path = "/payments/staking", tag = "payments", request_body = StakingOrder,
    responses((status = 202, body = StakingReceipt), (status = 409, body = ProblemDocument),
        (status = 503, body = ProblemDocument)))]
async fn stake(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(mut order): JsonBody<StakingOrder>,
) -> Result<(StatusCode, Json<StakingReceipt>), Problem> {
    who.may(Action::Administer)?;
    order.by = Some(who.0.username);
    let receipt = client(&app)?.post(route::STAKING, &order).await.map_err(problem)?;
    Ok((StatusCode::ACCEPTED, Json(receipt)))
}

/// A month's statement as JSON, CSV or a page to print.
#[utoipa::path(get, path = "/payments/statements", tag = "payments", params(StatementQuery),
    responses((status = 200, body = lucid_pay_api::Statement),
        (status = 503, body = ProblemDocument)))]
async fn statement(
    State(app): State<App>,
    _: SignedIn,
    Query(query): Query<StatementQuery>,
) -> Result<Response, Problem> {
    let (format, media) = match query.format {
        StatementFormat::Json => ("json", "application/json"),
        StatementFormat::Csv => ("csv", "text/csv; charset=utf-8"),
        StatementFormat::Html => ("html", "text/html; charset=utf-8"),
    };
    let mut path = format!("{}?month={}&format={format}", route::STATEMENTS, escaped(&query.month));
    if let Some(payee) = query.payee {
        path.push_str(&format!("&payee={}", escaped(&payee)));
    }
    let (_, body) = client(&app)?.get_raw(&path).await.map_err(problem)?;
    let name = format!("attachment; filename=\"statement.{format}\"");
    Ok(([(header::CONTENT_TYPE, media), (header::CONTENT_DISPOSITION, &name)], body)
        .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_and_a_query_is_escaped() {
        for bad in ["", "a/b", "..", ".", "a?b", "a b", "é", &"x".repeat(129)] {
            assert!(segment(bad).is_err(), "{bad:?}");
        }
        assert!(segment("p-7_a.b:c").is_ok());
        assert_eq!(escaped("2026-11&x=é"), "2026-11%26x%3D%C3%A9");
    }
}
