//! Private keys: exactly 32 bytes, from 1 to the curve's order less one. Wiped when dropped.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use k256::ecdsa::SigningKey;
use k256::elliptic_curve::PrimeField;
use k256::{FieldBytes, Scalar};
use zeroize::{Zeroize, Zeroizing};

use super::hex::{self, HexError};
use super::{Address, signature::Signature};

/// Coin type of TRON in BIP-44.
pub const COIN_TYPE: u32 = 195;
/// Bit of a hardened index in BIP-32.
const HARDENED: u32 = 1 << 31;
/// Most steps a derivation path may have.
const MAX_STEPS: usize = 16;

/// Why something is not a private key or cannot be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not hexadecimal.
    #[error("the private key is not hexadecimal")]
    Hex(#[source] HexError),
    /// Another length.
    #[error("a private key has 32 bytes, this has {0}")]
    Length(usize),
    /// Zero.
    #[error("a private key cannot be zero")]
    Zero,
    /// The curve's order or more.
    #[error("the private key is not below the order of the curve")]
    Range,
    /// A path that BIP-32 does not have.
    #[error("a derivation path looks like m/44'/195'/0'/0/0")]
    Path,
}

/// A private key.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// From 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != 32 {
            return Err(KeyError::Length(bytes.len()));
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(KeyError::Zero);
        }
        SigningKey::from_slice(bytes).map(Self).map_err(|_| KeyError::Range)
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(hex::decode(text).map_err(KeyError::Hex)?);
        Self::from_bytes(&bytes)
    }

    /// Derives the key at `path` from a seed (BIP-32).
    pub fn derive(seed: &[u8], path: &str) -> Result<Self, KeyError> {
        let steps = parse_path(path)?;
        let mut node = hmac_sha512(b"Bitcoin seed", &[seed]);
        for index in steps {
            let parent = Self::from_bytes(&node[..32])?;
            let mut data = Zeroizing::new([0; 33]);
            if index & HARDENED == 0 {
                let point = parent.0.verifying_key().to_sec1_point(true);
                data.copy_from_slice(point.as_bytes());
            } else {
                data[1..].copy_from_slice(&node[..32]);
            }
            let mut child = hmac_sha512(&node[32..], &[&data[..], &index.to_be_bytes()]);
            let mut tweak = FieldBytes::default();
            tweak.copy_from_slice(&child[..32]);
            let step = Option::<Scalar>::from(Scalar::from_repr(tweak)).ok_or(KeyError::Range)?;
            let mut sum = (step + parent.0.as_nonzero_scalar().as_ref()).to_bytes();
            child[..32].copy_from_slice(&sum);
            sum.zeroize();
            tweak.zeroize();
            node = child;
        }
        Self::from_bytes(&node[..32])
    }

    /// The 32 bytes.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The public key, uncompressed: 0x04 and two coordinates.
    pub fn public_key(&self) -> [u8; 65] {
        let mut bytes = [0; 65];
        bytes.copy_from_slice(self.0.verifying_key().to_sec1_point(false).as_bytes());
        bytes
    }

    /// Address of the key.
    pub fn address(&self) -> Address {
        Address::of_public_key(&self.public_key())
    }

    /// Signs a digest: RFC 6979, low s.
    pub fn sign(&self, digest: &[u8; 32]) -> Signature {
        Signature::sign(&self.0, digest)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey of {}", self.address())
    }
}

/// The path of account address `index` of BIP-44.
pub fn account_path(account: u32, index: u32) -> String {
    format!("m/44'/{COIN_TYPE}'/{account}'/0/{index}")
}

/// Indices of a path, the hardened ones with their bit.
pub fn parse_path(path: &str) -> Result<Vec<u32>, KeyError> {
    let mut parts = path.split('/');
    if parts.next() != Some("m") {
        return Err(KeyError::Path);
    }
    let steps = parts.map(|part| {
        let (digits, hardened) = match part.strip_suffix(['\'', 'h', 'H']) {
            Some(digits) => (digits, HARDENED),
            None => (part, 0),
        };
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(KeyError::Path);
        }
        let index: u32 = digits.parse().map_err(|_| KeyError::Path)?;
        if index >= HARDENED { Err(KeyError::Path) } else { Ok(index | hardened) }
    });
    let steps: Vec<u32> = steps.collect::<Result<_, _>>()?;
    if steps.len() > MAX_STEPS { Err(KeyError::Path) } else { Ok(steps) }
}

fn hmac_sha512(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    // HMAC takes keys of every length: longer ones than a block are hashed first (RFC 2104).
    let mut block = Zeroizing::new([0u8; 128]);
    let used = key.len().min(block.len());
    block[..used].copy_from_slice(&key[..used]);
    let mut mac = Hmac::<sha2::Sha512>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}
