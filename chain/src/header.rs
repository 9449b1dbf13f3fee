//! The header of a block: small, and by its hashes everything the block and all blocks before it
//! hold.

use crate::{CHAIN_VERSION, hash_in};
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::{Hash, PublicKey};

const CONTEXT: &str = "lucid 2026-11 block id v1";

/// What a block id is the hash of. The block of height 1 is the first; the genesis stands for
/// height 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The hash of the genesis, which names the chain.
    pub genesis: Hash,
    /// How many blocks there are up to this one.
    pub height: u64,
    /// When it was proposed, microseconds since 1970; always later than the block before.
    pub time_us: u64,
    /// The id of the block before, or the genesis hash.
    pub previous: Hash,
    /// The root of the tree over the genesis hash and the ids of all blocks before this one
    /// ([`crate::history`]).
    pub history_root: Hash,
    /// How many transactions it holds.
    pub transaction_count: u32,
    /// The root of the tree over the bytes of its transactions.
    pub transactions_root: Hash,
    /// The hash of the certificate of the block before, which this block carries.
    pub last_commit: Hash,
    /// The hash of the validators that sign this block.
    pub validators: Hash,
    /// The hash of the validators that sign the next block.
    pub next_validators: Hash,
    /// The hash of the ledger's state after this block.
    pub state: Hash,
    /// The node that proposed it.
    pub proposer: PublicKey,
}

impl Header {
    /// The block's id.
    pub fn id(&self) -> Hash {
        hash_in(CONTEXT, &self.to_bytes())
    }

    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.map(13).uint(0).uint(CHAIN_VERSION).uint(1).bytes(&self.genesis.0);
        e.uint(2).uint(self.height).uint(3).uint(self.time_us);
        e.uint(4).bytes(&self.previous.0).uint(5).bytes(&self.history_root.0);
        e.uint(6).uint(u64::from(self.transaction_count));
        e.uint(7).bytes(&self.transactions_root.0).uint(8).bytes(&self.last_commit.0);
        e.uint(9).bytes(&self.validators.0).uint(10).bytes(&self.next_validators.0);
        e.uint(11).bytes(&self.state.0).uint(12).bytes(self.proposer.as_bytes());
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.map("header", 13)?;
        d.version("header.version", CHAIN_VERSION)?;
        Ok(Header {
            genesis: d.key("header.genesis", 1)?.hash("header.genesis")?,
            height: d.key("header.height", 2)?.u64("header.height")?,
            time_us: d.key("header.time", 3)?.u64("header.time")?,
            previous: d.key("header.previous", 4)?.hash("header.previous")?,
            history_root: d.key("header.history_root", 5)?.hash("header.history_root")?,
            transaction_count: d
                .key("header.transaction_count", 6)?
                .u32("header.transaction_count")?,
            transactions_root: d
                .key("header.transactions_root", 7)?
                .hash("header.transactions_root")?,
            last_commit: d.key("header.last_commit", 8)?.hash("header.last_commit")?,
            validators: d.key("header.validators", 9)?.hash("header.validators")?,
            next_validators: d.key("header.next_validators", 10)?.hash("header.next_validators")?,
            state: d.key("header.state", 11)?.hash("header.state")?,
            proposer: d.key("header.proposer", 12)?.public_key("header.proposer")?,
        })
    }

    /// The deterministic encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        self.encode(&mut e);
        e.finish()
    }

    /// Reads [`Header::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let header = Self::decode(&mut d)?;
        d.end("header")?;
        Ok(header)
    }
}
