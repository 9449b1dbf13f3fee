//! Events beside the media: the second kind of chunk.
//!
//! An events chunk is open beside a chunk of video, has the index after it, and is closed right
//! after it; while no chunk of video is open (before the first picture, while the source is gone)
//! it stands alone and is closed before video goes on. Either way it takes no time of the stream,
//! so the clocks of the chunks of video follow on each other as if it were not there. When the
//! events themselves happened is said by each of them. Without events there is no such chunk.

use super::{
    ChunkMap, ChunkSealer, EventBatch, FRAGMENTS_MAX, FragmentEntry, KEYFRAME_WAIT_US, MediaKind,
    Open, RecordKind, SessionWriter, Step, WriterError, push, volume_key,
};

impl SessionWriter {
    /// Takes events. `nonce` gives random bytes if a chunk begins with them.
    pub(crate) fn events(
        &mut self,
        batch: &EventBatch,
        nonce: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<Vec<Step>, WriterError> {
        let mut steps = Vec::new();
        if self.events_due(batch) {
            self.close_into(&mut steps)?;
        }
        let session = self.session;
        let mut open = match self.events.take() {
            Some(open) => open,
            None => {
                let index = self.tree.size() + u64::from(self.open.is_some());
                let (kind, random) = (MediaKind::Events, nonce());
                let sealer = ChunkSealer::new(session, index, kind, &self.secret, random);
                let map = ChunkMap {
                    session,
                    index,
                    kind,
                    nonce: random,
                    init_bytes: 0,
                    init_pieces: 0,
                    runs: Vec::new(),
                    fragments: Vec::new(),
                    wall_start_us: batch.first.wall_us,
                    wall_end_us: batch.last.wall_us,
                    stream_start_us: self.stream_end_us,
                    stream_end_us: self.stream_end_us,
                    gap_before: None,
                    clock_jump_us: 0,
                };
                Open { sealer, map }
            }
        };
        let first_piece = open.sealer.pieces();
        let mut records = Vec::new();
        push(&mut open.sealer, &batch.bytes, &mut records)?;
        open.map.fragments.push(FragmentEntry {
            first_piece,
            pieces: open.sealer.pieces() - first_piece,
            bytes: batch.bytes.len() as u64,
            start_us: batch.first.stream_us,
            duration_us: batch.last.stream_us.saturating_sub(batch.first.stream_us),
            keyframe: true,
        });
        open.map.wall_end_us = batch.last.wall_us;
        let key = volume_key(session, RecordKind::Open, open.map.index, 0);
        records.push((key, open.map.encode()));
        let map = Box::new(open.map.clone());
        steps.push(Step::Append { records, map, first_piece });
        self.events = Some(open);
        Ok(steps)
    }

    /// Whether what is open must close before these events: the events chunk is full, or has been
    /// open for longer than a chunk of video would be, because no video comes.
    fn events_due(&self, batch: &EventBatch) -> bool {
        let Some(open) = &self.events else { return false };
        let long = batch.last.wall_us.saturating_sub(open.map.wall_start_us);
        let bytes = open.sealer.plaintext_bytes() + batch.bytes.len() as u64;
        long > self.limits.chunk_max_us + KEYFRAME_WAIT_US
            || bytes > self.limits.chunk_max_bytes
            || !open.sealer.fits(batch.bytes.len())
            || open.map.fragments.len() as u64 >= FRAGMENTS_MAX
    }
}
