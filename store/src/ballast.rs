//! Room set aside in the data directory for the day when others fill its disk: a file that is given
//! up then, so that the engine, which writes when it opens, can be opened, and recordings deleted.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use crate::StoreError;
use crate::engine::sled_engine::sync_dir;
use crate::framed::available;

/// Its name in the data directory.
const BALLAST: &str = "reserve";
/// It is this part of the reserve: 32 MiB of 64.
const PART: u64 = 2;
/// It is made where this many reserves are free.
const PLENTY: u64 = 4;

/// Makes the file in `dir` where there is plenty of room. A file system that cannot set room aside
/// goes without.
pub(crate) fn set(dir: &Path, reserve_bytes: u64) {
    let (path, bytes) = (dir.join(BALLAST), reserve_bytes / PART);
    let plenty = available(dir).is_ok_and(|room| room >= reserve_bytes.saturating_mul(PLENTY));
    if bytes == 0 || !plenty || path.symlink_metadata().is_ok_and(|meta| meta.len() == bytes) {
        return;
    }
    let made = remove(dir).and_then(|_| {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file: File = file.map_err(|e| StoreError::io("create", &path, e))?;
        fallocate(&file, FallocateFlags::empty(), 0, bytes)
            .map_err(|e| StoreError::io("set room aside in", &path, e.into()))?;
        file.sync_all().map_err(|e| StoreError::io("sync", &path, e))?;
        sync_dir(dir)
    });
    if let Err(error) = made {
        tracing::debug!(%error, "no room is set aside for a full disk");
        let _not_there = fs::remove_file(&path);
    }
}

/// Gives the file up where fewer than `needed` bytes are free; says whether there was one.
///
/// # Errors
/// When it cannot be removed.
pub(crate) fn give_up(dir: &Path, needed: u64) -> Result<bool, StoreError> {
    if available(dir)? >= needed || !remove(dir)? {
        return Ok(false);
    }
    tracing::warn!(path = %dir.display(), "the disk is full: the room set aside is given up");
    Ok(true)
}

fn remove(dir: &Path) -> Result<bool, StoreError> {
    let path = dir.join(BALLAST);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("remove", &path, error)),
    }
}
