//! The anchor proof: what a bundle carries so that anyone can check, offline, that a session stands
//! on a chain.
//!
//! It leads from the genesis to one certified block, the head of the proof, by those blocks alone
//! that changed the validators; from the head's history root to the blocks that hold the session's
//! transactions; and from their transaction roots to the transactions. It grows with the session's
//! checkpoints and the logarithm of the chain's length, not with the blocks in between.

mod prove;
mod verify;

pub use prove::{ChainSource, ProveError, prove};
pub use verify::{AnchorError, Anchored, At};

use crate::CHAIN_VERSION;
use crate::block::BLOCK_MAX_TRANSACTIONS;
use crate::certificate::CommitCertificate;
use crate::genesis::Genesis;
use crate::header::Header;
use crate::history::SUBSET_PROOF_MAX_HASHES;
use crate::transaction::{TRANSACTION_MAX_BYTES, Transaction};
use crate::validators::ValidatorSet;
use lucid_evidence::Hash;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};

/// Longest encoded genesis, in bytes: 100 keys, a name and some numbers.
const GENESIS_MAX_BYTES: usize = 8 << 10;
/// Most changes of the validators that a proof walks through.
pub const CHANGES_MAX: usize = 4096;
/// Most blocks in a proof: a checkpoint each 10 s for 120 days.
pub const BLOCKS_MAX: usize = 1 << 20;

/// A block that changed the validators, signed by those before the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetChange {
    /// Its header, which names the next validators by their hash.
    pub header: Header,
    /// The certificate that makes it final.
    pub certificate: CommitCertificate,
    /// Who signed it.
    pub signers: ValidatorSet,
    /// Who signs from the next block on.
    pub next: ValidatorSet,
}

/// A block and some of its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPart {
    /// Its header.
    pub header: Header,
    /// Places, ascending, and transactions.
    pub transactions: Vec<(u32, Transaction)>,
    /// The subset proof of these transactions in the header's transaction tree; none for no
    /// transactions.
    pub path: Vec<Hash>,
}

/// The proof that a session stands on a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorProof {
    /// The genesis, whose hash names the chain.
    pub genesis: Genesis,
    /// The changes of the validators up to the head, ascending.
    pub changes: Vec<SetChange>,
    /// The blocks with the session's transactions, ascending. The last one is the head and need not
    /// have any.
    pub blocks: Vec<BlockPart>,
    /// The subset proof of all headers but the head's in the head's history tree.
    pub history: Vec<Hash>,
    /// The head's certificate.
    pub certificate: CommitCertificate,
}

impl SetChange {
    fn encode(&self, e: &mut Encoder) {
        e.array(4);
        self.header.encode(e);
        self.certificate.encode(e);
        self.signers.encode(e);
        self.next.encode(e);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.array_of("anchor.change", 4)?;
        Ok(SetChange {
            header: Header::decode(d)?,
            certificate: CommitCertificate::decode(d)?,
            signers: ValidatorSet::decode(d)?,
            next: ValidatorSet::decode(d)?,
        })
    }
}

impl BlockPart {
    fn encode(&self, e: &mut Encoder) {
        e.array(3);
        self.header.encode(e);
        e.array(self.transactions.len() as u64);
        for (index, transaction) in &self.transactions {
            e.array(2).uint(u64::from(*index)).bytes(transaction.as_bytes());
        }
        encode_hashes(e, &self.path);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.array_of("anchor.block", 3)?;
        let header = Header::decode(d)?;
        let count = d.array("anchor.transactions", BLOCK_MAX_TRANSACTIONS as u64)?;
        let mut transactions = Vec::new();
        for _ in 0..count {
            d.array_of("anchor.transaction", 2)?;
            let index = d.u32("anchor.transaction.index")?;
            let bytes = d.bytes("anchor.transaction.bytes", TRANSACTION_MAX_BYTES)?;
            let transaction = Transaction::from_bytes(bytes)
                .map_err(|error| d.value_error("anchor.transaction.bytes", error))?;
            transactions.push((index, transaction));
        }
        let path = decode_hashes(d, "anchor.path", BLOCK_MAX_TRANSACTIONS)?;
        Ok(BlockPart { header, transactions, path })
    }
}

/// Hashes one after the other in one byte string.
fn encode_hashes(e: &mut Encoder, hashes: &[Hash]) {
    e.bytes(&hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>());
}

fn decode_hashes(
    d: &mut Decoder<'_>,
    field: &'static str,
    limit: usize,
) -> Result<Vec<Hash>, CborError> {
    let bytes = d.bytes(field, limit * Hash::LEN)?;
    let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
    match rest.is_empty() {
        true => Ok(hashes.iter().copied().map(Hash).collect()),
        false => Err(d.value_error(field, "not a whole number of hashes")),
    }
}

impl AnchorProof {
    /// The deterministic encoding, which stands in `proof.cbor` as the anchor.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(6).uint(0).uint(CHAIN_VERSION).uint(1).bytes(&self.genesis.to_bytes());
        e.uint(2).array(self.changes.len() as u64);
        for change in &self.changes {
            change.encode(&mut e);
        }
        e.uint(3).array(self.blocks.len() as u64);
        for block in &self.blocks {
            block.encode(&mut e);
        }
        e.uint(4);
        encode_hashes(&mut e, &self.history);
        e.uint(5);
        self.certificate.encode(&mut e);
        e.finish()
    }

    /// Reads [`AnchorProof::to_bytes`]: the shape alone, see [`AnchorProof::verify`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("anchor", 6)?;
        d.version("anchor.version", CHAIN_VERSION)?;
        let genesis = d.key("anchor.genesis", 1)?.bytes("anchor.genesis", GENESIS_MAX_BYTES)?;
        let genesis = Genesis::from_bytes(genesis)?;
        let mut changes = Vec::new();
        for _ in 0..d.key("anchor.changes", 2)?.array("anchor.changes", CHANGES_MAX as u64)? {
            changes.push(SetChange::decode(&mut d)?);
        }
        let mut blocks = Vec::new();
        for _ in 0..d.key("anchor.blocks", 3)?.array("anchor.blocks", BLOCKS_MAX as u64)? {
            blocks.push(BlockPart::decode(&mut d)?);
        }
        let history =
            decode_hashes(d.key("anchor.history", 4)?, "anchor.history", SUBSET_PROOF_MAX_HASHES)?;
        let certificate = CommitCertificate::decode(d.key("anchor.certificate", 5)?)?;
        d.end("anchor")?;
        Ok(AnchorProof { genesis, changes, blocks, history, certificate })
    }
}

#[cfg(test)]
pub(crate) mod tests;
