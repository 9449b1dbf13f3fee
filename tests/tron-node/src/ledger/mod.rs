//! The chain: blocks, the pool, what is final, and the rules of admission. Time and randomness are
//! arguments; nothing here waits, listens or reads a clock.

pub mod account;
pub mod params;
pub mod permission;
pub mod state;
#[cfg(test)]
mod tests;
pub mod token;

use crate::address::{Address, keccak, sha256};
use crate::transaction::{Transaction, bytes, int};
use account::Account;
use k256::ecdsa::SigningKey;
use params::Params;
use state::{Effect, Refused, State};
use std::collections::{BTreeMap, HashMap};
use token::{Token, selector};

/// A block is final when so many stand on it.
pub const SOLID_AFTER: u64 = 19;
/// How far back a reference block may lie, in blocks.
const REFERENCE_WINDOW: u64 = 65_536;
/// How far ahead an expiration may lie, in milliseconds.
const EXPIRATION_AHEAD_MS: u64 = 24 * 60 * 60 * 1000;
/// The pool forgets what no block took for so long, in milliseconds.
const POOL_MS: u64 = 60_000;
/// Longest transaction, in bytes.
const TRANSACTION_BYTES_MAX: usize = 500 * 1024;
/// Most transactions in one block.
const BLOCK_TRANSACTIONS_MAX: usize = 2_000;
/// Most transactions in the pool.
const POOL_MAX: usize = 20_000;
/// What the account that tests are paid from begins with: sun, and millionths of the token.
const FAUCET: i64 = 10_000_000_000_000_000;

/// Answer to a broadcast: the code's name and its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Rejected {
    /// Name of the response code.
    pub code: &'static str,
    /// The node's text.
    pub message: String,
}

fn reject<T>(code: &'static str, message: impl Into<String>) -> Result<T, Rejected> {
    Err(Rejected { code, message: message.into() })
}

/// A block.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: [u8; 32],
    /// Id of the one before.
    pub parent: [u8; 32],
    /// Its time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Transactions and what they did.
    pub transactions: Vec<(Transaction, Effect)>,
}

/// How a chain begins.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// Makes every key and id.
    pub seed: u64,
    /// Time of the first block, in milliseconds since 1970.
    pub time_ms: u64,
    /// Between blocks, in milliseconds.
    pub interval_ms: u64,
    /// Parameters.
    pub params: Params,
    /// The router's function, as `name(type,...)` with the payee and amount first.
    pub router: String,
}

/// The chain.
#[derive(Debug)]
pub struct Ledger {
    /// Between blocks, in milliseconds.
    pub interval_ms: u64,
    /// More blocks before one is final than usual.
    pub solid_lag: u64,
    /// Blocks take no transactions while set.
    pub hold: bool,
    faucet: SigningKey,
    blocks: Vec<Block>,
    /// State after the newest block, with the pool executed on it, and after the final block.
    head: State,
    pending: State,
    solid: State,
    solid_number: u64,
    pool: Vec<(Transaction, u64)>,
    places: HashMap<[u8; 32], (u64, usize)>,
    salt: u64,
    stamp: u64,
}

/// A key made from the seed.
fn derived(seed: u64, name: &str) -> SigningKey {
    let mut bytes = keccak(format!("{seed}/{name}").as_bytes());
    loop {
        if let Ok(key) = SigningKey::from_slice(&bytes) {
            return key;
        }
        bytes = keccak(&bytes);
    }
}

impl Ledger {
    /// A chain with one block, the faucet, the token, the router and 27 representatives.
    pub fn new(genesis: &Genesis) -> Self {
        let faucet = derived(genesis.seed, "faucet");
        let owner = Address::of_signer(&faucet);
        let contract =
            Account { contract: true, created_ms: genesis.time_ms, ..Account::default() };
        let token = Address::of_signer(&derived(genesis.seed, "token"));
        let router = Address::of_signer(&derived(genesis.seed, "router"));
        let mut accounts = BTreeMap::new();
        let rich = Account { balance: FAUCET, created_ms: genesis.time_ms, ..Account::default() };
        accounts.insert(owner, rich);
        accounts.insert(token, contract.clone());
        accounts.insert(router, contract);
        for number in 0..27 {
            let witness = Address::of_signer(&derived(genesis.seed, &format!("witness/{number}")));
            let account = Account {
                witness: true,
                created_ms: genesis.time_ms,
                balance: account::TRX,
                ..Account::default()
            };
            accounts.insert(witness, account);
        }
        let state = State {
            params: genesis.params.clone(),
            accounts,
            token: Token::new(token, owner, FAUCET.unsigned_abs().into()),
            router: (router, selector(&genesis.router)),
        };
        let mut id = sha256(&genesis.seed.to_be_bytes());
        id[..8].fill(0);
        let first = Block {
            number: 0,
            id,
            parent: [0; 32],
            time_ms: genesis.time_ms,
            transactions: Vec::new(),
        };
        Self {
            interval_ms: genesis.interval_ms,
            solid_lag: 0,
            hold: false,
            faucet,
            blocks: vec![first],
            head: state.clone(),
            pending: state.clone(),
            solid: state,
            solid_number: 0,
            pool: Vec::new(),
            places: HashMap::new(),
            salt: 0,
            stamp: 0,
        }
    }

    /// The newest block.
    pub fn head_block(&self) -> &Block {
        // There is always the first one.
        &self.blocks[self.blocks.len() - 1]
    }

    /// The newest final block.
    pub fn solid_block(&self) -> &Block {
        self.block(self.solid_number).unwrap_or_else(|| self.head_block())
    }

    /// A block by its number.
    pub fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    /// The state after the newest block, or after the newest final one.
    pub fn state(&self, solid: bool) -> &State {
        if solid { &self.solid } else { &self.head }
    }

    /// The state with everything in the pool executed.
    pub fn pending(&self) -> &State {
        &self.pending
    }

    /// Changes all states at once; for controls, not for transactions.
    pub fn force(&mut self, change: impl Fn(&mut State)) {
        for state in [&mut self.head, &mut self.pending, &mut self.solid] {
            change(state);
        }
    }

    /// Address of the account tests are paid from.
    pub fn faucet(&self) -> Address {
        Address::of_signer(&self.faucet)
    }

    /// A transaction in a block, with its effect.
    pub fn find(&self, id: &[u8; 32], solid: bool) -> Option<(&Block, &Transaction, &Effect)> {
        let (number, index) = *self.places.get(id)?;
        if solid && number > self.solid_number {
            return None;
        }
        let block = self.block(number)?;
        let (tx, effect) = block.transactions.get(index)?;
        Some((block, tx, effect))
    }

    /// Transactions no block holds yet.
    pub fn pool(&self) -> impl Iterator<Item = &Transaction> {
        self.pool.iter().map(|(tx, _)| tx)
    }

    /// Reference and times for a new transaction, on the newest final block as the node does.
    pub fn reference(&self, now_ms: u64) -> serde_json::Value {
        let id = self.solid_block().id;
        serde_json::json!({
            "ref_block_bytes": crate::hex::encode(&id[6..8]),
            "ref_block_hash": crate::hex::encode(&id[8..16]),
            "expiration": self.head_block().time_ms + 60_000,
            "timestamp": now_ms,
        })
    }

    /// Takes a transaction into the pool, or says why not, as `broadcast*` does.
    pub fn broadcast(&mut self, tx: Transaction, now_ms: u64) -> Result<(), Rejected> {
        if tx.size() > TRANSACTION_BYTES_MAX {
            return reject("TOO_BIG_TRANSACTION_ERROR", "Transaction size is too big.");
        }
        let id = tx.id();
        if self.places.contains_key(&id) || self.pool.iter().any(|(known, _)| known.id() == id) {
            return reject("DUP_TRANSACTION_ERROR", "Dup transaction.");
        }
        if self.pool.len() >= POOL_MAX {
            return reject("SERVER_BUSY", "Server busy.");
        }
        self.check_time(&tx)?;
        self.check_reference(&tx)?;
        if let Err(text) = permission::check(&self.pending, &tx) {
            return reject("SIGERROR", format!("Validate signature error: {text}"));
        }
        match self.pending.apply(&tx, self.head_block().time_ms + self.interval_ms) {
            Ok(_) => {
                self.pool.push((tx, now_ms));
                Ok(())
            }
            Err(refused @ Refused::Resource) => reject("BANDWITH_ERROR", refused.to_string()),
            Err(refused) => reject("CONTRACT_VALIDATE_ERROR", refused.to_string()),
        }
    }

    fn check_time(&self, tx: &Transaction) -> Result<(), Rejected> {
        let head = self.head_block().time_ms;
        let expiration = u64::try_from(int(&tx.head, "expiration")).unwrap_or(0);
        if expiration <= head
            || expiration > head + EXPIRATION_AHEAD_MS
            || expiration < head + self.interval_ms
        {
            return reject("TRANSACTION_EXPIRATION_ERROR", "Transaction expired");
        }
        Ok(())
    }

    fn check_reference(&self, tx: &Transaction) -> Result<(), Rejected> {
        let low = bytes(&tx.head, "ref_block_bytes");
        let hash = bytes(&tx.head, "ref_block_hash");
        let newest = self.head_block().number;
        let found = <[u8; 2]>::try_from(low.as_slice()).ok().and_then(|low| {
            let low = u64::from(u16::from_be_bytes(low));
            let back = (newest % REFERENCE_WINDOW + REFERENCE_WINDOW - low) % REFERENCE_WINDOW;
            self.block(newest.checked_sub(back)?)
        });
        match found {
            Some(block) if block.id[8..16] == *hash => Ok(()),
            _ => reject("TAPOS_ERROR", "Tapos check error."),
        }
    }

    /// Makes the next block at `now_ms`, moves what is final, and forgets what waited too long.
    pub fn make_block(&mut self, now_ms: u64) {
        let parent = self.head_block();
        let (number, parent, time_ms) =
            (parent.number + 1, parent.id, now_ms.max(parent.time_ms + 1));
        let mut transactions = Vec::new();
        if !self.hold {
            let most = self.pool.len().min(BLOCK_TRANSACTIONS_MAX);
            for (tx, _) in self.pool.drain(..most) {
                let expired = u64::try_from(int(&tx.head, "expiration")).unwrap_or(0) <= time_ms;
                if !expired && let Ok(effect) = self.head.apply(&tx, time_ms) {
                    self.places.insert(tx.id(), (number, transactions.len()));
                    transactions.push((tx, effect));
                }
            }
        }
        let mut hashed =
            [parent.as_slice(), &time_ms.to_be_bytes(), &self.salt.to_be_bytes()].concat();
        for (tx, _) in &transactions {
            hashed.extend_from_slice(&tx.id());
        }
        let mut id = sha256(&hashed);
        id[..8].copy_from_slice(&number.to_be_bytes());
        self.blocks.push(Block { number, id, parent, time_ms, transactions });
        self.pool.retain(|(tx, since)| {
            let expiration = u64::try_from(int(&tx.head, "expiration")).unwrap_or(0);
            now_ms < since.saturating_add(POOL_MS) && expiration > time_ms
        });
        self.replay_pool(time_ms);
        let solid = number.saturating_sub(SOLID_AFTER + self.solid_lag);
        while self.solid_number < solid {
            self.solid_number += 1;
            let block = usize::try_from(self.solid_number).ok().and_then(|n| self.blocks.get(n));
            let Some(block) = block else { break };
            for (tx, _) in &block.transactions {
                // What a block holds was executed once on the same state.
                let _ = self.solid.apply(tx, block.time_ms);
            }
        }
    }

    fn replay_pool(&mut self, time_ms: u64) {
        self.pending = self.head.clone();
        let pending = &mut self.pending;
        self.pool.retain(|(tx, _)| pending.apply(tx, time_ms).is_ok());
    }

    /// Another branch wins: the newest `depth` blocks that are not final are replaced by one more
    /// empty ones. What they held goes back to the pool, or is lost. Gives how many were replaced.
    pub fn fork(&mut self, depth: u64, lose: bool, now_ms: u64) -> u64 {
        let depth = depth.min(self.head_block().number - self.solid_number);
        let keep = self.head_block().number - depth;
        let mut orphans = Vec::new();
        let mut times = Vec::new();
        while self.head_block().number > keep {
            let Some(block) = self.blocks.pop() else { break };
            times.push(block.time_ms);
            for (tx, _) in block.transactions.into_iter().rev() {
                self.places.remove(&tx.id());
                orphans.push((tx, now_ms));
            }
        }
        self.head = self.solid.clone();
        let first = usize::try_from(self.solid_number + 1).unwrap_or(usize::MAX);
        for block in self.blocks.get(first..).unwrap_or_default() {
            for (tx, _) in &block.transactions {
                let _ = self.head.apply(tx, block.time_ms);
            }
        }
        self.salt += 1;
        let hold = std::mem::replace(&mut self.hold, true);
        for time_ms in times.into_iter().rev().chain([now_ms]) {
            self.make_block(time_ms);
        }
        self.hold = hold;
        if !lose {
            orphans.reverse();
            orphans.append(&mut self.pool);
            self.pool = orphans;
        }
        self.replay_pool(now_ms);
        depth
    }

    /// Forgets the pool, as a node that is restarted does. Gives how many were in it.
    pub fn drop_pool(&mut self) -> usize {
        let dropped = self.pool.len();
        self.pool.clear();
        self.pending = self.head.clone();
        dropped
    }

    /// Sends TRX and tokens from the faucet; gives the ids of the transactions.
    pub fn give(
        &mut self,
        to: Address,
        sun: i64,
        micro: u64,
        now_ms: u64,
    ) -> Result<Vec<[u8; 32]>, Rejected> {
        let mut ids = Vec::new();
        let from = self.faucet().hex();
        if sun > 0 {
            let call = serde_json::json!({
                "owner_address": from, "to_address": to.hex(), "amount": sun,
            });
            ids.push(self.pay("TransferContract", &call, now_ms)?);
        }
        if micro > 0 {
            let mut data = selector("transfer(address,uint256)").to_vec();
            data.extend_from_slice(&[0; 12]);
            data.extend_from_slice(to.evm());
            data.extend_from_slice(&[0; 24]);
            data.extend_from_slice(&micro.to_be_bytes());
            let call = serde_json::json!({
                "owner_address": from,
                "contract_address": self.head.token.address.hex(),
                "data": crate::hex::encode(&data),
            });
            ids.push(self.pay("TriggerSmartContract", &call, now_ms)?);
        }
        Ok(ids)
    }

    fn pay(
        &mut self,
        name: &str,
        call: &serde_json::Value,
        now_ms: u64,
    ) -> Result<[u8; 32], Rejected> {
        let other = |message: &str| Rejected { code: "OTHER_ERROR", message: message.to_owned() };
        let contract = crate::schema::CONTRACTS.iter().find(|contract| contract.name == name);
        let contract = contract.ok_or_else(|| other("no such contract"))?;
        let mut head = self.reference(now_ms);
        // Equal gifts in one millisecond must not be one transaction.
        self.stamp = (self.stamp + 1).max(now_ms);
        head["timestamp"] = self.stamp.into();
        head["fee_limit"] = self.head.params.max_fee_limit.into();
        let mut tx = Transaction::build(contract, call, head).map_err(|text| other(&text))?;
        let key = self.faucet.clone();
        tx.sign(&key);
        let id = tx.id();
        self.broadcast(tx, now_ms)?;
        Ok(id)
    }
}
