//! The socket of the console: through it the command line asks the running daemon.
//!
//! Only root and the user the daemon runs as may connect, which the kernel vouches for; they could
//! read and change every file of the daemon anyway. No secret lies about for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Peer, listen};
use crate::auth::Identity;
use crate::supervisor::Reporter;

/// Its name in the data directory.
const FILE: &str = "console.sock";
/// Connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 16;

/// Where it is.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Serves it until asked to stop.
///
/// # Errors
/// When it cannot be made, for one because its path is longer than the 107 bytes a socket's may
/// have.
pub async fn serve(
    path: PathBuf,
    router: Router,
    reporter: Reporter,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = match bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            reporter.degraded(format!("{} cannot be used: {error}", path.display()));
            stop.cancelled().await;
            return Ok(());
        }
    };
    reporter.healthy();
    let (places, connections) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), TaskTracker::new());
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if may(&stream) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    let _held = place;
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                    let (peer, who) = (Peer { address, tls: false }, Identity::console());
                    listen::http(stream, peer, Some(who), router, stop).await;
                });
            }
            Ok(_) => tracing::warn!("another user asked on the console's socket"),
            Err(error) => {
                tracing::debug!(%error, "console connection lost");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
    let _gone_already = std::fs::remove_file(&path);
    Ok(())
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    // The data directory is this process's alone: what is there was left by a crash.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn may(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}
