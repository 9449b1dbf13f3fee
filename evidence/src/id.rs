//! Session identifiers: UUID version 7 (RFC 9562 section 5.7), used once on the whole chain.

use std::fmt;

/// The identifier of a recording session: 16 bytes, a UUIDv7, so identifiers sort by the time they
/// were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

/// Bytes or text that are no session identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a session id; expected a UUID of version 7")]
pub struct SessionIdError {
    /// What stood there, cut at 80 characters.
    pub found: String,
}

impl SessionId {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Makes an identifier from the time in milliseconds since 1970 and ten random bytes.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        SessionId(*uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).as_uuid().as_bytes())
    }

    /// Accepts 16 bytes if they are a UUID of version 7 and the RFC's variant.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, SessionIdError> {
        let uuid = uuid::Uuid::from_bytes(bytes);
        if uuid.get_version() == Some(uuid::Version::SortRand)
            && uuid.get_variant() == uuid::Variant::RFC4122
        {
            Ok(SessionId(bytes))
        } else {
            Err(SessionIdError { found: uuid.to_string() })
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The time in the identifier, milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        self.0[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&uuid::Uuid::from_bytes(self.0), f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        // Only the hyphenated form: one identifier has one spelling in URLs, files and logs.
        let wrong = || SessionIdError { found: text.chars().take(80).collect() };
        if text.len() != 36 {
            return Err(wrong());
        }
        let uuid = uuid::Uuid::parse_str(text).map_err(|_| wrong())?;
        Self::from_bytes(*uuid.as_bytes()).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_goes_both_ways_and_carries_the_time() {
        let id = SessionId::new(1_793_000_000_123, [7; 10]);
        assert_eq!(id.unix_ms(), 1_793_000_000_123);
        assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
        assert_eq!(SessionId::from_bytes(*id.as_bytes()), Ok(id));
    }

    #[test]
    fn the_example_of_rfc_9562_is_read() {
        let id: SessionId = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap();
        assert_eq!(id.unix_ms(), 0x017F_22E2_79B0);
    }

    #[test]
    fn other_versions_and_spellings_are_refused() {
        for text in [
            "",
            "017f22e279b07cc398c4dc0c0c07398f",
            "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
            "919108f7-52d1-4320-9bac-f847db4148a8",
            "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",
        ] {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }
}
