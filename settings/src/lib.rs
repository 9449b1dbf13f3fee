//! The configuration of a process: one typed struct, whole and checked before anything is opened.
//!
//! Values come from the defaults, then a TOML file, then the environment, then flags; the last one
//! wins. All go through one table of keys ([`Settings::KEYS`]), so that a key is spelled, parsed,
//! explained and refused in the same way wherever it comes from. An unknown key is refused, with
//! the nearest known one. Secrets never stand here, only the names of files that hold them.

#![forbid(unsafe_code)]

mod error;
mod value;

pub use error::{Origin, SettingsError};
pub use value::{Value, quoted};

use std::collections::BTreeMap;
use std::path::Path;

/// Largest configuration file read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// One configuration key of `C`.
pub struct Key<C> {
    /// Dotted name, as in the file.
    pub name: &'static str,
    /// What it means, one line.
    pub help: &'static str,
    /// Reads a value into the configuration; the error says what would be right.
    pub set: fn(&mut C, &Value) -> Result<(), String>,
    /// The present value as TOML; empty when the key is not set.
    pub show: fn(&C) -> String,
}

impl<C: Settings> Key<C> {
    /// The environment variable of this key.
    pub fn variable(&self) -> String {
        format!("{}{}", C::PREFIX, self.name.replace('.', "_").to_uppercase())
    }
}

/// A configuration with a table of its keys.
pub trait Settings: Default + 'static {
    /// Every key, tables together, in the order they are shown. A key that builds on another stands
    /// after it.
    const KEYS: &'static [Key<Self>];
    /// Start of every variable of the environment that is a key.
    const PREFIX: &'static str;
    /// Starts of variables that begin with [`Settings::PREFIX`] and are no keys.
    const NOT_KEYS: &'static [&'static str];
    /// The command that lists all keys, for the person who misspelled one.
    const LISTED_BY: &'static str;

    /// Whether the values fit together.
    ///
    /// # Errors
    /// Which do not, and why.
    fn check(&self) -> Result<(), String>;
}

/// A checked configuration and where its values came from.
#[derive(Clone, Debug)]
pub struct Loaded<C> {
    /// The values.
    pub config: C,
    /// Keys that were set, with the place that won.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// Values given by flags: the key, the flag as typed, the text.
pub type Flags = Vec<(String, String, String)>;

/// Merges file, environment and flags over the defaults.
///
/// `file` is a path and its text; `environment` the process's variables, of which those that start
/// with [`Settings::PREFIX`] are looked at.
///
/// # Errors
/// The first unknown key or unfit value, naming its place and what would be right.
pub fn merge<C: Settings>(
    file: Option<(&Path, &str)>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Loaded<C>, SettingsError> {
    let mut loaded = Loaded { config: C::default(), origins: BTreeMap::new() };
    if let Some((path, text)) = file {
        let table: toml::Table = text.parse().map_err(|source| SettingsError::Syntax {
            path: path.into(),
            source: Box::new(source),
        })?;
        let mut leaves = value::flatten(table);
        // In the order of the table of keys: one may build on another.
        leaves.sort_by_key(|(name, _)| C::KEYS.iter().position(|key| key.name == name));
        for (name, value) in leaves {
            loaded.set(&name, value, Origin::File(path.into()))?;
        }
    }
    let ours = |name: &str| {
        name.starts_with(C::PREFIX) && !C::NOT_KEYS.iter().any(|other| name.starts_with(other))
    };
    let mut variables: Vec<_> = environment
        .into_iter()
        .filter(|(name, _)| ours(name))
        .map(|(name, text)| (C::KEYS.iter().position(|key| key.variable() == name), name, text))
        .collect();
    variables.sort();
    for (place, variable, text) in variables {
        let known = place.and_then(|place| C::KEYS.get(place));
        let name = known.map_or_else(|| variable.clone(), |key| key.name.to_owned());
        loaded.set(&name, Value::Text(text), Origin::Environment(variable))?;
    }
    let mut flags: Vec<_> = flags.iter().collect();
    flags.sort_by_key(|(name, ..)| C::KEYS.iter().position(|key| key.name == name));
    for (name, flag, text) in flags {
        loaded.set(name, Value::Text(text.clone()), Origin::Flag(flag.clone()))?;
    }
    loaded.config.check().map_err(SettingsError::Conflict)?;
    Ok(loaded)
}

/// [`merge`] from the real file system and environment; `default` is the file that is read when it
/// is there and no other is named.
///
/// # Errors
/// As [`merge`], and when a file cannot be read.
pub fn load<C: Settings>(
    file: Option<&Path>,
    default: &Path,
    flags: &Flags,
) -> Result<Loaded<C>, SettingsError> {
    let path = file.or_else(|| default.exists().then_some(default));
    let text = path.map(read).transpose()?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    merge(path.zip(text.as_deref()), environment, flags)
}

fn read(path: &Path) -> Result<String, SettingsError> {
    use std::io::Read;
    let failed = |source| SettingsError::Read { path: path.into(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(SettingsError::TooLarge(path.into()));
    }
    Ok(text)
}

impl<C: Settings> Loaded<C> {
    fn set(&mut self, name: &str, value: Value, origin: Origin) -> Result<(), SettingsError> {
        let Some(key) = C::KEYS.iter().find(|key| key.name == name) else {
            return Err(unknown::<C>(name, origin));
        };
        (key.set)(&mut self.config, &value).map_err(|expected| SettingsError::Value {
            origin: origin.clone(),
            key: key.name,
            given: value.to_string(),
            expected,
        })?;
        self.origins.insert(key.name, origin);
        Ok(())
    }

    /// The whole configuration as TOML, every key with its meaning and, where set, its origin.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut table = "";
        for key in C::KEYS {
            let (head, leaf) = key.name.rsplit_once('.').unwrap_or(("", key.name));
            if head != table {
                out.push_str(&format!("\n[{head}]\n"));
                table = head;
            }
            let origin = self.origins.get(key.name);
            let origin =
                origin.map_or_else(|| "default".to_owned(), |origin| format!("from {origin}"));
            out.push_str(&format!("# {} ({}; {origin})\n", key.help, key.variable()));
            match (key.show)(&self.config) {
                shown if shown.is_empty() => out.push_str(&format!("# {leaf} is not set\n")),
                shown => out.push_str(&format!("{leaf} = {shown}\n")),
            }
        }
        out
    }
}

/// The error for a key nobody knows, with the nearest known spelling for its kind of place.
fn unknown<C: Settings>(name: &str, origin: Origin) -> SettingsError {
    let environment = matches!(origin, Origin::Environment(_));
    let spelling = |key: &Key<C>| if environment { key.variable() } else { key.name.to_owned() };
    let nearest = C::KEYS
        .iter()
        .map(spelling)
        .min_by_key(|known| strsim::damerau_levenshtein(name, known))
        .unwrap_or_default();
    SettingsError::UnknownKey { origin, key: name.to_owned(), nearest, listed_by: C::LISTED_BY }
}

#[cfg(test)]
mod tests;
