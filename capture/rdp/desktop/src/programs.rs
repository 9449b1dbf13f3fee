//! What a desktop is started with, how it stands, and what its owner holds, wherever its programs
//! were started.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::identity::{IdentityError, RunAs};
use super::keeper::KeeperError;
use super::launcher::{Launcher, Missing};
use super::limits::{LimitError, Limits};
use super::places::{PlaceError, Places};
use super::reach::Reach;
use super::session_command::NoTerminal;
use super::usage::Usage;
use super::xserver::{ServerKind, XServerError};
use super::{Definition, DefinitionError};

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
    /// Its owner could not prepare its display.
    #[error("the display of desktop {name} cannot be prepared")]
    Prepare {
        /// The desktop.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keeper of desktops.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
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

/// What is known of a desktop from one start of its X server to the end.
#[derive(Debug, Clone)]
pub struct Life {
    /// The number of its display.
    pub display: u16,
    /// Its MIT-MAGIC-COOKIE-1.
    pub cookie: Zeroizing<Vec<u8>>,
    /// The directory of transfers, as its programs name it.
    pub files: PathBuf,
    /// The ways into it.
    pub reach: Arc<dyn Reach>,
}

/// Who has a desktop started. Called by the desktop's thread.
pub trait Owner: Send + Sync {
    /// The X server takes connections, and no program has looked at it yet.
    ///
    /// # Errors
    /// Why the desktop must not go on.
    fn ready(&self, life: &Life) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// Its present life ends by itself; the X server is still there.
    fn ending(&self, reason: &str);

    /// It stands otherwise than before.
    fn changed(&self, state: &State);
}

/// The programs of one desktop, wherever they were started. Everything of it ends, without grace,
/// when it is dropped.
pub trait Programs: fmt::Debug + Send + Sync {
    /// What there is of it now; none while it does not run.
    fn life(&self) -> Option<Life>;

    /// Why it is ending by itself, before its X server goes and [`State`] says so.
    fn ending(&self) -> Option<String>;

    /// How it stands.
    fn state(&self) -> State;

    /// What it takes now. Costs a look at the machine's processes, or at its control group.
    fn usage(&self) -> Usage;

    /// Orders the end for a reason, as if the desktop had ended by itself: it is started again if
    /// so defined. Does not wait.
    fn end(&self, reason: String);

    /// Orders the end and waits for it: programs are asked, and killed after the grace. Blocks.
    fn stop(&self);
}
