//! Deactivates a client and activates it again, with another size ([MS-RDPBCGR] 1.3.1.3).
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpbcgr/

use ironrdp_acceptor::{Acceptor, AcceptorResult, ConnectorError, DesktopSize};
use ironrdp_connector::Sequence as _;
use ironrdp_core::{EncodeError, EncodeResult, WriteBuf, encode_vec};
use ironrdp_pdu::mcs::SendDataIndication;
use ironrdp_pdu::rdp::headers::{ServerDeactivateAll, ShareControlHeader, ShareControlPdu};
use ironrdp_pdu::x224::X224;
use ironrdp_svc::StaticChannelSet;

/// Why a client cannot be activated again.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The client did not follow.
    #[error("the client does not activate again: {detail}")]
    Protocol {
        /// What was wrong.
        detail: String,
    },
    /// What we say does not fit the protocol.
    #[error("the client cannot be told of another size")]
    Encode(#[source] EncodeError),
}

fn protocol(error: ConnectorError) -> ActivationError {
    ActivationError::Protocol { detail: error.to_string() }
}

/// The message after which nothing may be sent until the client is active again.
///
/// # Errors
/// When the encoder refuses it.
pub fn deactivate_all(user_channel: u16, io_channel: u16) -> EncodeResult<Vec<u8>> {
    let header = ShareControlHeader {
        share_id: 0,
        pdu_source: io_channel,
        share_control_pdu: ShareControlPdu::ServerDeactivateAll(ServerDeactivateAll),
    };
    encode_vec(&X224(SendDataIndication {
        initiator_id: user_channel,
        channel_id: io_channel,
        user_data: encode_vec(&header)?.into(),
    }))
}

/// The way back to an active client.
pub struct Activation {
    acceptor: Acceptor,
    size: (u16, u16),
}

impl Activation {
    /// Begins, and appends to `out` what is said first.
    ///
    /// # Errors
    /// When it cannot be said.
    pub fn begin(
        acceptor: Acceptor,
        (user_channel, io_channel): (u16, u16),
        (width, height): (u16, u16),
        out: &mut Vec<u8>,
    ) -> Result<Self, ActivationError> {
        let goodbye = deactivate_all(user_channel, io_channel).map_err(ActivationError::Encode)?;
        out.extend_from_slice(&goodbye);
        let size = DesktopSize { width, height };
        // The static channels stay as they were joined; this set would only name them.
        let channels = StaticChannelSet::new();
        let acceptor =
            Acceptor::new_deactivation_reactivation(acceptor, channels, size).map_err(protocol)?;
        let mut activation = Activation { acceptor, size: (width, height) };
        activation.speak(out)?;
        Ok(activation)
    }

    /// The size the client is activated with.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Takes a message of the client that belongs to it. Gives what the client can do, once it is
    /// active again.
    ///
    /// # Errors
    /// A client that says something else.
    pub fn take(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<AcceptorResult>, ActivationError> {
        let mut said = WriteBuf::new();
        self.acceptor.step(message, None, &mut said).map_err(protocol)?;
        out.extend_from_slice(said.filled());
        self.speak(out)?;
        Ok(self.acceptor.get_result())
    }

    /// What is needed for the next time.
    pub fn into_acceptor(self) -> Acceptor {
        self.acceptor
    }

    /// Says what is to be said before the client speaks next.
    fn speak(&mut self, out: &mut Vec<u8>) -> Result<(), ActivationError> {
        while !self.acceptor.state().is_terminal() && self.acceptor.next_pdu_hint().is_none() {
            let mut said = WriteBuf::new();
            self.acceptor.step(&[], None, &mut said).map_err(protocol)?;
            out.extend_from_slice(said.filled());
        }
        Ok(())
    }
}
