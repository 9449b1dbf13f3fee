//! Chain parameters and the prices that follow from them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the chain's parameters are. Prices are those of mainnet as documented in July 2026.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Price of one point of energy, in sun.
    pub energy_fee: i64,
    /// Price of one point of bandwidth, in sun.
    pub transaction_fee: i64,
    /// Bandwidth every account has for nothing, in points a day.
    pub free_net_limit: i64,
    /// Burned when a transfer makes an account, in sun.
    pub create_account_fee: i64,
    /// Burned for the bandwidth of such a transfer where none is staked, in sun.
    pub create_account_bandwidth_fee: i64,
    /// Burned when two or more signed, in sun.
    pub multi_sign_fee: i64,
    /// Burned for a change of permissions, in sun.
    pub permission_fee: i64,
    /// Burned for a memo, in sun.
    pub memo_fee: i64,
    /// Highest `fee_limit`, in sun.
    pub max_fee_limit: i64,
    /// Unstaked TRX waits so many days.
    pub unfreeze_delay_days: i64,
    /// Energy all staked TRX together gives a day.
    pub total_energy_limit: i64,
    /// TRX staked for energy by everybody.
    pub total_energy_weight: i64,
    /// Bandwidth all staked TRX together gives a day.
    pub total_net_limit: i64,
    /// TRX staked for bandwidth by everybody.
    pub total_net_weight: i64,
    /// Reward of one vote a day, in sun.
    pub vote_reward_sun_per_day: i64,
    /// Length of a day, in milliseconds; shorter makes waiting times testable.
    pub day_ms: u64,
    /// Energy of a transfer to somebody who holds the token.
    pub transfer_energy: i64,
    /// More energy of a transfer to somebody who does not.
    pub new_holder_energy: i64,
    /// Extra energy the network asks of the token's contract now, in thousandths.
    pub energy_penalty_milli: i64,
    /// Whether the node answers `estimateenergy`.
    pub estimate_energy: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            energy_fee: 100,
            transaction_fee: 1000,
            free_net_limit: 600,
            create_account_fee: 1_000_000,
            create_account_bandwidth_fee: 100_000,
            multi_sign_fee: 1_000_000,
            permission_fee: 100_000_000,
            memo_fee: 1_000_000,
            max_fee_limit: 15_000_000_000,
            unfreeze_delay_days: 14,
            total_energy_limit: 180_000_000_000,
            total_energy_weight: 19_600_000_000,
            total_net_limit: 43_200_000_000,
            total_net_weight: 26_900_000_000,
            vote_reward_sun_per_day: 110,
            day_ms: 86_400_000,
            transfer_energy: 64_285,
            new_holder_energy: 66_000,
            energy_penalty_milli: 0,
            estimate_energy: false,
        }
    }
}

impl Params {
    /// The answer of `getchainparameters`.
    pub fn json(&self) -> Value {
        let list = [
            ("getMaintenanceTimeInterval", 21_600_000),
            ("getCreateAccountFee", self.create_account_bandwidth_fee),
            ("getTransactionFee", self.transaction_fee),
            ("getCreateNewAccountFeeInSystemContract", self.create_account_fee),
            ("getEnergyFee", self.energy_fee),
            ("getTotalEnergyLimit", self.total_energy_limit),
            ("getUpdateAccountPermissionFee", self.permission_fee),
            ("getMultiSignFee", self.multi_sign_fee),
            ("getFreeNetLimit", self.free_net_limit),
            ("getTotalNetLimit", self.total_net_limit),
            ("getMaxFeeLimit", self.max_fee_limit),
            ("getMemoFee", self.memo_fee),
            ("getUnfreezeDelayDays", self.unfreeze_delay_days),
            ("getAllowDynamicEnergy", 1),
            ("getDynamicEnergyThreshold", 5_000_000_000),
            ("getDynamicEnergyIncreaseFactor", 2_000),
            ("getDynamicEnergyMaxFactor", 34_000),
        ];
        let list: Vec<Value> =
            list.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        json!({"chainParameter": list})
    }
}
