//! The endpoints of updates of the system.

use std::io::Write;
use std::path::Path;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::StreamExt;
use lucid_fleet::update::{Attempt, Ended, Event, Offer, Origin, Outcome, Phase, Source};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::{JsonBody, Query};
use super::problem::{Kind, Problem, ProblemDocument};
use super::time::{Rfc3339, now_us};
use crate::auth::{Action, SignedIn};
use crate::updates::Updates;

/// Largest bundle that is taken here, bytes.
pub const BUNDLE_BYTES_MAX: u64 = lucid_fleet::download::BUNDLE_BYTES_MAX;

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read))
        .routes(routes!(check))
        .routes(routes!(install))
        .routes(routes!(cancel))
        .routes(routes!(upload))
}

/// One of the system's slots.
#[derive(Serialize, ToSchema)]
struct SlotView {
    /// `root.0`, `boot.1` and so on.
    name: String,
    /// `A` or `B`; null for partitions that follow their system's root.
    bootname: Option<String>,
    /// `booted`, `active` or `inactive`.
    state: String,
    /// `good` or `bad`.
    boot_status: Option<String>,
    /// The version that was installed there by an update.
    version: Option<String>,
    installed_at: Option<String>,
}

/// An update under way.
#[derive(Serialize, ToSchema)]
struct AttemptView {
    id: String,
    /// `server` or `upload`.
    origin: &'static str,
    name: String,
    /// Known once the bundle is verified.
    version: Option<String>,
    /// 0 to 1 of the present state, where that can be said.
    progress: Option<f64>,
    /// Length of the bundle; null where nobody says.
    bytes: Option<u64>,
    /// What it waits for, or what went wrong last.
    note: Option<String>,
    /// Whether it waits for somebody to agree.
    asks: bool,
    cancellable: bool,
    /// Whether the system before could not read the recordings once the new one is confirmed.
    no_way_back: bool,
    began_at: Rfc3339,
    /// SHA-256 of the bundle, once all of it is here.
    sha256: Option<String>,
    /// The transaction that states the bundle on the chain, once a block holds it.
    statement: Option<String>,
}

/// An update that is over.
#[derive(Serialize, ToSchema)]
struct EndedView {
    id: String,
    origin: &'static str,
    name: String,
    version: Option<String>,
    /// `confirmed`, `fell_back`, `failed`, `refused` or `cancelled`.
    outcome: &'static str,
    /// Why; empty when there is nothing to say.
    reason: String,
    began_at: Rfc3339,
    ended_at: Rfc3339,
    /// SHA-256 of the bundle, if all of it was here.
    sha256: Option<String>,
    /// The transaction that states the bundle on the chain, if it was installed.
    statement: Option<String>,
}

/// The fleet server.
#[derive(Serialize, ToSchema)]
struct ServerView {
    url: String,
    /// When it was asked last.
    asked_at: Option<Rfc3339>,
    /// What went wrong then.
    problem: Option<String>,
}

/// Where updates stand.
#[derive(Serialize, ToSchema)]
#[schema(as = Updates)]
pub struct UpdatesView {
    /// Whether this system is one of two that are updated in turn.
    supported: bool,
    /// Why not, or what is wrong.
    problem: Option<String>,
    /// The version that runs.
    version: &'static str,
    /// `idle`, `checking`, `offered`, `downloading`, `verified`, `waiting`, `installing`,
    /// `reboot_wanted`, `trial_boot` or `self_test`.
    state: &'static str,
    /// The slot that runs, `A` or `B`.
    slot: Option<String>,
    /// The slot of an ordinary start.
    default_slot: Option<String>,
    /// Whether what runs is on trial.
    on_trial: bool,
    slots: Vec<SlotView>,
    attempt: Option<AttemptView>,
    /// Newest first, at most 20.
    history: Vec<EndedView>,
    /// Null where none is configured.
    server: Option<ServerView>,
}

/// How an update is to go on.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Install {
    /// Even if it is older than what runs.
    #[serde(default)]
    allow_older: bool,
    /// Without waiting for recordings to end or for the window; they end in order and go on after.
    #[serde(default)]
    at_once: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Upload {
    /// Even if it is older than what runs.
    #[serde(default)]
    allow_older: bool,
    /// Without waiting for recordings to end or for the window.
    #[serde(default)]
    at_once: bool,
}

fn origin(origin: &Origin) -> &'static str {
    match origin {
        Origin::Server => "server",
        Origin::Upload => "upload",
    }
}

fn ended(ended: Ended) -> EndedView {
    EndedView {
        id: ended.id,
        origin: origin(&ended.origin),
        name: ended.name,
        version: ended.version.map(Into::into),
        outcome: match ended.outcome {
            Outcome::Confirmed => "confirmed",
            Outcome::FellBack => "fell_back",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
            Outcome::Cancelled => "cancelled",
        },
        reason: ended.reason,
        began_at: Rfc3339::from_us(ended.began_us),
        ended_at: Rfc3339::from_us(ended.ended_us),
        sha256: ended.sha256,
        statement: ended.statement,
    }
}

fn attempt(attempt: &Attempt) -> AttemptView {
    let bytes = Some(attempt.offer.bytes).filter(|bytes| *bytes > 0);
    let progress = match attempt.phase {
        Phase::Downloading { bytes: here } => bytes.map(|bytes| here as f64 / bytes as f64),
        Phase::Installing { percent } => Some(f64::from(percent) / 100.0),
        _ => None,
    };
    let format = attempt.bundle.as_ref().map(|bundle| bundle.data_format);
    AttemptView {
        id: attempt.offer.id.clone(),
        origin: origin(&attempt.offer.origin),
        name: attempt.offer.name.clone(),
        version: attempt.bundle.as_ref().map(|bundle| bundle.version.to_string()),
        progress: progress.map(|progress| progress.min(1.0)),
        bytes,
        note: attempt.note.clone(),
        asks: attempt.phase == Phase::Offered && !attempt.agreed,
        cancellable: attempt.phase.cancellable(),
        no_way_back: format.is_some_and(|format| format > lucid_store::DATA_VERSION),
        began_at: Rfc3339::from_us(attempt.began_us),
        sha256: attempt.sha256.clone(),
        statement: attempt.statement.clone(),
    }
}

/// Where updates stand, as the API shows it.
pub fn view(updates: &Updates) -> UpdatesView {
    let (record, contact, problem) = (updates.record(), updates.contact(), updates.problem());
    let boot = updates.slot().and_then(|_| updates.boot_status().ok());
    let slots = updates.slots().into_iter().map(|slot| SlotView {
        name: slot.name,
        bootname: slot.bootname,
        state: slot.state,
        boot_status: slot.boot_status,
        version: slot.version,
        installed_at: slot.installed_at,
    });
    UpdatesView {
        supported: updates.slot().is_some() && problem.is_none(),
        problem,
        version: env!("CARGO_PKG_VERSION"),
        state: match &record.attempt {
            Some(attempt) => attempt.phase.name(),
            None if contact.checking => "checking",
            None => "idle",
        },
        slot: updates.slot().map(|slot| slot.to_string()),
        default_slot: boot.map(|boot| boot.default.to_string()),
        on_trial: boot.is_some_and(|boot| boot.on_trial),
        slots: slots.collect(),
        attempt: record.attempt.as_ref().map(attempt),
        history: record.history.into_iter().map(ended).collect(),
        server: updates.server().map(|url| ServerView {
            url,
            asked_at: contact.at_us.map(Rfc3339::from_us),
            problem: contact.problem,
        }),
    }
}

/// Refuses where this device is not updated this way.
fn supported(app: &App) -> Result<(), Problem> {
    match (app.updates.slot(), app.updates.problem()) {
        (Some(_), None) => Ok(()),
        (_, problem) => Err(Problem::new(
            Kind::UpdatesOff,
            problem.unwrap_or_else(|| "updates are still starting".into()),
        )),
    }
}

/// Where updates of the system stand.
#[utoipa::path(get, path = "/system/updates", tag = "system",
    responses((status = 200, body = UpdatesView)))]
async fn read(State(app): State<App>, _: SignedIn) -> Json<UpdatesView> {
    Json(view(&app.updates))
}

/// Ask the fleet server now.
#[utoipa::path(post, path = "/system/updates/check", tag = "system",
    responses((status = 202, body = UpdatesView), (status = 409, body = ProblemDocument)))]
async fn check(
    State(app): State<App>,
    who: SignedIn,
) -> Result<(StatusCode, Json<UpdatesView>), Problem> {
    who.may(Action::Operate)?;
    supported(&app)?;
    app.updates.check_now().map_err(|why| Problem::new(Kind::UpdatesOff, why))?;
    Ok((StatusCode::ACCEPTED, Json(view(&app.updates))))
}

/// Agree to the update under way, or let it go ahead at once.
#[utoipa::path(post, path = "/system/updates/install", tag = "system", request_body = Install,
    responses((status = 202, body = UpdatesView), (status = 409, body = ProblemDocument)))]
async fn install(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(asked): JsonBody<Install>,
) -> Result<(StatusCode, Json<UpdatesView>), Problem> {
    who.may(Action::Administer)?;
    supported(&app)?;
    let under_way = app.updates.record().attempt;
    let attempt = under_way.ok_or_else(|| Problem::new(Kind::NoUpdate, "none is offered"))?;
    app.auth.audit(&who.0.username, "update.install", &attempt.offer.name).await?;
    let Install { allow_older, at_once } = asked;
    app.updates.put(Event::Agreed { allow_older, at_once }).await;
    Ok((StatusCode::ACCEPTED, Json(view(&app.updates))))
}

fn too_late(phase: &Phase) -> Problem {
    let words = format!("it is in the state {} and runs to its end", phase.name());
    Problem::new(Kind::NoUpdate, words)
}

/// Call the update under way off.
#[utoipa::path(post, path = "/system/updates/cancel", tag = "system",
    responses((status = 202, body = UpdatesView), (status = 409, body = ProblemDocument)))]
async fn cancel(
    State(app): State<App>,
    who: SignedIn,
) -> Result<(StatusCode, Json<UpdatesView>), Problem> {
    who.may(Action::Administer)?;
    let under_way = app.updates.record().attempt;
    let attempt = under_way.ok_or_else(|| Problem::new(Kind::NoUpdate, "none is under way"))?;
    if !attempt.phase.cancellable() {
        return Err(too_late(&attempt.phase));
    }
    app.auth.audit(&who.0.username, "update.cancel", &attempt.offer.name).await?;
    let by = format!("called off by {}", who.0.username);
    app.updates.put(Event::Cancelled(by)).await;
    if let Some(attempt) = app.updates.record().attempt {
        return Err(too_late(&attempt.phase));
    }
    Ok((StatusCode::ACCEPTED, Json(view(&app.updates))))
}

/// Bring a bundle: it is verified, and installed when nothing is recorded or in the window.
#[utoipa::path(post, path = "/system/updates/bundle", tag = "system", params(Upload),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 202, body = UpdatesView), (status = 409, body = ProblemDocument),
        (status = 413, body = ProblemDocument), (status = 507, body = ProblemDocument)))]
async fn upload(
    State(app): State<App>,
    who: SignedIn,
    Query(asked): Query<Upload>,
    body: Body,
) -> Result<(StatusCode, Json<UpdatesView>), Problem> {
    who.may(Action::Administer)?;
    supported(&app)?;
    let Ok(_turn) = app.updates.uploads().try_acquire() else {
        return Err(Problem::new(Kind::Busy, "another bundle is coming in").retry_after(10));
    };
    let busy = |app: &App| match app.updates.record().attempt {
        None => Ok(()),
        Some(attempt) => {
            let words = format!("{} is under way; call it off first", attempt.offer.name);
            Err(Problem::new(Kind::UpdateUnderWay, words).closing())
        }
    };
    busy(&app)?;
    // Whatever ends this before its end, the upload does not stay on the disk.
    let failed = |error: std::io::Error| Problem::internal("keeping the bundle", error);
    let part = TempPath::try_from_path(app.updates.part()).map_err(failed)?;
    let (bytes, sha256) = receive(&app, &part, body).await?;
    busy(&app)?;
    app.auth.audit(&who.0.username, "update.upload", &sha256).await?;
    part.persist(app.updates.bundle()).map_err(|error| failed(error.error))?;
    let offer = Offer {
        id: format!("{}-{}", &sha256[..16], now_us()),
        origin: Origin::Upload,
        source: Source::Here,
        name: format!("bundle {}", &sha256[..16]),
        bytes,
        sha256: Some(sha256),
        ask: false,
        install: true,
        allow_older: asked.allow_older,
        at_once: asked.at_once,
    };
    app.updates.put(Event::Offered(offer)).await;
    Ok((StatusCode::ACCEPTED, Json(view(&app.updates))))
}

/// Takes a body into a file: its length and its SHA-256.
async fn receive(app: &App, part: &Path, body: Body) -> Result<(u64, String), Problem> {
    let failed = |error: std::io::Error| Problem::internal("taking the bundle", error);
    let available = app.archive.data().available_bytes();
    let available = available.map_err(|error| Problem::internal("looking at the disk", error))?;
    let most = available.saturating_sub(app.config.record.keep_free_bytes);
    let mut file = std::fs::File::create(part).map_err(failed)?;
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut parts = body.into_data_stream();
    while let Some(bytes) = parts.next().await {
        let bytes = bytes.map_err(|error| Problem::new(Kind::BadRequest, error.to_string()))?;
        length += bytes.len() as u64;
        if length > BUNDLE_BYTES_MAX {
            let detail = format!("at most {BUNDLE_BYTES_MAX} bytes are taken here");
            return Err(Problem::new(Kind::BodyTooLarge, detail).closing());
        }
        if length > most {
            return Err(Problem::new(Kind::NoRoom, "the disk has no room for the bundle").closing());
        }
        hash.update(&bytes);
        file = tokio::task::spawn_blocking(move || file.write_all(&bytes).map(|()| file))
            .await
            .map_err(|error| Problem::internal("taking the bundle", error))?
            .map_err(failed)?;
    }
    if length == 0 {
        let detail = "the body is the bundle (*.raucb), and this one is empty";
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
    synced.map_err(|error| Problem::internal("taking the bundle", error))?.map_err(failed)?;
    let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((length, hex))
}
