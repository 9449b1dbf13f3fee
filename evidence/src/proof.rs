//! `proof.cbor` and `keys.cbor`: what a bundle carries beside the manifest and the chunks.

use crate::cbor::{CborError, Decoder, Encoder};
use crate::manifest::{CHUNKS_MAX, HEIGHTS_MAX};
use crate::seal::ChunkKey;
use crate::{FORMAT_VERSION, Hash, SessionId};

/// Longest `proof.cbor`, bytes.
pub const PROOF_MAX_BYTES: u64 = 256 << 20;
/// Longest `keys.cbor`, bytes.
pub const KEYS_MAX_BYTES: u64 = 64 << 20;
/// Longest signed checkpoint, bytes.
pub const CHECKPOINT_MAX_BYTES: usize = 1024;

/// The proof of a bundle: all leaves, the checkpoints over them and their anchor on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The session.
    pub session: SessionId,
    /// The leaf hashes of all chunks, the withheld ones too.
    pub leaves: Vec<Hash>,
    /// The first chunk the bundle holds; 0 if it holds none.
    pub first_chunk: u64,
    /// How many chunks from there the bundle holds; the others are withheld.
    pub chunk_count: u64,
    /// Signed checkpoints, ascending by tree size.
    pub checkpoints: Vec<Vec<u8>>,
    /// The anchor, which the chain's verifier understands; none while nothing is anchored.
    pub anchor: Option<Vec<u8>>,
}

impl Proof {
    /// The deterministic encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(7).uint(0).uint(FORMAT_VERSION).uint(1).bytes(self.session.as_bytes());
        // One byte string in place of an array keeps a long session's proof at 32 bytes a chunk.
        let leaves: Vec<u8> = self.leaves.iter().flat_map(|leaf| leaf.0).collect();
        e.uint(2).bytes(&leaves);
        e.uint(3).uint(self.first_chunk).uint(4).uint(self.chunk_count);
        e.uint(5).array(self.checkpoints.len() as u64);
        for checkpoint in &self.checkpoints {
            e.bytes(checkpoint);
        }
        e.uint(6);
        match &self.anchor {
            Some(anchor) => e.bytes(anchor),
            None => e.null(),
        };
        e.finish()
    }

    /// Reads the deterministic encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("proof", 7)?;
        d.version("proof.version", FORMAT_VERSION)?;
        let session = d.key("proof.session", 1)?.session_id("proof.session")?;
        let limit = CHUNKS_MAX as usize * Hash::LEN;
        let leaves = d.key("proof.leaves", 2)?.bytes("proof.leaves", limit)?;
        if leaves.len() % Hash::LEN != 0 {
            return Err(d.value_error("proof.leaves", "not a whole number of hashes"));
        }
        let leaves: Vec<Hash> =
            leaves.as_chunks::<{ Hash::LEN }>().0.iter().copied().map(Hash).collect();
        let total = leaves.len() as u64;
        let first_chunk = d.key("proof.first_chunk", 3)?.u64_up_to("proof.first_chunk", total)?;
        let chunk_count =
            d.key("proof.chunk_count", 4)?.u64_up_to("proof.chunk_count", total - first_chunk)?;
        if chunk_count == 0 && first_chunk != 0 {
            return Err(d.value_error("proof.first_chunk", "not 0, and no chunk is held"));
        }
        let count = d.key("proof.checkpoints", 5)?.array("proof.checkpoints", HEIGHTS_MAX)?;
        let mut checkpoints = Vec::new();
        for _ in 0..count {
            checkpoints.push(d.bytes("proof.checkpoints", CHECKPOINT_MAX_BYTES)?.to_vec());
        }
        let anchor = d
            .key("proof.anchor", 6)?
            .optional("proof.anchor", |d| d.bytes("proof.anchor", PROOF_MAX_BYTES as usize))?
            .map(<[u8]>::to_vec);
        d.end("proof")?;
        Ok(Proof { session, leaves, first_chunk, chunk_count, checkpoints, anchor })
    }
}

/// The keys of disclosed chunks.
#[derive(Debug, Clone)]
pub struct DisclosedKeys {
    /// The session.
    pub session: SessionId,
    /// The chunk of the first key; the others follow in order.
    pub first_chunk: u64,
    /// The keys.
    pub keys: Vec<ChunkKey>,
}

impl DisclosedKeys {
    /// The deterministic encoding.
    pub fn encode(&self) -> Vec<u8> {
        let keys: Vec<u8> = self.keys.iter().flat_map(|key| *key.expose()).collect();
        Encoder::new()
            .map(4)
            .uint(0)
            .uint(FORMAT_VERSION)
            .uint(1)
            .bytes(self.session.as_bytes())
            .uint(2)
            .uint(self.first_chunk)
            .uint(3)
            .bytes(&keys)
            .finish()
    }

    /// Reads the deterministic encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("keys", 4)?;
        d.version("keys.version", FORMAT_VERSION)?;
        let session = d.key("keys.session", 1)?.session_id("keys.session")?;
        let first_chunk = d.key("keys.first_chunk", 2)?.u64("keys.first_chunk")?;
        let keys = d.key("keys.keys", 3)?.bytes("keys.keys", KEYS_MAX_BYTES as usize)?;
        let (keys, rest) = keys.as_chunks::<{ ChunkKey::LEN }>();
        if !rest.is_empty() {
            return Err(d.value_error("keys.keys", "not a whole number of keys"));
        }
        let keys = keys.iter().copied().map(ChunkKey::from_bytes).collect();
        d.end("keys")?;
        Ok(DisclosedKeys { session, first_chunk, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_proof_goes_both_ways(
            leaves in proptest::collection::vec(any::<[u8; 32]>(), 0..9),
            first in 0u64..9, count in 0u64..9,
            checkpoints in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
            anchor in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        ) {
            let leaves: Vec<Hash> = leaves.into_iter().map(Hash).collect();
            let first_chunk = first.min(leaves.len() as u64);
            let chunk_count = count.min(leaves.len() as u64 - first_chunk);
            let first_chunk = if chunk_count == 0 { 0 } else { first_chunk };
            let session = SessionId::new(1, [2; 10]);
            let proof = Proof { session, leaves, first_chunk, chunk_count, checkpoints, anchor };
            prop_assert_eq!(Proof::decode(&proof.encode()).unwrap(), proof);
        }

        #[test]
        fn any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Proof::decode(&data);
            let _ = DisclosedKeys::decode(&data);
        }
    }

    #[test]
    fn chunks_beyond_the_leaves_are_refused() {
        let proof = Proof {
            session: SessionId::new(1, [2; 10]),
            leaves: vec![Hash([0; 32]); 3],
            first_chunk: 2,
            chunk_count: 2,
            checkpoints: vec![],
            anchor: None,
        };
        assert_eq!(Proof::decode(&proof.encode()).unwrap_err().field, "proof.chunk_count");
        let none = Proof { chunk_count: 0, ..proof };
        assert_eq!(Proof::decode(&none.encode()).unwrap_err().field, "proof.first_chunk");
    }
}
