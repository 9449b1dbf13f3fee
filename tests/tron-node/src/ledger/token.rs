//! A TRC-20 as USDT is one: six decimals, a fee for its owner, a pause, a blacklist, and a
//! `transfer` that returns false although it worked.

use super::params::Params;
use crate::address::{Address, keccak};
use crate::hex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The token and everybody's share.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its contract.
    pub address: Address,
    /// Who gets the fee.
    pub owner: Address,
    /// Shares, in millionths.
    pub balances: BTreeMap<Address, u128>,
    /// Who may take from whom how much.
    pub allowances: BTreeMap<(Address, Address), u128>,
    /// Fee of a transfer, in hundredths of a percent.
    pub fee_basis_points: u128,
    /// Whether transfers are refused.
    pub paused: bool,
    /// Who may not send.
    pub blacklist: BTreeSet<Address>,
}

/// What a call came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Energy it needs.
    pub energy: i64,
    /// What it returns; with a revert, the reason.
    pub output: Vec<u8>,
    /// Whether it reverted.
    pub reverted: bool,
    /// Transfers and approvals, as logs.
    pub logs: Vec<Log>,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Log {
    /// Contract.
    pub address: Address,
    /// Topics.
    pub topics: Vec<[u8; 32]>,
    /// Data.
    pub data: Vec<u8>,
}

impl Log {
    /// As a receipt holds it: the contract without its first byte.
    pub fn json(&self) -> Value {
        let topics: Vec<String> = self.topics.iter().map(|topic| hex::encode(topic)).collect();
        let address = hex::encode(self.address.evm());
        json!({"address": address, "topics": topics, "data": hex::encode(&self.data)})
    }
}

/// First four bytes of the hash of a function's signature.
pub fn selector(signature: &str) -> [u8; 4] {
    let hash = keccak(signature.as_bytes());
    [hash[0], hash[1], hash[2], hash[3]]
}

fn word(value: u128) -> [u8; 32] {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}

fn address_word(address: Address) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(address.evm());
    word
}

/// The address in the `index`th argument.
pub fn address_argument(arguments: &[u8], index: usize) -> Option<Address> {
    let word = arguments.get(index * 32..index * 32 + 32)?;
    Some(Address::from_evm(word[12..].try_into().ok()?))
}

/// The number in the `index`th argument; above 2^128 it is more than anybody has.
pub fn number_argument(arguments: &[u8], index: usize) -> Option<u128> {
    let word = arguments.get(index * 32..index * 32 + 32)?;
    let low = u128::from_be_bytes(word[16..].try_into().ok()?);
    Some(if word[..16].iter().all(|byte| *byte == 0) { low } else { u128::MAX })
}

/// ABI text, as a return value or, after the selector of `Error(string)`, as a revert's reason.
fn text(text: &str) -> Vec<u8> {
    let mut out = [word(32), word(text.len() as u128)].concat();
    out.extend_from_slice(text.as_bytes());
    out.resize(64 + text.len().div_ceil(32) * 32, 0);
    out
}

fn revert(reason: &str, energy: i64) -> Outcome {
    let mut output = Vec::new();
    if !reason.is_empty() {
        output.extend_from_slice(&[0x08, 0xc3, 0x79, 0xa0]);
        output.extend_from_slice(&text(reason));
    }
    Outcome { energy, output, reverted: true, logs: Vec::new() }
}

fn answer(output: Vec<u8>, energy: i64) -> Outcome {
    Outcome { energy, output, reverted: false, logs: Vec::new() }
}

impl Token {
    /// Everything with `owner`.
    pub fn new(address: Address, owner: Address, supply: u128) -> Self {
        Self {
            address,
            owner,
            balances: BTreeMap::from([(owner, supply)]),
            allowances: BTreeMap::new(),
            fee_basis_points: 0,
            paused: false,
            blacklist: BTreeSet::new(),
        }
    }

    /// Somebody's share, in millionths.
    pub fn balance(&self, of: Address) -> u128 {
        self.balances.get(&of).copied().unwrap_or(0)
    }

    /// Runs a call; what it changes is changed in `self` unless it reverts.
    pub fn call(&mut self, caller: Address, data: &[u8], params: &Params) -> Outcome {
        let energy = |base: i64| base + base * params.energy_penalty_milli / 1000;
        let Some((head, arguments)) = data.split_at_checked(4) else {
            return revert("", energy(128));
        };
        let is = |signature: &str| head == selector(signature);
        let at = |index| address_argument(arguments, index);
        let amount = |index| number_argument(arguments, index);
        if is("name()") || is("symbol()") {
            let value = if is("name()") { "Tether USD" } else { "USDT" };
            return answer(text(value), energy(3_400));
        }
        if is("decimals()") {
            return answer(word(6).to_vec(), energy(480));
        }
        if is("totalSupply()") {
            return answer(word(self.balances.values().sum()).to_vec(), energy(600));
        }
        if is("balanceOf(address)")
            && let Some(of) = at(0)
        {
            return answer(word(self.balance(of)).to_vec(), energy(935));
        }
        if is("allowance(address,address)")
            && let (Some(owner), Some(spender)) = (at(0), at(1))
        {
            let left = self.allowances.get(&(owner, spender)).copied().unwrap_or(0);
            return answer(word(left).to_vec(), energy(1_246));
        }
        if is("approve(address,uint256)")
            && let (Some(spender), Some(most)) = (at(0), amount(1))
        {
            self.allowances.insert((caller, spender), most);
            let topic = keccak(b"Approval(address,address,uint256)");
            let topics = vec![topic, address_word(caller), address_word(spender)];
            let log = Log { address: self.address, topics, data: word(most).to_vec() };
            let answer = answer(word(1).to_vec(), energy(22_800));
            return Outcome { logs: vec![log], ..answer };
        }
        if is("transfer(address,uint256)")
            && let (Some(to), Some(amount)) = (at(0), amount(1))
        {
            return self.transfer(caller, to, amount, params);
        }
        if is("transferFrom(address,address,uint256)")
            && let (Some(from), Some(to), Some(amount)) = (at(0), at(1), amount(2))
        {
            return self.transfer_from(caller, from, to, amount, params);
        }
        revert("", energy(200))
    }

    /// `transferFrom`, called by `caller`.
    pub fn transfer_from(
        &mut self,
        caller: Address,
        from: Address,
        to: Address,
        amount: u128,
        params: &Params,
    ) -> Outcome {
        let left = self.allowances.get(&(from, caller)).copied().unwrap_or(0);
        if left < amount {
            return revert("", params.transfer_energy / 4);
        }
        let outcome = self.transfer(from, to, amount, params);
        if !outcome.reverted && left != u128::MAX {
            self.allowances.insert((from, caller), left - amount);
        }
        Outcome { energy: outcome.energy + 11_000, ..outcome }
    }

    fn transfer(&mut self, from: Address, to: Address, amount: u128, params: &Params) -> Outcome {
        let energy = |base: i64| base + base * params.energy_penalty_milli / 1000;
        if self.paused || self.blacklist.contains(&from) {
            return revert("", energy(params.transfer_energy / 8));
        }
        let has = self.balance(from);
        if has < amount {
            return revert("", energy(params.transfer_energy / 4));
        }
        let fee = amount.saturating_mul(self.fee_basis_points) / 10_000;
        let new = self.balance(to) == 0 && from != to;
        let base = params.transfer_energy + if new { params.new_holder_energy } else { 0 };
        self.balances.insert(from, has - amount);
        let mut logs = Vec::new();
        for (to, part) in [(to, amount - fee), (self.owner, fee)] {
            if part == 0 && fee == 0 && to != self.owner || part > 0 || logs.is_empty() {
                *self.balances.entry(to).or_default() += part;
                let topic = keccak(b"Transfer(address,address,uint256)");
                let topics = vec![topic, address_word(from), address_word(to)];
                logs.push(Log { address: self.address, topics, data: word(part).to_vec() });
            }
        }
        // The real contract drops what its inner call returns.
        Outcome { energy: energy(base), output: word(0).to_vec(), reverted: false, logs }
    }
}
