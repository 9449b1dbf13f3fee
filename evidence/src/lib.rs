//! Lucid's evidence format, version 1: how a recording is cut, sealed, hashed, signed, carried and
//! verified.
//!
//! Everything here is pure: bytes, keys, time and randomness come in as arguments and bytes go out.
//! There is no input or output, no clock and no other Lucid crate, so the same code runs in the
//! recorder, in the exporter and in the offline verifier. The format itself is written up in
//! `docs/evidence-format.md`.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod cbor;
pub mod checkpoint;
pub mod chunk;
pub mod cose;
pub mod event;
pub mod finding;
pub mod hash;
pub mod id;
pub mod key;
pub mod manifest;
pub mod proof;
pub mod seal;
pub mod tree;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use finding::{Finding, Findings, Verdict};
pub use hash::Hash;
pub use id::SessionId;
pub use key::{PublicKey, Signature, SigningKey};

/// The version number that every structure of this format carries.
pub const FORMAT_VERSION: u64 = 1;
