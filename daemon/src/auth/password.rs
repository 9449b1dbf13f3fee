//! Password hashing: argon2id, off the async threads, a few at a time.

use std::sync::{Arc, OnceLock};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::AuthError;

/// Memory of one hash, in KiB: with the passes below about a fifth of a second on a Pi 5, and
/// small enough that two at once leave the recorder its memory.
const MEMORY_KIB: u32 = 32 * 1024;
/// Passes over that memory.
const PASSES: u32 = 3;
/// Lanes; one, since the other cores record.
const LANES: u32 = 1;
/// Hashes computed at once.
const AT_ONCE: usize = 2;
/// Hashes that may wait for their turn; further sign-ins are refused as busy.
const WAITING_MAX: usize = 8;

/// Shortest and longest password, in bytes.
pub const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 10..=1024;

/// Hashes and compares passwords.
pub struct Hasher {
    turn: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Hasher {
    /// A hasher with all places free.
    pub fn new() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX)),
        }
    }

    /// The hash to keep, in PHC text form with salt and parameters.
    ///
    /// # Errors
    /// When the password's length does not fit, or all places are taken.
    pub async fn hash(&self, password: String) -> Result<String, AuthError> {
        let password = Zeroizing::new(password);
        if !PASSWORD_BYTES.contains(&password.len()) {
            return Err(AuthError::Field {
                field: "password",
                message: format!(
                    "expected {} to {} bytes",
                    PASSWORD_BYTES.start(),
                    PASSWORD_BYTES.end()
                ),
            });
        }
        self.run(move || hash_now(password.as_bytes())).await
    }

    /// Whether the password is the one of the hash. Without a hash the same work is done and the
    /// answer is no, so that nobody learns from the time taken which accounts exist.
    ///
    /// # Errors
    /// When all places are taken.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, AuthError> {
        static NOBODYS: OnceLock<String> = OnceLock::new();
        let password = Zeroizing::new(password);
        if password.len() > *PASSWORD_BYTES.end() {
            return Ok(false);
        }
        self.run(move || {
            let known = hash.is_some();
            let hash = match hash {
                Some(hash) => hash,
                None => match NOBODYS.get() {
                    Some(hash) => hash.clone(),
                    None => NOBODYS.get_or_init(|| hash_now(b"").unwrap_or_default()).clone(),
                },
            };
            Ok(hasher()?.verify_password(password.as_bytes(), hash.as_str()).is_ok() && known)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
    ) -> Result<T, AuthError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| AuthError::Busy)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| AuthError::Busy)?;
        super::blocking(move || {
            let _held = (place, turn);
            work()
        })
        .await
    }
}

fn hasher() -> Result<Argon2<'static>, AuthError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| AuthError::Hashing(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &[u8]) -> Result<String, AuthError> {
    let mut salt = [0u8; 16];
    getrandom::fill(&mut salt).map_err(|error| AuthError::Random(error.to_string()))?;
    let hash = hasher()?
        .hash_password_with_salt(password, &salt)
        .map_err(|error| AuthError::Hashing(error.to_string()))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn right_passwords_pass_wrong_and_unknown_do_not() {
        let hasher = Hasher::new();
        let hash = hasher.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=32768,t=3,p=1$"), "{hash}");
        assert!(hasher.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("correct horsf".into(), Some(hash)).await.unwrap());
        assert!(!hasher.verify("correct horse".into(), None).await.unwrap());
        assert!(!hasher.verify(String::new(), None).await.unwrap());
        assert!(!hasher.verify("x".repeat(2000), None).await.unwrap());
        hasher.hash("too short".into()).await.unwrap_err();
        hasher.hash("x".repeat(1025)).await.unwrap_err();
    }

    #[tokio::test]
    async fn more_than_the_places_are_refused_not_queued() {
        let hasher = Hasher::new();
        let _all = hasher.places.try_acquire_many(10).unwrap();
        let refused = hasher.verify("password12".into(), None).await;
        assert!(matches!(refused, Err(AuthError::Busy)));
    }
}
