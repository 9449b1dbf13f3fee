//! Receipts of token transfers. USDT's `transfer` returns false also when it succeeds, so what
//! counts is the receipt's result and the `Transfer` log: right contract, parties and amount.

use serde_json::Value;

use super::hex;
use super::{Address, Usdt};

/// First topic of a `Transfer` log.
const TRANSFER: &str = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// Why a receipt is no proof of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// `{}`: the transaction is not in a block.
    #[error("there is no receipt")]
    Absent,
    /// Not the form the node's answers have.
    #[error("the receipt's {0} is not what a node answers")]
    Form(&'static str),
    /// The call failed on chain.
    #[error("the call failed on chain: {0}")]
    Failed(String),
    /// Another transaction's receipt.
    #[error("the receipt is of another transaction")]
    OtherTransaction,
    /// No log says that the token moved.
    #[error("the receipt has no Transfer log of the token")]
    NoTransfer,
    /// More logs than one payout makes.
    #[error("the receipt has {0} Transfer logs of the token, one is expected")]
    Several(usize),
    /// Somebody else paid or was paid.
    #[error("{from} paid {to}, which was not asked for")]
    Parties {
        /// Who paid.
        from: Address,
        /// Who was paid.
        to: Address,
    },
    /// Another amount arrived (the token may take a fee).
    #[error("{found} arrived, {wanted} were sent")]
    Amount {
        /// Amount in the log.
        found: Usdt,
        /// Amount asked for.
        wanted: Usdt,
    },
}

/// One movement of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Who paid.
    pub from: Address,
    /// Who was paid.
    pub to: Address,
    /// How much arrived.
    pub amount: Usdt,
}

fn address(text: &str) -> Option<Address> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bytes = hex::decode(text).ok()?;
    match <[u8; 20]>::try_from(bytes.as_slice()) {
        Ok(evm) => Some(Address::from_evm(evm)),
        Err(_) => Address::from_bytes(&bytes).ok(),
    }
}

fn topic_address(text: &str) -> Option<Address> {
    let bytes = hex::decode(text).ok().filter(|bytes| bytes.len() == 32)?;
    let (zeros, evm) = bytes.split_last_chunk::<20>()?;
    zeros.iter().all(|byte| *byte == 0).then(|| Address::from_evm(*evm))
}

fn amount(text: &str) -> Option<Usdt> {
    let bytes = hex::decode(text).ok().filter(|bytes| bytes.len() == 32)?;
    let (zeros, low) = bytes.split_last_chunk::<8>()?;
    let fits = zeros.iter().all(|byte| *byte == 0);
    fits.then(|| Usdt::from_units(u64::from_be_bytes(*low)).ok()).flatten()
}

/// The one transfer of `token` a successful call made. `receipt` is the answer of
/// `gettransactioninfobyid` of the solid node.
pub fn transfer(receipt: &Value, token: Address) -> Result<Transfer, ReceiptError> {
    let fields = receipt.as_object().ok_or(ReceiptError::Form("whole"))?;
    if fields.is_empty() {
        return Err(ReceiptError::Absent);
    }
    // On success the result at the top is absent; it is there only to say FAILED.
    if let Some(result) = receipt.get("result").and_then(Value::as_str)
        && result != "SUCCESS"
    {
        return Err(ReceiptError::Failed(result.to_owned()));
    }
    match receipt.pointer("/receipt/result").and_then(Value::as_str) {
        Some("SUCCESS") => {}
        Some(other) => return Err(ReceiptError::Failed(other.to_owned())),
        None => return Err(ReceiptError::Form("result")),
    }
    let logs = match receipt.get("log") {
        Some(logs) => logs.as_array().ok_or(ReceiptError::Form("log"))?.as_slice(),
        None => &[],
    };
    let mut found = Vec::new();
    for log in logs {
        let emitter = log.get("address").and_then(Value::as_str).and_then(address);
        let topics: Vec<&str> = log
            .get("topics")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let [TRANSFER, from, to] = topics[..] else { continue };
        if emitter != Some(token) {
            continue;
        }
        let data = log.get("data").and_then(Value::as_str).unwrap_or_default();
        let parts = (topic_address(from), topic_address(to), amount(data));
        let (Some(from), Some(to), Some(amount)) = parts else {
            return Err(ReceiptError::Form("Transfer log"));
        };
        found.push(Transfer { from, to, amount });
    }
    match found[..] {
        [transfer] => Ok(transfer),
        [] => Err(ReceiptError::NoTransfer),
        _ => Err(ReceiptError::Several(found.len())),
    }
}

/// Checks that the receipt proves `wanted` of transaction `txid`.
pub fn prove(
    receipt: &Value,
    txid: &[u8; 32],
    token: Address,
    wanted: Transfer,
) -> Result<(), ReceiptError> {
    let found = transfer(receipt, token)?;
    if receipt.get("id").and_then(Value::as_str) != Some(hex::encode(txid).as_str()) {
        return Err(ReceiptError::OtherTransaction);
    }
    if (found.from, found.to) != (wanted.from, wanted.to) {
        return Err(ReceiptError::Parties { from: found.from, to: found.to });
    }
    if found.amount != wanted.amount {
        return Err(ReceiptError::Amount { found: found.amount, wanted: wanted.amount });
    }
    Ok(())
}
