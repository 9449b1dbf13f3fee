//! A node on the real database goes on after a restart.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use lucid_chain_node::check;
use lucid_store::{DataDir, Options};
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
