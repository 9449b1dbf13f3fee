//! The call of the configured router contract.

use super::types::{Address, Usdt};
use crate::tron::abi::{self, AbiError, Type};
use crate::tron::hex;

/// A function that is no router's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// Not `name(type,type)`, or with types nobody has.
    #[error(transparent)]
    Abi(#[from] AbiError),
    /// Other arguments.
    #[error(
        "a router takes (address,uint256) or (address,uint256,bytes32): payee, amount, evidence"
    )]
    Arguments,
}

/// Where the router is and what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// The contract.
    pub contract: Address,
    /// Its function, such as `payout(address,uint256,bytes32)`.
    pub function: String,
}

/// Whether a function can be asked for payouts.
///
/// # Errors
/// When its arguments are not payee, amount and, if there are three, the evidence's hash.
pub fn check(function: &str) -> Result<(), RouterError> {
    match abi::parameters(function)?.as_slice() {
        [Type::Address, Type::Uint(256)] | [Type::Address, Type::Uint(256), Type::Fixed(32)] => {
            Ok(())
        }
        _ => Err(RouterError::Arguments),
    }
}

impl Router {
    /// The calldata that pays `net` to `payee`.
    ///
    /// # Errors
    /// When the function is none of a router's, or the payee no address.
    pub fn call(
        &self,
        payee: Address,
        net: Usdt,
        evidence: &[u8; 32],
    ) -> Result<Vec<u8>, RouterError> {
        check(&self.function)?;
        let payee = payee.to_string();
        let (net, evidence) = (net.units().to_string(), hex::encode(evidence));
        let three = abi::parameters(&self.function)?.len() == 3;
        let arguments: &[&str] = if three { &[&payee, &net, &evidence] } else { &[&payee, &net] };
        Ok(abi::call(&self.function, arguments)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_takes_payee_amount_and_perhaps_evidence() {
        assert_eq!(check("pay(address,uint256)"), Ok(()));
        assert_eq!(check("payout(address,uint256,bytes32)"), Ok(()));
        for function in ["pay(uint256,address)", "pay()", "pay(address,uint256,bytes32,bool)"] {
            assert_eq!(check(function), Err(RouterError::Arguments), "{function}");
        }
        assert!(matches!(check("pay"), Err(RouterError::Abi(_))));
    }

    #[test]
    fn the_call_is_selector_and_words() {
        let contract = Address::from_evm([9; 20]);
        let function = "payout(address,uint256,bytes32)".to_owned();
        let router = Router { contract, function };
        let data = router
            .call(Address::from_evm([0x41; 20]), Usdt::from_units(258).unwrap(), &[7; 32])
            .unwrap();
        assert_eq!(data.len(), 4 + 3 * 32);
        assert_eq!(data[4..16], [0; 12]);
        assert_eq!(data[16..36], [0x41; 20]);
        assert_eq!(data[66..68], [1, 2]);
        assert_eq!(data[68..], [7; 32]);
    }
}
