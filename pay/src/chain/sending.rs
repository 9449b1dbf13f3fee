//! Sending one transaction of any kind, exactly once: build it on a final block, keep the signed
//! bytes, send only these, and say what became of them. Payouts have their own, journalled way.

use crate::client::Nodes;
use crate::client::answers::Executed;
use crate::node::{Answer, Block, NodeError, TronNode};
use crate::payout::types::TxId;
use crate::tron::transaction::{Frame, RefBlock, TransactionError, Unsigned};
use crate::tron::{Sun, hex};
use serde::{Deserialize, Serialize};

/// How long a transaction may wait for a block, in milliseconds.
pub const LIFETIME_MS: u64 = 600_000;
/// How long one that several parties sign may wait, in milliseconds; the network takes 24 h.
pub const LIFETIME_SEVERAL_MS: u64 = 23 * 3_600_000;
/// How far beyond the expiry a final block must lie before it counts as dead, in milliseconds.
pub const MARGIN_MS: u64 = 30_000;

/// Why nothing was sent, or nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No node answers.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// It cannot be built.
    #[error("the transaction cannot be built")]
    Build(#[from] TransactionError),
    /// A node refuses it now. An earlier try may have been taken all the same.
    #[error("the node refuses it: {0}")]
    Refused(String),
    /// The kept bytes are not what was kept.
    #[error("the kept transaction is damaged: its {0} is wrong")]
    Damaged(&'static str),
}

/// A signed transaction and what is needed to tell its end. Keep it durably (it is JSON) before the
/// first [`Sending::broadcast`], and go on with the same one after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sending {
    txid: String,
    signed: String,
    /// End of its life, in milliseconds since 1970.
    pub expiration_ms: u64,
    /// Height of its reference block.
    pub reference: u64,
    reference_id: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// No block holds it; send it again.
    Waiting,
    /// A block holds it that may still be replaced.
    Seen {
        /// The block.
        block: u64,
    },
    /// Final, and it did what it says.
    Confirmed(Executed),
    /// Final, and it did not.
    Failed(Executed),
    /// It can never be included any more.
    Expired {
        /// The final block that proves it.
        block: u64,
    },
}

/// What surrounds a contract: a final block to refer to, which is given as well, and times.
/// `last_timestamp_ms` is the timestamp of the account's last
/// one: equal transactions of one millisecond would be one transaction.
///
/// # Errors
/// When no node answers.
pub async fn frame(
    nodes: &Nodes,
    now_ms: u64,
    last_timestamp_ms: u64,
    fee_limit: Sun,
    permission_id: i32,
) -> Result<(Frame, Block), SendError> {
    let solid = nodes.read(|node| async move { node.solid().await }).await?;
    let head = nodes.read(|node| async move { node.head().await }).await?;
    let several = permission_id != 0;
    let lifetime = if several { LIFETIME_SEVERAL_MS } else { LIFETIME_MS };
    let wire = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let frame = Frame {
        block: RefBlock::of(&solid.id),
        timestamp: wire(now_ms.max(last_timestamp_ms.saturating_add(1))),
        expiration: wire(head.time.saturating_add(lifetime)),
        fee_limit: fee_limit.wire(),
        memo: Vec::new(),
        permission_id,
    };
    Ok((frame, solid))
}

impl Sending {
    /// A transaction signed by these, over the reference block [`frame`] gave.
    pub fn new(unsigned: &Unsigned, signatures: Vec<Vec<u8>>, reference: Block) -> Self {
        Self {
            txid: hex::encode(&unsigned.txid),
            signed: hex::encode(&unsigned.signed(signatures)),
            expiration_ms: u64::try_from(unsigned.raw.expiration).unwrap_or(0),
            reference: reference.number,
            reference_id: hex::encode(&reference.id),
        }
    }

    /// Its id.
    ///
    /// # Errors
    /// When the kept text is no id.
    pub fn txid(&self) -> Result<TxId, SendError> {
        hash(&self.txid, "id").map(TxId)
    }

    /// Sends the kept bytes to every node. Whatever is answered, it counts as possibly taken.
    ///
    /// # Errors
    /// When every node refuses it or none answers.
    pub async fn broadcast(&self, nodes: &Nodes) -> Result<(), SendError> {
        let signed = hex::decode(&self.signed).map_err(|_| SendError::Damaged("bytes"))?;
        let mut last = SendError::Node(NodeError::Unreachable("no node is configured".into()));
        let mut taken = false;
        for node in nodes.all() {
            match node.broadcast(&signed).await {
                Ok(Answer::Accepted | Answer::Duplicate) => taken = true,
                Ok(Answer::Refused(why) | Answer::Unclear(why)) => last = SendError::Refused(why),
                Err(error) => last = error.into(),
            }
        }
        if taken { Ok(()) } else { Err(last) }
    }

    /// Where it stands. A final receipt settles it; it is dead only when a final block lies beyond
    /// its expiry, the node asked has its reference block, and then still has no receipt.
    ///
    /// # Errors
    /// When no node answers; then nothing is known.
    pub async fn progress(&self, nodes: &Nodes) -> Result<Progress, SendError> {
        let txid = self.txid()?;
        let reference_id = hash(&self.reference_id, "reference block")?;
        let reference = self.reference;
        let look = move |node: crate::client::HttpNode| async move {
            let solid = node.solid().await?;
            let known = node.solid_id(reference).await? == Some(reference_id);
            let executed = node.executed(txid, true).await?;
            Ok((solid, known, executed))
        };
        // All of it is one node's word, in this order.
        let (solid, known, executed) = nodes.read(look).await?;
        if let Some(executed) = executed {
            return Ok(match executed.worked {
                true => Progress::Confirmed(executed),
                false => Progress::Failed(executed),
            });
        }
        if known && solid.time >= self.expiration_ms.saturating_add(MARGIN_MS) {
            return Ok(Progress::Expired { block: solid.number });
        }
        let seen = nodes.read(move |node| async move { node.sighted(txid).await }).await?;
        Ok(seen.map_or(Progress::Waiting, |block| Progress::Seen { block }))
    }
}

fn hash(text: &str, what: &'static str) -> Result<[u8; 32], SendError> {
    let bytes = hex::decode(text).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(SendError::Damaged(what))
}
