//! A configuration value before its key reads it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::payout::types::Usdt;
use crate::tron::Address;

/// Text, or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One value. Numbers and booleans of a file are text as well.
    Text(String),
    /// A list of a file. Elsewhere a list is text with commas.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => write!(f, "{list:?}"),
        }
    }
}

/// All leaves of a table by their dotted names.
pub(super) fn flatten(table: toml::Table) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    descend("", table, &mut leaves);
    leaves
}

fn descend(prefix: &str, table: toml::Table, leaves: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(table) => descend(&name, table, leaves),
            toml::Value::Array(list) => {
                leaves.push((name, Value::List(list.into_iter().map(text).collect())));
            }
            other => leaves.push((name, Value::Text(text(other)))),
        }
    }
}

fn text(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

impl Value {
    /// One text.
    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            Self::List(_) => Err("expected one value, not a list".into()),
        }
    }

    /// Several texts.
    pub(super) fn list(&self) -> Vec<String> {
        match self {
            Self::List(list) => list.clone(),
            Self::Text(text) => text
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect(),
        }
    }

    /// A whole number within limits.
    pub(super) fn number(&self, least: u64, most: u64) -> Result<u64, String> {
        let number = self.text()?.parse::<u64>().ok();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }

    /// Whole seconds within limits.
    pub(super) fn seconds(&self, least: u64, most: u64) -> Result<Duration, String> {
        self.number(least, most)
            .map(Duration::from_secs)
            .map_err(|_| format!("expected whole seconds from {least} to {most}"))
    }

    /// Whole USDT with up to six decimals.
    pub(super) fn usdt(&self) -> Result<Usdt, String> {
        Usdt::from_str(self.text()?).map_err(|error| error.to_string())
    }

    /// A TRON address.
    pub(super) fn address(&self) -> Result<Address, String> {
        self.text()?.parse().map_err(|error| format!("{error}"))
    }

    /// Several addresses.
    pub(super) fn addresses(&self) -> Result<Vec<Address>, String> {
        self.list()
            .iter()
            .map(|text| text.parse().map_err(|error| format!("{text:?}: {error}")))
            .collect()
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, String> {
        let text = self.text()?;
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("expected one of {}", words.join(", "))
        })
    }
}
