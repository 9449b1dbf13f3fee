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

/// All metrics of the daemon.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    answer: Histogram,
    healthy: Family<ComponentLabels, Gauge>,
    restarts: Family<ComponentLabels, Gauge<u64, AtomicU64>>,
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
        Self { registry, requests, answer, healthy, restarts }
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

    /// The text of all metrics, with the components as they are now.
    pub fn encode(&self, components: &[Component]) -> String {
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
