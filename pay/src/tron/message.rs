//! Messages signed to prove an address, as `signMessageV2` makes them. Text is always UTF-8 text,
//! also when it looks hexadecimal; the legacy form with its constant length is refused.

use super::signature::{Signature, SignatureError};
use super::{Address, keccak256};

/// Digest of a message.
pub fn digest(message: &[u8]) -> [u8; 32] {
    let mut bytes = format!("\x19TRON Signed Message:\n{}", message.len()).into_bytes();
    bytes.extend_from_slice(message);
    keccak256(&bytes)
}

/// Checks that `claimed` signed `message`.
pub fn verify(message: &[u8], signature: &str, claimed: Address) -> Result<(), SignatureError> {
    Signature::from_hex(signature)?.verify_strict(&digest(message), claimed)
}
