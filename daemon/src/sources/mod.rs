//! The sources the operator has set up: kept in memory, written through to the index.
//!
//! A source's address may hold a camera's password. In the index it is sealed under a key made from
//! the device's, so that a copy of the index alone does not open the cameras.

mod record;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use lucid_capture::{SourceKind, SourceUri};
use lucid_evidence::SigningKey;
use lucid_store::{Batch, Store, StoreError};

use record::Seal;

/// Sources a device can have.
pub const SOURCES_MAX: usize = 64;
/// Longest name, in characters.
pub const NAME_CHARS_MAX: usize = 128;
/// Shortest age a retention may have, in seconds.
pub const AGE_S_MIN: u64 = 60;
/// Smallest size a retention may have, in bytes: space is given back in volumes of this size.
pub const BYTES_MIN: u64 = 64 * 1024 * 1024;

/// A source's name in paths and records: `src-` and eight letters or digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(String);

/// How long recordings of a source are kept; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Oldest recording kept, in seconds.
    pub max_age_s: Option<u64>,
    /// Bytes kept.
    pub max_bytes: Option<u64>,
}

/// What the operator set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name in paths.
    pub id: SourceId,
    /// Its name for people.
    pub name: String,
    /// Where it is; may hold credentials, never shown whole.
    pub uri: SourceUri,
    /// Whether sound is recorded where the source has it.
    pub audio: bool,
    /// Whether it is recorded.
    pub enabled: bool,
    /// How long its recordings are kept.
    pub retention: Retention,
    /// When it was set up, microseconds since 1970.
    pub created_us: u64,
}

/// Why sources cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// No source has this id.
    #[error("there is no source {0}")]
    NoSuch(String),
    /// A field does not fit.
    #[error("{field}: {message}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What would be right.
        message: String,
    },
    /// The device has as many as it can.
    #[error("a device has at most {SOURCES_MAX} sources")]
    TooMany,
    /// A record that cannot be read.
    #[error("the settings of source {id} are damaged: {problem}")]
    Damaged {
        /// Which source.
        id: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The index.
    #[error("cannot use the index")]
    Store(#[from] StoreError),
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// All sources of the device.
pub struct Sources {
    store: Arc<dyn Store>,
    seal: Seal,
    known: RwLock<BTreeMap<SourceId, Source>>,
    /// Held while the set changes, so that memory and index change in the same order.
    change: Mutex<()>,
}

impl SourceId {
    fn random() -> Result<Self, SourcesError> {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0u8; 8];
        getrandom::fill(&mut bytes).map_err(|error| SourcesError::Random(error.to_string()))?;
        let text = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
        Ok(Self(std::iter::once("src-".to_owned()).chain(text.map(String::from)).collect()))
    }

    /// The id in the text, if it has the shape of one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("src-")?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (rest.len() == 8 && rest.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Source {
    /// A new source, checked.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn new(
        name: &str,
        uri: SourceUri,
        audio: bool,
        enabled: bool,
        retention: Retention,
        created_us: u64,
    ) -> Result<Self, SourcesError> {
        let id = SourceId::random()?;
        let source =
            Self { id, name: name.trim().into(), uri, audio, enabled, retention, created_us };
        source.check()?;
        Ok(source)
    }

    /// Checks the fields.
    ///
    /// # Errors
    /// The first that does not fit.
    pub fn check(&self) -> Result<(), SourcesError> {
        let length = self.name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&length) || self.name.chars().any(char::is_control) {
            let message = format!("expected 1 to {NAME_CHARS_MAX} printable characters");
            return Err(SourcesError::Field { field: "name", message });
        }
        if self.retention.max_age_s.is_some_and(|age| age < AGE_S_MIN) {
            let message = format!("expected at least {AGE_S_MIN} seconds, or null for no limit");
            return Err(SourcesError::Field { field: "retention.max_age_s", message });
        }
        if self.retention.max_bytes.is_some_and(|bytes| bytes < BYTES_MIN) {
            let message = format!("expected at least {BYTES_MIN} bytes, or null for no limit");
            return Err(SourcesError::Field { field: "retention.max_bytes", message });
        }
        Ok(())
    }

    /// Whether it shows the demo picture, which no camera took.
    pub fn is_demo(&self) -> bool {
        matches!(self.uri.kind(), SourceKind::Test(_))
    }

    /// The kind, as the API names it.
    pub fn kind(&self) -> &'static str {
        match self.uri.kind() {
            SourceKind::V4l2 { .. } => "v4l2",
            SourceKind::Libcamera { .. } => "libcamera",
            SourceKind::Rtsp(_) => "rtsp",
            SourceKind::File { .. } => "file",
            SourceKind::Screen { .. } => "screen",
            SourceKind::Test(_) => "test",
        }
    }

    /// The address without credentials, marked where there are some.
    pub fn shown_uri(&self) -> String {
        let shown = self.uri.to_string();
        match shown.split_once("://") {
            Some((scheme, rest)) if self.uri.has_credentials() => format!("{scheme}://***@{rest}"),
            _ => shown,
        }
    }
}

impl Sources {
    /// Reads all sources. Those whose records are damaged are left in the index, left out here,
    /// and returned beside.
    ///
    /// # Errors
    /// When the index cannot be read at all.
    pub fn open(
        store: Arc<dyn Store>,
        device: &SigningKey,
    ) -> Result<(Self, Vec<SourcesError>), SourcesError> {
        let seal = Seal::new(device);
        let mut known = BTreeMap::new();
        let mut damaged = Vec::new();
        let mut from = record::PREFIX.to_vec();
        loop {
            let pairs = match store.scan(&from, &record::end(), SOURCES_MAX) {
                Ok(pairs) => pairs,
                Err(StoreError::Damaged { key, .. }) => {
                    damaged.push(record::damaged(&key, "its bytes fail their hash"));
                    from = [key.as_slice(), &[0]].concat();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some((last, _)) = pairs.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            for (key, value) in pairs {
                match record::decode(&seal, &key, &value) {
                    Ok(source) => drop(known.insert(source.id.clone(), source)),
                    Err(error) => damaged.push(error),
                }
            }
        }
        let (known, change) = (RwLock::new(known), Mutex::new(()));
        Ok((Self { store, seal, known, change }, damaged))
    }

    /// All sources, by age.
    pub fn list(&self) -> Vec<Source> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut sources: Vec<Source> = known.values().cloned().collect();
        sources.sort_by(|a, b| (a.created_us, &a.id).cmp(&(b.created_us, &b.id)));
        sources
    }

    /// One source.
    ///
    /// # Errors
    /// [`SourcesError::NoSuch`].
    pub fn get(&self, id: &str) -> Result<Source, SourcesError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = SourceId::parse(id).and_then(|id| known.get(&id).cloned());
        found.ok_or_else(|| SourcesError::NoSuch(id.to_owned()))
    }

    /// Adds a source, durably.
    ///
    /// # Errors
    /// [`SourcesError::TooMany`], or from the index.
    pub fn add(&self, source: &Source) -> Result<(), SourcesError> {
        let _alone = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        if self.known.read().unwrap_or_else(PoisonError::into_inner).len() >= SOURCES_MAX {
            return Err(SourcesError::TooMany);
        }
        self.write(source)
    }

    /// Changes a source, durably, and returns it.
    ///
    /// # Errors
    /// [`SourcesError::NoSuch`], what `change` refuses, or a field that does not fit afterwards.
    pub fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut Source) -> Result<(), SourcesError>,
    ) -> Result<Source, SourcesError> {
        let _alone = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut source = self.get(id)?;
        change(&mut source)?;
        source.check()?;
        self.write(&source)?;
        Ok(source)
    }

    /// Removes a source, durably; its recordings stay.
    ///
    /// # Errors
    /// [`SourcesError::NoSuch`], or from the index.
    pub fn remove(&self, id: &str) -> Result<(), SourcesError> {
        let _alone = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let source = self.get(id)?;
        let mut batch = Batch::new();
        batch.delete(record::key(&source.id));
        self.store.apply(batch)?;
        self.store.flush()?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&source.id);
        Ok(())
    }

    fn write(&self, source: &Source) -> Result<(), SourcesError> {
        let mut batch = Batch::new();
        batch.put(record::key(&source.id), record::encode(&self.seal, source)?);
        self.store.apply(batch)?;
        self.store.flush()?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(source.id.clone(), source.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
