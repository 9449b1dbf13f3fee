//! What the ledger must know of the past and does not keep in its state: ended sessions and
//! transactions taken.

use super::refusal::ArchiveError;
use super::{Effect, Effects};
use crate::CHAIN_VERSION;
use crate::block::Block;
use crate::transaction::TxId;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::{Hash, PublicKey, SessionId};
use std::collections::BTreeMap;

/// A session that was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSession {
    /// The device that recorded it.
    pub device: PublicKey,
    /// The hash of its signed manifest.
    pub manifest: Hash,
    /// Leaves in its tree.
    pub tree_size: u64,
    /// The root over them.
    pub root: Hash,
    /// The height at which it was opened.
    pub opened: u64,
    /// The height at which it was closed.
    pub closed: u64,
    /// The height of its tombstone, if its keys were destroyed.
    pub tombstone: Option<u64>,
}

impl ClosedSession {
    /// The deterministic encoding, as it is stored and logged.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(8).uint(0).uint(CHAIN_VERSION).uint(1).bytes(self.device.as_bytes());
        e.uint(2).bytes(&self.manifest.0).uint(3).uint(self.tree_size).uint(4).bytes(&self.root.0);
        e.uint(5).uint(self.opened).uint(6).uint(self.closed).uint(7);
        e.optional_uint(self.tombstone).finish()
    }

    /// Reads [`ClosedSession::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("closed_session", 8)?;
        d.version("closed_session.version", CHAIN_VERSION)?;
        let session = ClosedSession {
            device: d.key("closed_session.device", 1)?.public_key("closed_session.device")?,
            manifest: d.key("closed_session.manifest", 2)?.hash("closed_session.manifest")?,
            tree_size: d.key("closed_session.tree_size", 3)?.u64("closed_session.tree_size")?,
            root: d.key("closed_session.root", 4)?.hash("closed_session.root")?,
            opened: d.key("closed_session.opened", 5)?.u64("closed_session.opened")?,
            closed: d.key("closed_session.closed", 6)?.u64("closed_session.closed")?,
            tombstone: d
                .key("closed_session.tombstone", 7)?
                .optional("closed_session.tombstone", |d| d.u64("closed_session.tombstone"))?,
        };
        d.end("closed_session")?;
        Ok(session)
    }
}

/// Look-ups of the past. All nodes of a chain have the same past, so the answers are part of the
/// ledger's rules.
pub trait Archive {
    /// The session, if it was ever closed.
    fn closed(&self, session: &SessionId) -> Result<Option<ClosedSession>, ArchiveError>;
    /// The height of the block that holds the transaction, if one does.
    fn included(&self, id: &TxId) -> Result<Option<u64>, ArchiveError>;
}

/// The past in memory: for tests and for chains that live as long as one command.
#[derive(Debug, Clone, Default)]
pub struct MemoryArchive {
    closed: BTreeMap<SessionId, ClosedSession>,
    included: BTreeMap<TxId, u64>,
}

impl MemoryArchive {
    /// Takes up a block that was committed.
    pub fn record(&mut self, block: &Block, effects: &Effects) {
        for transaction in &block.transactions {
            self.included.insert(transaction.id(), block.header.height);
        }
        for effect in &effects.0 {
            if let Effect::SessionClosed { session, record }
            | Effect::SessionTombstoned { session, record } = effect
            {
                self.closed.insert(*session, record.clone());
            }
        }
    }
}

impl Archive for MemoryArchive {
    fn closed(&self, session: &SessionId) -> Result<Option<ClosedSession>, ArchiveError> {
        Ok(self.closed.get(session).cloned())
    }

    fn included(&self, id: &TxId) -> Result<Option<u64>, ArchiveError> {
        Ok(self.included.get(id).copied())
    }
}
