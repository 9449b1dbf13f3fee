//! Recorded desktops: what one is, which port it has, and how it runs on this machine.

mod definition;
pub mod identity;
pub mod launcher;
pub mod limits;
pub mod places;
mod ports;
pub mod processes;
mod running;
pub mod session_command;
mod sound;
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
pub use ports::{PORT_FIRST, PORT_LAST, PORT_SHARED, PortError, Ports};
pub use running::{
    RESTART_FIRST, RESTART_LONGEST, RESTART_SOUND, RESTARTS_MAX, ROOM, Running, Setup, StartError,
    State,
};
pub use session_command::{NoTerminal, default_command};
pub use usage::{DISK_INTERVAL, FILES_MAX, Usage};
pub use xserver::{ServerKind, XServer, XServerError, XServerOptions};

/// Where a desktop's programs find others.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games";
