//! The decoders of the chain: transactions, blocks and what they consist of, anchor proofs,
//! snapshots, trust files.

use crate::chain_vectors::ChainVectors;
use lucid_chain::transaction::Kind;
use lucid_chain::verify::Trust;
use lucid_chain::{
    AnchorProof, Block, CommitCertificate, Genesis, Header, Ledger, Transaction, ValidatorSet,
};
use lucid_evidence::tree::leaf_hash;
use lucid_evidence::{SigningKey, cose};
use std::sync::OnceLock;

fn vectors() -> &'static ChainVectors {
    static VECTORS: OnceLock<ChainVectors> = OnceLock::new();
    VECTORS.get_or_init(ChainVectors::read)
}

/// A transaction, from the envelope or, signed here, from the payload of every kind.
pub fn transaction(data: &[u8]) {
    let check = |bytes: &[u8]| {
        if let Ok(transaction) = Transaction::from_bytes(bytes) {
            assert_eq!(transaction.as_bytes(), bytes);
            assert_eq!(transaction.id().0, leaf_hash(bytes));
            let key = SigningKey::from_seed(&super::SEED);
            let _ = transaction.verify(&key.public());
            let again = Transaction::sign(transaction.body().clone(), &key);
            let read = Transaction::from_bytes(again.as_bytes());
            assert_eq!(read.map(|read| read.body().clone()), Ok(transaction.body().clone()));
        }
    };
    check(data);
    if let Some((kind, payload)) = data.split_first() {
        let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
        let key = SigningKey::from_seed(&super::SEED);
        check(&cose::sign1(&key, kind.content_type(), payload));
    }
}

/// A block. One that decodes has one encoding, and the ledger of the vectors takes none but the
/// vectors' own.
pub fn block(data: &[u8]) {
    let Ok(block) = Block::from_bytes(data) else { return };
    assert_eq!(block.to_bytes(), data);
    let vectors = vectors();
    let ledger = Ledger::new(vectors.genesis.clone());
    let archive = lucid_chain::ledger::MemoryArchive::default();
    // As if its certificate were right: the rules alone decide.
    let now_us = block.header.time_us;
    if ledger.validate(&block, 0, now_us, &archive).is_ok() {
        assert_eq!(block.header.height, 1);
        assert_eq!(block.header.genesis, *ledger.chain());
    }
}

/// The smaller structures of the chain.
pub fn chain_record(data: &[u8]) {
    if let Ok(header) = Header::from_bytes(data) {
        assert_eq!(header.to_bytes(), data);
    }
    if let Ok(certificate) = CommitCertificate::from_bytes(data) {
        assert_eq!(certificate.to_bytes(), data);
        let genesis = &vectors().genesis;
        let (height, block) = (certificate.height, certificate.block);
        let _ = certificate.verify(&genesis.hash(), height, &block, &genesis.validators);
    }
    if let Ok(genesis) = Genesis::from_bytes(data) {
        assert_eq!(genesis.to_bytes(), data);
        let snapshot = Ledger::new(genesis).snapshot();
        assert!(Ledger::restore(&snapshot).is_ok());
    }
    if let Ok(validators) = ValidatorSet::from_bytes(data) {
        assert_eq!(validators.to_bytes(), data);
    }
    if let Ok(ledger) = Ledger::restore(data) {
        assert_eq!(ledger.snapshot(), data);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Trust::parse(text);
    }
}

/// An anchor proof, as it is or as an alteration of the vectors' one: nothing but that one
/// verifies.
pub fn anchor(data: &[u8]) {
    let vectors = vectors();
    let check = |bytes: &[u8]| {
        if let Ok(proof) = AnchorProof::from_bytes(bytes) {
            assert_eq!(proof.to_bytes(), bytes);
            if proof.verify(&vectors.session).is_ok() && proof.genesis == vectors.genesis {
                assert_eq!(bytes, vectors.anchor, "an altered proof verifies");
            }
        }
    };
    check(data);
    // Each three bytes: where, and what is there instead.
    let mut altered = vectors.anchor.clone();
    for edit in data.chunks_exact(3).take(8) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % altered.len();
        altered[at] = edit[2];
    }
    check(&altered);
}
