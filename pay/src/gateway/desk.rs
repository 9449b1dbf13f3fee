//! What stands behind the gateway.

use lucid_pay_api::{
    AllowanceOrder, AllowanceQuery, Allowances, Approval, Balance, Batch, BatchRequest,
    BatchSummary, Estimate, HistoryEntry, LedgerState, NewProposal, NewWallet, Payout, PayoutPage,
    PayoutQuery, PayoutRequest, Problem, Proposal, ProposalSignature, ProposalTexts, Refusal,
    Signers, Staking, StakingOrder, StakingReceipt, StatementQuery, Status, Wallet, WalletChange,
    Why,
};
use std::future::Future;

/// An answer, or why there is none.
pub type Answer<T> = Result<T, Problem>;

/// Wallets, payouts, stake and statements, as the gateway asks for them.
pub trait Desk: Send + Sync + 'static {
    /// How the process and its nodes are.
    fn status(&self) -> impl Future<Output = Answer<Status>> + Send;
    /// All wallets.
    fn wallets(&self) -> impl Future<Output = Answer<Vec<Wallet>>> + Send;
    /// Makes a wallet.
    fn create_wallet(&self, new: NewWallet) -> impl Future<Output = Answer<Wallet>> + Send;
    /// Renames or archives one.
    fn change_wallet(
        &self,
        id: String,
        change: WalletChange,
    ) -> impl Future<Output = Answer<Wallet>> + Send;
    /// What one holds.
    fn balance(&self, wallet: String) -> impl Future<Output = Answer<Balance>> + Send;
    /// What went in and out, newest first.
    fn history(&self, wallet: String) -> impl Future<Output = Answer<Vec<HistoryEntry>>> + Send;
    /// Who signs for one.
    fn signers(&self, wallet: String) -> impl Future<Output = Answer<Signers>> + Send;
    /// What others may take of one.
    fn allowances(
        &self,
        wallet: String,
        query: AllowanceQuery,
    ) -> impl Future<Output = Answer<Allowances>> + Send;
    /// Lets the router take of one, or takes that back.
    fn allow(
        &self,
        wallet: String,
        order: AllowanceOrder,
    ) -> impl Future<Output = Answer<StakingReceipt>> + Send;
    /// Makes a proposal.
    fn propose(&self, new: NewProposal) -> impl Future<Output = Answer<Proposal>> + Send;
    /// Puts the signatures of a proposal's texts together, and says how far it is.
    fn show(&self, texts: ProposalTexts) -> impl Future<Output = Answer<Proposal>> + Send;
    /// Adds a signature to one.
    fn sign(&self, with: ProposalSignature) -> impl Future<Output = Answer<Proposal>> + Send;
    /// Sends one that enough have signed.
    fn send(&self, texts: ProposalTexts) -> impl Future<Output = Answer<StakingReceipt>> + Send;
    /// The Ledger at this machine.
    fn ledger(&self) -> impl Future<Output = Answer<LedgerState>> + Send;
    /// What a payout would cost.
    fn estimate(&self, request: PayoutRequest) -> impl Future<Output = Answer<Estimate>> + Send;
    /// Records a payout, durable when this is answered.
    fn request(&self, request: PayoutRequest) -> impl Future<Output = Answer<Payout>> + Send;
    /// A page of payouts.
    fn payouts(&self, query: PayoutQuery) -> impl Future<Output = Answer<PayoutPage>> + Send;
    /// One payout and its steps.
    fn payout(&self, id: String) -> impl Future<Output = Answer<Payout>> + Send;
    /// Why it is not paid yet.
    fn why(&self, id: String) -> impl Future<Output = Answer<Why>> + Send;
    /// A second person's yes.
    fn approve(&self, id: String, by: Approval) -> impl Future<Output = Answer<Payout>> + Send;
    /// A no, while nothing is signed.
    fn refuse(&self, id: String, by: Refusal) -> impl Future<Output = Answer<Payout>> + Send;
    /// Lets a failed payout be tried again.
    fn retry(&self, id: String, by: Approval) -> impl Future<Output = Answer<Payout>> + Send;
    /// Records a batch, all of it or nothing.
    fn request_batch(&self, batch: BatchRequest) -> impl Future<Output = Answer<Batch>> + Send;
    /// All batches, newest first.
    fn batches(&self) -> impl Future<Output = Answer<Vec<BatchSummary>>> + Send;
    /// One batch.
    fn batch(&self, id: String) -> impl Future<Output = Answer<Batch>> + Send;
    /// The staking of a wallet.
    fn staking(&self, wallet: String) -> impl Future<Output = Answer<Staking>> + Send;
    /// Does something with stake.
    fn stake(&self, order: StakingOrder) -> impl Future<Output = Answer<StakingReceipt>> + Send;
    /// A statement: its media type and text.
    fn statement(
        &self,
        query: StatementQuery,
    ) -> impl Future<Output = Answer<(&'static str, String)>> + Send;
}
