//! The keeper's side: takes orders of one user, and runs desktops.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::packets;
use super::{Answer, Order, Request, Settings};
use crate::identity::SESSION_UID_FIRST;
use crate::programs::{Life, Owner, Programs as _, Setup, State};
use crate::{DESKTOPS_MAX, RunAs, Running, sentence};

/// Most connections at a time: all desktops, and some that only ask.
const CONNECTIONS_MAX: usize = DESKTOPS_MAX + 16;
/// How long a number may still be in use by a connection that has just ended.
const NUMBER_TIME: Duration = Duration::from_secs(20);
/// How long the daemon may take to prepare a display.
const PREPARE_TIME: Duration = Duration::from_secs(60);
/// Most files of a connection that can be taken away again.
const MADE_MAX: usize = 256;

/// Why the keeper cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No more connections.
    #[error("cannot take connections")]
    Accept(#[source] std::io::Error),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all connections share.
struct Service {
    settings: Settings,
    /// Who may ask.
    user: u32,
    /// Numbers that are in use, and whether the desktop is up.
    numbers: Mutex<BTreeMap<u16, bool>>,
    freed: Condvar,
    connections: Mutex<usize>,
}

/// Serves everybody who connects, but does only what user `user` asks. Does not return.
///
/// # Errors
/// When the socket fails.
pub fn serve(listener: &OwnedFd, settings: Settings, user: u32) -> Result<(), ServiceError> {
    let service = Arc::new(Service {
        settings,
        user,
        numbers: Mutex::default(),
        freed: Condvar::new(),
        connections: Mutex::new(0),
    });
    loop {
        let socket = match packets::accept(listener) {
            Ok(socket) => Arc::new(socket),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(ServiceError::Accept(error)),
        };
        if let Err(why) = service.admit(&socket) {
            tracing::warn!(why, "a connection is refused");
            let _ = packets::send(&socket, &Answer::NotStarted(why).encode(), None);
            continue;
        }
        let of_thread = service.clone();
        *lock(&service.connections) += 1;
        let spawned = std::thread::Builder::new().name("connection".into()).spawn(move || {
            Connection { service: of_thread.clone(), socket, held: None }.serve();
            *lock(&of_thread.connections) -= 1;
        });
        if let Err(error) = spawned {
            *lock(&service.connections) -= 1;
            tracing::error!(%error, "no thread for a connection");
        }
    }
}

impl Service {
    fn admit(&self, socket: &OwnedFd) -> Result<(), String> {
        let peer = packets::peer(socket).map_err(|error| error.to_string())?;
        if peer != self.user {
            let Settings { user, .. } = &self.settings;
            return Err(format!(
                "it serves user {user} ({}), and user {peer} asks; `user` in {} says whom",
                self.user,
                super::SETTINGS
            ));
        }
        match *lock(&self.connections) < CONNECTIONS_MAX {
            true => Ok(()),
            false => Err(format!("{CONNECTIONS_MAX} connections are open; stop a desktop")),
        }
    }

    /// Takes a number, once the desktop that had it is gone.
    fn take(&self, index: u16) -> Result<(), String> {
        let numbers = lock(&self.numbers);
        let in_use = |numbers: &mut BTreeMap<u16, bool>| numbers.contains_key(&index);
        let waited = self.freed.wait_timeout_while(numbers, NUMBER_TIME, in_use);
        let (mut numbers, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(format!("desktop {index} runs already; stop it first"));
        }
        let most = self.settings.desktops_max;
        if numbers.len() >= most {
            return Err(format!(
                "{most} desktops run; stop one or raise desktops_max in {}",
                super::SETTINGS
            ));
        }
        numbers.insert(index, false);
        Ok(())
    }

    /// Destroys what all workers kept. Nobody starts meanwhile.
    fn erase_homes(&self) -> std::io::Result<()> {
        let numbers = lock(&self.numbers);
        if !numbers.is_empty() {
            return Err(std::io::Error::other("desktops run; stop them first"));
        }
        let homes = match std::fs::read_dir(&self.settings.home) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            homes => homes?,
        };
        for home in homes {
            // It follows no link.
            std::fs::remove_dir_all(home?.path())?;
        }
        tracing::warn!("all homes of desktops are destroyed");
        Ok(())
    }

    fn give_back(&self, index: u16) {
        lock(&self.numbers).remove(&index);
        self.freed.notify_all();
    }
}

/// One connection.
struct Connection {
    service: Arc<Service>,
    socket: Arc<OwnedFd>,
    held: Option<Held>,
}

/// The desktop of a connection.
struct Held {
    index: u16,
    host: Arc<Host>,
    /// Wakes the desktop's thread, which waits for its display to be prepared.
    prepared: Option<SyncSender<Option<String>>>,
    starting: Option<JoinHandle<()>>,
    /// Names of files made here.
    made: Vec<String>,
}

/// Tells the daemon of its desktop.
struct Host {
    service: Arc<Service>,
    index: u16,
    socket: Arc<OwnedFd>,
    prepared: Mutex<Receiver<Option<String>>>,
    life: Mutex<Option<Life>>,
    running: Mutex<Option<Arc<Running>>>,
}

impl Host {
    fn tell(&self, answer: &Answer) -> std::io::Result<()> {
        packets::send(&self.socket, &answer.encode(), None)
    }
}

impl Owner for Host {
    fn ready(&self, life: &Life) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        *lock(&self.life) = Some(life.clone());
        let Life { display, cookie, files, .. } = life.clone();
        self.tell(&Answer::Server { display, cookie, files })?;
        match lock(&self.prepared).recv_timeout(PREPARE_TIME) {
            Ok(None) => Ok(()),
            Ok(Some(refused)) => Err(refused.into()),
            Err(_) => Err("the daemon does not prepare the display".into()),
        }
    }

    fn ending(&self, reason: &str) {
        let _ = self.tell(&Answer::Ending(reason.to_owned()));
    }

    fn changed(&self, state: &State) {
        if let Some(up) = lock(&self.service.numbers).get_mut(&self.index) {
            *up = *state == State::Running;
        }
        if *state != State::Running {
            *lock(&self.life) = None;
        }
        let _ = self.tell(&Answer::Changed(state.clone()));
    }
}

impl Connection {
    fn serve(mut self) {
        loop {
            let packet = match packets::receive(&self.socket) {
                Ok(Some((packet, _))) => packet,
                Ok(None) => break,
                Err(error) => {
                    self.refuse(error.to_string());
                    break;
                }
            };
            // Whoever asks what cannot be asked is not asked again.
            let request = match Request::decode(&packet) {
                Ok(request) => request,
                Err(error) => {
                    self.refuse(error.to_string());
                    break;
                }
            };
            if self.answer(request).is_err() {
                break;
            }
        }
        self.close();
    }

    fn refuse(&self, why: String) {
        tracing::warn!(why, "a request is refused, and its connection closed");
        let _ = self.send(&Answer::Failed { exists: false, why: why.clone() });
        let _ = self.send(&Answer::NotStarted(why));
    }

    fn send(&self, answer: &Answer) -> std::io::Result<()> {
        packets::send(&self.socket, &answer.encode(), None)
    }

    fn answer(&mut self, request: Request) -> std::io::Result<()> {
        let answered = match request {
            Request::Start(order) => {
                return match self.start(*order) {
                    Ok(()) => Ok(()),
                    Err(why) => self.send(&Answer::NotStarted(why)),
                };
            }
            Request::Prepared { refused } => {
                if let Some(prepared) = self.held.as_ref().and_then(|held| held.prepared.as_ref()) {
                    let _ = prepared.try_send(refused);
                }
                return Ok(());
            }
            Request::List => {
                let numbers = lock(&self.service.numbers);
                Ok(Answer::List(numbers.iter().map(|(index, up)| (*index, *up)).collect()))
            }
            Request::EraseHomes => self.service.erase_homes().map(|()| Answer::Done),
            Request::Stop => self.running().map(|running| {
                running.stop();
                Answer::Done
            }),
            Request::End { reason } => self.running().map(|running| {
                running.end(reason);
                Answer::Done
            }),
            Request::Usage => self.running().map(|running| Answer::Usage(running.usage())),
            Request::IsAskedSecretly => {
                self.life().map(|life| Answer::Flag(life.reach.is_asked_secretly()))
            }
            Request::RemoveFile { name } => self.remove(&name),
            Request::Connect => {
                return self.hand(|held| Ok(held.life()?.reach.connect()?.into()));
            }
            Request::Sound => return self.hand(|held| held.life()?.reach.sound()),
            Request::OpenFile { relative } => {
                return self.hand(|held| {
                    let file = held.life()?.reach.open_file(&relative)?;
                    held.is_workers(&file)?;
                    Ok(file.into())
                });
            }
            Request::CreateFile { name } => {
                return self.hand(|held| {
                    let file = held.life()?.reach.create_file(&name)?;
                    if held.made.len() >= MADE_MAX {
                        held.made.remove(0);
                    }
                    held.made.push(name);
                    Ok(file.into())
                });
            }
        };
        let failed =
            |error: std::io::Error| Answer::Failed { exists: false, why: error.to_string() };
        self.send(&answered.unwrap_or_else(failed))
    }

    fn hand(
        &mut self,
        make: impl FnOnce(&mut Held) -> std::io::Result<OwnedFd>,
    ) -> std::io::Result<()> {
        match self.held.as_mut().ok_or_else(not_running).and_then(make) {
            Ok(fd) => packets::send(&self.socket, &Answer::Done.encode(), Some(fd.as_fd())),
            Err(error) => {
                let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
                self.send(&Answer::Failed { exists, why: error.to_string() })
            }
        }
    }

    fn running(&self) -> std::io::Result<Arc<Running>> {
        let held = self.held.as_ref().ok_or_else(not_running)?;
        lock(&held.host.running).clone().ok_or_else(not_running)
    }

    fn life(&self) -> std::io::Result<Life> {
        self.held.as_ref().ok_or_else(not_running)?.life()
    }

    fn remove(&mut self, name: &str) -> std::io::Result<Answer> {
        let held = self.held.as_mut().ok_or_else(not_running)?;
        let at = held.made.iter().position(|made| made == name);
        let at = at.ok_or_else(|| std::io::Error::other("the file was not made here"))?;
        held.made.remove(at);
        held.life()?.reach.remove_file(name)?;
        Ok(Answer::Done)
    }

    /// Starts a desktop on a thread of its own: meanwhile its display is prepared over this
    /// connection.
    fn start(&mut self, order: Order) -> Result<(), String> {
        if self.held.is_some() {
            return Err("this connection has a desktop already".into());
        }
        self.service.settings.allow(&order)?;
        let index = order.index;
        self.service.take(index)?;
        let places = self.service.settings.places(&order);
        let mut setup = Setup::new(order.definition, places, index);
        setup.limits = order.limits;
        setup.run_as = RunAs::Own { index };
        let (prepared, wait) = sync_channel(1);
        let host = Arc::new(Host {
            service: self.service.clone(),
            index,
            socket: self.socket.clone(),
            prepared: Mutex::new(wait),
            life: Mutex::default(),
            running: Mutex::default(),
        });
        let of_thread = host.clone();
        let starting =
            std::thread::Builder::new().name(format!("start {index}")).spawn(move || {
                let owner: Arc<dyn Owner> = of_thread.clone();
                let answer = match Running::start_patiently(&setup, &owner) {
                    Ok(running) => {
                        *lock(&of_thread.running) = Some(Arc::new(running));
                        let home = setup.places.home.display();
                        tracing::info!(index, %home, "a desktop runs");
                        Answer::Started
                    }
                    Err(error) => Answer::NotStarted(sentence(&error)),
                };
                let _ = of_thread.tell(&answer);
            });
        let failed = starting.as_ref().err().map(|error| format!("no thread: {error}"));
        let (prepared, made) = (Some(prepared), Vec::new());
        self.held = Some(Held { index, host, prepared, starting: starting.ok(), made });
        failed.map_or(Ok(()), Err)
    }

    /// All of the desktop ends with its connection.
    fn close(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        // Whoever waits for the daemon waits no more.
        held.prepared = None;
        if let Some(starting) = held.starting.take() {
            let _ = starting.join();
        }
        drop(lock(&held.host.running).take());
        self.service.give_back(held.index);
        tracing::info!(index = held.index, "a desktop is gone");
    }
}

impl Held {
    fn life(&self) -> std::io::Result<Life> {
        lock(&self.host.life).clone().ok_or_else(not_running)
    }

    /// Only plain files of the desktop's own user, with one name, leave it.
    fn is_workers(&self, file: &File) -> std::io::Result<()> {
        let found = file.metadata()?;
        let user = SESSION_UID_FIRST + u32::from(self.index);
        match found.is_file() && found.nlink() == 1 && found.uid() == user {
            true => Ok(()),
            false => Err(std::io::Error::other("not a plain file of the desktop's own")),
        }
    }
}

fn not_running() -> std::io::Error {
    std::io::Error::other("the desktop does not run")
}
