//! A database that lost blocks is found out, put aside as it was, and never gone on with; one that
//! was only cut off is not taken for it.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use lucid_chain_node::{Node, NodeError, check, holds_mark};
use lucid_evidence::Hash;
use lucid_store::{
    Batch, DataDir, Noted, Options, Pair, ScrubReport, Store, StoreError, Watermark, memory_store,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::*;
use tokio_util::sync::CancellationToken;

fn options() -> Options {
    Options { chain_check: Some(holds_mark), reserve_bytes: 1 << 20, ..Options::default() }
}

/// Blocks in two lives, so that the engine has a snapshot amid its log. Returns their ids.
async fn filled(path: &Path) -> Vec<Hash> {
    let mut ids = Vec::new();
    for life in 0..2u8 {
        let (data, report) = DataDir::open(path, options()).unwrap();
        assert_eq!(report.quarantined, vec![]);
        let running = start(data.chain()).await;
        for round in 1..=6 {
            let _ = running.node.submit(open(life * 10 + round));
            let _ = running.node.submit(checkpoint(life * 10 + 1, round.into()));
            ids.push(running.node.produce_now().await.unwrap().id);
        }
        running.stop().await;
    }
    ids
}

/// A data directory of which only the log differs, cheaply made again and again: the log is zeros
/// behind what was written.
struct Original {
    dir: tempfile::TempDir,
    log: Vec<u8>,
    ids: Vec<Hash>,
}

impl Original {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ids = filled(dir.path()).await;
        let log = fs::read(dir.path().join("chain/db")).unwrap();
        Original { dir, log, ids }
    }

    /// How much of the log is not zeros.
    fn used(&self) -> usize {
        self.log.iter().rposition(|byte| *byte != 0).unwrap() + 1
    }

    fn with_log(&self, log: &[u8]) -> tempfile::TempDir {
        let work = tempfile::tempdir().unwrap();
        for name in ["version", "chain.watermark"] {
            fs::copy(self.dir.path().join(name), work.path().join(name)).unwrap();
        }
        fs::create_dir(work.path().join("chain")).unwrap();
        for (name, bytes) in contents(&self.dir.path().join("chain")) {
            let path = work.path().join("chain").join(&name);
            match name.as_str() {
                "db" => sparse(&path, log),
                _ => fs::write(path, bytes).unwrap(),
            }
        }
        work
    }

    /// Opens a damaged directory. Either every block is there and the chain goes on behind them, or
    /// the damage is told and kept. Says whether the database was put aside.
    async fn examine(&self, log: &[u8], what: &str) -> bool {
        let work = self.with_log(log);
        let before = contents(&work.path().join("chain"));
        let (data, report) = DataDir::open(work.path(), options()).unwrap();
        assert!(!work.path().join("chain.opening").exists(), "{what}");
        if let [aside] = &report.quarantined[..] {
            assert_eq!(aside.name, "chain", "{what}");
            let mut kept = contents(&aside.path);
            kept.retain(|(name, _)| name != "watermark");
            // Compared by hand: what differs must not be printed.
            let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
                files.iter().map(|(name, _)| name.clone()).collect()
            };
            assert_eq!(names(&kept), names(&before), "{what}");
            assert!(kept == before, "{what}: not kept as it was");
            assert!(data.chain().get(b"g").unwrap().is_none(), "{what}: not an empty one");
            assert!(!work.path().join("chain.watermark").exists(), "{what}");
            return true;
        }
        assert_eq!(report.quarantined, vec![], "{what}");
        let found = check(data.chain(), |_, _| {}).unwrap();
        let running = start(data.chain()).await;
        assert_eq!(running.node.head().height, self.ids.len() as u64, "{what}");
        for (height, id) in (1..).zip(&self.ids) {
            match running.node.block(height) {
                Ok(block) => assert_eq!(block.map(|block| block.id()), Some(*id), "{what}"),
                Err(error) => assert!(!found.is_clean(), "{what}: {error} is not told"),
            }
        }
        let next = running.node.produce_now().await.unwrap();
        assert_eq!(next.height, self.ids.len() as u64 + 1, "{what}");
        running.stop().await;
        false
    }
}

fn sparse(path: &Path, log: &[u8]) {
    let end = log.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    fs::write(path, &log[..end]).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(log.len() as u64).unwrap();
}

/// The files of a directory, by name.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn no_flipped_bit_of_the_log_replaces_a_final_block() {
    let original = Original::new().await;
    let used = original.used();
    let mut aside = 0;
    // The first bytes head the segment; the others are at uneven steps.
    let places: Vec<usize> = (0..20).step_by(3).chain((20..used).step_by(used / 30)).collect();
    for at in &places {
        let mut log = original.log.clone();
        log[*at] ^= 1 << (at % 8);
        aside += usize::from(original.examine(&log, &format!("bit {at}")).await);
    }
    assert!(aside > places.len() / 2, "{aside} of {} put aside", places.len());
}

#[tokio::test]
async fn no_cut_of_the_log_replaces_a_final_block() {
    let original = Original::new().await;
    let used = original.used();
    let mut aside = 0;
    for length in (0..used).step_by(used / 10) {
        let what = format!("cut at {length}");
        aside += usize::from(original.examine(&original.log[..length], &what).await);
        let mut zeros = original.log[..length].to_vec();
        zeros.resize(original.log.len(), 0);
        let what = format!("zeros from {length}");
        aside += usize::from(original.examine(&zeros, &what).await);
    }
    assert!(aside >= 18, "{aside} put aside");
    assert!(!original.examine(&original.log, "whole").await);
    assert!(!original.examine(&original.log[..used], "without its zeros").await);
}

#[tokio::test]
async fn a_chain_that_is_gone_or_another_is_told() {
    let original = Original::new().await;
    let work = original.with_log(&original.log);
    fs::remove_dir_all(work.path().join("chain")).unwrap();
    let (data, report) = DataDir::open(work.path(), options()).unwrap();
    let [aside] = &report.quarantined[..] else { panic!("{report:?}") };
    assert!(aside.reason.contains("block 12 was final"), "{}", aside.reason);
    assert!(aside.path.join("watermark").is_file());
    drop(data);
    assert_eq!(DataDir::open(work.path(), options()).unwrap().1.quarantined, vec![]);

    // The chain of another device, in the place of this one.
    let work = original.with_log(&original.log);
    let other = tempfile::tempdir().unwrap();
    let (data, _) = DataDir::open(other.path(), options()).unwrap();
    let clock = TestClock::new();
    let genesis = lucid_chain_node::found("other", &key(1).public(), START_US + 1).unwrap();
    let stop = CancellationToken::new();
    let (store, config) = (data.chain(), clock.config());
    let (node, _) = Node::start(store, genesis, key(1), config, stop.clone()).await.unwrap();
    node.produce_now().await.unwrap();
    stop.cancel();
    node.stopped().await.unwrap();
    drop((node, data));
    fs::remove_dir_all(work.path().join("chain")).unwrap();
    fs::rename(other.path().join("chain"), work.path().join("chain")).unwrap();
    let (_data, report) = DataDir::open(work.path(), options()).unwrap();
    let [aside] = &report.quarantined[..] else { panic!("{report:?}") };
    assert!(aside.reason.contains("and this is chain"), "{}", aside.reason);
}

#[tokio::test]
async fn a_note_that_cannot_be_read_is_told_and_the_chain_kept() {
    let original = Original::new().await;
    let work = original.with_log(&original.log);
    let note = work.path().join("chain.watermark");
    fs::write(&note, [0xa5; 8192]).unwrap();
    let (data, report) = DataDir::open(work.path(), options()).unwrap();
    let [aside] = &report.quarantined[..] else { panic!("{report:?}") };
    assert_eq!(aside.name, "chain.watermark");
    let running = start(data.chain()).await;
    assert_eq!(running.node.head().height, 12);
    assert!(matches!(Watermark::at(&note).read().unwrap(), Noted::Note(_)), "noted anew");
    running.stop().await;
}

#[tokio::test]
async fn a_directory_from_before_gets_its_note_and_a_note_long_past_is_no_alarm() {
    let original = Original::new().await;
    let work = original.with_log(&original.log);
    let note = work.path().join("chain.watermark");
    let old = fs::read(&note).unwrap();
    fs::remove_file(&note).unwrap();
    {
        let (data, report) = DataDir::open(work.path(), options()).unwrap();
        assert_eq!(report.quarantined, vec![]);
        let running = start(data.chain()).await;
        assert!(matches!(Watermark::at(&note).read().unwrap(), Noted::Note(_)));
        for _ in 0..70 {
            running.node.produce_now().await.unwrap();
        }
        running.stop().await;
    }
    // As after a program that knew nothing of notes had gone on with the chain.
    fs::write(&note, old).unwrap();
    let (_data, report) = DataDir::open(work.path(), options()).unwrap();
    assert_eq!(report.quarantined, vec![]);
}

#[tokio::test]
async fn an_opening_that_was_cut_off_is_begun_again_from_the_same_bytes() {
    let original = Original::new().await;
    let mut log = original.log.clone();
    log[original.used() / 2] ^= 1;
    let work = original.with_log(&log);
    let before = contents(&work.path().join("chain"));
    // Cut off after the engine had looked at it: the asking ends the process.
    let cut = |_: Arc<dyn Store>, _: &[u8]| -> Result<(), StoreError> { panic!("cut off") };
    let options_cut = Options { chain_check: Some(cut), ..options() };
    let path = work.path().to_owned();
    std::thread::spawn(move || drop(DataDir::open(&path, options_cut))).join().unwrap_err();
    assert!(work.path().join("chain.opening/complete").exists());
    assert!(contents(&work.path().join("chain")) != before, "the engine cut its log");
    let (_data, report) = DataDir::open(work.path(), options()).unwrap();
    let [aside] = &report.quarantined[..] else { panic!("{report:?}") };
    let mut kept = contents(&aside.path);
    kept.retain(|(name, _)| name != "watermark");
    assert!(kept == before, "not kept as it was");
}

#[tokio::test]
async fn a_running_node_is_not_given_a_database_that_lost_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = DataDir::open(dir.path(), options()).unwrap();
    let running = start(data.chain()).await;
    running.node.produce_now().await.unwrap();
    fs::remove_dir_all(dir.path().join("chain")).unwrap();
    fs::create_dir(dir.path().join("chain")).unwrap();
    let refused = data.reopen_chain().unwrap_err();
    assert!(matches!(refused, StoreError::Lost { .. }), "{refused}");
    assert!(matches!(running.node.block(1), Err(NodeError::Store(StoreError::Closed))));
}

/// A store whose process is killed between a block and its note.
struct Killed {
    inner: Arc<dyn Store>,
    now: AtomicBool,
}

impl Store for Killed {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }
    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.apply(batch)
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }
    fn mark(&self, note: &[u8]) -> Result<(), StoreError> {
        if self.now.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        self.inner.mark(note)
    }
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.inner.scan(from, to, limit)
    }
    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.inner.scan_back(from, to, limit)
    }
    fn scrub(&self) -> Result<ScrubReport, StoreError> {
        self.inner.scrub()
    }
    fn raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.raw(key)
    }
}

#[tokio::test]
async fn a_kill_between_block_and_note_is_no_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain.watermark");
    let store: Arc<dyn Store> =
        Arc::new(memory_store("chain").with_watermark(Watermark::at(&path)));
    let noted = || match Watermark::at(&path).read().unwrap() {
        Noted::Note(note) => note,
        other => panic!("{other:?}"),
    };
    for life in 1..=5u64 {
        let killed = Arc::new(Killed { inner: store.clone(), now: AtomicBool::new(false) });
        let running = start(killed.clone()).await;
        let told = running.node.produce_now().await.unwrap();
        let mut blocks = running.node.subscribe();
        killed.now.store(true, Ordering::SeqCst);
        running.node.produce_now().await.unwrap_err();
        // Durable, not noted, and therefore told to nobody and not followed by another.
        assert!(blocks.try_recv().is_err());
        running.node.produce_now().await.unwrap_err();
        assert_eq!(running.node.head().height, told.height);
        holds_mark(store.clone(), &noted()).unwrap();
        let running = start(store.clone()).await;
        assert_eq!(running.report.height, life * 2, "the durable block is the chain's");
        holds_mark(store.clone(), &noted()).unwrap();
        running.stop().await;
    }
}
