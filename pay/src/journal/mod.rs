//! The append-only, hash-chained journal: frames on a [`Medium`], and a mark of how far they are
//! durable.
//!
//! A frame is `length u32 | sequence u64 | check u32 | payload | hash 32`, integers big-endian. The
//! check covers the header and the hash before it, the hash covers the header, the payload and the
//! hash before it, so no byte is free. A frame is one append: it is there whole or not at all.
//!
//! After a frame is synced its sequence number and hash go, synced too, into one of two mark slots
//! in turn, and only then the append returns. So what lies before the mark was acknowledged and
//! must be whole: anything missing or altered there refuses to open. What lies behind it was never
//! acknowledged, and a tail that a crash tore is cut and reported.

mod file;
mod medium;
mod visits;

pub use file::{FileMedium, OpenFileError};
pub use medium::Medium;

use std::io::{self, Read};
use visits::Visits;

/// The longest payload of one frame, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;
const HEADER: usize = 16;
const HASH: usize = 32;
const MARK: usize = 8 + HASH + 8;
const CONTEXT_HEADER: &str = "lucid-pay journal v1 header";
const CONTEXT_FRAME: &str = "lucid-pay journal v1 frame";
const CONTEXT_MARK: &str = "lucid-pay journal v1 mark";

/// Why the journal cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Acknowledged bytes are not what was written. Nothing may be paid from such a journal.
    #[error(
        "the journal is damaged at frame {frame}: {what}; restore it from a copy, nothing is paid \
         from it"
    )]
    Damaged {
        /// Number of the first bad frame, from 0.
        frame: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// Acknowledged frames are missing at the end, as after restoring an old copy.
    #[error(
        "the journal ends after {found} frames, but {acknowledged} were acknowledged; an older \
         copy could pay twice, so nothing is paid from it"
    )]
    Missing {
        /// Frames found.
        found: u64,
        /// Frames that were acknowledged.
        acknowledged: u64,
    },
    /// A frame that a newer program wrote, or bytes that are no record.
    #[error("frame {frame} of the journal cannot be read: {source}")]
    Record {
        /// Number of the frame, from 0.
        frame: u64,
        /// What is wrong with it.
        #[source]
        source: minicbor::decode::Error,
    },
    /// More than [`PAYLOAD_BYTES_MAX`].
    #[error("{bytes} bytes at once, at most {PAYLOAD_BYTES_MAX} fit one frame of the journal")]
    TooLong {
        /// Bytes offered.
        bytes: usize,
    },
    /// The disk is full or failed; nothing was accepted.
    #[error("cannot write the journal: {0}; what was to be written is not accepted")]
    Write(#[source] io::Error),
    /// An earlier write failed so that only opening again tells what is durable.
    #[error("the journal must be opened again: an earlier write could not be undone")]
    Poisoned,
    /// The journal cannot be read.
    #[error("cannot read the journal: {0}")]
    Read(#[source] io::Error),
}

/// What opening found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whole frames.
    pub frames: u64,
    /// Bytes of a torn, never acknowledged tail that were cut off.
    pub torn_bytes: u64,
}

/// An open journal at its end.
pub struct Journal<M> {
    medium: M,
    head: [u8; HASH],
    next: u64,
    len: u64,
    poisoned: bool,
}

fn header_check(base: &blake3::Hasher, previous: &[u8; HASH], start: &[u8]) -> [u8; 4] {
    let mut hasher = base.clone();
    hasher.update(previous).update(start);
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    [a, b, c, d]
}

fn frame_hash(
    base: &blake3::Hasher,
    previous: &[u8; HASH],
    header: &[u8],
    body: &[u8],
) -> [u8; HASH] {
    let mut hasher = base.clone();
    hasher.update(previous).update(header).update(body);
    *hasher.finalize().as_bytes()
}

fn mark_bytes(next: u64, head: &[u8; HASH]) -> [u8; MARK] {
    let mut bytes = [0; MARK];
    bytes[..8].copy_from_slice(&next.to_be_bytes());
    bytes[8..8 + HASH].copy_from_slice(head);
    let check = blake3::derive_key(CONTEXT_MARK, &bytes[..8 + HASH]);
    bytes[8 + HASH..].copy_from_slice(&check[..8]);
    bytes
}

fn read_mark(bytes: &[u8]) -> Option<(u64, [u8; HASH])> {
    let bytes = bytes.get(..MARK)?;
    let next = u64::from_be_bytes(bytes[..8].try_into().ok()?);
    let head: [u8; HASH] = bytes[8..8 + HASH].try_into().ok()?;
    (mark_bytes(next, &head) == *bytes).then_some((next, head))
}

/// Fills `buffer` as far as the bytes reach; how many there were.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl<M: Medium> Journal<M> {
    /// Reads the journal from its beginning and gives each frame's payload to `visit`, in order; in
    /// another thread when there are many. What `visit` was given counts only if this returns well.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] or [`JournalError::Missing`] when anything acknowledged is not
    /// there as it was; whatever `visit` refuses.
    pub fn open(
        mut medium: M,
        visit: impl FnMut(u64, &[u8]) -> Result<(), JournalError> + Send,
    ) -> Result<(Self, Opened), JournalError> {
        let mut mark = (0, [0; HASH]);
        let mut marked = false;
        let mut mark_seen = false;
        for slot in 0..2 {
            let bytes = medium.read_mark(slot).map_err(JournalError::Read)?;
            mark_seen |= slot == 0 && !bytes.is_empty();
            if let Some(found) = read_mark(&bytes) {
                if !marked || found.0 > mark.0 {
                    mark = found;
                }
                marked = true;
            }
        }
        let base = blake3::Hasher::new_derive_key(CONTEXT_FRAME);
        let header_base = blake3::Hasher::new_derive_key(CONTEXT_HEADER);
        let (mut head, mut next, mut len) = ([0; HASH], 0u64, 0u64);
        let mut left: u64 = 0;
        let mut wrong = None;
        std::thread::scope(|scope| {
            let mut visits = Visits::new(scope, visit);
            let mut reader = medium.read().map_err(JournalError::Read)?;
            let mut body = Vec::new();
            loop {
                if next == mark.0 && head != mark.1 {
                    return Err(JournalError::Damaged { frame: next, what: "the mark differs" });
                }
                let mut header = [0; HEADER];
                let got = fill(&mut reader, &mut header).map_err(JournalError::Read)?;
                left = got as u64;
                if got < HEADER {
                    break;
                }
                let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
                let length = length as usize;
                let sequence = header[4..12].try_into().map(u64::from_be_bytes).unwrap_or(u64::MAX);
                if header_check(&header_base, &head, &header[..12]) != header[12..]
                    || sequence != next
                    || length > PAYLOAD_BYTES_MAX
                {
                    wrong = Some("its header is altered");
                    break;
                }
                body.resize(length + HASH, 0);
                let got = fill(&mut reader, &mut body).map_err(JournalError::Read)?;
                left += got as u64;
                if got < body.len() {
                    break;
                }
                let (payload, hash) = body.split_at(length);
                let expected = frame_hash(&base, &head, &header, payload);
                if expected != hash {
                    wrong = Some("its content is altered");
                    break;
                }
                visits.push(next, payload)?;
                head = expected;
                next += 1;
                len += left;
            }
            visits.finish()?;
            if wrong.is_some() || left > 0 {
                // Count what follows, so that the report is right.
                let mut sink = [0; 8192];
                loop {
                    match fill(&mut reader, &mut sink).map_err(JournalError::Read)? {
                        0 => break,
                        more => left += more as u64,
                    }
                }
            }
            Ok(())
        })?;
        if !marked && (next > 1 || mark_seen) {
            // A crash may tear the first frame's mark, in slot 1, and no other can be alone.
            return Err(JournalError::Damaged { frame: next, what: "both marks are altered" });
        }
        if next < mark.0 {
            return Err(match wrong {
                Some(what) => JournalError::Damaged { frame: next, what },
                None => JournalError::Missing { found: next, acknowledged: mark.0 },
            });
        }
        if left > 0 {
            medium.truncate(len).map_err(JournalError::Write)?;
        }
        let mut journal = Self { medium, head, next, len, poisoned: false };
        if next > mark.0 {
            journal.mark()?;
        }
        Ok((journal, Opened { frames: next, torn_bytes: left }))
    }

    fn mark(&mut self) -> Result<(), JournalError> {
        let slot = usize::from(self.next % 2 == 1);
        self.medium.write_mark(slot, &mark_bytes(self.next, &self.head)).map_err(|error| {
            self.poisoned = true;
            JournalError::Write(error)
        })
    }

    /// Appends one frame. It survives a power cut when this returns.
    ///
    /// # Errors
    /// After [`JournalError::Write`] the frame is not accepted; if the journal cannot tell what is
    /// durable, every later call is [`JournalError::Poisoned`].
    pub fn append(&mut self, payload: &[u8]) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let Ok(length) = u32::try_from(payload.len()) else {
            return Err(JournalError::TooLong { bytes: payload.len() });
        };
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(JournalError::TooLong { bytes: payload.len() });
        }
        let mut frame = Vec::with_capacity(HEADER + payload.len() + HASH);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&self.next.to_be_bytes());
        let check =
            header_check(&blake3::Hasher::new_derive_key(CONTEXT_HEADER), &self.head, &frame);
        frame.extend_from_slice(&check);
        let base = blake3::Hasher::new_derive_key(CONTEXT_FRAME);
        let hash = frame_hash(&base, &self.head, &frame, payload);
        frame.extend_from_slice(payload);
        frame.extend_from_slice(&hash);
        if let Err(error) = self.medium.append(&frame) {
            // A full disk leaves a part; what was never synced is taken back.
            self.poisoned = self.medium.truncate(self.len).is_err();
            return Err(JournalError::Write(error));
        }
        if let Err(error) = self.medium.sync() {
            self.poisoned = true;
            return Err(JournalError::Write(error));
        }
        self.head = hash;
        self.next += 1;
        self.len += frame.len() as u64;
        self.mark()
    }

    /// Frames written, and the hash over all of them.
    pub fn head(&self) -> (u64, [u8; 32]) {
        (self.next, self.head)
    }
}

#[cfg(test)]
mod tests;
