//! The catalogue: sessions, their chunks, manifests and checkpoints, in the `index` database.
//!
//! | key | value |
//! |---|---|
//! | `s` session | [`SessionRecord`] |
//! | `l` place | session that began later than its identifier says, by its place among the others |
//! | `c` session chunk(u64) | [`ChunkRecord`] |
//! | `m` session part(u32) | the signed manifest in parts of at most 64 KiB |
//! | `k` session size(u64) | height of its block + 1 (u64, 0 for none) and the signed checkpoint |
//! | `p` session part(u32) | the kept proof in parts; the first begins with their count (u32) |
//! | `n` session | volume (u64) through which nothing of it was found |
//! | `r` | while records may be older than their copies in the volumes |
//! | `v` volume(u64) session | bytes (u64) that the session holds in the volume |
//!
//! What is of sessions can be rebuilt from the volumes, the keys and the chain: see `rebuild`.

mod chunk;
mod session;

pub use chunk::{ChunkMap, ChunkRecord, FRAGMENTS_MAX, FragmentEntry, Run};
pub use session::{
    AnchorHeights, Ended, Hold, SessionRecord, SessionState, TRANSITIONS_MAX, Transition,
};

use lucid_evidence::SessionId;
use lucid_evidence::cbor::CborError;
use lucid_evidence::manifest::{ManifestError, SignedManifest};
use lucid_store::{Batch, Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a manifest in one value.
const MANIFEST_PART_BYTES: usize = 64 << 10;
/// Most parts of a kept proof: 16 MiB, or about 30,000 checkpoints. A longer one is only had from
/// the chain.
const PROOF_PARTS_MAX: usize = 256;
/// Parts of a proof in one batch.
const PROOF_PARTS_PER_BATCH: usize = 8;
/// Records read at once while walking a long list.
const PAGE: usize = 256;
/// A session that begins this much later than its identifier was made stands elsewhere among the
/// others, milliseconds.
const LATE_MS: u64 = 1000;

/// What can go wrong with the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record that cannot be read, though its bytes are intact.
    #[error("record of session {session} cannot be read: {source}")]
    Record {
        /// The session.
        session: SessionId,
        /// Why not.
        source: CborError,
    },
    /// A stored manifest that does not verify.
    #[error("manifest of session {session} cannot be read: {source}")]
    Manifest {
        /// The session.
        session: SessionId,
        /// Why not.
        source: ManifestError,
    },
    /// No such session.
    #[error("session {0} does not exist")]
    NoSession(SessionId),
}

/// A checkpoint and the block it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Leaves it covers.
    pub tree_size: u64,
    /// Height of the block that holds it.
    pub height: Option<u64>,
    /// The COSE_Sign1 bytes.
    pub signed: Vec<u8>,
}

/// The catalogue over an index database.
pub struct Catalogue {
    store: Arc<dyn Store>,
    /// Read-modify-write of session records.
    update: Mutex<()>,
}

fn key(kind: u8, session: SessionId, rest: &[u8]) -> Vec<u8> {
    [&[kind][..], session.as_bytes(), rest].concat()
}

/// The first key after all that begin with `prefix`, whose last byte is not 255.
fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))
}

impl Catalogue {
    /// A catalogue over `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Catalogue { store, update: Mutex::new(()) }
    }

    /// Writes a session's record, durably.
    pub fn put_session(&self, record: &SessionRecord) -> Result<(), CatalogueError> {
        let mut batch = Batch::new();
        batch.put(key(b's', record.id, &[]), record.encode());
        if let Some(place) = late_place(record) {
            batch.put(key(b'l', place, &[]), record.id.as_bytes().to_vec());
        }
        self.commit(batch)
    }

    fn commit(&self, batch: Batch) -> Result<(), CatalogueError> {
        self.store.apply(batch)?;
        self.store.flush()?;
        Ok(())
    }

    /// A session's record.
    pub fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, CatalogueError> {
        let Some(bytes) = self.store.get(&key(b's', id, &[]))? else { return Ok(None) };
        SessionRecord::decode(&bytes)
            .map(Some)
            .map_err(|source| CatalogueError::Record { session: id, source })
    }

    /// Changes a session's record, durably, and returns it.
    pub fn update_session(
        &self,
        id: SessionId,
        change: impl FnOnce(&mut SessionRecord),
    ) -> Result<SessionRecord, CatalogueError> {
        self.update_with(id, |record, _| change(record))
    }

    /// As [`Catalogue::update_session`], with more writes in the same batch.
    pub fn update_with(
        &self,
        id: SessionId,
        change: impl FnOnce(&mut SessionRecord, &mut Batch),
    ) -> Result<SessionRecord, CatalogueError> {
        let _guard = self.update.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = self.session(id)?.ok_or(CatalogueError::NoSession(id))?;
        let mut batch = Batch::new();
        change(&mut record, &mut batch);
        batch.put(key(b's', id, &[]), record.encode());
        self.commit(batch)?;
        Ok(record)
    }

    /// Sessions before `before`, or the newest for none, newest first, at most `limit`. Records
    /// that cannot be read are passed over and their identifiers returned beside.
    pub fn sessions(
        &self,
        before: Option<SessionId>,
        limit: usize,
    ) -> Result<(Vec<SessionRecord>, Vec<SessionId>), CatalogueError> {
        let mut to = match before {
            Some(id) => key(b's', id, &[]),
            None => vec![b's' + 1],
        };
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        while records.len() < limit {
            let page = (limit - records.len()).min(PAGE);
            match self.store.scan_back(b"s", &to, page) {
                Ok(pairs) => {
                    let found = pairs.len();
                    for (key, bytes) in pairs {
                        match SessionRecord::decode(&bytes) {
                            Ok(record) => records.push(record),
                            Err(_) => unreadable.extend(session_of(&key)),
                        }
                        to = key;
                    }
                    if found < page {
                        break;
                    }
                }
                // Go on behind the damaged one.
                Err(StoreError::Damaged { key, .. }) => {
                    // Those between are read one by one up to it.
                    let from = [&key[..], &[0]].concat();
                    for (key, bytes) in self.store.scan_back(&from, &to, page)? {
                        match SessionRecord::decode(&bytes) {
                            Ok(record) => records.push(record),
                            Err(_) => unreadable.extend(session_of(&key)),
                        }
                    }
                    unreadable.extend(session_of(&key));
                    to = key;
                }
                Err(error) => return Err(error.into()),
            }
        }
        records.truncate(limit);
        Ok((records, unreadable))
    }

    /// As [`Catalogue::sessions`], by the time at which they began. An identifier may be given out
    /// long before its session begins; `before` is a place among the others: the identifier of
    /// a session, or [`SessionId::new`] of a time.
    pub fn sessions_by_start(
        &self,
        before: Option<SessionId>,
        limit: usize,
    ) -> Result<(Vec<SessionRecord>, Vec<SessionId>), CatalogueError> {
        let before = match before {
            Some(id) => Some(self.place_of(id)?),
            None => None,
        };
        let to = before.map_or_else(|| vec![b'l' + 1], |place| key(b'l', place, &[]));
        let (late, are_read) = match self.store.scan_back(b"l", &to, limit) {
            Ok(late) => (late, true),
            // Then all stand where their identifiers say.
            Err(StoreError::Damaged { .. }) => (Vec::new(), false),
            Err(error) => return Err(error.into()),
        };
        let mut late = late.into_iter().filter_map(|(key, _)| session_of(&key)).peekable();
        let (mut found, mut from, mut unreadable) = (Vec::new(), before, Vec::new());
        loop {
            let (records, damaged) = self.sessions(from, limit.min(PAGE))?;
            unreadable.extend(damaged);
            let last = records.len() < limit.min(PAGE);
            from = records.last().map(|record| record.id);
            for record in records {
                while let Some(place) = late.next_if(|place| *place > record.id) {
                    found.extend(self.late_session(place)?);
                }
                // A late one stands where it began.
                let elsewhere = late_place(&record).is_some_and(|place| self.is_late(place));
                if !(are_read && elsewhere) {
                    found.push(record);
                }
            }
            if last {
                for place in late.by_ref() {
                    found.extend(self.late_session(place)?);
                }
            }
            if last || found.len() >= limit {
                found.truncate(limit);
                return Ok((found, unreadable));
            }
        }
    }

    /// The place of a session among the others, or the place that an identifier names by itself.
    fn place_of(&self, id: SessionId) -> Result<SessionId, CatalogueError> {
        let place = self.session(id)?.and_then(|record| late_place(&record));
        Ok(place.filter(|place| self.is_late(*place)).unwrap_or(id))
    }

    fn is_late(&self, place: SessionId) -> bool {
        matches!(self.store.get(&key(b'l', place, &[])), Ok(Some(_)))
    }

    fn late_session(&self, place: SessionId) -> Result<Option<SessionRecord>, CatalogueError> {
        let id = self.store.get(&key(b'l', place, &[]))?;
        let id = id.and_then(|bytes| SessionId::from_bytes(bytes.try_into().ok()?).ok());
        // A record that cannot be read is told of where it stands by its identifier.
        Ok(id.and_then(|id| self.session(id).ok().flatten()))
    }

    /// Calls `each` with every readable session, newest first.
    pub fn for_each_session(
        &self,
        mut each: impl FnMut(SessionRecord),
    ) -> Result<(), CatalogueError> {
        let mut before = None;
        loop {
            let (records, _) = self.sessions(before, PAGE)?;
            let full = records.len() == PAGE;
            before = records.last().map(|record| record.id);
            records.into_iter().for_each(&mut each);
            if !full {
                return Ok(());
            }
        }
    }

    /// Adds a closed chunk to a session: its record, its use of volumes, and the session's new
    /// totals, at once.
    pub fn close_chunk(
        &self,
        record: &ChunkRecord,
        use_of: &[(u64, u64)],
        root: lucid_evidence::Hash,
    ) -> Result<SessionRecord, CatalogueError> {
        let header = &record.header;
        let id = header.session;
        let mut held = Vec::new();
        for (volume, bytes) in use_of {
            held.push((*volume, self.volume_bytes(*volume, id)? + bytes));
        }
        self.update_with(id, |session, batch| {
            session.chunks = header.index + 1;
            session.plaintext_bytes += header.plaintext_bytes;
            session.sealed_bytes += header.sealed_bytes;
            session.stream_end_us = header.time.stream_end_us;
            session.root = root;
            batch.put(key(b'c', id, &header.index.to_be_bytes()), record.encode());
            for (volume, bytes) in held {
                batch.put(volume_key(volume, id), bytes.to_be_bytes().to_vec());
            }
        })
    }

    /// Replaces a chunk's record, after its pieces moved.
    pub fn move_chunk(
        &self,
        record: &ChunkRecord,
        use_of: &[(u64, u64)],
    ) -> Result<(), CatalogueError> {
        let id = record.header.session;
        let mut batch = Batch::new();
        batch.put(key(b'c', id, &record.header.index.to_be_bytes()), record.encode());
        for (volume, bytes) in use_of {
            let bytes = self.volume_bytes(*volume, id)? + bytes;
            batch.put(volume_key(*volume, id), bytes.to_be_bytes().to_vec());
        }
        self.commit(batch)
    }

    /// A chunk's record.
    pub fn chunk(&self, id: SessionId, index: u64) -> Result<Option<ChunkRecord>, CatalogueError> {
        let Some(bytes) = self.store.get(&key(b'c', id, &index.to_be_bytes()))? else {
            return Ok(None);
        };
        ChunkRecord::decode(&bytes)
            .map(Some)
            .map_err(|source| CatalogueError::Record { session: id, source })
    }

    /// The records of chunks `from` on, at most `limit`.
    pub fn chunks(
        &self,
        id: SessionId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<ChunkRecord>, CatalogueError> {
        let start = key(b'c', id, &from.to_be_bytes());
        let pairs = self.store.scan(&start, &after(key(b'c', id, &[])), limit)?;
        pairs
            .iter()
            .map(|(_, bytes)| {
                ChunkRecord::decode(bytes)
                    .map_err(|source| CatalogueError::Record { session: id, source })
            })
            .collect()
    }

    /// All chunk records of a session, in order.
    pub fn all_chunks(&self, id: SessionId) -> Result<Vec<ChunkRecord>, CatalogueError> {
        let mut all = Vec::new();
        loop {
            let page = self.chunks(id, all.len() as u64, PAGE)?;
            let full = page.len() == PAGE;
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// Stores a session's manifest, with a change of its record, at once.
    pub fn put_manifest(
        &self,
        manifest: &SignedManifest,
        change: impl FnOnce(&mut SessionRecord),
    ) -> Result<SessionRecord, CatalogueError> {
        let id = manifest.manifest().session;
        let before = self.store.scan(&key(b'm', id, &[]), &after(key(b'm', id, &[])), PAGE)?;
        self.update_with(id, |record, batch| {
            change(record);
            // One that was longer would leave its end behind.
            for (part, _) in &before {
                batch.delete(part.clone());
            }
            for (part, bytes) in (0u32..).zip(manifest.as_bytes().chunks(MANIFEST_PART_BYTES)) {
                batch.put(key(b'm', id, &part.to_be_bytes()), bytes.to_vec());
            }
        })
    }

    /// A session's manifest, verified.
    pub fn manifest(&self, id: SessionId) -> Result<Option<SignedManifest>, CatalogueError> {
        let parts = self.store.scan(&key(b'm', id, &[]), &after(key(b'm', id, &[])), PAGE)?;
        if parts.is_empty() {
            return Ok(None);
        }
        let bytes: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).collect();
        SignedManifest::verify(&bytes)
            .map(Some)
            .map_err(|source| CatalogueError::Manifest { session: id, source })
    }

    /// Stores a checkpoint, with the height of its block where it has one.
    pub fn put_checkpoint(
        &self,
        id: SessionId,
        checkpoint: &StoredCheckpoint,
    ) -> Result<(), CatalogueError> {
        let height = checkpoint.height.map_or(0, |height| height + 1);
        let mut batch = Batch::new();
        let value = [&height.to_be_bytes()[..], &checkpoint.signed].concat();
        batch.put(key(b'k', id, &checkpoint.tree_size.to_be_bytes()), value);
        self.commit(batch)
    }

    /// A session's checkpoints, ascending.
    pub fn checkpoints(&self, id: SessionId) -> Result<Vec<StoredCheckpoint>, CatalogueError> {
        let mut from = key(b'k', id, &[]);
        let to = after(key(b'k', id, &[]));
        let mut all = Vec::new();
        loop {
            let pairs = self.store.scan(&from, &to, PAGE)?;
            let full = pairs.len() == PAGE;
            for (key, value) in pairs {
                let tree_size = key.get(17..).map_or(0, number);
                let height = value.get(..8).map_or(0, number);
                let signed = value.get(8..).unwrap_or_default().to_vec();
                all.push(StoredCheckpoint { tree_size, height: height.checked_sub(1), signed });
                from = [&key[..], &[0]].concat();
            }
            if !full {
                return Ok(all);
            }
        }
    }

    /// Keeps the proof that a session is on the chain, so that it can be shown when the chain
    /// itself cannot be read any more. Returns whether it was short enough to be kept.
    pub fn put_proof(&self, id: SessionId, proof: &[u8]) -> Result<bool, CatalogueError> {
        let count = proof.len().div_ceil(MANIFEST_PART_BYTES).max(1);
        if count > PROOF_PARTS_MAX {
            return Ok(false);
        }
        let mut parts: Vec<(u32, Vec<u8>)> =
            (0u32..).zip(proof.chunks(MANIFEST_PART_BYTES).map(<[u8]>::to_vec)).collect();
        if let Some((_, first)) = parts.first_mut() {
            first.splice(0..0, (count as u32).to_be_bytes());
        }
        for parts in parts.chunks(PROOF_PARTS_PER_BATCH) {
            let mut batch = Batch::new();
            for (part, bytes) in parts {
                batch.put(key(b'p', id, &part.to_be_bytes()), bytes.clone());
            }
            self.store.apply(batch)?;
        }
        self.store.flush()?;
        Ok(true)
    }

    /// The kept proof of a session. Whoever shows it verifies it first: the parts may be of
    /// different proofs if the power went while one replaced another.
    pub fn proof(&self, id: SessionId) -> Result<Option<Vec<u8>>, CatalogueError> {
        let Some(first) = self.store.get(&key(b'p', id, &[0; 4]))? else { return Ok(None) };
        let Some((count, first)) = first.split_first_chunk::<4>() else { return Ok(None) };
        let mut proof = first.to_vec();
        for part in 1..u32::from_be_bytes(*count).min(PROOF_PARTS_MAX as u32) {
            match self.store.get(&key(b'p', id, &part.to_be_bytes()))? {
                Some(bytes) => proof.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
        Ok(Some(proof))
    }

    fn volume_bytes(&self, volume: u64, id: SessionId) -> Result<u64, CatalogueError> {
        Ok(self.store.get(&volume_key(volume, id))?.map_or(0, |bytes| number(&bytes)))
    }

    /// The sessions that hold data in a volume, with their bytes.
    pub fn volume_users(&self, volume: u64) -> Result<Vec<(SessionId, u64)>, CatalogueError> {
        let prefix = [&b"v"[..], &volume.to_be_bytes()].concat();
        let mut from = prefix.clone();
        let mut users = Vec::new();
        loop {
            let pairs = self.store.scan(&from, &after(prefix.clone()), PAGE)?;
            let full = pairs.len() == PAGE;
            for (key, value) in pairs {
                let id = key.get(9..25).and_then(|bytes| bytes.try_into().ok());
                let id = id.and_then(|bytes| SessionId::from_bytes(bytes).ok());
                users.extend(id.map(|id| (id, number(&value))));
                from = [&key[..], &[0]].concat();
            }
            if !full {
                return Ok(users);
            }
        }
    }

    /// Through which volume records of a session that is not here were looked for in vain.
    pub fn looked_through(&self, id: SessionId) -> Result<Option<u64>, CatalogueError> {
        Ok(self.store.get(&key(b'n', id, &[]))?.map(|bytes| number(&bytes)))
    }

    /// Notes that nothing of these sessions is in the volumes up to this one.
    pub fn note_looked_through(
        &self,
        sessions: impl Iterator<Item = SessionId>,
        volume: u64,
    ) -> Result<(), CatalogueError> {
        let sessions: Vec<SessionId> = sessions.collect();
        for page in sessions.chunks(PAGE) {
            let mut batch = Batch::new();
            for id in page {
                batch.put(key(b'n', *id, &[]), volume.to_be_bytes().to_vec());
            }
            self.commit(batch)?;
        }
        Ok(())
    }

    /// Notes whether records here may be older than their copies in the volumes: the index was cut,
    /// and they were not compared yet.
    pub fn set_review(&self, needed: bool) -> Result<(), CatalogueError> {
        let mut batch = Batch::new();
        match needed {
            true => batch.put(b"r".to_vec(), Vec::new()),
            false => batch.delete(b"r".to_vec()),
        };
        self.commit(batch)
    }

    /// Whether they may be.
    pub fn review(&self) -> Result<bool, CatalogueError> {
        Ok(self.store.get(b"r")?.is_some())
    }

    /// Forgets a volume that is gone.
    pub fn forget_volume(&self, volume: u64) -> Result<(), CatalogueError> {
        let users = self.volume_users(volume)?;
        for page in users.chunks(PAGE) {
            let mut batch = Batch::of_reserve();
            for (id, _) in page {
                batch.delete(volume_key(volume, *id));
            }
            self.commit(batch)?;
        }
        Ok(())
    }
}

/// Where a session stands among the others that began well after its identifier was made.
fn late_place(record: &SessionRecord) -> Option<SessionId> {
    let began_ms = record.start_us / 1000;
    let tail = record.id.as_bytes().last_chunk::<10>()?;
    let is_late = began_ms >= record.id.unix_ms().saturating_add(LATE_MS);
    is_late.then(|| SessionId::new(began_ms, *tail))
}

fn volume_key(volume: u64, id: SessionId) -> Vec<u8> {
    [&b"v"[..], &volume.to_be_bytes(), id.as_bytes()].concat()
}

fn session_of(key: &[u8]) -> Option<SessionId> {
    let bytes = key.get(1..17)?.try_into().ok()?;
    SessionId::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_follow_a_prefix() {
        assert_eq!(after(vec![1, 2]), vec![1, 3]);
        assert_eq!(after(vec![1, 255, 255]), vec![2]);
    }

    #[test]
    fn a_proof_is_kept_in_parts_and_replaced() {
        let catalogue = Catalogue::new(Arc::new(lucid_store::memory_store("index")));
        let id = SessionId::new(1, [1; 10]);
        assert_eq!(catalogue.proof(id).unwrap(), None);
        for length in [1_200_000, 65_536, 65_537, 1] {
            let proof: Vec<u8> = (0..length).map(|n| n as u8).collect();
            assert!(catalogue.put_proof(id, &proof).unwrap());
            assert_eq!(catalogue.proof(id).unwrap(), Some(proof));
        }
        assert!(!catalogue.put_proof(id, &vec![0; 17 << 20]).unwrap(), "too long to be kept");
        assert_eq!(catalogue.proof(id).unwrap().map(|proof| proof.len()), Some(1));
        assert_eq!(catalogue.proof(SessionId::new(2, [1; 10])).unwrap(), None);
    }

    #[test]
    fn sessions_come_newest_first_page_by_page() {
        let catalogue = Catalogue::new(Arc::new(lucid_store::memory_store("index")));
        let mut ids = Vec::new();
        for n in 0..600u64 {
            let mut record = session::tests::example();
            record.id = SessionId::new(1000 + n, [1; 10]);
            ids.push(record.id);
            catalogue.put_session(&record).unwrap();
        }
        ids.reverse();
        let mut seen = Vec::new();
        catalogue.for_each_session(|record| seen.push(record.id)).unwrap();
        assert_eq!(seen, ids);
        let (page, _) = catalogue.sessions(Some(ids[9]), 3).unwrap();
        let page: Vec<SessionId> = page.iter().map(|record| record.id).collect();
        assert_eq!(page, ids[10..13]);
    }

    #[test]
    fn a_session_whose_identifier_is_older_stands_where_it_began() {
        let catalogue = Catalogue::new(Arc::new(lucid_store::memory_store("index")));
        let put = |made_ms: u64, began_ms: u64| {
            let mut record = session::tests::example();
            record.id = SessionId::new(made_ms, [1; 10]);
            record.start_us = began_ms * 1000;
            catalogue.put_session(&record).unwrap();
            record.id
        };
        let usual: Vec<SessionId> = (1..=700u64).map(|n| put(n * 10_000, n * 10_000 + 7)).collect();
        let middle = put(1, 3_505_000);
        let newest = put(2, 9_000_000);
        let before_all = put(0, 5_000);
        let mut expected: Vec<SessionId> = vec![newest];
        expected.extend(usual[350..].iter().rev());
        expected.push(middle);
        expected.extend(usual[..350].iter().rev());
        expected.push(before_all);
        for limit in [1, 2, 7, 100, 1000] {
            let (mut seen, mut before) = (Vec::new(), None);
            loop {
                let (page, unreadable) = catalogue.sessions_by_start(before, limit).unwrap();
                assert!(unreadable.is_empty());
                seen.extend(page.iter().map(|record| record.id));
                before = page.last().map(|record| record.id);
                if page.len() < limit {
                    break;
                }
            }
            assert_eq!(seen, expected, "{limit}");
        }
        let at = SessionId::new(3_506_000, [0; 10]);
        assert_eq!(catalogue.sessions_by_start(Some(at), 1).unwrap().0[0].id, middle);
    }
}
