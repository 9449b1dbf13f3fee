//! The append-only Merkle tree of RFC 6962 section 2.1, with BLAKE3 in place of SHA-256.
//!
//! A leaf is `BLAKE3(0x00 ‖ data)` and a node `BLAKE3(0x01 ‖ left ‖ right)`, so that no leaf passes
//! for a node. The proofs and their verification are those of RFC 9162 sections 2.1.3 and 2.1.4.
//! Proofs are drawn from the perfect subtrees alone ([`Nodes`]), so that a log too long for memory
//! can keep those in a database.

use crate::Hash;

/// Longest proof there can be: a tree has at most 2^63 leaves.
pub const PROOF_MAX_HASHES: usize = 64;

/// How leaves and nodes are hashed. The format knows [`Blake3`] alone; the shape is tested with the
/// SHA-256 of the RFC's own vectors.
pub trait TreeHasher {
    /// The root of a tree without leaves.
    fn empty() -> Hash;
    /// The hash of a leaf's data.
    fn leaf(data: &[u8]) -> Hash;
    /// The hash of two subtrees.
    fn node(left: &Hash, right: &Hash) -> Hash;
}

/// The hashing of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blake3;

impl TreeHasher for Blake3 {
    fn empty() -> Hash {
        Hash::of(&[])
    }

    fn leaf(data: &[u8]) -> Hash {
        Hash::of_parts(&[&[0x00], data])
    }

    fn node(left: &Hash, right: &Hash) -> Hash {
        Hash::of_parts(&[&[0x01], &left.0, &right.0])
    }
}

/// The hash of a leaf's data.
pub fn leaf_hash(data: &[u8]) -> Hash {
    Blake3::leaf(data)
}

/// The hash of two subtrees.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Blake3::node(left, right)
}

/// Where the roots of perfect subtrees come from: level 0 holds the leaf hashes, and entry `index`
/// of level `l` covers the leaves from `index << l` to `(index + 1) << l`.
pub trait Nodes {
    /// The root of that subtree, or none if it is not complete.
    fn node(&self, level: u32, index: u64) -> Option<Hash>;
}

/// Asked for a proof about leaves that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no proof from {from} to {to}: the range is empty or beyond the leaves there are")]
pub struct RangeError {
    /// The leaf, or the smaller tree's size.
    pub from: u64,
    /// The tree's size.
    pub to: u64,
}

/// The largest power of two smaller than `size`, for `size` of two or more.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// The root over the leaves from `start` to `end`, where `start` is a multiple of the enclosing
/// power of two.
fn range_root<H: TreeHasher>(nodes: &impl Nodes, start: u64, end: u64) -> Option<Hash> {
    let size = end.checked_sub(start)?;
    if size == 0 {
        return Some(H::empty());
    }
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return nodes.node(level, start >> level);
    }
    let middle = start + split(size);
    Some(H::node(&range_root::<H>(nodes, start, middle)?, &range_root::<H>(nodes, middle, end)?))
}

/// The root over the first `size` leaves.
pub fn root_at<H: TreeHasher>(nodes: &impl Nodes, size: u64) -> Result<Hash, RangeError> {
    range_root::<H>(nodes, 0, size).ok_or(RangeError { from: 0, to: size })
}

/// The inclusion proof of leaf `index` in the tree of the first `size` leaves: the hashes from the
/// leaf's sibling up.
pub fn inclusion_proof<H: TreeHasher>(
    nodes: &impl Nodes,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, RangeError> {
    let error = RangeError { from: index, to: size };
    if index >= size {
        return Err(error);
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if index < middle {
            let sibling = range_root::<H>(nodes, middle, end);
            end = middle;
            sibling
        } else {
            let sibling = range_root::<H>(nodes, start, middle);
            start = middle;
            sibling
        };
        proof.push(sibling.ok_or(error)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of the first `old` leaves is a prefix of the tree of the first `new`
/// leaves.
pub fn consistency_proof<H: TreeHasher>(
    nodes: &impl Nodes,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, RangeError> {
    let error = RangeError { from: old, to: new };
    if old == 0 || old > new {
        return Err(error);
    }
    let (mut start, mut end) = (0, new);
    let mut whole = true;
    let mut proof = Vec::new();
    // SUBPROOF of RFC 9162 section 2.1.4.1, walked from the root down.
    while end != old {
        let middle = start + split(end - start);
        let sibling = if old <= middle {
            let sibling = range_root::<H>(nodes, middle, end);
            end = middle;
            sibling
        } else {
            let sibling = range_root::<H>(nodes, start, middle);
            start = middle;
            whole = false;
            sibling
        };
        proof.push(sibling.ok_or(error)?);
    }
    if !whole {
        proof.push(range_root::<H>(nodes, start, end).ok_or(error)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is leaf number `index` of the tree with `size` leaves and `root` (RFC 9162
/// section 2.1.3.2).
pub fn verify_inclusion<H: TreeHasher>(
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> bool {
    if index >= size || proof.len() > PROOF_MAX_HASHES {
        return false;
    }
    let (mut position, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if position & 1 == 1 || position == last {
            hash = H::node(sibling, &hash);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = H::node(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Checks that the tree with `old` leaves and `old_root` is a prefix of the one with `new` leaves
/// and `new_root` (RFC 9162 section 2.1.4.2). A tree is consistent with itself by the empty proof,
/// and any tree with the empty one.
pub fn verify_consistency<H: TreeHasher>(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old > new || proof.len() > PROOF_MAX_HASHES + 1 {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == H::empty();
    }
    let mut hashes = proof.iter().copied();
    let first = if old.is_power_of_two() { Some(*old_root) } else { hashes.next() };
    let Some(first) = first else { return false };
    let (mut position, mut last) = (old - 1, new - 1);
    while position & 1 == 1 {
        position >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return false;
        }
        if position & 1 == 1 || position == last {
            old_hash = H::node(&sibling, &old_hash);
            new_hash = H::node(&sibling, &new_hash);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = H::node(&new_hash, &sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// A tree held in memory, all levels: 64 bytes a leaf.
#[derive(Debug, Clone)]
pub struct Tree<H = Blake3> {
    levels: Vec<Vec<Hash>>,
    hasher: std::marker::PhantomData<H>,
}

impl<H> Default for Tree<H> {
    fn default() -> Self {
        Tree { levels: vec![Vec::new()], hasher: std::marker::PhantomData }
    }
}

impl<H: TreeHasher> Tree<H> {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of these leaf hashes.
    pub fn from_leaves(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = Self::new();
        for leaf in leaves {
            tree.push(leaf);
        }
        tree
    }

    /// Appends a leaf hash and returns its index.
    pub fn push(&mut self, leaf: Hash) -> u64 {
        let mut hash = leaf;
        let mut level = 0;
        loop {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(hash);
            let len = self.levels[level].len();
            if len % 2 == 1 {
                return self.size() - 1;
            }
            hash = H::node(&self.levels[level][len - 2], &self.levels[level][len - 1]);
            level += 1;
        }
    }

    /// Leaves in the tree.
    pub fn size(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// The leaf hashes in order.
    pub fn leaves(&self) -> &[Hash] {
        &self.levels[0]
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        // All complete subtrees of the tree's own leaves are there.
        range_root::<H>(self, 0, self.size()).unwrap_or_else(H::empty)
    }

    /// The root over the first `size` leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash, RangeError> {
        root_at::<H>(self, size)
    }

    /// The inclusion proof of leaf `index` in the tree of the first `size` leaves.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, RangeError> {
        inclusion_proof::<H>(self, index, size)
    }

    /// The proof that the first `old` leaves are a prefix of the first `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, RangeError> {
        consistency_proof::<H>(self, old, new)
    }
}

impl<H> Nodes for Tree<H> {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.levels.get(level as usize)?.get(usize::try_from(index).ok()?).copied()
    }
}

#[cfg(test)]
mod tests;
