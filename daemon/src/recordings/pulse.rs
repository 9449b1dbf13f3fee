//! What the recorders tell, for those who ask later: when media last became durable, and that
//! something about the sessions has changed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by the recorders' threads and the handlers.
#[derive(Default)]
pub struct Pulse {
    durable_us: AtomicU64,
    generation: AtomicU64,
}

impl Pulse {
    /// Media up to this moment of the device's clock survives a power cut.
    pub fn durable(&self, wall_us: u64) {
        self.durable_us.fetch_max(wall_us, Ordering::Relaxed);
    }

    /// When media last became durable since the start, microseconds since 1970.
    pub fn last_durable_us(&self) -> Option<u64> {
        Some(self.durable_us.load(Ordering::Relaxed)).filter(|us| *us > 0)
    }

    /// Something that sessions show has changed.
    pub fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Grows with every change: what was read before the last one may be stale.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
