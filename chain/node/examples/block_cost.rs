//! What blocks cost on the real database; `docs/chain.md` quotes it.
//!
//! `cargo run --release -p lucid-chain-node --example block_cost`, with `LUCID_BLOCKS` blocks of
//! `LUCID_SESSIONS` checkpoints each.
#![allow(clippy::unwrap_used)] // a measurement may stop anywhere

#[path = "../tests/support/mod.rs"]
mod support;

use lucid_store::{DataDir, Options};
use std::path::Path;
use support::*;

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.metadata().unwrap() {
            meta if meta.is_dir() => bytes_below(&entry.path()),
            meta => meta.len(),
        })
        .sum()
}

/// Resident memory of this process, bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::main]
async fn main() {
    let count: u64 = std::env::var("LUCID_BLOCKS").map_or(2000, |n| n.parse().unwrap());
    let sessions: u8 = std::env::var("LUCID_SESSIONS").map_or(0, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (data, _) = DataDir::open(folder.path(), Options::default()).unwrap();
    let running = start(data.chain()).await;
    for number in 0..sessions {
        running.node.submit(open(number)).unwrap();
    }
    running.node.produce_now().await.unwrap();
    let (disk, memory) = (bytes_below(folder.path()), resident_bytes());
    let begun = std::time::Instant::now();
    for size in 1..=count {
        for number in 0..sessions {
            running.node.submit(checkpoint(number, size)).unwrap();
        }
        running.node.produce_now().await.unwrap();
    }
    let each = begun.elapsed() / count as u32;
    let on_disk = bytes_below(folder.path()).saturating_sub(disk) / count;
    let in_memory = resident_bytes().saturating_sub(memory) / count;
    println!("{count} blocks with {sessions} checkpoints each: {each:?}, {on_disk} bytes on disk");
    println!("{in_memory} bytes of resident memory a block");
    running.stop().await;
    drop(data);
    let before = resident_bytes();
    let (data, _) = DataDir::open(folder.path(), Options::default()).unwrap();
    let begun = std::time::Instant::now();
    let running = start(data.chain()).await;
    println!("opened at height {} in {:?}", running.report.height, begun.elapsed());
    println!("{} bytes more resident after opening", resident_bytes().saturating_sub(before));
    println!("{} bytes on disk after opening", bytes_below(folder.path()));
}
