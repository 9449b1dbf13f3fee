//! Session tokens: 256 random bits, kept only as their hash.

use std::fmt;

use zeroize::Zeroizing;

use super::AuthError;

/// Random bytes of a token.
const BYTES: usize = 32;
/// Separates this hash from every other use of BLAKE3 here.
const CONTEXT: &str = "lucid 2026-11 session token v1";

/// A token in the clear.
pub struct Token(Zeroizing<[u8; BYTES]>);

/// What is kept of a token; it also names the session, and opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId(pub [u8; 32]);

impl Token {
    /// A new random token.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub fn random() -> Result<Self, AuthError> {
        let mut bytes = Zeroizing::new([0u8; BYTES]);
        getrandom::fill(&mut *bytes).map_err(|error| AuthError::Random(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != BYTES * 2 {
            return None;
        }
        let mut bytes = Zeroizing::new([0u8; BYTES]);
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
        }
        Some(Self(bytes))
    }

    /// The text form: 64 hexadecimal digits.
    pub fn reveal(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is kept of it.
    pub fn id(&self) -> TokenId {
        TokenId(blake3::derive_key(CONTEXT, &*self.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "TokenId({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_never_shows_itself() {
        let token = Token::random().unwrap();
        let text = token.reveal();
        assert_eq!(Token::parse(&text).unwrap().id(), token.id());
        assert!(!format!("{token:?}").contains(&text[..8]));
        assert!(!text.starts_with(&format!("{:?}", token.id())[8..16]));
        for wrong in ["", &text[1..], &format!("{text}0"), &"g".repeat(64)] {
            assert!(Token::parse(wrong).is_none());
        }
    }
}
