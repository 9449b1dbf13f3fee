//! Ed25519 keys and signatures (RFC 8032), verified strictly.
//!
//! Strict means: the canonical encoding of S, no small-order public key and no small-order R, so
//! that a signature has one reading on every machine. See Chalkias, Garillot and Nikolaenko,
//! "Taming the many EdDSAs".

use crate::hash::{Hash, HexError, read_hex, write_hex};
use ed25519_dalek::Signer as _;
use std::fmt;

/// An Ed25519 public key, 32 bytes, known to be a point that is not of small order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// An Ed25519 signature, 64 bytes; it says nothing until verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// An Ed25519 secret key; wiped from memory when dropped, never shown.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// What is wrong with a key or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no point of the curve, or one of small order.
    #[error("public key {0:?} is not a usable Ed25519 point")]
    Point(Hash),
    /// The text is not the hexadecimal form of a key.
    #[error("public key: {0}")]
    Hex(#[from] HexError),
    /// The signature is not by this key over these bytes.
    #[error("the signature is not by key {key}")]
    Signature {
        /// The key that was expected to have signed.
        key: PublicKey,
    },
}

impl PublicKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Accepts 32 bytes that are the one encoding of a point which is not of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&bytes) {
            // A y of p or more decodes too and would be a second name of the same key.
            Ok(key) if !key.is_weak() && key.to_edwards().compress().to_bytes() == bytes => {
                Ok(PublicKey(bytes))
            }
            _ => Err(KeyError::Point(Hash(bytes))),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key's fingerprint, which people compare: the BLAKE3 hash of its bytes.
    pub fn fingerprint(&self) -> Hash {
        Hash::of(&self.0)
    }

    /// Checks a signature over `message`, strictly.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0)
            .map_err(|_| KeyError::Point(Hash(self.0)))?;
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0))
            .map_err(|_| KeyError::Signature { key: *self })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        read_hex(text, &mut bytes)?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl SigningKey {
    /// Length of the seed in bytes.
    pub const SEED_LEN: usize = 32;

    /// Makes the key of a 32-byte seed (RFC 8032 calls the seed the private key).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, to be stored where only this device reads it.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}
