//! Small secret files: written whole or not at all, readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Largest key file read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Writes a file durably: a temporary beside it, synced, renamed, directory synced.
///
/// # Errors
/// From the file system.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("new");
    // A temporary left by a crash is worthless and may have other permissions.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}

/// Reads a file, `None` when there is none, and takes away others' access to it.
///
/// # Errors
/// From the file system, or when the file is larger than any key.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "key file was open to others; closing it");
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than any key file"));
    }
    Ok(Some(bytes))
}

/// Puts a file that cannot be used aside under a name with the time, and says so.
///
/// # Errors
/// From the file system.
pub fn set_aside(path: &Path, why: &dyn std::fmt::Display) -> io::Result<()> {
    let stamp = jiff::Timestamp::now().as_second();
    let aside = path.with_extension(format!("damaged-{stamp}"));
    fs::rename(path, &aside)?;
    tracing::error!(path = %path.display(), aside = %aside.display(), %why, "key file is damaged");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_private_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.key");
        assert!(read(&path).unwrap().is_none());
        fs::write(path.with_extension("new"), b"left by a crash").unwrap();
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, vec![0; MAX_BYTES as usize + 1]).unwrap();
        read(&path).unwrap_err();
        set_aside(&path, &"too large").unwrap();
        assert!(read(&path).unwrap().is_none());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
