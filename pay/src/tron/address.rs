//! Addresses: 21 bytes that start with 0x41, written in base58 with a checksum of four bytes.

use std::fmt;
use std::str::FromStr;

use super::{keccak256, sha256};

/// First byte of every address.
pub const PREFIX: u8 = 0x41;
/// Length of every address in text (characters).
const TEXT_CHARS: usize = 34;

/// Why something is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing was given.
    #[error("the address is empty")]
    Empty,
    /// Ethereum's form.
    #[error("this is an Ethereum address; a TRON address starts with T")]
    Ethereum,
    /// Text of another length.
    #[error("an address has 34 characters, this has {0}")]
    TextLength(usize),
    /// A character base58 does not have.
    #[error("character {0:?} does not occur in an address")]
    Character(char),
    /// The last four bytes are not those the others ask for.
    #[error("the checksum does not fit: a character is wrong, missing or swapped")]
    Checksum,
    /// Not 21 bytes.
    #[error("an address has 21 bytes, this has {0}")]
    Length(usize),
    /// Another network's first byte.
    #[error("an address starts with byte 0x41, this with {0:#04x}")]
    Prefix(u8),
}

/// An account or contract.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address([u8; 20]);

impl Address {
    /// From the 21 bytes of a transaction.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AddressError> {
        let bytes: &[u8; 21] = bytes.try_into().map_err(|_| AddressError::Length(bytes.len()))?;
        let [prefix, rest @ ..] = bytes;
        if *prefix != PREFIX {
            return Err(AddressError::Prefix(*prefix));
        }
        Ok(Self(*rest))
    }

    /// From the 20 bytes contracts and event logs use.
    pub const fn from_evm(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Address of an uncompressed public key (65 bytes, of which the first is not hashed).
    pub fn of_public_key(uncompressed: &[u8; 65]) -> Self {
        let hash = keccak256(&uncompressed[1..]);
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&hash[12..]);
        Self(bytes)
    }

    /// The 21 bytes of a transaction.
    pub fn to_bytes(self) -> [u8; 21] {
        let mut bytes = [PREFIX; 21];
        bytes[1..].copy_from_slice(&self.0);
        bytes
    }

    /// The 20 bytes contracts and event logs use.
    pub const fn evm(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.starts_with("0x") || text.starts_with("0X") {
            return Err(AddressError::Ethereum);
        }
        let foreign = |c: &char| !c.is_ascii_alphanumeric() || matches!(c, '0' | 'O' | 'I' | 'l');
        if let Some(character) = text.chars().find(foreign) {
            return Err(AddressError::Character(character));
        }
        // Bounds the work on hostile text; whatever is near enough gets the more telling error.
        if text.len() > 2 * TEXT_CHARS {
            return Err(AddressError::TextLength(text.len()));
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| AddressError::Checksum)?;
        let Some((payload, checksum)) = bytes.split_last_chunk::<4>() else {
            return Err(AddressError::TextLength(text.len()));
        };
        if sha256(&sha256(payload))[..4] != checksum[..] {
            return Err(match text.len() {
                TEXT_CHARS => AddressError::Checksum,
                other => AddressError::TextLength(other),
            });
        }
        Self::from_bytes(payload)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = self.to_bytes();
        let mut bytes = [0; 25];
        bytes[..21].copy_from_slice(&payload);
        bytes[21..].copy_from_slice(&sha256(&sha256(&payload))[..4]);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// In records: the 21 bytes.
impl<C> minicbor::Encode<C> for Address {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Address {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        Self::from_bytes(d.bytes()?).map_err(|error| minicbor::decode::Error::custom(error).at(at))
    }
}
