//! Permissions of accounts: who may sign what together.

use tron_protobuf::{AccountPermissionUpdateContract, Key, Permission, PermissionType};

use super::Address;

/// Most keys of a permission.
pub const MAX_KEYS: usize = 5;

/// Why a permission is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    /// No key, or too many.
    #[error("a permission has 1 to 5 keys, this has {0}")]
    Keys(usize),
    /// The same key twice.
    #[error("{0} is listed twice")]
    Duplicate(Address),
    /// Nobody could ever sign, or everybody could.
    #[error("threshold {threshold} is not between 1 and the sum of the weights, {sum}")]
    Threshold {
        /// Threshold asked for.
        threshold: i64,
        /// Sum of all weights.
        sum: i64,
    },
    /// A contract type that does not fit 32 bytes.
    #[error("contract type {0} does not exist")]
    Operation(u64),
}

/// Operations as 32 bytes: bit `i`, least significant first, allows contract type `i`.
pub fn operations(types: &[u64]) -> Result<Vec<u8>, PermissionError> {
    let mut bytes = vec![0u8; 32];
    for &number in types {
        let at = usize::try_from(number / 8).ok().and_then(|at| bytes.get_mut(at));
        *at.ok_or(PermissionError::Operation(number))? |= 1 << (number % 8);
    }
    Ok(bytes)
}

fn keys(addresses: &[Address], threshold: i64) -> Result<Vec<Key>, PermissionError> {
    if addresses.is_empty() || addresses.len() > MAX_KEYS {
        return Err(PermissionError::Keys(addresses.len()));
    }
    for (at, address) in addresses.iter().enumerate() {
        if addresses[..at].contains(address) {
            return Err(PermissionError::Duplicate(*address));
        }
    }
    let sum = i64::try_from(addresses.len()).unwrap_or(i64::MAX);
    if !(1..=sum).contains(&threshold) {
        return Err(PermissionError::Threshold { threshold, sum });
    }
    Ok(addresses.iter().map(|a| Key { address: a.to_bytes().to_vec(), weight: 1 }).collect())
}

/// The owner permission: keys of weight 1.
pub fn owner(addresses: &[Address], threshold: i64) -> Result<Permission, PermissionError> {
    Ok(Permission {
        r#type: PermissionType::Owner.into(),
        permission_name: "owner".into(),
        threshold,
        keys: keys(addresses, threshold)?,
        ..Permission::default()
    })
}

/// An active permission: keys of weight 1 that may do `types` together.
pub fn active(
    name: &str,
    addresses: &[Address],
    threshold: i64,
    types: &[u64],
) -> Result<Permission, PermissionError> {
    Ok(Permission {
        r#type: PermissionType::Active.into(),
        permission_name: name.into(),
        threshold,
        operations: operations(types)?,
        keys: keys(addresses, threshold)?,
        ..Permission::default()
    })
}

/// Replaces all permissions of `account`.
pub fn update(
    account: Address,
    owner: Permission,
    actives: Vec<Permission>,
) -> AccountPermissionUpdateContract {
    AccountPermissionUpdateContract {
        owner_address: account.to_bytes().to_vec(),
        owner: Some(owner),
        witness: None,
        actives,
    }
}
