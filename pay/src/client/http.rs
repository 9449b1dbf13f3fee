//! One question to one node on HTTP: limits on time and size, TLS by rustls, and no redirects. What
//! goes wrong is told without URL, headers or key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::endpoint::ApiKey;

/// Longest answer that is read, in bytes. Blocks are asked for without their transactions.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of a node's words that are kept in an error.
const WORDS_CHARS_MAX: usize = 200;
/// The header TronGrid reads its keys from.
const KEY_HEADER: HeaderName = HeaderName::from_static("tron-pro-api-key");

/// Why the HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not certificates.
    #[error("the additional authorities are no PEM certificates")]
    Authorities(#[source] rustls::pki_types::pem::Error),
    /// An authority that rustls does not take.
    #[error("an additional authority cannot be used")]
    Authority(#[source] rustls::Error),
    /// The TLS parameters do not fit together.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The client itself.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No connection, a time-out, or it broke off.
    #[error("{0}")]
    Unreachable(&'static str),
    /// The node asks to be left alone: 429, 403, 503, or an error that says so.
    #[error("it limits requests (HTTP {status})")]
    Limited {
        /// The status.
        status: u16,
        /// For how long, in milliseconds, where it said so.
        after_ms: Option<u64>,
        /// Whether it shut us out for a while (403).
        shut_out: bool,
    },
    /// Another status than 200.
    #[error("it answers HTTP {0}")]
    Status(u16),
    /// Longer than [`ANSWER_BYTES_MAX`].
    #[error("its answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// Not JSON.
    #[error("its answer is no JSON: {0:?}")]
    NotJson(String),
    /// `{"Error": ...}`, with status 200 as nodes do.
    #[error("it refuses: {0}")]
    Refused(String),
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the question to the last byte of the answer.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), whole: Duration::from_secs(10) }
    }
}

/// Most relays a process connects through.
const RELAYS_MAX: usize = 64;

/// The HTTP client all nodes share.
#[derive(Debug, Clone)]
pub struct Transport {
    client: reqwest::Client,
    tls: rustls::ClientConfig,
    timeouts: Timeouts,
    /// Where the relays' sockets are; `None` is the network.
    relays: Option<Arc<Relays>>,
}

/// Unix sockets behind each of which is one host and port: all a process without network reaches.
#[derive(Debug)]
struct Relays {
    directory: PathBuf,
    clients: Mutex<BTreeMap<String, reqwest::Client>>,
}

/// `HOST:PORT` of a URL, which is also the name of its relay's socket.
pub fn authority(url: &Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

impl Transport {
    /// The same, but every connection goes to the unix socket `DIRECTORY/HOST:PORT`. TLS goes on to
    /// be between this process and the node.
    #[must_use]
    pub fn through(self, directory: &Path) -> Self {
        let relays = Relays { directory: directory.into(), clients: Mutex::default() };
        Self { relays: Some(Arc::new(relays)), ..self }
    }

    /// What connects to the host of `url`.
    fn client(&self, url: &Url) -> Result<reqwest::Client, AskError> {
        let Some(relays) = &self.relays else { return Ok(self.client.clone()) };
        let authority = authority(url).ok_or(AskError::Unreachable("its URL names no host"))?;
        let mut clients = relays.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&authority) {
            return Ok(client.clone());
        }
        if clients.len() >= RELAYS_MAX {
            return Err(AskError::Unreachable("there are too many relays"));
        }
        let socket = relays.directory.join(&authority);
        let client = builder(self.tls.clone(), self.timeouts).unix_socket(socket).build();
        let client = client.map_err(|error| reason(&error))?;
        clients.insert(authority, client.clone());
        Ok(client)
    }

    /// Asks the controls of the bundled simulator: `POST` with a body, `GET` without.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn control(&self, url: &str, body: &Value) -> Result<Value, AskError> {
        let url = Url::parse(url).map_err(|_| AskError::Unreachable("its URL is none"))?;
        let client = self.client(&url)?;
        let request = match body {
            Value::Null => client.get(url),
            body => {
                client.post(url).header(CONTENT_TYPE, "application/json").body(body.to_string())
            }
        };
        let answer = request.send().await.map_err(|error| reason(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(AskError::Status(status.as_u16()));
        }
        let bytes = answer.bytes().await.map_err(|error| reason(&error))?;
        serde_json::from_slice(&bytes).map_err(|_| AskError::NotJson(String::new()))
    }

    /// A client that trusts the system's authorities and those in `authorities` (PEM; for a node
    /// of one's own). Proxies of the environment are not used: they would see every question.
    ///
    /// # Errors
    /// When the authorities are none or TLS cannot be set up.
    pub fn new(timeouts: Timeouts, authorities: &[u8]) -> Result<Self, BuildError> {
        let mut roots = rustls::RootCertStore::empty();
        // Without any authority every https node answers that its issuer is unknown, in words.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            let certificate = certificate.map_err(BuildError::Authorities)?;
            roots.add(certificate).map_err(BuildError::Authority)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(BuildError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = builder(tls.clone(), timeouts).build().map_err(BuildError::Client)?;
        Ok(Self { client, tls, timeouts, relays: None })
    }

    /// Asks, and gives the JSON of the answer.
    ///
    /// # Errors
    /// [`AskError`]; `Refused` is an answer too.
    pub async fn ask(
        &self,
        url: Url,
        key: Option<&ApiKey>,
        body: &Value,
    ) -> Result<Value, AskError> {
        let client = self.client(&url)?;
        let mut request =
            client.post(url).header(CONTENT_TYPE, "application/json").body(body.to_string());
        if let Some(key) = key {
            let value = key.header().map_err(|_| AskError::Unreachable("its key is no key"))?;
            request = request.header(KEY_HEADER, value);
        }
        let mut response = request.send().await.map_err(|error| reason(&error))?;
        let status = response.status();
        let after_ms = retry_after(response.headers());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(AskError::TooLong);
            }
            bytes.extend_from_slice(&chunk);
        }
        read(status, after_ms, &bytes)
    }
}

fn builder(tls: rustls::ClientConfig, timeouts: Timeouts) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.whole)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .user_agent(concat!("lucid-pay/", env!("CARGO_PKG_VERSION")))
}

/// What went wrong, in our own words: reqwest's contain the URL.
fn reason(error: &reqwest::Error) -> AskError {
    AskError::Unreachable(if error.is_timeout() {
        "it does not answer in time"
    } else if error.is_connect() {
        // TLS failures are among these.
        "no connection to it, or its certificate is not trusted"
    } else {
        "the connection broke before its answer was complete"
    })
}

/// Seconds of `Retry-After`. The form with a date is rare, and our clock may be wrong: it counts
/// as absent.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}

/// A bounded piece of a node's words without control characters.
pub(super) fn words(text: &str) -> String {
    let mut kept = String::new();
    for c in text.trim().chars().take(WORDS_CHARS_MAX) {
        if c.is_control() {
            kept.push(' ');
        } else {
            let _ = kept.write_char(c);
        }
    }
    kept
}

/// Reads status and body of an answer.
fn read(status: StatusCode, after_ms: Option<u64>, body: &[u8]) -> Result<Value, AskError> {
    let parsed = serde_json::from_slice::<Value>(body);
    let error = parsed.as_ref().ok().and_then(error_text);
    if let Some(pause) = error.as_deref().and_then(limit_in_words) {
        let (status, after_ms) = (status.as_u16(), pause.or(after_ms));
        return Err(AskError::Limited { status, after_ms, shut_out: true });
    }
    match status.as_u16() {
        200 => {}
        code @ (403 | 429 | 503) => {
            return Err(AskError::Limited { status: code, after_ms, shut_out: code == 403 });
        }
        code => return Err(AskError::Status(code)),
    }
    match (parsed, error) {
        (_, Some(text)) => Err(AskError::Refused(words(&text))),
        (Ok(value), None) => Ok(value),
        (Err(_), None) => Err(AskError::NotJson(words(&String::from_utf8_lossy(
            body.get(..body.len().min(4 * WORDS_CHARS_MAX)).unwrap_or_default(),
        )))),
    }
}

/// `{"Error": text}`, and nothing else, is an error. Gateways write `error` as well.
fn error_text(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let error = object.get("Error").or_else(|| object.get("error"))?;
    Some(error.as_str().map_or_else(|| error.to_string(), str::to_owned))
}

/// TronGrid's "The key exceeds the frequency limit(15), and the query server is suspended for 30s":
/// the pause it names, if it names one.
fn limit_in_words(text: &str) -> Option<Option<u64>> {
    if !text.contains("frequency limit") && !text.contains("suspended for") {
        return None;
    }
    let (_, rest) = text.split_once("suspended for ").unwrap_or_default();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(6).collect();
    Some(digits.parse::<u64>().ok().map(|seconds| seconds * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Result<Value, AskError> {
        read(StatusCode::from_u16(status).unwrap(), Some(4_000), body.as_bytes())
    }

    #[test]
    fn errors_hide_behind_status_200_and_limits_behind_errors() {
        assert_eq!(of(200, "{}").unwrap(), serde_json::json!({}));
        let text = "class java.lang.NullPointerException : null";
        let refused = of(200, &format!("{{\"Error\":\"{text}\"}}"));
        assert_eq!(refused, Err(AskError::Refused(text.to_owned())));
        assert!(matches!(of(200, "upstream connect error"), Err(AskError::NotJson(_))));
        assert!(matches!(of(200, ""), Err(AskError::NotJson(_))));
        assert_eq!(of(502, "{}"), Err(AskError::Status(502)));
        assert_eq!(of(301, ""), Err(AskError::Status(301)));
        for status in [429, 503] {
            let limited = AskError::Limited { status, after_ms: Some(4_000), shut_out: false };
            assert_eq!(of(status, "slow down"), Err(limited));
        }
        let text = "The key exceeds the frequency limit(15), and the query server is suspended \
                    for 30s";
        for status in [200, 403] {
            let limited = AskError::Limited { status, after_ms: Some(30_000), shut_out: true };
            assert_eq!(of(status, &format!("{{\"Error\":\"{text}\"}}")), Err(limited));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_nothing() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("7"), Some(7_000));
        assert_eq!(of("18446744073709551615"), Some(u64::MAX));
        for text in ["-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", ""] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn words_are_short_and_plain() {
        assert_eq!(words("a\u{1b}[31m\nb"), "a [31m b");
        assert_eq!(words(&"ü".repeat(1_000)).chars().count(), WORDS_CHARS_MAX);
    }

    #[test]
    fn authorities_must_be_certificates() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = Transport::new(Timeouts::default(), pem).unwrap_err();
        assert!(matches!(error, BuildError::Authority(_)), "{error:?}");
        assert!(Transport::new(Timeouts::default(), b"").is_ok());
    }
}
