//! Accounts: balances, stake, what of their resources is used, permissions.

use super::params::Params;
use crate::address::Address;
use crate::hex;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The two resources, as indices of the arrays below.
pub const BANDWIDTH: usize = 0;
/// See [`BANDWIDTH`].
pub const ENERGY: usize = 1;
/// Sun in one TRX.
pub const TRX: i64 = 1_000_000;

/// Keys that together may act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// 0 owner, 2 and above active.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Weight that is enough.
    pub threshold: i64,
    /// One bit for each contract type; empty allows all.
    pub operations: Vec<u8>,
    /// Keys and their weights.
    pub keys: Vec<(Address, i64)>,
}

impl Permission {
    /// The permission an account has as long as nobody changed it.
    pub fn default_of(address: Address, id: i64) -> Self {
        let (name, operations) = match id {
            0 => ("owner", Vec::new()),
            _ => {
                let all = "7fff1fc0033efb07000000000000000000000000000000000000000000000000";
                ("active", hex::decode(all).unwrap_or_default())
            }
        };
        let keys = vec![(address, 1)];
        Self { id, name: name.to_owned(), threshold: 1, operations, keys }
    }

    /// Whether a contract type is allowed.
    pub fn allows(&self, contract: i64) -> bool {
        let Ok(bit) = usize::try_from(contract) else { return false };
        self.id == 0 || self.operations.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// Weight of a key; 0 if it is none of this permission's.
    pub fn weight(&self, key: Address) -> i64 {
        self.keys.iter().find(|(address, _)| *address == key).map_or(0, |(_, weight)| *weight)
    }

    /// As a node prints it.
    pub fn json(&self, visible: bool) -> Value {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|(key, weight)| json!({"address": key.text(visible), "weight": weight}))
            .collect();
        let mut out =
            json!({"permission_name": self.name, "threshold": self.threshold, "keys": keys});
        if self.id != 0 {
            out["type"] = json!("Active");
            out["id"] = json!(self.id);
            out["operations"] = json!(hex::encode(&self.operations));
        }
        out
    }
}

/// Points used, recovering evenly within a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    points: i64,
    at_ms: u64,
}

impl Usage {
    /// What is still used.
    pub fn now(self, now_ms: u64, day_ms: u64) -> i64 {
        let left = day_ms.saturating_sub(now_ms.saturating_sub(self.at_ms));
        let left = i128::from(self.points) * i128::from(left) / i128::from(day_ms.max(1));
        i64::try_from(left).unwrap_or(i64::MAX)
    }

    /// Uses more.
    pub fn add(&mut self, points: i64, now_ms: u64, day_ms: u64) {
        self.points = self.now(now_ms, day_ms) + points;
        self.at_ms = now_ms;
    }
}

/// One account or contract.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// When it was made, in milliseconds.
    pub created_ms: u64,
    /// TRX, in sun.
    pub balance: i64,
    /// Staked and used by itself, in sun.
    pub frozen: [i64; 2],
    /// Staked and lent out, in sun.
    pub delegated: [i64; 2],
    /// Stake of others lent to it, in sun.
    pub acquired: [i64; 2],
    /// On its way back: resource, sun, when.
    pub unfreezing: Vec<(usize, i64, u64)>,
    /// Used of what stake gives.
    pub used: [Usage; 2],
    /// Used of the free bandwidth.
    pub free_used: Usage,
    /// Votes.
    pub votes: Vec<(Address, i64)>,
    /// Reward up to `reward_from_ms`, in sun.
    pub allowance: i64,
    /// Since when votes earn what `allowance` does not hold.
    pub reward_from_ms: u64,
    /// Last claim of a reward.
    pub withdrawn_ms: u64,
    /// The owner permission, once changed.
    pub owner: Option<Permission>,
    /// The active permissions, once changed.
    pub actives: Option<Vec<Permission>>,
    /// Whether it is a contract.
    pub contract: bool,
    /// Whether it can be voted for.
    pub witness: bool,
    /// Loans to others: receiver and resource to sun and the end of the lock.
    pub loans: BTreeMap<(Address, usize), (i64, u64)>,
}

impl Account {
    /// Votes its stake gives.
    pub fn tron_power(&self) -> i64 {
        let staked: i64 = self.frozen.iter().chain(&self.delegated).sum();
        staked / TRX
    }

    /// Points a day of a resource, from stake.
    pub fn limit(&self, resource: usize, params: &Params) -> i64 {
        let (total, weight) = match resource {
            ENERGY => (params.total_energy_limit, params.total_energy_weight),
            _ => (params.total_net_limit, params.total_net_weight),
        };
        let stake = i128::from((self.frozen[resource] + self.acquired[resource]) / TRX);
        let limit = stake * i128::from(total) / i128::from(weight.max(1));
        i64::try_from(limit).unwrap_or(i64::MAX)
    }

    /// Points of a resource left, from stake.
    pub fn left(&self, resource: usize, params: &Params, now_ms: u64) -> i64 {
        let used = self.used[resource].now(now_ms, params.day_ms);
        (self.limit(resource, params) - used).max(0)
    }

    /// Reward that could be claimed, in sun.
    pub fn reward(&self, params: &Params, now_ms: u64) -> i64 {
        let votes: i64 = self.votes.iter().map(|(_, count)| count).sum();
        let span = i128::from(now_ms.saturating_sub(self.reward_from_ms));
        let earned = i128::from(votes) * i128::from(params.vote_reward_sun_per_day) * span;
        let earned = i64::try_from(earned / i128::from(params.day_ms.max(1)));
        self.allowance.saturating_add(earned.unwrap_or(i64::MAX))
    }

    /// The permission with an id.
    pub fn permission(&self, address: Address, id: i64) -> Option<Permission> {
        match (id, &self.actives) {
            (0, _) => {
                Some(self.owner.clone().unwrap_or_else(|| Permission::default_of(address, 0)))
            }
            (id, Some(actives)) => actives.iter().find(|active| active.id == id).cloned(),
            (2, None) => Some(Permission::default_of(address, 2)),
            _ => None,
        }
    }
}
