//! Statements: what one payee, or all, got in a month, and why.

use crate::{MicroUsdt, PayoutState, RewardBasis, Sun};
use serde::{Deserialize, Serialize};

/// How a statement is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StatementFormat {
    /// [`Statement`].
    #[default]
    Json,
    /// RFC 4180, with a header line.
    Csv,
    /// A page to print.
    Html,
}

/// Which statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct StatementQuery {
    /// Month as `YYYY-MM`, in UTC.
    pub month: String,
    /// Only this payee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<String>,
    /// How it is given.
    #[serde(default)]
    pub format: StatementFormat,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatementLine {
    /// When the payout took its present state, in milliseconds since 1970.
    pub at_ms: u64,
    /// The payout.
    pub payout: String,
    /// Payee's address.
    pub payee: String,
    /// Why it is paid.
    pub reason: String,
    /// Where the amount comes from.
    pub basis: Option<RewardBasis>,
    /// What was asked, in micro-USDT.
    pub gross_micro: MicroUsdt,
    /// Fee kept from it, in micro-USDT.
    pub fee_micro: MicroUsdt,
    /// What reached the payee, in micro-USDT; 0 until confirmed.
    pub net_micro: MicroUsdt,
    /// TRX burned for it, in sun.
    pub burned_sun: Sun,
    /// Where it stands.
    pub state: PayoutState,
    /// Why it was paid, or why not yet.
    pub because: String,
    /// The transaction.
    pub txid: Option<String>,
}

/// A month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Statement {
    /// Month as `YYYY-MM`.
    pub month: String,
    /// Payee, or all.
    pub payee: Option<String>,
    /// Its lines, oldest first.
    pub lines: Vec<StatementLine>,
    /// Sum of the net amounts, in micro-USDT.
    pub net_micro: MicroUsdt,
    /// Sum of the fees kept, in micro-USDT.
    pub fee_micro: MicroUsdt,
    /// Sum of what is not paid yet, in micro-USDT.
    pub open_micro: MicroUsdt,
}
