//! The one hash of the format: BLAKE3 with 32 bytes of output.

use std::fmt;

/// A BLAKE3 hash, 32 bytes; shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// Hashes the parts one after the other, as if they were one string.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Result<Self, HexError> {
        let mut out = [0; 32];
        read_hex(text, &mut out)?;
        Ok(Hash(out))
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Hash(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl std::str::FromStr for Hash {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        Self::from_hex(text)
    }
}

/// A text that is not the hexadecimal form of so many bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits, found {found:?}")]
pub struct HexError {
    /// Digits that would be right.
    pub expected: usize,
    /// What stood there, cut at 80 characters.
    pub found: String,
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

/// Reads exactly `out.len()` bytes from hexadecimal digits.
pub(crate) fn read_hex(text: &str, out: &mut [u8]) -> Result<(), HexError> {
    let wrong =
        || HexError { expected: out.len() * 2, found: text.chars().take(80).collect::<String>() };
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return Err(wrong());
    }
    let mut bytes = Vec::with_capacity(out.len());
    for pair in digits.chunks_exact(2) {
        let high = (pair[0] as char).to_digit(16).ok_or_else(wrong)?;
        let low = (pair[1] as char).to_digit(16).ok_or_else(wrong)?;
        bytes.push((high * 16 + low) as u8);
    }
    out.copy_from_slice(&bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_form_goes_both_ways() {
        let hash = Hash::of(b"lucid");
        assert_eq!(Hash::from_hex(&hash.to_string()), Ok(hash));
        assert_eq!(Hash::from_hex(&hash.to_string().to_uppercase()), Ok(hash));
        assert_eq!(Hash::from_hex("12").unwrap_err().expected, 64);
        assert!(Hash::from_hex(&"g".repeat(64)).is_err());
        assert!(Hash::from_hex(&"é".repeat(32)).is_err());
    }

    #[test]
    fn parts_hash_like_the_whole() {
        assert_eq!(Hash::of_parts(&[b"lu", b"", b"cid"]), Hash::of(b"lucid"));
    }
}
