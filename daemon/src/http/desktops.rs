//! The endpoints of recorded desktops and of the credentials that open them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lucid_rdp::desktop::Definition;
use lucid_rdp::policy::Policy;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::{JsonBody, Path, Query};
use super::problem::{Kind, Problem, ProblemDocument};
use super::sessions::session_id;
use super::time::Rfc3339;
use crate::auth::{Action, SignedIn};
use crate::desktops::help::{self, Help};
use crate::desktops::policy::{PolicyBody, working};
use crate::desktops::view::{CredentialView, DesktopView};
use crate::desktops::{Desktop, DesktopsError, Issued, LimitsBody, NewDesktop, Usage};
use crate::sources::Retention;

/// Items of a list when `limit` is not given, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// How long a credential may stay unused when nothing is said, seconds.
const LIFE_S: u64 = 3600;

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, change, remove))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(credentials, issue))
        .routes(routes!(revoke))
        .routes(routes!(thumbnail))
        .routes(routes!(usage))
        .routes(routes!(connect))
        .routes(routes!(rdp_file))
}

/// How long recordings are kept; an absent or null limit is no limit.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = DesktopRetention)]
struct RetentionBody {
    /// Oldest recording kept, at least 60.
    max_age_s: Option<u64>,
    /// Bytes kept, at least 64 MiB.
    max_bytes: Option<u64>,
}

impl From<RetentionBody> for Retention {
    fn from(body: RetentionBody) -> Self {
        Self { max_age_s: body.max_age_s, max_bytes: body.max_bytes }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDesktopBody {
    /// 1 to 48 lower-case letters, digits, `-` or `_`, beginning with a letter.
    name: String,
    /// Pixels, even, 200 to 8192; 1280 if absent.
    width: Option<u32>,
    /// Pixels, even, 200 to 8192; 800 if absent.
    height: Option<u32>,
    /// What `/bin/sh -c` runs in it; the device's default session if absent.
    command: Option<String>,
    /// Start the command again when it ends; false if absent.
    restart: Option<bool>,
    limits: Option<LimitsBody>,
    /// What a credential allows that names no policy; keyboard and mouse if absent.
    policy: Option<PolicyBody>,
    retention: Option<RetentionBody>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DesktopChange {
    name: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    /// Empty for the device's default session.
    command: Option<String>,
    restart: Option<bool>,
    /// Replaces all limits.
    limits: Option<LimitsBody>,
    /// Replaces the whole policy; credentials that exist keep theirs.
    policy: Option<PolicyBody>,
    /// Replaces both limits.
    retention: Option<RetentionBody>,
}

#[derive(Serialize, ToSchema)]
struct DesktopList {
    items: Vec<DesktopView>,
    next_cursor: Option<String>,
    /// Why there are no desktops on this device; null where there are.
    off: Option<String>,
    /// The port that all desktops share, where it listens.
    shared_port: Option<u16>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// 1 to 1000; 100 if absent.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCredential {
    /// Who may come: 1 to 64 bytes without `\`, `/` or `@`.
    user: String,
    /// Until it is used; 1 s to 30 days, one hour if absent.
    expires_in_s: Option<u64>,
    /// What the session allows; the desktop's own if absent.
    policy: Option<PolicyBody>,
}

/// A credential with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedDesktopCredential)]
pub struct IssuedView {
    /// Whose it is.
    pub user: String,
    /// Shown this once; the device keeps only its hash.
    pub secret: String,
    /// The session it opens.
    pub session_id: String,
    /// Its desktop.
    pub desktop_id: String,
    /// Until when it opens its session.
    pub expires_at: Rfc3339,
    /// What the session allows.
    pub policy: PolicyBody,
    /// Hash of that, as the chain and the manifest carry it.
    pub policy_hash: String,
    /// How to connect with it.
    pub connect: Help,
}

impl IssuedView {
    /// With the lines to connect.
    pub fn new(app: &App, issued: &Issued, desktop: &Desktop, host: &str) -> Self {
        let Issued { view, secret } = issued;
        Self {
            user: view.user.clone(),
            secret: secret.to_string(),
            session_id: view.session_id.clone(),
            desktop_id: view.desktop_id.clone(),
            expires_at: view.expires_at,
            policy: view.policy.clone(),
            policy_hash: view.policy_hash.clone(),
            connect: help_for(app, desktop, host, Some(&view.user)),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct CredentialList {
    items: Vec<CredentialView>,
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct UsageList {
    /// Oldest first, about two seconds apart, ten minutes at most.
    items: Vec<Usage>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct UserQuery {
    /// Put into the lines or the file.
    user: Option<String>,
}

/// The host a request was sent to, as far as it may stand in a line for a shell.
pub struct Asked(pub String);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // HTTP/2 has it in the URI, HTTP/1.1 in a header.
        let header = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().cloned();
        let authority = authority.or_else(|| header?.parse().ok());
        let host = authority.as_ref().map_or("", |authority| authority.host());
        let fallback = crate::config::host_name();
        Ok(Self(help::safe_host(host).unwrap_or(&fallback).to_owned()))
    }
}

/// How to connect to a desktop.
pub fn help_for(app: &App, desktop: &Desktop, host: &str, user: Option<&str>) -> Help {
    let certificate = app.device.tls_fingerprint().map(|print| print.to_string());
    Help::new(desktop, host, user, app.desktops.shared_port(), certificate)
}

fn policy_of(body: PolicyBody) -> Result<Policy, Problem> {
    Policy::try_from(body).map_err(|error| Problem::from(DesktopsError::from(error)))
}

/// All desktops, oldest first.
#[utoipa::path(get, path = "/desktops", tag = "desktops", params(ListQuery),
    responses((status = 200, body = DesktopList),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    _: SignedIn,
    Query(query): Query<ListQuery>,
) -> Result<Json<DesktopList>, Problem> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::new(Kind::InvalidQuery, "`limit` is 1 to 1000"));
    }
    let mut items = app.desktops.list();
    if let Some(cursor) = query.cursor {
        let at = items.iter().position(|item| item.id == cursor).ok_or_else(|| {
            Problem::new(Kind::InvalidQuery, "`cursor` is not one of this list, or not any more")
        })?;
        items.drain(..=at);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|item| item.id.clone());
    let off = app.desktops.off().map(str::to_owned);
    Ok(Json(DesktopList { items, next_cursor, off, shared_port: app.desktops.shared_port() }))
}

/// Set up a desktop. Its port is open at once; it starts when its first client comes.
#[utoipa::path(post, path = "/desktops", tag = "desktops", request_body = NewDesktopBody,
    responses((status = 201, body = DesktopView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json")))]
async fn create(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(new): JsonBody<NewDesktopBody>,
) -> Result<impl IntoResponse, Problem> {
    who.may(Action::Administer)?;
    let new = NewDesktop {
        definition: Definition {
            name: new.name,
            width: new.width.unwrap_or(1280),
            height: new.height.unwrap_or(800),
            command: new.command,
            restart: new.restart.unwrap_or(false),
        },
        limits: new.limits.unwrap_or_default(),
        policy: new.policy.map(policy_of).transpose()?.unwrap_or_else(working),
        retention: new.retention.unwrap_or_default().into(),
    };
    let owner = who.0.username.clone();
    let desktop = work(&app, move |app| app.desktops.create(new, &owner)).await?;
    audit(&app, &who, "desktop.create", &desktop, "").await?;
    let location = format!("/api/v1/desktops/{}", desktop.id);
    let view = app.desktops.view(&desktop.id)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)))
}

/// One desktop, by its id or its name.
#[utoipa::path(get, path = "/desktops/{id}", tag = "desktops", params(("id" = String, Path)),
    responses((status = 200, body = DesktopView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<DesktopView>, Problem> {
    let desktop = app.desktops.find(&id)?;
    Ok(Json(app.desktops.view(&desktop.id)?))
}

/// Change a desktop; fields left out stay as they are. Size, command and limits hold from its next
/// start on.
#[utoipa::path(patch, path = "/desktops/{id}", tag = "desktops", params(("id" = String, Path)),
    request_body = DesktopChange,
    responses((status = 200, body = DesktopView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn change(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<DesktopChange>,
) -> Result<Json<DesktopView>, Problem> {
    who.may(Action::Administer)?;
    let id = app.desktops.find(&id)?.id;
    let policy = body.policy.map(policy_of).transpose()?;
    let desktop = work(&app, move |app| {
        app.desktops.change(&id, |desktop| {
            let definition = &mut desktop.definition;
            definition.name = body.name.unwrap_or_else(|| definition.name.clone());
            definition.width = body.width.unwrap_or(definition.width);
            definition.height = body.height.unwrap_or(definition.height);
            if let Some(command) = body.command {
                definition.command = Some(command).filter(|command| !command.is_empty());
            }
            definition.restart = body.restart.unwrap_or(definition.restart);
            desktop.limits = body.limits.unwrap_or(desktop.limits);
            if let Some(policy) = policy {
                desktop.policy = policy;
            }
            desktop.retention = body.retention.map_or(desktop.retention, Into::into);
            Ok(())
        })
    });
    let desktop = desktop.await?;
    audit(&app, &who, "desktop.change", &desktop, "").await?;
    Ok(Json(app.desktops.view(&desktop.id)?))
}

/// Delete a desktop: its session ends, its credentials open nothing any more. Its recordings and
/// the files in its home directory stay.
#[utoipa::path(delete, path = "/desktops/{id}", tag = "desktops", params(("id" = String, Path)),
    responses((status = 204),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn remove(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    who.may(Action::Administer)?;
    let desktop = app.desktops.find(&id)?;
    app.desktops.remove(&desktop.id).await?;
    audit(&app, &who, "desktop.delete", &desktop, "").await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Open a desktop's port and start it now; it runs until it is stopped.
#[utoipa::path(post, path = "/desktops/{id}/start", tag = "desktops",
    params(("id" = String, Path)),
    responses((status = 200, body = DesktopView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json")))]
async fn start(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<DesktopView>, Problem> {
    who.may(Action::Operate)?;
    let desktop = app.desktops.find(&id)?;
    app.desktops.start(&desktop.id).await?;
    audit(&app, &who, "desktop.start", &desktop, "").await?;
    Ok(Json(app.desktops.view(&desktop.id)?))
}

/// Close a desktop's port, end its session and stop it.
#[utoipa::path(post, path = "/desktops/{id}/stop", tag = "desktops", params(("id" = String, Path)),
    responses((status = 200, body = DesktopView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn stop(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<DesktopView>, Problem> {
    who.may(Action::Operate)?;
    let desktop = app.desktops.find(&id)?;
    app.desktops.stop(&desktop.id).await?;
    audit(&app, &who, "desktop.stop", &desktop, "").await?;
    Ok(Json(app.desktops.view(&desktop.id)?))
}

/// Credentials of a desktop, newest first, without their secrets.
#[utoipa::path(get, path = "/desktops/{id}/credentials", tag = "desktops",
    params(("id" = String, Path)),
    responses((status = 200, body = CredentialList),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn credentials(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<CredentialList>, Problem> {
    let desktop = app.desktops.find(&id)?;
    let mut items = app.desktops.credentials(&desktop.id);
    items.truncate(LIMIT_MAX);
    Ok(Json(CredentialList { items, next_cursor: None }))
}

/// Issue a credential for one session. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/desktops/{id}/credentials", tag = "desktops",
    params(("id" = String, Path)), request_body = NewCredential,
    responses((status = 201, body = IssuedView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn issue(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    Asked(host): Asked,
    JsonBody(new): JsonBody<NewCredential>,
) -> Result<impl IntoResponse, Problem> {
    who.may(Action::Operate)?;
    let desktop = app.desktops.find(&id)?;
    let policy = new.policy.map(policy_of).transpose()?;
    let life_us = new.expires_in_s.unwrap_or(LIFE_S).saturating_mul(1_000_000);
    let (of, by) = (desktop.clone(), who.0.username.clone());
    let issued = work(&app, move |app| app.desktops.issue(&of, new.user, life_us, policy, &by));
    let view = IssuedView::new(&app, &issued.await?, &desktop, &host);
    let detail = format!("for {} as session {}", view.user, view.session_id);
    audit(&app, &who, "desktop.credential", &desktop, &detail).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(view)))
}

/// Take a credential back. A session that runs with it is ended.
#[utoipa::path(delete, path = "/desktops/{id}/credentials/{session_id}", tag = "desktops",
    params(("id" = String, Path), ("session_id" = String, Path)),
    responses((status = 200, body = CredentialView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn revoke(
    State(app): State<App>,
    who: SignedIn,
    Path((id, session)): Path<(String, String)>,
) -> Result<Json<CredentialView>, Problem> {
    who.may(Action::Operate)?;
    let desktop = app.desktops.find(&id)?;
    let view = app.desktops.revoke(&desktop.id, session_id(&session)?).await?;
    audit(&app, &who, "desktop.revoke", &desktop, &view.session_id).await?;
    Ok(Json(view))
}

/// A small picture of what a running desktop shows now.
#[utoipa::path(get, path = "/desktops/{id}/thumbnail", tag = "desktops",
    params(("id" = String, Path)),
    responses((status = 200, content_type = "image/png", body = Vec<u8>),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json")))]
async fn thumbnail(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let desktop = app.desktops.find(&id)?;
    let picture = app.desktops.picture(&desktop.id).await?;
    let headers = [(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, picture.0).into_response())
}

/// What a running desktop takes of the machine.
#[utoipa::path(get, path = "/desktops/{id}/usage", tag = "desktops", params(("id" = String, Path)),
    responses((status = 200, body = UsageList),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn usage(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<UsageList>, Problem> {
    let desktop = app.desktops.find(&id)?;
    Ok(Json(UsageList { items: app.desktops.usage(&desktop.id)? }))
}

/// How to connect to a desktop with the usual clients.
#[utoipa::path(get, path = "/desktops/{id}/connect", tag = "desktops",
    params(("id" = String, Path), UserQuery),
    responses((status = 200, body = Help),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn connect(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
    Asked(host): Asked,
    Query(query): Query<UserQuery>,
) -> Result<Json<Help>, Problem> {
    let desktop = app.desktops.find(&id)?;
    Ok(Json(help_for(&app, &desktop, &host, query.user.as_deref())))
}

/// A file that mstsc and most clients open. It holds no secret.
#[utoipa::path(get, path = "/desktops/{id}/rdp-file", tag = "desktops",
    params(("id" = String, Path), UserQuery),
    responses((status = 200, content_type = "application/x-rdp", body = String),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn rdp_file(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
    Asked(host): Asked,
    Query(query): Query<UserQuery>,
) -> Result<Response, Problem> {
    let desktop = app.desktops.find(&id)?;
    let text = help::rdp_file(&desktop, &host, query.user.as_deref());
    let name = help::file_name(&desktop.definition.name);
    let headers = [
        (header::CONTENT_TYPE, "application/x-rdp".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, text).into_response())
}

async fn audit(
    app: &App,
    who: &SignedIn,
    action: &'static str,
    desktop: &Desktop,
    detail: &str,
) -> Result<(), Problem> {
    let subject = format!("{} {} {detail}", desktop.id, desktop.definition.name);
    Ok(app.auth.audit(&who.0.username, action, subject.trim()).await?)
}

/// Runs what may wait for the disk off the async threads.
pub async fn work<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&App) -> Result<T, DesktopsError> + Send + 'static,
) -> Result<T, Problem> {
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    Ok(done.map_err(|error| Problem::internal("changing desktops", error))??)
}

impl From<DesktopsError> for Problem {
    fn from(error: DesktopsError) -> Self {
        let text = error.to_string();
        match error {
            DesktopsError::NoSuch(what, id) => Self::no_such(what, id),
            DesktopsError::Field { field, message } => Self::field(field, message),
            DesktopsError::TooMany | DesktopsError::Port(_) => {
                Self::new(Kind::TooManyDesktops, text)
            }
            DesktopsError::NameTaken(_) => Self::new(Kind::NameTaken, text),
            DesktopsError::Register(_) => Self::new(Kind::TooManyCredentials, text),
            DesktopsError::Off(_) => Self::new(Kind::DesktopsOff, text),
            DesktopsError::NotRunning | DesktopsError::Stopped | DesktopsError::InUse(_) => {
                Self::new(Kind::DesktopNotRunning, text)
            }
            DesktopsError::Failed(_) => Self::new(Kind::DesktopFailed, text),
            DesktopsError::Answered => Self::new(Kind::AlreadyAnswered, text),
            DesktopsError::Recording(error) => error.into(),
            DesktopsError::Store(_) | DesktopsError::Random(_) | DesktopsError::Encoding(_) => {
                use std::error::Error;
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                Self::internal("changing desktops", format!("{text}: {cause}"))
            }
        }
    }
}
