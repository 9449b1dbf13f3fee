//! The journal as files of a directory: `journal`, `journal.mark.0` and `journal.mark.1`.

use super::Medium;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenFileError {
    /// Another process holds it; two would pay twice.
    #[error("{0} is in use by another process; only one may pay from a journal")]
    InUse(PathBuf),
    /// The file cannot be opened.
    #[error("cannot open {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A journal's files, held under a lock as long as this lives.
pub struct FileMedium {
    journal: File,
    marks: [File; 2],
}

impl FileMedium {
    /// Opens or creates the files in `dir` and locks them.
    ///
    /// # Errors
    /// [`OpenFileError::InUse`] when another process has them.
    pub fn open(dir: &Path) -> Result<Self, OpenFileError> {
        let open = |name: &str| {
            let path = dir.join(name);
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|source| OpenFileError::Io { path, source })
        };
        let journal = open("journal")?;
        match journal.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenFileError::InUse(dir.join("journal"))),
            Err(TryLockError::Error(source)) => {
                return Err(OpenFileError::Io { path: dir.join("journal"), source });
            }
        }
        let marks = [open("journal.mark.0")?, open("journal.mark.1")?];
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| OpenFileError::Io { path: dir.to_path_buf(), source })?;
        Ok(Self { journal, marks })
    }
}

impl Medium for FileMedium {
    fn read(&mut self) -> io::Result<Box<dyn Read + '_>> {
        self.journal.seek(SeekFrom::Start(0))?;
        Ok(Box::new(BufReader::with_capacity(1 << 20, &self.journal)))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.journal.seek(SeekFrom::End(0))?;
        self.journal.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.journal.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.journal.set_len(len)?;
        self.journal.sync_all()
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.marks[slot].seek(SeekFrom::Start(0))?;
        (&self.marks[slot]).take(4096).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.marks[slot].seek(SeekFrom::Start(0))?;
        self.marks[slot].write_all(bytes)?;
        self.marks[slot].sync_data()
    }
}
