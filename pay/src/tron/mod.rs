//! TRON without a network: addresses, amounts, keys, transactions, calldata and signed messages.
//! Bytes in, bytes out.

pub mod abi;
pub mod address;
pub mod amount;
pub mod hex;
pub mod json;
pub mod key;
pub mod message;
pub mod mnemonic;
pub mod permission;
pub mod receipt;
pub mod signature;
pub mod transaction;
pub mod typed_data;

use sha3::{Digest, Keccak256};

pub use address::Address;
pub use amount::{AmountError, Sun, Usdt};

/// Keccak-256, TRON's and Ethereum's hash (not SHA3-256).
pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}
