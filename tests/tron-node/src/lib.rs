//! A TRON full node for tests: its rules, its answers and, on demand, its faults. The ledger is a
//! pure core; [`http`] serves it as `/wallet/*`, `/walletsolidity/*` and, apart, `/sim/*`.
//!
//! It shares no code with the payment process, so that the two check each other. What it does not
//! do: other contracts than one TRC-20 and one router, TRC-10, gRPC, consensus.

#![forbid(unsafe_code)]

pub mod address;
pub mod faults;
pub mod hex;
pub mod http;
pub mod ledger;
pub mod schema;
pub mod transaction;
