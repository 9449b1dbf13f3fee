//! A node on the real database goes on after a restart.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use lucid_chain_node::{NodeError, State, check};
use lucid_store::engine::fault::{Fault, FaultOpener, Faults};
use lucid_store::{DataDir, Options, StoreError};
use std::sync::Arc;
use support::*;

#[tokio::test]
async fn a_chain_on_disk_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = genesis().hash();
    for round in 0..3u64 {
        let (data, _) = DataDir::open(folder.path(), Options::default()).unwrap();
        let running = start(data.chain()).await;
        assert_eq!((running.report.height, running.node.head().id), (round * 5, last));
        let _ = running.node.submit(open(1));
        for _ in 0..5 {
            last = running.node.produce_now().await.unwrap().id;
        }
        running.stop().await;
        assert!(check(data.chain(), |_, _| {}).unwrap().is_clean());
    }
}

/// A data directory whose disk fails when it is told to.
fn failing(folder: &std::path::Path) -> (DataDir, Faults) {
    let faults = Faults::default();
    let opener = Arc::new(FaultOpener::new(Options::default().opener, faults.clone()));
    let (data, _) = DataDir::open(folder, Options { opener, ..Options::default() }).unwrap();
    (data, faults)
}

#[tokio::test]
async fn a_node_that_failed_is_opened_again_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let (data, faults) = failing(folder.path());
    let running = start(data.chain()).await;
    let (node, clone) = (&running.node, running.node.clone());
    let mut blocks = node.subscribe();
    node.produce_now().await.unwrap();
    node.submit(open(1)).unwrap();

    faults.arm(Fault::SyncError);
    node.produce_now().await.unwrap_err();
    assert!(faults.spent() && matches!(node.state(), State::Failed(_)));
    node.submit(open(2)).unwrap_err();
    // Nothing to do for one that runs, and no other way back than this.
    data.reopen_chain().unwrap();
    node.reopen().await.unwrap();
    node.reopen().await.unwrap();
    assert_eq!(node.state(), State::Running);

    // What waited was forgotten; it is taken again, and clones and subscribers see it.
    let again = node.submit(open(1));
    assert!(again.is_ok() || node.session(&session(1)).unwrap().is_some(), "{again:?}");
    clone.produce_now().await.unwrap();
    assert!(node.session(&session(1)).unwrap().is_some());
    let heights: Vec<u64> =
        std::iter::from_fn(|| blocks.try_recv().ok()).map(|block| block.height).collect();
    assert!(heights.is_sorted() && *heights.last().unwrap() == node.head().height, "{heights:?}");
    running.stop().await;
    assert!(check(data.chain(), |_, _| {}).unwrap().is_clean());
}

#[tokio::test]
async fn a_chain_that_is_gone_is_not_begun_anew_under_a_running_node() {
    let folder = tempfile::tempdir().unwrap();
    let (data, faults) = failing(folder.path());
    let running = start(data.chain()).await;
    running.node.produce_now().await.unwrap();
    faults.arm(Fault::SyncError);
    running.node.produce_now().await.unwrap_err();
    std::fs::remove_dir_all(folder.path().join("chain")).unwrap();
    std::fs::create_dir(folder.path().join("chain")).unwrap();
    data.reopen_chain().unwrap();
    let refused = running.node.reopen().await.unwrap_err();
    assert!(matches!(refused, NodeError::Missing { .. }), "{refused}");
    assert!(matches!(running.node.state(), State::Failed(_)));
    // A database that does not open is closed, and says so to everyone.
    std::fs::remove_dir_all(folder.path().join("chain")).unwrap();
    std::fs::write(folder.path().join("chain"), b"in the way").unwrap();
    data.reopen_chain().unwrap_err();
    assert!(matches!(data.chain().get(b"x"), Err(StoreError::Closed)));
}
