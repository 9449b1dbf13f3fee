//! The JSON form in which nodes show `raw_data`: addresses and bytes in hexadecimal, defaults left
//! out, enums by name.

use serde_json::{Map, Value, json};
use tron_protobuf::{
    AccountPermissionUpdateContract, CancelAllUnfreezeV2Contract, ContractMessage,
    DelegateResourceContract, FreezeBalanceV2Contract, Permission, PermissionType, ResourceCode,
    TransferContract, TriggerSmartContract, UnDelegateResourceContract, UnfreezeBalanceV2Contract,
    VoteWitnessContract, WithdrawBalanceContract, WithdrawExpireUnfreezeContract,
};

use super::hex;
use super::transaction::{TransactionError, Unsigned};

struct Object(Map<String, Value>);

impl Object {
    fn of(owner: &[u8]) -> Self {
        Self(Map::new()).bytes("owner_address", owner)
    }

    fn put(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        if bytes.is_empty() { self } else { self.put(name, json!(hex::encode(bytes))) }
    }

    fn number(self, name: &str, number: i64) -> Self {
        if number == 0 { self } else { self.put(name, json!(number)) }
    }

    fn text(self, name: &str, text: &str) -> Self {
        if text.is_empty() { self } else { self.put(name, json!(text)) }
    }

    fn flag(self, name: &str, flag: bool) -> Self {
        if flag { self.put(name, json!(true)) } else { self }
    }

    fn resource(self, code: i32) -> Self {
        match ResourceCode::try_from(code) {
            Ok(ResourceCode::Bandwidth) => self,
            Ok(ResourceCode::Energy) => self.put("resource", json!("ENERGY")),
            Ok(ResourceCode::TronPower) => self.put("resource", json!("TRON_POWER")),
            Err(_) => self.put("resource", json!(code)),
        }
    }
}

fn permission(permission: &Permission) -> Value {
    let keys: Vec<Value> = permission
        .keys
        .iter()
        .map(|key| json!({"address": hex::encode(&key.address), "weight": key.weight}))
        .collect();
    let object = Object(Map::new());
    let object = match PermissionType::try_from(permission.r#type) {
        Ok(PermissionType::Owner) => object,
        Ok(PermissionType::Witness) => object.put("type", json!("Witness")),
        Ok(PermissionType::Active) => object.put("type", json!("Active")),
        Err(_) => object.put("type", json!(permission.r#type)),
    };
    let object = object
        .number("id", permission.id.into())
        .text("permission_name", &permission.permission_name)
        .number("threshold", permission.threshold)
        .number("parent_id", permission.parent_id.into())
        .bytes("operations", &permission.operations)
        .put("keys", Value::Array(keys));
    Value::Object(object.0)
}

fn value(transaction: &Unsigned) -> Result<Option<Map<String, Value>>, TransactionError> {
    let number = transaction.contract()?.r#type;
    let object = match number {
        TransferContract::NUMBER => {
            let it: TransferContract = transaction.message()?;
            Object::of(&it.owner_address)
                .bytes("to_address", &it.to_address)
                .number("amount", it.amount)
        }
        VoteWitnessContract::NUMBER => {
            let it: VoteWitnessContract = transaction.message()?;
            let vote = |vote: &tron_protobuf::Vote| {
                let address = hex::encode(&vote.vote_address);
                json!({"vote_address": address, "vote_count": vote.vote_count})
            };
            Object::of(&it.owner_address)
                .put("votes", it.votes.iter().map(vote).collect())
                .flag("support", it.support)
        }
        WithdrawBalanceContract::NUMBER => {
            Object::of(&transaction.message::<WithdrawBalanceContract>()?.owner_address)
        }
        TriggerSmartContract::NUMBER => {
            let it: TriggerSmartContract = transaction.message()?;
            Object::of(&it.owner_address)
                .bytes("contract_address", &it.contract_address)
                .number("call_value", it.call_value)
                .bytes("data", &it.data)
                .number("call_token_value", it.call_token_value)
                .number("token_id", it.token_id)
        }
        AccountPermissionUpdateContract::NUMBER => {
            let it: AccountPermissionUpdateContract = transaction.message()?;
            let mut object = Object::of(&it.owner_address);
            if let Some(owner) = &it.owner {
                object = object.put("owner", permission(owner));
            }
            if let Some(witness) = &it.witness {
                object = object.put("witness", permission(witness));
            }
            object.put("actives", it.actives.iter().map(permission).collect())
        }
        FreezeBalanceV2Contract::NUMBER => {
            let it: FreezeBalanceV2Contract = transaction.message()?;
            Object::of(&it.owner_address)
                .number("frozen_balance", it.frozen_balance)
                .resource(it.resource)
        }
        UnfreezeBalanceV2Contract::NUMBER => {
            let it: UnfreezeBalanceV2Contract = transaction.message()?;
            Object::of(&it.owner_address)
                .number("unfreeze_balance", it.unfreeze_balance)
                .resource(it.resource)
        }
        WithdrawExpireUnfreezeContract::NUMBER => {
            Object::of(&transaction.message::<WithdrawExpireUnfreezeContract>()?.owner_address)
        }
        DelegateResourceContract::NUMBER => {
            let it: DelegateResourceContract = transaction.message()?;
            Object::of(&it.owner_address)
                .resource(it.resource)
                .number("balance", it.balance)
                .bytes("receiver_address", &it.receiver_address)
                .flag("lock", it.lock)
                .number("lock_period", it.lock_period)
        }
        UnDelegateResourceContract::NUMBER => {
            let it: UnDelegateResourceContract = transaction.message()?;
            Object::of(&it.owner_address)
                .resource(it.resource)
                .number("balance", it.balance)
                .bytes("receiver_address", &it.receiver_address)
        }
        CancelAllUnfreezeV2Contract::NUMBER => {
            Object::of(&transaction.message::<CancelAllUnfreezeV2Contract>()?.owner_address)
        }
        _ => return Ok(None),
    };
    Ok(Some(object.0))
}

/// `raw_data` as nodes show it; `None` for contract types that are only named, not read.
pub fn raw_data(transaction: &Unsigned) -> Result<Option<Value>, TransactionError> {
    let Some(value) = value(transaction)? else { return Ok(None) };
    let (raw, contract) = (&transaction.raw, transaction.contract()?);
    let type_url = contract.parameter.as_ref().map_or("", |any| &any.type_url);
    let shown = Object(Map::new())
        .put("parameter", json!({"value": value, "type_url": type_url}))
        .text("type", tron_protobuf::contract_name(contract.r#type).unwrap_or_default())
        .number("Permission_id", contract.permission_id.into());
    let object = Object(Map::new())
        .put("contract", json!([shown.0]))
        .bytes("ref_block_bytes", &raw.ref_block_bytes)
        .bytes("ref_block_hash", &raw.ref_block_hash)
        .number("expiration", raw.expiration)
        .bytes("data", &raw.data)
        .number("timestamp", raw.timestamp)
        .number("fee_limit", raw.fee_limit);
    Ok(Some(Value::Object(object.0)))
}
