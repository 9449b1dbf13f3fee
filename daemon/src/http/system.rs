//! The endpoints of the device as a machine: what it runs on, its log, restart, shutdown, factory
//! reset, and the report for those who help.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use lucid_hw::cgroup::{MemoryControl, memory_control};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::events::LISTENERS_MAX;
use super::extract::{JsonBody, Query};
use super::problem::{Kind, Problem, ProblemDocument};
use super::sessions::blocking;
use super::time::{Rfc3339, now_us};
use crate::auth::{Action, SignedIn};
use crate::limits;
use crate::system::orders::{self, Power};
use crate::system::support::Report;
use crate::system::{Level, Line, Order, Wanted, reset};

/// Lines of the log in one answer, at most.
const LINES_MAX: usize = 1000;
/// Lines of the log if no number is given.
const LINES: usize = 200;
/// Longest search, characters.
const SEARCH_MAX: usize = 200;
/// Lines of the log in a report.
const REPORT_LINES: usize = 5000;
/// A comment is sent after this much silence, so that a broken connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a follower's session is looked up again.
const SESSION_CHECK: Duration = Duration::from_secs(10);

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read))
        .routes(routes!(logs))
        .routes(routes!(follow))
        .routes(routes!(restart))
        .routes(routes!(shutdown))
        .routes(routes!(reset_preview, factory_reset))
        .routes(routes!(support_bundle))
}

/// A file system something of the device lies on.
#[derive(Serialize, ToSchema)]
struct Disk {
    /// What lies there: `recordings` or `system`.
    holds: &'static str,
    /// Where.
    path: String,
    /// All of it.
    total_bytes: u64,
    /// What may still be written.
    free_bytes: u64,
    /// Whether nothing can be written.
    read_only: bool,
}

/// What can be done to the machine from here, and why not.
#[derive(Serialize, ToSchema)]
struct Control {
    /// Whether it can.
    possible: bool,
    /// Why not; null if it can.
    reason: Option<&'static str>,
}

impl Control {
    fn new(possible: bool, reason: &'static str) -> Self {
        Self { possible, reason: (!possible).then_some(reason) }
    }
}

const NO_SERVICE: &str = "Lucid was not started by systemd: nobody would start it again";
const NO_POWER: &str = "nobody waits for such requests: the unit lucid-power.path does not run";

/// Whether memory limits of services bind.
#[derive(Serialize, ToSchema)]
struct MemoryLimits {
    /// Whether they do.
    binding: bool,
    /// Why not; null if they do.
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SystemView {
    software_version: &'static str,
    host_name: String,
    kernel: String,
    /// Since the recorder was started.
    recorder_up_s: f64,
    /// Since the machine was started; null where the kernel does not say.
    machine_up_s: Option<f64>,
    memory_bytes: Option<u64>,
    memory_limits: MemoryLimits,
    disks: Vec<Disk>,
    /// Start the recorder again.
    restart_recorder: Control,
    /// Start the machine again, or shut it down.
    power: Control,
}

fn power(app: &App) -> Control {
    Control::new(orders::power_is_heard(&app.config.power_requests), NO_POWER)
}

fn view(app: &App) -> SystemView {
    let machine = lucid_hw::Machine::here();
    let disk = |holds, path: &std::path::Path| {
        let space = lucid_hw::disk::space(path).ok()?;
        let path = path.display().to_string();
        let lucid_hw::disk::DiskSpace { total_bytes, free_bytes, read_only, .. } = space;
        Some(Disk { holds, path, total_bytes, free_bytes, read_only })
    };
    let places: [(_, PathBuf); 2] =
        [("recordings", app.archive.path().into()), ("system", "/".into())];
    let memory_limits = match memory_control(&machine) {
        MemoryControl::Enforced => MemoryLimits { binding: true, reason: None },
        MemoryControl::Void { reason } => MemoryLimits { binding: false, reason: Some(reason) },
    };
    let up = machine.text("/proc/uptime");
    SystemView {
        software_version: env!("CARGO_PKG_VERSION"),
        host_name: crate::config::host_name(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        recorder_up_s: app.system.began.elapsed().as_secs_f64(),
        machine_up_s: up.and_then(|text| text.split_whitespace().next()?.parse().ok()),
        memory_bytes: lucid_hw::cgroup::memory_bytes(&machine),
        memory_limits,
        disks: places.iter().filter_map(|(holds, path)| disk(*holds, path)).collect(),
        restart_recorder: Control::new(limits::is_service(), NO_SERVICE),
        power: power(app),
    }
}

/// The machine: versions, since when, disks, and what can be done to it.
#[utoipa::path(get, path = "/system", tag = "system",
    responses((status = 200, body = SystemView),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read(State(app): State<App>, _: SignedIn) -> Result<Json<SystemView>, Problem> {
    blocking(&app, |app| Ok(Json(view(app)))).await
}

/// Which lines of the log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// Words that must all stand in a line, whatever the case.
    q: Option<String>,
    /// At least so grave; `info` if absent.
    level: Option<Level>,
    /// Only lines with a smaller number.
    before: Option<u64>,
    /// How many, 1 to 1000; 200 if absent.
    limit: Option<usize>,
}

impl LogQuery {
    fn wanted(&self) -> Result<Wanted, Problem> {
        let words = self.q.as_deref().unwrap_or_default();
        if words.chars().count() > SEARCH_MAX {
            let message = format!("expected at most {SEARCH_MAX} characters");
            let problem = Problem::new(Kind::InvalidQuery, "the search is too long");
            return Err(problem.with_field("q", message));
        }
        Ok(Wanted::new(words, self.level.unwrap_or(Level::Info)))
    }
}

#[derive(Serialize, ToSchema)]
struct LogView {
    /// Oldest first.
    items: Vec<Line>,
    /// Whether older ones fit, too.
    more: bool,
}

/// The newest lines of this run's log that fit.
#[utoipa::path(get, path = "/system/logs", tag = "system", params(LogQuery),
    responses((status = 200, body = LogView),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn logs(
    State(app): State<App>,
    who: SignedIn,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogView>, Problem> {
    who.may(Action::Administer)?;
    let wanted = query.wanted()?;
    let limit = query.limit.unwrap_or(LINES);
    if !(1..=LINES_MAX).contains(&limit) {
        let message = format!("expected 1 to {LINES_MAX}");
        let problem = Problem::new(Kind::InvalidQuery, "so many lines are not given at once");
        return Err(problem.with_field("limit", message));
    }
    blocking(&app, move |app| {
        let (items, more) = app.system.log.read(&wanted, query.before, limit);
        Ok(Json(LogView { items, more }))
    })
    .await
}

/// New lines of the log that fit, as server-sent events named `line`; `lagged` says how many a slow
/// listener lost.
#[utoipa::path(get, path = "/system/logs/follow", tag = "system", params(LogQuery),
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json")))]
async fn follow(
    State(app): State<App>,
    who: SignedIn,
    Query(query): Query<LogQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    who.may(Action::Administer)?;
    let wanted = query.wanted()?;
    let place = std::sync::Arc::clone(&app.listeners).try_acquire_owned().map_err(|_| {
        let detail = format!("all {LISTENERS_MAX} places for listeners are taken");
        Problem::new(Kind::TooManyListeners, detail).retry_after(30)
    })?;
    let lines = app.system.log.follow();
    let check = tokio::time::interval(SESSION_CHECK);
    let session = who.0.session;
    let state = (app, place, lines, check, wanted, session);
    let events = unfold(state, |mut state| async move {
        let (app, _, lines, check, wanted, session) = &mut state;
        let event = loop {
            tokio::select! {
                () = app.stop.cancelled() => return None,
                _ = check.tick() => {
                    app.auth.identity(session, now_us())?;
                }
                line = lines.recv() => match line {
                    Ok(line) if wanted.fits(&line) => {
                        let text = serde_json::to_string(&*line).unwrap_or_default();
                        break Event::default().event("line").data(text);
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(lost)) => {
                        break Event::default().event("lagged").data(format!("{{\"lost\":{lost}}}"));
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        };
        Some((Ok(event), state))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// What is to start again.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Restarted {
    /// The recorder: a few seconds.
    Recorder,
    /// The whole machine.
    Device,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RestartRequest {
    what: Restarted,
}

async fn ask_for(app: &App, who: &SignedIn, asked: Power) -> Result<StatusCode, Problem> {
    if !power(app).possible {
        return Err(Problem::new(Kind::NotPossibleHere, NO_POWER));
    }
    app.auth.audit(&who.0.username, "system.power", asked.file()).await?;
    tracing::warn!(by = who.0.username, request = asked.file(), "asked of the machine");
    blocking(app, move |app| {
        orders::ask(&app.config.power_requests, asked)
            .map_err(|error| Problem::internal("asking the machine", error))
    })
    .await?;
    Ok(StatusCode::ACCEPTED)
}

/// Start the recorder or the machine again. Recordings are closed in order first.
#[utoipa::path(post, path = "/system/restart", tag = "system", request_body = RestartRequest,
    responses((status = 202),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json")))]
async fn restart(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(request): JsonBody<RestartRequest>,
) -> Result<StatusCode, Problem> {
    who.may(Action::Administer)?;
    match request.what {
        Restarted::Device => ask_for(&app, &who, Power::Reboot).await,
        Restarted::Recorder if !limits::is_service() => {
            Err(Problem::new(Kind::NotPossibleHere, NO_SERVICE))
        }
        Restarted::Recorder => {
            app.auth.audit(&who.0.username, "system.restart", "recorder").await?;
            app.system.orders.give(Order::Restart);
            Ok(StatusCode::ACCEPTED)
        }
    }
}

/// Shut the machine down. Recordings are closed in order first.
#[utoipa::path(post, path = "/system/shutdown", tag = "system",
    responses((status = 202),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json")))]
async fn shutdown(State(app): State<App>, who: SignedIn) -> Result<StatusCode, Problem> {
    who.may(Action::Administer)?;
    ask_for(&app, &who, Power::Off).await
}

/// What a factory reset destroys.
#[derive(Serialize, ToSchema)]
struct ResetPreview {
    /// What has to be sent along, letter by letter: the device's name.
    confirm: String,
    /// Recordings of this device.
    recordings: u64,
    /// Of those, how many are on legal hold: they keep the device from being reset.
    held: u64,
    /// What they take on the disk.
    recording_bytes: u64,
    /// Sources that are set up.
    sources: u64,
    /// Desktops that are set up, with the files of their workers.
    desktops: u64,
    /// What goes besides, in words.
    also: Vec<&'static str>,
    /// What stays, in words.
    stays: Vec<&'static str>,
    /// Whether it starts again by itself.
    restarts: bool,
}

fn preview(app: &App) -> Result<ResetPreview, Problem> {
    let (mut recordings, mut held) = (0, 0);
    app.archive
        .catalogue()
        .for_each_session(|session| {
            recordings += 1;
            held += u64::from(session.hold.is_some());
        })
        .map_err(|error| Problem::internal("counting recordings", error))?;
    let used = app.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(ResetPreview {
        confirm: app.config.name.clone(),
        recordings,
        held,
        recording_bytes: used.values().sum(),
        sources: app.sources.list().len() as u64,
        desktops: app.desktops.list().len() as u64,
        also: vec![
            "the device's key: it will be another device, and its fingerprint another",
            "accounts, settings made on the page, exports",
            "the chain as this device keeps it: what it witnessed for itself alone is gone",
        ],
        stays: vec![
            "files somebody exported and downloaded: they verify as before",
            "the payment process with its wallets",
            "/etc/lucid",
        ],
        restarts: limits::is_service(),
    })
}

/// What a factory reset of this device would destroy.
#[utoipa::path(get, path = "/system/factory-reset", tag = "system",
    responses((status = 200, body = ResetPreview),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn reset_preview(
    State(app): State<App>,
    who: SignedIn,
) -> Result<Json<ResetPreview>, Problem> {
    who.may(Action::Administer)?;
    blocking(&app, |app| preview(app).map(Json)).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResetRequest {
    /// The device's name, as `confirm` of what the GET says.
    confirm: String,
}

/// Destroy everything the device keeps. It ends, and its next start is a first one.
#[utoipa::path(post, path = "/system/factory-reset", tag = "system", request_body = ResetRequest,
    responses((status = 202),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn factory_reset(
    State(app): State<App>,
    who: SignedIn,
    JsonBody(request): JsonBody<ResetRequest>,
) -> Result<StatusCode, Problem> {
    who.may(Action::Administer)?;
    if request.confirm != app.config.name {
        return Err(Problem::field("confirm", "expected the device's name, letter by letter"));
    }
    let held = blocking(&app, |app| preview(app).map(|preview| preview.held)).await?;
    if held > 0 {
        let detail = format!("{held} recordings are on legal hold; release them first");
        return Err(Problem::new(Kind::OnHold, detail));
    }
    app.auth.audit(&who.0.username, "system.factory-reset", &app.config.name).await?;
    tracing::warn!(by = who.0.username, "a factory reset was asked for");
    blocking(&app, |app| {
        reset::ask(app.archive.path())
            .map_err(|error| Problem::internal("asking for the reset", error))
    })
    .await?;
    app.system.orders.give(Order::Reset);
    Ok(StatusCode::ACCEPTED)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string())
}

/// A report for those who help: one text file without secrets and without recordings.
#[utoipa::path(get, path = "/system/support-bundle", tag = "system",
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn support_bundle(
    State(app): State<App>,
    who: SignedIn,
) -> Result<impl IntoResponse, Problem> {
    who.may(Action::Administer)?;
    app.auth.audit(&who.0.username, "system.support-bundle", "").await?;
    let heat = app.machine.heat().await;
    let encoder = app.machine.encoder_note().await;
    let text = blocking(&app, move |app| {
        let mut report = Report::default();
        let now = Rfc3339::from_us(now_us());
        let board = lucid_hw::board();
        report.section("Lucid support report", &format!("made {now}\nboard {}", board.model));
        report.section("System", &json(&view(app)));
        let mut heat_text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(heat_text, "temperature {:?}", heat.temperature_c);
        let _ = writeln!(heat_text, "throttling {:?}", heat.throttling);
        let _ = writeln!(heat_text, "encoder {encoder:?}");
        report.section("Heat, power, encoder", &heat_text);
        report.section("Components", &json(&app.supervisor.components()));
        let mut sources = String::new();
        for source in app.sources.list() {
            let _ = writeln!(sources, "{} {} {}", source.id, source.kind(), source.shown_uri());
        }
        report.section("Sources", &sources);
        let mut damaged = String::new();
        match app.quarantine.look(&app.archive) {
            Ok(entries) => entries.iter().for_each(|entry| {
                let _ = writeln!(damaged, "{}", entry.what);
            }),
            Err(error) => damaged = error.to_string(),
        }
        report.section("Put aside as damaged", &damaged);
        report.section("Configuration", &app.config.shown());
        let any = Wanted::new("", Level::Trace);
        let mut log = String::new();
        for line in app.system.log.read(&any, None, REPORT_LINES).0 {
            let level = line.level.as_str();
            let _ = writeln!(log, "{} {level:5} {} {}", line.at, line.part, line.text);
        }
        report.section("Log", &log);
        Ok(report.into_text())
    })
    .await?;
    let name = format!("attachment; filename=\"lucid-support-{}.txt\"", now_us() / 1_000_000);
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, text))
}
