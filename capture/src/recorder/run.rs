//! The recorder's thread: opens the source, feeds the session, restarts what dies or stalls, and
//! ends in order.

use super::feed::{EncodeLost, EventFeed};
use super::first::First;
use super::session::{ActiveSession, Ending, OpenChunks, SessionSpec};
use super::{Anchor, Limits, Observer, RecorderError, RecorderEvent};
use crate::archive::Archive;
use crate::catalogue::ChunkMap;
use crate::media::{LossReason, MediaEvent};
use crate::source::{SourceError, StreamOptions};
use crate::uri::{SourceKind, SourceUri};
use lucid_evidence::SessionId;
use lucid_evidence::chunk::{Gap, GapReason};
use lucid_evidence::manifest::EndReason;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the thread looks whether it should stop.
pub(super) const POLL: Duration = Duration::from_millis(200);
/// The first wait before a source is opened again.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The longest wait before a source is opened again.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// How a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// Not recording.
    Idle,
    /// Being opened.
    Connecting,
    /// Delivering.
    Recording,
    /// There, but silent.
    Stalled,
    /// Gone; opened again after a while.
    Failed,
    /// Will not be recorded until something changes.
    Refused,
}

impl SourceState {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceState::Idle => "idle",
            SourceState::Connecting => "connecting",
            SourceState::Recording => "recording",
            SourceState::Stalled => "stalled",
            SourceState::Failed => "failed",
            SourceState::Refused => "refused",
        }
    }
}

/// How a source is recorded.
#[derive(Clone)]
pub struct RecorderConfig {
    /// What is recorded.
    pub uri: SourceUri,
    /// How it is opened.
    pub options: StreamOptions,
    /// What the session is about.
    pub spec: SessionSpec,
    /// When chunks are full.
    pub limits: Limits,
    /// Ends the recording after so much media, microseconds.
    pub stop_after_us: Option<u64>,
    /// Goes on in a new session after so much media, without a gap, microseconds.
    pub roll_after_us: Option<u64>,
    /// How long a source may be silent before it is opened again.
    pub stall_after: Duration,
    /// Whether a source that fails is opened again.
    pub persistence: Persistence,
    /// Events are recorded beside the media; how to say that some were lost.
    pub events: Option<EncodeLost>,
}

/// Whether a source that fails is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Its first failure ends the recording.
    Never,
    /// Once media has come it is opened again for as long as it takes; before that its first
    /// failure ends the recording.
    OnceStarted,
    /// It is opened again for as long as it takes.
    Always,
}

/// The session that records now, with its open chunk for the live view.
#[derive(Debug, Clone)]
pub struct LiveChunk {
    /// The session.
    pub session: SessionId,
    /// Its open chunk of video; none between chunks.
    pub open: Option<ChunkMap>,
    /// Its open chunk of events; none while there are none.
    pub events: Option<ChunkMap>,
}

struct Shared {
    stop: Mutex<Option<EndReason>>,
    /// Why it is ended against its will, if it is.
    forced: Mutex<Option<String>>,
    wake: Condvar,
    ended: AtomicBool,
    session: Mutex<Option<SessionId>>,
    open: Arc<Mutex<OpenChunks>>,
    state: Mutex<(SourceState, String)>,
    failure: Mutex<Option<SourceError>>,
}

/// A recording that runs; stops when told, and when dropped.
pub struct Recording {
    shared: Arc<Shared>,
    feed: Option<EventFeed>,
    thread: Option<JoinHandle<Result<Vec<SessionId>, RecorderError>>>,
}

/// Starts to record.
///
/// # Errors
/// When the session cannot be opened in the archive, or its identifier was used before. A source
/// that cannot be opened is not an error here: it is tried again, or ends the recording, as
/// configured.
pub fn start(
    archive: Arc<Archive>,
    anchor: Arc<dyn Anchor>,
    observer: Observer,
    config: RecorderConfig,
) -> Result<Recording, RecorderError> {
    if config.roll_after_us.is_some() && (config.events.is_some() || config.spec.id.is_some()) {
        return Err(RecorderError::Rolls);
    }
    let mut driver = Driver::new(archive, anchor, observer, config);
    // Opened here, so that the caller learns at once what is wrong and which session it is.
    let session = driver.open_session(None)?;
    let encode_lost = driver.config.events.clone();
    driver.feed = encode_lost.map(|encode| EventFeed::new(session.clock(), encode));
    driver.spawn(Some(session))
}

/// Starts to record as [`start`] does, and opens the session only once the source has given its
/// first media: a source that is refused outright leaves no session. Until then
/// [`Recording::live`] knows none.
///
/// # Errors
/// When the recording has events or an identifier given in advance.
pub fn start_with_media(
    archive: Arc<Archive>,
    anchor: Arc<dyn Anchor>,
    observer: Observer,
    config: RecorderConfig,
) -> Result<Recording, RecorderError> {
    if config.events.is_some() || config.spec.id.is_some() {
        return Err(RecorderError::Prepared);
    }
    Driver::new(archive, anchor, observer, config).spawn(None)
}

impl Recording {
    /// The session that records now.
    pub fn live(&self) -> Option<LiveChunk> {
        let session = (*lock(&self.shared.session))?;
        let chunks = lock(&self.shared.open);
        let of = |open: &Option<ChunkMap>| open.clone().filter(|open| open.session == session);
        Some(LiveChunk { session, open: of(&chunks.video), events: of(&chunks.events) })
    }

    /// Takes events of the session, if it was asked to record them.
    pub fn events(&self) -> Option<EventFeed> {
        self.feed.clone()
    }

    /// How the source is doing, and why.
    pub fn state(&self) -> (SourceState, String) {
        lock(&self.shared.state).clone()
    }

    /// What was wrong with a source that is refused.
    pub fn failure(&self) -> Option<SourceError> {
        lock(&self.shared.failure).clone()
    }

    /// Whether the recording has come to its end.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Asks it to stop; returns at once.
    pub fn stop(&self, reason: EndReason) {
        lock(&self.shared.stop).get_or_insert(reason);
        self.shared.wake.notify_all();
    }

    /// As [`Recording::stop`], against the session's will and for `why`: it ends as terminated,
    /// if it has not ended yet.
    pub fn terminate(&self, reason: EndReason, why: &str) {
        lock(&self.shared.forced).get_or_insert_with(|| why.to_owned());
        self.stop(reason);
    }

    /// Waits for its end and returns the sessions it made.
    ///
    /// # Errors
    /// When what it recorded last could not be closed in order; recovery closes it at the next
    /// start.
    pub fn join(mut self) -> Result<Vec<SessionId>, RecorderError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => {
                Err(RecorderError::Thread(std::io::Error::other("the recorder panicked")))
            }
            None => Ok(Vec::new()),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.stop(EndReason::Shutdown);
        if let Some(thread) = self.thread.take() {
            // Its result was not asked for; recovery closes what it could not.
            let _ = thread.join();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a run of the source is over.
enum RunEnd {
    /// Asked to stop, or the length is reached.
    Stop(EndReason),
    /// The source came to its end.
    Ended,
    /// Nothing came for too long.
    Stalled,
    /// The source died.
    Failed(SourceError),
    /// The disk takes no more.
    NoStorage(RecorderError),
}

pub(super) struct Driver {
    archive: Arc<Archive>,
    anchor: Arc<dyn Anchor>,
    observer: Observer,
    pub(super) config: RecorderConfig,
    shared: Arc<Shared>,
    sessions: Vec<SessionId>,
    feed: Option<EventFeed>,
}

impl Driver {
    fn new(
        archive: Arc<Archive>,
        anchor: Arc<dyn Anchor>,
        observer: Observer,
        config: RecorderConfig,
    ) -> Self {
        let shared = Arc::new(Shared {
            stop: Mutex::new(None),
            forced: Mutex::new(None),
            wake: Condvar::new(),
            ended: AtomicBool::new(false),
            session: Mutex::new(None),
            open: Arc::default(),
            state: Mutex::new((SourceState::Connecting, String::new())),
            failure: Mutex::new(None),
        });
        Driver { archive, anchor, observer, config, shared, sessions: vec![], feed: None }
    }

    /// Runs on a thread of its own; without a session, one is opened once media has come.
    fn spawn(mut self, session: Option<ActiveSession>) -> Result<Recording, RecorderError> {
        let (shared, feed) = (self.shared.clone(), self.feed.clone());
        let thread = std::thread::Builder::new().name("recorder".into());
        let thread = thread.spawn(move || {
            let result = match session {
                Some(session) => self.run(session, None),
                None => match self.first_media() {
                    Ok(Some((session, first))) => self.run(session, Some(first)),
                    Ok(None) => Ok(Vec::new()),
                    Err(error) => Err(error),
                },
            };
            self.shared.ended.store(true, Ordering::Release);
            result
        });
        Ok(Recording { shared, feed, thread: Some(thread.map_err(RecorderError::Thread)?) })
    }

    /// Whether it was asked to stop.
    pub(super) fn stopped(&self) -> Option<EndReason> {
        *lock(&self.shared.stop)
    }

    /// The source will not be recorded for `error`.
    pub(super) fn refuse(&self, error: &SourceError) {
        *lock(&self.shared.failure) = Some(error.clone());
        self.source(SourceState::Refused, &error.to_string());
    }

    /// Opens a session that begins now, or began with media that is here already.
    pub(super) fn open_session(
        &mut self,
        began_us: Option<u64>,
    ) -> Result<ActiveSession, RecorderError> {
        let session = ActiveSession::open(
            self.archive.clone(),
            self.anchor.clone(),
            self.observer.clone(),
            &self.config.spec,
            self.config.limits,
            self.shared.open.clone(),
            began_us,
        )?;
        *lock(&self.shared.session) = Some(session.id());
        self.sessions.push(session.id());
        Ok(session)
    }

    pub(super) fn source(&self, state: SourceState, reason: &str) {
        let mut current = lock(&self.shared.state);
        if current.0 == state && current.1 == reason {
            return;
        }
        *current = (state, reason.into());
        drop(current);
        let source_id = self.config.spec.source_id.clone();
        let reason = reason.to_owned();
        (self.observer)(RecorderEvent::Source { source_id, state, reason });
    }

    fn run(
        &mut self,
        session: ActiveSession,
        mut first: Option<First>,
    ) -> Result<Vec<SessionId>, RecorderError> {
        let mut session = session;
        let mut backoff = BACKOFF_FIRST;
        let mut lost_at: Option<Instant> = None;
        let mut problem = None;
        let (reason, why, tail) = loop {
            let before = session.length_us();
            let end = match first.take() {
                Some(first) => self.go_on(&mut session, first),
                None => self.one_run(&mut session),
            };
            if session.length_us() > before {
                (backoff, lost_at, problem) = (BACKOFF_FIRST, None, None);
            }
            let lost_since = *lost_at.get_or_insert_with(Instant::now);
            // Only what is missing between media and the end of the recording is a gap at its end.
            let has_media = session.length_us() > 0;
            let again = match self.config.persistence {
                Persistence::Never => false,
                Persistence::OnceStarted => has_media,
                Persistence::Always => true,
            };
            let missing = |reason| {
                let length_us = u64::try_from(lost_since.elapsed().as_micros()).unwrap_or(0);
                (has_media && length_us > 0).then_some(Gap { length_us, reason })
            };
            let gap = match end {
                RunEnd::Stop(reason) => break (reason, stopped(problem), None),
                RunEnd::Ended => break (EndReason::SourceEnded, "the source ended".into(), None),
                RunEnd::NoStorage(error) => {
                    self.source(SourceState::Refused, &error.to_string());
                    break (EndReason::StorageFull, error.to_string(), None);
                }
                RunEnd::Stalled => {
                    let text = "the source delivers nothing";
                    if !again {
                        self.source(SourceState::Refused, text);
                        break (EndReason::SourceFailed, text.into(), None);
                    }
                    self.source(SourceState::Stalled, text);
                    problem = Some(text.to_owned());
                    GapReason::SourceStalled
                }
                RunEnd::Failed(error) => {
                    let text = error.to_string();
                    if !again || !may_come_back(&self.config.uri, &error) {
                        self.refuse(&error);
                        break (EndReason::SourceFailed, text, None);
                    }
                    self.source(SourceState::Failed, &text);
                    problem = Some(text);
                    GapReason::SourceLost
                }
            };
            session.writer().run_lost(gap);
            match self.wait(&mut session, backoff) {
                Ok(None) => {}
                Ok(Some(reason)) => break (reason, stopped(problem), missing(gap)),
                Err(error) => {
                    self.source(SourceState::Refused, &error.to_string());
                    break (EndReason::StorageFull, error.to_string(), missing(gap));
                }
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        };
        // Nothing happens after the end; what happened until then is kept if it can be.
        let last = match &self.feed {
            Some(feed) => {
                feed.close();
                self.events(&mut session, true)
            }
            None => Ok(()),
        };
        let reason = if last.is_err() { EndReason::StorageFull } else { reason };
        let length = session.length_us();
        let finished = if reason == EndReason::StorageFull {
            // The writer is ahead of the disk; what is durable decides.
            let id = session.id();
            drop(session);
            crate::recovery::recover_session(
                &self.archive,
                &*self.anchor,
                &self.observer,
                id,
                reason,
                GapReason::Storage,
            )
            .map(|_| ())
        } else {
            // It may have ended by itself before it was to be ended.
            let is_stop = self.stopped() == Some(reason);
            let forced = lock(&self.shared.forced).clone().filter(|_| is_stop);
            let (forced, why) = (forced.is_some(), forced.unwrap_or_else(|| why.clone()));
            session.finish(Ending { reason, tail, why, forced }).map(|_| ())
        };
        *lock(&self.shared.session) = None;
        if reason != EndReason::StorageFull && reason != EndReason::SourceFailed {
            self.source(SourceState::Idle, &why);
        }
        finished?;
        tracing::info!(length_us = length, reason = reason.as_str(), "recording ended");
        Ok(self.sessions.clone())
    }

    /// Waits, and says so if it should stop meanwhile. Events are kept while there is no source.
    fn wait(
        &self,
        session: &mut ActiveSession,
        how_long: Duration,
    ) -> Result<Option<EndReason>, RecorderError> {
        let until = Instant::now() + how_long;
        loop {
            self.events(session, false)?;
            let left = until.saturating_duration_since(Instant::now());
            let slice = if self.feed.is_some() { left.min(POLL) } else { left };
            let stop = self.pause(slice);
            if stop.is_some() || left.is_zero() {
                return Ok(stop);
            }
        }
    }

    /// Waits for so long, or until it should stop.
    pub(super) fn pause(&self, how_long: Duration) -> Option<EndReason> {
        let stop = lock(&self.shared.stop);
        let wake = &self.shared.wake;
        let waited = wake.wait_timeout_while(stop, how_long, |stop| stop.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Opens the source and records what it gives until that is over.
    fn one_run(&mut self, session: &mut ActiveSession) -> RunEnd {
        self.source(SourceState::Connecting, "opening");
        match self.open(session) {
            Ok(Ok(stream)) => self.feed(session, stream),
            Ok(Err(error)) => RunEnd::Failed(error),
            Err(error) => RunEnd::NoStorage(error),
        }
    }

    /// Goes on with a source whose first media is here.
    fn go_on(&mut self, session: &mut ActiveSession, first: First) -> RunEnd {
        for event in first.events {
            match self.take(session, event) {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(error) => return RunEnd::NoStorage(error),
            }
        }
        self.feed(session, first.stream)
    }

    /// Opens the source. Where there are events it is opened beside, for it may take longer than
    /// events may wait.
    fn open(
        &self,
        session: &mut ActiveSession,
    ) -> Result<Result<crate::Stream, SourceError>, RecorderError> {
        let open = || crate::open(&self.config.uri, &self.config.options);
        if self.feed.is_none() {
            return Ok(open());
        }
        std::thread::scope(|scope| {
            let (give, take) = std::sync::mpsc::sync_channel(1);
            let opener = std::thread::Builder::new().name("opener".into());
            let opener = opener.spawn_scoped(scope, move || give.send(open()));
            opener.map_err(RecorderError::Thread)?;
            loop {
                match take.recv_timeout(POLL) {
                    Ok(opened) => return Ok(opened),
                    Err(RecvTimeoutError::Timeout) => self.events(session, false)?,
                    Err(RecvTimeoutError::Disconnected) => {
                        let error = std::io::Error::other("it ended while the source was opened");
                        return Err(RecorderError::Thread(error));
                    }
                }
            }
        })
    }

    /// Stores the events that have waited long enough; all of them when `now`.
    fn events(&self, session: &mut ActiveSession, now: bool) -> Result<(), RecorderError> {
        let Some(feed) = &self.feed else { return Ok(()) };
        while now || feed.is_due() {
            let Some(batch) = feed.take() else { break };
            session.events(&batch)?;
        }
        Ok(())
    }

    /// Feeds one run of the source into the session until it is over.
    fn feed(&mut self, session: &mut ActiveSession, mut stream: crate::Stream) -> RunEnd {
        let mut last = Instant::now();
        let end = loop {
            if let Some(reason) = *lock(&self.shared.stop) {
                break RunEnd::Stop(reason);
            }
            if let Err(error) = self.events(session, false) {
                break RunEnd::NoStorage(error);
            }
            let Some(event) = stream.next(POLL) else {
                if last.elapsed() > self.config.stall_after {
                    break RunEnd::Stalled;
                }
                continue;
            };
            last = Instant::now();
            match self.take(session, event) {
                Ok(None) => {}
                Ok(Some(end)) => break end,
                Err(error) => break RunEnd::NoStorage(error),
            }
        };
        if let RunEnd::Stop(_) | RunEnd::Stalled = end {
            // What the pipeline still holds belongs to the recording.
            for event in stream.stop() {
                if matches!(event, MediaEvent::Fragment(_) | MediaEvent::Init(_))
                    && let Err(error) = self.take(session, event)
                {
                    return RunEnd::NoStorage(error);
                }
            }
        }
        end
    }

    fn take(
        &mut self,
        session: &mut ActiveSession,
        event: MediaEvent,
    ) -> Result<Option<RunEnd>, RecorderError> {
        match event {
            MediaEvent::Init(init) => session.begin(init)?,
            MediaEvent::Fragment(fragment) => {
                let limit = self.config.stop_after_us;
                if self.config.roll_after_us.is_some_and(|us| session.media_us() >= us)
                    && fragment.keyframe
                {
                    self.roll(session)?;
                }
                self.store(session, fragment)?;
                self.source(SourceState::Recording, "media comes in");
                if limit.is_some_and(|us| session.media_us() >= us) {
                    return Ok(Some(RunEnd::Stop(EndReason::Stopped)));
                }
            }
            MediaEvent::Lost(loss) => session.writer().media_lost(match loss.reason {
                LossReason::SlowConsumer => GapReason::Overload,
                LossReason::SourceGap => GapReason::SourceStalled,
            }),
            MediaEvent::Ended => return Ok(Some(RunEnd::Ended)),
            MediaEvent::Failed(error) => return Ok(Some(RunEnd::Failed(error))),
        }
        Ok(None)
    }

    /// Stores a fragment. A store that refuses for the moment is asked again; what is lost
    /// meanwhile is a gap.
    fn store(
        &mut self,
        session: &mut ActiveSession,
        fragment: crate::media::Fragment,
    ) -> Result<(), RecorderError> {
        let events = self.feed.as_ref().and_then(EventFeed::take);
        match session.fragment(fragment, events.as_ref()) {
            Ok(()) => Ok(()),
            Err(RecorderError::Writer(error)) => {
                tracing::warn!(%error, "fragment dropped");
                session.writer().media_lost(GapReason::Overload);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the session and goes on in a new one, without losing a picture.
    fn roll(&mut self, session: &mut ActiveSession) -> Result<(), RecorderError> {
        let init = session.writer().init().cloned();
        let mut next = self.open_session(None)?;
        // It is here while the session before is closed, which may take a while.
        next.writer().media_is_here();
        let done = std::mem::replace(session, next);
        let why = "the session reached its longest length".to_owned();
        done.finish(Ending { reason: EndReason::Limit, tail: None, why, forced: false })?;
        if let Some(init) = init {
            session.begin(init)?;
        }
        Ok(())
    }
}

/// Why a recording that was stopped ended, with what was wrong with its source last.
fn stopped(problem: Option<String>) -> String {
    problem.map_or_else(|| "stopped".into(), |problem| format!("stopped; {problem}"))
}

/// Whether a failed source may work later without anybody changing it.
pub(super) fn may_come_back(uri: &SourceUri, error: &SourceError) -> bool {
    // A camera that answers 401 or 404 may be starting up; a file that is no video stays none.
    error.is_transient() || !matches!(uri.kind(), SourceKind::File { .. } | SourceKind::Test(_))
}
