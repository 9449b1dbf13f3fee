//! Transactions from the inputs of a vector.

use lucid_pay::tron::transaction::{Frame, RefBlock, Unsigned};
use lucid_pay::tron::{Address, abi, hex, permission};
use serde_json::Value;
use tron_protobuf::{
    CancelAllUnfreezeV2Contract, DelegateResourceContract, FreezeBalanceV2Contract, ResourceCode,
    TransferContract, TriggerSmartContract, UnDelegateResourceContract, UnfreezeBalanceV2Contract,
    Vote, VoteWitnessContract, WithdrawBalanceContract, WithdrawExpireUnfreezeContract,
};

/// A failure in words.
pub type Failure = String;

/// Text of a field.
pub fn text<'a>(vector: &'a Value, field: &str) -> Result<&'a str, Failure> {
    vector.get(field).and_then(Value::as_str).ok_or_else(|| format!("{field} is not text"))
}

/// An error in words.
pub fn say<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| format!("{what}: {error}")
}

/// Digits of a number that stands as number or text.
fn digits(value: &Value, field: &str) -> Result<String, Failure> {
    match value.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(format!("{field} is not a number")),
    }
}

fn number(value: &Value, field: &str) -> Result<i64, Failure> {
    digits(value, field)?.parse().map_err(|_| format!("{field} does not fit int64"))
}

fn number_or_zero(value: &Value, field: &str) -> Result<i64, Failure> {
    if value.get(field).is_none_or(Value::is_null) { Ok(0) } else { number(value, field) }
}

fn address(value: &Value, field: &str) -> Result<Address, Failure> {
    text(value, field)?.parse().map_err(say("address"))
}

fn bytes(value: &Value, field: &str) -> Result<Vec<u8>, Failure> {
    Ok(address(value, field)?.to_bytes().to_vec())
}

fn addresses(value: &Value, field: &str) -> Result<Vec<Address>, Failure> {
    let list = value.get(field).and_then(Value::as_array).ok_or(format!("{field} is no list"))?;
    let parse = |entry: &Value| entry.as_str().unwrap_or_default().parse().map_err(say("address"));
    list.iter().map(parse).collect()
}

fn resource(inputs: &Value) -> Result<i32, Failure> {
    match inputs.get("resource").map(|value| value.as_str().unwrap_or_default()) {
        None | Some("BANDWIDTH") => Ok(ResourceCode::Bandwidth.into()),
        Some("ENERGY") => Ok(ResourceCode::Energy.into()),
        Some("TRON_POWER") => Ok(ResourceCode::TronPower.into()),
        Some(other) => Err(format!("resource {other:?} does not exist")),
    }
}

fn frame(vector: &Value, inputs: &Value) -> Result<Frame, Failure> {
    let block = vector.get("block").ok_or("no block")?;
    let id = hex::decode(text(block, "id")?).map_err(say("block id"))?;
    let id: [u8; 32] = id.try_into().map_err(|_| "a block id has 32 bytes")?;
    let memo = inputs.get("memo").and_then(Value::as_str).unwrap_or_default();
    let permission_id = number_or_zero(inputs, "permission_id")?;
    Ok(Frame {
        block: RefBlock::of(&id),
        timestamp: number(vector, "timestamp")?,
        expiration: number(vector, "expiration")?,
        fee_limit: number_or_zero(inputs, "fee_limit")?,
        memo: memo.as_bytes().to_vec(),
        permission_id: permission_id.try_into().map_err(|_| "permission_id is too large")?,
    })
}

/// Calldata: the function is named by the inputs, else by the label.
fn calldata(vector: &Value, inputs: &Value) -> Result<Vec<u8>, Failure> {
    if let Some(data) = inputs.get("data").and_then(Value::as_str) {
        return hex::decode(data.strip_prefix("0x").unwrap_or(data)).map_err(say("data"));
    }
    let named = inputs.get("function").or_else(|| inputs.get("function_selector"));
    if let (Some(function), Some(list)) =
        (named.and_then(Value::as_str), inputs.get("args").and_then(Value::as_array))
    {
        let list: Vec<&str> = list.iter().map(|v| v.as_str().unwrap_or_default()).collect();
        return abi::call(function, &list).map_err(say("call"));
    }
    let label = text(vector, "label").unwrap_or_default().to_ascii_lowercase();
    let (to, amount) = (text(inputs, "to")?, digits(inputs, "amount")?);
    let three = label.contains("transfer_from") || label.contains("transferfrom");
    if three && let Ok(from) = text(inputs, "from") {
        let function = "transferFrom(address,address,uint256)";
        return abi::call(function, &[from, to, &amount]).map_err(say("call"));
    }
    let function = if label.contains("approve") { "approve" } else { "transfer" };
    abi::call(&format!("{function}(address,uint256)"), &[to, &amount]).map_err(say("call"))
}

fn votes(inputs: &Value) -> Result<Vec<Vote>, Failure> {
    let list = inputs.get("votes").and_then(Value::as_array).ok_or("votes is no list")?;
    let vote = |entry: &Value| {
        let who = entry.get(0).and_then(Value::as_str).unwrap_or_default();
        let who: Address = who.parse().map_err(say("vote"))?;
        let count = entry.get(1).ok_or("a vote has no count")?;
        let count = count.as_i64().or_else(|| count.as_str()?.parse().ok());
        let vote_count = count.ok_or("a vote's count is not a number")?;
        Ok(Vote { vote_address: who.to_bytes().to_vec(), vote_count })
    };
    list.iter().map(vote).collect()
}

/// The transaction of a vector.
pub fn transaction(vector: &Value) -> Result<Unsigned, Failure> {
    let inputs = vector.get("inputs").ok_or("no inputs")?;
    let (owner, frame) = (address(vector, "owner")?, frame(vector, inputs)?);
    let owner_address = owner.to_bytes().to_vec();
    let built = match text(vector, "contract_type")? {
        "TransferContract" => {
            let to_address = bytes(inputs, "to")?;
            let amount = number(inputs, "amount")?;
            Unsigned::build(&TransferContract { owner_address, to_address, amount }, frame)
        }
        "TriggerSmartContract" => {
            let message = TriggerSmartContract {
                owner_address,
                contract_address: bytes(inputs, "contract")?,
                call_value: number_or_zero(inputs, "call_value")?,
                data: calldata(vector, inputs)?,
                call_token_value: number_or_zero(inputs, "call_token_value")?,
                token_id: number_or_zero(inputs, "token_id")?,
            };
            Unsigned::build(&message, frame)
        }
        "FreezeBalanceV2Contract" => {
            let (frozen_balance, resource) = (number(inputs, "amount")?, resource(inputs)?);
            let message = FreezeBalanceV2Contract { owner_address, frozen_balance, resource };
            Unsigned::build(&message, frame)
        }
        "UnfreezeBalanceV2Contract" => {
            let (unfreeze_balance, resource) = (number(inputs, "amount")?, resource(inputs)?);
            let message = UnfreezeBalanceV2Contract { owner_address, unfreeze_balance, resource };
            Unsigned::build(&message, frame)
        }
        "DelegateResourceContract" => {
            let message = DelegateResourceContract {
                owner_address,
                resource: resource(inputs)?,
                balance: number(inputs, "amount")?,
                receiver_address: bytes(inputs, "to")?,
                lock: inputs.get("lock").and_then(Value::as_bool).unwrap_or_default(),
                lock_period: number_or_zero(inputs, "lock_period")?,
            };
            Unsigned::build(&message, frame)
        }
        "UnDelegateResourceContract" => {
            let message = UnDelegateResourceContract {
                owner_address,
                resource: resource(inputs)?,
                balance: number(inputs, "amount")?,
                receiver_address: bytes(inputs, "to")?,
            };
            Unsigned::build(&message, frame)
        }
        "VoteWitnessContract" => {
            let message =
                VoteWitnessContract { owner_address, votes: votes(inputs)?, support: false };
            Unsigned::build(&message, frame)
        }
        "WithdrawBalanceContract" => {
            Unsigned::build(&WithdrawBalanceContract { owner_address }, frame)
        }
        "WithdrawExpireUnfreezeContract" => {
            Unsigned::build(&WithdrawExpireUnfreezeContract { owner_address }, frame)
        }
        "CancelAllUnfreezeV2Contract" => {
            Unsigned::build(&CancelAllUnfreezeV2Contract { owner_address }, frame)
        }
        "AccountPermissionUpdateContract" => {
            let owners = addresses(inputs, "owner_keys")?;
            let keys = addresses(inputs, "keys")?;
            let types = inputs.get("ops").and_then(Value::as_array).ok_or("ops is no list")?;
            let types: Option<Vec<u64>> = types.iter().map(Value::as_u64).collect();
            let name = inputs.get("active_name").and_then(Value::as_str).unwrap_or("active");
            let first = permission::owner(&owners, number(inputs, "owner_threshold")?);
            let types = types.ok_or("ops are not numbers")?;
            let threshold = number(inputs, "threshold")?;
            let active = permission::active(name, &keys, threshold, &types);
            let message = permission::update(
                owner,
                first.map_err(say("owner permission"))?,
                vec![active.map_err(say("active permission"))?],
            );
            Unsigned::build(&message, frame)
        }
        other => return Err(format!("contract type {other:?} is not built here")),
    };
    built.map_err(say("transaction"))
}
