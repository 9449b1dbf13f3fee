//! Checks anchor proofs: from the genesis to the head, from the head to the blocks, from these to
//! the session.

use super::{AnchorProof, BlockPart};
use crate::certificate::CertificateError;
use crate::history::{history_leaf, verify_subset};
use crate::transaction::{
    Body, SessionClose, SessionOpen, Tombstone, Transaction, TransactionError, TxId,
};
use crate::validators::ValidatorSet;
use lucid_evidence::{Checkpoint, Hash, PublicKey, SessionId};
use std::collections::BTreeMap;

/// Why an anchor proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the fields of an error are what its text names
pub enum AnchorError {
    #[error("the anchor has no block")]
    NoBlock,
    #[error("block {height} is not of the chain {chain}")]
    OtherChain { height: u64, chain: Hash },
    #[error("block {height} is out of order")]
    BlockOrder { height: u64 },
    #[error("block {height} is there without a transaction")]
    EmptyBlock { height: u64 },
    #[error("change of validators at block {height} does not have the validators its header names")]
    ChangeSets { height: u64 },
    #[error(
        "change of validators at block {height} is signed by {vouching} of the {trusted} \
         trusted before; {quorum} are needed"
    )]
    ChangeNotVouched { height: u64, vouching: usize, trusted: usize, quorum: usize },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("block {height} names validators that no change leads to")]
    HeadValidators { height: u64 },
    #[error("blocks do not belong to the history of block {height}")]
    History { height: u64 },
    #[error("two headers of height {height} differ")]
    TwoHeaders { height: u64 },
    #[error("transactions of block {height} are not in its transaction tree")]
    TransactionPath { height: u64 },
    #[error("transaction {id} is not about session {session}")]
    OtherSession { id: TxId, session: SessionId },
    #[error("transaction {id} is for another chain")]
    TransactionChain { id: TxId },
    #[error("transaction {id} of kind {kind} is not allowed at its place in the session's life")]
    Life { id: TxId, kind: &'static str },
    #[error("transaction {id} is by another device than the one that opened the session")]
    OtherDevice { id: TxId },
    #[error(transparent)]
    Signature(TransactionError),
    #[error("the closing counts {stated} checkpoints, the anchor holds {found}")]
    Checkpoints { stated: u64, found: usize },
    #[error("the anchor does not hold the opening of session {session}")]
    NotOpened { session: SessionId },
}

/// Something that stands in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The block's height.
    pub height: u64,
    /// The block's time, microseconds since 1970.
    pub time_us: u64,
    /// The transaction's id.
    pub transaction: TxId,
    /// What it says.
    pub content: T,
}

/// What an anchor proof proves about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The name the chain gives itself.
    pub chain_name: String,
    /// The opening.
    pub opened: At<SessionOpen>,
    /// The checkpoints, ascending by tree size.
    pub checkpoints: Vec<At<Checkpoint>>,
    /// The closing.
    pub closed: Option<At<SessionClose>>,
    /// The tombstone.
    pub tombstone: Option<At<Tombstone>>,
    /// The height of the certified block.
    pub head_height: u64,
    /// Its time, microseconds since 1970.
    pub head_time_us: u64,
    /// Who signed it, and with it everything before.
    pub witnesses: Vec<PublicKey>,
    /// How many could have signed it.
    pub validators: usize,
    /// Changes of the validators that the proof walks through.
    pub set_changes: usize,
}

impl AnchorProof {
    /// Checks everything and returns what it proves about `session`.
    pub fn verify(&self, session: &SessionId) -> Result<Anchored, AnchorError> {
        let chain = self.genesis.hash();
        let validators = self.check_changes(&chain)?;
        let head = self.blocks.last().ok_or(AnchorError::NoBlock)?;
        let (height, header) = (head.header.height, &head.header);
        if header.validators != validators.hash() {
            return Err(AnchorError::HeadValidators { height });
        }
        let witnesses = self.certificate.verify(&chain, height, &header.id(), validators)?;
        self.check_history(&chain)?;
        let mut life = Life {
            chain,
            session,
            opened: None,
            checkpoints: vec![],
            closed: None,
            tombstone: None,
        };
        for block in &self.blocks {
            check_transactions(block)?;
            for (_, transaction) in &block.transactions {
                life.take(block, transaction)?;
            }
        }
        let opened = life.opened.ok_or(AnchorError::NotOpened { session: *session })?;
        Ok(Anchored {
            chain,
            chain_name: self.genesis.name().to_owned(),
            opened,
            checkpoints: life.checkpoints,
            closed: life.closed,
            tombstone: life.tombstone,
            head_height: height,
            head_time_us: header.time_us,
            witnesses: witnesses.into_iter().copied().collect(),
            validators: validators.count(),
            set_changes: self.changes.len(),
        })
    }

    /// Walks from the genesis validators to those of the head: each change is final by its own
    /// signers, of whom more than two thirds of the set trusted before must be part. Returns the
    /// last set.
    fn check_changes(&self, chain: &Hash) -> Result<&ValidatorSet, AnchorError> {
        let mut trusted = &self.genesis.validators;
        let mut last = 0;
        for change in &self.changes {
            let header = &change.header;
            let height = header.height;
            if header.genesis != *chain {
                return Err(AnchorError::OtherChain { height, chain: *chain });
            }
            if height <= last {
                return Err(AnchorError::BlockOrder { height });
            }
            last = height;
            if header.validators != change.signers.hash()
                || header.next_validators != change.next.hash()
                || header.validators == header.next_validators
            {
                return Err(AnchorError::ChangeSets { height });
            }
            let signed = change.certificate.verify(chain, height, &header.id(), &change.signers)?;
            let vouching = signed.iter().filter(|key| trusted.index_of(key).is_some()).count();
            let quorum = trusted.quorum();
            if vouching < quorum {
                let trusted = trusted.count();
                return Err(AnchorError::ChangeNotVouched { height, vouching, trusted, quorum });
            }
            trusted = &change.next;
        }
        Ok(trusted)
    }

    /// All headers are of this chain, in order, and in the history of the head.
    fn check_history(&self, chain: &Hash) -> Result<(), AnchorError> {
        let Some((head, blocks)) = self.blocks.split_last() else {
            return Err(AnchorError::NoBlock);
        };
        let mut last = 0;
        for block in &self.blocks {
            let height = block.header.height;
            if block.header.genesis != *chain {
                return Err(AnchorError::OtherChain { height, chain: *chain });
            }
            if height <= last {
                return Err(AnchorError::BlockOrder { height });
            }
            last = height;
        }
        if let Some(block) = blocks.iter().find(|block| block.transactions.is_empty()) {
            return Err(AnchorError::EmptyBlock { height: block.header.height });
        }
        let height = head.header.height;
        let mut leaves = BTreeMap::new();
        let changed = self.changes.iter().map(|change| &change.header);
        for header in blocks.iter().map(|block| &block.header).chain(changed) {
            let leaf = history_leaf(&header.id());
            if leaves.insert(header.height, leaf).is_some_and(|other| other != leaf) {
                return Err(AnchorError::TwoHeaders { height: header.height });
            }
        }
        let leaves: Vec<_> = leaves.into_iter().collect();
        match verify_subset(&leaves, height, &head.header.history_root, &self.history) {
            true => Ok(()),
            false => Err(AnchorError::History { height }),
        }
    }
}

fn check_transactions(block: &BlockPart) -> Result<(), AnchorError> {
    let height = block.header.height;
    if block.transactions.is_empty() {
        return match block.path.is_empty() {
            true => Ok(()),
            false => Err(AnchorError::TransactionPath { height }),
        };
    }
    let leaves: Vec<_> =
        block.transactions.iter().map(|(index, tx)| (u64::from(*index), tx.id().0)).collect();
    let (size, root) = (u64::from(block.header.transaction_count), &block.header.transactions_root);
    match verify_subset(&leaves, size, root, &block.path) {
        true => Ok(()),
        false => Err(AnchorError::TransactionPath { height }),
    }
}

/// A session's transactions in the order in which they stand on the chain.
struct Life<'p> {
    chain: Hash,
    session: &'p SessionId,
    opened: Option<At<SessionOpen>>,
    checkpoints: Vec<At<Checkpoint>>,
    closed: Option<At<SessionClose>>,
    tombstone: Option<At<Tombstone>>,
}

impl Life<'_> {
    /// The ledger has refused what is wrong here before it came into a block; a verifier trusts no
    /// ledger.
    fn take(&mut self, block: &BlockPart, tx: &Transaction) -> Result<(), AnchorError> {
        let id = tx.id();
        if tx.body().session() != Some(self.session) {
            return Err(AnchorError::OtherSession { id, session: *self.session });
        }
        if tx.body().chain().is_some_and(|chain| *chain != self.chain) {
            return Err(AnchorError::TransactionChain { id });
        }
        let misplaced = AnchorError::Life { id, kind: tx.kind().name() };
        let by_opener = |device: &PublicKey| match &self.opened {
            Some(opened) if opened.content.device == *device => Ok(()),
            Some(_) => Err(AnchorError::OtherDevice { id }),
            None => Err(misplaced.clone()),
        };
        match tx.body() {
            Body::SessionOpen(body) => {
                if self.opened.is_some() {
                    return Err(misplaced);
                }
                tx.verify(&body.device).map_err(AnchorError::Signature)?;
                self.opened = Some(at(block, tx, body));
            }
            Body::Checkpoint(body) => {
                let size = self.checkpoints.last().map_or(0, |last| last.content.tree_size);
                let Some(opened) = self.opened.as_ref().filter(|_| self.closed.is_none()) else {
                    return Err(misplaced);
                };
                if body.tree_size <= size {
                    return Err(misplaced);
                }
                tx.verify(&opened.content.session_key).map_err(AnchorError::Signature)?;
                self.checkpoints.push(at(block, tx, body));
            }
            Body::SessionClose(body) => {
                by_opener(&body.device)?;
                let size = self.checkpoints.last().map_or(0, |last| last.content.tree_size);
                if self.closed.is_some() || body.tree_size < size {
                    return Err(misplaced);
                }
                let (stated, found) = (body.checkpoints, self.checkpoints.len());
                if stated != found as u64 {
                    return Err(AnchorError::Checkpoints { stated, found });
                }
                tx.verify(&body.device).map_err(AnchorError::Signature)?;
                self.closed = Some(at(block, tx, body));
            }
            Body::Tombstone(body) => {
                by_opener(&body.device)?;
                if self.closed.is_none() || self.tombstone.is_some() {
                    return Err(misplaced);
                }
                tx.verify(&body.device).map_err(AnchorError::Signature)?;
                self.tombstone = Some(at(block, tx, body));
            }
            _ => return Err(misplaced),
        }
        Ok(())
    }
}

fn at<T: Clone>(block: &BlockPart, tx: &Transaction, content: &T) -> At<T> {
    At {
        height: block.header.height,
        time_us: block.header.time_us,
        transaction: tx.id(),
        content: content.clone(),
    }
}
