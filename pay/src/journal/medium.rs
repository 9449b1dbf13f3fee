//! What a journal is written on, so that a simulation can tear it.

use std::io::{self, Read};

/// A file that grows at its end, and two small mark slots beside it.
pub trait Medium {
    /// The bytes from the beginning.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&mut self) -> io::Result<Box<dyn Read + '_>>;
    /// Adds bytes at the end; durable only after [`Medium::sync`].
    ///
    /// # Errors
    /// When they do not fit; a part of them may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything appended survives a power cut.
    ///
    /// # Errors
    /// Then nothing is known about what was appended since the last success.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes, durably.
    ///
    /// # Errors
    /// When it cannot be cut.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// The bytes of mark slot 0 or 1; empty when never written.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>>;
    /// Replaces a mark slot, durably when this returns. A crash may tear this slot only.
    ///
    /// # Errors
    /// Then the slot may hold anything.
    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()>;
}
