//! The device's own identity: the key that signs its recordings, and what people compare.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lucid_evidence::SigningKey;
use zeroize::Zeroizing;

use crate::http::tls::Fingerprint;
use crate::keyfile;

/// The key's name in the directory of keys: 32 bytes, the Ed25519 seed.
const FILE: &str = "device.key";

/// Why there is no device key.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a key. It is never replaced: another key would be another device.
    #[error(
        "{path} is {found} bytes, expected 32; restore it from a backup, or move it away to start \
         as a new device"
    )]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Loads the device's key, or makes it at the first start.
///
/// # Errors
/// When the file cannot be used, or is not a key.
pub fn load_or_make_key(keys_dir: &Path) -> Result<SigningKey, DeviceError> {
    let path = keys_dir.join(FILE);
    let failed = |source| DeviceError::File { path: path.clone(), source };
    if let Some(bytes) = keyfile::read(&path).map_err(failed)? {
        let bytes = Zeroizing::new(bytes);
        let seed: &[u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| DeviceError::NotAKey { path: path.clone(), found: bytes.len() })?;
        return Ok(SigningKey::from_seed(seed));
    }
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut *seed).map_err(DeviceError::Random)?;
    keyfile::write(&path, &*seed).map_err(failed)?;
    Ok(SigningKey::from_seed(&seed))
}

/// What the device says about itself.
pub struct Device {
    fingerprint: String,
    tls_fingerprint: Option<Fingerprint>,
    https_port: OnceLock<u16>,
    chain_genesis: OnceLock<String>,
}

impl Device {
    /// An identity made of the device's key and, with HTTPS, its certificate.
    pub fn new(key: &SigningKey, tls_fingerprint: Option<Fingerprint>) -> Self {
        Self {
            fingerprint: key.public().fingerprint().to_string(),
            tls_fingerprint,
            https_port: OnceLock::new(),
            chain_genesis: OnceLock::new(),
        }
    }

    /// Hash of the device's public key, hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// The certificate's fingerprint, with HTTPS.
    pub fn tls_fingerprint(&self) -> Option<&Fingerprint> {
        self.tls_fingerprint.as_ref()
    }

    /// The port HTTPS is served on, once bound.
    pub fn https_port(&self) -> Option<u16> {
        self.https_port.get().copied()
    }

    /// Notes the port HTTPS is served on; the first call counts.
    pub fn set_https_port(&self, port: u16) {
        self.https_port.get_or_init(|| port);
    }

    /// Hash of the chain's first block, once there is one.
    pub fn chain_genesis(&self) -> Option<String> {
        self.chain_genesis.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_and_a_damaged_one_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let key = load_or_make_key(directory.path()).unwrap();
        let again = load_or_make_key(directory.path()).unwrap();
        assert_eq!(key.public(), again.public());
        let path = directory.path().join(FILE);
        std::fs::write(&path, [7; 31]).unwrap();
        let error = load_or_make_key(directory.path()).unwrap_err();
        assert!(matches!(error, DeviceError::NotAKey { found: 31, .. }));
        assert_eq!(std::fs::read(&path).unwrap(), [7; 31]);
    }
}
