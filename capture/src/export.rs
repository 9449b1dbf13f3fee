//! From the archive to one file that proves itself.

use crate::archive::{Archive, ArchiveError};
use crate::catalogue::ChunkRecord;
use lucid_evidence::SessionId;
use lucid_evidence::bundle::{self, BundleError, Disclosure};
use lucid_evidence::chunk::MediaKind;
use lucid_evidence::proof::Proof;
use lucid_store::StoreError;
use std::collections::HashMap;
use std::io::{Seek, Write};

/// What a bundle shall hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportSpec {
    /// Chunks from here on, microseconds of the stream clock.
    pub from_us: Option<u64>,
    /// Chunks that begin before this, microseconds of the stream clock.
    pub to_us: Option<u64>,
    /// Without keys and video.
    pub sealed: bool,
    /// Without the MP4, which repeats what the chunks and keys already show.
    pub no_video: bool,
}

/// Why a bundle could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Writing the bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError<ArchiveError>),
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The bundle's length, bytes.
    pub bytes: u64,
    /// Chunks that belong into it and are lost: it counts and lacks them, and is incomplete.
    pub lost: Vec<LostChunk>,
}

/// A chunk whose bytes are damaged or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostChunk {
    /// Its index.
    pub chunk: u64,
    /// Where it begins and ends, microseconds of the stream clock.
    pub stream_us: (u64, u64),
    /// What is wrong with it.
    pub why: String,
}

/// Which of the chunks cannot be had because of damage.
fn lost(archive: &Archive, wanted: &[&ChunkRecord]) -> Result<Vec<LostChunk>, ArchiveError> {
    let mut lost = Vec::new();
    for record in wanted {
        let error = match archive.sealed_chunk(record) {
            Ok(_) => continue,
            Err(error) => error,
        };
        let is_damage = match &error {
            ArchiveError::Missing { .. } | ArchiveError::Chunk { .. } => true,
            ArchiveError::Store(StoreError::UnknownVolume { .. }) => true,
            ArchiveError::Store(error) => error.is_damage(),
            _ => false,
        };
        if !is_damage {
            return Err(error);
        }
        let time = record.header.time;
        lost.push(LostChunk {
            chunk: record.header.index,
            stream_us: (time.stream_start_us, time.stream_end_us),
            why: error.to_string(),
        });
    }
    Ok(lost)
}

/// The proof of a session without its anchor, over all of its chunks.
///
/// # Errors
/// When the archive cannot be read.
pub fn proof(
    archive: &Archive,
    id: SessionId,
    chunks: &[ChunkRecord],
    first_chunk: u64,
    chunk_count: u64,
    anchor: Option<Vec<u8>>,
) -> Result<Proof, ArchiveError> {
    let checkpoints = archive.catalogue().checkpoints(id)?;
    Ok(Proof {
        session: id,
        leaves: chunks.iter().map(|chunk| chunk.header.leaf()).collect(),
        first_chunk,
        chunk_count,
        checkpoints: checkpoints.into_iter().map(|checkpoint| checkpoint.signed).collect(),
        anchor,
    })
}

/// The chunks of the time that is wanted. Events go with the video before them, those from before
/// the first video with that.
fn range<'c>(chunks: &'c [ChunkRecord], spec: &ExportSpec) -> &'c [ChunkRecord] {
    let is_video = |chunk: &ChunkRecord| chunk.header.kind == MediaKind::Video;
    let in_time = |chunk: &ChunkRecord| {
        let time = chunk.header.time;
        spec.from_us.is_none_or(|from| time.stream_end_us > from)
            && spec.to_us.is_none_or(|to| time.stream_start_us < to)
    };
    if spec.from_us.is_none() && spec.to_us.is_none() {
        return chunks;
    }
    let wanted = |chunk: &ChunkRecord| is_video(chunk) && in_time(chunk);
    let (Some(first), Some(last)) =
        (chunks.iter().position(wanted), chunks.iter().rposition(wanted))
    else {
        return &[];
    };
    let first = if chunks[..first].iter().any(is_video) { first } else { 0 };
    let after = chunks[last + 1..].iter().position(is_video);
    &chunks[first..after.map_or(chunks.len(), |after| last + 1 + after)]
}

/// Writes the bundle of a session to `out`, which must be empty, with the session's `anchor` on the
/// chain. `progress` is told bytes done and bytes in all. Chunks that are damaged or missing are
/// left out and named.
///
/// # Errors
/// When the session is not finished, was deleted, has nothing in the range, or cannot be read or
/// written.
pub fn export<W: Write + Seek>(
    archive: &Archive,
    id: SessionId,
    spec: &ExportSpec,
    anchor: Option<Vec<u8>>,
    out: W,
    progress: impl FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    let manifest = archive.manifest(id)?;
    let chunks = archive.catalogue().all_chunks(id).map_err(ArchiveError::from)?;
    let wanted: Vec<&ChunkRecord> = range(&chunks, spec).iter().collect();
    let ranged = spec.from_us.is_some() || spec.to_us.is_some();
    if ranged && wanted.is_empty() {
        let seconds = manifest.manifest().duration_us as f64 / 1e6;
        let available = format!("{seconds:.3} s in {} chunks", chunks.len());
        return Err(ArchiveError::Range { session: id, available }.into());
    }
    let first = wanted.first().map_or(0, |chunk| chunk.header.index);
    let count = wanted.len() as u64;
    let proof = proof(archive, id, &chunks, first, count, anchor)?;
    let headers: Vec<_> = wanted.iter().map(|chunk| chunk.header.clone()).collect();
    let by_index: HashMap<u64, &ChunkRecord> =
        wanted.iter().map(|chunk| (chunk.header.index, *chunk)).collect();
    let secret = match spec.sealed {
        true => None,
        false => Some(archive.secret(id)?),
    };
    let disclosure = match (&secret, spec.no_video) {
        (None, _) => Disclosure::Sealed,
        (Some(secret), true) => Disclosure::Keys(secret),
        (Some(secret), false) => Disclosure::Video(secret),
    };
    let load = |header: &lucid_evidence::chunk::ChunkHeader| match by_index.get(&header.index) {
        Some(record) => archive.sealed_chunk(record),
        None => Err(ArchiveError::Missing { session: id, chunk: header.index, piece: 0 }),
    };
    let lost = lost(archive, &wanted)?;
    let absent: Vec<u64> = lost.iter().map(|lost| lost.chunk).collect();
    let chunks = bundle::Chunks { headers: &headers, absent: &absent };
    let bytes = bundle::write(out, &manifest, &proof, chunks, &disclosure, load, progress)?;
    Ok(Exported { bytes, lost })
}
