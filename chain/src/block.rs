//! A block: its header, the certificate of the block before, and its transactions in their one
//! order.

use crate::certificate::CommitCertificate;
use crate::header::Header;
use crate::transaction::{TRANSACTION_MAX_BYTES, Transaction, TransactionError};
use crate::{CHAIN_VERSION, hash_in};
use lucid_evidence::Hash;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::tree::{Blake3, Tree};

/// Most transactions in a block.
pub const BLOCK_MAX_TRANSACTIONS: usize = 4096;
/// Most bytes that the transactions of a block have together.
pub const BLOCK_MAX_TRANSACTION_BYTES: usize = 1 << 20;

/// A block as it is proposed, sent and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its header.
    pub header: Header,
    /// The certificate of the block before; none in the first block.
    pub last_commit: Option<CommitCertificate>,
    /// Its transactions, ascending by [`Transaction::order`].
    pub transactions: Vec<Transaction>,
}

/// Why bytes are no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The structure.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// One of the transactions.
    #[error("transaction {index} of the block: {source}")]
    Transaction {
        /// Its place in the block.
        index: usize,
        /// What is wrong with it.
        source: TransactionError,
    },
    /// Too many bytes.
    #[error("transactions of the block have more than {BLOCK_MAX_TRANSACTION_BYTES} bytes")]
    TooLong,
}

/// The tree over the bytes of a block's transactions.
pub fn transaction_tree<'t>(transactions: impl IntoIterator<Item = &'t Transaction>) -> Tree {
    Tree::<Blake3>::from_leaves(transactions.into_iter().map(|tx| tx.id().0))
}

impl Block {
    /// The block's id.
    pub fn id(&self) -> Hash {
        self.header.id()
    }

    /// The deterministic encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(4).uint(0).uint(CHAIN_VERSION).uint(1);
        self.header.encode(&mut e);
        e.uint(2);
        match &self.last_commit {
            Some(certificate) => certificate.encode(&mut e),
            None => {
                e.null();
            }
        }
        e.uint(3).array(self.transactions.len() as u64);
        for transaction in &self.transactions {
            e.bytes(transaction.as_bytes());
        }
        e.finish()
    }

    /// Reads [`Block::to_bytes`]: the shape alone; whether it follows is for the ledger to say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlockError> {
        let mut d = Decoder::new(bytes);
        d.map("block", 4)?;
        d.version("block.version", CHAIN_VERSION)?;
        let header = Header::decode(d.key("block.header", 1)?)?;
        let last_commit = d
            .key("block.last_commit", 2)?
            .optional("block.last_commit", CommitCertificate::decode)?;
        let count = d
            .key("block.transactions", 3)?
            .array("block.transactions", BLOCK_MAX_TRANSACTIONS as u64)?;
        let mut transactions = Vec::new();
        let mut total = 0;
        for index in 0..count as usize {
            let bytes = d.bytes("block.transaction", TRANSACTION_MAX_BYTES)?;
            total += bytes.len();
            if total > BLOCK_MAX_TRANSACTION_BYTES {
                return Err(BlockError::TooLong);
            }
            let transaction = Transaction::from_bytes(bytes)
                .map_err(|source| BlockError::Transaction { index, source })?;
            transactions.push(transaction);
        }
        d.end("block")?;
        Ok(Block { header, last_commit, transactions })
    }
}

/// The hash of a ledger state's encoding.
pub(crate) fn state_hash(bytes: &[u8]) -> Hash {
    hash_in("lucid 2026-11 ledger state v1", bytes)
}
