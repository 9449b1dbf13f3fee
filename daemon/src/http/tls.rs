//! The device's HTTPS certificate: made at first start, kept, known by its fingerprint.
//!
//! No authority vouches for it. People compare its SHA-256 fingerprint, which browsers show, with
//! the one printed beside the claim code. There is no `Strict-Transport-Security`: with it browsers
//! would refuse the exception a self-made certificate needs.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use crate::{config, keyfile};

/// The certificate and its key, in one file, so that they cannot come apart.
const FILE: &str = "tls.pem";

/// First and last year of validity. Fixed, because a board without a battery clock does not know
/// the date at its first start.
const VALID_FROM: i32 = 2026;
const VALID_UNTIL: i32 = 2056;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A name given by the operator cannot stand in a certificate.
    #[error("cannot make a certificate for the configured `http.host_names`")]
    Make(#[from] rcgen::Error),
    /// A certificate just made is not accepted.
    #[error("cannot use the certificate")]
    Use(#[from] rustls::Error),
}

/// SHA-256 over the certificate, shown as browsers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

/// What the HTTPS listener needs.
pub struct Identity {
    /// For the handshakes.
    pub server: Arc<ServerConfig>,
    /// For people.
    pub fingerprint: Fingerprint,
}

/// Loads the certificate, or makes one. A file that is damaged is set aside, a new certificate
/// made, and that is logged: the page must stay reachable, and browsers show the change.
///
/// # Errors
/// When the directory cannot be used or a configured name does not fit.
pub fn load_or_make(keys_dir: &Path, names: &[String]) -> Result<Identity, TlsError> {
    let path = keys_dir.join(FILE);
    let failed = |source| TlsError::File { path: path.clone(), source };
    if let Some(pem) = keyfile::read(&path).map_err(failed)? {
        match accept(&pem) {
            Ok(identity) => return Ok(identity),
            Err(error) => keyfile::set_aside(&path, &error).map_err(failed)?,
        }
    }
    let pem = make(names)?;
    keyfile::write(&path, pem.as_bytes()).map_err(failed)?;
    Ok(accept(pem.as_bytes())?)
}

/// The same certificate for RDP, which knows no ALPN.
///
/// # Errors
/// As [`load_or_make`].
pub fn for_desktops(keys_dir: &Path, names: &[String]) -> Result<Arc<ServerConfig>, TlsError> {
    let mut server = (*load_or_make(keys_dir, names)?.server).clone();
    server.alpn_protocols.clear();
    Ok(Arc::new(server))
}

fn accept(pem: &[u8]) -> Result<Identity, rustls::Error> {
    let damaged = |error| rustls::Error::General(format!("not PEM: {error}"));
    let certificate = CertificateDer::from_pem_slice(pem).map_err(damaged)?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(damaged)?;
    let fingerprint = Fingerprint(Sha256::digest(&certificate).into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Identity { server: Arc::new(server), fingerprint })
}

fn make(names: &[String]) -> Result<String, rcgen::Error> {
    let host = config::host_name();
    let mut subjects = vec![host.clone(), format!("{host}.local"), "lucid.local".to_owned()];
    subjects.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    subjects.extend(names.iter().cloned());
    // A host may be named in a way DNS does not allow; its certificate is made without that name.
    subjects.retain(|name| name.parse::<IpAddr>().is_ok() || is_host_name(name));
    subjects.dedup();
    let mut params = CertificateParams::new(subjects)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, format!("Lucid {host}"));
    params.distinguished_name = subject;
    params.not_before = rcgen::date_time_ymd(VALID_FROM, 1, 1);
    params.not_after = rcgen::date_time_ymd(VALID_UNTIL, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
}

fn is_host_name(name: &str) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
    !name.is_empty() && name.len() <= 253 && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_and_a_damaged_one_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let names = ["gate.example".to_owned(), "192.0.2.7".to_owned(), "no name".to_owned()];
        let first = load_or_make(directory.path(), &names).unwrap();
        let again = load_or_make(directory.path(), &names).unwrap();
        assert_eq!(first.fingerprint, again.fingerprint);
        assert_eq!(first.fingerprint.to_string().len(), 95);
        std::fs::write(directory.path().join(FILE), "half a certi").unwrap();
        let fresh = load_or_make(directory.path(), &names).unwrap();
        assert_ne!(first.fingerprint, fresh.fingerprint);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
