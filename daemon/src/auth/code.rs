//! The claim code: 80 random bits, in letters that cannot be mistaken for each other when read
//! from a console and typed on a phone.

use std::fmt;

use lucid_rdp::credential::crockford::{self, ALPHABET};

use super::AuthError;

/// Characters of a code, 5 bits each.
const LENGTH: usize = 16;
/// Characters between dashes.
const GROUP: usize = 4;
/// Separates this hash from every other use of BLAKE3 here.
const CONTEXT: &str = "lucid 2026-11 claim code v1";

/// A claim code in the clear; it exists to be printed once.
pub struct ClaimCode([u8; LENGTH]);

/// What is kept of a code.
pub type CodeHash = blake3::Hash;

impl ClaimCode {
    /// A new random code.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub fn random() -> Result<Self, AuthError> {
        let mut bytes = [0u8; LENGTH];
        getrandom::fill(&mut bytes).map_err(|error| AuthError::Random(error.to_string()))?;
        // 256 is a multiple of 32, so the low five bits of a random byte are evenly spread.
        Ok(Self(bytes.map(|byte| ALPHABET[usize::from(byte & 31)])))
    }

    /// The code as a person types it: any case, dashes and spaces anywhere, O for 0, I and L for 1.
    pub fn typed(text: &str) -> Option<Self> {
        crockford::typed(text).map(|code| Self(*code))
    }

    /// What is kept of it. One hash is enough: 80 random bits cannot be tried out.
    pub fn hash(&self) -> CodeHash {
        blake3::Hash::from(blake3::derive_key(CONTEXT, &self.0))
    }
}

impl fmt::Display for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.chunks(GROUP).enumerate() {
            let dash = if index == 0 { "" } else { "-" };
            write!(f, "{dash}{}", String::from_utf8_lossy(group))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_recognised_however_it_is_typed() {
        let code = ClaimCode::random().unwrap();
        let shown = code.to_string();
        assert_eq!(shown.len(), 19);
        let typed = [shown.clone(), shown.to_lowercase(), shown.replace('-', " ")];
        for text in typed.into_iter().chain([shown.replace('0', "o").replace('1', "l")]) {
            assert_eq!(ClaimCode::typed(&text).unwrap().hash(), code.hash(), "{text}");
        }
        for text in ["", "0000", &shown[1..], &format!("{shown}0"), "UUUU-UUUU-UUUU-UUUU", "é"] {
            assert!(ClaimCode::typed(text).is_none(), "{text}");
        }
        assert!(!format!("{code:?}").contains(&shown[..4]));
    }
}
