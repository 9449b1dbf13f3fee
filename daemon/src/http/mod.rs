//! The HTTP side: listeners, the guard every request passes, and the routes.

pub mod chain;
mod connections;
mod desktops;
mod device;
pub mod events;
pub mod evidence;
pub mod exports;
pub mod extract;
mod guard;
mod happened;
mod health;
pub mod listen;
pub mod local;
mod media;
mod openapi;
mod payments;
mod places;
pub mod problem;
mod range;
pub mod rate;
pub mod sessions;
pub mod sources;
mod system;
pub mod time;
pub mod tls;
pub mod updates;
mod web;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use lucid_capture::archive::Archive;
use lucid_chain_node::Node;

use crate::anchoring::Anchoring;
use crate::auth::{self, Auth, TokenId};
use crate::components::Core;
use crate::config::Config;
use crate::desktops::Desktops;
use crate::device::Device;
use crate::events::Events;
use crate::exports::Exports;
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::payments::Payments;
use crate::quarantine::Quarantine;
use crate::recordings::{Pulse, Recordings};
use crate::sources::Sources;
use crate::supervisor::Supervisor;
use crate::system::System;
use crate::updates::Updates;
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
    /// Recorded desktops.
    pub desktops: Arc<Desktops>,
    /// Board, cameras, encoder.
    pub machine: Machine,
    /// Everything stored.
    pub archive: Arc<Archive>,
    /// The chain.
    pub node: Node,
    /// Between recorder and chain.
    pub anchoring: Arc<Anchoring>,
    /// What records.
    pub recordings: Arc<Recordings>,
    /// What the recorders tell.
    pub pulse: Arc<Pulse>,
    /// Bundles for download.
    pub exports: Arc<Exports>,
    /// What was put aside as damaged.
    pub quarantine: Quarantine,
    /// The device as a machine.
    pub system: System,
    /// Bytes the sessions of each source take, as last counted.
    pub used: Mutex<HashMap<String, u64>>,
    /// Held while an uploaded bundle is verified.
    verifying: Arc<Semaphore>,
    lists: sessions::Lists,
    inits: media::Inits,
    health: evidence::Kept,
    /// The way to the payment process.
    pub payments: Payments,
    /// Updates of the system.
    pub updates: Arc<Updates>,
    /// Counters.
    pub metrics: Metrics,
    /// Cancelled when the daemon stops; endless answers end with it.
    pub stop: CancellationToken,
    /// Places for event listeners.
    listeners: Arc<Semaphore>,
    anonymous: Mutex<RateTable<Caller>>,
    signed_in: Mutex<RateTable<Caller>>,
    media: Mutex<RateTable<Caller>>,
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
    /// Recorded desktops.
    pub desktops: Arc<Desktops>,
    /// Board, cameras, encoder.
    pub machine: Machine,
    /// What was put aside as damaged.
    pub quarantine: Quarantine,
    /// The device as a machine.
    pub system: System,
}

impl Parts {
    /// The state, with nobody connected.
    pub fn build(self, core: &Core) -> App {
        let http = &self.config.http;
        let rate = |per_minute| Rate { per_minute, burst: http.burst };
        Arc::new(Shared {
            anonymous: Mutex::new(RateTable::new(rate(http.anonymous_per_minute))),
            signed_in: Mutex::new(RateTable::new(rate(http.signed_in_per_minute))),
            media: Mutex::new(RateTable::new(rate(http.media_per_minute))),
            listeners: Arc::new(Semaphore::new(events::LISTENERS_MAX)),
            archive: Arc::clone(&core.archive),
            node: core.node.clone(),
            anchoring: Arc::clone(&core.anchoring),
            recordings: Arc::clone(&core.recordings),
            pulse: Arc::clone(&core.pulse),
            exports: Arc::clone(&core.exports),
            quarantine: self.quarantine,
            system: self.system,
            used: Mutex::default(),
            verifying: Arc::new(Semaphore::new(1)),
            lists: sessions::Lists::default(),
            inits: media::Inits::default(),
            health: evidence::Kept::default(),
            run: time::now_us() as u32,
            requests: AtomicU64::new(0),
            stop: CancellationToken::new(),
            payments: Payments::new(self.config.payments_socket.as_deref()),
            updates: Updates::new(
                &self.config,
                &core.archive.keys().device().public().fingerprint().to_string(),
                self.events.clone(),
            ),
            metrics: Metrics::new(),
            config: self.config,
            auth: self.auth,
            device: self.device,
            events: self.events,
            supervisor: self.supervisor,
            sources: self.sources,
            desktops: self.desktops,
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
            .merge(sources::routes())
            .merge(desktops::routes())
            .merge(connections::routes())
            .merge(sessions::routes())
            .merge(happened::routes())
            .merge(media::routes())
            .merge(exports::routes())
            .merge(chain::routes())
            .merge(payments::routes())
            .merge(evidence::routes())
            .merge(system::routes())
            .merge(updates::routes()),
    );
    let api = api
        .merge(media::segments())
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
