//! The one place where a request of the client meets the policy. What is not allowed is dropped,
//! counted, and told in events.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::EventKind;
use crate::policy::{Capability, Denial, Policy};

/// Counts what came since it was last told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    moves: u64,
    clicks: u64,
    wheel: u64,
}

/// What the pointer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointerUse {
    /// Moved.
    Move,
    /// A button went down.
    Press,
    /// A button came up. Always let through, or a button that was pressed would stay down.
    Release,
    /// The wheel turned.
    Wheel,
}

/// The gate of one session. Times are microseconds of one clock that does not go back.
#[derive(Debug)]
pub struct Gate {
    policy: Arc<Policy>,
    observer: bool,
    counts: Counts,
    denied: BTreeMap<(Capability, u8), (Denial, u64)>,
    /// Pointer events still allowed, in millionths.
    mouse_credit: u64,
    mouse_at_us: u64,
}

impl Gate {
    /// A gate that holds to `policy`. Observers may do nothing, whatever it says.
    pub fn new(policy: Arc<Policy>, observer: bool, now_us: u64) -> Self {
        let mut gate = Gate {
            policy,
            observer,
            counts: Counts::default(),
            denied: BTreeMap::new(),
            mouse_credit: 0,
            mouse_at_us: now_us,
        };
        gate.mouse_credit = gate.mouse_full();
        gate
    }

    /// The policy it holds to.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Another policy is in force.
    pub fn replace(&mut self, policy: Arc<Policy>) {
        let allowed_before = self.policy.mouse_per_s.is_some();
        self.policy = policy;
        if !allowed_before {
            self.mouse_credit = self.mouse_full();
        }
    }

    /// One second's worth of pointer events.
    fn mouse_full(&self) -> u64 {
        u64::from(self.policy.mouse_per_s.unwrap_or(0)) * 1_000_000
    }

    /// Whether a key that goes down reaches the desktop.
    pub fn key(&mut self) -> bool {
        let verdict = self.plain(Capability::Keyboard);
        self.pass(Capability::Keyboard, verdict)
    }

    /// Whether what the pointer does reaches the desktop.
    pub fn pointer(&mut self, what: PointerUse, now_us: u64) -> bool {
        let mut verdict = self.plain(Capability::Mouse);
        if verdict.is_ok() && what != PointerUse::Release {
            verdict = self.mouse_rate(now_us);
        }
        if verdict.is_ok() {
            match what {
                PointerUse::Move => self.counts.moves += 1,
                PointerUse::Press => self.counts.clicks += 1,
                PointerUse::Wheel => self.counts.wheel += 1,
                PointerUse::Release => {}
            }
        }
        self.pass(Capability::Mouse, verdict)
    }

    /// Whether something that is only allowed or not goes on.
    pub fn other(&mut self, capability: Capability) -> bool {
        let verdict = self.plain(capability);
        self.pass(capability, verdict)
    }

    /// Something was not allowed, as its own part of the server found.
    pub fn refuse(&mut self, capability: Capability, denial: Denial) {
        self.pass(capability, Err(denial));
    }

    /// Something was allowed, but the desktop took it too slowly and it was dropped.
    pub fn overrun(&mut self, capability: Capability) {
        self.pass(capability, Err(Denial::OverLimit));
    }

    fn plain(&self, capability: Capability) -> Result<(), Denial> {
        match !self.observer && self.policy.allows(capability) {
            true => Ok(()),
            false => Err(Denial::NotAllowed),
        }
    }

    fn mouse_rate(&mut self, now_us: u64) -> Result<(), Denial> {
        let passed = now_us.saturating_sub(self.mouse_at_us);
        self.mouse_at_us = self.mouse_at_us.max(now_us);
        let rate = u64::from(self.policy.mouse_per_s.unwrap_or(0));
        let earned = passed.saturating_mul(rate);
        self.mouse_credit = self.mouse_credit.saturating_add(earned).min(self.mouse_full());
        match self.mouse_credit.checked_sub(1_000_000) {
            Some(left) => {
                self.mouse_credit = left;
                Ok(())
            }
            None => Err(Denial::OverLimit),
        }
    }

    fn pass(&mut self, capability: Capability, verdict: Result<(), Denial>) -> bool {
        let Err(denial) = verdict else { return true };
        let code = Denial::ALL.iter().position(|one| *one == denial).unwrap_or_default();
        let code = u8::try_from(code).unwrap_or(u8::MAX);
        self.denied.entry((capability, code)).or_insert((denial, 0)).1 += 1;
        false
    }

    /// What happened since this was last asked.
    pub fn report(&mut self) -> Vec<EventKind> {
        let mut events = Vec::new();
        let counts = std::mem::take(&mut self.counts);
        let Counts { moves, clicks, wheel } = counts;
        if moves + clicks + wheel > 0 {
            events.push(EventKind::Pointer { moves, clicks, wheel });
        }
        for ((capability, _), (denial, count)) in std::mem::take(&mut self.denied) {
            events.push(EventKind::Refused { capability, denial, count });
        }
        events
    }
}

#[cfg(test)]
mod tests;
