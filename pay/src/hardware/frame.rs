//! Ledger's packets on USB HID: 64 bytes, each with channel, tag and sequence number; the first one
//! says how long the message is.

/// Bytes of one packet.
pub const PACKET: usize = 64;
/// Channel, tag and sequence number.
const HEADER: usize = 5;
const CHANNEL: [u8; 2] = [0x01, 0x01];
const TAG: u8 = 0x05;
/// Longest message, in bytes: an answer of 256 and its status.
pub const MESSAGE_BYTES_MAX: usize = 258;

/// Why packets are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not of this conversation.
    #[error("a packet of another channel or kind came from the device")]
    Header,
    /// One is missing or came twice.
    #[error("packet {found} came from the device where {wanted} was due")]
    Sequence {
        /// The number that was due.
        wanted: u16,
        /// The number that came.
        found: u16,
    },
    /// Longer than any answer.
    #[error("the device announces {0} bytes; an answer has at most {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// Not 64 bytes.
    #[error("a packet of {0} bytes came from the device; 64 are right")]
    Packet(usize),
}

/// Splits a message into packets, the last one filled up with zeros.
pub fn split(message: &[u8]) -> Vec<[u8; PACKET]> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
    let stream = [&length[..], message].concat();
    let parts = stream.chunks(PACKET - HEADER).zip(0u16..);
    parts
        .map(|(part, sequence)| {
            let mut packet = [0; PACKET];
            packet[..2].copy_from_slice(&CHANNEL);
            packet[2] = TAG;
            packet[3..HEADER].copy_from_slice(&sequence.to_be_bytes());
            packet[HEADER..HEADER + part.len()].copy_from_slice(part);
            packet
        })
        .collect()
}

/// Puts packets together again.
#[derive(Debug, Default)]
pub struct Joiner {
    message: Vec<u8>,
    length: Option<usize>,
    sequence: u16,
}

impl Joiner {
    /// Takes the next packet; gives the message when it was the last one.
    ///
    /// # Errors
    /// When it is none, or not the one that is due.
    pub fn push(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        let packet: &[u8; PACKET] =
            packet.try_into().map_err(|_| FrameError::Packet(packet.len()))?;
        let (header, mut rest) = packet.split_at(HEADER);
        let &[a, b, tag, high, low] = header else { return Err(FrameError::Header) };
        if [a, b] != CHANNEL || tag != TAG {
            return Err(FrameError::Header);
        }
        let found = u16::from_be_bytes([high, low]);
        if found != self.sequence {
            return Err(FrameError::Sequence { wanted: self.sequence, found });
        }
        self.sequence += 1;
        let length = match (self.length, rest) {
            (Some(length), _) => length,
            (None, [high, low, after @ ..]) => {
                rest = after;
                usize::from(u16::from_be_bytes([*high, *low]))
            }
            (None, _) => return Err(FrameError::Header),
        };
        if length > MESSAGE_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        self.length = Some(length);
        let wanted = length - self.message.len();
        self.message.extend_from_slice(&rest[..wanted.min(rest.len())]);
        let whole = self.message.len() == length;
        Ok(whole.then(|| std::mem::take(&mut self.message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_length_come_back() {
        for length in 0..=MESSAGE_BYTES_MAX {
            let message: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let packets = split(&message);
            let mut joiner = Joiner::default();
            let (last, others) = packets.split_last().unwrap();
            for packet in others {
                assert_eq!(joiner.push(packet), Ok(None));
            }
            assert_eq!(joiner.push(last), Ok(Some(message)), "{length}");
        }
    }

    #[test]
    fn a_denial_is_one_packet() {
        let packets = split(&[0x69, 0x85]);
        assert_eq!(packets[0][..9], [1, 1, 5, 0, 0, 0, 2, 0x69, 0x85]);
        assert_eq!(packets.len(), 1);
    }

    #[test]
    fn packets_that_are_not_due_are_refused() {
        let packets = split(&[7; 200]);
        let push = |packet: &[u8]| Joiner::default().push(packet);
        assert_eq!(push(&packets[1]), Err(FrameError::Sequence { wanted: 0, found: 1 }));
        assert_eq!(push(&packets[0][..63]), Err(FrameError::Packet(63)));
        let mut other = packets[0];
        other[2] = 6;
        assert_eq!(push(&other), Err(FrameError::Header));
        let mut long = packets[0];
        long[5..7].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(push(&long), Err(FrameError::TooLong(65_535)));
    }
}
