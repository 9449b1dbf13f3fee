//! Makes anchor proofs from a chain that is at hand.

use super::{AnchorProof, BlockPart, SetChange};
use crate::block::transaction_tree;
use crate::certificate::CommitCertificate;
use crate::genesis::Genesis;
use crate::header::Header;
use crate::history::{SubsetError, prove_subset};
use crate::transaction::Transaction;
use crate::validators::ValidatorSet;
use lucid_evidence::tree::Nodes;
use std::collections::BTreeSet;

/// A chain to read from; as [`Nodes`] it gives the perfect subtrees of its history tree.
pub trait ChainSource: Nodes {
    /// Why reading fails.
    type Error: std::error::Error;
    /// The header at `height`.
    fn header(&self, height: u64) -> Result<Header, Self::Error>;
    /// The certificate of the block at `height`.
    fn certificate(&self, height: u64) -> Result<CommitCertificate, Self::Error>;
    /// The transactions of the block at `height`.
    fn transactions(&self, height: u64) -> Result<Vec<Transaction>, Self::Error>;
    /// The blocks below `head` that changed the validators, ascending, each with those that sign
    /// after it.
    fn set_changes(&self, head: u64) -> Result<Vec<(u64, ValidatorSet)>, Self::Error>;
}

/// Why no proof can be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E: std::error::Error> {
    /// The chain cannot be read.
    #[error("reading the chain: {0}")]
    Source(#[source] E),
    /// Nothing to prove was named.
    #[error("no transaction to prove")]
    Nothing,
    /// A transaction was named that is not there.
    #[error("block {height} has no transaction {index}")]
    NoTransaction {
        /// The height of the block.
        height: u64,
        /// The place in it.
        index: u32,
    },
    /// A block beyond the head was named.
    #[error("block {height} is after the head {head} of the proof")]
    AfterHead {
        /// The height of the block.
        height: u64,
        /// The height of the head.
        head: u64,
    },
    /// A tree has no such leaf or not all its nodes.
    #[error(transparent)]
    Tree(#[from] SubsetError),
}

/// Proves the transactions at `places` (height and place in the block) by the certified block at
/// `head`.
pub fn prove<S: ChainSource>(
    genesis: &Genesis,
    source: &S,
    places: &BTreeSet<(u64, u32)>,
    head: u64,
) -> Result<AnchorProof, ProveError<S::Error>> {
    let last = places.last().ok_or(ProveError::Nothing)?.0;
    if last > head {
        return Err(ProveError::AfterHead { height: last, head });
    }
    let mut heights: BTreeSet<u64> = places.iter().map(|(height, _)| *height).collect();
    heights.insert(head);
    let mut blocks = Vec::with_capacity(heights.len());
    for height in &heights {
        blocks.push(block_part(source, places, *height)?);
    }
    let changes = changes(genesis, source, head)?;
    heights.remove(&head);
    heights.extend(changes.iter().map(|change| change.header.height));
    let leaves: Vec<u64> = heights.into_iter().collect();
    let history = prove_subset(source, &leaves, head)?;
    let certificate = source.certificate(head).map_err(ProveError::Source)?;
    Ok(AnchorProof { genesis: genesis.clone(), changes, blocks, history, certificate })
}

fn block_part<S: ChainSource>(
    source: &S,
    places: &BTreeSet<(u64, u32)>,
    height: u64,
) -> Result<BlockPart, ProveError<S::Error>> {
    let header = source.header(height).map_err(ProveError::Source)?;
    let wanted: Vec<u32> =
        places.range((height, 0)..=(height, u32::MAX)).map(|(_, index)| *index).collect();
    if wanted.is_empty() {
        return Ok(BlockPart { header, transactions: Vec::new(), path: Vec::new() });
    }
    let all = source.transactions(height).map_err(ProveError::Source)?;
    let tree = transaction_tree(&all);
    let mut transactions = Vec::with_capacity(wanted.len());
    for index in wanted {
        let transaction =
            all.get(index as usize).ok_or(ProveError::NoTransaction { height, index })?;
        transactions.push((index, transaction.clone()));
    }
    let leaves: Vec<u64> = transactions.iter().map(|(index, _)| u64::from(*index)).collect();
    let path = prove_subset(&tree, &leaves, tree.size())?;
    Ok(BlockPart { header, transactions, path })
}

/// The changes of the validators that a verifier must see: from each trusted set the furthest
/// change that more than two thirds of it signed.
fn changes<S: ChainSource>(
    genesis: &Genesis,
    source: &S,
    head: u64,
) -> Result<Vec<SetChange>, ProveError<S::Error>> {
    let all = source.set_changes(head).map_err(ProveError::Source)?;
    let mut trusted = genesis.validators.clone();
    let mut signers_before = genesis.validators.clone();
    let mut candidates = Vec::with_capacity(all.len());
    for (height, next) in all {
        let signers = std::mem::replace(&mut signers_before, next.clone());
        candidates.push((height, signers, next));
    }
    let mut changes = Vec::new();
    let mut from = 0;
    while from < candidates.len() {
        for at in (from..candidates.len()).rev() {
            let (height, signers, next) = &candidates[at];
            let certificate = source.certificate(*height).map_err(ProveError::Source)?;
            let vouching = certificate
                .signatures
                .iter()
                .filter_map(|(index, _)| signers.key(*index))
                .filter(|key| trusted.index_of(key).is_some())
                .count();
            if vouching < trusted.quorum() && at > from {
                continue;
            }
            let header = source.header(*height).map_err(ProveError::Source)?;
            let (signers, next) = (signers.clone(), next.clone());
            trusted = next.clone();
            changes.push(SetChange { header, certificate, signers, next });
            from = at + 1;
            break;
        }
    }
    Ok(changes)
}
