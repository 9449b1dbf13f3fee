//! Drives the ledger: takes transactions in, makes blocks, keeps them, and gives proofs out.
//!
//! [`Node`] is the handle. Behind it `core` holds ledger, mempool and block store and knows
//! how a block is proposed, guarded, signed and committed; `solo` decides when, for a chain
//! of one validator. A consensus engine with peers replaces `solo` alone.
#![forbid(unsafe_code)]

mod check;
mod core;
mod error;
mod keys;
mod mempool;
mod node;
mod persist;
mod records;
mod solo;
mod watermark;

pub use check::{CheckReport, Problem, check, rebuild_indexes, session_heights};
pub use core::{OpenReport, SNAPSHOT_EVERY_BLOCKS, STORE_BATCH_MAX_BYTES};
pub use error::{NodeError, SubmitError, WaitError};
pub use mempool::{MEMPOOL_MAX_BYTES, MEMPOOL_MAX_TRANSACTIONS};
pub use node::{
    Clock, Config, Head, Included, KEEP_EMPTY_BLOCKS_MIN, NewBlock, Node, Production,
    SUBSCRIPTION_BLOCKS, SessionStatus, State, found, genesis, system_clock,
};
pub use persist::KEEP_EMPTY_BLOCKS;
pub use watermark::holds_mark;
