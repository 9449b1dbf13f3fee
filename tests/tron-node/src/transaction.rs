//! A signed transaction: its bytes, what it asks for, who signed it, and its JSON.

use crate::address::{Address, sha256};
use crate::hex;
use crate::schema::{self, CONTRACTS, Contract, RAW, TRANSACTION, TYPE_URL};
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use serde_json::{Value, json};

/// Added to the size of every transaction for its result, in bytes.
const RESULT_BYTES: usize = 64;

/// A transaction as it travels.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// `raw_data` as its signers saw it.
    pub raw: Vec<u8>,
    /// `raw_data` decoded.
    pub head: Value,
    /// Its contract type.
    pub contract: &'static Contract,
    /// The contract's own message, decoded; addresses in hex.
    pub call: Value,
    /// Signatures in their order.
    pub signatures: Vec<Vec<u8>>,
}

/// A number in a decoded message; absent is 0.
pub fn int(object: &Value, name: &str) -> i64 {
    object.get(name).and_then(Value::as_i64).unwrap_or(0)
}

/// An address in a decoded message.
pub fn address(object: &Value, name: &str) -> Option<Address> {
    object.get(name).and_then(Value::as_str).and_then(Address::parse)
}

/// Bytes in a decoded message; absent is none.
pub fn bytes(object: &Value, name: &str) -> Vec<u8> {
    object.get(name).and_then(Value::as_str).and_then(hex::decode).unwrap_or_default()
}

impl Transaction {
    /// Reads the bytes of `Transaction`.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let outer = schema::decode(TRANSACTION, bytes)?;
        let raw = hex::decode(outer.get("raw_data")?.as_str()?)?;
        let signatures = outer.get("signature").and_then(Value::as_array);
        let signatures = signatures.into_iter().flatten();
        let signatures =
            signatures.map(|value| hex::decode(value.as_str()?)).collect::<Option<_>>()?;
        Self::from_raw(raw, signatures)
    }

    /// From `raw_data` and its signatures.
    pub fn from_raw(raw: Vec<u8>, signatures: Vec<Vec<u8>>) -> Option<Self> {
        let head = schema::decode(RAW, &raw)?;
        let list = head.get("contract")?.as_array()?;
        let [only] = list.as_slice() else { return None };
        let contract = CONTRACTS.iter().find(|contract| contract.number == int(only, "type"))?;
        let parameter = only.get("parameter")?;
        let url = parameter.get("type_url")?.as_str()?;
        if url.strip_prefix(TYPE_URL) != Some(contract.name) {
            return None;
        }
        let call = schema::decode(contract.fields, &bytes(parameter, "value"))?;
        Some(Self { raw, head, contract, call, signatures })
    }

    /// Builds an unsigned transaction; the error names the field that is wrong.
    pub fn build(contract: &'static Contract, call: &Value, head: Value) -> Result<Self, String> {
        let value = schema::encode(contract.fields, call)?;
        let mut head = head;
        let permission = head.get("Permission_id").cloned();
        head["contract"] = json!([{
            "type": contract.number,
            "parameter": {
                "type_url": format!("{TYPE_URL}{}", contract.name),
                "value": hex::encode(&value),
            },
            "Permission_id": permission,
        }]);
        let raw = schema::encode(RAW, &head)?;
        Self::from_raw(raw, Vec::new()).ok_or_else(|| "the owner is missing".to_owned())
    }

    /// Reads the JSON form, by `raw_data_hex`.
    pub fn from_json(value: &Value) -> Option<Self> {
        let raw = hex::decode(value.get("raw_data_hex")?.as_str()?)?;
        let list = value.get("signature").and_then(Value::as_array);
        let signatures = list.into_iter().flatten().map(|value| hex::decode(value.as_str()?));
        Self::from_raw(raw, signatures.collect::<Option<_>>()?)
    }

    /// The transaction id.
    pub fn id(&self) -> [u8; 32] {
        sha256(&self.raw)
    }

    /// Who pays and whose permission counts.
    pub fn owner(&self) -> Option<Address> {
        address(&self.call, "owner_address")
    }

    /// Permission it asks to be checked against; 0 is the owner's.
    pub fn permission_id(&self) -> i64 {
        self.head.pointer("/contract/0/Permission_id").and_then(Value::as_i64).unwrap_or(0)
    }

    /// Length of a signed transaction on the wire, in bytes.
    pub fn size(&self) -> usize {
        let framed =
            |length: usize| 1 + (1..=9).find(|n| length >> (7 * n) == 0).unwrap_or(9) + length;
        framed(self.raw.len()) + self.signatures.iter().map(|s| framed(s.len())).sum::<usize>()
    }

    /// Bandwidth it uses, in points.
    pub fn bandwidth(&self) -> i64 {
        i64::try_from(self.size() + RESULT_BYTES).unwrap_or(i64::MAX)
    }

    /// Whoever made one of the signatures; `None` where nobody can have made it.
    pub fn signer(&self, signature: &[u8]) -> Option<Address> {
        let v = *signature.get(64)?;
        let v = if v < 27 { v } else { v - 27 };
        let id = RecoveryId::from_byte(v)?;
        let signature = Signature::from_slice(&signature[..64]).ok()?;
        let key = VerifyingKey::recover_from_prehash(&self.id(), &signature, id).ok()?;
        Some(Address::of_key(&key))
    }

    /// Adds a signature over the id.
    pub fn sign(&mut self, key: &SigningKey) {
        let (signature, id) = key.sign_prehash_recoverable(&self.id());
        let mut bytes = signature.to_bytes().to_vec();
        bytes.push(id.to_byte());
        self.signatures.push(bytes);
    }

    /// Wire bytes of the whole.
    pub fn encode(&self) -> Vec<u8> {
        let list: Vec<Value> = self.signatures.iter().map(|s| json!(hex::encode(s))).collect();
        let outer = json!({"raw_data": hex::encode(&self.raw), "signature": list});
        schema::encode(TRANSACTION, &outer).unwrap_or_default()
    }

    /// The JSON a node prints.
    pub fn json(&self, visible: bool) -> Value {
        let mut head = self.head.clone();
        let mut call = self.call.clone();
        if visible {
            schema::make_visible(self.contract.fields, &mut call);
            if let Ok(text) = String::from_utf8(bytes(&self.head, "data"))
                && !text.is_empty()
            {
                head["data"] = json!(text);
            }
        }
        head["contract"][0]["type"] = json!(self.contract.name);
        head["contract"][0]["parameter"]["value"] = call;
        let mut out = json!({
            "visible": visible,
            "txID": hex::encode(&self.id()),
            "raw_data": head,
            "raw_data_hex": hex::encode(&self.raw),
        });
        if !self.signatures.is_empty() {
            out["signature"] = self.signatures.iter().map(|s| hex::encode(s)).collect();
        }
        out
    }
}
