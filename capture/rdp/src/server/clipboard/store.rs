//! The directory of a desktop's files: what comes in is put there, what goes out lies below it.
//!
//! The desktop's own programs write there too, so nothing in it is believed: each file is opened
//! beneath the directory without following links ([`Reach`]), and only plain files with one name
//! are read.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blake3::Hasher;
use lucid_evidence::Hash;

use crate::desktop::reach::Reach;
use crate::policy::is_plain_name;

/// Most names tried for a file whose own name is taken.
const MAX_NAMES: u32 = 1000;

/// The directory.
#[derive(Debug)]
pub struct Store {
    reach: Arc<dyn Reach>,
    path: PathBuf,
}

/// A file of the desktop that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Below the directory.
    relative: PathBuf,
    /// Its last part.
    pub name: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// Device and number, so that another file of the same name is not read for it.
    identity: (u64, u64),
}

/// A file that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length, bytes.
    pub bytes: u64,
    /// Its hash.
    pub hash: Hash,
}

/// A file that comes in. Unless it is finished, it is removed again when dropped.
#[derive(Debug)]
pub struct Incoming {
    reach: Arc<dyn Reach>,
    path: PathBuf,
    name: String,
    file: File,
    bytes: u64,
    hasher: Hasher,
    finished: bool,
}

impl Store {
    /// The directory that the desktop's programs call `path`.
    pub fn new(reach: Arc<dyn Reach>, path: PathBuf) -> Self {
        Store { reach, path }
    }

    /// Looks at a file a program of the desktop named. None for what lies elsewhere, is no plain
    /// file, has a second name, or a name that is no plain one.
    pub fn outgoing(&self, path: &Path) -> Option<Outgoing> {
        let relative = path.strip_prefix(&self.path).ok()?.to_owned();
        let name = relative.file_name()?.to_str()?.to_owned();
        let meta = self.reach.open_file(&relative).ok()?.metadata().ok()?;
        let plain = meta.is_file() && meta.nlink() == 1 && is_plain_name(&name);
        let identity = (meta.dev(), meta.ino());
        plain.then_some(Outgoing { relative, name, bytes: meta.len(), identity })
    }

    /// Reads at most `length` bytes of a file from `position`.
    ///
    /// # Errors
    /// When it is gone or another.
    pub fn read(&self, file: &Outgoing, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let open = self.reach.open_file(&file.relative)?;
        let meta = open.metadata()?;
        if (meta.dev(), meta.ino()) != file.identity || meta.nlink() != 1 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another file has its name"));
        }
        let left = file.bytes.saturating_sub(position);
        let mut bytes = vec![0; length.min(usize::try_from(left).unwrap_or(usize::MAX))];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match open.read_at(rest, position + read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Begins a file that comes in, under its name or, where that is taken, one like it. Nothing
    /// that is there is touched.
    ///
    /// # Errors
    /// A name that is no plain one, or a directory that takes no file.
    pub fn incoming(&self, name: &str) -> io::Result<Incoming> {
        if !is_plain_name(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name"));
        }
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) => (stem, format!(".{extension}")),
            None => (name, String::new()),
        };
        for number in 1..=MAX_NAMES {
            let name = match number {
                1 => name.to_owned(),
                number => format!("{stem} ({number}){extension}"),
            };
            match self.reach.create_file(&name) {
                Ok(file) => {
                    return Ok(Incoming {
                        reach: self.reach.clone(),
                        path: self.path.join(&name),
                        name,
                        file,
                        bytes: 0,
                        hasher: Hasher::new(),
                        finished: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "a thousand files have such a name"))
    }
}

impl Incoming {
    /// How much came so far, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends what came.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The file is whole.
    pub fn finish(mut self) -> Received {
        self.finished = true;
        let hash = Hash(*self.hasher.finalize().as_bytes());
        Received { path: self.path.clone(), bytes: self.bytes, hash }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.reach.remove_file(&self.name);
        }
    }
}

/// A directory of this process's own.
#[cfg(test)]
pub fn local(path: &Path) -> Store {
    use crate::desktop::reach::Local;
    let reach = Local { files: Some(path.to_owned()), ..Local::display(0) };
    Store::new(Arc::new(reach), path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::local as store;
    use super::*;

    #[test]
    fn what_comes_in_is_whole_or_not_there_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        std::fs::write(directory.path().join("a.txt"), "mine").unwrap();
        let mut file = store.incoming("a.txt").unwrap();
        file.append(b"one ").unwrap();
        file.append(b"two").unwrap();
        assert_eq!(file.bytes(), 7);
        let Received { path, hash, .. } = file.finish();
        assert_eq!(path, directory.path().join("a (2).txt"));
        assert_eq!(std::fs::read(&path).unwrap(), b"one two");
        assert_eq!(hash, Hash::of(b"one two"));
        assert_eq!(std::fs::read(directory.path().join("a.txt")).unwrap(), b"mine");
        let mut broken = store.incoming("b").unwrap();
        broken.append(b"half").unwrap();
        drop(broken);
        assert!(!directory.path().join("b").exists());
        for name in ["../up", "/etc/x", ".hidden", "a/b", ""] {
            assert!(store.incoming(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn only_plain_files_below_the_directory_go_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("sub/a.txt"), "0123456789").unwrap();
        std::fs::write(at("twice"), "x").unwrap();
        std::fs::hard_link(at("twice"), at("thrice")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), at("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), at("sublink")).unwrap();
        let store = store(directory.path());
        let file = store.outgoing(&at("sub/a.txt")).unwrap();
        assert_eq!((file.name.as_str(), file.bytes), ("a.txt", 10));
        assert_eq!(store.read(&file, 4, 3).unwrap(), b"456");
        assert_eq!(store.read(&file, 8, 100).unwrap(), b"89");
        assert_eq!(store.read(&file, 100, 100).unwrap(), b"");
        let climbing = directory.path().join("..").join(outside.path().file_name().unwrap());
        let refused = [
            at("link"),
            at("sublink/secret"),
            at("twice"),
            at("sub"),
            at("none"),
            outside.path().join("secret"),
            climbing.join("secret"),
        ];
        for path in refused {
            assert_eq!(store.outgoing(&path), None, "{}", path.display());
        }
        // Another file under the same name is not read for it.
        std::fs::write(at("other"), "abcdefghij").unwrap();
        std::fs::rename(at("other"), at("sub/a.txt")).unwrap();
        assert!(store.read(&file, 0, 10).is_err());
    }
}
