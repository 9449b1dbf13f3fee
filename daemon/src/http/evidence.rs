//! "Is my evidence safe?": one answer from recorders, chain and disk, with everything that speaks
//! against it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use lucid_capture::archive::ArchiveError;
use lucid_capture::catalogue::SessionRecord;
use lucid_capture::recorder::SourceState;
use lucid_chain_node::State as ChainState;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::problem::{Problem, ProblemDocument};
use super::sessions::blocking;
use super::time::{Rfc3339, now_us};
use crate::auth::SignedIn;
use crate::events::Topic;
use crate::quarantine::Quarantined;
use crate::supervisor::{ComponentState, Reporter};
use crate::view::GapView;

/// An answer is given again for this long.
const KEPT_FOR: Duration = Duration::from_secs(2);
/// How often listeners are told when the answer has changed.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// How far back gaps are listed.
const GAPS_BACK_US: u64 = 24 * 3600 * 1_000_000;
/// Longest a session is, and more: how far back one may have begun that reaches into the day.
const SESSION_MOST_US: u64 = 2 * 3600 * 1_000_000;
/// Gaps listed, at most: the newest.
const GAPS_MAX: usize = 500;
/// While recording, media is durable about every second; later than this something is wrong.
const DURABLE_WITHIN_US: u64 = 15 * 1_000_000;
/// While recording, blocks come every ten seconds; later than this the chain does not take them.
const BLOCK_WITHIN_US: u64 = 60 * 1_000_000;
/// Fewer days of room than this are worth a word.
const DAYS_LOW: f64 = 3.0;

/// The endpoint.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read))
}

#[derive(Clone, Serialize, ToSchema)]
struct LastAnchor {
    height: u64,
    time: Rfc3339,
}

#[derive(Clone, Serialize, ToSchema)]
struct DayGap {
    session_id: String,
    source_id: String,
    source_name: String,
    #[serde(flatten)]
    gap: GapView,
}

#[derive(Clone, Serialize, ToSchema)]
struct Disk {
    free_bytes: u64,
    total_bytes: u64,
    /// At the rate of the last day; null while nothing was recorded or quotas keep it from
    /// filling.
    days_left: Option<f64>,
}

#[derive(Clone, Serialize, ToSchema)]
struct QuarantinedView {
    /// What was put aside, why, and where it is.
    what: String,
    /// A recording it touches; null where none is known.
    session_id: Option<String>,
    /// The time of the recording that it touches; null where that is not known.
    from: Option<Rfc3339>,
    to: Option<Rfc3339>,
}

#[derive(Clone, Serialize, ToSchema, PartialEq)]
struct Trouble {
    /// `error`, `warning` or `info`.
    severity: &'static str,
    text: String,
}

/// The answer.
#[derive(Clone, Serialize, ToSchema)]
pub struct EvidenceHealth {
    /// Whether nothing is wrong now.
    safe: bool,
    /// The same in one sentence.
    summary: String,
    last_durable_piece_at: Option<Rfc3339>,
    last_anchor: Option<LastAnchor>,
    witnesses: usize,
    validators: usize,
    /// Enabled sources from which nothing comes now.
    open_gaps: usize,
    gaps_24h: Vec<DayGap>,
    disk: Disk,
    quarantined: Vec<QuarantinedView>,
    recording_sources: usize,
    problems: Vec<Trouble>,
}

/// The last answer.
#[derive(Default)]
pub struct Kept(Mutex<Option<(Instant, EvidenceHealth)>>);

/// Whether the evidence is safe, and what speaks against it.
#[utoipa::path(get, path = "/evidence-health", tag = "device",
    responses((status = 200, body = EvidenceHealth),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read(State(app): State<App>, _: SignedIn) -> Result<Json<EvidenceHealth>, Problem> {
    let kept = app.health.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((at, health)) = kept.filter(|(at, _)| at.elapsed() < KEPT_FOR) {
        let _ = at;
        return Ok(Json(health));
    }
    Ok(Json(blocking(&app, look).await?))
}

/// Tells listeners when the answer changes, until asked to stop.
///
/// # Errors
/// When the archive cannot be read.
pub async fn tell(app: App, reporter: Reporter, stop: CancellationToken) -> anyhow::Result<()> {
    let mut told: Option<(bool, Vec<Trouble>)> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(TOLD_EVERY) => {}
        }
        let looked = {
            let app = app.clone();
            tokio::task::spawn_blocking(move || assemble(&app)).await?
        };
        let health = looked?;
        reporter.healthy();
        let now = (health.safe, health.problems.clone());
        if told.as_ref() != Some(&now) {
            app.events.publish(Topic::Health, &health);
            told = Some(now);
        }
    }
}

fn look(app: &App) -> Result<EvidenceHealth, Problem> {
    let health = assemble(app)?;
    let kept = Some((Instant::now(), health.clone()));
    *app.health.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    Ok(health)
}

fn assemble(app: &App) -> Result<EvidenceHealth, ArchiveError> {
    let now = now_us();
    let day = Day::read(app, now)?;
    let head = app.node.head();
    let mut problems = Vec::new();
    let (recording_sources, open_gaps) = sources(app, &mut problems);
    // A worker on a desktop is recorded too.
    let recording = recording_sources + app.desktops.recording();
    let durable = app.pulse.last_durable_us();
    if recording > 0 && durable.is_none_or(|at| now.saturating_sub(at) > DURABLE_WITHIN_US) {
        problems.push(error("nothing has become durable for 15 s although sources record"));
    }
    match app.node.state() {
        ChainState::Running => {}
        ChainState::Waiting(why) => problems.push(error(format!("the chain waits: {why}"))),
        ChainState::Stopped => problems.push(error("the chain has stopped")),
        ChainState::Failed(why) => problems.push(error(format!("the chain failed: {why}"))),
    }
    if recording > 0 && head.height > 0 && now.saturating_sub(head.time_us) > BLOCK_WITHIN_US {
        problems.push(error("the last block is older than a minute"));
    }
    if head.clock_behind_us > 0 {
        problems.push(warning("the device's clock was set back; blocks carry later times"));
    }
    for component in app.supervisor.components() {
        if component.state == ComponentState::Failed {
            let why = component.reason.unwrap_or_default();
            problems.push(error(format!("component {} failed: {why}", component.name)));
        }
    }
    let quarantined = quarantined(app)?;
    if !quarantined.is_empty() {
        problems.push(error("damaged data was put aside"));
    }
    let disk = disk(app, &day);
    if disk.free_bytes < app.config.record.keep_free_bytes {
        problems.push(error("the disk is full: less is free than is kept for recording"));
    } else if disk.days_left.is_some_and(|days| days < DAYS_LOW) {
        problems.push(warning("the disk is full in less than three days"));
    }
    if head.validators.count() == 1 {
        problems.push(Trouble {
            severity: "info",
            text: "one witness: this device alone vouches for the time, and one node is no quorum"
                .into(),
        });
    }
    let safe = problems.iter().all(|problem| problem.severity != "error");
    let first = problems.iter().find(|problem| problem.severity == "error");
    let summary = match first {
        Some(problem) => problem.text.clone(),
        None if recording == 0 => "nothing is being recorded; what is stored is safe".into(),
        None => format!("{recording} recording, everything durable and anchored"),
    };
    Ok(EvidenceHealth {
        safe,
        summary,
        last_durable_piece_at: durable.map(Rfc3339::from_us),
        last_anchor: (head.height > 0)
            .then(|| LastAnchor { height: head.height, time: Rfc3339::from_us(head.time_us) }),
        witnesses: head.witnesses,
        validators: head.validators.count(),
        open_gaps,
        gaps_24h: day.gaps,
        disk,
        quarantined,
        recording_sources,
        problems,
    })
}

/// How many sources record, and from how many nothing comes although it should.
fn sources(app: &App, problems: &mut Vec<Trouble>) -> (usize, usize) {
    let (mut recording, mut silent) = (0, 0);
    for source in app.sources.list().iter().filter(|source| source.enabled) {
        let status = app.recordings.status(&source.id);
        let why = status.reason.unwrap_or_default();
        match status.state {
            SourceState::Recording => recording += 1,
            SourceState::Connecting | SourceState::Idle => {}
            SourceState::Stalled | SourceState::Failed | SourceState::Refused => {
                silent += 1;
                problems.push(error(format!("{} is not recorded: {why}", source.name)));
            }
        }
    }
    (recording, silent)
}

/// What the last day brought.
struct Day {
    gaps: Vec<DayGap>,
    bytes: u64,
    seconds: f64,
}

impl Day {
    fn read(app: &App, now: u64) -> Result<Self, ArchiveError> {
        let begin = now.saturating_sub(GAPS_BACK_US);
        let mut sessions: Vec<SessionRecord> = Vec::new();
        let mut before = None;
        'pages: loop {
            let (page, _) = app.archive.catalogue().sessions(before, 256)?;
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            for session in page {
                if session.start_us < begin.saturating_sub(SESSION_MOST_US) {
                    break 'pages;
                }
                sessions.push(session);
            }
        }
        let mut day = Self { gaps: Vec::new(), bytes: 0, seconds: 0.0 };
        for session in &sessions {
            day.bytes += session.sealed_bytes;
            day.seconds += session.stream_end_us as f64 / 1e6;
            if day.gaps.len() >= GAPS_MAX {
                continue;
            }
            let gaps = super::sessions::gaps(app, session)?;
            day.gaps.extend(gaps.iter().rev().filter(|gap| gap.wall_us >= begin).map(|gap| {
                DayGap {
                    session_id: session.id.to_string(),
                    source_id: session.source_id.clone(),
                    source_name: session.source.name.clone(),
                    gap: GapView::new(gap),
                }
            }));
        }
        day.gaps.truncate(GAPS_MAX);
        Ok(day)
    }
}

fn disk(app: &App, day: &Day) -> Disk {
    let space = lucid_hw::disk::space(app.archive.path());
    let (free_bytes, total_bytes) =
        space.map_or((0, 0), |space| (space.free_bytes, space.total_bytes));
    let sources = app.sources.list();
    let enabled: Vec<_> = sources.iter().filter(|source| source.enabled).collect();
    let bounded = enabled.iter().all(|source| source.retention.max_bytes.is_some());
    let rate = day.bytes as f64 / day.seconds.max(1.0) * enabled.len() as f64;
    let room = free_bytes.saturating_sub(app.config.record.keep_free_bytes) as f64;
    let days_left = (!bounded && rate > 0.0).then(|| room / rate / 86_400.0);
    Disk { free_bytes, total_bytes, days_left }
}

fn quarantined(app: &App) -> Result<Vec<QuarantinedView>, ArchiveError> {
    let view = |one: Quarantined| QuarantinedView {
        what: one.what,
        session_id: one.session.map(|id| id.to_string()),
        from: one.wall_us.map(|(from, _)| Rfc3339::from_us(from)),
        to: one.wall_us.map(|(_, to)| Rfc3339::from_us(to)),
    };
    Ok(app.quarantine.look(&app.archive)?.into_iter().map(view).collect())
}

fn error(text: impl Into<String>) -> Trouble {
    Trouble { severity: "error", text: text.into() }
}

fn warning(text: impl Into<String>) -> Trouble {
    Trouble { severity: "warning", text: text.into() }
}

/// Bytes each source's sessions take, by its id.
pub fn used_bytes(app: &App) -> Result<HashMap<String, u64>, ArchiveError> {
    let mut used: HashMap<String, u64> = HashMap::new();
    app.archive.catalogue().for_each_session(|session| {
        if session.state != lucid_capture::catalogue::SessionState::Deleted {
            *used.entry(session.source_id).or_default() += session.sealed_bytes;
        }
    })?;
    Ok(used)
}
