//! Transactions that wait for a block: each was tried on a copy of the ledger, together with those
//! before it.
//!
//! What waits is not durable. Whoever submitted a transaction waits for its block and submits it
//! again after a restart; a repetition is recognised. When the limits are reached, new ones are
//! refused and nothing waiting is dropped.

use crate::error::SubmitError;
use lucid_chain::ledger::{Archive, ArchiveError, Pending, Refusal};
use lucid_chain::{Ledger, Transaction, TxId};
use lucid_evidence::SessionId;
use std::collections::BTreeMap;

/// Most transactions that wait: two full blocks.
pub const MEMPOOL_MAX_TRANSACTIONS: usize = 8192;
/// Most bytes that wait, four full blocks.
pub const MEMPOOL_MAX_BYTES: usize = 4 << 20;

pub(crate) struct Mempool {
    pending: Pending,
    waiting: BTreeMap<TxId, Transaction>,
    bytes: usize,
}

impl Mempool {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Mempool { pending: ledger.pending(), waiting: BTreeMap::new(), bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn contains(&self, id: &TxId) -> bool {
        self.waiting.contains_key(id)
    }

    /// Takes a transaction; one that is waiting already is taken as the same.
    pub(crate) fn submit(
        &mut self,
        tx: Transaction,
        archive: &impl Archive,
    ) -> Result<TxId, SubmitError> {
        let id = tx.id();
        if self.waiting.contains_key(&id) {
            return Ok(id);
        }
        let bytes = self.bytes + tx.as_bytes().len();
        if self.waiting.len() >= MEMPOOL_MAX_TRANSACTIONS || bytes > MEMPOOL_MAX_BYTES {
            let (transactions, bytes) = (self.waiting.len(), self.bytes);
            return Err(SubmitError::Full { transactions, bytes });
        }
        self.pending.admit(&tx, archive)?;
        self.bytes = bytes;
        self.waiting.insert(id, tx);
        Ok(id)
    }

    /// Checkpoints of a session that is open, those waiting included.
    pub(crate) fn checkpoints(&self, session: &SessionId) -> Option<u64> {
        self.pending.checkpoints(session)
    }

    pub(crate) fn candidates(&self) -> Vec<Transaction> {
        self.waiting.values().cloned().collect()
    }

    /// Goes on after a block: drops what it holds, tries the rest again and returns what no longer
    /// fits.
    pub(crate) fn advance(
        &mut self,
        ledger: &Ledger,
        included: impl IntoIterator<Item = TxId>,
        archive: &impl Archive,
    ) -> Result<Vec<(TxId, Refusal)>, ArchiveError> {
        for id in included {
            self.waiting.remove(&id);
        }
        self.pending = ledger.pending();
        let mut waiting: Vec<_> = std::mem::take(&mut self.waiting).into_values().collect();
        waiting.sort_by_cached_key(Transaction::order);
        let mut refused = Vec::new();
        self.bytes = 0;
        let mut failed = None;
        for tx in waiting {
            match self.pending.admit(&tx, archive) {
                Err(Refusal::Archive(error)) => failed = Some(error),
                Err(refusal) => {
                    refused.push((tx.id(), refusal));
                    continue;
                }
                Ok(()) => {}
            }
            self.bytes += tx.as_bytes().len();
            self.waiting.insert(tx.id(), tx);
        }
        failed.map_or(Ok(refused), Err)
    }
}
