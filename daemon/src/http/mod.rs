//! The HTTP side: listeners, the guard every request passes, and the routes.

mod device;
pub mod events;
pub mod extract;
mod guard;
mod health;
pub mod listen;
mod openapi;
pub mod problem;
pub mod rate;
mod sources;
pub mod time;
pub mod tls;
mod web;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Auth, TokenId};
use crate::config::Config;
use crate::device::Device;
use crate::events::Events;
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::sources::Sources;
use crate::supervisor::Supervisor;
use rate::{Rate, RateTable};

/// Largest JSON body, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other side.
    pub address: SocketAddr,
    /// Whether it came over TLS.
    pub tls: bool,
}

/// Whose requests are counted together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Nobody known, from an address.
    Anonymous(IpAddr),
    /// A session.
    Session(TokenId),
}

/// What the handlers share.
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// Accounts and sessions.
    pub auth: Arc<Auth>,
    /// The device's own identity.
    pub device: Device,
    /// What moves.
    pub events: Events,
    /// The components.
    pub supervisor: Supervisor,
    /// What is recorded.
    pub sources: Arc<Sources>,
    /// Board, cameras, encoder.
    pub machine: Machine,
    /// Counters.
    pub metrics: Metrics,
    /// Cancelled when the daemon stops; endless answers end with it.
    pub stop: CancellationToken,
    /// Places for event listeners.
    listeners: Arc<Semaphore>,
    anonymous: Mutex<RateTable<Caller>>,
    signed_in: Mutex<RateTable<Caller>>,
    /// Distinguishes this run's request ids from those of others.
    run: u32,
    requests: AtomicU64,
}

/// The handlers' state.
pub type App = Arc<Shared>;

/// The parts that make up the handlers' state.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// Accounts and sessions.
    pub auth: Arc<Auth>,
    /// The device's own identity.
    pub device: Device,
    /// What moves.
    pub events: Events,
    /// The components.
    pub supervisor: Supervisor,
    /// What is recorded.
    pub sources: Arc<Sources>,
    /// Board, cameras, encoder.
    pub machine: Machine,
}

impl Parts {
    /// The state, with nobody connected.
    pub fn build(self) -> App {
        let http = &self.config.http;
        let rate = |per_minute| Rate { per_minute, burst: http.burst };
        Arc::new(Shared {
            anonymous: Mutex::new(RateTable::new(rate(http.anonymous_per_minute))),
            signed_in: Mutex::new(RateTable::new(rate(http.signed_in_per_minute))),
            listeners: Arc::new(Semaphore::new(events::LISTENERS_MAX)),
            run: time::now_us() as u32,
            requests: AtomicU64::new(0),
            stop: CancellationToken::new(),
            metrics: Metrics::new(),
            config: self.config,
            auth: self.auth,
            device: self.device,
            events: self.events,
            supervisor: self.supervisor,
            sources: self.sources,
            machine: self.machine,
        })
    }
}

impl Shared {
    /// A name for one request: in its answer, and in the log lines about it.
    fn next_request_id(&self) -> String {
        format!("{:08x}-{:x}", self.run, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

/// All routes behind the guard.
pub fn router(app: &App) -> Router {
    let (api, description) = openapi::describe(
        auth::routes()
            .merge(health::api_routes())
            .merge(events::routes())
            .merge(device::routes())
            .merge(sources::routes()),
    );
    let api = api
        .route("/openapi.json", openapi::serve(&description))
        .method_not_allowed_fallback(guard::method_not_allowed)
        .fallback(guard::not_found)
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard::api));
    let router = Router::new()
        .nest("/api/v1", api)
        .merge(health::routes())
        .method_not_allowed_fallback(guard::method_not_allowed)
        .fallback(web::serve)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(guard::compression())
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard::every));
    router.with_state(app.clone())
}
