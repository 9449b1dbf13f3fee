//! The handle of a running node: submit, read, prove, wait, follow.

use crate::core::{Core, OpenReport, SNAPSHOT_EVERY_BLOCKS};
use crate::error::{NodeError, SubmitError, WaitError};
use crate::persist::{ChainStore, KEEP_EMPTY_BLOCKS};
use crate::solo::{Request, Solo};
use lucid_chain::ledger::{ClosedSession, Effects, Ledger, OpenSession, Refusal};
use lucid_chain::parameters::Parameters;
use lucid_chain::{AnchorProof, Block, Genesis, Transaction, TxId, ValidatorSet};
use lucid_evidence::{Hash, PublicKey, SessionId, SigningKey};
use lucid_store::Store;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Blocks that a subscriber may be behind before it is told that it has lost some.
pub const SUBSCRIPTION_BLOCKS: usize = 64;
/// Fewest blocks back that empty blocks are kept: what is replayed after a damaged snapshot, and a
/// group of ids.
pub const KEEP_EMPTY_BLOCKS_MIN: u64 = 4 * SNAPSHOT_EVERY_BLOCKS;
/// Requests for a block at once that may wait.
const REQUESTS_MAX: usize = 16;

/// The wall clock, microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The operating system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Production {
    /// One each block interval, with or without transactions, and when asked for.
    Interval,
    /// Only when asked for by [`Node::produce_now`]: for chains that live as long as one command.
    OnDemand,
}

/// How a node is driven.
#[derive(Clone)]
pub struct Config {
    /// When blocks are made.
    pub production: Production,
    /// The wall clock that blocks carry.
    pub clock: Clock,
    /// How many blocks back empty blocks are kept whole, at least [`KEEP_EMPTY_BLOCKS_MIN`]; of
    /// older ones only the id stays.
    pub keep_empty_blocks: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            production: Production::Interval,
            clock: system_clock(),
            keep_empty_blocks: KEEP_EMPTY_BLOCKS,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("production", &self.production).finish_non_exhaustive()
    }
}

/// How the node is.
#[derive(Debug, Clone)]
pub enum State {
    /// Blocks are made.
    Running,
    /// The last block could not be stored for a reason that may pass; it is tried again each
    /// interval.
    Waiting(String),
    /// It was shut down, and everything taken in is in a block.
    Stopped,
    /// It cannot go on; opened anew it may.
    Failed(Arc<NodeError>),
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (State::Running, State::Running) | (State::Stopped, State::Stopped) => true,
            (State::Waiting(a), State::Waiting(b)) => a == b,
            _ => false,
        }
    }
}

/// A block that was just committed.
#[derive(Debug)]
pub struct NewBlock {
    /// Its height.
    pub height: u64,
    /// Its id.
    pub id: Hash,
    /// Its time, microseconds since 1970.
    pub time_us: u64,
    /// How many nodes signed it.
    pub witnesses: usize,
    /// How many could have.
    pub validators: usize,
    /// Its transactions in order.
    pub transactions: Vec<TxId>,
    /// What had been waiting and does not fit any more after it.
    pub refused: Vec<(TxId, Arc<Refusal>)>,
    /// What it did.
    pub effects: Effects,
}

impl NewBlock {
    /// Why this transaction, which had been waiting, does not fit any more.
    pub fn refusal(&self, id: &TxId) -> Option<Arc<Refusal>> {
        self.refused.iter().find(|(other, _)| other == id).map(|(_, why)| why.clone())
    }
}

/// The head of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The genesis hash.
    pub genesis: Hash,
    /// The chain's name.
    pub name: String,
    /// The last block's height; 0 before the first.
    pub height: u64,
    /// The last block's id; the genesis hash before the first.
    pub id: Hash,
    /// The last block's time, microseconds since 1970.
    pub time_us: u64,
    /// How many nodes signed it.
    pub witnesses: usize,
    /// Who could have signed it.
    pub validators: ValidatorSet,
    /// By how much the device's clock is behind the last block, microseconds. While it is, blocks
    /// are a microsecond apart whatever time passes.
    pub clock_behind_us: u64,
    /// Transactions that wait for a block.
    pub waiting: usize,
}

/// A transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// The height of the block.
    pub height: u64,
    /// The place in it.
    pub place: u32,
    /// The block's id.
    pub block: Hash,
    /// The block's time, microseconds since 1970.
    pub time_us: u64,
    /// The transaction.
    pub transaction: Transaction,
}

/// What the chain knows of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionStatus {
    /// It was opened and not closed.
    Open(OpenSession),
    /// It was closed, perhaps with a tombstone.
    Closed(ClosedSession),
}

/// A running node. Clones share it.
#[derive(Clone)]
pub struct Node {
    live: Arc<RwLock<Live>>,
    opening: Arc<Opening>,
    key: PublicKey,
    blocks: broadcast::Sender<Arc<NewBlock>>,
}

/// What is made anew when a node that failed is opened again.
#[derive(Clone)]
struct Live {
    core: Arc<Core>,
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
}

/// What opening a node takes.
struct Opening {
    store: Arc<dyn Store>,
    genesis: Genesis,
    key: Arc<SigningKey>,
    config: Config,
    shutdown: CancellationToken,
}

impl Opening {
    async fn core(&self) -> Result<(Arc<Core>, OpenReport), NodeError> {
        let (store, genesis) = (self.store.clone(), self.genesis.clone());
        let keep = self.config.keep_empty_blocks.max(KEEP_EMPTY_BLOCKS_MIN);
        let opened =
            tokio::task::spawn_blocking(move || Core::open(store, genesis, keep, false)).await;
        let (core, report) =
            opened.unwrap_or_else(|error| Err(NodeError::Task(error.to_string())))?;
        for problem in &report.damaged {
            tracing::warn!(problem, "damage in the chain database, done without");
        }
        let (validators, key) = (core.tip().ledger.validators().clone(), self.key.public());
        if validators.keys() != [key] {
            return Err(NodeError::NotAlone { key, validators: validators.count() });
        }
        Ok((Arc::new(core), report))
    }

    /// Drives an opened chain.
    fn drive(&self, core: Arc<Core>, blocks: &broadcast::Sender<Arc<NewBlock>>) -> Live {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let (state, state_receiver) = watch::channel(State::Running);
        let solo = Solo {
            core: core.clone(),
            key: self.key.clone(),
            clock: self.config.clock.clone(),
            production: self.config.production,
            requests: receiver,
            blocks: blocks.clone(),
            state,
            shutdown: self.shutdown.clone(),
        };
        tokio::spawn(solo.run());
        Live { core, requests, state: state_receiver }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The genesis of the chain in a database, if there is one.
pub fn genesis(store: &Arc<dyn Store>) -> Result<Option<Genesis>, NodeError> {
    ChainStore::new(store.clone()).genesis()
}

/// The genesis of a new chain of this one node, with the default parameters.
pub fn found(name: &str, key: &PublicKey, now_us: u64) -> Result<Genesis, NodeError> {
    let validators =
        ValidatorSet::new(vec![*key]).map_err(|error| NodeError::Genesis(error.to_string()))?;
    Genesis::new(name, now_us, Parameters::default(), validators)
        .map_err(|error| NodeError::Genesis(error.to_string()))
}

impl Node {
    /// Opens or founds the chain of `genesis` in `store` and drives it with `key` until `shutdown`.
    ///
    /// # Errors
    /// When the database cannot be read, holds another chain, or its blocks do not follow from each
    /// other; and when the chain has other validators than this key.
    pub async fn start(
        store: Arc<dyn Store>,
        genesis: Genesis,
        key: SigningKey,
        config: Config,
        shutdown: CancellationToken,
    ) -> Result<(Node, OpenReport), NodeError> {
        let (public, key) = (key.public(), Arc::new(key));
        let opening = Opening { store, genesis, key, config, shutdown };
        let (core, report) = opening.core().await?;
        let (blocks, _) = broadcast::channel(SUBSCRIPTION_BLOCKS);
        let live = Arc::new(RwLock::new(opening.drive(core, &blocks)));
        let node = Node { live, opening: Arc::new(opening), key: public, blocks };
        Ok((node, report))
    }

    /// Opens a node that failed again, over the same database, which its owner has opened anew.
    /// Clones and subscribers go on with it. What waited for a block is to be submitted again. Does
    /// nothing to a node that has not failed.
    ///
    /// # Errors
    /// As [`Node::start`], and when a block that was final is not there any more: that would be
    /// another history, and this one is not replaced.
    pub async fn reopen(&self) -> Result<(), NodeError> {
        let State::Failed(_) = self.state() else { return Ok(()) };
        let height = self.live().core.tip().ledger.height();
        let store = self.opening.store.clone();
        let found = tokio::task::spawn_blocking(move || genesis(&store)).await;
        let found = found.unwrap_or_else(|error| Err(NodeError::Task(error.to_string())))?;
        if found.as_ref() != Some(&self.opening.genesis) {
            return Err(NodeError::Missing { what: "the genesis of this chain".into() });
        }
        let (core, report) = self.opening.core().await?;
        if report.height < height {
            let what = format!("block {height}, which was final; {} is the last", report.height);
            return Err(NodeError::Missing { what });
        }
        let live = self.opening.drive(core, &self.blocks);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        tracing::info!(height = report.height, "the chain node is open again");
        Ok(())
    }

    fn live(&self) -> Live {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This node's key, which is the device key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The genesis hash, which names the chain in transactions.
    pub fn chain(&self) -> Hash {
        *self.live().core.tip().ledger.chain()
    }

    /// The ledger after the last block: sessions, nodes, credits, parameters, proposals.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.live().core.tip().ledger
    }

    /// Takes a transaction for one of the next blocks. It is durable only once it is in one; see
    /// [`Node::wait_for`]. Checks signatures and may read the database.
    ///
    /// # Errors
    /// When the rules refuse it, too much is waiting, or the node has stopped.
    pub fn submit(&self, tx: Transaction) -> Result<TxId, SubmitError> {
        if self.has_stopped() {
            return Err(SubmitError::Stopped);
        }
        self.live().core.submit(tx)
    }

    /// How many checkpoints the closing of `session` must count if it is submitted now: those in
    /// blocks and those waiting. None if the session is not open, or its closing waits already.
    pub fn checkpoints(&self, session: &SessionId) -> Option<u64> {
        self.live().core.checkpoints(session)
    }

    fn has_stopped(&self) -> bool {
        matches!(*self.live().state.borrow(), State::Stopped | State::Failed(_))
    }

    /// The head of the chain.
    pub fn head(&self) -> Head {
        let tip = self.live().core.tip();
        let ledger = &tip.ledger;
        Head {
            genesis: *ledger.chain(),
            name: ledger.genesis().name().to_owned(),
            height: ledger.height(),
            id: ledger.head_id(),
            time_us: ledger.time_us(),
            witnesses: tip.certificate.map_or(0, |certificate| certificate.signatures.len()),
            validators: ledger.signers().clone(),
            clock_behind_us: ledger.time_us().saturating_sub((self.opening.config.clock)()),
            waiting: self.live().core.waiting(),
        }
    }

    /// The block at `height`; none above the head.
    ///
    /// # Errors
    /// When it was empty and is no longer kept ([`NodeError::Forgotten`]), or cannot be read.
    pub fn block(&self, height: u64) -> Result<Option<Block>, NodeError> {
        let chain = self.live().core.committed();
        if height == 0 || height >= chain.below {
            return Ok(None);
        }
        chain.block(height).map(Some)
    }

    /// The transaction with this id, if it is in a block.
    pub fn transaction(&self, id: &TxId) -> Result<Option<Included>, NodeError> {
        let chain = self.live().core.committed();
        let Some((height, place)) = chain.place(id)? else { return Ok(None) };
        let block = chain.block(height)?;
        let transaction = block.transactions.get(place as usize).cloned();
        let transaction = transaction.ok_or_else(|| NodeError::Missing {
            what: format!("transaction {place} of block {height}"),
        })?;
        let (block, time_us) = (block.header.id(), block.header.time_us);
        Ok(Some(Included { height, place, block, time_us, transaction }))
    }

    /// What the chain knows of a session.
    pub fn session(&self, session: &SessionId) -> Result<Option<SessionStatus>, NodeError> {
        let ledger = self.ledger();
        if let Some(open) = ledger.sessions().get(session) {
            return Ok(Some(SessionStatus::Open(open.clone())));
        }
        let closed = self.live().core.committed().closed_session(session)?;
        Ok(closed.map(SessionStatus::Closed))
    }

    /// The proof that a session stands on this chain, by the last block's certificate: its opening,
    /// checkpoints, closing and tombstone, as far as there are any.
    pub fn prove(&self, session: &SessionId) -> Result<AnchorProof, NodeError> {
        self.live().core.prove(session)
    }

    /// Follows new blocks. Whoever falls behind by more than [`SUBSCRIPTION_BLOCKS`] is told how
    /// many are lost and finds them with [`Node::block`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<NewBlock>> {
        self.blocks.subscribe()
    }

    /// Waits until a transaction is in a block that is durable.
    ///
    /// # Errors
    /// When it was refused meanwhile, is not known here, or the node stops.
    pub async fn wait_for(&self, id: &TxId) -> Result<Included, WaitError> {
        let id = *id;
        // Subscribed first, so that no block slips through between looking and waiting.
        let mut blocks = self.subscribe();
        let mut state = self.live().state;
        loop {
            if let Some(included) = self.look_up(id).await? {
                return Ok(included);
            }
            let stopped = self.has_stopped();
            if !stopped && !self.live().core.is_waiting(&id) {
                // It may have gone into a block between the two looks.
                return self.look_up(id).await?.ok_or(WaitError::Unknown { id });
            }
            if stopped {
                return Err(WaitError::Stopped);
            }
            tokio::select! {
                block = blocks.recv() => {
                    let refused = block.ok().and_then(|block| block.refusal(&id));
                    if let Some(refusal) = refused {
                        return Err(WaitError::Refused { id, refusal });
                    }
                }
                changed = state.changed() => if changed.is_err() {
                    return self.look_up(id).await?.ok_or(WaitError::Stopped);
                },
            }
        }
    }

    async fn look_up(&self, id: TxId) -> Result<Option<Included>, WaitError> {
        let node = self.clone();
        let found = tokio::task::spawn_blocking(move || node.transaction(&id)).await;
        found
            .unwrap_or_else(|error| Err(NodeError::Task(error.to_string())))
            .map_err(|error| WaitError::Node(Arc::new(error)))
    }

    /// Makes a block at once with everything that waits, whatever the interval.
    pub async fn produce_now(&self) -> Result<Arc<NewBlock>, NodeError> {
        let (answer, answered) = oneshot::channel();
        self.live().requests.send(answer).await.map_err(|_| NodeError::Stopped)?;
        answered.await.unwrap_or(Err(NodeError::Stopped))
    }

    /// How the node is.
    pub fn state(&self) -> State {
        self.live().state.borrow().clone()
    }

    /// Waits until the node has stopped, after a shutdown or because it cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn stopped(&self) -> Result<(), NodeError> {
        let mut state = self.live().state;
        let ended =
            state.wait_for(|state| matches!(state, State::Stopped | State::Failed(_))).await;
        match ended.as_deref() {
            Ok(State::Failed(error)) => Err(NodeError::Shared(error.clone())),
            Ok(_) => Ok(()),
            Err(_) => Err(NodeError::Task("the engine ended without a word".into())),
        }
    }
}
