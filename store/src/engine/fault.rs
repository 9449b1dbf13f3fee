//! The engine that fails on purpose: a full disk, an I/O error, a torn write, a flipped bit.
//!
//! Fault model: a write fails before it changes anything (full, I/O error), or after a part of
//! it was stored (torn), and after a torn write every call fails until the engine is opened
//! again, as after a crash. A bit flips in what is stored, silently.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Cut, Engine, Opener, Operation, Use};
use crate::{Pair, StoreError};

/// One failure to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next write finds the disk full.
    Full,
    /// The next write is refused by the device.
    WriteError,
    /// The next read is refused by the device.
    ReadError,
    /// The next sync is refused by the device.
    SyncError,
    /// Of the next write only the first operations are stored, the last of them cut to so many
    /// bytes; then the engine is dead until it is opened again.
    TornWrite {
        /// Operations stored.
        operations: usize,
        /// Bytes kept of the last one's value.
        bytes: usize,
    },
    /// The next written value is stored with one bit turned over.
    BitFlip {
        /// Which bit, modulo the length of the first value written.
        bit: usize,
    },
}

/// The faults to come, shared with the test that arms them. They strike in order, each once.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    armed: Arc<Mutex<Vec<Fault>>>,
}

impl Faults {
    /// Adds a fault behind those already armed.
    pub fn arm(&self, fault: Fault) {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Whether every armed fault has struck.
    pub fn spent(&self) -> bool {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        if armed.first().is_some_and(wanted) { Some(armed.remove(0)) } else { None }
    }
}

/// An engine around another that fails as [`Faults`] says.
pub struct FaultEngine {
    inner: Arc<dyn Engine>,
    faults: Faults,
    path: PathBuf,
    dead: AtomicBool,
}

impl FaultEngine {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Engine>, faults: Faults) -> FaultEngine {
        FaultEngine { inner, faults, path: "fault engine".into(), dead: AtomicBool::new(false) }
    }

    fn refused(&self, action: &'static str) -> StoreError {
        StoreError::io(action, &self.path, io::Error::other("input/output error made on purpose"))
    }

    fn check_alive(&self) -> Result<(), StoreError> {
        if self.dead.load(Ordering::Acquire) { Err(self.refused("use")) } else { Ok(()) }
    }

    fn read_fault(&self) -> Result<(), StoreError> {
        self.check_alive()?;
        match self.faults.take(|fault| *fault == Fault::ReadError) {
            Some(_) => Err(self.refused("read")),
            None => Ok(()),
        }
    }
}

impl Engine for FaultEngine {
    fn get(&self, space: u32, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_fault()?;
        self.inner.get(space, key)
    }

    fn apply(&self, space: u32, mut operations: Vec<Operation>) -> Result<(), StoreError> {
        self.check_alive()?;
        let fault = self.faults.take(|fault| !matches!(fault, Fault::ReadError | Fault::SyncError));
        match fault {
            Some(Fault::Full) => {
                Err(StoreError::Full { path: self.path.clone(), available: 0, needed: 1 })
            }
            Some(Fault::WriteError) => Err(self.refused("write")),
            Some(Fault::TornWrite { operations: kept, bytes }) => {
                operations.truncate(kept);
                if let Some(Operation::Put(_, value)) = operations.last_mut() {
                    value.truncate(bytes);
                }
                self.inner.apply(space, operations)?;
                self.dead.store(true, Ordering::Release);
                Err(self.refused("write"))
            }
            Some(Fault::BitFlip { bit }) => {
                let value = operations.iter_mut().find_map(|operation| match operation {
                    Operation::Put(_, value) if !value.is_empty() => Some(value),
                    _ => None,
                });
                if let Some(value) = value {
                    let bit = bit % (value.len() * 8);
                    value[bit / 8] ^= 1 << (bit % 8);
                }
                self.inner.apply(space, operations)
            }
            _ => self.inner.apply(space, operations),
        }
    }

    fn scan(
        &self,
        space: u32,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        back: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        self.read_fault()?;
        self.inner.scan(space, from, to, limit, back)
    }

    fn spaces(&self) -> Result<Vec<u32>, StoreError> {
        self.check_alive()?;
        self.inner.spaces()
    }

    fn log_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.inner.log_bytes()
    }

    fn cut(&self) -> Option<Cut> {
        self.inner.cut()
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.check_alive()?;
        match self.faults.take(|fault| *fault == Fault::SyncError) {
            Some(_) => Err(self.refused("sync")),
            None => self.inner.sync(),
        }
    }
}

/// Opens engines of another opener, each wrapped in a [`FaultEngine`] with the same [`Faults`].
pub struct FaultOpener {
    inner: Arc<dyn Opener>,
    faults: Faults,
}

impl FaultOpener {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Opener>, faults: Faults) -> FaultOpener {
        FaultOpener { inner, faults }
    }
}

impl Opener for FaultOpener {
    fn open(&self, path: &Path, name: &str, purpose: Use) -> Result<Arc<dyn Engine>, StoreError> {
        let inner = self.inner.open(path, name, purpose)?;
        let mut engine = FaultEngine::new(inner, self.faults.clone());
        engine.path = path.into();
        Ok(Arc::new(engine))
    }

    fn moved(&self, from: &Path, to: Option<&Path>) {
        self.inner.moved(from, to);
    }
}
