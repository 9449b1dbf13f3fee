//! The tree against the published SHA-256 vectors of RFC 6962's reference code, and against the
//! definition.

use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// RFC 6962 itself, with SHA-256.
#[derive(Debug)]
struct Rfc6962;

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

impl TreeHasher for Rfc6962 {
    fn empty() -> Hash {
        sha256(&[])
    }
    fn leaf(data: &[u8]) -> Hash {
        sha256(&[&[0], data])
    }
    fn node(left: &Hash, right: &Hash) -> Hash {
        sha256(&[&[1], &left.0, &right.0])
    }
}

const INPUTS: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn rfc_tree() -> Tree<Rfc6962> {
    Tree::from_leaves(INPUTS.iter().map(|input| Rfc6962::leaf(input)))
}

fn hashes(hex: &[&str]) -> Vec<Hash> {
    hex.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn roots_are_those_of_the_reference() {
    let tree = rfc_tree();
    for (index, root) in ROOTS.iter().enumerate() {
        assert_eq!(tree.root_at(index as u64 + 1).unwrap(), root.parse().unwrap());
    }
    assert_eq!(
        Tree::<Rfc6962>::new().root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn inclusion_paths_are_those_of_the_reference() {
    let tree = rfc_tree();
    let leaf_0_of_8 = hashes(&[
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]);
    assert_eq!(tree.inclusion(0, 8).unwrap(), leaf_0_of_8);
    let leaf_2_of_3 = hashes(&["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]);
    assert_eq!(tree.inclusion(2, 3).unwrap(), leaf_2_of_3);
    assert_eq!(tree.inclusion(0, 1).unwrap(), vec![]);
}

#[test]
fn consistency_paths_are_those_of_the_reference() {
    let tree = rfc_tree();
    let from_6_to_8 = hashes(&[
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]);
    assert_eq!(tree.consistency(6, 8).unwrap(), from_6_to_8);
    assert_eq!(tree.consistency(8, 8).unwrap(), vec![]);
}

/// MTH of RFC 6962 section 2.1, word for word.
fn defined_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Blake3::empty(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            Blake3::node(&defined_root(left), &defined_root(right))
        }
    }
}

#[test]
fn every_proof_of_every_small_tree_verifies_and_every_change_does_not() {
    let leaves: Vec<Hash> = (0u32..40).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    let tree = Tree::<Blake3>::from_leaves(leaves.iter().copied());
    for size in 0..=40u64 {
        let root = tree.root_at(size).unwrap();
        assert_eq!(root, defined_root(&leaves[..size as usize]));
        for index in 0..size {
            let proof = tree.inclusion(index, size).unwrap();
            let leaf = &leaves[index as usize];
            assert!(verify_inclusion::<Blake3>(leaf, index, size, &root, &proof));
            let other = (index + 1) % size;
            assert!(size == 1 || !verify_inclusion::<Blake3>(leaf, other, size, &root, &proof));
            assert!(!verify_inclusion::<Blake3>(leaf, index, size, &Hash([0; 32]), &proof));
            let longer = [&proof[..], &[Hash([1; 32])]].concat();
            assert!(!verify_inclusion::<Blake3>(leaf, index, size, &root, &longer));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!verify_inclusion::<Blake3>(leaf, index, size, &root, shorter));
            }
        }
        for old in 1..=size {
            let old_root = tree.root_at(old).unwrap();
            let proof = tree.consistency(old, size).unwrap();
            assert!(verify_consistency::<Blake3>(old, &old_root, size, &root, &proof));
            let wrong = Hash([7; 32]);
            assert!(!verify_consistency::<Blake3>(old, &wrong, size, &root, &proof));
            assert!(!verify_consistency::<Blake3>(old, &old_root, size, &wrong, &proof));
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at].0[0] ^= 1;
                assert!(!verify_consistency::<Blake3>(old, &old_root, size, &root, &changed));
            }
        }
    }
    assert!(tree.inclusion(40, 40).is_err());
    assert!(tree.inclusion(0, 41).is_err());
    assert!(tree.consistency(0, 3).is_err());
    assert!(tree.consistency(4, 3).is_err());
    assert!(tree.root_at(41).is_err());
}

proptest! {
    #[test]
    fn proofs_of_any_size_never_panic(
        index: u64, size: u64, old: u64,
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let proof: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let root = Hash([0; 32]);
        prop_assert!(!verify_inclusion::<Blake3>(&root, index, size, &root, &proof) || size == 1);
        let _ = verify_consistency::<Blake3>(old, &root, size, &root, &proof);
    }
}
