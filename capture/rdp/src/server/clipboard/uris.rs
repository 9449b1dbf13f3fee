//! Lists of files as programs of the desktop write them: `text/uri-list` ([RFC 2483]).
//!
//! [RFC 2483]: https://www.rfc-editor.org/rfc/rfc2483#section-5

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Most files of one list; those above are left out.
pub const MAX_FILES: usize = 100;

/// The local files of a list, at most [`MAX_FILES`]; what is no local file is left out.
pub fn read(list: &[u8]) -> Vec<PathBuf> {
    let lines = list.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter_map(local).take(MAX_FILES).collect()
}

fn local(line: &[u8]) -> Option<PathBuf> {
    let rest = line.strip_prefix(b"file://")?;
    let path = rest.strip_prefix(b"localhost").unwrap_or(rest);
    if !path.starts_with(b"/") {
        return None;
    }
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
                out.push(u8::try_from(value).ok().filter(|byte| *byte != 0)?);
            }
            0 => return None,
            byte => out.push(*byte),
        }
    }
    Some(PathBuf::from(OsString::from_vec(out)))
}

/// A list of these files, each line ended as the RFC wants.
pub fn write(paths: &[PathBuf]) -> Vec<u8> {
    let mut list = Vec::new();
    for path in paths {
        list.extend_from_slice(uri(path).as_bytes());
        list.extend_from_slice(b"\r\n");
    }
    list
}

/// The same for file managers of GNOME and those that follow it.
pub fn write_gnome(paths: &[PathBuf]) -> Vec<u8> {
    let mut list = "copy".to_owned();
    for path in paths {
        list.push('\n');
        list.push_str(&uri(path));
    }
    list.into_bytes()
}

fn uri(path: &Path) -> String {
    let mut uri = "file://".to_owned();
    for byte in OsStr::as_bytes(path.as_os_str()) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn paths_come_back(names in proptest::collection::vec("[^\\x00/]{1,20}", 0..5)) {
            let paths: Vec<PathBuf> = names.iter().map(|n| Path::new("/a").join(n)).collect();
            prop_assert_eq!(read(&write(&paths)), paths);
        }
    }

    #[test]
    fn only_local_files_count() {
        let list = b"# a comment\r\nfile:///a%20b\r\nhttp://x/y\r\nfile://host/c\nfile:///%zz\n\
            file:///%00\nfile://localhost/d";
        assert_eq!(read(list), [PathBuf::from("/a b"), PathBuf::from("/d")]);
        let many = "file:///x\n".repeat(MAX_FILES + 1);
        assert_eq!(read(many.as_bytes()).len(), MAX_FILES);
        assert_eq!(write_gnome(&[PathBuf::from("/a b")]), b"copy\nfile:///a%20b");
    }
}
