//! The node from outside: sessions, proofs, limits, clocks, restarts.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use lucid_chain::ledger::Refusal;
use lucid_chain::transaction::{Body, NodeRegister};
use lucid_chain::{AnchorProof, Block, Transaction};
use lucid_chain_node::{
    Config, KEEP_EMPTY_BLOCKS_MIN, MEMPOOL_MAX_TRANSACTIONS, Node, NodeError, Production,
    SessionStatus, State, SubmitError, WaitError, check, rebuild_indexes,
};
use lucid_evidence::Hash;
use lucid_store::engine::Engine;
use lucid_store::engine::fault::{Fault, FaultEngine, Faults};
use lucid_store::engine::memory::MemoryEngine;
use lucid_store::memory_store;
use std::sync::Arc;
use std::time::Duration;
use support::*;
use tokio_util::sync::CancellationToken;

fn memory() -> Arc<dyn Engine> {
    Arc::new(MemoryEngine::default())
}

async fn include(running: &Running, transactions: Vec<Transaction>) -> u64 {
    for tx in transactions {
        running.node.submit(tx).unwrap();
    }
    running.node.produce_now().await.unwrap().height
}

#[tokio::test]
async fn a_session_is_anchored_and_proved() {
    let running = start(Arc::new(memory_store("chain"))).await;
    let node = &running.node;
    assert_eq!(node.head().height, 0);
    include(&running, vec![open(1)]).await;
    for size in 1..5 {
        include(&running, vec![checkpoint(1, size), statement(size)]).await;
    }
    let SessionStatus::Open(status) = node.session(&session(1)).unwrap().unwrap() else { panic!() };
    assert_eq!(status.tree_size, 4);
    include(&running, vec![close(1, 4, 4)]).await;
    include(&running, vec![tombstone(1)]).await;
    let proof = node.prove(&session(1)).unwrap();
    let anchored = AnchorProof::from_bytes(&proof.to_bytes()).unwrap().verify(&session(1)).unwrap();
    assert_eq!(anchored.chain, genesis().hash());
    assert_eq!((anchored.witnesses.len(), anchored.validators), (1, 1));
    assert_eq!(anchored.checkpoints.len(), 4);
    assert_eq!(anchored.closed.unwrap().height, 6);
    assert_eq!(anchored.tombstone.unwrap().height, 7);
    let SessionStatus::Closed(closed) = node.session(&session(1)).unwrap().unwrap() else {
        panic!()
    };
    assert_eq!((closed.opened, closed.closed, closed.tombstone), (1, 6, Some(7)));
    assert!(matches!(node.prove(&session(2)), Err(NodeError::UnknownSession(_))));
    assert!(node.session(&session(2)).unwrap().is_none());
    let head = node.head();
    assert_eq!((head.height, head.witnesses, head.validators.count()), (7, 1, 1));
    let block: Block = node.block(7).unwrap().unwrap();
    assert_eq!(block.id(), head.id);
    assert!(node.block(8).unwrap().is_none() && node.block(0).unwrap().is_none());
    let included = node.transaction(&close(1, 4, 4).id()).unwrap().unwrap();
    assert_eq!((included.height, included.transaction), (6, close(1, 4, 4)));
    running.stop().await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let engine = memory();
    let mut last = genesis().hash();
    // More than two snapshots and several groups of ids.
    for round in 0..15u64 {
        let running = start(framed(&engine)).await;
        assert_eq!(running.report.height, round * 10);
        assert_eq!(running.report.snapshot, round * 10 / 64 * 64);
        assert_eq!(running.report.damaged, Vec::<String>::new());
        assert_eq!(running.node.head().id, last);
        if round == 0 {
            running.node.submit(open(1)).unwrap();
        } else {
            let refusal = running.node.submit(open(1)).unwrap_err();
            assert!(matches!(
                refusal,
                SubmitError::Refused(Refusal::AlreadyIncluded { height: 1, .. })
            ));
            running.node.submit(checkpoint(1, round)).unwrap();
        }
        for _ in 0..10 {
            last = running.node.produce_now().await.unwrap().id;
        }
        let anchored = running.node.prove(&session(1)).unwrap().verify(&session(1)).unwrap();
        assert_eq!(anchored.checkpoints.len() as u64, round);
        running.stop().await;
    }
    let report = check(framed(&engine), |_, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.height, report.blocks, report.transactions), (150, 150, 15));
}

#[tokio::test]
async fn a_session_id_stays_used_after_a_restart() {
    let engine = memory();
    let running = start(framed(&engine)).await;
    include(&running, vec![open(1), close(1, 0, 0)]).await;
    running.stop().await;
    let running = start(framed(&engine)).await;
    let Body::SessionOpen(mut body) = open(1).body().clone() else { panic!() };
    body.time_us += 1;
    let again = Transaction::sign(Body::SessionOpen(body), &key(1));
    let refusal = running.node.submit(again).unwrap_err();
    assert!(matches!(refusal, SubmitError::Refused(Refusal::SessionIdUsed(_))), "{refusal}");
}

#[tokio::test]
async fn submitting_twice_is_one_and_refusals_are_told_at_once() {
    let running = start(Arc::new(memory_store("chain"))).await;
    let node = &running.node;
    assert_eq!(node.submit(open(1)).unwrap(), node.submit(open(1)).unwrap());
    assert_eq!(node.head().waiting, 1);
    let early = node.submit(checkpoint(2, 1)).unwrap_err();
    assert!(matches!(early, SubmitError::Refused(Refusal::SessionUnknown(_))));
    node.submit(checkpoint(1, 1)).unwrap();
    let block = node.produce_now().await.unwrap();
    assert_eq!(block.transactions.len(), 2);
    let repeated = node.submit(open(1)).unwrap_err();
    let SubmitError::Refused(refusal) = repeated else { panic!("{repeated}") };
    assert!(refusal.is_repeated());
}

#[tokio::test]
async fn waiting_ends_with_the_block_or_the_reason() {
    let running = start(Arc::new(memory_store("chain"))).await;
    let node = running.node.clone();
    let id = node.submit(open(1)).unwrap();
    let waiting = tokio::spawn(async move { node.wait_for(&id).await });
    tokio::task::yield_now().await;
    running.node.produce_now().await.unwrap();
    let included = waiting.await.unwrap().unwrap();
    assert_eq!((included.height, included.place), (1, 0));
    assert_eq!(
        running.node.wait_for(&id).await.unwrap(),
        included,
        "also when it is there already"
    );
    let unknown = statement(9).id();
    assert!(matches!(running.node.wait_for(&unknown).await, Err(WaitError::Unknown { .. })));
}

#[tokio::test]
async fn a_full_mempool_refuses_and_drops_nothing() {
    let running = start(Arc::new(memory_store("chain"))).await;
    for number in 0..MEMPOOL_MAX_TRANSACTIONS as u64 {
        running.node.submit(statement(number)).unwrap();
    }
    let refused = running.node.submit(statement(u64::MAX)).unwrap_err();
    assert!(matches!(refused, SubmitError::Full { transactions: MEMPOOL_MAX_TRANSACTIONS, .. }));
    let mut taken = 0;
    while running.node.head().waiting > 0 {
        taken += running.node.produce_now().await.unwrap().transactions.len();
    }
    assert_eq!(taken, MEMPOOL_MAX_TRANSACTIONS);
    running.node.submit(statement(u64::MAX)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn blocks_come_each_interval_whatever_the_wall_clock_does() {
    let clock = TestClock::new();
    let config = Config { production: Production::Interval, ..clock.config() };
    let running = start_with(Arc::new(memory_store("chain")), config).await;
    let mut blocks = running.node.subscribe();
    let begun = tokio::time::Instant::now();
    let mut last = 0;
    for height in 1..=6 {
        match height {
            3 => clock.set(START_US + 3_600_000_000),
            5 => clock.set(START_US),
            _ => {}
        }
        let block = blocks.recv().await.unwrap();
        assert_eq!(block.height, height);
        assert!(block.time_us > last, "block time always grows");
        if height == 5 || height == 6 {
            assert_eq!(block.time_us, last + 1, "an hour back");
        }
        last = block.time_us;
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(60), "six blocks of ten seconds");
    assert!(running.node.head().clock_behind_us > 3_000_000_000);
    clock.set(last + 5_000_000);
    assert_eq!(blocks.recv().await.unwrap().time_us, last + 5_000_000);
    running.stop().await;
}

#[tokio::test]
async fn a_shutdown_puts_what_waits_into_a_last_block() {
    let engine = memory();
    let running = start(framed(&engine)).await;
    let node = running.node.clone();
    let id = node.submit(open(1)).unwrap();
    running.stop().await;
    assert_eq!(node.state(), State::Stopped);
    assert_eq!(node.wait_for(&id).await.unwrap().height, 1, "reading goes on");
    assert!(matches!(node.submit(open(2)), Err(SubmitError::Stopped)));
    assert!(matches!(node.produce_now().await, Err(NodeError::Stopped)));
    assert!(check(framed(&engine), |_, _| {}).unwrap().is_clean());
}

#[tokio::test]
async fn a_full_disk_is_waited_out_and_the_same_block_is_made() {
    let faults = Faults::default();
    let engine: Arc<dyn Engine> = Arc::new(FaultEngine::new(memory(), faults.clone()));
    let running = start(framed(&engine)).await;
    let node = &running.node;
    node.submit(open(1)).unwrap();
    faults.arm(Fault::Full);
    let error = node.produce_now().await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert!(matches!(node.state(), State::Waiting(_)));
    assert_eq!(node.head().height, 0);
    assert_eq!(node.produce_now().await.unwrap().transactions, [open(1).id()]);
    assert_eq!(node.state(), State::Running);
    faults.arm(Fault::SyncError);
    assert!(!node.produce_now().await.unwrap_err().is_passing());
    assert!(
        node.stopped().await.is_err(),
        "after a failed sync nothing is sure: it is opened anew"
    );
    assert!(matches!(node.submit(open(2)), Err(SubmitError::Stopped)));
    let running = start(framed(&engine)).await;
    assert_eq!(running.node.head().height, 1);
}

#[tokio::test]
async fn other_chains_and_other_keys_are_refused() {
    let engine = memory();
    start(framed(&engine)).await.stop().await;
    let other = lucid_chain_node::found("other", &key(1).public(), START_US).unwrap();
    let config = TestClock::new().config();
    let token = CancellationToken::new;
    let refused = Node::start(framed(&engine), other, key(1), config.clone(), token()).await;
    assert!(matches!(refused, Err(NodeError::OtherChain { .. })));
    let refused = Node::start(framed(&engine), genesis(), key(2), config, token()).await;
    assert!(matches!(refused, Err(NodeError::NotAlone { validators: 1, .. })));
    assert_eq!(lucid_chain_node::genesis(&framed(&engine)).unwrap(), Some(genesis()));
    assert!(lucid_chain_node::found("", &key(1).public(), 0).is_err());
}

#[tokio::test]
async fn a_second_validator_is_not_taken_while_there_are_no_peers() {
    let running = start(Arc::new(memory_store("chain"))).await;
    let body = NodeRegister::new(genesis().hash(), &key(2), key(1).public(), "second".into());
    let tx = Transaction::sign(Body::NodeRegister(body), &key(1));
    assert!(matches!(running.node.submit(tx), Err(SubmitError::Alone)));
}

#[tokio::test]
async fn old_empty_blocks_are_forgotten_and_proofs_go_on() {
    let engine = memory();
    let config = Config { keep_empty_blocks: 1, ..TestClock::new().config() };
    let running = start_with(framed(&engine), config).await;
    include(&running, vec![open(1)]).await;
    let keep = KEEP_EMPTY_BLOCKS_MIN;
    for _ in 0..40 {
        include(&running, vec![]).await;
    }
    include(&running, vec![checkpoint(1, 1)]).await;
    for _ in 0..keep + 40 {
        include(&running, vec![]).await;
    }
    let node = &running.node;
    let id = match node.block(20) {
        Err(NodeError::Forgotten { height: 20, id }) => id,
        other => panic!("{other:?}"),
    };
    assert_ne!(id, Hash([0; 32]));
    assert!(node.block(1).unwrap().is_some() && node.block(42).unwrap().is_some());
    include(&running, vec![close(1, 1, 1)]).await;
    let anchored = node.prove(&session(1)).unwrap().verify(&session(1)).unwrap();
    assert_eq!(anchored.head_height, keep + 83);
    running.stop().await;
    let report = check(framed(&engine), |_, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.forgotten > 60 && report.forgotten < 90, "{}", report.forgotten);
    assert_eq!(start(framed(&engine)).await.report.height, keep + 83);
}

/// All keys and values as they lie in the engine.
fn records(engine: &Arc<dyn Engine>) -> Vec<(Vec<u8>, Vec<u8>)> {
    engine.scan(0, &[0], None, usize::MAX, false).unwrap()
}

#[tokio::test]
async fn lost_indexes_are_found_missing_and_rebuilt() {
    let engine = memory();
    let running = start(framed(&engine)).await;
    include(&running, vec![open(1)]).await;
    include(&running, vec![open(2), checkpoint(1, 3)]).await;
    for _ in 0..70 {
        include(&running, vec![]).await;
    }
    include(&running, vec![close(1, 3, 1), tombstone(1)]).await;
    running.stop().await;
    let whole = records(&engine);
    let store = framed(&engine);
    let mut batch = lucid_store::Batch::new();
    for (key, _) in &whole {
        if b"iestnd".contains(&key[0]) {
            batch.delete(key.clone());
        }
    }
    store.apply(batch).unwrap();
    let report = check(framed(&engine), |_, _| {}).unwrap();
    assert_eq!(report.missing_indexes, (5 + 5 + 2) + (2 + 3), "{report:?}");
    assert_eq!(rebuild_indexes(framed(&engine)).unwrap(), 0);
    assert_eq!(records(&engine), whole, "the rebuilt database is the same, byte for byte");
    assert!(check(framed(&engine), |_, _| {}).unwrap().is_clean());
}

#[tokio::test]
async fn each_damaged_record_is_noticed_and_what_can_go_on_goes_on() {
    let engine = memory();
    let running = start(framed(&engine)).await;
    include(&running, vec![open(1)]).await;
    for size in 1..70 {
        include(&running, vec![checkpoint(1, size)]).await;
    }
    running.stop().await;
    let head = start(framed(&engine)).await.node.head();
    for (record, value) in records(&engine) {
        let damaged: Arc<dyn Engine> = Arc::new(copy(&*engine));
        let mut changed = value.clone();
        *changed.last_mut().unwrap() ^= 1;
        damaged
            .apply(0, vec![lucid_store::engine::Operation::Put(record.clone(), changed)])
            .unwrap();
        let (what, shown) = (record[0] as char, format!("{:?}", &record[..record.len().min(12)]));
        match check(framed(&damaged), |_, _| {}) {
            // Guards and snapshots are checked when they are used, and can be done without.
            Ok(report) if matches!(what, 'b' | 'x') => {
                let sessions: Vec<_> = report.problems.iter().map(|p| p.sessions.clone()).collect();
                assert_eq!(sessions, [vec![session(1)]], "{shown}");
            }
            Ok(report) => assert!(!report.is_clean() || matches!(what, 'p' | 'q' | 'z'), "{shown}"),
            Err(error) => assert_eq!(what, 'g', "{error}"),
        }
        let config = TestClock::new().config();
        let opened =
            Node::start(framed(&damaged), genesis(), key(1), config, CancellationToken::new())
                .await;
        match opened {
            Ok((node, report)) => {
                // The newest head record damaged: the block before is the head; it is made again
                // from its guard.
                let lost = what == 'c' && report.height + 1 == head.height;
                assert!(node.head().id == head.id || lost, "{shown}");
                if matches!(what, 'c' | 'z') {
                    assert!(!report.damaged.is_empty(), "{shown}");
                }
                let block = node.produce_now().await;
                assert!(block.is_ok(), "{shown}: {block:?}");
                if lost {
                    assert_eq!(block.unwrap().id, head.id, "the very same block");
                }
            }
            Err(error) => {
                assert!(matches!(what, 'b' | 'x' | 'g' | 'i'), "{shown}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn an_empty_block_costs_little() {
    let engine = memory();
    let running = start(framed(&engine)).await;
    let bytes = |engine: &Arc<dyn Engine>| -> usize {
        records(engine).iter().map(|(key, value)| key.len() + value.len()).sum()
    };
    for _ in 0..130 {
        include(&running, vec![]).await;
    }
    let before = bytes(&engine);
    for _ in 0..128 {
        include(&running, vec![]).await;
    }
    let each = (bytes(&engine) - before) / 128;
    println!("{each} bytes for an empty block with one validator");
    assert!(each < 620, "{each} bytes");
}
