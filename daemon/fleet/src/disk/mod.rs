//! The few operations on files that updates stand on, so that a test can cut the power between any
//! two of them.

#[cfg(test)]
pub mod cut;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One directory. Names are plain file names in it.
pub trait Disk {
    /// The first `most` bytes of a file; `None` where there is no such file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>>;

    /// Makes a file with these bytes, or replaces those of an existing one. Nothing is synced.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Changes bytes within an existing file, whose length stays. Nothing is synced.
    ///
    /// # Errors
    /// When it cannot be written, or ends before the last of these bytes.
    fn overwrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Brings the bytes of a file to the medium.
    ///
    /// # Errors
    /// When the medium refuses.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of the file that has it.
    ///
    /// # Errors
    /// When it cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Brings the names to the medium.
    ///
    /// # Errors
    /// When the medium refuses.
    fn sync_names(&self) -> io::Result<()>;
}

/// A directory of the operating system.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`, which must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for Directory {
    fn read(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        File::create(self.path.join(name))?.write_all(bytes)
    }

    fn overwrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        let end = offset + bytes.len() as u64;
        if file.metadata()?.len() < end {
            let text = format!("{name} ends before byte {end}");
            return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
        }
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path.join(name))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
