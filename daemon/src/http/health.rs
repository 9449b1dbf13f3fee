//! Whether the device lives and works: `/health`, `/ready`, `/metrics` and the components.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Kind, Problem, ProblemDocument};
use super::{App, Peer, guard};
use crate::auth::{self, SignedIn};
use crate::supervisor::Component;

/// The endpoints outside `/api/v1`.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
}

/// The endpoints inside.
pub fn api_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(components))
}

#[derive(Serialize, ToSchema)]
struct Components {
    items: Vec<Component>,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
}

/// The process answers.
async fn health() -> Json<Health> {
    Json(Health { status: "live" })
}

/// Everything that must run does. Which part is missing is told to those signed in, by
/// `components`.
async fn ready(State(app): State<App>) -> Response {
    let ready = app.supervisor.missing().is_empty() && !app.stop.is_cancelled();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(Ready { ready })).into_response()
}

/// Counters in the Prometheus text format.
async fn metrics(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let local = app.config.metrics_loopback && guard::is_loopback(peer.address.ip());
    if !local && auth::identify(&app, &headers).is_none() {
        return Err(Problem::new(Kind::SignInNeeded, "metrics are not public"));
    }
    let text = app.metrics.encode(&app.supervisor.components(), &app.desktops.figures());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text))
}

/// The daemon's components.
#[utoipa::path(get, path = "/components", tag = "device",
    responses((status = 200, body = Components),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn components(State(app): State<App>, _: SignedIn) -> Json<Components> {
    Json(Components { items: app.supervisor.components() })
}
