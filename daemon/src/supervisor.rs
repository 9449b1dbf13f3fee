//! Keeps the daemon's components running: each may fail or panic and is started again with
//! back-off; each has a state, a reason and a count of restarts; a drain stops them in the reverse
//! order of their start, under one deadline.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::events::{Events, Topic};
use crate::http::time::Rfc3339;

/// Wait before the first restart.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest wait before a restart.
const BACKOFF_MOST: Duration = Duration::from_secs(30);
/// A component that ran this long has recovered: its back-off starts over.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);
/// Longest reason kept, in characters.
const REASON_CHARS_MAX: usize = 400;

/// What a component is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ComponentState {
    /// Not ready yet.
    Starting,
    /// Does its work.
    Healthy,
    /// Works, but not fully; the reason says what is missing.
    Degraded,
    /// Not running; it is started again.
    Failed,
    /// Stopped because the daemon stops.
    Stopped,
}

/// A component as the API shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Component {
    /// Its fixed name.
    pub name: &'static str,
    /// What it is doing.
    pub state: ComponentState,
    /// Since when.
    pub since: Rfc3339,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it is in this state, when there is something to say.
    pub reason: Option<String>,
}

/// Whether the device is doing its job without a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The systemd watchdog is fed, and `/ready` says yes, only while this runs.
    Required,
    /// The rest goes on without it.
    Optional,
}

/// What a component is called and how it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its fixed name.
    pub name: &'static str,
    /// Whether the device does its job without it.
    pub need: Need,
    /// It must call [`Reporter::beat`] at least this often, else it counts as stuck.
    pub beat_within: Option<Duration>,
}

struct Entry {
    plan: Plan,
    shown: Component,
    beat: Instant,
}

struct Running {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Shared {
    entries: Mutex<Vec<Entry>>,
    running: Mutex<Vec<Running>>,
    /// Notified after every change of a state.
    changed: Notify,
    events: Events,
}

/// Owns the components.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

/// A component's way of saying how it is.
#[derive(Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
    index: usize,
}

/// The waits between restarts: doubling, capped, starting over after a good run.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Backoff {
    fn new() -> Self {
        Self { next: BACKOFF_FIRST }
    }

    /// The wait after a run of the given length.
    fn after(&mut self, ran: Duration) -> Duration {
        if ran >= RECOVERED_AFTER {
            self.next = BACKOFF_FIRST;
        }
        let wait = self.next;
        self.next = (self.next * 2).min(BACKOFF_MOST);
        wait
    }
}

impl Supervisor {
    /// A supervisor of nothing yet, telling state changes to `events`.
    pub fn new(events: Events) -> Self {
        let shared = Shared {
            entries: Mutex::default(),
            running: Mutex::default(),
            changed: Notify::new(),
            events,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Starts a component and keeps it running until the drain.
    ///
    /// `run` is called for every start with a reporter and the token that asks it to stop. It
    /// returns once it has stopped; returning before it was asked to counts as a failure.
    pub fn start<F, Fut>(&self, plan: Plan, run: F)
    where
        F: Fn(Reporter, CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let reporter = self.register(plan);
        let task = tokio::spawn(keep_running(reporter, stop.clone(), run));
        lock(&self.shared.running).push(Running { name: plan.name, stop, task });
    }

    /// Registers a component that has no task of its own; its owner reports for it.
    pub fn register(&self, plan: Plan) -> Reporter {
        let shown = Component {
            name: plan.name,
            state: ComponentState::Starting,
            since: Timestamp::now().into(),
            restarts: 0,
            reason: None,
        };
        let mut entries = lock(&self.shared.entries);
        entries.push(Entry { plan, shown, beat: Instant::now() });
        Reporter { shared: Arc::clone(&self.shared), index: entries.len() - 1 }
    }

    /// All components in the order of their start.
    pub fn components(&self) -> Vec<Component> {
        lock(&self.shared.entries).iter().map(|entry| entry.shown.clone()).collect()
    }

    /// Required components that are not doing their work, each with the reason.
    pub fn missing(&self) -> Vec<String> {
        let now = Instant::now();
        let entries = lock(&self.shared.entries);
        entries.iter().filter_map(|entry| entry.missing(now)).collect()
    }

    /// Waits until nothing required is missing.
    pub async fn whole(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if self.missing().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Stops everything, last started first, and waits until `deadline`. One that does not stop
    /// holds the others up for half of what is left, so that those before it get their time too.
    ///
    /// # Errors
    /// The names of those that were still running and were cut off.
    pub async fn drain(&self, deadline: Duration) -> Result<(), Vec<&'static str>> {
        let deadline = Instant::now() + deadline;
        let mut running = std::mem::take(&mut *lock(&self.shared.running));
        let mut slow = Vec::new();
        while let Some(mut component) = running.pop() {
            component.stop.cancel();
            let share = deadline.saturating_duration_since(Instant::now()) / 2;
            if tokio::time::timeout(share, &mut component.task).await.is_err() {
                slow.push(component);
            }
        }
        let mut late = Vec::new();
        for mut component in slow {
            if tokio::time::timeout_at(deadline, &mut component.task).await.is_err() {
                component.task.abort();
                late.push(component.name);
            }
        }
        if late.is_empty() { Ok(()) } else { Err(late) }
    }
}

impl Entry {
    fn missing(&self, now: Instant) -> Option<String> {
        if self.plan.need == Need::Optional {
            return None;
        }
        let name = self.plan.name;
        let reason = self.shown.reason.as_deref().unwrap_or("no reason given");
        match self.shown.state {
            ComponentState::Starting => return Some(format!("{name} is starting")),
            ComponentState::Failed => return Some(format!("{name} failed: {reason}")),
            ComponentState::Stopped => return Some(format!("{name} is stopped")),
            ComponentState::Healthy | ComponentState::Degraded => {}
        }
        let limit = self.plan.beat_within?;
        let silent = now.saturating_duration_since(self.beat);
        (silent > limit).then(|| format!("{name} has made no progress for {} s", silent.as_secs()))
    }
}

impl Reporter {
    /// The component does its work.
    pub fn healthy(&self) {
        self.report(ComponentState::Healthy, None);
    }

    /// There is nothing to do on this machine, and why; that is no fault.
    pub fn nothing_to_do(&self, reason: impl Into<String>) {
        self.report(ComponentState::Healthy, Some(reason.into()));
    }

    /// The component works in part.
    pub fn degraded(&self, reason: impl Into<String>) {
        self.report(ComponentState::Degraded, Some(reason.into()));
    }

    /// The component does not work.
    pub fn failed(&self, reason: impl Into<String>) {
        self.report(ComponentState::Failed, Some(reason.into()));
    }

    /// The component made progress.
    pub fn beat(&self) {
        if let Some(entry) = lock(&self.shared.entries).get_mut(self.index) {
            entry.beat = Instant::now();
        }
    }

    fn report(&self, state: ComponentState, reason: Option<String>) {
        let reason = reason.map(|reason| reason.chars().take(REASON_CHARS_MAX).collect());
        let changed = {
            let mut entries = lock(&self.shared.entries);
            let Some(entry) = entries.get_mut(self.index) else { return };
            entry.beat = Instant::now();
            if entry.shown.state == state && entry.shown.reason == reason {
                return;
            }
            if entry.shown.state != state {
                entry.shown.since = Timestamp::now().into();
            }
            entry.shown.state = state;
            entry.shown.reason = reason;
            entry.shown.clone()
        };
        let reason = changed.reason.as_deref().unwrap_or("");
        match state {
            ComponentState::Failed => tracing::error!(component = changed.name, reason, "failed"),
            ComponentState::Degraded => {
                tracing::warn!(component = changed.name, reason, "degraded")
            }
            _ => tracing::info!(component = changed.name, state = ?state, "component"),
        }
        self.shared.changed.notify_waiters();
        self.shared.events.publish(Topic::Component, &changed);
    }

    fn restarted(&self) {
        if let Some(entry) = lock(&self.shared.entries).get_mut(self.index) {
            entry.shown.restarts += 1;
        }
        self.report(ComponentState::Starting, None);
    }
}

async fn keep_running<F, Fut>(reporter: Reporter, stop: CancellationToken, run: F)
where
    F: Fn(Reporter, CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let mut backoff = Backoff::new();
    loop {
        let began = Instant::now();
        let ended = AssertUnwindSafe(run(reporter.clone(), stop.clone())).catch_unwind().await;
        let reason = match ended {
            Ok(Ok(())) if stop.is_cancelled() => None,
            Ok(Ok(())) => Some("ended although nothing asked it to".to_owned()),
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(panic) => Some(format!("panicked: {}", panic_text(&*panic))),
        };
        if stop.is_cancelled() {
            return reporter.report(ComponentState::Stopped, reason);
        }
        reporter.failed(reason.unwrap_or_default());
        let wait = backoff.after(began.elapsed());
        tokio::select! {
            () = tokio::time::sleep(wait) => reporter.restarted(),
            () = stop.cancelled() => return reporter.report(ComponentState::Stopped, None),
        }
    }
}

/// The text a panic carried.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Locks even after a panic elsewhere: the tables hold plain values that are whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const PLAN: Plan = Plan { name: "part", need: Need::Required, beat_within: None };

    #[test]
    fn waits_double_up_to_the_cap_and_start_over_after_a_good_run() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..8).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(backoff.after(RECOVERED_AFTER), BACKOFF_FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_that_fails_and_panics_is_started_again_until_it_runs() {
        let supervisor = Supervisor::new(Events::new());
        let tries = Arc::new(AtomicU32::new(0));
        let (up, mut is_up) = tokio::sync::mpsc::channel(1);
        let counter = Arc::clone(&tries);
        supervisor.start(PLAN, move |reporter, stop| {
            let (tries, up) = (Arc::clone(&counter), up.clone());
            async move {
                match tries.fetch_add(1, Ordering::SeqCst) {
                    0 => anyhow::bail!("no such device"),
                    1 => panic!("index out of range"),
                    2 => return Ok(()),
                    _ => {}
                }
                reporter.healthy();
                up.send(()).await?;
                stop.cancelled().await;
                Ok(())
            }
        });
        is_up.recv().await.unwrap();
        let shown = supervisor.components().remove(0);
        assert_eq!((shown.state, shown.restarts), (ComponentState::Healthy, 3));
        assert!(supervisor.missing().is_empty());
        supervisor.drain(Duration::from_secs(1)).await.unwrap();
        assert_eq!(supervisor.components()[0].state, ComponentState::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_goes_backwards_and_names_what_did_not_stop() {
        let supervisor = Supervisor::new(Events::new());
        let order = Arc::new(Mutex::new(Vec::new()));
        for name in ["first", "second"] {
            let order = Arc::clone(&order);
            supervisor.start(Plan { name, ..PLAN }, move |_, stop| {
                let order = Arc::clone(&order);
                async move {
                    stop.cancelled().await;
                    lock(&order).push(name);
                    Ok(())
                }
            });
        }
        supervisor.start(Plan { name: "deaf", ..PLAN }, |_, _| std::future::pending());
        tokio::task::yield_now().await;
        let late = supervisor.drain(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(late, ["deaf"]);
        tokio::task::yield_now().await;
        assert_eq!(lock(&order).first(), Some(&"second"));
    }

    #[tokio::test]
    async fn a_required_component_that_stops_beating_is_missing() {
        let supervisor = Supervisor::new(Events::new());
        let plan = Plan { beat_within: Some(Duration::from_secs(5)), ..PLAN };
        let reporter = supervisor.register(plan);
        assert_eq!(supervisor.missing(), ["part is starting"]);
        reporter.healthy();
        assert!(supervisor.missing().is_empty());
        let entries = lock(&supervisor.shared.entries);
        let later = Instant::now() + Duration::from_secs(7);
        let missing = entries[0].missing(later).unwrap();
        assert!(missing.contains("no progress"), "{missing}");
    }

    #[tokio::test]
    async fn an_optional_component_never_holds_the_watchdog() {
        let supervisor = Supervisor::new(Events::new());
        let reporter = supervisor.register(Plan { need: Need::Optional, ..PLAN });
        reporter.failed("no button on this board");
        assert!(supervisor.missing().is_empty());
    }
}
