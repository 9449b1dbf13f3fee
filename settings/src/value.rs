//! One configuration value as written, and its readings: a file has types, the environment and
//! flags have text, and both must mean the same.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text from the environment, a flag or a TOML string.
    Text(String),
    /// Any other TOML value.
    Toml(toml::Value),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Toml(value) => write!(f, "{value}"),
        }
    }
}

/// Turns nested tables into dotted keys.
pub(crate) fn flatten(table: toml::Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    // A TOML document nests at most as deep as the parser allows, so this loop ends.
    let mut open: Vec<(String, toml::Value)> = table.into_iter().collect();
    while let Some((name, value)) = open.pop() {
        match value {
            toml::Value::Table(inner) => {
                open.extend(inner.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            toml::Value::String(text) => flat.push((name, Value::Text(text))),
            other => flat.push((name, Value::Toml(other))),
        }
    }
    flat.sort_by(|a, b| a.0.cmp(&b.0));
    flat
}

/// Text as a TOML string, for showing a value.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Value {
    /// Non-empty text.
    ///
    /// # Errors
    /// What would be right.
    pub fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) if !text.is_empty() => Ok(text.clone()),
            _ => Err("expected text".into()),
        }
    }

    /// Non-empty text, or a number written without quotation marks.
    ///
    /// # Errors
    /// What would be right.
    pub fn text_or_number(&self) -> Result<String, String> {
        match self {
            Self::Toml(toml::Value::Integer(number)) => Ok(number.to_string()),
            Self::Toml(toml::Value::Float(number)) => Ok(number.to_string()),
            other => other.text(),
        }
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// What would be right.
    pub fn number(&self, least: u64, most: u64) -> Result<u64, String> {
        let number = match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Toml(toml::Value::Integer(number)) => u64::try_from(*number).ok(),
            Self::Toml(_) => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }

    /// A number of seconds within bounds, fractions allowed.
    ///
    /// # Errors
    /// What would be right.
    pub fn seconds(&self, least: f64, most: f64) -> Result<Duration, String> {
        let seconds = match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Toml(toml::Value::Integer(number)) => Some(*number as f64),
            Self::Toml(toml::Value::Float(number)) => Some(*number),
            Self::Toml(_) => None,
        };
        seconds
            .filter(|seconds| (least..=most).contains(seconds))
            .map(Duration::from_secs_f64)
            .ok_or_else(|| format!("expected seconds from {least} to {most}"))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// What would be right.
    pub fn boolean(&self) -> Result<bool, String> {
        match self {
            Self::Toml(toml::Value::Boolean(value)) => Ok(*value),
            Self::Text(text) => text.trim().parse().map_err(|_| "expected true or false".into()),
            Self::Toml(_) => Err("expected true or false".into()),
        }
    }

    /// One of a set of words.
    ///
    /// # Errors
    /// What would be right.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, String> {
        let found = match self {
            Self::Text(text) => {
                words.iter().find(|(word, _)| *word == text.trim()).map(|(_, value)| *value)
            }
            Self::Toml(_) => None,
        };
        found.ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("expected one of {}", known.join(", "))
        })
    }

    /// An address and port to listen on, or `off`.
    ///
    /// # Errors
    /// What would be right.
    pub fn listener(&self) -> Result<Option<SocketAddr>, String> {
        const EXPECTED: &str =
            "expected ADDRESS:PORT, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080, or off";
        match self {
            Self::Text(text) if text == "off" => Ok(None),
            Self::Text(text) => text.trim().parse().map(Some).map_err(|_| EXPECTED.into()),
            Self::Toml(_) => Err(EXPECTED.into()),
        }
    }

    /// A list of words: a TOML array of strings, or text with commas.
    ///
    /// # Errors
    /// What would be right.
    pub fn list(&self) -> Result<Vec<String>, String> {
        let words: Option<Vec<String>> = match self {
            Self::Text(text) => Some(text.split(',').map(|word| word.trim().to_owned()).collect()),
            Self::Toml(toml::Value::Array(items)) => {
                items.iter().map(|item| item.as_str().map(|word| word.trim().to_owned())).collect()
            }
            Self::Toml(_) => None,
        };
        let words = words.ok_or_else(|| "expected a list of strings".to_owned())?;
        Ok(words.into_iter().filter(|word| !word.is_empty()).collect())
    }
}
