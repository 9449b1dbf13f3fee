//! What can go wrong in a node.

use lucid_chain::anchor::ProveError;
use lucid_chain::ledger::{ArchiveError, BlockRefusal, Refusal, SnapshotError};
use lucid_chain::transaction::TransactionError;
use lucid_chain::{Genesis, TxId};
use lucid_evidence::cbor::CborError;
use lucid_evidence::{Hash, PublicKey, SessionId};
use lucid_store::StoreError;
use std::sync::Arc;

/// Why the node cannot start, go on, or answer.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The database.
    #[error("chain database: {0}")]
    Store(#[from] StoreError),
    /// A stored record is not what it should be.
    #[error("chain database: {what}: {source}")]
    Record {
        /// Which record.
        what: String,
        /// What is wrong with it.
        #[source]
        source: CborError,
    },
    /// A stored transaction is not one.
    #[error("chain database: transaction {index} of block {height}: {source}")]
    Transaction {
        /// The height of its block.
        height: u64,
        /// Its place.
        index: u32,
        /// What is wrong with it.
        #[source]
        source: TransactionError,
    },
    /// A record that must be there is not.
    #[error("chain database: {what} is missing")]
    Missing {
        /// Which record.
        what: String,
    },
    /// The empty block was forgotten after its time.
    #[error("block {height} was empty and is no longer kept; its id is {id}")]
    Forgotten {
        /// Its height.
        height: u64,
        /// Its id.
        id: Hash,
    },
    /// The database holds another chain.
    #[error("chain database holds chain {found}, expected chain {expected}")]
    OtherChain {
        /// The genesis hash in the database.
        found: Hash,
        /// The genesis hash that was given.
        expected: Hash,
    },
    /// A stored block does not follow from the ones before it.
    #[error("chain database: block {height} does not follow: {source}")]
    Replay {
        /// Its height.
        height: u64,
        /// Why not.
        #[source]
        source: BlockRefusal,
    },
    /// The stored blocks lead elsewhere than the stored head.
    #[error(
        "chain database: head {expected} at height {height} is not where its blocks lead, {found}"
    )]
    Head {
        /// The head's height.
        height: u64,
        /// The id in the head record.
        expected: Hash,
        /// The id that the blocks give.
        found: Hash,
    },
    /// This node's own block was refused by its own ledger.
    #[error("block {height} made by this node does not follow: {source}")]
    OwnBlock {
        /// Its height.
        height: u64,
        /// Why not.
        #[source]
        source: BlockRefusal,
    },
    /// A snapshot that cannot be used.
    #[error("snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
    /// This node alone cannot make blocks of this chain.
    #[error(
        "node {key} cannot make blocks alone: the chain has {validators} validators; only a \
         chain of this one key can be driven without peers"
    )]
    NotAlone {
        /// This node's key.
        key: PublicKey,
        /// Validators of the chain.
        validators: usize,
    },
    /// A look-up of the past failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A session that is not on this chain.
    #[error("session {0} is not on this chain")]
    UnknownSession(SessionId),
    /// No proof can be made.
    #[error(transparent)]
    Prove(Box<ProveError<NodeError>>),
    /// The chain's name or key is no good.
    #[error("genesis: {0}")]
    Genesis(String),
    /// The node has stopped.
    #[error("the chain node has stopped")]
    Stopped,
    /// A thread of the node ended without an answer.
    #[error("the chain node lost a task: {0}")]
    Task(String),
    /// An error that several callers get.
    #[error(transparent)]
    Shared(Arc<NodeError>),
}

impl NodeError {
    /// Trying the same again later may help: the disk is full or takes no writes for now.
    pub fn is_passing(&self) -> bool {
        match self {
            NodeError::Store(StoreError::Full { .. } | StoreError::ReadOnly { .. }) => true,
            NodeError::Shared(inner) => inner.is_passing(),
            _ => false,
        }
    }

    pub(crate) fn other_chain(found: &Genesis, expected: &Genesis) -> Self {
        NodeError::OtherChain { found: found.hash(), expected: expected.hash() }
    }
}

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The rules refuse it; [`Refusal::is_repeated`] tells whether that is as good as success.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much is waiting already. Nothing waiting is dropped for it; try again after the next
    /// block.
    #[error(
        "{transactions} transactions of {bytes} bytes are waiting, which is the limit; try \
         again after the next block"
    )]
    Full {
        /// Transactions waiting.
        transactions: usize,
        /// Their bytes together.
        bytes: usize,
    },
    /// A second validator would stop a chain that is driven without peers.
    #[error(
        "a node cannot join yet: this node drives the chain alone, and a chain of two needs both"
    )]
    Alone,
    /// The node has stopped.
    #[error("the chain node has stopped")]
    Stopped,
}

/// Why waiting for a transaction ended without it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WaitError {
    /// It was refused when a block was made.
    #[error("transaction {id}: {refusal}")]
    Refused {
        /// The transaction.
        id: TxId,
        /// Why.
        refusal: Arc<Refusal>,
    },
    /// It is neither in a block nor waiting for one.
    #[error("transaction {id} is neither in a block nor waiting for one; submit it again")]
    Unknown {
        /// The transaction.
        id: TxId,
    },
    /// The chain cannot be read.
    #[error(transparent)]
    Node(Arc<NodeError>),
    /// The node has stopped.
    #[error("the chain node has stopped")]
    Stopped,
}
