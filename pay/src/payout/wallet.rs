//! What the driver asks of the paying wallet: build and sign exactly one transfer.

use super::record::Share;
use super::types::{Address, Millis, TxId, Usdt};

/// A transfer to sign, every field decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The payouts it pays.
    pub shares: Vec<Share>,
    /// The paying account.
    pub from: Address,
    /// The payee.
    pub to: Address,
    /// The USDT contract.
    pub token: Address,
    /// The contract that is called: the token, or the router.
    pub contract: Address,
    /// The calldata.
    pub call: Vec<u8>,
    /// What the payee gets.
    pub net: Usdt,
    /// Unique in the account.
    pub timestamp: Millis,
    /// The end of its life.
    pub expiration: Millis,
    /// Height of the solidified reference block.
    pub reference: u64,
    /// Its id.
    pub reference_id: [u8; 32],
    /// Most sun its energy may cost; set by the driver after asking the node.
    pub fee_limit: u64,
}

/// A transaction and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// SHA-256 of its raw data.
    pub txid: TxId,
    /// The bytes to broadcast.
    pub bytes: Vec<u8>,
}

/// The wallet could not sign.
#[derive(Debug, thiserror::Error)]
#[error("the wallet cannot sign: {0}")]
pub struct SignError(pub String);

/// Builds and signs transfers.
pub trait Wallet {
    /// Builds the transaction of `order` and signs it.
    ///
    /// # Errors
    /// When the wallet is locked or cannot sign alone.
    fn sign(&self, order: &Order) -> Result<Signed, SignError>;
}
