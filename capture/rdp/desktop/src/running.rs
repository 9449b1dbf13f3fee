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

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use zeroize::Zeroizing;

use super::identity::Identity;
use super::launcher::{CommandLine, Launcher};
use super::places::give;
use super::processes::{MARK, Membership};
use super::programs::{Life, Owner, Programs, Setup, StartError, State};
use super::session_command::default_command;
use super::sound;
use super::usage::{Usage, UsageMeter};
use super::xauthority::{self, COOKIE_BYTES};
use super::xserver::{ServerKind, XServer, XServerError, XServerOptions};
use super::{Definition, PATH, launcher};
use crate::reach::Local;

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

/// Times an X server is started before it is given up.
pub const STARTS_MAX: u32 = 3;

/// Columns and rows that a desktop can grow to, if it is not defined larger. A screen in memory
/// takes
/// 4 bytes for each pixel of its room.
pub const ROOM: (u32, u32) = (2560, 1600);

/// A desktop whose programs this process starts itself.
pub struct Running {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Seen by the desktop's thread and by its owner.
struct Shared {
    /// Readable when the end is ordered.
    stop: OwnedFd,
    owner: Arc<dyn Owner>,
    state: Mutex<State>,
    life: Mutex<Option<(Life, Membership)>>,
    meter: Mutex<UsageMeter>,
    /// Why it is ended, if not because it was stopped.
    reason: Mutex<Option<String>>,
    /// Why its present life ends, from the moment at which that is known.
    ending: Mutex<Option<String>>,
}

impl Running {
    /// Starts a desktop and returns when its X server takes connections and its session command
    /// was started. Blocks so long, at most the start's timeout and a moment.
    ///
    /// # Errors
    /// Why it does not start. Nothing is left then.
    pub fn start(setup: Setup, owner: Arc<dyn Owner>) -> Result<Self, StartError> {
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
        let (life, reason, ending) = Default::default();
        let state = Mutex::new(State::Running);
        let shared = Arc::new(Shared { stop, owner, state, life, meter, reason, ending });
        let (first, started) = std::sync::mpsc::sync_channel(1);
        let of_thread = shared.clone();
        // What the thread starts ends with the thread: it must live as long as the desktop.
        let thread = std::thread::Builder::new()
            .name(format!("desktop {name}"))
            .spawn(move || Driver { setup, identity, shared: of_thread }.run(first))
            .map_err(failed("start a thread"))?;
        let running = Running { shared, thread: Mutex::new(Some(thread)) };
        match started.recv() {
            Ok(Ok(())) => Ok(running),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(failed("start a thread")(std::io::ErrorKind::Other.into())),
        }
    }

    /// Starts a desktop as [`Running::start`] does, and again where its X server found no display:
    /// of two that start at the same moment and choose the same, the one that comes second ends.
    ///
    /// # Errors
    /// As there, when the last start fails.
    pub fn start_patiently(setup: &Setup, owner: &Arc<dyn Owner>) -> Result<Self, StartError> {
        let mut left = STARTS_MAX;
        loop {
            left -= 1;
            match Running::start(setup.clone(), owner.clone()) {
                Err(StartError::Server(XServerError::NoDisplay { complaint, .. })) if left > 0 => {
                    tracing::warn!(complaint, "an X server found no display; it is started again");
                }
                other => return other,
            }
        }
    }
}

impl Programs for Running {
    fn life(&self) -> Option<Life> {
        self.shared.life().as_ref().map(|(life, _)| life.clone())
    }

    fn ending(&self) -> Option<String> {
        self.shared.ending().clone()
    }

    fn state(&self) -> State {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn usage(&self) -> Usage {
        let members = self.shared.life().as_ref().map(|(_, members)| members.clone());
        let mut meter = self.shared.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.measure(members.as_ref(), Instant::now())
    }

    fn end(&self, reason: String) {
        *self.shared.reason() = Some(reason);
        self.shared.order_end(1);
    }

    fn stop(&self) {
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
    fn life(&self) -> std::sync::MutexGuard<'_, Option<(Life, Membership)>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state.clone();
        self.owner.changed(&state);
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
struct Driver {
    setup: Setup,
    identity: Identity,
    shared: Arc<Shared>,
}

/// What runs, held by the thread.
struct Started {
    server: XServer,
    session: Child,
    /// The session alone, which is asked to end while its X server is still there.
    session_members: Membership,
    members: Membership,
}

impl Driver {
    fn run(self, first: SyncSender<Result<(), StartError>>) {
        let mut first = Some(first);
        let mut attempt = 0;
        loop {
            let began = Instant::now();
            let end = match self.launch() {
                Ok(started) => {
                    self.shared.tell(State::Running);
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
                    self.shared.tell(State::Stopped);
                    return;
                }
                End::Itself(reason) => reason,
            };
            let name = &self.setup.definition.name;
            tracing::warn!(desktop = %name, %reason, "desktop ended");
            attempt = if began.elapsed() >= RESTART_SOUND { 1 } else { attempt + 1 };
            if !self.setup.definition.restart || attempt > RESTARTS_MAX {
                self.shared.tell(State::Ended { reason });
                return;
            }
            self.shared.tell(State::Restarting { reason, attempt });
            let ordered = self.pause(restart_pause(attempt)).is_some();
            // A reason for the end of what does not run is none.
            if ordered && self.shared.reason().take().is_none() {
                self.shared.tell(State::Stopped);
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
        let daemon = rustix::process::geteuid().as_raw();
        let user = identity.session.map_or(daemon, |ids| ids.uid);
        let (display, files) = (server.number(), setup.places.transfers());
        let sound = sound::prepare(&setup.places.runtime, identity.session);
        let sound = sound
            .inspect_err(|error| {
                let name = &setup.definition.name;
                tracing::warn!(desktop = %name, %error, "a desktop is silent");
            })
            .ok();
        let (client_config, pipe) = sound.unzip();
        let local = Local { display, files: Some(files.clone()), user: Some(user), sound: pipe };
        let cookie = Zeroizing::new(cookie.to_vec());
        let life = Life { display, cookie, files, reach: Arc::new(local) };
        let unprepared = |source| {
            let name = setup.definition.name.clone();
            StartError::Prepare { name, source }
        };
        // Before the first program looks at it.
        self.shared.owner.ready(&life).map_err(unprepared)?;
        let mut session = self.session_command(&script, &server, cgroup.as_deref());
        session.envs(client_config.map(|path| (sound::CLIENT_CONFIG, path)));
        let session = session.spawn().map_err(self.failed("start the session"))?;
        let session_members = Membership {
            cgroup: None,
            groups: vec![session.id()],
            ..self.left_behind(identity.session)
        };
        let mut members = Membership { cgroup, ..session_members.clone() };
        members.groups.push(server.pid());
        members.users.extend(identity.server.map(|ids| ids.uid));
        *self.shared.ending() = None;
        *self.shared.life() = Some((life, members.clone()));
        Ok(Started { server, session, session_members, members })
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
        let Started { mut server, mut session, session_members, members } = started;
        let end = self.wait(&mut server, &mut session);
        if let End::Itself(reason) = &end {
            *self.shared.ending() = Some(reason.clone());
            self.shared.owner.ending(reason);
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
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
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
