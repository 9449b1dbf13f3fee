//! How accounts, sessions and the claim stand in the index: JSON with a version, under keys that
//! start with `auth/`. The store beneath verifies every value it reads.
//!
//! | key | value |
//! |---|---|
//! | `auth/claim` | whether the device is claimed; while it is not, the hash of the code |
//! | `auth/user/<name>` | an account |
//! | `auth/session/<32 bytes>` | a session, under the hash of its token |
//! | `auth/audit/<u64>` | an administrative action, see [`super::audit`] |

use std::sync::{Arc, Mutex};

use lucid_store::{Batch, Store};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AuthError, Identity, Role, TokenId};

/// Version of all records here; a higher one is not understood and counts as damaged.
const VERSION: u32 = 1;
/// Sessions kept at once over all accounts; at the limit the one that ends first makes place.
pub const SESSIONS_MAX: usize = 1024;
/// Accounts; the seam for more than the first administrator.
pub const USERS_MAX: usize = 64;

pub(super) const CLAIM: &[u8] = b"auth/claim";
const USER: &[u8] = b"auth/user/";
const SESSION: &[u8] = b"auth/session/";

/// An account as stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    pub v: u32,
    pub username: String,
    pub role: Role,
    /// PHC text.
    pub password_hash: String,
    pub second_factor: SecondFactor,
    pub created_us: u64,
}

/// What is asked besides the password. A kind this version does not know makes the record
/// unreadable, hence the account closed: never a sign-in with less than was set.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// Nothing.
    None,
}

/// A session as stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionRecord {
    v: u32,
    username: String,
    role: Role,
    created_us: u64,
    expires_us: u64,
}

/// The claim as stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRecord {
    pub v: u32,
    pub state: ClaimRecordState,
}

/// Claimed or open.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ClaimRecordState {
    /// Waiting for the code of this hash, 64 hexadecimal digits.
    Open { code_hash: String },
    /// Taken.
    Claimed { by: String, at_us: u64 },
}

/// Reads and writes the records.
pub struct Records {
    pub(super) store: Arc<dyn Store>,
    /// Held while the audit's last number is read and the next written.
    pub(super) audit: Mutex<()>,
}

/// An account's name as compared: without surrounding space, in lower case.
pub fn canonical(username: &str) -> String {
    username.trim().to_lowercase()
}

/// Checks a new account's name.
///
/// # Errors
/// What would be right.
pub fn check_username(username: &str) -> Result<(), AuthError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._-@".contains(character);
    if (1..=64).contains(&username.len()) && username.chars().all(fits) {
        return Ok(());
    }
    Err(AuthError::Field {
        field: "username",
        message: "expected 1 to 64 of a-z, 0-9, dot, dash, underscore, at sign".into(),
    })
}

impl UserRecord {
    /// A new account.
    pub fn new(username: &str, role: Role, password_hash: String, now_us: u64) -> Self {
        Self {
            v: VERSION,
            username: username.into(),
            role,
            password_hash,
            second_factor: SecondFactor::None,
            created_us: now_us,
        }
    }
}

impl ClaimRecord {
    /// A record of this version.
    pub fn new(state: ClaimRecordState) -> Self {
        Self { v: VERSION, state }
    }
}

impl Records {
    /// Records in the index.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, audit: Mutex::new(()) }
    }

    /// The claim, if anything is recorded about it.
    pub fn claim(&self) -> Result<Option<ClaimRecord>, AuthError> {
        read(&*self.store, CLAIM, "of the claim")
    }

    /// An account by its canonical name.
    pub fn user(&self, username: &str) -> Result<Option<UserRecord>, AuthError> {
        if check_username(username).is_err() {
            return Ok(None);
        }
        let found: Option<UserRecord> =
            read(&*self.store, &user_key(username), &format!("of account {username}"))?;
        match found {
            // A value under another account's key is not this account's.
            Some(user) if user.username != username => {
                Err(AuthError::Damaged { record: format!("of account {username}") })
            }
            other => Ok(other),
        }
    }

    /// Whether any account exists; a record that cannot be read counts as one.
    pub fn any_user(&self) -> Result<bool, AuthError> {
        Ok(!self.store.scan(USER, &end_of(USER), 1)?.is_empty())
    }

    /// The identity of a session, expired or not.
    pub fn session(&self, session: &TokenId) -> Result<Option<Identity>, AuthError> {
        let found: Option<SessionRecord> =
            read(&*self.store, &session_key(session), "of a session")?;
        Ok(found.map(|record| Identity {
            username: record.username,
            role: record.role,
            session: *session,
            expires_us: record.expires_us,
        }))
    }

    /// Writes a session, durably.
    pub fn begin_session(&self, identity: &Identity, now_us: u64) -> Result<(), AuthError> {
        let mut batch = Batch::of_reserve();
        let sessions = self.store.scan(SESSION, &end_of(SESSION), SESSIONS_MAX + 1)?;
        if sessions.len() >= SESSIONS_MAX {
            let first_to_end = sessions.iter().min_by_key(|(_, value)| expiry(value));
            if let Some((key, _)) = first_to_end {
                batch.delete(key.clone());
            }
        }
        let record = SessionRecord {
            v: VERSION,
            username: identity.username.clone(),
            role: identity.role,
            created_us: now_us,
            expires_us: identity.expires_us,
        };
        batch.put(session_key(&identity.session), encode(&record)?);
        self.commit(batch)
    }

    /// Ends a session, durably.
    pub fn end_session(&self, session: &TokenId) -> Result<(), AuthError> {
        let mut batch = Batch::of_reserve();
        batch.delete(session_key(session));
        self.commit(batch)
    }

    /// Deletes sessions that have expired or cannot be read; returns how many.
    pub fn purge_sessions(&self, now_us: u64) -> Result<usize, AuthError> {
        let mut batch = Batch::of_reserve();
        let mut purged = 0;
        for (key, value) in self.store.scan(SESSION, &end_of(SESSION), SESSIONS_MAX + 1)? {
            if expiry(&value) <= now_us {
                batch.delete(key);
                purged += 1;
            }
        }
        if purged > 0 {
            self.commit(batch)?;
        }
        Ok(purged)
    }

    /// Makes the first account and takes the claim, in one step.
    pub fn take_claim(&self, user: &UserRecord) -> Result<(), AuthError> {
        let state = ClaimRecordState::Claimed { by: user.username.clone(), at_us: user.created_us };
        let mut batch = Batch::of_reserve();
        batch.put(user_key(&user.username), encode(user)?);
        batch.put(CLAIM, encode(&ClaimRecord::new(state))?);
        self.commit(batch)
    }

    /// Opens the claim for a code, durably.
    pub fn open_claim(&self, code_hash: String) -> Result<(), AuthError> {
        let mut batch = Batch::of_reserve();
        batch.put(CLAIM, encode(&ClaimRecord::new(ClaimRecordState::Open { code_hash }))?);
        self.commit(batch)
    }

    /// Deletes the claim, all accounts and all sessions, in one step.
    pub fn forget_owner(&self) -> Result<(), AuthError> {
        let mut batch = Batch::of_reserve();
        for (prefix, most) in [(USER, USERS_MAX), (SESSION, SESSIONS_MAX)] {
            for (key, _) in self.store.scan(prefix, &end_of(prefix), most + 1)? {
                batch.delete(key);
            }
        }
        batch.delete(CLAIM);
        self.commit(batch)
    }

    pub(super) fn commit(&self, batch: Batch) -> Result<(), AuthError> {
        self.store.apply(batch)?;
        Ok(self.store.flush()?)
    }
}

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, AuthError> {
    serde_json::to_vec(record).map_err(|error| AuthError::Damaged { record: error.to_string() })
}

pub(super) fn read<T: DeserializeOwned>(
    store: &dyn Store,
    key: &[u8],
    what: &str,
) -> Result<Option<T>, AuthError> {
    let damaged = || AuthError::Damaged { record: what.to_owned() };
    let Some(bytes) = store.get(key)? else { return Ok(None) };
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let versioned: Versioned = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    if versioned.v != VERSION {
        return Err(damaged());
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|_| damaged())
}

/// When a stored session ends; one that cannot be read has ended.
fn expiry(value: &[u8]) -> u64 {
    serde_json::from_slice::<SessionRecord>(value).map_or(0, |record| record.expires_us)
}

fn user_key(username: &str) -> Vec<u8> {
    [USER, username.as_bytes()].concat()
}

fn session_key(session: &TokenId) -> Vec<u8> {
    [SESSION, &session.0].concat()
}

/// The first key after all that start with the prefix, which must not end in 0xff.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
