//! Readings of a configuration value that only payments know: amounts, addresses, users.

use std::path::PathBuf;
use std::str::FromStr;

use lucid_settings::Value;

use crate::payout::types::Usdt;
use crate::tron::Address;

/// USDT with up to six decimals.
pub(super) fn usdt(value: &Value) -> Result<Usdt, String> {
    Usdt::from_str(&value.text_or_number()?).map_err(|error| error.to_string())
}

/// A TRON address.
pub(super) fn address(value: &Value) -> Result<Address, String> {
    value.text()?.parse().map_err(|error| format!("{error}"))
}

/// Several TRON addresses.
pub(super) fn addresses(value: &Value) -> Result<Vec<Address>, String> {
    let list = value.list()?;
    list.iter().map(|text| text.parse().map_err(|error| format!("{text:?}: {error}"))).collect()
}

/// Users, each by name or by number.
pub(super) fn names(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Toml(toml::Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                toml::Value::Integer(id) => Ok(id.to_string()),
                toml::Value::String(name) => Ok(name.clone()),
                _ => Err("expected a list of names and numbers".into()),
            })
            .collect(),
        other => other.list(),
    }
}

/// An absolute path.
pub(super) fn absolute(value: &Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(value.text()?);
    if path.is_absolute() { Ok(path) } else { Err("expected an absolute path".into()) }
}
