//! Calldata: selector and arguments in words of 32 bytes (Solidity ABI). Any function signature of
//! addresses, integers, booleans, bytes and strings, so that a router's ABI can be configured.
//! Arrays and tuples are refused as unknown types.

use super::hex::{self, HexError};
use super::{Address, keccak256};
use crate::tron::address::AddressError;

/// One word.
pub type Word = [u8; 32];
/// Most characters of a function signature or a value in text.
const MAX_TEXT: usize = 64 * 1024;

/// Why a call cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AbiError {
    /// Not `name(type,type)`.
    #[error("a function is written like transfer(address,uint256)")]
    Signature,
    /// A type the ABI does not have or that is not supported.
    #[error("{0:?} is not a type of the ABI")]
    Type(String),
    /// More or fewer arguments than the function takes.
    #[error("the function takes {wanted} arguments, {given} were given")]
    Count {
        /// Arguments the function has.
        wanted: usize,
        /// Arguments given.
        given: usize,
    },
    /// Not an address.
    #[error("the argument is not an address")]
    Address(#[source] AddressError),
    /// Below zero for an unsigned type.
    #[error("an unsigned integer cannot be negative")]
    Negative,
    /// Not a decimal number.
    #[error("an integer is decimal digits")]
    Digits,
    /// More than the type can hold.
    #[error("the number does not fit {bits} bits")]
    TooLarge {
        /// Width of the type.
        bits: usize,
    },
    /// Not true or false.
    #[error("a boolean is true or false")]
    Bool,
    /// Not hexadecimal.
    #[error("the bytes are not hexadecimal")]
    Hex(#[source] HexError),
    /// Another length than the type says.
    #[error("{wanted} bytes are wanted, {given} were given")]
    Length {
        /// Bytes the type has.
        wanted: usize,
        /// Bytes given.
        given: usize,
    },
    /// Longer than any call.
    #[error("text of {0} characters is too long for a call (at most 65536)")]
    TooLong(usize),
}

/// A type of the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Contract or account, without the byte 0x41.
    Address,
    /// Unsigned, of so many bits.
    Uint(usize),
    /// Signed, of so many bits.
    Int(usize),
    /// True or false.
    Bool,
    /// So many bytes, 1 to 32.
    Fixed(usize),
    /// Bytes of any number.
    Bytes,
    /// UTF-8 text.
    Text,
}

impl Type {
    /// Reads the name of a type. `trcToken` is TRON's name of a 256-bit token id.
    pub fn parse(name: &str) -> Result<Self, AbiError> {
        let unknown = || AbiError::Type(name.chars().take(64).collect());
        let number = |digits: &str| -> Option<usize> {
            let plain = !digits.starts_with('0') && digits.bytes().all(|c| c.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        let bits = |digits: &str| match digits {
            "" => Ok(256),
            _ => number(digits)
                .filter(|bits| bits % 8 == 0 && (8..=256).contains(bits))
                .ok_or_else(unknown),
        };
        match name {
            "address" => Ok(Self::Address),
            "bool" => Ok(Self::Bool),
            "bytes" => Ok(Self::Bytes),
            "string" => Ok(Self::Text),
            "trcToken" => Ok(Self::Uint(256)),
            _ => {
                if let Some(digits) = name.strip_prefix("uint") {
                    Ok(Self::Uint(bits(digits)?))
                } else if let Some(digits) = name.strip_prefix("int") {
                    Ok(Self::Int(bits(digits)?))
                } else {
                    let bytes = name.strip_prefix("bytes").and_then(number);
                    bytes
                        .filter(|bytes| (1..=32).contains(bytes))
                        .map(Self::Fixed)
                        .ok_or_else(unknown)
                }
            }
        }
    }

    /// The value's bytes: one word, or for [`Type::Bytes`] and [`Type::Text`] the bytes themselves.
    pub fn value(self, text: &str) -> Result<Vec<u8>, AbiError> {
        if text.len() > MAX_TEXT {
            return Err(AbiError::TooLong(text.len()));
        }
        let from_hex =
            || hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(AbiError::Hex);
        Ok(match self {
            Self::Address => address_word(&text.parse().map_err(AbiError::Address)?).to_vec(),
            Self::Uint(bits) => uint(text, bits)?.to_vec(),
            Self::Int(bits) => int(text, bits)?.to_vec(),
            Self::Bool => match text {
                "true" => uint("1", 8)?.to_vec(),
                "false" => vec![0; 32],
                _ => return Err(AbiError::Bool),
            },
            Self::Fixed(wanted) => {
                let mut bytes = from_hex()?;
                if bytes.len() != wanted {
                    return Err(AbiError::Length { wanted, given: bytes.len() });
                }
                bytes.resize(32, 0);
                bytes
            }
            Self::Bytes => from_hex()?,
            Self::Text => text.as_bytes().to_vec(),
        })
    }

    /// Whether the value stands behind the arguments, with its length before it.
    pub fn is_dynamic(self) -> bool {
        matches!(self, Self::Bytes | Self::Text)
    }
}

/// An address as a word.
pub fn address_word(address: &Address) -> Word {
    let mut word = [0; 32];
    word[12..].copy_from_slice(address.evm());
    word
}

/// A count or amount as a word.
pub fn u64_word(number: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&number.to_be_bytes());
    word
}

fn magnitude(digits: &str) -> Result<Word, AbiError> {
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(AbiError::Digits);
    }
    let mut word = [0u8; 32];
    for digit in digits.bytes() {
        let mut carry = u16::from(digit - b'0');
        for byte in word.iter_mut().rev() {
            let [high, low] = (u16::from(*byte) * 10 + carry).to_be_bytes();
            *byte = low;
            carry = u16::from(high);
        }
        if carry != 0 {
            return Err(AbiError::TooLarge { bits: 256 });
        }
    }
    Ok(word)
}

fn uint(text: &str, bits: usize) -> Result<Word, AbiError> {
    if text.starts_with('-') {
        return Err(AbiError::Negative);
    }
    let word = magnitude(text)?;
    if word[..32 - bits / 8].iter().any(|byte| *byte != 0) {
        return Err(AbiError::TooLarge { bits });
    }
    Ok(word)
}

fn int(text: &str, bits: usize) -> Result<Word, AbiError> {
    let (digits, negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let mut word = magnitude(digits)?;
    let (above, within) = word.split_at(32 - bits / 8);
    let lowest = within[0] == 0x80 && within[1..].iter().all(|byte| *byte == 0);
    let fits = within[0] < 0x80 || (negative && lowest);
    if !fits || above.iter().any(|byte| *byte != 0) {
        return Err(AbiError::TooLarge { bits });
    }
    if negative {
        let mut carry = true;
        for byte in word.iter_mut().rev() {
            let (value, over) = (!*byte).overflowing_add(u8::from(carry));
            *byte = value;
            carry = over;
        }
    }
    Ok(word)
}

/// The first four bytes of the hash of a function's signature.
pub fn selector(signature: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = keccak256(signature.as_bytes());
    [a, b, c, d]
}

/// Types of a signature like `transfer(address,uint256)`.
pub fn parameters(signature: &str) -> Result<Vec<Type>, AbiError> {
    let (name, rest) = signature.split_once('(').ok_or(AbiError::Signature)?;
    let list = rest.strip_suffix(')').ok_or(AbiError::Signature)?;
    let letters = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$');
    let word = !name.is_empty() && name.bytes().all(letters);
    if !word || name.starts_with(|c: char| c.is_ascii_digit()) || signature.len() > MAX_TEXT {
        return Err(AbiError::Signature);
    }
    if list.is_empty() {
        return Ok(Vec::new());
    }
    list.split(',').map(Type::parse).collect()
}

/// Calldata of a call whose arguments are given as text.
pub fn call(signature: &str, arguments: &[&str]) -> Result<Vec<u8>, AbiError> {
    let types = parameters(signature)?;
    if types.len() != arguments.len() {
        return Err(AbiError::Count { wanted: types.len(), given: arguments.len() });
    }
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    for (kind, text) in types.iter().zip(arguments) {
        let value = kind.value(text)?;
        if kind.is_dynamic() {
            head.extend_from_slice(&offset(types.len() * 32 + tail.len()));
            tail.extend_from_slice(&offset(value.len()));
            let padding = value.len().next_multiple_of(32) - value.len();
            tail.extend_from_slice(&value);
            tail.extend(std::iter::repeat_n(0, padding));
        } else {
            head.extend_from_slice(&value);
        }
    }
    let mut data = selector(signature).to_vec();
    data.append(&mut head);
    data.append(&mut tail);
    Ok(data)
}

fn offset(number: usize) -> Word {
    u64_word(u64::try_from(number).unwrap_or(u64::MAX))
}

/// Calldata of `transfer`.
pub fn transfer(to: &Address, units: u64) -> Vec<u8> {
    words([0xa9, 0x05, 0x9c, 0xbb], &[address_word(to), u64_word(units)])
}

/// Calldata of `approve`.
pub fn approve(spender: &Address, units: u64) -> Vec<u8> {
    words([0x09, 0x5e, 0xa7, 0xb3], &[address_word(spender), u64_word(units)])
}

/// Calldata of `transferFrom`.
pub fn transfer_from(from: &Address, to: &Address, units: u64) -> Vec<u8> {
    let arguments = [address_word(from), address_word(to), u64_word(units)];
    words([0x23, 0xb8, 0x72, 0xdd], &arguments)
}

/// Calldata of `balanceOf`.
pub fn balance_of(owner: &Address) -> Vec<u8> {
    words([0x70, 0xa0, 0x82, 0x31], &[address_word(owner)])
}

/// Calldata of `allowance`.
pub fn allowance(owner: &Address, spender: &Address) -> Vec<u8> {
    words([0xdd, 0x62, 0xed, 0x3e], &[address_word(owner), address_word(spender)])
}

fn words(selector: [u8; 4], arguments: &[Word]) -> Vec<u8> {
    let mut data = Vec::with_capacity(4 + arguments.len() * 32);
    data.extend_from_slice(&selector);
    data.extend(arguments.iter().flatten());
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_calls_are_the_general_ones() {
        let who: Address = "TEvqDeAX2TdpGkjSa6vE9R1pmSgCS17KN4".parse().unwrap();
        let other: Address = "TCqYRLHbzkqK6Kb2VR9dUfd2U3HTVmSMm4".parse().unwrap();
        let (a, b) = (who.to_string(), other.to_string());
        let general = |signature, arguments: &[&str]| call(signature, arguments).unwrap();
        assert_eq!(transfer(&who, 7), general("transfer(address,uint256)", &[&a, "7"]));
        assert_eq!(approve(&who, 7), general("approve(address,uint256)", &[&a, "7"]));
        let from = "transferFrom(address,address,uint256)";
        assert_eq!(transfer_from(&who, &other, 7), general(from, &[&a, &b, "7"]));
        assert_eq!(balance_of(&who), general("balanceOf(address)", &[&a]));
        assert_eq!(allowance(&who, &other), general("allowance(address,address)", &[&a, &b]));
    }

    #[test]
    fn integers_keep_to_their_width() {
        assert_eq!(uint("256", 8), Err(AbiError::TooLarge { bits: 8 }));
        assert_eq!(uint("255", 8).unwrap()[31], 255);
        assert_eq!(int("-128", 8).unwrap(), {
            let mut w = [0xff; 32];
            w[31] = 0x80;
            w
        });
        assert_eq!(int("128", 8), Err(AbiError::TooLarge { bits: 8 }));
        assert_eq!(int("-129", 8), Err(AbiError::TooLarge { bits: 8 }));
        assert_eq!(uint("+1", 256), Err(AbiError::Digits));
    }

    #[test]
    fn what_is_dynamic_stands_behind_with_its_length() {
        let data = call("pay(string,uint8)", &["abc", "2"]).unwrap();
        assert_eq!(data.len(), 4 + 4 * 32);
        assert_eq!(data[4 + 31], 64);
        assert_eq!(data[4 + 63], 2);
        assert_eq!(data[4 + 95], 3);
        assert_eq!(&data[4 + 96..4 + 99], b"abc");
    }
}
