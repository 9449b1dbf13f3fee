//! A desktop that runs: its X server, its session command, and the end of both.
//!
//! One thread per desktop starts both, sleeps until one of them ends or somebody orders the end,
//! and then ends everything that belongs to the desktop. A desktop is never patched up: whichever
//! of the two ends, all of it ends, and if so defined a fresh one is started after a pause.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lucid_capture::encoded::EncodedFeed;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::identity::{Identity, IdentityError, RunAs};
use super::launcher::{CommandLine, Launcher, Missing};
use super::limits::{LimitError, Limits};
use super::places::{PlaceError, Places, give};
use super::processes::{MARK, Membership};
use super::session_command::{NoTerminal, default_command};
use super::sound::{self, SoundOut};
use super::usage::{Usage, UsageMeter};
use super::xauthority::{self, COOKIE_BYTES};
use super::xserver::{ServerKind, XServer, XServerError, XServerOptions};
use super::{Definition, DefinitionError, PATH, launcher};
use crate::monitor::{Look, Monitor};
use crate::secrecy::Secrecy;
use crate::server::display;
use crate::server::xconnection::XError;
use crate::session::RunningDesktop;

/// The pause before the first new start; each further one doubles it.
pub const RESTART_FIRST: Duration = Duration::from_secs(1);
/// The longest pause before a new start.
pub const RESTART_LONGEST: Duration = Duration::from_secs(60);
/// A desktop that lived as long counts as sound: the next pause is the first again.
pub const RESTART_SOUND: Duration = Duration::from_secs(60);
/// How long the X server outlives a session command that has ended, unless its end is ordered
/// before: what records it ends in order meanwhile.
pub const WIND_DOWN: Duration = Duration::from_secs(2);
/// New starts in a row after which a desktop that does not become sound is given up.
pub const RESTARTS_MAX: u32 = 8;

/// Columns and rows that a desktop can grow to, if it is not defined larger. A screen in memory
/// takes
/// 4 bytes for each pixel of its room.
pub const ROOM: (u32, u32) = (2560, 1600);

/// Everything that says how a desktop runs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What it is.
    pub definition: Definition,
    /// What it may take.
    pub limits: Limits,
    /// Where its files lie.
    pub places: Places,
    /// What holds it to its limits.
    pub launcher: Launcher,
    /// As whom its programs run.
    pub run_as: RunAs,
    /// Its X server.
    pub server: ServerKind,
    /// How long the X server may take to be ready.
    pub start_timeout: Duration,
    /// How long programs may take to end when they are asked to.
    pub grace: Duration,
}

impl Setup {
    /// A desktop with default limits, the best launcher and user this machine allows, Xvfb, 30 s to
    /// start and 3 s to end. `index` is its place among all desktops, no other's.
    pub fn new(definition: Definition, places: Places, index: u16) -> Self {
        Setup {
            definition,
            limits: Limits::default(),
            places,
            launcher: Launcher::detect(),
            run_as: RunAs::best(index),
            server: ServerKind::default(),
            start_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(3),
        }
    }
}

/// Why a desktop does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What it is.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Its limits.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// As whom.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its directories.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A program that is missing.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// No default session.
    #[error(transparent)]
    NoTerminal(#[from] NoTerminal),
    /// Its X server.
    #[error(transparent)]
    Server(#[from] XServerError),
    /// Its X server does not take the size.
    #[error("the X server of a desktop does not take {width} x {height} pixels")]
    Size {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
        /// What the server says.
        #[source]
        source: XError,
    },
    /// What an earlier life of this desktop left cannot be ended.
    #[error("{count} processes of desktop {name} cannot be ended; restart the machine")]
    Leftovers {
        /// The desktop.
        name: String,
        /// How many.
        count: usize,
    },
    /// The unit in which it should run is not there.
    #[error("systemd made no unit for desktop {name}")]
    NoUnit {
        /// The desktop.
        name: String,
    },
    /// The operating system.
    #[error("cannot {what} for desktop {name}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The desktop.
        name: String,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// How a desktop stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It ended by itself and is started again after a pause.
    Restarting {
        /// Why it ended.
        reason: String,
        /// Which new start in a row this is, from 1.
        attempt: u32,
    },
    /// It was stopped.
    Stopped,
    /// It ended by itself and is not started again.
    Ended {
        /// Why.
        reason: String,
    },
}

impl State {
    /// The stable name.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Running => "running",
            State::Restarting { .. } => "restarting",
            State::Stopped => "stopped",
            State::Ended { .. } => "ended",
        }
    }

    /// Whether it stays so.
    pub fn is_final(&self) -> bool {
        matches!(self, State::Stopped | State::Ended { .. })
    }
}

/// A running desktop. Everything of it ends, without grace, when it is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Seen by the desktop's thread and by its owner.
#[derive(Debug)]
struct Shared {
    /// Readable when the end is ordered.
    stop: OwnedFd,
    life: Mutex<Option<Life>>,
    meter: Mutex<UsageMeter>,
    monitor: Mutex<Monitor>,
    /// Why it is ended, if not because it was stopped.
    reason: Mutex<Option<String>>,
    /// Why its present life ends, from the moment at which that is known.
    ending: Mutex<Option<String>>,
}

/// What is known of a desktop from one start to its end.
#[derive(Debug, Clone)]
struct Life {
    desktop: RunningDesktop,
    members: Membership,
}

impl Running {
    /// Starts a desktop and returns when its X server takes connections and its session command
    /// was started. Blocks so long, at most the start's timeout and a moment.
    ///
    /// # Errors
    /// Why it does not start. Nothing is left then.
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        let name = setup.definition.name.clone();
        let failed = |what| {
            let name = name.clone();
            move |source| StartError::System { what, name, source }
        };
        setup.definition.validate()?;
        setup.limits.validate()?;
        setup.launcher.check()?;
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let identity = setup.run_as.resolve(rustix::process::geteuid().as_raw(), &passwd)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| failed("make an event")(error.into()))?;
        let meter = Mutex::new(UsageMeter::new(setup.places.home.clone()));
        let held = setup.launcher == Launcher::Systemd;
        let monitor = Mutex::new(Monitor::new(setup.limits, held));
        let (life, reason, ending) = Default::default();
        let shared = Arc::new(Shared { stop, life, meter, monitor, reason, ending });
        let (first, started) = std::sync::mpsc::sync_channel(1);
        let (tell, state) = watch::channel(State::Running);
        let of_thread = shared.clone();
        // What the thread starts ends with the thread: it must live as long as the desktop.
        let thread = std::thread::Builder::new()
            .name(format!("desktop {name}"))
            .spawn(move || Keeper { setup, identity, shared: of_thread, tell }.run(first))
            .map_err(failed("start a thread"))?;
        let running = Running { shared, state, thread: Mutex::new(Some(thread)) };
        match started.recv() {
            Ok(Ok(())) => Ok(running),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(failed("start a thread")(std::io::ErrorKind::Other.into())),
        }
    }

    /// The desktop as the wire and the recorder reach it; none while it does not run. After a new
    /// start it is another.
    pub fn desktop(&self) -> Option<RunningDesktop> {
        self.shared.life().as_ref().map(|life| life.desktop.clone())
    }

    /// Why it is ending by itself, before its X server goes and [`State`] says so.
    pub fn ending(&self) -> Option<String> {
        self.shared.ending().clone()
    }

    /// How it stands, and when that changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What it takes now. Costs a look at the machine's processes, or at its control group.
    pub fn usage(&self) -> Usage {
        let members = self.shared.life().as_ref().map(|life| life.members.clone());
        let mut meter = self.shared.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.measure(members.as_ref(), Instant::now())
    }

    /// Measures, tells which limits are reached, and ends the desktop if it has been over one for
    /// [`crate::monitor::LOOKS_OVER`] looks that nothing else holds it to. To be called every
    /// [`crate::monitor::LOOK_INTERVAL`].
    pub fn look(&self) -> Look {
        let usage = self.usage();
        let mut monitor = self.shared.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        let look = monitor.look(usage);
        if let Some(alert) = &look.over {
            self.end(format!("over its limit ({alert})"));
        }
        look
    }

    /// Orders the end for a reason, as if the desktop had ended by itself: it is started again if
    /// so defined. Does not wait.
    pub fn end(&self, reason: String) {
        *self.shared.reason() = Some(reason);
        self.shared.order_end(1);
    }

    /// Orders the end and waits for it: programs are asked, and killed after the grace. Blocks.
    pub fn stop(&self) {
        *self.shared.reason() = None;
        self.shared.order_end(1);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a desktop failed");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.shared.reason() = None;
        self.shared.order_end(HURRY);
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

/// An order from here on leaves no time.
const HURRY: u64 = 1 << 32;

impl Shared {
    fn life(&self) -> std::sync::MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order_end(&self, how: u64) {
        let _ = rustix::io::write(&self.stop, &how.to_ne_bytes());
    }
}

/// Why one life of a desktop was over.
enum End {
    Ordered { hurry: bool },
    Itself(String),
}

/// The desktop's thread.
struct Keeper {
    setup: Setup,
    identity: Identity,
    shared: Arc<Shared>,
    tell: watch::Sender<State>,
}

/// What runs, held by the thread.
struct Started {
    server: XServer,
    session: Child,
    /// The session alone, which is asked to end while its X server is still there.
    session_members: Membership,
    members: Membership,
    /// Heard as long as the desktop runs.
    _sound: Option<SoundOut>,
}

impl Keeper {
    fn run(self, first: SyncSender<Result<(), StartError>>) {
        let mut first = Some(first);
        let mut attempt = 0;
        loop {
            let began = Instant::now();
            let end = match self.launch() {
                Ok(started) => {
                    self.tell.send_replace(State::Running);
                    if let Some(first) = first.take() {
                        let _ = first.send(Ok(()));
                    }
                    self.keep(started)
                }
                Err(error) => {
                    self.setup.places.remove_runtime();
                    if let Some(first) = first.take() {
                        let _ = first.send(Err(error));
                        return;
                    }
                    End::Itself(sentence(&error))
                }
            };
            let reason = match end {
                End::Ordered { .. } => {
                    self.tell.send_replace(State::Stopped);
                    return;
                }
                End::Itself(reason) => reason,
            };
            let name = &self.setup.definition.name;
            tracing::warn!(desktop = %name, %reason, "desktop ended");
            attempt = if began.elapsed() >= RESTART_SOUND { 1 } else { attempt + 1 };
            if !self.setup.definition.restart || attempt > RESTARTS_MAX {
                self.tell.send_replace(State::Ended { reason });
                return;
            }
            self.tell.send_replace(State::Restarting { reason, attempt });
            let ordered = self.pause(restart_pause(attempt)).is_some();
            // A reason for the end of what does not run is none.
            if ordered && self.shared.reason().take().is_none() {
                self.tell.send_replace(State::Stopped);
                return;
            }
        }
    }

    fn failed(&self, what: &'static str) -> impl Fn(std::io::Error) -> StartError + use<'_> {
        move |source| {
            let name = self.setup.definition.name.clone();
            StartError::System { what, name, source }
        }
    }

    fn launch(&self) -> Result<Started, StartError> {
        let (setup, identity) = (&self.setup, &self.identity);
        let script = match &setup.definition.command {
            Some(command) => command.clone(),
            None => default_command(|name| launcher::found(name).is_some())?,
        };
        self.end_leftovers()?;
        setup.places.prepare(identity)?;
        let mut cookie = Zeroizing::new([0; COOKIE_BYTES]);
        random(&mut *cookie).map_err(self.failed("make a cookie"))?;
        let server = XServer::start(&self.server_options(), &cookie)?;
        let cgroup = server.cgroup();
        if setup.launcher == Launcher::Systemd && cgroup.is_none() {
            return Err(StartError::NoUnit { name: setup.definition.name.clone() });
        }
        let authority = setup.places.authority();
        xauthority::write(&authority, &cookie)
            .and_then(|()| give(&authority, identity.session))
            .map_err(self.failed("write the X authority"))?;
        let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX);
        let Definition { name, width, height, .. } = &setup.definition;
        let size = (side(*width), side(*height));
        // Before the first program looks at it.
        resize_to(server.number(), &cookie[..], size)?;
        let sound = SoundOut::prepare(&setup.places.runtime, identity.session);
        let sound = sound
            .inspect_err(|error| tracing::warn!(desktop = %name, %error, "a desktop is silent"))
            .ok();
        let mut session = self.session_command(&script, &server, cgroup.as_deref());
        if let Some(sound) = &sound {
            session.env(sound::CLIENT_CONFIG, sound.client_config());
        }
        let session = session.spawn().map_err(self.failed("start the session"))?;
        let session_members = Membership {
            cgroup: None,
            groups: vec![session.id()],
            ..self.left_behind(identity.session)
        };
        let mut members = Membership { cgroup, ..session_members.clone() };
        members.groups.push(server.pid());
        members.users.extend(identity.server.map(|ids| ids.uid));
        let daemon = rustix::process::geteuid().as_raw();
        let user = identity.session.map_or(daemon, |ids| ids.uid);
        let desktop = RunningDesktop {
            display: server.number(),
            cookie: Zeroizing::new(cookie.to_vec()),
            name: name.clone(),
            width: size.0,
            height: size.1,
            files: Some(setup.places.transfers()),
            secrecy: Arc::new(Secrecy::of_user(user)),
            encoded: EncodedFeed::default(),
            sound: sound.as_ref().map(SoundOut::feed),
        };
        *self.shared.ending() = None;
        *self.shared.life() = Some(Life { desktop, members: members.clone() });
        Ok(Started { server, session, session_members, members, _sound: sound })
    }

    /// What can be told of an earlier life's processes: their user or their mark.
    fn left_behind(&self, session: Option<super::identity::Ids>) -> Membership {
        let users: Vec<u32> = match self.identity.exclusive {
            true => session.into_iter().map(|ids| ids.uid).collect(),
            false => Vec::new(),
        };
        // A user of its own says it all, and no environment needs to be read.
        let mark = if users.is_empty() { self.mark() } else { String::new() };
        Membership { cgroup: None, groups: Vec::new(), users, mark }
    }

    fn mark(&self) -> String {
        self.setup.places.runtime.to_string_lossy().into_owned()
    }

    /// Ends what a daemon that was killed could not.
    fn end_leftovers(&self) -> Result<(), StartError> {
        let mut members = self.left_behind(self.identity.session);
        members.users.extend(self.identity.server.map(|ids| ids.uid));
        match members.end(Duration::ZERO) {
            0 => Ok(()),
            count => {
                let name = self.setup.definition.name.clone();
                Err(StartError::Leftovers { name, count })
            }
        }
    }

    fn server_options(&self) -> XServerOptions {
        let setup = &self.setup;
        let Definition { width, height, .. } = setup.definition;
        let (width, height) = match setup.server {
            // Its first screen is all the room it ever has.
            ServerKind::Xvfb => (width.max(ROOM.0), height.max(ROOM.1)),
            ServerKind::Xorg => (width, height),
        };
        XServerOptions {
            kind: setup.server,
            program: setup.server.program(),
            width,
            height,
            authority: setup.places.server_authority(),
            start_timeout: setup.start_timeout,
            launcher: setup.launcher,
            unit: unit_name(&setup.definition.name),
            limits: setup.limits,
            ids: self.identity.server,
        }
    }

    fn session_command(&self, script: &str, server: &XServer, cgroup: Option<&Path>) -> Command {
        let (setup, identity) = (&self.setup, &self.identity);
        let args = vec!["-c".into(), script.into()];
        let line = CommandLine { program: "/bin/sh".into(), args };
        let (ids, exclusive) = (identity.session, identity.exclusive);
        let line = setup.launcher.session(&setup.limits, ids, exclusive, cgroup, line);
        let mut command = Command::new(line.program);
        let user = identity.name.as_deref().unwrap_or(&setup.definition.name);
        let shell = identity.shell.clone().or_else(|| launcher::found("bash"));
        command.args(line.args).process_group(0).current_dir(&setup.places.home);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Nothing of the daemon's environment but how the machine speaks and what time it is.
        command.env_clear().env("PATH", PATH);
        for name in ["LANG", "LC_ALL", "LC_CTYPE", "TZ"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("HOME", &setup.places.home).env("USER", user).env("LOGNAME", user);
        command.env("SHELL", shell.unwrap_or_else(|| "/bin/sh".into()));
        command.env("DISPLAY", server.display()).env("XAUTHORITY", setup.places.authority());
        command.env("XDG_RUNTIME_DIR", setup.places.sockets()).env("XDG_SESSION_TYPE", "x11");
        command.env(MARK, self.mark());
        command
    }

    /// Waits until the desktop ends, and ends all of it.
    fn keep(&self, started: Started) -> End {
        let Started { mut server, mut session, session_members, members, _sound } = started;
        let end = self.wait(&mut server, &mut session);
        if let End::Itself(reason) = &end {
            *self.shared.ending() = Some(reason.clone());
        }
        let grace = match end {
            End::Ordered { hurry: true } => Duration::ZERO,
            _ => self.setup.grace,
        };
        session_members.end(grace);
        // Asked for its end, so that its number is free.
        let _ = session.wait();
        let end = match end {
            End::Itself(reason) if matches!(server.ended(), Ok(None)) => {
                match self.pause(WIND_DOWN) {
                    Some(hurry) if self.shared.reason().take().is_none() => End::Ordered { hurry },
                    _ => End::Itself(reason),
                }
            }
            end => end,
        };
        drop(server);
        let left = members.end(Duration::ZERO);
        if left > 0 {
            let name = &self.setup.definition.name;
            tracing::error!(desktop = %name, left, "processes of a desktop cannot be ended");
        }
        *self.shared.life() = None;
        self.setup.places.remove_runtime();
        end
    }

    fn wait(&self, server: &mut XServer, session: &mut Child) -> End {
        let held = |pid: u32| {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        };
        let (Some(of_server), Some(of_session)) = (held(server.pid()), held(session.id())) else {
            return End::Itself("its processes cannot be watched".to_owned());
        };
        loop {
            let mut fds = [
                PollFd::new(&self.shared.stop, PollFlags::IN),
                PollFd::new(&of_server, PollFlags::IN),
                PollFd::new(&of_session, PollFlags::IN),
            ];
            let polled = poll(&mut fds, None);
            if !matches!(polled, Ok(_) | Err(rustix::io::Errno::INTR)) {
                return End::Itself("its processes cannot be watched".to_owned());
            }
            if let Some(hurry) = self.pause(Duration::ZERO) {
                return match self.shared.reason().take() {
                    Some(reason) => End::Itself(reason),
                    None => End::Ordered { hurry },
                };
            }
            if let Ok(Some(status)) = server.ended() {
                return End::Itself(format!("the X server ended ({})", said(status)));
            }
            if let Ok(Some(status)) = session.try_wait() {
                return End::Itself(format!("the session command ended ({})", said(status)));
            }
        }
    }

    /// Waits, but no longer than until the end is ordered; whether in a hurry.
    fn pause(&self, most: Duration) -> Option<bool> {
        let mut fds = [PollFd::new(&self.shared.stop, PollFlags::IN)];
        let most = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 });
        match poll(&mut fds, Some(&most)) {
            Ok(1..) => {}
            _ => return None,
        }
        let mut orders = [0; 8];
        rustix::io::read(&self.shared.stop, &mut orders).ok()?;
        Some(u64::from_ne_bytes(orders) >= HURRY)
    }
}

/// Gives a fresh X server the size that its desktop begins with.
fn resize_to(number: u16, cookie: &[u8], size: (u16, u16)) -> Result<(), StartError> {
    let (width, height) = size;
    let changed = display::change_of(number, cookie, size);
    changed.map(drop).map_err(|source| StartError::Size { width, height, source })
}

/// Starts of this process, for the names of units.
static STARTS: AtomicU32 = AtomicU32::new(1);

/// The unit of a desktop. Names have no character that a unit's may not have.
fn unit_name(desktop: &str) -> String {
    // One that just ended may still be listed.
    let start = STARTS.fetch_add(1, Ordering::Relaxed);
    format!("lucid-desktop-{desktop}-{}-{start}.scope", std::process::id())
}

/// How long to wait before the new start `attempt`, from 1.
fn restart_pause(attempt: u32) -> Duration {
    let doubled = 1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    RESTART_FIRST.saturating_mul(doubled).min(RESTART_LONGEST)
}

/// An error with what caused it, in one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn said(status: ExitStatus) -> impl fmt::Display {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "without a status".to_owned(),
    }
}

fn random(bytes: &mut [u8]) -> std::io::Result<()> {
    use std::io::Read as _;
    std::fs::File::open("/dev/urandom")?.read_exact(bytes)
}

#[cfg(test)]
mod tests;
