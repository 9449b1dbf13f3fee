//! The PoOT ledger (proof of operational time) as a pure state machine, and the proofs that anchor
//! a recording in it.
//!
//! Nothing here reads a clock, a disk or a socket: transactions, blocks, certificates and the time
//! come in as arguments, and effects go out. The same code therefore runs in a node, in the
//! simulation and in the offline verifier. `lucid-chain-node` drives it. The formats are written up
//! in `docs/chain.md`.
#![forbid(unsafe_code)]

pub mod anchor;
pub mod block;
pub mod certificate;
pub mod genesis;
pub mod header;
pub mod history;
pub mod ledger;
pub mod parameters;
pub mod transaction;
pub mod validators;
pub mod verify;

pub use anchor::AnchorProof;
pub use block::Block;
pub use certificate::CommitCertificate;
pub use genesis::Genesis;
pub use header::Header;
pub use ledger::Ledger;
pub use parameters::{Parameter, Parameters};
pub use transaction::{Transaction, TxId};
pub use validators::ValidatorSet;

use lucid_evidence::Hash;

/// The version number that every structure of the chain carries.
pub const CHAIN_VERSION: u64 = 1;

/// Hashes `bytes` under `context`, so that a hash of one kind of structure never passes for one of
/// another kind.
pub(crate) fn hash_in(context: &'static str, bytes: &[u8]) -> Hash {
    Hash(blake3::derive_key(context, bytes))
}

#[cfg(test)]
mod testing;
