//! All wallets in one sealed file, opened with its own passphrase on any machine.
//!
//! Inside the envelope: the number of wallets in 4 bytes, then each record after its length in 2
//! bytes, in the order of their ids.

use zeroize::Zeroizing;

use super::random::Random;
use super::record::{MAX_RECORD_BYTES, Record, RecordError};
use super::seal::{self, Cost, Purpose, SealError, Unlock};

/// Most wallets of a directory and of a backup.
pub const MAX_WALLETS: usize = 1000;

/// Why there is no backup, or why it does not restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The envelope.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A wallet in it.
    #[error("a wallet of the backup is wrong")]
    Record(#[from] RecordError),
    /// Opened, and not a list of wallets.
    #[error("the contents of the backup do not make wallets")]
    Malformed,
    /// More wallets than a directory holds.
    #[error("a backup holds at most {MAX_WALLETS} wallets, not {0}")]
    TooMany(usize),
}

/// Seals all of `records`.
///
/// # Errors
/// When there are too many, or sealing fails.
pub fn write(
    records: &mut [Record],
    passphrase: &Unlock,
    cost: Cost,
    random: &mut dyn Random,
) -> Result<Vec<u8>, BackupError> {
    if records.len() > MAX_WALLETS {
        return Err(BackupError::TooMany(records.len()));
    }
    records.sort_by_key(|record| record.wallet.id);
    let capacity = 4 + records.len() * (2 + MAX_RECORD_BYTES);
    let mut plain = Zeroizing::new(Vec::with_capacity(capacity));
    let count = u32::try_from(records.len()).map_err(|_| BackupError::TooMany(records.len()))?;
    plain.extend_from_slice(&count.to_be_bytes());
    for record in records {
        let bytes = record.encode()?;
        let length = u16::try_from(bytes.len()).map_err(|_| BackupError::Malformed)?;
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(&bytes);
    }
    Ok(seal::seal(Purpose::Backup, passphrase, cost, &plain, random)?)
}

/// Opens a backup; every key in it is checked against its address.
///
/// # Errors
/// A distinct one for a wrong passphrase, a cut file, a changed file and wrong contents.
pub fn read(sealed: &[u8], passphrase: &Unlock) -> Result<Vec<Record>, BackupError> {
    let plain = seal::open(Purpose::Backup, passphrase, sealed)?;
    let (count, mut rest) = plain.split_first_chunk::<4>().ok_or(BackupError::Malformed)?;
    let count = usize::try_from(u32::from_be_bytes(*count)).map_err(|_| BackupError::Malformed)?;
    if count > MAX_WALLETS {
        return Err(BackupError::TooMany(count));
    }
    let mut records: Vec<Record> = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<2>().ok_or(BackupError::Malformed)?;
        let (bytes, tail) = tail
            .split_at_checked(u16::from_be_bytes(*length).into())
            .ok_or(BackupError::Malformed)?;
        rest = tail;
        let record = Record::decode(bytes)?;
        record.private_key()?;
        if records.last().is_some_and(|last| last.wallet.id >= record.wallet.id) {
            return Err(BackupError::Malformed);
        }
        records.push(record);
    }
    if rest.is_empty() { Ok(records) } else { Err(BackupError::Malformed) }
}
