//! The socket file, and who is on the other end.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use listenfd::ListenFd;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Owner and group may connect; the check of the peer's user follows.
const MODE: u32 = 0o660;

/// Why the socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("another process listens on {0}; stop it, or set another socket")]
    InUse(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{0} is not a socket; move it away, or set another socket")]
    NotASocket(PathBuf),
    /// The system said no.
    #[error("cannot listen on {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A socket that is listened on.
#[derive(Debug)]
pub struct Listening {
    /// Takes connections.
    pub listener: UnixListener,
    /// The file is ours to remove at the end; else systemd made it and keeps it.
    pub own: bool,
}

/// The socket systemd listens on for this process (sd_listen_fds(3)), else one of its own at
/// `path`.
///
/// # Errors
/// When what systemd gave is no unix socket, or as [`bind`].
pub fn listen(path: &Path) -> Result<Listening, SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    match ListenFd::from_env().take_unix_listener(0).map_err(failed)? {
        Some(given) => {
            given.set_nonblocking(true).map_err(failed)?;
            let listener = UnixListener::from_std(given).map_err(failed)?;
            Ok(Listening { listener, own: false })
        }
        None => Ok(Listening { listener: bind(path)?, own: true }),
    }
}

/// Listens on `path`; the file a dead process left is replaced.
///
/// # Errors
/// When something else is there, or the system refuses.
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(SocketError::InUse(path.to_owned()));
        }
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(failed)?;
    Ok(listener)
}

/// Who is on the other end, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user id; `None` if the kernel did not say, and then nothing is answered.
    pub user: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { user: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}
