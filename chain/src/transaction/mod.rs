//! Transactions: what nodes put on the chain, each a COSE_Sign1 whose content type names its kind.
//!
//! The bytes of a transaction are the signed structure itself, nothing around it, and its id is the
//! hash of its leaf in the block's transaction tree. Reading checks the shape alone; who must have
//! signed is known to the ledger ([`Transaction::verify`] takes the key), because a checkpoint is
//! signed by a key that another transaction named.

mod node;
mod session;

pub use node::{
    NODE_NAME_MAX_BYTES, NOTE_MAX_BYTES, NodeRegister, NodeRetire, ParameterProposal,
    ParameterVote, Statement, Subject, registration_bytes,
};
pub use session::{REASON_MAX_BYTES, SessionClose, SessionOpen, Tombstone};

use crate::CHAIN_VERSION;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::cose::{self, CoseError};
use lucid_evidence::tree::leaf_hash;
use lucid_evidence::{Checkpoint, Hash, PublicKey, SessionId, SigningKey, checkpoint};
use std::fmt;

/// Longest transaction, in bytes.
pub const TRANSACTION_MAX_BYTES: usize = 16 << 10;

/// The id of a transaction: the hash of its leaf in the block's transaction tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub Hash);

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::str::FromStr for TxId {
    type Err = lucid_evidence::hash::HexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Hash::from_hex(text).map(TxId)
    }
}

/// What kinds of transactions there are, in the order in which a block holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A node joins.
    NodeRegister,
    /// A recording session begins.
    SessionOpen,
    /// A session's tree has grown.
    Checkpoint,
    /// A session ended and its manifest stands.
    SessionClose,
    /// The keys of a session were destroyed.
    Tombstone,
    /// A parameter should change.
    ParameterProposal,
    /// A node's vote on that.
    ParameterVote,
    /// A hash of something outside the chain.
    Statement,
    /// A node leaves.
    NodeRetire,
}

impl Kind {
    /// All kinds in block order.
    pub const ALL: [Kind; 9] = [
        Kind::NodeRegister,
        Kind::SessionOpen,
        Kind::Checkpoint,
        Kind::SessionClose,
        Kind::Tombstone,
        Kind::ParameterProposal,
        Kind::ParameterVote,
        Kind::Statement,
        Kind::NodeRetire,
    ];

    /// The COSE content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Kind::NodeRegister => "application/vnd.lucid.node-register+cbor",
            Kind::SessionOpen => "application/vnd.lucid.session-open+cbor",
            Kind::Checkpoint => checkpoint::CONTENT_TYPE,
            Kind::SessionClose => "application/vnd.lucid.session-close+cbor",
            Kind::Tombstone => "application/vnd.lucid.tombstone+cbor",
            Kind::ParameterProposal => "application/vnd.lucid.parameter-proposal+cbor",
            Kind::ParameterVote => "application/vnd.lucid.parameter-vote+cbor",
            Kind::Statement => "application/vnd.lucid.statement+cbor",
            Kind::NodeRetire => "application/vnd.lucid.node-retire+cbor",
        }
    }

    /// Its name for people and interfaces.
    pub fn name(self) -> &'static str {
        match self {
            Kind::NodeRegister => "node_register",
            Kind::SessionOpen => "session_open",
            Kind::Checkpoint => "checkpoint",
            Kind::SessionClose => "session_close",
            Kind::Tombstone => "tombstone",
            Kind::ParameterProposal => "parameter_proposal",
            Kind::ParameterVote => "parameter_vote",
            Kind::Statement => "statement",
            Kind::NodeRetire => "node_retire",
        }
    }
}

/// What a transaction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A node joins.
    NodeRegister(NodeRegister),
    /// A recording session begins.
    SessionOpen(SessionOpen),
    /// A session's tree has grown; the structure is the one the bundle holds.
    Checkpoint(Checkpoint),
    /// A session ended.
    SessionClose(SessionClose),
    /// The keys of a session were destroyed.
    Tombstone(Tombstone),
    /// A parameter should change.
    ParameterProposal(ParameterProposal),
    /// A node's vote on that.
    ParameterVote(ParameterVote),
    /// A hash of something outside the chain.
    Statement(Statement),
    /// A node leaves.
    NodeRetire(NodeRetire),
}

impl Body {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Body::NodeRegister(_) => Kind::NodeRegister,
            Body::SessionOpen(_) => Kind::SessionOpen,
            Body::Checkpoint(_) => Kind::Checkpoint,
            Body::SessionClose(_) => Kind::SessionClose,
            Body::Tombstone(_) => Kind::Tombstone,
            Body::ParameterProposal(_) => Kind::ParameterProposal,
            Body::ParameterVote(_) => Kind::ParameterVote,
            Body::Statement(_) => Kind::Statement,
            Body::NodeRetire(_) => Kind::NodeRetire,
        }
    }

    /// The key that must have signed it, where the transaction itself names it. Only a checkpoint
    /// does not.
    pub fn signer(&self) -> Option<&PublicKey> {
        match self {
            Body::NodeRegister(body) => Some(&body.sponsor),
            Body::SessionOpen(body) => Some(&body.device),
            Body::Checkpoint(_) => None,
            Body::SessionClose(body) => Some(&body.device),
            Body::Tombstone(body) => Some(&body.device),
            Body::ParameterProposal(body) => Some(&body.node),
            Body::ParameterVote(body) => Some(&body.node),
            Body::Statement(body) => Some(&body.node),
            Body::NodeRetire(body) => Some(&body.node),
        }
    }

    /// The chain it is meant for. A checkpoint names none: its session's opening binds it.
    pub fn chain(&self) -> Option<&Hash> {
        match self {
            Body::NodeRegister(body) => Some(&body.chain),
            Body::SessionOpen(body) => Some(&body.chain),
            Body::Checkpoint(_) => None,
            Body::SessionClose(body) => Some(&body.chain),
            Body::Tombstone(body) => Some(&body.chain),
            Body::ParameterProposal(body) => Some(&body.chain),
            Body::ParameterVote(body) => Some(&body.chain),
            Body::Statement(body) => Some(&body.chain),
            Body::NodeRetire(body) => Some(&body.chain),
        }
    }

    /// The session it is about, if any.
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Body::SessionOpen(body) => Some(&body.session),
            Body::Checkpoint(body) => Some(&body.session),
            Body::SessionClose(body) => Some(&body.session),
            Body::Tombstone(body) => Some(&body.session),
            _ => None,
        }
    }

    fn payload(&self) -> Vec<u8> {
        match self {
            Body::NodeRegister(body) => body.encode(),
            Body::SessionOpen(body) => body.encode(),
            Body::Checkpoint(body) => body.encode(),
            Body::SessionClose(body) => body.encode(),
            Body::Tombstone(body) => body.encode(),
            Body::ParameterProposal(body) => body.encode(),
            Body::ParameterVote(body) => body.encode(),
            Body::Statement(body) => body.encode(),
            Body::NodeRetire(body) => body.encode(),
        }
    }

    fn decode(kind: Kind, payload: &[u8]) -> Result<Self, CborError> {
        Ok(match kind {
            Kind::NodeRegister => Body::NodeRegister(NodeRegister::decode(payload)?),
            Kind::SessionOpen => Body::SessionOpen(SessionOpen::decode(payload)?),
            Kind::Checkpoint => Body::Checkpoint(Checkpoint::decode(payload)?),
            Kind::SessionClose => Body::SessionClose(SessionClose::decode(payload)?),
            Kind::Tombstone => Body::Tombstone(Tombstone::decode(payload)?),
            Kind::ParameterProposal => Body::ParameterProposal(ParameterProposal::decode(payload)?),
            Kind::ParameterVote => Body::ParameterVote(ParameterVote::decode(payload)?),
            Kind::Statement => Body::Statement(Statement::decode(payload)?),
            Kind::NodeRetire => Body::NodeRetire(NodeRetire::decode(payload)?),
        })
    }
}

/// A transaction with the signed bytes it came from. Its shape was checked, its signature only by
/// [`Transaction::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    body: Body,
    bytes: Vec<u8>,
    id: TxId,
}

/// Why bytes are no transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Too long.
    #[error("transaction has {found} bytes, over the limit of {TRANSACTION_MAX_BYTES}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// Signed, but none of the kinds there are.
    #[error("signed structure is of no transaction kind of version {CHAIN_VERSION}")]
    UnknownKind,
    /// The envelope or its signature.
    #[error("{} transaction: {source}", .kind.map_or("", Kind::name))]
    Cose {
        /// The kind, as far as it is known.
        kind: Option<Kind>,
        /// What is wrong.
        source: CoseError,
    },
    /// What was signed is not the structure of its kind.
    #[error("{} transaction: {source}", .kind.name())]
    Content {
        /// The kind.
        kind: Kind,
        /// What is wrong.
        source: CborError,
    },
}

impl Transaction {
    /// Signs a transaction. Whether `key` is the right one is for the ledger to say.
    pub fn sign(body: Body, key: &SigningKey) -> Self {
        let bytes = cose::sign1(key, body.kind().content_type(), &body.payload());
        let id = TxId(leaf_hash(&bytes));
        Transaction { body, bytes, id }
    }

    /// Takes a checkpoint as the evidence crate signed it.
    pub fn checkpoint(signed: &lucid_evidence::SignedCheckpoint) -> Self {
        let bytes = signed.as_bytes().to_vec();
        let id = TxId(leaf_hash(&bytes));
        Transaction { body: Body::Checkpoint(*signed.checkpoint()), bytes, id }
    }

    /// Reads a transaction and checks its shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TransactionError> {
        if bytes.len() > TRANSACTION_MAX_BYTES {
            return Err(TransactionError::TooLong { found: bytes.len() });
        }
        for kind in Kind::ALL {
            match cose::open(bytes, kind.content_type()) {
                Ok(signed) => {
                    let body = Body::decode(kind, signed.payload())
                        .map_err(|source| TransactionError::Content { kind, source })?;
                    let id = TxId(leaf_hash(bytes));
                    return Ok(Transaction { body, bytes: bytes.to_vec(), id });
                }
                Err(CoseError::ContentType { .. }) => {}
                Err(source) => return Err(TransactionError::Cose { kind: None, source }),
            }
        }
        Err(TransactionError::UnknownKind)
    }

    /// Checks that `key` signed it.
    pub fn verify(&self, key: &PublicKey) -> Result<(), TransactionError> {
        let kind = self.kind();
        cose::verify1(key, kind.content_type(), &self.bytes)
            .map(|_| ())
            .map_err(|source| TransactionError::Cose { kind: Some(kind), source })
    }

    /// What it says.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Its id.
    pub fn id(&self) -> TxId {
        self.id
    }

    /// The signed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key by which a block sorts its transactions: kind, then session and tree size for
    /// checkpoints, then id. An opening stands before its checkpoints, these by size, the closing
    /// after them, whatever came in first.
    pub fn order(&self) -> (Kind, [u8; 16], u64, TxId) {
        let (session, size) = match &self.body {
            Body::Checkpoint(body) => (*body.session.as_bytes(), body.tree_size),
            _ => ([0; 16], 0),
        };
        (self.kind(), session, size, self.id)
    }
}

/// Reads what all transactions but the checkpoint begin with: version and chain.
fn head(d: &mut Decoder<'_>, name: &'static str, entries: u64) -> Result<Hash, CborError> {
    d.map(name, entries)?;
    d.version(name, CHAIN_VERSION)?;
    d.key("transaction.chain", 1)?.hash("transaction.chain")
}

/// The same of a transaction whose map is open and whose version is not 1.
fn head_of(d: &mut Decoder<'_>, version: u64) -> Result<Hash, CborError> {
    d.version("transaction", version)?;
    d.key("transaction.chain", 1)?.hash("transaction.chain")
}

/// Writes what [`head`] reads.
fn open_map(entries: u64, chain: &Hash) -> Encoder {
    open_map_of(CHAIN_VERSION, entries, chain)
}

/// The same of another version.
fn open_map_of(version: u64, entries: u64, chain: &Hash) -> Encoder {
    let mut e = Encoder::new();
    e.map(entries).uint(0).uint(version).uint(1).bytes(&chain.0);
    e
}

#[cfg(test)]
mod tests;
