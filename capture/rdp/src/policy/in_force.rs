//! A policy while a session runs under it, and the chain of what it became by grants.
//!
//! The anchored policy is the chain's first link. Each grant makes another policy, and the event
//! that tells it names the hash of the policy before and carries the new one whole: whoever reads
//! the events in order ([`GrantChain`]) sees that each was granted and that nothing else changed.

use super::{Capability, Policy, PolicyError};
use crate::event::{Approval, EventKind};
use lucid_evidence::Hash;

/// A policy in force, with the hash that was anchored for it.
#[derive(Debug, Clone)]
pub struct PolicyInForce {
    policy: Policy,
    anchored: Hash,
    granted: Vec<Capability>,
    effective: Policy,
}

/// The session's policy is not the anchored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session is void: its policy hashes to {found}, {anchored} was anchored")]
pub struct Void {
    /// What was anchored.
    pub anchored: Hash,
    /// What the policy hashes to.
    pub found: Hash,
}

impl PolicyInForce {
    /// Puts `policy` in force under the hash that was anchored.
    ///
    /// # Errors
    /// When it is another policy's hash.
    pub fn new(policy: Policy, anchored: Hash) -> Result<Self, Void> {
        let effective = policy.clone();
        let force = PolicyInForce { policy, anchored, granted: Vec::new(), effective };
        force.check(&force.policy)?;
        Ok(force)
    }

    /// What is allowed now: the policy and what was granted.
    pub fn effective(&self) -> &Policy {
        &self.effective
    }

    /// The anchored hash.
    pub fn anchored(&self) -> Hash {
        self.anchored
    }

    /// What was granted so far.
    pub fn granted(&self) -> &[Capability] {
        &self.granted
    }

    /// Adds an operator's grant for the rest of the session. The anchored policy stays what it is.
    /// The event that tells the change is to be recorded after the one that tells the grant.
    #[must_use = "the change is an event of the session"]
    pub fn grant(&mut self, capability: Capability) -> EventKind {
        if !self.granted.contains(&capability) {
            self.granted.push(capability);
        }
        let before = self.effective.hash();
        self.effective.grant(capability);
        let (hash, encoding) = (self.effective.hash(), self.effective.encode());
        EventKind::PolicyChanged { before, hash, encoding }
    }

    /// Compares the policy as it is stored now, and the one held here, with the anchored hash; and
    /// what is in force with what was granted.
    ///
    /// # Errors
    /// [`Void`]: the session must end.
    pub fn check(&self, stored: &Policy) -> Result<(), Void> {
        for policy in [stored, &self.policy] {
            let found = policy.hash();
            if found != self.anchored {
                return Err(Void { anchored: self.anchored, found });
            }
        }
        let mut granted = self.policy.clone();
        self.granted.iter().for_each(|capability| granted.grant(*capability));
        match granted == self.effective {
            true => Ok(()),
            false => Err(Void { anchored: self.anchored, found: self.effective.hash() }),
        }
    }
}

/// Why the events of a session do not make a chain of grants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A change before the policy was said, or the policy said twice.
    #[error("the session's policy is not said once, before all changes")]
    NoBeginning,
    /// The policy said is not the anchored one.
    #[error("the session's policy hashes to {found}, {anchored} was anchored")]
    NotAnchored {
        /// What was anchored.
        anchored: Hash,
        /// What was said.
        found: Hash,
    },
    /// A policy whose hash is not the one said.
    #[error("a policy hashes to {found}, its event says {said}")]
    Hash {
        /// What the event says.
        said: Hash,
        /// What the policy hashes to.
        found: Hash,
    },
    /// A change of another policy than the one in force.
    #[error("policy {before} was changed while {in_force} was in force")]
    Before {
        /// What the event says.
        before: Hash,
        /// What was in force.
        in_force: Hash,
    },
    /// A change that nobody granted, or that is not what was granted.
    #[error("policy {hash} is not what was granted")]
    NotGranted {
        /// The policy.
        hash: Hash,
    },
    /// Bytes that are no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Follows the grants through the events of a session, in their order.
#[derive(Debug, Clone)]
pub struct GrantChain {
    anchored: Hash,
    in_force: Option<Policy>,
    /// Granted, and not in force yet.
    granted: Vec<Capability>,
}

impl GrantChain {
    /// Before the first event of a session for which this policy's hash was anchored.
    pub fn new(anchored: Hash) -> Self {
        GrantChain { anchored, in_force: None, granted: Vec::new() }
    }

    /// What is in force after the events so far; none before the policy was said.
    pub fn in_force(&self) -> Option<&Policy> {
        self.in_force.as_ref()
    }

    /// Takes the next event. Those that are not of policies and approvals change nothing.
    ///
    /// # Errors
    /// What does not follow from the events before.
    pub fn take(&mut self, event: &EventKind) -> Result<(), BrokenChain> {
        match event {
            EventKind::Policy { hash, encoding } => {
                let policy = said(*hash, encoding)?;
                if *hash != self.anchored {
                    let (anchored, found) = (self.anchored, *hash);
                    return Err(BrokenChain::NotAnchored { anchored, found });
                }
                match self.in_force.replace(policy) {
                    None => Ok(()),
                    Some(_) => Err(BrokenChain::NoBeginning),
                }
            }
            EventKind::Approval { capability, approval: Approval::Granted, .. } => {
                self.granted.push(*capability);
                Ok(())
            }
            EventKind::PolicyChanged { before, hash, encoding } => {
                let policy = said(*hash, encoding)?;
                let current = self.in_force.as_mut().ok_or(BrokenChain::NoBeginning)?;
                let in_force = current.hash();
                if *before != in_force {
                    return Err(BrokenChain::Before { before: *before, in_force });
                }
                let becomes = |capability: &Capability| {
                    let mut with = current.clone();
                    with.grant(*capability);
                    with == policy
                };
                let granted = self.granted.iter().position(becomes);
                let granted = granted.ok_or(BrokenChain::NotGranted { hash: *hash })?;
                self.granted.remove(granted);
                *current = policy;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn said(said: Hash, encoding: &[u8]) -> Result<Policy, BrokenChain> {
    let policy = Policy::decode(encoding)?;
    match policy.hash() {
        found if found == said => Ok(policy),
        found => Err(BrokenChain::Hash { said, found }),
    }
}

#[cfg(test)]
mod tests;
