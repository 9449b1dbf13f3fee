//! The directories of one desktop, made so that its user reaches its own and nothing else.

use super::identity::{Identity, Ids};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// The directory of transfers in a home directory.
const TRANSFERS: &str = "Transfers";

/// Where one desktop's files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Cookies, sockets and configuration; emptied at each start, removed at the end.
    pub runtime: PathBuf,
    /// The worker's files; kept.
    pub home: PathBuf,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It cannot be made or changed.
    #[error("cannot prepare {} for the desktop", path.display())]
    Prepare {
        /// Which.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The desktop's user cannot pass a directory on the way.
    #[error(
        "user {uid}, as whom the desktop runs, cannot enter {}; give it the mode 711 or put the \
         desktops elsewhere",
        path.display()
    )]
    Closed {
        /// Which directory.
        path: PathBuf,
        /// Who cannot.
        uid: u32,
    },
    /// Another user's home.
    #[error(
        "{} belongs to user {found}, the desktop runs as user {expected}; chown it or give the \
         desktop another home",
        path.display()
    )]
    Owner {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        found: u32,
        /// Whose it would have to be.
        expected: u32,
    },
    /// A path that is not absolute.
    #[error("{} is not an absolute path", path.display())]
    Relative {
        /// Which.
        path: PathBuf,
    },
}

impl Places {
    /// The X server's cookie.
    pub fn server_authority(&self) -> PathBuf {
        self.runtime.join("server-authority")
    }

    /// The programs' cookie.
    pub fn authority(&self) -> PathBuf {
        self.runtime.join("authority")
    }

    /// Sockets of the session's programs.
    pub fn sockets(&self) -> PathBuf {
        self.runtime.join("run")
    }

    /// Files that the worker's computer sends and takes, below the home directory.
    pub fn transfers(&self) -> PathBuf {
        self.home.join(TRANSFERS)
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// The first that cannot be made, or that the desktop's user cannot reach.
    pub fn prepare(&self, identity: &Identity) -> Result<(), PlaceError> {
        for path in [&self.runtime, &self.home] {
            if !path.is_absolute() {
                return Err(PlaceError::Relative { path: path.clone() });
            }
        }
        self.remove_runtime();
        // Whose files lie in it can pass; nobody can list it.
        directory(&self.runtime, 0o711, None)?;
        directory(&self.sockets(), 0o700, identity.session)?;
        if !self.home.exists() {
            directory(&self.home, 0o700, identity.session)?;
        }
        let home = self.home.metadata().map_err(|source| prepare(&self.home, source))?;
        let expected = identity.session.map_or(rustix::process::geteuid().as_raw(), |ids| ids.uid);
        if home.uid() != expected {
            let (path, found) = (self.home.clone(), home.uid());
            return Err(PlaceError::Owner { path, found, expected });
        }
        // Not followed if the worker made a link of it.
        if self.transfers().symlink_metadata().is_err() {
            directory(&self.transfers(), 0o700, identity.session)?;
        }
        for ids in [identity.session, identity.server].into_iter().flatten() {
            reachable(&self.runtime, ids)?;
        }
        identity.session.map_or(Ok(()), |ids| reachable(&self.home, ids))
    }

    /// Removes what only a running desktop needs.
    pub fn remove_runtime(&self) {
        // It does not follow links, and holds nothing that could be lost.
        if let Err(error) = std::fs::remove_dir_all(&self.runtime)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.runtime.display(), %error, "directory stays behind");
        }
    }
}

fn prepare(path: &Path, source: std::io::Error) -> PlaceError {
    PlaceError::Prepare { path: path.to_owned(), source }
}

fn directory(path: &Path, mode: u32, owner: Option<Ids>) -> Result<(), PlaceError> {
    let made = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
        }
        std::fs::DirBuilder::new().mode(mode).create(path)?;
        // Whatever the daemon's umask is.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        give(path, owner)
    };
    made().map_err(|source| prepare(path, source))
}

/// Makes a file or directory another user's.
pub(super) fn give(path: &Path, owner: Option<Ids>) -> std::io::Result<()> {
    match owner {
        Some(Ids { uid, gid }) => chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// Whether a user without groups can pass all directories above `path`.
fn reachable(path: &Path, ids: Ids) -> Result<(), PlaceError> {
    for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        let found = above.metadata().map_err(|source| prepare(above, source))?;
        let bit = match (found.uid() == ids.uid, found.gid() == ids.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        if found.mode() & bit == 0 {
            return Err(PlaceError::Closed { path: above.to_owned(), uid: ids.uid });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::RunAs;

    #[test]
    fn a_closed_directory_on_the_way_and_another_users_home_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        let error = reachable(&closed.join("home"), Ids { uid: 70_001, gid: 70_001 }).unwrap_err();
        // The temporary directory itself may be closed already.
        let PlaceError::Closed { path, uid: 70_001 } = error else { panic!("{error}") };
        assert!(closed.starts_with(path));

        let uid = rustix::process::geteuid().as_raw();
        let daemon = RunAs::DaemonEvenRoot.resolve(uid, "").unwrap();
        let places = Places { runtime: dir.path().join("run/a"), home: dir.path().join("home/a") };
        places.prepare(&daemon).unwrap();
        std::fs::write(places.home.join("kept"), "").unwrap();
        std::fs::write(places.runtime.join("gone"), "").unwrap();
        places.prepare(&daemon).unwrap();
        assert!(places.home.join("kept").exists() && !places.runtime.join("gone").exists());
        assert_eq!(places.sockets().metadata().unwrap().mode() & 0o777, 0o700);
        if uid == 0 {
            let own = RunAs::Own { index: 3 }.resolve(uid, "").unwrap();
            let error = places.prepare(&own).unwrap_err();
            assert!(matches!(error, PlaceError::Owner { expected: 70_003, .. }), "{error}");
        }
        let places = Places { runtime: "run".into(), home: "/".into() };
        assert!(matches!(places.prepare(&daemon), Err(PlaceError::Relative { .. })));
    }
}
