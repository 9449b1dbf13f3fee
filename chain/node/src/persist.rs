//! The block store: typed reads and writes over the key-value database, and the chain as proofs
//! read it.

use crate::error::NodeError;
use crate::keys;
use crate::records::{
    StoredHead, StoredHeader, decode_block, decode_head, decode_place, decode_validators,
    encode_block, encode_head, encode_place, encode_validators,
};
use lucid_chain::anchor::ChainSource;
use lucid_chain::ledger::{Archive, ArchiveError, ClosedSession, Effect, Effects};
use lucid_chain::transaction::Body;
use lucid_chain::{
    Block, CommitCertificate, Genesis, Header, Transaction, TxId, ValidatorSet, history,
};
use lucid_evidence::cbor::CborError;
use lucid_evidence::tree::{Nodes, node_hash};
use lucid_evidence::{Hash, SessionId};
use lucid_store::{Batch, Store};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Blocks whose ids stand in one record, as a power of two; the tree's nodes below that level are
/// computed from it.
pub(crate) const GROUP_LEVEL: u32 = 5;
pub(crate) const GROUP_BLOCKS: u64 = 1 << GROUP_LEVEL;
/// How many blocks back an empty block's header is kept: a window of 7 days of blocks of 10 s.
/// After that only its id stays, 32 bytes, which is all that proofs of other blocks need of it.
pub const KEEP_EMPTY_BLOCKS: u64 = 60_480;
/// Bytes of a part of something longer than a value may be.
pub(crate) const PART_BYTES: usize = 64 << 10;
/// Most bytes put into one batch here; the store takes a mebibyte.
pub(crate) const BATCH_MAX_BYTES: usize = 512 << 10;
/// Most operations put into one batch here.
const BATCH_MAX_OPERATIONS: usize = 3000;
/// Records read at a time.
const SCAN_STEP: usize = 256;

/// The chain database up to a height: what stands above was not committed.
#[derive(Clone)]
pub(crate) struct ChainStore {
    pub store: Arc<dyn Store>,
    /// The first height that is not seen.
    pub below: u64,
    /// How many blocks back empty blocks are kept.
    pub keep_empty: u64,
}

/// The last certificate, for sources whose head is not followed by a block yet.
pub(crate) struct Source<'s> {
    pub chain: &'s ChainStore,
    pub head: &'s CommitCertificate,
    pub genesis: Hash,
}

fn record<T>(what: impl Into<String>, read: Result<T, CborError>) -> Result<T, NodeError> {
    read.map_err(|source| NodeError::Record { what: what.into(), source })
}

fn missing(what: impl Into<String>) -> NodeError {
    NodeError::Missing { what: what.into() }
}

/// A batch that is applied whenever it grows too large.
pub(crate) struct Writer<'s> {
    store: &'s dyn Store,
    batch: Batch,
}

impl<'s> Writer<'s> {
    pub(crate) fn new(store: &'s dyn Store) -> Self {
        Writer { store, batch: Batch::new() }
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), NodeError> {
        self.make_room(key.len() + value.len())?;
        self.batch.put(key, value);
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) -> Result<(), NodeError> {
        self.make_room(key.len())?;
        self.batch.delete(key);
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), NodeError> {
        if self.batch.bytes() + bytes > BATCH_MAX_BYTES || self.batch.len() >= BATCH_MAX_OPERATIONS
        {
            self.apply()?;
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self) -> Result<(), NodeError> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.store.apply(batch)?;
        }
        Ok(())
    }
}

/// Writes bytes in parts; the caller names the parts.
pub(crate) fn put_parts(
    writer: &mut Writer<'_>,
    bytes: &[u8],
    key: impl Fn(u32) -> Vec<u8>,
) -> Result<u32, NodeError> {
    let mut count = 0;
    for part in bytes.chunks(PART_BYTES) {
        writer.put(key(count), part.to_vec())?;
        count += 1;
    }
    Ok(count)
}

impl ChainStore {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        ChainStore { store, below: u64::MAX, keep_empty: KEEP_EMPTY_BLOCKS }
    }

    pub(crate) fn seen_below(&self, below: u64) -> Self {
        ChainStore { below, ..self.clone() }
    }

    pub(crate) fn genesis(&self) -> Result<Option<Genesis>, NodeError> {
        let bytes = self.store.get(keys::GENESIS)?;
        bytes.map(|bytes| record("genesis", Genesis::from_bytes(&bytes))).transpose()
    }

    pub(crate) fn put_genesis(&self, genesis: &Genesis) -> Result<(), NodeError> {
        let mut batch = Batch::new();
        batch.put(keys::GENESIS, genesis.to_bytes());
        self.store.apply(batch)?;
        Ok(self.store.flush()?)
    }

    /// The higher of the two head slots that can be read, and what is wrong with the other.
    pub(crate) fn head(&self) -> Result<(Option<StoredHead>, Option<NodeError>), NodeError> {
        let mut found: Vec<StoredHead> = Vec::new();
        let mut problem = None;
        for parity in 0..2 {
            match self.store.get(&keys::head(parity)) {
                Ok(None) => {}
                Ok(Some(bytes)) => match record("head", decode_head(&bytes)) {
                    Ok(head) => found.push(head),
                    Err(error) => problem = Some(error),
                },
                Err(error) if error.is_damage() => problem = Some(error.into()),
                Err(error) => return Err(error.into()),
            }
        }
        let head = found.into_iter().max_by_key(|head| head.height);
        Ok((head, problem))
    }

    pub(crate) fn stored_header(&self, height: u64) -> Result<StoredHeader, NodeError> {
        let what = || format!("block {height}");
        if height >= self.below {
            return Err(missing(what()));
        }
        let Some(bytes) = self.store.get(&keys::block(height))? else {
            let old = height > 0 && height.saturating_add(self.keep_empty) < self.below;
            return match self.forgotten_id(height) {
                Ok(id) if old => Err(NodeError::Forgotten { height, id }),
                _ => Err(missing(what())),
            };
        };
        record(what(), decode_block(&bytes))
    }

    /// The id of a block, also of one that is no longer kept.
    pub(crate) fn id(&self, height: u64) -> Result<Hash, NodeError> {
        match self.stored_header(height) {
            Ok(stored) => Ok(stored.header.id()),
            Err(NodeError::Forgotten { id, .. }) => Ok(id),
            Err(error) => Err(error),
        }
    }

    /// The ids of a full group.
    pub(crate) fn group(&self, group: u64) -> Result<Option<Vec<u8>>, NodeError> {
        Ok(self.store.get(&keys::group(group))?)
    }

    /// The id of a block from its group's record.
    fn forgotten_id(&self, height: u64) -> Result<Hash, NodeError> {
        let what = || format!("id of block {height}");
        let bytes = self.store.get(&keys::group(height >> GROUP_LEVEL))?;
        let at = (height % GROUP_BLOCKS) as usize * Hash::LEN;
        let id = bytes.as_ref().and_then(|bytes| bytes.get(at..at + Hash::LEN));
        let id = id.ok_or_else(|| missing(what()))?;
        let mut hash = [0; 32];
        hash.copy_from_slice(id);
        Ok(Hash(hash))
    }

    fn group_leaf(&self, height: u64) -> Result<Option<Hash>, NodeError> {
        match self.store.get(&keys::group(height >> GROUP_LEVEL))? {
            Some(_) => Ok(Some(history::history_leaf(&self.forgotten_id(height)?))),
            None => Ok(None),
        }
    }

    pub(crate) fn stored_transactions(
        &self,
        height: u64,
        count: u32,
    ) -> Result<Vec<Transaction>, NodeError> {
        let mut transactions = Vec::new();
        let end = keys::transaction(height, count);
        while (transactions.len() as u32) < count {
            let from = keys::transaction(height, transactions.len() as u32);
            let found = self.store.scan(&from, &end, SCAN_STEP)?;
            for (key, bytes) in &found {
                let index = transactions.len() as u32;
                if *key != keys::transaction(height, index) {
                    return Err(missing(format!("transaction {index} of block {height}")));
                }
                let tx = Transaction::from_bytes(bytes)
                    .map_err(|source| NodeError::Transaction { height, index, source })?;
                transactions.push(tx);
            }
            if found.is_empty() {
                let index = transactions.len();
                return Err(missing(format!("transaction {index} of block {height}")));
            }
        }
        Ok(transactions)
    }

    pub(crate) fn block(&self, height: u64) -> Result<Block, NodeError> {
        let StoredHeader { header, last_commit } = self.stored_header(height)?;
        let transactions = self.stored_transactions(height, header.transaction_count)?;
        Ok(Block { header, last_commit, transactions })
    }

    /// Where a transaction stands.
    pub(crate) fn place(&self, id: &TxId) -> Result<Option<(u64, u32)>, NodeError> {
        let Some(bytes) = self.store.get(&keys::transaction_index(id))? else { return Ok(None) };
        let place = record(format!("index of transaction {id}"), decode_place(&bytes))?;
        Ok(Some(place).filter(|(height, _)| *height < self.below))
    }

    /// Where a session's transactions stand.
    pub(crate) fn places(&self, session: &SessionId) -> Result<BTreeSet<(u64, u32)>, NodeError> {
        let mut places = BTreeSet::new();
        let (mut from, end) =
            (keys::session_event(session, 0, 0), keys::session_event(session, u64::MAX, u32::MAX));
        loop {
            let found = self.store.scan(&from, &end, SCAN_STEP)?;
            let places_found = found.iter().filter_map(|(key, _)| keys::event_place(key));
            places.extend(places_found.filter(|(height, _)| *height < self.below));
            match found.last() {
                Some((key, _)) if found.len() == SCAN_STEP => {
                    from = [&key[..], &[0]].concat();
                }
                _ => return Ok(places),
            }
        }
    }

    pub(crate) fn closed_session(
        &self,
        session: &SessionId,
    ) -> Result<Option<ClosedSession>, NodeError> {
        let Some(bytes) = self.store.get(&keys::closed_session(session))? else { return Ok(None) };
        let what = || format!("closed session {session}");
        let mut closed = record(what(), ClosedSession::from_bytes(&bytes))?;
        if closed.closed >= self.below {
            return Ok(None);
        }
        closed.tombstone = self.tombstone(session)?;
        Ok(Some(closed))
    }

    /// The height of a session's tombstone.
    pub(crate) fn tombstone(&self, session: &SessionId) -> Result<Option<u64>, NodeError> {
        let Some(bytes) = self.store.get(&keys::tombstone(session))? else { return Ok(None) };
        let (height, _) = record(format!("tombstone of session {session}"), decode_place(&bytes))?;
        Ok(Some(height).filter(|height| *height < self.below))
    }

    /// Removes what a commit that was cut off may have left, whole or torn, of how a block is
    /// found. The block itself is written anew.
    pub(crate) fn clear_indexes(&self, block: &Block) -> Result<(), NodeError> {
        let height = block.header.height;
        let mut writer = Writer::new(&*self.store);
        for (place, tx) in (0u32..).zip(&block.transactions) {
            writer.delete(keys::transaction_index(&tx.id()))?;
            if let Some(session) = tx.body().session() {
                writer.delete(keys::session_event(session, height, place))?;
            }
            match tx.body() {
                Body::SessionClose(body) => writer.delete(keys::closed_session(&body.session))?,
                Body::Tombstone(body) => writer.delete(keys::tombstone(&body.session))?,
                _ => {}
            }
        }
        writer.apply()
    }

    /// Writes what a committed block consists of and what is found by it. The head record is in the
    /// last batch.
    pub(crate) fn put_block(
        &self,
        block: &Block,
        certificate: &CommitCertificate,
        effects: &Effects,
        genesis: &Hash,
    ) -> Result<(), NodeError> {
        let (height, id) = (block.header.height, block.id());
        let mut writer = Writer::new(&*self.store);
        self.put_indexes(&mut writer, block, certificate, effects)?;
        for (place, tx) in (0u32..).zip(&block.transactions) {
            writer.put(keys::transaction(height, place), tx.as_bytes().to_vec())?;
        }
        writer.apply()?;
        writer.put(keys::block(height), encode_block(block))?;
        if (height + 1).is_multiple_of(GROUP_BLOCKS) {
            self.put_group(&mut writer, height, &id, genesis)?;
        }
        if let Some(old) = height.checked_sub(self.keep_empty).filter(|old| *old > 0)
            && self.stored_header(old).is_ok_and(|stored| may_be_forgotten(&stored.header))
        {
            writer.delete(keys::block(old))?;
        }
        let certificate = certificate.clone();
        writer.put(keys::head(height), encode_head(&StoredHead { height, id, certificate }))?;
        writer.apply()
    }

    /// The records by which transactions, sessions and changes of the validators are found.
    pub(crate) fn put_indexes(
        &self,
        writer: &mut Writer<'_>,
        block: &Block,
        certificate: &CommitCertificate,
        effects: &Effects,
    ) -> Result<(), NodeError> {
        let height = block.header.height;
        for (place, tx) in (0u32..).zip(&block.transactions) {
            writer.put(keys::transaction_index(&tx.id()), encode_place(height, place))?;
            if let Some(session) = tx.body().session() {
                writer.put(keys::session_event(session, height, place), Vec::new())?;
            }
        }
        for effect in &effects.0 {
            match effect {
                Effect::SessionClosed { session, record } => {
                    writer.put(keys::closed_session(session), record.to_bytes())?;
                }
                // A record of its own: writing over the other one could lose it in a power cut.
                Effect::SessionTombstoned { session, .. } => {
                    writer.put(keys::tombstone(session), encode_place(height, 0))?;
                }
                Effect::ValidatorsChanged(set) => {
                    let value = encode_validators(set, certificate);
                    writer.put(keys::validators(height), value)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the ids of a full group and the tree's nodes that it completes.
    pub(crate) fn put_group(
        &self,
        writer: &mut Writer<'_>,
        last: u64,
        last_id: &Hash,
        genesis: &Hash,
    ) -> Result<(), NodeError> {
        let first = last + 1 - GROUP_BLOCKS;
        let mut ids = Vec::with_capacity(GROUP_BLOCKS as usize * Hash::LEN);
        let mut leaves = Vec::with_capacity(GROUP_BLOCKS as usize);
        for height in first..=last {
            let id = match height {
                0 => *genesis,
                _ if height == last => *last_id,
                _ => self.id(height)?,
            };
            ids.extend_from_slice(&id.0);
            leaves.push(history::history_leaf(&id));
        }
        let group = last >> GROUP_LEVEL;
        writer.put(keys::group(group), ids)?;
        let mut hash = perfect_root(&leaves);
        let (mut level, mut index) = (GROUP_LEVEL, group);
        writer.put(keys::node(level, index), hash.0.to_vec())?;
        while index & 1 == 1 {
            let left = self
                .tree_node(level, index - 1)?
                .ok_or_else(|| missing(format!("history node {level}/{}", index - 1)))?;
            hash = node_hash(&left, &hash);
            level += 1;
            index >>= 1;
            writer.put(keys::node(level, index), hash.0.to_vec())?;
        }
        Ok(())
    }

    pub(crate) fn tree_node(&self, level: u32, index: u64) -> Result<Option<Hash>, NodeError> {
        let Some(bytes) = self.store.get(&keys::node(level, index))? else { return Ok(None) };
        let hash = <[u8; 32]>::try_from(&bytes[..]);
        Ok(Some(Hash(hash.map_err(|_| missing(format!("history node {level}/{index}")))?)))
    }

    /// The changes of the validators below `head`, with the certificates of the blocks that made
    /// them.
    fn changes(&self, head: u64) -> Result<Vec<(u64, ValidatorSet)>, NodeError> {
        let mut changes = Vec::new();
        let (mut from, end) = (keys::validators(0), keys::validators(head));
        loop {
            let found = self.store.scan(&from, &end, SCAN_STEP)?;
            for (key, bytes) in &found {
                let Some(height) = keys::key_number(key).filter(|height| *height < self.below)
                else {
                    continue;
                };
                let what = format!("validators after block {height}");
                changes.push((height, record(what, decode_validators(bytes))?.0));
            }
            match found.last() {
                Some((key, _)) if found.len() == SCAN_STEP => from = [&key[..], &[0]].concat(),
                _ => return Ok(changes),
            }
        }
    }
}

/// Whether nothing but its id is needed of an old block: it holds nothing and changed no
/// validators.
fn may_be_forgotten(header: &Header) -> bool {
    header.transaction_count == 0 && header.validators == header.next_validators
}

fn perfect_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len() / 2);
            node_hash(&perfect_root(left), &perfect_root(right))
        }
    }
}

impl Archive for ChainStore {
    fn closed(&self, session: &SessionId) -> Result<Option<ClosedSession>, ArchiveError> {
        self.closed_session(session).map_err(|error| ArchiveError {
            what: format!("session {session}"),
            source: Box::new(error),
        })
    }

    fn included(&self, id: &TxId) -> Result<Option<u64>, ArchiveError> {
        let place = self.place(id).map_err(|error| ArchiveError {
            what: format!("transaction {id}"),
            source: Box::new(error),
        })?;
        Ok(place.map(|(height, _)| height))
    }
}

impl Source<'_> {
    fn leaf(&self, height: u64) -> Result<Hash, NodeError> {
        if height == 0 {
            return Ok(history::history_leaf(&self.genesis));
        }
        if let Some(leaf) = self.chain.group_leaf(height)? {
            return Ok(leaf);
        }
        let stored = self.chain.stored_header(height)?;
        Ok(history::history_leaf(&stored.header.id()))
    }

    fn subtree(&self, level: u32, index: u64) -> Result<Option<Hash>, NodeError> {
        if level >= GROUP_LEVEL {
            return self.chain.tree_node(level, index);
        }
        let (first, end) = (index << level, (index + 1) << level);
        let leaves = (first..end).map(|height| self.leaf(height)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(perfect_root(&leaves)))
    }
}

impl Nodes for Source<'_> {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.subtree(level, index).unwrap_or_else(|error| {
            tracing::error!(level, index, %error, "history node cannot be read");
            None
        })
    }
}

impl ChainSource for Source<'_> {
    type Error = NodeError;

    fn header(&self, height: u64) -> Result<Header, NodeError> {
        Ok(self.chain.stored_header(height)?.header)
    }

    fn certificate(&self, height: u64) -> Result<CommitCertificate, NodeError> {
        if height == self.head.height {
            return Ok(self.head.clone());
        }
        if let Some(bytes) = self.chain.store.get(&keys::validators(height))? {
            return Ok(record(
                format!("validators after block {height}"),
                decode_validators(&bytes),
            )?
            .1);
        }
        let next = self.chain.stored_header(height + 1)?;
        next.last_commit.ok_or_else(|| missing(format!("certificate of block {height}")))
    }

    fn transactions(&self, height: u64) -> Result<Vec<Transaction>, NodeError> {
        Ok(self.chain.block(height)?.transactions)
    }

    fn set_changes(&self, head: u64) -> Result<Vec<(u64, ValidatorSet)>, NodeError> {
        self.chain.changes(head)
    }
}
