//! Payouts: a pure state machine, `step(event, now) -> effects`, and its driver.
//!
//! [`book::Book`] is what the journal's records add up to. [`engine::Engine`] looks at it and at
//! an event and answers with effects; the one way to change the book is a record, and a record
//! counts only after it is durable. [`rules`] says when a transaction is over.

pub mod book;
pub mod driver;
pub mod engine;
pub mod event;
pub mod hot;
pub mod kyc;
mod next;
pub mod policy;
pub mod record;
pub mod router;
pub mod rules;
pub mod stake;
pub mod types;
pub mod wallet;

#[cfg(test)]
mod tests;
