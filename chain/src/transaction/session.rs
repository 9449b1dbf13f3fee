//! The transactions of a session's life: opening, closing, tombstone. Checkpoints are
//! `lucid_evidence`'s own.

use super::{head, head_of, open_map, open_map_of};
use lucid_evidence::cbor::{CborError, Decoder};
use lucid_evidence::{Hash, PublicKey, SessionId};

/// Longest reason of a tombstone, in bytes.
pub const REASON_MAX_BYTES: usize = 256;

/// The version of an opening that names a policy.
const OPEN_WITH_POLICY_VERSION: u64 = 2;

/// Opens a session: uses its id up, names the key that signs its checkpoints, and the policy under
/// which it runs if there is one. Signed by the device key.
///
/// Without a policy it has version 1, as it always had; with one version 2 and one entry more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOpen {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The session.
    pub session: SessionId,
    /// The session's public key.
    pub session_key: PublicKey,
    /// The device that records, a node of the chain.
    pub device: PublicKey,
    /// When it began by the device's clock, microseconds since 1970.
    pub time_us: u64,
    /// The hash of the policy in force; the manifest has the same.
    pub policy: Option<Hash>,
}

impl SessionOpen {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut e = match &self.policy {
            None => open_map(6, &self.chain),
            Some(_) => open_map_of(OPEN_WITH_POLICY_VERSION, 7, &self.chain),
        };
        e.uint(2).bytes(self.session.as_bytes()).uint(3).bytes(self.session_key.as_bytes());
        e.uint(4).bytes(self.device.as_bytes()).uint(5).uint(self.time_us);
        if let Some(policy) = &self.policy {
            e.uint(6).bytes(&policy.0);
        }
        e.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let has_policy = d.map_up_to("session_open", 7)? == 7;
        // The number of entries is that of the version, whichever of the two stands there.
        let chain = match has_policy {
            true => head_of(&mut d, OPEN_WITH_POLICY_VERSION)?,
            false => {
                d = Decoder::new(bytes);
                head(&mut d, "session_open", 6)?
            }
        };
        let body = SessionOpen {
            chain,
            session: d.key("session_open.session", 2)?.session_id("session_open.session")?,
            session_key: d
                .key("session_open.session_key", 3)?
                .public_key("session_open.session_key")?,
            device: d.key("session_open.device", 4)?.public_key("session_open.device")?,
            time_us: d.key("session_open.time", 5)?.u64("session_open.time")?,
            policy: match has_policy {
                true => Some(d.key("session_open.policy", 6)?.hash("session_open.policy")?),
                false => None,
            },
        };
        d.end("session_open")?;
        Ok(body)
    }
}

/// Closes a session: no checkpoint comes after it. Signed by the device key, because the session's
/// secret is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionClose {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The session.
    pub session: SessionId,
    /// The device that opened it.
    pub device: PublicKey,
    /// The hash of the signed manifest's bytes.
    pub manifest: Hash,
    /// Leaves in the session's tree, one a chunk.
    pub tree_size: u64,
    /// The root over them.
    pub root: Hash,
    /// When it was closed by the device's clock, microseconds since 1970.
    pub time_us: u64,
    /// Checkpoints that the chain took of it. The nodes refuse another number, so that no anchor
    /// proof can leave out a checkpoint that contradicts the recording.
    pub checkpoints: u64,
}

impl SessionClose {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut e = open_map(9, &self.chain);
        e.uint(2).bytes(self.session.as_bytes()).uint(3).bytes(self.device.as_bytes());
        e.uint(4).bytes(&self.manifest.0).uint(5).uint(self.tree_size);
        e.uint(6).bytes(&self.root.0).uint(7).uint(self.time_us);
        e.uint(8).uint(self.checkpoints).finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let body = SessionClose {
            chain: head(&mut d, "session_close", 9)?,
            session: d.key("session_close.session", 2)?.session_id("session_close.session")?,
            device: d.key("session_close.device", 3)?.public_key("session_close.device")?,
            manifest: d.key("session_close.manifest", 4)?.hash("session_close.manifest")?,
            tree_size: d.key("session_close.tree_size", 5)?.u64("session_close.tree_size")?,
            root: d.key("session_close.root", 6)?.hash("session_close.root")?,
            time_us: d.key("session_close.time", 7)?.u64("session_close.time")?,
            checkpoints: d.key("session_close.checkpoints", 8)?.u64("session_close.checkpoints")?,
        };
        d.end("session_close")?;
        Ok(body)
    }
}

/// Says that a closed session's keys were destroyed; its anchor stays. Signed by the device key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The session.
    pub session: SessionId,
    /// The device that opened it.
    pub device: PublicKey,
    /// Why, in words, at most [`REASON_MAX_BYTES`] bytes.
    pub reason: String,
    /// When by the device's clock, microseconds since 1970.
    pub time_us: u64,
}

impl Tombstone {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut e = open_map(6, &self.chain);
        e.uint(2).bytes(self.session.as_bytes()).uint(3).bytes(self.device.as_bytes());
        e.uint(4).text(&self.reason).uint(5).uint(self.time_us).finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let body = Tombstone {
            chain: head(&mut d, "tombstone", 6)?,
            session: d.key("tombstone.session", 2)?.session_id("tombstone.session")?,
            device: d.key("tombstone.device", 3)?.public_key("tombstone.device")?,
            reason: d
                .key("tombstone.reason", 4)?
                .text("tombstone.reason", REASON_MAX_BYTES)?
                .to_owned(),
            time_us: d.key("tombstone.time", 5)?.u64("tombstone.time")?,
        };
        d.end("tombstone")?;
        Ok(body)
    }
}
