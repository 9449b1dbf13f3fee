//! Opening a chunk: all of it at once, or as its sealed bytes come.

use super::{ChunkError, ChunkHeader};
use crate::seal::{self, ChunkKey, SEALED_PIECE_MAX_BYTES};

/// What of a chunk was opened so far, held against its header.
struct Progress<'h> {
    header: &'h ChunkHeader,
    pieces: u64,
    plaintext_bytes: u64,
    ended: bool,
}

impl<'h> Progress<'h> {
    fn new(header: &'h ChunkHeader) -> Self {
        Progress { header, pieces: 0, plaintext_bytes: 0, ended: false }
    }

    fn mismatch<T>(&self, problem: &'static str) -> Result<T, ChunkError> {
        Err(ChunkError::Mismatch { chunk: self.header.index, problem })
    }

    fn before(&self) -> Result<(), ChunkError> {
        if self.ended { self.mismatch("pieces follow the last one") } else { Ok(()) }
    }

    fn after(&mut self, plaintext_bytes: usize, last: bool) -> Result<(), ChunkError> {
        self.plaintext_bytes += plaintext_bytes as u64;
        self.pieces += 1;
        self.ended = last;
        if self.plaintext_bytes > self.header.plaintext_bytes {
            return self.mismatch("more plaintext than its header says");
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), ChunkError> {
        if !self.ended {
            return self.mismatch("its last piece is missing");
        }
        if self.pieces != self.header.pieces {
            return self.mismatch("another number of pieces than its header says");
        }
        if self.plaintext_bytes != self.header.plaintext_bytes {
            return self.mismatch("less plaintext than its header says");
        }
        Ok(())
    }
}

/// Opens all pieces of a chunk from its framed bytes and returns the plaintext.
pub fn open_chunk(
    header: &ChunkHeader,
    key: &ChunkKey,
    sealed: &[u8],
) -> Result<Vec<u8>, ChunkError> {
    let mut plaintext =
        Vec::with_capacity(header.plaintext_bytes as usize + seal::PIECE_OVERHEAD_BYTES);
    let mut progress = Progress::new(header);
    let mut at = 0;
    while at < sealed.len() {
        progress.before()?;
        let before = plaintext.len();
        let frame = seal::read_frame(&sealed[at..], header.index, progress.pieces)?;
        key.open_into(&header.address(progress.pieces), &frame, &mut plaintext)?;
        progress.after(plaintext.len() - before, frame.is_last())?;
        at += frame.length;
    }
    progress.finish()?;
    Ok(plaintext)
}

/// Opens a chunk's pieces where they lie as its sealed bytes come, so that a piece is still in the
/// core's cache when its plaintext is looked at. It finds what [`open_chunk`] finds.
pub(crate) struct ChunkOpener<'h> {
    key: &'h ChunkKey,
    progress: Progress<'h>,
    /// What a compressed piece held.
    unpacked: Vec<u8>,
}

impl<'h> ChunkOpener<'h> {
    pub(crate) fn new(header: &'h ChunkHeader, key: &'h ChunkKey) -> Self {
        ChunkOpener { key, progress: Progress::new(header), unpacked: Vec::new() }
    }

    /// Opens the pieces at the start of `sealed`, which follow those before, and shows each
    /// plaintext with its offset in the chunk. With `more` to come it leaves what may be no whole
    /// piece. Returns the number of bytes opened; those are sealed no more.
    pub(crate) fn open(
        &mut self,
        sealed: &mut [u8],
        more: bool,
        mut see: impl FnMut(u64, &[u8]),
    ) -> Result<usize, ChunkError> {
        let mut at = 0;
        let header = self.progress.header;
        while at < sealed.len() && !(more && sealed.len() - at < SEALED_PIECE_MAX_BYTES) {
            self.progress.before()?;
            let offset = self.progress.plaintext_bytes;
            let address = header.address(self.progress.pieces);
            let piece = self.key.open_in_place(&address, &mut sealed[at..], &mut self.unpacked)?;
            self.progress.after(piece.plaintext.len(), piece.last)?;
            see(offset, piece.plaintext);
            at += piece.length;
        }
        Ok(at)
    }

    /// Whether that was the whole chunk.
    pub(crate) fn finish(&self) -> Result<(), ChunkError> {
        self.progress.finish()
    }
}
