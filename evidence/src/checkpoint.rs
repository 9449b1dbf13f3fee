//! Checkpoints: the session key's signed word on how large the tree is and what its root is.

use crate::cbor::{CborError, Decoder, Encoder};
use crate::cose::{self, CoseError};
use crate::{FORMAT_VERSION, Hash, PublicKey, SessionId, SigningKey};

/// The COSE content type of a checkpoint.
pub const CONTENT_TYPE: &str = "application/vnd.lucid.checkpoint+cbor";

/// How far a session's tree has grown at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The session.
    pub session: SessionId,
    /// Leaves in the tree, one a chunk.
    pub tree_size: u64,
    /// The root over those leaves.
    pub root: Hash,
    /// When it was made, microseconds since 1970 by the device's clock.
    pub time_us: u64,
}

impl Checkpoint {
    /// The deterministic encoding, which is what is signed.
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new()
            .map(5)
            .uint(0)
            .uint(FORMAT_VERSION)
            .uint(1)
            .bytes(self.session.as_bytes())
            .uint(2)
            .uint(self.tree_size)
            .uint(3)
            .bytes(self.root.as_bytes())
            .uint(4)
            .uint(self.time_us)
            .finish()
    }

    /// Reads the deterministic encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("checkpoint", 5)?;
        d.version("checkpoint.version", FORMAT_VERSION)?;
        let checkpoint = Checkpoint {
            session: d.key("checkpoint.session", 1)?.session_id("checkpoint.session")?,
            tree_size: d.key("checkpoint.tree_size", 2)?.u64("checkpoint.tree_size")?,
            root: d.key("checkpoint.root", 3)?.hash("checkpoint.root")?,
            time_us: d.key("checkpoint.time", 4)?.u64("checkpoint.time")?,
        };
        d.end("checkpoint")?;
        Ok(checkpoint)
    }

    /// Signs it with the session key.
    pub fn sign(self, key: &SigningKey) -> SignedCheckpoint {
        let bytes = cose::sign1(key, CONTENT_TYPE, &self.encode());
        SignedCheckpoint { checkpoint: self, bytes }
    }
}

/// A checkpoint with the signed bytes it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    bytes: Vec<u8>,
}

/// Why a signed checkpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The envelope or its signature.
    #[error(transparent)]
    Cose(#[from] CoseError),
    /// What was signed is no checkpoint.
    #[error(transparent)]
    Content(#[from] CborError),
}

impl SignedCheckpoint {
    /// Reads and verifies COSE bytes against the session's public key.
    pub fn verify(bytes: &[u8], key: &PublicKey) -> Result<Self, CheckpointError> {
        let payload = cose::verify1(key, CONTENT_TYPE, bytes)?;
        Ok(SignedCheckpoint { checkpoint: Checkpoint::decode(payload)?, bytes: bytes.to_vec() })
    }

    /// What was signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The COSE_Sign1 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_and_belongs_to_its_key() {
        let key = SigningKey::from_seed(&[9; 32]);
        let checkpoint = Checkpoint {
            session: SessionId::new(1_793_000_000_000, [1; 10]),
            tree_size: 3,
            root: Hash::of(b"root"),
            time_us: 1_793_000_000_000_000,
        };
        let signed = checkpoint.sign(&key);
        assert_eq!(SignedCheckpoint::verify(signed.as_bytes(), &key.public()), Ok(signed.clone()));
        assert_eq!(*signed.checkpoint(), checkpoint);
        let other = SigningKey::from_seed(&[8; 32]).public();
        assert!(SignedCheckpoint::verify(signed.as_bytes(), &other).is_err());
    }

    #[test]
    fn an_unknown_version_is_named() {
        let checkpoint = Checkpoint {
            session: SessionId::new(1, [1; 10]),
            tree_size: 0,
            root: Hash([0; 32]),
            time_us: 0,
        };
        let mut bytes = checkpoint.encode();
        bytes[2] = 2;
        let error = Checkpoint::decode(&bytes).unwrap_err().to_string();
        assert_eq!(
            error,
            "checkpoint.version at byte 2: version 2 is unknown, this program knows version 1"
        );
    }
}
