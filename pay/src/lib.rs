//! `lucid-pay`: what the payment process is made of. It knows TRON and money, and nothing of
//! recordings or the chain of the nodes.
//!
//! [`payout`] decides and does no input or output; [`payout::driver`] carries its effects out
//! against [`node::TronNode`], [`payout::wallet::Wallet`] and the [`journal`]. [`ledger`] is a sum
//! of the journal's records. [`client`] is such a node on HTTP.
#![forbid(unsafe_code)]

pub mod chain;
pub mod client;
pub mod config;
pub mod gateway;
pub mod hardware;
pub mod journal;
pub mod ledger;
pub mod node;
pub mod payout;
pub mod process;
pub mod service;
pub mod tron;
pub mod wallet;
