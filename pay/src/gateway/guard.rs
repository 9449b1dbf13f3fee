//! What every request passes before it is answered.

use super::{Limits, Peer};
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use lucid_pay_api::{Problem, REQUEST_BYTES_MAX, REQUESTS_PER_MINUTE};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is read and thrown away of a body that is too long, in bytes, so that the other side gets
/// to read why. Beyond that the connection is cut.
pub const DRAIN_BYTES_MAX: usize = 256 * 1024 * 1024;

const MINUTE: Duration = Duration::from_secs(60);

/// Requests of each user, as a bucket that fills evenly. Users are as few as the configuration
/// names.
#[derive(Debug, Default)]
pub struct Rate {
    buckets: BTreeMap<u32, (f64, Instant)>,
}

impl Rate {
    /// Takes one request of `user`, or says after how long one is free.
    ///
    /// # Errors
    /// The time to wait.
    pub fn take(&mut self, user: u32, now: Instant) -> Result<(), Duration> {
        let most = f64::from(REQUESTS_PER_MINUTE);
        let (left, at) = self.buckets.entry(user).or_insert((most, now));
        let filled = now.saturating_duration_since(*at).as_secs_f64() * most / MINUTE.as_secs_f64();
        *left = (*left + filled).min(most);
        *at = now;
        if *left < 1.0 {
            return Err(MINUTE.mul_f64((1.0 - *left) / most));
        }
        *left -= 1.0;
        Ok(())
    }
}

/// The limits and what was used of them.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    rate: Mutex<Rate>,
}

impl Guard {
    /// Nothing used yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, rate: Mutex::default() }
    }
}

/// A problem as an answer.
pub(super) struct Refused(pub Problem);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, Problem::CONTENT_TYPE)], body).into_response()
    }
}

fn refuse(status: u16, code: &str, detail: impl Into<String>) -> Response {
    Refused(Problem::new(status, code, detail)).into_response()
}

/// Who asks, how often, how much, how long.
pub(super) async fn every(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let user = match peer.user {
        Some(user) if guard.limits.users.contains(&user) => user,
        user => {
            let who = user.map_or("a user the kernel does not name".to_owned(), |user| {
                format!("the user with id {user}")
            });
            let detail = format!("{who} may not use payments; add it to `gateway.users`");
            return refuse(403, "wrong-user", detail);
        }
    };
    let taken =
        guard.rate.lock().unwrap_or_else(PoisonError::into_inner).take(user, Instant::now());
    if let Err(wait) = taken {
        let seconds = wait.as_secs() + 1;
        let detail = format!("{REQUESTS_PER_MINUTE} requests a minute; try again in {seconds} s");
        let mut answer = refuse(429, "too-many-requests", detail);
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        return answer;
    }
    let limit = guard.limits.timeout;
    let answered = tokio::time::timeout(limit, async {
        let (head, body) = request.into_parts();
        match collect(body).await {
            Ok(bytes) => next.run(Request::from_parts(head, Body::from(bytes))).await,
            Err(problem) => Refused(problem).into_response(),
        }
    });
    answered.await.unwrap_or_else(|_| {
        let text = "the answer took longer than";
        let detail = format!(
            "{text} {} s; what was asked may still happen: ask again with the same idempotency key",
            limit.as_secs()
        );
        refuse(504, "timeout", detail)
    })
}

/// Reads a body, at most [`REQUEST_BYTES_MAX`]; of a longer one nothing is kept.
async fn collect(body: Body) -> Result<Bytes, Problem> {
    let mut kept = Vec::new();
    let mut seen = 0usize;
    let mut stream = body.into_data_stream();
    while let Some(part) = stream.next().await {
        let part = part
            .map_err(|_| Problem::new(400, "bad-request", "the request broke off in its body"))?;
        seen = seen.saturating_add(part.len());
        if seen <= REQUEST_BYTES_MAX {
            kept.extend_from_slice(&part);
        } else if seen > DRAIN_BYTES_MAX {
            break;
        } else {
            kept = Vec::new();
        }
    }
    if seen > REQUEST_BYTES_MAX {
        let text = "the body is longer than";
        let detail = format!("{text} {REQUEST_BYTES_MAX} bytes; send a batch in several");
        return Err(Problem::new(413, "body-too-large", detail));
    }
    Ok(Bytes::from(kept))
}
