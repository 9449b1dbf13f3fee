//! The endpoints of sessions on desktops as long as they run, and of workers' requests.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::desktops::{Asked, IssuedView, help_for, work};
use super::extract::{JsonBody, Path};
use super::problem::{Problem, ProblemDocument};
use super::sessions::session_id;
use crate::auth::{Action, SignedIn};
use crate::desktops::help::Help;
use crate::desktops::view::{ApprovalView, ConnectionView};

/// How long an observer's secret waits to be used when nothing is said, seconds.
const OBSERVER_LIFE_S: u64 = 600;
/// The longest it may wait, seconds.
const OBSERVER_LIFE_S_MAX: u64 = 24 * 3600;

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, terminate))
        .routes(routes!(transfer))
        .routes(routes!(observer))
        .routes(routes!(approvals))
        .routes(routes!(answer))
}

#[derive(Serialize, ToSchema)]
struct ConnectionList {
    items: Vec<ConnectionView>,
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ApprovalList {
    items: Vec<ApprovalView>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DesktopTransfer)]
struct Transfer {
    /// The new owner.
    user: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewObserver {
    /// Who may watch.
    user: String,
    /// Until the secret is used; ten minutes if absent, at most a day.
    expires_in_s: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct ObserverView {
    user: String,
    /// Shown this once.
    secret: String,
    session_id: String,
    connect: Help,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Grant,
    Deny,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DesktopAnswer)]
struct AnswerBody {
    decision: Decision,
}

/// Sessions on desktops that run now.
#[utoipa::path(get, path = "/connections", tag = "desktops",
    responses((status = 200, body = ConnectionList),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn list(State(app): State<App>, _: SignedIn) -> Json<ConnectionList> {
    // One for each desktop at most, so one page holds them all.
    Json(ConnectionList { items: app.desktops.connections(), next_cursor: None })
}

/// One session that runs.
#[utoipa::path(get, path = "/connections/{id}", tag = "desktops", params(("id" = String, Path)),
    responses((status = 200, body = ConnectionView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let session = app.desktops.session(session_id(&id)?);
    session.map(|one| Json(one.view())).ok_or_else(|| Problem::no_such("connection", id))
}

/// End a session: its clients are disconnected, its recording is closed, its credential is used
/// up.
#[utoipa::path(delete, path = "/connections/{id}", tag = "desktops", params(("id" = String, Path)),
    responses((status = 204),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn terminate(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    who.may(Action::Operate)?;
    app.desktops.terminate(session_id(&id)?).await?;
    app.auth.audit(&who.0.username, "connection.terminate", &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a session to another user. Who has it is disconnected; the new owner comes with the secret
/// of this answer and finds the desktop as it is.
#[utoipa::path(post, path = "/connections/{id}/transfer", tag = "desktops",
    params(("id" = String, Path)), request_body = Transfer,
    responses((status = 200, body = IssuedView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn transfer(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    Asked(host): Asked,
    JsonBody(body): JsonBody<Transfer>,
) -> Result<impl IntoResponse, Problem> {
    who.may(Action::Operate)?;
    let session = session_id(&id)?;
    let subject = format!("{id} to {}", body.user);
    let issued = work(&app, move |app| app.desktops.transfer(session, &body.user)).await?;
    let desktop = app.desktops.find(&issued.view.desktop_id)?;
    app.auth.audit(&who.0.username, "connection.transfer", &subject).await?;
    let view = IssuedView::new(&app, &issued, &desktop, &host);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(view)))
}

/// Let somebody watch a session with an RDP client, once. The policy must allow observers.
#[utoipa::path(post, path = "/connections/{id}/observers", tag = "desktops",
    params(("id" = String, Path)), request_body = NewObserver,
    responses((status = 201, body = ObserverView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn observer(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    Asked(host): Asked,
    JsonBody(body): JsonBody<NewObserver>,
) -> Result<impl IntoResponse, Problem> {
    who.may(Action::Operate)?;
    let life_s = body.expires_in_s.unwrap_or(OBSERVER_LIFE_S);
    if !(1..=OBSERVER_LIFE_S_MAX).contains(&life_s) {
        return Err(Problem::field("expires_in_s", format!("1 to {OBSERVER_LIFE_S_MAX}")));
    }
    if body.user.is_empty() || body.user.len() > 64 || body.user.chars().any(char::is_control) {
        return Err(Problem::field("user", "expected 1 to 64 bytes"));
    }
    let session = session_id(&id)?;
    let secret = app.desktops.invite_observer(session, &body.user, life_s * 1_000_000)?;
    let running = app.desktops.session(session);
    let running = running.ok_or_else(|| Problem::no_such("connection", &id))?;
    let desktop = app.desktops.find(running.desktop.as_str())?;
    let subject = format!("{id} {}", body.user);
    app.auth.audit(&who.0.username, "connection.observer", &subject).await?;
    let view = ObserverView {
        connect: help_for(&app, &desktop, &host, Some(&body.user)),
        user: body.user,
        secret: secret.to_string(),
        session_id: id,
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(view)))
}

/// What workers asked for in sessions that run, newest first.
#[utoipa::path(get, path = "/approvals", tag = "desktops",
    responses((status = 200, body = ApprovalList),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn approvals(State(app): State<App>, _: SignedIn) -> Json<ApprovalList> {
    Json(ApprovalList { items: app.desktops.approvals(), next_cursor: None })
}

/// Grant or deny what a worker asked for. A grant holds for the rest of the session and is
/// recorded in it.
#[utoipa::path(post, path = "/approvals/{id}", tag = "desktops", params(("id" = String, Path)),
    request_body = AnswerBody,
    responses((status = 200, body = ApprovalView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json")))]
async fn answer(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<AnswerBody>,
) -> Result<Json<ApprovalView>, Problem> {
    who.may(Action::Operate)?;
    let grant = matches!(body.decision, Decision::Grant);
    let view = app.desktops.answer(&id, grant, &who.0.username)?;
    let action = if grant { "approval.grant" } else { "approval.deny" };
    let subject = format!("{id} {}", view.capability);
    app.auth.audit(&who.0.username, action, &subject).await?;
    Ok(Json(view))
}
