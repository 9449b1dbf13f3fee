//! Recorded desktops: what one is, which port it has, and the X server it runs on.

mod definition;
mod ports;
pub mod xauthority;
mod xserver;

pub use definition::{
    COMMAND_MAX_BYTES, DESKTOPS_MAX, Definition, DefinitionError, NAME_MAX_BYTES, SIZE_MAX_PIXELS,
    SIZE_MIN_PIXELS,
};
pub use ports::{PORT_FIRST, PORT_LAST, PORT_SHARED, PortError, Ports};
pub use xserver::{XServer, XServerError, XServerOptions};
