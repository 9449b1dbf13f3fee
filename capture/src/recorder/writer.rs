//! The pure half of the recorder: fragments, events, time and randomness in, records to store out.
//!
//! It decides where fragments stand on the session's clock, what is a gap, when a chunk closes, and
//! what each record says. It writes nothing itself; the driver makes the records durable in the
//! order given.

mod events;

use super::feed::EventBatch;
use crate::catalogue::{ChunkMap, ChunkRecord, FRAGMENTS_MAX, FragmentEntry};
use crate::fmp4::{self, Fmp4Error};
use crate::media::{Fragment, InitSegment};
use lucid_evidence::chunk::{
    CHUNK_MAX_BYTES, ChunkError, ChunkSealer, Gap, GapReason, INIT_MAX_BYTES, MediaKind, TimeSpan,
};
use lucid_evidence::manifest::{ClockJump, GapRecord};
use lucid_evidence::seal::SessionSecret;
use lucid_evidence::tree::{Blake3, Tree};
use lucid_evidence::{Checkpoint, Hash, SessionId};
use lucid_store::Pair;

/// Holes up to this length are the unevenness of a camera's clock and no gap, microseconds.
pub const GAP_TOLERANCE_US: u64 = 250_000;
/// Time between a session's start and its first media that is no gap: a source takes a moment to
/// open, microseconds.
pub const START_TOLERANCE_US: u64 = 1_500_000;
/// A wall clock that moves by more than this against the stream clock has been set, microseconds.
pub const CLOCK_JUMP_US: u64 = 2_000_000;
/// How long a chunk that is due waits for a keyframe to end at, microseconds.
pub const KEYFRAME_WAIT_US: u64 = 10_000_000;

/// The kind byte of keys in volumes: `session ‖ kind ‖ chunk(u64) ‖ piece(u32)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A sealed piece's frame.
    Piece = 0,
    /// The map of a chunk that is still open; overwritten as it grows.
    Open = 1,
    /// A closed chunk.
    Closed = 2,
    /// The session's record, from which a lost catalogue is rebuilt: under chunk 0 as it was
    /// opened, under chunk 1 as it ended.
    Session = 3,
    /// A part of the manifest; the piece is its number.
    Manifest = 4,
    /// A signed checkpoint; the chunk is the size of its tree.
    Checkpoint = 5,
}

/// A key in a volume.
pub fn volume_key(session: SessionId, kind: RecordKind, chunk: u64, piece: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(29);
    key.extend_from_slice(session.as_bytes());
    key.push(kind as u8);
    key.extend_from_slice(&chunk.to_be_bytes());
    key.extend_from_slice(&(piece as u32).to_be_bytes());
    key
}

/// Reads a volume key: session, kind byte, chunk, piece.
pub fn read_volume_key(key: &[u8]) -> Option<(SessionId, u8, u64, u64)> {
    let session = SessionId::from_bytes(key.get(..16)?.try_into().ok()?).ok()?;
    let chunk = u64::from_be_bytes(key.get(17..25)?.try_into().ok()?);
    let piece = u32::from_be_bytes(key.get(25..29)?.try_into().ok()?);
    (key.len() == 29).then_some((session, key[16], chunk, u64::from(piece)))
}

/// When a chunk is full.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest chunk, microseconds.
    pub chunk_max_us: u64,
    /// Most media in a chunk, bytes.
    pub chunk_max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { chunk_max_us: 60_000_000, chunk_max_bytes: CHUNK_MAX_BYTES }
    }
}

/// The time at which something came.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// A clock that never jumps, microseconds since the session was opened.
    pub monotonic_us: u64,
    /// The device's clock, microseconds since 1970.
    pub wall_us: u64,
}

/// What the driver must do, in order.
#[derive(Debug)]
pub enum Step {
    /// Make these records durable; the media or events in them are acknowledged after.
    Append {
        /// The records. The last one is the open chunk's map.
        records: Vec<Pair>,
        /// The open chunk's map with these records in it.
        map: Box<ChunkMap>,
        /// The first of the pieces among the records.
        first_piece: u64,
    },
    /// A chunk is closed: make its last piece durable, then its record in the volume and in the
    /// catalogue.
    Close(Box<Closing>),
}

/// A chunk that closes.
#[derive(Debug)]
pub struct Closing {
    /// Its last piece.
    pub last_piece: Pair,
    /// Its record; the driver adds the volume of the last piece.
    pub record: ChunkRecord,
    /// The tree's root with this leaf.
    pub root: Hash,
}

/// Why a fragment was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// It is not what the muxer makes.
    #[error("fragment cannot be read: {0}")]
    Fragment(#[from] Fmp4Error),
    /// Sealing failed.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// Larger than a chunk.
    #[error("fragment of {bytes} bytes does not fit a chunk of {CHUNK_MAX_BYTES} bytes")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// An initialisation segment larger than the format allows.
    #[error("initialisation segment of {bytes} bytes is over the limit of {INIT_MAX_BYTES} bytes")]
    InitTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A fragment came before any initialisation segment.
    #[error("fragment without an initialisation segment")]
    NoInit,
}

struct Open {
    sealer: ChunkSealer,
    map: ChunkMap,
}

/// Writes one session.
pub struct SessionWriter {
    session: SessionId,
    secret: SessionSecret,
    limits: Limits,
    tree: Tree<Blake3>,
    init: Option<InitSegment>,
    open: Option<Open>,
    /// The open chunk of events. Beside an open chunk of video its index is the next one, for it is
    /// closed right after that; alone it is the session's open chunk.
    events: Option<Open>,
    /// Whether media has come: what comes before it is not missing.
    started: bool,
    /// Stream clock minus the run's own clock.
    base_us: Option<i64>,
    /// Monotonic time at which the stream clock was zero.
    zero_us: Option<u64>,
    /// What was missing before the first media, microseconds.
    lead_us: u64,
    stream_end_us: u64,
    wall_end_us: u64,
    sequence: u32,
    missing: Option<GapReason>,
    clock_offset_us: Option<i64>,
    gaps: Vec<GapRecord>,
    clock_jumps: Vec<ClockJump>,
}

impl SessionWriter {
    /// Begins a session; `wall_us` is the device's clock now, microseconds since 1970.
    pub fn new(session: SessionId, secret: SessionSecret, limits: Limits, wall_us: u64) -> Self {
        SessionWriter {
            session,
            secret,
            limits,
            tree: Tree::new(),
            init: None,
            open: None,
            events: None,
            started: false,
            base_us: None,
            zero_us: None,
            lead_us: 0,
            stream_end_us: 0,
            wall_end_us: wall_us,
            sequence: 0,
            missing: None,
            clock_offset_us: None,
            gaps: Vec::new(),
            clock_jumps: Vec::new(),
        }
    }

    /// Where the media ends so far, microseconds of the stream clock.
    pub fn stream_end_us(&self) -> u64 {
        self.stream_end_us
    }

    /// Length of the recording from its first media on, microseconds.
    pub fn media_us(&self) -> u64 {
        self.stream_end_us.saturating_sub(self.lead_us)
    }

    /// The first media is here already: whatever passes until it is taken is not missing.
    pub fn media_is_here(&mut self) {
        self.zero_us.get_or_insert(0);
    }

    /// Monotonic time at which the stream clock was zero; known once media has come.
    pub fn zero_us(&self) -> Option<u64> {
        self.zero_us
    }

    /// The gaps so far.
    pub fn gaps(&self) -> &[GapRecord] {
        &self.gaps
    }

    /// The checkpoint over the closed chunks.
    pub fn checkpoint(&self, wall_us: u64) -> Checkpoint {
        Checkpoint {
            session: self.session,
            tree_size: self.tree.size(),
            root: self.tree.root(),
            time_us: wall_us,
        }
    }

    /// The initialisation segment in use.
    pub fn init(&self) -> Option<&InitSegment> {
        self.init.as_ref()
    }

    /// A new run of the source begins; what is missing until its first fragment is missing for
    /// `reason`.
    pub fn run_lost(&mut self, reason: GapReason) {
        self.base_us = None;
        self.missing = Some(reason);
    }

    /// Media was lost within the run, for `reason`: the next hole is a gap for that reason.
    pub fn media_lost(&mut self, reason: GapReason) {
        self.missing = Some(reason);
    }

    /// Takes an initialisation segment. A new one closes the chunk: a chunk has only one.
    pub fn begin(&mut self, init: InitSegment) -> Result<Vec<Step>, WriterError> {
        if init.bytes.len() as u64 > INIT_MAX_BYTES {
            return Err(WriterError::InitTooLarge { bytes: init.bytes.len() });
        }
        let mut steps = Vec::new();
        if self.init.as_ref().is_some_and(|before| before.bytes != init.bytes) {
            self.close_into(&mut steps)?;
        }
        self.init = Some(init);
        Ok(steps)
    }

    /// Takes a fragment. `nonce` gives random bytes if a chunk begins with it.
    pub fn fragment(
        &mut self,
        fragment: Fragment,
        now: Now,
        nonce: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<Vec<Step>, WriterError> {
        let init_len = self.init.as_ref().ok_or(WriterError::NoInit)?.bytes.len();
        if (fragment.bytes.len() + init_len) as u64 > self.limits.chunk_max_bytes {
            self.missing = Some(GapReason::Overload);
            return Err(WriterError::TooLarge { bytes: fragment.bytes.len() });
        }
        let mut steps = Vec::new();
        let start = self.place(&fragment, now);
        let reason = self.missing.take();
        let hole = start.saturating_sub(self.stream_end_us);
        let new_run = reason.is_some();
        let gap = (hole > GAP_TOLERANCE_US || (new_run && hole > 0 && self.started))
            .then(|| Gap { length_us: hole, reason: reason.unwrap_or(GapReason::SourceStalled) });
        let jump_us = self.clock_jump(now);
        // Without an open chunk of video one begins, and events that stand alone end before it.
        if self.open.is_none() || gap.is_some() || jump_us != 0 || self.due(&fragment, init_len) {
            self.close_into(&mut steps)?;
        }
        if let Some(gap) = gap {
            self.gaps.push(GapRecord {
                before_chunk: self.tree.size(),
                stream_us: self.stream_end_us,
                wall_us: self.wall_end_us,
                gap,
            });
        }
        if jump_us != 0 {
            self.clock_jumps.push(ClockJump { stream_us: start, by_us: jump_us });
        }
        self.write(fragment, start, gap, jump_us, nonce, &mut steps)?;
        Ok(steps)
    }

    /// Where the fragment starts on the stream clock.
    fn place(&mut self, fragment: &Fragment, now: Now) -> u64 {
        let began = now.monotonic_us.saturating_sub(fragment.duration_us);
        let zero = match self.zero_us {
            Some(zero) => zero,
            // The session's clock runs from its start: what passed without media is missing.
            None if began > START_TOLERANCE_US => {
                self.lead_us = began;
                *self.zero_us.insert(0)
            }
            None => *self.zero_us.insert(began),
        };
        let end = self.stream_end_us as i64;
        let fresh = match self.base_us {
            // The source's time went back: as if it had begun anew, right here.
            Some(base)
                if base.saturating_add(fragment.start_us) < end - GAP_TOLERANCE_US as i64 =>
            {
                Some(end)
            }
            Some(_) => None,
            None if self.started => Some(end.max(began.saturating_sub(zero) as i64)),
            None if self.lead_us > 0 => {
                self.lead_us = began;
                Some(began as i64)
            }
            // Tracks may begin a little before the picture; their times must not become negative.
            None => Some(fragment.start_us.clamp(0, GAP_TOLERANCE_US as i64)),
        };
        if let Some(start) = fresh {
            self.base_us = Some(start.saturating_sub(fragment.start_us));
        }
        let start = self.base_us.unwrap_or(0).saturating_add(fragment.start_us);
        u64::try_from(start).unwrap_or(0)
    }

    /// By how much the wall clock was set since the fragment before, microseconds.
    fn clock_jump(&mut self, now: Now) -> i64 {
        let offset = (now.wall_us as i64).saturating_sub(now.monotonic_us as i64);
        let before = self.clock_offset_us.replace(offset).unwrap_or(offset);
        let moved = offset.saturating_sub(before);
        if moved.unsigned_abs() > CLOCK_JUMP_US { moved } else { 0 }
    }

    /// Whether the open chunk must close before this fragment.
    fn due(&self, fragment: &Fragment, init_len: usize) -> bool {
        let Some(open) = &self.open else { return false };
        let long = self.stream_end_us.saturating_sub(open.map.stream_start_us);
        let limit = self.limits.chunk_max_us;
        let over_time = long >= limit && (fragment.keyframe || long >= limit + KEYFRAME_WAIT_US);
        let bytes = open.sealer.plaintext_bytes() + fragment.bytes.len() as u64;
        over_time
            || bytes > self.limits.chunk_max_bytes
            || !open.sealer.fits(fragment.bytes.len() + init_len)
            || open.map.fragments.len() as u64 >= FRAGMENTS_MAX
    }

    fn write(
        &mut self,
        mut fragment: Fragment,
        start: u64,
        gap: Option<Gap>,
        clock_jump_us: i64,
        nonce: &mut dyn FnMut() -> [u8; 16],
        steps: &mut Vec<Step>,
    ) -> Result<(), WriterError> {
        let Some(init) = &self.init else { return Err(WriterError::NoInit) };
        let base = (start as i64).saturating_sub(fragment.start_us);
        fmp4::rebase(&mut fragment.bytes, &init.tracks, base, self.sequence.wrapping_add(1))?;
        self.sequence = self.sequence.wrapping_add(1);
        self.started = true;
        let session = self.session;
        let mut records = Vec::new();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let stream_start = self.stream_end_us + gap.map_or(0, |gap| gap.length_us);
                let index = self.tree.size();
                let random = nonce();
                let kind = MediaKind::Video;
                let mut sealer = ChunkSealer::new(session, index, kind, &self.secret, random);
                push(&mut sealer, &init.bytes, &mut records)?;
                let map = ChunkMap {
                    session,
                    index,
                    kind,
                    nonce: random,
                    init_bytes: init.bytes.len() as u64,
                    init_pieces: sealer.pieces(),
                    runs: Vec::new(),
                    fragments: Vec::new(),
                    wall_start_us: fragment.captured_at_us,
                    wall_end_us: fragment.captured_at_us,
                    stream_start_us: stream_start,
                    stream_end_us: stream_start,
                    gap_before: gap,
                    clock_jump_us,
                };
                Open { sealer, map }
            }
        };
        let first_piece = open.sealer.pieces() - records.len() as u64;
        let fragment_piece = open.sealer.pieces();
        push(&mut open.sealer, &fragment.bytes, &mut records)?;
        open.map.fragments.push(FragmentEntry {
            first_piece: fragment_piece,
            pieces: open.sealer.pieces() - fragment_piece,
            bytes: fragment.bytes.len() as u64,
            start_us: start,
            duration_us: fragment.duration_us,
            keyframe: fragment.keyframe,
        });
        let end = start.saturating_add(fragment.duration_us);
        self.stream_end_us = end.max(self.stream_end_us).max(open.map.stream_start_us);
        self.wall_end_us = fragment.captured_at_us.saturating_add(fragment.duration_us);
        open.map.stream_end_us = self.stream_end_us;
        open.map.wall_end_us = self.wall_end_us;
        let key = volume_key(session, RecordKind::Open, open.map.index, 0);
        // The driver fills in the volume before it stores the map.
        records.push((key, open.map.encode()));
        let map = Box::new(open.map.clone());
        steps.push(Step::Append { records, map, first_piece });
        self.open = Some(open);
        Ok(())
    }

    /// Learns from the driver in which volume pieces from `first_piece` on of the open chunk of
    /// this kind lie.
    pub fn stored_in(&mut self, kind: MediaKind, volume: u64, first_piece: u64) {
        let open = match kind {
            MediaKind::Video => &mut self.open,
            MediaKind::Events => &mut self.events,
        };
        if let Some(open) = open {
            open.map.note_run(volume, first_piece);
        }
    }

    /// Closes what is open.
    pub fn close(&mut self) -> Result<Vec<Step>, WriterError> {
        let mut steps = Vec::new();
        self.close_into(&mut steps)?;
        Ok(steps)
    }

    fn close_into(&mut self, steps: &mut Vec<Step>) -> Result<(), WriterError> {
        if let Some(open) = self.open.take() {
            self.close_one(open, steps)?;
        }
        if let Some(mut open) = self.events.take() {
            // Events take no time of the stream: they stand where the media before them ends.
            open.map.stream_start_us = self.stream_end_us;
            open.map.stream_end_us = self.stream_end_us;
            self.close_one(open, steps)?;
        }
        Ok(())
    }

    fn close_one(&mut self, open: Open, steps: &mut Vec<Step>) -> Result<(), WriterError> {
        let (record, last_piece) = close_chunk(open.sealer, open.map)?;
        self.tree.push(record.header.leaf());
        steps.push(Step::Close(Box::new(Closing { last_piece, record, root: self.tree.root() })));
        Ok(())
    }

    /// What the manifest says of the recorded media: gaps, clock jumps, length. `tail` is time
    /// missing at the end.
    pub fn account(&self, tail: Option<Gap>) -> (Vec<GapRecord>, Vec<ClockJump>, u64) {
        let mut gaps = self.gaps.clone();
        gaps.extend(tail.map(|gap| GapRecord {
            before_chunk: self.tree.size(),
            stream_us: self.stream_end_us,
            wall_us: self.wall_end_us,
            gap,
        }));
        let length = self.stream_end_us + tail.map_or(0, |gap| gap.length_us);
        (gaps, self.clock_jumps.clone(), length)
    }
}

/// Seals `plaintext` and appends its pieces to `records`.
fn push(
    sealer: &mut ChunkSealer,
    plaintext: &[u8],
    records: &mut Vec<Pair>,
) -> Result<(), ChunkError> {
    let first = sealer.pieces();
    let (session, chunk) = (sealer.session(), sealer.index());
    for (piece, frame) in (first..).zip(sealer.push(plaintext)?) {
        records.push((volume_key(session, RecordKind::Piece, chunk, piece), frame));
    }
    Ok(())
}

/// Ends a chunk: its record and its last piece. Used by the recorder and, after a crash, by
/// recovery.
pub(crate) fn close_chunk(
    sealer: ChunkSealer,
    map: ChunkMap,
) -> Result<(ChunkRecord, Pair), ChunkError> {
    let time = TimeSpan {
        wall_start_us: map.wall_start_us,
        wall_end_us: map.wall_end_us,
        stream_start_us: map.stream_start_us,
        stream_end_us: map.stream_end_us,
    };
    let key = volume_key(map.session, RecordKind::Piece, map.index, sealer.pieces());
    let (frame, header) = sealer.finish(time, map.init_bytes, map.gap_before)?;
    Ok((ChunkRecord { header, map }, (key, frame)))
}

#[cfg(test)]
mod tests;
