//! Rebuilding what the catalogue has lost from what lies in the volumes beside the media.
//!
//! A session leaves there its record when it is opened and when its codec is known, a record of
//! each closed chunk, and at its end its last record, its manifest and its checkpoints. A session
//! is missed when its keys are there and the catalogue does not know it; a deleted one has no keys,
//! and so does not come back. Keys of which nothing was recorded are left by a crash between two
//! steps and are no damage; through which volume they were looked for is remembered.

use crate::archive::{Archive, ArchiveError};
use crate::catalogue::{
    CatalogueError, ChunkRecord, SessionRecord, SessionState, StoredCheckpoint,
};
use crate::recorder::writer::{RecordKind, read_volume_key, volume_key};
use crate::recorder::{volumes_used, wall_us};
use lucid_evidence::manifest::SignedManifest;
use lucid_evidence::tree::{Blake3, Tree};
use lucid_evidence::{SessionId, SignedCheckpoint};
use lucid_store::{Pair, StoreError, VolumeId};
use std::collections::{BTreeMap, BTreeSet};

/// Keys of a volume read at once.
const KEYS_PAGE: usize = 4096;
/// Bytes of a manifest in one record of a volume.
const PART_BYTES: usize = 64 << 10;
/// Most parts of a manifest.
const PARTS_MAX: u64 = 1024;
/// Most checkpoints kept with the end of a session; the chain has all of them.
const CHECKPOINTS_MAX: usize = 3000;
/// The record of a session when it was opened stands under 0, the latest under this.
const LATEST: u64 = 1;

/// A session that the catalogue did not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The session.
    pub session: SessionId,
    /// Its closed chunks that were found.
    pub chunks: u64,
    /// Whether its manifest was found too. Without it the session is closed like one that a crash
    /// has cut.
    pub ended: bool,
}

/// Where records of one session lie.
#[derive(Default)]
struct Found {
    volumes: BTreeSet<VolumeId>,
    closed: BTreeMap<u64, VolumeId>,
    pieces: BTreeMap<(u64, u64), VolumeId>,
}

/// Sessions that have keys and are not in the catalogue, as far as their records are in the
/// volumes. With `write` they are put back. `progress` hears what is looked at.
///
/// # Errors
/// When the archive cannot be read or written; a volume that cannot be read is passed over.
pub fn missed(
    archive: &Archive,
    write: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Missed>, ArchiveError> {
    // A session that is being opened has keys before it has a record.
    let _opening = archive.opening();
    let newest = archive.volumes().ids().last().map_or(0, |volume| volume.0);
    let review = write && archive.catalogue().review()?;
    let (mut wanted, mut listed) = (BTreeSet::new(), BTreeSet::new());
    for id in archive.keys().sessions()? {
        let known = match archive.catalogue().session(id) {
            Ok(known) => known.is_some(),
            // There, and damaged: that is told, and put aside, by a check.
            Err(CatalogueError::Record { .. }) => true,
            Err(CatalogueError::Store(error)) if error.is_damage() => true,
            Err(error) => return Err(error.into()),
        };
        if !known && archive.catalogue().looked_through(id)?.is_none_or(|last| last < newest) {
            wanted.insert(id);
        } else if known && review {
            listed.insert(id);
        }
    }
    if wanted.is_empty() && listed.is_empty() {
        return Ok(Vec::new());
    }
    let all = wanted.union(&listed).copied().collect();
    let found = look(archive, &all, progress)?;
    let mut missed = Vec::new();
    for (id, found) in &found {
        match wanted.contains(id) {
            true => missed.extend(one(archive, *id, found, write)?),
            false => hold_again(archive, *id, found)?,
        }
    }
    if review {
        archive.catalogue().set_review(false)?;
    }
    if write {
        let nothing = wanted.into_iter().filter(|id| missed.iter().all(|one| one.session != *id));
        archive.catalogue().note_looked_through(nothing, newest)?;
    }
    Ok(missed)
}

/// Looks through the keys of all volumes.
fn look(
    archive: &Archive,
    wanted: &BTreeSet<SessionId>,
    progress: &mut dyn FnMut(&str),
) -> Result<BTreeMap<SessionId, Found>, ArchiveError> {
    let mut all: BTreeMap<SessionId, Found> = BTreeMap::new();
    for volume in archive.volumes().ids() {
        progress(&format!("volume {volume} for sessions that are missed"));
        let mut from = vec![0];
        loop {
            let keys = match archive.volumes().keys(volume, &from, KEYS_PAGE) {
                Err(error) if error.is_damage() => break,
                Err(StoreError::UnknownVolume { .. }) => break,
                keys => keys?,
            };
            let Some(last) = keys.last() else { break };
            from = [last, &[0][..]].concat();
            for (id, kind, chunk, piece) in keys.iter().filter_map(|key| read_volume_key(key)) {
                if !wanted.contains(&id) {
                    continue;
                }
                let found = all.entry(id).or_default();
                found.volumes.insert(volume);
                // Ascending: of what moved, the later home counts.
                if kind == RecordKind::Closed as u8 {
                    found.closed.insert(chunk, volume);
                } else if kind == RecordKind::Piece as u8 {
                    found.pieces.insert((chunk, piece), volume);
                }
            }
        }
    }
    Ok(all)
}

/// Puts a session back on the legal hold that its record in the catalogue is too old to know.
fn hold_again(archive: &Archive, id: SessionId, found: &Found) -> Result<(), ArchiveError> {
    let volumes: Vec<VolumeId> = found.volumes.iter().copied().collect();
    let hold = session_record(archive, &volumes, id, LATEST).and_then(|latest| latest.hold);
    if let (Some(hold), Ok(Some(record))) = (hold, archive.catalogue().session(id))
        && record.hold.is_none()
        && record.state != SessionState::Deleted
    {
        tracing::warn!(session = %id, "on legal hold again; the index had lost that");
        archive.catalogue().update_session(id, |session| session.hold = Some(hold))?;
    }
    Ok(())
}

fn one(
    archive: &Archive,
    id: SessionId,
    found: &Found,
    write: bool,
) -> Result<Option<Missed>, ArchiveError> {
    let volumes: Vec<VolumeId> = found.volumes.iter().copied().collect();
    let opened = session_record(archive, &volumes, id, 0);
    let latest = session_record(archive, &volumes, id, LATEST);
    let Some(mut record) = opened.or_else(|| latest.clone()) else { return Ok(None) };
    let mut chunks = Vec::new();
    let mut tree = Tree::<Blake3>::new();
    while let Some(home) = found.closed.get(&tree.size()) {
        let Some(mut chunk) = chunk_record(archive, *home, id, tree.size()) else { break };
        // It names the volumes in which its pieces were; they may have moved since.
        let index = chunk.header.index;
        chunk.map.runs.clear();
        for piece in 0..chunk.header.pieces {
            if let Some(volume) = found.pieces.get(&(index, piece)) {
                chunk.map.note_run(volume.0, piece);
            }
        }
        tree.push(chunk.header.leaf());
        chunks.push((chunk, home.0, tree.root()));
    }
    let ended = end(archive, &volumes, id, &tree).is_some();
    let missed = Missed { session: id, chunks: tree.size(), ended };
    if !write {
        return Ok(Some(missed));
    }
    // As it stands while it records: what interrupts this is taken up like a crash.
    record.enter(
        SessionState::Recording,
        wall_us(),
        "taken up from the volumes; the index lost it",
    );
    record.ended = None;
    (record.chunks, record.plaintext_bytes, record.sealed_bytes, record.stream_end_us) =
        Default::default();
    record.root = Tree::<Blake3>::new().root();
    record.anchor = Default::default();
    if let Some(latest) = latest {
        record.hold = latest.hold;
    }
    archive.catalogue().put_session(&record)?;
    for (chunk, home, root) in &chunks {
        archive.catalogue().close_chunk(chunk, &volumes_used(chunk, *home), *root)?;
    }
    restore_end(archive, &volumes, id, &tree)?;
    Ok(Some(missed))
}

fn newest(archive: &Archive, volumes: &[VolumeId], key: &[u8]) -> Option<Vec<u8>> {
    volumes.iter().rev().find_map(|volume| archive.volumes().get(*volume, key).ok()?)
}

fn session_record(
    archive: &Archive,
    volumes: &[VolumeId],
    id: SessionId,
    which: u64,
) -> Option<SessionRecord> {
    let bytes = newest(archive, volumes, &volume_key(id, RecordKind::Session, which, 0))?;
    SessionRecord::decode(&bytes).ok().filter(|record| record.id == id)
}

fn chunk_record(
    archive: &Archive,
    home: VolumeId,
    id: SessionId,
    index: u64,
) -> Option<ChunkRecord> {
    let bytes = newest(archive, &[home], &volume_key(id, RecordKind::Closed, index, 0))?;
    let record = ChunkRecord::decode(&bytes).ok()?;
    (record.header.session == id && record.header.index == index).then_some(record)
}

/// The last record and the manifest of a session that ended with this tree.
fn end(
    archive: &Archive,
    volumes: &[VolumeId],
    id: SessionId,
    tree: &Tree<Blake3>,
) -> Option<(SessionRecord, SignedManifest)> {
    let record = session_record(archive, volumes, id, LATEST)?;
    if record.ended.is_none() || record.state.is_running() {
        return None;
    }
    let mut bytes = Vec::new();
    for part in 0..PARTS_MAX {
        let key = volume_key(id, RecordKind::Manifest, 0, part);
        let Some(more) = newest(archive, volumes, &key) else { break };
        bytes.extend(more);
    }
    let signed = SignedManifest::verify(&bytes).ok()?;
    let manifest = signed.manifest();
    let is_its_own = manifest.session == id
        && manifest.device_key == archive.keys().device().public()
        && (manifest.tree_size, manifest.root) == (tree.size(), tree.root());
    is_its_own.then_some((record, signed))
}

/// Takes the end of a session from the volumes, if it is there and is the end of this tree: the
/// session was closed, and the catalogue does not know it any more, or not yet.
pub(crate) fn restore_end(
    archive: &Archive,
    volumes: &[VolumeId],
    id: SessionId,
    tree: &Tree<Blake3>,
) -> Result<Option<SignedManifest>, ArchiveError> {
    let Some((last, signed)) = end(archive, volumes, id, tree) else { return Ok(None) };
    let from = volume_key(id, RecordKind::Checkpoint, 0, 0);
    let to = volume_key(id, RecordKind::Checkpoint, u64::MAX, 0);
    for volume in volumes {
        let scan = match archive.volumes().scan(*volume, &from, &to, CHECKPOINTS_MAX) {
            Err(error) if error.is_damage() => continue,
            scan => scan?,
        };
        for (_, bytes) in scan.items {
            let Ok(point) = SignedCheckpoint::verify(&bytes, &last.session_key) else { continue };
            let tree_size = point.checkpoint().tree_size;
            // The chain says again in which block each of them is.
            let point = StoredCheckpoint { tree_size, height: None, signed: bytes };
            archive.catalogue().put_checkpoint(id, &point)?;
        }
    }
    archive.catalogue().put_manifest(&signed, |session| {
        let hold = session.hold.take().or_else(|| last.hold.clone());
        let anchor = session.anchor;
        *session = SessionRecord { hold, anchor, ..last };
        session.enter(session.state, wall_us(), "its end was taken up from the volumes");
    })?;
    archive.keys().retire_signer(id)?;
    Ok(Some(signed))
}

/// Leaves the end of a session beside its media. Without it the session could be rebuilt only like
/// one that a crash has cut, so that a failure is told and no reason to stop.
pub(crate) fn keep_end(
    archive: &Archive,
    last: &SessionRecord,
    signed: &SignedManifest,
    checkpoints: &[StoredCheckpoint],
) {
    let id = last.id;
    let mut records: Vec<Pair> = (0..)
        .zip(signed.as_bytes().chunks(PART_BYTES))
        .map(|(part, bytes)| (volume_key(id, RecordKind::Manifest, 0, part), bytes.to_vec()))
        .collect();
    // The newest of them cover the older ones.
    for point in &checkpoints[checkpoints.len().saturating_sub(CHECKPOINTS_MAX)..] {
        let key = volume_key(id, RecordKind::Checkpoint, point.tree_size, 0);
        records.push((key, point.signed.clone()));
    }
    // Last: it says that there is an end.
    records.push((volume_key(id, RecordKind::Session, LATEST, 0), last.encode()));
    if let Err(error) = archive.volumes().append(records) {
        tracing::warn!(session = %id, %error, "its end is in the index alone");
    }
}

/// Leaves the record of a session beside its media, after its codec or its hold changed.
pub(crate) fn keep_record(archive: &Archive, record: &SessionRecord) {
    let which = if record.state.is_running() { 0 } else { LATEST };
    let key = volume_key(record.id, RecordKind::Session, which, 0);
    if let Err(error) = archive.volumes().append(vec![(key, record.encode())]) {
        tracing::warn!(session = %record.id, %error, "its record is in the index alone");
    }
}
