//! The RDP server: listens, carries clients through the handshake, and serves those that a
//! [`Gatekeeper`] lets in.
//!
//! All connections of a server live in one thread: what they do is little, and the work with
//! pixels is in threads of the desktops. A client that has not proved itself costs one place of
//! [`Limits::handshakes`], and loses it to newcomers.

mod activation;
mod banner;
pub mod capabilities;
pub mod channels;
pub mod clipboard;
mod connection;
pub mod display;
pub mod fastpath;
mod focus;
pub mod gate;
pub mod graphics;
mod hands;
mod handshake;
pub mod input;
mod keyboard;
pub mod keylog;
pub mod message;
pub mod notice;
mod outgoing;
pub mod picture;
pub mod remotefx;
mod roundtrip;
mod screen;
mod sharing;
pub mod sound;
mod video;
mod waiting;
pub mod xconnection;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet, LocalSet};
use tokio_rustls::TlsAcceptor;

use crate::session::{Endpoint, Gatekeeper};
use waiting::Waiting;

/// Orders that wait for the server's thread.
const MAX_QUEUED_ORDERS: usize = 64;
/// Pause after the system refuses to accept, so that a full file table is not a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server carries at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients that have not been let in yet. One more ends the oldest of the network that has
    /// the most.
    pub handshakes: usize,
    /// Clients that are served. One more is turned away.
    pub clients: usize,
    /// How long a client may take to be let in.
    pub handshake_time: Duration,
}

impl Default for Limits {
    /// 256 in the handshake, 64 served, 20 s.
    fn default() -> Self {
        Limits { handshakes: 256, clients: 64, handshake_time: Duration::from_secs(20) }
    }
}

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be had.
    #[error("rdp cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// No thread, or no runtime in it.
    #[error("the rdp server does not start")]
    Start(#[source] std::io::Error),
    /// Its thread is gone.
    #[error("the rdp server has ended")]
    Ended,
}

enum Command {
    Listen(Endpoint, std::net::TcpListener),
    Close(Endpoint),
}

/// A running server. Ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct RdpServer {
    commands: mpsc::Sender<Command>,
}

impl RdpServer {
    /// Starts a server with the device's certificate; it listens nowhere yet.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        tls: Arc<rustls::ServerConfig>,
        gatekeeper: Arc<dyn Gatekeeper>,
        limits: Limits,
    ) -> Result<Self, ServerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Start)?;
        let (commands, orders) = mpsc::channel(MAX_QUEUED_ORDERS);
        let house = House { tls: TlsAcceptor::from(tls), gatekeeper, limits };
        std::thread::Builder::new()
            .name("rdp".into())
            .spawn(move || LocalSet::new().block_on(&runtime, house.run(orders)))
            .map_err(ServerError::Start)?;
        Ok(RdpServer { commands })
    }

    /// Listens for an endpoint and says where: port 0 takes any.
    ///
    /// # Errors
    /// When the address cannot be had, or the server has ended.
    pub fn listen(&self, endpoint: Endpoint, at: SocketAddr) -> Result<SocketAddr, ServerError> {
        let failed = |source| ServerError::Listen { address: at, source };
        let listener = std::net::TcpListener::bind(at).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        self.send(Command::Listen(endpoint, listener))?;
        Ok(address)
    }

    /// No longer listens for an endpoint. Those who are in stay.
    ///
    /// # Errors
    /// When the server has ended.
    pub fn close(&self, endpoint: Endpoint) -> Result<(), ServerError> {
        self.send(Command::Close(endpoint))
    }

    fn send(&self, command: Command) -> Result<(), ServerError> {
        self.commands.try_send(command).map_err(|_| ServerError::Ended)
    }
}

struct House {
    tls: TlsAcceptor,
    gatekeeper: Arc<dyn Gatekeeper>,
    limits: Limits,
}

impl House {
    async fn run(self, mut orders: mpsc::Receiver<Command>) {
        let (arrivals, mut arrived) = mpsc::channel(1);
        let mut listeners: HashMap<Endpoint, AbortHandle> = HashMap::new();
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut handshakes = Waiting::default();
        let mut clients: JoinSet<()> = JoinSet::new();
        let (entries, mut entered) = mpsc::channel(1);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Command::Listen(endpoint, listener)) => {
                        let listener = match TcpListener::from_std(listener) {
                            Ok(listener) => listener,
                            Err(error) => {
                                tracing::error!(%error, "rdp listener lost");
                                continue;
                            }
                        };
                        let task = accept(listener, endpoint.clone(), arrivals.clone());
                        if let Some(old) = listeners.insert(endpoint, tasks.spawn_local(task)) {
                            old.abort();
                        }
                    }
                    Some(Command::Close(endpoint)) => {
                        if let Some(task) = listeners.remove(&endpoint) {
                            task.abort();
                        }
                    }
                    None => return,
                },
                Some((endpoint, stream, peer)) = arrived.recv() => {
                    handshakes.make_room(self.limits.handshakes);
                    let (tls, gatekeeper) = (self.tls.clone(), self.gatekeeper.clone());
                    let (limit, entries) = (self.limits.handshake_time, entries.clone());
                    let task = tasks.spawn_local(async move {
                        let enter = handshake::enter(stream, peer, endpoint, &tls, gatekeeper);
                        match tokio::time::timeout(limit, Box::pin(enter)).await {
                            Ok(Ok(entered)) => drop(entries.send(entered).await),
                            Ok(Err(error)) => tracing::debug!(%peer, %error, "rdp client left"),
                            Err(_) => tracing::debug!(%peer, "rdp client too slow"),
                        }
                    });
                    handshakes.push(peer.ip(), task);
                },
                Some(entered) = entered.recv() => {
                    if clients.len() >= self.limits.clients {
                        let session = entered.admission.session;
                        tracing::warn!(%session, "too many rdp clients");
                        continue;
                    }
                    clients.spawn_local(Box::pin(connection::serve(entered)));
                },
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                Some(_) = clients.join_next(), if !clients.is_empty() => {}
            }
        }
    }
}

type Arrival = (Endpoint, TcpStream, SocketAddr);

async fn accept(listener: TcpListener, endpoint: Endpoint, arrivals: mpsc::Sender<Arrival>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                watch_peer(&stream);
                if arrivals.send((endpoint.clone(), stream, peer)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "rdp connection lost before it was accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Lets the kernel notice a peer that is gone without a word: after 20 s of silence it asks, after
/// 40 s it gives up.
fn watch_peer(stream: &TcpStream) {
    use rustix::net::sockopt;
    let set = || -> rustix::io::Result<()> {
        sockopt::set_tcp_nodelay(stream, true)?;
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, Duration::from_secs(20))?;
        sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
        sockopt::set_tcp_keepcnt(stream, 4)
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "no keep-alive on an rdp connection");
    }
}
