//! Accepts connections, plain and TLS, and serves them within limits of number and time.
//!
//! | limit | at it |
//! |---|---|
//! | [`CONNECTIONS_MAX`] connections | a plain one is told `busy` and closed, a TLS one closed |
//! | [`CONNECTIONS_EACH_MAX`] of one network | the same |
//! | [`HANDSHAKE_WITHIN`] for TLS | closed |
//! | [`HEADERS_WITHIN`] for a request's head, also between requests | closed |
//! | [`HEAD_BYTES_MAX`], [`HEADERS_MAX`] of a head | 431 and closed |
//! | [`STREAMS_MAX`] requests at once over one HTTP/2 connection | the browser waits |

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::Peer;
use super::places::{CONNECTIONS_EACH_MAX, CONNECTIONS_MAX, Full, Place, Places};
use crate::auth::Identity;
use crate::supervisor::Reporter;

/// Longest a TLS handshake may take.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Longest the head of a request may take, counted from the end of the one before.
pub const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Largest head of a request, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields of a request.
pub const HEADERS_MAX: usize = 64;
/// Requests at once over one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 64;
/// Longest a connection may finish its answer after the daemon was asked to stop.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// How often a listener without callers says that it is alive.
const BEAT: Duration = Duration::from_secs(5);
/// Pause after a failed accept: running out of descriptors is not mended by asking faster.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
    Retry-After: 5\r\nConnection: close\r\nContent-Length: 111\r\n\r\n\
    {\"type\":\"urn:lucid:problem:busy\",\"title\":\"Too much to do at once\",\
    \"status\":503,\"detail\":\"too many connections\"}";

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (`{key}`)")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The configuration key that gave it.
    pub key: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A bound address, kept over restarts of its component.
#[derive(Clone)]
pub struct Listener {
    socket: Arc<TcpListener>,
    tls: Option<TlsAcceptor>,
    places: Arc<Places>,
    /// Where it listens, with the port the system chose when 0 was asked for.
    pub address: SocketAddr,
}

/// Binds an address.
///
/// # Errors
/// When it is taken or not ours.
pub async fn bind(
    address: SocketAddr,
    key: &'static str,
    tls: Option<Arc<ServerConfig>>,
    places: &Arc<Places>,
) -> Result<Listener, ListenError> {
    let failed = |source| ListenError { address, key, source };
    let mut bound = TcpListener::bind(address).await;
    if bound.is_err() && address.is_ipv6() && address.ip().is_unspecified() {
        // A machine without IPv6; with it, the address above serves both.
        let all_of_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        bound = TcpListener::bind(all_of_v4).await.or(bound);
    }
    let socket = bound.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Listener {
        socket: Arc::new(socket),
        tls: tls.map(TlsAcceptor::from),
        places: Arc::clone(places),
        address,
    })
}

impl Listener {
    /// Serves until asked to stop, then lets open answers finish.
    ///
    /// # Errors
    /// None at present; accept errors are reported and waited out.
    pub async fn serve(
        self,
        router: Router,
        reporter: Reporter,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let connections = TaskTracker::new();
        let mut beat = tokio::time::interval(BEAT);
        reporter.healthy();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => {
                    reporter.beat();
                    continue;
                }
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = match self.places.take(peer.ip()) {
                        Ok(place) => place,
                        Err(full) => {
                            self.turn_away(stream, peer, full);
                            continue;
                        }
                    };
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(self.clone().connection(stream, peer, router, stop, place));
                }
                Err(error) => {
                    reporter.degraded(format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    reporter.healthy();
                }
            }
        }
        connections.close();
        connections.wait().await;
        Ok(())
    }

    fn turn_away(&self, mut stream: TcpStream, peer: SocketAddr, full: Full) {
        let limit = match full {
            Full::All => CONNECTIONS_MAX,
            Full::Network => CONNECTIONS_EACH_MAX,
        };
        tracing::debug!(%peer, ?full, limit, "connection refused: no place is left");
        if self.tls.is_none() {
            // One small write into an empty socket buffer does not wait.
            let _gone_already = stream.try_write(BUSY);
            drop(tokio::spawn(async move { stream.shutdown().await }));
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        router: Router,
        stop: CancellationToken,
        place: Place,
    ) {
        let _held = place;
        let _only_delays = stream.set_nodelay(true);
        match self.tls {
            None => http(stream, Peer { address: peer, tls: false }, None, router, stop).await,
            Some(acceptor) => {
                match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let peer = Peer { address: peer, tls: true };
                        http(stream, peer, None, router, stop).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                }
            }
        }
    }
}

/// Serves one connection. `who` is known where the connection itself proves it.
pub async fn http<S>(
    stream: S,
    peer: Peer,
    who: Option<Identity>,
    router: Router,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        if let Some(who) = who.clone() {
            request.extensions_mut().insert(who);
        }
        // A router is a pointer, and always ready.
        router.clone().call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADERS_WITHIN)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX);
    let builder = if peer.tls { builder } else { builder.http1_only() };
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(FINISH_WITHIN, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!(peer = %peer.address, "cut off by the stop"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_answer_counts_its_own_bytes() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
