//! Why there is no configuration, in words for the person who wrote it.

use std::fmt;
use std::path::PathBuf;

use crate::MAX_FILE_BYTES;

/// Where a value came from, for messages and listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A command-line flag, as typed.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than a configuration can be.
    #[error("{0}: larger than {MAX_FILE_BYTES} bytes, which is no configuration file")]
    TooLarge(PathBuf),
    /// The file is not TOML.
    #[error("{path} is not valid TOML")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key nobody knows.
    #[error("{origin}: unknown key `{key}`; did you mean `{nearest}`? (`{listed_by}` lists all)")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The known key that is spelled most like it.
        nearest: String,
        /// The command that lists all keys.
        listed_by: &'static str,
    },
    /// A value that does not fit its key.
    #[error("{origin}: `{key}` = {given}: {expected}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The value as written.
        given: String,
        /// What would be right.
        expected: String,
    },
    /// Values that do not fit together.
    #[error("{0}")]
    Conflict(String),
}
