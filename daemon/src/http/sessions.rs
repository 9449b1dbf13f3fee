//! The endpoints of recording sessions.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use lucid_capture::archive::ArchiveError;
use lucid_capture::catalogue::{ChunkMap, SessionRecord, SessionState};
use lucid_capture::export;
use lucid_capture::recorder::Anchor;
use lucid_evidence::SessionId;
use lucid_evidence::manifest::GapRecord;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::{JsonBody, Path, Query};
use super::problem::{Kind, Problem, ProblemDocument};
use super::time::now_us;
use crate::auth::{Action, SignedIn};
use crate::follow::session_changed;
use crate::recordings::RecordingsError;
use crate::view::{GapView, SessionView, with_open};

/// Items of a list when `limit` is not given, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Sessions looked at for one page, at most: a filter that fits few ends its page early and goes
/// on at its cursor.
const LOOKED_AT_MAX: usize = 10_000;
/// Lists kept as they were sent, until something changes.
const KEPT_LISTS_MAX: usize = 64;
/// Longest note or reason, in characters.
const TEXT_CHARS_MAX: usize = 256;

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, remove))
        .routes(routes!(stop))
        .routes(routes!(hold, release))
        .routes(routes!(proof))
}

/// Answers to `GET sessions`, as long as nothing has changed.
#[derive(Default)]
pub struct Lists(Mutex<(u64, HashMap<String, Bytes>)>);

impl Lists {
    fn get(&self, generation: u64, query: &str) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.0 == generation).then(|| kept.1.get(query).cloned())?
    }

    fn put(&self, generation: u64, query: String, bytes: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != generation || kept.1.len() >= KEPT_LISTS_MAX {
            kept.1.clear();
            kept.0 = generation;
        }
        kept.1.insert(query, bytes.clone());
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Of this source only.
    source: Option<String>,
    /// In this state only.
    state: Option<String>,
    /// That began at this time or later, RFC 3339.
    from: Option<String>,
    /// That began before this time, RFC 3339.
    to: Option<String>,
    /// 1 to 1000; 100 if absent.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SessionList {
    items: Vec<SessionView>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSession {
    source_id: String,
    /// What the operator wants to remember about it.
    note: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HoldRequest {
    reason: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ProofQuery {
    /// `cbor` (default) or `json`, which only names what is in it.
    format: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ProofSummary {
    session_id: String,
    leaves: usize,
    checkpoints: usize,
    /// Whether the proof reaches into the chain.
    anchored: bool,
    bytes: usize,
}

struct Filter {
    source: Option<String>,
    state: Option<SessionState>,
    from_us: Option<u64>,
    to_us: Option<u64>,
    /// Sessions before this one.
    before: Option<SessionId>,
    limit: usize,
}

/// The open chunk of a session that records now.
fn open_chunk(app: &App, record: &SessionRecord) -> Option<ChunkMap> {
    record.state.is_running().then(|| app.recordings.live(record.id)?.open)?
}

/// Every gap of a session, the one before its open chunk included.
pub fn gaps(app: &App, record: &SessionRecord) -> Result<Vec<GapRecord>, ArchiveError> {
    // In this order: a chunk that closes in between is then seen twice, not overlooked.
    let open = open_chunk(app, record);
    Ok(with_open(app.archive.gaps(record)?, open.as_ref()))
}

/// A session as it is now, with what its open chunk holds.
pub fn session_view(app: &App, record: &SessionRecord) -> Result<SessionView, ArchiveError> {
    let mut view = SessionView::brief(record);
    view.gaps = gaps(app, record)?.iter().map(GapView::new).collect();
    if let Some(open) = open_chunk(app, record) {
        view.duration_s = open.stream_end_us as f64 / 1e6;
        view.bytes += open.init_bytes + open.fragments.iter().map(|f| f.bytes).sum::<u64>();
    }
    view.place_on(&app.node, record.id);
    Ok(view)
}

/// Recording sessions, newest first.
#[utoipa::path(get, path = "/sessions", tag = "sessions", params(ListQuery),
    responses((status = 200, body = SessionList),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    _: SignedIn,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let key = format!("{query:?}");
    let generation = app.pulse.generation();
    let bytes = match app.lists.get(generation, &key) {
        Some(bytes) => bytes,
        None => {
            let filter = filter(query)?;
            let page = blocking(&app, move |app| page(app, &filter)).await?;
            let bytes = serde_json::to_vec(&page)
                .map_err(|error| Problem::internal("listing sessions", error))?;
            let bytes = Bytes::from(bytes);
            // What records grows without anything being said, so it is not kept.
            if page.items.iter().all(|session| session.ended_at.is_some()) {
                app.lists.put(generation, key, &bytes);
            }
            bytes
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// One session.
#[utoipa::path(get, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    let id = session_id(&id)?;
    answer(&app, id).await
}

/// Record a source. A disabled source is enabled by that.
#[utoipa::path(post, path = "/sessions", tag = "sessions", request_body = NewSession,
    responses((status = 201, body = SessionView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 507, body = ProblemDocument, content_type = "application/problem+json")))]
async fn create(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(new): JsonBody<NewSession>,
) -> Result<impl IntoResponse, Problem> {
    who.may(Action::Operate)?;
    let note = checked("note", new.note.unwrap_or_default(), 0)?;
    let source = app.sources.get(&new.source_id)?;
    let id = blocking(&app, move |app| {
        let session = app.recordings.start(&source, &note)?;
        app.sources.change(source.id.as_str(), |source| {
            source.enabled = true;
            Ok(())
        })?;
        Ok(session)
    })
    .await?;
    app.auth.audit(&who.0.username, "session.start", &id.to_string()).await?;
    let location = format!("/api/v1/sessions/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], answer(&app, id).await?))
}

/// End the recording. Its source is disabled by that, else it would begin again.
#[utoipa::path(post, path = "/sessions/{id}/stop", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json")))]
async fn stop(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    who.may(Action::Operate)?;
    let id = session_id(&id)?;
    if app.desktops.session(id).is_some() {
        app.desktops.terminate(id).await?;
        app.auth.audit(&who.0.username, "connection.terminate", &id.to_string()).await?;
        return answer(&app, id).await;
    }
    blocking(&app, move |app| {
        app.archive.session(id)?;
        let source = app.recordings.source_of(id).ok_or(RecordingsError::NotRecording(id))?;
        // First, so that nothing starts it again in between.
        let disabled = app.sources.change(source.as_str(), |source| {
            source.enabled = false;
            Ok(())
        });
        match disabled {
            Ok(_) | Err(crate::sources::SourcesError::NoSuch(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match app.recordings.stop(id) {
            // It was ended between the two steps because it is disabled.
            Ok(_) | Err(RecordingsError::NotRecording(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    app.auth.audit(&who.0.username, "session.stop", &id.to_string()).await?;
    answer(&app, id).await
}

/// Put a session on legal hold: nothing deletes it until the hold is released.
#[utoipa::path(put, path = "/sessions/{id}/hold", tag = "sessions", params(("id" = String, Path)),
    request_body = HoldRequest,
    responses((status = 200, body = SessionView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json")))]
async fn hold(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<HoldRequest>,
) -> Result<Json<SessionView>, Problem> {
    who.may(Action::Operate)?;
    let id = session_id(&id)?;
    let reason = checked("reason", request.reason, 1)?;
    let subject = format!("{id} {reason}");
    blocking(&app, move |app| Ok(app.archive.hold(id, &reason, now_us()).map(drop)?)).await?;
    app.auth.audit(&who.0.username, "session.hold", &subject).await?;
    changed(&app, id).await
}

/// Release a legal hold.
#[utoipa::path(delete, path = "/sessions/{id}/hold", tag = "sessions",
    params(("id" = String, Path)),
    responses((status = 200, body = SessionView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn release(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    who.may(Action::Administer)?;
    let id = session_id(&id)?;
    blocking(&app, move |app| Ok(app.archive.release(id).map(drop)?)).await?;
    app.auth.audit(&who.0.username, "session.release", &id.to_string()).await?;
    changed(&app, id).await
}

/// Delete a session: its keys are destroyed, so that nothing of it can ever be opened, and a
/// tombstone goes to the chain. The proof that it existed stays.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json")))]
async fn remove(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    who.may(Action::Administer)?;
    let id = session_id(&id)?;
    blocking(&app, move |app| {
        let session = app.archive.delete(id, now_us(), "deleted by an administrator")?;
        app.anchoring.deleted(&session);
        app.exports.forget(id);
        Ok(())
    })
    .await?;
    app.auth.audit(&who.0.username, "session.delete", &id.to_string()).await?;
    changed(&app, id).await
}

/// The proof of a session: leaves, checkpoints, and its place on the chain.
#[utoipa::path(get, path = "/sessions/{id}/proof", tag = "sessions",
    params(("id" = String, Path), ProofQuery),
    responses((status = 200, content_type = "application/cbor", body = Vec<u8>),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn proof(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
    Query(query): Query<ProofQuery>,
) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    let as_json = match query.format.as_deref() {
        None | Some("cbor") => false,
        Some("json") => true,
        Some(_) => return Err(Problem::new(Kind::InvalidQuery, "`format` is cbor or json")),
    };
    let proof = blocking(&app, move |app| {
        app.archive.session(id)?;
        let chunks = app.archive.catalogue().all_chunks(id).map_err(ArchiveError::from)?;
        let anchor = app.node.prove(&id).ok().map(|anchor| anchor.to_bytes());
        Ok(export::proof(&app.archive, id, &chunks, 0, chunks.len() as u64, anchor)?)
    })
    .await?;
    let bytes = proof.encode();
    if as_json {
        return Ok(Json(ProofSummary {
            session_id: id.to_string(),
            leaves: proof.leaves.len(),
            checkpoints: proof.checkpoints.len(),
            anchored: proof.anchor.is_some(),
            bytes: bytes.len(),
        })
        .into_response());
    }
    let disposition = format!("attachment; filename=\"{id}.proof.cbor\"");
    let headers = [
        (header::CONTENT_TYPE, "application/cbor".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, bytes).into_response())
}

/// Reads the id in a path.
pub fn session_id(text: &str) -> Result<SessionId, Problem> {
    SessionId::from_str(text).map_err(|_| Problem::no_such("session", text))
}

/// Runs what reads or writes the archive off the async threads.
pub async fn blocking<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.map_err(|error| Problem::internal("answering", error))?
}

async fn answer(app: &App, id: SessionId) -> Result<Json<SessionView>, Problem> {
    let view = blocking(app, move |app| {
        let record = app.archive.session(id)?;
        Ok(session_view(app, &record)?)
    });
    Ok(Json(view.await?))
}

async fn changed(app: &App, id: SessionId) -> Result<Json<SessionView>, Problem> {
    app.pulse.changed();
    blocking(app, move |app| {
        session_changed(app, id);
        Ok(())
    })
    .await?;
    answer(app, id).await
}

fn checked(field: &str, text: String, least: usize) -> Result<String, Problem> {
    let length = text.chars().count();
    if !(least..=TEXT_CHARS_MAX).contains(&length) || text.chars().any(char::is_control) {
        let message = format!("expected {least} to {TEXT_CHARS_MAX} printable characters");
        return Err(Problem::field(field, message));
    }
    Ok(text)
}

fn filter(query: ListQuery) -> Result<Filter, Problem> {
    let unfit = |text: &str| Problem::new(Kind::InvalidQuery, text);
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(unfit("`limit` is 1 to 1000"));
    }
    let time = |text: Option<String>, name: &str| match text {
        None => Ok(None),
        Some(text) => match moment(&text) {
            Some(time) => Ok(Some(u64::try_from(time.as_microsecond()).unwrap_or(0))),
            None => {
                Err(unfit(&format!("`{name}` is no RFC 3339 time, such as 2026-11-21T01:02:03Z")))
            }
        },
    };
    let state = query.state.map(|state| SessionState::from_str(&state)).transpose();
    let cursor = query.cursor.map(|cursor| SessionId::from_str(&cursor)).transpose();
    let cursor = cursor.map_err(|_| unfit("`cursor` is not one of this list"))?;
    // A time is a place in the list, as an id is.
    let to_us = time(query.to, "to")?;
    let to = to_us.map(|us| SessionId::new(us.div_ceil(1000), [0; 10]));
    Ok(Filter {
        source: query.source,
        state: state.map_err(|()| {
            let known: Vec<&str> = SessionState::ALL.iter().map(|state| state.as_str()).collect();
            unfit(&format!("`state` is not one of a session's: {}", known.join(", ")))
        })?,
        from_us: time(query.from, "from")?,
        to_us,
        before: cursor.or(to),
        limit,
    })
}

/// A moment as RFC 3339 writes it. The last two days there are, which people write for "for ever",
/// lie beyond what is counted here, and are its last moment.
fn moment(text: &str) -> Option<Timestamp> {
    let beyond = || {
        let rest = text.strip_prefix("9999-12-30").or_else(|| text.strip_prefix("9999-12-31"))?;
        format!("9999-12-29{rest}").parse().ok().map(|_: Timestamp| Timestamp::MAX)
    };
    text.parse().ok().or_else(beyond)
}

fn page(app: &App, filter: &Filter) -> Result<SessionList, Problem> {
    let mut items = Vec::new();
    let (mut before, mut looked_at) = (filter.before, 0);
    loop {
        let listed = app.archive.catalogue().sessions_by_start(before, filter.limit);
        let (records, unreadable) = listed.map_err(ArchiveError::from)?;
        for id in unreadable {
            tracing::warn!(session = %id, "a session's record is damaged and left out of the list");
        }
        let is_last = records.len() < filter.limit;
        for record in records {
            if filter.from_us.is_some_and(|from| record.start_us < from) {
                return Ok(SessionList { items, next_cursor: None });
            }
            looked_at += 1;
            before = Some(record.id);
            let fits = filter.to_us.is_none_or(|to| record.start_us < to)
                && filter.source.as_ref().is_none_or(|source| *source == record.source_id)
                && filter.state.is_none_or(|state| state == record.state);
            if fits {
                items.push(session_view(app, &record)?);
            }
            if items.len() == filter.limit {
                break;
            }
        }
        let is_full = items.len() == filter.limit || looked_at >= LOOKED_AT_MAX;
        if is_full || is_last {
            let next_cursor = before.filter(|_| is_full).map(|id| id.to_string());
            return Ok(SessionList { items, next_cursor });
        }
    }
}

impl From<RecordingsError> for Problem {
    fn from(error: RecordingsError) -> Self {
        match error {
            RecordingsError::AlreadyRecording(_) => {
                Self::new(Kind::AlreadyRecording, error.to_string())
            }
            RecordingsError::NotRecording(_) => Self::new(Kind::NotRecording, error.to_string()),
            RecordingsError::NoRoom(_) => Self::new(Kind::NoRoom, error.to_string()),
            RecordingsError::Starting => Self::new(Kind::Busy, error.to_string()).retry_after(2),
            RecordingsError::Recorder(error) => Self::internal("recording", error),
        }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::NoSession(id) => Self::no_such("session", id),
            ArchiveError::Deleted(_) => Self::new(Kind::SessionDeleted, error.to_string()),
            ArchiveError::Running(_) => Self::new(Kind::StillRecording, error.to_string()),
            ArchiveError::NoManifest(_) => Self::new(Kind::StillRecording, error.to_string()),
            ArchiveError::Held { .. } => Self::new(Kind::OnHold, error.to_string()),
            ArchiveError::Range { .. } => Self::field("from_s", error.to_string()),
            ArchiveError::Seal { .. }
            | ArchiveError::Chunk { .. }
            | ArchiveError::Missing { .. } => {
                tracing::error!(%error, "stored media is damaged");
                Self::new(Kind::Damaged, error.to_string())
            }
            ArchiveError::Store(_) | ArchiveError::Catalogue(_) | ArchiveError::Keys(_) => {
                Self::internal("reading recordings", error)
            }
        }
    }
}
