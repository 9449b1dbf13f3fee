//! Whether an account can pay for the calls it is about to send. Pure; prices and resources are the
//! node's.

use tron_protobuf::TriggerSmartContract;

use super::answers::{Parameters, Resources};
use crate::tron::transaction::{self, Frame, RefBlock, TransactionError, Unsigned};
use crate::tron::{Address, Sun, signature};

/// A moment whose times are as long on the wire as those of today, milliseconds since 1970.
const SOME_TIME_MS: i64 = 1_760_000_000_000;
/// A fee limit as long on the wire as those of token transfers, sun.
const SOME_FEE_LIMIT: i64 = 10_000_000;

/// Bandwidth a contract's call with one signature takes, measured on the transaction it would be.
///
/// # Errors
/// Never for calls as they are; as [`Unsigned::build`].
pub fn bandwidth(from: Address, contract: Address, data: &[u8]) -> Result<u64, TransactionError> {
    let call = TriggerSmartContract {
        owner_address: from.to_bytes().to_vec(),
        contract_address: contract.to_bytes().to_vec(),
        data: data.to_vec(),
        ..TriggerSmartContract::default()
    };
    let frame = Frame {
        block: RefBlock::of(&[0xff; 32]),
        timestamp: SOME_TIME_MS,
        expiration: SOME_TIME_MS + 600_000,
        fee_limit: SOME_FEE_LIMIT,
        memo: Vec::new(),
        permission_id: 0,
    };
    let signed = Unsigned::build(&call, frame)?.signed(vec![vec![0xff; signature::LENGTH]]);
    Ok(u64::try_from(transaction::bandwidth(&signed)).unwrap_or(u64::MAX))
}

/// TRX that `count` calls of so much energy and bandwidth each burn together.
///
/// Energy is burned only as far as stake does not reach. Bandwidth comes whole from stake or from
/// the free part for each transaction, else all of it is burned.
pub fn burned(count: u64, energy: u64, bandwidth: u64, has: &Resources, price: &Parameters) -> Sun {
    let energy_left = has.energy_limit.saturating_sub(has.energy_used);
    let energy = energy.saturating_mul(count).saturating_sub(energy_left);
    let carries = |limit: u64, used: u64| limit.saturating_sub(used) / bandwidth.max(1);
    let carried = carries(has.bandwidth_limit, has.bandwidth_used)
        .saturating_add(carries(has.free_limit, has.free_used));
    let bandwidth = bandwidth.saturating_mul(count.saturating_sub(carried));
    let units = energy
        .saturating_mul(price.energy_price.units())
        .saturating_add(bandwidth.saturating_mul(price.bandwidth_price.units()));
    Sun::from_units(units).unwrap_or(Sun::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tron::abi;

    fn price() -> Parameters {
        Parameters {
            energy_price: Sun::from_units(100).unwrap(),
            bandwidth_price: Sun::from_units(1_000).unwrap(),
            new_account_fee: Sun::ZERO,
            new_account_bandwidth_fee: Sun::ZERO,
            multi_sign_fee: Sun::ZERO,
            memo_fee: Sun::ZERO,
            permission_fee: Sun::ZERO,
            fee_limit_max: Sun::whole(15_000),
            unfreeze_days: 14,
        }
    }

    #[test]
    fn stake_and_free_points_serve_as_many_calls_as_they_reach_for() {
        let of = |count, has: &Resources| burned(count, 64_285, 345, has, &price()).units();
        let nothing = Resources::default();
        assert_eq!(of(1, &nothing), 6_428_500 + 345_000);
        assert_eq!(of(3, &nothing), 3 * (6_428_500 + 345_000));
        let free = Resources { free_limit: 600, ..nothing };
        assert_eq!(of(1, &free), 6_428_500);
        assert_eq!(of(2, &free), 2 * 6_428_500 + 345_000, "255 free points carry nothing");
        let staked = Resources { energy_limit: 100_000, bandwidth_limit: 345, ..free };
        assert_eq!(of(1, &staked), 0);
        assert_eq!(of(2, &staked), 2_857_000);
        assert_eq!(burned(u64::MAX, u64::MAX, u64::MAX, &nothing, &price()), Sun::MAX);
    }

    #[test]
    fn a_transfer_has_the_size_it_has_on_the_network() {
        let from = Address::from_evm([1; 20]);
        let data = abi::transfer(&from, 5_000_000);
        assert_eq!(bandwidth(from, from, &data).unwrap(), 345);
    }
}
