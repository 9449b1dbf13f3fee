//! Recorded desktops as the daemon runs them: what is defined, what runs, who may come, and who is
//! there.
//!
//! `lucid_rdp` speaks RDP, holds X servers and decides; this keeps definitions and credentials,
//! opens sessions and their recordings, and drives everything with real time (`run`). A desktop is
//! started when its first client comes, and begins anew with each session.

mod door;
mod entry;
mod error;
pub mod help;
mod issue;
mod launch;
mod picture;
pub mod policy;
mod run;
mod session;
mod stored;
pub mod view;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid_evidence::SessionId;
use lucid_evidence::manifest::EndReason;
use lucid_rdp::controller::{Ending, State, Timing};
use lucid_rdp::credential::Register;
use lucid_rdp::desktop::{DESKTOPS_MAX, Definition, Ports};
use lucid_rdp::policy::Policy;
use lucid_rdp::server::RdpServer;
use lucid_rdp::session::Endpoint;
use lucid_store::Store;
use tokio::sync::Notify;

use entry::{Entry, check_retention, view_of};
pub use error::DesktopsError;
pub use issue::Issued;
pub use launch::unavailable;
pub use session::{Herald, Session, Unanswerable};
pub use stored::{Desktop, DesktopId, LimitsBody};

use crate::config;
use crate::events::{Events, Topic};
use crate::http::time::now_us;
use crate::recordings::{Recordings, RecordingsError};
use crate::sources::Retention;
use launch::Running;
pub use launch::Usage;
use stored::Stored;
use view::{ApprovalView, ConnectionView, DesktopView};

/// Ports that other programs may take away from under a new desktop before it is given up.
const PORTS_LOST_MAX: usize = 16;

/// What an operator says of a new desktop.
pub struct NewDesktop {
    /// Name, size, command.
    pub definition: Definition,
    /// Of the machine.
    pub limits: LimitsBody,
    /// For credentials that name none.
    pub policy: Policy,
    /// Of its recordings.
    pub retention: Retention,
}

#[derive(Default)]
struct Known {
    desktops: BTreeMap<DesktopId, Entry>,
    ports: Ports,
    sessions: HashMap<SessionId, Arc<Session>>,
    /// Set while the daemon stops: nobody is let in any more.
    closed: bool,
}

/// What `/metrics` shows of desktops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Definitions.
    pub defined: usize,
    /// X servers.
    pub running: usize,
    /// Sessions by state, in the order of [`State::ALL`].
    pub sessions: [usize; State::ALL.len()],
    /// Clients of them, observers included.
    pub clients: usize,
    /// Requests that wait for an operator.
    pub approvals_waiting: usize,
    /// Sign-ins refused since the start.
    pub refused: u64,
    /// Sign-ins not looked at because too many failed before.
    pub slowed: u64,
    /// Limits that desktops came close to since the start.
    pub alerts: u64,
}

/// All desktops of the device.
pub struct Desktops {
    stored: Stored,
    config: config::Desktops,
    recorded_by: String,
    keys: std::path::PathBuf,
    recordings: Arc<Recordings>,
    herald: Arc<Herald>,
    known: Mutex<Known>,
    register: Mutex<Register>,
    server: Mutex<Option<RdpServer>>,
    /// Where the shared endpoint listens.
    shared: Mutex<Option<Result<SocketAddr, String>>>,
    /// Held while definitions change.
    change: Mutex<()>,
    clients: AtomicU64,
    refused: AtomicU64,
    slowed: AtomicU64,
    alerts: AtomicU64,
    /// Why there are none on this device.
    off: Option<String>,
    damaged: Vec<String>,
    runtime: tokio::runtime::Handle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Random bytes of the operating system.
fn fill(bytes: &mut [u8]) -> Result<(), DesktopsError> {
    getrandom::fill(bytes).map_err(|error| DesktopsError::Random(error.to_string()))
}

impl Desktops {
    /// Takes up what is stored. Credentials whose session ran when the daemon ended are used up:
    /// those sessions were closed, and are never continued.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub fn open(
        index: Arc<dyn Store>,
        keys: std::path::PathBuf,
        recordings: Arc<Recordings>,
        events: Events,
        config: config::Desktops,
        device_name: &str,
    ) -> Result<Self, DesktopsError> {
        let stored = Stored::new(index);
        let found = stored.read()?;
        let (register, ended) = Register::take_up(found.credentials);
        stored.put_credentials(&ended.iter().collect::<Vec<_>>(), &[])?;
        let mut known =
            Known { ports: Ports::new(config.ports.0, config.ports.1), ..Known::default() };
        for (id, desktop) in found.desktops {
            let mut entry = Entry::new(desktop);
            if let Err(error) = known.ports.take_exactly(entry.desktop.port) {
                entry.failed = Some(error.to_string());
            }
            known.desktops.insert(id, entry);
        }
        let recorded_by = config.recorded_by.clone().unwrap_or_else(|| device_name.to_owned());
        Ok(Self {
            stored,
            off: unavailable(&config),
            config,
            recorded_by,
            keys,
            recordings,
            herald: Arc::new(Herald { events, wake: Notify::new() }),
            known: Mutex::new(known),
            register: Mutex::new(register),
            server: Mutex::new(None),
            shared: Mutex::new(None),
            change: Mutex::new(()),
            clients: AtomicU64::new(1),
            refused: AtomicU64::new(0),
            slowed: AtomicU64::new(0),
            alerts: AtomicU64::new(0),
            damaged: found.damaged,
            runtime: tokio::runtime::Handle::current(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    fn on(&self) -> Result<(), DesktopsError> {
        self.off.clone().map_or(Ok(()), |why| Err(DesktopsError::Off(why)))
    }

    /// Why there are no desktops on this device, if so.
    pub fn off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    /// The port of the shared endpoint, where it listens.
    pub fn shared_port(&self) -> Option<u16> {
        lock(&self.shared).as_ref()?.as_ref().ok().map(SocketAddr::port)
    }

    /// All desktops, by age.
    pub fn list(&self) -> Vec<DesktopView> {
        let known = self.known();
        let mut entries: Vec<&Entry> = known.desktops.values().collect();
        entries.sort_by_key(|entry| (entry.desktop.created_us, entry.desktop.id.clone()));
        entries.into_iter().map(view_of).collect()
    }

    /// One desktop, by its id or its name.
    ///
    /// # Errors
    /// [`DesktopsError::NoSuch`].
    pub fn find(&self, text: &str) -> Result<Desktop, DesktopsError> {
        let known = self.known();
        let by_id = DesktopId::parse(text).and_then(|id| known.desktops.get(&id));
        let found =
            by_id.or_else(|| known.desktops.values().find(|e| e.desktop.definition.name == text));
        let found = found.map(|entry| entry.desktop.clone());
        found.ok_or_else(|| DesktopsError::NoSuch("desktop", text.to_owned()))
    }

    /// One desktop as the API shows it.
    ///
    /// # Errors
    /// [`DesktopsError::NoSuch`].
    pub fn view(&self, id: &DesktopId) -> Result<DesktopView, DesktopsError> {
        self.entry(id, |entry| view_of(entry))
    }

    fn entry<T>(
        &self,
        id: &DesktopId,
        look: impl FnOnce(&mut Entry) -> T,
    ) -> Result<T, DesktopsError> {
        let mut known = self.known();
        let entry = known.desktops.get_mut(id);
        entry.map(look).ok_or_else(|| DesktopsError::NoSuch("desktop", id.to_string()))
    }

    /// Sets a desktop up and opens its port. Blocks.
    ///
    /// # Errors
    /// The first field that does not fit, or what is full.
    pub fn create(&self, new: NewDesktop, owner: &str) -> Result<Desktop, DesktopsError> {
        self.on()?;
        new.definition.validate()?;
        launch::limits(&self.config, &new.limits).validate()?;
        check_retention(&new.retention)?;
        let _alone = lock(&self.change);
        let index = {
            let known = self.known();
            if known.desktops.len() >= DESKTOPS_MAX {
                return Err(DesktopsError::TooMany);
            }
            let name = &new.definition.name;
            if known.desktops.values().any(|e| e.desktop.definition.name == *name) {
                return Err(DesktopsError::NameTaken(name.clone()));
            }
            let used: Vec<u16> = known.desktops.values().map(|e| e.desktop.index).collect();
            free_index(&used)?
        };
        let id = DesktopId::random()?;
        let (port, listening) = self.take_port(&id)?;
        let desktop = Desktop {
            id,
            definition: new.definition,
            owner: owner.to_owned(),
            port,
            index,
            enabled: true,
            limits: new.limits,
            policy: new.policy,
            retention: new.retention,
            created_us: now_us(),
        };
        if let Err(error) = self.stored.put(&desktop) {
            self.close_port(&desktop.id);
            self.known().ports.give_back(port);
            return Err(error);
        }
        let mut entry = Entry::new(desktop.clone());
        entry.listening = listening.map(Ok);
        self.known().desktops.insert(desktop.id.clone(), entry);
        self.tell(&desktop.id);
        Ok(desktop)
    }

    /// Takes a port for a desktop and listens there, if the server runs. Another program may take
    /// a port between the look at it and that: then the next one is taken.
    fn take_port(&self, id: &DesktopId) -> Result<(u16, Option<SocketAddr>), DesktopsError> {
        let mut lost = Vec::new();
        loop {
            let at = self.config.address;
            let usable = |port| !lost.contains(&port) && self.bind(at, port).is_ok();
            let port = self.known().ports.take(usable)?;
            if lock(&self.server).is_none() {
                return Ok((port, None));
            }
            let endpoint = Endpoint::Desktop(id.to_string());
            match self.open_port(endpoint, (at, port).into()) {
                Ok(address) => return Ok((port, Some(address))),
                Err(why) if lost.len() < PORTS_LOST_MAX => {
                    tracing::info!(port, why, "a port was taken by another program");
                    self.known().ports.give_back(port);
                    lost.push(port);
                }
                Err(why) => {
                    self.known().ports.give_back(port);
                    return Err(DesktopsError::Failed(why));
                }
            }
        }
    }

    fn close_port(&self, id: &DesktopId) {
        if let Some(server) = &*lock(&self.server) {
            let _ended = server.close(Endpoint::Desktop(id.to_string()));
        }
    }

    /// Whether a port can be listened on now.
    fn bind(&self, at: IpAddr, port: u16) -> std::io::Result<()> {
        TcpListener::bind((at, port))
            .or_else(|error| match at.is_unspecified() && at.is_ipv6() {
                true => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
                false => Err(error),
            })
            .map(drop)
    }

    /// Changes a desktop. What a running session stands on changes with its next session. Blocks.
    ///
    /// # Errors
    /// What does not fit, or from the index.
    pub fn change(
        &self,
        id: &DesktopId,
        change: impl FnOnce(&mut Desktop) -> Result<(), DesktopsError>,
    ) -> Result<Desktop, DesktopsError> {
        let _alone = lock(&self.change);
        let mut desktop = self.entry(id, |entry| entry.desktop.clone())?;
        change(&mut desktop)?;
        desktop.definition.validate()?;
        launch::limits(&self.config, &desktop.limits).validate()?;
        check_retention(&desktop.retention)?;
        let name = &desktop.definition.name;
        let taken = |known: &Known| {
            known
                .desktops
                .values()
                .any(|e| e.desktop.definition.name == *name && e.desktop.id != *id)
        };
        if taken(&self.known()) {
            return Err(DesktopsError::NameTaken(name.clone()));
        }
        self.stored.put(&desktop)?;
        self.entry(id, |entry| entry.desktop = desktop.clone())?;
        self.tell(id);
        Ok(desktop)
    }

    /// Ends a desktop with its session, revokes what opens it, and forgets it.
    ///
    /// # Errors
    /// [`DesktopsError::NoSuch`], or from the index.
    pub async fn remove(self: &Arc<Self>, id: &DesktopId) -> Result<Desktop, DesktopsError> {
        self.stop(id).await?;
        let (this, id) = (Arc::clone(self), id.clone());
        blocking(move || {
            let _alone = lock(&this.change);
            this.revoke_all(&id)?;
            this.stored.remove(&id)?;
            let mut known = this.known();
            let entry = known.desktops.remove(&id);
            let entry = entry.ok_or_else(|| DesktopsError::NoSuch("desktop", id.to_string()))?;
            known.ports.give_back(entry.desktop.port);
            drop(known);
            // Whoever looks again finds it gone.
            this.herald.events.publish(Topic::Desktop, &view_of(&entry));
            Ok(entry.desktop)
        })
        .await
    }

    /// Opens its port and starts it; it goes on without anybody until it is stopped.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(self: &Arc<Self>, id: &DesktopId) -> Result<(), DesktopsError> {
        self.on()?;
        let gate = self.entry(id, |entry| Arc::clone(&entry.gate))?;
        let _alone = gate.lock().await;
        self.enable(id, true).await?;
        self.entry(id, |entry| entry.wanted = true)?;
        self.listen(id);
        self.bring_up(id).await.map(drop)
    }

    /// Closes its port, ends its session and stops it.
    ///
    /// # Errors
    /// From the index, or when its recording could not be closed in order.
    pub async fn stop(self: &Arc<Self>, id: &DesktopId) -> Result<(), DesktopsError> {
        let gate = self.entry(id, |entry| Arc::clone(&entry.gate))?;
        let _alone = gate.lock().await;
        self.enable(id, false).await?;
        self.close_port(id);
        let session = self.entry(id, |entry| {
            entry.wanted = false;
            entry.listening = None;
            entry.session
        })?;
        if let Some(session) = session.and_then(|session| self.session(session)) {
            session.end(Ending::Operator);
            self.close_session(&session).await?;
        }
        self.take_down(id).await;
        self.tell(id);
        Ok(())
    }

    async fn enable(self: &Arc<Self>, id: &DesktopId, enabled: bool) -> Result<(), DesktopsError> {
        let (this, id) = (Arc::clone(self), id.clone());
        blocking(move || {
            this.change(&id, |desktop| {
                desktop.enabled = enabled;
                Ok(())
            })
            .map(drop)
        })
        .await
    }

    /// Starts the X server and the session command, if they do not run. The gate is held.
    async fn bring_up(self: &Arc<Self>, id: &DesktopId) -> Result<Arc<Running>, DesktopsError> {
        if let Some(running) = self.entry(id, |entry| entry.running.clone())? {
            if running.is_up() {
                return Ok(running);
            }
            self.take_down(id).await;
        }
        let desktop = self.entry(id, |entry| {
            (entry.starting, entry.failed) = (true, None);
            entry.desktop.clone()
        })?;
        self.tell(id);
        let started = launch::start(&desktop, &self.config).await;
        let outcome = self.entry(id, |entry| {
            entry.starting = false;
            match started {
                Ok(running) => {
                    let running = Arc::new(running);
                    entry.running = Some(Arc::clone(&running));
                    Ok(running)
                }
                Err(why) => {
                    entry.failed = Some(why.clone());
                    Err(DesktopsError::Failed(why))
                }
            }
        })?;
        self.tell(id);
        outcome
    }

    /// Stops X server and programs. The gate is held.
    async fn take_down(&self, id: &DesktopId) {
        let running = self.entry(id, |entry| {
            entry.usage.clear();
            entry.running.take()
        });
        if let Ok(Some(running)) = running {
            running.stop().await;
        }
    }

    /// Ends a session whose controller has come to an end, and what belongs to it. The gate of its
    /// desktop is held.
    async fn close_session(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), DesktopsError> {
        let reason = match session.ending() {
            Some(Ending::Void) => EndReason::Void,
            Some(Ending::TooLong) => EndReason::Limit,
            Some(Ending::DesktopLost) => EndReason::SourceFailed,
            _ => EndReason::Stopped,
        };
        let (this, it) = (Arc::clone(self), Arc::clone(session));
        let closed = blocking(move || this.close_now(&it, reason)).await;
        let id = &session.desktop;
        let wanted = self.entry(id, |entry| {
            entry.session = entry.session.filter(|now| *now != session.id);
            entry.wanted
        });
        // Whoever comes next finds nothing of whoever was there.
        self.take_down(id).await;
        if wanted.unwrap_or(false)
            && let Err(error) = self.bring_up(id).await
        {
            tracing::warn!(desktop = %id, %error, "a desktop does not start again");
        }
        self.tell(id);
        closed
    }

    fn close_now(&self, session: &Arc<Session>, reason: EndReason) -> Result<(), DesktopsError> {
        session.unwatch_windows();
        let stopped = self.recordings.stop_desktop(session.id, reason);
        {
            let mut register = lock(&self.register);
            if let Some(credential) = register.session_over(session.id) {
                self.stored.put_credentials(&[credential], &[])?;
            }
        }
        self.known().sessions.remove(&session.id);
        self.herald.events.publish(Topic::Connection, &session.view());
        match stopped {
            Ok(()) | Err(RecordingsError::NotRecording(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A session that runs.
    pub fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.known().sessions.get(&id).cloned()
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> = self.known().sessions.values().cloned().collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    /// Sessions that run.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.sessions().iter().map(|session| session.view()).collect()
    }

    /// Requests of sessions that run, newest first.
    pub fn approvals(&self) -> Vec<ApprovalView> {
        let mut all: Vec<ApprovalView> =
            self.sessions().iter().flat_map(|session| session.approvals()).collect();
        all.sort_by_key(|view| std::cmp::Reverse(view.asked_at));
        all
    }

    /// Answers a request.
    ///
    /// # Errors
    /// When there is none that waits under this name.
    pub fn answer(&self, id: &str, grant: bool, by: &str) -> Result<ApprovalView, DesktopsError> {
        let unknown = || DesktopsError::NoSuch("approval", id.to_owned());
        let (session, number) = id.rsplit_once('.').ok_or_else(unknown)?;
        let session = session.parse().ok().and_then(|id| self.session(id)).ok_or_else(unknown)?;
        let number = number.parse().map_err(|_| unknown())?;
        session.answer(number, grant, by).map_err(|error| match error {
            Unanswerable::Unknown => unknown(),
            Unanswerable::Over => DesktopsError::Answered,
        })
    }

    /// Ends a session on behalf of an operator, and waits until it is stored.
    ///
    /// # Errors
    /// When it does not run, or could not be closed in order.
    pub async fn terminate(self: &Arc<Self>, id: SessionId) -> Result<(), DesktopsError> {
        let unknown = || DesktopsError::NoSuch("connection", id.to_string());
        let session = self.session(id).ok_or_else(unknown)?;
        let gate = self.entry(&session.desktop, |entry| Arc::clone(&entry.gate))?;
        let _alone = gate.lock().await;
        if self.session(id).is_none() {
            return Ok(());
        }
        session.end(Ending::Operator);
        self.close_session(&session).await
    }

    /// What the desktop's programs take, oldest first.
    ///
    /// # Errors
    /// [`DesktopsError::NoSuch`].
    pub fn usage(&self, id: &DesktopId) -> Result<Vec<Usage>, DesktopsError> {
        self.entry(id, |entry| entry.usage.clone())
    }

    /// How long recordings of each desktop are kept, by its id.
    pub fn retentions(&self) -> Vec<(String, Retention)> {
        let known = self.known();
        known.desktops.values().map(|e| (e.desktop.id.to_string(), e.desktop.retention)).collect()
    }

    /// Sessions that are being recorded.
    pub fn recording(&self) -> usize {
        self.sessions().iter().filter(|session| session.ending().is_none()).count()
    }

    /// What `/metrics` shows.
    pub fn figures(&self) -> Figures {
        let sessions = self.sessions();
        let mut figures = Figures {
            refused: self.refused.load(Ordering::Relaxed),
            slowed: self.slowed.load(Ordering::Relaxed),
            alerts: self.alerts.load(Ordering::Relaxed),
            ..Figures::default()
        };
        for session in &sessions {
            let (state, view) = (session.state(), session.view());
            if let Some(place) = State::ALL.iter().position(|one| *one == state) {
                figures.sessions[place] += 1;
            }
            figures.clients += view.clients.len();
            figures.approvals_waiting += view.approvals_waiting;
        }
        let known = self.known();
        figures.defined = known.desktops.len();
        figures.running = known.desktops.values().filter(|entry| entry.running.is_some()).count();
        figures
    }

    fn timing(&self) -> Timing {
        let us =
            |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Timing {
            notice_us: us(self.config.notice),
            idle_us: us(self.config.idle),
            grace_us: us(self.config.grace),
            longest_us: us(self.config.longest),
            ..Timing::default()
        }
    }

    /// Tells listeners how a desktop is.
    fn tell(&self, id: &DesktopId) {
        if let Ok(view) = self.view(id) {
            self.herald.events.publish(Topic::Desktop, &view);
        }
    }
}

/// A number that no other desktop has, drawn by lot: desktops of another data directory on this
/// machine have numbers too, and what runs as one number's users belongs to one desktop.
fn free_index(used: &[u16]) -> Result<u16, DesktopsError> {
    let mut random = [0; 2];
    fill(&mut random)?;
    let most = u16::try_from(DESKTOPS_MAX).unwrap_or(u16::MAX);
    let first = u16::from_be_bytes(random) % most;
    let all = (0..most).map(|step| (first + step) % most);
    all.into_iter().find(|index| !used.contains(index)).ok_or(DesktopsError::TooMany)
}

/// Runs what may wait for the disk or for a process off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DesktopsError> + Send + 'static,
) -> Result<T, DesktopsError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(DesktopsError::Failed(error.to_string())))
}
