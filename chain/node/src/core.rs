//! Ledger, mempool and block store as one: propose, guard, commit, and opening after whatever
//! happened.
//!
//! A block becomes final in three steps, each durable before the next: the guard (height, round, id
//! and the block itself), the signatures, the commit, whose last record is the head. Whoever is
//! killed in between finds the guard and goes on with the same block, so no height is ever signed
//! twice with different content, and a committed block is never replaced. That the block is durable
//! is then noted outside the database, before it is told and before the next is made: a database
//! that lost its end is found by it.

use crate::error::{NodeError, SubmitError};
use crate::keys;
use crate::mempool::Mempool;
use crate::node::NewBlock;
use crate::persist::{BATCH_MAX_BYTES, ChainStore, Source, Writer, put_parts};
use crate::records::StoredHead;
use crate::watermark::Mark;
use lucid_chain::anchor::{AnchorProof, prove};
use lucid_chain::ledger::{Ledger, SNAPSHOT_MAX_BYTES};
use lucid_chain::transaction::Kind;
use lucid_chain::{Block, CommitCertificate, Genesis, Transaction, TxId};
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::{Hash, PublicKey, SessionId};
use lucid_store::Store;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// How often the ledger's state is written, blocks; at most so many are replayed when the node
/// starts.
pub const SNAPSHOT_EVERY_BLOCKS: u64 = 64;
/// Most bytes in one batch to the store.
pub const STORE_BATCH_MAX_BYTES: usize = BATCH_MAX_BYTES;
/// Most blocks replayed before their effects are told; a bound for messages only.
const REPLAY_LOG_EVERY: u64 = 10_000;

/// How the chain was found when the node started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// The height of the last block.
    pub height: u64,
    /// The height of the snapshot that was used; 0 for the genesis.
    pub snapshot: u64,
    /// Blocks that were replayed and checked on top of it.
    pub replayed: u64,
    /// A block that had been guarded and not committed, and is made again.
    pub resumed: Option<u64>,
    /// What was damaged and could be done without.
    pub damaged: Vec<String>,
}

/// The ledger after the last block, with that block's certificate.
#[derive(Clone)]
pub(crate) struct Tip {
    pub ledger: Arc<Ledger>,
    pub certificate: Option<CommitCertificate>,
}

pub(crate) struct Core {
    pub(crate) store: ChainStore,
    tip: RwLock<Tip>,
    mempool: Mutex<Mempool>,
    /// A block that may have been signed and is not committed.
    guarded: Mutex<Option<Guarded>>,
    /// More than one validator is possible, because there are peers.
    peers: bool,
}

#[derive(Clone)]
pub(crate) struct Guarded {
    pub round: u32,
    pub block: Block,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Opens the chain of `genesis` in `store`, or founds it there.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        genesis: Genesis,
        keep_empty: u64,
        peers: bool,
    ) -> Result<(Self, OpenReport), NodeError> {
        let store = ChainStore { keep_empty, ..ChainStore::new(store) };
        match store.genesis()? {
            Some(found) if found != genesis => {
                return Err(NodeError::other_chain(&found, &genesis));
            }
            Some(_) => {}
            None => store.put_genesis(&genesis)?,
        }
        let Recovered { head, ledger, snapshot, mut damaged } = recover(&store, &genesis)?;
        let height = ledger.height();
        let store = store.seen_below(height + 1);
        let guarded = read_guard(&store, height + 1, &mut damaged)?;
        if let Some(guarded) = &guarded {
            store.clear_indexes(&guarded.block)?;
        }
        let report = OpenReport {
            height,
            snapshot,
            replayed: height - snapshot,
            resumed: guarded.as_ref().map(|guarded| guarded.block.header.height),
            damaged,
        };
        if height > 0 {
            // Noted again, for a process may have been cut off before it could: the note may be one
            // block behind, never two.
            put_mark(&store, &ledger)?;
        }
        let mempool = Mutex::new(Mempool::new(&ledger));
        let certificate = head.map(|head| head.certificate);
        let tip = RwLock::new(Tip { ledger: Arc::new(ledger), certificate });
        // The store itself sees everything; each look-up says up to where.
        let store = store.seen_below(u64::MAX);
        Ok((Core { store, tip, mempool, guarded: Mutex::new(guarded), peers }, report))
    }

    /// The ledger after the last block.
    pub(crate) fn tip(&self) -> Tip {
        self.tip.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store as it stands at the tip.
    pub(crate) fn committed(&self) -> ChainStore {
        self.store.seen_below(self.tip().ledger.height() + 1)
    }

    pub(crate) fn submit(&self, tx: Transaction) -> Result<TxId, SubmitError> {
        if !self.peers && tx.kind() == Kind::NodeRegister {
            return Err(SubmitError::Alone);
        }
        let mut mempool = lock(&self.mempool);
        mempool.submit(tx, &self.committed())
    }

    pub(crate) fn checkpoints(&self, session: &SessionId) -> Option<u64> {
        lock(&self.mempool).checkpoints(session)
    }

    pub(crate) fn waiting(&self) -> usize {
        lock(&self.mempool).len()
    }

    pub(crate) fn is_waiting(&self, id: &TxId) -> bool {
        lock(&self.mempool).contains(id)
    }

    /// The block to sign next: the one that was guarded before, or a new one of what waits.
    pub(crate) fn propose(&self, now_us: u64, proposer: PublicKey) -> Result<Guarded, NodeError> {
        if let Some(guarded) = lock(&self.guarded).clone() {
            return Ok(guarded);
        }
        let Tip { ledger, certificate } = self.tip();
        let candidates = lock(&self.mempool).candidates();
        let archive = self.store.seen_below(ledger.height() + 1);
        let proposed = ledger.propose(candidates, certificate, now_us, proposer, &archive)?;
        Ok(Guarded { round: 0, block: proposed.block })
    }

    /// Makes durable which block is about to be signed. Until it is committed, no other is proposed
    /// at this height.
    pub(crate) fn guard(&self, guarded: &Guarded) -> Result<(), NodeError> {
        let mut current = lock(&self.guarded);
        if current.is_none() {
            let height = guarded.block.header.height;
            let bytes = guarded.block.to_bytes();
            let mut writer = Writer::new(&*self.store.store);
            let parts = put_parts(&mut writer, &bytes, |part| keys::guard_part(height, part))?;
            let record = Encoder::new()
                .array(4)
                .uint(height)
                .uint(u64::from(guarded.round))
                .bytes(&guarded.block.id().0)
                .uint(u64::from(parts))
                .finish();
            writer.put(keys::guard(height), record)?;
            writer.apply()?;
            self.store.store.flush()?;
            *current = Some(guarded.clone());
        }
        Ok(())
    }

    /// Makes a block final and durable, and goes on from it.
    pub(crate) fn commit(
        &self,
        block: Block,
        certificate: CommitCertificate,
    ) -> Result<Arc<NewBlock>, NodeError> {
        let mut ledger = Ledger::clone(&self.tip().ledger);
        let height = ledger.height() + 1;
        let archive = self.store.seen_below(height);
        let effects = ledger
            .commit(&block, &certificate, &archive)
            .map_err(|source| NodeError::OwnBlock { height, source })?;
        self.store.put_block(&block, &certificate, &effects, ledger.chain())?;
        self.store.store.flush()?;
        put_mark(&self.store, &ledger)?;
        *lock(&self.guarded) = None;
        let witnesses = certificate.signatures.len();
        let ledger = Arc::new(ledger);
        let included: Vec<TxId> = block.transactions.iter().map(Transaction::id).collect();
        let refused = {
            let mut mempool = lock(&self.mempool);
            let tip = Tip { ledger: ledger.clone(), certificate: Some(certificate) };
            *self.tip.write().unwrap_or_else(PoisonError::into_inner) = tip;
            mempool.advance(
                &ledger,
                included.iter().copied(),
                &self.store.seen_below(height + 1),
            )?
        };
        if height.is_multiple_of(SNAPSHOT_EVERY_BLOCKS)
            && let Err(error) = self.put_snapshot(&ledger)
        {
            // The chain is whole without it; opening takes longer.
            tracing::warn!(height, %error, "snapshot not written");
        }
        Ok(Arc::new(NewBlock {
            height,
            id: block.id(),
            time_us: block.header.time_us,
            witnesses,
            validators: ledger.signers().count(),
            transactions: included,
            refused: refused.into_iter().map(|(id, why)| (id, Arc::new(why))).collect(),
            effects,
        }))
    }

    fn put_snapshot(&self, ledger: &Ledger) -> Result<(), NodeError> {
        let (bytes, height) = (ledger.snapshot(), ledger.height());
        let slot = (height / SNAPSHOT_EVERY_BLOCKS % 2) as u8;
        let mut writer = Writer::new(&*self.store.store);
        let parts = put_parts(&mut writer, &bytes, |part| keys::snapshot_part(slot, part))?;
        let record = Encoder::new()
            .array(3)
            .uint(height)
            .uint(u64::from(parts))
            .bytes(&Hash::of(&bytes).0)
            .finish();
        writer.put(keys::snapshot(slot), record)?;
        writer.apply()
    }

    /// The proof that a session stands on this chain, by the last block's certificate.
    pub(crate) fn prove(&self, session: &SessionId) -> Result<AnchorProof, NodeError> {
        let Tip { ledger, certificate } = self.tip();
        let chain = self.store.seen_below(ledger.height() + 1);
        let places = chain.places(session)?;
        let Some(head) = certificate.as_ref().filter(|_| !places.is_empty()) else {
            return Err(NodeError::UnknownSession(*session));
        };
        let source = Source { chain: &chain, head, genesis: *ledger.chain() };
        prove(ledger.genesis(), &source, &places, ledger.height())
            .map_err(|error| NodeError::Prove(Box::new(error)))
    }
}

/// A chain as it stands in its database.
pub(crate) struct Recovered {
    pub head: Option<StoredHead>,
    /// After the head.
    pub ledger: Ledger,
    /// The height of the snapshot that was used; 0 for the genesis.
    pub snapshot: u64,
    /// What was damaged and could be done without.
    pub damaged: Vec<String>,
}

/// Takes the chain up where its database ends: the newest usable snapshot, and the blocks after it,
/// each checked. Changes nothing.
pub(crate) fn recover(store: &ChainStore, genesis: &Genesis) -> Result<Recovered, NodeError> {
    let mut damaged = Vec::new();
    let (head, problem) = store.head()?;
    damaged.extend(problem.map(|error| error.to_string()));
    let height = head.as_ref().map_or(0, |head| head.height);
    let mut ledger = restore(store, genesis, height, &mut damaged)?;
    let snapshot = ledger.height();
    for next in snapshot + 1..=height {
        if next.is_multiple_of(REPLAY_LOG_EVERY) {
            tracing::info!(height = next, of = height, "replaying the chain");
        }
        // What is stored of this block and later ones must not be seen while it is checked.
        let past = store.seen_below(next);
        let block = store.block(next)?;
        let certificate = match &head {
            Some(head) if head.height == next => head.certificate.clone(),
            _ => store.stored_header(next + 1)?.last_commit.ok_or_else(|| NodeError::Missing {
                what: format!("certificate of block {next}"),
            })?,
        };
        ledger
            .commit(&block, &certificate, &past)
            .map_err(|source| NodeError::Replay { height: next, source })?;
    }
    if let Some(head) = &head
        && head.id != ledger.head_id()
    {
        let found = ledger.head_id();
        return Err(NodeError::Head { height, expected: head.id, found });
    }
    Ok(Recovered { head, ledger, snapshot, damaged })
}

/// Notes outside the database that the ledger's last block is durable.
fn put_mark(store: &ChainStore, ledger: &Ledger) -> Result<(), NodeError> {
    let (chain, height, id) = (*ledger.chain(), ledger.height(), ledger.head_id());
    Ok(store.store.mark(&Mark { chain, height, id }.to_bytes())?)
}

/// The ledger of the newest usable snapshot, or of the genesis.
fn restore(
    store: &ChainStore,
    genesis: &Genesis,
    height: u64,
    damaged: &mut Vec<String>,
) -> Result<Ledger, NodeError> {
    let mut best = Ledger::new(genesis.clone());
    for slot in 0..2 {
        match read_snapshot(store, slot) {
            Ok(Some(ledger)) if ledger.chain() != best.chain() => {
                damaged.push(format!("snapshot {slot} is of another chain"));
            }
            Ok(Some(ledger)) => {
                if ledger.height() <= height && ledger.height() > best.height() {
                    best = ledger;
                }
            }
            Ok(None) => {}
            Err(NodeError::Store(error)) if !error.is_damage() => return Err(error.into()),
            Err(error) => damaged.push(format!("snapshot {slot}: {error}")),
        }
    }
    Ok(best)
}

fn read_snapshot(store: &ChainStore, slot: u8) -> Result<Option<Ledger>, NodeError> {
    let what = || format!("snapshot {slot}");
    let record = |source: CborError| NodeError::Record { what: what(), source };
    let Some(pointer) = store.store.get(&keys::snapshot(slot))? else { return Ok(None) };
    let mut d = Decoder::new(&pointer);
    d.array_of("snapshot", 3).map_err(record)?;
    let _height = d.u64("snapshot.height").map_err(record)?;
    let parts = d.u32("snapshot.parts").map_err(record)?;
    let hash = d.hash("snapshot.hash").map_err(record)?;
    d.end("snapshot").map_err(record)?;
    let bytes = read_parts(store, parts, |part| keys::snapshot_part(slot, part))?;
    match bytes.filter(|bytes| Hash::of(bytes) == hash) {
        Some(bytes) => Ok(Some(Ledger::restore(&bytes)?)),
        None => Err(NodeError::Missing { what: format!("part of {}", what()) }),
    }
}

fn read_parts(
    store: &ChainStore,
    parts: u32,
    key: impl Fn(u32) -> Vec<u8>,
) -> Result<Option<Vec<u8>>, NodeError> {
    let mut bytes = Vec::new();
    for part in 0..parts {
        let Some(part) = store.store.get(&key(part))? else { return Ok(None) };
        bytes.extend_from_slice(&part);
        if bytes.len() > SNAPSHOT_MAX_BYTES {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

/// The block that was guarded for `height`, if one was. A guard that cannot be read was never made
/// durable, because the signature is only made after that; it is reported and done without.
fn read_guard(
    store: &ChainStore,
    height: u64,
    damaged: &mut Vec<String>,
) -> Result<Option<Guarded>, NodeError> {
    match try_read_guard(store, height) {
        Ok(guarded) => Ok(guarded),
        Err(NodeError::Store(error)) if !error.is_damage() => Err(error.into()),
        Err(error) => {
            damaged.push(format!("guard of block {height}: {error}"));
            Ok(None)
        }
    }
}

fn try_read_guard(store: &ChainStore, height: u64) -> Result<Option<Guarded>, NodeError> {
    let record = |source: CborError| NodeError::Record { what: "guard".into(), source };
    let Some(bytes) = store.store.get(&keys::guard(height))? else { return Ok(None) };
    let mut d = Decoder::new(&bytes);
    d.array_of("guard", 4).map_err(record)?;
    let found = d.u64("guard.height").map_err(record)?;
    let round = d.u32("guard.round").map_err(record)?;
    let id = d.hash("guard.id").map_err(record)?;
    let parts = d.u32("guard.parts").map_err(record)?;
    d.end("guard").map_err(record)?;
    if found != height {
        // Of a block two heights ago, which is committed.
        return Ok(None);
    }
    let bytes = read_parts(store, parts, |part| keys::guard_part(height, part))?;
    let block = bytes.and_then(|bytes| Block::from_bytes(&bytes).ok());
    match block.filter(|block| block.id() == id) {
        Some(block) => Ok(Some(Guarded { round, block })),
        None => Err(NodeError::Missing { what: format!("guarded block {height}") }),
    }
}
