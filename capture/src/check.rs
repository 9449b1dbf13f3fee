//! Checking the whole archive: every byte against its hash, every chunk against its leaf, every
//! session against its root; and saying what damage means for whom: which session, which time.

use crate::archive::{Archive, ArchiveError};
use crate::catalogue::{ChunkRecord, SessionRecord, SessionState};
use crate::recorder::writer::read_volume_key;
use crate::retention::apply_relocation;
use crate::{rebuild, recovery};
use lucid_evidence::SessionId;
use lucid_evidence::chunk::{MediaKind, open_chunk};
use lucid_evidence::tree::{Blake3, Tree};
use lucid_store::{Altered, Relocated, ScrubReport, StoreError, VolumeId};
use std::path::PathBuf;

/// Something that is wrong, and what it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What was found, in words.
    pub what: String,
    /// The session it touches, where there is one.
    pub session: Option<SessionId>,
    /// The time it touches, microseconds since 1970 by the device's clock; from and to.
    pub wall_us: Option<(u64, u64)>,
    /// The time it touches, microseconds of the session's stream clock; from and to.
    pub stream_us: Option<(u64, u64)>,
    /// Where the damaged data were put.
    pub quarantined: Option<PathBuf>,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// What is wrong.
    pub damage: Vec<Damage>,
    /// What is unusual and not wrong: sessions that wait to be closed after a crash.
    pub notes: Vec<String>,
    /// Sessions checked.
    pub sessions: u64,
    /// Chunks checked.
    pub chunks: u64,
    /// Sealed bytes checked.
    pub bytes: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Checks everything. With `quarantine`, damaged volumes and records are moved aside and what is
/// intact in them is kept. `progress` hears what comes next.
///
/// # Errors
/// Only when the machine fails; damage is in the report.
pub fn check(
    archive: &Archive,
    quarantine: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<CheckReport, ArchiveError> {
    let mut report = CheckReport::default();
    let stored = archive.data().fsck(&mut *progress)?;
    for (name, scrub) in &stored.databases {
        database(archive, name, scrub, quarantine, &mut report)?;
    }
    for (volume, scrub) in &stored.volumes {
        if !scrub.is_clean() {
            self::volume(archive, *volume, scrub, quarantine, &mut report)?;
        }
    }
    for missed in rebuild::missed(archive, quarantine, &mut *progress)? {
        let then = if quarantine { "; it is put back" } else { "" };
        let what = format!(
            "the index has lost a session; {} closed chunks of it are in the volumes{then}",
            missed.chunks
        );
        report.damage.push(Damage { session: Some(missed.session), ..plain(what) });
    }
    let mut sessions = Vec::new();
    archive.catalogue().for_each_session(|session| sessions.push(session))?;
    for session in sessions {
        progress(&format!("session {}", session.id));
        self::session(archive, &session, &mut report)?;
    }
    Ok(report)
}

fn database(
    archive: &Archive,
    name: &str,
    scrub: &ScrubReport,
    quarantine: bool,
    report: &mut CheckReport,
) -> Result<(), ArchiveError> {
    if let Some(reason) = &scrub.unreadable {
        report.damage.push(plain(format!("database {name} cannot be read: {reason}")));
    }
    for key in &scrub.damaged {
        let session = key.get(1..17).and_then(|bytes| bytes.try_into().ok());
        let session = session.and_then(|bytes| SessionId::from_bytes(bytes).ok());
        let quarantined = match quarantine {
            true => archive.data().quarantine_record(name, key)?,
            false => None,
        };
        let what = format!("a record of database {name} is damaged");
        report.damage.push(Damage { session, quarantined, ..plain(what) });
    }
    Ok(())
}

fn plain(what: String) -> Damage {
    Damage { what, session: None, wall_us: None, stream_us: None, quarantined: None }
}

fn volume(
    archive: &Archive,
    volume: VolumeId,
    scrub: &ScrubReport,
    quarantine: bool,
    report: &mut CheckReport,
) -> Result<(), ArchiveError> {
    // Named before anything moves, while the catalogue still says what lies here.
    let mut found = Vec::new();
    if let Some(reason) = &scrub.unreadable {
        for (session, _) in archive.catalogue().volume_users(volume.0)? {
            let what = format!("volume {volume} cannot be read: {reason}");
            found.push(Damage { session: Some(session), ..plain(what) });
        }
        if found.is_empty() {
            found.push(plain(format!("volume {volume} cannot be read: {reason}")));
        }
    }
    for Altered { file, offset, length } in &scrub.altered {
        let what = format!(
            "{file} of volume {volume} changed after it was sealed, in {length} bytes at {offset}"
        );
        found.push(plain(what));
    }
    for key in &scrub.damaged {
        found.push(located(archive, volume, key)?);
    }
    if quarantine {
        let mut settle = |relocated: &Relocated| apply_relocation(archive, relocated);
        match archive.volumes().quarantine(volume, &mut settle) {
            Ok(relocated) => {
                for damage in &mut found {
                    damage.quarantined.clone_from(&relocated.quarantined);
                }
            }
            Err(ArchiveError::Store(error @ StoreError::Full { .. })) => {
                report.damage.push(plain(format!("volume {volume} stays in place: {error}")));
            }
            Err(error) => return Err(error),
        }
    }
    report.damage.extend(found);
    Ok(())
}

/// A damaged record of a volume, with the session and time it touches.
fn located(archive: &Archive, volume: VolumeId, key: &[u8]) -> Result<Damage, ArchiveError> {
    let Some((session, _, chunk, piece)) = read_volume_key(key) else {
        return Ok(plain(format!("a foreign record in volume {volume} is damaged")));
    };
    let what = format!("volume {volume}: piece {piece} of chunk {chunk} is damaged");
    let mut damage = Damage { session: Some(session), ..plain(what) };
    if let Some(record) = archive.catalogue().chunk(session, chunk)? {
        let (from, to) = piece_time(&record, piece);
        let wall = record.map.wall_start_us.saturating_sub(record.map.stream_start_us);
        damage.stream_us = Some((from, to));
        damage.wall_us = Some((from + wall, to + wall));
    }
    Ok(damage)
}

/// The stream time that a piece holds; the whole chunk's for its initialisation segment and its
/// last piece.
fn piece_time(record: &ChunkRecord, piece: u64) -> (u64, u64) {
    let fragment = record
        .map
        .fragments
        .iter()
        .find(|f| (f.first_piece..f.first_piece + f.pieces).contains(&piece));
    match fragment {
        Some(fragment) => (fragment.start_us, fragment.start_us + fragment.duration_us),
        None => (record.map.stream_start_us, record.map.stream_end_us),
    }
}

fn session(
    archive: &Archive,
    session: &SessionRecord,
    report: &mut CheckReport,
) -> Result<(), ArchiveError> {
    report.sessions += 1;
    let id = session.id;
    let chunks = match archive.catalogue().all_chunks(id) {
        Ok(chunks) => chunks,
        Err(error) => {
            let what = format!("the list of chunks cannot be read: {error}");
            report.damage.push(Damage { session: Some(id), ..plain(what) });
            return Ok(());
        }
    };
    let tree = Tree::<Blake3>::from_leaves(chunks.iter().map(|chunk| chunk.header.leaf()));
    if tree.size() != session.chunks || (tree.size() > 0 && tree.root() != session.root) {
        let what = format!("{} of {} chunks make another root", tree.size(), session.chunks);
        report.damage.push(Damage { session: Some(id), ..plain(what) });
    }
    if session.ended.is_some() && session.state != SessionState::Processing {
        match archive.catalogue().manifest(id) {
            Ok(Some(manifest))
                if manifest.manifest().root == tree.root()
                    && manifest.manifest().tree_size == tree.size() => {}
            Ok(Some(_)) => {
                let what = "the manifest is of another tree".to_owned();
                report.damage.push(Damage { session: Some(id), ..plain(what) });
            }
            Ok(None) => {
                let what = "the manifest is lost".to_owned();
                report.damage.push(Damage { session: Some(id), ..plain(what) });
            }
            Err(error) => {
                report.damage.push(Damage { session: Some(id), ..plain(error.to_string()) });
            }
        }
    }
    if session.state == SessionState::Deleted {
        return Ok(());
    }
    let keys = archive.keys().load(id);
    let secret = match keys {
        Ok(Some(keys)) => Some(keys.secret),
        Ok(None) => {
            let what = "its keys are lost: nothing of it can be opened".to_owned();
            report.damage.push(Damage { session: Some(id), ..plain(what) });
            None
        }
        Err(error) => {
            report.damage.push(Damage { session: Some(id), ..plain(error.to_string()) });
            None
        }
    };
    for chunk in &chunks {
        report.chunks += 1;
        let read = archive.sealed_chunk(chunk).and_then(|sealed| {
            report.bytes += sealed.len() as u64;
            match &secret {
                Some(secret) => {
                    open_chunk(&chunk.header, &secret.chunk_key(chunk.header.index), &sealed)
                        .map(|_| ())
                        .map_err(|source| ArchiveError::Chunk { session: id, source })
                }
                None => Ok(()),
            }
        });
        if let Err(error) = read {
            let time = chunk.header.time;
            report.damage.push(Damage {
                what: error.to_string(),
                session: Some(id),
                wall_us: Some((time.wall_start_us, time.wall_end_us)),
                stream_us: Some((time.stream_start_us, time.stream_end_us)),
                quarantined: None,
            });
        }
    }
    if session.state.is_running()
        && let Some(secret) = &secret
    {
        unfinished(archive, session, &chunks, secret, report);
    }
    Ok(())
}

/// A session that was not closed: its open chunk, as recovery will take it up.
fn unfinished(
    archive: &Archive,
    session: &SessionRecord,
    chunks: &[ChunkRecord],
    secret: &lucid_evidence::seal::SessionSecret,
    report: &mut CheckReport,
) {
    let id = session.id;
    let volumes = recovery::candidate_volumes(archive, session, chunks.last());
    let index = chunks.len() as u64;
    match recovery::open_chunks(archive, secret, &volumes, id, index) {
        Ok(open) => {
            let video = open.chunks.iter().filter(|open| open.map().kind == MediaKind::Video);
            let fragments: usize = video.map(|open| open.map().fragments.len()).sum();
            report.notes.push(format!(
                "session {id} was not closed; {fragments} fragments of its open chunk are \
                 intact and will be kept at the next start"
            ));
            for what in open.damage {
                report.damage.push(Damage { session: Some(id), ..plain(what) });
            }
        }
        Err(error) => {
            report.damage.push(Damage { session: Some(id), ..plain(error.to_string()) });
        }
    }
}
