//! A desktop that runs, as the wire and the recorder know it: its programs, wherever they were
//! started, with its size, its limits and what is encoded of it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lucid_capture::encoded::EncodedFeed;
use lucid_desktop::keeper::{Kept, Order};
use lucid_desktop::{
    Definition, Launcher, Life, Limits, Owner, Programs, Setup, StartError, State, Usage,
};
use tokio::sync::watch;

use super::sound::SoundOut;
use crate::monitor::{Look, Monitor};
use crate::secrecy::Secrecy;
use crate::server::display;
use crate::session::RunningDesktop;

/// A running desktop. Everything of it ends, without grace, when it is dropped.
#[derive(Debug)]
pub struct Running {
    programs: Box<dyn Programs>,
    shown: Arc<Shown>,
    state: watch::Receiver<State>,
    monitor: Mutex<Monitor>,
}

/// What is made of each life of its programs.
#[derive(Debug)]
struct Shown {
    name: String,
    /// Columns and rows it begins with.
    size: (u16, u16),
    tell: watch::Sender<State>,
    desktop: Mutex<Option<RunningDesktop>>,
    /// Heard as long as the desktop runs.
    sound: Mutex<Option<SoundOut>>,
}

impl Shown {
    fn new(definition: &Definition) -> (Arc<Self>, watch::Receiver<State>) {
        let (tell, state) = watch::channel(State::Running);
        let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX);
        let Definition { name, width, height, .. } = definition;
        let (name, size) = (name.clone(), (side(*width), side(*height)));
        (
            Arc::new(Shown {
                name,
                size,
                tell,
                desktop: Mutex::default(),
                sound: Mutex::default(),
            }),
            state,
        )
    }

    fn desktop(&self) -> std::sync::MutexGuard<'_, Option<RunningDesktop>> {
        self.desktop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Shown {
    fn ready(&self, life: &Life) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (width, height) = self.size;
        display::change_of(life.display, &*life.reach, &life.cookie, self.size)?;
        let sound = life.reach.sound().and_then(SoundOut::hear).ok();
        let feed = sound.as_ref().map(SoundOut::feed);
        *self.sound.lock().unwrap_or_else(PoisonError::into_inner) = sound;
        *self.desktop() = Some(RunningDesktop {
            display: life.display,
            cookie: life.cookie.clone(),
            name: self.name.clone(),
            width,
            height,
            files: Some(life.files.clone()),
            secrecy: Arc::new(Secrecy::of(life.reach.clone())),
            reach: life.reach.clone(),
            encoded: EncodedFeed::default(),
            sound: feed,
        });
        Ok(())
    }

    fn ending(&self, _: &str) {}

    fn changed(&self, state: &State) {
        if *state != State::Running {
            *self.sound.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.tell.send_replace(state.clone());
    }
}

impl Running {
    /// Starts a desktop here and returns when its X server takes connections and its session
    /// command was started. Blocks so long.
    ///
    /// # Errors
    /// Why it does not start. Nothing is left then.
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        let (shown, state) = Shown::new(&setup.definition);
        let owner: Arc<dyn Owner> = shown.clone();
        let (limits, held) = (setup.limits, setup.launcher == Launcher::Systemd);
        let programs = lucid_desktop::Running::start_patiently(&setup, &owner)?;
        Ok(Running::new(Box::new(programs), shown, state, limits, held))
    }

    /// Has a desktop started by the keeper of desktops that listens at `socket`.
    ///
    /// # Errors
    /// When there is none, it refuses, or the desktop does not start.
    pub fn start_kept(socket: &Path, order: Order) -> Result<Self, StartError> {
        let (shown, state) = Shown::new(&order.definition);
        // As the keeper judges it: it is root.
        let (limits, held) = (order.limits, Launcher::of_root() == Launcher::Systemd);
        let programs = Kept::start(socket, order, shown.clone())?;
        Ok(Running::new(Box::new(programs), shown, state, limits, held))
    }

    fn new(
        programs: Box<dyn Programs>,
        shown: Arc<Shown>,
        state: watch::Receiver<State>,
        limits: Limits,
        held: bool,
    ) -> Self {
        Running { programs, shown, state, monitor: Mutex::new(Monitor::new(limits, held)) }
    }

    /// The desktop as the wire and the recorder reach it; none while it does not run. After a new
    /// start it is another.
    pub fn desktop(&self) -> Option<RunningDesktop> {
        let life = self.programs.life()?;
        self.shown.desktop().clone().filter(|shown| shown.cookie == life.cookie)
    }

    /// Why it is ending by itself, before its X server goes and [`State`] says so.
    pub fn ending(&self) -> Option<String> {
        self.programs.ending()
    }

    /// How it stands, and when that changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What it takes now. Costs a look at the machine's processes, or at its control group.
    pub fn usage(&self) -> Usage {
        self.programs.usage()
    }

    /// Measures, tells which limits are reached, and ends the desktop if it has been over one for
    /// [`crate::monitor::LOOKS_OVER`] looks that nothing else holds it to. To be called every
    /// [`crate::monitor::LOOK_INTERVAL`].
    pub fn look(&self) -> Look {
        let usage = self.usage();
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        let look = monitor.look(usage);
        if let Some(alert) = &look.over {
            self.programs.end(format!("over its limit ({alert})"));
        }
        look
    }

    /// Orders the end for a reason, as if the desktop had ended by itself: it is started again if
    /// so defined. Does not wait.
    pub fn end(&self, reason: String) {
        self.programs.end(reason);
    }

    /// Orders the end and waits for it: programs are asked, and killed after the grace. Blocks.
    pub fn stop(&self) {
        self.programs.stop();
        *self.shown.desktop() = None;
    }
}

#[cfg(test)]
mod tests;
