//! Virtual channels: which of them a client joined, and how messages go over them.
//!
//! A message of a static channel comes in chunks ([`chunk`]), each in an MCS message of its own.
//! The dynamic channels ([`dynamic`]) are carried in messages of one static channel. Channels that
//! are not known here are never joined: so drives, printers, ports and smart cards of a client stay
//! outside.

pub mod chunk;
pub mod dynamic;

use ironrdp_acceptor::Acceptor;
use ironrdp_core::{EncodeResult, encode_vec, impl_as_any};
use ironrdp_pdu::PduResult;
use ironrdp_pdu::gcc::ChannelName;
use ironrdp_pdu::mcs::SendDataIndication;
use ironrdp_pdu::x224::X224;
use ironrdp_svc::{StaticChannelSet, SvcMessage, SvcProcessor, SvcServerProcessor};

use super::sound;
use chunk::{ChunkError, Reassembly};

/// Longest message of the channel that carries the dynamic ones, bytes: each message is one chunk
/// there.
const MAX_DYNAMIC_MESSAGE_BYTES: usize = 16 << 10;

/// A static channel that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Static {
    /// The one that carries the dynamic channels, `drdynvc`.
    Dynamic,
    /// The clipboard, `cliprdr`.
    Clipboard,
    /// Sound out, `rdpsnd`.
    Sound,
}

impl Static {
    /// All that are served.
    pub const ALL: [Static; 3] = [Static::Dynamic, Static::Clipboard, Static::Sound];

    fn name(self) -> ChannelName {
        match self {
            Static::Dynamic => ChannelName::from_static(b"drdynvc\0"),
            Static::Clipboard => ChannelName::from_static(b"cliprdr\0"),
            Static::Sound => ChannelName::from_static(b"rdpsnd\0\0"),
        }
    }

    fn max_bytes(self) -> usize {
        match self {
            Static::Dynamic => MAX_DYNAMIC_MESSAGE_BYTES,
            // Until the policy says otherwise.
            Static::Clipboard => 0,
            Static::Sound => sound::MAX_MESSAGE_BYTES,
        }
    }
}

/// Stands for a channel during the handshake; what comes over it is read here instead.
#[derive(Debug)]
struct Named(ChannelName);

impl_as_any!(Named);

impl SvcProcessor for Named {
    fn channel_name(&self) -> ChannelName {
        self.0.clone()
    }

    fn process(&mut self, _: &[u8]) -> PduResult<Vec<SvcMessage>> {
        Ok(Vec::new())
    }
}

impl SvcServerProcessor for Named {}

/// Has the handshake join the channels that are served.
pub fn offer(acceptor: &mut Acceptor) {
    for channel in Static::ALL {
        acceptor.attach_dynamic_static_channel(Named(channel.name()));
    }
}

/// The static channels of one client.
#[derive(Debug)]
pub struct Channels {
    user: u16,
    joined: Vec<Joined>,
}

#[derive(Debug)]
struct Joined {
    channel: Static,
    id: u16,
    incoming: Reassembly,
}

impl Channels {
    /// The channels a client joined, as the handshake says; `user` is the server's own number.
    pub fn new(set: &StaticChannelSet, user: u16) -> Self {
        let joined = Static::ALL.into_iter().filter_map(|channel| {
            let id = set.get_channel_id_by_channel_name(&channel.name())?;
            Some(Joined { channel, id, incoming: Reassembly::new(channel.max_bytes()) })
        });
        Channels { user, joined: joined.collect() }
    }

    /// Whether the client joined it.
    pub fn has(&self, channel: Static) -> bool {
        self.joined.iter().any(|one| one.channel == channel)
    }

    /// Messages of a channel that begin from now on may have so many bytes.
    pub fn set_limit(&mut self, channel: Static, bytes: usize) {
        for one in self.joined.iter_mut().filter(|one| one.channel == channel) {
            one.incoming.set_limit(bytes);
        }
    }

    /// Takes what came for an MCS channel, and gives the message it completes, or why it is not
    /// taken: a chunk that is none, or a message over the channel's limit; the rest of such a
    /// message is passed over. None for what is nobody's and what is not whole yet.
    pub fn take(&mut self, id: u16, chunk: &[u8]) -> Option<(Static, Result<Vec<u8>, ChunkError>)> {
        let one = self.joined.iter_mut().find(|one| one.id == id)?;
        let message = one.incoming.push(chunk).transpose()?;
        Some((one.channel, message))
    }

    /// The way to the client over a channel that it joined.
    pub fn carrier(&self, channel: Static) -> Option<Carrier> {
        let one = self.joined.iter().find(|one| one.channel == channel)?;
        Some(Carrier { user: self.user, id: one.id })
    }

    /// Appends a message to `out` as the wire has it. Nothing, where the client did not join.
    ///
    /// # Errors
    /// When the encoder refuses, which it does for nothing this long.
    pub fn append(&self, out: &mut Vec<u8>, channel: Static, message: &[u8]) -> EncodeResult<()> {
        self.carrier(channel).map_or(Ok(()), |carrier| carrier.append(out, message))
    }
}

/// The way to a client over one channel, for those who do not read from it.
#[derive(Debug, Clone, Copy)]
pub struct Carrier {
    user: u16,
    id: u16,
}

impl Carrier {
    /// Appends a message to `out` as the wire has it.
    ///
    /// # Errors
    /// When the encoder refuses, which it does for nothing this long.
    pub fn append(self, out: &mut Vec<u8>, message: &[u8]) -> EncodeResult<()> {
        for chunk in chunk::chunks(message) {
            let indication = SendDataIndication {
                initiator_id: self.user,
                channel_id: self.id,
                user_data: chunk.into(),
            };
            out.extend_from_slice(&encode_vec(&X224(indication))?);
        }
        Ok(())
    }
}
