//! What the wire counts, and the rates between two looks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the wire counts for one desktop. The wire only ever adds; whoever wants rates looks twice.
#[derive(Debug, Default)]
pub struct Counters {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    frames: AtomicU64,
    frames_video: AtomicU64,
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
    /// Those of them that the recording's encoder made.
    pub frames_video: u64,
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

    /// A picture of the recording's encoder was handed to the writer; `packing` is what that took.
    pub fn frame_video(&self, packing: Duration) {
        self.frames_video.fetch_add(1, Ordering::Relaxed);
        self.frame(packing);
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
            frames_video: get(&self.frames_video),
            frames_skipped: get(&self.frames_skipped),
            encode_us: get(&self.encode_us),
            encode_longest_us: get(&self.encode_longest_us),
            round_trip_us: get(&self.round_trip_us),
        }
    }
}

/// What went on between two looks at the counters.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Bytes from clients, a second.
    pub bytes_in_per_s: f64,
    /// Bytes to clients, a second.
    pub bytes_out_per_s: f64,
    /// Pictures, a second.
    pub frames_per_s: f64,
    /// Mean time one picture took to encode, microseconds; 0 without pictures.
    pub encode_mean_us: f64,
}

impl Rates {
    /// The rates from `before` to `after`, `passed` apart; all 0 if no time passed.
    pub fn between(before: &Counted, after: &Counted, passed: Duration) -> Self {
        let seconds = passed.as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        let per_s = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let frames = after.frames.saturating_sub(before.frames);
        let encoding = after.encode_us.saturating_sub(before.encode_us);
        Rates {
            bytes_in_per_s: per_s(before.bytes_in, after.bytes_in),
            bytes_out_per_s: per_s(before.bytes_out, after.bytes_out),
            frames_per_s: per_s(before.frames, after.frames),
            encode_mean_us: if frames == 0 { 0.0 } else { encoding as f64 / frames as f64 },
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
        for (n, ms) in [5, 9, 2].into_iter().enumerate() {
            match n {
                1 => counters.frame_video(Duration::from_millis(ms)),
                _ => counters.frame(Duration::from_millis(ms)),
            }
            counters.round_trip(Duration::from_millis(ms));
        }
        counters.frame_skipped();
        let expected = Counted {
            bytes_in: 7,
            bytes_out: 123,
            frames: 3,
            frames_video: 1,
            frames_skipped: 1,
            encode_us: 16_000,
            encode_longest_us: 9_000,
            round_trip_us: 2_000,
        };
        assert_eq!(counters.now(), expected);
    }

    #[test]
    fn rates_are_of_what_came_between() {
        let before =
            Counted { bytes_out: 1000, frames: 10, encode_us: 50_000, ..Counted::default() };
        let after = Counted { bytes_out: 5000, frames: 70, encode_us: 290_000, ..before };
        let rates = Rates::between(&before, &after, Duration::from_secs(2));
        let expected = Rates {
            bytes_in_per_s: 0.0,
            bytes_out_per_s: 2000.0,
            frames_per_s: 30.0,
            encode_mean_us: 4000.0,
        };
        assert_eq!(rates, expected);
        assert_eq!(Rates::between(&after, &before, Duration::from_secs(1)), Rates::default());
        assert_eq!(Rates::between(&before, &after, Duration::ZERO), Rates::default());
    }
}
