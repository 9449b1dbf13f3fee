//! How far this chain had come, noted outside its database: nothing below it is ever made anew.
//!
//! The note is written when a block is durable, before anybody hears of the block and before the
//! next one is signed. So a database is never behind its note unless it lost blocks, and at most
//! the one block is ahead of it that was being committed when the process was cut off.
//!
//! A note is a CBOR array: version 1, genesis hash, height, id of the block at that height.

use crate::core::recover;
use crate::error::NodeError;
use crate::node::KEEP_EMPTY_BLOCKS_MIN;
use crate::persist::ChainStore;
use lucid_evidence::Hash;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_store::{Store, StoreError};
use std::sync::Arc;

const VERSION: u64 = 1;

/// A block that was final on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub chain: Hash,
    pub height: u64,
    pub id: Hash,
}

impl Mark {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        Encoder::new()
            .array(4)
            .uint(VERSION)
            .bytes(&self.chain.0)
            .uint(self.height)
            .bytes(&self.id.0)
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Option<Self>, CborError> {
        let mut d = Decoder::new(bytes);
        d.array_of("watermark", 4)?;
        if d.u64("watermark.version")? != VERSION {
            return Ok(None);
        }
        let (chain, height) = (d.hash("watermark.chain")?, d.u64("watermark.height")?);
        let id = d.hash("watermark.id")?;
        d.end("watermark")?;
        Ok(Some(Mark { chain, height, id }))
    }
}

/// Whether a chain database holds the block that a note of [`Store::mark`] names, and a node can go
/// on from there. For [`lucid_store::Options::chain_check`].
///
/// # Errors
/// [`StoreError::Lost`] says what is missing; other errors are the machine's.
pub fn holds_mark(store: Arc<dyn Store>, note: &[u8]) -> Result<(), StoreError> {
    let mark = match Mark::from_bytes(note) {
        Ok(Some(mark)) => mark,
        // Of a newer version, which was given up again. It is written anew with the next block.
        Ok(None) | Err(_) => {
            tracing::warn!(
                "the note of the last block cannot be read; the chain is taken as it is"
            );
            return Ok(());
        }
    };
    match missing(store, &mark) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => {
            let Mark { height, id, .. } = mark;
            let what = format!("block {height} was final with id {id}, {what}");
            Err(StoreError::Lost { database: "chain".into(), what })
        }
        Err(NodeError::Store(error)) if !error.is_damage() => Err(error),
        Err(error) => {
            let Mark { height, id, .. } = mark;
            let what = format!("block {height} was final with id {id}; now: {error}");
            Err(StoreError::Lost { database: "chain".into(), what })
        }
    }
}

/// What of the marked chain is not there.
fn missing(store: Arc<dyn Store>, mark: &Mark) -> Result<Option<String>, NodeError> {
    let store = ChainStore { keep_empty: KEEP_EMPTY_BLOCKS_MIN, ..ChainStore::new(store) };
    let Some(genesis) = store.genesis()? else {
        return Ok(Some("and there is no chain".into()));
    };
    if genesis.hash() != mark.chain {
        let what = format!("of chain {}, and this is chain {}", mark.chain, genesis.hash());
        return Ok(Some(what));
    }
    let recovered = recover(&store, &genesis)?;
    let Some(head) = recovered.head.filter(|head| head.height >= mark.height) else {
        return Ok(Some(format!("and the last block is {}", recovered.ledger.height())));
    };
    let found = match head.height == mark.height {
        true => head.id,
        false => store.seen_below(head.height + 1).id(mark.height)?,
    };
    Ok((found != mark.id).then(|| format!("and another stands in its place, {found}")))
}
