//! Checks a chain database as a whole, and rebuilds what can be rebuilt from its blocks.

use crate::error::NodeError;
use crate::keys;
use crate::node::KEEP_EMPTY_BLOCKS_MIN;
use crate::persist::{ChainStore, GROUP_BLOCKS, GROUP_LEVEL, Writer};
use crate::records::encode_place;
use lucid_chain::Block;
use lucid_chain::block::transaction_tree;
use lucid_chain::history::{Frontier, history_leaf};
use lucid_chain::ledger::{ClosedSession, Effect, Effects};
use lucid_chain::transaction::Body;
use lucid_evidence::{Hash, SessionId};
use lucid_store::{Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most problems that a report lists; the rest are counted.
const PROBLEMS_MAX: usize = 1000;

/// Something that is damaged or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The height it touches; 0 for what belongs to no block.
    pub height: u64,
    /// What it is.
    pub text: String,
    /// Sessions with a transaction in that block: they cannot be proved whole.
    pub sessions: Vec<SessionId>,
}

/// What a check of a chain database found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The genesis hash, if there is a chain.
    pub chain: Option<Hash>,
    /// The height of the head.
    pub height: u64,
    /// Blocks that were read and are right.
    pub blocks: u64,
    /// Empty blocks that are no longer kept.
    pub forgotten: u64,
    /// Transactions that were read and are right.
    pub transactions: u64,
    /// What is damaged or missing.
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub more_problems: u64,
    /// Records by which transactions and sessions are found that are missing and can be rebuilt.
    pub missing_indexes: u64,
}

impl CheckReport {
    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.missing_indexes == 0
    }

    fn problem(&mut self, height: u64, text: impl ToString) {
        if self.problems.len() < PROBLEMS_MAX {
            let (text, sessions) = (text.to_string(), Vec::new());
            self.problems.push(Problem { height, text, sessions });
        } else {
            self.more_problems += 1;
        }
    }
}

/// Reads every block and checks that it follows the one before it, holds the transactions its
/// header names, and is found by the indexes. `progress` is told heights done and heights in all.
pub fn check(
    store: Arc<dyn Store>,
    mut progress: impl FnMut(u64, u64),
) -> Result<CheckReport, NodeError> {
    let mut report = CheckReport::default();
    let chain = reading(store);
    let Some(genesis) = chain.genesis()? else { return Ok(report) };
    report.chain = Some(genesis.hash());
    let (head, problem) = chain.head()?;
    if let Some(problem) = problem {
        report.problem(0, problem);
    }
    let Some(head) = head else { return Ok(report) };
    report.height = head.height;
    let chain = chain.seen_below(head.height + 1);
    let mut previous = Some(genesis.hash());
    let mut history = History::new(&genesis.hash());
    for height in 1..=head.height {
        let block = match chain.block(height) {
            Ok(block) => block,
            Err(NodeError::Forgotten { id, .. }) => {
                let (from, to) =
                    (keys::transaction(height, 0), keys::transaction(height, u32::MAX));
                match chain.store.scan(&from, &to, 1) {
                    Ok(found) if found.is_empty() => report.forgotten += 1,
                    _ => report.problem(height, "block with transactions has lost its header"),
                }
                previous = Some(id);
                report.missing_indexes += history.push(&chain, height, &id);
                continue;
            }
            Err(error) => {
                report.problem(height, error);
                previous = None;
                history.broken = true;
                continue;
            }
        };
        match follows(&block, height, previous) {
            Ok(()) => report.blocks += 1,
            Err(text) => report.problem(height, text),
        }
        report.transactions += block.transactions.len() as u64;
        report.missing_indexes += missing_indexes(&chain, &block);
        let id = block.id();
        report.missing_indexes += history.push(&chain, height, &id);
        previous = Some(id);
        progress(height, head.height);
    }
    if previous.is_some_and(|id| id != head.id) {
        report.problem(head.height, "the head record names another block");
    }
    name_sessions(&chain, &mut report)?;
    Ok(report)
}

/// The heights of the blocks that hold a transaction of `session`, by the index of sessions.
pub fn session_heights(
    store: &Arc<dyn Store>,
    session: &SessionId,
) -> Result<BTreeSet<u64>, NodeError> {
    let chain = reading(Arc::clone(store));
    let height = chain.head()?.0.map_or(0, |head| head.height);
    let places = chain.seen_below(height + 1).places(session)?;
    Ok(places.into_iter().map(|(height, _)| height).collect())
}

/// Finds by the index of sessions which ones a damaged block touches.
fn name_sessions(chain: &ChainStore, report: &mut CheckReport) -> Result<(), NodeError> {
    if report.problems.iter().all(|problem| problem.height == 0) {
        return Ok(());
    }
    let mut from = keys::SESSION_EVENTS.0.to_vec();
    loop {
        let found = match chain.store.scan(&from, keys::SESSION_EVENTS.1, 256) {
            Ok(found) => found,
            // A damaged entry of the index: go on behind it.
            Err(StoreError::Damaged { key, .. }) => {
                from = [&key[..], &[0]].concat();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for (key, _) in &found {
            let Some((session, height)) = keys::event_session(key) else { continue };
            let touched = report.problems.iter_mut().filter(|problem| problem.height == height);
            for problem in touched {
                if !problem.sessions.contains(&session) {
                    problem.sessions.push(session);
                }
            }
        }
        match found.last() {
            Some((key, _)) => from = [&key[..], &[0]].concat(),
            None => return Ok(()),
        }
    }
}

/// The chain as it is read without knowing how long its node keeps empty blocks.
fn reading(store: Arc<dyn Store>) -> ChainStore {
    ChainStore { keep_empty: KEEP_EMPTY_BLOCKS_MIN, ..ChainStore::new(store) }
}

/// Follows the history tree to compare what is stored of it.
struct History {
    tree: Frontier,
    ids: Vec<u8>,
    /// A block is missing: nothing more can be compared.
    broken: bool,
}

impl History {
    fn new(genesis: &Hash) -> Self {
        let mut tree = Frontier::new();
        tree.push(history_leaf(genesis), |_, _, _| {});
        History { tree, ids: genesis.0.to_vec(), broken: false }
    }

    /// Adds a block; returns how many stored records of the tree are not what they should be.
    fn push(&mut self, chain: &ChainStore, height: u64, id: &Hash) -> u64 {
        if self.broken {
            return 0;
        }
        let mut wrong = 0;
        self.ids.extend_from_slice(&id.0);
        if (height + 1).is_multiple_of(GROUP_BLOCKS) {
            let ids = std::mem::take(&mut self.ids);
            let stored = chain.group(height >> GROUP_LEVEL);
            wrong += u64::from(!stored.is_ok_and(|stored| stored == Some(ids)));
        }
        self.tree.push(history_leaf(id), |level, index, root| {
            let fits = |stored| stored == Some(root);
            if level >= GROUP_LEVEL && !chain.tree_node(level, index).is_ok_and(fits) {
                wrong += 1;
            }
        });
        wrong
    }
}

fn follows(block: &Block, height: u64, previous: Option<Hash>) -> Result<(), &'static str> {
    let header = &block.header;
    if header.height != height {
        return Err("block has another height");
    }
    if previous.is_some_and(|id| id != header.previous) {
        return Err("block does not follow the one before it");
    }
    if transaction_tree(&block.transactions).root() != header.transactions_root {
        return Err("block does not hold the transactions its header names");
    }
    Ok(())
}

fn missing_indexes(chain: &ChainStore, block: &Block) -> u64 {
    let mut missing = 0;
    for (place, tx) in (0u32..).zip(&block.transactions) {
        let expected = (block.header.height, place);
        if !chain.place(&tx.id()).is_ok_and(|found| found == Some(expected)) {
            missing += 1;
        }
        if let Some(session) = tx.body().session() {
            let key = keys::session_event(session, expected.0, place);
            if !chain.store.get(&key).is_ok_and(|found| found.is_some()) {
                missing += 1;
            }
        }
        let found = match tx.body() {
            Body::SessionClose(body) => chain.closed_session(&body.session).map(|c| c.is_some()),
            Body::Tombstone(body) => chain.tombstone(&body.session).map(|height| height.is_some()),
            _ => Ok(true),
        };
        missing += u64::from(!found.unwrap_or(false));
    }
    missing
}

/// Writes the indexes anew from the blocks: places of transactions, sessions, and the history tree.
/// Blocks that cannot be read are left out and counted in the return value.
pub fn rebuild_indexes(store: Arc<dyn Store>) -> Result<u64, NodeError> {
    let chain = reading(store);
    let (Some(genesis), (Some(head), _)) = (chain.genesis()?, chain.head()?) else {
        return Ok(0);
    };
    let chain = chain.seen_below(head.height + 1);
    let chain_hash = genesis.hash();
    let mut unread = 0;
    let mut writer = Writer::new(&*chain.store);
    for height in 1..=head.height {
        let block = match chain.block(height) {
            Ok(block) => block,
            Err(NodeError::Forgotten { .. }) => continue,
            Err(error) => {
                tracing::warn!(height, %error, "block left out while rebuilding");
                unread += 1;
                continue;
            }
        };
        let effects = session_effects(&chain, &block)?;
        chain.put_indexes(&mut writer, &block, &head.certificate, &effects)?;
        for tx in &block.transactions {
            if let Body::Tombstone(body) = tx.body() {
                writer.put(keys::tombstone(&body.session), encode_place(height, 0))?;
            }
        }
        writer.apply()?;
    }
    for last in (GROUP_BLOCKS - 1..=head.height).step_by(GROUP_BLOCKS as usize) {
        let written = chain.id(last).and_then(|id| {
            chain.put_group(&mut writer, last, &id, &chain_hash)?;
            writer.apply()
        });
        match written {
            Ok(()) => {}
            Err(NodeError::Store(error)) if !error.is_damage() => return Err(error.into()),
            // Later nodes of the tree need this one.
            Err(error) => {
                tracing::warn!(last, %error, "history tree left as it is from here on");
                break;
            }
        }
    }
    chain.store.flush()?;
    Ok(unread)
}

/// The closed sessions that a block's transactions make, as the ledger would.
fn session_effects(chain: &ChainStore, block: &Block) -> Result<Effects, NodeError> {
    let height = block.header.height;
    let mut effects: Vec<Effect> = Vec::new();
    for tx in &block.transactions {
        if let Body::SessionClose(body) = tx.body() {
            let opened = chain.places(&body.session)?.first().map_or(height, |place| place.0);
            let record = ClosedSession {
                device: body.device,
                manifest: body.manifest,
                tree_size: body.tree_size,
                root: body.root,
                opened,
                closed: height,
                tombstone: None,
            };
            effects.push(Effect::SessionClosed { session: body.session, record });
        }
    }
    Ok(Effects(effects))
}
