//! The web page, inside the binary: it works without the Internet and cannot differ from the
//! daemon it talks to.

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::guard;
use super::problem::{Kind, Problem};

/// The built page; `build.rs` puts a page that says so in its place when it has not been built.
#[derive(rust_embed::RustEmbed)]
#[folder = "web/dist"]
struct Page;

/// The document every path of the page's own navigation gets.
const INDEX: &str = "index.html";
/// The build puts files named by their content here; they never change.
const HASHED: &str = "assets/";

/// Serves a file of the page, or its document for paths the page resolves itself.
pub async fn serve(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        return guard::not_found(OriginalUri(uri)).await.into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = guard::method_not_allowed(method).await.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    // A missing file is missing; only paths without an extension are the page's own.
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    let name = if path.is_empty() || !is_file { INDEX } else { path };
    let Some(file) = Page::get(name) else {
        return Problem::new(Kind::NotFound, format!("there is no /{path}")).into_response();
    };
    let cache =
        if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    let kind = match kind.type_() {
        mime_guess::mime::TEXT => format!("{kind}; charset=utf-8"),
        _ => kind.to_string(),
    };
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(file.data) };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache.to_owned())];
    (StatusCode::OK, headers, body).into_response()
}
