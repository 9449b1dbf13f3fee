//! The device as a machine: its log, its restart and shutdown, its reset, and what a person sends
//! along who asks for help.

pub mod kept_log;
pub mod orders;
pub mod reset;
pub mod support;

use std::sync::Arc;
use std::time::Instant;

pub use kept_log::{KeptLog, Level, Line, Wanted};
pub use orders::{Order, Orders};

/// What the handlers share of all that.
pub struct System {
    /// The newest lines of the log.
    pub log: Arc<KeptLog>,
    /// What the page asks the process to do with itself.
    pub orders: Orders,
    /// When the process began.
    pub began: Instant,
}

impl System {
    /// With a log that is being written.
    pub fn new(log: Arc<KeptLog>) -> Self {
        Self { log, orders: Orders::default(), began: Instant::now() }
    }
}
