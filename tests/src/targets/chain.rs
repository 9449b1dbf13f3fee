//! The decoders of the chain.

use lucid_chain::anchor::AnchorProof;
use lucid_chain::ledger::ClosedSession;
use lucid_chain::transaction::Kind;
use lucid_chain::verify::Trust;
use lucid_chain::{Block, CommitCertificate, Genesis, Header, Ledger, Transaction, ValidatorSet};
use lucid_evidence::{SessionId, SigningKey, cose};

const SEED: [u8; 32] = [0x11; 32];
/// The proof of the test vectors.
const ANCHOR: &[u8] = include_bytes!("../../fixtures/chain/anchor.cbor");

/// A transaction: any bytes, and any payload of any kind, signed here.
pub fn transaction(data: &[u8]) {
    if let Ok(transaction) = Transaction::from_bytes(data) {
        assert_eq!(transaction.as_bytes(), data);
    }
    let Some((kind, payload)) = data.split_first() else { return };
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    let key = SigningKey::from_seed(&SEED);
    let signed = cose::sign1(&key, kind.content_type(), payload);
    if let Ok(transaction) = Transaction::from_bytes(&signed) {
        assert_eq!(transaction.kind(), kind);
        assert_eq!(transaction.as_bytes(), signed);
        assert!(transaction.verify(&key.public()).is_ok());
        let again = Transaction::sign(transaction.body().clone(), &key);
        assert_eq!(again.as_bytes(), signed, "a body has one encoding");
    }
}

/// A block.
pub fn block(data: &[u8]) {
    if let Ok(block) = Block::from_bytes(data) {
        assert_eq!(block.to_bytes(), data);
    }
}

/// An anchor proof, read and judged.
pub fn anchor(data: &[u8]) {
    if let Ok(anchor) = AnchorProof::from_bytes(data) {
        assert_eq!(anchor.to_bytes(), data);
        let _ = anchor.verify(&SessionId::new(1_793_534_400_000, [0x44; 10]));
    }
    // Three bytes each: a place in a good proof, and what is there instead.
    let mut altered = ANCHOR.to_vec();
    for edit in data.chunks_exact(3).take(8) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % altered.len();
        altered[at] = edit[2];
    }
    let verified = AnchorProof::from_bytes(&altered)
        .is_ok_and(|proof| proof.verify(&SessionId::new(1_793_534_400_000, [0x77; 10])).is_ok());
    assert_eq!(verified, altered == ANCHOR, "the good proof verifies, and no altered one");
}

/// What blocks and proofs are made of, a trust file and a snapshot; the first byte
/// chooses.
pub fn chain_values(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    match choice % 7 {
        0 => {
            if let Ok(value) = Genesis::from_bytes(data) {
                assert_eq!(value.to_bytes(), data);
            }
        }
        1 => {
            if let Ok(value) = Header::from_bytes(data) {
                assert_eq!(value.to_bytes(), data);
            }
        }
        2 => {
            if let Ok(value) = CommitCertificate::from_bytes(data) {
                assert_eq!(value.to_bytes(), data);
            }
        }
        3 => {
            if let Ok(value) = ValidatorSet::from_bytes(data) {
                assert_eq!(value.to_bytes(), data);
            }
        }
        4 => {
            if let Ok(value) = ClosedSession::from_bytes(data) {
                assert_eq!(value.to_bytes(), data);
            }
        }
        5 => {
            let _ = Trust::parse(&String::from_utf8_lossy(data));
        }
        _ => {
            if let Ok(ledger) = Ledger::restore(data) {
                assert_eq!(ledger.snapshot(), data);
            }
        }
    }
}
