//! The factory reset: everything the recorder keeps is destroyed, and the next start is a first
//! one.
//!
//! It is asked for with a mark in the data directory and done at the next start, before anything is
//! opened. The mark goes last: a reset that the power interrupted goes on at the next start. Keys
//! go first and are overwritten, so that what the flash memory keeps of recordings cannot be read
//! any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// The mark.
const MARK: &str = "factory-reset";
/// The file another process holds while it uses the directory.
const LOCK: &str = "lock";
/// Keys.
const KEYS: &str = "keys";

/// Why a reset is not done.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// Another process uses the directory.
    #[error("a factory reset was asked for, but another process uses {0}; stop it first")]
    InUse(String),
    /// From the file system.
    #[error("the factory reset cannot remove {path}")]
    Io {
        /// What was touched.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Asks for a reset at the next start.
///
/// # Errors
/// When the mark cannot be made durable.
pub fn ask(data_dir: &Path) -> io::Result<()> {
    crate::keyfile::write(&data_dir.join(MARK), b"1\n")
}

/// Does what was asked for; says whether it was. `homes` are the desktops', which go as well;
/// `keeper` has those that this process cannot reach.
///
/// # Errors
/// When something stays; the mark does too, so that it is tried again.
pub fn carry_out(data_dir: &Path, homes: &Path, keeper: Option<&Path>) -> Result<bool, ResetError> {
    let mark = data_dir.join(MARK);
    if !mark.exists() {
        return Ok(false);
    }
    let lock_path = data_dir.join(LOCK);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
    let lock = lock.map_err(failed(&lock_path))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| ResetError::InUse(data_dir.display().to_string()))?;
    overwrite(&data_dir.join(KEYS))?;
    empty(data_dir, &[MARK, LOCK])?;
    // Homes belong to users of their own: what cannot be removed is told and does not keep the
    // device from its first start.
    if let Err(error) = empty(homes, &[]) {
        tracing::error!(%error, "files of desktops stay");
    }
    if let Some(socket) = keeper
        && let Err(error) = lucid_rdp::desktop::keeper::erase_homes(socket)
    {
        tracing::error!(%error, "files of desktops stay");
    }
    sync(data_dir)?;
    fs::remove_file(&mark).map_err(failed(&mark))?;
    sync(data_dir)?;
    Ok(true)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ResetError + use<> {
    let path = path.display().to_string();
    move |source| ResetError::Io { path: path.clone(), source }
}

fn sync(path: &Path) -> Result<(), ResetError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed(path))
}

/// Overwrites every file of a directory.
fn overwrite(directory: &Path) -> Result<(), ResetError> {
    for path in entries(directory)? {
        let found = fs::symlink_metadata(&path).map_err(failed(&path))?;
        if !found.is_file() {
            continue;
        }
        let length = usize::try_from(found.len()).unwrap_or(usize::MAX).min(1 << 20);
        let zeros = vec![0; length];
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&zeros).and_then(|()| file.sync_all()))
            .map_err(failed(&path))?;
    }
    Ok(())
}

/// Removes what is in a directory, but for these names.
fn empty(directory: &Path, but: &[&str]) -> Result<(), ResetError> {
    for path in entries(directory)? {
        if path.file_name().is_some_and(|name| but.iter().any(|one| name == *one)) {
            continue;
        }
        let found = fs::symlink_metadata(&path).map_err(failed(&path))?;
        let gone = if found.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.map_err(failed(&path))?;
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<std::path::PathBuf>, ResetError> {
    match fs::read_dir(directory) {
        Ok(found) => found
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(failed(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(directory)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_unasked_and_everything_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (data, homes) = (dir.path().join("data"), dir.path().join("homes"));
        for path in ["data/keys/device.key", "data/volumes/1/db", "data/index/db", "homes/a/file"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "secret").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), data.join("out")).unwrap();
        // A second name of the key's file sees what becomes of its bytes.
        let twin = dir.path().join("twin");
        fs::hard_link(data.join("keys/device.key"), &twin).unwrap();
        assert!(!carry_out(&data, &homes, None).unwrap());
        assert!(data.join("keys/device.key").exists());
        ask(&data).unwrap();
        assert!(carry_out(&data, &homes, None).unwrap());
        let left: Vec<_> = fs::read_dir(&data).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
        assert_eq!(fs::read(twin).unwrap(), [0; 6]);
        assert_eq!(fs::read_dir(&homes).unwrap().count(), 0);
        assert!(homes.exists() && !carry_out(&data, &homes, None).unwrap());
    }

    #[test]
    fn a_directory_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kept"), "").unwrap();
        ask(dir.path()).unwrap();
        let other = File::create(dir.path().join(LOCK)).unwrap();
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
        let refused = carry_out(dir.path(), &dir.path().join("homes"), None);
        assert!(matches!(refused, Err(ResetError::InUse(_))));
        assert!(dir.path().join("kept").exists());
    }
}
