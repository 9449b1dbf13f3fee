//! The history tree: every header commits to all blocks before it, so one certified header proves
//! any older one.
//!
//! The tree is RFC 6962's. Leaf 0 is the genesis hash, leaf `h` the id of the block at height `h`;
//! the header at height `H` carries the root over the `H` leaves before it. [`Frontier`] grows such
//! a tree in logarithmic memory. A subset proof shows several leaves at once and shares what their
//! paths have in common: the nodes that the verifier cannot compute, in the order in which a walk
//! from the root, left before right, meets them.

use lucid_evidence::Hash;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::tree::{Blake3, Nodes, TreeHasher, leaf_hash, node_hash};

/// Most hashes a subset proof may have; a proof of 65,536 far apart leaves stays below.
pub const SUBSET_PROOF_MAX_HASHES: usize = 1 << 21;

/// The leaf of a block id or of the genesis hash.
pub fn history_leaf(id: &Hash) -> Hash {
    leaf_hash(&id.0)
}

/// The right edge of a growing tree: the roots of its perfect subtrees, largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash. `complete` is told of every perfect subtree this finishes: its level,
    /// index and root.
    pub fn push(&mut self, leaf: Hash, mut complete: impl FnMut(u32, u64, Hash)) {
        let mut hash = leaf;
        let mut level = 0;
        let mut index = self.size;
        complete(level, index, hash);
        while index & 1 == 1 {
            // An odd index means that the subtree to the left is complete and stands last.
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            index >>= 1;
            complete(level, index, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Blake3::empty(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.array(2).uint(self.size).array(self.peaks.len() as u64);
        for peak in &self.peaks {
            e.bytes(&peak.0);
        }
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.array_of("frontier", 2)?;
        let size = d.u64_up_to("frontier.size", 1 << 62)?;
        d.array_of("frontier.peaks", u64::from(size.count_ones()))?;
        let peaks = (0..size.count_ones())
            .map(|_| d.hash("frontier.peak"))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Frontier { size, peaks })
    }
}

/// The largest power of two smaller than `size`, for `size` of two or more.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Why a subset proof cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubsetError {
    /// The leaves are not ascending or beyond the tree.
    #[error("leaf {index} is not in ascending order or not in the tree of {size} leaves")]
    Leaf {
        /// The leaf.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The tree's own nodes are not there.
    #[error("the subtree over leaves {start} to {end} is not known")]
    Missing {
        /// First leaf.
        start: u64,
        /// One after the last leaf.
        end: u64,
    },
}

fn check_leaves(leaves: impl Iterator<Item = u64>, size: u64) -> Result<(), SubsetError> {
    let mut last = None;
    for index in leaves {
        if index >= size || last.is_some_and(|last| last >= index) {
            return Err(SubsetError::Leaf { index, size });
        }
        last = Some(index);
    }
    Ok(())
}

/// The root over leaves `start..end`, `start` being a multiple of the power of two at or above the
/// length.
fn range_root(nodes: &impl Nodes, start: u64, end: u64) -> Result<Hash, SubsetError> {
    let size = end - start;
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return nodes.node(level, start >> level).ok_or(SubsetError::Missing { start, end });
    }
    let middle = start + split(size);
    Ok(node_hash(&range_root(nodes, start, middle)?, &range_root(nodes, middle, end)?))
}

/// The subset proof of `leaves` (ascending) in the tree of the first `size` leaves.
pub fn prove_subset(
    nodes: &impl Nodes,
    leaves: &[u64],
    size: u64,
) -> Result<Vec<Hash>, SubsetError> {
    check_leaves(leaves.iter().copied(), size)?;
    let mut proof = Vec::new();
    if size > 0 {
        collect(nodes, leaves, 0, size, &mut proof)?;
    }
    Ok(proof)
}

fn collect(
    nodes: &impl Nodes,
    leaves: &[u64],
    start: u64,
    end: u64,
    proof: &mut Vec<Hash>,
) -> Result<(), SubsetError> {
    if leaves.is_empty() {
        proof.push(range_root(nodes, start, end)?);
        return Ok(());
    }
    if end - start == 1 {
        return Ok(());
    }
    let middle = start + split(end - start);
    let (left, right) = leaves.split_at(leaves.partition_point(|leaf| *leaf < middle));
    collect(nodes, left, start, middle, proof)?;
    collect(nodes, right, middle, end, proof)
}

/// Checks that the leaves with these numbers (ascending) and hashes are in the tree with `size`
/// leaves and `root`, and that the proof holds nothing else.
pub fn verify_subset(leaves: &[(u64, Hash)], size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if check_leaves(leaves.iter().map(|(index, _)| *index), size).is_err() {
        return false;
    }
    if size == 0 {
        return proof.is_empty() && *root == Blake3::empty();
    }
    let mut proof = proof.iter();
    let found = rebuild(leaves, 0, size, &mut proof);
    found == Some(*root) && proof.next().is_none()
}

fn rebuild(
    leaves: &[(u64, Hash)],
    start: u64,
    end: u64,
    proof: &mut std::slice::Iter<'_, Hash>,
) -> Option<Hash> {
    let Some((_, leaf)) = leaves.first() else { return proof.next().copied() };
    if end - start == 1 {
        return Some(*leaf);
    }
    let middle = start + split(end - start);
    let (left, right) = leaves.split_at(leaves.partition_point(|(leaf, _)| *leaf < middle));
    let left = rebuild(left, start, middle, proof)?;
    let right = rebuild(right, middle, end, proof)?;
    Some(node_hash(&left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lucid_evidence::tree::Tree;
    use proptest::prelude::*;

    fn leaf(index: u64) -> Hash {
        leaf_hash(&index.to_be_bytes())
    }

    #[test]
    fn the_frontier_has_the_root_of_the_whole_tree_at_every_size() {
        let (mut frontier, mut tree) = (Frontier::new(), Tree::<Blake3>::new());
        assert_eq!(frontier.root(), tree.root());
        for index in 0..200 {
            frontier.push(leaf(index), |level, at, root| {
                let start = at << level;
                let part = Tree::<Blake3>::from_leaves((start..start + (1 << level)).map(leaf));
                assert_eq!(part.root(), root);
            });
            tree.push(leaf(index));
            assert_eq!(frontier.root(), tree.root());
            let mut e = Encoder::new();
            frontier.encode(&mut e);
            let bytes = e.finish();
            assert_eq!(Frontier::decode(&mut Decoder::new(&bytes)), Ok(frontier.clone()));
        }
    }

    proptest! {
        #[test]
        fn subsets_are_proved_and_nothing_else_is(
            size in 1u64..150,
            picks in proptest::collection::btree_set(0u64..150, 0..20),
            flip in any::<proptest::sample::Index>(),
        ) {
            let tree = Tree::<Blake3>::from_leaves((0..size).map(leaf));
            let picks: Vec<u64> = picks.into_iter().filter(|pick| *pick < size).collect();
            let proof = prove_subset(&tree, &picks, size).unwrap();
            let leaves: Vec<_> = picks.iter().map(|pick| (*pick, leaf(*pick))).collect();
            prop_assert!(verify_subset(&leaves, size, &tree.root(), &proof));
            if picks.len() == 1 {
                prop_assert_eq!(proof.len(), tree.inclusion(picks[0], size).unwrap().len());
            }
            let mut longer = proof.clone();
            longer.push(leaf(0));
            prop_assert!(!verify_subset(&leaves, size, &tree.root(), &longer));
            if !proof.is_empty() {
                let mut changed = proof.clone();
                changed[flip.index(proof.len())].0[0] ^= 1;
                prop_assert!(!verify_subset(&leaves, size, &tree.root(), &changed));
                prop_assert!(!verify_subset(&leaves, size, &tree.root(), &proof[1..]));
            }
            if !leaves.is_empty() {
                let mut changed = leaves.clone();
                changed[flip.index(leaves.len())].1.0[31] ^= 1;
                prop_assert!(!verify_subset(&changed, size, &tree.root(), &proof));
                changed = leaves.clone();
                changed.push(leaves[0]);
                prop_assert!(!verify_subset(&changed, size, &tree.root(), &proof));
            }
        }
    }

    #[test]
    fn leaves_beyond_the_tree_are_refused() {
        let tree = Tree::<Blake3>::from_leaves((0..4).map(leaf));
        let error = SubsetError::Leaf { index: 4, size: 4 };
        assert_eq!(prove_subset(&tree, &[4], 4), Err(error));
        assert!(!verify_subset(&[(4, leaf(4))], 4, &tree.root(), &[]));
        assert!(!verify_subset(&[(u64::MAX, leaf(4))], u64::MAX, &tree.root(), &[]));
        assert_eq!(prove_subset(&tree, &[0], 9), Err(SubsetError::Missing { start: 4, end: 8 }));
    }
}
