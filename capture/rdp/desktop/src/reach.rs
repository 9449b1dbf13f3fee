//! How the recorder gets at a running desktop: its display, its transferred files, its terminals.
//!
//! Nothing a desktop's user could have made is believed: its home is entered from the directory
//! above, which is not its own, and no link is followed from there on.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

use crate::{sound, terminals};

/// Longest name of a transferred file below its directory, bytes.
pub const RELATIVE_MAX_BYTES: usize = 1024;

/// The ways into one running desktop. All may block a little.
pub trait Reach: fmt::Debug + Send + Sync {
    /// A new connection to its X server, before anything was said on it.
    ///
    /// # Errors
    /// When the server is gone.
    fn connect(&self) -> io::Result<UnixStream>;

    /// Opens a file below the directory of transfers to read it, without following a link.
    ///
    /// # Errors
    /// When there is none, or it lies elsewhere.
    fn open_file(&self, relative: &Path) -> io::Result<File>;

    /// Makes a file directly in the directory of transfers.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where the name is taken; or the directory takes no file.
    fn create_file(&self, name: &str) -> io::Result<File>;

    /// Removes a file that was made here and did not become whole.
    ///
    /// # Errors
    /// When it is not there.
    fn remove_file(&self, name: &str) -> io::Result<()>;

    /// What its programs play, as a pipe of interleaved 16-bit samples ([`crate::RATE_HZ`],
    /// [`crate::CHANNELS`]).
    ///
    /// # Errors
    /// When it has no sound.
    fn sound(&self) -> io::Result<OwnedFd>;

    /// Whether a program reads a line in one of its terminals without showing it.
    fn is_asked_secretly(&self) -> bool;
}

/// The ways of a process that may do all of it itself.
#[derive(Debug, Clone)]
pub struct Local {
    /// The number of the display.
    pub display: u16,
    /// The directory of transfers; none for no files.
    pub files: Option<PathBuf>,
    /// Whose terminals are looked at; none for nobody's.
    pub user: Option<u32>,
    /// The pipe of its sound; none for a silent desktop.
    pub sound: Option<PathBuf>,
}

impl Local {
    /// A display, and nothing else.
    pub fn display(display: u16) -> Self {
        Local { display, files: None, user: None, sound: None }
    }

    fn files(&self) -> io::Result<OwnedFd> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "no directory of files");
        let path = self.files.as_deref().ok_or_else(none)?;
        let (above, name) = path.parent().zip(path.file_name()).ok_or_else(none)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let above = rustix::fs::open(above, flags | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(rustix::fs::openat2(above, name, flags, Mode::empty(), BENEATH)?)
    }
}

/// Nothing above, no link, no other file system.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Whether a path goes down and nowhere else, within [`RELATIVE_MAX_BYTES`].
pub fn is_beneath(relative: &Path) -> bool {
    let bytes = relative.as_os_str().as_encoded_bytes();
    let down = |part: Component<'_>| matches!(part, Component::Normal(_));
    !bytes.is_empty()
        && bytes.len() <= RELATIVE_MAX_BYTES
        && !bytes.contains(&0)
        && relative.components().all(down)
}

/// Whether a name is one part of a path, and not a hidden one.
pub fn is_name(name: &str) -> bool {
    !name.contains('/') && !name.starts_with('.') && name.len() <= 255 && is_beneath(name.as_ref())
}

fn elsewhere() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a name below the directory of files")
}

impl Reach for Local {
    fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(format!("/tmp/.X11-unix/X{}", self.display))
    }

    fn open_file(&self, relative: &Path) -> io::Result<File> {
        if !is_beneath(relative) {
            return Err(elsewhere());
        }
        // Not blocking: a pipe of that name must not hold us.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::openat2(self.files()?, relative, flags, Mode::empty(), BENEATH)?;
        Ok(File::from(file))
    }

    fn create_file(&self, name: &str) -> io::Result<File> {
        if !is_name(name) {
            return Err(elsewhere());
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o664);
        let file = File::from(rustix::fs::openat2(self.files()?, name, flags, mode, BENEATH)?);
        if let Some(user) = self.user.filter(|_| rustix::process::geteuid().is_root()) {
            // The worker's, to change and to remove.
            std::os::unix::fs::fchown(&file, Some(user), None)?;
        }
        Ok(file)
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        if !is_name(name) {
            return Err(elsewhere());
        }
        Ok(rustix::fs::unlinkat(self.files()?, name, AtFlags::empty())?)
    }

    fn sound(&self) -> io::Result<OwnedFd> {
        let silent = || io::Error::new(io::ErrorKind::NotFound, "the desktop has no sound");
        sound::open(self.sound.as_deref().ok_or_else(silent)?)
    }

    fn is_asked_secretly(&self) -> bool {
        self.user.is_some_and(terminals::is_asked_secretly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(files: &Path) -> Local {
        Local { files: Some(files.to_owned()), ..Local::display(0) }
    }

    #[test]
    fn a_directory_that_the_worker_made_a_link_leads_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("key"), "secret").unwrap();
        let home = tempfile::tempdir().unwrap();
        let files = home.path().join("Transfers");
        std::os::unix::fs::symlink(outside.path(), &files).unwrap();
        let reach = local(&files);
        assert!(reach.open_file(Path::new("key")).is_err());
        assert!(reach.create_file("new").is_err() && reach.remove_file("key").is_err());
        std::fs::remove_file(&files).unwrap();
        std::fs::create_dir(&files).unwrap();
        std::os::unix::fs::symlink(outside.path(), files.join("sub")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("key"), files.join("key")).unwrap();
        for path in ["key", "sub/key", "../Transfers", "/etc/passwd", "", "a/../../x"] {
            assert!(reach.open_file(Path::new(path)).is_err(), "{path:?}");
        }
        for name in ["a/b", "..", ".hidden", "", &"x".repeat(256)] {
            assert!(reach.create_file(name).is_err(), "{name:?}");
        }
        reach.create_file("new").unwrap();
        let taken = reach.create_file("new").unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        reach.open_file(Path::new("new")).unwrap();
        reach.remove_file("new").unwrap();
        assert!(outside.path().join("key").exists());
    }
}
