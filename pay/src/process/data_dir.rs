//! The directory of this process: one below it for each network, for its owner only.
//!
//! `NETWORK/wallets/` holds the sealed wallets, `NETWORK/journal*` the journal. Each locks itself:
//! one process at a time pays, and the journal of one network never meets the keys of another.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::Config;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// From the file system.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not ours.
    #[error("{path} belongs to user {owner}; lucid-pay runs as user {user}")]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Something else stands there.
    #[error("{0} is no directory")]
    NotADirectory(PathBuf),
}

/// The directories of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    /// The network's.
    pub path: PathBuf,
}

impl DataDir {
    /// Makes what is missing and takes away the others' access.
    ///
    /// # Errors
    /// When a directory is somebody else's or cannot be made.
    pub fn open(config: &Config) -> Result<Self, DataDirError> {
        let network = config.network_dir();
        private(&config.data_dir)?;
        private(&network)?;
        Ok(Self { path: network })
    }

    /// Where the wallets are.
    pub fn wallets(&self) -> PathBuf {
        self.path.join("wallets")
    }
}

fn private(path: &Path) -> Result<(), DataDirError> {
    let failed = |doing| move |source| DataDirError::Io { doing, path: path.into(), source };
    if !path.exists() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(failed("make"))?;
    }
    let found = fs::metadata(path).map_err(failed("look at"))?;
    if !found.is_dir() {
        return Err(DataDirError::NotADirectory(path.into()));
    }
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != user {
        return Err(DataDirError::Owner { path: path.into(), owner: found.uid(), user });
    }
    if found.permissions().mode() & 0o077 != 0 {
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(path, mode).map_err(failed("protect"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;

    #[test]
    fn every_network_has_a_directory_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("a/b");
        let mut config = Config { data_dir, network: Network::Nile, ..Config::default() };
        let nile = DataDir::open(&config).unwrap();
        fs::set_permissions(&nile.path, fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::open(&config).unwrap();
        for path in [&config.data_dir, &nile.path] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{path:?}");
        }
        config.network = Network::Sandbox;
        assert_ne!(DataDir::open(&config).unwrap(), nile);
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        config.data_dir = file;
        assert!(matches!(DataDir::open(&config), Err(DataDirError::NotADirectory(_))));
    }
}
