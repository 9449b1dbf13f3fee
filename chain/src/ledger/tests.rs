//! What the ledger allows, refuses and computes.

use super::*;
use crate::certificate::{CertificateError, sign_precommit};
use crate::testing::{Pool, START_US, key, session};
use crate::transaction::{
    Body, NodeRegister, NodeRetire, ParameterProposal, ParameterVote, Statement,
};
use lucid_evidence::SigningKey;
use proptest::prelude::*;

#[test]
fn a_session_lives_from_opening_to_tombstone() {
    let mut pool = Pool::new(1);
    let device = key(1);
    let effects = pool.block(vec![pool.open(1, &device)]);
    let (session, device_key) = (session(1), device.public());
    assert_eq!(effects.0, [Effect::SessionOpened { session, device: device_key }]);
    pool.block(vec![pool.checkpoint(1, 2)]);
    pool.block(vec![pool.checkpoint(1, 5), pool.checkpoint(1, 7)]);
    assert_eq!(pool.ledger.sessions()[&session].tree_size, 7);
    let effects = pool.block(vec![pool.close(1, 8, &device)]);
    let Effect::SessionClosed { record, .. } = &effects.0[0] else { panic!("{effects:?}") };
    assert_eq!((record.opened, record.closed, record.tree_size), (1, 4, 8));
    assert!(pool.ledger.sessions().is_empty());
    let effects = pool.block(vec![pool.tombstone(1, &device)]);
    let Effect::SessionTombstoned { record, .. } = &effects.0[0] else { panic!("{effects:?}") };
    assert_eq!(record.tombstone, Some(5));
}

#[test]
fn a_whole_session_fits_in_one_block_whatever_order_it_came_in() {
    let mut pool = Pool::new(1);
    let device = key(1);
    let mut all = vec![
        pool.tombstone(1, &device),
        pool.close_counting(2, 1, 3, &device),
        pool.checkpoint(1, 3),
        pool.checkpoint(1, 1),
        pool.open(1, &device),
    ];
    let block = pool.propose(0, all.clone());
    assert_eq!(block.transactions.len(), 5);
    all.reverse();
    assert_eq!(pool.propose(0, all).id(), block.id());
    let certificate = pool.certify(&block, 0, |_| true);
    pool.append(block, certificate);
}

#[test]
fn a_session_id_is_used_once_for_ever() {
    let mut pool = Pool::new(2);
    let (device, other) = (key(1), key(2));
    let open = pool.open(1, &device);
    pool.block(vec![open.clone()]);
    assert!(matches!(pool.refusal(&open), Refusal::AlreadyIncluded { height: 1, .. }));
    let again = pool.open(1, &other);
    assert!(matches!(pool.refusal(&again), Refusal::SessionIdUsed(_)));
    pool.block(vec![pool.close(1, 0, &device)]);
    assert!(matches!(pool.refusal(&again), Refusal::SessionIdUsed(_)));
    pool.block(vec![pool.tombstone(1, &device)]);
    assert!(matches!(pool.refusal(&again), Refusal::SessionIdUsed(_)));
    // Also after a restart from a snapshot.
    let ledger = Ledger::restore(&pool.ledger.snapshot()).unwrap();
    let refusal = ledger.pending().admit(&again, &pool.archive).unwrap_err();
    assert!(matches!(refusal, Refusal::SessionIdUsed(_)));
    // And within what is not in a block yet.
    let mut pending = pool.ledger.pending();
    pending.admit(&pool.open(2, &device), &pool.archive).unwrap();
    let refusal = pending.admit(&pool.open(2, &other), &pool.archive).unwrap_err();
    assert!(matches!(refusal, Refusal::SessionIdUsed(_)));
}

#[test]
fn checkpoints_only_grow_and_end_with_the_session() {
    let mut pool = Pool::new(1);
    let device = key(1);
    assert!(matches!(pool.refusal(&pool.checkpoint(1, 1)), Refusal::SessionUnknown(_)));
    pool.block(vec![pool.open(1, &device)]);
    assert!(matches!(pool.refusal(&pool.checkpoint(1, 0)), Refusal::NotLarger { .. }));
    pool.block(vec![pool.checkpoint(1, 4)]);
    for size in [1, 4] {
        pool.now_us += 1;
        let refusal = pool.refusal(&pool.checkpoint(1, size));
        assert!(matches!(refusal, Refusal::NotLarger { have: 4, .. }), "{refusal}");
    }
    let smaller = pool.refusal(&pool.close(1, 3, &device));
    assert!(matches!(smaller, Refusal::CloseContradicts { have: 4, offered: 3, .. }));
    let Body::SessionClose(mut body) = pool.close(1, 4, &device).body().clone() else { panic!() };
    body.root = Hash::of(b"other");
    let other_root = Transaction::sign(Body::SessionClose(body), &device);
    assert!(matches!(pool.refusal(&other_root), Refusal::CloseContradicts { .. }));
    for count in [0, 2] {
        let refusal = pool.refusal(&pool.close_counting(count, 1, 4, &device));
        assert!(matches!(refusal, Refusal::CheckpointCount { have: 1, .. }), "{refusal}");
    }
    assert!(matches!(pool.refusal(&pool.tombstone(1, &device)), Refusal::SessionOpen(_)));
    pool.block(vec![pool.close(1, 4, &device)]);
    assert!(matches!(pool.refusal(&pool.checkpoint(1, 9)), Refusal::SessionClosed(_)));
    pool.now_us += 1;
    assert!(matches!(pool.refusal(&pool.close(1, 4, &device)), Refusal::SessionClosed(_)));
    pool.block(vec![pool.tombstone(1, &device)]);
    pool.now_us += 1;
    let again = pool.refusal(&pool.tombstone(1, &device));
    assert!(matches!(again, Refusal::Tombstoned(_)) && again.is_repeated());
}

#[test]
fn only_the_right_key_signs() {
    let mut pool = Pool::new(2);
    let (device, other) = (key(1), key(2));
    let stranger = pool.open(1, &key(9));
    assert!(matches!(pool.refusal(&stranger), Refusal::NotANode(_)));
    let Body::SessionOpen(body) = pool.open(1, &device).body().clone() else { panic!() };
    let forged = Transaction::sign(Body::SessionOpen(body), &other);
    assert!(matches!(pool.refusal(&forged), Refusal::Signature(_)));
    pool.block(vec![pool.open(1, &device)]);
    let checkpoint = pool.checkpoint(1, 1);
    let Body::Checkpoint(body) = *checkpoint.body() else { panic!() };
    let by_device = Transaction::checkpoint(&body.sign(&device));
    assert!(matches!(pool.refusal(&by_device), Refusal::Signature(_)));
    assert!(matches!(pool.refusal(&pool.close(1, 1, &other)), Refusal::NotTheDevice { .. }));
    pool.block(vec![pool.close(1, 1, &device)]);
    assert!(matches!(pool.refusal(&pool.tombstone(1, &other)), Refusal::NotTheDevice { .. }));
    let mut elsewhere = Pool::new(2);
    elsewhere.ledger = Ledger::new(
        Genesis::new("other", START_US, Parameters::default(), pool.ledger.validators().clone())
            .unwrap(),
    );
    let refusal = elsewhere.refusal(&pool.open(3, &device));
    assert!(matches!(refusal, Refusal::WrongChain { .. }), "{refusal}");
}

#[test]
fn a_node_has_a_limit_of_open_sessions() {
    let pool = Pool::new(1);
    let device = key(1);
    let mut pending = pool.ledger.pending();
    let open = |n: u32| {
        let mut random = [0; 10];
        random[..4].copy_from_slice(&n.to_be_bytes());
        let body = crate::transaction::SessionOpen {
            chain: pool.chain(),
            session: SessionId::new(1, random),
            session_key: key(3).public(),
            device: device.public(),
            time_us: 0,
            policy: None,
        };
        Transaction::sign(Body::SessionOpen(body), &device)
    };
    for n in 0..SESSIONS_PER_NODE_MAX {
        pending.admit(&open(n), &pool.archive).unwrap();
    }
    let refusal = pending.admit(&open(SESSIONS_PER_NODE_MAX), &pool.archive).unwrap_err();
    assert!(matches!(refusal, Refusal::TooManySessions { limit: 256, .. }));
}

#[test]
fn tampered_blocks_are_refused_field_by_field() {
    let mut pool = Pool::new(4);
    pool.block(vec![pool.open(1, &key(1))]);
    pool.now_us += 10_000_000;
    let good = pool.propose(0, vec![pool.checkpoint(1, 1), pool.open(2, &key(2))]);
    type Change = (&'static str, fn(&mut Block));
    let changes: [Change; 15] = [
        ("genesis", |b| b.header.genesis.0[0] ^= 1),
        ("height", |b| b.header.height += 1),
        ("previous", |b| b.header.previous.0[0] ^= 1),
        ("history_root", |b| b.header.history_root.0[0] ^= 1),
        ("transaction_count", |b| b.header.transaction_count += 1),
        ("transactions_root", |b| b.header.transactions_root.0[0] ^= 1),
        ("last_commit", |b| b.header.last_commit.0[0] ^= 1),
        ("validators", |b| b.header.validators.0[0] ^= 1),
        ("next_validators", |b| b.header.next_validators.0[0] ^= 1),
        ("state", |b| b.header.state.0[0] ^= 1),
        ("time", |b| b.header.time_us = START_US),
        ("proposer", |b| b.header.proposer = key(9).public()),
        ("order", |b| b.transactions.reverse()),
        ("missing transaction", |b| {
            b.transactions.pop();
        }),
        ("missing commit", |b| b.last_commit = None),
    ];
    assert!(pool.ledger.validate(&good, 0, pool.now_us, &pool.archive).is_ok());
    for (name, change) in changes {
        let mut block = good.clone();
        change(&mut block);
        // Whoever holds all keys may certify it: the ledger's rules hold all the same.
        let certificate = pool.certify(&block, 0, |_| true);
        let mut ledger = pool.ledger.clone();
        let before = ledger.state_hash();
        assert!(ledger.commit(&block, &certificate, &pool.archive).is_err(), "{name}");
        assert_eq!((ledger.height(), ledger.state_hash()), (1, before), "{name} changed the state");
    }
    let mut commit = good.clone();
    commit.last_commit.as_mut().unwrap().signatures.truncate(2);
    let refusal = pool.ledger.validate(&commit, 0, pool.now_us, &pool.archive).unwrap_err();
    assert!(matches!(refusal, BlockRefusal::Certificate(CertificateError::Quorum { .. })));
}

#[test]
fn a_block_needs_its_certificate_and_is_not_replaced() {
    let mut pool = Pool::new(4);
    pool.now_us += 10_000_000;
    let block = pool.propose(0, vec![pool.open(1, &key(1))]);
    let too_few = pool.certify(&block, 0, |key| pool.ledger.validators().index_of(key) < Some(2));
    let refusal = pool.ledger.clone().commit(&block, &too_few, &pool.archive).unwrap_err();
    assert!(matches!(refusal, BlockRefusal::Certificate(CertificateError::Quorum { .. })));
    let mut foreign = pool.certify(&block, 0, |_| true);
    for (_, signature) in &mut foreign.signatures {
        *signature = sign_precommit(&key(9), &pool.chain(), 1, 0, &block.id());
    }
    assert!(pool.ledger.clone().commit(&block, &foreign, &pool.archive).is_err());
    let certificate = pool.certify(&block, 0, |_| true);
    pool.append(block.clone(), certificate.clone());
    let again = pool.ledger.commit(&block, &certificate, &pool.archive).unwrap_err();
    assert!(matches!(again, BlockRefusal::Height { found: 1, expected: 2 }));
}

#[test]
fn time_always_grows_and_is_not_ahead_of_the_signers_clocks() {
    let mut pool = Pool::new(1);
    pool.block(vec![]);
    let last = pool.ledger.time_us();
    assert_eq!(pool.ledger.block_time(last + 5), last + 5);
    assert_eq!(pool.ledger.block_time(last - 3_600_000_000), last + 1, "an hour back");
    pool.now_us = last - 3_600_000_000;
    let block = pool.propose(0, vec![]);
    assert_eq!(block.header.time_us, last + 1);
    assert!(pool.ledger.validate(&block, 0, pool.now_us, &pool.archive).is_ok());
    pool.now_us = last + 3_600_000_000;
    let block = pool.propose(0, vec![]);
    let refusal = pool.ledger.validate(&block, 0, last + 10_000_000, &pool.archive).unwrap_err();
    assert!(matches!(refusal, BlockRefusal::TimeAhead { .. }));
}

#[test]
fn a_late_leader_is_followed_by_the_next_and_pays_for_it() {
    let mut pool = Pool::new(4);
    for _ in 0..40 {
        pool.block(vec![]);
    }
    let turns = pool.ledger.turns();
    let (late, next) = (turns[0], turns[1]);
    pool.now_us += 10_000_000;
    let early = pool.propose(1, vec![]);
    let refusal = pool.ledger.validate(&early, 0, pool.now_us, &pool.archive).unwrap_err();
    assert!(matches!(refusal, BlockRefusal::NotItsTurn { round: 0, .. }));
    let before = pool.ledger.credits()[&late];
    pool.block_by(1, vec![], |key| *key != late);
    assert_eq!(pool.blocks.last().unwrap().header.proposer, next);
    pool.block_by(0, vec![], |_| true);
    let after = pool.ledger.credits()[&late];
    assert_eq!(after.missed, before.missed + 1);
    assert_eq!(after.signed, before.signed + 1, "the block it did not sign gave it nothing");
    assert!(after.score() + COST_MISSED_TURN <= before.score() + 2);
    assert_ne!(pool.ledger.turns()[0], late);
}

#[test]
fn turns_go_round_among_equal_nodes() {
    let mut pool = Pool::new(4);
    let mut proposed = BTreeMap::new();
    for _ in 0..40 {
        pool.block(vec![]);
        *proposed.entry(pool.blocks.last().unwrap().header.proposer).or_insert(0) += 1;
    }
    assert_eq!(proposed.into_values().collect::<Vec<_>>(), [10, 10, 10, 10]);
}

#[test]
fn nodes_join_sign_and_leave() {
    let mut pool = Pool::new(1);
    let (founder, joining) = (key(1), key(2));
    let chain = pool.chain();
    let register = |node: &SigningKey, sponsor: &SigningKey| {
        let body = NodeRegister::new(chain, node, sponsor.public(), "second".into());
        Transaction::sign(Body::NodeRegister(body), sponsor)
    };
    let by_itself = register(&joining, &joining);
    assert!(matches!(pool.refusal(&by_itself), Refusal::NotANode(_)));
    let Body::NodeRegister(mut body) = register(&joining, &founder).body().clone() else {
        panic!()
    };
    body.consent.0[3] ^= 1;
    let no_consent = Transaction::sign(Body::NodeRegister(body), &founder);
    assert!(matches!(pool.refusal(&no_consent), Refusal::Consent(_)));
    let retire = |node: &SigningKey| {
        Transaction::sign(Body::NodeRetire(NodeRetire { chain, node: node.public() }), node)
    };
    assert!(matches!(pool.refusal(&retire(&founder)), Refusal::LastNode(_)));
    pool.keys.insert(joining.public(), key(2));
    let effects = pool.block(vec![register(&joining, &founder)]);
    assert!(effects.0.contains(&Effect::NodeJoined(joining.public())));
    assert_eq!(pool.ledger.validators().count(), 2);
    assert_eq!(pool.ledger.signers().count(), 1, "the joining block was signed by the founder");
    pool.block(vec![pool.open(1, &joining)]);
    assert_eq!(pool.certificates.last().unwrap().signatures.len(), 2);
    pool.block(vec![retire(&joining)]);
    assert_eq!(pool.ledger.validators().count(), 1);
    assert!(matches!(pool.refusal(&pool.open(2, &joining)), Refusal::Retired(_)));
    assert!(matches!(pool.refusal(&register(&joining, &founder)), Refusal::AlreadyIncluded { .. }));
    let renamed = NodeRegister::new(chain, &joining, founder.public(), "again".into());
    let renamed = Transaction::sign(Body::NodeRegister(renamed), &founder);
    assert!(matches!(pool.refusal(&renamed), Refusal::NodeKnown(_)), "its key is spent");
    pool.block(vec![pool.close(1, 0, &joining)]);
}

#[test]
fn the_pool_has_a_limit_of_nodes() {
    let pool = Pool::new(100);
    let sponsor = key(1);
    let body = NodeRegister::new(pool.chain(), &key(101), sponsor.public(), "late".into());
    let refusal = pool.refusal(&Transaction::sign(Body::NodeRegister(body), &sponsor));
    assert!(matches!(refusal, Refusal::PoolFull { found: 100 }));
}

fn proposal(pool: &Pool, by: u8, parameter: Parameter, value: u32) -> Transaction {
    let (chain, node, time_us) = (pool.chain(), key(by).public(), pool.now_us);
    let body = ParameterProposal { chain, node, parameter, value, time_us };
    Transaction::sign(Body::ParameterProposal(body), &key(by))
}

fn vote(pool: &Pool, by: u8, proposal: &Transaction, approve: bool) -> Transaction {
    let (chain, node, proposal) = (pool.chain(), key(by).public(), proposal.id());
    Transaction::sign(
        Body::ParameterVote(ParameterVote { chain, node, proposal, approve }),
        &key(by),
    )
}

#[test]
fn parameters_change_by_one_vote_a_node_within_bounds() {
    let mut pool = Pool::new(4);
    let outside = proposal(&pool, 1, Parameter::Window, 15);
    assert!(matches!(pool.refusal(&outside), Refusal::Parameter(_)));
    assert!(matches!(
        pool.refusal(&proposal(&pool, 1, Parameter::Window, 7)),
        Refusal::Unchanged(7)
    ));
    let below = proposal(&pool, 1, Parameter::MaxNodes, 3);
    assert!(matches!(pool.refusal(&below), Refusal::BelowNodes { value: 3, found: 4 }));
    assert!(matches!(
        pool.refusal(&proposal(&pool, 9, Parameter::Window, 3)),
        Refusal::NotANode(_)
    ));
    let change = proposal(&pool, 1, Parameter::Window, 3);
    pool.block(vec![change.clone()]);
    assert!(matches!(pool.refusal(&vote(&pool, 1, &change, true)), Refusal::Voted { .. }));
    pool.block(vec![vote(&pool, 2, &change, true)]);
    assert_eq!(pool.ledger.parameters().get(Parameter::Window), 7, "two of four are too few");
    let effects = pool.block(vec![vote(&pool, 3, &change, true)]);
    assert_eq!(effects.0, [Effect::ParameterChanged { parameter: Parameter::Window, value: 3 }]);
    assert_eq!(pool.ledger.parameters().get(Parameter::Window), 3);
    assert!(matches!(pool.refusal(&vote(&pool, 4, &change, true)), Refusal::ProposalUnknown(_)));
    let second = proposal(&pool, 1, Parameter::Cooldown, 64);
    pool.block(vec![second.clone(), vote(&pool, 2, &second, false)]);
    let effects = pool.block(vec![vote(&pool, 3, &second, false)]);
    assert_eq!(effects.0, [Effect::ProposalRejected(second.id())]);
    assert_eq!(pool.ledger.parameters().get(Parameter::Cooldown), 16);
}

#[test]
fn alone_a_node_decides_alone() {
    let mut pool = Pool::new(1);
    pool.block(vec![proposal(&pool, 1, Parameter::SlotTimeout, 1_000)]);
    assert_eq!(pool.ledger.parameters().slot_timeout_ms(), 1_000);
}

#[test]
fn a_statement_is_taken_once() {
    let mut pool = Pool::new(1);
    let body = Statement {
        chain: pool.chain(),
        node: key(1).public(),
        subject: Subject::AuditLog,
        hash: Hash::of(b"log"),
        note: "daily".into(),
        time_us: pool.now_us,
    };
    let statement = Transaction::sign(Body::Statement(body), &key(1));
    pool.block(vec![statement.clone()]);
    let refusal = pool.refusal(&statement);
    assert!(matches!(refusal, Refusal::AlreadyIncluded { height: 1, .. }) && refusal.is_repeated());
}

#[test]
fn a_node_that_is_away_is_suspended_and_comes_back_when_that_is_past() {
    let mut pool = Pool::new(4);
    let away = key(3).public();
    let mut suspended_at = 0;
    for _ in 0..2 * EPOCH_BLOCKS {
        let round = usize::from(pool.ledger.turns()[0] == away);
        let effects = pool.block_by(round, vec![], |key| *key != away);
        if effects.0.contains(&Effect::NodeSuspended(away)) {
            suspended_at = pool.ledger.height();
        }
    }
    assert_eq!(suspended_at, 2 * EPOCH_BLOCKS, "the first epoch has one block too few to judge");
    assert_eq!(pool.ledger.validators().index_of(&away), None);
    assert_eq!(pool.ledger.validators().count(), 3);
    let refusal = pool.refusal(&proposal(&pool, 3, Parameter::Window, 3));
    assert!(matches!(refusal, Refusal::NotAValidator(_)));
    pool.now_us += 8 * 24 * 3_600_000_000;
    for _ in 0..EPOCH_BLOCKS {
        pool.block(vec![]);
    }
    assert!(pool.ledger.validators().index_of(&away).is_some());
}

#[test]
fn a_snapshot_is_the_ledger_and_nothing_else_passes_for_one() {
    let mut pool = Pool::new(4);
    pool.block(vec![pool.open(1, &key(1)), pool.open(2, &key(2))]);
    pool.block(vec![pool.checkpoint(1, 3), proposal(&pool, 2, Parameter::Window, 4)]);
    let snapshot = pool.ledger.snapshot();
    let restored = Ledger::restore(&snapshot).unwrap();
    assert_eq!(restored.snapshot(), snapshot);
    assert_eq!(restored.head_id(), pool.ledger.head_id());
    let block = pool.propose(0, vec![pool.checkpoint(1, 4)]);
    let certificate = pool.certify(&block, 0, |_| true);
    let mut other = restored;
    other.commit(&block, &certificate, &pool.archive).unwrap();
    pool.append(block, certificate);
    assert_eq!(other.state_hash(), pool.ledger.state_hash());
    for at in 0..snapshot.len() {
        let mut changed = snapshot.clone();
        changed[at] ^= 1;
        // Only the genesis and the header can differ and still fit together; then it is another
        // block.
        if let Ok(ledger) = Ledger::restore(&changed) {
            assert_ne!(
                ledger.head_id(),
                Ledger::restore(&snapshot).unwrap().head_id(),
                "byte {at}"
            );
        }
    }
    let fresh = Ledger::new(pool.ledger.genesis().clone());
    assert_eq!(Ledger::restore(&fresh.snapshot()).unwrap().height(), 0);
}

#[test]
fn a_block_holds_no_more_than_its_limits_and_the_rest_waits() {
    let pool = Pool::new(1);
    let statement = |n: u64| {
        let body = Statement {
            chain: pool.chain(),
            node: key(1).public(),
            subject: Subject::Update,
            hash: Hash::of(&n.to_be_bytes()),
            note: "x".repeat(128),
            time_us: n,
        };
        Transaction::sign(Body::Statement(body), &key(1))
    };
    let all: Vec<_> = (0..3_600).map(statement).collect();
    let bytes: usize = all.iter().map(|tx| tx.as_bytes().len()).sum();
    assert!(bytes > BLOCK_MAX_TRANSACTION_BYTES);
    let proposed =
        pool.ledger.propose(all, None, pool.now_us, key(1).public(), &pool.archive).unwrap();
    let held: usize = proposed.block.transactions.iter().map(|tx| tx.as_bytes().len()).sum();
    assert!(held <= BLOCK_MAX_TRANSACTION_BYTES && held > BLOCK_MAX_TRANSACTION_BYTES - 1000);
    assert_eq!(proposed.block.transactions.len() + proposed.left, 3_600);
    assert_eq!(Block::from_bytes(&proposed.block.to_bytes()).unwrap(), proposed.block);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_same_transactions_in_any_order_give_the_same_chain(
        order in Just((0usize..9).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut first = Pool::new(2);
        let mut second = Pool::new(2);
        let (a, b) = (key(1), key(2));
        let round = vec![
            first.open(1, &a), first.open(2, &b), first.checkpoint(1, 1), first.checkpoint(1, 4),
            first.checkpoint(2, 2), first.close_counting(1, 2, 2, &b), first.tombstone(2, &b),
            first.open(3, &a),
            proposal(&first, 1, Parameter::Window, 3),
        ];
        let shuffled = order.iter().map(|at| round[*at].clone()).collect();
        first.block(round);
        second.block(shuffled);
        prop_assert_eq!(first.ledger.head_id(), second.ledger.head_id());
        prop_assert_eq!(first.ledger.snapshot(), second.ledger.snapshot());
    }

    #[test]
    fn arbitrary_bytes_are_no_block_and_no_snapshot(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = Block::from_bytes(&bytes);
        let _ = Ledger::restore(&bytes);
        let _ = CommitCertificate::from_bytes(&bytes);
        let _ = Header::from_bytes(&bytes);
        let _ = Genesis::from_bytes(&bytes);
    }

    #[test]
    fn mutated_blocks_do_not_panic_and_have_one_encoding(
        at in any::<proptest::sample::Index>(), value in any::<u8>(),
    ) {
        let mut pool = Pool::new(2);
        pool.block(vec![pool.open(1, &key(1))]);
        let block = pool.propose(0, vec![pool.checkpoint(1, 2), pool.open(2, &key(2))]);
        let mut bytes = block.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(read) = Block::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
            if read != block {
                prop_assert!(pool.ledger.validate(&read, 0, pool.now_us, &pool.archive).is_err()
                    || read.header == block.header);
            }
        }
        let mut snapshot = pool.ledger.snapshot();
        let at = at.min(snapshot.len() - 1);
        snapshot[at] = value;
        let _ = Ledger::restore(&snapshot);
    }
}
