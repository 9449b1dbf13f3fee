//! What the self-test of a system on trial found, from the daemon to `lucid-bootctl confirm`.
//!
//! One line in a file that lies in memory, so that it is always of this start:
//! `passed`, or `failed: ` and the reason.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where it is left.
pub const FILE: &str = "/run/lucid/self-test";
/// Longest file read, in bytes.
const BYTES_MAX: u64 = 2048;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A piece was recorded, sealed, anchored and read back.
    Passed,
    /// It was not, and why.
    Failed(String),
}

/// Why a verdict cannot be left or read.
#[derive(Debug, thiserror::Error)]
pub enum VerdictError {
    /// The file.
    #[error("cannot access the verdict of the self-test in {}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What stands in it.
    #[error("{}: expected `passed` or `failed: ` and a reason", path.display())]
    Words {
        /// Where.
        path: PathBuf,
    },
}

impl Verdict {
    /// Leaves it; whoever reads sees all of it or nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), VerdictError> {
        let line = match self {
            Self::Passed => "passed\n".to_owned(),
            Self::Failed(reason) => {
                let one_line = |c: char| if c.is_control() { ' ' } else { c };
                let reason: String = reason.chars().take(400).map(one_line).collect();
                format!("failed: {reason}\n")
            }
        };
        let part = path.with_extension("part");
        std::fs::write(&part, line)
            .and_then(|()| std::fs::rename(&part, path))
            .map_err(|source| VerdictError::File { path: path.into(), source })
    }

    /// Reads it; `None` while there is none.
    ///
    /// # Errors
    /// When there is something else.
    pub fn read(path: &Path) -> Result<Option<Self>, VerdictError> {
        use std::io::Read;
        let failed = |source| VerdictError::File { path: path.into(), source };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        match text.trim_end() {
            "passed" => Ok(Some(Self::Passed)),
            line => match line.strip_prefix("failed: ") {
                Some(reason) => Ok(Some(Self::Failed(reason.to_owned()))),
                None => Err(VerdictError::Words { path: path.into() }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_comes_back_as_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("self-test");
        assert_eq!(Verdict::read(&file).unwrap(), None);
        for verdict in [Verdict::Passed, Verdict::Failed("no camera answered".into())] {
            verdict.write(&file).unwrap();
            assert_eq!(Verdict::read(&file).unwrap(), Some(verdict));
        }
        Verdict::Failed("two\nlines".into()).write(&file).unwrap();
        assert_eq!(Verdict::read(&file).unwrap(), Some(Verdict::Failed("two lines".into())));
        std::fs::write(&file, "perhaps").unwrap();
        assert!(Verdict::read(&file).unwrap_err().to_string().contains("`passed`"));
    }
}
