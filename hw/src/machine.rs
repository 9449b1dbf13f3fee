//! Reading `/proc` and `/sys` below a root that tests can choose.

use std::path::{Path, PathBuf};

/// Longest file read below the root (bytes); the rest is cut off. What is read here are single
/// values and small tables.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Where the kernel's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The running system.
    pub fn here() -> Self {
        Self::at("/")
    }

    /// A system whose files stand below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path below the root of an absolute `path`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file without the white space and zero bytes around it; `None` when it is not
    /// there, not readable or empty.
    pub fn text(&self, path: &str) -> Option<String> {
        read_text(&self.path(path))
    }

    /// The names in a directory, sorted with numbers by value; empty when it is not there.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
        names.sort_by_key(|name| by_number(name));
        names
    }

    /// Where a symbolic link leads, below the root and written as an absolute path.
    pub fn link(&self, path: &str) -> Option<String> {
        let root = self.root.canonicalize().ok()?;
        let target = self.path(path).canonicalize().ok()?;
        let below = target.strip_prefix(&root).ok()?;
        Some(format!("/{}", below.display()))
    }
}

/// A key that puts `video2` before `video10`.
pub(crate) fn by_number(name: &str) -> (String, u64, String) {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, number) = name.split_at(name.len() - digits);
    (stem.to_owned(), number.parse().unwrap_or(0), name.to_owned())
}

pub(crate) fn read_text(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
pub(crate) mod fake {
    //! A made `/proc` and `/sys` for tests.

    use super::Machine;

    /// A directory that stands for `/`, removed when dropped.
    pub(crate) struct Fake {
        dir: tempfile::TempDir,
    }

    impl Fake {
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            let fake = Self { dir: tempfile::tempdir().unwrap() };
            for (path, text) in files {
                let path = fake.machine().path(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            fake
        }

        pub(crate) fn link(self, from: &str, to: &str) -> Self {
            let (from, to) = (self.machine().path(from), self.machine().path(to));
            std::fs::create_dir_all(from.parent().unwrap()).unwrap();
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(to, from).unwrap();
            self
        }

        pub(crate) fn machine(&self) -> Machine {
            Machine::at(self.dir.path())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_by_value() {
        let fake = fake::Fake::new(&[("/d/v10", "a"), ("/d/v2", "a"), ("/d/v1", "a")]);
        assert_eq!(fake.machine().names("/d"), ["v1", "v2", "v10"]);
        assert!(fake.machine().names("/missing").is_empty());
    }

    #[test]
    fn text_is_trimmed_and_missing_is_none() {
        let fake = fake::Fake::new(&[("/a", "Pi 5\0\n"), ("/empty", "\0")]);
        assert_eq!(fake.machine().text("/a").as_deref(), Some("Pi 5"));
        assert_eq!(fake.machine().text("/empty"), None);
        assert_eq!(fake.machine().text("/missing"), None);
    }
}
