//! After a crash: takes up what is durable of sessions that were never closed, and closes them
//! honestly.

use crate::archive::Archive;
use crate::catalogue::{ChunkMap, ChunkRecord, SessionRecord};
use crate::rebuild::{self, Missed};
use crate::recorder::writer::{Closing, RecordKind, close_chunk, volume_key};
use crate::recorder::{Account, Ending, store_closing};
use crate::recorder::{Anchor, Observer, RecorderError, finish_session};
use lucid_evidence::SessionId;
use lucid_evidence::chunk::{ChunkSealer, Gap, GapReason, MediaKind};
use lucid_evidence::manifest::{ClockJump, EndReason, GapRecord};
use lucid_evidence::seal::SessionSecret;
use lucid_evidence::tree::{Blake3, Tree};
use lucid_store::VolumeId;
use std::collections::BTreeMap;

/// What may be lost at a crash alone at most, microseconds: the fragment that was not durable yet.
/// What is known to be lost to damage is declared on top of it.
pub const LOSS_MAX_US: u64 = 1_000_000;
/// More pieces than a chunk can hold.
const PIECES_MAX: usize = lucid_evidence::chunk::CHUNK_MAX_PIECES as usize + 1;

/// A session that was taken up.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The session.
    pub session: SessionId,
    /// Media in it, microseconds.
    pub length_us: u64,
    /// What was damaged and left out, in words.
    pub damage: Vec<String>,
}

/// What came of taking up sessions after a crash.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Sessions that the catalogue had lost.
    pub missed: Vec<Missed>,
    /// Sessions that are closed now.
    pub recovered: Vec<Recovered>,
    /// Sessions that could not be taken up, and why; they are tried again at the next start.
    pub failed: Vec<(SessionId, RecorderError)>,
}

/// The durable part of an open chunk.
pub(crate) struct OpenChunk {
    sealer: ChunkSealer,
    map: ChunkMap,
    damage: Option<String>,
    /// Where its media ended before any was lost, microseconds of the stream clock.
    whole_us: u64,
}

/// What is open of a session.
#[derive(Default)]
pub(crate) struct OpenPart {
    /// What is closed with what is intact, in order.
    pub(crate) chunks: Vec<OpenChunk>,
    /// What is damaged in them, and in those of which nothing is left.
    pub(crate) damage: Vec<String>,
    /// How far their media is known to have reached, microseconds of the stream clock.
    whole_us: u64,
}

/// Puts back the sessions that the catalogue has lost, and closes every session that still stands
/// as running. Sessions that cannot be taken up are reported
/// and left.
///
/// # Errors
/// When the catalogue cannot be read.
pub fn recover_all(
    archive: &Archive,
    anchor: &dyn Anchor,
    observer: &Observer,
) -> Result<Recovery, RecorderError> {
    let missed = rebuild::missed(archive, true, &mut |_| {})?;
    for Missed { session, chunks, ended } in &missed {
        let how = if *ended { "whole" } else { "not closed" };
        tracing::error!(%session, chunks, how, "the index had lost it; taken up from the volumes");
    }
    let mut running = Vec::new();
    archive.catalogue().for_each_session(|session| {
        if session.state.is_running() {
            running.push(session.id);
        }
    })?;
    let mut recovery = Recovery { missed, ..Recovery::default() };
    for id in running {
        match recover_session(archive, anchor, observer, id, EndReason::Crash, GapReason::Crash) {
            Ok(one) => recovery.recovered.push(one),
            Err(error) => recovery.failed.push((id, error)),
        }
    }
    Ok(recovery)
}

/// Closes one session with what is durable of it, for `reason`; up to a fragment may be missing at
/// its end, and more where stored data are damaged. The gap record says at least as much.
///
/// # Errors
/// When the archive cannot be read or written; what is durable stays as it is.
pub fn recover_session(
    archive: &Archive,
    anchor: &dyn Anchor,
    observer: &Observer,
    id: SessionId,
    reason: EndReason,
    gap: GapReason,
) -> Result<Recovered, RecorderError> {
    let session = archive.session(id)?;
    let mut damage = Vec::new();
    let mut chunks = archive.catalogue().all_chunks(id)?;
    let mut tree = Tree::<Blake3>::from_leaves(chunks.iter().map(|c| c.header.leaf()));
    let volumes = candidate_volumes(archive, &session, chunks.last());
    // Closed in its volume, and the power went before the catalogue knew.
    while let Some((record, home)) = closed_record(archive, &volumes, id, tree.size())? {
        tree.push(record.header.leaf());
        let used = crate::recorder::volumes_used(&record, home);
        archive.catalogue().close_chunk(&record, &used, tree.root())?;
        chunks.push(record);
    }
    if let Some(signed) = rebuild::restore_end(archive, &volumes, id, &tree)? {
        // It was closed, and the catalogue does not know any more, or not yet.
        anchor.closed(&signed);
        let length_us = signed.manifest().duration_us;
        return Ok(Recovered { session: id, length_us, damage });
    }
    let secret = archive.secret(id)?;
    let part = open_chunks(archive, &secret, &volumes, id, tree.size())?;
    damage.extend(part.damage);
    for mut open in part.chunks {
        if open.map.kind == MediaKind::Events {
            // They stand where the media before them ends, and take no time of the stream.
            let end_us = chunks.last().map_or(0, |chunk| chunk.header.time.stream_end_us);
            (open.map.stream_start_us, open.map.stream_end_us) = (end_us, end_us);
        }
        let (record, last_piece) = close_chunk(open.sealer, open.map)
            .map_err(|source| crate::archive::ArchiveError::Chunk { session: id, source })?;
        tree.push(record.header.leaf());
        let closing = Closing { last_piece, record: record.clone(), root: tree.root() };
        store_closing(archive, closing)?;
        chunks.push(record);
    }
    let length_us = chunks.last().map_or(0, |chunk| chunk.header.time.stream_end_us);
    let cut_us = cut_off(archive, &session, &volumes, &chunks);
    if cut_us > 0 {
        damage.push(format!("up to {} ms at the end were cut off a damaged volume", cut_us / 1000));
    }
    let lost_us = part.whole_us.saturating_sub(length_us).max(cut_us);
    let reason_of_gap = if lost_us > 0 { GapReason::Damaged } else { gap };
    let tail = (lost_us > 0 || !chunks.is_empty())
        .then(|| Gap { length_us: lost_us.saturating_add(LOSS_MAX_US), reason: reason_of_gap });
    let account = account(&chunks, session.start_us, tail);
    let mut why = format!("{}; closed when the recorder came back", gap.as_str());
    if lost_us > 0 {
        why.push_str(&format!("; {} ms of stored media are damaged and lost", lost_us / 1000));
    }
    let ending = Ending { reason, tail, why, forced: false };
    finish_session(archive, anchor, observer, id, ending, account)?;
    Ok(Recovered { session: id, length_us, damage })
}

/// How long media may have gone on behind what is left of a session, by what is known of volumes
/// whose end was cut off, microseconds. More may be said than was recorded, never less.
pub(crate) fn cut_off(
    archive: &Archive,
    session: &SessionRecord,
    volumes: &[VolumeId],
    chunks: &[ChunkRecord],
) -> u64 {
    let cuts = volumes.iter().filter_map(|volume| archive.volumes().cut_until_us(*volume));
    let Some(until_us) = cuts.max() else { return 0 };
    let video = chunks.iter().rfind(|chunk| chunk.header.kind == MediaKind::Video);
    let kept_us = video.map_or(session.start_us, |chunk| chunk.header.time.wall_end_us);
    until_us.saturating_sub(kept_us)
}

/// Gaps and clock jumps by the chunks.
fn account(chunks: &[ChunkRecord], start_us: u64, tail: Option<Gap>) -> Account {
    let mut account = Account::default();
    let (mut stream_us, mut wall_us) = (0, start_us);
    for chunk in chunks {
        let time = chunk.header.time;
        if let Some(gap) = chunk.header.gap_before {
            let before_chunk = chunk.header.index;
            account.gaps.push(GapRecord { before_chunk, stream_us, wall_us, gap });
        }
        if chunk.map.clock_jump_us != 0 {
            let by_us = chunk.map.clock_jump_us;
            account.clock_jumps.push(ClockJump { stream_us: time.stream_start_us, by_us });
        }
        stream_us = time.stream_end_us;
        // Events take no time of the stream, and may go on while media is missing.
        if chunk.header.kind == MediaKind::Video {
            wall_us = time.wall_end_us;
        }
    }
    let before_chunk = chunks.len() as u64;
    account.gaps.extend(tail.map(|gap| GapRecord { before_chunk, stream_us, wall_us, gap }));
    account
}

/// The volumes in which the part of a session that the catalogue does not know may lie, ascending:
/// from where its last closed chunk begins, for an open chunk of events may be as old as that.
pub(crate) fn candidate_volumes(
    archive: &Archive,
    session: &SessionRecord,
    last: Option<&ChunkRecord>,
) -> Vec<VolumeId> {
    let from = last
        .and_then(|chunk| chunk.map.runs.first())
        .map_or(session.first_volume, |run| run.volume);
    archive.volumes().ids().into_iter().filter(|volume| volume.0 >= from).collect()
}

/// A closed chunk's record and the volume it lies in.
fn closed_record(
    archive: &Archive,
    volumes: &[VolumeId],
    id: SessionId,
    index: u64,
) -> Result<Option<(ChunkRecord, u64)>, RecorderError> {
    let key = volume_key(id, RecordKind::Closed, index, 0);
    for volume in volumes.iter().rev() {
        let Ok(Some(bytes)) = archive.volumes().get(*volume, &key) else { continue };
        if let Ok(record) = ChunkRecord::decode(&bytes)
            && record.header.index == index
            && archive.sealed_chunk(&record).is_ok()
        {
            return Ok(Some((record, volume.0)));
        }
    }
    Ok(None)
}

/// What is open from chunk `index` on, in the order in which it is closed: video, events, or both.
/// What holds nothing is left out, unless events follow it: their index counts on it.
pub(crate) fn open_chunks(
    archive: &Archive,
    secret: &SessionSecret,
    volumes: &[VolumeId],
    id: SessionId,
    index: u64,
) -> Result<OpenPart, RecorderError> {
    let mut part = OpenPart::default();
    let mut note = |open: &Option<OpenChunk>| {
        part.damage.extend(open.iter().filter_map(|open| open.damage.clone()));
        let ends = open.iter().filter(|open| open.map.kind == MediaKind::Video);
        part.whole_us = ends.map(|open| open.whole_us).fold(part.whole_us, u64::max);
    };
    let first = open_chunk(archive, secret, volumes, id, index)?;
    note(&first);
    let beside = match &first {
        Some(first) if first.map.kind == MediaKind::Events => None,
        _ => {
            let beside = open_chunk(archive, secret, volumes, id, index + 1)?;
            let beside = beside.filter(|open| open.map.kind == MediaKind::Events);
            note(&beside);
            beside.filter(|open| !open.map.fragments.is_empty())
        }
    };
    let first = match (first, &beside) {
        (None, Some(beside)) => {
            let empty = Some(empty_chunk(secret, id, index, &beside.map)?);
            note(&empty);
            empty
        }
        (Some(first), None) => Some(first).filter(|open| !open.map.fragments.is_empty()),
        (first, _) => first,
    };
    part.chunks = first.into_iter().chain(beside).collect();
    Ok(part)
}

/// A chunk of video of which nothing was found, before events that were open beside it.
fn empty_chunk(
    secret: &SessionSecret,
    id: SessionId,
    index: u64,
    beside: &ChunkMap,
) -> Result<OpenChunk, RecorderError> {
    // A nonce of its own: whatever was sealed under this chunk's key was under another one.
    let nonce = crate::keys::random()?;
    let kind = MediaKind::Video;
    let map = ChunkMap {
        index,
        kind,
        nonce,
        runs: Vec::new(),
        fragments: Vec::new(),
        wall_end_us: beside.wall_start_us,
        ..beside.clone()
    };
    let sealer = ChunkSealer::new(id, index, kind, secret, nonce);
    let damage = Some(format!("chunk {index}: all of its media is lost"));
    Ok(OpenChunk { sealer, map, damage, whole_us: 0 })
}

/// The open chunk number `index`, as far as it is durable and intact.
pub(crate) fn open_chunk(
    archive: &Archive,
    secret: &SessionSecret,
    volumes: &[VolumeId],
    id: SessionId,
    index: u64,
) -> Result<Option<OpenChunk>, RecorderError> {
    let Some(mut map) = open_map(archive, volumes, id, index) else { return Ok(None) };
    let mut frames: BTreeMap<u64, (u64, Vec<u8>)> = BTreeMap::new();
    let from = volume_key(id, RecordKind::Piece, index, 0);
    let to = volume_key(id, RecordKind::Piece, index, u64::from(u32::MAX));
    for volume in volumes {
        let scan = match archive.volumes().scan(*volume, &from, &to, PIECES_MAX) {
            // Then its pieces are missing, which is said below.
            Err(error) if error.is_damage() => continue,
            scan => scan?,
        };
        for (key, frame) in scan.items {
            let piece =
                key.get(25..).map_or(0, |b| b.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
            frames.insert(piece, (volume.0, frame));
        }
    }
    map.runs.clear();
    let mut sealer = ChunkSealer::new(id, index, map.kind, secret, map.nonce);
    let mut damage = None;
    let wanted = std::mem::take(&mut map.fragments);
    let init_pieces = map.init_pieces;
    let whole_us = map.stream_end_us;
    let init = resume(&mut sealer, &mut map, &frames, init_pieces);
    if let Err(text) = init {
        let damage = Some(format!("chunk {index}: its initialisation segment is lost: {text}"));
        map.stream_end_us = map.stream_start_us;
        map.wall_end_us = map.wall_start_us;
        return Ok(Some(OpenChunk { sealer, map, damage, whole_us }));
    }
    for fragment in wanted {
        let (before, runs) = (sealer.clone(), map.runs.clone());
        if let Err(text) = resume(&mut sealer, &mut map, &frames, fragment.pieces) {
            (sealer, map.runs) = (before, runs);
            let at = fragment.start_us / 1000;
            let what = match map.kind {
                MediaKind::Video => "media",
                MediaKind::Events => "events",
            };
            damage = Some(format!("chunk {index}: {what} from {at} ms on is lost: {text}"));
            break;
        }
        map.fragments.push(fragment);
    }
    if map.kind == MediaKind::Video {
        let end = map.fragments.last().map_or(map.stream_start_us, |f| f.start_us + f.duration_us);
        map.stream_end_us = end.max(map.stream_start_us);
        let lost_us = whole_us.saturating_sub(map.stream_end_us);
        map.wall_end_us = map.wall_end_us.saturating_sub(lost_us);
    }
    Ok(Some(OpenChunk { sealer, map, damage, whole_us }))
}

/// The newest map of an open chunk.
fn open_map(
    archive: &Archive,
    volumes: &[VolumeId],
    id: SessionId,
    index: u64,
) -> Option<ChunkMap> {
    let key = volume_key(id, RecordKind::Open, index, 0);
    volumes.iter().rev().find_map(|volume| {
        let bytes = archive.volumes().get(*volume, &key).ok()??;
        ChunkMap::decode(&bytes).ok().filter(|map| map.index == index && map.session == id)
    })
}

/// Feeds the next `pieces` pieces.
fn resume(
    sealer: &mut ChunkSealer,
    map: &mut ChunkMap,
    frames: &BTreeMap<u64, (u64, Vec<u8>)>,
    pieces: u64,
) -> Result<(), String> {
    for piece in sealer.pieces()..sealer.pieces() + pieces {
        let (volume, frame) =
            frames.get(&piece).ok_or_else(|| format!("piece {piece} is not stored"))?;
        sealer.resume(frame).map_err(|error| error.to_string())?;
        map.note_run(*volume, piece);
    }
    Ok(())
}

impl OpenChunk {
    /// Its map: what is durable and intact.
    pub(crate) fn map(&self) -> &ChunkMap {
        &self.map
    }
}
