//! A connection to a desktop's X server, with its cookie.

use x11rb::connection::Connection as _;
use x11rb::errors::{ConnectError, ReplyError};
use x11rb::protocol::xproto::Window;
use x11rb::rust_connection::{DefaultStream, RustConnection};

use crate::desktop::reach::Reach;
use crate::session::RunningDesktop;

/// The one protocol X servers use on this machine.
const COOKIE: &[u8] = b"MIT-MAGIC-COOKIE-1";

/// Why the X server of a desktop cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum XError {
    /// Its socket does not answer.
    #[error("display :{display} cannot be reached")]
    Socket {
        /// The display.
        display: u16,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It does not let us in.
    #[error("display :{display} refuses the connection")]
    Connect {
        /// The display.
        display: u16,
        /// What it says.
        #[source]
        source: Box<ConnectError>,
    },
    /// It lacks what is needed, refuses, or is gone.
    #[error("display :{display} does not {what}")]
    Request {
        /// The display.
        display: u16,
        /// What was asked.
        what: &'static str,
        /// What it says.
        #[source]
        source: ReplyError,
    },
    /// No thread.
    #[error("no thread to {what} display :{display}")]
    Thread {
        /// The display.
        display: u16,
        /// What it was for.
        what: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Connects, and gives the root window too.
///
/// # Errors
/// No server, or no way in.
pub fn connect(desktop: &RunningDesktop) -> Result<(RustConnection, Window), XError> {
    connect_to(desktop.display, &*desktop.reach, &desktop.cookie)
}

/// As [`connect`], by the display's number, the way to it, and its cookie.
///
/// # Errors
/// As there.
pub fn connect_to(
    display: u16,
    reach: &dyn Reach,
    cookie: &[u8],
) -> Result<(RustConnection, Window), XError> {
    let socket = |source| XError::Socket { display, source };
    let stream = reach.connect().map_err(socket)?;
    let (stream, _) = DefaultStream::from_unix_stream(stream).map_err(socket)?;
    let cookie = cookie.to_vec();
    let protocol = if cookie.is_empty() { Vec::new() } else { COOKIE.to_vec() };
    let server = RustConnection::connect_to_stream_with_auth_info(stream, 0, protocol, cookie)
        .map_err(|source| XError::Connect { display, source: Box::new(source) })?;
    let root = server.setup().roots.first().map_or(x11rb::NONE, |screen| screen.root);
    Ok((server, root))
}
