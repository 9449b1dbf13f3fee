//! The ledger: which transactions may stand in which block, and what follows from them.
//!
//! A driver calls, in this order: [`Ledger::pending`] to admit transactions as they come in,
//! [`Ledger::propose`] on its turn, [`Ledger::validate`] on another's proposal, and
//! [`Ledger::commit`] once more than two thirds have signed. All of them are functions of the
//! ledger's state, the [`Archive`] of the past, and their arguments.

mod archive;
mod credits;
mod refusal;
mod state;
mod working;

pub use archive::{Archive, ClosedSession, MemoryArchive};
pub use credits::{COST_MISSED_TURN, CREDIT_BLOCK, Counts, ELIGIBLE_UPTIME_PERMILLE};
pub use refusal::{ArchiveError, BlockRefusal, Refusal};
pub use state::{Node, OpenProposal, OpenSession};

use crate::block::{
    BLOCK_MAX_TRANSACTION_BYTES, BLOCK_MAX_TRANSACTIONS, Block, state_hash, transaction_tree,
};
use crate::certificate::CommitCertificate;
use crate::genesis::Genesis;
use crate::header::Header;
use crate::history::{Frontier, history_leaf};
use crate::parameters::{Parameter, Parameters};
use crate::transaction::{Subject, Transaction, TxId};
use crate::validators::ValidatorSet;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::{Hash, PublicKey, SessionId};
use state::State;
use std::collections::BTreeMap;
use working::Working;

/// Most sessions a node may have open at a time.
pub const SESSIONS_PER_NODE_MAX: u32 = 256;
/// Most node keys that a chain ever takes up; retired ones stay, so that they cannot come back.
pub const NODE_RECORDS_MAX: usize = 1000;
/// Most parameter proposals that are open: one a node.
pub const PROPOSALS_MAX: usize = crate::parameters::NODES_MAX as usize;
/// How long a proposal is open, blocks; a week of blocks of 10 s.
pub const PROPOSAL_LIFETIME_BLOCKS: u64 = 60_480;
/// How often uptime decides anew who is a validator, blocks; an hour of blocks of 10 s.
pub const EPOCH_BLOCKS: u64 = 360;
/// How many blocks a node must have been a validator for before its uptime counts against it.
pub const UPTIME_SAMPLE_MIN_BLOCKS: u64 = 360;
/// How far a proposed block's time may be ahead of the clock of a node that is to sign it,
/// microseconds.
pub const CLOCK_AHEAD_MAX_US: u64 = 10_000_000;
/// Longest snapshot that is read, in bytes.
pub const SNAPSHOT_MAX_BYTES: usize = 64 << 20;

/// What a block did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are what the variant's line names
pub enum Effect {
    /// A session began.
    SessionOpened { session: SessionId, device: PublicKey },
    /// A session's tree grew to so many leaves.
    CheckpointTaken { session: SessionId, tree_size: u64 },
    /// A session ended; the record belongs into the archive.
    SessionClosed { session: SessionId, record: ClosedSession },
    /// A session's keys were destroyed; the record replaces the one in the archive.
    SessionTombstoned { session: SessionId, record: ClosedSession },
    /// A node joined.
    NodeJoined(PublicKey),
    /// A node left.
    NodeRetired(PublicKey),
    /// A node's uptime fell below the limit.
    NodeSuspended(PublicKey),
    /// A suspended node may sign again.
    NodeReinstated(PublicKey),
    /// A parameter change was proposed.
    ParameterProposed(TxId),
    /// A proposal was voted down.
    ProposalRejected(TxId),
    /// A parameter has another value from the next block on.
    ParameterChanged { parameter: Parameter, value: u32 },
    /// Something outside the chain was stated.
    Stated { subject: Subject, hash: Hash },
    /// Others sign from the next block on.
    ValidatorsChanged(ValidatorSet),
}

/// What a block did, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects(pub Vec<Effect>);

/// A proposed block and what became of the candidates that are not in it.
#[derive(Debug)]
pub struct Proposed {
    /// The block.
    pub block: Block,
    /// Candidates that the rules refuse now.
    pub refused: Vec<(TxId, Refusal)>,
    /// How many candidates had no place and wait for the next block.
    pub left: usize,
}

/// The ledger after some block.
#[derive(Debug, Clone)]
pub struct Ledger {
    genesis: Genesis,
    chain: Hash,
    state: State,
    /// The last block's header; none before the first block.
    head: Option<Header>,
    /// The tree over the genesis hash and the ids of all blocks before the last: what the last
    /// header's root covers.
    history: Frontier,
}

/// A copy of the ledger on which transactions are tried before they are in a block.
#[derive(Debug, Clone)]
pub struct Pending(Working);

impl Pending {
    /// Takes a transaction if it could stand in the next block together with those taken before.
    pub fn admit(&mut self, tx: &Transaction, archive: &impl Archive) -> Result<(), Refusal> {
        self.0.apply(tx, archive)?;
        // Only the state matters here.
        self.0.effects.0.clear();
        Ok(())
    }

    /// Checkpoints of an open session, those waiting included, as its closing must count them.
    pub fn checkpoints(&self, session: &SessionId) -> Option<u64> {
        self.0.state.sessions.get(session).map(|open| open.checkpoints)
    }
}

/// A snapshot that is not a ledger's.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The structure.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// The state does not belong to the header.
    #[error("snapshot does not match its block: {0}")]
    Mismatch(&'static str),
}

impl Ledger {
    /// The ledger of a new chain.
    pub fn new(genesis: Genesis) -> Self {
        let chain = genesis.hash();
        Ledger { chain, state: State::new(&genesis), genesis, head: None, history: Frontier::new() }
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis hash, which names the chain.
    pub fn chain(&self) -> &Hash {
        &self.chain
    }

    /// The height of the last block; 0 before the first.
    pub fn height(&self) -> u64 {
        self.state.height
    }

    /// The time of the last block, or of the genesis, microseconds since 1970.
    pub fn time_us(&self) -> u64 {
        self.state.time_us
    }

    /// The last block's header; none before the first block.
    pub fn head(&self) -> Option<&Header> {
        self.head.as_ref()
    }

    /// The last block's id, or the genesis hash before the first.
    pub fn head_id(&self) -> Hash {
        self.head.as_ref().map_or(self.chain, Header::id)
    }

    /// The parameters that hold for the next block.
    pub fn parameters(&self) -> &Parameters {
        &self.state.parameters
    }

    /// Who signs the next block.
    pub fn validators(&self) -> &ValidatorSet {
        &self.state.validators
    }

    /// Who signed the last block.
    pub fn signers(&self) -> &ValidatorSet {
        &self.state.signers
    }

    /// The nodes, retired ones included.
    pub fn nodes(&self) -> &BTreeMap<PublicKey, Node> {
        &self.state.nodes
    }

    /// The open sessions.
    pub fn sessions(&self) -> &BTreeMap<SessionId, OpenSession> {
        &self.state.sessions
    }

    /// The open proposals.
    pub fn proposals(&self) -> &BTreeMap<TxId, OpenProposal> {
        &self.state.proposals
    }

    /// What each node did within the window.
    pub fn credits(&self) -> BTreeMap<PublicKey, Counts> {
        self.state.totals()
    }

    /// The first hour since 1970 whose credits are still there whole, and the present hour of chain
    /// time; none before the first block.
    pub fn credit_hours(&self) -> Option<(u64, u64)> {
        self.state.credits.hours(self.parameters().window_hours())
    }

    /// What each node did in the hours from `from` up to `to`, `to` not counted; none unless all of
    /// them are over and still there. Two ledgers of the same chain give the same.
    pub fn credits_between(&self, from: u64, to: u64) -> Option<BTreeMap<PublicKey, Counts>> {
        let (first, now) = self.credit_hours()?;
        (first <= from && from < to && to <= now).then(|| self.state.credits.between(from, to))
    }

    /// Who proposes the next block: the first entry in round 0, the next in round 1, and so on, in
    /// turn.
    pub fn turns(&self) -> Vec<PublicKey> {
        self.state.ranking(&self.head_id())
    }

    /// The history tree with the last block in it, whose root the next header carries.
    pub fn history(&self) -> Frontier {
        let mut history = self.history.clone();
        history.push(history_leaf(&self.head_id()), |_, _, _| {});
        history
    }

    /// The hash of the present state.
    pub fn state_hash(&self) -> Hash {
        state_hash(&self.state.to_bytes())
    }

    /// A copy to try incoming transactions on. It stands at the next height.
    pub fn pending(&self) -> Pending {
        let mut working = Working::new(self.state.clone(), self.chain);
        working.state.height += 1;
        Pending(working)
    }

    /// The time a block proposed at `now_us` carries: the clock's, but always after the block
    /// before. While a clock that was set back has not caught up, blocks are one microsecond apart.
    pub fn block_time(&self, now_us: u64) -> u64 {
        now_us.max(self.state.time_us.saturating_add(1))
    }

    /// Builds the next block from those candidates that the rules allow, in the one order there is,
    /// so that the same candidates give the same block whatever the order they come in.
    /// `last_commit` is the last block's certificate.
    pub fn propose(
        &self,
        candidates: Vec<Transaction>,
        last_commit: Option<CommitCertificate>,
        now_us: u64,
        proposer: PublicKey,
        archive: &impl Archive,
    ) -> Result<Proposed, ArchiveError> {
        let time_us = self.block_time(now_us);
        let mut working = self.begin(&proposer, time_us, last_commit.as_ref());
        let mut candidates = candidates;
        candidates.sort_by_cached_key(Transaction::order);
        candidates.dedup_by_key(|tx| tx.id());
        let (mut transactions, mut refused) = (Vec::new(), Vec::new());
        let (mut bytes, mut left) = (0, 0);
        for tx in candidates {
            let total = bytes + tx.as_bytes().len();
            if transactions.len() == BLOCK_MAX_TRANSACTIONS || total > BLOCK_MAX_TRANSACTION_BYTES {
                left += 1;
                continue;
            }
            match working.apply(&tx, archive) {
                Ok(()) => {
                    bytes = total;
                    transactions.push(tx);
                }
                Err(Refusal::Archive(error)) => return Err(error),
                Err(refusal) => refused.push((tx.id(), refusal)),
            }
        }
        working.finish();
        let header = self.header(&working.state, &transactions, last_commit.as_ref(), proposer);
        Ok(Proposed { block: Block { header, last_commit, transactions }, refused, left })
    }

    fn begin(
        &self,
        proposer: &PublicKey,
        time_us: u64,
        last_commit: Option<&CommitCertificate>,
    ) -> Working {
        let mut working = Working::new(self.state.clone(), self.chain);
        let previous_proposer = self.head.as_ref().map(|header| &header.proposer);
        working.begin(&self.head_id(), previous_proposer, *proposer, time_us, last_commit);
        working
    }

    /// The header that belongs to a state reached from this one.
    fn header(
        &self,
        next: &State,
        transactions: &[Transaction],
        last_commit: Option<&CommitCertificate>,
        proposer: PublicKey,
    ) -> Header {
        Header {
            genesis: self.chain,
            height: next.height,
            time_us: next.time_us,
            previous: self.head_id(),
            history_root: self.history().root(),
            transaction_count: transactions.len() as u32,
            transactions_root: transaction_tree(transactions).root(),
            last_commit: CommitCertificate::hash_of(last_commit),
            validators: next.signers.hash(),
            next_validators: next.validators.hash(),
            state: state_hash(&next.to_bytes()),
            proposer,
        }
    }

    /// Checks everything about a block but its own certificate and the clock; returns the state
    /// after it.
    fn follow(&self, block: &Block, archive: &impl Archive) -> Result<Working, BlockRefusal> {
        let header = &block.header;
        let expected = self.state.height + 1;
        if header.time_us <= self.state.time_us {
            let (found, previous) = (header.time_us, self.state.time_us);
            return Err(BlockRefusal::TimeNotAfter { found, previous });
        }
        match (&block.last_commit, &self.head) {
            (None, None) => {}
            (Some(_), None) => return Err(BlockRefusal::UnexpectedCommit),
            (None, Some(_)) => return Err(BlockRefusal::MissingCommit { height: expected }),
            (Some(commit), Some(head)) => {
                commit.verify(&self.chain, head.height, &head.id(), &self.state.signers)?;
            }
        }
        let bytes = block.transactions.iter().map(|tx| tx.as_bytes().len()).sum();
        let count = block.transactions.len();
        if count > BLOCK_MAX_TRANSACTIONS || bytes > BLOCK_MAX_TRANSACTION_BYTES {
            return Err(BlockRefusal::TooLarge { count, bytes });
        }
        let mut working = self.begin(&header.proposer, header.time_us, block.last_commit.as_ref());
        let mut last = None;
        for tx in &block.transactions {
            let order = tx.order();
            if last.is_some_and(|last| last >= order) {
                return Err(BlockRefusal::Order(tx.id()));
            }
            last = Some(order);
            working.apply(tx, archive).map_err(|source| match source {
                Refusal::Archive(error) => BlockRefusal::Archive(error),
                source => BlockRefusal::Transaction { id: tx.id(), source },
            })?;
        }
        working.finish();
        let commit = block.last_commit.as_ref();
        let own = self.header(&working.state, &block.transactions, commit, header.proposer);
        let field = match () {
            () if own.genesis != header.genesis => "genesis",
            () if own.previous != header.previous => "previous",
            () if own.history_root != header.history_root => "history_root",
            () if own.transaction_count != header.transaction_count => "transaction_count",
            () if own.transactions_root != header.transactions_root => "transactions_root",
            () if own.last_commit != header.last_commit => "last_commit",
            () if own.validators != header.validators => "validators",
            () if own.next_validators != header.next_validators => "next_validators",
            () if own.state != header.state => "state",
            () => return Ok(working),
        };
        Err(BlockRefusal::Header { height: header.height, field })
    }

    /// Checks height and turn: whether this is about the next block at all.
    fn check_turn(&self, block: &Block, round: u32) -> Result<(), BlockRefusal> {
        let (found, expected) = (block.header.height, self.state.height + 1);
        if found != expected {
            return Err(BlockRefusal::Height { found, expected });
        }
        // A block first proposed in an earlier round may be decided in a later one.
        let turns = self.turns();
        let taken = turns.iter().cycle().take((round as usize).min(turns.len() - 1) + 1);
        let proposer = block.header.proposer;
        if taken.copied().any(|key| key == proposer) {
            return Ok(());
        }
        Err(BlockRefusal::NotItsTurn { proposer, height: block.header.height, round })
    }

    /// Checks a proposed block before signing it: that it follows, that its proposer had a turn up
    /// to `round`, and that its time is not ahead of this node's clock.
    pub fn validate(
        &self,
        block: &Block,
        round: u32,
        now_us: u64,
        archive: &impl Archive,
    ) -> Result<Effects, BlockRefusal> {
        let (found, limit_us) = (block.header.time_us, CLOCK_AHEAD_MAX_US);
        // A block one microsecond after the last is right even where a clock that ran ahead made
        // that one.
        if found > now_us.saturating_add(limit_us) && found > self.state.time_us.saturating_add(1) {
            return Err(BlockRefusal::TimeAhead { found, now: now_us, limit_us });
        }
        self.check_turn(block, round)?;
        Ok(self.follow(block, archive)?.effects)
    }

    /// Takes a block that more than two thirds have signed. The caller then brings the effects into
    /// the archive.
    pub fn commit(
        &mut self,
        block: &Block,
        certificate: &CommitCertificate,
        archive: &impl Archive,
    ) -> Result<Effects, BlockRefusal> {
        self.check_turn(block, certificate.round)?;
        let (height, id) = (block.header.height, block.id());
        certificate.verify(&self.chain, height, &id, &self.state.validators)?;
        let working = self.follow(block, archive)?;
        self.history = self.history();
        self.state = working.state;
        self.head = Some(block.header.clone());
        Ok(working.effects)
    }

    /// Everything needed to go on after this block without the blocks before it, the archive aside.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.array(4).bytes(&self.genesis.to_bytes());
        match &self.head {
            Some(header) => e.bytes(&header.to_bytes()),
            None => e.null(),
        };
        self.history.encode(&mut e);
        e.bytes(&self.state.to_bytes()).finish()
    }

    /// Reads [`Ledger::snapshot`] and checks that state and history belong to its header.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut d = Decoder::new(bytes);
        d.array_of("snapshot", 4)?;
        let genesis = Genesis::from_bytes(d.bytes("snapshot.genesis", SNAPSHOT_MAX_BYTES)?)?;
        let header = d.optional("snapshot.header", |d| {
            Header::from_bytes(d.bytes("snapshot.header", SNAPSHOT_MAX_BYTES)?)
        })?;
        let history = Frontier::decode(&mut d)?;
        let state_bytes = d.bytes("snapshot.state", SNAPSHOT_MAX_BYTES)?;
        let state = State::from_bytes(state_bytes)?;
        d.end("snapshot")?;
        let fresh = Ledger::new(genesis);
        let Some(header) = header else {
            if state != fresh.state || history != fresh.history {
                return Err(SnapshotError::Mismatch("state before the first block"));
            }
            return Ok(fresh);
        };
        if header.genesis != fresh.chain {
            return Err(SnapshotError::Mismatch("genesis"));
        }
        if state_hash(state_bytes) != header.state || state.height != header.height {
            return Err(SnapshotError::Mismatch("state"));
        }
        if history.size() != header.height || history.root() != header.history_root {
            return Err(SnapshotError::Mismatch("history"));
        }
        Ok(Ledger { state, head: Some(header), history, ..fresh })
    }
}

#[cfg(test)]
mod tests;
