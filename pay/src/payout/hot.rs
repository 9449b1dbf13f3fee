//! A hot wallet: builds the transaction of an order and signs it with a key in memory.

use super::types::TxId;
use super::wallet::{Order, SignError, Signed, Wallet};
use crate::tron::key::PrivateKey;
use crate::tron::transaction::{Frame, RefBlock, Unsigned};
use tron_protobuf::TriggerSmartContract;

/// Signs with one key, which is the account's own.
pub struct HotWallet {
    key: PrivateKey,
}

impl HotWallet {
    /// A wallet over `key`.
    pub fn new(key: PrivateKey) -> Self {
        Self { key }
    }
}

impl Wallet for HotWallet {
    fn sign(&self, order: &Order) -> Result<Signed, SignError> {
        let refuse = |error: &dyn std::error::Error| SignError(error.to_string());
        let owner = self.key.address();
        if owner != order.from {
            return Err(SignError(format!("its key is {owner}'s, not {}'s", order.from)));
        }
        let time = |time: u64| i64::try_from(time).map_err(|error| refuse(&error));
        let contract = TriggerSmartContract {
            owner_address: order.from.to_bytes().to_vec(),
            contract_address: order.contract.to_bytes().to_vec(),
            data: order.call.clone(),
            ..TriggerSmartContract::default()
        };
        let frame = Frame {
            block: RefBlock::of(&order.reference_id),
            timestamp: time(order.timestamp)?,
            expiration: time(order.expiration)?,
            fee_limit: time(order.fee_limit)?,
            memo: Vec::new(),
            permission_id: 0,
        };
        let unsigned = Unsigned::build(&contract, frame).map_err(|error| refuse(&error))?;
        let signature = self.key.sign(&unsigned.txid);
        Ok(Signed { txid: TxId(unsigned.txid), bytes: unsigned.signed_once(&signature) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tron::sha256;
    use crate::tron::signature::Signature;
    use crate::tron::{Address, Usdt, abi};
    use tron_protobuf::{Message, Transaction};

    #[test]
    fn an_order_becomes_exactly_its_transfer_signed_by_the_account() {
        let key = PrivateKey::from_bytes(&[7; 32]).unwrap();
        let (owner, payee) = (key.address(), Address::from_evm([0x41; 20]));
        let order = Order {
            shares: Vec::new(),
            from: owner,
            to: payee,
            token: Address::from_evm([0x42; 20]),
            contract: Address::from_evm([0x42; 20]),
            call: abi::transfer(&payee, 12_500_000),
            net: Usdt::from_units(12_500_000).unwrap(),
            timestamp: 1_000,
            expiration: 601_000,
            reference: 1,
            reference_id: [9; 32],
            fee_limit: 15_000_000,
        };
        let signed = HotWallet::new(key).sign(&order).unwrap();
        let transaction = Transaction::decode(signed.bytes.as_slice()).unwrap();
        let raw = transaction.raw_data.unwrap();
        assert_eq!(signed.txid.0, sha256(&raw.encode_to_vec()));
        assert_eq!((raw.timestamp, raw.expiration, raw.fee_limit), (1_000, 601_000, 15_000_000));
        let signature = Signature::from_bytes(&transaction.signature[0]).unwrap();
        assert_eq!(signature.recover(&signed.txid.0).unwrap(), owner);
        let call = Unsigned::from_bytes(&raw.encode_to_vec()).unwrap();
        let call: TriggerSmartContract = call.message().unwrap();
        assert_eq!(call.contract_address, Address::from_evm([0x42; 20]).to_bytes());
        assert_eq!(call.data[..4], [0xa9, 0x05, 0x9c, 0xbb]);
        assert_eq!(call.data[call.data.len() - 4..], 12_500_000u32.to_be_bytes());
        let other = PrivateKey::from_bytes(&[8; 32]).unwrap();
        assert!(HotWallet::new(other).sign(&order).is_err(), "another account's key");
    }
}
