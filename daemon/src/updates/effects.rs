//! What the state machine asks for, done: downloads, RAUC, the restart, the self-test, the chain.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lucid_chain::Transaction;
use lucid_chain::transaction::{Body, Statement, Subject};
use lucid_evidence::{Hash, SigningKey};
use lucid_fleet::download::{self, Wanted};
use lucid_fleet::http::client;
use lucid_fleet::rauc::Rauc;
use lucid_fleet::update::{Effect, Event, Offer, Source};
use lucid_fleet::verdict::{self, Verdict};
use tokio_util::sync::CancellationToken;

use super::{Updates, lock, self_test};
use crate::http::App;
use crate::http::time::now_us;
use crate::system::orders::{self, Power};

/// Longest to wait for a block that holds the statement of a bundle.
const STATED_WITHIN: Duration = Duration::from_secs(600);
/// Between two reports of a download, bytes.
const REPORT_EVERY_BYTES: u64 = 4 << 20;

impl Updates {
    /// Does one thing. What takes long is done beside, and told when it is over.
    pub(super) fn perform(self: &Arc<Self>, app: &App, effect: Effect) {
        tracing::info!(effect = name(&effect), "update");
        match effect {
            Effect::Agree(action) => {
                let this = Arc::clone(self);
                tokio::spawn(async move { this.agree(&action).await });
            }
            Effect::Download(offer) => self.start_download(offer),
            Effect::StopDownload => lock(&self.download).cancel(),
            Effect::Discard => {
                let _absent = std::fs::remove_file(self.bundle());
            }
            Effect::Inspect => {
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    let told = match Rauc::connect(None).await {
                        Ok(rauc) => rauc.inspect(&this.bundle()).await,
                        Err(error) => Err(error),
                    };
                    this.tell(Event::Inspected(told.map_err(words))).await;
                });
            }
            Effect::Install => {
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    let told = this.install().await;
                    this.look_at_slots().await;
                    this.tell(Event::Installed(told)).await;
                });
            }
            Effect::Reboot => {
                let requests = &app.config.power_requests;
                tracing::warn!("restarting into the new system, on trial");
                if let Err(error) = orders::ask(requests, Power::Reboot) {
                    let at = requests.display();
                    let reason = format!("cannot ask for a restart in {at}: {error}");
                    let this = Arc::clone(self);
                    tokio::spawn(async move { this.tell(Event::RebootFailed(reason)).await });
                }
            }
            Effect::SelfTest => {
                let (this, app) = (Arc::clone(self), App::clone(app));
                tokio::spawn(async move {
                    let result = self_test::run(&app).await;
                    this.tell(Event::Tested(result.map_err(|error| format!("{error:#}")))).await;
                });
            }
            Effect::Verdict(result) => {
                let verdict = match result {
                    Ok(()) => Verdict::Passed,
                    Err(reason) => Verdict::Failed(reason),
                };
                tracing::warn!(?verdict, "the self-test of the new system is over");
                if let Err(error) = verdict.write(&self.verdict_file()) {
                    tracing::error!(%error, "the verdict of the self-test cannot be left");
                }
            }
            Effect::Anchor { sha256, version } => {
                let (this, app) = (Arc::clone(self), App::clone(app));
                tokio::spawn(async move {
                    match state(&app, &sha256, &version).await {
                        Ok(statement) => this.tell(Event::Stated { sha256, statement }).await,
                        // Stated at the next start, if the update is not over by then.
                        Err(error) => {
                            let error = format!("{error:#}");
                            tracing::error!(error, "the bundle is not stated on the chain");
                        }
                    }
                });
            }
            Effect::MarkOtherBad => {
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    let marked = match Rauc::connect(None).await {
                        Ok(rauc) => rauc.mark("bad", "other").await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = marked {
                        let error = words(error);
                        tracing::error!(error, "the other slot cannot be marked bad");
                    }
                    this.look_at_slots().await;
                });
            }
        }
    }

    /// In memory where systemd gives a place there, so that it is always of this start.
    pub(super) fn verdict_file(&self) -> PathBuf {
        match std::env::var_os("RUNTIME_DIRECTORY") {
            Some(_) => verdict::FILE.into(),
            None => self.directory.join("self-test"),
        }
    }

    fn start_download(self: &Arc<Self>, offer: Offer) {
        let Source::Url(url) = offer.source else { return };
        let stop = CancellationToken::new();
        *lock(&self.download) = stop.clone();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = this.download(&url, offer.bytes) => event,
            };
            this.tell(event).await;
        });
    }

    async fn download(&self, url: &str, bytes: u64) -> Event {
        let failed = |reason: String| Event::DownloadFailed { reason, again: true };
        let (http, server) = match self.authorities().map(|pem| client(&pem)) {
            Ok(Ok(http)) => (http, self.client()),
            Ok(Err(error)) => return failed(error.to_string()),
            Err(error) => return failed(error.to_string()),
        };
        let server = server.ok();
        let authorization = server.as_ref().and_then(|server| server.authorization_for(url));
        let wanted = Wanted { url, authorization, bytes };
        let told = std::sync::atomic::AtomicU64::new(0);
        let progress = |here: u64| {
            use std::sync::atomic::Ordering::Relaxed;
            if here >= told.load(Relaxed) + REPORT_EVERY_BYTES {
                told.store(here, Relaxed);
                self.mention(Event::Downloaded(here));
            }
        };
        match download::download(&http, &wanted, &self.bundle(), progress).await {
            Ok(sha256) => Event::Whole(sha256),
            Err(error) => Event::DownloadFailed { reason: words(&error), again: error.again() },
        }
    }

    async fn install(&self) -> Result<(), String> {
        let rauc = Rauc::connect(None).await.map_err(words)?;
        let progress = |percent| self.mention(Event::Installing(percent));
        rauc.install(&self.bundle(), progress).await.map_err(words)
    }
}

/// An error with its causes.
pub(super) fn words(error: impl std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}

/// States the bundle's hash on the chain: what was installed here, and when. Gives the transaction
/// once a block holds it.
async fn state(app: &App, sha256: &str, version: &str) -> anyhow::Result<String> {
    let id = {
        let key = app.archive.keys().device();
        let statement = Statement {
            chain: app.node.chain(),
            node: key.public(),
            subject: Subject::Update,
            hash: sha256.parse::<Hash>()?,
            note: format!("sha-256 of the bundle of version {version}"),
            time_us: now_us(),
        };
        let key = SigningKey::from_seed(&key.seed());
        app.node.submit(Transaction::sign(Body::Statement(statement), &key))?
    };
    tokio::time::timeout(STATED_WITHIN, app.node.wait_for(&id)).await.with_context(|| {
        format!("no block took transaction {id} within {} s", STATED_WITHIN.as_secs())
    })??;
    Ok(id.to_string())
}

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Agree(_) => "agree",
        Effect::Download(_) => "download",
        Effect::StopDownload => "stop_download",
        Effect::Inspect => "inspect",
        Effect::Install => "install",
        Effect::Reboot => "reboot",
        Effect::SelfTest => "self_test",
        Effect::Verdict(_) => "verdict",
        Effect::Anchor { .. } => "anchor",
        Effect::MarkOtherBad => "mark_other_bad",
        Effect::Discard => "discard",
    }
}
