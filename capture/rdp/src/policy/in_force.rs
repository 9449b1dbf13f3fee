//! A policy while a session runs under it.

use super::{Capability, Policy};
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

    /// Adds an operator's grant for the rest of the session. The anchored policy stays what it is;
    /// the grant is an event.
    pub fn grant(&mut self, capability: Capability) {
        if !self.granted.contains(&capability) {
            self.granted.push(capability);
        }
        self.effective.grant(capability);
    }

    /// Compares the policy as it is stored now, and the one held here, with the anchored hash.
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
        Ok(())
    }
}
