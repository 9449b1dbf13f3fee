//! Messages of static channels in chunks, each under an eight byte header ([MS-RDPBCGR] 2.2.6.1.1).
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpbcgr/

/// Most bytes of a message in one chunk: what every client takes without being asked.
pub const CHUNK_BYTES: usize = 1600;
/// Most bytes in one chunk that comes: clients may be told to send up to this, and some do unasked.
pub const CHUNK_MAX_BYTES: usize = 16_256;
/// The first chunk of a message, the last one.
const FIRST: u32 = 0x1;
const LAST: u32 = 0x2;
/// The other side is shown the header, which dynamic channels want.
const SHOW_PROTOCOL: u32 = 0x10;
/// Compressed, which was not offered.
const COMPRESSED: u32 = 0x0020_0000;
const HEADER_BYTES: usize = 8;

/// Why a chunk is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Shorter than a header.
    #[error("a chunk of {found} bytes; its header alone has {HEADER_BYTES}")]
    Short {
        /// Its bytes.
        found: usize,
    },
    /// Longer than any chunk.
    #[error("a chunk of {found} bytes; it may have {CHUNK_MAX_BYTES}")]
    Long {
        /// Its bytes without the header.
        found: usize,
    },
    /// Compressed, which was not offered.
    #[error("a compressed chunk; compression was not offered")]
    Compressed,
    /// More than the channel takes.
    #[error("a message of {said} bytes; this channel takes {limit}")]
    Message {
        /// What it was said to have.
        said: u64,
        /// What it may have.
        limit: usize,
    },
    /// Chunks that do not make up what was said.
    #[error("chunks of {found} bytes for a message of {said}")]
    Length {
        /// What was said.
        said: usize,
        /// What came.
        found: usize,
    },
    /// A later chunk without a first.
    #[error("a chunk of a message that was not begun")]
    NotBegun,
}

/// Puts the chunks of one channel together.
#[derive(Debug)]
pub struct Reassembly {
    limit: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Between,
    Within {
        said: usize,
        data: Vec<u8>,
    },
    /// Until the last chunk: the message was refused.
    PassingOver,
}

impl Reassembly {
    /// For a channel whose messages have at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Reassembly { limit, state: State::Between }
    }

    /// Messages that begin from now on may have `limit` bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes a chunk with its header; gives the message when it is whole. Never holds more than
    /// the limit.
    ///
    /// # Errors
    /// What is wrong with it. What follows of the same message is passed over without a word.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Option<Vec<u8>>, ChunkError> {
        let short = ChunkError::Short { found: chunk.len() };
        let (length, rest) = chunk.split_first_chunk::<4>().ok_or(short)?;
        let (flags, data) = rest.split_first_chunk::<4>().ok_or(short)?;
        let (said, flags) = (u32::from_le_bytes(*length), u32::from_le_bytes(*flags));
        let (first, last) = (flags & FIRST != 0, flags & LAST != 0);
        if matches!(self.state, State::PassingOver) && !first {
            if last {
                self.state = State::Between;
            }
            return Ok(None);
        }
        let result = self.take(said, (first, last), flags & COMPRESSED != 0, data);
        if result.is_err() {
            self.state = if last { State::Between } else { State::PassingOver };
        }
        result
    }

    fn take(
        &mut self,
        said: u32,
        (first, last): (bool, bool),
        compressed: bool,
        chunk: &[u8],
    ) -> Result<Option<Vec<u8>>, ChunkError> {
        if compressed {
            return Err(ChunkError::Compressed);
        }
        if chunk.len() > CHUNK_MAX_BYTES {
            return Err(ChunkError::Long { found: chunk.len() });
        }
        let (said, mut data) = if first {
            let limit = self.limit;
            let length = usize::try_from(said).unwrap_or(usize::MAX);
            if length > limit {
                return Err(ChunkError::Message { said: said.into(), limit });
            }
            // A message that was broken off is forgotten.
            self.state = State::Between;
            (length, Vec::new())
        } else {
            match std::mem::replace(&mut self.state, State::Between) {
                State::Within { said, data } => (said, data),
                State::Between | State::PassingOver => return Err(ChunkError::NotBegun),
            }
        };
        let found = data.len() + chunk.len();
        if found > said || (last && found < said) {
            return Err(ChunkError::Length { said, found });
        }
        data.extend_from_slice(chunk);
        if last {
            return Ok(Some(data));
        }
        self.state = State::Within { said, data };
        Ok(None)
    }
}

/// The chunks of a message, each with its header.
pub fn chunks(message: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let count = message.len().div_ceil(CHUNK_BYTES).max(1);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    (0..count).map(move |index| {
        let from = index * CHUNK_BYTES;
        let data = message.get(from..).unwrap_or_default();
        let data = data.get(..CHUNK_BYTES).unwrap_or(data);
        let mut flags = SHOW_PROTOCOL;
        if index == 0 {
            flags |= FIRST;
        }
        if index + 1 == count {
            flags |= LAST;
        }
        let mut chunk = Vec::with_capacity(HEADER_BYTES + data.len());
        chunk.extend_from_slice(&length.to_le_bytes());
        chunk.extend_from_slice(&flags.to_le_bytes());
        chunk.extend_from_slice(data);
        chunk
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(said: u32, flags: u32, data: &[u8]) -> Vec<u8> {
        [&said.to_le_bytes()[..], &flags.to_le_bytes(), data].concat()
    }

    proptest! {
        #[test]
        fn a_message_comes_back_from_its_chunks(length in 0usize..10_000) {
            let message: Vec<u8> = (0..length).map(|n| (n % 253) as u8).collect();
            let mut reassembly = Reassembly::new(10_000);
            let mut whole = Vec::new();
            for chunk in chunks(&message) {
                prop_assert!(chunk.len() <= CHUNK_BYTES + HEADER_BYTES);
                whole.extend(reassembly.push(&chunk).unwrap());
            }
            prop_assert_eq!(whole, vec![message]);
        }

        /// Whatever comes: nothing over the limit is held or given out.
        #[test]
        fn nothing_over_the_limit_is_held(
            pieces in proptest::collection::vec((0u32..200, 0u32..4, 0usize..120), 0..60),
        ) {
            let mut reassembly = Reassembly::new(100);
            for (said, flags, length) in pieces {
                if let Ok(Some(message)) = reassembly.push(&chunk(said, flags, &vec![1; length])) {
                    prop_assert!(message.len() <= 100);
                }
                if let State::Within { data, said } = &reassembly.state {
                    prop_assert!(data.len() <= *said && *said <= 100);
                }
            }
        }
    }

    #[test]
    fn a_message_too_long_is_refused_once_and_the_next_is_taken() {
        let mut reassembly = Reassembly::new(10);
        let refused = ChunkError::Message { said: 11, limit: 10 };
        assert_eq!(reassembly.push(&chunk(11, FIRST, b"abc")), Err(refused));
        assert_eq!(reassembly.push(&chunk(11, 0, b"def")), Ok(None));
        assert_eq!(reassembly.push(&chunk(11, LAST, b"ghijk")), Ok(None));
        assert_eq!(reassembly.push(&chunk(2, FIRST | LAST, b"ok")), Ok(Some(b"ok".to_vec())));
        assert_eq!(reassembly.push(&chunk(2, LAST, b"no")), Err(ChunkError::NotBegun));
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let mut reassembly = Reassembly::new(100);
        let push = |reassembly: &mut Reassembly, bytes: &[u8]| reassembly.push(bytes).unwrap_err();
        assert_eq!(push(&mut reassembly, &[0; 7]), ChunkError::Short { found: 7 });
        let long = chunk(5, FIRST | LAST, b"longer");
        assert_eq!(push(&mut reassembly, &long), ChunkError::Length { said: 5, found: 6 });
        let short = chunk(5, FIRST | LAST, b"shrt");
        assert_eq!(push(&mut reassembly, &short), ChunkError::Length { said: 5, found: 4 });
        let packed = chunk(3, FIRST | LAST | COMPRESSED, b"abc");
        assert_eq!(push(&mut reassembly, &packed), ChunkError::Compressed);
        let huge = chunk(20_000, FIRST, &vec![0; CHUNK_MAX_BYTES + 1]);
        let mut large = Reassembly::new(30_000);
        let found = CHUNK_MAX_BYTES + 1;
        assert_eq!(push(&mut large, &huge), ChunkError::Long { found });
    }
}
