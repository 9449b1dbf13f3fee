//! Fields of a node's JSON: absent numbers are zero, as nodes leave defaults out, and everything of
//! another form is an error that names the field.

use serde_json::Value;

use crate::node::NodeError;
use crate::tron::{Address, Sun, hex};

/// Most bytes of one hexadecimal field.
const HEX_BYTES_MAX: usize = 512 * 1024;

/// A part of an answer is not what a node answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its {field} is not {wanted}")]
pub struct ReadError {
    /// The field.
    pub field: &'static str,
    /// What it should be.
    pub wanted: &'static str,
}

impl From<ReadError> for NodeError {
    fn from(error: ReadError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// An error about `field`.
pub fn wrong(field: &'static str, wanted: &'static str) -> ReadError {
    ReadError { field, wanted }
}

/// A whole number of 0 or more; 0 when absent.
pub fn count(value: &Value, field: &'static str) -> Result<u64, ReadError> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(0),
        Some(number) => number.as_u64().ok_or(wrong(field, "a whole number of 0 or more")),
    }
}

/// Sun; 0 when absent.
pub fn sun(value: &Value, field: &'static str) -> Result<Sun, ReadError> {
    Sun::from_units(count(value, field)?).map_err(|_| wrong(field, "an amount of sun"))
}

/// Text; empty when absent.
pub fn text<'v>(value: &'v Value, field: &'static str) -> Result<&'v str, ReadError> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(""),
        Some(text) => text.as_str().ok_or(wrong(field, "text")),
    }
}

/// A list; empty when absent.
pub fn list<'v>(value: &'v Value, field: &'static str) -> Result<&'v [Value], ReadError> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(list) => list.as_array().map(Vec::as_slice).ok_or(wrong(field, "a list")),
    }
}

/// Bytes in hexadecimal; empty when absent.
pub fn bytes(value: &Value, field: &'static str) -> Result<Vec<u8>, ReadError> {
    hex_bytes(text(value, field)?, field)
}

/// Bytes of hexadecimal text.
pub fn hex_bytes(text: &str, field: &'static str) -> Result<Vec<u8>, ReadError> {
    let whole = Some(text).filter(|text| text.len() <= 2 * HEX_BYTES_MAX);
    whole.and_then(|text| hex::decode(text).ok()).ok_or(wrong(field, "hexadecimal"))
}

/// 32 bytes in hexadecimal.
pub fn hash(value: &Value, field: &'static str) -> Result<[u8; 32], ReadError> {
    let bytes = bytes(value, field)?;
    bytes.try_into().map_err(|_| wrong(field, "32 bytes in hexadecimal"))
}

/// An address in either form: 21 bytes in hexadecimal, or base58check.
pub fn address(value: &Value, field: &'static str) -> Result<Address, ReadError> {
    address_of(text(value, field)?).ok_or(wrong(field, "an address"))
}

/// An address of text in either form.
pub fn address_of(text: &str) -> Option<Address> {
    match text.len() {
        42 => Address::from_bytes(&hex::decode(text).ok()?).ok(),
        _ => text.parse().ok(),
    }
}

/// What a node says in `message`: hexadecimal of UTF-8 unless it was asked to be visible, and some
/// calls never encode it.
pub fn message(value: &Value) -> String {
    let text = value.get("message").and_then(Value::as_str).unwrap_or_default();
    let readable = hex::decode(text)
        .ok()
        .filter(|bytes| !bytes.is_empty())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    super::http::words(readable.as_deref().unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_is_the_default_and_another_form_an_error() {
        let value = json!({"a": 5, "b": -1, "c": 1.5, "d": "5", "e": u64::MAX, "f": [1]});
        assert_eq!(count(&value, "a"), Ok(5));
        assert_eq!(count(&value, "z"), Ok(0));
        for field in ["b", "c", "d", "f"] {
            assert!(count(&value, field).is_err(), "{field}");
        }
        assert!(sun(&value, "e").is_err());
        assert!(list(&value, "a").is_err() && text(&value, "a").is_err());
        assert_eq!(bytes(&json!({"x": "0aFf"}), "x").unwrap(), [10, 255]);
        assert!(bytes(&json!({"x": "0g"}), "x").is_err());
        assert!(hash(&json!({"x": "00"}), "x").is_err());
    }

    #[test]
    fn messages_are_read_in_both_forms() {
        let of = |text: &str| message(&json!({"message": text}));
        assert_eq!(of("436f6e7472616374"), "Contract");
        assert_eq!(of("Dup transaction."), "Dup transaction.");
        assert_eq!(of("ff"), "ff", "no UTF-8");
        assert_eq!(message(&json!({})), "");
    }
}
