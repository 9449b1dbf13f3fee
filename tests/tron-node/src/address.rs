//! Addresses: 21 bytes that begin with 0x41, as hex or base58check.

use crate::hex;
use k256::ecdsa::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;
use std::fmt;

/// First byte of every address.
pub const PREFIX: u8 = 0x41;

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Keccak-256 of `bytes`, the one of before SHA-3.
pub fn keccak(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// An account or contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 21]);

impl Address {
    /// From the 20 bytes the virtual machine uses.
    pub fn from_evm(bytes: [u8; 20]) -> Self {
        let mut address = [PREFIX; 21];
        address[1..].copy_from_slice(&bytes);
        Self(address)
    }

    /// From 21 bytes that begin with 0x41.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 21] = bytes.try_into().ok()?;
        (bytes[0] == PREFIX).then_some(Self(bytes))
    }

    /// The address a public key owns.
    pub fn of_key(key: &VerifyingKey) -> Self {
        let point = key.to_sec1_point(false);
        let hash = keccak(&point.as_bytes()[1..]);
        let mut evm = [0; 20];
        evm.copy_from_slice(&hash[12..]);
        Self::from_evm(evm)
    }

    /// The address a private key owns.
    pub fn of_signer(key: &SigningKey) -> Self {
        Self::of_key(key.verifying_key())
    }

    /// Reads base58check or 42 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 42 {
            return Self::from_bytes(&hex::decode(text)?);
        }
        let bytes = bs58::decode(text).into_vec().ok()?;
        let (payload, check) = bytes.split_at_checked(21)?;
        (sha256(&sha256(payload))[..4] == *check).then(|| Self::from_bytes(payload))?
    }

    /// The 20 bytes the virtual machine uses.
    pub fn evm(&self) -> &[u8] {
        &self.0[1..]
    }

    /// 42 hex digits.
    pub fn hex(&self) -> String {
        hex::encode(&self.0)
    }

    /// Base58check, or hex where `visible` is false.
    pub fn text(&self, visible: bool) -> String {
        if visible { self.to_string() } else { self.hex() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.to_vec();
        bytes.extend_from_slice(&sha256(&sha256(&self.0))[..4]);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}
