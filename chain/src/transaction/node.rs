//! The transactions of nodes: joining and leaving, parameters, and statements about things outside
//! the chain.

use super::{head, open_map};
use crate::parameters::Parameter;
use lucid_evidence::cbor::{CborError, Decoder};
use lucid_evidence::{Hash, PublicKey, Signature, SigningKey};

/// Longest name of a node, in bytes.
pub const NODE_NAME_MAX_BYTES: usize = 64;
/// Longest note of a statement, in bytes.
pub const NOTE_MAX_BYTES: usize = 128;
const REGISTRATION_CONTEXT: &[u8] = b"lucid 2026-11 node registration v1";

/// What a joining node signs to show that it holds its key: context, genesis hash, its key, its
/// sponsor's key.
pub fn registration_bytes(chain: &Hash, node: &PublicKey, sponsor: &PublicKey) -> Vec<u8> {
    [REGISTRATION_CONTEXT, &chain.0, node.as_bytes(), sponsor.as_bytes()].concat()
}

/// A node joins the pool. Signed by its sponsor, a validator; the new node's own signature stands
/// within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRegister {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The new node's key, which is also its device key.
    pub node: PublicKey,
    /// The validator that vouches for it.
    pub sponsor: PublicKey,
    /// A name for people, at most [`NODE_NAME_MAX_BYTES`] bytes.
    pub name: String,
    /// The new node's signature over [`registration_bytes`].
    pub consent: Signature,
}

impl NodeRegister {
    /// Fills in the new node's consent.
    pub fn new(chain: Hash, node: &SigningKey, sponsor: PublicKey, name: String) -> Self {
        let consent = node.sign(&registration_bytes(&chain, &node.public(), &sponsor));
        NodeRegister { chain, node: node.public(), sponsor, name, consent }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut e = open_map(6, &self.chain);
        e.uint(2).bytes(self.node.as_bytes()).uint(3).bytes(self.sponsor.as_bytes());
        e.uint(4).text(&self.name).uint(5).bytes(&self.consent.0).finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let body = NodeRegister {
            chain: head(&mut d, "node_register", 6)?,
            node: d.key("node_register.node", 2)?.public_key("node_register.node")?,
            sponsor: d.key("node_register.sponsor", 3)?.public_key("node_register.sponsor")?,
            name: d
                .key("node_register.name", 4)?
                .text("node_register.name", NODE_NAME_MAX_BYTES)?
                .to_owned(),
            consent: Signature(d.key("node_register.consent", 5)?.fixed("node_register.consent")?),
        };
        d.end("node_register")?;
        Ok(body)
    }
}

/// A node leaves for good; its key cannot join again. Signed by the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRetire {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The node.
    pub node: PublicKey,
}

impl NodeRetire {
    pub(super) fn encode(&self) -> Vec<u8> {
        open_map(3, &self.chain).uint(2).bytes(self.node.as_bytes()).finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let body = NodeRetire {
            chain: head(&mut d, "node_retire", 3)?,
            node: d.key("node_retire.node", 2)?.public_key("node_retire.node")?,
        };
        d.end("node_retire")?;
        Ok(body)
    }
}

/// A validator proposes another value of a parameter, and votes for it with this. Signed by the
/// node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterProposal {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The node that proposes.
    pub node: PublicKey,
    /// Which parameter.
    pub parameter: Parameter,
    /// The value it should take, in its unit.
    pub value: u32,
    /// When by the node's clock, microseconds since 1970; it tells a repeated proposal from the one
    /// before.
    pub time_us: u64,
}

impl ParameterProposal {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut e = open_map(6, &self.chain);
        e.uint(2).bytes(self.node.as_bytes()).uint(3).uint(self.parameter.number());
        e.uint(4).uint(u64::from(self.value)).uint(5).uint(self.time_us).finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let chain = head(&mut d, "parameter_proposal", 6)?;
        let node = d.key("parameter_proposal.node", 2)?.public_key("parameter_proposal.node")?;
        let number =
            d.key("parameter_proposal.parameter", 3)?.u64("parameter_proposal.parameter")?;
        let parameter = Parameter::from_number(number).ok_or_else(|| {
            d.value_error("parameter_proposal.parameter", format!("no parameter {number}"))
        })?;
        let value = d.key("parameter_proposal.value", 4)?.u32("parameter_proposal.value")?;
        let time_us = d.key("parameter_proposal.time", 5)?.u64("parameter_proposal.time")?;
        d.end("parameter_proposal")?;
        Ok(ParameterProposal { chain, node, parameter, value, time_us })
    }
}

/// A validator's vote on an open proposal. Signed by the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterVote {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The node that votes.
    pub node: PublicKey,
    /// The id of the proposal's transaction.
    pub proposal: super::TxId,
    /// For or against.
    pub approve: bool,
}

impl ParameterVote {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut e = open_map(5, &self.chain);
        e.uint(2).bytes(self.node.as_bytes()).uint(3).bytes(&self.proposal.0.0);
        e.uint(4).bool(self.approve).finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let body = ParameterVote {
            chain: head(&mut d, "parameter_vote", 5)?,
            node: d.key("parameter_vote.node", 2)?.public_key("parameter_vote.node")?,
            proposal: super::TxId(
                d.key("parameter_vote.proposal", 3)?.hash("parameter_vote.proposal")?,
            ),
            approve: d.key("parameter_vote.approve", 4)?.bool("parameter_vote.approve")?,
        };
        d.end("parameter_vote")?;
        Ok(body)
    }
}

/// What a statement's hash is the hash of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The head of an audit log.
    AuditLog,
    /// A statement of payouts.
    Payouts,
    /// A signed update bundle.
    Update,
}

impl Subject {
    /// All of them, in the order of their numbers from 1.
    pub const ALL: [Subject; 3] = [Subject::AuditLog, Subject::Payouts, Subject::Update];

    fn number(self) -> u64 {
        match self {
            Subject::AuditLog => 1,
            Subject::Payouts => 2,
            Subject::Update => 3,
        }
    }

    /// Its name for people and interfaces.
    pub fn name(self) -> &'static str {
        match self {
            Subject::AuditLog => "audit_log",
            Subject::Payouts => "payouts",
            Subject::Update => "update",
        }
    }
}

/// The hash of something outside the chain, to give it a time. Signed by a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The genesis hash of the chain.
    pub chain: Hash,
    /// The node that states it.
    pub node: PublicKey,
    /// What it is about.
    pub subject: Subject,
    /// The hash.
    pub hash: Hash,
    /// Words for people, at most [`NOTE_MAX_BYTES`] bytes.
    pub note: String,
    /// When by the node's clock, microseconds since 1970.
    pub time_us: u64,
}

impl Statement {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut e = open_map(7, &self.chain);
        e.uint(2).bytes(self.node.as_bytes()).uint(3).uint(self.subject.number());
        e.uint(4).bytes(&self.hash.0).uint(5).text(&self.note).uint(6).uint(self.time_us).finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let chain = head(&mut d, "statement", 7)?;
        let node = d.key("statement.node", 2)?.public_key("statement.node")?;
        let number = d.key("statement.subject", 3)?.u64("statement.subject")?;
        let subject = Subject::ALL
            .into_iter()
            .find(|subject| subject.number() == number)
            .ok_or_else(|| d.value_error("statement.subject", format!("no subject {number}")))?;
        let hash = d.key("statement.hash", 4)?.hash("statement.hash")?;
        let note = d.key("statement.note", 5)?.text("statement.note", NOTE_MAX_BYTES)?.to_owned();
        let time_us = d.key("statement.time", 6)?.u64("statement.time")?;
        d.end("statement")?;
        Ok(Statement { chain, node, subject, hash, note, time_us })
    }
}
