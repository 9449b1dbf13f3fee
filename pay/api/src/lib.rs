//! What the daemon and the payment process say to each other: JSON over one unix socket.
//!
//! Addresses, transaction ids and hashes are strings here, and nothing in this crate can sign, read
//! or check them: that is the business of the process behind the socket. Amounts are integers of
//! the smallest unit, [`MicroUsdt`] and [`Sun`], in JSON as whole numbers; times are milliseconds
//! since 1970 UTC. A failure is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) [`Problem`].

#![forbid(unsafe_code)]

mod amount;
mod client;
mod network;
mod payout;
mod problem;
mod proposal;
mod staking;
mod statement;
mod wallet;

pub use amount::{AMOUNT_MAX, AmountError, MicroUsdt, Sun};
pub use client::{ANSWER_BYTES_MAX, Client, ClientError};
pub use network::{NodeHealth, NodeState, ProcessState, Status};
pub use payout::{
    Approval, Batch, BatchRequest, BatchSummary, Estimate, KycApproval, Payout, PayoutKind,
    PayoutPage, PayoutQuery, PayoutRequest, PayoutState, Refusal, ResourcesUsed, RewardBasis,
    Route, Step, Why,
};
pub use problem::Problem;
pub use proposal::{
    Allowance, AllowanceOrder, AllowanceQuery, Allowances, KeyHolder, LedgerPresence, LedgerState,
    NewProposal, NodeWord, PROPOSAL_CHARS_MAX, PROPOSALS_MAX, Permission, Proposal, ProposalAction,
    ProposalSignature, ProposalTexts, QrCode, Signers,
};
pub use staking::{
    Delegation, Maturing, Resource, Staking, StakingAction, StakingOrder, StakingReceipt, Vote,
};
pub use statement::{Statement, StatementFormat, StatementLine, StatementQuery};
pub use wallet::{
    Balance, HistoryEntry, NewWallet, ResourceMeter, Wallet, WalletChange, WalletKind,
};

use std::time::Duration;

/// How long one request may take, from its first byte to the last of its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Requests one peer may make in a minute.
pub const REQUESTS_PER_MINUTE: u32 = 100;

/// Longest body of a request, in bytes. A batch of [`BATCH_PAYOUTS_MAX`] fits.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most payouts in one batch.
pub const BATCH_PAYOUTS_MAX: usize = 1000;

/// Routes on the socket. Those with an id take it as the next path segment.
pub mod route {
    /// GET: [`Status`](crate::Status).
    pub const STATUS: &str = "/v1/status";
    /// GET: list of [`Wallet`](crate::Wallet); POST: [`NewWallet`](crate::NewWallet). Below an id
    /// `/balance`, `/history`, `/signers` ([`Signers`](crate::Signers)) and `/allowances`
    /// ([`Allowances`](crate::Allowances), POST [`AllowanceOrder`](crate::AllowanceOrder)).
    pub const WALLETS: &str = "/v1/wallets";
    /// POST: [`NewProposal`](crate::NewProposal), answered with [`Proposal`](crate::Proposal).
    pub const PROPOSALS: &str = "/v1/proposals";
    /// POST: [`ProposalTexts`](crate::ProposalTexts), answered with the same.
    pub const PROPOSAL_SHOW: &str = "/v1/proposals/show";
    /// POST: [`ProposalSignature`](crate::ProposalSignature), answered with the same.
    pub const PROPOSAL_SIGN: &str = "/v1/proposals/sign";
    /// POST: [`ProposalTexts`](crate::ProposalTexts) of one whose signatures are enough, answered
    /// with [`StakingReceipt`](crate::StakingReceipt).
    pub const PROPOSAL_SEND: &str = "/v1/proposals/send";
    /// GET: [`LedgerState`](crate::LedgerState).
    pub const LEDGER: &str = "/v1/ledger";
    /// GET: [`PayoutPage`](crate::PayoutPage); POST: [`PayoutRequest`](crate::PayoutRequest).
    pub const PAYOUTS: &str = "/v1/payouts";
    /// POST: a request, answered with an [`Estimate`](crate::Estimate); nothing is recorded.
    pub const ESTIMATE: &str = "/v1/estimate";
    /// GET: list of [`BatchSummary`](crate::BatchSummary);
    /// POST: [`BatchRequest`](crate::BatchRequest).
    pub const BATCHES: &str = "/v1/batches";
    /// GET: [`Staking`](crate::Staking); POST: [`StakingOrder`](crate::StakingOrder).
    pub const STAKING: &str = "/v1/staking";
    /// GET: [`Statement`](crate::Statement), or its CSV or HTML.
    pub const STATEMENTS: &str = "/v1/statements";
}
