//! What the tests of this crate share: engines by name, and records made from a number.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use lucid_store::engine::fault::{FaultOpener, Faults};
use lucid_store::engine::memory::MemoryOpener;
use lucid_store::engine::sled_engine::SledOpener;
use lucid_store::engine::{Engine, Opener, Use};
use lucid_store::{DataDir, Options, Relocated, StoreError};

/// Every engine, each fresh.
pub fn openers() -> Vec<(&'static str, Arc<dyn Opener>)> {
    let faulty = |inner: Arc<dyn Opener>| Arc::new(FaultOpener::new(inner, Faults::default()));
    vec![
        ("sled", Arc::new(SledOpener)),
        ("memory", Arc::new(MemoryOpener::default())),
        ("fault over sled", faulty(Arc::new(SledOpener))),
        ("fault over memory", faulty(Arc::new(MemoryOpener::default()))),
    ]
}

/// Small volumes, so that tests see several.
pub fn options(opener: Arc<dyn Opener>) -> Options {
    Options {
        volume_bytes: 2 * 1024 * 1024,
        opener,
        reserve_bytes: 1024 * 1024,
        ..Options::default()
    }
}

pub fn open(path: &Path, opener: &Arc<dyn Opener>) -> DataDir {
    let (data, report) = DataDir::open(path, options(opener.clone())).unwrap();
    assert_eq!(report.quarantined, vec![]);
    data
}

/// Bytes that do not compress and depend on `seed` alone.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

pub fn key(n: u64) -> Vec<u8> {
    format!("record-{n:08}").into_bytes()
}

/// Records of many sizes: empty, small, at the border of being kept in the index, and large.
pub fn record(n: u64) -> (Vec<u8>, Vec<u8>) {
    const LENGTHS: [usize; 8] = [0, 1, 300, 8192, 8193, 40_000, 65_536, 81_920];
    (key(n), noise(n, LENGTHS[n as usize % LENGTHS.len()]))
}

/// For removals in tests where nothing points to the records.
pub fn nothing_to_settle(_: &Relocated) -> Result<(), StoreError> {
    Ok(())
}

/// An opener that counts, to see what is not opened.
pub struct Counting {
    pub inner: Arc<dyn Opener>,
    pub opened: std::sync::atomic::AtomicUsize,
}

impl Opener for Counting {
    fn open(&self, path: &Path, name: &str, purpose: Use) -> Result<Arc<dyn Engine>, StoreError> {
        self.opened.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.inner.open(path, name, purpose)
    }
}
