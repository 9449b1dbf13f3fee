//! Staking TRX for energy and bandwidth, votes and rewards.

use crate::Sun;
use serde::{Deserialize, Serialize};

/// What staked TRX gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Points for the size of transactions.
    Bandwidth,
    /// Points for contract calls, USDT transfers among them.
    Energy,
}

/// Staked TRX on its way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Maturing {
    /// What it gave.
    pub resource: Resource,
    /// How much, in sun.
    pub amount_sun: Sun,
    /// From when on it can be withdrawn, in milliseconds since 1970.
    pub matures_ms: u64,
}

/// Energy or bandwidth lent to another account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delegation {
    /// Who uses it, in base58check.
    pub receiver: String,
    /// What is lent.
    pub resource: Resource,
    /// Stake behind it, in sun.
    pub amount_sun: Sun,
    /// Not to be taken back before, in milliseconds since 1970.
    pub locked_until_ms: Option<u64>,
}

/// Votes for one super representative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// The representative, in base58check.
    pub address: String,
    /// Votes: whole TRX staked.
    pub votes: u64,
}

/// The staking of one wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Staking {
    /// The wallet.
    pub wallet: String,
    /// Staked for energy, lent out included, in sun.
    pub energy_sun: Sun,
    /// Staked for bandwidth, lent out included, in sun.
    pub bandwidth_sun: Sun,
    /// On its way back, soonest first.
    pub maturing: Vec<Maturing>,
    /// Can be withdrawn now, in sun.
    pub withdrawable_sun: Sun,
    /// Lent out.
    pub delegations: Vec<Delegation>,
    /// Votes cast.
    pub votes: Vec<Vote>,
    /// Votes the stake gives.
    pub votes_available: u64,
    /// Reward not claimed yet, in sun.
    pub reward_sun: Sun,
    /// Orders that are not final yet, oldest first.
    #[serde(default)]
    pub under_way: Vec<StakingReceipt>,
    /// Next moment the reward can be claimed, in milliseconds since 1970.
    pub claimable_ms: Option<u64>,
    /// Least stake this installation allows, in sun.
    pub minimum_sun: Sun,
    /// When a node said so, in milliseconds since 1970.
    pub as_of_ms: u64,
}

/// What to do with stake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "action", deny_unknown_fields)]
pub enum StakingAction {
    /// Stakes TRX.
    Freeze {
        /// What it gives.
        resource: Resource,
        /// How much, in sun.
        amount_sun: Sun,
    },
    /// Asks for staked TRX back; it comes after the chain's waiting time.
    Unfreeze {
        /// What it gave.
        resource: Resource,
        /// How much, in sun.
        amount_sun: Sun,
    },
    /// Takes what has matured.
    Withdraw,
    /// Stakes again everything that is on its way back.
    CancelUnfreezes,
    /// Lends energy or bandwidth.
    Delegate {
        /// What is lent.
        resource: Resource,
        /// Stake behind it, in sun.
        amount_sun: Sun,
        /// Who uses it, in base58check.
        receiver: String,
        /// Locks the loan for three days.
        #[serde(default)]
        lock: bool,
    },
    /// Takes a loan back.
    Undelegate {
        /// What was lent.
        resource: Resource,
        /// Stake behind it, in sun.
        amount_sun: Sun,
        /// Who used it, in base58check.
        receiver: String,
    },
    /// Casts all votes anew; earlier ones end.
    Vote {
        /// 1 to 30 representatives.
        votes: Vec<Vote>,
    },
    /// Claims the reward of votes, at most once in 24 hours.
    ClaimReward,
}

/// An action for one wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StakingOrder {
    /// The wallet.
    pub wallet: String,
    /// Asking twice with one key is asking once, for ever. 1 to 128 bytes. Without one an order is
    /// the same as an equal one that is under way, or that moved an amount in the last 24 hours.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Who orders it. The daemon names whoever is signed in.
    #[serde(default)]
    pub by: Option<String>,
    /// What to do.
    #[serde(flatten)]
    pub action: StakingAction,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StakingReceipt {
    /// The transaction.
    pub txid: String,
    /// `signed`, `broadcast`, `seen`, or `confirmed` once a solidified block holds it.
    pub state: String,
    /// What was done and what follows, in a sentence.
    pub detail: String,
    /// Who ordered it; absent for what nobody was named for, and for proposals, which several sign.
    #[serde(default)]
    pub by: Option<String>,
}
