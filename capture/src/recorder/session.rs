//! One session in the archive: opened, fed with the writer's steps, and ended with a signed
//! manifest.

use super::feed::{EventBatch, StreamClock};
use super::writer::{Closing, Now, RecordKind, SessionWriter, Step, volume_key};
use super::{Anchor, Limits, Observer, RecorderError, RecorderEvent};
use crate::archive::Archive;
use crate::catalogue::{
    AnchorHeights, ChunkMap, ChunkRecord, Ended, SessionRecord, SessionState, StoredCheckpoint,
};
use crate::keys::random;
use crate::media::{Fragment, InitSegment, TrackKind};
use lucid_evidence::chunk::{Gap, MediaKind};
use lucid_evidence::manifest::{
    ClockJump, CodecInfo, EndReason, GapRecord, Manifest, SignedManifest, SourceInfo, clip,
};
use lucid_evidence::tree::{Blake3, Tree};
use lucid_evidence::{Checkpoint, Hash, SessionId, SigningKey};
use lucid_store::{Pair, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long room is made for a write that a full disk refuses.
const STORAGE_PATIENCE: Duration = Duration::from_secs(20);

/// Most bytes that neighbouring appends share a flush up to.
const SHARED_FLUSH_BYTES_MAX: usize = 8 << 20;

/// What a session is about.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// Its identifier, where one was given out before. It serves once: one that this device or the
    /// chain knows already is refused. A new one is made for none.
    pub id: Option<SessionId>,
    /// The source's identifier in the settings.
    pub source_id: String,
    /// The source, without credentials.
    pub source: SourceInfo,
    /// The device's name.
    pub device_name: String,
    /// The software, with its version.
    pub software: String,
    /// Hash of the policy in force, where there is one.
    pub policy: Option<Hash>,
    /// Who takes part.
    pub participants: Vec<String>,
    /// What its operator wrote about it.
    pub note: String,
}

/// Microseconds since 1970 by the device's clock.
pub(crate) fn wall_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The open chunks of a session that records, for the live view.
#[derive(Debug, Default)]
pub(crate) struct OpenChunks {
    pub video: Option<ChunkMap>,
    pub events: Option<ChunkMap>,
}

impl OpenChunks {
    fn of(&mut self, kind: MediaKind) -> &mut Option<ChunkMap> {
        match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Events => &mut self.events,
        }
    }
}

/// A session that records.
pub(crate) struct ActiveSession {
    archive: Arc<Archive>,
    anchor: Arc<dyn Anchor>,
    observer: Observer,
    id: SessionId,
    signer: SigningKey,
    writer: SessionWriter,
    clock: Arc<StreamClock>,
    open: Arc<Mutex<OpenChunks>>,
    gaps_told: usize,
    recording: bool,
}

impl ActiveSession {
    /// Opens a session: keys, record, announcement.
    pub fn open(
        archive: Arc<Archive>,
        anchor: Arc<dyn Anchor>,
        observer: Observer,
        spec: &SessionSpec,
        limits: Limits,
        open: Arc<Mutex<OpenChunks>>,
        began_us: Option<u64>,
    ) -> Result<Self, RecorderError> {
        let now = began_us.unwrap_or(u64::MAX).min(wall_us());
        let clock = Arc::new(StreamClock::new());
        // Until its record is stored, so that no other recording takes the same identifier.
        let opening = archive.opening();
        let id = match spec.id {
            Some(id) => {
                let stored = archive.catalogue().session(id)?.is_some();
                if stored || archive.keys().load(id)?.is_some() || anchor.knows(id) {
                    return Err(RecorderError::UsedId(id));
                }
                id
            }
            None => SessionId::new(now / 1000, random()?),
        };
        let keys = archive.keys().create(id)?;
        // Made a line above, with its signer.
        let Some(signer) = keys.signer else {
            return Err(crate::archive::ArchiveError::Deleted(id).into());
        };
        let mut record = SessionRecord {
            id,
            source_id: clip(&spec.source_id),
            source: SourceInfo {
                kind: clip(&spec.source.kind),
                name: clip(&spec.source.name),
                address: clip(&spec.source.address),
            },
            codec: None,
            device_name: clip(&spec.device_name),
            software: clip(&spec.software),
            session_key: signer.public(),
            policy: spec.policy,
            participants: spec.participants.iter().map(|name| clip(name)).collect(),
            note: clip(&spec.note),
            state: SessionState::Created,
            transitions: Vec::new(),
            start_us: now,
            ended: None,
            chunks: 0,
            plaintext_bytes: 0,
            sealed_bytes: 0,
            stream_end_us: 0,
            first_volume: archive.volumes().ids().last().map_or(0, |volume| volume.0),
            root: Tree::<Blake3>::new().root(),
            hold: None,
            anchor: AnchorHeights::default(),
        };
        record.enter(SessionState::Created, now, "opened");
        // A copy beside the media, so that a lost catalogue can be rebuilt. First, for it is what a
        // full disk refuses: of such a session nothing may stay.
        let key = volume_key(id, RecordKind::Session, 0, 0);
        if let Err(error) = archive.volumes().append(vec![(key, record.encode())]) {
            archive.keys().destroy(id)?;
            return Err(error.into());
        }
        archive.catalogue().put_session(&record)?;
        drop(opening);
        anchor.opened(&record);
        observer(RecorderEvent::State {
            session: id,
            state: SessionState::Created,
            reason: "opened".into(),
        });
        let writer = SessionWriter::new(id, keys.secret, limits, now);
        let (gaps_told, recording) = (0, false);
        Ok(ActiveSession {
            archive,
            anchor,
            observer,
            id,
            signer,
            writer,
            clock,
            open,
            gaps_told,
            recording,
        })
    }

    /// The session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The pure half.
    pub fn writer(&mut self) -> &mut SessionWriter {
        &mut self.writer
    }

    /// Length so far, microseconds of the stream clock.
    pub fn length_us(&self) -> u64 {
        self.writer.stream_end_us()
    }

    /// Length from its first media on, microseconds.
    pub fn media_us(&self) -> u64 {
        self.writer.media_us()
    }

    /// The stream clock, as far as it is known.
    pub fn clock(&self) -> Arc<StreamClock> {
        self.clock.clone()
    }

    /// Takes events and returns once they are durable.
    pub fn events(&mut self, batch: &EventBatch) -> Result<(), RecorderError> {
        let steps = self.event_steps(Some(batch))?;
        self.act(steps)
    }

    fn event_steps(&mut self, batch: Option<&EventBatch>) -> Result<Vec<Step>, RecorderError> {
        let Some(batch) = batch else { return Ok(Vec::new()) };
        let mut nonce = Some(random::<16>()?);
        Ok(self.writer.events(batch, &mut || nonce.take().unwrap_or_default())?)
    }

    /// Takes an initialisation segment.
    pub fn begin(&mut self, init: InitSegment) -> Result<(), RecorderError> {
        let codec = codec_info(&init);
        let steps = self.writer.begin(init)?;
        self.act(steps)?;
        let first = !self.recording;
        let record = self.archive.catalogue().update_session(self.id, |session| {
            // The manifest states what the session began with; each chunk carries its own
            // initialisation segment.
            session.codec.get_or_insert(codec);
            if first {
                session.enter(SessionState::Recording, wall_us(), "media came");
            }
        })?;
        if first {
            crate::rebuild::keep_record(&self.archive, &record);
            self.recording = true;
            self.tell_state(record.state, "media came");
        }
        Ok(())
    }

    /// Takes a fragment, with the events that wait, and returns once it is durable.
    pub fn fragment(
        &mut self,
        fragment: Fragment,
        events: Option<&EventBatch>,
    ) -> Result<(), RecorderError> {
        let mut steps = self.event_steps(events)?;
        let now = Now { monotonic_us: self.clock.monotonic_us(), wall_us: wall_us() };
        // Drawn before it is known whether a chunk begins, so that the pure half cannot fail on it.
        let mut nonce = Some(random::<16>()?);
        let mut draw = || nonce.take().unwrap_or_default();
        match self.writer.fragment(fragment, now, &mut draw) {
            Ok(more) => steps.extend(more),
            Err(error) => {
                // The events are not to blame.
                self.act(steps)?;
                return Err(error.into());
            }
        }
        self.act(steps)?;
        if let Some(zero_us) = self.writer.zero_us() {
            self.clock.set_zero(zero_us);
        }
        for gap in self.writer.gaps().iter().skip(self.gaps_told) {
            (self.observer)(RecorderEvent::Gap { session: self.id, gap: *gap });
        }
        self.gaps_told = self.writer.gaps().len();
        Ok(())
    }

    fn act(&mut self, steps: Vec<Step>) -> Result<(), RecorderError> {
        let mut steps = steps.into_iter().peekable();
        let mut closed = false;
        while let Some(step) = steps.next() {
            match step {
                Step::Append { mut records, map, first_piece } => {
                    // Events and the fragment after them share a flush.
                    let mut appended = vec![(map, first_piece)];
                    while bytes(&records) < SHARED_FLUSH_BYTES_MAX
                        && let Some(Step::Append { records: more, map, first_piece }) =
                            steps.next_if(|next| matches!(next, Step::Append { .. }))
                    {
                        records.extend(more);
                        appended.push((map, first_piece));
                    }
                    let volume = self.append(records)?;
                    for (map, first_piece) in appended {
                        self.appended(*map, first_piece, volume);
                    }
                }
                Step::Close(closing) => {
                    let header = &closing.record.header;
                    let (index, kind) = (header.index, header.kind);
                    store_closing(&self.archive, *closing)?;
                    *lock(&self.open).of(kind) = None;
                    (self.observer)(RecorderEvent::Chunk { session: self.id, index });
                    closed = true;
                }
            }
        }
        // Pictures and events may close at once: one checkpoint covers both, once both are stored.
        if closed { self.checkpoint() } else { Ok(()) }
    }

    /// What went into `volume` is durable.
    fn appended(&mut self, mut map: ChunkMap, first_piece: u64, volume: u64) {
        let kind = map.kind;
        self.writer.stored_in(kind, volume, first_piece);
        let before = lock(&self.open).of(kind).take().filter(|open| open.index == map.index);
        map.runs = before.map(|open| open.runs).unwrap_or_default();
        map.note_run(volume, first_piece);
        let (stream_end_us, wall_end_us) = (map.stream_end_us, map.wall_end_us);
        *lock(&self.open).of(kind) = Some(map);
        let session = self.id;
        (self.observer)(match kind {
            MediaKind::Video => RecorderEvent::Durable { session, stream_end_us, wall_end_us },
            MediaKind::Events => RecorderEvent::Events { session, wall_end_us },
        });
    }

    /// Makes records durable. A full disk is given a while: the oldest that may go is deleted and
    /// the same records are tried again, so that nothing is acknowledged early and nothing that
    /// can be kept is lost.
    fn append(&self, records: Vec<Pair>) -> Result<u64, RecorderError> {
        let refused = Instant::now();
        loop {
            match self.archive.volumes().append(records.clone()) {
                Ok(volume) => return Ok(volume.0),
                Err(error @ StoreError::Full { .. }) if refused.elapsed() < STORAGE_PATIENCE => {
                    if !crate::retention::make_room(&self.archive, &*self.anchor)? {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn checkpoint(&mut self) -> Result<(), RecorderError> {
        let signed = self.writer.checkpoint(wall_us()).sign(&self.signer);
        let stored = StoredCheckpoint {
            tree_size: signed.checkpoint().tree_size,
            height: None,
            signed: signed.as_bytes().to_vec(),
        };
        self.archive.catalogue().put_checkpoint(self.id, &stored)?;
        self.anchor.checkpoint(self.id, &signed);
        Ok(())
    }

    fn tell_state(&self, state: SessionState, reason: &str) {
        let reason = reason.to_owned();
        (self.observer)(RecorderEvent::State { session: self.id, state, reason });
    }

    /// Ends the session: closes the chunk, signs and stores the manifest.
    pub fn finish(mut self, ending: Ending) -> Result<SignedManifest, RecorderError> {
        let steps = self.writer.close()?;
        self.act(steps)?;
        let (gaps, jumps, _) = self.writer.account(ending.tail);
        let account = Account { gaps, clock_jumps: jumps };
        finish_session(&self.archive, &*self.anchor, &self.observer, self.id, ending, account)
    }
}

fn bytes(records: &[Pair]) -> usize {
    records.iter().map(|(key, value)| key.len() + value.len()).sum()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a chunk that closes real: its last piece, its record beside it, then the catalogue.
pub(crate) fn store_closing(archive: &Archive, closing: Closing) -> Result<(), RecorderError> {
    let Closing { last_piece, mut record, root } = closing;
    let header = &record.header;
    let last = header.pieces - 1;
    let volume = archive.volumes().append(vec![last_piece])?.0;
    record.map.note_run(volume, last);
    let key = volume_key(header.session, RecordKind::Closed, header.index, 0);
    let home = archive.volumes().append(vec![(key, record.encode())])?.0;
    let used = volumes_used(&record, home);
    archive.catalogue().close_chunk(&record, &used, root)?;
    Ok(())
}

/// How many sealed bytes of a chunk lie in each volume, nearly: a chunk's bytes are shared out by
/// pieces. The home of its record counts too.
pub(crate) fn volumes_used(record: &ChunkRecord, home: u64) -> Vec<(u64, u64)> {
    let header = &record.header;
    let each = header.sealed_bytes / header.pieces.max(1);
    let mut used: Vec<(u64, u64)> = Vec::new();
    let ends = record.map.runs.iter().skip(1).map(|run| run.first_piece).chain([header.pieces]);
    for (run, end) in record.map.runs.iter().zip(ends) {
        let bytes = (end - run.first_piece.min(end)) * each;
        match used.iter_mut().find(|(volume, _)| *volume == run.volume) {
            Some((_, sum)) => *sum += bytes,
            None => used.push((run.volume, bytes)),
        }
    }
    if !used.iter().any(|(volume, _)| *volume == home) {
        used.push((home, 1));
    }
    used
}

/// Gaps and clock jumps as the manifest lists them.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The gaps.
    pub gaps: Vec<GapRecord>,
    /// The jumps of the clock.
    pub clock_jumps: Vec<ClockJump>,
}

/// How a session ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// As the manifest says it.
    pub reason: EndReason,
    /// Time missing at its end.
    pub tail: Option<Gap>,
    /// For people.
    pub why: String,
    /// Ended against its will: it is terminated then.
    pub forced: bool,
}

impl Ending {
    /// The state a session with these chunks ends in, and why.
    fn state(&self, chunks: &[ChunkRecord]) -> (SessionState, String) {
        let is_media = |chunk: &ChunkRecord| {
            let time = chunk.header.time;
            chunk.header.kind == MediaKind::Video && time.stream_end_us > time.stream_start_us
        };
        if self.forced {
            (SessionState::Terminated, self.why.clone())
        } else if chunks.iter().any(is_media) {
            (SessionState::Stored, "all media is durable".to_owned())
        } else {
            (SessionState::Failed, format!("no media came: {}", self.why))
        }
    }
}

/// Signs and stores the manifest of a session whose chunks are all closed, and ends it. Also run by
/// recovery.
pub fn finish_session(
    archive: &Archive,
    anchor: &dyn Anchor,
    observer: &Observer,
    id: SessionId,
    ending: Ending,
    account: Account,
) -> Result<SignedManifest, RecorderError> {
    let now = wall_us();
    let Ending { reason, tail, .. } = ending;
    let why = &*ending.why;
    let tell = |state: SessionState, reason: &str| {
        observer(RecorderEvent::State { session: id, state, reason: reason.into() });
    };
    let session = archive.catalogue().update_session(id, |session| {
        session.enter(SessionState::Processing, now, why);
        session.ended = Some(Ended { at_us: now, reason, tail_gap: tail });
    })?;
    tell(SessionState::Processing, why);
    let chunks = archive.catalogue().all_chunks(id)?;
    let tree = Tree::<Blake3>::from_leaves(chunks.iter().map(|chunk| chunk.header.leaf()));
    let checkpoints = archive.catalogue().checkpoints(id)?;
    // The last checkpoint covers the whole tree. An empty one needs none, and the chain takes none:
    // the close says that nothing was recorded.
    if tree.size() > 0
        && checkpoints.last().is_none_or(|last| last.tree_size != tree.size())
        && let Some(signer) = archive.keys().load(id)?.and_then(|keys| keys.signer)
    {
        let (tree_size, root) = (tree.size(), tree.root());
        let signed = Checkpoint { session: id, tree_size, root, time_us: now }.sign(&signer);
        let stored =
            StoredCheckpoint { tree_size, height: None, signed: signed.as_bytes().to_vec() };
        archive.catalogue().put_checkpoint(id, &stored)?;
        anchor.checkpoint(id, &signed);
    }
    // Where time is missing before the first media, the recording begins with that.
    let media = chunks.iter().find(|chunk| chunk.header.kind == MediaKind::Video);
    let start_us = match chunks.first() {
        Some(first) if media.is_none_or(|media| media.header.gap_before.is_none()) => {
            first.header.time.wall_start_us
        }
        _ => session.start_us,
    };
    let end_us = wall_end_us(&chunks).unwrap_or(now);
    let manifest = Manifest {
        session: id,
        session_key: session.session_key,
        source: session.source.clone(),
        codec: session.codec.clone().unwrap_or_else(no_media),
        device_name: session.device_name.clone(),
        device_key: archive.keys().device().public(),
        software: session.software.clone(),
        policy: session.policy,
        participants: session.participants.clone(),
        start_us,
        end_us,
        duration_us: session.stream_end_us + tail.map_or(0, |gap| gap.length_us),
        end_reason: reason,
        tree_size: tree.size(),
        root: tree.root(),
        gaps: account.gaps,
        clock_jumps: account.clock_jumps,
        checkpoint_heights: checkpoints.iter().filter_map(|point| point.height).collect(),
    };
    let signed = manifest.sign(archive.keys().device());
    let (state, why) = ending.state(&chunks);
    let checkpoints = archive.catalogue().checkpoints(id)?;
    let stored = |session: &mut SessionRecord| {
        session.root = tree.root();
        session.chunks = tree.size();
        session.enter(state, wall_us(), &*why);
    };
    let mut last = session;
    stored(&mut last);
    crate::rebuild::keep_end(archive, &last, &signed, &checkpoints);
    archive.catalogue().put_manifest(&signed, stored)?;
    archive.keys().retire_signer(id)?;
    anchor.closed(&signed);
    tell(state, &why);
    Ok(signed)
}

/// Where the last media ends by the device's clock; events may go on after it.
fn wall_end_us(chunks: &[ChunkRecord]) -> Option<u64> {
    let media = chunks.iter().rposition(|chunk| chunk.header.kind == MediaKind::Video);
    let ends = chunks[media.unwrap_or(0)..].iter().map(|chunk| chunk.header.time.wall_end_us);
    ends.max()
}

fn no_media() -> CodecInfo {
    CodecInfo {
        video: None,
        audio: None,
        width: 0,
        height: 0,
        encoder: "none".into(),
        hardware: false,
        reason: "no media came".into(),
    }
}

fn codec_info(init: &InitSegment) -> CodecInfo {
    let of = |kind| init.tracks.iter().find(|track| track.kind == kind);
    let video = of(TrackKind::Video);
    CodecInfo {
        video: video.map(|track| clip(&track.codec)),
        audio: of(TrackKind::Audio).map(|track| clip(&track.codec)),
        width: video.map_or(0, |track| u64::from(track.width.min(65_535))),
        height: video.map_or(0, |track| u64::from(track.height.min(65_535))),
        encoder: clip(&init.encoder.name),
        hardware: init.encoder.hardware,
        reason: clip(&init.encoder.reason),
    }
}
