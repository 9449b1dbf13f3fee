//! What is known of a desktop while it runs: counters of the wire.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the wire counts for one desktop. The wire only ever adds; whoever wants rates looks twice.
#[derive(Debug, Default)]
pub struct Counters {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    frames: AtomicU64,
    frames_skipped: AtomicU64,
    encode_us: AtomicU64,
    encode_longest_us: AtomicU64,
    round_trip_us: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes from clients, after TLS.
    pub bytes_in: u64,
    /// Bytes to clients, before TLS.
    pub bytes_out: u64,
    /// Pictures sent.
    pub frames: u64,
    /// Pictures not sent because the client was slow.
    pub frames_skipped: u64,
    /// Time spent on encoding pictures, all together, microseconds.
    pub encode_us: u64,
    /// The longest that one picture took, microseconds.
    pub encode_longest_us: u64,
    /// Last time from a question to the client's answer, microseconds; 0 before the first.
    pub round_trip_us: u64,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Counters {
    /// Bytes came from a client.
    pub fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes went to a client.
    pub fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A picture was encoded and handed to the writer.
    pub fn frame(&self, encoding: Duration) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.encode_us.fetch_add(micros(encoding), Ordering::Relaxed);
        self.encode_longest_us.fetch_max(micros(encoding), Ordering::Relaxed);
    }

    /// A picture was due, and the client still had the one before.
    pub fn frame_skipped(&self) {
        self.frames_skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// The client answered a question.
    pub fn round_trip(&self, time: Duration) {
        self.round_trip_us.store(micros(time).max(1), Ordering::Relaxed);
    }

    /// All of them now. Each is exact; together they may be some instructions apart.
    pub fn now(&self) -> Counted {
        let get = |one: &AtomicU64| one.load(Ordering::Relaxed);
        Counted {
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            frames: get(&self.frames),
            frames_skipped: get(&self.frames_skipped),
            encode_us: get(&self.encode_us),
            encode_longest_us: get(&self.encode_longest_us),
            round_trip_us: get(&self.round_trip_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_keep_the_longest_and_the_last() {
        let counters = Counters::default();
        counters.received(7);
        counters.sent(100);
        counters.sent(23);
        for ms in [5, 9, 2] {
            counters.frame(Duration::from_millis(ms));
            counters.round_trip(Duration::from_millis(ms));
        }
        counters.frame_skipped();
        let expected = Counted {
            bytes_in: 7,
            bytes_out: 123,
            frames: 3,
            frames_skipped: 1,
            encode_us: 16_000,
            encode_longest_us: 9_000,
            round_trip_us: 2_000,
        };
        assert_eq!(counters.now(), expected);
    }
}
