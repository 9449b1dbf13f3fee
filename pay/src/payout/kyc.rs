//! Approvals of a payee by the compliance key: Ed25519 over payee, KYC hash and expiry.

use super::types::{Address, Millis};
use ed25519_dalek::{Signature, VerifyingKey};

/// What the compliance key signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The payee.
    pub payee: Address,
    /// Hash of the file on the payee.
    pub kyc: [u8; 32],
    /// Until when it holds.
    pub expires: Millis,
    /// Ed25519 over [`Approval::message`].
    pub signature: [u8; 64],
}

impl Approval {
    /// `"lucid-pay kyc v1" | payee 21 | hash 32 | expiry u64 big-endian`.
    pub fn message(payee: &Address, kyc: &[u8; 32], expires: Millis) -> Vec<u8> {
        [b"lucid-pay kyc v1".as_slice(), &payee.to_bytes(), kyc, &expires.to_be_bytes()].concat()
    }

    /// Whether `key` signed it.
    pub fn signed_by(&self, key: &[u8; 32]) -> bool {
        let message = Self::message(&self.payee, &self.kyc, self.expires);
        VerifyingKey::from_bytes(key).is_ok_and(|key| {
            key.verify_strict(&message, &Signature::from_bytes(&self.signature)).is_ok()
        })
    }
}
