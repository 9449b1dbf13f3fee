//! `lucid-pay stake`: through the socket of the running process.

use clap::{Args, Subcommand, ValueEnum};
use lucid_pay_api::{
    Resource, Staking, StakingAction, StakingOrder, StakingReceipt, Sun, Vote, route,
};

use super::exit::{Exit, coded};
use super::{Context, block_on, output, wallet};

/// Stakes TRX, lends energy, votes. Staking needs no contract address on TRON.
#[derive(Debug, Args)]
pub struct Stake {
    #[command(subcommand)]
    command: Command,
    /// A word of your own for this order: asking again with it is asking once, for ever. Without
    /// one an order is the same as an equal one under way, or that moved an amount in 24 hours
    #[arg(long, global = true, value_name = "KEY")]
    key: Option<String>,
    /// Who orders it
    #[arg(long, global = true)]
    by: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is staked, what matures when, what is lent
    Show {
        /// Name or id of the wallet
        wallet: String,
    },
    /// Stakes TRX
    Freeze(Amount),
    /// Asks for staked TRX back; it comes after the chain's waiting time, 14 days at present
    Unfreeze(Amount),
    /// Takes what has matured
    Withdraw {
        /// Name or id of the wallet
        wallet: String,
    },
    /// Stakes again everything that is on its way back
    CancelUnfreezes {
        /// Name or id of the wallet
        wallet: String,
    },
    /// Lends energy or bandwidth to another account
    Delegate {
        #[command(flatten)]
        amount: Amount,
        /// Who uses it
        #[arg(long)]
        to: String,
        /// Lock the loan for three days
        #[arg(long)]
        lock: bool,
    },
    /// Takes a loan back
    Undelegate {
        #[command(flatten)]
        amount: Amount,
        /// Who used it
        #[arg(long)]
        from: String,
    },
    /// Casts all votes anew; earlier ones end
    Vote {
        /// Name or id of the wallet
        wallet: String,
        /// ADDRESS=VOTES, 1 to 30 of them
        #[arg(required = true)]
        votes: Vec<String>,
    },
    /// Claims the reward of votes, at most once in 24 hours
    Claim {
        /// Name or id of the wallet
        wallet: String,
    },
}

/// Which wallet, what, how much.
#[derive(Debug, Args)]
pub struct Amount {
    /// Name or id of the wallet
    wallet: String,
    /// TRX, such as 1000
    amount: String,
    /// What it gives
    #[arg(long, default_value = "energy")]
    resource: Kind,
}

/// What stake gives.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// For contract calls
    Energy,
    /// For the size of transactions
    Bandwidth,
}

impl Amount {
    fn read(&self) -> anyhow::Result<(Resource, Sun)> {
        let amount = self.amount.parse();
        let amount = amount.map_err(|error| coded(Exit::Data, format!("AMOUNT: {error}")))?;
        let resource = match self.resource {
            Kind::Energy => Resource::Energy,
            Kind::Bandwidth => Resource::Bandwidth,
        };
        Ok((resource, amount))
    }
}

fn vote(text: &str) -> anyhow::Result<Vote> {
    let unfit = || coded(Exit::Data, format!("{text:?}: expected ADDRESS=VOTES"));
    let (address, votes) = text.split_once('=').ok_or_else(unfit)?;
    Ok(Vote { address: address.to_owned(), votes: votes.parse().map_err(|_| unfit())? })
}

fn show(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let client = context.client();
    let path = format!("{}/{}", route::STAKING, wallet::id(&client, name)?);
    let found: Staking = block_on(async { Ok(client.get(&path).await?) })?;
    output::show(context.json, &found, || {
        let mut text = format!(
            "for energy {}, for bandwidth {}\nwithdrawable {}, reward {}, votes {}",
            found.energy_sun,
            found.bandwidth_sun,
            found.withdrawable_sun,
            found.reward_sun,
            found.votes_available
        );
        for entry in &found.maturing {
            let at = lucid_pay::ledger::utc(entry.matures_ms);
            text.push_str(&format!("\n{} comes back at {at}", entry.amount_sun));
        }
        for loan in &found.delegations {
            let what = format!("{:?}", loan.resource).to_lowercase();
            text.push_str(&format!("\n{what} of {} lent to {}", loan.amount_sun, loan.receiver));
        }
        for order in &found.under_way {
            text.push_str(&format!("\nunder way, {}: {}", order.state, order.detail));
            if let Some(by) = &order.by {
                text.push_str(&format!("; ordered by {by}"));
            }
        }
        for vote in &found.votes {
            text.push_str(&format!("\n{} votes for {}", vote.votes, vote.address));
        }
        text
    })?;
    Ok(Exit::Success)
}

/// Does it.
pub fn run(context: &Context, stake: Stake) -> anyhow::Result<Exit> {
    let (wallet, action) = match stake.command {
        Command::Show { wallet } => return show(context, &wallet),
        Command::Freeze(amount) => {
            let (resource, amount_sun) = amount.read()?;
            (amount.wallet, StakingAction::Freeze { resource, amount_sun })
        }
        Command::Unfreeze(amount) => {
            let (resource, amount_sun) = amount.read()?;
            (amount.wallet, StakingAction::Unfreeze { resource, amount_sun })
        }
        Command::Withdraw { wallet } => (wallet, StakingAction::Withdraw),
        Command::CancelUnfreezes { wallet } => (wallet, StakingAction::CancelUnfreezes),
        Command::Delegate { amount, to: receiver, lock } => {
            let (resource, amount_sun) = amount.read()?;
            (amount.wallet, StakingAction::Delegate { resource, amount_sun, receiver, lock })
        }
        Command::Undelegate { amount, from: receiver } => {
            let (resource, amount_sun) = amount.read()?;
            (amount.wallet, StakingAction::Undelegate { resource, amount_sun, receiver })
        }
        Command::Vote { wallet, votes } => {
            let votes = votes.iter().map(|text| vote(text)).collect::<anyhow::Result<_>>()?;
            (wallet, StakingAction::Vote { votes })
        }
        Command::Claim { wallet } => (wallet, StakingAction::ClaimReward),
    };
    let client = context.client();
    let wallet = wallet::id(&client, &wallet)?;
    let by = Some(super::payout::by(stake.by));
    let order = StakingOrder { wallet, idempotency_key: stake.key, by, action };
    let receipt: StakingReceipt =
        block_on(async { Ok(client.post(route::STAKING, &order).await?) })?;
    output::show(context.json, &receipt, || {
        format!("{}: {}\ntransaction {}", receipt.state, receipt.detail, receipt.txid)
    })?;
    Ok(Exit::Success)
}
