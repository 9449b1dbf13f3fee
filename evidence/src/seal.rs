//! Sealing pieces: compression where it pays, then XChaCha20-Poly1305 under a key of the chunk
//! alone.
//!
//! A sealed piece is framed as `flags (1 byte) ‖ ciphertext length (u32) ‖ ciphertext with its
//! 16-byte tag`. The key is derived from the session secret and the chunk index, so one chunk can
//! be disclosed without the others; the nonce is the chunk's 16 random bytes and the piece index,
//! with the top bit set in the last piece; the associated data pin the piece to its place.

use crate::{Hash, SessionId};
use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

/// Longest plaintext of a piece, bytes.
pub const PIECE_MAX_BYTES: usize = 64 << 10;
/// Bytes that sealing adds to a piece: the frame's head and the tag.
pub const PIECE_OVERHEAD_BYTES: usize = FRAME_HEAD_BYTES + TAG_BYTES;
/// Longest sealed piece, frame included, bytes.
pub const SEALED_PIECE_MAX_BYTES: usize = PIECE_MAX_BYTES + PIECE_OVERHEAD_BYTES;

const FRAME_HEAD_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
const FLAG_COMPRESSED: u8 = 1;
const FLAG_LAST: u8 = 2;
const ZSTD_LEVEL: i32 = 3;
/// How a Zstandard frame begins (RFC 8878 section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const KEY_CONTEXT: &str = "lucid 2026-11 piece key v1";
const COMMITMENT_CONTEXT: &str = "lucid 2026-11 chunk key commitment v1";

/// The 32 random bytes from which every key of a session follows. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct SessionSecret(Zeroizing<[u8; 32]>);

/// The key of one chunk's pieces. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct ChunkKey(Zeroizing<[u8; 32]>);

/// Where a piece stands, which its authentication covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceAddress {
    /// The session.
    pub session: SessionId,
    /// The chunk's index in the session.
    pub chunk: u64,
    /// The piece's index in the chunk.
    pub piece: u64,
    /// The chunk's random bytes.
    pub nonce: [u8; 16],
}

/// Why a sealed piece does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More plaintext than a piece holds.
    #[error("a piece of {0} bytes is over the limit of {PIECE_MAX_BYTES} bytes")]
    TooLong(usize),
    /// The frame ends early, is too long, or has unknown flags.
    #[error("piece {piece} of chunk {chunk}: its frame is malformed: {problem}")]
    Frame {
        /// The chunk's index.
        chunk: u64,
        /// The piece's index.
        piece: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// The tag does not verify: another key, another place, or changed bytes.
    #[error("piece {piece} of chunk {chunk} does not authenticate")]
    Authentication {
        /// The chunk's index.
        chunk: u64,
        /// The piece's index.
        piece: u64,
    },
    /// What was authenticated does not decompress into a piece.
    #[error("piece {piece} of chunk {chunk} does not decompress")]
    Compression {
        /// The chunk's index.
        chunk: u64,
        /// The piece's index.
        piece: u64,
    },
}

/// A piece's frame, still sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'b> {
    flags: u8,
    ciphertext: &'b [u8],
    /// Bytes the frame takes.
    pub length: usize,
}

impl Frame<'_> {
    /// Whether this is the chunk's last piece.
    pub fn is_last(&self) -> bool {
        self.flags & FLAG_LAST != 0
    }
}

/// What a piece held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedPiece {
    /// The plaintext.
    pub plaintext: Vec<u8>,
    /// Whether it is the chunk's last.
    pub last: bool,
}

/// A piece opened where it lay, or into the buffer for what was compressed.
pub(crate) struct PieceInPlace<'b> {
    /// The plaintext.
    pub(crate) plaintext: &'b [u8],
    /// Whether it is the chunk's last.
    pub(crate) last: bool,
    /// Bytes its frame took.
    pub(crate) length: usize,
}

impl SessionSecret {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// A secret of these random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        SessionSecret(Zeroizing::new(bytes))
    }

    /// The bytes, for wrapping.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of chunk `index`: derive_key over the secret and the index.
    pub fn chunk_key(&self, index: u64) -> ChunkKey {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(&*self.0).update(&index.to_be_bytes());
        ChunkKey(Zeroizing::new(*hasher.finalize().as_bytes()))
    }
}

impl std::fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionSecret(hidden)")
    }
}

impl std::fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChunkKey(hidden)")
    }
}

/// The associated data of a piece, 35 bytes.
fn associated_data(at: &PieceAddress, flags: u8) -> [u8; 35] {
    let mut out = [0; 35];
    out[0] = crate::FORMAT_VERSION as u8;
    out[1..17].copy_from_slice(at.session.as_bytes());
    out[17..25].copy_from_slice(&at.chunk.to_be_bytes());
    out[25..33].copy_from_slice(&at.piece.to_be_bytes());
    out[33] = u8::from(flags & FLAG_COMPRESSED != 0);
    out[34] = u8::from(flags & FLAG_LAST != 0);
    out
}

/// The nonce of a piece. The last piece's index carries the top bit: a chunk that is closed after a
/// crash gets its last piece where an unacknowledged one may have been lost, and the two must not
/// share a nonce.
///
/// XChaCha20 takes the first 16 bytes of its 24 into the key ([`ChunkKey::cipher`]); these are the
/// others, behind the four zero bytes of draft-irtf-cfrg-xchacha section 2.3.
fn nonce(at: &PieceAddress, flags: u8) -> Nonce {
    let last = u64::from(flags & FLAG_LAST != 0) << 63;
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&(at.piece | last).to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl ChunkKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// A key of these bytes, as a bundle discloses it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        ChunkKey(Zeroizing::new(bytes))
    }

    /// The bytes, for disclosure.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The commitment to this key that stands in the chunk's header. The AEAD alone does not bind a
    /// ciphertext to one key; with this, nobody can disclose a second key under which the same
    /// chunk reads differently.
    pub fn commitment(&self) -> Hash {
        Hash(blake3::derive_key(COMMITMENT_CONTEXT, &*self.0))
    }

    /// XChaCha20-Poly1305 with the chunk's random bytes as the first 16 of its nonce:
    /// ChaCha20-Poly1305 (RFC 8439) under the HChaCha20 subkey. None only if 32 bytes were no key.
    fn cipher(&self, nonce: &[u8; 16]) -> Option<LessSafeKey> {
        let mut subkey = hchacha::<R20>(&(*self.0).into(), &(*nonce).into());
        let key = UnboundKey::new(&CHACHA20_POLY1305, &subkey).ok().map(LessSafeKey::new);
        subkey.zeroize();
        key
    }

    /// Seals a piece and appends its frame to `out`. With `compress`, zstd is tried and kept if it
    /// saves 3 %; returns whether it was kept.
    pub fn seal(
        &self,
        at: &PieceAddress,
        plaintext: &[u8],
        last: bool,
        compress: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool, SealError> {
        if plaintext.len() > PIECE_MAX_BYTES {
            return Err(SealError::TooLong(plaintext.len()));
        }
        let packed = if compress { compress_if_it_pays(plaintext) } else { None };
        let mut flags = if last { FLAG_LAST } else { 0 };
        if packed.is_some() {
            flags |= FLAG_COMPRESSED;
        }
        let body = packed.as_deref().unwrap_or(plaintext);
        let start = out.len();
        out.push(flags);
        out.extend_from_slice(&((body.len() + TAG_BYTES) as u32).to_be_bytes());
        out.extend_from_slice(body);
        let sealed = &mut out[start + FRAME_HEAD_BYTES..];
        let aad = Aad::from(associated_data(at, flags));
        let tag = self
            .cipher(&at.nonce)
            .and_then(|c| c.seal_in_place_separate_tag(nonce(at, flags), aad, sealed).ok())
            // Fails only beyond 2^38 bytes; a piece has 2^16.
            .ok_or(SealError::TooLong(plaintext.len()))?;
        out.extend_from_slice(tag.as_ref());
        Ok(flags & FLAG_COMPRESSED != 0)
    }

    /// Opens a piece's frame.
    pub fn open(&self, at: &PieceAddress, frame: &Frame<'_>) -> Result<OpenedPiece, SealError> {
        let mut plaintext = Vec::with_capacity(frame.ciphertext.len());
        self.open_into(at, frame, &mut plaintext)?;
        Ok(OpenedPiece { plaintext, last: frame.is_last() })
    }

    /// Opens a piece's frame and appends what it held to `out`; on an error `out` is as it was.
    pub fn open_into(
        &self,
        at: &PieceAddress,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let (chunk, piece) = (at.chunk, at.piece);
        let start = out.len();
        out.extend_from_slice(frame.ciphertext);
        let aad = Aad::from(associated_data(at, frame.flags));
        let opened = self
            .cipher(&at.nonce)
            .and_then(|c| c.open_in_place(nonce(at, frame.flags), aad, &mut out[start..]).ok())
            .map(|plaintext| plaintext.len());
        let Some(length) = opened else {
            out.truncate(start);
            return Err(SealError::Authentication { chunk, piece });
        };
        out.truncate(start + length);
        if frame.flags & FLAG_COMPRESSED != 0 {
            let plaintext = decompress(&out[start..]);
            out.truncate(start);
            out.extend(plaintext.ok_or(SealError::Compression { chunk, piece })?);
        }
        Ok(())
    }

    /// Opens the frame at the start of `sealed` without copying it; the bytes are sealed no more.
    /// A compressed piece is unpacked into `unpacked`.
    pub(crate) fn open_in_place<'b>(
        &self,
        at: &PieceAddress,
        sealed: &'b mut [u8],
        unpacked: &'b mut Vec<u8>,
    ) -> Result<PieceInPlace<'b>, SealError> {
        let (chunk, piece) = (at.chunk, at.piece);
        let Frame { flags, length, .. } = read_frame(sealed, chunk, piece)?;
        let aad = Aad::from(associated_data(at, flags));
        let body = &mut sealed[FRAME_HEAD_BYTES..length];
        let opened = self
            .cipher(&at.nonce)
            .and_then(|c| c.open_in_place(nonce(at, flags), aad, body).ok())
            .ok_or(SealError::Authentication { chunk, piece })?;
        let plaintext = if flags & FLAG_COMPRESSED != 0 {
            *unpacked = decompress(opened).ok_or(SealError::Compression { chunk, piece })?;
            unpacked.as_slice()
        } else {
            opened
        };
        Ok(PieceInPlace { plaintext, last: flags & FLAG_LAST != 0, length })
    }
}

/// The compressed bytes, if they are at least 3 % fewer.
fn compress_if_it_pays(plaintext: &[u8]) -> Option<Vec<u8>> {
    let packed = zstd::bulk::compress(plaintext, ZSTD_LEVEL).ok()?;
    (packed.len() * 100 <= plaintext.len() * 97).then_some(packed)
}

/// What one Zstandard frame holds, if it is one frame and holds no more than a piece. Frames one
/// after the other and frames to be skipped are refused: readers differ on what those hold.
fn decompress(packed: &[u8]) -> Option<Vec<u8>> {
    if !packed.starts_with(&ZSTD_MAGIC)
        || zstd::zstd_safe::find_frame_compressed_size(packed) != Ok(packed.len())
    {
        return None;
    }
    zstd::bulk::decompress(packed, PIECE_MAX_BYTES).ok()
}

/// Reads the frame at the start of `bytes`, for the piece at `chunk` and `piece`.
pub fn read_frame(bytes: &[u8], chunk: u64, piece: u64) -> Result<Frame<'_>, SealError> {
    let wrong = |problem| SealError::Frame { chunk, piece, problem };
    let (head, rest) =
        bytes.split_first_chunk::<FRAME_HEAD_BYTES>().ok_or(wrong("it ends in its head"))?;
    let flags = head[0];
    if flags & !(FLAG_COMPRESSED | FLAG_LAST) != 0 {
        return Err(wrong("unknown flags"));
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length < TAG_BYTES {
        return Err(wrong("shorter than its tag"));
    }
    if length > PIECE_MAX_BYTES + TAG_BYTES {
        return Err(wrong("longer than a piece may be"));
    }
    let ciphertext = rest.get(..length).ok_or(wrong("it ends in its ciphertext"))?;
    Ok(Frame { flags, ciphertext, length: FRAME_HEAD_BYTES + length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(piece: u64) -> PieceAddress {
        PieceAddress {
            session: SessionId::new(1_793_000_000_000, [5; 10]),
            chunk: 7,
            piece,
            nonce: [9; 16],
        }
    }

    #[test]
    fn a_piece_opens_only_in_its_place_and_unchanged() {
        let key = SessionSecret::from_bytes([1; 32]).chunk_key(7);
        let mut framed = Vec::new();
        key.seal(&address(0), b"one second of video", true, true, &mut framed).unwrap();
        let frame = read_frame(&framed, 7, 0).unwrap();
        let opened = key.open(&address(0), &frame).unwrap();
        assert_eq!(opened, OpenedPiece { plaintext: b"one second of video".to_vec(), last: true });
        for other in [
            address(1),
            PieceAddress { chunk: 8, ..address(0) },
            PieceAddress { nonce: [8; 16], ..address(0) },
            PieceAddress { session: SessionId::new(1, [5; 10]), ..address(0) },
        ] {
            assert!(matches!(key.open(&other, &frame), Err(SealError::Authentication { .. })));
        }
        assert!(SessionSecret::from_bytes([1; 32]).chunk_key(8).open(&address(0), &frame).is_err());
        for at in 0..framed.len() {
            let mut changed = framed.clone();
            changed[at] ^= 1;
            let opened = read_frame(&changed, 7, 0).and_then(|frame| key.open(&address(0), &frame));
            assert!(opened.is_err(), "byte {at}");
        }
    }

    #[test]
    fn compression_is_kept_only_where_it_pays() {
        let key = SessionSecret::from_bytes([1; 32]).chunk_key(7);
        let mut out = Vec::new();
        assert!(key.seal(&address(0), &[0; PIECE_MAX_BYTES], false, true, &mut out).unwrap());
        assert!(out.len() < 200);
        let opened = key.open(&address(0), &read_frame(&out, 7, 0).unwrap()).unwrap();
        assert_eq!(opened.plaintext, [0; PIECE_MAX_BYTES]);
        let mut noise = vec![0; PIECE_MAX_BYTES];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        out.clear();
        assert!(!key.seal(&address(1), &noise, false, true, &mut out).unwrap());
        assert_eq!(out.len(), PIECE_MAX_BYTES + PIECE_OVERHEAD_BYTES);
        let too_long = vec![0; PIECE_MAX_BYTES + 1];
        assert!(key.seal(&address(2), &too_long, false, true, &mut out).is_err());
    }

    /// What a forger with the key could write: any bytes, said to be compressed.
    fn open_forged(body: &[u8]) -> Result<OpenedPiece, SealError> {
        let key = SessionSecret::from_bytes([1; 32]).chunk_key(7);
        let at = address(0);
        let mut body = body.to_vec();
        let aad = Aad::from(associated_data(&at, FLAG_COMPRESSED));
        let cipher = key.cipher(&at.nonce).unwrap();
        cipher.seal_in_place_append_tag(nonce(&at, FLAG_COMPRESSED), aad, &mut body).unwrap();
        let mut framed = vec![FLAG_COMPRESSED];
        framed.extend_from_slice(&(body.len() as u32).to_be_bytes());
        framed.extend_from_slice(&body);
        let frame = read_frame(&framed, 7, 0).unwrap();
        key.open(&at, &frame)
    }

    #[test]
    fn a_compressed_piece_is_one_frame_and_cannot_swell_beyond_its_limit() {
        let refused = Err(SealError::Compression { chunk: 7, piece: 0 });
        let bomb = zstd::bulk::compress(&vec![0; 8 << 20], 3).unwrap();
        assert_eq!(open_forged(&bomb), refused);
        let one = zstd::bulk::compress(b"one", 3).unwrap();
        assert_eq!(open_forged(&one).unwrap().plaintext, b"one");
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, b'x'];
        for body in [
            [&one[..], &one].concat(),
            [&one[..], &skipped].concat(),
            [&skipped[..], &one].concat(),
            [&one[..], b"x"].concat(),
            one[..one.len() - 1].to_vec(),
            vec![],
        ] {
            assert_eq!(open_forged(&body), refused, "{body:02x?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = SessionSecret::from_bytes([0xab; 32]);
        assert_eq!(
            format!("{secret:?} {:?}", secret.chunk_key(0)),
            "SessionSecret(hidden) ChunkKey(hidden)"
        );
    }

    proptest! {
        #[test]
        fn any_piece_goes_both_ways(
            data in proptest::collection::vec(any::<u8>(), 0..5000), last: bool, compress: bool,
        ) {
            let key = SessionSecret::from_bytes([1; 32]).chunk_key(7);
            let mut framed = Vec::new();
            key.seal(&address(3), &data, last, compress, &mut framed).unwrap();
            let frame = read_frame(&framed, 7, 3).unwrap();
            prop_assert_eq!(frame.length, framed.len());
            let opened = key.open(&address(3), &frame).unwrap();
            prop_assert_eq!(opened, OpenedPiece { plaintext: data, last });
        }

        #[test]
        fn frames_of_any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let key = SessionSecret::from_bytes([1; 32]).chunk_key(7);
            if let Ok(frame) = read_frame(&data, 7, 0) {
                prop_assert!(key.open(&address(0), &frame).is_err());
            }
        }
    }
}
