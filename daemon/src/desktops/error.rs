//! Why something about desktops cannot be done.

use lucid_evidence::SessionId;
use lucid_rdp::credential::{CredentialError, RegisterError};
use lucid_rdp::desktop::{DESKTOPS_MAX, DefinitionError, LimitError, PortError};
use lucid_rdp::policy::PolicyError;
use lucid_store::StoreError;

use crate::recordings::RecordingsError;

/// Why something about desktops cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum DesktopsError {
    /// Nothing of this kind has this id.
    #[error("there is no {0} `{1}`")]
    NoSuch(&'static str, String),
    /// A field does not fit.
    #[error("{field}: {message}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What would be right.
        message: String,
    },
    /// As many as a device can have.
    #[error("a device has at most {DESKTOPS_MAX} desktops; delete one")]
    TooMany,
    /// Another desktop has this name.
    #[error("another desktop is called {0:?}")]
    NameTaken(String),
    /// No port is left.
    #[error(transparent)]
    Port(#[from] PortError),
    /// No credential can be added.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Desktops are off, and why.
    #[error("{0}")]
    Off(String),
    /// It does not run, or not so that this could be done.
    #[error("the desktop does not run")]
    NotRunning,
    /// Its port is closed.
    #[error("the desktop is stopped; start it first")]
    Stopped,
    /// It could not be started.
    #[error("the desktop cannot be started: {0}")]
    Failed(String),
    /// A session is on it.
    #[error("session {0} is on the desktop; end it first")]
    InUse(SessionId),
    /// It was answered, or the session is over.
    #[error("the request was answered already, or nobody answered in time")]
    Answered,
    /// The session's recording.
    #[error(transparent)]
    Recording(#[from] RecordingsError),
    /// The index.
    #[error("cannot use the index")]
    Store(#[from] StoreError),
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
    /// A record cannot be written.
    #[error("a record of desktops cannot be written")]
    Encoding(#[source] serde_json::Error),
}

impl From<DefinitionError> for DesktopsError {
    fn from(error: DefinitionError) -> Self {
        let field = match &error {
            DefinitionError::Name { .. } => "name",
            DefinitionError::Size { .. } => "width",
            DefinitionError::Command => "command",
        };
        Self::Field { field, message: error.to_string() }
    }
}

impl From<PolicyError> for DesktopsError {
    fn from(error: PolicyError) -> Self {
        Self::Field { field: "policy", message: error.to_string() }
    }
}

impl From<LimitError> for DesktopsError {
    fn from(error: LimitError) -> Self {
        Self::Field { field: "limits", message: error.to_string() }
    }
}

impl From<CredentialError> for DesktopsError {
    fn from(error: CredentialError) -> Self {
        let field = match &error {
            CredentialError::User { .. } => "user",
            CredentialError::Life { .. } => "expires_in_s",
            CredentialError::Policy(_) | CredentialError::Encoding(_) => "policy",
        };
        Self::Field { field, message: error.to_string() }
    }
}
