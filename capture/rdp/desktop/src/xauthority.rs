//! The X authority of one desktop: a file that only its own programs and the recorder may read.
//!
//! The format is that of libXau: family, address, display number, name and data, each but the
//! first with its length, all big-endian in 16 bits.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// The one scheme used.
pub const SCHEME: &str = "MIT-MAGIC-COOKIE-1";
/// Bytes of a cookie.
pub const COOKIE_BYTES: usize = 16;
/// The family that matches every address: the file holds one entry for one server.
const FAMILY_WILD: u16 = 0xFFFF;

/// The entry that lets whoever holds it connect.
pub fn entry(cookie: &[u8; COOKIE_BYTES]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(44));
    bytes.extend_from_slice(&FAMILY_WILD.to_be_bytes());
    // No address and no number: the file is this server's alone.
    for field in [&b""[..], b"", SCHEME.as_bytes(), cookie] {
        bytes.extend_from_slice(&(field.len() as u16).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// Writes the file anew with mode 0600.
///
/// # Errors
/// When a file of that name cannot be replaced or written.
pub fn write(path: &Path, cookie: &[u8; COOKIE_BYTES]) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made new, so that nobody who opened an older file of that name reads along.
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&entry(cookie))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_private_and_holds_one_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority");
        std::fs::write(&path, "older").unwrap();
        write(&path, &[0xC3; COOKIE_BYTES]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut expected = vec![0xFF, 0xFF, 0, 0, 0, 0, 0, 18];
        expected.extend_from_slice(b"MIT-MAGIC-COOKIE-1\0\x10");
        expected.extend_from_slice(&[0xC3; 16]);
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }
}
