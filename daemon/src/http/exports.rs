//! The endpoints of exports, and of verifying a bundle.

use std::io::Write;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use lucid_capture::export::ExportSpec;
use lucid_chain::verify::{Report, Trust, bundle};
use lucid_evidence::bundle::ReadAt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::{JsonBody, Path};
use super::problem::{Kind, Problem, ProblemDocument};
use super::range::{Wanted, wanted};
use super::sessions::{blocking, session_id};
use super::time::Rfc3339;
use crate::auth::{Action, SignedIn};
use crate::exports::{Export, ExportId, ExportState, ExportsError, Limits, Why};
use crate::sealed_file::{SealedFile, SealedWriter};

/// Largest bundle taken for verification, in bytes.
pub const UPLOAD_BYTES_MAX: u64 = 4 << 30;
/// Bytes sent at a time.
const SEND_BYTES: u64 = 256 * 1024;
/// Longest span an export is asked for, in seconds.
const SECONDS_MAX: f64 = 1e9;

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, remove))
        .routes(routes!(download))
        .routes(routes!(verify))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewExport {
    session_id: String,
    /// From this second of the recording; whole chunks are exported.
    from_s: Option<f64>,
    /// Up to this second.
    to_s: Option<f64>,
    /// Without keys and video: it proves, and shows nothing.
    sealed: Option<bool>,
    /// With the MP4; true if absent.
    video: Option<bool>,
}

/// An export.
#[derive(Serialize, ToSchema)]
#[schema(as = Export)]
pub struct ExportView {
    id: String,
    session_id: String,
    /// `queued`, `running`, `done` or `failed`; in events also `removed`.
    state: &'static str,
    /// 0 to 1.
    progress: f64,
    bytes: u64,
    /// Why it failed; of a removed one, why it is gone.
    error: Option<String>,
    /// What its own verification said: `valid`, `tampered`, `incomplete` or `unverifiable`.
    verdict: Option<&'static str>,
    file_name: String,
    /// The part that was asked for, seconds of the recording; null is its beginning or end.
    from_s: Option<f64>,
    to_s: Option<f64>,
    sealed: bool,
    video: bool,
    created_at: Rfc3339,
    /// When it was done or failed.
    finished_at: Option<Rfc3339>,
    /// When it will be removed.
    expires_at: Option<Rfc3339>,
}

#[derive(Serialize, ToSchema)]
struct ExportList {
    items: Vec<ExportView>,
    next_cursor: Option<String>,
}

/// An export as the API shows it.
pub fn view(export: &Export, limits: &Limits) -> ExportView {
    let seconds = |us: u64| us as f64 / 1e6;
    let finished = export.finished_us;
    ExportView {
        id: export.id.to_string(),
        session_id: export.session.to_string(),
        state: export.state.as_str(),
        progress: export.progress,
        bytes: export.bytes,
        error: export.error.clone(),
        verdict: export.verdict,
        file_name: export.file_name(),
        from_s: export.spec.from_us.map(seconds),
        to_s: export.spec.to_us.map(seconds),
        sealed: export.spec.sealed,
        video: !export.spec.sealed && !export.spec.no_video,
        created_at: Rfc3339::from_us(export.created_us),
        finished_at: finished.map(Rfc3339::from_us),
        expires_at: finished.map(|at| Rfc3339::from_us(limits.expires_us(at))),
    }
}

/// All exports that are kept, newest first.
#[utoipa::path(get, path = "/exports", tag = "exports",
    responses((status = 200, body = ExportList),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn list(State(app): State<App>, _: SignedIn) -> Json<ExportList> {
    // At most `EXPORTS_MAX`, so one page holds them all.
    let limits = &app.config.exports;
    let items = app.exports.list().iter().map(|export| view(export, limits)).collect();
    Json(ExportList { items, next_cursor: None })
}

/// Export a session, or a span of it, as a bundle that proves itself.
#[utoipa::path(post, path = "/exports", tag = "exports", request_body = NewExport,
    responses((status = 202, body = ExportView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json")))]
async fn create(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(new): JsonBody<NewExport>,
) -> Result<impl IntoResponse, Problem> {
    who.may(Action::Operate)?;
    let session = session_id(&new.session_id)?;
    let spec = ExportSpec {
        from_us: microseconds("from_s", new.from_s)?,
        to_us: microseconds("to_s", new.to_s)?,
        sealed: new.sealed.unwrap_or(false),
        no_video: !new.video.unwrap_or(true),
    };
    if spec.from_us.zip(spec.to_us).is_some_and(|(from, to)| from >= to) {
        return Err(Problem::field("to_s", "expected more than from_s"));
    }
    let export = blocking(&app, move |app| Ok(app.exports.queue(session, spec)?)).await?;
    let id = export.id;
    app.auth.audit(&who.0.username, "session.export", &format!("{session} {id}")).await?;
    let location = format!("/api/v1/exports/{id}");
    Ok((
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Json(view(&export, &app.config.exports)),
    ))
}

/// One export.
#[utoipa::path(get, path = "/exports/{id}", tag = "exports", params(("id" = String, Path)),
    responses((status = 200, body = ExportView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<ExportView>, Problem> {
    Ok(Json(view(&find(&app, &id)?, &app.config.exports)))
}

/// Delete an export and destroy its key; one that is being made is given up.
#[utoipa::path(delete, path = "/exports/{id}", tag = "exports", params(("id" = String, Path)),
    responses((status = 204),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn remove(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    who.may(Action::Operate)?;
    let export = find(&app, &id)?;
    let removed = blocking(&app, move |app| Ok(app.exports.remove(export.id, Why::Asked)));
    let removed = removed.await?.ok_or_else(|| Problem::no_such("export", &id))?;
    let subject = format!("{} {}", removed.session, removed.id);
    app.auth.audit(&who.0.username, "export.delete", &subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The bundle of a finished export, or one range of its bytes.
#[utoipa::path(get, path = "/exports/{id}/download", tag = "exports",
    params(("id" = String, Path)),
    responses((status = 200, content_type = "application/zip", body = Vec<u8>),
        (status = 206, content_type = "application/zip", body = Vec<u8>),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 416, body = ProblemDocument, content_type = "application/problem+json")))]
async fn download(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    method: Method,
    asked: HeaderMap,
) -> Result<Response, Problem> {
    who.may(Action::Operate)?;
    let export = find(&app, &id)?;
    let Some(file) = export.file.clone().filter(|_| export.state == ExportState::Done) else {
        let detail = format!("the export is {}", export.state.as_str());
        return Err(Problem::new(Kind::ExportNotDone, detail));
    };
    let (size, etag) = (file.size(), format!("\"{:032x}\"", file.mark()));
    let (status, from, to) = match wanted(&method, &asked, size, &etag) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last + 1),
        Wanted::Outside => {
            let detail = format!("the bundle has {size} bytes");
            let of = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((of, Problem::new(Kind::RangeOutside, detail)).into_response());
        }
    };
    let subject = format!("{} {id}", export.session);
    app.auth.audit(&who.0.username, "export.download", &subject).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_LENGTH, (to - from).to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", export.file_name())),
    ];
    let mut answer = (status, headers, send(file, from, to)).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let place = format!("bytes {from}-{}/{size}", to.saturating_sub(1));
        let place = place.parse().map_err(|error| Problem::internal("naming a range", error))?;
        answer.headers_mut().insert(header::CONTENT_RANGE, place);
    }
    Ok(answer)
}

/// Verify a bundle: the report that `lucid verify --json` gives.
#[utoipa::path(post, path = "/verify", tag = "exports",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, content_type = "application/json", body = Object),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json")))]
async fn verify(State(app): State<App>, _: SignedIn, body: Body) -> Result<Json<Report>, Problem> {
    let Ok(_turn) = Arc::clone(&app.verifying).try_acquire_owned() else {
        let detail = "another bundle is being verified";
        return Err(Problem::new(Kind::Busy, detail).retry_after(10));
    };
    let file = receive(&app, body).await?;
    let report = tokio::task::spawn_blocking(move || bundle(&file, &Trust::default(), &|_, _| {}));
    Ok(Json(report.await.map_err(|error| Problem::internal("verifying", error))?))
}

/// Takes a body into a scratch file.
async fn receive(app: &App, body: Body) -> Result<SealedFile, Problem> {
    let failed = |error: std::io::Error| Problem::internal("taking the bundle", error);
    let available = app.archive.data().available_bytes();
    let available = available.map_err(|error| Problem::internal("looking at the disk", error))?;
    let most = available.saturating_sub(app.config.record.keep_free_bytes);
    let mut writer = SealedWriter::scratch(app.archive.path()).map_err(failed)?;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| Problem::new(Kind::BadRequest, error.to_string()))?;
        let length = writer.length() + part.len() as u64;
        if length > UPLOAD_BYTES_MAX {
            let detail = format!("at most {UPLOAD_BYTES_MAX} bytes are taken here");
            return Err(Problem::new(Kind::BodyTooLarge, detail).closing());
        }
        if length > most {
            return Err(Problem::new(Kind::NoRoom, "the disk has no room for the bundle").closing());
        }
        // Sealing 64 KiB takes less than handing it to another thread and back would.
        writer.write_all(&part).map_err(failed)?;
    }
    writer.finish().map_err(failed)
}

/// The bytes from one place up to another, which is not behind the end.
fn send(file: Arc<SealedFile>, from: u64, to: u64) -> Body {
    Body::from_stream(try_unfold((file, from), move |(file, at)| async move {
        let left = to.saturating_sub(at);
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let count = left.min(SEND_BYTES);
        let reader = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
            reader.read_at(at, &mut bytes).map(|()| Bytes::from(bytes))
        });
        let bytes = read.await.map_err(std::io::Error::other)??;
        Ok(Some((bytes, (file, at + count))))
    }))
}

fn find(app: &App, id: &str) -> Result<Export, Problem> {
    let parsed: Option<ExportId> = id.parse().ok();
    parsed.and_then(|id| app.exports.get(id)).ok_or_else(|| Problem::no_such("export", id))
}

fn microseconds(field: &str, seconds: Option<f64>) -> Result<Option<u64>, Problem> {
    match seconds {
        None => Ok(None),
        // Within these bounds the product is a whole number of microseconds that fits.
        Some(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Ok(Some((seconds * 1e6) as u64)),
        Some(_) => Err(Problem::field(field, "expected 0 to 1000000000 seconds")),
    }
}

impl From<ExportsError> for Problem {
    fn from(error: ExportsError) -> Self {
        match error {
            ExportsError::TooMany => Self::new(Kind::TooManyExports, error.to_string()),
            ExportsError::Archive(error) => error.into(),
            ExportsError::NoRoom { .. } => Self::new(Kind::NoRoom, error.to_string()),
            other => Self::internal("exporting", other),
        }
    }
}
