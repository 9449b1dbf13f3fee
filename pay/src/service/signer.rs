//! What signs for the paying account.

use crate::payout::hot::HotWallet;
use crate::payout::wallet::{Order, SignError, Signed, Wallet};

/// A key in memory, or the reason why there is none.
pub enum Signer {
    /// The key.
    Hot(Box<HotWallet>),
    /// Nothing signs; payouts wait and say so.
    None(String),
}

impl Wallet for Signer {
    fn sign(&self, order: &Order) -> Result<Signed, SignError> {
        match self {
            Self::Hot(wallet) => wallet.sign(order),
            Self::None(why) => Err(SignError(why.clone())),
        }
    }
}
