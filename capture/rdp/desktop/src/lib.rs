//! The programs of recorded desktops: an X server and a session for each, as users of their own,
//! within limits.
//!
//! Only root can start programs as other users. A daemon that is root does it itself
//! ([`Running`]); one that is not asks the [`keeper`], a small process that is root and knows
//! nothing but this crate. Either way [`Programs`] is what its owner holds, and [`reach::Reach`]
//! how it gets at the display, the transferred files and the terminals.
#![forbid(unsafe_code)]

mod definition;
pub mod identity;
pub mod keeper;
pub mod launcher;
pub mod limits;
pub mod places;
pub mod processes;
mod programs;
pub mod reach;
mod running;
pub mod session_command;
mod sound;
mod terminals;
mod usage;
pub mod xauthority;
mod xserver;
mod xsockets;

pub use definition::{
    COMMAND_MAX_BYTES, DESKTOPS_MAX, Definition, DefinitionError, NAME_MAX_BYTES, SIZE_MAX_PIXELS,
    SIZE_MIN_PIXELS,
};
pub use identity::{IdentityError, RunAs};
pub use launcher::{Launcher, Missing};
pub use limits::{LimitError, Limits};
pub use places::{PlaceError, Places};
pub use programs::{Life, Owner, Programs, Setup, StartError, State};
pub(crate) use running::sentence;
pub use running::{
    RESTART_FIRST, RESTART_LONGEST, RESTART_SOUND, RESTARTS_MAX, ROOM, Running, WIND_DOWN,
};
pub use session_command::{NoTerminal, default_command};
pub use sound::{CHANNELS, RATE_HZ};
pub use usage::{DISK_INTERVAL, FILES_MAX, Usage};
pub use xserver::{ServerKind, XServer, XServerError, XServerOptions};

/// Where a desktop's programs find others.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games";
