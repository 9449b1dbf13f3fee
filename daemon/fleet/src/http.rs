//! The HTTP client of updates: who is trusted, and how long things may take.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Longest to connect, TLS included.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Longest without a byte.
const SILENT_AT_MOST: Duration = Duration::from_secs(60);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The file of authorities.
    #[error("the authorities for the fleet server are no PEM certificates")]
    Authorities(#[source] rustls::pki_types::pem::Error),
    /// One of them, or TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The client.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// A client that trusts the system's authorities and those in `authorities` (PEM). Redirects are
/// not followed and proxies of the environment not used: both could carry the token elsewhere.
///
/// # Errors
/// When the authorities are none.
pub fn client(authorities: &[u8]) -> Result<reqwest::Client, BuildError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        roots.add(certificate.map_err(BuildError::Authorities)?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_WITHIN)
        .read_timeout(SILENT_AT_MOST)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .user_agent(concat!("lucid/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(BuildError::Client)
}

/// What went wrong, in words without the URL: it may carry a token.
pub(crate) fn reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "the server does not answer in time"
    } else if error.is_connect() {
        "the server cannot be reached"
    } else {
        "the connection broke off"
    }
}
