//! Recorded desktops as the daemon runs them: what is defined, what runs, who may come, and who is
//! there.
//!
//! `lucid_rdp` speaks RDP, holds X servers and decides; this keeps definitions and credentials,
//! opens sessions and their recordings, and drives everything with real time (`run`). A desktop is
//! started when its first client comes, and begins anew with each session.

mod connections;
mod definitions;
mod door;
mod entry;
mod error;
pub mod help;
mod issue;
mod launch;
mod picture;
pub mod policy;
mod power;
mod run;
mod session;

mod stored;
pub mod view;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid_evidence::SessionId;
use lucid_rdp::controller::State;
use lucid_rdp::credential::Register;
use lucid_rdp::desktop::{Definition, Ports};
use lucid_rdp::policy::Policy;
use lucid_rdp::server::RdpServer;
use lucid_store::Store;
use tokio::sync::Notify;

use entry::{Entry, view_of};
pub use error::DesktopsError;
pub use issue::Issued;
pub use launch::{keeper, unavailable};
pub use session::{Herald, Session, Unanswerable};
pub use stored::{Desktop, DesktopId, LimitsBody};

use crate::config;
use crate::events::{Events, Topic};
use crate::recordings::Recordings;
use crate::sources::Retention;
pub use launch::Usage;
use stored::Stored;
use view::DesktopView;

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
#[derive(Clone, Debug, Default)]
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
    /// What each running desktop took last, by its name.
    pub usage: Vec<(String, Usage)>,
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
        let last =
            |entry: &Entry| Some((entry.desktop.definition.name.clone(), *entry.usage.last()?));
        figures.usage = known.desktops.values().filter_map(last).collect();
        figures
    }

    /// Tells listeners how a desktop is.
    fn tell(&self, id: &DesktopId) {
        if let Ok(view) = self.view(id) {
            self.herald.events.publish(Topic::Desktop, &view);
        }
    }
}

/// Runs what may wait for the disk or for a process off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DesktopsError> + Send + 'static,
) -> Result<T, DesktopsError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(DesktopsError::Failed(error.to_string())))
}

#[cfg(test)]
mod tests;
