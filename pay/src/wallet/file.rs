//! Secret files on disk: written whole or not at all, for their owner only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::seal::{MAX_SEALED_BYTES, Unlock};

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// From the file system.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Larger than any file of ours.
    #[error("{} is larger than {MAX_SEALED_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// A key of another length.
    #[error("the key in {} has {bytes} bytes; a key has 32 and no line end", path.display())]
    KeyLength {
        /// The file.
        path: PathBuf,
        /// Bytes found, 33 for all longer ones.
        bytes: usize,
    },
    /// A key everyone can read.
    #[error("{} may be read by everyone (mode {mode:04o}); chmod o= it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

fn io_error<'p>(doing: &'static str, path: &'p Path) -> impl Fn(io::Error) -> FileError + 'p {
    move |source| FileError::Io { doing, path: path.to_owned(), source }
}

/// Writes durably: a temporary beside it, synced, renamed, directory synced. A crash leaves the old
/// file or the new one.
///
/// # Errors
/// From the file system, as when the disk is full; the old file is as before then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = path.with_extension("new");
    // What a crash left is worthless and may have other permissions.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove", &temporary)(error));
        }
        _ => {}
    }
    let attempt = || {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    if let Err(error) = attempt() {
        let _ = fs::remove_file(&temporary);
        return Err(io_error("write", path)(error));
    }
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|file| file.sync_all()).map_err(io_error("sync", directory))
}

/// Reads a file; `None` when there is none.
///
/// # Errors
/// From the file system, or when it is too large.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error("open", path))?,
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_SEALED_BYTES).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() > MAX_SEALED_BYTES {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    Ok(Some(bytes))
}

/// Makes a directory for its owner only, or takes away the others' access to one that is there.
///
/// # Errors
/// From the file system.
pub fn private_directory(path: &Path) -> Result<(), FileError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
                .map_err(io_error("protect", path))
        }
        Err(error) => Err(io_error("make", path)(error)),
    }
}

/// The 32 bytes of a systemd credential (`$CREDENTIALS_DIRECTORY/NAME`).
///
/// # Errors
/// When it cannot be read, everyone can read it, or it is not 32 bytes.
pub fn credential(path: &Path) -> Result<Unlock, FileError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    let metadata = file.metadata().map_err(io_error("read", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    // systemd's access list shows as group bits; the world's are never set.
    if mode & 0o007 != 0 {
        return Err(FileError::Open { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    file.take(33).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    let length = FileError::KeyLength { path: path.to_owned(), bytes: bytes.len() };
    let key = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| length)?;
    Ok(Unlock::key(key))
}
