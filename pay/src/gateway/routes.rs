//! The routes of the socket.

use super::guard::{Refused, every};
use super::{Desk, Guard};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use lucid_pay_api::{BATCH_PAYOUTS_MAX, BatchRequest, Problem, route};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Longest id taken in a path, in bytes.
const ID_BYTES_MAX: usize = 128;

/// All routes behind the guard.
pub(super) fn router<D: Desk>(desk: Arc<D>, guard: Arc<Guard>) -> Router {
    let under = |base: &str, rest: &str| format!("{base}/{{id}}{rest}");
    Router::new()
        .route(route::STATUS, get(status::<D>))
        .route(route::WALLETS, get(wallets::<D>).post(create_wallet::<D>))
        .route(&under(route::WALLETS, ""), patch(change_wallet::<D>))
        .route(&under(route::WALLETS, "/balance"), get(balance::<D>))
        .route(&under(route::WALLETS, "/history"), get(history::<D>))
        .route(&under(route::WALLETS, "/signers"), get(signers::<D>))
        .route(&under(route::WALLETS, "/allowances"), get(allowances::<D>).post(allow::<D>))
        .route(route::PROPOSALS, post(propose::<D>))
        .route(route::PROPOSAL_SHOW, post(show::<D>))
        .route(route::PROPOSAL_SIGN, post(sign::<D>))
        .route(route::PROPOSAL_SEND, post(send::<D>))
        .route(route::LEDGER, get(ledger::<D>))
        .route(route::ESTIMATE, post(estimate::<D>))
        .route(route::PAYOUTS, get(payouts::<D>).post(request::<D>))
        .route(&under(route::PAYOUTS, ""), get(payout::<D>))
        .route(&under(route::PAYOUTS, "/why"), get(why::<D>))
        .route(&under(route::PAYOUTS, "/approve"), post(approve::<D>))
        .route(&under(route::PAYOUTS, "/refuse"), post(refuse::<D>))
        .route(&under(route::PAYOUTS, "/retry"), post(retry::<D>))
        .route(route::BATCHES, get(batches::<D>).post(request_batch::<D>))
        .route(&under(route::BATCHES, ""), get(batch::<D>))
        .route(&under(route::STAKING, ""), get(staking::<D>))
        .route(route::STAKING, post(stake::<D>))
        .route(route::STATEMENTS, get(statement::<D>))
        .fallback(async || {
            refused(404, "not-found", "there is no such route; see lucid_pay_api::route")
        })
        .method_not_allowed_fallback(async || {
            refused(405, "method-not-allowed", "this route does not take this method")
        })
        .layer(axum::middleware::from_fn_with_state(guard, every))
        .with_state(desk)
}

fn refused(status: u16, code: &str, detail: &str) -> Response {
    Refused(Problem::new(status, code, detail)).into_response()
}

fn answer<T: Serialize>(found: Result<T, Problem>, status: StatusCode) -> Response {
    match found.and_then(|value| {
        serde_json::to_vec(&value)
            .map_err(|_| Problem::new(500, "internal", "the answer cannot be written"))
    }) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(problem) => Refused(problem).into_response(),
    }
}

fn ok<T: Serialize>(found: Result<T, Problem>) -> Response {
    answer(found, StatusCode::OK)
}

/// Reads a body. What the parser quotes of a wrong value never comes back.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let (status, code) = match error.classify() {
            serde_json::error::Category::Data => (422, "invalid-body"),
            _ => (400, "malformed-json"),
        };
        let text = error.to_string();
        let text = match text.split_once("invalid type: ") {
            Some((_, rest)) => match rest.split_once(", expected ") {
                Some((_, expected)) => format!("wrong type, expected {expected}"),
                None => "wrong type".to_owned(),
            },
            None => text,
        };
        Problem::new(status, code, text)
    })
}

fn id(id: String) -> Result<String, Problem> {
    let fits = id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(id) } else { Err(Problem::new(404, "not-found", "the id in the path is not one")) }
}

/// Reads a query.
fn query<T: DeserializeOwned>(text: Option<String>) -> Result<T, Problem> {
    let uri = format!("/?{}", text.unwrap_or_default());
    let uri = uri.parse().map_err(|_| Problem::new(400, "bad-request", "the query is no query"))?;
    let found = Query::<T>::try_from_uri(&uri);
    found
        .map(|Query(value)| value)
        .map_err(|error| Problem::new(422, "invalid-query", error.body_text()))
}

async fn status<D: Desk>(State(desk): State<Arc<D>>) -> Response {
    ok(desk.status().await)
}

async fn wallets<D: Desk>(State(desk): State<Arc<D>>) -> Response {
    ok(desk.wallets().await)
}

async fn create_wallet<D: Desk>(State(desk): State<Arc<D>>, body: Bytes) -> Response {
    match read(&body) {
        Ok(new) => answer(desk.create_wallet(new).await, StatusCode::CREATED),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn change_wallet<D: Desk>(
    State(desk): State<Arc<D>>,
    Path(wallet): Path<String>,
    body: Bytes,
) -> Response {
    match id(wallet).and_then(|wallet| Ok((wallet, read(&body)?))) {
        Ok((wallet, change)) => ok(desk.change_wallet(wallet, change).await),
        Err(problem) => Refused(problem).into_response(),
    }
}

macro_rules! by_id {
    ($($name:ident),*) => {$(
        async fn $name<D: Desk>(State(desk): State<Arc<D>>, Path(path): Path<String>) -> Response {
            match id(path) {
                Ok(path) => ok(desk.$name(path).await),
                Err(problem) => Refused(problem).into_response(),
            }
        }
    )*};
}

by_id!(balance, history, signers, payout, why, batch, staking);

macro_rules! by_body {
    ($($name:ident),*) => {$(
        async fn $name<D: Desk>(State(desk): State<Arc<D>>, body: Bytes) -> Response {
            match read(&body) {
                Ok(body) => ok(desk.$name(body).await),
                Err(problem) => Refused(problem).into_response(),
            }
        }
    )*};
}

by_body!(estimate, propose, show, sign, send);

async fn ledger<D: Desk>(State(desk): State<Arc<D>>) -> Response {
    ok(desk.ledger().await)
}

async fn allowances<D: Desk>(
    State(desk): State<Arc<D>>,
    Path(wallet): Path<String>,
    RawQuery(text): RawQuery,
) -> Response {
    match id(wallet).and_then(|wallet| Ok((wallet, query(text)?))) {
        Ok((wallet, wanted)) => ok(desk.allowances(wallet, wanted).await),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn allow<D: Desk>(
    State(desk): State<Arc<D>>,
    Path(wallet): Path<String>,
    body: Bytes,
) -> Response {
    match id(wallet).and_then(|wallet| Ok((wallet, read(&body)?))) {
        Ok((wallet, order)) => answer(desk.allow(wallet, order).await, StatusCode::ACCEPTED),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn request<D: Desk>(State(desk): State<Arc<D>>, body: Bytes) -> Response {
    match read(&body) {
        Ok(request) => answer(desk.request(request).await, StatusCode::CREATED),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn payouts<D: Desk>(State(desk): State<Arc<D>>, RawQuery(text): RawQuery) -> Response {
    match query(text) {
        Ok(wanted) => ok(desk.payouts(wanted).await),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn approve<D: Desk>(
    State(desk): State<Arc<D>>,
    Path(payout): Path<String>,
    body: Bytes,
) -> Response {
    match id(payout).and_then(|payout| Ok((payout, read(&body)?))) {
        Ok((payout, by)) => ok(desk.approve(payout, by).await),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn retry<D: Desk>(
    State(desk): State<Arc<D>>,
    Path(payout): Path<String>,
    body: Bytes,
) -> Response {
    match id(payout).and_then(|payout| Ok((payout, read(&body)?))) {
        Ok((payout, by)) => ok(desk.retry(payout, by).await),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn refuse<D: Desk>(
    State(desk): State<Arc<D>>,
    Path(payout): Path<String>,
    body: Bytes,
) -> Response {
    match id(payout).and_then(|payout| Ok((payout, read(&body)?))) {
        Ok((payout, by)) => ok(desk.refuse(payout, by).await),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn request_batch<D: Desk>(State(desk): State<Arc<D>>, body: Bytes) -> Response {
    let batch = read::<BatchRequest>(&body).and_then(|batch| match batch.payouts.len() {
        0 => Err(Problem::new(422, "empty-batch", "a batch holds at least one payout")),
        count if count > BATCH_PAYOUTS_MAX => {
            let detail = format!("the batch holds {count} payouts; {BATCH_PAYOUTS_MAX} at most");
            Err(Problem::new(422, "batch-too-large", detail))
        }
        _ => Ok(batch),
    });
    match batch {
        Ok(batch) => answer(desk.request_batch(batch).await, StatusCode::CREATED),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn batches<D: Desk>(State(desk): State<Arc<D>>) -> Response {
    ok(desk.batches().await)
}

async fn stake<D: Desk>(State(desk): State<Arc<D>>, body: Bytes) -> Response {
    match read(&body) {
        Ok(order) => answer(desk.stake(order).await, StatusCode::ACCEPTED),
        Err(problem) => Refused(problem).into_response(),
    }
}

async fn statement<D: Desk>(State(desk): State<Arc<D>>, RawQuery(text): RawQuery) -> Response {
    let wanted = match query(text) {
        Ok(wanted) => wanted,
        Err(problem) => return Refused(problem).into_response(),
    };
    match desk.statement(wanted).await {
        Ok((kind, text)) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(problem) => Refused(problem).into_response(),
    }
}
