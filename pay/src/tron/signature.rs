//! Signatures of 65 bytes: r, s and v. Made with v 0/1, read with 0/1 and 27/28.

use k256::ecdsa::{RecoveryId, SigningKey, VerifyingKey};

use super::Address;
use super::hex::{self, HexError};

/// Length of a signature (bytes).
pub const LENGTH: usize = 65;

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not hexadecimal.
    #[error("the signature is not hexadecimal")]
    Hex(#[source] HexError),
    /// Another length.
    #[error("a signature has 65 bytes, this has {0}")]
    Length(usize),
    /// Another v.
    #[error("the last byte of a signature is 0, 1, 27 or 28, this is {0}")]
    V(u8),
    /// r or s is zero or not below the order of the curve.
    #[error("r and s must be above zero and below the order of the curve")]
    Range,
    /// The second form of the same signature.
    #[error("s is in the upper half: this is the altered twin of a signature")]
    HighS,
    /// No key could have made it.
    #[error("no public key belongs to this signature")]
    NoKey,
    /// Somebody else signed, or something else was signed.
    #[error("the signature is of {found}, not of {claimed}")]
    Signer {
        /// Who signed, if the digest is right.
        found: Address,
        /// Who should have.
        claimed: Address,
    },
}

/// A signature in canonical form: r and s in range, recovery id 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    inner: k256::ecdsa::Signature,
    recovery: RecoveryId,
}

impl Signature {
    /// Signs a digest: RFC 6979, low s.
    pub(super) fn sign(key: &SigningKey, digest: &[u8; 32]) -> Self {
        let (inner, recovery) = key.sign_prehash_recoverable(digest);
        Self { inner, recovery }
    }

    /// Reads 65 bytes; s may lie in either half, as the network has it for transactions.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignatureError> {
        let &[ref both @ .., v] =
            <&[u8; LENGTH]>::try_from(bytes).map_err(|_| SignatureError::Length(bytes.len()))?;
        let odd = match v {
            0 | 27 => false,
            1 | 28 => true,
            other => return Err(SignatureError::V(other)),
        };
        let inner = k256::ecdsa::Signature::from_slice(both).map_err(|_| SignatureError::Range)?;
        Ok(Self { inner, recovery: RecoveryId::new(odd, false) })
    }

    /// Reads hexadecimal text, with or without `0x`.
    pub fn from_hex(text: &str) -> Result<Self, SignatureError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        Self::from_bytes(&hex::decode(digits).map_err(SignatureError::Hex)?)
    }

    /// 65 bytes with v 0/1, as java-tron and Ledger write them.
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..64].copy_from_slice(&self.inner.to_bytes());
        bytes[64] = self.recovery.to_byte();
        bytes
    }

    /// 65 bytes with v 27/28, as tronweb writes them.
    pub fn to_bytes_v27(&self) -> [u8; LENGTH] {
        let mut bytes = self.to_bytes();
        bytes[64] += 27;
        bytes
    }

    /// Who signed `digest`.
    pub fn recover(&self, digest: &[u8; 32]) -> Result<Address, SignatureError> {
        let key = VerifyingKey::recover_from_prehash(digest, &self.inner, self.recovery)
            .map_err(|_| SignatureError::NoKey)?;
        let mut bytes = [0; 65];
        bytes.copy_from_slice(key.to_sec1_point(false).as_bytes());
        Ok(Address::of_public_key(&bytes))
    }

    /// Checks that `claimed` signed `digest`, in the one form with s in the lower half.
    pub fn verify_strict(&self, digest: &[u8; 32], claimed: Address) -> Result<(), SignatureError> {
        if bool::from(k256::elliptic_curve::scalar::IsHigh::is_high(&self.inner.s())) {
            return Err(SignatureError::HighS);
        }
        let found = self.recover(digest)?;
        if found == claimed { Ok(()) } else { Err(SignatureError::Signer { found, claimed }) }
    }
}
