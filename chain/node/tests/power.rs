//! Power cuts at every single write and sync of a working node: what was acknowledged is there, and
//! nothing is replaced.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use lucid_chain::Transaction;
use lucid_chain_node::{Node, check, holds_mark};
use lucid_evidence::Hash;
use lucid_store::engine::Engine;
use lucid_store::engine::memory::MemoryEngine;
use lucid_store::{Framed, Noted, Watermark};
use std::path::Path;
use std::sync::Arc;
use support::*;
use tokio_util::sync::CancellationToken;

/// The transactions of each block of the work.
fn work() -> Vec<Vec<Transaction>> {
    vec![
        vec![open(1)],
        vec![checkpoint(1, 1), open(2)],
        vec![],
        vec![checkpoint(1, 2), close(2, 0, 0)],
        vec![close(1, 2, 2), tombstone(2)],
        vec![tombstone(1), open(3)],
    ]
}

/// Works until done or dead; returns the blocks whose making was acknowledged.
async fn live(engine: &Arc<DyingEngine>, watermark: &Path) -> Vec<(u64, Hash)> {
    let engine: Arc<dyn Engine> = engine.clone();
    let config = TestClock::new().config();
    let store = Framed::new("chain", engine).with_watermark(Watermark::at(watermark));
    let started =
        Node::start(Arc::new(store), genesis(), key(1), config, CancellationToken::new()).await;
    let Ok((node, _)) = started else { return vec![] };
    let mut acknowledged = Vec::new();
    for transactions in work() {
        for tx in transactions {
            // Already there when the work goes on after a cut.
            let _ = node.submit(tx);
        }
        match node.produce_now().await {
            Ok(block) => acknowledged.push((block.height, block.id)),
            Err(_) => break,
        }
    }
    acknowledged
}

/// Blocks that the tests' node makes before, so that a snapshot falls into the work.
async fn prepared() -> MemoryEngine {
    let engine = DyingEngine::new(&MemoryEngine::default(), u64::MAX, Left::All);
    let store: Arc<dyn Engine> = engine.clone();
    let running = start(framed(&store)).await;
    for _ in 0..61 {
        running.node.produce_now().await.unwrap();
    }
    running.stop().await;
    copy(&*engine)
}

#[tokio::test]
async fn a_cut_at_every_write_loses_and_replaces_nothing() {
    let base = prepared().await;
    let dir = tempfile::tempdir().unwrap();
    let mut cuts = 0;
    for left in [Left::All, Left::Nothing, Left::Torn] {
        for calls in 0.. {
            let engine = DyingEngine::new(&base, calls, left);
            let watermark = dir.path().join(format!("{left:?}-{calls}"));
            let acknowledged = live(&engine, &watermark).await;
            let done = !engine.is_dead();
            let found: Arc<dyn Engine> = Arc::new(engine.after_cut());
            match Watermark::at(&watermark).read().unwrap() {
                Noted::Note(note) => holds_mark(framed(&found), &note).unwrap(),
                noted => assert_eq!((noted, acknowledged.len()), (Noted::Nothing, 0)),
            }
            let running = start(framed(&found)).await;
            for (height, id) in &acknowledged {
                let block = running.node.block(*height).unwrap();
                assert_eq!(block.map(|block| block.id()), Some(*id), "{left:?} cut at {calls}");
            }
            let last = acknowledged.last().map_or(61, |(height, _)| *height);
            let height = running.node.head().height;
            assert!(height == last || height == last + 1, "{left:?} cut at {calls}: {height}");
            if let Some(resumed) = running.report.resumed {
                // What may have been signed is what is committed.
                assert_eq!(resumed, height + 1);
            }
            // The work goes on to its end and the session is whole.
            for transactions in work() {
                for tx in transactions {
                    let _ = running.node.submit(tx);
                }
                running.node.produce_now().await.unwrap();
            }
            let anchored = running.node.prove(&session(1)).unwrap().verify(&session(1)).unwrap();
            assert_eq!(anchored.checkpoints.len(), 2, "{left:?} cut at {calls}");
            assert!(anchored.tombstone.is_some());
            running.stop().await;
            let report = check(framed(&found), |_, _| {}).unwrap();
            assert!(report.is_clean(), "{left:?} cut at {calls}: {report:?}");
            cuts += 1;
            if done {
                break;
            }
        }
    }
    assert!(cuts > 60, "{cuts} cuts");
}

#[tokio::test]
async fn a_guarded_block_is_the_one_that_is_made_after_the_restart() {
    // The guard is durable after two calls (write, sync); the third, the commit, fails.
    let base = prepared().await;
    let engine = DyingEngine::new(&base, 2, Left::Nothing);
    let store: Arc<dyn Engine> = engine.clone();
    let running = start(framed(&store)).await;
    running.node.submit(open(1)).unwrap();
    assert!(running.node.produce_now().await.is_err());
    let found: Arc<dyn Engine> = Arc::new(engine.after_cut());
    let running = start(framed(&found)).await;
    assert_eq!(running.report.resumed, Some(62));
    running.node.submit(open(2)).unwrap();
    let block = running.node.produce_now().await.unwrap();
    assert_eq!((block.height, &block.transactions[..]), (62, &[open(1).id()][..]));
    assert_eq!(running.node.head().waiting, 1, "what came later waits for the next block");
}
