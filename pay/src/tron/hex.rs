//! Hexadecimal text. Errors say what is wrong and never repeat the text, which may be a secret.

/// Why text is not the bytes it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// Something else than 0-9, a-f, A-F.
    #[error("character {at} is not hexadecimal")]
    NotHex {
        /// Place of the character, from 0.
        at: usize,
    },
    /// Half a byte is missing.
    #[error("{digits} hexadecimal digits are not whole bytes")]
    Odd {
        /// Digits found.
        digits: usize,
    },
}

/// Bytes of hexadecimal text without prefix, either case.
pub fn decode(text: &str) -> Result<Vec<u8>, HexError> {
    let digits = text.as_bytes();
    let value = |at: usize| match digits[at] {
        c @ b'0'..=b'9' => Ok(c - b'0'),
        c @ b'a'..=b'f' => Ok(c - b'a' + 10),
        c @ b'A'..=b'F' => Ok(c - b'A' + 10),
        _ => Err(HexError::NotHex { at }),
    };
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for at in (0..digits.len()).step_by(2) {
        let high = value(at)?;
        if at + 1 == digits.len() {
            return Err(HexError::Odd { digits: digits.len() });
        }
        bytes.push(high << 4 | value(at + 1)?);
    }
    Ok(bytes)
}

/// Lower-case text of bytes, without prefix.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
