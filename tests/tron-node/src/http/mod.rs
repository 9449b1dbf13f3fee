//! The node on HTTP, and the controls of the simulation beside it.

mod answers;
mod sim;
mod wallet;

pub use sim::control;

use crate::faults::{Dial, Fault};
use crate::ledger::Ledger;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest body of a call, in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The node and what may go wrong with it, shared by all calls.
#[derive(Debug, Clone)]
pub struct Node {
    ledger: Arc<Mutex<Ledger>>,
    dial: Arc<Mutex<Dial>>,
    /// Ahead of the machine's clock, in milliseconds.
    ahead_ms: Arc<Mutex<u64>>,
    /// Blocks are made on demand only, and the clock stands between them.
    manual: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// A node of a chain.
    pub fn new(ledger: Ledger, manual: bool) -> Self {
        let share = |value| Arc::new(Mutex::new(value));
        Self {
            ledger: Arc::new(Mutex::new(ledger)),
            dial: Arc::default(),
            ahead_ms: share(0),
            manual,
        }
    }

    /// The chain.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// The node's clock: the machine's and what it was advanced by; with blocks on demand, the time
    /// of the newest block and what it was advanced by.
    pub fn now_ms(&self) -> u64 {
        let ahead = *lock(&self.ahead_ms);
        if self.manual {
            return self.ledger().head_block().time_ms + ahead;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(ahead)
    }

    /// Makes a block.
    pub fn make_block(&self) {
        let now_ms = self.now_ms();
        let mut ledger = self.ledger();
        let step = if self.manual { ledger.interval_ms } else { 0 };
        if self.manual {
            *lock(&self.ahead_ms) = 0;
        }
        ledger.make_block(now_ms + step);
    }

    /// Makes blocks for ever, one an interval.
    pub async fn run(self) {
        let interval = self.ledger().interval_ms;
        let mut ticks = tokio::time::interval(Duration::from_millis(interval.max(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.make_block();
        }
    }
}

/// The calls of a full node and of a solidity node.
pub fn full_node(node: Node) -> Router {
    Router::new()
        .route("/wallet/{call}", any(full))
        .route("/walletsolidity/{call}", any(solid))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(node)
}

async fn full(
    State(node): State<Node>,
    Path(call): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    answer(node, call, false, query, body).await
}

async fn solid(
    State(node): State<Node>,
    Path(call): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    answer(node, call, true, query, body).await
}

/// The query of a GET as an object of texts. Addresses and hashes need no escapes.
fn from_query(query: &str) -> Value {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Value::Object(pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

fn json_answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

/// The beginning of an answer whose connection then breaks.
fn broken() -> Response {
    let error = Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    let body = Body::from_stream(futures_util::stream::iter([error]));
    ([(header::CONTENT_LENGTH, "100")], body).into_response()
}

async fn answer(
    node: Node,
    name: String,
    solid: bool,
    query: Option<String>,
    body: Bytes,
) -> Response {
    let faults = lock(&node.dial).of(&name, solid);
    for fault in &faults {
        match fault {
            Fault::Latency { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Fault::Status { status } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
                return (status, "the fault dial says so\n").into_response();
            }
            Fault::LoseRequest => return broken(),
            Fault::Empty => return json_answer(&json!({})),
            Fault::Garbage => return "upstream connect error\n".into_response(),
            _ => {}
        }
    }
    let parsed = if body.is_empty() {
        Ok(from_query(&query.unwrap_or_default()))
    } else {
        serde_json::from_slice(&body)
    };
    let Ok(body) = parsed else {
        let text = "class com.alibaba.fastjson.JSONException : syntax error";
        return json_answer(&json!({"Error": text}));
    };
    let now_ms = node.now_ms();
    let call = wallet::Call { name: &name, solid, body: &body, now_ms };
    let code = |code: &str| json!({"result": false, "code": code, "message": "", "txid": ""});
    let early = faults.iter().find_map(|fault| match fault {
        Fault::Code { code: name } => Some(code(name)),
        Fault::Forget => {
            let bytes = body.get("transaction").and_then(Value::as_str);
            let bytes = bytes.and_then(crate::hex::decode).unwrap_or_default();
            let id = crate::transaction::Transaction::decode(&bytes).map(|tx| tx.id());
            let id = crate::hex::encode(&id.unwrap_or_default());
            Some(json!({"result": true, "code": "SUCCESS", "message": "", "txid": id}))
        }
        _ => None,
    });
    let found = match early {
        Some(value) => Some(value),
        None => call.answer(&mut node.ledger()),
    };
    let Some(mut value) = found else {
        return (StatusCode::NOT_FOUND, "<h1>404 Not Found</h1>\n").into_response();
    };
    for fault in faults {
        match fault {
            Fault::LoseAnswer => return broken(),
            Fault::ExecuteAndCode { code: name } => value = code(&name),
            Fault::Balance { amount } if value.get("balance").is_some() => {
                value["balance"] = json!(amount);
            }
            Fault::Balance { amount } if value.get("constant_result").is_some() => {
                value["constant_result"] = json!([format!("{amount:064x}")]);
            }
            Fault::WrongReceipt if value.get("id").is_some() => {
                let id = value["id"].as_str().and_then(crate::hex::decode).unwrap_or_default();
                value["id"] = json!(crate::hex::encode(&crate::address::sha256(&id)));
            }
            _ => {}
        }
    }
    json_answer(&value)
}
