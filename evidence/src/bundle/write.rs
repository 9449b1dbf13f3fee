//! Writes a bundle.

use super::{
    EVENTS, KEYS, MANIFEST, PROOF, README, VideoLayout, chunk_name, happened, readme, video_name,
    zip,
};
use crate::cbor::CborError;
use crate::chunk::{self, ChunkError, ChunkHeader};
use crate::manifest::SignedManifest;
use crate::proof::{DisclosedKeys, Proof};
use crate::seal::SessionSecret;
use crate::{Hash, seal};
use std::io::{self, Seek, Write};

/// Whether a bundle shows what its chunks hold.
#[derive(Debug)]
pub enum Disclosure<'a> {
    /// Sealed chunks alone.
    Sealed,
    /// With the chunks' keys, derived from the session secret.
    Keys(&'a SessionSecret),
    /// With the keys and the MP4.
    Video(&'a SessionSecret),
}

impl Disclosure<'_> {
    fn secret(&self) -> Option<&SessionSecret> {
        match self {
            Disclosure::Sealed => None,
            Disclosure::Keys(secret) | Disclosure::Video(secret) => Some(secret),
        }
    }
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError<E> {
    /// Writing failed.
    #[error("the bundle cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The sealed bytes of a chunk could not be had.
    #[error("chunk {chunk}: {source}")]
    Chunk {
        /// The chunk's index.
        chunk: u64,
        /// Why not.
        source: E,
    },
    /// The sealed bytes do not open.
    #[error(transparent)]
    Open(#[from] ChunkError),
    /// The events of a chunk cannot be read.
    #[error("chunk {chunk}: {source}")]
    Events {
        /// The chunk's index.
        chunk: u64,
        /// Why not.
        source: CborError,
    },
    /// Headers that are not the chunks the proof names, or bytes that are not the header's.
    #[error("chunk {chunk}: the stored bytes are not those of its header")]
    Mismatch {
        /// The chunk's index.
        chunk: u64,
    },
}

/// The chunks of a bundle.
#[derive(Debug, Clone, Copy)]
pub struct Chunks<'a> {
    /// The headers of those that the proof names, in order.
    pub headers: &'a [ChunkHeader],
    /// Indexes of those that are lost: the bundle counts them and lacks them, and is incomplete.
    /// The MP4s are those of the others.
    pub absent: &'a [u64],
}

impl<'a> From<&'a [ChunkHeader]> for Chunks<'a> {
    fn from(headers: &'a [ChunkHeader]) -> Self {
        Chunks { headers, absent: &[] }
    }
}

/// Writes a bundle of `chunks`, which are those the `proof` names.
///
/// `sealed` gives the framed pieces of a chunk; it is asked for each chunk once, or twice with the
/// MP4. `progress` is told bytes done and bytes in all. Returns the bundle's length in bytes.
pub fn write<'c, W: Write + Seek, E>(
    out: W,
    manifest: &SignedManifest,
    proof: &Proof,
    chunks: impl Into<Chunks<'c>>,
    disclosure: &Disclosure<'_>,
    mut sealed: impl FnMut(&ChunkHeader) -> Result<Vec<u8>, E>,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64, BundleError<E>> {
    let Chunks { headers: all, absent } = chunks.into();
    for (header, index) in all.iter().zip(proof.first_chunk..) {
        let leaf = usize::try_from(index).ok().and_then(|index| proof.leaves.get(index));
        if header.index != index || leaf != Some(&header.leaf()) {
            return Err(BundleError::Mismatch { chunk: index });
        }
    }
    if all.len() as u64 != proof.chunk_count {
        return Err(BundleError::Mismatch { chunk: proof.first_chunk + all.len() as u64 });
    }
    // A bundle without chunks has one form, wherever the range began that was asked for.
    let first_chunk = if all.is_empty() { 0 } else { proof.first_chunk };
    let proof = &Proof { first_chunk, ..proof.clone() };
    let mut load = |header: &ChunkHeader| {
        let bytes =
            sealed(header).map_err(|source| BundleError::Chunk { chunk: header.index, source })?;
        match Hash::of(&bytes) == header.sealed_hash {
            true => Ok(bytes),
            false => Err(BundleError::Mismatch { chunk: header.index }),
        }
    };
    let headers = || all.iter().filter(|header| !absent.contains(&header.index));
    let secret = disclosure.secret();
    let with_video = matches!(disclosure, Disclosure::Video(_));
    let mut layout = VideoLayout::default();
    if let (true, Some(secret)) = (with_video, secret) {
        for header in headers() {
            // Only an initialisation segment is opened here, so this pass is short.
            let init = match header.init_bytes {
                0 => Hash::of(&[]),
                _ => Hash::of(&open_init(header, secret, &load(header)?)?),
            };
            layout.add(header, init);
        }
    }
    let mut events_bytes = None;
    if let Some(secret) = secret {
        for header in headers().filter(|header| happened::holds_events(header)) {
            let key = secret.chunk_key(header.index);
            let plaintext = chunk::open_chunk(header, &key, &load(header)?)?;
            let length = happened::lines(&plaintext, |_| Ok::<_, io::Error>(()))?;
            let length =
                length.map_err(|source| BundleError::Events { chunk: header.index, source })?;
            *events_bytes.get_or_insert(0) += length;
        }
    }
    let total: u64 =
        headers().map(|h| h.sealed_bytes).sum::<u64>() + layout.lengths.iter().sum::<u64>();
    let mut done = 0;
    progress(done, total);
    let mut zip = zip::Writer::new(out);
    let text = readme::text(
        manifest.manifest(),
        proof.first_chunk,
        proof.chunk_count,
        secret.is_some(),
        layout.lengths.len(),
        events_bytes.is_some(),
    );
    zip.entry(README, &[text.as_bytes()])?;
    zip.entry(MANIFEST, &[manifest.as_bytes()])?;
    for header in headers() {
        let bytes = load(header)?;
        let encoded = header.encode();
        let length = (encoded.len() as u32).to_be_bytes();
        zip.entry(&chunk_name(header.index), &[&length, &encoded, &bytes])?;
        done += bytes.len() as u64;
        progress(done, total);
    }
    zip.entry(PROOF, &[&proof.encode()])?;
    if let Some(secret) = secret {
        let keys = DisclosedKeys {
            session: proof.session,
            first_chunk: proof.first_chunk,
            keys: all.iter().map(|header| secret.chunk_key(header.index)).collect(),
        };
        zip.entry(KEYS, &[&keys.encode()])?;
        if let Some(length) = events_bytes {
            zip.begin(EVENTS, length, 0)?;
            let mut crc = crc32fast::Hasher::new();
            for header in headers().filter(|header| happened::holds_events(header)) {
                let key = secret.chunk_key(header.index);
                let plaintext = chunk::open_chunk(header, &key, &load(header)?)?;
                happened::lines(&plaintext, |lines| {
                    crc.update(lines);
                    zip.data(lines)
                })?
                .map_err(|source| BundleError::Events { chunk: header.index, source })?;
            }
            zip.set_crc(crc.finalize())?;
        }
        for (video, length) in layout.lengths.iter().enumerate() {
            zip.begin(&video_name(video), *length, 0)?;
            let mut crc = crc32fast::Hasher::new();
            for (header, part) in headers().zip(&layout.parts) {
                let Some(part) = part.filter(|part| part.video == video) else { continue };
                let key = secret.chunk_key(header.index);
                let plaintext = chunk::open_chunk(header, &key, &load(header)?)?;
                let shown = &plaintext[part.skip as usize..];
                crc.update(shown);
                zip.data(shown)?;
                done += part.length;
                progress(done, total);
            }
            zip.set_crc(crc.finalize())?;
        }
    }
    Ok(zip.finish()?)
}

/// Opens as many pieces as the initialisation segment takes.
pub(crate) fn open_init(
    header: &ChunkHeader,
    secret: &SessionSecret,
    sealed: &[u8],
) -> Result<Vec<u8>, ChunkError> {
    open_prefix(header, &secret.chunk_key(header.index), sealed, header.init_bytes)
}

/// Opens pieces from the chunk's start until `bytes` of plaintext are there.
pub(crate) fn open_prefix(
    header: &ChunkHeader,
    key: &seal::ChunkKey,
    sealed: &[u8],
    bytes: u64,
) -> Result<Vec<u8>, ChunkError> {
    let mut plaintext = Vec::new();
    let (mut at, mut piece) = (0, 0);
    while (plaintext.len() as u64) < bytes {
        let frame = seal::read_frame(&sealed[at..], header.index, piece)?;
        key.open_into(&header.address(piece), &frame, &mut plaintext)?;
        at += frame.length;
        piece += 1;
        if frame.is_last() && (plaintext.len() as u64) < bytes {
            let problem = "it ends within its initialisation segment";
            return Err(ChunkError::Mismatch { chunk: header.index, problem });
        }
    }
    plaintext.truncate(bytes as usize);
    Ok(plaintext)
}
