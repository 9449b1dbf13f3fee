//! Who may do what: the claim that makes the first administrator, sign-in, sessions of the web
//! page and of scripts, and the record of administrative actions.
//!
//! There is no default password. Until the claim the device serves nothing but its claim page;
//! the code for it is printed on the console and kept only as a hash. Whatever cannot be read or
//! is damaged counts against the caller: no claim, no sign-in.

mod attempts;
mod audit;
mod claim;
mod code;
mod password;
mod records;
mod routes;
mod token;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lucid_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use attempts::Purpose;
pub use claim::ClaimState;
pub use code::ClaimCode;
pub use routes::{COOKIE, SignedIn, identify, routes};
pub use token::{Token, TokenId};

/// What an account is for. More roles come with more accounts; rights are asked through
/// [`Role::may`], so that a new role is added in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
}

/// What a request does, as far as rights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start, stop, hold, export.
    Operate,
    /// Change sources, release holds, delete recordings, change accounts.
    Administer,
}

impl Role {
    /// Whether the role has the right.
    pub fn may(self, action: Action) -> bool {
        match (self, action) {
            (Self::Admin, Action::Operate | Action::Administer) => true,
        }
    }
}

/// Who a request comes from.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The account.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// The session the request belongs to.
    pub session: TokenId,
    /// When that session ends, in microseconds since 1970.
    pub expires_us: u64,
}

impl Identity {
    /// Whoever sits at the device: root, or the user the daemon runs as. They could read and
    /// change every file of it.
    pub fn console() -> Self {
        Self {
            username: "console".into(),
            role: Role::Admin,
            session: TokenId([0; 32]),
            expires_us: u64::MAX,
        }
    }
}

/// Why something was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The code is wrong.
    #[error("the claim code is wrong")]
    WrongCode,
    /// The device has its owner.
    #[error("the device has been claimed")]
    AlreadyClaimed,
    /// Nobody can claim the device before its owner resets the claim.
    #[error("the claim is closed: {0}")]
    ClaimClosed(String),
    /// Unknown account or wrong password.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
    /// Tries came too fast.
    #[error("too many tries; wait {} s", .0.as_secs() + 1)]
    TooManyTries(Duration),
    /// All places for hashing passwords are taken.
    #[error("too many sign-ins at once")]
    Busy,
    /// A field does not fit.
    #[error("{field}: {message}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What would be right.
        message: String,
    },
    /// A record is there and cannot be understood.
    #[error("the record {record} is damaged")]
    Damaged {
        /// Which record; no secrets.
        record: String,
    },
    /// The index cannot be read or written.
    #[error("cannot use the index")]
    Store(#[from] StoreError),
    /// The marker of the claim cannot be written.
    #[error("cannot use {path}")]
    Marker {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Hashing failed or was cut off.
    #[error("cannot hash the password: {0}")]
    Hashing(String),
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// Accounts, sessions and the claim of this device.
pub struct Auth {
    records: records::Records,
    marker: PathBuf,
    session: Duration,
    hasher: password::Hasher,
    attempts: Mutex<attempts::Attempts>,
    /// Held while the claim changes, so that two claims cannot both win.
    claim: Mutex<()>,
}

impl Auth {
    /// Accounts kept in the index, and the marker file that outlives a lost index.
    pub fn new(
        index: Arc<dyn Store>,
        keys_dir: &std::path::Path,
        config: &crate::config::Auth,
    ) -> Self {
        Self {
            records: records::Records::new(index),
            marker: keys_dir.join(claim::MARKER_FILE),
            session: config.session,
            hasher: password::Hasher::new(),
            attempts: Mutex::new(attempts::Attempts::new(config.attempts_per_minute)),
            claim: Mutex::new(()),
        }
    }

    /// Signs an account in.
    ///
    /// # Errors
    /// Wrong credentials take as long for unknown accounts as for known ones.
    pub async fn sign_in(
        self: &Arc<Self>,
        address: IpAddr,
        username: &str,
        password: String,
    ) -> Result<(Token, Identity), AuthError> {
        let username = records::canonical(username);
        self.attempt(Purpose::SignIn, address, Some(&username))?;
        let user = match self.records.user(&username) {
            Err(error @ AuthError::Damaged { .. }) => {
                tracing::error!(%error, "sign-in refused");
                None
            }
            read => read?,
        };
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let right = self.hasher.verify(password, hash).await?;
        let user = user.filter(|_| right).ok_or(AuthError::WrongCredentials)?;
        self.succeeded(Purpose::SignIn, address, Some(&username));
        let auth = Arc::clone(self);
        blocking(move || auth.open_session(&user.username, user.role)).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub async fn sign_out(self: &Arc<Self>, session: TokenId) -> Result<(), AuthError> {
        let auth = Arc::clone(self);
        blocking(move || auth.records.end_session(&session)).await
    }

    /// The identity behind a token, if it is known, not expired, and its account is still there.
    pub fn identify(&self, token: &Token, now_us: u64) -> Option<Identity> {
        self.identity(&token.id(), now_us)
    }

    /// As [`Self::identify`], by the session's id.
    pub fn identity(&self, session: &TokenId, now_us: u64) -> Option<Identity> {
        match self.records.session(session) {
            Ok(found) => found.filter(|identity| identity.expires_us > now_us),
            Err(error) => {
                tracing::error!(%error, "session refused");
                None
            }
        }
    }

    /// Appends to the record of administrative actions.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub async fn audit(
        self: &Arc<Self>,
        actor: &str,
        action: &'static str,
        subject: &str,
    ) -> Result<(), AuthError> {
        let auth = Arc::clone(self);
        let (actor, subject) = (actor.to_owned(), subject.to_owned());
        blocking(move || auth.records.append_audit(&actor, action, &subject)).await
    }

    /// [`Self::audit`] for callers that may wait for the disk themselves.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn note(&self, actor: &str, action: &'static str, subject: &str) -> Result<(), AuthError> {
        self.records.append_audit(actor, action, subject)
    }

    /// Deletes sessions that have expired; returns how many.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub async fn purge(self: &Arc<Self>) -> Result<usize, AuthError> {
        let auth = Arc::clone(self);
        blocking(move || auth.records.purge_sessions(crate::http::time::now_us())).await
    }

    fn open_session(&self, username: &str, role: Role) -> Result<(Token, Identity), AuthError> {
        let token = Token::random()?;
        let now = crate::http::time::now_us();
        let lasts = u64::try_from(self.session.as_micros()).unwrap_or(u64::MAX);
        let identity = Identity {
            username: username.to_owned(),
            role,
            session: token.id(),
            expires_us: now.saturating_add(lasts),
        };
        self.records.begin_session(&identity, now)?;
        Ok((token, identity))
    }

    fn attempt(
        &self,
        purpose: Purpose,
        address: IpAddr,
        username: Option<&str>,
    ) -> Result<(), AuthError> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.take(purpose, address, username, Instant::now()).map_err(AuthError::TooManyTries)
    }

    fn succeeded(&self, purpose: Purpose, address: IpAddr, username: Option<&str>) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.succeeded(purpose, address, username);
    }
}

/// Runs what may wait for the disk off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
) -> Result<T, AuthError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(AuthError::Hashing(error.to_string())))
}

#[cfg(test)]
mod tests;
