//! What an engine must do, and the engines: sled, memory, and one that fails on purpose.
//!
//! An engine knows spaces, keys and bytes. It neither limits nor verifies; that is done once,
//! above it, for all engines.

pub(crate) mod durable;
pub mod fault;
pub mod memory;
pub mod sled_engine;
pub(crate) mod undo;

use std::path::Path;
use std::sync::Arc;

pub use self::durable::Cut;
pub use crate::batch::Operation;
use crate::{Pair, StoreError};

/// The space that exists in every database.
pub const DEFAULT_SPACE: u32 = 0;

/// What a database is used for; engines size themselves by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Read and written in place for years.
    KeyValue,
    /// As [`Use::KeyValue`], and what was durable is missed when it is gone: see [`Engine::cut`].
    KeyValueWatched,
    /// Written once, then only read. What was durable is missed when it is gone.
    Volume,
    /// A volume that was closed for good; everything in it is durable already.
    SealedVolume,
}

/// An ordered map of bytes in numbered spaces.
pub trait Engine: Send + Sync {
    /// The bytes under `key`; `None` also when the space does not exist.
    ///
    /// # Errors
    /// When the engine cannot read.
    fn get(&self, space: u32, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies all operations or none. A space comes to be when it is first written.
    ///
    /// # Errors
    /// When the engine cannot write.
    fn apply(&self, space: u32, operations: Vec<Operation>) -> Result<(), StoreError>;

    /// Applies the operations one by one, in order: a crash may leave the first of them and not
    /// the others. For engines whose atomic writes cost more.
    ///
    /// # Errors
    /// When the engine cannot write; some of the operations may then be applied.
    fn apply_each(&self, space: u32, operations: Vec<Operation>) -> Result<(), StoreError> {
        self.apply(space, operations)
    }

    /// At most `limit` pairs with `from <= key < to` (`None`: to the end), ascending or, with
    /// `back`, descending.
    ///
    /// # Errors
    /// When the engine cannot read.
    fn scan(
        &self,
        space: u32,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        back: bool,
    ) -> Result<Vec<Pair>, StoreError>;

    /// The spaces that exist, ascending.
    ///
    /// # Errors
    /// When the engine cannot read.
    fn spaces(&self) -> Result<Vec<u32>, StoreError>;

    /// How far the engine's log reaches in its file, in bytes, once it was synced; `None` when
    /// there is no such file.
    ///
    /// # Errors
    /// When the file cannot be asked.
    fn log_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// What was durable when the database was used last, and was not there when it was opened.
    fn cut(&self) -> Option<Cut> {
        None
    }

    /// Returns when everything applied before survives a power cut.
    ///
    /// # Errors
    /// After an error the engine must be closed and opened again.
    fn sync(&self) -> Result<(), StoreError>;
}

/// Opens engines at paths.
pub trait Opener: Send + Sync {
    /// Opens the database at `path`, which is made when absent. On return its files and their
    /// directory entries are durable, but not the entry of `path` itself. `name` is for errors.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when the bytes are at fault, anything else when the machine is.
    fn open(&self, path: &Path, name: &str, purpose: Use) -> Result<Arc<dyn Engine>, StoreError>;

    /// Called after the directory was moved or removed.
    fn moved(&self, from: &Path, to: Option<&Path>) {
        let _ = (from, to);
    }
}
