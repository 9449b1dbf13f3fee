//! The frame around every stored value: `version(1) | hash(16) | value`.
//!
//! The hash is the first 16 bytes of keyless BLAKE3 over the key's length (big-endian u16), the
//! key and the value, so a record that turns up under a wrong key fails like a damaged one. It
//! guards against accidents; forgery is the business of the evidence format's signatures.

use crate::StoreError;

/// Version of the frame.
const FRAME_VERSION: u8 = 1;
/// Bytes of BLAKE3 kept.
const HASH_BYTES: usize = 16;
/// Bytes the frame adds to a value.
pub(crate) const FRAME_BYTES: usize = 1 + HASH_BYTES;

fn hash(key: &[u8], value: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u16).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    let mut out = [0; HASH_BYTES];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..HASH_BYTES]);
    out
}

/// Wraps a value for storing.
pub(crate) fn wrap(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(FRAME_BYTES + value.len());
    framed.push(FRAME_VERSION);
    framed.extend_from_slice(&hash(key, value));
    framed.extend_from_slice(value);
    framed
}

/// Unwraps a stored value after checking it.
pub(crate) fn unwrap(database: &str, key: &[u8], framed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = || StoreError::Damaged { database: database.into(), key: key.into() };
    if framed.len() < FRAME_BYTES || framed[0] != FRAME_VERSION {
        return Err(damaged());
    }
    let value = &framed[FRAME_BYTES..];
    if framed[1..FRAME_BYTES] != hash(key, value) {
        return Err(damaged());
    }
    Ok(value.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let framed = wrap(b"key", b"some value");
        assert_eq!(unwrap("db", b"key", &framed).unwrap(), b"some value");
        for bit in 0..framed.len() * 8 {
            let mut flipped = framed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unwrap("db", b"key", &flipped).is_err(), "bit {bit}");
        }
        for length in 0..framed.len() {
            assert!(unwrap("db", b"key", &framed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_record_under_another_key_is_damage() {
        let framed = wrap(b"key", b"value");
        assert!(unwrap("db", b"kex", &framed).is_err());
        assert!(unwrap("db", b"keyv", &wrap(b"key", b"value")).is_err());
    }
}
