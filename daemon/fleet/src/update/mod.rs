//! One update, from the offer to the end of it: what it is, where it stands, what may happen next.
//!
//! ```text
//! offered -> downloading -> verified -> waiting -> installing -> reboot wanted -> trial boot
//!    -> self-test -> confirmed | fell back
//! ```
//!
//! Everything before the trial boot can also end as failed, refused or cancelled.

mod machine;
mod record;
mod rules;
#[cfg(test)]
mod tests;

pub use machine::{Conditions, Effect, Event, Start, step};
pub use record::{Attempt, Ended, Offer, Origin, Outcome, Phase, Record, RecordError, Source};
pub use rules::{Bundle, Refusal, Rules, Window, judge};
