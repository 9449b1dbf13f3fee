//! Pictures of an X display, taken over the X protocol itself.
//!
//! A [`Grabber`] keeps a copy of the root window. [`Grabber::wait`] says which parts changed
//! (XDamage; without it by comparing), and [`Grabber::frame`] shows the pixels, always 32 bits a
//! pixel in the byte order blue, green, red, unused. Pixels come through shared memory that the
//! server writes and this side reads like a file (MIT-SHM 1.2 over a memfd), or over the socket.
//!
//! No Xlib: it ends the program whose server dies. Here a lost server is [`ScreenError::Lost`].
//! The pointer is not part of the picture; [`Grabber::cursor`] gives it, [`Cursor::draw`] draws it.

mod access;
mod cursor;
mod grabber;
mod pixels;
mod region;
mod transfer;
mod wire;

pub use access::{Access, ScreenAddress};
pub use cursor::Cursor;
pub use grabber::{Damage, Frame, Grabber};
pub use region::Rect;

/// Most pixels of a display: 8K, 7680 x 4320. 133 MB of copy.
pub const MAX_PIXELS: u64 = 7680 * 4320;
/// Most rectangles that one [`Damage`] lists; more are given as the one around them.
pub const MAX_RECTS: usize = 64;
/// How long the server may take for an answer, seconds. A server stopped that long is lost.
pub const REPLY_SECONDS: u64 = 10;

/// Why a display cannot be grabbed, or no longer. Never carries a cookie.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScreenError {
    /// Nothing listens there.
    #[error("no x server answers on display :{display}")]
    NoServer {
        /// Number of the display.
        display: u16,
        /// What connecting said.
        #[source]
        source: std::io::Error,
    },
    /// The file of cookies cannot be used.
    #[error("file of x cookies {path} cannot be used: {detail}")]
    Authority {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The server does not let us in.
    #[error(
        "the x server of display :{display} refuses the connection: {detail}; \
         give this user its cookie (XAUTHORITY)"
    )]
    Denied {
        /// Number of the display.
        display: u16,
        /// The server's words.
        detail: String,
    },
    /// Its pixels cannot be read.
    #[error("display :{display} has pictures that cannot be read: {detail}")]
    Unsupported {
        /// Number of the display.
        display: u16,
        /// What was found, and what would do.
        detail: String,
    },
    /// The server ended, or does not answer any more.
    #[error("the x server of display :{display} is gone: {detail}")]
    Lost {
        /// Number of the display.
        display: u16,
        /// What was noticed.
        detail: String,
    },
    /// The server answered a request with an error.
    #[error("the x server of display :{display} refused to {request}: {detail}")]
    Refused {
        /// Number of the display.
        display: u16,
        /// What was asked of it.
        request: &'static str,
        /// The protocol's error.
        detail: String,
    },
}
