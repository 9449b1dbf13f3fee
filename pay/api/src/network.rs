//! How the payment process and its TRON nodes are.

use crate::MicroUsdt;
use serde::{Deserialize, Serialize};

/// Health of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Answers, and its blocks are fresh.
    Healthy,
    /// Answers, but its blocks are old.
    Behind,
    /// Asked for patience; it is left alone for a while.
    RateLimited,
    /// Does not answer, or answered wrongly.
    Down,
    /// Not asked yet.
    Unknown,
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeHealth {
    /// Its name in the configuration, or its host. Never a key.
    pub name: String,
    /// How it is.
    pub state: NodeState,
    /// Newest block.
    pub head: Option<u64>,
    /// Newest block that is final.
    pub solid: Option<u64>,
    /// Its last answer took so long, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Its clock against ours, in milliseconds; positive is ahead.
    pub skew_ms: Option<i64>,
    /// What was wrong last.
    pub trouble: Option<String>,
}

/// Whether payouts move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// Payouts move.
    Ready,
    /// Keys are locked; an operator must give the passphrase.
    Locked,
    /// No node is healthy; nothing is sent until one is.
    NoNode,
    /// Nothing new is accepted; the process is ending.
    Draining,
    /// It stopped itself; `trouble` says why.
    Stopped,
}

/// The payment process in one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// Whether payouts move.
    pub state: ProcessState,
    /// What keeps them from moving.
    pub trouble: Option<String>,
    /// `mainnet`, `shasta`, `nile`, `sandbox` or a name of the operator's.
    pub network: String,
    /// Whether the money is play money.
    pub test_money: bool,
    /// Version of the payment process.
    pub version: String,
    /// Its nodes.
    pub nodes: Vec<NodeHealth>,
    /// Payouts that are not final.
    pub open_payouts: u64,
    /// Payouts that wait for a second person.
    pub awaiting_approval: u64,
    /// Sum of what is not final, in micro-USDT.
    pub open_micro: MicroUsdt,
    /// Sum of confirmed payouts, in micro-USDT.
    pub paid_micro: MicroUsdt,
    /// Its own clock, in milliseconds since 1970.
    pub now_ms: u64,
}
