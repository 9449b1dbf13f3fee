//! The keeper of desktops: a small process that is root, and starts desktops for a daemon that is
//! not.
//!
//! The two speak over a socket of packets. The kernel says who asks, and only the one user named in
//! the keeper's settings is answered. What can be asked is closed ([`Request`]): numbers of
//! desktops, sizes, limits within its own bounds, and a command that runs as the desktop's own
//! user; never a user, a number of one, or a path outside the directory of transfers. One
//! connection is one desktop: when it ends, because the daemon did, all of the desktop ends.

mod client;
mod message;
mod packets;
mod service;
mod settings;

pub use client::{Kept, erase_homes, listed};
pub use message::{Answer, MessageError, Order, REQUEST_MAX_BYTES, Request};
pub use service::{ServiceError, serve};
pub use settings::{Settings, SettingsError};

/// Where the keeper listens when it is a service.
pub const SOCKET: &str = "/run/lucid-desktopd/keeper.sock";
/// Where an administrator sets its bounds.
pub const SETTINGS: &str = "/etc/lucid/desktops.toml";

/// Listens for a daemon at `path`, which must be free.
///
/// # Errors
/// What the operating system says.
pub fn listen(path: &std::path::Path) -> std::io::Result<std::os::fd::OwnedFd> {
    packets::listen(path)
}

/// Why the keeper does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// It does not listen.
    #[error(
        "the keeper of desktops does not answer at {}; start it \
         (systemctl enable --now lucid-desktops.socket)",
        socket.display()
    )]
    Absent {
        /// Its socket.
        socket: std::path::PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// It said no, and why.
    #[error("the keeper of desktops refuses: {0}")]
    Refused(String),
    /// It ended, or the connection did.
    #[error("the keeper of desktops is gone; see journalctl -u lucid-desktops")]
    Gone,
    /// It says what cannot be understood.
    #[error("the keeper of desktops is of another version; start it again")]
    Message(#[from] MessageError),
}
