//! The description of the API, made from the handlers themselves.

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::{MethodRouter, get};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use super::App;
use crate::auth::COOKIE;

#[derive(OpenApi)]
#[openapi(
    info(title = "Lucid", description = "The device's own interface. Errors are RFC 9457."),
    servers((url = "/api/v1")),
    security(("cookie" = []), ("bearer" = [])),
    modifiers(&Schemes)
)]
struct Description;

struct Schemes;

impl utoipa::Modify for Schemes {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_default();
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE)));
        components.add_security_scheme("cookie", cookie);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// Splits routes into what serves them and what describes them.
pub fn describe(routes: OpenApiRouter<App>) -> (Router<App>, String) {
    let described = OpenApiRouter::with_openapi(Description::openapi()).merge(routes);
    let (router, mut description) = described.split_for_parts();
    description.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let text = description.to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the API's description cannot be written");
        "{}".to_owned()
    });
    (router, text)
}

/// Serves the description; it is the same for everyone and tells no secret.
pub fn serve(description: &str) -> MethodRouter<App> {
    let bytes = Bytes::from(description.to_owned());
    get(move || {
        let bytes = bytes.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], bytes) }
    })
}
