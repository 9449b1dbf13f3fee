//! The client for TRON nodes, by their HTTP API.
//!
//! [`HttpNode`] is one node: it speaks HTTP with limits on time and size, keeps a [`health`] with a
//! circuit breaker, and reads the node's [`answers`]. [`Nodes`] are several of them: reads go to
//! the best one that answers, and [`Nodes::watch`] compares them and says where they disagree. The
//! payout driver takes [`HttpNode`]s one by one and compares by itself.
//!
//! Prices, energy and parameters are always the node's answer, never a constant here.

pub mod answers;
pub mod cover;
pub mod endpoint;
pub mod health;
mod http;
mod node;
mod nodes;
mod read;

pub use endpoint::{ApiKey, Endpoint, EndpointError, Network};
pub use http::{ANSWER_BYTES_MAX, AskError, BuildError, Timeouts, Transport, authority};
pub use node::{FEE_MARGIN_PERCENT, HttpNode};
pub use nodes::{BEHIND_MS, CLOCK_OFF_MS, Disagreement, Nodes, Watch};
