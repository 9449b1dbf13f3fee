//! The endpoints of sources.

use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use lucid_capture::SourceUri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::device::Encoder;
use super::extract::{JsonBody, Path};
use super::problem::{Kind, Problem, ProblemDocument};
use super::time::now_us;
use crate::auth::{Action, SignedIn};
use crate::events::Topic;
use crate::sources::{Retention, Source, SourcesError};

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(discovered))
        .routes(routes!(read, change, remove))
}

/// How long recordings are kept; an absent or null limit is no limit.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct RetentionBody {
    /// Oldest recording kept, at least 60.
    max_age_s: Option<u64>,
    /// Bytes kept, at least 64 MiB.
    max_bytes: Option<u64>,
}

/// A source and how it is doing.
#[derive(Serialize, ToSchema)]
#[schema(as = Source)]
pub struct SourceView {
    id: String,
    name: String,
    /// Without credentials: `rtsp://***@host/path` where there are some.
    uri: String,
    /// `v4l2`, `libcamera`, `rtsp`, `file`, `screen` or `test`.
    kind: &'static str,
    audio: bool,
    enabled: bool,
    /// A drawn picture, which no camera took.
    demo: bool,
    retention: RetentionBody,
    /// `idle`, `connecting`, `recording`, `stalled`, `failed` or `refused`.
    state: &'static str,
    state_reason: Option<String>,
    current_session_id: Option<String>,
    used_bytes: u64,
}

#[derive(Serialize, ToSchema)]
struct SourceList {
    items: Vec<SourceView>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSource {
    /// 1 to 128 characters.
    name: String,
    /// `v4l2:///dev/video0`, `libcamera://`, `rtsp://user:password@host/path`, `rtsps://`,
    /// `file:///path?loop=1`, `screen://:0` or `test://`.
    uri: String,
    /// Record sound where the source has it; true if absent.
    audio: Option<bool>,
    /// Record it; true if absent.
    enabled: Option<bool>,
    retention: Option<RetentionBody>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SourceChange {
    name: Option<String>,
    /// The shown form, with `***`, leaves the address as it is; `***@` alone keeps user name and
    /// password of the same host.
    uri: Option<String>,
    audio: Option<bool>,
    enabled: Option<bool>,
    /// Replaces both limits.
    retention: Option<RetentionBody>,
}

#[derive(Serialize, ToSchema)]
struct DiscoveredSource {
    uri: String,
    name: String,
    /// `v4l2`, `libcamera`, `screen` or `demo`.
    kind: &'static str,
    note: Option<String>,
    already_added: bool,
}

#[derive(Serialize, ToSchema)]
struct Discovered {
    items: Vec<DiscoveredSource>,
    encoder: Option<Encoder>,
}

impl From<RetentionBody> for Retention {
    fn from(body: RetentionBody) -> Self {
        Self { max_age_s: body.max_age_s, max_bytes: body.max_bytes }
    }
}

/// A source as it is now.
pub fn view(app: &App, source: &Source) -> SourceView {
    let status = app.recordings.status(&source.id);
    let used = app.used.lock().unwrap_or_else(PoisonError::into_inner);
    let Retention { max_age_s, max_bytes } = source.retention;
    SourceView {
        id: source.id.to_string(),
        name: source.name.clone(),
        uri: source.shown_uri(),
        kind: source.kind(),
        audio: source.audio,
        enabled: source.enabled,
        demo: source.is_demo(),
        retention: RetentionBody { max_age_s, max_bytes },
        state: status.state.as_str(),
        state_reason: status.reason,
        current_session_id: status.session.map(|session| session.to_string()),
        used_bytes: used.get(source.id.as_str()).copied().unwrap_or(0),
    }
}

/// All sources, oldest first.
#[utoipa::path(get, path = "/sources", tag = "sources",
    responses((status = 200, body = SourceList),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn list(State(app): State<App>, _: SignedIn) -> Json<SourceList> {
    // At most `SOURCES_MAX`, so one page holds them all.
    let items = app.sources.list().iter().map(|source| view(&app, source)).collect();
    Json(SourceList { items, next_cursor: None })
}

/// Cameras attached now, the demo picture, and what would encode raw pictures.
#[utoipa::path(get, path = "/sources/discovered", tag = "sources",
    responses((status = 200, body = Discovered),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn discovered(State(app): State<App>, _: SignedIn) -> Result<Json<Discovered>, Problem> {
    let found = app.machine.discover().await;
    let found = found.map_err(|error| Problem::internal("looking for cameras", error))?;
    let added: Vec<String> =
        app.sources.list().iter().map(|source| source.uri.to_string()).collect();
    let is_added = |uri: &str| {
        let uri = SourceUri::parse(uri).map(|uri| uri.to_string());
        uri.is_ok_and(|uri| added.contains(&uri))
    };
    let items = found
        .into_iter()
        .map(|found| DiscoveredSource {
            already_added: is_added(&found.uri),
            uri: found.uri,
            name: found.name,
            kind: found.kind,
            note: Some(found.note).filter(|note| !note.is_empty()),
        })
        .collect();
    let encoder = app.machine.encoder_note().await.map(Encoder::from);
    Ok(Json(Discovered { items, encoder }))
}

/// Set up a source.
#[utoipa::path(post, path = "/sources", tag = "sources", request_body = NewSource,
    responses((status = 201, body = SourceView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn create(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(new): JsonBody<NewSource>,
) -> Result<impl IntoResponse, Problem> {
    who.may(Action::Administer)?;
    let source = Source::new(
        &new.name,
        parse_uri(&new.uri, None)?,
        new.audio.unwrap_or(true),
        new.enabled.unwrap_or(true),
        new.retention.unwrap_or_default().into(),
        now_us(),
    )?;
    let added = source.clone();
    write(&app, move |app| app.sources.add(&added)).await?;
    changed(&app, &who, "source.create", &source).await?;
    let location = format!("/api/v1/sources/{}", source.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view(&app, &source))))
}

/// One source.
#[utoipa::path(get, path = "/sources/{id}", tag = "sources", params(("id" = String, Path)),
    responses((status = 200, body = SourceView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<SourceView>, Problem> {
    Ok(Json(view(&app, &app.sources.get(&id)?)))
}

/// Change a source; fields left out stay as they are.
#[utoipa::path(patch, path = "/sources/{id}", tag = "sources", params(("id" = String, Path)),
    request_body = SourceChange,
    responses((status = 200, body = SourceView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn change(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<SourceChange>,
) -> Result<Json<SourceView>, Problem> {
    who.may(Action::Administer)?;
    let kept = app.sources.get(&id)?;
    let uri = body.uri.filter(|uri| *uri != kept.shown_uri());
    let uri = uri.map(|uri| parse_uri(&uri, Some(&kept.uri))).transpose()?;
    let source = write(&app, move |app| {
        app.sources.change(&id, |source| {
            source.name = body.name.map_or_else(|| source.name.clone(), |name| name.trim().into());
            source.uri = uri.unwrap_or_else(|| source.uri.clone());
            source.audio = body.audio.unwrap_or(source.audio);
            source.enabled = body.enabled.unwrap_or(source.enabled);
            source.retention = body.retention.map_or(source.retention, Retention::from);
            Ok(())
        })
    })
    .await?;
    changed(&app, &who, "source.change", &source).await?;
    Ok(Json(view(&app, &source)))
}

/// Remove a source; its recordings stay.
#[utoipa::path(delete, path = "/sources/{id}", tag = "sources", params(("id" = String, Path)),
    responses((status = 204),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn remove(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    who.may(Action::Administer)?;
    let source = app.sources.get(&id)?;
    write(&app, move |app| app.sources.remove(&id)).await?;
    changed(&app, &who, "source.delete", &source).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells the audit and the listeners.
async fn changed(
    app: &App,
    who: &SignedIn,
    action: &'static str,
    source: &Source,
) -> Result<(), Problem> {
    app.recordings.wake();
    app.events.publish(Topic::Source, &view(app, source));
    let subject = format!("{} {}", source.id, source.name);
    Ok(app.auth.audit(&who.0.username, action, &subject).await?)
}

async fn write<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&App) -> Result<T, SourcesError> + Send + 'static,
) -> Result<T, Problem> {
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    Ok(done.map_err(|error| Problem::internal("changing sources", error))??)
}

fn parse_uri(text: &str, kept: Option<&SourceUri>) -> Result<SourceUri, Problem> {
    SourceUri::from_person(text, kept).map_err(|error| Problem::field("uri", error.to_string()))
}

impl From<SourcesError> for Problem {
    fn from(error: SourcesError) -> Self {
        match error {
            SourcesError::NoSuch(id) => Self::no_such("source", id),
            SourcesError::Field { field, message } => Self::field(field, message),
            SourcesError::TooMany => Self::new(Kind::TooManySources, error.to_string()),
            SourcesError::Damaged { .. } | SourcesError::Store(_) | SourcesError::Random(_) => {
                use std::error::Error;
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                Self::internal("changing sources", format!("{error}: {cause}"))
            }
        }
    }
}
