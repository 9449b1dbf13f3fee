//! What a message of a client means, after the handshake.

use ironrdp_core::decode;
use ironrdp_pdu::mcs::McsMessage;
use ironrdp_pdu::rdp::headers::{ShareControlHeader, ShareControlPdu, ShareDataPdu};
use ironrdp_pdu::x224::X224;

/// Which of the two ways a message came.
pub use ironrdp_pdu::Action;

use super::input::{self, Input};

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Keys and the pointer.
    Inputs(Vec<Input>),
    /// The client shows nothing for the moment, or shows it again.
    Suppress(bool),
    /// The client wants the whole picture again.
    Repaint,
    /// A chunk for a virtual channel, by its MCS number.
    Channel(u16, Vec<u8>),
    /// Part of activating again after the desktop changed its size.
    Activation,
    /// The client leaves.
    Goodbye,
    /// Nothing that concerns us.
    Nothing,
}

/// Reads one message. What cannot be read means nothing: a client may send what we do not know.
pub fn read(io_channel: u16, action: Action, bytes: &[u8]) -> Message {
    if action == Action::FastPath {
        return input::fast_path(bytes).map_or(Message::Nothing, Message::Inputs);
    }
    let Ok(X224(message)) = decode::<X224<McsMessage<'_>>>(bytes) else {
        return Message::Nothing;
    };
    let data = match message {
        McsMessage::SendDataRequest(data) => data,
        McsMessage::DisconnectProviderUltimatum(_) => return Message::Goodbye,
        _ => return Message::Nothing,
    };
    if data.channel_id != io_channel {
        return Message::Channel(data.channel_id, data.user_data.into_owned());
    }
    let Ok(header) = decode::<ShareControlHeader>(&data.user_data) else {
        return Message::Nothing;
    };
    let header = match header.share_control_pdu {
        ShareControlPdu::ClientConfirmActive(_) => return Message::Activation,
        ShareControlPdu::Data(header) => header,
        _ => return Message::Nothing,
    };
    match header.share_data_pdu {
        ShareDataPdu::Input(pdu) => Message::Inputs(input::slow_path(pdu)),
        ShareDataPdu::SuppressOutput(pdu) => Message::Suppress(pdu.desktop_rect.is_none()),
        ShareDataPdu::RefreshRectangle(_) => Message::Repaint,
        ShareDataPdu::ShutdownRequest => Message::Goodbye,
        ShareDataPdu::Synchronize(_) | ShareDataPdu::Control(_) | ShareDataPdu::FontList(_) => {
            Message::Activation
        }
        _ => Message::Nothing,
    }
}
