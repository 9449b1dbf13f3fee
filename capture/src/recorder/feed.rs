//! Events of a session that records: handed over from any thread, stamped, and taken by the
//! recorder's thread in batches.
//!
//! What an event says is its maker's business: here it is the bytes of one
//! [`lucid_evidence::event::Event`], made once its time is known. One longer than that allows is
//! dropped and counted too.
//! [`EventFeed::record`] never waits. Above [`QUEUED_EVENTS_MAX`] or [`QUEUED_BYTES_MAX`] events
//! are dropped and counted, and the count is itself recorded as soon as there is room.

use super::wall_us;
use lucid_evidence::event::EVENT_MAX_BYTES;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most events that wait for the recorder.
pub const QUEUED_EVENTS_MAX: usize = 4096;
/// Most bytes of events that wait for the recorder.
pub const QUEUED_BYTES_MAX: usize = 1 << 20;
/// How long an event may wait for others, or for a fragment, before it is made durable. Together
/// with [`super::run`]'s poll and a slow card's flush it stays below the second that a crash may
/// cost.
pub const EVENT_WAIT_MAX: Duration = Duration::from_millis(300);

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Microseconds of the session's stream clock; 0 before its first picture.
    pub stream_us: u64,
    /// Microseconds since 1970 by the device's clock.
    pub wall_us: u64,
}

/// Makes the event that says how many were dropped.
pub type EncodeLost = Arc<dyn Fn(Stamp, u64) -> Vec<u8> + Send + Sync>;

/// The stream clock of a session, for those who have no picture to read it from.
#[derive(Debug)]
pub(crate) struct StreamClock {
    began: Instant,
    /// Monotonic time at which the stream clock was zero; [`u64::MAX`] while it is not known.
    zero_us: AtomicU64,
}

impl StreamClock {
    pub fn new() -> Self {
        StreamClock { began: Instant::now(), zero_us: AtomicU64::new(u64::MAX) }
    }

    /// Microseconds since the session was opened.
    pub fn monotonic_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The first picture stands at `zero_us` of [`StreamClock::monotonic_us`].
    pub fn set_zero(&self, zero_us: u64) {
        self.zero_us.store(zero_us, Ordering::Release);
    }

    fn stamp(&self) -> Stamp {
        let stream_us = self.monotonic_us().saturating_sub(self.zero_us.load(Ordering::Acquire));
        Stamp { stream_us, wall_us: wall_us() }
    }
}

/// Events one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventBatch {
    /// Their bytes.
    pub bytes: Vec<u8>,
    /// When the first one happened.
    pub first: Stamp,
    /// When the last one happened.
    pub last: Stamp,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    events: usize,
    span: Option<(Stamp, Stamp)>,
    oldest: Option<Instant>,
    lost: u64,
    closed: bool,
}

struct Inner {
    clock: Arc<StreamClock>,
    encode_lost: EncodeLost,
    queue: Mutex<Queue>,
}

/// Takes events for a recording. Clones feed the same recording; after its end what comes is
/// dropped.
#[derive(Clone)]
pub struct EventFeed(Arc<Inner>);

impl std::fmt::Debug for EventFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = self.lock();
        f.debug_struct("EventFeed")
            .field("events", &queue.events)
            .field("lost", &queue.lost)
            .finish_non_exhaustive()
    }
}

impl EventFeed {
    pub(crate) fn new(clock: Arc<StreamClock>, encode_lost: EncodeLost) -> Self {
        EventFeed(Arc::new(Inner { clock, encode_lost, queue: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what happens now: `encode` is told when that is and returns the event's bytes. It
    /// must be short and must not record anything itself.
    pub fn record(&self, encode: impl FnOnce(Stamp) -> Vec<u8>) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        // Under the lock, so that the order of events is the order of their times.
        let stamp = queue.after(self.0.clock.stamp());
        self.declare_lost(&mut queue, stamp);
        let bytes = encode(stamp);
        if queue.lost > 0 || !queue.push(&bytes, stamp) {
            queue.lost += 1;
        }
    }

    /// Events that were dropped and whose count is not recorded yet.
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn declare_lost(&self, queue: &mut Queue, stamp: Stamp) {
        if queue.lost > 0 && queue.push(&(self.0.encode_lost)(stamp, queue.lost), stamp) {
            queue.lost = 0;
        }
    }

    /// Whether the oldest event has waited long enough.
    pub(crate) fn is_due(&self) -> bool {
        self.lock().oldest.is_some_and(|oldest| oldest.elapsed() >= EVENT_WAIT_MAX)
    }

    /// All that waits; none if nothing does.
    pub(crate) fn take(&self) -> Option<EventBatch> {
        let mut queue = self.lock();
        let batch = queue.take();
        if queue.lost > 0 {
            let stamp = queue.after(self.0.clock.stamp());
            self.declare_lost(&mut queue, stamp);
        }
        batch
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }
}

impl Queue {
    /// A time not before that of the event before: the device's clock may be set back, the stream
    /// clock begins once the first picture is there.
    fn after(&self, stamp: Stamp) -> Stamp {
        let least = self.span.map_or(0, |(_, last)| last.stream_us);
        Stamp { stream_us: stamp.stream_us.max(least), ..stamp }
    }

    fn push(&mut self, event: &[u8], stamp: Stamp) -> bool {
        if self.events >= QUEUED_EVENTS_MAX
            || self.bytes.len() + event.len() > QUEUED_BYTES_MAX
            || event.len() > EVENT_MAX_BYTES
        {
            return false;
        }
        self.bytes.extend_from_slice(event);
        self.events += 1;
        self.span = Some((self.span.map_or(stamp, |(first, _)| first), stamp));
        self.oldest.get_or_insert_with(Instant::now);
        true
    }

    fn take(&mut self) -> Option<EventBatch> {
        let (first, last) = self.span.take()?;
        self.events = 0;
        self.oldest = None;
        Some(EventBatch { bytes: std::mem::take(&mut self.bytes), first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> EventFeed {
        let lost: EncodeLost = Arc::new(|_, count| format!("[{count} lost]").into_bytes());
        EventFeed::new(Arc::new(StreamClock::new()), lost)
    }

    #[test]
    fn events_come_out_in_order_with_rising_times() {
        let feed = feed();
        assert!(feed.take().is_none() && !feed.is_due());
        let mut times = Vec::new();
        for n in 0..3u8 {
            feed.record(|stamp| {
                times.push(stamp);
                vec![n]
            });
        }
        assert!(times.iter().all(|stamp| stamp.stream_us == 0), "no picture yet: {times:?}");
        let batch = feed.take().unwrap();
        assert_eq!((batch.bytes, batch.first, batch.last), (vec![0, 1, 2], times[0], times[2]));
        assert!(feed.take().is_none());
        feed.0.clock.set_zero(0);
        feed.clone().record(|stamp| {
            assert!(stamp.stream_us > 0);
            vec![3]
        });
        feed.close();
        feed.record(|_| vec![4]);
        assert_eq!(feed.take().unwrap().bytes, [3]);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_count_is_recorded() {
        let feed = feed();
        for _ in 0..QUEUED_EVENTS_MAX + 5 {
            feed.record(|_| vec![b'e']);
        }
        assert_eq!(feed.lost(), 5);
        assert_eq!(feed.take().unwrap().bytes.len(), QUEUED_EVENTS_MAX);
        assert_eq!(feed.lost(), 0);
        feed.record(|_| b"next".to_vec());
        assert_eq!(feed.take().unwrap().bytes, b"[5 lost]next");
        // One that is too long does not keep the next ones out.
        feed.record(|_| vec![0; EVENT_MAX_BYTES + 1]);
        feed.record(|_| b"next".to_vec());
        assert_eq!(feed.take().unwrap().bytes, b"[1 lost]next");
        for _ in 0..QUEUED_BYTES_MAX / EVENT_MAX_BYTES + 3 {
            feed.record(|_| vec![0; EVENT_MAX_BYTES]);
        }
        assert_eq!(feed.lost(), 3);
        assert_eq!(feed.take().unwrap().bytes.len(), QUEUED_BYTES_MAX);
    }
}
