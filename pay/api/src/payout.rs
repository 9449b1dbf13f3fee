//! Payouts: what is asked, where one stands, and why it stands there.

use crate::{MicroUsdt, Sun};
use serde::{Deserialize, Serialize};

/// Where a payout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PayoutState {
    /// Accepted and recorded.
    Requested,
    /// Waits; the cause says for what.
    Held,
    /// Allowed to be paid.
    Approved,
    /// Signed bytes are durable; nothing was sent yet.
    Signed,
    /// Sent to a node at least once.
    Broadcast,
    /// A node shows it in a block that is not final yet.
    Seen,
    /// Final: the transfer stands in a solidified block, with the right parties and amount.
    Confirmed,
    /// It was refused, or failed on the chain, and ended without paying. Only a person lets it be
    /// tried again.
    Failed,
    /// Its transaction can never be included any more; another one follows.
    Expired,
}

impl PayoutState {
    /// All states, in the order a payout takes them.
    pub const ALL: [Self; 9] = [
        Self::Requested,
        Self::Held,
        Self::Approved,
        Self::Signed,
        Self::Broadcast,
        Self::Seen,
        Self::Confirmed,
        Self::Failed,
        Self::Expired,
    ];

    /// Whether it never changes again by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Failed)
    }
}

/// The way the money takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// A plain USDT transfer.
    #[default]
    Direct,
    /// The configured router contract.
    Router,
    /// A transfer that needs an approval signed by the compliance key.
    Kyc,
}

/// How a request is treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PayoutKind {
    /// Paid for itself.
    #[default]
    Payment,
    /// A node's reward: rewards of one payee are gathered until they reach the smallest payout.
    NodeReward,
}

/// Why a reward has its amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RewardBasis {
    /// Credits earned.
    pub credits: u64,
    /// Paid for one credit, in micro-USDT.
    pub rate_micro: MicroUsdt,
    /// First block of the span the credits come from.
    pub from_height: u64,
    /// Last block of the span.
    pub to_height: u64,
}

/// What the compliance key signed about a payee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KycApproval {
    /// Payee it is about, in base58check.
    pub payee: String,
    /// Hash of the file that identifies the payee, 64 hex digits.
    pub kyc_hash: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: u64,
    /// The compliance key's signature, hex.
    pub signature: String,
}

/// A payout somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PayoutRequest {
    /// Asking twice with one key is asking once. 1 to 128 characters.
    pub idempotency_key: String,
    /// Payee's address in base58check.
    pub payee: String,
    /// Amount in micro-USDT.
    pub amount_micro: MicroUsdt,
    /// Why it is paid; stands in the statement. 1 to 256 characters.
    pub reason: String,
    /// BLAKE3 or SHA-256 of what it is paid for, 64 hex digits.
    #[serde(default)]
    pub evidence_hash: Option<String>,
    /// Wallet it is paid from; the configured one if absent.
    #[serde(default)]
    pub wallet: Option<String>,
    /// Way the money takes.
    #[serde(default)]
    pub route: Route,
    /// How the request is treated.
    #[serde(default)]
    pub kind: PayoutKind,
    /// Where a reward's amount comes from.
    #[serde(default)]
    pub basis: Option<RewardBasis>,
    /// Needed by the route `kyc`.
    #[serde(default)]
    pub kyc: Option<KycApproval>,
    /// Who asks, as the statement and the approval name them.
    #[serde(default)]
    pub requested_by: Option<String>,
}

/// One state a payout took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Step {
    /// The state.
    pub state: PayoutState,
    /// Since when, in milliseconds since 1970.
    pub at_ms: u64,
    /// Why, in a sentence.
    pub cause: String,
}

/// What transactions took of energy and bandwidth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourcesUsed {
    /// Energy in all, in points.
    pub energy: u64,
    /// TRX burned for energy, in sun.
    pub energy_sun: Sun,
    /// Bandwidth of the account's own, in points.
    pub bandwidth: u64,
    /// TRX burned for bandwidth, in sun.
    pub bandwidth_sun: Sun,
}

/// A payout and its whole way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Payout {
    /// Its id.
    pub id: String,
    /// What was asked.
    pub idempotency_key: String,
    /// Payee's address.
    pub payee: String,
    /// Amount in micro-USDT.
    pub amount_micro: MicroUsdt,
    /// Why it is paid.
    pub reason: String,
    /// Hash of what it is paid for.
    pub evidence_hash: Option<String>,
    /// Way the money takes.
    pub route: Route,
    /// How the request is treated.
    pub kind: PayoutKind,
    /// Where a reward's amount comes from.
    pub basis: Option<RewardBasis>,
    /// Wallet it is paid from.
    pub wallet: Option<String>,
    /// Batch it came with.
    pub batch: Option<String>,
    /// Where it stands.
    pub state: PayoutState,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why it stands there.
    pub cause: String,
    /// Transaction of the last attempt.
    pub txid: Option<String>,
    /// Expected cost when it was signed, in sun.
    pub fee_estimate_sun: Option<Sun>,
    /// What it cost in the end, in sun.
    pub fee_sun: Option<Sun>,
    /// What its transactions took of energy and bandwidth, as the receipts say; for payouts that
    /// went together all of it stands at the first.
    #[serde(default)]
    pub used: Option<ResourcesUsed>,
    /// Every state it took, oldest first. Empty in lists.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// Which payouts a list wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct PayoutQuery {
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PayoutState>,
    /// Only those of this payee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<String>,
    /// Only those of this batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Continue after this payout id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most rows, 1 to 500; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of payouts, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PayoutPage {
    /// The payouts, without their steps.
    pub payouts: Vec<Payout>,
    /// Give it as `after` for the next page; absent at the end.
    pub next: Option<String>,
}

/// Why a payout is not paid yet, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// The payout.
    pub payout: String,
    /// Where it stands.
    pub state: PayoutState,
    /// One sentence: what it waits for, or that it waits for nothing.
    pub because: String,
    /// Who or what can move it on.
    pub next: String,
    /// When something happens by itself at the latest, in milliseconds since 1970.
    pub until_ms: Option<u64>,
}

/// What a payout would cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Estimate {
    /// Amount that reaches the payee, in micro-USDT.
    pub net_micro: MicroUsdt,
    /// Fee kept from the amount, in micro-USDT.
    pub fee_micro: MicroUsdt,
    /// Energy it needs, in points.
    pub energy: u64,
    /// Bandwidth it needs, in points.
    pub bandwidth: u64,
    /// TRX burned because energy or bandwidth is missing, in sun.
    pub burned_sun: Sun,
    /// Whether a second person must approve it.
    pub needs_approval: bool,
    /// Why it would wait or be refused, if it would.
    pub held_because: Option<String>,
}

/// A second person's word on a payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who approves; must not be who asked.
    pub by: String,
}

/// Why a payout shall not be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Who refuses.
    pub by: String,
    /// Why, 1 to 256 characters.
    pub reason: String,
}

/// Several payouts asked for at once: all are accepted or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// Asking twice with one key is asking once. 1 to 128 characters.
    pub idempotency_key: String,
    /// The payouts, at most [`BATCH_PAYOUTS_MAX`](crate::BATCH_PAYOUTS_MAX).
    pub payouts: Vec<PayoutRequest>,
}

/// A batch in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchSummary {
    /// Its id.
    pub id: String,
    /// When it was asked for, in milliseconds since 1970.
    pub at_ms: u64,
    /// Payouts in it.
    pub payouts: u64,
    /// Those confirmed.
    pub confirmed: u64,
    /// Those failed or expired.
    pub failed: u64,
    /// Sum of all, in micro-USDT.
    pub total_micro: MicroUsdt,
    /// Sum of the confirmed, in micro-USDT.
    pub confirmed_micro: MicroUsdt,
}

/// A batch and its payouts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Batch {
    /// The numbers.
    #[serde(flatten)]
    pub summary: BatchSummary,
    /// The payouts, without their steps.
    pub items: Vec<Payout>,
}
