//! Staking 2.0: what can be done with stake, checked before the chain is asked, and what an account
//! has staked, lent, voted and waits for.
//!
//! Staking is native transactions (types 54 to 59); there is no staking contract. Rewards come from
//! voting alone.

use lucid_pay_api::{
    Delegation, Maturing, Resource as ApiResource, Staking, StakingAction, Sun as ApiSun, Vote,
};
use tron_protobuf::{
    CancelAllUnfreezeV2Contract, DelegateResourceContract, FreezeBalanceV2Contract, ResourceCode,
    UnDelegateResourceContract, UnfreezeBalanceV2Contract, VoteWitnessContract,
    WithdrawBalanceContract, WithdrawExpireUnfreezeContract,
};

use super::known;
use crate::client::answers::{Account, Loan, Parameters, Resource, Resources};
use crate::client::{HttpNode, Nodes};
use crate::node::{Block, NodeError, TronNode};
use crate::tron::transaction::{Frame, TransactionError, Unsigned};
use crate::tron::{Address, Sun, address::AddressError};

/// Least stake by default: our policy. The chain takes 1 TRX.
pub const MINIMUM: Sun = Sun::whole(1_000);
/// Least stake and loan of the chain.
pub const CHAIN_MINIMUM: Sun = Sun::whole(1);
/// Most unfreezes that wait at once.
pub const UNFREEZES_MAX: usize = 32;
/// Most representatives voted for.
pub const VOTES_MAX: usize = 30;
/// A reward can be claimed once in so many milliseconds.
pub const CLAIM_EVERY_MS: u64 = 86_400_000;
/// Sun of one vote.
const TRX: u64 = 1_000_000;

/// Why an action is refused. Nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StakingError {
    /// Below the policy's minimum.
    #[error("{amount} TRX is below the minimum stake of {minimum} TRX")]
    BelowMinimum {
        /// What was asked.
        amount: Sun,
        /// The minimum.
        minimum: Sun,
    },
    /// More than there is.
    #[error("{amount} TRX is more than the {available} TRX {what}")]
    TooMuch {
        /// What was asked.
        amount: Sun,
        /// What there is.
        available: Sun,
        /// Of what.
        what: &'static str,
    },
    /// The chain knows no such account.
    #[error("{0} is no account yet; send it TRX first")]
    NoAccount(Address),
    /// All places are taken.
    #[error("32 unfreezes wait already, the most at once; the next matures at {next_ms} ms")]
    Unfreezes {
        /// When, in milliseconds since 1970.
        next_ms: u64,
    },
    /// Nothing waits.
    #[error("nothing is on its way back")]
    NothingWaits,
    /// Nothing has matured.
    #[error("nothing has matured yet; {amount} TRX will at {at_ms} ms")]
    NotMatured {
        /// How much.
        amount: Sun,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
    /// A loan that cannot be made.
    #[error("nothing can be lent to {to}: {why}")]
    Receiver {
        /// Who.
        to: Address,
        /// Why not.
        why: &'static str,
    },
    /// A loan that cannot be taken back.
    #[error("the loan to {to} is locked until {until_ms} ms")]
    Locked {
        /// Who has it.
        to: Address,
        /// Until when, in milliseconds since 1970.
        until_ms: u64,
    },
    /// Votes that the chain would not take.
    #[error("these votes cannot be cast: {0}")]
    Votes(String),
    /// A reward that cannot be claimed now.
    #[error("there is no reward to claim; only votes earn one")]
    NoReward,
    /// Claimed less than a day ago.
    #[error("the last reward was claimed less than 24 h ago; the next can be at {at_ms} ms")]
    ClaimedToday {
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
    /// Not an address.
    #[error("{text:?} is no address")]
    Address {
        /// What was given, cut to 64 characters.
        text: String,
        /// What is wrong with it.
        #[source]
        source: AddressError,
    },
    /// Not an amount of the chain.
    #[error("{0} sun is more than TRON can carry")]
    Amount(u64),
}

/// What is known of an account before an action on its stake.
#[derive(Debug, Clone)]
pub struct Position {
    /// The account.
    pub account: Account,
    /// Its energy, bandwidth and votes.
    pub resources: Resources,
    /// Stake that can be lent for bandwidth, and for energy.
    pub lendable: [Sun; 2],
    /// What it lends.
    pub loans: Vec<Loan>,
    /// Reward to claim.
    pub reward: Sun,
    /// Days unfrozen TRX waits.
    pub unfreeze_days: u64,
    /// The newest block.
    pub head: Block,
}

impl Position {
    /// Reads it, all from one node.
    ///
    /// # Errors
    /// When no node answers; `Ok(None)` where the account is none yet.
    pub async fn read(nodes: &Nodes, owner: Address) -> Result<Option<Self>, NodeError> {
        nodes.read(move |node| async move { Self::of(&node, owner).await }).await
    }

    async fn of(node: &HttpNode, owner: Address) -> Result<Option<Self>, NodeError> {
        let Some(account) = node.account(owner, false).await? else { return Ok(None) };
        let Parameters { unfreeze_days, .. } = node.parameters().await?;
        let bandwidth = node.can_delegate(owner, Resource::Bandwidth).await?;
        let energy = node.can_delegate(owner, Resource::Energy).await?;
        Ok(Some(Self {
            account,
            resources: node.resources(owner).await?,
            lendable: [bandwidth, energy],
            loans: node.loans(owner).await?,
            reward: node.reward(owner).await?,
            unfreeze_days,
            head: node.head().await?,
        }))
    }

    fn frozen(&self, of: Resource) -> Sun {
        match of {
            Resource::Bandwidth => self.account.frozen_bandwidth,
            Resource::Energy => self.account.frozen_energy,
        }
    }

    /// What has matured by the chain's time.
    pub fn matured(&self) -> Sun {
        let entries = self.account.unfreezing.iter();
        entries.filter(|entry| entry.matures_ms <= self.head.time).map(|entry| entry.amount).sum()
    }

    /// When the reward can be claimed next; `None` for now.
    pub fn claimable_ms(&self) -> Option<u64> {
        let next = self.account.withdrawn_ms.checked_add(CLAIM_EVERY_MS)?;
        (self.account.withdrawn_ms > 0 && next > self.head.time).then_some(next)
    }

    /// As the gateway shows it. `wallet` is the wallet's id.
    pub fn shown(&self, wallet: &str, minimum: Sun, now_ms: u64) -> Staking {
        let account = &self.account;
        let sun = |amount: Sun| ApiSun(amount.units());
        let maturing = account.unfreezing.iter().filter(|e| e.matures_ms > self.head.time);
        Staking {
            wallet: wallet.to_owned(),
            energy_sun: sun(account.frozen_energy.saturating_add(account.lent_energy)),
            bandwidth_sun: sun(account.frozen_bandwidth.saturating_add(account.lent_bandwidth)),
            maturing: maturing
                .map(|entry| Maturing {
                    resource: api(entry.resource),
                    amount_sun: sun(entry.amount),
                    matures_ms: entry.matures_ms,
                })
                .collect(),
            withdrawable_sun: sun(self.matured()),
            delegations: self
                .loans
                .iter()
                .map(|loan| Delegation {
                    receiver: loan.to.to_string(),
                    resource: api(loan.resource),
                    amount_sun: sun(loan.amount),
                    locked_until_ms: loan.locked_until_ms,
                })
                .collect(),
            votes: account
                .votes
                .iter()
                .map(|(to, votes)| Vote { address: to.to_string(), votes: *votes })
                .collect(),
            votes_available: self.resources.votes_limit,
            reward_sun: sun(self.reward),
            under_way: Vec::new(),
            claimable_ms: self.claimable_ms(),
            minimum_sun: sun(minimum),
            as_of_ms: now_ms,
        }
    }
}

fn api(resource: Resource) -> ApiResource {
    match resource {
        Resource::Bandwidth => ApiResource::Bandwidth,
        Resource::Energy => ApiResource::Energy,
    }
}

fn of(resource: ApiResource) -> Resource {
    match resource {
        ApiResource::Bandwidth => Resource::Bandwidth,
        ApiResource::Energy => Resource::Energy,
    }
}

fn code(resource: Resource) -> i32 {
    match resource {
        Resource::Bandwidth => ResourceCode::Bandwidth.into(),
        Resource::Energy => ResourceCode::Energy.into(),
    }
}

/// A native contract of staking, ready to be built.
#[derive(Debug, Clone, PartialEq)]
pub enum Contract {
    /// Stakes.
    Freeze(FreezeBalanceV2Contract),
    /// Asks back.
    Unfreeze(UnfreezeBalanceV2Contract),
    /// Takes what has matured.
    Withdraw(WithdrawExpireUnfreezeContract),
    /// Stakes again what waits.
    Cancel(CancelAllUnfreezeV2Contract),
    /// Lends.
    Delegate(DelegateResourceContract),
    /// Takes a loan back.
    Undelegate(UnDelegateResourceContract),
    /// Votes.
    Vote(VoteWitnessContract),
    /// Claims the reward.
    Claim(WithdrawBalanceContract),
}

impl Contract {
    /// The unsigned transaction of it.
    ///
    /// # Errors
    /// As [`Unsigned::build`].
    pub fn build(&self, frame: Frame) -> Result<Unsigned, TransactionError> {
        match self {
            Self::Freeze(contract) => Unsigned::build(contract, frame),
            Self::Unfreeze(contract) => Unsigned::build(contract, frame),
            Self::Withdraw(contract) => Unsigned::build(contract, frame),
            Self::Cancel(contract) => Unsigned::build(contract, frame),
            Self::Delegate(contract) => Unsigned::build(contract, frame),
            Self::Undelegate(contract) => Unsigned::build(contract, frame),
            Self::Vote(contract) => Unsigned::build(contract, frame),
            Self::Claim(contract) => Unsigned::build(contract, frame),
        }
    }
}

/// An action that may be signed, and what follows from it in a sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is signed.
    pub contract: Contract,
    /// What is done and what follows.
    pub detail: String,
}

fn address(text: &str) -> Result<Address, StakingError> {
    text.parse().map_err(|source| {
        let text = text.chars().take(64).collect();
        StakingError::Address { text, source }
    })
}

fn amount(sun: ApiSun) -> Result<Sun, StakingError> {
    Sun::from_units(sun.0).map_err(|_| StakingError::Amount(sun.0))
}

fn within(amount: Sun, available: Sun, what: &'static str) -> Result<(), StakingError> {
    match amount <= available {
        true => Ok(()),
        false => Err(StakingError::TooMuch { amount, available, what }),
    }
}

/// Checks an action against what is known of the account, and makes its contract.
///
/// The receiver of a loan is checked by [`check_receiver`], which asks a node.
///
/// # Errors
/// [`StakingError`], before anything is signed.
pub fn plan(
    action: &StakingAction,
    position: &Position,
    minimum: Sun,
) -> Result<Plan, StakingError> {
    let account = &position.account;
    let owner_address = account.address.to_bytes().to_vec();
    let waiting = &account.unfreezing;
    let (contract, detail) = match action {
        StakingAction::Freeze { resource, amount_sun } => {
            let (resource, amount) = (of(*resource), amount(*amount_sun)?);
            let minimum = minimum.max(CHAIN_MINIMUM);
            if amount < minimum {
                return Err(StakingError::BelowMinimum { amount, minimum });
            }
            within(amount, account.balance, "that are not staked")?;
            let contract = FreezeBalanceV2Contract {
                owner_address,
                frozen_balance: amount.wire(),
                resource: code(resource),
            };
            let votes = amount.units() / TRX;
            let detail = format!("stakes {amount} TRX, which gives {votes} votes as well");
            (Contract::Freeze(contract), detail)
        }
        StakingAction::Unfreeze { resource, amount_sun } => {
            let (resource, amount) = (of(*resource), amount(*amount_sun)?);
            if amount == Sun::ZERO {
                return Err(StakingError::BelowMinimum { amount, minimum: Sun::UNIT });
            }
            within(amount, position.frozen(resource), "staked for it and not lent out")?;
            let open = waiting.iter().filter(|entry| entry.matures_ms > position.head.time);
            if open.clone().count() >= UNFREEZES_MAX {
                let next_ms = open.map(|entry| entry.matures_ms).min().unwrap_or(0);
                return Err(StakingError::Unfreezes { next_ms });
            }
            let contract = UnfreezeBalanceV2Contract {
                owner_address,
                unfreeze_balance: amount.wire(),
                resource: code(resource),
            };
            let days = position.unfreeze_days;
            let mut detail = format!("{amount} TRX can be withdrawn in {days} days");
            if position.matured() > Sun::ZERO {
                detail += &format!("; {} TRX that matured are paid out now", position.matured());
            }
            if position.resources.votes_used > 0 {
                detail += "; votes shrink when less stake is left than was voted";
            }
            (Contract::Unfreeze(contract), detail)
        }
        StakingAction::Withdraw => {
            let matured = position.matured();
            if matured == Sun::ZERO {
                let next = waiting.first().ok_or(StakingError::NothingWaits)?;
                let (amount, at_ms) = (next.amount, next.matures_ms);
                return Err(StakingError::NotMatured { amount, at_ms });
            }
            let contract = WithdrawExpireUnfreezeContract { owner_address };
            (Contract::Withdraw(contract), format!("withdraws {matured} TRX"))
        }
        StakingAction::CancelUnfreezes => {
            if waiting.is_empty() {
                return Err(StakingError::NothingWaits);
            }
            let matured = position.matured();
            let all: Sun = waiting.iter().map(|entry| entry.amount).sum();
            let again = all.saturating_sub(matured);
            let detail = format!("stakes {again} TRX again and withdraws {matured} TRX");
            (Contract::Cancel(CancelAllUnfreezeV2Contract { owner_address }), detail)
        }
        StakingAction::Delegate { resource, amount_sun, receiver, lock } => {
            let (resource, amount, to) = (of(*resource), amount(*amount_sun)?, address(receiver)?);
            if amount < CHAIN_MINIMUM {
                return Err(StakingError::BelowMinimum { amount, minimum: CHAIN_MINIMUM });
            }
            if to == account.address {
                let why = "it is the account itself, which has it already";
                return Err(StakingError::Receiver { to, why });
            }
            let lendable = position.lendable[usize::from(resource == Resource::Energy)];
            within(amount, lendable, "that can be lent; what is in use cannot")?;
            let contract = DelegateResourceContract {
                owner_address,
                resource: code(resource),
                balance: amount.wire(),
                receiver_address: to.to_bytes().to_vec(),
                lock: *lock,
                lock_period: 0,
            };
            let end = if *lock { ", not to be taken back for 3 days" } else { "" };
            (Contract::Delegate(contract), format!("lends {amount} TRX of stake to {to}{end}"))
        }
        StakingAction::Undelegate { resource, amount_sun, receiver } => {
            let (resource, amount, to) = (of(*resource), amount(*amount_sun)?, address(receiver)?);
            let mine = |loan: &&Loan| (loan.to, loan.resource) == (to, resource);
            let loan = position.loans.iter().find(mine);
            let lent = loan.map_or(Sun::ZERO, |loan| loan.amount);
            if let Some(until_ms) = loan.and_then(|loan| loan.locked_until_ms)
                && until_ms > position.head.time
            {
                return Err(StakingError::Locked { to, until_ms });
            }
            within(amount.max(Sun::UNIT), lent, "lent to it")?;
            let contract = UnDelegateResourceContract {
                owner_address,
                resource: code(resource),
                balance: amount.wire(),
                receiver_address: to.to_bytes().to_vec(),
            };
            (Contract::Undelegate(contract), format!("takes {amount} TRX of stake back from {to}"))
        }
        StakingAction::Vote { votes } => {
            let (votes, sum) = ballot(votes, position.resources.votes_limit)?;
            let detail = format!(
                "casts {sum} votes for {}; all earlier votes end",
                known::representatives(votes.len())
            );
            let contract = VoteWitnessContract { owner_address, votes, support: true };
            (Contract::Vote(contract), detail)
        }
        StakingAction::ClaimReward => {
            if position.reward == Sun::ZERO {
                return Err(StakingError::NoReward);
            }
            if let Some(at_ms) = position.claimable_ms() {
                return Err(StakingError::ClaimedToday { at_ms });
            }
            let detail = format!("claims {} TRX of reward", position.reward);
            (Contract::Claim(WithdrawBalanceContract { owner_address }), detail)
        }
    };
    Ok(Plan { contract, detail })
}

fn ballot(votes: &[Vote], available: u64) -> Result<(Vec<tron_protobuf::Vote>, u64), StakingError> {
    let wrong = |why: String| Err(StakingError::Votes(why));
    if votes.is_empty() || votes.len() > VOTES_MAX {
        return wrong(format!("{} representatives; 1 to {VOTES_MAX} are right", votes.len()));
    }
    let (mut seen, mut sum, mut cast) = (Vec::new(), 0u64, Vec::new());
    for vote in votes {
        let to = address(&vote.address)?;
        if seen.contains(&to) {
            return wrong(format!("{to} is named twice"));
        }
        seen.push(to);
        let Some(vote_count) = i64::try_from(vote.votes).ok().filter(|count| *count > 0) else {
            return wrong(format!("{} votes for {to}; at least 1 is right", vote.votes));
        };
        sum = sum.saturating_add(vote.votes);
        cast.push(tron_protobuf::Vote { vote_address: to.to_bytes().to_vec(), vote_count });
    }
    if sum > available {
        return wrong(format!("{sum} votes; the stake gives {available}, one for each TRX"));
    }
    Ok((cast, sum))
}

/// Asks whether a loan's receiver can have one: an account, and no contract.
///
/// # Errors
/// No node's answer, or inside why not.
pub async fn check_receiver(
    nodes: &Nodes,
    to: Address,
) -> Result<Result<(), StakingError>, NodeError> {
    let account = nodes.read(move |node| async move { node.account(to, false).await }).await?;
    Ok(match account {
        None => Err(StakingError::NoAccount(to)),
        Some(Account { contract: true, .. }) => {
            Err(StakingError::Receiver { to, why: "it is a contract" })
        }
        Some(_) => Ok(()),
    })
}
