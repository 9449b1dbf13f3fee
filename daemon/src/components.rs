//! The daemon's components: what each needs, and how each is started and stopped.

use std::sync::Arc;
use std::time::Duration;

use lucid_capture::archive::Archive;
use lucid_capture::recorder::Observer;
use lucid_capture::recovery::recover_all;
use lucid_chain_node::{Node, Production};
use tokio_util::sync::CancellationToken;

use crate::anchoring::Anchoring;
use crate::auth::Auth;
use crate::config::Config;
use crate::desktops::Desktops;
use crate::events::{Events, Topic};
use crate::exports::Exports;
use crate::follow::{self, Queue, Told};
use crate::http::listen::Listener;
use crate::http::{App, evidence, exports, local};
use crate::machine::Machine;
use crate::recordings::{Pulse, Recordings};
use crate::sources::{Sources, SourcesError};
use crate::supervisor::{Need, Plan, Supervisor};
use crate::{chain, front, housekeeping, limits, settle};

/// A listener that says nothing for this long is stuck.
const LISTENER_BEATS_WITHIN: Duration = Duration::from_secs(20);
/// Starting or closing a recording may wait for a slow disk; longer than this it is stuck.
const RECORDER_BEATS_WITHIN: Duration = Duration::from_secs(120);
/// How often expired sessions of the page are deleted.
const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// What records, seals and anchors, before anything of it runs.
pub struct Core {
    /// Everything stored.
    pub archive: Arc<Archive>,
    /// The chain.
    pub node: Node,
    /// Between the two.
    pub anchoring: Arc<Anchoring>,
    /// What the recorders tell, for those who ask.
    pub pulse: Arc<Pulse>,
    /// The same, for those who listen.
    pub queue: Arc<Queue>,
    /// What records.
    pub recordings: Arc<Recordings>,
    /// Bundles for download.
    pub exports: Arc<Exports>,
    /// Ends the chain.
    pub chain_stop: CancellationToken,
}

impl Core {
    /// Opens the chain, takes up what a crash left, and sends what is not anchored yet.
    ///
    /// # Errors
    /// When chain or catalogue cannot be read.
    pub async fn open(
        archive: Arc<Archive>,
        config: &Config,
        sources: &Arc<Sources>,
        events: &Events,
    ) -> anyhow::Result<Self> {
        let (pulse, queue, chain_stop) =
            (Arc::new(Pulse::default()), Queue::new(), CancellationToken::new());
        let store = archive.data().chain();
        let node = chain::start(&archive, store, Production::Interval, chain_stop.clone()).await?;
        let anchored = {
            let (pulse, queue) = (Arc::clone(&pulse), Arc::clone(&queue));
            Box::new(move |session: &lucid_capture::catalogue::SessionRecord| {
                pulse.changed();
                queue.tell(Told::Anchored(session.id));
            })
        };
        let anchoring = Anchoring::new(Arc::clone(&archive), node.clone(), anchored);
        let observer = queue.observer(&pulse);
        let recordings = Arc::new(Recordings::new(
            Arc::clone(&archive),
            anchoring.clone(),
            Arc::clone(sources),
            Arc::clone(&observer),
            config.name.clone(),
        ));
        let listeners = events.clone();
        let (limits, keep_free) = (config.exports, config.record.keep_free_bytes);
        let told = Box::new(move |export: &crate::exports::Export| {
            listeners.publish(Topic::Export, &exports::view(export, &limits));
        });
        let (kept, chain) = (Arc::clone(&archive), node.clone());
        let exports = tokio::task::spawn_blocking(move || {
            Exports::open(kept, chain, limits, keep_free, told)
        });
        let exports = Arc::new(exports.await?);
        let core = Self { archive, node, anchoring, pulse, queue, recordings, exports, chain_stop };
        core.take_up(observer).await?;
        Ok(core)
    }

    /// Takes up the desktops; none runs yet.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open_desktops(&self, config: &Config, events: &Events) -> anyhow::Result<Arc<Desktops>> {
        let data = self.archive.data();
        let recordings = Arc::clone(&self.recordings);
        let (settings, name) = (config.desktops.clone(), &config.name);
        let (index, keys) = (data.index(), data.keys_dir());
        let desktops = Desktops::open(index, keys, recordings, events.clone(), settings, name)?;
        Ok(Arc::new(desktops))
    }

    async fn take_up(&self, observer: Observer) -> anyhow::Result<()> {
        let (archive, anchoring) = (Arc::clone(&self.archive), Arc::clone(&self.anchoring));
        let work = tokio::task::spawn_blocking(move || {
            let renewed = anchoring.renew_lost()?;
            if renewed > 0 {
                tracing::warn!(renewed, "sessions of a lost chain are put on this one");
            }
            let recovery = recover_all(&archive, &*anchoring, &observer)?;
            let waiting = anchoring.catch_up()?;
            anyhow::Ok((recovery, waiting))
        });
        let (recovery, waiting) = work.await??;
        for one in &recovery.recovered {
            let seconds = one.length_us as f64 / 1e6;
            let damage = one.damage.join("; ");
            tracing::warn!(session = %one.session, seconds, damage, "closed after a crash");
        }
        for (session, error) in &recovery.failed {
            tracing::error!(%session, %error, "cannot be closed after a crash; tried again later");
        }
        tracing::info!(waiting, "sessions wait for the chain");
        Ok(())
    }
}

/// Starts everything but the listeners, in the order of what needs what.
pub fn start(app: &App, core: Core, damaged: &[SourcesError], auth: &Arc<Auth>) {
    let supervisor = &app.supervisor;
    start_purge(supervisor, auth);
    let limits_of = supervisor.register(optional("limits"));
    limits::report(&limits_of, &lucid_hw::Machine::here(), limits::is_service());
    report_sources(supervisor, damaged);
    start_chain(app, &core);
    let anchoring = Arc::clone(&core.anchoring);
    supervisor.start(optional("anchoring"), move |reporter, stop| {
        let anchoring = Arc::clone(&anchoring);
        async move {
            reporter.healthy();
            anchoring.follow(stop).await;
            Ok(())
        }
    });
    let (state, queue) = (App::clone(app), Arc::clone(&core.queue));
    supervisor.start(optional("events"), move |reporter, stop| {
        follow::run(App::clone(&state), Arc::clone(&queue), reporter, stop)
    });
    let state = App::clone(app);
    supervisor.start(optional("retention"), move |reporter, stop| {
        housekeeping::run(App::clone(&state), reporter, stop)
    });
    let state = App::clone(app);
    supervisor.start(optional("evidence-health"), move |reporter, stop| {
        reporter.healthy();
        evidence::tell(App::clone(&state), reporter, stop)
    });
    let exports = Arc::clone(&core.exports);
    supervisor
        .start(optional("exports"), move |reporter, stop| Arc::clone(&exports).run(reporter, stop));
    let state = App::clone(app);
    supervisor.start(optional("settlement"), move |reporter, stop| {
        settle::run(App::clone(&state), reporter, stop)
    });
    start_recorder(supervisor, &core.recordings, &app.machine);
    // After the recorder, so that it stops first and closes its sessions in order.
    let (desktops, names) = (Arc::clone(&app.desktops), app.config.http.host_names.clone());
    supervisor.start(optional("desktops"), move |reporter, stop| {
        Arc::clone(&desktops).run(names.clone(), reporter, stop)
    });
    let state = App::clone(app);
    supervisor.start(optional("updates"), move |reporter, stop| {
        Arc::clone(&state.updates).run(App::clone(&state), reporter, stop)
    });
    let state = App::clone(app);
    supervisor.start(optional("panel"), move |reporter, stop| {
        front::run(App::clone(&state), reporter, stop)
    });
}

/// Starts a listener.
pub fn start_listener(app: &App, name: &'static str, listener: Listener, router: axum::Router) {
    let plan = Plan { name, need: Need::Required, beat_within: Some(LISTENER_BEATS_WITHIN) };
    app.supervisor
        .start(plan, move |reporter, stop| listener.clone().serve(router.clone(), reporter, stop));
}

/// Starts the socket through which the command line reaches the daemon.
pub fn start_console(app: &App, router: axum::Router) {
    let path = local::path(&app.config.data_dir);
    app.supervisor.start(optional("console"), move |reporter, stop| {
        local::serve(path.clone(), router.clone(), reporter, stop)
    });
}

fn optional(name: &'static str) -> Plan {
    Plan { name, need: Need::Optional, beat_within: None }
}

/// The chain: its last block takes in what the recorders closed before it.
fn start_chain(app: &App, core: &Core) {
    let plan = Plan { name: "chain", need: Need::Required, beat_within: None };
    let (state, anchoring) = (App::clone(app), Arc::clone(&core.anchoring));
    let chain_stop = core.chain_stop.clone();
    app.supervisor.start(plan, move |reporter, stop| {
        let (app, anchoring) = (App::clone(&state), Arc::clone(&anchoring));
        let chain_stop = chain_stop.clone();
        async move {
            follow::chain(App::clone(&app), reporter, stop.clone()).await?;
            if !stop.is_cancelled() {
                return Ok(());
            }
            if let Ok(block) = app.node.produce_now().await {
                tokio::task::spawn_blocking(move || anchoring.note(&block)).await?;
            }
            chain_stop.cancel();
            Ok(app.node.stopped().await?)
        }
    });
}

fn start_recorder(supervisor: &Supervisor, recordings: &Arc<Recordings>, machine: &Machine) {
    let plan =
        Plan { name: "recorder", need: Need::Required, beat_within: Some(RECORDER_BEATS_WITHIN) };
    let (recordings, machine) = (Arc::clone(recordings), machine.clone());
    supervisor.start(plan, move |reporter, stop| {
        Arc::clone(&recordings).run(machine.clone(), reporter, stop)
    });
}

/// Shows sources whose settings cannot be read; their recordings are not touched by that.
fn report_sources(supervisor: &Supervisor, damaged: &[SourcesError]) {
    let reporter = supervisor.register(optional("sources"));
    if damaged.is_empty() {
        return reporter.healthy();
    }
    let reasons: Vec<String> = damaged.iter().map(ToString::to_string).collect();
    reporter.degraded(reasons.join("; "));
}

fn start_purge(supervisor: &Supervisor, auth: &Arc<Auth>) {
    let auth = Arc::clone(auth);
    supervisor.start(optional("sign-in"), move |reporter, stop| {
        let auth = Arc::clone(&auth);
        async move {
            let mut tick = tokio::time::interval(PURGE_EVERY);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    _ = tick.tick() => {}
                }
                auth.purge().await?;
                reporter.healthy();
            }
        }
    });
}
