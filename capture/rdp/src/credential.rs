//! One-time credentials: who may open which session on which desktop, until when, under which
//! policy.
//!
//! A credential is bound to a session id that was never used. The first client that shows the
//! secret opens that session; clients that show it again while the session still runs come back to
//! it; once the session is over the credential is used up. Only a hash of the secret is kept: it
//! has 128 random bits, which cannot be tried out, so one keyed hash is enough.

pub mod crockford;
mod register;
mod throttle;

pub use register::{CREDENTIALS_MAX, Register, RegisterError, SignInError, SignedIn};
pub use throttle::{FAILURES_FREE, Throttle, WAIT_FIRST_US, WAIT_MAX_US};

use crockford::ALPHABET;

use crate::policy::{POLICY_MAX_BYTES, Policy, PolicyError};
use lucid_evidence::cbor::{CborError, Decoder, Encoder, Problem};
use lucid_evidence::{Hash, SessionId};
use std::fmt;
use zeroize::Zeroizing;

/// The version of stored credentials.
const VERSION: u64 = 1;
/// Separates this hash from every other use of BLAKE3.
const SECRET_CONTEXT: &str = "lucid 2026-11 desktop credential v1";
/// Random bytes in a secret.
pub const SECRET_BYTES: usize = 16;
/// Characters of a secret, 5 bits each.
const SECRET_CHARACTERS: usize = 26;
/// Characters between dashes.
const GROUP: usize = 6;
/// Longest user name, bytes.
pub const USER_MAX_BYTES: usize = 64;
/// Longest identifier of a desktop, bytes.
pub const DESKTOP_MAX_BYTES: usize = 64;
/// Longest life of a credential that is not used, microseconds.
pub const LIFE_MAX_US: u64 = 30 * 24 * 3_600_000_000;

/// A secret in the clear; it exists to be shown once.
pub struct Secret(Zeroizing<[u8; SECRET_CHARACTERS]>);

impl Secret {
    /// Makes a secret of random bytes.
    pub fn from_random(random: &[u8; SECRET_BYTES]) -> Self {
        let mut bits = u128::from_be_bytes(*random);
        let mut text = Zeroizing::new([0; SECRET_CHARACTERS]);
        for character in text.iter_mut().rev() {
            *character = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        Secret(text)
    }

    /// A secret as a person or a client types it: any case, dashes and spaces anywhere, O for 0, I
    /// and L for 1.
    pub fn typed(text: &str) -> Option<Self> {
        crockford::typed(text).map(Secret)
    }

    /// What is kept of it.
    pub fn hash(&self) -> Hash {
        Hash(blake3::derive_key(SECRET_CONTEXT, &*self.0))
    }

    /// The text to show once.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SECRET_CHARACTERS + 4));
        for (index, character) in self.0.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*character));
        }
        text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How far a credential has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Use {
    /// Nobody has shown it yet.
    Unused,
    /// Its session runs.
    Running,
    /// Its session is over.
    Used,
    /// An operator took it back.
    Revoked,
}

impl Use {
    const ALL: [Use; 4] = [Use::Unused, Use::Running, Use::Used, Use::Revoked];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Use::Unused => "unused",
            Use::Running => "running",
            Use::Used => "used",
            Use::Revoked => "revoked",
        }
    }
}

/// A credential as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The session it opens, and its own identifier: a session id is used once.
    pub session: SessionId,
    /// Whose it is.
    pub user: String,
    /// The desktop it opens.
    pub desktop: String,
    /// Hash of the secret.
    pub secret_hash: Hash,
    /// When it was issued, microseconds since 1970.
    pub issued_us: u64,
    /// Until when a session may be opened with it, microseconds since 1970.
    pub expires_us: u64,
    /// Who issued it.
    pub issued_by: String,
    /// The policy of its session.
    pub policy: Policy,
    /// How far it has come.
    pub used: Use,
}

/// What the holder of a credential may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Open its session.
    Open,
    /// Come back to its session, which runs.
    Resume,
}

/// Why a credential does not let in. What the client is told is the same for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Another secret, user or desktop.
    #[error("wrong user, secret or desktop")]
    Wrong,
    /// Too late.
    #[error("the credential has expired")]
    Expired,
    /// Its session is over.
    #[error("the credential was used")]
    Used,
    /// Taken back.
    #[error("the credential was revoked")]
    Revoked,
}

/// Why no credential is made or read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A user name that cannot stand in an RDP login.
    #[error(
        "user {found:?} is not usable; write 1 to {USER_MAX_BYTES} bytes without control \
         characters, \\, / or @"
    )]
    User {
        /// What stood there, cut at 80 characters.
        found: String,
    },
    /// A life of nothing or too long.
    #[error("a credential may live 1 s to {} s, not {found_us} us", LIFE_MAX_US / 1_000_000)]
    Life {
        /// What was asked for, microseconds.
        found_us: u64,
    },
    /// Its policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Stored bytes that are no credential.
    #[error(transparent)]
    Encoding(#[from] CborError),
}

/// What a new credential is for.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The session it will open, never used before.
    pub session: SessionId,
    /// Whose it is.
    pub user: String,
    /// The desktop it opens.
    pub desktop: String,
    /// How long it may stay unused, microseconds.
    pub life_us: u64,
    /// Who issues it.
    pub issued_by: String,
    /// The policy of its session.
    pub policy: Policy,
}

impl Credential {
    /// Makes a credential and its secret from random bytes.
    ///
    /// # Errors
    /// When user, life or policy are out of their limits.
    pub fn issue(
        issue: Issue,
        random: &[u8; SECRET_BYTES],
        now_us: u64,
    ) -> Result<(Self, Secret), CredentialError> {
        let user = issue.user;
        check_user(&user)?;
        if issue.life_us < 1_000_000 || issue.life_us > LIFE_MAX_US {
            return Err(CredentialError::Life { found_us: issue.life_us });
        }
        issue.policy.validate()?;
        let secret = Secret::from_random(random);
        let credential = Credential {
            session: issue.session,
            user,
            desktop: issue.desktop,
            secret_hash: secret.hash(),
            issued_us: now_us,
            expires_us: now_us.saturating_add(issue.life_us),
            issued_by: issue.issued_by,
            policy: issue.policy,
            used: Use::Unused,
        };
        Ok((credential, secret))
    }

    /// Whether `user` with `secret` may enter `desktop` at `now_us`. The secret is compared first,
    /// in constant time, so that a stranger learns nothing about what there is.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        &self,
        user: &str,
        secret: &Secret,
        desktop: &str,
        now_us: u64,
    ) -> Result<Admission, Refusal> {
        // blake3's own comparison takes the same time wherever the first difference is.
        let known = blake3::Hash::from(self.secret_hash.0);
        let right = known == blake3::Hash::from(secret.hash().0);
        if !right || self.user != user || self.desktop != desktop {
            return Err(Refusal::Wrong);
        }
        match self.used {
            Use::Revoked => Err(Refusal::Revoked),
            Use::Used => Err(Refusal::Used),
            Use::Running => Ok(Admission::Resume),
            Use::Unused if now_us >= self.expires_us => Err(Refusal::Expired),
            Use::Unused => Ok(Admission::Open),
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let used = Use::ALL.iter().position(|one| *one == self.used).unwrap_or_default();
        let mut e = Encoder::new();
        e.array(10).uint(VERSION).bytes(self.session.as_bytes());
        e.text(&self.user).text(&self.desktop).bytes(self.secret_hash.as_bytes());
        e.uint(self.issued_us).uint(self.expires_us).text(&self.issued_by);
        e.bytes(&self.policy.encode()).uint(used as u64);
        e.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Anything but what [`Credential::encode`] makes, naming the field.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        let mut d = Decoder::new(bytes);
        d.array_of("credential", 10)?;
        match d.u64("credential.version")? {
            VERSION => {}
            found => {
                let problem = Problem::Version { found, known: VERSION };
                return Err(d.error("credential.version", problem).into());
            }
        }
        let credential = Credential {
            session: d.session_id("credential.session")?,
            user: d.text("credential.user", USER_MAX_BYTES)?.to_owned(),
            desktop: d.text("credential.desktop", DESKTOP_MAX_BYTES)?.to_owned(),
            secret_hash: d.hash("credential.secret_hash")?,
            issued_us: d.u64("credential.issued")?,
            expires_us: d.u64("credential.expires")?,
            issued_by: d.text("credential.issued_by", crate::event::TEXT_MAX_BYTES)?.to_owned(),
            policy: Policy::decode(d.bytes("credential.policy", POLICY_MAX_BYTES)?)?,
            used: {
                let code = d.u64("credential.used")?;
                let used = usize::try_from(code).ok().and_then(|code| Use::ALL.get(code));
                *used.ok_or_else(|| d.value_error("credential.used", format!("code {code}")))?
            },
        };
        d.end("credential")?;
        Ok(credential)
    }
}

/// Whether a user's name can stand in an RDP login.
fn check_user(user: &str) -> Result<(), CredentialError> {
    let strange = |c: char| c.is_control() || matches!(c, '\\' | '/' | '@');
    if user.trim().is_empty() || user.len() > USER_MAX_BYTES || user.chars().any(strange) {
        return Err(CredentialError::User { found: user.chars().take(80).collect() });
    }
    Ok(())
}

/// Splits the user name of a client on the shared endpoint: `desktop\user`, or `user@desktop` as
/// some clients write it. None where no desktop is named.
pub fn split_login(login: &str) -> Option<(&str, &str)> {
    let named = login.split_once('\\').or_else(|| login.split_once('/'));
    let (desktop, user) = named.or_else(|| login.rsplit_once('@').map(|(u, d)| (d, u)))?;
    (!desktop.is_empty() && !user.is_empty()).then_some((desktop, user))
}

#[cfg(test)]
mod tests;
