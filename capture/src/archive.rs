//! The archive: a data directory with its keys and catalogue, and everything that reads recordings
//! from it.

use crate::catalogue::{
    Catalogue, CatalogueError, ChunkMap, ChunkRecord, FragmentEntry, Hold, SessionRecord,
    SessionState,
};
use crate::keys::{KeyStore, KeyStoreError};
use crate::recorder::writer::{RecordKind, volume_key};
use lucid_evidence::bundle::rfc3339;
use lucid_evidence::chunk::{ChunkError, MediaKind};
use lucid_evidence::manifest::{GapRecord, SignedManifest, clip};
use lucid_evidence::seal::{self, SealError, SessionSecret};
use lucid_evidence::{Hash, SessionId};
use lucid_store::{DataDir, StoreError, VolumeId, Volumes};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What can go wrong when recordings are read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A piece that does not open.
    #[error("session {session}: {source}")]
    Seal {
        /// The session.
        session: SessionId,
        /// Why not.
        source: SealError,
    },
    /// A chunk that is not what its header says.
    #[error("session {session}: {source}")]
    Chunk {
        /// The session.
        session: SessionId,
        /// What is wrong.
        source: ChunkError,
    },
    /// A piece that should be there and is not.
    #[error("session {session}: piece {piece} of chunk {chunk} is not stored")]
    Missing {
        /// The session.
        session: SessionId,
        /// The chunk.
        chunk: u64,
        /// The piece.
        piece: u64,
    },
    /// The session's keys are destroyed.
    #[error("session {0} was deleted: its keys are destroyed")]
    Deleted(SessionId),
    /// No such session.
    #[error("session {0} does not exist")]
    NoSession(SessionId),
    /// The session still records.
    #[error("session {0} is still recording; stop it first")]
    Running(SessionId),
    /// The session is held.
    #[error(
        "session {session} is on legal hold since {} ({reason}); release the hold first",
        rfc3339(*since_us)
    )]
    Held {
        /// The session.
        session: SessionId,
        /// Since when, microseconds since 1970.
        since_us: u64,
        /// Why.
        reason: String,
    },
    /// The session has no manifest yet.
    #[error("session {0} has no manifest yet; it is finished first")]
    NoManifest(SessionId),
    /// Asked for chunks or a time that are not there.
    #[error("session {session} has {available}; nothing of what was asked for is there")]
    Range {
        /// The session.
        session: SessionId,
        /// What there is.
        available: String,
    },
}

/// A data directory with its keys and catalogue.
pub struct Archive {
    data: DataDir,
    catalogue: Catalogue,
    keys: KeyStore,
    volumes: Arc<Volumes>,
    opening: Mutex<()>,
}

impl Archive {
    /// Takes over an open data directory; makes the device key if there is none.
    pub fn new(data: DataDir) -> Result<Self, ArchiveError> {
        let keys = KeyStore::open(&data.keys_dir())?;
        let catalogue = Catalogue::new(data.index());
        if data.index_was_cut()
            && let Err(error) = catalogue.set_review(true)
        {
            tracing::error!(%error, "legal holds that the index lost are not looked for");
        }
        let volumes = data.volumes();
        Ok(Archive { data, catalogue, keys, volumes, opening: Mutex::new(()) })
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Held while a session is opened, so that two cannot take the same identifier.
    pub(crate) fn opening(&self) -> MutexGuard<'_, ()> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys.
    pub fn keys(&self) -> &KeyStore {
        &self.keys
    }

    /// The volumes.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// The data directory.
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// A session's record.
    pub fn session(&self, id: SessionId) -> Result<SessionRecord, ArchiveError> {
        self.catalogue.session(id)?.ok_or(ArchiveError::NoSession(id))
    }

    /// A session's secret.
    pub fn secret(&self, id: SessionId) -> Result<SessionSecret, ArchiveError> {
        self.keys.load(id)?.map(|keys| keys.secret).ok_or(ArchiveError::Deleted(id))
    }

    /// The frame of a piece.
    pub(crate) fn frame(&self, map: &ChunkMap, piece: u64) -> Result<Vec<u8>, ArchiveError> {
        let missing = ArchiveError::Missing { session: map.session, chunk: map.index, piece };
        let Some(volume) = map.volume_of(piece) else { return Err(missing) };
        let key = volume_key(map.session, RecordKind::Piece, map.index, piece);
        self.volumes.get(VolumeId(volume), &key)?.ok_or(missing)
    }

    /// The framed, sealed pieces of a closed chunk.
    pub fn sealed_chunk(&self, record: &ChunkRecord) -> Result<Vec<u8>, ArchiveError> {
        let header = &record.header;
        let mut sealed = Vec::with_capacity(header.sealed_bytes as usize);
        for piece in 0..header.pieces {
            sealed.extend(self.frame(&record.map, piece)?);
        }
        if Hash::of(&sealed) != header.sealed_hash {
            let problem = "the stored pieces do not have the hash in its header";
            let source = ChunkError::Mismatch { chunk: header.index, problem };
            return Err(ArchiveError::Chunk { session: header.session, source });
        }
        Ok(sealed)
    }

    /// Opens pieces `first` to `first + count` of a chunk.
    fn plaintext(
        &self,
        secret: &SessionSecret,
        map: &ChunkMap,
        first: u64,
        count: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        let failed = |source| ArchiveError::Seal { session: map.session, source };
        let key = secret.chunk_key(map.index);
        let mut plaintext = Vec::new();
        for piece in first..first + count {
            let frame = self.frame(map, piece)?;
            let frame = seal::read_frame(&frame, map.index, piece).map_err(failed)?;
            key.open_into(&map.address(piece), &frame, &mut plaintext).map_err(failed)?;
        }
        Ok(plaintext)
    }

    /// A chunk's initialisation segment.
    pub fn init_segment(
        &self,
        secret: &SessionSecret,
        map: &ChunkMap,
    ) -> Result<Vec<u8>, ArchiveError> {
        self.plaintext(secret, map, 0, map.init_pieces)
    }

    /// A fragment.
    pub fn fragment(
        &self,
        secret: &SessionSecret,
        map: &ChunkMap,
        fragment: &FragmentEntry,
    ) -> Result<Vec<u8>, ArchiveError> {
        self.plaintext(secret, map, fragment.first_piece, fragment.pieces)
    }

    /// The gaps of a session by its closed chunks and its end.
    pub fn gaps(&self, session: &SessionRecord) -> Result<Vec<GapRecord>, ArchiveError> {
        let mut gaps = Vec::new();
        // Of video: events take no time of the stream, and may go on while media is missing.
        let mut last: Option<ChunkRecord> = None;
        for record in self.catalogue.all_chunks(session.id)? {
            if let Some(gap) = record.header.gap_before {
                let before = last.as_ref();
                gaps.push(GapRecord {
                    before_chunk: record.header.index,
                    stream_us: before.map_or(0, |chunk| chunk.header.time.stream_end_us),
                    wall_us: before.map_or(session.start_us, |c| c.header.time.wall_end_us),
                    gap,
                });
            }
            if record.header.kind == MediaKind::Video {
                last = Some(record);
            }
        }
        if let Some(gap) = session.ended.and_then(|ended| ended.tail_gap) {
            gaps.push(GapRecord {
                before_chunk: session.chunks,
                stream_us: session.stream_end_us,
                wall_us: last.map_or(session.start_us, |chunk| chunk.header.time.wall_end_us),
                gap,
            });
        }
        Ok(gaps)
    }

    /// A session's manifest.
    pub fn manifest(&self, id: SessionId) -> Result<SignedManifest, ArchiveError> {
        self.catalogue.manifest(id)?.ok_or(ArchiveError::NoManifest(id))
    }

    /// Puts a session on legal hold.
    pub fn hold(
        &self,
        id: SessionId,
        reason: &str,
        now_us: u64,
    ) -> Result<SessionRecord, ArchiveError> {
        if self.session(id)?.state == SessionState::Deleted {
            return Err(ArchiveError::Deleted(id));
        }
        let record = self.catalogue.update_session(id, |session| {
            session.hold = Some(Hold { reason: clip(reason), since_us: now_us });
        })?;
        crate::rebuild::keep_record(self, &record);
        Ok(record)
    }

    /// Releases a legal hold.
    pub fn release(&self, id: SessionId) -> Result<SessionRecord, ArchiveError> {
        self.session(id)?;
        let record = self.catalogue.update_session(id, |session| session.hold = None)?;
        crate::rebuild::keep_record(self, &record);
        Ok(record)
    }

    /// Deletes a session: destroys its keys, so that nothing of it can ever be opened. What proves
    /// that it existed stays. The space of its pieces is given back when their volumes go.
    pub fn delete(
        &self,
        id: SessionId,
        now_us: u64,
        reason: &str,
    ) -> Result<SessionRecord, ArchiveError> {
        let session = self.session(id)?;
        if session.state.is_running() {
            return Err(ArchiveError::Running(id));
        }
        if let Some(hold) = session.hold {
            let (since_us, reason) = (hold.since_us, hold.reason);
            return Err(ArchiveError::Held { session: id, since_us, reason });
        }
        self.keys.destroy(id)?;
        if session.state == SessionState::Deleted {
            return Ok(session);
        }
        Ok(self.catalogue.update_with(id, |session, batch| {
            session.enter(SessionState::Deleted, now_us, reason);
            batch.use_reserve();
        })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_said_to_stand_since_a_date() {
        let session = SessionId::new(0, [0; 10]);
        let held = ArchiveError::Held { session, since_us: 0, reason: "court".into() };
        let said = held.to_string();
        assert!(said.contains("since 1970-01-01T00:00:00.000000Z (court)"), "{said}");
    }
}
