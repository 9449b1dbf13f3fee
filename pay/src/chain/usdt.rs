//! Reading USDT: balance, allowance, what the token says of itself, and the movements of an account
//! in final blocks.

use crate::client::Nodes;
use crate::client::answers::amount_word;
use crate::node::{NodeError, TransferLog, TronNode};
use crate::payout::types::TxId;
use crate::tron::{Address, Usdt, abi};

/// Most blocks read for movements at once.
pub const BLOCKS_MAX: u64 = 100;
/// Decimals of USDT everywhere.
pub const DECIMALS: u64 = 6;
/// Longest symbol that is shown, in characters.
const SYMBOL_CHARS_MAX: usize = 16;

/// Why a contract is not the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No node answers.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Not six decimals: amounts would be wrong by powers of ten.
    #[error("{token} has {found} decimals; USDT has 6")]
    Decimals {
        /// The contract.
        token: Address,
        /// What it says.
        found: u64,
    },
    /// Another token.
    #[error("{token} calls itself {found:?}; USDT was configured")]
    Symbol {
        /// The contract.
        token: Address,
        /// What it says.
        found: String,
    },
}

/// One movement of USDT in a final block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Its transaction.
    pub txid: TxId,
    /// Its block.
    pub block: u64,
    /// Time of its block, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who paid whom, and how much.
    pub transfer: TransferLog,
}

/// Final balance of an account.
///
/// # Errors
/// When no node answers.
pub async fn balance(nodes: &Nodes, owner: Address, token: Address) -> Result<Usdt, NodeError> {
    nodes.read(move |node| async move { node.balance(owner, token).await }).await
}

/// What `spender` may take from `owner`, final. More than a transaction can carry, as an unlimited
/// allowance is, counts as [`Usdt::MAX`].
///
/// # Errors
/// When no node answers.
pub async fn allowance(
    nodes: &Nodes,
    owner: Address,
    spender: Address,
    token: Address,
) -> Result<Usdt, NodeError> {
    let data = &abi::allowance(&owner, &spender);
    let ask = move |node: crate::client::HttpNode| async move {
        let output = node.view(owner, token, data, true).await?;
        match output.len() {
            32 => Ok(amount_word(&output).unwrap_or(Usdt::MAX)),
            _ => Err(NodeError::Malformed("its allowance is no word of 32 bytes".to_owned())),
        }
    };
    nodes.read(ask).await
}

/// Checks that the configured contract is what it should be: six decimals, and the symbol USDT.
///
/// # Errors
/// [`TokenError`].
pub async fn check_token(nodes: &Nodes, token: Address, symbol: &str) -> Result<(), TokenError> {
    let call = |signature: &'static str| {
        let data = abi::selector(signature);
        nodes.read(move |node| async move { node.view(token, token, &data, true).await })
    };
    let decimals = amount_word(&call("decimals()").await?).map_err(NodeError::from)?.units();
    if decimals != DECIMALS {
        return Err(TokenError::Decimals { token, found: decimals });
    }
    let found = text_word(&call("symbol()").await?);
    if found != symbol {
        return Err(TokenError::Symbol { token, found });
    }
    Ok(())
}

/// Text of an output: a dynamic string, or 32 bytes filled up with zeros as old tokens have it.
fn text_word(output: &[u8]) -> String {
    let dynamic = output.get(56..64).and_then(|length| {
        let length = usize::try_from(u64::from_be_bytes(length.try_into().ok()?)).ok()?;
        output.get(64..64usize.checked_add(length)?)
    });
    let bytes = dynamic.or_else(|| output.get(..32)).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    text.chars().filter(|c| !c.is_control()).take(SYMBOL_CHARS_MAX).collect()
}

/// Movements of `owner`'s USDT in the final blocks from `from` to `to`, both included, at most
/// [`BLOCKS_MAX`] of them, and the block to go on with.
///
/// # Errors
/// When no node answers.
pub async fn movements(
    nodes: &Nodes,
    owner: Address,
    token: Address,
    from: u64,
    to: u64,
) -> Result<(Vec<Movement>, u64), NodeError> {
    let end = to.min(from.saturating_add(BLOCKS_MAX - 1));
    let mut found = Vec::new();
    for number in from..=end {
        let executed =
            nodes.read(move |node| async move { node.executed_in(number).await }).await?;
        for transaction in executed.into_iter().filter(|transaction| transaction.worked) {
            let ours =
                |log: &TransferLog| log.token == token && (log.from == owner || log.to == owner);
            let logs = transaction.receipt.transfers.into_iter().filter(ours);
            found.extend(logs.map(|transfer| Movement {
                txid: transaction.receipt.txid,
                block: number,
                time_ms: transaction.time_ms,
                transfer,
            }));
        }
    }
    Ok((found, end.saturating_add(1).max(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_read_in_both_forms() {
        let mut dynamic = vec![0; 96];
        dynamic[31] = 32;
        dynamic[63] = 4;
        dynamic[64..68].copy_from_slice(b"USDT");
        assert_eq!(text_word(&dynamic), "USDT");
        let mut fixed = vec![0; 32];
        fixed[..4].copy_from_slice(b"USDT");
        assert_eq!(text_word(&fixed), "USDT");
        dynamic[56] = 0xff;
        assert_eq!(text_word(&dynamic).len(), 1, "a length beyond the end is no text");
        assert_eq!(text_word(b""), "");
    }
}
