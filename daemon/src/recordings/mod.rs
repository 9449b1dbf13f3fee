//! What records now: one recorder for each enabled source, started, watched and stopped here.
//!
//! The sources say what should record, this makes it so: [`Recordings::run`] compares the two and
//! acts, again and again. A recorder itself opens its source again for as long as it takes, in one
//! session; what ends altogether (a file, a full disk) is started again with back-off. Sources
//! that can be refused for good are tried before a session is opened for them.

mod again;
mod desktop;
mod pulse;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lucid_capture::archive::{Archive, ArchiveError};
use lucid_capture::recorder::{
    self, Anchor, Limits, LiveChunk, Observer, Persistence, RecorderConfig, RecorderError,
    Recording, SessionSpec, SourceState,
};
use lucid_capture::retention::Quota;
use lucid_capture::{EncoderPlan, SourceKind, StreamOptions};
use lucid_evidence::SessionId;
use lucid_evidence::manifest::{EndReason, SourceInfo};
use lucid_store::StoreError;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use desktop::DesktopJob;
pub use pulse::Pulse;

use again::{End, Ended, FileMark};

use crate::machine::Machine;
use crate::sources::{Retention, Source, SourceId, Sources};
use crate::supervisor::Reporter;

/// How often sources and recorders are compared.
const RECONCILE_EVERY: Duration = Duration::from_secs(1);
/// A recording goes on in a new session after this much media, so that retention has whole
/// sessions to delete and an export need not be a day long.
const ROLL_AFTER: Duration = Duration::from_secs(3600);
/// Shortest such part, for sources that keep little.
const ROLL_AFTER_MIN: Duration = Duration::from_secs(300);
/// A source that keeps recordings for an age has at least this many parts within it.
const PARTS_PER_AGE: u32 = 6;
/// A source that is silent for so long is opened again.
const STALL_AFTER: Duration = Duration::from_secs(8);

/// Why a recording cannot begin or end.
#[derive(Debug, thiserror::Error)]
pub enum RecordingsError {
    /// It records already.
    #[error("source {0} is recording already")]
    AlreadyRecording(SourceId),
    /// The session does not record.
    #[error("session {0} is not recording")]
    NotRecording(SessionId),
    /// The disk has no room that may be used.
    #[error("there is no room to record: {0}")]
    NoRoom(String),
    /// The encoder has not been found yet.
    #[error("the recorder is still starting")]
    Starting,
    /// The recorder.
    #[error(transparent)]
    Recorder(RecorderError),
}

/// How a source is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its state.
    pub state: SourceState,
    /// Why.
    pub reason: Option<String>,
    /// The session that records now.
    pub session: Option<SessionId>,
}

struct Running {
    recording: Recording,
    /// The settings it runs with.
    source: Source,
    began: Instant,
    /// Its file as it was before.
    file: Option<FileMark>,
}

#[derive(Default)]
struct Slots {
    running: HashMap<SourceId, Running>,
    ended: HashMap<SourceId, Ended>,
    /// Sessions on desktops, which no source stands for.
    desktops: HashMap<SessionId, Recording>,
    /// Set once the daemon stops: nothing begins any more.
    closed: bool,
}

/// Starts a recorder, with its session open or not yet.
type Start =
    fn(Arc<Archive>, Arc<dyn Anchor>, Observer, RecorderConfig) -> Result<Recording, RecorderError>;

/// All recordings of the device.
pub struct Recordings {
    archive: Arc<Archive>,
    anchor: Arc<dyn Anchor>,
    sources: Arc<Sources>,
    observer: Observer,
    device_name: String,
    encoders: Mutex<Option<EncoderPlan>>,
    slots: Mutex<Slots>,
    /// Woken when sources change.
    wake: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recordings {
    /// Nothing records yet.
    pub fn new(
        archive: Arc<Archive>,
        anchor: Arc<dyn Anchor>,
        sources: Arc<Sources>,
        observer: Observer,
        device_name: String,
    ) -> Self {
        let (encoders, slots, wake) = Default::default();
        Self { archive, anchor, sources, observer, device_name, encoders, slots, wake }
    }

    /// Keeps recorders and sources in step until asked to stop, then ends every recording in
    /// order.
    ///
    /// # Errors
    /// When the encoders cannot be probed.
    pub async fn run(
        self: Arc<Self>,
        machine: Machine,
        reporter: Reporter,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let plan = machine.encoders().await?;
        *lock(&self.encoders) = Some(plan);
        lock(&self.slots).closed = false;
        reporter.healthy();
        while !stop.is_cancelled() {
            let this = Arc::clone(&self);
            let problems = tokio::task::spawn_blocking(move || this.reconcile()).await?;
            match problems.is_empty() {
                true => reporter.healthy(),
                false => reporter.degraded(problems.join("; ")),
            }
            reporter.beat();
            tokio::select! {
                () = tokio::time::sleep(RECONCILE_EVERY) => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => {}
            }
        }
        let this = Arc::clone(&self);
        Ok(tokio::task::spawn_blocking(move || this.end_all()).await?)
    }

    /// Sources have changed: compare now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// How a source is doing.
    pub fn status(&self, id: &SourceId) -> Status {
        let slots = lock(&self.slots);
        if let Some(running) = slots.running.get(id) {
            let (state, reason) = running.recording.state();
            let session = running.recording.live().map(|live| live.session);
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            return Status { state, reason, session };
        }
        match slots.ended.get(id) {
            Some(ended) => {
                Status { state: ended.state, reason: Some(ended.reason.clone()), session: None }
            }
            None => Status { state: SourceState::Idle, reason: None, session: None },
        }
    }

    /// How many sessions record now.
    pub fn count(&self) -> usize {
        let slots = lock(&self.slots);
        let desktops = slots.desktops.values();
        let all = slots.running.values().map(|running| &running.recording).chain(desktops);
        all.filter(|recording| recording.live().is_some()).count()
    }

    /// The open chunk of a session that records now.
    pub fn live(&self, session: SessionId) -> Option<LiveChunk> {
        let slots = lock(&self.slots);
        if let Some(recording) = slots.desktops.get(&session) {
            return recording.live();
        }
        let mut lives = slots.running.values().filter_map(|running| running.recording.live());
        lives.find(|live| live.session == session)
    }

    /// Begins to record a source. Blocks.
    ///
    /// # Errors
    /// When it records already, or the archive takes no new session.
    pub fn start(&self, source: &Source, note: &str) -> Result<SessionId, RecordingsError> {
        let file = FileMark::of(&source.uri);
        let mut slots = lock(&self.slots);
        if slots.running.get(&source.id).is_some_and(|running| !running.recording.has_ended()) {
            return Err(RecordingsError::AlreadyRecording(source.id.clone()));
        }
        // Who asks is told at once which session it is, whatever comes of it.
        let session = self.begin(&mut slots, source, note, file, recorder::start)?;
        session.ok_or(RecordingsError::Starting)
    }

    /// Ends the recording of a session and waits until it is stored. Blocks.
    ///
    /// # Errors
    /// When the session does not record, or could not be closed in order.
    pub fn stop(&self, session: SessionId) -> Result<SourceId, RecordingsError> {
        let (id, running) = {
            let mut slots = lock(&self.slots);
            let is_it = |running: &Running| {
                running.recording.live().is_some_and(|live| live.session == session)
            };
            let found = slots.running.iter().find(|(_, running)| is_it(running));
            let id = found.map(|(id, _)| id.clone());
            let id = id.ok_or(RecordingsError::NotRecording(session))?;
            slots.ended.remove(&id);
            let running = slots.running.remove(&id);
            (id, running.ok_or(RecordingsError::NotRecording(session))?)
        };
        running.recording.stop(EndReason::Stopped);
        running.recording.join().map_err(RecordingsError::Recorder)?;
        Ok(id)
    }

    /// The source whose recorder made this session and still runs.
    pub fn source_of(&self, session: SessionId) -> Option<SourceId> {
        let slots = lock(&self.slots);
        let mut all = slots.running.iter();
        let found = all.find(|(_, running)| {
            running.recording.live().is_some_and(|live| live.session == session)
        });
        found.map(|(id, _)| id.clone())
    }

    /// Starts what should record and does not, ends what records and should not; returns what
    /// could not be done. Blocks.
    fn reconcile(&self) -> Vec<String> {
        let wanted: HashMap<SourceId, Source> = self
            .sources
            .list()
            .into_iter()
            .filter(|source| source.enabled)
            .map(|source| (source.id.clone(), source))
            .collect();
        for (id, running) in self.take_surplus(&wanted) {
            running.recording.stop(EndReason::Stopped);
            if let Err(error) = running.recording.join() {
                tracing::error!(source = %id, %error, "a recording was not closed in order");
            }
        }
        self.collect_ended();
        let mut problems = Vec::new();
        for source in wanted.values() {
            // Looked at before anything is locked: a dead disk may take its time.
            let file = FileMark::of(&source.uri);
            let mut slots = lock(&self.slots);
            let ended = slots.ended.get(&source.id);
            let due = ended.is_none_or(|ended| ended.is_due(source, file, Instant::now()));
            if slots.closed || !due || slots.running.contains_key(&source.id) {
                continue;
            }
            let begun = match may_be_refused(source) {
                true => self.begin(&mut slots, source, "", file, recorder::start_with_media),
                false => self.begin(&mut slots, source, "", file, recorder::start),
            };
            if let Err(error) = begun {
                let reason = error.to_string();
                problems.push(format!("{}: {reason}", source.name));
                let (state, ran) = (SourceState::Refused, Duration::ZERO);
                note_end(&mut slots, source, End { state, reason, failure: None, ran, file });
            }
        }
        problems
    }

    /// Takes out recorders of sources that are gone, disabled or changed.
    fn take_surplus(&self, wanted: &HashMap<SourceId, Source>) -> Vec<(SourceId, Running)> {
        let mut slots = lock(&self.slots);
        let is_surplus = |id: &SourceId, running: &Running| {
            wanted.get(id).is_none_or(|now| {
                now.uri != running.source.uri || now.audio != running.source.audio
            })
        };
        let surplus: Vec<SourceId> = slots
            .running
            .iter()
            .filter(|(id, running)| is_surplus(id, running))
            .map(|(id, _)| id.clone())
            .collect();
        slots.ended.retain(|id, _| wanted.contains_key(id));
        surplus
            .into_iter()
            .filter_map(|id| slots.running.remove(&id).map(|running| (id, running)))
            .collect()
    }

    /// Takes out recorders that have come to their end, and notes when to try again.
    fn collect_ended(&self) {
        let ended: Vec<(SourceId, Running)> = {
            let mut slots = lock(&self.slots);
            let has_ended = |(_, running): &(&SourceId, &Running)| running.recording.has_ended();
            let ids: Vec<SourceId> =
                slots.running.iter().filter(has_ended).map(|(id, _)| id.clone()).collect();
            ids.into_iter()
                .filter_map(|id| slots.running.remove(&id).map(|running| (id, running)))
                .collect()
        };
        for (id, running) in ended {
            let (state, reason) = running.recording.state();
            let (failure, file) = (running.recording.failure(), running.file);
            let ran = running.began.elapsed();
            let (recording, source) = (running.recording, running.source);
            let reason = match recording.join() {
                Ok(_) => reason,
                Err(error) => error.to_string(),
            };
            tracing::warn!(source = %id, reason, "a recording ended by itself");
            let end = End { state, reason, failure, ran, file };
            note_end(&mut lock(&self.slots), &source, end);
        }
    }

    fn end_all(&self) {
        let running: Vec<(SourceId, Running)> = {
            let mut slots = lock(&self.slots);
            slots.closed = true;
            slots.running.drain().collect()
        };
        let desktops: Vec<Recording> =
            lock(&self.slots).desktops.drain().map(|(_, recording)| recording).collect();
        for (_, running) in &running {
            running.recording.stop(EndReason::Shutdown);
        }
        // Desktops end theirs before; what they left ends as it is dropped.
        drop(desktops);
        for (id, running) in running {
            if let Err(error) = running.recording.join() {
                tracing::error!(source = %id, %error, "a recording was not closed in order");
            }
        }
    }

    fn begin(
        &self,
        slots: &mut Slots,
        source: &Source,
        note: &str,
        file: Option<FileMark>,
        start: Start,
    ) -> Result<Option<SessionId>, RecordingsError> {
        let encoders = lock(&self.encoders).clone().ok_or(RecordingsError::Starting)?;
        if slots.closed {
            return Err(RecordingsError::Starting);
        }
        let config = self.config(source, note, encoders);
        let (archive, anchor) = (Arc::clone(&self.archive), Arc::clone(&self.anchor));
        let recording = start(archive, anchor, Arc::clone(&self.observer), config)?;
        let session = recording.live().map(|live| live.session);
        let began = Instant::now();
        let running = Running { recording, source: source.clone(), began, file };
        slots.running.insert(source.id.clone(), running);
        Ok(session)
    }

    fn config(&self, source: &Source, note: &str, encoders: EncoderPlan) -> RecorderConfig {
        let mut options = StreamOptions::new(encoders);
        options.audio = source.audio;
        // A file played once has an end that is not a fault.
        let persistence = match source.uri.kind() {
            SourceKind::File { repeat: false, .. } => Persistence::Never,
            _ => Persistence::Always,
        };
        RecorderConfig {
            uri: source.uri.clone(),
            options,
            spec: SessionSpec {
                id: None,
                source_id: source.id.to_string(),
                source: SourceInfo {
                    kind: source.kind().to_owned(),
                    name: source.name.clone(),
                    address: source.uri.to_string(),
                },
                device_name: self.device_name.clone(),
                software: format!("lucid {}", env!("CARGO_PKG_VERSION")),
                policy: None,
                participants: Vec::new(),
                note: note.to_owned(),
            },
            limits: Limits::default(),
            stop_after_us: None,
            roll_after_us: Some(micros(roll_after(source))),
            stall_after: STALL_AFTER,
            persistence,
            events: None,
        }
    }
}

/// The length of a session of this source.
fn roll_after(source: &Source) -> Duration {
    let age = source.retention.max_age_s.map(Duration::from_secs);
    age.map_or(ROLL_AFTER, |age| (age / PARTS_PER_AGE).clamp(ROLL_AFTER_MIN, ROLL_AFTER))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A quota as the archive wants it.
pub fn quota(retention: &Retention) -> Quota {
    Quota {
        max_age_us: retention.max_age_s.map(|age| age.saturating_mul(1_000_000)),
        max_bytes: retention.max_bytes,
    }
}

/// Whether the source may turn out to be one that cannot be recorded at all. The others are away at
/// worst, which a session waits out and declares.
fn may_be_refused(source: &Source) -> bool {
    matches!(source.uri.kind(), SourceKind::File { .. } | SourceKind::Test(_))
}

fn note_end(slots: &mut Slots, source: &Source, end: End) {
    let ended = Ended::note(slots.ended.get(&source.id), source, end, Instant::now());
    slots.ended.insert(source.id.clone(), ended);
}

impl From<RecorderError> for RecordingsError {
    fn from(error: RecorderError) -> Self {
        match error {
            RecorderError::NoRoom { .. }
            | RecorderError::Archive(ArchiveError::Store(
                StoreError::Full { .. } | StoreError::ReadOnly { .. },
            )) => Self::NoRoom(error.to_string()),
            other => Self::Recorder(other),
        }
    }
}
