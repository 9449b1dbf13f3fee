//! Talks with the fleet server: asks, tells how updates went, answers wishes to call them off.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lucid_fleet::hawkbit::{Client, HawkbitError, Poll, Progress, Server, Token};
use lucid_fleet::http::client;
use lucid_fleet::update::{Event, Origin, Outcome};
use tokio_util::sync::CancellationToken;

use super::effects::words;
use super::{Updates, lock, random};
use crate::http::App;
use crate::http::time::now_us;

/// Wait after a talk that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The first question comes within this, so that a fleet that starts together does not ask so.
const SPREAD_MS: u64 = 20_000;
/// Largest file of authorities, bytes.
const AUTHORITIES_BYTES_MAX: u64 = 256 * 1024;
/// Longest token, bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Said to the fleet server where a cut would leave half a system.
const TOO_LATE: &str = "it is being installed or tried and cannot be called off";

/// How the last talk went.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    /// When, microseconds since 1970.
    pub at_us: Option<u64>,
    /// What went wrong; nothing if it went well.
    pub problem: Option<String>,
    /// Whether a talk is going on.
    pub checking: bool,
}

/// A small file that `key` names.
fn read(key: &str, path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("{key}: {} cannot be read", path.display()))?;
    ensure!(bytes.len() as u64 <= most, "{key}: {} is over {most} bytes", path.display());
    Ok(bytes)
}

impl Updates {
    /// Further authorities, PEM.
    pub(super) fn authorities(&self) -> anyhow::Result<Vec<u8>> {
        let Some(path) = &self.config.authorities else { return Ok(Vec::new()) };
        let pem = read("updates.authorities", path, AUTHORITIES_BYTES_MAX)?;
        let known = String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----");
        ensure!(known, "updates.authorities: {} holds no certificate (PEM)", path.display());
        Ok(pem)
    }

    /// The client of the fleet server, with the token as it is now.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let url = self.config.server.clone().context("no fleet server is configured")?;
        let token = match &self.config.token_file {
            None => String::new(),
            Some(path) => {
                let bytes = read("updates.token_file", path, TOKEN_BYTES_MAX)?;
                let token = String::from_utf8(bytes).unwrap_or_default().trim().to_owned();
                ensure!(!token.is_empty(), "updates.token_file: {} has no token", path.display());
                token
            }
        };
        let token = if self.config.gateway { Token::Gateway(token) } else { Token::Target(token) };
        let (tenant, device) = (self.config.tenant.clone(), self.name.clone());
        let server = Server { url, tenant, device, token };
        Ok(Client::new(client(&self.authorities()?)?, &server)?)
    }

    /// Asks the server again and again.
    pub(super) async fn poll(self: Arc<Self>, app: App, stop: CancellationToken) {
        if self.config.server.is_none() {
            return;
        }
        let mut wait = Duration::from_millis(random() % SPREAD_MS);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = self.check.notified() => {}
            }
            lock(&self.contact).checking = true;
            let talked = self.talk(&app).await;
            let problem = talked.as_ref().err().map(|error| format!("{error:#}"));
            if let Some(problem) = &problem {
                tracing::warn!(problem, "the fleet server");
            }
            let at_us = Some(now_us());
            *lock(&self.contact) = super::Contact { at_us, problem, checking: false };
            wait = talked.unwrap_or(AGAIN_AFTER);
        }
    }

    async fn talk(&self, app: &App) -> anyhow::Result<Duration> {
        let client = self.client()?;
        self.report(&client).await?;
        let Poll { sleep, offer, cancel, wants_attributes } = client.poll().await?;
        if wants_attributes {
            client.describe(&self.attributes(app)).await?;
        }
        if let Some(offer) = offer {
            self.put(Event::Offered(offer)).await;
        }
        if let Some(cancel) = cancel {
            let ours = || {
                self.record().attempt.is_some_and(|attempt| {
                    attempt.offer.origin == Origin::Server && attempt.offer.id == cancel.action
                })
            };
            if ours() {
                self.put(Event::Cancelled("called off by the fleet server".into())).await;
            }
            // What is being written or tried runs to its end.
            let (done, words) = if ours() { (false, TOO_LATE) } else { (true, "") };
            client.answer_cancel(&cancel, done, words, now_us() / 1000).await?;
        }
        Ok(sleep)
    }

    /// Tells the ends of updates that the server does not know, and how the present one goes.
    async fn report(&self, client: &Client) -> Result<(), HawkbitError> {
        let record = self.record();
        let now_ms = now_us() / 1000;
        let ended: Vec<_> = record.unreported().cloned().collect();
        for ended in ended.into_iter().filter(|ended| ended.origin == Origin::Server) {
            let progress = match ended.outcome {
                Outcome::Confirmed => Progress::Succeeded,
                Outcome::Cancelled => Progress::Cancelled,
                Outcome::FellBack | Outcome::Failed | Outcome::Refused => Progress::Failed,
            };
            client.feedback(&ended.id, progress, &ended.reason, now_ms).await?;
            self.tell(Event::Reported(ended.id)).await;
        }
        if let Some(attempt) = record.attempt
            && attempt.offer.origin == Origin::Server
            && attempt.agreed
        {
            let words = match &attempt.note {
                Some(note) => format!("{}: {note}", attempt.phase.name()),
                None => attempt.phase.name().to_owned(),
            };
            // The server keeps every message: the same one is not sent twice.
            let message = Some((attempt.offer.id, words));
            let news = *lock(&self.told) != message;
            if news && let Some((id, words)) = &message {
                client.feedback(id, Progress::Proceeding, words, now_ms).await?;
                *lock(&self.told) = message;
            }
        }
        Ok(())
    }

    pub(super) async fn agree(&self, action: &str) {
        let agreed = match self.client() {
            Ok(client) => client.agree(action, "agreed on the device").await.map_err(words),
            Err(error) => Err(format!("{error:#}")),
        };
        match agreed {
            // It gives the bundle now.
            Ok(()) => self.check.notify_one(),
            Err(problem) => tracing::warn!(problem, "the fleet server was not told"),
        }
    }

    /// What filters of rollouts go by.
    fn attributes(&self, app: &App) -> BTreeMap<&'static str, String> {
        let mut attributes = BTreeMap::from([
            ("software", "lucid".to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("data_format", lucid_store::DATA_VERSION.to_string()),
            ("name", app.config.name.clone()),
        ]);
        if let Some(slot) = self.slot {
            attributes.insert("slot", slot.to_string());
        }
        let rules = lock(&self.rules).clone();
        if let Some(compatible) = rules.and_then(|rules| rules.compatible) {
            attributes.insert("compatible", compatible);
        }
        attributes
    }
}
