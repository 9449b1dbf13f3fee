//! The gateway: JSON over a unix socket, for the users the configuration names.
//!
//! Every request passes, in this order: who asks (`SO_PEERCRED`), how often, how much, how long.
//! What is asked is answered by a [`Desk`]. Every failure is an RFC 9457 problem, and none of them
//! repeats a body.

mod desk;
mod guard;
mod routes;
mod socket;

pub use desk::{Answer, Desk};
pub use guard::{DRAIN_BYTES_MAX, Guard, Rate};
pub use socket::{Listening, Peer, SocketError, bind, listen};

use lucid_pay_api::REQUEST_TIMEOUT;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;

/// Who may ask, and how long an answer may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// User ids that may ask; nobody else, not even root, unless listed.
    pub users: Vec<u32>,
    /// Longest time from a request's head to the end of its answer.
    pub timeout: Duration,
}

impl Limits {
    /// The usual limits for these users.
    pub fn of(users: Vec<u32>) -> Self {
        Self { users, timeout: REQUEST_TIMEOUT }
    }
}

/// Serves until `stop` is done, then finishes what has begun.
///
/// # Errors
/// When the socket can no longer be listened on.
pub async fn serve<D: Desk>(
    listener: UnixListener,
    desk: Arc<D>,
    limits: Limits,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let guard = Arc::new(Guard::new(limits));
    let service = routes::router(desk, guard).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

#[cfg(test)]
mod tests;
