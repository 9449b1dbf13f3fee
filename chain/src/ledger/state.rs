//! The state of the ledger: everything the next block's rules need, and nothing that only grows.
//!
//! Ended sessions leave the state; what is known of them is looked up in an
//! [`Archive`](super::Archive), and the state commits to them through the log of session events,
//! whose tree frontier stays in it.

use super::credits::{self, Counts, Credits};
use super::{NODE_RECORDS_MAX, PROPOSALS_MAX, SESSIONS_PER_NODE_MAX};
use crate::CHAIN_VERSION;
use crate::genesis::Genesis;
use crate::history::Frontier;
use crate::parameters::{NODES_MAX, Parameter, Parameters};
use crate::transaction::{NODE_NAME_MAX_BYTES, TxId};
use crate::validators::ValidatorSet;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::{Hash, PublicKey, SessionId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most proposers that are remembered for the cooldown, blocks.
const PROPOSERS_MAX: usize = 64;

/// A node of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name for people.
    pub name: String,
    /// The height at which it joined; 0 for those of the genesis.
    pub joined: u64,
    /// It left; its key is spent.
    pub retired: bool,
    /// Its uptime fell below the limit; it signs and votes again when that is past.
    pub suspended: bool,
    /// Sessions it has open.
    pub open_sessions: u32,
}

/// A session that was opened and not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// The device that opened it.
    pub device: PublicKey,
    /// The key that signs its checkpoints.
    pub session_key: PublicKey,
    /// The height at which it was opened.
    pub opened: u64,
    /// Leaves in its last checkpoint.
    pub tree_size: u64,
    /// The root in its last checkpoint; zero before the first.
    pub root: Hash,
    /// Checkpoints taken of it.
    pub checkpoints: u64,
}

/// A parameter change that is voted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProposal {
    /// Who proposed it.
    pub node: PublicKey,
    /// Which parameter.
    pub parameter: Parameter,
    /// The value it should take.
    pub value: u32,
    /// The last height at which votes count.
    pub until: u64,
    /// Nodes for it.
    pub yes: BTreeSet<PublicKey>,
    /// Nodes against it.
    pub no: BTreeSet<PublicKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) height: u64,
    pub(crate) time_us: u64,
    pub(crate) parameters: Parameters,
    /// Who signs the block at `height`.
    pub(crate) signers: ValidatorSet,
    /// Who signs the next block.
    pub(crate) validators: ValidatorSet,
    /// The ranking that held for the block at `height`.
    pub(crate) turns: Vec<PublicKey>,
    /// Who proposed the last blocks, newest last.
    pub(crate) proposers: VecDeque<PublicKey>,
    pub(crate) nodes: BTreeMap<PublicKey, Node>,
    pub(crate) credits: Credits,
    pub(crate) sessions: BTreeMap<SessionId, OpenSession>,
    /// The log of session events; see `docs/chain.md`.
    pub(crate) events: Frontier,
    pub(crate) proposals: BTreeMap<TxId, OpenProposal>,
}

impl State {
    pub(crate) fn new(genesis: &Genesis) -> Self {
        let node = |index: usize| Node {
            name: format!("founder {}", index + 1),
            joined: 0,
            retired: false,
            suspended: false,
            open_sessions: 0,
        };
        let keys = genesis.validators.keys().iter();
        State {
            height: 0,
            time_us: genesis.time_us,
            parameters: genesis.parameters,
            signers: genesis.validators.clone(),
            validators: genesis.validators.clone(),
            turns: Vec::new(),
            proposers: VecDeque::new(),
            nodes: keys.enumerate().map(|(index, key)| (*key, node(index))).collect(),
            credits: Credits::default(),
            sessions: BTreeMap::new(),
            events: Frontier::new(),
            proposals: BTreeMap::new(),
        }
    }

    /// The ranking for the block after this state, given the id of the last block.
    pub(crate) fn ranking(&self, previous: &Hash) -> Vec<PublicKey> {
        let cooldown = self.parameters.cooldown_among(self.validators.count());
        let first = self.proposers.len().saturating_sub(cooldown);
        let resting: Vec<_> = self.proposers.iter().skip(first).copied().collect();
        credits::rank(self.validators.keys(), &self.credits.totals(), &resting, previous)
    }

    pub(crate) fn totals(&self) -> BTreeMap<PublicKey, Counts> {
        self.credits.totals()
    }

    pub(crate) fn remember_proposer(&mut self, proposer: PublicKey) {
        self.proposers.push_back(proposer);
        while self.proposers.len() > PROPOSERS_MAX {
            self.proposers.pop_front();
        }
    }

    /// Nodes that have not retired.
    pub(crate) fn active_nodes(&self) -> usize {
        self.nodes.values().filter(|node| !node.retired).count()
    }

    /// Appends an event to the log of session events.
    pub(crate) fn log_event(&mut self, event: &[u8]) {
        self.events.push(lucid_evidence::tree::leaf_hash(event), |_, _, _| {});
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(13).uint(0).uint(CHAIN_VERSION).uint(1).uint(self.height).uint(2).uint(self.time_us);
        e.uint(3);
        self.parameters.encode(&mut e);
        e.uint(4);
        self.signers.encode(&mut e);
        e.uint(5);
        self.validators.encode(&mut e);
        e.uint(6).array(self.turns.len() as u64);
        for key in &self.turns {
            e.bytes(key.as_bytes());
        }
        e.uint(7).array(self.proposers.len() as u64);
        for key in &self.proposers {
            e.bytes(key.as_bytes());
        }
        e.uint(8).array(self.nodes.len() as u64);
        for (key, node) in &self.nodes {
            e.array(6).bytes(key.as_bytes()).text(&node.name).uint(node.joined);
            e.bool(node.retired).bool(node.suspended).uint(u64::from(node.open_sessions));
        }
        e.uint(9);
        self.credits.encode(&mut e);
        e.uint(10).array(self.sessions.len() as u64);
        for (id, session) in &self.sessions {
            e.array(7).bytes(id.as_bytes()).bytes(session.device.as_bytes());
            e.bytes(session.session_key.as_bytes()).uint(session.opened);
            e.uint(session.tree_size).bytes(&session.root.0).uint(session.checkpoints);
        }
        e.uint(11);
        self.events.encode(&mut e);
        e.uint(12).array(self.proposals.len() as u64);
        for (id, proposal) in &self.proposals {
            e.array(7).bytes(&id.0.0).bytes(proposal.node.as_bytes());
            e.uint(proposal.parameter.number()).uint(u64::from(proposal.value));
            e.uint(proposal.until);
            for votes in [&proposal.yes, &proposal.no] {
                e.array(votes.len() as u64);
                for key in votes {
                    e.bytes(key.as_bytes());
                }
            }
        }
        e.finish()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("state", 13)?;
        d.version("state.version", CHAIN_VERSION)?;
        let height = d.key("state.height", 1)?.u64("state.height")?;
        let time_us = d.key("state.time", 2)?.u64("state.time")?;
        let parameters = Parameters::decode(d.key("state.parameters", 3)?)?;
        let signers = ValidatorSet::decode(d.key("state.signers", 4)?)?;
        let validators = ValidatorSet::decode(d.key("state.validators", 5)?)?;
        let turns = keys(d.key("state.turns", 6)?, "state.turns", u64::from(NODES_MAX))?;
        let proposers =
            keys(d.key("state.proposers", 7)?, "state.proposers", PROPOSERS_MAX as u64)?;
        let mut nodes = BTreeMap::new();
        for _ in 0..d.key("state.nodes", 8)?.array("state.nodes", NODE_RECORDS_MAX as u64)? {
            d.array_of("state.node", 6)?;
            let key = d.public_key("state.node.key")?;
            let node = Node {
                name: d.text("state.node.name", NODE_NAME_MAX_BYTES)?.to_owned(),
                joined: d.u64("state.node.joined")?,
                retired: d.bool("state.node.retired")?,
                suspended: d.bool("state.node.suspended")?,
                open_sessions: d.u32("state.node.open_sessions")?,
            };
            nodes.insert(key, node);
        }
        let credits = Credits::decode(d.key("state.credits", 9)?)?;
        let mut sessions = BTreeMap::new();
        let limit = NODE_RECORDS_MAX as u64 * u64::from(SESSIONS_PER_NODE_MAX);
        for _ in 0..d.key("state.sessions", 10)?.array("state.sessions", limit)? {
            d.array_of("state.session", 7)?;
            let id = d.session_id("state.session.id")?;
            let session = OpenSession {
                device: d.public_key("state.session.device")?,
                session_key: d.public_key("state.session.key")?,
                opened: d.u64("state.session.opened")?,
                tree_size: d.u64("state.session.tree_size")?,
                root: d.hash("state.session.root")?,
                checkpoints: d.u64_up_to("state.session.checkpoints", 1 << 62)?,
            };
            sessions.insert(id, session);
        }
        let events = Frontier::decode(d.key("state.events", 11)?)?;
        let mut proposals = BTreeMap::new();
        for _ in 0..d.key("state.proposals", 12)?.array("state.proposals", PROPOSALS_MAX as u64)? {
            d.array_of("state.proposal", 7)?;
            let id = TxId(d.hash("state.proposal.id")?);
            let node = d.public_key("state.proposal.node")?;
            let number = d.u64("state.proposal.parameter")?;
            let parameter = Parameter::from_number(number)
                .ok_or_else(|| d.value_error("state.proposal.parameter", "no such parameter"))?;
            let value = d.u32("state.proposal.value")?;
            let until = d.u64("state.proposal.until")?;
            let limit = NODE_RECORDS_MAX as u64;
            let yes = keys(&mut d, "state.proposal.yes", limit)?.into_iter().collect();
            let no = keys(&mut d, "state.proposal.no", limit)?.into_iter().collect();
            proposals.insert(id, OpenProposal { node, parameter, value, until, yes, no });
        }
        d.end("state")?;
        Ok(State {
            height,
            time_us,
            parameters,
            signers,
            validators,
            turns,
            proposers: proposers.into(),
            nodes,
            credits,
            sessions,
            events,
            proposals,
        })
    }
}

fn keys(d: &mut Decoder<'_>, field: &'static str, limit: u64) -> Result<Vec<PublicKey>, CborError> {
    (0..d.array(field, limit)?).map(|_| d.public_key(field)).collect()
}
