//! Randomness as an argument.

use zeroize::Zeroizing;

/// The source gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct RandomError;

/// Where keys, salts and nonces come from.
pub trait Random {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    /// When there is no randomness; `bytes` are not to be used then.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(bytes).map_err(|_| RandomError)
    }
}

/// An array of random bytes, wiped when dropped.
pub(super) fn array<const N: usize>(
    random: &mut dyn Random,
) -> Result<Zeroizing<[u8; N]>, RandomError> {
    let mut bytes = Zeroizing::new([0; N]);
    random.fill(&mut bytes[..])?;
    Ok(bytes)
}
