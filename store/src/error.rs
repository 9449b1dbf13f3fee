//! What can go wrong in storage, said so that an operator can act on it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::volumes::VolumeId;

/// The first bytes of a key as shown in messages; longer keys are cut, the variant has them whole.
const KEY_SHOWN_BYTES: usize = 40;

/// An error of the storage layer. Cloneable, because one failed commit answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A key outside the limits.
    #[error("key is {length} bytes long, must be 1 to {}", crate::KEY_BYTES_MAX)]
    KeyLength {
        /// Its length in bytes.
        length: usize,
    },
    /// A value outside the limits.
    #[error("value is {length} bytes long, must be at most {}", crate::VALUE_BYTES_MAX)]
    ValueLength {
        /// Its length in bytes.
        length: usize,
    },
    /// More in one batch or append than the engine can make durable in one step.
    #[error(
        "batch holds {bytes} bytes in {operations} operations, must be at most {bytes_max} bytes \
         in {operations_max} operations"
    )]
    BatchTooLarge {
        /// Keys and values together, in bytes.
        bytes: usize,
        /// Number of operations.
        operations: usize,
        /// The limit in bytes.
        bytes_max: usize,
        /// The limit in operations.
        operations_max: usize,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: Arc<io::Error>,
    },
    /// No room on the disk.
    #[error("disk is full at {}: {available} bytes available, {needed} needed", path.display())]
    Full {
        /// Where the room was needed.
        path: PathBuf,
        /// Bytes that an ordinary user may still write.
        available: u64,
        /// Bytes that must be available, the reserve included.
        needed: u64,
    },
    /// The file system does not take writes.
    #[error("file system is read-only at {}", path.display())]
    ReadOnly {
        /// Where a write was refused.
        path: PathBuf,
    },
    /// Another process has the data directory open.
    #[error(
        "data directory {} is in use by process {holder}; stop that process or choose another \
         directory",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Process id of the holder, or "unknown".
        holder: String,
    },
    /// The data directory was written by a newer version.
    #[error(
        "data directory {} has version {found}, this program knows up to {known}; use a newer \
         program",
        path.display()
    )]
    VersionNewer {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version this program can read.
        known: u64,
    },
    /// The version file is missing beside databases, or does not hold a version.
    #[error("{} is not a data directory: version file {problem}", path.display())]
    VersionUnreadable {
        /// The directory.
        path: PathBuf,
        /// What is wrong with the file.
        problem: &'static str,
    },
    /// A record failed its hash, or the index names a record that is not there.
    #[error("record {} in {database} is damaged", shown(key))]
    Damaged {
        /// The database's name.
        database: String,
        /// The whole key.
        key: Vec<u8>,
    },
    /// A database, or a page of it, cannot be read at all.
    #[error("database {database} cannot be read: {reason}")]
    Unreadable {
        /// The database's name.
        database: String,
        /// What the engine said.
        reason: String,
    },
    /// A database opens and does not hold what had been durable in it.
    #[error("database {database} has lost what was durable: {what}")]
    Lost {
        /// The database's name.
        database: String,
        /// What is missing.
        what: String,
    },
    /// There is no such volume.
    #[error("volume {volume} does not exist")]
    UnknownVolume {
        /// The volume asked for.
        volume: VolumeId,
    },
    /// A volume number that is, or was, in use.
    #[error("volume number {volume} is taken; import into an empty data directory")]
    VolumeTaken {
        /// The number asked for.
        volume: VolumeId,
    },
    /// The store is shutting down.
    #[error("store is closed")]
    Closed,
}

fn shown(key: &[u8]) -> String {
    let cut = &key[..key.len().min(KEY_SHOWN_BYTES)];
    let mut text: String = cut.iter().map(|byte| format!("{byte:02x}")).collect();
    if cut.len() < key.len() {
        text.push_str("..");
    }
    text
}

impl StoreError {
    /// Wraps an error of the operating system, telling a full and a read-only disk from the rest.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::Full { path: path.into(), available: 0, needed: 1 }
            }
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path: path.into() },
            _ => StoreError::Io { action, path: path.into(), source: Arc::new(source) },
        }
    }

    /// Whether the stored bytes are at fault, not the machine: such a database is moved aside.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            StoreError::Damaged { .. } | StoreError::Unreadable { .. } | StoreError::Lost { .. }
        )
    }
}
