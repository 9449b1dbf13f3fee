//! Every kind of transaction goes there and back, and nothing else is read.

use super::*;
use crate::parameters::Parameter;
use lucid_evidence::Signature;
use proptest::prelude::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// One transaction of each kind, with the key that signed it.
pub(crate) fn one_of_each() -> Vec<(Transaction, PublicKey)> {
    let (chain, device, session_key) = (Hash::of(b"chain"), key(1), key(2));
    let session = SessionId::new(1_793_000_000_000, [7; 10]);
    let (node, time_us) = (device.public(), 1_793_000_000_000_000);
    let checkpoint = Checkpoint { session, tree_size: 3, root: Hash::of(b"root"), time_us };
    let by_device = [
        Body::NodeRegister(NodeRegister::new(chain, &key(3), node, "north".into())),
        Body::SessionOpen(SessionOpen {
            chain,
            session,
            session_key: session_key.public(),
            device: node,
            time_us,
            policy: None,
        }),
        Body::SessionClose(SessionClose {
            chain,
            session,
            device: node,
            manifest: Hash::of(b"manifest"),
            tree_size: 3,
            root: Hash::of(b"root"),
            time_us,
            checkpoints: 2,
        }),
        Body::Tombstone(Tombstone {
            chain,
            session,
            device: node,
            reason: "asked for".into(),
            time_us,
        }),
        Body::ParameterProposal(ParameterProposal {
            chain,
            node,
            parameter: Parameter::Window,
            value: 9,
            time_us,
        }),
        Body::ParameterVote(ParameterVote {
            chain,
            node,
            proposal: TxId(Hash::of(b"proposal")),
            approve: true,
        }),
        Body::Statement(Statement {
            chain,
            node,
            subject: Subject::AuditLog,
            hash: Hash::of(b"head"),
            note: String::new(),
            time_us,
        }),
        Body::NodeRetire(NodeRetire { chain, node }),
    ];
    let mut all: Vec<_> =
        by_device.into_iter().map(|body| (Transaction::sign(body, &device), node)).collect();
    all.push((Transaction::checkpoint(&checkpoint.sign(&session_key)), session_key.public()));
    all
}

#[test]
fn every_kind_is_read_back_and_belongs_to_its_signer() {
    let all = one_of_each();
    let mut kinds: Vec<_> = all.iter().map(|(tx, _)| tx.kind()).collect();
    kinds.sort();
    assert_eq!(kinds, Kind::ALL, "each kind stands there once");
    for (tx, signer) in all {
        let read = Transaction::from_bytes(tx.as_bytes()).unwrap();
        assert_eq!(read, tx);
        assert_eq!(read.id(), TxId(leaf_hash(tx.as_bytes())));
        assert_eq!(read.verify(&signer), Ok(()));
        assert!(read.verify(&key(9).public()).is_err());
        if let Some(named) = read.body().signer() {
            assert_eq!(*named, signer);
        }
    }
}

fn opening(policy: Option<Hash>) -> SessionOpen {
    let all = one_of_each();
    let of = all.iter().find_map(|(tx, _)| match tx.body() {
        Body::SessionOpen(body) => Some(body.clone()),
        _ => None,
    });
    SessionOpen { policy, ..of.unwrap() }
}

#[test]
fn an_opening_with_a_policy_is_version_2_and_one_without_stays_version_1() {
    let (without, with) = (opening(None).encode(), opening(Some(Hash::of(b"policy"))).encode());
    assert_eq!((&without[..3], &with[..3]), (&[0xa6, 0, 1][..], &[0xa7, 0, 2][..]));
    for bytes in [&without, &with] {
        assert_eq!(SessionOpen::decode(bytes).unwrap().encode(), *bytes);
    }
    // The entries of one version under the number of the other.
    for (mut bytes, version) in [(without, 2), (with, 1)] {
        bytes[2] = version;
        let error = SessionOpen::decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("version"), "{error}");
    }
}

#[test]
fn no_byte_is_free_and_no_truncation_passes() {
    let mut all = one_of_each();
    let with = Body::SessionOpen(opening(Some(Hash::of(b"policy"))));
    all.push((Transaction::sign(with, &key(1)), key(1).public()));
    for (tx, signer) in all {
        let bytes = tx.as_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            let verified =
                Transaction::from_bytes(&changed).is_ok_and(|tx| tx.verify(&signer).is_ok());
            assert!(!verified, "{} byte {at}", tx.kind().name());
        }
        for end in 0..bytes.len() {
            assert!(Transaction::from_bytes(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn long_and_unknown_ones_are_refused_with_the_reason() {
    let long = vec![0; TRANSACTION_MAX_BYTES + 1];
    assert_eq!(
        Transaction::from_bytes(&long).unwrap_err().to_string(),
        "transaction has 16385 bytes, over the limit of 16384"
    );
    let other = cose::sign1(&key(1), "application/vnd.lucid.manifest+cbor", b"x");
    assert_eq!(Transaction::from_bytes(&other), Err(TransactionError::UnknownKind));
    let empty = cose::sign1(&key(1), Kind::NodeRetire.content_type(), &[]);
    let error = Transaction::from_bytes(&empty).unwrap_err();
    assert!(matches!(error, TransactionError::Content { kind: Kind::NodeRetire, .. }), "{error}");
    let body = Body::Tombstone(Tombstone {
        chain: Hash::of(b""),
        session: SessionId::new(0, [0; 10]),
        device: key(1).public(),
        reason: "x".repeat(257),
        time_us: 0,
    });
    let error = Transaction::from_bytes(Transaction::sign(body, &key(1)).as_bytes()).unwrap_err();
    assert!(error.to_string().contains("tombstone.reason"), "{error}");
}

#[test]
fn the_block_order_puts_a_session_in_order() {
    let mut all: Vec<_> = one_of_each().into_iter().map(|(tx, _)| tx).collect();
    all.sort_by_key(Transaction::order);
    assert_eq!(all.iter().map(Transaction::kind).collect::<Vec<_>>(), Kind::ALL);
    let at = |size| {
        let session = SessionId::new(0, [0; 10]);
        let checkpoint = Checkpoint { session, tree_size: size, root: Hash::of(b""), time_us: 0 };
        Transaction::checkpoint(&checkpoint.sign(&key(1)))
    };
    assert!(at(2).order() < at(10).order());
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Transaction::from_bytes(&bytes);
    }

    #[test]
    fn arbitrary_content_of_every_kind_does_not_panic(
        kind in 0usize..Kind::ALL.len(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let kind = Kind::ALL[kind];
        let signed = cose::sign1(&key(1), kind.content_type(), &payload);
        let _ = Transaction::from_bytes(&signed);
    }

    #[test]
    fn mutated_transactions_do_not_panic(
        which in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        value in any::<u8>(),
    ) {
        let all = one_of_each();
        let mut bytes = which.get(&all).0.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(tx) = Transaction::from_bytes(&bytes) {
            prop_assert_eq!(tx.as_bytes(), &bytes[..], "one value has one encoding");
        }
    }
}

#[test]
fn consent_is_bound_to_chain_and_sponsor() {
    let (chain, sponsor, node) = (Hash::of(b"chain"), key(1).public(), key(3));
    let register = NodeRegister::new(chain, &node, sponsor, "n".into());
    let check = |chain: &Hash, sponsor: &PublicKey, consent: &Signature| {
        node.public().verify(&registration_bytes(chain, &node.public(), sponsor), consent).is_ok()
    };
    assert!(check(&chain, &sponsor, &register.consent));
    assert!(!check(&Hash::of(b"other"), &sponsor, &register.consent));
    assert!(!check(&chain, &key(2).public(), &register.consent));
}
