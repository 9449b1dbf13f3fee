//! Recorded desktops: what one is, which port it has, and how it runs on this machine.
//!
//! Programs are started by `lucid_desktop`, here or in the keeper of desktops; this gives them what
//! needs X and the recording.

mod ports;
mod running;
mod sound;

pub use lucid_desktop::{
    COMMAND_MAX_BYTES, DESKTOPS_MAX, Definition, DefinitionError, IdentityError, Launcher,
    LimitError, Limits, Missing, NAME_MAX_BYTES, NoTerminal, PlaceError, Places, ROOM, RunAs,
    SIZE_MAX_PIXELS, SIZE_MIN_PIXELS, Setup, StartError, State, Usage, identity, keeper, launcher,
    processes, reach,
};
pub use ports::{PORT_FIRST, PORT_LAST, PORT_SHARED, PortError, Ports};
pub use running::Running;
