//! The chunks of a bundle: headers and leaves, clocks and gaps, sealed bytes, keys, and the MP4s
//! they make.

use super::read::{ReadAt, Reader};
use super::write::open_prefix;
use super::zip::Entry;
use super::{EVENTS, KEYS, VideoLayout, VideoPart, chunk_name, video_name};
use crate::chunk::{ChunkHeader, ChunkOpener, HEADER_MAX_BYTES, MediaKind};
use crate::manifest::{GapRecord, Manifest};
use crate::proof::{DisclosedKeys, Proof};
use crate::seal::{ChunkKey, PIECE_MAX_BYTES, PIECE_OVERHEAD_BYTES, SEALED_PIECE_MAX_BYTES};
use crate::{Finding, Hash, Verdict};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The check of the MP4s.
const VIDEO: &str = "video";
/// Bytes read and hashed at a time: small enough to stay in a core's cache.
const BLOCK_BYTES: usize = 256 << 10;

/// An included chunk whose header was read and belongs to its leaf.
pub(super) struct Included {
    /// The position among the included chunks.
    pub(super) place: usize,
    pub(super) header: ChunkHeader,
    entry: Entry,
    /// Length prefix and header, as they stand in the entry.
    head: Vec<u8>,
}

impl Included {
    pub(super) fn sealed_offset(&self) -> u64 {
        self.entry.data_offset + self.head.len() as u64
    }
}

pub(super) fn tampered(check: &'static str, text: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Tampered, text: text.into() }
}

/// A disk that fails says nothing about the evidence.
pub(super) fn unread(check: &'static str, what: impl Display, error: &io::Error) -> Finding {
    let text = format!("{what} cannot be read: {error}");
    Finding { check, verdict: Verdict::Unverifiable, text }
}

impl Reader<'_> {
    pub(super) fn note(&mut self, finding: Finding) {
        self.content.findings.add(finding.check, finding.verdict, finding.text);
    }

    /// The headers of the included chunks: each is its leaf, and their clocks leave no hole that is
    /// not declared.
    pub(super) fn headers(&mut self, manifest: &Manifest, proof: &Proof) -> Vec<Included> {
        let mut included = Vec::new();
        for (place, index) in (proof.first_chunk..).take(proof.chunk_count as usize).enumerate() {
            let Some(entry) = self.entry(&chunk_name(index)) else {
                // Reported with the other names.
                self.lacking = true;
                continue;
            };
            match read_header(self.source, &entry, index, &proof.leaves) {
                Ok((header, head)) => included.push(Included { place, header, entry, head }),
                Err(finding) => self.note(finding),
            }
        }
        for one in &included {
            if one.header.session != manifest.session {
                let text = format!("chunk {} is of another session", one.header.index);
                self.note(tampered("chunks", text));
            }
        }
        self.gaps(manifest, &included);
        included
    }

    fn gaps(&mut self, manifest: &Manifest, included: &[Included]) {
        let before = self.content.findings.iter().count();
        self.declared_gaps(manifest);
        let declared: HashMap<u64, &GapRecord> =
            manifest.gaps.iter().map(|record| (record.before_chunk, record)).collect();
        let mut previous: Option<&ChunkHeader> = None;
        for one in included {
            let header = &one.header;
            let (index, starts) = (header.index, header.time.stream_start_us);
            let record = declared.get(&index);
            if header.gap_before != record.map(|record| record.gap)
                || record.is_some_and(|record| record.end() != Some(starts))
            {
                let text = format!("chunk {index} and the manifest differ on its gap");
                self.note(tampered("gaps", text));
            }
            let gap = header.gap_before.map_or(0, |gap| gap.length_us);
            let ended = match previous.filter(|previous| previous.index + 1 == index) {
                Some(previous) => Some(previous.time.stream_end_us),
                None if index == 0 => Some(0),
                None => None,
            };
            if let Some(due) = ended.map(|ended| ended.saturating_add(gap)) {
                if starts > due {
                    let hole = super::readme::seconds(starts - due);
                    let text = format!("{hole} before chunk {index} are missing and not declared");
                    self.content.findings.add("gaps", Verdict::Incomplete, text);
                } else if starts < due {
                    let text = format!("chunk {index} overlaps what is before it");
                    self.note(tampered("gaps", text));
                }
            }
            previous = Some(header);
        }
        let ended = match previous.filter(|previous| previous.index + 1 == manifest.tree_size) {
            Some(last) => Some(last.time.stream_end_us),
            None if manifest.tree_size == 0 => Some(0),
            None => None,
        };
        let tail = declared.get(&manifest.tree_size).map_or(0, |record| record.gap.length_us);
        if let Some(reached) = ended.map(|ended| ended.saturating_add(tail)) {
            if reached < manifest.duration_us {
                let text = "the chunks do not reach the length that the manifest states";
                self.content.findings.add("gaps", Verdict::Incomplete, text);
            } else if reached > manifest.duration_us {
                let text = "the chunks go beyond the length that the manifest states";
                self.note(tampered("gaps", text));
            }
        }
        if self.content.findings.iter().count() == before {
            let text = match manifest.gaps.len() {
                0 => "no time is missing".to_owned(),
                1 => "1 gap, declared".to_owned(),
                more => format!("{more} gaps, all declared"),
            };
            self.content.findings.pass("gaps", text);
        }
    }

    /// The manifest's gaps are one a chunk at most, in order, apart, and within the recording.
    fn declared_gaps(&mut self, manifest: &Manifest) {
        let mut last: Option<(u64, u64)> = None;
        for record in &manifest.gaps {
            let end = record.end().filter(|end| *end <= manifest.duration_us);
            let follows = last
                .is_none_or(|(chunk, end)| chunk < record.before_chunk && end <= record.stream_us);
            let at_end = record.before_chunk == manifest.tree_size;
            if !follows
                || end.is_none()
                || record.before_chunk > manifest.tree_size
                || (at_end && end != Some(manifest.duration_us))
            {
                self.note(tampered("gaps", "the manifest's gaps contradict each other"));
            }
            last = Some((record.before_chunk, end.unwrap_or(u64::MAX)));
        }
    }

    /// How the disclosed chunks make up the MP4s, if the bundle has any; none if that
    /// cannot be read.
    pub(super) fn layout(
        &mut self,
        included: &[Included],
        keys: Option<&DisclosedKeys>,
    ) -> Option<VideoLayout> {
        let mut layout = VideoLayout::default();
        let Some(keys) = keys else { return Some(layout) };
        // The MP4s may be left out together (`--no-video`); then none follows the keys and events.
        if self.entries.last().is_some_and(|entry| entry.name == KEYS || entry.name == EVENTS) {
            return Some(layout);
        }
        for one in included {
            let Some(key) = keys.keys.get(one.place) else { continue };
            match init_hash(self.source, one, key) {
                Ok(init) => layout.add(&one.header, init),
                Err(finding) => {
                    let unread = finding.verdict == Verdict::Unverifiable;
                    layout.parts.push(None);
                    self.note(finding);
                    if unread {
                        return None;
                    }
                }
            }
        }
        for (video, length) in layout.lengths.clone().into_iter().enumerate() {
            if let Some(entry) = self.entry(&video_name(video))
                && entry.length != length
            {
                let text = format!("{} is not as long as the chunks that make it", entry.name);
                self.note(self.derived(tampered(VIDEO, text)));
            }
        }
        Some(layout)
    }

    /// The sealed bytes of every included chunk, what their keys open, and the MP4s, on all cores.
    pub(super) fn chunks(
        &mut self,
        included: &[Included],
        keys: Option<&DisclosedKeys>,
        layout: &VideoLayout,
    ) {
        let videos: Vec<Option<Entry>> =
            (0..layout.lengths.len()).map(|video| self.entry(&video_name(video))).collect();
        let total = included.iter().map(|one| one.header.sealed_bytes).sum();
        let done = AtomicU64::new(0);
        let (source, progress) = (self.source, self.progress);
        let results: Vec<Checked> = included
            .par_iter()
            .enumerate()
            .map_init(Buffers::default, |buffers, (at, one)| {
                let key = keys.and_then(|keys| keys.keys.get(one.place));
                let part = layout.parts.get(at).copied().flatten();
                let video = part.and_then(|part| videos.get(part.video)?.as_ref());
                let checked = check(source, one, key, part.zip(video), buffers);
                let sealed = one.header.sealed_bytes;
                progress(done.fetch_add(sealed, Ordering::Relaxed) + sealed, total);
                checked
            })
            .collect();
        let mut crcs = vec![crc32fast::Hasher::new(); videos.len()];
        let mut bad = false;
        for (checked, part) in
            results.into_iter().zip(layout.parts.iter().chain(std::iter::repeat(&None)))
        {
            if let (Some(crc), Some(part)) = (checked.video_crc, part) {
                crcs[part.video].combine(&crc);
            }
            if let Some(finding) = checked.finding {
                bad = true;
                let of_video = finding.check == VIDEO;
                self.note(if of_video { self.derived(finding) } else { finding });
            }
        }
        for (entry, crc) in videos.iter().zip(crcs) {
            if let Some(entry) = entry.as_ref().filter(|entry| crc.finalize() != entry.crc && !bad)
            {
                let text = format!("{} does not have its CRC-32", entry.name);
                self.note(self.derived(tampered(VIDEO, text)));
                bad = true;
            }
        }
        if !bad {
            let sealed: u64 = included.iter().map(|one| one.header.sealed_bytes).sum();
            let text = match included.len() {
                1 => format!("1 chunk with {sealed} sealed bytes is unchanged"),
                count => format!("{count} chunks with {sealed} sealed bytes are unchanged"),
            };
            self.content.findings.pass("chunks", text);
            if keys.is_some() {
                self.content
                    .findings
                    .pass("keys", "the keys are those committed to, and open every piece");
            }
            if !videos.is_empty() {
                self.content.findings.pass(VIDEO, "the video is what the chunks hold");
            }
        }
    }
}

/// Reads a chunk entry's header and checks that it is leaf `index`.
fn read_header(
    source: &dyn ReadAt,
    entry: &Entry,
    index: u64,
    leaves: &[Hash],
) -> Result<(ChunkHeader, Vec<u8>), Finding> {
    let bad = |text: &str| tampered("chunks", format!("chunk {index}: {text}"));
    let failed = |error: io::Error| unread("chunks", format!("chunk {index}"), &error);
    let mut prefix = [0; 4];
    if entry.length < 4 {
        return Err(bad("its entry has no header"));
    }
    source.read_at(entry.data_offset, &mut prefix).map_err(failed)?;
    let length = u32::from_be_bytes(prefix) as usize;
    if length > HEADER_MAX_BYTES || entry.length < 4 + length as u64 {
        return Err(bad("its header does not fit its entry"));
    }
    let mut head = vec![0; 4 + length];
    source.read_at(entry.data_offset, &mut head).map_err(failed)?;
    let leaf = usize::try_from(index).ok().and_then(|index| leaves.get(index));
    if head[..4] != prefix || leaf != Some(&crate::tree::leaf_hash(&head[4..])) {
        return Err(bad("its header is not the leaf in the tree"));
    }
    let header = ChunkHeader::decode(&head[4..]).map_err(|error| bad(&error.to_string()))?;
    if header.index != index {
        return Err(bad(&format!("its header says it is chunk {}", header.index)));
    }
    if entry.length != head.len() as u64 + header.sealed_bytes {
        return Err(bad("its entry is not as long as its header says"));
    }
    Ok((header, head))
}

/// The hash of a disclosed chunk's initialisation segment.
fn init_hash(source: &dyn ReadAt, one: &Included, key: &ChunkKey) -> Result<Hash, Finding> {
    let header = &one.header;
    if header.kind != MediaKind::Video || header.init_bytes == 0 {
        return Ok(Hash::of(&[]));
    }
    let what = || format!("chunk {}", header.index);
    // As long as it can get: pieces that do not compress, and one that the segment ends in. A
    // forger's compressed pieces may take more; then the chunk is read whole.
    let overhead = header.pieces * PIECE_OVERHEAD_BYTES as u64;
    let likely = header.init_bytes + overhead + SEALED_PIECE_MAX_BYTES as u64;
    let mut result = Ok(Vec::new());
    for length in [likely.min(header.sealed_bytes), header.sealed_bytes] {
        let mut sealed = vec![0; length as usize];
        source
            .read_at(one.sealed_offset(), &mut sealed)
            .map_err(|error| unread("chunks", what(), &error))?;
        result = open_prefix(header, key, &sealed, header.init_bytes);
        if result.is_ok() {
            break;
        }
    }
    let init = result.map_err(|error| tampered("keys", format!("{}: {error}", what())))?;
    Ok(Hash::of(&init))
}

struct Checked {
    finding: Option<Finding>,
    video_crc: Option<crc32fast::Hasher>,
}

/// Room to check a chunk in, reused from chunk to chunk: together it stays in a core's cache.
#[derive(Default)]
struct Buffers {
    /// Sealed bytes: the beginning of a piece left from the block before, and a block.
    sealed: Vec<u8>,
    /// A stretch of the MP4.
    video: Vec<u8>,
}

/// Checks the sealed bytes of one chunk and, where there is a key, what they hold.
fn check(
    source: &dyn ReadAt,
    one: &Included,
    key: Option<&ChunkKey>,
    video: Option<(VideoPart, &Entry)>,
    buffers: &mut Buffers,
) -> Checked {
    match check_bytes(source, one, key, video, buffers) {
        Ok(video_crc) => Checked { finding: None, video_crc },
        Err(finding) => Checked { finding: Some(finding), video_crc: None },
    }
}

/// Hashes, opens and compares block by block, each while it is in the cache; returns the CRC-32 of
/// the part of the MP4. What is wrong with the sealed bytes is said before what is wrong with the
/// key, and that before what is wrong with the MP4.
fn check_bytes(
    source: &dyn ReadAt,
    one: &Included,
    key: Option<&ChunkKey>,
    video: Option<(VideoPart, &Entry)>,
    buffers: &mut Buffers,
) -> Result<Option<crc32fast::Hasher>, Finding> {
    let header = &one.header;
    let index = header.index;
    let bad = |text: &str| tampered("chunks", format!("chunk {index}: {text}"));
    let committed = key.is_none_or(|key| key.commitment() == header.key_commitment);
    let mut opener = key.filter(|_| committed).map(|key| ChunkOpener::new(header, key));
    let mut opened = Ok(());
    let mut shown = video.map(|(part, entry)| VideoCheck::new(index, part, entry));
    let mut crc = crc32fast::Hasher::new();
    crc.update(&one.head);
    let mut hasher = blake3::Hasher::new();
    let length = header.sealed_bytes as usize;
    buffers.sealed.resize(BLOCK_BYTES + SEALED_PIECE_MAX_BYTES, 0);
    let (mut at, mut left) = (0, 0);
    while at < length {
        let end = left + BLOCK_BYTES.min(length - at);
        let block = &mut buffers.sealed[left..end];
        source
            .read_at(one.sealed_offset() + at as u64, block)
            .map_err(|error| unread("chunks", format!("chunk {index}"), &error))?;
        crc.update(block);
        hasher.update(block);
        at += block.len();
        left = 0;
        let Some(open) = opener.as_mut().filter(|_| opened.is_ok()) else { continue };
        let result = open.open(&mut buffers.sealed[..end], at < length, |offset, plaintext| {
            if let Some(shown) = &mut shown {
                shown.compare(source, offset, plaintext, &mut buffers.video);
            }
        });
        match result {
            Ok(taken) => {
                buffers.sealed.copy_within(taken..end, 0);
                left = end - taken;
            }
            Err(error) => opened = Err(error),
        }
    }
    if *hasher.finalize().as_bytes() != header.sealed_hash.0 {
        return Err(bad("its sealed bytes do not have the hash in its header"));
    }
    if crc.finalize() != one.entry.crc {
        return Err(bad("its entry does not have its CRC-32"));
    }
    if !committed {
        let text = format!("chunk {index}: the key is not the one committed to");
        return Err(tampered("keys", text));
    }
    let Some(opener) = opener else { return Ok(None) };
    opened
        .and_then(|()| opener.finish())
        .map_err(|error| tampered("keys", format!("chunk {index}: {error}")))?;
    shown.map(VideoCheck::finish).transpose()
}

/// Compares a chunk's plaintext with its part of the MP4.
struct VideoCheck<'e> {
    chunk: u64,
    part: VideoPart,
    entry: &'e Entry,
    crc: crc32fast::Hasher,
    /// What was found first.
    finding: Option<Finding>,
}

impl<'e> VideoCheck<'e> {
    fn new(chunk: u64, part: VideoPart, entry: &'e Entry) -> Self {
        let mut check =
            VideoCheck { chunk, part, entry, crc: crc32fast::Hasher::new(), finding: None };
        if part.offset + part.length > entry.length {
            check.finding = Some(check.differs());
        }
        check
    }

    fn differs(&self) -> Finding {
        let text = format!("{} is not what chunk {} holds", self.entry.name, self.chunk);
        tampered(VIDEO, text)
    }

    /// `plaintext` stands at `offset` of the chunk; what is before the part is not in the MP4.
    fn compare(
        &mut self,
        source: &dyn ReadAt,
        offset: u64,
        plaintext: &[u8],
        buffer: &mut Vec<u8>,
    ) {
        let skip = self.part.skip.saturating_sub(offset).min(plaintext.len() as u64);
        let expected = &plaintext[skip as usize..];
        if self.finding.is_some() || expected.is_empty() {
            return;
        }
        if buffer.len() < expected.len() {
            buffer.resize(PIECE_MAX_BYTES, 0);
        }
        let found = &mut buffer[..expected.len()];
        let at = self.part.offset + (offset + skip - self.part.skip);
        match source.read_at(self.entry.data_offset + at, found) {
            Err(error) => self.finding = Some(unread(VIDEO, &self.entry.name, &error)),
            Ok(()) if found != expected => self.finding = Some(self.differs()),
            Ok(()) => self.crc.update(expected),
        }
    }

    fn finish(self) -> Result<crc32fast::Hasher, Finding> {
        self.finding.map_or(Ok(self.crc), Err)
    }
}
