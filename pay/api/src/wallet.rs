//! Wallets, what they hold, and what went in and out.

use crate::{MicroUsdt, Sun};
use serde::{Deserialize, Serialize};

/// Who can sign for a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WalletKind {
    /// The payment process holds the key and signs by itself.
    Hot,
    /// The key is elsewhere; the wallet is only watched.
    WatchOnly,
    /// Several parties must sign: what the chain says of the account, see
    /// [`Signers`](crate::Signers).
    Multisig,
    /// A hardware wallet signs.
    Hardware,
}

/// A wallet as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Wallet {
    /// The wallet's id, a word of its own; it never changes.
    pub id: String,
    /// Name given by the operator.
    pub name: String,
    /// Who can sign.
    pub kind: WalletKind,
    /// Address in base58check.
    pub address: String,
    /// When it was added, in milliseconds since 1970.
    pub created_ms: u64,
    /// Whether it is archived: shown on demand, never paid from.
    pub archived: bool,
    /// Whether the payment process can sign for it right now, and if not, why.
    pub cannot_sign_because: Option<String>,
    /// Whether payouts are paid from it.
    pub pays: bool,
}

/// A new wallet. Keys and words never pass here: a hot wallet's are made inside the payment
/// process, and importing or exporting words is done with its own command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewWallet {
    /// Name, 1 to 64 characters.
    pub name: String,
    /// `hot` makes a key; `watch-only` needs `address`.
    pub kind: WalletKind,
    /// Address in base58check, for a wallet whose key is elsewhere.
    #[serde(default)]
    pub address: Option<String>,
}

/// A change of a wallet; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WalletChange {
    /// New name, 1 to 64 characters.
    #[serde(default)]
    pub name: Option<String>,
    /// Archives or brings back.
    #[serde(default)]
    pub archived: Option<bool>,
}

/// How much of energy or bandwidth an account has and used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceMeter {
    /// Most the account can use in 24 hours, in points.
    pub limit: u64,
    /// Used and not recovered yet, in points.
    pub used: u64,
}

/// What a wallet holds, and how old that knowledge is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Balance {
    /// The wallet.
    pub wallet: String,
    /// Whether the chain knows the account; an address becomes one when TRX reaches it.
    pub active: bool,
    /// TRX not staked, in sun.
    pub trx_sun: Sun,
    /// TRX staked, in sun.
    pub staked_sun: Sun,
    /// USDT, in millionths.
    pub usdt_micro: MicroUsdt,
    /// USDT promised to payouts that are not confirmed yet, in millionths.
    pub reserved_micro: MicroUsdt,
    /// Energy, which contract calls use.
    pub energy: ResourceMeter,
    /// Bandwidth, which every transaction uses.
    pub bandwidth: ResourceMeter,
    /// When a node said so, in milliseconds since 1970.
    pub as_of_ms: u64,
    /// Age of the answer when it was given, in milliseconds.
    pub age_ms: u64,
    /// Block the numbers are of.
    pub block: u64,
}

/// One movement of a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryEntry {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What it was, in a few words.
    pub what: String,
    /// Transaction id, if there was a transaction.
    pub txid: Option<String>,
    /// The payout it belongs to.
    pub payout: Option<String>,
    /// USDT that came, in millionths.
    pub in_micro: MicroUsdt,
    /// USDT that went, in millionths.
    pub out_micro: MicroUsdt,
    /// TRX burned for it, in sun.
    pub fee_sun: Sun,
}
