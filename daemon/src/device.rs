//! The device's own identity: the key that signs its recordings, and what people compare.

use std::sync::OnceLock;

use lucid_evidence::{Hash, SigningKey};

use crate::http::tls::Fingerprint;

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

    /// Notes the chain; the first call counts.
    pub fn set_chain_genesis(&self, genesis: Hash) {
        self.chain_genesis.get_or_init(|| genesis.to_string());
    }

    /// Hash of the chain's first block, once there is one.
    pub fn chain_genesis(&self) -> Option<String> {
        self.chain_genesis.get().cloned()
    }
}
