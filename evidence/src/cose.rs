//! COSE_Sign1 (RFC 9052 section 4.2) with EdDSA over Ed25519 (RFC 9053 section 2.2), in one fixed
//! shape.
//!
//! `18([ protected, {}, payload, signature ])` where `protected` is `{1: -8, 3: content type}`. The
//! unprotected map is always empty, because it is not signed and no byte of a structure may be
//! free. The content type keeps a signature over one kind of structure from passing for another.

use crate::cbor::{CborError, Decoder, Encoder};
use crate::key::{KeyError, PublicKey, Signature, SigningKey};

/// The CBOR tag of COSE_Sign1.
const TAG: u64 = 18;
/// The header label of the algorithm, and EdDSA as its value.
const ALGORITHM: (u64, i64) = (1, -8);
/// The header label of the content type.
const CONTENT_TYPE: u64 = 3;
/// Longest payload that is accepted, in bytes.
pub const PAYLOAD_MAX_BYTES: usize = 16 << 20;

/// Why bytes are not a signed structure of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// The envelope does not have the fixed shape.
    #[error("signed structure: {0}")]
    Shape(#[from] CborError),
    /// The protected header is not the one of this content type.
    #[error("signed structure is not of type {expected}")]
    ContentType {
        /// The content type that was expected.
        expected: &'static str,
    },
    /// The signature does not verify.
    #[error("signed structure of type {content_type}: {source}")]
    Signature {
        /// The content type of the structure.
        content_type: &'static str,
        /// Why it does not.
        source: KeyError,
    },
}

/// A COSE_Sign1 whose shape was checked and whose signature was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unverified<'b> {
    content_type: &'static str,
    payload: &'b [u8],
    signature: Signature,
}

/// The protected header for a content type.
fn protected(content_type: &str) -> Vec<u8> {
    Encoder::new()
        .map(2)
        .uint(ALGORITHM.0)
        .int(ALGORITHM.1)
        .uint(CONTENT_TYPE)
        .text(content_type)
        .finish()
}

/// The bytes that are signed: the Sig_structure of RFC 9052 section 4.4.
fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    Encoder::new().array(4).text("Signature1").bytes(protected).bytes(&[]).bytes(payload).finish()
}

/// Signs `payload` as a structure of `content_type`.
pub fn sign1(key: &SigningKey, content_type: &'static str, payload: &[u8]) -> Vec<u8> {
    let protected = protected(content_type);
    let signature = key.sign(&to_be_signed(&protected, payload));
    assemble(&protected, payload, &signature)
}

fn assemble(protected: &[u8], payload: &[u8], signature: &Signature) -> Vec<u8> {
    Encoder::new()
        .tag(TAG)
        .array(4)
        .bytes(protected)
        .map(0)
        .bytes(payload)
        .bytes(&signature.0)
        .finish()
}

/// Reads the envelope of a structure of `content_type` without checking the signature, for payloads
/// that name the key which must have signed them.
pub fn open<'b>(bytes: &'b [u8], content_type: &'static str) -> Result<Unverified<'b>, CoseError> {
    let mut d = Decoder::new(bytes);
    d.tag("cose", TAG)?;
    d.array_of("cose", 4)?;
    let header = d.bytes("cose.protected", 256)?;
    d.map("cose.unprotected", 0)?;
    let payload = d.bytes("cose.payload", PAYLOAD_MAX_BYTES)?;
    let signature = Signature(d.fixed("cose.signature")?);
    d.end("cose")?;
    if header != protected(content_type) {
        return Err(CoseError::ContentType { expected: content_type });
    }
    Ok(Unverified { content_type, payload, signature })
}

impl<'b> Unverified<'b> {
    /// The payload, not yet to be believed.
    pub fn payload(&self) -> &'b [u8] {
        self.payload
    }

    /// Checks that `key` signed it and returns the payload.
    pub fn verify(&self, key: &PublicKey) -> Result<&'b [u8], CoseError> {
        let signed = to_be_signed(&protected(self.content_type), self.payload);
        key.verify(&signed, &self.signature)
            .map_err(|source| CoseError::Signature { content_type: self.content_type, source })?;
        Ok(self.payload)
    }
}

/// Reads and verifies a structure of `content_type` signed by `key`; returns the payload.
pub fn verify1<'b>(
    key: &PublicKey,
    content_type: &'static str,
    bytes: &'b [u8],
) -> Result<&'b [u8], CoseError> {
    open(bytes, content_type)?.verify(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "application/vnd.lucid.test+cbor";

    #[test]
    fn signed_bytes_verify_and_no_byte_is_free() {
        let key = SigningKey::from_seed(&[3; 32]);
        let signed = sign1(&key, TYPE, b"payload");
        assert_eq!(verify1(&key.public(), TYPE, &signed), Ok(&b"payload"[..]));
        for at in 0..signed.len() {
            for bit in 0..8 {
                let mut changed = signed.clone();
                changed[at] ^= 1 << bit;
                assert!(verify1(&key.public(), TYPE, &changed).is_err(), "byte {at} bit {bit}");
            }
        }
        for end in 0..signed.len() {
            assert!(verify1(&key.public(), TYPE, &signed[..end]).is_err());
        }
    }

    #[test]
    fn another_type_or_key_is_refused() {
        let key = SigningKey::from_seed(&[3; 32]);
        let signed = sign1(&key, TYPE, b"payload");
        let other = SigningKey::from_seed(&[4; 32]).public();
        assert!(matches!(verify1(&other, TYPE, &signed), Err(CoseError::Signature { .. })));
        assert!(matches!(
            verify1(&key.public(), "application/vnd.lucid.other+cbor", &signed),
            Err(CoseError::ContentType { .. })
        ));
    }
}
