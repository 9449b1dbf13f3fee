//! What the payout driver asks of one TRON node. Solidified answers come from `walletsolidity`.

use crate::payout::record::Used;
use crate::payout::types::{Address, TxId, Usdt};
use std::future::Future;

/// A block's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Height.
    pub number: u64,
    /// Block id; its first 8 bytes are the height.
    pub id: [u8; 32],
    /// Timestamp, milliseconds since 1970.
    pub time: u64,
}

/// A TRC-20 `Transfer` log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferLog {
    /// The contract that wrote it.
    pub token: Address,
    /// Sender.
    pub from: Address,
    /// Receiver.
    pub to: Address,
    /// Amount in the smallest unit.
    pub amount: Usdt,
}

/// A solidified transaction's result (`gettransactioninfobyid`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction it speaks of, as the node says.
    pub txid: TxId,
    /// Height of its block.
    pub block: u64,
    /// `receipt.result` is exactly `SUCCESS`, as of a contract's call.
    pub success: bool,
    /// It did what it says; a native transaction has no `receipt.result`.
    pub worked: bool,
    /// `receipt.result` in words.
    pub result: String,
    /// TRX burned, sun.
    pub burned_sun: u64,
    /// Energy and bandwidth.
    pub used: Used,
    /// The `Transfer` logs.
    pub transfers: Vec<TransferLog>,
}

/// The answer to a broadcast, by TRON's `response_code`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Accepted into this node's pool.
    Accepted,
    /// The node has seen this transaction before.
    Duplicate,
    /// Refused now, with the code's name.
    Refused(String),
    /// Nobody can tell from it whether the node took the transaction.
    Unclear(String),
}

/// Why a node gave no answer.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum NodeError {
    /// No connection, a time-out, 429, 403, 503.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that is not one.
    #[error("the node's answer cannot be read: {0}")]
    Malformed(String),
    /// The node answers that it will not.
    #[error("the node refuses: {0}")]
    Refused(String),
}

/// One node. Every call may fail at any time, and an answer may be lost after it took effect.
pub trait TronNode {
    /// The newest block, solidified or not.
    fn head(&self) -> impl Future<Output = Result<Block, NodeError>> + Send;
    /// The newest solidified block.
    fn solid(&self) -> impl Future<Output = Result<Block, NodeError>> + Send;
    /// The id of a solidified block, if the node has it.
    fn solid_id(
        &self,
        number: u64,
    ) -> impl Future<Output = Result<Option<[u8; 32]>, NodeError>> + Send;
    /// The solidified receipt; `None` when the node answers `{}`.
    fn receipt(
        &self,
        txid: TxId,
    ) -> impl Future<Output = Result<Option<Receipt>, NodeError>> + Send;
    /// Whether the transaction is in a block that is not yet solidified, and in which.
    fn sighted(&self, txid: TxId) -> impl Future<Output = Result<Option<u64>, NodeError>> + Send;
    /// The solidified token balance.
    fn balance(
        &self,
        owner: Address,
        token: Address,
    ) -> impl Future<Output = Result<Usdt, NodeError>> + Send;
    /// What a contract's call may cost at most, sun, with a margin; `Err` inside when it would
    /// revert, or when the account cannot pay for it and for `before` others like it that are
    /// signed and in no block yet.
    fn fee_limit(
        &self,
        from: Address,
        contract: Address,
        data: &[u8],
        before: u64,
    ) -> impl Future<Output = Result<Result<u64, String>, NodeError>> + Send;
    /// Sends the signed bytes (`broadcasthex`).
    fn broadcast(&self, signed: &[u8]) -> impl Future<Output = Result<Answer, NodeError>> + Send;
}
