//! How a node has behaved, and when it may be asked again: back-off, rate limits and a circuit
//! breaker. Pure: time is an argument, milliseconds of any clock that only goes forward.

/// Failures in a row that open the circuit.
pub const FAILURES_MAX: u32 = 3;
/// First pause after the circuit opened, in milliseconds; it doubles.
pub const PAUSE_MS: u64 = 1_000;
/// Longest pause, in milliseconds.
pub const PAUSE_MS_MAX: u64 = 60_000;
/// Pause after a 429 or 503 that names none, in milliseconds; it doubles.
pub const LIMITED_MS: u64 = 2_000;
/// Pause after a 403 that names none: TronGrid shuts a client out for 30 s.
pub const SHUT_OUT_MS: u64 = 30_000;
/// Longest pause a node can ask for, in milliseconds.
pub const LIMITED_MS_MAX: u64 = 300_000;

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The node answered, if only that it refuses.
    Answered {
        /// How long it took, in milliseconds.
        latency_ms: u64,
    },
    /// It did not answer, or with something that is no answer.
    Failed,
    /// It asks to be left alone.
    Limited {
        /// For how long it said, in milliseconds.
        after_ms: Option<u64>,
        /// Whether it shut us out (403).
        shut_out: bool,
    },
}

/// Whether a node may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// One question, to see whether it is back.
    Probe,
    /// Not before so many milliseconds have passed.
    Shut {
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
}

/// The record of one node.
#[derive(Debug, Clone, Default)]
pub struct Health {
    failures: u32,
    limits: u32,
    shut_until: Option<u64>,
    probing_since: Option<u64>,
    limited: bool,
    latency_ms: Option<u64>,
}

impl Health {
    /// Asks for leave to ask. A [`Gate::Probe`] is given to one caller at a time; if that one never
    /// reports, another may probe after [`PAUSE_MS_MAX`].
    pub fn enter(&mut self, now: u64) -> Gate {
        let Some(until) = self.shut_until else { return Gate::Open };
        if now < until {
            return Gate::Shut { wait_ms: until - now };
        }
        match self.probing_since {
            Some(since) if now < since.saturating_add(PAUSE_MS_MAX) => {
                Gate::Shut { wait_ms: since.saturating_add(PAUSE_MS_MAX) - now }
            }
            _ => {
                self.probing_since = Some(now);
                Gate::Probe
            }
        }
    }

    /// Whether [`Health::enter`] would open, without taking the probe.
    pub fn would_open(&self, now: u64) -> bool {
        self.shut_until.is_none_or(|until| now >= until && self.probing_since.is_none())
    }

    /// Takes down what became of a question. `jitter` is random in 0..=255 and spreads pauses over
    /// the upper half of their length, so that several processes do not come back at once.
    pub fn report(&mut self, outcome: Outcome, now: u64, jitter: u8) {
        self.probing_since = None;
        match outcome {
            Outcome::Answered { latency_ms } => {
                let old = self.latency_ms.unwrap_or(latency_ms);
                *self = Self { latency_ms: Some((old * 3 + latency_ms) / 4), ..Self::default() };
            }
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.limited = false;
                if self.failures >= FAILURES_MAX {
                    let pause = doubled(PAUSE_MS, self.failures - FAILURES_MAX, PAUSE_MS_MAX);
                    self.shut(now, spread(pause, jitter));
                }
            }
            Outcome::Limited { after_ms, shut_out } => {
                let first = if shut_out { SHUT_OUT_MS } else { LIMITED_MS };
                let pause = match after_ms {
                    // What the node names is the least; only what it names absurdly is cut.
                    Some(after) => after.clamp(1, LIMITED_MS_MAX),
                    None => spread(doubled(first, self.limits, LIMITED_MS_MAX), jitter),
                };
                self.limits = self.limits.saturating_add(1);
                self.limited = true;
                self.shut(now, pause);
            }
        }
    }

    fn shut(&mut self, now: u64, pause: u64) {
        // A late answer of an earlier question never shortens a pause.
        self.shut_until = self.shut_until.max(Some(now.saturating_add(pause)));
    }

    /// Whether the node asked to be left alone.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Failures since the last answer.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the circuit is open.
    pub fn is_shut(&self) -> bool {
        self.shut_until.is_some()
    }

    /// Mean time of its answers, the newest counting a quarter, in milliseconds.
    pub fn latency_ms(&self) -> Option<u64> {
        self.latency_ms
    }
}

fn doubled(first: u64, times: u32, most: u64) -> u64 {
    first.checked_shl(times.min(20)).unwrap_or(most).min(most)
}

fn spread(pause: u64, jitter: u8) -> u64 {
    pause / 2 + pause / 2 * u64::from(jitter) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circuit_opens_probes_once_and_closes() {
        let mut health = Health::default();
        for _ in 0..FAILURES_MAX - 1 {
            health.report(Outcome::Failed, 0, 255);
            assert_eq!(health.enter(0), Gate::Open);
        }
        health.report(Outcome::Failed, 0, 255);
        assert_eq!(health.enter(999), Gate::Shut { wait_ms: 1 });
        assert!(health.would_open(1_000));
        assert_eq!(health.enter(1_000), Gate::Probe);
        assert!(matches!(health.enter(1_000), Gate::Shut { .. }), "one probe at a time");
        health.report(Outcome::Failed, 1_000, 255);
        assert_eq!(health.enter(1_000), Gate::Shut { wait_ms: 2_000 }, "the pause doubles");
        assert_eq!(health.enter(3_000), Gate::Probe);
        health.report(Outcome::Answered { latency_ms: 7 }, 3_000, 255);
        assert_eq!((health.enter(3_000), health.latency_ms()), (Gate::Open, Some(7)));
        assert_eq!(health.failures(), 0);
    }

    #[test]
    fn pauses_are_bounded_and_a_lost_probe_is_not_for_ever() {
        let mut health = Health::default();
        for _ in 0..100 {
            health.report(Outcome::Failed, 0, 255);
        }
        assert_eq!(health.enter(0), Gate::Shut { wait_ms: PAUSE_MS_MAX });
        assert_eq!(health.enter(PAUSE_MS_MAX), Gate::Probe);
        assert_eq!(health.enter(2 * PAUSE_MS_MAX), Gate::Probe, "nobody reported");
    }

    #[test]
    fn what_the_node_asks_for_is_kept_to() {
        let limited = |after_ms, shut_out| Outcome::Limited { after_ms, shut_out };
        let mut health = Health::default();
        health.report(limited(Some(7_000), false), 0, 0);
        assert_eq!(health.enter(6_999), Gate::Shut { wait_ms: 1 });
        assert!(health.is_limited());
        // An answer to an earlier question that comes late does not count against it again.
        health.report(limited(Some(1), false), 10, 0);
        assert_eq!(health.enter(6_999), Gate::Shut { wait_ms: 1 });
        let mut health = Health::default();
        health.report(limited(Some(u64::MAX), false), 0, 0);
        assert_eq!(health.enter(0), Gate::Shut { wait_ms: LIMITED_MS_MAX });
        let mut health = Health::default();
        health.report(limited(None, true), 0, 255);
        assert_eq!(health.enter(0), Gate::Shut { wait_ms: SHUT_OUT_MS });
        let mut health = Health::default();
        health.report(limited(None, false), 0, 0);
        assert_eq!(health.enter(0), Gate::Shut { wait_ms: LIMITED_MS / 2 });
    }
}
