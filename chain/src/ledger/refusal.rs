//! Why the ledger refuses a transaction or a block.

use crate::certificate::CertificateError;
use crate::parameters::{NODES_MAX, OutOfBounds};
use crate::transaction::{TransactionError, TxId};
use lucid_evidence::{Hash, PublicKey, SessionId};

/// Looking something up outside the ledger's own state failed.
#[derive(Debug, thiserror::Error)]
#[error("looking up {what}: {source}")]
pub struct ArchiveError {
    /// What was looked up.
    pub what: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why a transaction is refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the fields of a refusal are what its text names
pub enum Refusal {
    #[error("transaction is for chain {found}, this is chain {expected}")]
    WrongChain { found: Hash, expected: Hash },
    #[error("transaction {id} is already in block {height}")]
    AlreadyIncluded { id: TxId, height: u64 },
    #[error("{0}")]
    Signature(#[source] TransactionError),
    #[error("{0} is not a node of this chain")]
    NotANode(PublicKey),
    #[error("node {0} has retired")]
    Retired(PublicKey),
    #[error("{0} is not a validator now")]
    NotAValidator(PublicKey),
    #[error("session id {0} is used up; every session needs a new one")]
    SessionIdUsed(SessionId),
    #[error("session {0} is not on this chain")]
    SessionUnknown(SessionId),
    #[error("session {0} is closed")]
    SessionClosed(SessionId),
    #[error("session {0} is still open; close it first")]
    SessionOpen(SessionId),
    #[error("session {session} was opened by another device than {device}")]
    NotTheDevice { session: SessionId, device: PublicKey },
    #[error("session {session} has a checkpoint of {have} leaves; one of {offered} is not larger")]
    NotLarger { session: SessionId, have: u64, offered: u64 },
    #[error(
        "closing of session {session} has {offered} leaves, its last checkpoint {have} or the \
         same with another root"
    )]
    CloseContradicts { session: SessionId, have: u64, offered: u64 },
    #[error("closing of session {session} counts {offered} checkpoints, the chain took {have}")]
    CheckpointCount { session: SessionId, have: u64, offered: u64 },
    #[error("session {0} has a tombstone already")]
    Tombstoned(SessionId),
    #[error("node {node} has {limit} open sessions, which is the limit; close some first")]
    TooManySessions { node: PublicKey, limit: u32 },
    #[error("node {0} is already registered; the key of a node that retired cannot join again")]
    NodeKnown(PublicKey),
    #[error(
        "the pool has {found} nodes, which is its limit (parameter max_nodes, at most {NODES_MAX})"
    )]
    PoolFull { found: usize },
    #[error("{limit} node keys were ever registered, which is the limit of a chain")]
    NodeRecordsFull { limit: usize },
    #[error("node {0} did not sign its registration with this sponsor")]
    Consent(PublicKey),
    #[error("node {0} is the last one; a chain cannot be without nodes")]
    LastNode(PublicKey),
    #[error(transparent)]
    Parameter(#[from] OutOfBounds),
    #[error("max_nodes cannot fall to {value}: {found} nodes are registered")]
    BelowNodes { value: u32, found: usize },
    #[error("the parameter has the value {0} already")]
    Unchanged(u32),
    #[error("node {0} has an open proposal; it may have one at a time")]
    ProposalOpen(PublicKey),
    #[error("proposal {0} is not open")]
    ProposalUnknown(TxId),
    #[error("node {node} has voted on proposal {proposal}")]
    Voted { node: PublicKey, proposal: TxId },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Refusal {
    /// The transaction, or another that does the same, has been taken already: for whoever sent it,
    /// that is success.
    pub fn is_repeated(&self) -> bool {
        matches!(
            self,
            Refusal::AlreadyIncluded { .. } | Refusal::Tombstoned(_) | Refusal::Voted { .. }
        )
    }
}

/// Why a block does not follow the one before it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the fields of a refusal are what its text names
pub enum BlockRefusal {
    #[error("block has height {found}, expected {expected}")]
    Height { found: u64, expected: u64 },
    #[error("block time {found} is not after the time {previous} of the block before")]
    TimeNotAfter { found: u64, previous: u64 },
    #[error(
        "block time {found} is more than {limit_us} microseconds ahead of this node's clock at \
         {now}"
    )]
    TimeAhead { found: u64, now: u64, limit_us: u64 },
    #[error("{proposer} has no turn to propose block {height} up to round {round}")]
    NotItsTurn { proposer: PublicKey, height: u64, round: u32 },
    #[error("first block carries a certificate of a block before it")]
    UnexpectedCommit,
    #[error("block {height} does not carry the certificate of the block before it")]
    MissingCommit { height: u64 },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("block has {count} transactions of {bytes} bytes, over a limit")]
    TooLarge { count: usize, bytes: usize },
    #[error("transaction {0} is not in the order of the block")]
    Order(TxId),
    #[error("transaction {id}: {source}")]
    Transaction {
        id: TxId,
        #[source]
        source: Refusal,
    },
    #[error("header field {field} of block {height} is not what the ledger computes")]
    Header { height: u64, field: &'static str },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}
