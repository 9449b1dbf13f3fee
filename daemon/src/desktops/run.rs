//! The driver: listens, gives sessions the time, ends what is over, and ends everything when the
//! daemon stops.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lucid_evidence::manifest::EndReason;
use lucid_rdp::controller::Ending;
use lucid_rdp::event::EventKind;
use lucid_rdp::monitor::Alert;
use lucid_rdp::server::{Limits, RdpServer, ServerError};
use lucid_rdp::session::Endpoint;
use lucid_store::StoreError;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::{DesktopId, Desktops, DesktopsError, Session, blocking, lock};
use crate::events::Topic;
use crate::http::time::{Rfc3339, now_us};
use crate::http::tls;
use crate::supervisor::Reporter;

/// How often sessions are given the time.
const TICK: Duration = Duration::from_millis(250);
/// How often policies are compared with what is anchored, and figures are taken.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a port that could not be opened is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);
/// Figures kept of a desktop: ten minutes.
const USAGE_MAX: usize = 300;
/// Ports that are opened in one go; the server's thread takes them between.
const LISTEN_AT_ONCE: usize = 16;

/// What listeners are told of a desktop that comes close to a limit.
#[derive(serde::Serialize)]
struct DesktopAlert {
    at: Rfc3339,
    desktop_id: String,
    what: String,
}

impl Desktops {
    /// Runs everything until asked to stop, then ends every session in order.
    ///
    /// # Errors
    /// When the RDP server does not start.
    pub async fn run(
        self: Arc<Self>,
        host_names: Vec<String>,
        reporter: Reporter,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        if let Some(why) = self.off() {
            reporter.nothing_to_do(why);
            stop.cancelled().await;
            return Ok(());
        }
        let tls = tls::for_desktops(&self.keys, &host_names)?;
        let limits = Limits { clients: self.config.clients_max, ..Limits::default() };
        let server = RdpServer::start(tls, Arc::new(Door(Arc::clone(&self))), limits)?;
        *lock(&self.server) = Some(server);
        self.known().closed = false;
        let (mut listened, mut looked) = (None::<Instant>, Instant::now());
        while !stop.is_cancelled() {
            if listened.is_none_or(|at| at.elapsed() >= LISTEN_AGAIN) {
                self.listen_all().await;
                listened = Some(Instant::now());
            }
            self.report(&reporter);
            self.watch_programs().await;
            for session in self.sessions() {
                session.tick();
                if session.ending().is_none() && self.recordings.desktop_ended(session.id) {
                    session.end(self.how_it_ended(&session.desktop));
                }
                if session.ending().is_some() {
                    self.finish(&session).await;
                }
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                let this = Arc::clone(&self);
                tokio::task::spawn_blocking(move || this.look()).await?;
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = self.herald.wake.notified() => {}
                () = stop.cancelled() => {}
            }
        }
        self.end_all().await;
        Ok(())
    }

    /// The daemon's runtime, for what the RDP server's thread asks of it.
    pub(super) fn runtime(&self) -> tokio::runtime::Handle {
        self.runtime.clone()
    }

    fn report(&self, reporter: &Reporter) {
        let mut troubles: Vec<String> = Vec::new();
        if let Some(Err(why)) = &*lock(&self.shared) {
            troubles.push(format!("the shared endpoint does not listen: {why}"));
        }
        for (id, entry) in &self.known().desktops {
            if let Some(Err(why)) = &entry.listening {
                troubles.push(format!("{id} does not listen: {why}"));
            }
        }
        troubles.extend(self.damaged.iter().map(|what| format!("{what} is damaged")));
        match troubles.is_empty() {
            true => reporter.healthy(),
            false => reporter.degraded(troubles.join("; ")),
        }
    }

    async fn listen_all(&self) {
        let shared_missing = !matches!(&*lock(&self.shared), Some(Ok(_)));
        if let Some(address) = self.config.listen.filter(|_| shared_missing) {
            let listening = self.open_port(Endpoint::Shared, address);
            if let Err(why) = &listening {
                tracing::warn!(%address, why, "the shared endpoint of desktops does not listen");
            }
            *lock(&self.shared) = Some(listening);
        }
        let silent: Vec<DesktopId> = {
            let known = self.known();
            let silent = known.desktops.iter().filter(|(_, entry)| {
                entry.desktop.enabled && !matches!(entry.listening, Some(Ok(_)))
            });
            silent.map(|(id, _)| id.clone()).collect()
        };
        for few in silent.chunks(LISTEN_AT_ONCE) {
            for id in few {
                self.listen(id);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Opens a desktop's own port.
    pub(super) fn listen(&self, id: &DesktopId) {
        let Ok((port, silent)) =
            self.entry(id, |entry| (entry.desktop.port, !matches!(entry.listening, Some(Ok(_)))))
        else {
            return;
        };
        if !silent || lock(&self.server).is_none() {
            return;
        }
        let address = SocketAddr::from((self.config.address, port));
        let listening = self.open_port(Endpoint::Desktop(id.to_string()), address);
        if let Err(why) = &listening {
            tracing::warn!(desktop = %id, %address, why, "a desktop does not listen");
        }
        let _gone = self.entry(id, |entry| entry.listening = Some(listening));
    }

    /// Listens for an endpoint, and says where.
    pub(super) fn open_port(
        &self,
        endpoint: Endpoint,
        address: SocketAddr,
    ) -> Result<SocketAddr, String> {
        let server = lock(&self.server);
        let server = server.as_ref().ok_or("the server does not run")?;
        let mut opened = server.listen(endpoint.clone(), address);
        let everywhere = address.is_ipv6() && address.ip().is_unspecified();
        if matches!(opened, Err(ServerError::Listen { .. })) && everywhere {
            // A machine without IPv6; with it, the address above serves both.
            let all_of_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            opened = server.listen(endpoint, (all_of_v4, address.port()).into()).or(opened);
        }
        opened.map_err(|error| match &error {
            ServerError::Listen { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        })
    }

    /// Ends the sessions of desktops whose programs have ended.
    async fn watch_programs(self: &Arc<Self>) {
        let mut over = Vec::new();
        {
            let mut known = self.known();
            for (id, entry) in &mut known.desktops {
                let Some(running) = &entry.running else { continue };
                let (why, again) = (running.ended(), running.restarts());
                if entry.over == why {
                    continue;
                }
                entry.over.clone_from(&why);
                // With a session on it, it is the session that has ended.
                let stays = again || entry.desktop.definition.restart || entry.session.is_some();
                entry.failed = why.clone().filter(|_| !stays);
                over.extend(why.map(|why| (id.clone(), entry.session, why)));
            }
        }
        for (id, session, why) in over {
            tracing::warn!(desktop = %id, why, "a desktop has ended");
            if let Some(session) = session.and_then(|session| self.session(session)) {
                session.end(self.how_it_ended(&id));
                continue;
            }
            if self.entry(&id, |entry| entry.failed.is_some()).unwrap_or(false)
                && let Ok(gate) = self.entry(&id, |entry| Arc::clone(&entry.gate))
            {
                let _alone = gate.lock().await;
                self.take_down(&id).await;
            }
            self.tell(&id);
        }
    }

    /// How a session ends whose desktop is going or gone. A session command that ends is a worker
    /// who signs out; without its X server there is nothing left.
    pub(super) fn how_it_ended(&self, id: &DesktopId) -> Ending {
        let why = self.entry(id, |entry| entry.running.as_ref().and_then(|it| it.ended()));
        match why.ok().flatten() {
            Some(why) if why.starts_with("the session command ended") => Ending::LoggedOut,
            _ => Ending::DesktopLost,
        }
    }

    async fn finish(self: &Arc<Self>, session: &Arc<Session>) {
        let Ok(gate) = self.entry(&session.desktop, |entry| Arc::clone(&entry.gate)) else {
            return;
        };
        let _alone = gate.lock().await;
        if self.session(session.id).is_none() {
            return;
        }
        if let Err(error) = self.close_session(session).await {
            tracing::error!(session = %session.id, %error, "not closed in order");
        }
    }

    /// Holds sessions to their anchored policies and takes figures. Blocks.
    fn look(&self) {
        for session in self.sessions() {
            match self.stored.credential(session.id) {
                Ok(Some(credential)) => session.hold_to(&credential.policy),
                // Bytes that were altered below the index are as good as none.
                Ok(None) | Err(StoreError::Damaged { .. }) => {
                    tracing::error!(session = %session.id, "its policy is gone");
                    session.note(EventKind::Alert { what: "the stored policy is gone".into() });
                    session.end(Ending::Void);
                }
                // Not read is not changed; the index says itself that it fails.
                Err(error) => tracing::warn!(session = %session.id, %error, "policy not read"),
            }
        }
        let running: Vec<_> = {
            let known = self.known();
            let of = |(id, entry): (&DesktopId, &super::Entry)| {
                entry.running.clone().map(|running| (id.clone(), running))
            };
            known.desktops.iter().filter_map(of).collect()
        };
        for (id, running) in running {
            let (usage, alerts) = running.look(Rfc3339::from_us(now_us()));
            self.alert(&id, &alerts);
            let _gone = self.entry(&id, |entry| {
                let (now, counted) = (Instant::now(), entry.counters.now());
                let (then, before) = std::mem::replace(&mut entry.counted, (now, counted));
                let usage = usage.with_wire(&before, &counted, now - then);
                if entry.usage.len() >= USAGE_MAX {
                    entry.usage.remove(0);
                }
                entry.usage.push(usage);
            });
        }
    }

    /// Tells whoever should know that a desktop comes close to a limit.
    fn alert(&self, id: &DesktopId, alerts: &[Alert]) {
        let session = self.entry(id, |entry| entry.session).ok().flatten();
        let session = session.and_then(|session| self.session(session));
        for alert in alerts {
            tracing::warn!(desktop = %id, %alert, "a desktop comes close to a limit");
            self.alerts.fetch_add(1, Ordering::Relaxed);
            if let Some(session) = &session {
                session.note(alert.event());
            }
            let (desktop_id, what) = (id.to_string(), alert.to_string());
            let told = DesktopAlert { at: Rfc3339::from_us(now_us()), desktop_id, what };
            self.herald.events.publish(Topic::DesktopAlert, &told);
        }
    }

    async fn end_all(self: &Arc<Self>) {
        self.known().closed = true;
        let sessions = self.sessions();
        for session in &sessions {
            session.end(Ending::Shutdown);
        }
        let this = Arc::clone(self);
        let ended = blocking(move || {
            for session in sessions {
                if let Err(error) = this.close_now(&session, EndReason::Shutdown) {
                    tracing::error!(session = %session.id, %error, "not closed in order");
                }
            }
            Ok::<(), DesktopsError>(())
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "desktops were not ended in order");
        }
        let ids: Vec<DesktopId> = self.known().desktops.keys().cloned().collect();
        let mut stopping = tokio::task::JoinSet::new();
        for id in ids {
            let this = Arc::clone(self);
            stopping.spawn(async move {
                let _gone = this.entry(&id, |entry| {
                    entry.session = None;
                    entry.listening = None;
                });
                this.take_down(&id).await;
            });
        }
        while stopping.join_next().await.is_some() {}
        // With it go its thread, its listeners and who is still connected.
        *lock(&self.server) = None;
        *lock(&self.shared) = None;
    }
}
