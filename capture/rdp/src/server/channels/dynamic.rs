//! Dynamic channels: created by the server, each for one purpose ([MS-RDPEDYC], version 1: neither
//! priorities nor compression).
//!
//! [MS-RDPEDYC]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpedyc/

use ironrdp_core::{DecodeError, EncodeError, decode, encode_vec};
use ironrdp_dvc::pdu::{
    CapabilitiesRequestPdu, CapsVersion, ClosePdu, CreateRequestPdu, CreationStatus, DataFirstPdu,
    DataPdu, DrdynvcClientPdu, DrdynvcDataPdu, DrdynvcServerPdu,
};

/// Most bytes of a message in one fragment; with its header it fits one chunk.
const FRAGMENT_BYTES: usize = DrdynvcDataPdu::MAX_DATA_SIZE;

/// A dynamic channel that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dynamic {
    /// The client says which size it wants ([MS-RDPEDISP]).
    Display,
    /// Pictures as video ([MS-RDPEGFX]).
    Graphics,
}

impl Dynamic {
    /// Those for a client that takes no video.
    pub const PLAIN: [Dynamic; 1] = [Dynamic::Display];
    /// All there are.
    pub const ALL: [Dynamic; 2] = [Dynamic::Display, Dynamic::Graphics];

    fn name(self) -> &'static str {
        match self {
            Dynamic::Display => "Microsoft::Windows::RDS::DisplayControl",
            Dynamic::Graphics => ironrdp_egfx::CHANNEL_NAME,
        }
    }

    /// Longest message that is taken, bytes.
    fn max_bytes(self) -> usize {
        match self {
            // 16 bytes and 40 for each of 64 monitors.
            Dynamic::Display => 4 << 10,
            // 12 bytes for each of the 5462 pictures that a client may offer to have kept.
            Dynamic::Graphics => 68 << 10,
        }
    }

    fn id(self) -> u32 {
        // Zero is as good a number as any; one is easier to find in a dump.
        Self::ALL.iter().position(|one| *one == self).map_or(0, |at| at as u32) + 1
    }
}

/// Why a message is not taken. The channel it belongs to goes on with the next.
#[derive(Debug, thiserror::Error)]
pub enum DynamicError {
    /// Not a message of the protocol.
    #[error("no message of dynamic channels")]
    Decode(#[source] DecodeError),
    /// For a channel that is not open.
    #[error("data for dynamic channel {id}, which is not open")]
    NotOpen {
        /// Its number.
        id: u32,
    },
    /// More than the channel takes.
    #[error("a message of {said} bytes for the dynamic channel {channel:?}, which takes {limit}")]
    Message {
        /// Which.
        channel: Dynamic,
        /// What it was said to have, or has.
        said: usize,
        /// What it may have.
        limit: usize,
    },
    /// Compressed, which was not offered.
    #[error("compressed data for dynamic channel {id}; compression was not offered")]
    Compressed {
        /// Its number.
        id: u32,
    },
    /// What we say does not fit the protocol.
    #[error("a message of dynamic channels cannot be said")]
    Encode(#[source] EncodeError),
}

/// What a message of the client meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing for the channels' users.
    Nothing,
    /// The client is ready: these messages ask it to create the channels.
    Create(Vec<Vec<u8>>),
    /// A channel is open.
    Opened(Dynamic),
    /// A channel is not, or no longer, open.
    Closed(Dynamic),
    /// A message of a channel.
    Data(Dynamic, Vec<u8>),
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open,
    Within {
        said: usize,
        data: Vec<u8>,
    },
    /// The rest of a message that is not taken, bytes.
    Passing(usize),
}

/// The dynamic channels of one client.
#[derive(Debug)]
pub struct Dynamics {
    offered: &'static [Dynamic],
    asked: bool,
    states: [State; Dynamic::ALL.len()],
}

impl Dynamics {
    /// With these to be offered.
    pub fn new(offered: &'static [Dynamic]) -> Self {
        Dynamics { offered, asked: false, states: Default::default() }
    }

    /// The first message to the client.
    ///
    /// # Errors
    /// When the encoder refuses it.
    pub fn begin() -> Result<Vec<u8>, DynamicError> {
        let request = CapabilitiesRequestPdu::new(CapsVersion::V1, None);
        encode_vec(&DrdynvcServerPdu::Capabilities(request)).map_err(DynamicError::Encode)
    }

    /// Takes a message of the client.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, message: &[u8]) -> Result<Told, DynamicError> {
        match decode(message).map_err(DynamicError::Decode)? {
            DrdynvcClientPdu::Capabilities(_) if !self.asked => {
                self.asked = true;
                let create = self.offered.iter().map(|channel| {
                    let request = CreateRequestPdu::new(channel.id(), channel.name().to_owned());
                    encode_vec(&DrdynvcServerPdu::Create(request)).map_err(DynamicError::Encode)
                });
                Ok(Told::Create(create.collect::<Result<_, _>>()?))
            }
            DrdynvcClientPdu::Create(answer) => {
                let (channel, state) = self.state(answer.channel_id())?;
                if answer.creation_status() == CreationStatus::OK {
                    *state = State::Open;
                    return Ok(Told::Opened(channel));
                }
                *state = State::Closed;
                Ok(Told::Closed(channel))
            }
            DrdynvcClientPdu::Close(close) => {
                let (channel, state) = self.state(close.channel_id())?;
                *state = State::Closed;
                Ok(Told::Closed(channel))
            }
            DrdynvcClientPdu::Data(data) => self.data(data),
            _ => Ok(Told::Nothing),
        }
    }

    fn state(&mut self, id: u32) -> Result<(Dynamic, &mut State), DynamicError> {
        let states = Dynamic::ALL.into_iter().zip(&mut self.states);
        states.into_iter().find(|(one, _)| one.id() == id).ok_or(DynamicError::NotOpen { id })
    }

    fn data(&mut self, data: DrdynvcDataPdu) -> Result<Told, DynamicError> {
        let id = data.channel_id();
        let (channel, state) = self.state(id)?;
        let limit = channel.max_bytes();
        let before = std::mem::replace(state, State::Open);
        let (said, mut whole, part) = match (data, before) {
            (_, State::Closed) => {
                *state = State::Closed;
                return Err(DynamicError::NotOpen { id });
            }
            (DrdynvcDataPdu::Data(next), State::Passing(left)) => {
                match left.checked_sub(next.data().len()) {
                    Some(0) | None => {}
                    Some(left) => *state = State::Passing(left),
                }
                return Ok(Told::Nothing);
            }
            (DrdynvcDataPdu::DataFirst(first), _) => {
                let said = usize::try_from(first.length()).unwrap_or(usize::MAX);
                (said, Vec::new(), first.into_data())
            }
            (DrdynvcDataPdu::Data(next), State::Within { said, data }) => {
                (said, data, next.into_data())
            }
            (DrdynvcDataPdu::Data(all), State::Open) => {
                let all = all.into_data();
                (all.len(), Vec::new(), all)
            }
            _ => return Err(DynamicError::Compressed { id }),
        };
        let found = whole.len() + part.len();
        if said > limit || found > said {
            if let Some(left @ 1..) = said.checked_sub(found) {
                *state = State::Passing(left);
            }
            return Err(DynamicError::Message { channel, said: said.max(found), limit });
        }
        whole.extend_from_slice(&part);
        if found == said {
            return Ok(Told::Data(channel, whole));
        }
        *state = State::Within { said, data: whole };
        Ok(Told::Nothing)
    }

    /// Closes a channel, and gives the message that says so.
    ///
    /// # Errors
    /// When the encoder refuses it.
    pub fn close(&mut self, channel: Dynamic) -> Result<Vec<u8>, DynamicError> {
        let (_, state) = self.state(channel.id())?;
        *state = State::Closed;
        let close = ClosePdu::new(channel.id());
        encode_vec(&DrdynvcServerPdu::Close(close)).map_err(DynamicError::Encode)
    }

    /// Whether a channel is open.
    pub fn is_open(&self, channel: Dynamic) -> bool {
        let mut states = Dynamic::ALL.into_iter().zip(&self.states);
        states.any(|(one, state)| one == channel && !matches!(state, State::Closed))
    }
}

/// The messages that carry `message` over a channel, each at most one chunk long.
///
/// # Errors
/// When the encoder refuses, which it does for nothing this long.
pub fn fragments(channel: Dynamic, message: &[u8]) -> Result<Vec<Vec<u8>>, DynamicError> {
    let total = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let whole = message.len() < FRAGMENT_BYTES;
    let parts = message.chunks(FRAGMENT_BYTES).enumerate().map(|(index, part)| {
        let part = part.to_vec();
        let data = match index == 0 && !whole {
            true => DrdynvcDataPdu::DataFirst(DataFirstPdu::new(channel.id(), total, part)),
            false => DrdynvcDataPdu::Data(DataPdu::new(channel.id(), part)),
        };
        encode_vec(&DrdynvcServerPdu::Data(data)).map_err(DynamicError::Encode)
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironrdp_dvc::pdu::{CapabilitiesResponsePdu, CreateResponsePdu};
    use proptest::prelude::*;

    fn said(pdu: DrdynvcClientPdu) -> Vec<u8> {
        encode_vec(&pdu).unwrap()
    }

    fn open() -> Dynamics {
        let mut dynamics = Dynamics::new(&Dynamic::ALL);
        let ready = CapabilitiesResponsePdu::new(CapsVersion::V1);
        let told = dynamics.take(&said(DrdynvcClientPdu::Capabilities(ready))).unwrap();
        assert!(matches!(told, Told::Create(all) if all.len() == Dynamic::ALL.len()));
        for channel in Dynamic::ALL {
            let created = CreateResponsePdu::new(channel.id(), CreationStatus::OK);
            let told = dynamics.take(&said(DrdynvcClientPdu::Create(created))).unwrap();
            assert_eq!(told, Told::Opened(channel));
        }
        dynamics
    }

    fn data(id: u32, bytes: &[u8]) -> Vec<u8> {
        said(DrdynvcClientPdu::Data(DrdynvcDataPdu::Data(DataPdu::new(id, bytes.to_vec()))))
    }

    fn first(id: u32, total: u32, bytes: &[u8]) -> Vec<u8> {
        let first = DataFirstPdu::new(id, total, bytes.to_vec());
        said(DrdynvcClientPdu::Data(DrdynvcDataPdu::DataFirst(first)))
    }

    proptest! {
        /// The two sides say data alike, so what is sent can be read back.
        #[test]
        fn messages_come_back_from_their_fragments(length in 1usize..4096) {
            let message: Vec<u8> = (0..length).map(|n| (n % 249) as u8).collect();
            let mut dynamics = open();
            let mut got = Vec::new();
            for fragment in fragments(Dynamic::Display, &message).unwrap() {
                prop_assert!(fragment.len() <= super::super::chunk::CHUNK_BYTES);
                if let Told::Data(channel, whole) = dynamics.take(&fragment).unwrap() {
                    prop_assert_eq!(channel, Dynamic::Display);
                    got.push(whole);
                }
            }
            prop_assert_eq!(got, vec![message]);
        }
    }

    #[test]
    fn only_open_channels_take_data_and_no_more_than_their_limit() {
        let mut closed = Dynamics::new(&Dynamic::ALL);
        assert!(matches!(closed.take(&data(1, b"a")), Err(DynamicError::NotOpen { id: 1 })));
        let mut dynamics = open();
        assert!(matches!(dynamics.take(&data(99, b"a")), Err(DynamicError::NotOpen { id: 99 })));
        let long = first(1, 4097, b"a");
        assert!(matches!(dynamics.take(&long), Err(DynamicError::Message { said: 4097, .. })));
        // Its rest is passed over.
        for _ in 0..4 {
            assert_eq!(dynamics.take(&data(1, &[1; 1024])).unwrap(), Told::Nothing);
        }
        // More than was said.
        assert_eq!(dynamics.take(&first(1, 4, b"abc")).unwrap(), Told::Nothing);
        assert!(matches!(dynamics.take(&data(1, b"de")), Err(DynamicError::Message { .. })));
        assert_eq!(
            dynamics.take(&data(1, b"ok")).unwrap(),
            Told::Data(Dynamic::Display, b"ok".to_vec())
        );
        let close = said(DrdynvcClientPdu::Close(ClosePdu::new(1)));
        assert_eq!(dynamics.take(&close).unwrap(), Told::Closed(Dynamic::Display));
        assert!(!dynamics.is_open(Dynamic::Display));
        assert!(dynamics.is_open(Dynamic::Graphics));
        dynamics.close(Dynamic::Graphics).unwrap();
        assert!(matches!(dynamics.take(&data(2, b"a")), Err(DynamicError::NotOpen { id: 2 })));
        assert!(matches!(dynamics.take(&[]), Err(DynamicError::Decode(_))));
    }
}
