//! From a fresh TCP connection to a client that is let in: negotiation, TLS, credentials,
//! capabilities.

use std::net::SocketAddr;
use std::sync::Arc;

use ironrdp_acceptor::{
    Acceptor, AcceptorResult, BeginResult, ConnectionSetupHandler, ConnectorError,
    ConnectorErrorExt as _, ConnectorResult, DesktopSize, ReceivedCredentials, accept_begin,
    accept_finalize_with,
};
use ironrdp_pdu::nego::SecurityProtocol;
use ironrdp_tokio::{FramedWrite as _, MovableTokioFramed};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use lucid_evidence::SessionId;

use super::activation::deactivate_all;
use super::capabilities::offered;
use super::channels::{self, Channels};
use crate::controller::ClientId;
use crate::session::{Admission, Attempt, Ended, Endpoint, Gatekeeper, Refused};

/// Longest user or desktop name a client may send, bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// Longest secret a client may send, bytes.
pub const MAX_SECRET_BYTES: usize = 512;
/// Size until the desktop is known, where an endpoint does not say.
const FIRST_SIZE: (u16, u16) = (1280, 720);

/// A connection after TLS.
pub type Wire = MovableTokioFramed<TlsStream<TcpStream>>;

/// Why a client did not get in. Says nothing of what it showed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It does not speak RDP, or not as we do.
    #[error("the client does not speak rdp with tls: {detail}")]
    Protocol {
        /// What was wrong.
        detail: String,
    },
    /// TLS failed.
    #[error("no tls with the client")]
    Tls(#[source] std::io::Error),
    /// It showed no credentials, or the wrong ones.
    #[error("the client was not let in")]
    NotAdmitted,
    /// What we say does not fit the protocol.
    #[error("the desktop's size cannot be told to the client")]
    Size,
}

/// A client that was let in.
pub struct Entered {
    /// Its connection.
    pub wire: Wire,
    /// What carried it here, to activate it again.
    pub acceptor: Acceptor,
    /// What it can do.
    pub result: AcceptorResult,
    /// The virtual channels it joined.
    pub channels: Channels,
    /// What it may see.
    pub admission: Admission,
    /// To be told how it ended.
    pub leave: Leave,
}

fn protocol(error: ConnectorError) -> HandshakeError {
    HandshakeError::Protocol { detail: error.to_string() }
}

/// Runs the connection sequence. Ends with a client let in, or with an error; the owner sets its
/// time limit.
///
/// # Errors
/// Why the client did not get in.
pub async fn enter(
    stream: TcpStream,
    peer: SocketAddr,
    endpoint: Endpoint,
    tls: &TlsAcceptor,
    gatekeeper: Arc<dyn Gatekeeper>,
) -> Result<Entered, HandshakeError> {
    let (width, height) = gatekeeper.size(&endpoint).unwrap_or(FIRST_SIZE);
    let size = DesktopSize { width, height };
    let mut acceptor = Acceptor::new(SecurityProtocol::SSL, size, offered(width, height), None);
    channels::offer(&mut acceptor);
    let plain = MovableTokioFramed::new(stream);
    let stream = match accept_begin(plain, &mut acceptor).await.map_err(protocol)? {
        BeginResult::ShouldUpgrade(stream) => stream,
        // Never without TLS.
        BeginResult::Continue(_) => {
            return Err(HandshakeError::Protocol { detail: "it does not offer tls".into() });
        }
    };
    let stream = tls.accept(stream).await.map_err(HandshakeError::Tls)?;
    acceptor.mark_security_upgrade_as_done();
    let mut door = Door { peer, endpoint, gatekeeper, admission: None };
    let framed = MovableTokioFramed::new(stream);
    let finalized = accept_finalize_with(framed, &mut acceptor, &mut door).await;
    let Some((admission, leave)) = door.admission.take() else {
        return Err(HandshakeError::NotAdmitted);
    };
    let (mut wire, mut result) = finalized.map_err(protocol)?;
    let channels = Channels::new(&result.static_channels, result.user_channel_id);
    let actual = (admission.desktop.width, admission.desktop.height);
    if actual != (width, height) {
        (wire, acceptor, result) = resize(wire, acceptor, result, actual).await?;
    }
    Ok(Entered { wire, acceptor, result, channels, admission, leave })
}

/// Tells the gatekeeper when a client that was let in is gone, whatever becomes of its connection.
pub struct Leave {
    gatekeeper: Arc<dyn Gatekeeper>,
    session: SessionId,
    client: ClientId,
    ended: Ended,
}

impl Leave {
    /// How it ended; without this the connection was lost.
    pub fn say(mut self, ended: Ended) {
        self.ended = ended;
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.gatekeeper.left(self.session, self.client, self.ended);
    }
}

/// Activates a client again with another size.
async fn resize(
    mut wire: Wire,
    acceptor: Acceptor,
    result: AcceptorResult,
    (width, height): (u16, u16),
) -> Result<(Wire, Acceptor, AcceptorResult), HandshakeError> {
    let bytes = deactivate_all(result.user_channel_id, result.io_channel_id)
        .map_err(|_| HandshakeError::Size)?;
    let detail = |error: std::io::Error| HandshakeError::Protocol { detail: error.to_string() };
    wire.write_all(&bytes).await.map_err(detail)?;
    let (channels, size) = (result.static_channels, DesktopSize { width, height });
    let mut acceptor =
        Acceptor::new_deactivation_reactivation(acceptor, channels, size).map_err(protocol)?;
    let accepted = ironrdp_acceptor::accept_finalize(wire, &mut acceptor).await;
    let (wire, result) = accepted.map_err(protocol)?;
    Ok((wire, acceptor, result))
}

struct Door {
    peer: SocketAddr,
    endpoint: Endpoint,
    gatekeeper: Arc<dyn Gatekeeper>,
    admission: Option<(Admission, Leave)>,
}

#[async_trait::async_trait(?Send)]
impl ConnectionSetupHandler for Door {
    async fn handle_credentials(
        &mut self,
        received: Option<ReceivedCredentials>,
    ) -> ConnectorResult<()> {
        let refused = || ConnectorError::general("not let in");
        let credentials = received.ok_or_else(refused)?.credentials;
        let secret = Zeroizing::new(credentials.password);
        let (desktop, user) = named(credentials.domain.as_deref(), &credentials.username);
        let longest = desktop.as_ref().map_or(0, String::len).max(user.len());
        if longest > MAX_NAME_BYTES || secret.len() > MAX_SECRET_BYTES {
            return Err(refused());
        }
        let (endpoint, peer) = (self.endpoint.clone(), self.peer);
        let attempt = Attempt { endpoint, desktop, user, secret, peer };
        let gatekeeper = self.gatekeeper.clone();
        // In a task of its own, so that a handshake that is given up leaves no session half open:
        // what comes of it is dropped, and so told to have left.
        let decision = tokio::task::spawn_local(async move {
            let admission = gatekeeper.admit(attempt).await?;
            let (session, client) = (admission.session, admission.client);
            let leave = Leave { gatekeeper, session, client, ended: Ended::Lost };
            Ok::<_, Refused>((admission, leave))
        });
        let decision = decision.await.map_err(|_| refused())?;
        self.admission = Some(decision.map_err(|_| refused())?);
        Ok(())
    }
}

/// The desktop and the user of what a client sent: `desktop\user`, in one field or in two.
pub fn named(domain: Option<&str>, user: &str) -> (Option<String>, String) {
    match (user.split_once('\\'), domain.filter(|domain| !domain.is_empty())) {
        (Some((desktop, user)), _) => (Some(desktop.to_owned()), user.to_owned()),
        (None, Some(domain)) => (Some(domain.to_owned()), user.to_owned()),
        (None, None) => (None, user.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desktop_may_stand_before_the_user_or_in_the_domain() {
        let both = (Some("bench".to_owned()), "anna".to_owned());
        assert_eq!(named(None, "bench\\anna"), both);
        assert_eq!(named(Some("bench"), "anna"), both);
        assert_eq!(named(Some("other"), "bench\\anna"), both);
        assert_eq!(named(Some(""), "anna"), (None, "anna".to_owned()));
    }
}
