//! Who may sign: the check of signatures against permissions, and the change of permissions.

use super::account::Permission;
use super::state::{Effect, State};
use crate::address::Address;
use crate::hex;
use crate::transaction::{Transaction, address, bytes, int};
use serde_json::Value;

/// Most keys of one permission, and so most signatures.
pub const KEYS_MAX: usize = 5;
/// Most active permissions.
pub const ACTIVES_MAX: usize = 8;

/// Signers with their weight, and whether it is enough.
#[derive(Debug, Clone)]
pub struct Weight {
    /// The permission asked for.
    pub permission: Permission,
    /// Who signed.
    pub signers: Vec<Address>,
    /// Sum of their weights.
    pub weight: i64,
}

/// Checks what signatures there are; the error is the node's text.
pub fn weigh(state: &State, tx: &Transaction) -> Result<Weight, String> {
    let owner = tx.owner().ok_or("miss sig or contract")?;
    let account = state.account(owner);
    let permission =
        account.permission(owner, tx.permission_id()).ok_or("permission isn't exit")?;
    if !permission.allows(tx.contract.number) {
        return Err("Permission denied".to_owned());
    }
    if tx.signatures.len() > permission.keys.len() {
        let (have, keys) = (tx.signatures.len(), permission.keys.len());
        let text = "more than key counts of permission";
        return Err(format!("Signature count is {have} {text} : {keys}"));
    }
    let mut signers = Vec::new();
    let mut sum = 0;
    for signature in &tx.signatures {
        if !(65..=68).contains(&signature.len()) {
            return Err(format!("Signature size is {}", signature.len()));
        }
        let signer = tx.signer(signature).ok_or("Header byte out of range or key not recovered")?;
        let weight = permission.weight(signer);
        if weight == 0 {
            let signature = hex::encode(signature);
            let text = "but it is not contained of permission.";
            return Err(format!("{signature} is signed by {signer} {text}"));
        }
        if signers.contains(&signer) {
            return Err(format!("{signer} has signed twice!"));
        }
        signers.push(signer);
        sum += weight;
    }
    Ok(Weight { permission, signers, weight: sum })
}

/// Whether a transaction is signed well enough to be executed.
pub fn check(state: &State, tx: &Transaction) -> Result<(), String> {
    if tx.signatures.is_empty() {
        return Err("miss sig or contract".to_owned());
    }
    let weight = weigh(state, tx)?;
    if weight.weight < weight.permission.threshold {
        return Err("sig error".to_owned());
    }
    Ok(())
}

fn read(value: &Value, id: i64) -> Result<Permission, String> {
    let list = value.get("keys").and_then(Value::as_array);
    let list: Vec<_> = list.into_iter().flatten().collect();
    if list.is_empty() {
        return Err("key's count should be greater than 0".to_owned());
    }
    if list.len() > KEYS_MAX {
        return Err(format!("number of keys in permission should not be greater than {KEYS_MAX}"));
    }
    let mut keys: Vec<(Address, i64)> = Vec::new();
    for key in list {
        let signer = address(key, "address").ok_or("key is not a validate address")?;
        let weight = int(key, "weight");
        if weight <= 0 {
            return Err("key's weight should be greater than 0".to_owned());
        }
        if keys.iter().any(|(known, _)| *known == signer) {
            return Err(format!("address should be distinct in permission {id}"));
        }
        keys.push((signer, weight));
    }
    let threshold = int(value, "threshold");
    if threshold <= 0 {
        return Err("permission's threshold should be greater than 0".to_owned());
    }
    if keys.iter().map(|(_, weight)| weight).sum::<i64>() < threshold {
        return Err(
            "sum of all key's weight should not be less than threshold in permission".into()
        );
    }
    let operations = bytes(value, "operations");
    if id == 0 && !operations.is_empty() {
        return Err("Owner permission needn't operations".to_owned());
    }
    if id != 0 && operations.len() != 32 {
        return Err("operations size must 32".to_owned());
    }
    let name = value.get("permission_name").and_then(Value::as_str).unwrap_or_default();
    Ok(Permission { id, name: name.to_owned(), threshold, operations, keys })
}

/// Executes `AccountPermissionUpdateContract`.
pub fn update(
    state: &mut State,
    tx: &Transaction,
    owner: Address,
    effect: &mut Effect,
) -> Result<(), String> {
    let fee = state.params.permission_fee;
    let first = tx.call.get("owner").ok_or("owner permission is missed")?;
    let list = tx.call.get("actives").and_then(Value::as_array);
    let list: Vec<_> = list.into_iter().flatten().collect();
    if list.is_empty() {
        return Err("active permission is missed".to_owned());
    }
    if list.len() > ACTIVES_MAX {
        return Err("active permission is too many".to_owned());
    }
    let first = read(first, 0)?;
    let actives =
        list.iter().zip(2..).map(|(value, id)| read(value, id)).collect::<Result<_, _>>()?;
    let account = state.accounts.get_mut(&owner).ok_or("ownerAddress account does not exist")?;
    if account.balance < fee {
        return Err("Balance is not enough to pay the permission fee".to_owned());
    }
    account.balance -= fee;
    effect.fee += fee;
    account.owner = Some(first);
    account.actives = Some(actives);
    Ok(())
}
