//! How much room a directory's file system has.

use std::path::{Path, PathBuf};

/// The file system could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask the file system of {} for its free space", path.display())]
pub struct DiskError {
    /// The directory.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: std::io::Error,
}

/// Room of a file system in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total_bytes: u64,
    /// What this process may still use; what is reserved for root is not in it.
    pub free_bytes: u64,
    /// Files that can still be made; `u64::MAX` where the file system does not count them.
    pub free_files: u64,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// The room of the file system that `path` is on.
pub fn space(path: &Path) -> Result<DiskSpace, DiskError> {
    let answer = rustix::fs::statvfs(path)
        .map_err(|errno| DiskError { path: path.to_path_buf(), source: errno.into() })?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
    Ok(DiskSpace {
        total_bytes: bytes(answer.f_blocks),
        free_bytes: bytes(answer.f_bavail),
        free_files: if answer.f_files == 0 { u64::MAX } else { answer.f_favail },
        read_only: answer.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_and_a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let space = space(dir.path()).unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
        assert!(!space.read_only && space.free_files > 0);
        let missing = dir.path().join("missing");
        let error = super::space(&missing).unwrap_err();
        assert!(error.to_string().contains("missing"));
    }
}
