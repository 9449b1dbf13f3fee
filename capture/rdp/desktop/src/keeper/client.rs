//! The daemon's side: a desktop that the keeper runs.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::Shutdown;

use super::packets::{self, connect};
use super::{Answer, KeeperError, Order, Request};
use crate::programs::{Life, Owner, Programs, StartError, State};
use crate::reach::Reach;
use crate::usage::Usage;

/// How long the keeper may take to start a desktop.
const START_TIME: Duration = Duration::from_secs(180);
/// How long it may take for anything else.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Most packets that wait here.
const WAITING_MAX: usize = 64;

type Answered = (Answer, Option<OwnedFd>);

/// A connection to the keeper.
struct Line {
    socket: OwnedFd,
    /// Locked from a question to its answer.
    answers: Mutex<Receiver<Answered>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    fn tell(&self, request: &Request) -> Result<(), KeeperError> {
        packets::send(&self.socket, &request.encode(), None).map_err(|_| KeeperError::Gone)
    }

    fn ask(&self, request: &Request) -> Result<Answered, KeeperError> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell(request)?;
        answers.recv_timeout(ANSWER_TIME).map_err(|error| {
            if error == RecvTimeoutError::Timeout {
                // What comes later would be taken for the answer to another question.
                self.close();
            }
            KeeperError::Gone
        })
    }

    fn close(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

impl Reach for Line {
    fn connect(&self) -> io::Result<UnixStream> {
        handed(self.ask(&Request::Connect)).map(UnixStream::from)
    }

    fn open_file(&self, relative: &Path) -> io::Result<File> {
        let relative = relative.to_owned();
        handed(self.ask(&Request::OpenFile { relative })).map(File::from)
    }

    fn create_file(&self, name: &str) -> io::Result<File> {
        handed(self.ask(&Request::CreateFile { name: name.to_owned() })).map(File::from)
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        match self.ask(&Request::RemoveFile { name: name.to_owned() }).map_err(io::Error::other)? {
            (Answer::Done, _) => Ok(()),
            (answer, _) => Err(refusal(answer)),
        }
    }

    fn sound(&self) -> io::Result<OwnedFd> {
        handed(self.ask(&Request::Sound))
    }

    fn is_asked_secretly(&self) -> bool {
        // Where it cannot be known, what is typed is better not kept.
        !matches!(self.ask(&Request::IsAskedSecretly), Ok((Answer::Flag(false), _)))
    }
}

fn handed(answered: Result<Answered, KeeperError>) -> io::Result<OwnedFd> {
    match answered.map_err(io::Error::other)? {
        (Answer::Done, Some(fd)) => Ok(fd),
        (answer, _) => Err(refusal(answer)),
    }
}

fn refusal(answer: Answer) -> io::Error {
    match answer {
        Answer::Failed { exists: true, why } => io::Error::new(io::ErrorKind::AlreadyExists, why),
        Answer::Failed { why, .. } => io::Error::other(why),
        _ => io::Error::other("the keeper of desktops gives another answer"),
    }
}

/// What is known of a desktop that the keeper runs.
struct Mirror {
    line: Arc<Line>,
    owner: Arc<dyn Owner>,
    state: Mutex<State>,
    /// The second is whether it was started wholly.
    life: Mutex<Option<(Life, bool)>>,
    ending: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A desktop that the keeper runs. It ends when this is dropped.
pub struct Kept {
    mirror: Arc<Mirror>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Kept {
    /// Has a desktop started by the keeper that listens at `socket`, and returns when its session
    /// command runs. Blocks so long.
    ///
    /// # Errors
    /// When there is no keeper, it refuses, or the desktop does not start.
    pub fn start(socket: &Path, order: Order, owner: Arc<dyn Owner>) -> Result<Self, StartError> {
        order.validate().map_err(KeeperError::from)?;
        let name = order.definition.name.clone();
        let (line, unasked) = open(socket)?;
        let mirror = Arc::new(Mirror {
            line: line.clone(),
            owner,
            state: Mutex::new(State::Running),
            life: Mutex::default(),
            ending: Mutex::default(),
        });
        let (first, started) = sync_channel(1);
        let of_thread = mirror.clone();
        let thread = std::thread::Builder::new()
            .name(format!("kept {name}"))
            .spawn(move || of_thread.follow(&unasked, first))
            .map_err(|source| StartError::System { what: "start a thread", name, source })?;
        let kept = Kept { mirror, threads: vec![thread] };
        // Where that fails, what the keeper said before says why.
        let _ = line.tell(&Request::Start(Box::new(order)));
        match started.recv_timeout(START_TIME) {
            Ok(Ok(())) => Ok(kept),
            Ok(Err(why)) => Err(KeeperError::Refused(why).into()),
            Err(_) => Err(KeeperError::Gone.into()),
        }
    }
}

/// Connects; what comes unasked is in the channel, which ends with the connection.
fn open(socket: &Path) -> Result<(Arc<Line>, Receiver<Answer>), KeeperError> {
    let absent = |source| KeeperError::Absent { socket: socket.to_owned(), source };
    let connected = connect(socket).map_err(absent)?;
    let (answer, answers) = sync_channel(WAITING_MAX);
    let (tell, unasked) = sync_channel(WAITING_MAX);
    let line = Arc::new(Line { socket: connected, answers: Mutex::new(answers) });
    let of_thread = Arc::downgrade(&line);
    let reading = line.socket.try_clone().map_err(absent)?;
    std::thread::Builder::new()
        .name("keeper".into())
        .spawn(move || {
            while let Ok(Some((packet, fd))) = packets::receive(&reading) {
                let sent = match Answer::decode(&packet) {
                    Ok(unasked) if unasked.is_unasked() => tell.send(unasked).is_ok(),
                    Ok(asked) => answer.send((asked, fd)).is_ok(),
                    Err(error) => {
                        tracing::error!(%error, "the keeper of desktops is not understood");
                        false
                    }
                };
                if !sent {
                    break;
                }
            }
            if let Some(line) = of_thread.upgrade() {
                line.close();
            }
        })
        .map_err(absent)?;
    Ok((line, unasked))
}

/// Has all homes of desktops destroyed.
///
/// # Errors
/// When there is no keeper, it refuses, or desktops run.
pub fn erase_homes(socket: &Path) -> Result<(), KeeperError> {
    match ask_once(socket, &Request::EraseHomes)? {
        Answer::Done => Ok(()),
        Answer::Failed { why, .. } => Err(KeeperError::Refused(why)),
        _ => Err(KeeperError::Gone),
    }
}

/// Numbers of the desktops that the keeper runs, and whether each is up.
///
/// # Errors
/// When there is no keeper or it refuses.
pub fn listed(socket: &Path) -> Result<Vec<(u16, bool)>, KeeperError> {
    match ask_once(socket, &Request::List)? {
        Answer::List(desktops) => Ok(desktops),
        Answer::Failed { why, .. } => Err(KeeperError::Refused(why)),
        _ => Err(KeeperError::Gone),
    }
}

fn ask_once(socket: &Path, request: &Request) -> Result<Answer, KeeperError> {
    let (line, unasked) = open(socket)?;
    let answered = line.ask(request);
    line.close();
    answered.map(|(answer, _)| answer).map_err(|error| match unasked.recv() {
        // Whoever may not ask is told before.
        Ok(Answer::NotStarted(why)) => KeeperError::Refused(why),
        _ => error,
    })
}

impl Mirror {
    /// Takes what the keeper says unasked, until it says nothing any more.
    fn follow(&self, unasked: &Receiver<Answer>, first: SyncSender<Result<(), String>>) {
        while let Ok(told) = unasked.recv() {
            match told {
                Answer::Server { display, cookie, files } => {
                    let reach: Arc<dyn Reach> = self.line.clone();
                    let life = Life { display, cookie, files, reach };
                    let refused = self.owner.ready(&life).err().map(|error| error.to_string());
                    *lock(&self.ending) = None;
                    *lock(&self.life) = refused.is_none().then_some((life, false));
                    let _ = self.line.tell(&Request::Prepared { refused });
                }
                Answer::Started => drop(first.try_send(Ok(()))),
                Answer::NotStarted(why) => {
                    let _ = first.try_send(Err(why));
                    break;
                }
                Answer::Ending(reason) => {
                    *lock(&self.ending) = Some(reason.clone());
                    self.owner.ending(&reason);
                }
                Answer::Changed(state) => self.change(state),
                // Never sent here.
                _ => {}
            }
        }
        drop(first);
        if !lock(&self.state).is_final() {
            self.change(State::Ended { reason: "the keeper of desktops is gone".into() });
        }
        self.line.close();
    }

    fn change(&self, state: State) {
        {
            let mut life = lock(&self.life);
            match (&state, &mut *life) {
                (State::Running, Some((_, whole))) => *whole = true,
                // The next life may be there already, but not whole.
                (_, Some((_, false))) => {}
                (_, life) => *life = None,
            }
        }
        *lock(&self.state) = state.clone();
        self.owner.changed(&state);
    }
}

impl Programs for Kept {
    fn life(&self) -> Option<Life> {
        lock(&self.mirror.life).as_ref().filter(|(_, whole)| *whole).map(|(life, _)| life.clone())
    }

    fn ending(&self) -> Option<String> {
        lock(&self.mirror.ending).clone()
    }

    fn state(&self) -> State {
        lock(&self.mirror.state).clone()
    }

    fn usage(&self) -> Usage {
        if lock(&self.mirror.state).is_final() {
            return Usage::default();
        }
        match self.mirror.line.ask(&Request::Usage) {
            Ok((Answer::Usage(usage), _)) => usage,
            _ => Usage::default(),
        }
    }

    fn end(&self, reason: String) {
        let _ = self.mirror.line.ask(&Request::End { reason });
    }

    fn stop(&self) {
        let was_final = lock(&self.mirror.state).is_final();
        let asked = self.mirror.line.ask(&Request::Stop);
        if !was_final && matches!(asked, Ok((Answer::Done, _))) {
            *lock(&self.mirror.life) = None;
            *lock(&self.mirror.state) = State::Stopped;
        }
        self.mirror.line.close();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.mirror.line.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
