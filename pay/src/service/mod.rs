//! The running payment process: one task owns driver and journal and does one thing after another,
//! the [`Office`] answers the gateway and hands it what changes anything.

mod allowances;
mod convert;
mod estimate;
mod ledger;
mod office;
mod order;
mod pages;
mod payer;
mod proposals;
mod receipts;
mod requests;
mod signer;
mod stake;
mod why;

pub use office::{Office, Setup};
pub use payer::{Driver, Payer, Stop};
pub use receipts::watch as watch_receipts;
pub use signer::Signer;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::payout::types::Millis;

/// This machine's clock.
pub fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
