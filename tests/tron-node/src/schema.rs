//! The messages of transactions, as tables of field numbers, and one codec between their bytes and
//! their JSON. Written apart from the crate the payment process signs with, so that the two check
//! each other.

use crate::address::Address;
use crate::hex;
use serde_json::{Map, Value, json};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// 21 bytes; hex or base58check in JSON.
    Address,
    /// int64 or int32.
    Int,
    /// bool.
    Bool,
    /// Bytes; hex in JSON.
    Bytes,
    /// Text.
    Text,
    /// A name for each number.
    Enum(&'static [(i64, &'static str)]),
    /// A message within.
    Message(&'static [Field]),
}

/// One field: number, name in JSON, kind, repeated.
#[derive(Debug, Clone, Copy)]
pub struct Field(pub u32, pub &'static str, pub Kind, pub bool);

const RESOURCE: Kind = Kind::Enum(&[(0, "BANDWIDTH"), (1, "ENERGY"), (2, "TRON_POWER")]);
const OWNER: Field = Field(1, "owner_address", Kind::Address, false);
const KEY: &[Field] =
    &[Field(1, "address", Kind::Address, false), Field(2, "weight", Kind::Int, false)];
const PERMISSION: &[Field] = &[
    Field(1, "type", Kind::Enum(&[(0, "Owner"), (1, "Witness"), (2, "Active")]), false),
    Field(2, "id", Kind::Int, false),
    Field(3, "permission_name", Kind::Text, false),
    Field(4, "threshold", Kind::Int, false),
    Field(5, "parent_id", Kind::Int, false),
    Field(6, "operations", Kind::Bytes, false),
    Field(7, "keys", Kind::Message(KEY), true),
];
const VOTE: &[Field] =
    &[Field(1, "vote_address", Kind::Address, false), Field(2, "vote_count", Kind::Int, false)];

/// A contract type.
#[derive(Debug, Clone, Copy)]
pub struct Contract {
    /// Its number.
    pub number: i64,
    /// Its message's name.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

const fn contract(number: i64, name: &'static str, fields: &'static [Field]) -> Contract {
    Contract { number, name, fields }
}

/// Every contract type this node executes.
pub const CONTRACTS: &[Contract] = &[
    contract(
        1,
        "TransferContract",
        &[
            OWNER,
            Field(2, "to_address", Kind::Address, false),
            Field(3, "amount", Kind::Int, false),
        ],
    ),
    contract(
        4,
        "VoteWitnessContract",
        &[
            OWNER,
            Field(2, "votes", Kind::Message(VOTE), true),
            Field(3, "support", Kind::Bool, false),
        ],
    ),
    contract(13, "WithdrawBalanceContract", &[OWNER]),
    contract(
        31,
        "TriggerSmartContract",
        &[
            OWNER,
            Field(2, "contract_address", Kind::Address, false),
            Field(3, "call_value", Kind::Int, false),
            Field(4, "data", Kind::Bytes, false),
            Field(5, "call_token_value", Kind::Int, false),
            Field(6, "token_id", Kind::Int, false),
        ],
    ),
    contract(
        46,
        "AccountPermissionUpdateContract",
        &[
            OWNER,
            Field(2, "owner", Kind::Message(PERMISSION), false),
            Field(3, "witness", Kind::Message(PERMISSION), false),
            Field(4, "actives", Kind::Message(PERMISSION), true),
        ],
    ),
    contract(
        54,
        "FreezeBalanceV2Contract",
        &[
            OWNER,
            Field(2, "frozen_balance", Kind::Int, false),
            Field(3, "resource", RESOURCE, false),
        ],
    ),
    contract(
        55,
        "UnfreezeBalanceV2Contract",
        &[
            OWNER,
            Field(2, "unfreeze_balance", Kind::Int, false),
            Field(3, "resource", RESOURCE, false),
        ],
    ),
    contract(56, "WithdrawExpireUnfreezeContract", &[OWNER]),
    contract(
        57,
        "DelegateResourceContract",
        &[
            OWNER,
            Field(2, "resource", RESOURCE, false),
            Field(3, "balance", Kind::Int, false),
            Field(4, "receiver_address", Kind::Address, false),
            Field(5, "lock", Kind::Bool, false),
            Field(6, "lock_period", Kind::Int, false),
        ],
    ),
    contract(
        58,
        "UnDelegateResourceContract",
        &[
            OWNER,
            Field(2, "resource", RESOURCE, false),
            Field(3, "balance", Kind::Int, false),
            Field(4, "receiver_address", Kind::Address, false),
        ],
    ),
    contract(59, "CancelAllUnfreezeV2Contract", &[OWNER]),
];

/// `Transaction.raw`.
pub const RAW: &[Field] = &[
    Field(1, "ref_block_bytes", Kind::Bytes, false),
    Field(3, "ref_block_num", Kind::Int, false),
    Field(4, "ref_block_hash", Kind::Bytes, false),
    Field(8, "expiration", Kind::Int, false),
    Field(10, "data", Kind::Bytes, false),
    Field(
        11,
        "contract",
        Kind::Message(&[
            Field(1, "type", Kind::Int, false),
            Field(
                2,
                "parameter",
                Kind::Message(&[
                    Field(1, "type_url", Kind::Text, false),
                    Field(2, "value", Kind::Bytes, false),
                ]),
                false,
            ),
            Field(3, "provider", Kind::Bytes, false),
            Field(4, "ContractName", Kind::Bytes, false),
            Field(5, "Permission_id", Kind::Int, false),
        ]),
        true,
    ),
    Field(12, "scripts", Kind::Bytes, false),
    Field(14, "timestamp", Kind::Int, false),
    Field(18, "fee_limit", Kind::Int, false),
];

/// `Transaction`; results are skipped as the node's own.
pub const TRANSACTION: &[Field] =
    &[Field(1, "raw_data", Kind::Bytes, false), Field(2, "signature", Kind::Bytes, true)];

/// Before the name in `type_url`.
pub const TYPE_URL: &str = "type.googleapis.com/protocol.";

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads a message into JSON; unknown fields are skipped, a malformed one is `None`.
pub fn decode(fields: &[Field], mut bytes: &[u8]) -> Option<Value> {
    let mut object = Map::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let (int, inner): (i64, &[u8]) = match tag & 7 {
            0 => (i64::from_ne_bytes(varint(&mut bytes)?.to_ne_bytes()), &[]),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                (0, inner)
            }
            _ => return None,
        };
        let Some(Field(_, name, kind, repeated)) = fields.iter().find(|field| field.0 == number)
        else {
            continue;
        };
        let varint_expected = matches!(kind, Kind::Int | Kind::Bool | Kind::Enum(_));
        if varint_expected != (tag & 7 == 0) {
            return None;
        }
        let value = match kind {
            Kind::Address | Kind::Bytes => json!(hex::encode(inner)),
            Kind::Text => json!(std::str::from_utf8(inner).ok()?),
            Kind::Int => json!(int),
            Kind::Bool => json!(int != 0),
            Kind::Enum(names) => {
                json!(names.iter().find(|(number, _)| *number == int)?.1)
            }
            Kind::Message(fields) => decode(fields, inner)?,
        };
        if *repeated {
            let list = object.entry(*name).or_insert_with(|| json!([]));
            list.as_array_mut()?.push(value);
        } else {
            object.insert((*name).to_owned(), value);
        }
    }
    Some(Value::Object(object))
}

/// Writes a message from JSON, fields in the order of their numbers, defaults left out. The error
/// names the field.
pub fn encode(fields: &[Field], object: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for Field(number, name, kind, repeated) in fields {
        let Some(value) = object.get(*name).filter(|value| !value.is_null()) else { continue };
        let one = std::slice::from_ref(value);
        let values = if *repeated { value.as_array().map_or(one, Vec::as_slice) } else { one };
        for value in values {
            let wrong = || format!("the field {name} cannot be {value}");
            let int = match kind {
                Kind::Int => match value {
                    Value::String(text) => text.parse().map_err(|_| wrong())?,
                    value => value.as_i64().ok_or_else(wrong)?,
                },
                Kind::Bool => i64::from(value.as_bool().ok_or_else(wrong)?),
                Kind::Enum(names) => match value.as_i64() {
                    Some(int) => int,
                    None => {
                        let found = names.iter().find(|(_, name)| Some(*name) == value.as_str());
                        found.ok_or_else(wrong)?.0
                    }
                },
                Kind::Address | Kind::Bytes | Kind::Text | Kind::Message(_) => 0,
            };
            let bytes = match kind {
                Kind::Int | Kind::Bool | Kind::Enum(_) => {
                    if int != 0 {
                        put_varint(&mut out, u64::from(*number) << 3);
                        put_varint(&mut out, u64::from_ne_bytes(int.to_ne_bytes()));
                    }
                    continue;
                }
                Kind::Address => {
                    let text = value.as_str().ok_or_else(wrong)?;
                    Address::parse(text).ok_or_else(wrong)?.0.to_vec()
                }
                Kind::Bytes => value.as_str().and_then(hex::decode).ok_or_else(wrong)?,
                Kind::Text => value.as_str().ok_or_else(wrong)?.as_bytes().to_vec(),
                Kind::Message(fields) => encode(fields, value)?,
            };
            if !bytes.is_empty() || *repeated || matches!(kind, Kind::Message(_)) {
                put_varint(&mut out, u64::from(*number) << 3 | 2);
                put_varint(&mut out, bytes.len() as u64);
                out.extend_from_slice(&bytes);
            }
        }
    }
    Ok(out)
}

/// Addresses of a decoded message as base58check.
pub fn make_visible(fields: &[Field], object: &mut Value) {
    for Field(_, name, kind, _) in fields {
        let Some(value) = object.get_mut(*name) else { continue };
        match (kind, value) {
            (Kind::Address, value) => {
                if let Some(address) = value.as_str().and_then(Address::parse) {
                    *value = json!(address.to_string());
                }
            }
            (Kind::Message(fields), Value::Array(list)) => {
                list.iter_mut().for_each(|value| make_visible(fields, value));
            }
            (Kind::Message(fields), value) => make_visible(fields, value),
            _ => {}
        }
    }
}
