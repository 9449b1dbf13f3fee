//! What the tests of the node share: a device with its chain, and an engine that dies where it is
//! told to.
#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used)] // a helper of tests, which the lint does not see to be one

use lucid_chain::transaction::{Body, SessionClose, SessionOpen, Statement, Subject, Tombstone};
use lucid_chain::{Genesis, Transaction};
use lucid_chain_node::{Config, Node, OpenReport, Production};
use lucid_evidence::{Checkpoint, Hash, SessionId, SigningKey};
use lucid_store::engine::memory::MemoryEngine;
use lucid_store::engine::{Engine, Operation};
use lucid_store::{Framed, Pair, Store, StoreError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// 2026-11-21 in microseconds.
pub const START_US: u64 = 1_795_219_200_000_000;

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub fn session(number: u8) -> SessionId {
    SessionId::new(START_US / 1000, [number; 10])
}

pub fn genesis() -> Genesis {
    lucid_chain_node::found("test", &key(1).public(), START_US).unwrap()
}

/// A clock that the test sets.
#[derive(Clone)]
pub struct TestClock(pub Arc<AtomicU64>);

impl TestClock {
    pub fn new() -> Self {
        TestClock(Arc::new(AtomicU64::new(START_US)))
    }

    pub fn set(&self, us: u64) {
        self.0.store(us, Ordering::SeqCst);
    }

    pub fn config(&self) -> Config {
        let clock = self.0.clone();
        Config {
            production: Production::OnDemand,
            // Every reading is a second later.
            clock: Arc::new(move || clock.fetch_add(1_000_000, Ordering::SeqCst)),
            ..Config::default()
        }
    }
}

pub fn framed(engine: &Arc<dyn Engine>) -> Arc<dyn Store> {
    Arc::new(Framed::new("chain", engine.clone()))
}

pub struct Running {
    pub node: Node,
    pub report: OpenReport,
    pub shutdown: CancellationToken,
}

pub async fn start(store: Arc<dyn Store>) -> Running {
    start_with(store, TestClock::new().config()).await
}

pub async fn start_with(store: Arc<dyn Store>, config: Config) -> Running {
    let shutdown = CancellationToken::new();
    let (node, report) =
        Node::start(store, genesis(), key(1), config, shutdown.clone()).await.unwrap();
    Running { node, report, shutdown }
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.node.stopped().await.unwrap();
    }
}

pub fn open(number: u8) -> Transaction {
    let body = SessionOpen {
        chain: genesis().hash(),
        session: session(number),
        session_key: key(100).public(),
        device: key(1).public(),
        time_us: START_US,
        policy: None,
    };
    Transaction::sign(Body::SessionOpen(body), &key(1))
}

pub fn checkpoint(number: u8, tree_size: u64) -> Transaction {
    let root = Hash::of(&tree_size.to_be_bytes());
    let checkpoint = Checkpoint { session: session(number), tree_size, root, time_us: START_US };
    Transaction::checkpoint(&checkpoint.sign(&key(100)))
}

/// A closing that counts so many checkpoints.
pub fn close(number: u8, tree_size: u64, checkpoints: u64) -> Transaction {
    let body = SessionClose {
        chain: genesis().hash(),
        session: session(number),
        device: key(1).public(),
        manifest: Hash::of(b"manifest"),
        tree_size,
        root: Hash::of(&tree_size.to_be_bytes()),
        time_us: START_US,
        checkpoints,
    };
    Transaction::sign(Body::SessionClose(body), &key(1))
}

pub fn tombstone(number: u8) -> Transaction {
    let body = Tombstone {
        chain: genesis().hash(),
        session: session(number),
        device: key(1).public(),
        reason: "asked for".into(),
        time_us: START_US,
    };
    Transaction::sign(Body::Tombstone(body), &key(1))
}

pub fn statement(number: u64) -> Transaction {
    let body = Statement {
        chain: genesis().hash(),
        node: key(1).public(),
        subject: Subject::AuditLog,
        hash: Hash::of(&number.to_be_bytes()),
        note: String::new(),
        time_us: number,
    };
    Transaction::sign(Body::Statement(body), &key(1))
}

/// What of the writes that were not synced a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// All of them.
    All,
    /// None.
    Nothing,
    /// A part of the last batch, its last value cut in half, the earlier ones whole.
    Torn,
}

/// An engine whose power is cut at a given call: that call and all later ones fail.
pub struct DyingEngine {
    /// What is there after the cut.
    durable: MemoryEngine,
    live: MemoryEngine,
    unsynced: Mutex<Vec<Vec<Operation>>>,
    calls_left: AtomicU64,
    left: Left,
}

impl DyingEngine {
    /// Starts from what `durable` holds and dies at the call number `calls` that writes or syncs.
    pub fn new(durable: &dyn Engine, calls: u64, left: Left) -> Arc<Self> {
        let engine = DyingEngine {
            durable: copy(durable),
            live: copy(durable),
            unsynced: Mutex::new(Vec::new()),
            calls_left: AtomicU64::new(calls),
            left,
        };
        Arc::new(engine)
    }

    /// What is found after the cut.
    pub fn after_cut(&self) -> MemoryEngine {
        let engine = copy(&self.durable);
        let unsynced = self.unsynced.lock().unwrap();
        let whole = match self.left {
            Left::Nothing => return engine,
            Left::All => unsynced.len(),
            Left::Torn => unsynced.len().saturating_sub(1),
        };
        for batch in &unsynced[..whole] {
            engine.apply(0, batch.clone()).unwrap();
        }
        if self.left == Left::Torn
            && let Some(last) = unsynced.last()
        {
            let mut part = last[..last.len().div_ceil(2)].to_vec();
            if let Some(Operation::Put(_, value)) = part.last_mut() {
                value.truncate(value.len() / 2);
            }
            engine.apply(0, part).unwrap();
        }
        engine
    }

    fn call(&self) -> Result<(), StoreError> {
        let left = self
            .calls_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Closed),
        }
    }

    pub fn is_dead(&self) -> bool {
        self.calls_left.load(Ordering::SeqCst) == 0
    }
}

/// A copy of everything in an engine.
pub fn copy(engine: &dyn Engine) -> MemoryEngine {
    let twin = MemoryEngine::default();
    let all = engine.scan(0, &[0], None, usize::MAX, false).unwrap();
    let puts = all.into_iter().map(|(key, value)| Operation::Put(key, value)).collect();
    twin.apply(0, puts).unwrap();
    twin
}

impl Engine for DyingEngine {
    fn get(&self, space: u32, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.live.get(space, key)
    }

    fn apply(&self, space: u32, operations: Vec<Operation>) -> Result<(), StoreError> {
        let alive = self.call();
        // The batch under way may or may not reach the disk.
        self.unsynced.lock().unwrap().push(operations.clone());
        alive?;
        self.live.apply(space, operations)
    }

    fn scan(
        &self,
        space: u32,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        back: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        self.live.scan(space, from, to, limit, back)
    }

    fn spaces(&self) -> Result<Vec<u32>, StoreError> {
        self.live.spaces()
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.call()?;
        for batch in self.unsynced.lock().unwrap().drain(..) {
            self.durable.apply(0, batch)?;
        }
        Ok(())
    }
}
