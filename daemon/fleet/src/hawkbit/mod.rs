//! The fleet server: a client of hawkBit's Direct Device Integration API.
//!
//! Written here because the crate `hawkbit` asks for a TLS backend that needs cmake, and leaves
//! resuming a download to its user.

mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::reason;
use crate::update::{Offer, Origin, Source};

/// Longest answer read, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longest a question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often the server is asked when it says nothing about it.
const POLL_EVERY: Duration = Duration::from_secs(300);
/// The server may not ask for more, or for less, than between these.
const POLL_LIMITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(86_400));
/// Longest id of an action, bytes.
const ID_BYTES_MAX: usize = 64;
/// Longest name kept, characters.
const NAME_CHARS_MAX: usize = 128;
/// What a bundle's name ends with.
const BUNDLE_ENDING: &str = ".raucb";

/// How the device shows who it is.
#[derive(Clone)]
pub enum Token {
    /// Of this device alone.
    Target(String),
    /// Of all devices behind one gateway.
    Gateway(String),
}

/// Where the server is, and who asks.
#[derive(Clone)]
pub struct Server {
    /// Its address, without `/TENANT/controller`.
    pub url: String,
    /// The tenant; hawkBit's own is `DEFAULT`.
    pub tenant: String,
    /// The device, as the server knows it.
    pub device: String,
    /// What it shows.
    pub token: Token,
}

/// Why the server could not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum HawkbitError {
    /// The setting.
    #[error(
        "the fleet server's address is not https://HOST or http://HOST, without a user or password"
    )]
    Url,
    /// The token or a name has bytes that HTTP cannot carry.
    #[error("the {0} has characters that do not fit into a request")]
    Words(&'static str),
    /// The network.
    #[error("{0}")]
    Network(&'static str),
    /// 401 and 403.
    #[error("the fleet server does not know this device, or not this token ({0})")]
    Forbidden(StatusCode),
    /// Another answer.
    #[error("the fleet server answers {0}")]
    Status(StatusCode),
    /// An answer that does not read.
    #[error("the fleet server's answer is not understood: {0}")]
    Answer(String),
}

/// What a poll brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// When to ask again.
    pub sleep: Duration,
    /// An update.
    pub offer: Option<Offer>,
    /// An action that is to be called off, and the name of the wish.
    pub cancel: Option<Cancel>,
    /// Whether the server wants to know what the device is.
    pub wants_attributes: bool,
}

/// A wish to call an action off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// The wish; it is answered by its own name.
    pub id: String,
    /// The action.
    pub action: String,
}

/// What the device says about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Proceeding,
    /// The bundle is here.
    Downloaded,
    /// It is over, and the new system is confirmed.
    Succeeded,
    /// It is over, and the device runs what it ran before.
    Failed,
    /// It was called off here.
    Cancelled,
}

/// The client.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    authorization: HeaderValue,
}

impl Client {
    /// A client of `server`.
    ///
    /// # Errors
    /// When address, names or token do not fit.
    pub fn new(http: reqwest::Client, server: &Server) -> Result<Self, HawkbitError> {
        let mut base = address(&server.url)?;
        base.set_query(None);
        base.path_segments_mut().map_err(|()| HawkbitError::Url)?.pop_if_empty().extend([
            server.tenant.as_str(),
            "controller",
            "v1",
            server.device.as_str(),
        ]);
        let (kind, token) = match &server.token {
            Token::Target(token) => ("TargetToken", token),
            Token::Gateway(token) => ("GatewayToken", token),
        };
        let words = HeaderValue::from_str(&format!("{kind} {}", token.trim()));
        let mut authorization = words.map_err(|_| HawkbitError::Words("token"))?;
        authorization.set_sensitive(true);
        Ok(Self { http, base, authorization })
    }

    /// The token, for a download from this server; no other is shown it.
    pub fn authorization_for(&self, url: &str) -> Option<&HeaderValue> {
        let url = Url::parse(url).ok()?;
        (url.origin() == self.base.origin()).then_some(&self.authorization)
    }

    /// Asks what there is to do.
    ///
    /// # Errors
    /// [`HawkbitError`].
    pub async fn poll(&self) -> Result<Poll, HawkbitError> {
        let root: wire::Root = self.get(&[]).await?;
        let sleep = root.config.and_then(|config| config.polling?.sleep);
        let sleep = sleep.as_deref().and_then(duration).unwrap_or(POLL_EVERY);
        let mut poll = Poll {
            sleep: sleep.clamp(POLL_LIMITS.0, POLL_LIMITS.1),
            offer: None,
            cancel: None,
            wants_attributes: false,
        };
        let Some(links) = root.links else { return Ok(poll) };
        poll.wants_attributes = links.config_data.is_some();
        if let Some(link) = links.cancel_action {
            let id = last_segment(&link.href)?;
            let cancel: wire::Cancel = self.get(&["cancelAction", &id]).await?;
            poll.cancel = Some(Cancel { id, action: checked_id(cancel.cancel_action.stop_id)? });
        } else if let Some(link) = links.deployment_base {
            let id = last_segment(&link.href)?;
            poll.offer = Some(self.offer(self.get(&["deploymentBase", &id]).await?, false)?);
        } else if links.confirmation_base.is_some() {
            let waiting: wire::Confirmations = self.get(&["confirmationBase"]).await?;
            let link = waiting.links.and_then(|links| links.confirmation_base);
            if let Some(link) = link {
                let id = last_segment(&link.href)?;
                poll.offer = Some(self.offer(self.get(&["confirmationBase", &id]).await?, true)?);
            }
        }
        Ok(poll)
    }

    /// The update in an action: the one bundle among its artifacts.
    fn offer(&self, action: wire::Action, ask: bool) -> Result<Offer, HawkbitError> {
        let wrong = |words: &str| HawkbitError::Answer(words.to_owned());
        let wire::Deployment { download, update, maintenance_window, chunks } = action.deployment;
        let artifacts = chunks
            .iter()
            .flat_map(|chunk| chunk.artifacts.iter().map(move |artifact| (chunk, artifact)));
        let mut bundles =
            artifacts.filter(|(_, artifact)| artifact.filename.ends_with(BUNDLE_ENDING));
        let (chunk, bundle) = bundles.next().ok_or_else(|| wrong("no artifact *.raucb"))?;
        if bundles.next().is_some() {
            return Err(wrong("more than one artifact *.raucb"));
        }
        let link = bundle.links.get("download").or_else(|| bundle.links.get("download-http"));
        let source = match (ask, link) {
            (true, _) => Source::AfterAgreement,
            (false, Some(link)) => {
                let url = self.base.join(&link.href).map_err(|_| wrong("a link that is no URL"))?;
                if !matches!(url.scheme(), "http" | "https") {
                    return Err(wrong("a link that is no http"));
                }
                Source::Url(url.into())
            }
            (false, None) => return Err(wrong("an artifact without a link")),
        };
        let skip = |word: &Option<String>| word.as_deref() == Some("skip");
        let closed = maintenance_window.as_deref() == Some("unavailable");
        let sha256 = bundle.hashes.as_ref().and_then(|hashes| hashes.sha256.clone());
        let name = format!("{} {}", chunk.name, chunk.version);
        Ok(Offer {
            id: checked_id(action.id)?,
            origin: Origin::Server,
            source,
            name: name.trim().chars().take(NAME_CHARS_MAX).collect(),
            bytes: bundle.size,
            sha256: sha256.filter(|hash| hash.len() == 64),
            ask,
            install: !skip(&update) && !skip(&download) && !closed,
            allow_older: false,
            at_once: false,
        })
    }

    /// Says how an action goes; `words` are for people.
    ///
    /// # Errors
    /// [`HawkbitError`]; an action the server does not know any more is none.
    pub async fn feedback(
        &self,
        action: &str,
        progress: Progress,
        words: &str,
        now_ms: u64,
    ) -> Result<(), HawkbitError> {
        let (execution, finished) = match progress {
            Progress::Proceeding => ("proceeding", "none"),
            Progress::Downloaded => ("downloaded", "none"),
            Progress::Succeeded => ("closed", "success"),
            Progress::Failed => ("closed", "failure"),
            Progress::Cancelled => ("canceled", "failure"),
        };
        self.tell("deploymentBase", action, execution, finished, words, now_ms).await
    }

    /// Answers a wish to call an action off.
    ///
    /// # Errors
    /// [`HawkbitError`].
    pub async fn answer_cancel(
        &self,
        cancel: &Cancel,
        done: bool,
        words: &str,
        now_ms: u64,
    ) -> Result<(), HawkbitError> {
        let (execution, finished) = if done { ("closed", "success") } else { ("rejected", "none") };
        self.tell("cancelAction", &cancel.id, execution, finished, words, now_ms).await
    }

    async fn tell(
        &self,
        what: &str,
        id: &str,
        execution: &str,
        finished: &str,
        words: &str,
        now_ms: u64,
    ) -> Result<(), HawkbitError> {
        let details = if words.is_empty() { Vec::new() } else { vec![words] };
        let result = wire::Result { finished };
        let status = wire::Status { execution, result, details };
        let feedback = wire::Feedback { id, timestamp: now_ms, status };
        self.send(Method::POST, &[what, id, "feedback"], &feedback).await
    }

    /// Tells the server that somebody agreed to an action.
    ///
    /// # Errors
    /// [`HawkbitError`].
    pub async fn agree(&self, action: &str, words: &str) -> Result<(), HawkbitError> {
        let agreement = wire::Agreement { confirmation: "confirmed", details: vec![words] };
        self.send(Method::POST, &["confirmationBase", action, "feedback"], &agreement).await
    }

    /// Tells the server what the device is; filters of rollouts go by it.
    ///
    /// # Errors
    /// [`HawkbitError`].
    pub async fn describe(&self, data: &BTreeMap<&str, String>) -> Result<(), HawkbitError> {
        self.send(Method::PUT, &["configData"], &wire::Attributes { mode: "merge", data }).await
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
    ) -> Result<reqwest::RequestBuilder, HawkbitError> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| HawkbitError::Url)?.extend(path);
        Ok(self
            .http
            .request(method, url)
            .timeout(ANSWER_WITHIN)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/hal+json"))
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, HawkbitError> {
        let mut answer = received(self.request(Method::GET, path)?).await?;
        let mut bytes = Vec::new();
        let broken = |error: reqwest::Error| HawkbitError::Network(reason(&error));
        while let Some(part) = answer.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(HawkbitError::Answer("it is longer than 1 MiB".into()));
            }
        }
        serde_json::from_slice(&bytes).map_err(|error| HawkbitError::Answer(error.to_string()))
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<(), HawkbitError> {
        let body = serde_json::to_vec(body);
        let body = body.map_err(|error| HawkbitError::Answer(error.to_string()))?;
        let request = self.request(method, path)?.header(CONTENT_TYPE, "application/json");
        match received(request.body(body)).await {
            // An action that is gone there needs no more words.
            Err(HawkbitError::Status(StatusCode::NOT_FOUND | StatusCode::GONE)) => Ok(()),
            answer => answer.map(drop),
        }
    }
}

/// Whether this can be the address of a fleet server.
///
/// # Errors
/// [`HawkbitError::Url`]; the address is not repeated, it may hold a password.
pub fn check_address(url: &str) -> Result<(), HawkbitError> {
    address(url).map(drop)
}

fn address(url: &str) -> Result<Url, HawkbitError> {
    let base = Url::parse(url).map_err(|_| HawkbitError::Url)?;
    let plain = base.username().is_empty() && base.password().is_none();
    match matches!(base.scheme(), "http" | "https") && base.has_host() && plain {
        true => Ok(base),
        false => Err(HawkbitError::Url),
    }
}

async fn received(request: reqwest::RequestBuilder) -> Result<reqwest::Response, HawkbitError> {
    let answer = request.send().await;
    let answer = answer.map_err(|error| HawkbitError::Network(reason(&error)))?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(HawkbitError::Forbidden(status))
        }
        status => Err(HawkbitError::Status(status)),
    }
}

/// `HH:MM:SS`.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0u64;
    let mut parts = 0;
    for part in text.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse::<u16>().ok()?.into())?;
        parts += 1;
    }
    (parts == 3).then(|| Duration::from_secs(seconds))
}

/// The id a link ends with. The rest of it is not followed: our own address is.
fn last_segment(href: &str) -> Result<String, HawkbitError> {
    let path = href.split(['?', '#']).next().unwrap_or_default();
    checked_id(path.rsplit('/').next().unwrap_or_default().to_owned())
}

fn checked_id(id: String) -> Result<String, HawkbitError> {
    let fits = !id.is_empty()
        && id.len() <= ID_BYTES_MAX
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match fits {
        true => Ok(id),
        false => Err(HawkbitError::Answer("an action without a plain id".into())),
    }
}
