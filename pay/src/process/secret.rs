//! Passphrases and keys: from a systemd credential, a file, a pipe or a terminal. Never from an
//! argument or a variable, which other processes can read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::wallet::file::{FileError, credential};
use crate::wallet::seal::MAX_PASSPHRASE_BYTES;
use crate::wallet::{OsRandom, Random, Unlock};

/// Name of the systemd credential with 32 bytes of key.
pub const KEY_CREDENTIAL: &str = "lucid-pay.key";
/// Name of the systemd credential with a passphrase.
pub const PASSPHRASE_CREDENTIAL: &str = "lucid-pay.passphrase";
/// Name of the systemd credential with the nodes' API key.
pub const API_KEY_CREDENTIAL: &str = "tron-api-key";
/// Longest secret file, bytes.
const FILE_BYTES_MAX: usize = 4096;

/// Why there is no secret. Never repeats one.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others can read it.
    #[error("{path} may be read by others (mode {mode:04o}); chmod 600 it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Empty, too long or not text.
    #[error("{path} should hold one line of text, at most {MAX_PASSPHRASE_BYTES} bytes")]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// A credential that is no key.
    #[error(transparent)]
    Credential(#[from] FileError),
    /// Nobody can be asked.
    #[error(
        "a passphrase is needed and there is no terminal; give --passphrase-file, \
         `wallet.passphrase_file` or the credential {PASSPHRASE_CREDENTIAL} or {KEY_CREDENTIAL}"
    )]
    NoTerminal,
    /// The terminal failed.
    #[error("cannot ask on the terminal")]
    Terminal(#[source] io::Error),
    /// Typed differently.
    #[error("the two passphrases differ")]
    Differ,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] crate::wallet::random::RandomError),
}

/// Where the secret of the wallets comes from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// A file; `-` is standard input.
    pub file: Option<PathBuf>,
    /// Directory of systemd's credentials.
    pub credentials: Option<PathBuf>,
    /// A file made at first use: the sandbox only, whose money is worth nothing.
    pub generated: Option<PathBuf>,
}

impl Source {
    /// The source for a configuration: `file` as given by a flag or the configuration.
    pub fn new(file: Option<PathBuf>, generated: Option<PathBuf>) -> Self {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self { file, credentials, generated }
    }

    /// The secret. `question` is asked on the terminal if nothing else gives it; twice if `new`.
    ///
    /// # Errors
    /// When no place has one.
    pub fn unlock(&self, question: &str, new: bool) -> Result<Unlock, SecretError> {
        if let Some(path) = &self.file {
            return Ok(Unlock::Passphrase(line_of(path)?));
        }
        if let Some(dir) = &self.credentials {
            let key = dir.join(KEY_CREDENTIAL);
            if key.exists() {
                return Ok(credential(&key)?);
            }
            let passphrase = dir.join(PASSPHRASE_CREDENTIAL);
            if passphrase.exists() {
                return Ok(Unlock::Passphrase(line_of(&passphrase)?));
            }
        }
        if let Some(path) = &self.generated {
            return generated(path);
        }
        Ok(Unlock::Passphrase(prompt(question, new)?))
    }

    /// The nodes' API key, if there is one.
    ///
    /// # Errors
    /// When the file that should hold it does not.
    pub fn api_key(&self, file: Option<&Path>) -> Result<Option<Zeroizing<String>>, SecretError> {
        let credential = self.credentials.as_ref().map(|dir| dir.join(API_KEY_CREDENTIAL));
        let path = file.map(Path::to_owned).or_else(|| credential.filter(|path| path.exists()));
        path.map(|path| line_of(&path)).transpose()
    }
}

/// A random key in a file of its own.
fn generated(path: &Path) -> Result<Unlock, SecretError> {
    if !path.exists() {
        let mut key = Zeroizing::new([0; 32]);
        OsRandom.fill(&mut key[..])?;
        crate::wallet::file::write(path, &key[..])?;
    }
    Ok(credential(path)?)
}

/// The first line of a file that only its owner reads, or of standard input.
///
/// # Errors
/// When others may read it, or it holds no such line.
pub fn line_of(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let failed = |source| SecretError::Read { path: path.into(), source };
    if path == Path::new("-") {
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        return first_line(&mut File::from(input), path);
    }
    let mut file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    // systemd's access list on a credential shows as group bits; the world's are never set.
    let mode = found.mode() & 0o7777;
    if found.is_file() && mode & 0o007 != 0 {
        return Err(SecretError::Open { path: path.into(), mode });
    }
    first_line(&mut file, path)
}

fn first_line(reader: &mut dyn Read, path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let failed = |source| SecretError::Read { path: path.into(), source };
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
    // Byte by byte and without a buffer: what follows the line on standard input is somebody
    // else's, and no copy stays behind.
    let mut byte = [0];
    while bytes.len() < FILE_BYTES_MAX {
        match reader.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => bytes.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let text = std::str::from_utf8(&bytes).ok();
    let text = text.map(|text| text.strip_suffix('\r').unwrap_or(text));
    let fits = |text: &&str| !text.is_empty() && text.len() <= MAX_PASSPHRASE_BYTES;
    match text.filter(fits) {
        Some(text) => Ok(Zeroizing::new(text.to_owned())),
        None => Err(SecretError::Form { path: path.into() }),
    }
}

/// Asks on the terminal without showing what is typed; twice if `twice`.
///
/// # Errors
/// When there is no terminal, or the two answers differ.
pub fn prompt(question: &str, twice: bool) -> Result<Zeroizing<String>, SecretError> {
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    let terminal = terminal.map_err(|_| SecretError::NoTerminal)?;
    let first = ask(&terminal, question)?;
    if twice && ask(&terminal, "the same again")? != first {
        return Err(SecretError::Differ);
    }
    Ok(first)
}

/// Puts the terminal back as it was.
struct Quiet<'f>(&'f File, Termios);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.0, OptionalActions::Flush, &self.1);
    }
}

fn ask(mut terminal: &File, question: &str) -> Result<Zeroizing<String>, SecretError> {
    let failed = |error: rustix::io::Errno| SecretError::Terminal(error.into());
    let before = tcgetattr(terminal).map_err(failed)?;
    let mut quiet = before.clone();
    quiet.local_modes -= LocalModes::ECHO;
    quiet.local_modes |= LocalModes::ECHONL | LocalModes::ICANON;
    tcsetattr(terminal, OptionalActions::Flush, &quiet).map_err(failed)?;
    let _restored = Quiet(terminal, before);
    write!(terminal, "{question}: ").map_err(SecretError::Terminal)?;
    terminal.flush().map_err(SecretError::Terminal)?;
    first_line(&mut terminal, Path::new("the terminal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn secret(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_file_is_one_line_and_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, bytes: &[u8], mode| line_of(&secret(dir.path(), name, bytes, mode));
        assert_eq!(**read("a", b"correct horse\r\nrest", 0o600).unwrap(), *"correct horse");
        assert!(matches!(read("b", b"correct", 0o604), Err(SecretError::Open { .. })));
        for bytes in [&b""[..], b"\nx", &[0xff; 9], &[b'x'; MAX_PASSPHRASE_BYTES + 1]] {
            assert!(matches!(read("c", bytes, 0o600), Err(SecretError::Form { .. })));
        }
    }

    #[test]
    fn the_file_comes_before_credentials_and_a_key_before_a_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let mut source = Source { credentials: Some(dir.path().into()), ..Source::default() };
        secret(dir.path(), PASSPHRASE_CREDENTIAL, b"a passphrase of words", 0o440);
        assert!(matches!(source.unlock("?", false).unwrap(), Unlock::Passphrase(_)));
        secret(dir.path(), KEY_CREDENTIAL, &[7; 32], 0o440);
        assert!(matches!(source.unlock("?", false).unwrap(), Unlock::Key(_)));
        source.file = Some(secret(dir.path(), "file", b"another passphrase", 0o600));
        assert!(matches!(source.unlock("?", false).unwrap(), Unlock::Passphrase(_)));
        assert_eq!(source.api_key(None).unwrap(), None);
        secret(dir.path(), API_KEY_CREDENTIAL, b"k-1\n", 0o440);
        assert_eq!(**source.api_key(None).unwrap().unwrap(), *"k-1");
    }

    #[test]
    fn a_generated_key_stays() {
        let dir = tempfile::tempdir().unwrap();
        let source =
            Source { generated: Some(dir.path().join("sandbox.key")), ..Source::default() };
        let key = |unlock| match unlock {
            Unlock::Key(key) => key,
            Unlock::Passphrase(_) => panic!("a passphrase"),
        };
        let first = key(source.unlock("?", true).unwrap());
        assert_eq!(first, key(source.unlock("?", false).unwrap()));
        assert_ne!(*first, [0; 32]);
    }
}
