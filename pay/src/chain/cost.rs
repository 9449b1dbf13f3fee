//! What a transaction will cost: energy, bandwidth, and the TRX burned for what is missing of them.
//! The rule is pure; prices and resources are the node's.

use tron_protobuf::{ContractMessage, TriggerSmartContract};

use crate::client::answers::{Parameters, Resources};
use crate::client::{FEE_MARGIN_PERCENT, HttpNode};
use crate::node::NodeError;
use crate::tron::signature;
use crate::tron::transaction::{Frame, RefBlock, TransactionError, Unsigned, bandwidth};
use crate::tron::{Address, Sun, Usdt, abi};

/// What a transaction takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// Points of energy.
    pub energy: u64,
    /// Points of bandwidth: bytes of the signed transaction and 64.
    pub bandwidth: u64,
    /// Signatures; from the second on there is a fee.
    pub signatures: usize,
    /// It has a memo.
    pub memo: bool,
    /// It sends TRX to an address that is no account yet.
    pub new_account: bool,
    /// It changes permissions.
    pub permissions: bool,
}

/// What it will cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// What it takes.
    pub need: Need,
    /// TRX burned for energy the account does not have.
    pub energy_burned: Sun,
    /// TRX burned for bandwidth the account does not have.
    pub bandwidth_burned: Sun,
    /// Fees: several signatures, memo, new account, permissions.
    pub fees: Sun,
    /// The fee limit to sign, with a margin; nothing where no contract is called.
    pub fee_limit: Sun,
    /// Why the contract would refuse it, if it would.
    pub refused: Option<String>,
}

impl Estimate {
    /// All TRX burned.
    pub fn burned(&self) -> Sun {
        [self.energy_burned, self.bandwidth_burned, self.fees].into_iter().sum()
    }
}

fn times(count: u64, price: Sun) -> Sun {
    let units = count.saturating_mul(price.units());
    Sun::from_units(units).unwrap_or(Sun::MAX)
}

/// What `need` costs an account with these resources at these prices.
///
/// Bandwidth comes whole from one source: stake, then the free part, else all of it is burned.
/// Energy is burned only as far as stake does not reach. The free part does not serve a transfer
/// that makes an account.
pub fn estimate(need: Need, has: &Resources, price: &Parameters) -> Estimate {
    let staked = has.bandwidth_limit.saturating_sub(has.bandwidth_used);
    let free = has.free_limit.saturating_sub(has.free_used);
    let bandwidth_burned = match need.bandwidth {
        wanted if wanted <= staked => Sun::ZERO,
        _ if need.new_account => price.new_account_bandwidth_fee,
        wanted if wanted <= free => Sun::ZERO,
        wanted => times(wanted, price.bandwidth_price),
    };
    let energy = has.energy_limit.saturating_sub(has.energy_used);
    let fees = [
        (need.signatures > 1, price.multi_sign_fee),
        (need.memo, price.memo_fee),
        (need.new_account, price.new_account_fee),
        (need.permissions, price.permission_fee),
    ];
    let limit = u128::from(need.energy)
        * u128::from(price.energy_price.units())
        * u128::from(FEE_MARGIN_PERCENT);
    let limit = u64::try_from(limit.div_ceil(100)).unwrap_or(u64::MAX);
    let fee_limit = Sun::from_units(limit).unwrap_or(Sun::MAX);
    let too_much = fee_limit > price.fee_limit_max;
    Estimate {
        need,
        energy_burned: times(need.energy.saturating_sub(energy), price.energy_price),
        bandwidth_burned,
        fees: fees.into_iter().filter(|(due, _)| *due).map(|(_, fee)| fee).sum(),
        fee_limit,
        refused: too_much.then(|| "it needs more energy than a fee limit allows".to_owned()),
    }
}

/// Bandwidth of a contract signed by so many.
///
/// # Errors
/// Never for times as they are; as [`Unsigned::build`].
pub fn bandwidth_of<C: ContractMessage>(
    contract: &C,
    now_ms: u64,
    fee_limit: Sun,
    signatures: usize,
) -> Result<u64, TransactionError> {
    let timestamp = i64::try_from(now_ms).unwrap_or(i64::MAX / 2);
    let frame = Frame {
        block: RefBlock { bytes: [1; 2], hash: [1; 8] },
        timestamp,
        expiration: timestamp.saturating_add(600_000),
        fee_limit: fee_limit.wire(),
        memo: Vec::new(),
        permission_id: if signatures > 1 { 2 } else { 0 },
    };
    let unsigned = Unsigned::build(contract, frame)?;
    let signed = unsigned.signed(vec![vec![0; signature::LENGTH]; signatures]);
    Ok(u64::try_from(bandwidth(&signed)).unwrap_or(u64::MAX))
}

/// What a contract that calls no contract of the TVM will cost its owner.
///
/// # Errors
/// When the node does not answer.
pub async fn native<C: ContractMessage>(
    node: &HttpNode,
    owner: Address,
    contract: &C,
    need: Need,
    now_ms: u64,
) -> Result<Estimate, NodeError> {
    let bandwidth = bandwidth_of(contract, now_ms, Sun::ZERO, need.signatures.max(1))
        .map_err(|error| NodeError::Refused(error.to_string()))?;
    let (has, price) = (node.resources(owner).await?, node.parameters().await?);
    Ok(estimate(Need { bandwidth, ..need }, &has, &price))
}

/// What a USDT transfer will cost, the energy by running it without executing it.
///
/// # Errors
/// When the node does not answer.
pub async fn transfer(
    node: &HttpNode,
    from: Address,
    token: Address,
    to: Address,
    amount: Usdt,
    signatures: usize,
    now_ms: u64,
) -> Result<Estimate, NodeError> {
    let data = abi::transfer(&to, amount.units());
    let seen = node.constant(from, token, &data, false).await?;
    let (energy, refused) = match seen {
        Ok(seen) => (seen.energy, seen.reverted),
        Err(why) => (0, Some(why)),
    };
    let (has, price) = (node.resources(from).await?, node.parameters().await?);
    let call = TriggerSmartContract {
        owner_address: from.to_bytes().to_vec(),
        contract_address: token.to_bytes().to_vec(),
        data,
        ..TriggerSmartContract::default()
    };
    let need = Need { energy, signatures, ..Need::default() };
    let limit = estimate(need, &has, &price).fee_limit.min(price.fee_limit_max);
    let bandwidth = bandwidth_of(&call, now_ms, limit, signatures.max(1))
        .map_err(|error| NodeError::Refused(error.to_string()))?;
    let found = estimate(Need { bandwidth, ..need }, &has, &price);
    Ok(Estimate { refused: refused.or(found.refused.clone()), ..found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price() -> Parameters {
        let sun = |units| Sun::from_units(units).unwrap();
        Parameters {
            energy_price: sun(100),
            bandwidth_price: sun(1_000),
            new_account_fee: sun(1_000_000),
            new_account_bandwidth_fee: sun(100_000),
            multi_sign_fee: sun(1_000_000),
            memo_fee: sun(1_000_000),
            permission_fee: sun(100_000_000),
            fee_limit_max: sun(15_000_000_000),
            unfreeze_days: 14,
        }
    }

    #[test]
    fn bandwidth_is_all_or_nothing_and_energy_is_not() {
        let need = Need { energy: 64_285, bandwidth: 345, signatures: 1, ..Need::default() };
        let free = Resources { free_limit: 600, ..Resources::default() };
        let found = estimate(need, &free, &price());
        assert_eq!(found.burned().units(), 6_428_500);
        assert_eq!(found.fee_limit.units(), 8_357_050);
        let used = Resources { free_used: 300, energy_limit: 60_000, ..free };
        let found = estimate(need, &used, &price());
        assert_eq!(found.bandwidth_burned.units(), 345_000, "300 free points do not help");
        assert_eq!(found.energy_burned.units(), 428_500);
        let staked = Resources { bandwidth_limit: 345, ..used };
        assert_eq!(estimate(need, &staked, &price()).bandwidth_burned, Sun::ZERO);
        let several = Need { signatures: 2, memo: true, ..need };
        assert_eq!(estimate(several, &staked, &price()).fees.units(), 2_000_000);
        let new = Need { bandwidth: 267, new_account: true, ..Need::default() };
        assert_eq!(estimate(new, &free, &price()).burned().units(), 1_100_000);
        let huge = Need { energy: u64::MAX, ..need };
        assert!(estimate(huge, &free, &price()).refused.is_some());
    }

    #[test]
    fn sizes_are_those_of_the_network() {
        let from = Address::from_evm([1; 20]);
        let pay = tron_protobuf::TransferContract {
            owner_address: from.to_bytes().to_vec(),
            to_address: from.to_bytes().to_vec(),
            amount: 1_000_000,
        };
        let now = 1_760_000_000_000;
        assert_eq!(bandwidth_of(&pay, now, Sun::ZERO, 1).unwrap(), 267);
        let call = TriggerSmartContract {
            owner_address: from.to_bytes().to_vec(),
            contract_address: from.to_bytes().to_vec(),
            data: abi::transfer(&from, 5_000_000),
            ..TriggerSmartContract::default()
        };
        let limit = Sun::whole(30);
        assert_eq!(bandwidth_of(&call, now, limit, 1).unwrap(), 345);
        assert_eq!(bandwidth_of(&call, now, limit, 2).unwrap(), 414);
    }
}
