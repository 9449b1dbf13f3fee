//! Everything the chain knows at one block, and what a transaction does to it.

use super::account::{Account, BANDWIDTH, ENERGY, TRX, Usage};
use super::params::Params;
use super::token::{Log, Outcome, Token, number_argument};
use crate::address::Address;
use crate::transaction::{Transaction, address, bytes, int};
use std::collections::BTreeMap;

/// Most pending unstakings of one account.
pub const UNFREEZE_MAX: usize = 32;

/// Why a transaction is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its contract does not hold; the text is the node's.
    #[error("Contract validate error : {0}")]
    Validate(String),
    /// Too little bandwidth or TRX for it.
    #[error("Account resource insufficient error.")]
    Resource,
}

/// What a transaction did.
#[derive(Debug, Clone, Default)]
pub struct Effect {
    /// All TRX burned, in sun.
    pub fee: i64,
    /// Bandwidth from stake or for nothing, in points.
    pub net_usage: i64,
    /// TRX burned for bandwidth, in sun.
    pub net_fee: i64,
    /// Energy from stake, in points.
    pub energy_usage: i64,
    /// TRX burned for energy, in sun.
    pub energy_fee: i64,
    /// All energy, in points.
    pub energy_total: i64,
    /// `SUCCESS`, `REVERT` or `OUT_OF_ENERGY` of a contract call.
    pub result: Option<&'static str>,
    /// What the call returned.
    pub output: Vec<u8>,
    /// Events.
    pub logs: Vec<Log>,
    /// Contract called.
    pub contract: Option<Address>,
    /// Sun given back, under the receipt's own name for it.
    pub given: Option<(&'static str, i64)>,
}

/// The chain at one block.
#[derive(Debug, Clone)]
pub struct State {
    /// Parameters.
    pub params: Params,
    /// Accounts.
    pub accounts: BTreeMap<Address, Account>,
    /// The token.
    pub token: Token,
    /// The router contract: its address, and the function that pays `(address, uint256, ...)`.
    pub router: (Address, [u8; 4]),
}

type Done<T = ()> = Result<T, String>;

fn refuse<T>(text: impl Into<String>) -> Done<T> {
    Err(text.into())
}

fn resource_of(tx: &Transaction) -> usize {
    match tx.call.get("resource").and_then(serde_json::Value::as_str) {
        Some("ENERGY") => ENERGY,
        _ => BANDWIDTH,
    }
}

impl State {
    /// Somebody's account; one that is not there yet is empty.
    pub fn account(&self, address: Address) -> Account {
        self.accounts.get(&address).cloned().unwrap_or_default()
    }

    fn at(&mut self, address: Address) -> &mut Account {
        self.accounts.entry(address).or_default()
    }

    /// Executes a transaction, or leaves the state as it was and says why.
    pub fn apply(&mut self, tx: &Transaction, now_ms: u64) -> Result<Effect, Refused> {
        let mut next = self.clone();
        let effect = next.run(tx, now_ms)?;
        *self = next;
        Ok(effect)
    }

    fn run(&mut self, tx: &Transaction, now_ms: u64) -> Result<Effect, Refused> {
        let owner = tx.owner().ok_or_else(|| Refused::Validate("Invalid ownerAddress".into()))?;
        let mut effect = Effect::default();
        self.use_bandwidth(tx, owner, now_ms, &mut effect)?;
        if tx.signatures.len() > 1 {
            self.burn(owner, self.params.multi_sign_fee, &mut effect)?;
        }
        if !bytes(&tx.head, "data").is_empty() {
            self.burn(owner, self.params.memo_fee, &mut effect)?;
        }
        let done = match tx.contract.number {
            31 => self.call_contract(tx, owner, now_ms, &mut effect),
            _ => self.native(tx, owner, now_ms, &mut effect),
        };
        done.map_err(Refused::Validate)?;
        Ok(effect)
    }

    /// Checks a call as a node does that is asked to build it.
    pub fn check(&self, tx: &Transaction, now_ms: u64) -> Result<(), String> {
        let mut next = self.clone();
        let owner = tx.owner().ok_or("Invalid ownerAddress")?;
        match tx.contract.number {
            31 => Ok(()),
            _ => next.native(tx, owner, now_ms, &mut Effect::default()),
        }
    }

    fn burn(&mut self, owner: Address, sun: i64, effect: &mut Effect) -> Result<(), Refused> {
        let account = self.at(owner);
        if account.balance < sun {
            return Err(Refused::Resource);
        }
        account.balance -= sun;
        effect.fee += sun;
        Ok(())
    }

    fn use_bandwidth(
        &mut self,
        tx: &Transaction,
        owner: Address,
        now_ms: u64,
        effect: &mut Effect,
    ) -> Result<(), Refused> {
        let params = self.params.clone();
        let size = tx.bandwidth();
        if !self.accounts.contains_key(&owner) {
            let text = format!("account [{owner}] does not exist");
            return Err(Refused::Validate(text));
        }
        let creates = tx.contract.number == 1
            && address(&tx.call, "to_address").is_some_and(|to| !self.accounts.contains_key(&to));
        let account = self.at(owner);
        if account.left(BANDWIDTH, &params, now_ms) >= size {
            account.used[BANDWIDTH].add(size, now_ms, params.day_ms);
            effect.net_usage = size;
            return Ok(());
        }
        let free = params.free_net_limit - account.free_used.now(now_ms, params.day_ms);
        if !creates && free >= size {
            account.free_used.add(size, now_ms, params.day_ms);
            effect.net_usage = size;
            return Ok(());
        }
        let fee = if creates {
            params.create_account_bandwidth_fee
        } else {
            size * params.transaction_fee
        };
        self.burn(owner, fee, effect)?;
        effect.net_fee = fee;
        Ok(())
    }

    fn call_contract(
        &mut self,
        tx: &Transaction,
        owner: Address,
        now_ms: u64,
        effect: &mut Effect,
    ) -> Done {
        let params = self.params.clone();
        let fee_limit = int(&tx.head, "fee_limit");
        if !(0..=params.max_fee_limit).contains(&fee_limit) {
            return refuse(format!("feeLimit must be >= 0 and <= {}", params.max_fee_limit));
        }
        let Some(contract) = address(&tx.call, "contract_address") else {
            return refuse("Cannot get contract address from TriggerContract");
        };
        if contract != self.token.address && contract != self.router.0 {
            return refuse("No contract or not a smart contract");
        }
        if int(&tx.call, "call_value") != 0 {
            return refuse("the contracts of this node take no TRX");
        }
        let account = self.account(owner);
        let staked = account.left(ENERGY, &params, now_ms);
        let bought = account.balance / params.energy_fee.max(1);
        let most = (staked + bought).min(fee_limit / params.energy_fee.max(1));
        let before = self.token.clone();
        let outcome = self.view(owner, contract, &bytes(&tx.call, "data"));
        let out = outcome.energy > most;
        if out || outcome.reverted {
            self.token = before;
        }
        let energy = outcome.energy.min(most);
        let from_stake = energy.min(staked);
        let fee = (energy - from_stake) * params.energy_fee;
        let account = self.at(owner);
        account.used[ENERGY].add(from_stake, now_ms, params.day_ms);
        account.balance -= fee;
        effect.fee += fee;
        effect.energy_fee = fee;
        effect.energy_usage = from_stake;
        effect.energy_total = energy;
        effect.contract = Some(contract);
        effect.result = Some(match (out, outcome.reverted) {
            (true, _) => "OUT_OF_ENERGY",
            (_, true) => "REVERT",
            _ => "SUCCESS",
        });
        if !out {
            effect.output = outcome.output;
            effect.logs = outcome.logs;
        }
        Ok(())
    }

    /// Runs a call for its answer; the caller throws the state away or keeps it.
    pub fn view(&mut self, caller: Address, contract: Address, data: &[u8]) -> Outcome {
        let params = self.params.clone();
        if contract != self.router.0 {
            return self.token.call(caller, data, &params);
        }
        let arguments = data.get(4..).unwrap_or_default();
        let payee = super::token::address_argument(arguments, 0);
        let amount = number_argument(arguments, 1);
        match (data.get(..4) == Some(&self.router.1), payee, amount) {
            (true, Some(payee), Some(amount)) => {
                let paid = self.token.transfer_from(self.router.0, caller, payee, amount, &params);
                Outcome { energy: paid.energy + 9_000, output: Vec::new(), ..paid }
            }
            _ => Outcome { energy: 200, output: Vec::new(), reverted: true, logs: Vec::new() },
        }
    }

    fn native(
        &mut self,
        tx: &Transaction,
        owner: Address,
        now_ms: u64,
        effect: &mut Effect,
    ) -> Done {
        let name = tx.contract.name;
        let params = self.params.clone();
        if !self.accounts.contains_key(&owner) {
            return refuse(if tx.contract.number == 1 {
                format!("Validate {name} error, no OwnerAccount.")
            } else {
                format!("Account[{}] not exists", owner.hex())
            });
        }
        match tx.contract.number {
            1 => self.transfer(tx, owner, now_ms, effect),
            4 => self.vote(tx, owner, now_ms),
            13 => {
                let account = self.at(owner);
                if account.withdrawn_ms != 0 && now_ms < account.withdrawn_ms + params.day_ms {
                    let last = account.withdrawn_ms;
                    let text = "The last withdraw time is";
                    return refuse(format!("{text} {last}, less than 24 hours"));
                }
                let reward = account.reward(&params, now_ms);
                if reward <= 0 {
                    return refuse("witnessAccount does not have any reward");
                }
                account.balance += reward;
                account.allowance = 0;
                account.reward_from_ms = now_ms;
                account.withdrawn_ms = now_ms;
                effect.given = Some(("withdraw_amount", reward));
                Ok(())
            }
            46 => super::permission::update(self, tx, owner, effect),
            54 => {
                let amount = int(&tx.call, "frozen_balance");
                let account = self.at(owner);
                if amount <= 0 {
                    return refuse("frozenBalance must be positive");
                }
                if amount < TRX {
                    return refuse("frozenBalance must be greater than or equal to 1 TRX");
                }
                if amount > account.balance {
                    return refuse("frozenBalance must be less than or equal to accountBalance");
                }
                account.balance -= amount;
                account.frozen[resource_of(tx)] += amount;
                Ok(())
            }
            55 => self.unfreeze(tx, owner, now_ms, effect),
            56 => {
                let account = self.at(owner);
                let matured = take_matured(account, now_ms);
                if matured == 0 {
                    return refuse("no unFreeze balance to withdraw ");
                }
                effect.given = Some(("withdraw_expire_amount", matured));
                Ok(())
            }
            57 => self.delegate(tx, owner, now_ms),
            58 => self.undelegate(tx, owner, now_ms),
            59 => {
                let account = self.at(owner);
                if account.unfreezing.is_empty() {
                    return refuse("No unfreezeV2 list to cancel");
                }
                let matured = take_matured(account, now_ms);
                for (resource, amount, _) in std::mem::take(&mut account.unfreezing) {
                    account.frozen[resource] += amount;
                }
                effect.given = Some(("withdraw_expire_amount", matured));
                Ok(())
            }
            other => refuse(format!("contract type {other} is not executed here")),
        }
    }

    fn transfer(
        &mut self,
        tx: &Transaction,
        owner: Address,
        now_ms: u64,
        effect: &mut Effect,
    ) -> Done {
        let Some(to) = address(&tx.call, "to_address") else {
            return refuse("Invalid toAddress!");
        };
        let amount = int(&tx.call, "amount");
        if to == owner {
            return refuse("Cannot transfer TRX to yourself.");
        }
        if amount <= 0 {
            return refuse("Amount must be greater than 0.");
        }
        if self.account(to).contract {
            return refuse("Cannot transfer TRX to a smartContract.");
        }
        let new = !self.accounts.contains_key(&to);
        let fee = if new { self.params.create_account_fee } else { 0 };
        let account = self.at(owner);
        if account.balance < amount.saturating_add(fee) {
            return refuse("Validate TransferContract error, balance is not sufficient.");
        }
        account.balance -= amount + fee;
        effect.fee += fee;
        let account = self.at(to);
        account.balance += amount;
        if new {
            account.created_ms = now_ms;
        }
        Ok(())
    }

    fn vote(&mut self, tx: &Transaction, owner: Address, now_ms: u64) -> Done {
        let list = tx.call.get("votes").and_then(serde_json::Value::as_array);
        let list: Vec<_> = list.into_iter().flatten().collect();
        if list.is_empty() || list.len() > 30 {
            return refuse("VoteNumber must more than 0 and less than 30");
        }
        let mut votes = Vec::new();
        for vote in list {
            let Some(witness) = address(vote, "vote_address") else {
                return refuse("Invalid vote address!");
            };
            let count = int(vote, "vote_count");
            if count <= 0 {
                return refuse("vote count must be greater than 0");
            }
            if !self.account(witness).witness {
                return refuse(format!("Witness[{}] not exists", witness.hex()));
            }
            votes.push((witness, count));
        }
        let sum = votes.iter().fold(0i64, |sum, (_, count)| sum.saturating_add(*count));
        let params = self.params.clone();
        let account = self.at(owner);
        let power = account.tron_power();
        if sum > power {
            let power = power * TRX;
            let text = "The total number of votes";
            return refuse(format!("{text}[{sum}] is greater than the tronPower[{power}]"));
        }
        account.allowance = account.reward(&params, now_ms);
        account.reward_from_ms = now_ms;
        account.votes = votes;
        Ok(())
    }

    fn unfreeze(
        &mut self,
        tx: &Transaction,
        owner: Address,
        now_ms: u64,
        effect: &mut Effect,
    ) -> Done {
        let resource = resource_of(tx);
        let amount = int(&tx.call, "unfreeze_balance");
        let params = self.params.clone();
        let wait = params.day_ms * u64::try_from(params.unfreeze_delay_days).unwrap_or(0);
        let account = self.at(owner);
        if account.frozen[resource] <= 0 {
            let name = if resource == ENERGY { "Energy" } else { "Bandwidth" };
            return refuse(format!("no frozenBalance({name})"));
        }
        if amount <= 0 || amount > account.frozen[resource] {
            let text = "Invalid unfreeze_balance, [";
            return refuse(format!("{text}{amount}] is invalid"));
        }
        let pending = account.unfreezing.iter().filter(|(_, _, when)| *when > now_ms).count();
        if pending >= UNFREEZE_MAX {
            return refuse("Invalid unfreeze operation, unfreezing times is over limit");
        }
        let matured = take_matured(account, now_ms);
        account.frozen[resource] -= amount;
        account.unfreezing.push((resource, amount, now_ms + wait));
        let power = account.tron_power();
        let votes: i64 = account.votes.iter().map(|(_, count)| count).sum();
        if votes > power {
            account.allowance = account.reward(&params, now_ms);
            account.reward_from_ms = now_ms;
            for (_, count) in &mut account.votes {
                let share = i128::from(*count) * i128::from(power) / i128::from(votes);
                *count = i64::try_from(share).unwrap_or(0);
            }
            account.votes.retain(|(_, count)| *count > 0);
        }
        effect.given = (matured > 0).then_some(("withdraw_expire_amount", matured));
        Ok(())
    }

    /// Stake of a resource that is not in use and can be lent, in sun.
    pub fn can_delegate(&self, owner: Address, resource: usize, now_ms: u64) -> i64 {
        let account = self.account(owner);
        let limit = account.limit(resource, &self.params).max(1);
        let used = account.used[resource].now(now_ms, self.params.day_ms);
        let stake = account.frozen[resource] + account.acquired[resource];
        let used = i128::from(used) * i128::from(stake) / i128::from(limit);
        let free = account.frozen[resource] - i64::try_from(used).unwrap_or(i64::MAX);
        free.max(0)
    }

    fn delegate(&mut self, tx: &Transaction, owner: Address, now_ms: u64) -> Done {
        let resource = resource_of(tx);
        let amount = int(&tx.call, "balance");
        let name = if resource == ENERGY { "Energy" } else { "Bandwidth" };
        if amount < TRX {
            return refuse("delegateBalance must be greater than or equal to 1 TRX");
        }
        if amount > self.can_delegate(owner, resource, now_ms) {
            let text = "delegateBalance must be less than or equal to available Freeze";
            return refuse(format!("{text}{name}V2 balance"));
        }
        let Some(to) = address(&tx.call, "receiver_address") else {
            return refuse("Invalid receiverAddress");
        };
        if to == owner {
            return refuse("receiverAddress must not be the same as ownerAddress");
        }
        let Some(receiver) = self.accounts.get_mut(&to) else {
            return refuse(format!("Account[{}] not exists", to.hex()));
        };
        if receiver.contract {
            return refuse("Do not allow delegate resources to contract addresses");
        }
        receiver.acquired[resource] += amount;
        let lock = tx.call.get("lock").and_then(serde_json::Value::as_bool) == Some(true);
        let blocks = match int(&tx.call, "lock_period") {
            0 => 86_400,
            blocks => blocks,
        };
        // A day is 28,800 blocks of three seconds.
        let span = u64::try_from(blocks).unwrap_or(0) * self.params.day_ms / 28_800;
        let account = self.at(owner);
        account.frozen[resource] -= amount;
        account.delegated[resource] += amount;
        let loan = account.loans.entry((to, resource)).or_default();
        loan.0 += amount;
        if lock {
            loan.1 = loan.1.max(now_ms + span);
        }
        Ok(())
    }

    fn undelegate(&mut self, tx: &Transaction, owner: Address, now_ms: u64) -> Done {
        let resource = resource_of(tx);
        let amount = int(&tx.call, "balance");
        let Some(to) = address(&tx.call, "receiver_address") else {
            return refuse("Invalid receiverAddress");
        };
        let day_ms = self.params.day_ms;
        let params = self.params.clone();
        let Some((lent, locked)) = self.account(owner).loans.get(&(to, resource)).copied() else {
            return refuse("delegated Resource does not exist");
        };
        let available = if now_ms < locked { 0 } else { lent };
        if amount <= 0 || amount > available {
            let name = if resource == ENERGY { "Energy" } else { "Bandwidth" };
            let text = format!("insufficient delegatedFrozenBalance({name}), request={amount}");
            return refuse(format!("{text}, unlock_balance={available}"));
        }
        // The giver takes over its part of what the receiver used.
        let receiver = self.at(to);
        let limit = receiver.limit(resource, &params).max(1);
        let used = receiver.used[resource].now(now_ms, day_ms);
        let stake = i128::from(receiver.frozen[resource] + receiver.acquired[resource]).max(1);
        let share = i128::from(used.min(limit)) * i128::from(amount) / stake;
        let share = i64::try_from(share).unwrap_or(0);
        receiver.acquired[resource] -= amount;
        let mut rest = Usage::default();
        rest.add(used - share, now_ms, day_ms);
        receiver.used[resource] = rest;
        let account = self.at(owner);
        account.used[resource].add(share, now_ms, day_ms);
        account.delegated[resource] -= amount;
        account.frozen[resource] += amount;
        match account.loans.get_mut(&(to, resource)) {
            Some(loan) if loan.0 > amount => loan.0 -= amount,
            _ => {
                account.loans.remove(&(to, resource));
            }
        }
        Ok(())
    }
}

/// Pays out what has matured and gives the sum.
fn take_matured(account: &mut Account, now_ms: u64) -> i64 {
    let (matured, rest): (Vec<_>, Vec<_>) =
        account.unfreezing.drain(..).partition(|(_, _, when)| *when <= now_ms);
    let sum = matured.iter().map(|(_, amount, _)| amount).sum();
    account.unfreezing = rest;
    account.balance += sum;
    sum
}
