//! Counters and gauges in the Prometheus text format.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use lucid_rdp::controller::State;

use crate::desktops::{Figures, Usage};
use crate::supervisor::{Component, ComponentState};

/// Upper bounds of the answer time's buckets, in seconds.
const ANSWER_BUCKETS: [f64; 8] = [0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: MethodLabel,
    /// The route's pattern, never the path itself: the labels stay few.
    route: String,
    status: u16,
}

/// Methods this API has; all others are one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum MethodLabel {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabels {
    component: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DesktopLabels {
    /// Its name: there are at most as many as run at a time.
    desktop: String,
}

/// A figure of each running desktop.
type OfEach = Family<DesktopLabels, Gauge<f64, AtomicU64>>;

/// Name, meaning, and where it stands, of a figure.
type Taken = (&'static str, &'static str, fn(&Usage) -> f64);

/// What a running desktop takes.
const TAKEN: [Taken; 9] = [
    ("cpu_percent", "Processor time, percent of one core", |now| now.cpu_percent),
    ("memory_bytes", "Main memory", |now| now.memory_bytes as f64),
    ("tasks", "Processes and threads", |now| f64::from(now.tasks)),
    ("disk_bytes", "Files in the home directory", |now| now.disk_bytes as f64),
    ("in_bytes_per_second", "From clients", |now| now.in_bytes_per_s),
    ("out_bytes_per_second", "To clients", |now| now.out_bytes_per_s),
    ("frames_per_second", "Pictures to clients", |now| now.frames_per_s),
    ("encode_seconds", "Mean time to encode a picture", |now| now.encode_ms / 1e3),
    ("round_trip_seconds", "Last time to the client and back", |now| now.round_trip_ms / 1e3),
];

/// What there is of desktops.
#[derive(Default)]
struct DesktopMetrics {
    defined: Gauge,
    running: Gauge,
    sessions: Family<StateLabels, Gauge>,
    clients: Gauge,
    approvals: Gauge,
    refused: Gauge,
    slowed: Gauge,
    alerts: Gauge,
    taken: [OfEach; TAKEN.len()],
}

/// All metrics of the daemon.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    answer: Histogram,
    healthy: Family<ComponentLabels, Gauge>,
    restarts: Family<ComponentLabels, Gauge<u64, AtomicU64>>,
    desktops: DesktopMetrics,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lucid");
        let requests = Family::default();
        let answer = Histogram::new(ANSWER_BUCKETS);
        let healthy = Family::default();
        let restarts = Family::default();
        registry.register("http_requests", "Answered requests", requests.clone());
        registry.register("http_answer_seconds", "Time to begin an answer", answer.clone());
        registry.register("component_healthy", "1 while the component works", healthy.clone());
        registry.register("component_restarts", "Starts after the first", restarts.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running version", build);
        let desktops = DesktopMetrics::registered(&mut registry);
        Self { registry, requests, answer, healthy, restarts, desktops }
    }

    /// Counts an answered request.
    pub fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = match method.as_str() {
            "GET" => MethodLabel::Get,
            "HEAD" => MethodLabel::Head,
            "POST" => MethodLabel::Post,
            "PUT" => MethodLabel::Put,
            "PATCH" => MethodLabel::Patch,
            "DELETE" => MethodLabel::Delete,
            _ => MethodLabel::Other,
        };
        let labels = RequestLabels { method, route: route.to_owned(), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.answer.observe(took.as_secs_f64());
    }

    /// The text of all metrics, with components and desktops as they are now.
    pub fn encode(&self, components: &[Component], desktops: &Figures) -> String {
        self.desktops.set(desktops);
        for component in components {
            let labels = ComponentLabels { component: component.name };
            let healthy = component.state == ComponentState::Healthy;
            self.healthy.get_or_create(&labels).set(i64::from(healthy));
            self.restarts.get_or_create(&labels).set(component.restarts);
        }
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

impl DesktopMetrics {
    fn registered(registry: &mut Registry) -> Self {
        let made = Self::default();
        let registry = registry.sub_registry_with_prefix("desktops");
        for (name, help, gauge) in [
            ("defined", "Desktops that are set up", &made.defined),
            ("running", "Desktops whose programs run", &made.running),
            ("clients", "RDP clients, observers included", &made.clients),
            ("approvals_waiting", "Requests that wait for an operator", &made.approvals),
            ("sign_ins_refused", "Sign-ins refused since the start", &made.refused),
            ("sign_ins_slowed", "Sign-ins not looked at since the start", &made.slowed),
            ("alerts", "Limits that desktops came close to since the start", &made.alerts),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register("sessions", "Sessions that run, by state", made.sessions.clone());
        for ((name, help, _), family) in TAKEN.iter().zip(&made.taken) {
            registry.register(*name, *help, family.clone());
        }
        made
    }

    fn set(&self, now: &Figures) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let long = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.defined.set(number(now.defined));
        self.running.set(number(now.running));
        self.clients.set(number(now.clients));
        self.approvals.set(number(now.approvals_waiting));
        self.refused.set(long(now.refused));
        self.slowed.set(long(now.slowed));
        self.alerts.set(long(now.alerts));
        for ((.., read), family) in TAKEN.iter().zip(&self.taken) {
            family.clear();
            for (desktop, usage) in &now.usage {
                let labels = DesktopLabels { desktop: desktop.clone() };
                family.get_or_create(&labels).set(read(usage));
            }
        }
        for (state, count) in State::ALL.into_iter().zip(now.sessions) {
            let labels = StateLabels { state: state.as_str() };
            self.sessions.get_or_create(&labels).set(number(count));
        }
    }
}
