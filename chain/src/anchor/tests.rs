//! Anchor proofs over chains of one and of many, and every way of bending them.

use super::*;
use crate::certificate::CertificateError;
use crate::ledger::Effect;
use crate::testing::{Pool, key, session};
use crate::transaction::{Body, NodeRegister, NodeRetire};
use lucid_evidence::SigningKey;
use proptest::prelude::*;

/// A chain with session 1 whole, session 2 in the same blocks, and some blocks around.
pub(crate) fn recorded(nodes: u8) -> Pool {
    let mut pool = Pool::new(nodes);
    let device = key(1);
    pool.block(vec![]);
    pool.block(vec![pool.open(1, &device), pool.open(2, &device)]);
    for size in 1..6 {
        pool.block(vec![pool.checkpoint(1, size), pool.checkpoint(2, size * 2)]);
        pool.block(vec![]);
    }
    pool.block(vec![pool.close(1, 6, &device)]);
    pool
}

#[test]
fn a_session_is_proved_by_the_head_alone() {
    let mut pool = recorded(4);
    pool.block_by(0, vec![], |key| pool_index(key) != 2);
    let proof = AnchorProof::from_bytes(&pool.anchor(1).to_bytes()).unwrap();
    let anchored = proof.verify(&session(1)).unwrap();
    assert_eq!(anchored.chain, pool.chain());
    assert_eq!(anchored.opened.height, 2);
    let heights: Vec<_> = anchored.checkpoints.iter().map(|at| at.height).collect();
    assert_eq!(heights, [3, 5, 7, 9, 11]);
    assert_eq!(anchored.closed.unwrap().height, 13);
    assert_eq!((anchored.head_height, anchored.witnesses.len(), anchored.validators), (14, 3, 4));
    assert_eq!(anchored.set_changes, 0);
    assert!(proof.verify(&session(2)).is_err());
}

#[test]
fn a_checkpoint_that_is_left_out_shows() {
    // What an owner with all keys would do who changed the recording after its first checkpoint.
    let pool = recorded(4);
    let mut places = pool.places(1);
    places.remove(&(3, 0));
    let head = pool.ledger.height();
    let proof = prove(pool.ledger.genesis(), &pool, &places, head).unwrap();
    let error = proof.verify(&session(1)).unwrap_err();
    assert_eq!(error, AnchorError::Checkpoints { stated: 5, found: 4 });
}

fn pool_index(node: &lucid_evidence::PublicKey) -> u8 {
    (1..=100).find(|seed| key(*seed).public() == *node).unwrap()
}

#[test]
fn no_byte_of_a_proof_is_free() {
    for nodes in [1, 4] {
        let bytes = recorded(nodes).anchor(1).to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let passed = AnchorProof::from_bytes(&changed)
                .is_ok_and(|proof| proof.verify(&session(1)).is_ok());
            assert!(!passed, "byte {at} of {} with {nodes} nodes", bytes.len());
        }
    }
}

#[test]
fn truncations_are_refused() {
    let bytes = recorded(1).anchor(1).to_bytes();
    for end in 0..bytes.len() {
        assert!(AnchorProof::from_bytes(&bytes[..end]).is_err());
    }
}

#[test]
fn parts_left_out_added_or_swapped_are_noticed() {
    let pool = recorded(4);
    let good = pool.anchor(1);
    let other = pool.anchor(2);
    let bent = |change: &dyn Fn(&mut AnchorProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        proof.verify(&session(1)).unwrap_err()
    };
    assert_eq!(bent(&|p| p.blocks.clear()), AnchorError::NoBlock);
    assert!(matches!(bent(&|p| drop(p.blocks.remove(3))), AnchorError::History { .. }));
    assert!(matches!(bent(&|p| p.blocks.swap(1, 2)), AnchorError::BlockOrder { .. }));
    let empty = |p: &mut AnchorProof| {
        p.blocks[1].transactions.clear();
        p.blocks[1].path.clear();
    };
    assert!(matches!(bent(&empty), AnchorError::EmptyBlock { .. }));
    assert!(matches!(
        bent(&|p| p.blocks[1] = other.blocks[1].clone()),
        AnchorError::OtherSession { .. }
    ));
    let twice = |p: &mut AnchorProof| p.blocks[2].transactions = p.blocks[1].transactions.clone();
    assert!(matches!(bent(&twice), AnchorError::TransactionPath { .. }));
    assert!(matches!(bent(&|p| p.blocks[1].path.clear()), AnchorError::TransactionPath { .. }));
    assert!(matches!(bent(&|p| p.history.truncate(1)), AnchorError::History { .. }));
    assert!(matches!(
        bent(&|p| p.certificate.signatures.truncate(2)),
        AnchorError::Certificate(CertificateError::Quorum { .. })
    ));
    assert!(matches!(
        bent(&|p| p.certificate = pool.certificates[3].clone()),
        AnchorError::Certificate(CertificateError::Block { .. })
    ));
    let founder = ValidatorSet::new(vec![key(9).public()]).unwrap();
    assert!(matches!(
        bent(&|p| p.genesis.validators = founder.clone()),
        AnchorError::HeadValidators { .. }
    ));
    assert!(matches!(bent(&|p| p.genesis.time_us += 1), AnchorError::Certificate(_)));
}

#[test]
fn the_life_of_a_session_is_checked_without_trust_in_the_ledger() {
    // A block made by hand, in which the checkpoint stands without its opening, certified by the
    // only node there is.
    let mut pool = Pool::new(1);
    let device = key(1);
    pool.block(vec![pool.open(1, &device)]);
    pool.block(vec![pool.checkpoint(1, 3)]);
    pool.block(vec![pool.close(1, 3, &device)]);
    let mut places = pool.places(1);
    places.remove(&(1, 0));
    let headless = prove(pool.ledger.genesis(), &pool, &places, 3).unwrap();
    assert!(matches!(
        headless.verify(&session(1)),
        Err(AnchorError::Life { kind: "checkpoint", .. })
    ));
    let mut forged = pool.propose(0, vec![]);
    forged.transactions = vec![pool.checkpoint(1, 9)];
    forged.header.transaction_count = 1;
    forged.header.transactions_root = crate::block::transaction_tree(&forged.transactions).root();
    let certificate = pool.certify(&forged, 0, |_| true);
    pool.blocks.push(forged);
    pool.certificates.push(certificate);
    let proof = prove(pool.ledger.genesis(), &pool, &pool.places(1), 4).unwrap();
    assert!(matches!(proof.verify(&session(1)), Err(AnchorError::Life { kind: "checkpoint", .. })));
}

/// Joins `seeds` one by one, sponsored by the founder.
fn grow(pool: &mut Pool, seeds: std::ops::RangeInclusive<u8>) {
    for seed in seeds {
        let sponsor = key(1);
        let body = NodeRegister::new(pool.chain(), &key(seed), sponsor.public(), "n".into());
        pool.keys.insert(key(seed).public(), key(seed));
        pool.block(vec![Transaction::sign(Body::NodeRegister(body), &sponsor)]);
    }
}

fn retire(pool: &mut Pool, seed: u8) {
    let node: SigningKey = key(seed);
    let body = NodeRetire { chain: pool.chain(), node: node.public() };
    let effects = pool.block(vec![Transaction::sign(Body::NodeRetire(body), &node)]);
    assert!(effects.0.iter().any(|effect| matches!(effect, Effect::ValidatorsChanged(_))));
}

#[test]
fn validators_are_followed_from_the_genesis_with_skips() {
    let mut pool = Pool::new(1);
    grow(&mut pool, 2..=9);
    pool.block(vec![pool.open(1, &key(5))]);
    retire(&mut pool, 1);
    pool.block(vec![pool.checkpoint(1, 2)]);
    retire(&mut pool, 2);
    pool.block(vec![pool.close(1, 2, &key(5))]);
    let proof = pool.anchor(1);
    let anchored = proof.verify(&session(1)).unwrap();
    assert_eq!((anchored.witnesses.len(), anchored.validators), (7, 7));
    assert_eq!(pool.changes.len(), 10);
    assert!(proof.changes.len() < 4, "{} changes carried", proof.changes.len());
    let bytes = proof.to_bytes();
    assert_eq!(AnchorProof::from_bytes(&bytes).unwrap(), proof);
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        let passed =
            AnchorProof::from_bytes(&changed).is_ok_and(|proof| proof.verify(&session(1)).is_ok());
        assert!(!passed, "byte {at}");
    }
    let mut short = proof.clone();
    short.changes.pop();
    assert!(matches!(
        short.verify(&session(1)),
        Err(AnchorError::HeadValidators { .. } | AnchorError::History { .. })
    ));
}

#[test]
fn a_change_that_the_trusted_did_not_sign_is_refused() {
    // The founder alone starts the chain; strangers claim to have taken over.
    let pool = recorded(4);
    let mut proof = pool.anchor(1);
    let strangers: Vec<_> = (20..24).map(key).collect();
    let set = ValidatorSet::new(strangers.iter().map(SigningKey::public).collect()).unwrap();
    let mut header = pool.blocks[0].header.clone();
    header.validators = set.hash();
    let (chain, id) = (pool.chain(), header.id());
    let mut sorted = strangers;
    sorted.sort_by_key(SigningKey::public);
    let signatures = sorted
        .iter()
        .enumerate()
        .map(|(n, key)| (n as u32, crate::certificate::sign_precommit(key, &chain, 1, 0, &id)))
        .collect();
    let certificate = CommitCertificate { height: 1, round: 0, block: id, signatures };
    let next = pool.ledger.validators().clone();
    proof.changes.push(SetChange { header, certificate, signers: set, next });
    assert_eq!(
        proof.verify(&session(1)),
        Err(AnchorError::ChangeNotVouched { height: 1, vouching: 0, trusted: 4, quorum: 3 })
    );
}

#[test]
fn a_proof_does_not_grow_with_the_blocks_in_between() {
    let mut pool = Pool::new(1);
    let device = key(1);
    pool.block(vec![pool.open(1, &device)]);
    let mut size = 0;
    let mut lengths = Vec::new();
    for _ in 0..2 {
        for _ in 0..200 {
            pool.block(vec![]);
        }
        size += 1;
        pool.block(vec![pool.checkpoint(1, size)]);
        lengths.push(pool.anchor(1).to_bytes().len());
    }
    let growth = lengths[1] - lengths[0];
    assert!(growth < 1100, "{lengths:?}: a checkpoint and its header, with a path of ten hashes");
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = AnchorProof::from_bytes(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn mutated_proofs_do_not_panic(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let good = recorded(2).anchor(1).to_bytes();
        let mut bytes = good.clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(proof) = AnchorProof::from_bytes(&bytes) {
            prop_assert_eq!(&proof.to_bytes(), &bytes, "one value has one encoding");
            prop_assert!(bytes == good || proof.verify(&session(1)).is_err());
        }
    }
}
