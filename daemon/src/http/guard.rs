//! What every request passes before its handler, and every answer after it.
//!
//! Outside in: request id, panics caught, security headers, plain HTTP sent to HTTPS, counting.
//! For the API besides: body size, same origin, who it is, how often, how long.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, OriginalUri, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, StreamExt};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

use super::exports::UPLOAD_BYTES_MAX;
use super::problem::{Kind, Problem};
use super::rate::party;
use super::updates::BUNDLE_BYTES_MAX;
use super::{App, BODY_BYTES_MAX, Caller, Peer};
use crate::auth;
use crate::config::PlainHttp;
use crate::supervisor::panic_text;

/// Longest a handler may take to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest a bundle may take to arrive and be verified.
const UPLOADED_WITHIN: Duration = Duration::from_secs(30 * 60);
/// Longest the rest of a refused body is read and thrown away, so that the sender gets to read
/// the answer instead of a reset.
const LINGER: Duration = Duration::from_secs(2);
/// Smallest answer that is compressed, in bytes.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// Paths that stay open over plain HTTP from elsewhere: they tell no secret.
const PLAIN_PATHS: [&str; 2] = ["/health", "/ready"];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Scripts, styles and connections from the device alone; `blob:` is what the video player needs.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
    worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// For every request.
pub async fn every(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = HeaderValue::from_str(&app.next_request_id()).ok();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "page".to_owned(), |path| path.as_str().to_owned());
    let mut response = match to_https(&app, &request) {
        Some(redirect) => redirect,
        None => {
            let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            answered.unwrap_or_else(|panic| {
                Problem::internal("answering", panic_text(&*panic)).into_response()
            })
        }
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    let status = response.status();
    app.metrics.request(&method, &route, status, began.elapsed());
    tracing::debug!(%method, route, status = status.as_u16(), us = began.elapsed().as_micros());
    response
}

/// For every request of the API.
pub async fn api(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(problem) = same_origin(&request) {
        return problem.into_response();
    }
    // Of the console, the connection itself says who it is; nothing in a request can.
    let console = request.extensions().get::<auth::Identity>().cloned();
    let identity = console.or_else(|| auth::identify(&app, request.headers()));
    let caller = match &identity {
        Some(identity) => Caller::Session(identity.session),
        None => Caller::Anonymous(party(peer.address.ip())),
    };
    if let Err(wait) = within_rate(&app, caller, is_media(request.method(), request.uri().path())) {
        return Problem::new(Kind::TooManyRequests, "slow down")
            .retry_after(wait.as_secs() + 1)
            .into_response();
    }
    let (limit, answer_within) = limits(request.uri().path());
    if request.body().size_hint().lower() > limit {
        return too_large(request, limit);
    }
    if let Some(identity) = identity {
        request.extensions_mut().insert(identity);
    }
    match tokio::time::timeout(answer_within, next.run(request)).await {
        Ok(mut response) => {
            let headers = response.headers_mut();
            if !headers.contains_key(header::CACHE_CONTROL) {
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            response
        }
        Err(_) => {
            Problem::new(Kind::Timeout, format!("no answer within {} s", answer_within.as_secs()))
                .retry_after(5)
                .closing()
                .into_response()
        }
    }
}

/// The largest body of a path, and the longest time to its answer. Paths here are without
/// `/api/v1`.
fn limits(path: &str) -> (u64, Duration) {
    match path {
        "/verify" => (UPLOAD_BYTES_MAX, UPLOADED_WITHIN),
        "/system/updates/bundle" => (BUNDLE_BYTES_MAX, UPLOADED_WITHIN),
        _ => (BODY_BYTES_MAX as u64, ANSWER_WITHIN),
    }
}

/// No such path.
pub async fn not_found(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no {}", uri.path()))
}

/// The path exists with other methods.
pub async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{method} is not one of those in `Allow`"))
}

/// Compresses text worth it; media and event streams stay as they are.
pub fn compression() -> CompressionLayer<impl Predicate> {
    let is_text = |_: StatusCode, _: axum::http::Version, headers: &HeaderMap, _: &_| {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| {
            ["application/json", "application/problem+json", "text/html", "text/css"]
                .into_iter()
                .chain(["text/javascript", "image/svg+xml", "application/vnd.apple.mpegurl"])
                .any(|text| value.starts_with(text))
        })
    };
    CompressionLayer::new().compress_when(SizeAbove::new(COMPRESS_FROM_BYTES).and(is_text))
}

/// Whether a player asks: for a playlist or a segment. Paths here are without `/api/v1`.
fn is_media(method: &Method, path: &str) -> bool {
    let mut parts = path.strip_prefix("/sessions/").unwrap_or("").split('/').skip(1);
    let what = [parts.next(), parts.next(), parts.next()];
    let is_media = matches!(what, [Some("live"), None, None] | [Some("media"), Some(_), None]);
    is_media && (method == Method::GET || method == Method::HEAD)
}

fn within_rate(app: &App, caller: Caller, media: bool) -> Result<(), Duration> {
    let table = match caller {
        Caller::Anonymous(_) => &app.anonymous,
        Caller::Session(_) if media => &app.media,
        Caller::Session(_) => &app.signed_in,
    };
    table.lock().unwrap_or_else(PoisonError::into_inner).take(caller, Instant::now())
}

/// Answers 413 at once and lets the sender finish into nothing, for a while.
fn too_large(request: Request, limit: u64) -> Response {
    let waits = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body().into_data_stream();
    if !waits {
        tokio::spawn(tokio::time::timeout(LINGER, async move {
            while let Some(Ok(_)) = body.next().await {}
        }));
    }
    Problem::new(Kind::BodyTooLarge, format!("at most {limit} bytes are taken here"))
        .closing()
        .into_response()
}

/// Refuses writes that a page of another site makes with this site's cookie.
///
/// Browsers say where a request comes from in `Sec-Fetch-Site`, or at least in `Origin`. A request
/// with neither comes from no browser, and one with a bearer token from no foreign page.
fn same_origin(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    if request.method().is_safe() || headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let same = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let ours = host(request).map(|host| host.as_str().to_owned());
            let theirs = origin.split_once("://").map(|(_, host)| host.to_owned());
            ours.is_some() && ours == theirs
        }
        (None, None) => true,
    };
    if same {
        return Ok(());
    }
    Err(Problem::new(Kind::CrossSite, "writes with the cookie come from the device's own page"))
}

/// The host and port the request asks for.
fn host(request: &Request) -> Option<Authority> {
    // HTTP/2 has it in the URI, HTTP/1.1 in a header.
    request
        .uri()
        .authority()
        .cloned()
        .or_else(|| request.headers().get(header::HOST)?.to_str().ok()?.parse::<Authority>().ok())
}

/// The redirect for a plain request that must not be served, if this is one.
fn to_https(app: &App, request: &Request) -> Option<Response> {
    let peer = request.extensions().get::<Peer>()?;
    let open = app.config.http.plain == PlainHttp::Everywhere || is_loopback(peer.address.ip());
    if peer.tls || open || PLAIN_PATHS.contains(&request.uri().path()) {
        return None;
    }
    let refused = || {
        Problem::new(Kind::NotAllowed, "plain HTTP is served on the device itself only").closing()
    };
    let Some((port, host)) = app.device.https_port().zip(host(request)) else {
        return Some(refused().into_response());
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = format!("https://{}:{port}{path}", host.host());
    let Ok(location) = HeaderValue::from_str(&location) else {
        return Some(refused().into_response());
    };
    let headers =
        [(header::LOCATION, location), (header::CONNECTION, HeaderValue::from_static("close"))];
    Some((StatusCode::PERMANENT_REDIRECT, headers, Body::empty()).into_response())
}

/// Whether an address is this machine's own, also when IPv4 is carried in IPv6.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut builder = Request::builder().method(method).uri("/api/v1/sources");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::empty()).unwrap()
    }

    #[test]
    fn writes_from_other_sites_are_refused() {
        let host = ("host", "lucid.local:8081");
        for (fine, method, headers) in [
            (true, "GET", vec![("origin", "https://evil.example")]),
            (true, "POST", vec![]),
            (true, "POST", vec![("origin", "https://lucid.local:8081")]),
            (true, "POST", vec![("sec-fetch-site", "same-origin")]),
            (true, "DELETE", vec![("sec-fetch-site", "none")]),
            (false, "POST", vec![("origin", "https://evil.example")]),
            (false, "POST", vec![("origin", "https://lucid.local:9999")]),
            (false, "POST", vec![("origin", "null")]),
            (false, "PATCH", vec![("sec-fetch-site", "same-site")]),
            (false, "DELETE", vec![("sec-fetch-site", "cross-site")]),
            (true, "POST", vec![("authorization", "Bearer x"), ("origin", "https://a.example")]),
        ] {
            let mut all = headers.clone();
            all.push(host);
            assert_eq!(same_origin(&request(method, &all)).is_ok(), fine, "{method} {headers:?}");
        }
    }

    #[test]
    fn only_reading_playlists_and_segments_is_media() {
        for (media, method, path) in [
            (true, Method::GET, "/sessions/a/live"),
            (true, Method::HEAD, "/sessions/a/media/playlist.m3u8"),
            (true, Method::GET, "/sessions/a/media/1-2.m4s"),
            (false, Method::POST, "/sessions/a/live"),
            (false, Method::GET, "/sessions/live"),
            (false, Method::GET, "/sessions/a"),
            (false, Method::GET, "/sessions/a/media"),
            (false, Method::GET, "/sessions/a/media/b/c"),
            (false, Method::GET, "/sources/a/live"),
            (false, Method::GET, "/exports/a/media/b"),
        ] {
            assert_eq!(is_media(&method, path), media, "{method} {path}");
        }
    }

    #[test]
    fn loopback_is_recognised_inside_ipv6_too() {
        for (address, loopback) in
            [("127.0.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)]
        {
            assert_eq!(is_loopback(address.parse().unwrap()), loopback, "{address}");
        }
    }
}
