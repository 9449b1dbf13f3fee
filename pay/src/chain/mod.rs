//! What the payment process does on the chain besides payouts, as functions over
//! [`crate::client::Nodes`]: reading USDT, knowing what things cost, staking, signing by several
//! parties, and sending one transaction of any kind until it is final or can never be.

pub mod cost;
pub mod known;
pub mod multisig;
pub mod proposing;
pub mod sending;
pub mod staking;
pub mod usdt;

pub use cost::{Estimate, Need};
pub use sending::{Progress, SendError, Sending};
