//! Durable, verified storage of keys and bytes.
//!
//! Two shapes, both on sled and both with a memory twin:
//!
//! - [`Store`]: one ordered key-value database (`index/`, `chain/`), read and written in place.
//! - [`Volumes`]: an append-only sequence of small databases (`volumes/<n>/`) that are sealed when
//!   full. They bound memory, reopening time and the reach of any damage.
//!
//! [`DataDir`] opens both under one lock. Every value carries a version and a hash over its key
//! and its bytes, checked on every read. What is damaged is moved aside and reported, never
//! deleted. `docs/storage.md` has the layout, the measurements and the rules for sled.
#![forbid(unsafe_code)]

mod archive;
mod ballast;
mod batch;
mod chain_database;
mod data_dir;
pub mod engine;
mod error;
mod frame;
mod framed;
mod volume;
mod volumes;
mod watermark;

pub use archive::{ArchiveError, Archived, check as check_archive, export, import};
pub use batch::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Batch, KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use chain_database::ChainCheck;
pub use data_dir::{DATA_VERSION, DataDir, Fsck, OpenReport, Options, Quarantined};
pub use error::StoreError;
pub use framed::{Framed, memory_store};
pub use volumes::{
    APPEND_BYTES_MAX, Altered, Incident, Relocated, Scan, ScrubReport, VolumeId, VolumeInfo,
    Volumes,
};
pub use watermark::{NOTE_BYTES_MAX, Noted, Watermark};

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One ordered key-value database. Keys are 1 to [`KEY_BYTES_MAX`] bytes, values at most
/// [`VALUE_BYTES_MAX`] bytes. Calls block; keep them off an async runtime's own threads.
pub trait Store: Send + Sync {
    /// The value under `key`, checked against its hash.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the stored bytes fail their hash.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies the whole batch or nothing. Visible at once; durable only after [`Store::flush`].
    ///
    /// # Errors
    /// [`StoreError::Full`] before anything is written when the disk has no room.
    fn apply(&self, batch: Batch) -> Result<(), StoreError>;

    /// Returns when everything applied before the call survives a power cut.
    ///
    /// # Errors
    /// After an error nothing applied since the last successful flush may be taken as durable.
    fn flush(&self) -> Result<(), StoreError>;

    /// Notes durably outside the database how far it has come, so that its owner finds out at the
    /// next opening when it lost its end. Called after a [`Store::flush`], with at most
    /// [`NOTE_BYTES_MAX`] bytes. Stores that keep no such note do nothing.
    ///
    /// # Errors
    /// When the note cannot be written; the one before may still stand.
    fn mark(&self, note: &[u8]) -> Result<(), StoreError> {
        let _ = note;
        Ok(())
    }

    /// At most `limit` pairs with `from <= key < to`, in ascending order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names the first damaged key in the range; a caller that can do
    /// without it continues behind that key.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// As [`Store::scan`], in descending order.
    ///
    /// # Errors
    /// As [`Store::scan`].
    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Reads and verifies every record.
    ///
    /// # Errors
    /// Only when the database could not be asked at all; damage is in the report.
    fn scrub(&self) -> Result<ScrubReport, StoreError>;

    /// The stored bytes of a record with its frame, unchecked, so that a damaged one can be put
    /// aside before its key is written again.
    ///
    /// # Errors
    /// When the engine cannot deliver the bytes.
    fn raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}
