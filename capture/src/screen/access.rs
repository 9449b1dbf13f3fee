//! Which display, and what lets us in.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::ScreenError;

/// Largest file of cookies that is read, bytes. One entry has about 50.
const MAX_AUTHORITY_BYTES: u64 = 1 << 20;
/// The one protocol X servers use on this machine.
const COOKIE: &[u8] = b"MIT-MAGIC-COOKIE-1";
/// Families of the file's entries: `FamilyLocal` and `FamilyWild` of Xauth.h.
const LOCAL: u16 = 256;
const WILD: u16 = 65535;

/// What is shown to the server at the door.
#[derive(Clone, Default)]
pub enum Access {
    /// The file that `XAUTHORITY` or else `~/.Xauthority` names, if there is one.
    #[default]
    Environment,
    /// This file, as `xauth` writes it.
    File(PathBuf),
    /// This MIT-MAGIC-COOKIE-1.
    Cookie(Zeroizing<Vec<u8>>),
    /// This MIT-MAGIC-COOKIE-1, on connections that somebody else makes.
    Handed {
        /// The cookie.
        cookie: Zeroizing<Vec<u8>>,
        /// A new connection to the server, before anything was said on it.
        connect: Arc<dyn Fn() -> io::Result<UnixStream> + Send + Sync>,
    },
    /// Nothing: for servers that let this user in by who they are.
    Open,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Cookie(_) => f.write_str("Cookie(..)"),
            Self::Handed { .. } => f.write_str("Handed(..)"),
            Self::Open => f.write_str("Open"),
        }
    }
}

/// A display of this machine.
#[derive(Debug, Clone)]
pub struct ScreenAddress {
    /// Its number: 10 for `:10`.
    pub display: u16,
    /// What lets us in.
    pub access: Access,
}

impl ScreenAddress {
    /// Display `:N` with the access of this process's environment.
    pub fn local(display: u16) -> Self {
        Self { display, access: Access::Environment }
    }

    /// Protocol and data for the server; both empty when there is nothing to show.
    pub(super) fn credentials(&self) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), ScreenError> {
        let (path, required) = match &self.access {
            Access::Open => return Ok(Default::default()),
            Access::Cookie(cookie) | Access::Handed { cookie, .. } => {
                return Ok((COOKIE.to_vec(), cookie.clone()));
            }
            Access::File(path) => (path.clone(), true),
            Access::Environment => match environment() {
                Some(path) => (path, false),
                None => return Ok(Default::default()),
            },
        };
        let wrong =
            |detail: String| ScreenError::Authority { path: path.display().to_string(), detail };
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(e) if !required && e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Default::default());
            }
            Err(e) => return Err(wrong(e.to_string())),
        };
        let host = rustix::system::uname().nodename().to_bytes().to_vec();
        match cookie_of(&bytes, &host, self.display) {
            Some(Ok(cookie)) => Ok((COOKIE.to_vec(), cookie)),
            Some(Err(Malformed)) => Err(wrong("an entry of it is cut short".to_owned())),
            None if required => {
                Err(wrong(format!("it has no cookie for display :{}", self.display)))
            }
            None => Ok(Default::default()),
        }
    }
}

fn environment() -> Option<PathBuf> {
    std::env::var_os("XAUTHORITY")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".Xauthority")))
}

fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    use std::io::Read;
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(path)?.take(MAX_AUTHORITY_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// The cookie of this display: the entry that names this host, else one for the number alone.
///
/// The file is a row of entries: family, then address, number, name and data, each with its
/// length before it; all integers 16 bits, big-endian (Xau's `XauReadAuth`).
fn cookie_of(
    file: &[u8],
    host: &[u8],
    display: u16,
) -> Option<Result<Zeroizing<Vec<u8>>, Malformed>> {
    let number = display.to_string();
    let mut rest = file;
    let mut second = None;
    while !rest.is_empty() {
        let Some((family, address, entry_number, name, data)) = entry(&mut rest) else {
            return Some(Err(Malformed));
        };
        let ours = matches!(family, LOCAL | WILD)
            && (entry_number.is_empty() || entry_number == number.as_bytes())
            && name == COOKIE;
        if ours && (family == WILD || address == host) {
            return Some(Ok(Zeroizing::new(data.to_vec())));
        }
        if ours && second.is_none() {
            // The host may have been renamed since.
            second = Some(Zeroizing::new(data.to_vec()));
        }
    }
    second.map(Ok)
}

type Entry<'a> = (u16, &'a [u8], &'a [u8], &'a [u8], &'a [u8]);

fn entry<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let family = number(rest)?;
    let mut part = || {
        let length = usize::from(number(rest)?);
        let (part, after) = rest.split_at_checked(length)?;
        *rest = after;
        Some(part)
    };
    Some((family, part()?, part()?, part()?, part()?))
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    let (bytes, after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    Some(u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(family: u16, parts: [&[u8]; 4]) -> Vec<u8> {
        let mut bytes = family.to_be_bytes().to_vec();
        for part in parts {
            bytes.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }

    fn found(file: &[u8], display: u16) -> Option<Vec<u8>> {
        cookie_of(file, b"here", display).map(|c| c.unwrap().to_vec())
    }

    #[test]
    fn the_entry_of_this_host_and_display_is_taken() {
        let mut file = written(LOCAL, [b"there", b"7", COOKIE, b"other host"]);
        file.extend(written(LOCAL, [b"here", b"7", b"XDM-AUTHORIZATION-1", b"other kind"]));
        file.extend(written(LOCAL, [b"here", b"8", COOKIE, b"other display"]));
        file.extend(written(0, [&[127, 0, 0, 1], b"7", COOKIE, b"tcp"]));
        assert_eq!(found(&file, 7).as_deref(), Some(&b"other host"[..]));
        file.extend(written(LOCAL, [b"here", b"7", COOKIE, b"mine"]));
        assert_eq!(found(&file, 7).as_deref(), Some(&b"mine"[..]));
        assert_eq!(found(&file, 9), None);
        file.extend(written(WILD, [b"", b"", COOKIE, b"any"]));
        assert_eq!(found(&file, 9).as_deref(), Some(&b"any"[..]));
    }

    #[test]
    fn a_file_cut_short_is_said_to_be() {
        let file = written(LOCAL, [b"here", b"7", COOKIE, b"mine"]);
        for length in 1..file.len() {
            assert_eq!(cookie_of(&file[..length], b"here", 7), Some(Err(Malformed)), "{length}");
        }
        assert_eq!(found(&[], 7), None);
    }

    #[test]
    fn cookies_are_not_shown() {
        let access = Access::Cookie(Zeroizing::new(b"secret".to_vec()));
        assert_eq!(format!("{access:?}"), "Cookie(..)");
    }
}
