//! Transactions that several sign, or somebody elsewhere, and what others may take of a wallet.
//!
//! A proposal is a text that is passed on as a file or a QR code. It holds the transaction and the
//! signatures it has so far, and nothing secret; nobody keeps it but those it is passed to.

use crate::{MicroUsdt, Sun, WalletKind};
use serde::{Deserialize, Serialize};

/// Longest text of a proposal, in characters.
pub const PROPOSAL_CHARS_MAX: usize = 4_000;
/// Most texts of one proposal that are put together at once.
pub const PROPOSALS_MAX: usize = 8;

/// A key that signs for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyHolder {
    /// Its address, in base58check.
    pub address: String,
    /// What its signature weighs.
    pub weight: u64,
    /// The wallet here that has this address.
    pub wallet: Option<String>,
    /// Whether the payment process has this key.
    pub here: bool,
    /// Whether it has signed the proposal that is shown.
    pub signed: bool,
}

/// One of an account's permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Permission {
    /// 0 is the owner's, active ones begin at 2.
    pub id: i32,
    /// Its name on the chain.
    pub name: String,
    /// Weight a transaction needs.
    pub threshold: u64,
    /// Who signs.
    pub keys: Vec<KeyHolder>,
    /// Whether it may transfer USDT.
    pub pays: bool,
}

/// Who signs for a wallet's account, as the newest block has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Signers {
    /// The wallet.
    pub wallet: String,
    /// Whether the chain knows the account; until then only its own key counts.
    pub active: bool,
    /// `multisig` where a payment needs several keys, otherwise the wallet's own kind.
    pub kind: WalletKind,
    /// Whether the key its address came from can act alone.
    pub own_key_suffices: bool,
    /// The permissions, the owner's first.
    pub permissions: Vec<Permission>,
    /// Where a Ledger has the key of this address.
    pub ledger_path: Option<String>,
}

/// What another account may take of a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Allowance {
    /// Who may take it, in base58check.
    pub spender: String,
    /// How much in all, in millionths of USDT, in final blocks.
    pub amount_micro: MicroUsdt,
    /// Whether it is more than any amount here can be.
    pub unlimited: bool,
    /// Whether this is the router contract of the configuration.
    pub router: bool,
}

/// Allowances of a wallet: of the configured router, of whomever this process ever allowed
/// anything, and of the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Allowances {
    /// The wallet.
    pub wallet: String,
    /// One for each spender.
    pub items: Vec<Allowance>,
}

/// Which spender to look at beside the known ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct AllowanceQuery {
    /// An address in base58check.
    #[serde(default)]
    pub spender: Option<String>,
}

/// Lets the router take USDT, or takes an allowance back. Signed and sent as orders of stake are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AllowanceOrder {
    /// Asking twice with one key is asking once, for ever. 1 to 128 bytes.
    pub idempotency_key: String,
    /// Who may take it, in base58check: the router contract, or anybody with the amount 0.
    pub spender: String,
    /// How much in all, in millionths of USDT; 0 ends it.
    pub amount_micro: MicroUsdt,
    /// Who orders it. The daemon names whoever is signed in.
    #[serde(default)]
    pub by: Option<String>,
}

/// What a proposal does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "action", deny_unknown_fields)]
pub enum ProposalAction {
    /// Pays USDT.
    PayUsdt {
        /// Who gets it, in base58check.
        to: String,
        /// How much, in millionths.
        amount_micro: MicroUsdt,
    },
    /// Pays TRX.
    PayTrx {
        /// Who gets it, in base58check.
        to: String,
        /// How much, in sun.
        amount_sun: Sun,
    },
    /// Lets somebody take USDT; 0 ends it.
    Allow {
        /// Who may take it, in base58check.
        spender: String,
        /// How much in all, in millionths.
        amount_micro: MicroUsdt,
    },
}

/// Asks for a proposal. It is signed by nobody yet, and lives for 23 hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewProposal {
    /// Whose account: a wallet of this process.
    pub wallet: String,
    /// Which permission signs; 0, the owner's, if absent.
    #[serde(default)]
    pub permission: i32,
    /// What it does.
    #[serde(flatten)]
    pub action: ProposalAction,
}

/// Texts of one proposal, from several parties; their signatures are put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProposalTexts {
    /// 1 to 8 texts of at most 4,000 characters.
    pub proposals: Vec<String>,
}

/// Adds a signature: one that a wallet here makes, or one made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProposalSignature {
    /// The proposal's text.
    pub proposal: String,
    /// The wallet that signs.
    #[serde(default)]
    pub wallet: Option<String>,
    /// A signature made elsewhere: 130 hexadecimal digits.
    #[serde(default)]
    pub signature: Option<String>,
    /// Who asks for it. The daemon names whoever is signed in.
    #[serde(default)]
    pub by: Option<String>,
}

/// A QR code as it is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QrCode {
    /// Modules on a side, without the white border of 4 it needs.
    pub side: u32,
    /// The dark modules as the path of an SVG in units of modules.
    pub path: String,
}

/// What the node says of the signatures (`getsignweight`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeWord {
    /// Whether they are enough.
    pub enough: bool,
    /// What they weigh.
    pub weight: u64,
    /// The node's own words where they are not enough.
    pub said: Option<String>,
}

/// A proposal and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proposal {
    /// Its text, to be passed on.
    pub proposal: String,
    /// The same as a QR code; null where it is too long for one.
    pub qr: Option<QrCode>,
    /// What it does, in words: who pays whom how much.
    pub does: String,
    /// Its transaction.
    pub txid: String,
    /// Whose account, in base58check.
    pub account: String,
    /// The wallet here that has this address.
    pub wallet: Option<String>,
    /// Which permission signs.
    pub permission: i32,
    /// What its signatures weigh.
    pub weight: u64,
    /// What they must weigh.
    pub threshold: u64,
    /// Whether it can be sent.
    pub enough: bool,
    /// Everybody who may sign, and who has.
    pub keys: Vec<KeyHolder>,
    /// The node's word; null where it is on the chain already.
    pub node: Option<NodeWord>,
    /// No block takes it after this, in milliseconds since 1970.
    pub expires_ms: u64,
    /// `open`, `expired`, or where it stands on the chain: `seen`, `confirmed`, `failed`.
    pub state: String,
    /// The state in words.
    pub detail: String,
}

/// What this process can do with a Ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LedgerPresence {
    /// It was built without.
    NotBuilt,
    /// None is plugged in here, or this process may not open it.
    Absent,
    /// One is here and its TRON app does not answer.
    Closed,
    /// Its TRON app answers.
    Ready,
}

/// The Ledger at the machine of the payment process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerState {
    /// What is there.
    pub presence: LedgerPresence,
    /// What that means and what to do, in a sentence.
    pub detail: String,
    /// Version of its TRON app.
    pub app: Option<String>,
    /// Whether its settings allow contracts it does not know.
    pub custom_contracts: Option<bool>,
}
