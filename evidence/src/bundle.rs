//! The bundle: one canonical ZIP file that holds a recording's evidence.
//!
//! Entries, in this order: `README.txt`, `manifest.cose`, `chunks/000000.bin` and on, `proof.cbor`,
//! and where chunks are disclosed `keys.cbor`, `events.jsonl` if events are among them, and
//! `video.mp4` (then `video-2.mp4`, … if the codec changed within the session). Whatever is not
//! under a hash is derived again by the verifier and compared, so no byte of the file is free.

mod chunks;
mod happened;
pub mod read;
mod readme;
pub mod write;
pub mod zip;

pub use read::{Content, ReadAt, read};
pub(crate) use readme::deceives;
pub use readme::{line, rfc3339};
pub use write::{BundleError, Chunks, Disclosure, write};

use crate::chunk::{ChunkHeader, MediaKind};
use crate::{Hash, SessionId};

pub(crate) const README: &str = "README.txt";
pub(crate) const MANIFEST: &str = "manifest.cose";
pub(crate) const PROOF: &str = "proof.cbor";
pub(crate) const KEYS: &str = "keys.cbor";
pub(crate) const EVENTS: &str = "events.jsonl";

/// The name of a chunk's entry.
pub(crate) fn chunk_name(index: u64) -> String {
    format!("chunks/{index:06}.bin")
}

/// The name of the MP4 number `index`, counted from 0.
pub(crate) fn video_name(index: usize) -> String {
    match index {
        0 => "video.mp4".into(),
        more => format!("video-{}.mp4", more + 1),
    }
}

/// A file name for the bundle of a session.
pub fn file_name(session: SessionId) -> String {
    format!("lucid-{session}.lucid")
}

/// A disclosed chunk's part in the MP4 entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VideoPart {
    /// Which MP4 it belongs to.
    pub video: usize,
    /// Where in that MP4 its part begins, bytes.
    pub offset: u64,
    /// Bytes at the chunk's start that are left out: its initialisation segment, if it repeats the
    /// one before.
    pub skip: u64,
    /// Bytes of the part.
    pub length: u64,
}

/// How chunks make up the MP4s: an MP4 begins with an initialisation segment and goes on with the
/// fragments of all following chunks whose initialisation segment is the same.
#[derive(Debug, Default)]
pub(crate) struct VideoLayout {
    /// The part of each included chunk; none for chunks that hold no video.
    pub parts: Vec<Option<VideoPart>>,
    /// The length of each MP4, bytes.
    pub lengths: Vec<u64>,
    init: Option<Hash>,
}

impl VideoLayout {
    /// Adds the next included chunk, whose initialisation segment has this hash.
    pub fn add(&mut self, header: &ChunkHeader, init: Hash) {
        if header.kind != MediaKind::Video || header.plaintext_bytes == 0 {
            self.parts.push(None);
            return;
        }
        let same = self.init == Some(init);
        if !same {
            self.lengths.push(0);
            self.init = Some(init);
        }
        let video = self.lengths.len() - 1;
        let skip = if same { header.init_bytes } else { 0 };
        let length = header.plaintext_bytes - skip;
        let offset = self.lengths[video];
        self.lengths[video] += length;
        self.parts.push(Some(VideoPart { video, offset, skip, length }));
    }
}

#[cfg(test)]
mod tests;
