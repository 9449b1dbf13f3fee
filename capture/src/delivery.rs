//! The bounded queue between a running source and its owner.
//!
//! A source cannot wait: when the owner is slow, whole fragments are dropped and declared lost, in
//! order, before the next one that fits. Everything else (init segments, losses, the end) always
//! fits, and there is little of it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::media::{Loss, LossReason, MediaEvent};
use crate::source::{MAX_QUEUED_BYTES, MAX_QUEUED_FRAGMENTS};

/// Something for the thread that owns the stream.
#[derive(Debug)]
pub(crate) enum Item {
    /// For the owner.
    Event(MediaEvent),
    /// For the driver: the file has come to its end and is to start again.
    Repeat,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    fragments: usize,
    bytes: usize,
    lost: Option<Loss>,
    over: bool,
}

/// The queue. Shared by the source's threads and the owner's.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl Delivery {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing can panic while the lock is held, and the queue is whole at every step.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds events in order; nothing is taken after the end.
    pub fn push(&self, events: impl IntoIterator<Item = MediaEvent>) {
        let mut queue = self.lock();
        for event in events {
            queue.push(event);
        }
        drop(queue);
        self.arrived.notify_all();
    }

    /// Asks the driver to start the file again.
    pub fn repeat(&self) {
        let mut queue = self.lock();
        if !queue.over {
            queue.items.push_back(Item::Repeat);
        }
        drop(queue);
        self.arrived.notify_all();
    }

    /// The next item; `None` when none came in time, or at once after the end.
    pub fn next(&self, timeout: Duration) -> Option<Item> {
        let deadline = Instant::now() + timeout;
        let mut queue = self.lock();
        loop {
            if let Some(item) = queue.pop() {
                return Some(item);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if queue.over || left.is_zero() {
                return None;
            }
            queue =
                self.arrived.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a fragment is lost because the queue is full; says whether that came in time.
    pub fn wait_behind(&self, timeout: Duration) -> bool {
        let queue = self.lock();
        let waited = self.arrived.wait_timeout_while(queue, timeout, |queue| queue.lost.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.lost.is_some()
    }

    /// Whether the end is in the queue or has been taken.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }
}

impl Queue {
    fn push(&mut self, event: MediaEvent) {
        if self.over {
            return;
        }
        match event {
            MediaEvent::Fragment(fragment) => {
                let full = self.fragments >= MAX_QUEUED_FRAGMENTS
                    || self.bytes + fragment.bytes.len() > MAX_QUEUED_BYTES;
                // A single fragment above the limit still passes through an empty queue.
                if full && self.fragments > 0 {
                    let end = fragment.start_us + i64::try_from(fragment.duration_us).unwrap_or(0);
                    let lost = self.lost.get_or_insert(Loss {
                        start_us: fragment.start_us,
                        duration_us: 0,
                        fragments: 0,
                        reason: LossReason::SlowConsumer,
                    });
                    lost.fragments += 1;
                    lost.duration_us = (end - lost.start_us).unsigned_abs();
                    return;
                }
                self.declare();
                self.fragments += 1;
                self.bytes += fragment.bytes.len();
                self.items.push_back(Item::Event(MediaEvent::Fragment(fragment)));
            }
            end @ (MediaEvent::Ended | MediaEvent::Failed(_)) => {
                self.declare();
                self.over = true;
                self.items.push_back(Item::Event(end));
            }
            other => {
                self.declare();
                self.items.push_back(Item::Event(other));
            }
        }
    }

    fn declare(&mut self) {
        if let Some(lost) = self.lost.take() {
            self.items.push_back(Item::Event(MediaEvent::Lost(lost)));
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Item::Event(MediaEvent::Fragment(fragment)) = &item {
            self.fragments -= 1;
            self.bytes -= fragment.bytes.len();
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Fragment;

    fn fragment(n: i64, bytes: usize) -> MediaEvent {
        MediaEvent::Fragment(Fragment {
            bytes: vec![0; bytes],
            start_us: n * 1_000_000,
            duration_us: 1_000_000,
            keyframe: true,
            captured_at_us: 0,
        })
    }

    fn drain(delivery: &Delivery) -> Vec<String> {
        std::iter::from_fn(|| delivery.next(Duration::ZERO))
            .map(|item| match item {
                Item::Event(MediaEvent::Fragment(f)) => format!("f{}", f.start_us / 1_000_000),
                Item::Event(MediaEvent::Lost(l)) => format!(
                    "lost {}+{} ({})",
                    l.start_us / 1_000_000,
                    l.duration_us / 1_000_000,
                    l.fragments
                ),
                Item::Event(MediaEvent::Ended) => "end".into(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_slow_owner_loses_whole_fragments_and_is_told() {
        let delivery = Delivery::default();
        let most = MAX_QUEUED_FRAGMENTS as i64;
        delivery.push((0..most + 3).map(|n| fragment(n, 10)));
        let first = delivery.next(Duration::ZERO);
        assert!(matches!(first, Some(Item::Event(MediaEvent::Fragment(_)))));
        delivery.push([fragment(most + 3, 10), fragment(most + 4, 10), MediaEvent::Ended]);
        let mut expected: Vec<String> = (1..most).map(|n| format!("f{n}")).collect();
        expected.push(format!("lost {most}+3 (3)"));
        expected.push(format!("f{}", most + 3));
        expected.push(format!("lost {}+1 (1)", most + 4));
        expected.push("end".into());
        assert_eq!(drain(&delivery), expected);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_giant_passes() {
        let delivery = Delivery::default();
        delivery.push([fragment(0, MAX_QUEUED_BYTES + 1), fragment(1, 1)]);
        assert_eq!(drain(&delivery), ["f0"]);
        delivery.push([fragment(2, 1)]);
        assert_eq!(drain(&delivery), ["lost 1+1 (1)", "f2"]);
    }

    #[test]
    fn nothing_follows_the_end_and_nobody_waits_for_it() {
        let delivery = Delivery::default();
        delivery.push([MediaEvent::Ended, fragment(0, 1)]);
        delivery.repeat();
        assert_eq!(drain(&delivery), ["end"]);
        assert!(delivery.next(Duration::from_secs(3600)).is_none());
        assert!(delivery.is_over());
    }
}
