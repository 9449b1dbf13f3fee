//! The rules: what each kind of transaction needs and does, on a copy of the state that is kept or
//! thrown away.

use super::archive::{Archive, ClosedSession};
use super::credits::{Counts, ELIGIBLE_UPTIME_PERMILLE};
use super::refusal::Refusal;
use super::state::{Node, OpenProposal, OpenSession, State};
use super::{
    EPOCH_BLOCKS, Effect, Effects, NODE_RECORDS_MAX, PROPOSAL_LIFETIME_BLOCKS,
    SESSIONS_PER_NODE_MAX, UPTIME_SAMPLE_MIN_BLOCKS,
};
use crate::certificate::CommitCertificate;
use crate::parameters::Parameter;
use crate::transaction::{
    Body, NodeRegister, NodeRetire, ParameterProposal, ParameterVote, SessionClose, SessionOpen,
    Tombstone, Transaction, TxId, registration_bytes,
};
use crate::validators::ValidatorSet;
use lucid_evidence::{Checkpoint, Hash, PublicKey, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// A state being changed, with what is not in the archive yet.
#[derive(Debug, Clone)]
pub(crate) struct Working {
    pub(crate) state: State,
    chain: Hash,
    ended: BTreeMap<SessionId, ClosedSession>,
    pub(crate) effects: Effects,
}

impl Working {
    pub(crate) fn new(state: State, chain: Hash) -> Self {
        Working { state, chain, ended: BTreeMap::new(), effects: Effects::default() }
    }

    /// Moves to the next height: time, turn, credits for the block before.
    pub(crate) fn begin(
        &mut self,
        previous: &Hash,
        previous_proposer: Option<&PublicKey>,
        proposer: PublicKey,
        time_us: u64,
        last_commit: Option<&CommitCertificate>,
    ) {
        let state = &mut self.state;
        let turns = state.ranking(previous);
        state.height += 1;
        state.time_us = time_us;
        state.credits.advance(time_us, state.parameters.window_hours());
        if let Some(commit) = last_commit {
            for key in state.signers.keys() {
                state.credits.count(*key, Counts { expected: 1, ..Counts::default() });
            }
            for (index, _) in &commit.signatures {
                if let Some(key) = state.signers.key(*index) {
                    state.credits.count(*key, Counts { signed: 1, ..Counts::default() });
                }
            }
            // Whoever had a turn in a round before the deciding one and whose block it is not has
            // missed it.
            for key in state.turns.iter().take(commit.round as usize) {
                if Some(key) != previous_proposer {
                    state.credits.count(*key, Counts { missed: 1, ..Counts::default() });
                }
            }
        }
        state.credits.count(proposer, Counts { proposed: 1, ..Counts::default() });
        state.signers = state.validators.clone();
        state.turns = turns;
        state.remember_proposer(proposer);
    }

    /// What follows at the end of a block: proposals that ran out, uptime at the end of an epoch,
    /// the next validators.
    pub(crate) fn finish(&mut self) {
        let height = self.state.height;
        self.state.proposals.retain(|_, proposal| proposal.until > height);
        if height.is_multiple_of(EPOCH_BLOCKS) {
            self.weigh_uptime();
        }
        let keys: Vec<_> = self
            .state
            .nodes
            .iter()
            .filter(|(_, node)| !node.retired && !node.suspended)
            .map(|(key, _)| *key)
            .collect();
        // A set that is empty or too large cannot come about: the rules below see to it.
        if let Ok(next) = ValidatorSet::new(keys)
            && next != self.state.validators
        {
            self.state.validators = next.clone();
            self.effects.0.push(Effect::ValidatorsChanged(next));
        }
    }

    /// Suspends nodes whose uptime is too low, fewer than a third of the validators at a time,
    /// lowest first, and takes back those for which nothing bad is left in the window.
    fn weigh_uptime(&mut self) {
        let totals = self.state.totals();
        let uptime = |key: &PublicKey| {
            let counts = totals.get(key).copied().unwrap_or_default();
            let known = counts.expected >= UPTIME_SAMPLE_MIN_BLOCKS;
            if known { counts.uptime_permille() } else { 1000 }
        };
        let mut low: Vec<_> = Vec::new();
        for (key, node) in &mut self.state.nodes {
            if node.retired {
                continue;
            }
            let uptime = uptime(key);
            if uptime >= ELIGIBLE_UPTIME_PERMILLE {
                if node.suspended {
                    node.suspended = false;
                    self.effects.0.push(Effect::NodeReinstated(*key));
                }
            } else if !node.suspended {
                low.push((uptime, *key));
            }
        }
        low.sort_unstable();
        let most = (self.state.validators.count() - 1) / 3;
        for (_, key) in low.into_iter().take(most) {
            if let Some(node) = self.state.nodes.get_mut(&key) {
                node.suspended = true;
                self.effects.0.push(Effect::NodeSuspended(key));
            }
        }
    }

    /// Checks a transaction against the rules and applies it. A refused one changes nothing.
    pub(crate) fn apply(
        &mut self,
        tx: &Transaction,
        archive: &impl Archive,
    ) -> Result<(), Refusal> {
        if let Some(found) = tx.body().chain()
            && *found != self.chain
        {
            return Err(Refusal::WrongChain { found: *found, expected: self.chain });
        }
        if let Some(height) = archive.included(&tx.id())? {
            return Err(Refusal::AlreadyIncluded { id: tx.id(), height });
        }
        match tx.body() {
            Body::SessionOpen(body) => self.session_open(tx, body, archive),
            Body::Checkpoint(body) => self.checkpoint(tx, body, archive),
            Body::SessionClose(body) => self.session_close(tx, body, archive),
            Body::Tombstone(body) => self.tombstone(tx, body, archive),
            Body::NodeRegister(body) => self.node_register(tx, body),
            Body::NodeRetire(body) => self.node_retire(tx, body),
            Body::ParameterProposal(body) => self.parameter_proposal(tx, body),
            Body::ParameterVote(body) => self.parameter_vote(tx, body),
            Body::Statement(body) => {
                self.active_node(&body.node)?;
                signed_by(tx, &body.node)?;
                self.effects.0.push(Effect::Stated { subject: body.subject, hash: body.hash });
                Ok(())
            }
        }
    }

    fn active_node(&self, key: &PublicKey) -> Result<&Node, Refusal> {
        match self.state.nodes.get(key) {
            None => Err(Refusal::NotANode(*key)),
            Some(node) if node.retired => Err(Refusal::Retired(*key)),
            Some(node) => Ok(node),
        }
    }

    fn validator(&self, key: &PublicKey) -> Result<(), Refusal> {
        self.active_node(key)?;
        match self.state.validators.index_of(key) {
            Some(_) => Ok(()),
            None => Err(Refusal::NotAValidator(*key)),
        }
    }

    fn closed(
        &self,
        session: &SessionId,
        archive: &impl Archive,
    ) -> Result<Option<ClosedSession>, Refusal> {
        match self.ended.get(session) {
            Some(record) => Ok(Some(record.clone())),
            None => Ok(archive.closed(session)?),
        }
    }

    /// The open session, or the reason why there is none.
    fn open(&self, session: &SessionId, archive: &impl Archive) -> Result<&OpenSession, Refusal> {
        match self.state.sessions.get(session) {
            Some(open) => Ok(open),
            None if self.closed(session, archive)?.is_some() => {
                Err(Refusal::SessionClosed(*session))
            }
            None => Err(Refusal::SessionUnknown(*session)),
        }
    }

    fn session_open(
        &mut self,
        tx: &Transaction,
        body: &SessionOpen,
        archive: &impl Archive,
    ) -> Result<(), Refusal> {
        let node = self.active_node(&body.device)?;
        if node.open_sessions >= SESSIONS_PER_NODE_MAX {
            let (node, limit) = (body.device, SESSIONS_PER_NODE_MAX);
            return Err(Refusal::TooManySessions { node, limit });
        }
        if self.state.sessions.contains_key(&body.session)
            || self.closed(&body.session, archive)?.is_some()
        {
            return Err(Refusal::SessionIdUsed(body.session));
        }
        signed_by(tx, &body.device)?;
        let open = OpenSession {
            device: body.device,
            session_key: body.session_key,
            opened: self.state.height,
            tree_size: 0,
            root: Hash([0; 32]),
            checkpoints: 0,
        };
        if let Some(node) = self.state.nodes.get_mut(&body.device) {
            node.open_sessions += 1;
        }
        self.state.log_event(tx.as_bytes());
        self.state.sessions.insert(body.session, open);
        let (session, device) = (body.session, body.device);
        self.effects.0.push(Effect::SessionOpened { session, device });
        Ok(())
    }

    fn checkpoint(
        &mut self,
        tx: &Transaction,
        body: &Checkpoint,
        archive: &impl Archive,
    ) -> Result<(), Refusal> {
        let open = self.open(&body.session, archive)?;
        if body.tree_size <= open.tree_size {
            return Err(Refusal::NotLarger {
                session: body.session,
                have: open.tree_size,
                offered: body.tree_size,
            });
        }
        signed_by(tx, &open.session_key)?;
        if let Some(open) = self.state.sessions.get_mut(&body.session) {
            open.tree_size = body.tree_size;
            open.root = body.root;
            open.checkpoints += 1;
        }
        let (session, tree_size) = (body.session, body.tree_size);
        self.effects.0.push(Effect::CheckpointTaken { session, tree_size });
        Ok(())
    }

    fn session_close(
        &mut self,
        tx: &Transaction,
        body: &SessionClose,
        archive: &impl Archive,
    ) -> Result<(), Refusal> {
        let open = self.open(&body.session, archive)?;
        if open.device != body.device {
            let (session, device) = (body.session, body.device);
            return Err(Refusal::NotTheDevice { session, device });
        }
        if body.tree_size < open.tree_size
            || (body.tree_size == open.tree_size && open.tree_size > 0 && body.root != open.root)
        {
            return Err(Refusal::CloseContradicts {
                session: body.session,
                have: open.tree_size,
                offered: body.tree_size,
            });
        }
        if body.checkpoints != open.checkpoints {
            return Err(Refusal::CheckpointCount {
                session: body.session,
                have: open.checkpoints,
                offered: body.checkpoints,
            });
        }
        signed_by(tx, &body.device)?;
        let record = ClosedSession {
            device: body.device,
            manifest: body.manifest,
            tree_size: body.tree_size,
            root: body.root,
            opened: open.opened,
            closed: self.state.height,
            tombstone: None,
        };
        self.state.sessions.remove(&body.session);
        if let Some(node) = self.state.nodes.get_mut(&body.device) {
            node.open_sessions = node.open_sessions.saturating_sub(1);
        }
        self.state.log_event(tx.as_bytes());
        self.ended.insert(body.session, record.clone());
        self.effects.0.push(Effect::SessionClosed { session: body.session, record });
        Ok(())
    }

    fn tombstone(
        &mut self,
        tx: &Transaction,
        body: &Tombstone,
        archive: &impl Archive,
    ) -> Result<(), Refusal> {
        let Some(mut record) = self.closed(&body.session, archive)? else {
            return match self.state.sessions.contains_key(&body.session) {
                true => Err(Refusal::SessionOpen(body.session)),
                false => Err(Refusal::SessionUnknown(body.session)),
            };
        };
        if record.device != body.device {
            let (session, device) = (body.session, body.device);
            return Err(Refusal::NotTheDevice { session, device });
        }
        if record.tombstone.is_some() {
            return Err(Refusal::Tombstoned(body.session));
        }
        signed_by(tx, &body.device)?;
        record.tombstone = Some(self.state.height);
        self.state.log_event(tx.as_bytes());
        self.ended.insert(body.session, record.clone());
        self.effects.0.push(Effect::SessionTombstoned { session: body.session, record });
        Ok(())
    }

    fn node_register(&mut self, tx: &Transaction, body: &NodeRegister) -> Result<(), Refusal> {
        self.validator(&body.sponsor)?;
        if self.state.nodes.contains_key(&body.node) {
            return Err(Refusal::NodeKnown(body.node));
        }
        let found = self.state.active_nodes();
        if found >= self.state.parameters.max_nodes() {
            return Err(Refusal::PoolFull { found });
        }
        if self.state.nodes.len() >= NODE_RECORDS_MAX {
            return Err(Refusal::NodeRecordsFull { limit: NODE_RECORDS_MAX });
        }
        signed_by(tx, &body.sponsor)?;
        let message = registration_bytes(&body.chain, &body.node, &body.sponsor);
        body.node.verify(&message, &body.consent).map_err(|_| Refusal::Consent(body.node))?;
        let node = Node {
            name: body.name.clone(),
            joined: self.state.height,
            retired: false,
            suspended: false,
            open_sessions: 0,
        };
        self.state.nodes.insert(body.node, node);
        self.effects.0.push(Effect::NodeJoined(body.node));
        Ok(())
    }

    fn node_retire(&mut self, tx: &Transaction, body: &NodeRetire) -> Result<(), Refusal> {
        self.active_node(&body.node)?;
        let others = self
            .state
            .nodes
            .iter()
            .any(|(key, node)| *key != body.node && !node.retired && !node.suspended);
        if !others {
            return Err(Refusal::LastNode(body.node));
        }
        signed_by(tx, &body.node)?;
        if let Some(node) = self.state.nodes.get_mut(&body.node) {
            node.retired = true;
        }
        self.effects.0.push(Effect::NodeRetired(body.node));
        Ok(())
    }

    fn parameter_proposal(
        &mut self,
        tx: &Transaction,
        body: &ParameterProposal,
    ) -> Result<(), Refusal> {
        self.validator(&body.node)?;
        self.state.parameters.with(body.parameter, body.value)?;
        let found = self.state.active_nodes();
        if body.parameter == Parameter::MaxNodes && (body.value as usize) < found {
            return Err(Refusal::BelowNodes { value: body.value, found });
        }
        if self.state.parameters.get(body.parameter) == body.value {
            return Err(Refusal::Unchanged(body.value));
        }
        if self.state.proposals.values().any(|open| open.node == body.node) {
            return Err(Refusal::ProposalOpen(body.node));
        }
        signed_by(tx, &body.node)?;
        let proposal = OpenProposal {
            node: body.node,
            parameter: body.parameter,
            value: body.value,
            until: self.state.height + PROPOSAL_LIFETIME_BLOCKS,
            yes: BTreeSet::from([body.node]),
            no: BTreeSet::new(),
        };
        self.state.proposals.insert(tx.id(), proposal);
        self.effects.0.push(Effect::ParameterProposed(tx.id()));
        self.count_votes(tx.id());
        Ok(())
    }

    fn parameter_vote(&mut self, tx: &Transaction, body: &ParameterVote) -> Result<(), Refusal> {
        self.validator(&body.node)?;
        let open = self.state.proposals.get(&body.proposal);
        let open = open.ok_or(Refusal::ProposalUnknown(body.proposal))?;
        if open.yes.contains(&body.node) || open.no.contains(&body.node) {
            return Err(Refusal::Voted { node: body.node, proposal: body.proposal });
        }
        signed_by(tx, &body.node)?;
        if let Some(open) = self.state.proposals.get_mut(&body.proposal) {
            let votes = if body.approve { &mut open.yes } else { &mut open.no };
            votes.insert(body.node);
        }
        self.count_votes(body.proposal);
        Ok(())
    }

    /// Adopts a proposal that more than two thirds of the validators are for, drops one that cannot
    /// be adopted.
    fn count_votes(&mut self, id: TxId) {
        let Some(open) = self.state.proposals.get(&id) else { return };
        let among = |votes: &BTreeSet<PublicKey>| {
            votes.iter().filter(|key| self.state.validators.index_of(key).is_some()).count()
        };
        let (all, quorum) = (self.state.validators.count(), self.state.validators.quorum());
        let (parameter, value) = (open.parameter, open.value);
        let adopted = among(&open.yes) >= quorum;
        if !adopted && all - among(&open.no) >= quorum {
            return;
        }
        self.state.proposals.remove(&id);
        // Nodes may have joined since it was proposed; the bounds were checked then.
        let fits = parameter != Parameter::MaxNodes || self.state.active_nodes() <= value as usize;
        match self.state.parameters.with(parameter, value) {
            Ok(parameters) if adopted && fits => {
                self.state.parameters = parameters;
                self.effects.0.push(Effect::ParameterChanged { parameter, value });
            }
            _ => self.effects.0.push(Effect::ProposalRejected(id)),
        }
    }
}

fn signed_by(tx: &Transaction, key: &PublicKey) -> Result<(), Refusal> {
    tx.verify(key).map_err(Refusal::Signature)
}
