//! Transactions: reference block, time and contract in; bytes, id and signed bytes out.

use tron_protobuf::{Any, Contract, ContractMessage, Message, Raw, TYPE_URL, Transaction};

use super::signature::Signature;
use super::{Address, sha256};

/// What the network adds to the length of a transaction when it counts bandwidth (bytes).
pub const RESULT_BYTES: usize = 64;
/// Largest fee limit the network takes (sun).
pub const MAX_FEE_LIMIT: i64 = 15_000_000_000;
/// Longest life of a transaction the network takes (ms).
pub const MAX_LIFE_MS: i64 = 24 * 60 * 60 * 1000;

/// Why a transaction is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Ends before it begins, or lives too long.
    #[error("expiration {expiration} must be after timestamp {timestamp}, at most 24 h")]
    Expiration {
        /// End (ms).
        expiration: i64,
        /// Begin (ms).
        timestamp: i64,
    },
    /// Outside of what the network takes.
    #[error("fee limit {0} sun is not between 0 and 15000 TRX")]
    FeeLimit(i64),
    /// Not bytes of a transaction.
    #[error("these bytes are not a transaction")]
    Decode(#[source] tron_protobuf::DecodeError),
    /// Fields in another order, written defaults or unknown fields.
    #[error("the bytes encode to others than they came as: unknown or misplaced fields")]
    NotCanonical,
    /// None, or several.
    #[error("a transaction has exactly one contract, this has {0}")]
    Contracts(usize),
    /// Number and name say different things.
    #[error("contract type {number} does not belong to {type_url:?}")]
    Kind {
        /// Number in the transaction.
        number: i32,
        /// Address of the type in the transaction.
        type_url: String,
    },
    /// A contract that is not what its type says.
    #[error("the contract is not a {name}")]
    Contract {
        /// Name of the type.
        name: &'static str,
        /// What is wrong.
        #[source]
        source: tron_protobuf::DecodeError,
    },
}

/// The block a transaction refers to: any solid one of the last 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefBlock {
    /// Bytes 6 and 7 of the block's id.
    pub bytes: [u8; 2],
    /// Bytes 8 to 15 of the block's id.
    pub hash: [u8; 8],
}

impl RefBlock {
    /// Reference to the block with this id.
    pub fn of(block_id: &[u8; 32]) -> Self {
        let [_, _, _, _, _, _, a, b, c, d, e, f, g, h, i, j, ..] = *block_id;
        Self { bytes: [a, b], hash: [c, d, e, f, g, h, i, j] }
    }
}

/// What surrounds a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Block referred to.
    pub block: RefBlock,
    /// Time of making (ms). Two equal payouts in one millisecond are one transaction: keep it
    /// unique.
    pub timestamp: i64,
    /// End of validity (ms).
    pub expiration: i64,
    /// Most energy may cost (sun); 0 where no contract is called.
    pub fee_limit: i64,
    /// Memo, empty for none.
    pub memo: Vec<u8>,
    /// Permission that signs; 0 is the owner's.
    pub permission_id: i32,
}

/// An unsigned transaction with its bytes and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    /// The message.
    pub raw: Raw,
    /// Its bytes, `raw_data`.
    pub bytes: Vec<u8>,
    /// SHA-256 of them.
    pub txid: [u8; 32],
}

impl Unsigned {
    /// A transaction of one contract.
    pub fn build<C: ContractMessage>(contract: &C, frame: Frame) -> Result<Self, TransactionError> {
        let Frame { block, timestamp, expiration, fee_limit, memo, permission_id } = frame;
        let life = expiration.checked_sub(timestamp);
        if !life.is_some_and(|life| (1..=MAX_LIFE_MS).contains(&life)) {
            return Err(TransactionError::Expiration { expiration, timestamp });
        }
        if !(0..=MAX_FEE_LIMIT).contains(&fee_limit) {
            return Err(TransactionError::FeeLimit(fee_limit));
        }
        let parameter =
            Any { type_url: format!("{TYPE_URL}{}", C::NAME), value: contract.encode_to_vec() };
        let contract = Contract {
            r#type: C::NUMBER,
            parameter: Some(parameter),
            permission_id,
            ..Contract::default()
        };
        Ok(Self::of(Raw {
            ref_block_bytes: block.bytes.to_vec(),
            ref_block_hash: block.hash.to_vec(),
            expiration,
            data: memo,
            contract: vec![contract],
            timestamp,
            fee_limit,
            ..Raw::default()
        }))
    }

    fn of(raw: Raw) -> Self {
        let bytes = raw.encode_to_vec();
        let txid = sha256(&bytes);
        Self { raw, bytes, txid }
    }

    /// Reads foreign `raw_data` and insists that it encodes to the same bytes again: only then does
    /// the message say all that is signed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TransactionError> {
        let raw = Raw::decode(bytes).map_err(TransactionError::Decode)?;
        let transaction = Self::of(raw);
        if transaction.bytes != bytes {
            return Err(TransactionError::NotCanonical);
        }
        let contract = transaction.contract()?;
        let type_url = contract.parameter.as_ref().map_or("", |any| any.type_url.as_str());
        let name = tron_protobuf::contract_name(contract.r#type);
        if name.is_none() || type_url.strip_prefix(TYPE_URL) != name {
            let number = contract.r#type;
            return Err(TransactionError::Kind { number, type_url: type_url.to_owned() });
        }
        Ok(transaction)
    }

    /// The one contract.
    pub fn contract(&self) -> Result<&Contract, TransactionError> {
        match self.raw.contract.as_slice() {
            [contract] => Ok(contract),
            other => Err(TransactionError::Contracts(other.len())),
        }
    }

    /// The contract's message, if it is of type `C`.
    pub fn message<C: ContractMessage>(&self) -> Result<C, TransactionError> {
        let contract = self.contract()?;
        let any = contract.parameter.as_ref();
        let type_url = any.map_or("", |any| any.type_url.as_str());
        if contract.r#type != C::NUMBER || type_url.strip_prefix(TYPE_URL) != Some(C::NAME) {
            let type_url = type_url.to_owned();
            return Err(TransactionError::Kind { number: contract.r#type, type_url });
        }
        let value = any.map_or(&[][..], |any| &any.value);
        C::decode(value).map_err(|source| TransactionError::Contract { name: C::NAME, source })
    }

    /// Account that acts, where the message has it at its usual place.
    pub fn owner(&self) -> Option<Address> {
        /// Field 1 holds the owner in nearly every contract.
        #[derive(Clone, PartialEq, prost::Message)]
        struct First {
            #[prost(bytes = "vec", tag = "1")]
            owner: Vec<u8>,
        }
        /// Account name and account id come before the owner.
        #[derive(Clone, PartialEq, prost::Message)]
        struct Second {
            #[prost(bytes = "vec", tag = "2")]
            owner: Vec<u8>,
        }
        let contract = self.contract().ok()?;
        let value = contract.parameter.as_ref()?.value.as_slice();
        let owner = match contract.r#type {
            10 | 19 => Second::decode(value).ok()?.owner,
            _ => First::decode(value).ok()?.owner,
        };
        Address::from_bytes(&owner).ok()
    }

    /// Adds signatures.
    pub fn signed(&self, signature: Vec<Vec<u8>>) -> Vec<u8> {
        Transaction { raw_data: Some(self.raw.clone()), signature }.encode_to_vec()
    }

    /// Adds one signature with v 0/1.
    pub fn signed_once(&self, signature: &Signature) -> Vec<u8> {
        self.signed(vec![signature.to_bytes().to_vec()])
    }
}

/// Bandwidth a signed transaction costs (points).
pub fn bandwidth(signed: &[u8]) -> usize {
    signed.len() + RESULT_BYTES
}
