//! Chunks: up to 10 MiB of a session's media in sealed pieces, with a header that is a leaf of the
//! session's tree.

mod open;

pub(crate) use open::ChunkOpener;
pub use open::open_chunk;

use crate::cbor::{CborError, Decoder, Encoder};
use crate::seal::{self, ChunkKey, PIECE_MAX_BYTES, PieceAddress, SealError, SessionSecret};
use crate::tree::leaf_hash;
use crate::{FORMAT_VERSION, Hash, SessionId};

/// Most plaintext in a chunk, bytes.
pub const CHUNK_MAX_BYTES: u64 = 10 << 20;
/// Most pieces in a chunk. Pieces follow fragments of about a second and may be short, so there may
/// be more than the plaintext alone would need.
pub const CHUNK_MAX_PIECES: u64 = 4096;
/// Longest encoded header, bytes.
pub const HEADER_MAX_BYTES: usize = 1024;
/// Longest initialisation segment, bytes.
pub const INIT_MAX_BYTES: u64 = 64 << 10;
/// Pieces that go untried after one that compression did not shrink: most media is compressed
/// already.
const COMPRESSION_PAUSE_PIECES: u64 = 15;

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// Fragmented MP4: an initialisation segment, then fragments.
    Video,
    /// Records of input, windows and decisions.
    Events,
}

impl MediaKind {
    /// The code in encodings.
    pub fn code(self) -> u64 {
        match self {
            MediaKind::Video => 0,
            MediaKind::Events => 1,
        }
    }

    /// The kind of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        [MediaKind::Video, MediaKind::Events].into_iter().find(|kind| kind.code() == code)
    }
}

/// Why time is missing from a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The source was not reachable or ended unexpectedly.
    SourceLost,
    /// The source was there and delivered nothing.
    SourceStalled,
    /// The recorder was stopped without warning: a crash or a power cut.
    Crash,
    /// The disk did not take the data.
    Storage,
    /// More came in than could be processed.
    Overload,
    /// Stored data was damaged and taken out.
    Damaged,
}

impl GapReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [GapReason; 6] = [
        GapReason::SourceLost,
        GapReason::SourceStalled,
        GapReason::Crash,
        GapReason::Storage,
        GapReason::Overload,
        GapReason::Damaged,
    ];

    /// The code in the encoding.
    pub fn code(self) -> u64 {
        Self::ALL.iter().position(|reason| *reason == self).unwrap_or_default() as u64
    }

    /// The reason of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).copied()
    }

    /// The reason in words, also its stable name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::SourceLost => "source lost",
            GapReason::SourceStalled => "source stalled",
            GapReason::Crash => "recorder stopped without warning",
            GapReason::Storage => "storage refused",
            GapReason::Overload => "overload",
            GapReason::Damaged => "stored data damaged",
        }
    }
}

/// Time that is missing before a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How long, microseconds of the stream clock.
    pub length_us: u64,
    /// Why.
    pub reason: GapReason,
}

impl Gap {
    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.array(2).uint(self.length_us).uint(self.reason.code());
    }

    pub(crate) fn decode(d: &mut Decoder<'_>, field: &'static str) -> Result<Self, CborError> {
        d.array_of(field, 2)?;
        let length_us = d.u64(field)?;
        let code = d.u64(field)?;
        let reason = GapReason::from_code(code)
            .ok_or_else(|| d.value_error(field, format!("unknown gap reason {code}")))?;
        Ok(Gap { length_us, reason })
    }
}

/// A stretch of time by both clocks, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan {
    /// Start, since 1970 by the device's clock.
    pub wall_start_us: u64,
    /// End, since 1970 by the device's clock.
    pub wall_end_us: u64,
    /// Start, since the session began; this clock never jumps.
    pub stream_start_us: u64,
    /// End, since the session began.
    pub stream_end_us: u64,
}

/// A chunk's header. Its encoding is the data of a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHeader {
    /// The session.
    pub session: SessionId,
    /// The chunk's index, which is its leaf's index.
    pub index: u64,
    /// What it holds.
    pub kind: MediaKind,
    /// When.
    pub time: TimeSpan,
    /// Bytes of plaintext.
    pub plaintext_bytes: u64,
    /// Of these, the initialisation segment at the start.
    pub init_bytes: u64,
    /// Bytes of the framed, sealed pieces.
    pub sealed_bytes: u64,
    /// Number of pieces, the empty last one included.
    pub pieces: u64,
    /// The random part of the pieces' nonces.
    pub nonce: [u8; 16],
    /// BLAKE3 over the framed, sealed pieces.
    pub sealed_hash: Hash,
    /// The commitment to the chunk's key.
    pub key_commitment: Hash,
    /// Time missing before it.
    pub gap_before: Option<Gap>,
}

impl ChunkHeader {
    /// The deterministic encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(16).uint(0).uint(FORMAT_VERSION).uint(1).bytes(self.session.as_bytes());
        let numbers = [
            self.index,
            self.kind.code(),
            self.time.wall_start_us,
            self.time.wall_end_us,
            self.time.stream_start_us,
            self.time.stream_end_us,
            self.plaintext_bytes,
            self.init_bytes,
            self.sealed_bytes,
            self.pieces,
        ];
        for (key, number) in (2..).zip(numbers) {
            e.uint(key).uint(number);
        }
        e.uint(12).bytes(&self.nonce);
        e.uint(13).bytes(self.sealed_hash.as_bytes());
        e.uint(14).bytes(self.key_commitment.as_bytes());
        e.uint(15);
        match &self.gap_before {
            Some(gap) => gap.encode(&mut e),
            None => {
                e.null();
            }
        }
        e.finish()
    }

    /// Reads the deterministic encoding and checks what can be checked in the header alone.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("chunk", 16)?;
        d.version("chunk.version", FORMAT_VERSION)?;
        let session = d.key("chunk.session", 1)?.session_id("chunk.session")?;
        let index = d.key("chunk.index", 2)?.u64("chunk.index")?;
        let code = d.key("chunk.kind", 3)?.u64("chunk.kind")?;
        let kind = MediaKind::from_code(code)
            .ok_or_else(|| d.value_error("chunk.kind", format!("unknown kind {code}")))?;
        let time = TimeSpan {
            wall_start_us: d.key("chunk.wall_start", 4)?.u64("chunk.wall_start")?,
            wall_end_us: d.key("chunk.wall_end", 5)?.u64("chunk.wall_end")?,
            stream_start_us: d.key("chunk.stream_start", 6)?.u64("chunk.stream_start")?,
            stream_end_us: d.key("chunk.stream_end", 7)?.u64("chunk.stream_end")?,
        };
        if time.stream_end_us < time.stream_start_us {
            return Err(d.value_error("chunk.stream_end", "the chunk ends before it starts"));
        }
        let plaintext_bytes = d
            .key("chunk.plaintext_bytes", 8)?
            .u64_up_to("chunk.plaintext_bytes", CHUNK_MAX_BYTES)?;
        let init_bytes = d
            .key("chunk.init_bytes", 9)?
            .u64_up_to("chunk.init_bytes", INIT_MAX_BYTES.min(plaintext_bytes))?;
        let sealed_bytes = d.key("chunk.sealed_bytes", 10)?.u64_up_to(
            "chunk.sealed_bytes",
            CHUNK_MAX_BYTES + CHUNK_MAX_PIECES * seal::PIECE_OVERHEAD_BYTES as u64,
        )?;
        let pieces = d.key("chunk.pieces", 11)?.u64_up_to("chunk.pieces", CHUNK_MAX_PIECES)?;
        let header = ChunkHeader {
            session,
            index,
            kind,
            time,
            plaintext_bytes,
            init_bytes,
            sealed_bytes,
            pieces,
            nonce: d.key("chunk.nonce", 12)?.fixed("chunk.nonce")?,
            sealed_hash: d.key("chunk.sealed_hash", 13)?.hash("chunk.sealed_hash")?,
            key_commitment: d.key("chunk.key_commitment", 14)?.hash("chunk.key_commitment")?,
            gap_before: d
                .key("chunk.gap_before", 15)?
                .optional("chunk.gap_before", |d| Gap::decode(d, "chunk.gap_before"))?,
        };
        d.end("chunk")?;
        Ok(header)
    }

    /// The leaf hash: BLAKE3(0x00 ‖ encoding).
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.encode())
    }

    /// The address of a piece of this chunk.
    pub fn address(&self, piece: u64) -> PieceAddress {
        PieceAddress { session: self.session, chunk: self.index, piece, nonce: self.nonce }
    }
}

/// Why a chunk's sealed pieces are not what its header says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A piece.
    #[error(transparent)]
    Piece(#[from] SealError),
    /// The chunk is full.
    #[error(
        "chunk {chunk} would hold {bytes} bytes in {pieces} pieces; \
         a chunk holds {CHUNK_MAX_BYTES} bytes in {CHUNK_MAX_PIECES} pieces"
    )]
    Full {
        /// The chunk's index.
        chunk: u64,
        /// Bytes of plaintext it would have.
        bytes: u64,
        /// Pieces it would have.
        pieces: u64,
    },
    /// Its counts, lengths or end differ from the header.
    #[error("chunk {chunk}: {problem}")]
    Mismatch {
        /// The chunk's index.
        chunk: u64,
        /// What differs.
        problem: &'static str,
    },
}

/// Seals a chunk piece by piece as its media arrives.
///
/// Each piece's frame is complete when [`ChunkSealer::push`] returns, so it can be made durable at
/// once. The last piece is empty and carries the last-piece flag: when a piece is sealed nobody
/// knows yet whether another follows.
#[derive(Debug, Clone)]
pub struct ChunkSealer {
    session: SessionId,
    index: u64,
    kind: MediaKind,
    nonce: [u8; 16],
    key: ChunkKey,
    hasher: blake3::Hasher,
    plaintext_bytes: u64,
    sealed_bytes: u64,
    pieces: u64,
    untried: u64,
    resumed: bool,
}

impl ChunkSealer {
    /// Begins chunk `index` of `session` with 16 random bytes.
    pub fn new(
        session: SessionId,
        index: u64,
        kind: MediaKind,
        secret: &SessionSecret,
        nonce: [u8; 16],
    ) -> Self {
        ChunkSealer {
            session,
            index,
            kind,
            nonce,
            key: secret.chunk_key(index),
            hasher: blake3::Hasher::new(),
            plaintext_bytes: 0,
            sealed_bytes: 0,
            pieces: 0,
            untried: 0,
            resumed: false,
        }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The chunk's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The random part of the nonces, to be stored with the open chunk.
    pub fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// Pieces sealed so far, which is the next piece's index.
    pub fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Bytes of plaintext taken so far.
    pub fn plaintext_bytes(&self) -> u64 {
        self.plaintext_bytes
    }

    /// Bytes of framed pieces made so far.
    pub fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes
    }

    /// Whether `bytes` more of plaintext still fit, with room for the last piece.
    pub fn fits(&self, bytes: usize) -> bool {
        let pieces = bytes.div_ceil(PIECE_MAX_BYTES) as u64;
        self.plaintext_bytes + bytes as u64 <= CHUNK_MAX_BYTES
            && self.pieces + pieces < CHUNK_MAX_PIECES
    }

    /// Cuts `plaintext` into pieces and seals them; returns the frames in order.
    pub fn push(&mut self, plaintext: &[u8]) -> Result<Vec<Vec<u8>>, ChunkError> {
        if self.resumed {
            let problem = "it was taken up after a crash and can only be finished";
            return Err(ChunkError::Mismatch { chunk: self.index, problem });
        }
        if !self.fits(plaintext.len()) {
            return Err(ChunkError::Full {
                chunk: self.index,
                bytes: self.plaintext_bytes + plaintext.len() as u64,
                pieces: self.pieces + plaintext.len().div_ceil(PIECE_MAX_BYTES) as u64,
            });
        }
        plaintext.chunks(PIECE_MAX_BYTES).map(|piece| self.seal(piece, false)).collect()
    }

    fn seal(&mut self, plaintext: &[u8], last: bool) -> Result<Vec<u8>, ChunkError> {
        let address = PieceAddress {
            session: self.session,
            chunk: self.index,
            piece: self.pieces,
            nonce: self.nonce,
        };
        let mut frame = Vec::with_capacity(plaintext.len() + seal::PIECE_OVERHEAD_BYTES);
        let try_compression = self.untried == 0;
        let kept = self.key.seal(&address, plaintext, last, try_compression, &mut frame)?;
        self.untried = match (try_compression, kept) {
            (true, true) => 0,
            (true, false) => COMPRESSION_PAUSE_PIECES,
            (false, _) => self.untried - 1,
        };
        self.plaintext_bytes += plaintext.len() as u64;
        self.count(&frame);
        Ok(frame)
    }

    fn count(&mut self, frame: &[u8]) {
        self.hasher.update(frame);
        self.sealed_bytes += frame.len() as u64;
        self.pieces += 1;
    }

    /// Takes up a chunk after a crash: feeds the next of its stored frames, checked and opened, and
    /// returns its plaintext. Such a chunk takes no more media, it can only be finished: a piece
    /// that was never acknowledged may have been sealed with the next index, and a nonce serves
    /// once.
    pub fn resume(&mut self, frame: &[u8]) -> Result<Vec<u8>, ChunkError> {
        let mismatch = |problem| ChunkError::Mismatch { chunk: self.index, problem };
        let read = seal::read_frame(frame, self.index, self.pieces)?;
        if read.length != frame.len() {
            return Err(mismatch("bytes follow a stored piece"));
        }
        let address = PieceAddress {
            session: self.session,
            chunk: self.index,
            piece: self.pieces,
            nonce: self.nonce,
        };
        let opened = self.key.open(&address, &read)?;
        if opened.last {
            return Err(mismatch("its last piece is already sealed"));
        }
        if !self.fits(opened.plaintext.len()) {
            return Err(mismatch("more stored pieces than a chunk holds"));
        }
        self.resumed = true;
        self.plaintext_bytes += opened.plaintext.len() as u64;
        self.count(frame);
        Ok(opened.plaintext)
    }

    /// Ends the chunk: returns the frame of the empty last piece and the header.
    pub fn finish(
        mut self,
        time: TimeSpan,
        init_bytes: u64,
        gap_before: Option<Gap>,
    ) -> Result<(Vec<u8>, ChunkHeader), ChunkError> {
        let last = self.seal(&[], true)?;
        let header = ChunkHeader {
            session: self.session,
            index: self.index,
            kind: self.kind,
            time,
            plaintext_bytes: self.plaintext_bytes,
            init_bytes,
            sealed_bytes: self.sealed_bytes,
            pieces: self.pieces,
            nonce: self.nonce,
            sealed_hash: Hash(*self.hasher.finalize().as_bytes()),
            key_commitment: self.key.commitment(),
            gap_before,
        };
        Ok((last, header))
    }
}

#[cfg(test)]
mod tests;
