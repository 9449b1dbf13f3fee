//! The controls under `/sim/`: money, time, faults. On a port of their own.

use super::{Node, lock};
use crate::address::Address;
use crate::faults::Rule;
use crate::hex;
use crate::ledger::params::Params;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

/// Most blocks made at once.
const BLOCKS_MAX: u64 = 100_000;

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

fn bad<T>(text: impl Into<String>) -> Result<T, (StatusCode, Json<Value>)> {
    Err((StatusCode::BAD_REQUEST, Json(json!({"error": text.into()}))))
}

/// The routes.
pub fn control(node: Node) -> Router {
    Router::new()
        .route("/sim/state", get(state))
        .route("/sim/faucet", post(faucet))
        .route("/sim/mine", post(mine))
        .route("/sim/advance", post(advance))
        .route("/sim/faults", get(faults).put(set_faults).delete(clear_faults))
        .route("/sim/fork", post(fork))
        .route("/sim/pool", axum::routing::delete(drop_pool))
        .route("/sim/chain", post(chain))
        .route("/sim/params", get(params).put(set_params))
        .route("/sim/token", post(token))
        .with_state(node)
}

async fn state(State(node): State<Node>) -> Json<Value> {
    let now_ms = node.now_ms();
    let ledger = node.ledger();
    let state = ledger.state(false);
    let witness = state.accounts.iter().find(|(_, account)| account.witness);
    Json(json!({
        "now_ms": now_ms,
        "head": ledger.head_block().number,
        "head_id": hex::encode(&ledger.head_block().id),
        "solid": ledger.solid_block().number,
        "pool": ledger.pool().count(),
        "faucet": ledger.faucet().to_string(),
        "token": state.token.address.to_string(),
        "router": state.router.0.to_string(),
        "witness": witness.map(|(address, _)| address.to_string()),
        "interval_ms": ledger.interval_ms,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gift {
    address: String,
    #[serde(default)]
    sun: i64,
    #[serde(default)]
    usdt_micro: u64,
}

async fn faucet(State(node): State<Node>, Json(gift): Json<Gift>) -> Answer {
    let Some(to) = Address::parse(&gift.address) else {
        return bad(format!("{:?} is no TRON address", gift.address));
    };
    let now_ms = node.now_ms();
    match node.ledger().give(to, gift.sun, gift.usdt_micro, now_ms) {
        Ok(ids) => {
            let ids: Vec<String> = ids.iter().map(|id| hex::encode(id)).collect();
            Ok(Json(json!({"txids": ids})))
        }
        Err(rejected) => bad(rejected.to_string()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mine {
    blocks: u64,
}

async fn mine(State(node): State<Node>, Json(mine): Json<Mine>) -> Answer {
    if mine.blocks > BLOCKS_MAX {
        return bad(format!("{BLOCKS_MAX} blocks at once are the most"));
    }
    (0..mine.blocks).for_each(|_| node.make_block());
    Ok(state(State(node)).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    ms: u64,
}

async fn advance(State(node): State<Node>, Json(by): Json<Advance>) -> Json<Value> {
    {
        let mut ahead = lock(&node.ahead_ms);
        *ahead = ahead.saturating_add(by.ms);
    }
    node.make_block();
    state(State(node)).await
}

async fn faults(State(node): State<Node>) -> Json<Vec<Rule>> {
    Json(lock(&node.dial).rules.clone())
}

async fn set_faults(State(node): State<Node>, Json(rules): Json<Vec<Rule>>) -> Json<Vec<Rule>> {
    lock(&node.dial).rules.clone_from(&rules);
    Json(rules)
}

async fn clear_faults(State(node): State<Node>) -> StatusCode {
    lock(&node.dial).rules.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fork {
    depth: u64,
    #[serde(default)]
    lose: bool,
}

async fn fork(State(node): State<Node>, Json(fork): Json<Fork>) -> Json<Value> {
    let now_ms = node.now_ms();
    let replaced = node.ledger().fork(fork.depth, fork.lose, now_ms);
    Json(json!({"replaced": replaced}))
}

async fn drop_pool(State(node): State<Node>) -> Json<Value> {
    Json(json!({"dropped": node.ledger().drop_pool()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    /// More blocks before one is final.
    solid_lag: Option<u64>,
    /// Blocks take no transactions.
    hold: Option<bool>,
}

async fn chain(State(node): State<Node>, Json(change): Json<Chain>) -> Json<Value> {
    {
        let mut ledger = node.ledger();
        ledger.solid_lag = change.solid_lag.unwrap_or(ledger.solid_lag);
        ledger.hold = change.hold.unwrap_or(ledger.hold);
    }
    state(State(node)).await
}

async fn params(State(node): State<Node>) -> Json<Params> {
    Json(node.ledger().state(false).params.clone())
}

async fn set_params(State(node): State<Node>, Json(new): Json<Params>) -> Json<Params> {
    node.ledger().force(|state| state.params = new.clone());
    Json(new)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenChange {
    fee_basis_points: Option<u16>,
    paused: Option<bool>,
    #[serde(default)]
    blacklist: Vec<String>,
}

async fn token(State(node): State<Node>, Json(change): Json<TokenChange>) -> Answer {
    let listed: Option<Vec<Address>> =
        change.blacklist.iter().map(|text| Address::parse(text)).collect();
    let Some(listed) = listed else { return bad("the blacklist holds what is no TRON address") };
    node.ledger().force(|state| {
        if let Some(fee) = change.fee_basis_points {
            state.token.fee_basis_points = fee.into();
        }
        if let Some(paused) = change.paused {
            state.token.paused = paused;
        }
        state.token.blacklist.extend(&listed);
    });
    Ok(Json(json!({})))
}
