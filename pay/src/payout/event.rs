//! What the engine is told, what it wants done, and what it refuses.

use super::kyc::Approval;
use super::record::{Entry, Stake};
use super::rules::Look;
use super::stake::STAKES_LIVE_MAX;
use super::types::{Address, Millis, PayoutId, Request, TxId, Usdt};
use super::wallet::{Order, Signed};
use crate::node::{Answer, Block};
use std::collections::BTreeSet;

/// Most requests in one batch.
pub const BATCH_MAX: usize = 1_000;

/// What happens to payouts.
#[derive(Clone, Debug)]
pub enum Event {
    /// Requests, all accepted or none; `batch` names them.
    Requests {
        /// The batch's name.
        batch: Option<String>,
        /// The requests.
        requests: Vec<Request>,
    },
    /// A person approves.
    Approve {
        /// The payout.
        payout: PayoutId,
        /// Who.
        by: String,
    },
    /// A person ends a payout that has no live transaction.
    Cancel {
        /// The payout.
        payout: PayoutId,
        /// Who.
        by: String,
        /// Why.
        cause: String,
    },
    /// A person lets a failed payout be tried again.
    Retry {
        /// The payout.
        payout: PayoutId,
        /// Who.
        by: String,
    },
    /// The compliance key approved a payee.
    Kyc(Approval),
    /// What the nodes showed of a live transaction.
    Looked {
        /// The transaction.
        txid: TxId,
        /// One look per node that answered.
        looks: Vec<Look>,
        /// How many must agree.
        needed: usize,
        /// A block that is not yet solidified and holds it.
        sighted: Option<u64>,
        /// Time of the newest head.
        head_time: Option<Millis>,
    },
    /// A node answered a broadcast.
    Answered {
        /// The transaction.
        txid: TxId,
        /// The answer.
        answer: Answer,
    },
    /// The nodes as they stand: the next payout may be signed.
    Ready(View),
    /// The nodes gave no view to sign by.
    NotReady(String),
    /// The wallet signed an order.
    Signed {
        /// The order.
        order: Order,
        /// What came of it.
        signed: Signed,
    },
    /// An order cannot be signed now.
    Unsigned {
        /// The order.
        order: Order,
        /// Why.
        cause: String,
    },
    /// An order of stake, signed by its wallet.
    Stake {
        /// The signed transaction.
        stake: Stake,
        /// An equal order without a key that was confirmed since then is this one.
        since: Millis,
    },
    /// A person has a key here sign a transaction that others sign as well.
    Cosign {
        /// The transaction.
        txid: TxId,
        /// The key's address.
        signer: Address,
        /// Who asks.
        by: String,
        /// What it does, in words.
        what: String,
    },
    /// USDT came in.
    Funded {
        /// How much.
        amount: Usdt,
        /// By which transaction.
        txid: TxId,
    },
}

/// What agreeing nodes say of themselves and of the paying account.
#[derive(Clone, Debug)]
pub struct View {
    /// Time of the newest head.
    pub head_time: Millis,
    /// A block that every asked node has solidified.
    pub solid: Block,
    /// The solidified balance; of several nodes the lowest.
    pub balance: Usdt,
    /// Payouts that could not be signed in this pass; others are tried.
    pub passed: BTreeSet<PayoutId>,
}

/// What is to be done, in order. What follows an append waits until it is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write the record, then apply it.
    Append(Box<Entry>),
    /// Send the live transaction's stored bytes.
    Broadcast(TxId),
    /// Estimate, build and sign this, then answer with [`Event::Signed`].
    Sign(Box<Order>),
}

/// Why an event is refused; nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Below the minimum.
    #[error("{amount} USDT is below the minimum of {minimum} USDT")]
    TooSmall {
        /// What was asked.
        amount: Usdt,
        /// The limit.
        minimum: Usdt,
    },
    /// Above a limit that no waiting can change.
    #[error("{amount} USDT is above the {limit} of {maximum} USDT")]
    TooLarge {
        /// What was asked.
        amount: Usdt,
        /// Which limit.
        limit: &'static str,
        /// The limit.
        maximum: Usdt,
    },
    /// Nothing would reach the payee.
    #[error("{amount} USDT does not exceed the fee of {fee} USDT")]
    OnlyFee {
        /// What was asked.
        amount: Usdt,
        /// The fee.
        fee: Usdt,
    },
    /// Denied, not allowed, or our own account.
    #[error("payee {0} may not be paid: {1}")]
    Payee(Address, &'static str),
    /// A text is empty or too long.
    #[error("{field} has {bytes} bytes; 1 to {max} are right")]
    Text {
        /// Which.
        field: &'static str,
        /// How long.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Credits times rate is not the amount.
    #[error("{credits} credits at {rate} USDT are not {amount} USDT")]
    Credits {
        /// Credits.
        credits: u64,
        /// Rate.
        rate: Usdt,
        /// What was asked.
        amount: Usdt,
    },
    /// The route is not configured.
    #[error("the {0} route is not configured")]
    Route(&'static str),
    /// Too many or none at once.
    #[error("{0} requests in a batch; 1 to {BATCH_MAX} are right")]
    Batch(usize),
    /// One key for two different payouts.
    #[error(
        "the idempotency key was used for payout {0}, which differs in payee, amount, reason or \
         evidence; a new payout needs a new key"
    )]
    KeyReused(PayoutId),
    /// No such payout.
    #[error("there is no payout {0}")]
    Unknown(PayoutId),
    /// Not possible in its state.
    #[error("payout {payout} is {state}: {why}")]
    State {
        /// The payout.
        payout: PayoutId,
        /// Its state.
        state: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// The requester cannot be the second person.
    #[error("{0} asked for this payout; another person must approve it")]
    SamePerson(String),
    /// One person does not sign for two.
    #[error("{by} had {signer} sign this already; another person must have the next key sign")]
    Cosigner {
        /// Who asked.
        by: String,
        /// The key that signed.
        signer: Address,
    },
    /// One key for two different orders of stake.
    #[error(
        "the idempotency key was used for another order of stake ({0}); a new one needs a new key"
    )]
    StakeKeyReused(String),
    /// Too many orders of stake at once.
    #[error(
        "{STAKES_LIVE_MAX} orders of stake are under way, the most at once; wait for one to end"
    )]
    Stakes,
    /// The approval is not the compliance key's or is over.
    #[error("the KYC approval is refused: {0}")]
    Kyc(&'static str),
}
