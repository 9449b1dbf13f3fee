//! Giving space back: quotas by size and age, legal hold, and what happens when the disk is full.
//!
//! Sessions go whole, oldest first, by destroying their keys; their volumes follow when nothing
//! living is left in them. What is on legal hold stays, and when only that is left new recordings
//! are refused.

use crate::archive::{Archive, ArchiveError};
use crate::catalogue::{ChunkRecord, Run, SessionRecord, SessionState};
use crate::recorder::writer::{RecordKind, read_volume_key};
use crate::recorder::{Anchor, wall_us};
use lucid_evidence::SessionId;
use lucid_store::{Relocated, VolumeId};
use std::collections::{BTreeMap, HashMap};

/// A volume with less than this part alive is copied out and removed, percent.
const LIVE_PERCENT_MIN: u64 = 50;

/// How much of a source is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Longest age of a session's end, microseconds.
    pub max_age_us: Option<u64>,
    /// Most bytes of all its sessions.
    pub max_bytes: Option<u64>,
}

/// What is kept.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The quota of each source, by its identifier; a source without one keeps all that fits.
    pub quotas: HashMap<String, Quota>,
    /// Bytes of the disk that are kept free for what is being recorded.
    pub keep_free_bytes: u64,
}

/// What a round of retention did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Sessions deleted.
    pub deleted: Vec<SessionId>,
    /// Volumes removed.
    pub volumes: Vec<u64>,
    /// Sessions beyond their quota or in the way that are on legal hold.
    pub held: Vec<SessionId>,
    /// Whether less is free than should be, and nothing more may be deleted.
    pub full: bool,
}

/// Brings the archive within `policy`.
///
/// # Errors
/// When the archive cannot be read or written.
pub fn enforce(
    archive: &Archive,
    anchor: &dyn Anchor,
    policy: &Policy,
) -> Result<Report, ArchiveError> {
    let now = wall_us();
    let mut report = Report::default();
    let mut sessions = finished(archive)?;
    let mut kept = Vec::new();
    let mut bytes: HashMap<String, u64> = HashMap::new();
    // Newest first, so that a quota by size keeps the newest.
    while let Some(session) = sessions.pop() {
        let used = bytes.entry(session.source_id.clone()).or_default();
        *used += session.sealed_bytes;
        let quota = policy.quotas.get(&session.source_id).copied().unwrap_or_default();
        let ended = session.ended.map_or(session.start_us, |ended| ended.at_us);
        let too_old = quota.max_age_us.is_some_and(|age| now.saturating_sub(ended) > age);
        let too_much = quota.max_bytes.is_some_and(|most| *used > most);
        if too_old || too_much {
            let why =
                if too_old { "older than its source keeps" } else { "beyond its source's quota" };
            delete(archive, anchor, &session, why, &mut report)?;
        } else {
            kept.push(session);
        }
    }
    reclaim(archive, &mut report)?;
    // The disk comes last: oldest first, whatever its source.
    while archive.data().available_bytes()? < policy.keep_free_bytes {
        match kept.pop() {
            Some(session) => {
                delete(archive, anchor, &session, "the disk is full", &mut report)?;
                reclaim(archive, &mut report)?;
            }
            None => {
                report.full = true;
                break;
            }
        }
    }
    Ok(report)
}

/// Deletes the oldest session that may be deleted; says whether space was given back.
///
/// # Errors
/// When the archive cannot be read or written.
pub fn make_room(archive: &Archive, anchor: &dyn Anchor) -> Result<bool, ArchiveError> {
    let mut report = Report::default();
    for session in finished(archive)? {
        delete(archive, anchor, &session, "the disk is full", &mut report)?;
        reclaim(archive, &mut report)?;
        if !report.volumes.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sessions that have ended and are not deleted, oldest first.
fn finished(archive: &Archive) -> Result<Vec<SessionRecord>, ArchiveError> {
    let mut sessions = Vec::new();
    archive.catalogue().for_each_session(|session| {
        if !session.state.is_running() && session.state != SessionState::Deleted {
            sessions.push(session);
        }
    })?;
    sessions.reverse();
    Ok(sessions)
}

fn delete(
    archive: &Archive,
    anchor: &dyn Anchor,
    session: &SessionRecord,
    why: &str,
    report: &mut Report,
) -> Result<(), ArchiveError> {
    match archive.delete(session.id, wall_us(), why) {
        Ok(session) => {
            anchor.deleted(&session);
            report.deleted.push(session.id);
            Ok(())
        }
        Err(ArchiveError::Held { session, .. }) => {
            report.held.push(session);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Removes volumes in which nothing or little lives.
///
/// # Errors
/// When the archive cannot be read or written.
pub fn reclaim(archive: &Archive, report: &mut Report) -> Result<(), ArchiveError> {
    let floor = floor(archive)?;
    let mut living: HashMap<SessionId, bool> = HashMap::new();
    for info in archive.volumes().list() {
        if !info.sealed || info.id.0 >= floor {
            continue;
        }
        let mut live_bytes = 0;
        for (session, bytes) in archive.catalogue().volume_users(info.id.0)? {
            if is_living(archive, &mut living, session)? {
                live_bytes += bytes;
            }
        }
        if live_bytes * 100 >= info.bytes_stored * LIVE_PERCENT_MIN && live_bytes > 0 {
            continue;
        }
        let mut failed = None;
        let mut keep = |key: &[u8]| {
            // What cannot be read as ours is kept.
            let Some((session, ..)) = read_volume_key(key) else { return true };
            is_living(archive, &mut living, session).unwrap_or_else(|error| {
                failed.get_or_insert(error);
                true
            })
        };
        // The catalogue points to the new homes before the old volume goes.
        let mut settle = |relocated: &Relocated| apply_relocation(archive, relocated);
        archive.volumes().remove(info.id, &mut keep, &mut settle)?;
        if let Some(error) = failed {
            return Err(error);
        }
        archive.catalogue().forget_volume(info.id.0)?;
        report.volumes.push(info.id.0);
    }
    Ok(())
}

fn is_living(
    archive: &Archive,
    known: &mut HashMap<SessionId, bool>,
    id: SessionId,
) -> Result<bool, ArchiveError> {
    if let Some(living) = known.get(&id) {
        return Ok(*living);
    }
    // A session the catalogue does not know may be one to rebuild: it lives.
    let living = archive.catalogue().session(id)?.is_none_or(|s| s.state != SessionState::Deleted);
    known.insert(id, living);
    Ok(living)
}

/// The first volume that a running session may still need in place.
fn floor(archive: &Archive) -> Result<u64, ArchiveError> {
    let newest = archive.volumes().ids().last().map_or(0, |volume| volume.0);
    let mut running = Vec::new();
    archive.catalogue().for_each_session(|session| {
        if session.state.is_running() {
            running.push(session);
        }
    })?;
    let mut floor = newest;
    for session in running {
        let last = session.chunks.checked_sub(1);
        let chunk = last.map(|last| archive.catalogue().chunk(session.id, last)).transpose()?;
        let run = chunk.flatten().and_then(|chunk| chunk.map.runs.first().copied());
        floor = floor.min(run.map_or(session.first_volume, |run| run.volume));
    }
    Ok(floor)
}

/// Writes down where pieces went.
///
/// # Errors
/// When the catalogue cannot be read or written.
pub(crate) fn apply_relocation(
    archive: &Archive,
    relocated: &Relocated,
) -> Result<(), ArchiveError> {
    let mut chunks: BTreeMap<(SessionId, u64), Vec<(u64, VolumeId)>> = BTreeMap::new();
    for (key, volume) in &relocated.moved {
        match read_volume_key(key) {
            Some((session, kind, chunk, piece)) if kind == RecordKind::Piece as u8 => {
                chunks.entry((session, chunk)).or_default().push((piece, *volume));
            }
            _ => {}
        }
    }
    for ((session, index), moved) in chunks {
        let Some(mut record) = archive.catalogue().chunk(session, index)? else { continue };
        let homes: HashMap<u64, u64> =
            moved.iter().map(|(piece, volume)| (*piece, volume.0)).collect();
        record.map.runs = runs_after(&record, &homes);
        let each = record.header.sealed_bytes / record.header.pieces.max(1);
        let mut used: BTreeMap<u64, u64> = BTreeMap::new();
        for volume in homes.values() {
            *used.entry(*volume).or_default() += each;
        }
        let used: Vec<(u64, u64)> = used.into_iter().collect();
        archive.catalogue().move_chunk(&record, &used)?;
    }
    Ok(())
}

fn runs_after(record: &ChunkRecord, homes: &HashMap<u64, u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for piece in 0..record.header.pieces {
        let home = homes.get(&piece).copied().or_else(|| record.map.volume_of(piece));
        let Some(volume) = home else { continue };
        if runs.last().is_none_or(|run| run.volume != volume) {
            runs.push(Run { volume, first_piece: piece });
        }
    }
    runs
}
