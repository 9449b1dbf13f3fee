//! Typed structured data (TIP-712, which is EIP-712 with TRON addresses and `trcToken`).

use serde_json::Value;

use super::abi::{AbiError, Type};
use super::keccak256;

/// Deepest nesting of structs and arrays.
const MAX_DEPTH: usize = 16;
/// Most types one message is made of.
const MAX_TYPES: usize = 128;
/// Fields of a domain, in their fixed order.
const DOMAIN: &[(&str, &str)] = &[
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
];

/// Why typed data cannot be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypedDataError {
    /// The description of the types is not what the standard has.
    #[error("type {0:?} is not described as a list of names and types")]
    Types(String),
    /// A field is not there.
    #[error("field {0:?} is missing")]
    Missing(String),
    /// A value of another shape than its type.
    #[error("the value of {0:?} is not what its type says")]
    Shape(String),
    /// A value the type cannot hold.
    #[error("the value of {field:?} is refused")]
    Value {
        /// The field.
        field: String,
        /// What is wrong.
        #[source]
        source: AbiError,
    },
    /// More than any message needs.
    #[error("a message is made of at most {MAX_TYPES} types")]
    Count,
    /// Nested too deeply.
    #[error("structs are nested more than 16 deep")]
    Depth,
}

/// The types of a message: an object of lists of `{name, type}`.
#[derive(Clone, Copy)]
pub struct Types<'a>(pub &'a Value);

fn base(kind: &str) -> &str {
    kind.split_once('[').map_or(kind, |(base, _)| base)
}

impl<'a> Types<'a> {
    fn fields(&self, name: &str) -> Result<Option<Vec<(&'a str, &'a str)>>, TypedDataError> {
        let Some(list) = self.0.get(name) else { return Ok(None) };
        let wrong = || TypedDataError::Types(name.to_owned());
        let text = |field: &'a Value, key: &str| field.get(key).and_then(Value::as_str);
        let pair = |field| Some((text(field, "name")?, text(field, "type")?));
        let list = list.as_array().ok_or_else(wrong)?;
        list.iter().map(|field| pair(field).ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
    }

    fn collect(&self, name: &str, found: &mut Vec<String>) -> Result<(), TypedDataError> {
        if found.iter().any(|known| known == name) {
            return Ok(());
        }
        let Some(fields) = self.fields(name)? else { return Ok(()) };
        if found.len() >= MAX_TYPES {
            return Err(TypedDataError::Count);
        }
        found.push(name.to_owned());
        for (_, kind) in fields {
            self.collect(base(kind), found)?;
        }
        Ok(())
    }

    /// The type and all it needs in text, the others in alphabetical order.
    pub fn encode_type(&self, primary: &str) -> Result<String, TypedDataError> {
        let mut names = Vec::new();
        self.collect(primary, &mut names)?;
        if names.is_empty() {
            return Err(TypedDataError::Types(primary.to_owned()));
        }
        names[1..].sort();
        let mut text = String::new();
        for name in names {
            let fields = self.fields(&name)?.unwrap_or_default();
            let fields: Vec<String> =
                fields.iter().map(|(name, kind)| format!("{kind} {name}")).collect();
            text.push_str(&format!("{name}({})", fields.join(",")));
        }
        Ok(text)
    }

    /// Hash of a struct.
    pub fn struct_hash(&self, name: &str, value: &Value) -> Result<[u8; 32], TypedDataError> {
        self.hash_at(name, value, 0)
    }

    fn hash_at(&self, name: &str, value: &Value, depth: usize) -> Result<[u8; 32], TypedDataError> {
        if depth > MAX_DEPTH {
            return Err(TypedDataError::Depth);
        }
        let mut bytes = keccak256(self.encode_type(name)?.as_bytes()).to_vec();
        for (field, kind) in self.fields(name)?.unwrap_or_default() {
            let value =
                value.get(field).ok_or_else(|| TypedDataError::Missing(field.to_owned()))?;
            bytes.extend_from_slice(&self.word(field, kind, value, depth + 1)?);
        }
        Ok(keccak256(&bytes))
    }

    fn word(
        &self,
        field: &str,
        kind: &str,
        value: &Value,
        depth: usize,
    ) -> Result<[u8; 32], TypedDataError> {
        if depth > MAX_DEPTH {
            return Err(TypedDataError::Depth);
        }
        let shape = || TypedDataError::Shape(field.to_owned());
        if let Some(open) = kind.strip_suffix(']') {
            let (element, count) = open.rsplit_once('[').ok_or_else(shape)?;
            let list = value.as_array().ok_or_else(shape)?;
            if !count.is_empty() && count.parse() != Ok(list.len()) {
                return Err(shape());
            }
            let mut bytes = Vec::new();
            for value in list {
                bytes.extend_from_slice(&self.word(field, element, value, depth + 1)?);
            }
            return Ok(keccak256(&bytes));
        }
        if self.0.get(kind).is_some() {
            return self.hash_at(kind, value, depth);
        }
        let refused = |source| TypedDataError::Value { field: field.to_owned(), source };
        let kind = Type::parse(kind).map_err(refused)?;
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(shape()),
        };
        let bytes = kind.value(&text).map_err(refused)?;
        if kind.is_dynamic() {
            return Ok(keccak256(&bytes));
        }
        bytes.try_into().map_err(|_| shape())
    }
}

/// Hash of a domain; its type has the fields that are given.
pub fn domain_separator(domain: &Value) -> Result<[u8; 32], TypedDataError> {
    let given = DOMAIN.iter().filter(|(name, _)| domain.get(name).is_some());
    let fields: Vec<Value> =
        given.map(|(name, kind)| serde_json::json!({"name": name, "type": kind})).collect();
    Types(&serde_json::json!({"EIP712Domain": fields})).struct_hash("EIP712Domain", domain)
}

/// What is signed.
pub fn digest(domain_separator: &[u8; 32], struct_hash: &[u8; 32]) -> [u8; 32] {
    let mut bytes = vec![0x19, 0x01];
    bytes.extend_from_slice(domain_separator);
    bytes.extend_from_slice(struct_hash);
    keccak256(&bytes)
}
