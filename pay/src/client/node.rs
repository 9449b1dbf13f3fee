//! One node: what it is asked, and how it has behaved.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answers::{
    self, Account, Executed, Loan, Parameters, Resource, Resources, Seen, SignWeight,
};
use super::cover;
use super::endpoint::{Endpoint, Network};
use super::health::{Gate, Health, Outcome};
use super::http::{AskError, Transport};
use super::read;
use crate::node::{Answer, Block, NodeError, Receipt, TronNode};
use crate::payout::types::TxId;
use crate::tron::{Address, Sun, Usdt, abi, hex, sha256};
use tron_protobuf::{Message, Transaction};

/// How long the chain's parameters are taken as they were read. They change by vote, at most every
/// six hours.
const PARAMETERS_FRESH: Duration = Duration::from_secs(60);
/// Room above the estimated energy, in percent: a busy contract's factor may rise by 20 % before
/// the transfer is executed.
pub const FEE_MARGIN_PERCENT: u64 = 130;
/// Most borrowers that are read of one account.
const LOANS_MAX: usize = 1_000;

/// Which of a node's two APIs is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// `/wallet/`: the newest state.
    Full,
    /// `/walletsolidity/`: what is final.
    Solid,
}

/// What is remembered of a node.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub health: Health,
    /// What was wrong last; cleared by an answer.
    pub trouble: Option<String>,
    /// Why its answers are not believed: another network, or it contradicts the others.
    pub distrusted: Option<String>,
    /// Its first block, once it was read.
    pub genesis: Option<[u8; 32]>,
    pub head: Option<Block>,
    pub solid: Option<Block>,
    /// Its newest block against our clock when it was last looked at.
    pub skew_ms: Option<i64>,
    /// Its newest block is old.
    pub behind: bool,
    pub asked: bool,
    parameters: Option<(Instant, Parameters)>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    network: Network,
    transport: Transport,
    started: Instant,
    memory: Mutex<Memory>,
}

/// A node on HTTP. Clones are the same node with the same memory.
#[derive(Debug, Clone)]
pub struct HttpNode(Arc<Inner>);

impl HttpNode {
    /// A node that must be of `network`; nothing is asked yet.
    pub fn new(endpoint: Endpoint, network: Network, transport: Transport) -> Self {
        let started = Instant::now();
        let memory = Mutex::default();
        Self(Arc::new(Inner { endpoint, network, transport, started, memory }))
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.0.endpoint.name
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds of the clock its health is kept by.
    pub(super) fn clock_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks, once its network is known to be the right one.
    async fn ask(&self, side: Side, call: &str, body: Value) -> Result<Value, NodeError> {
        if let Some(expected) = self.0.network.genesis()
            && self.memory().genesis.is_none()
        {
            let found = self.genesis().await?;
            if found != expected {
                let why = format!(
                    "it is not of {}: its first block is {}",
                    self.0.network.name(),
                    hex::encode(&found)
                );
                self.memory().distrusted = Some(why);
            }
        }
        if let Some(why) = &self.memory().distrusted {
            return Err(NodeError::Malformed(why.clone()));
        }
        self.ask_unchecked(side, call, body).await
    }

    async fn ask_unchecked(&self, side: Side, call: &str, body: Value) -> Result<Value, NodeError> {
        let Inner { endpoint, transport, .. } = &*self.0;
        {
            let mut memory = self.memory();
            memory.asked = true;
            if let Gate::Shut { wait_ms } = memory.health.enter(self.clock_ms()) {
                let why = memory.trouble.as_deref().unwrap_or("it failed before");
                let text = format!("left alone for {} s more: {why}", wait_ms.div_ceil(1_000));
                return Err(NodeError::Unreachable(text));
            }
        }
        let (base, path) = match side {
            Side::Full => (&endpoint.full, format!("wallet/{call}")),
            Side::Solid => (&endpoint.solid, format!("walletsolidity/{call}")),
        };
        let url = base.join(&path).map_err(|_| NodeError::Malformed(format!("no call {path}")))?;
        let begun = self.clock_ms();
        let answer = transport.ask(url, endpoint.key.as_ref(), &body).await;
        let now = self.clock_ms();
        let outcome = match &answer {
            Ok(_) | Err(AskError::Refused(_) | AskError::Status(400..=499)) => {
                Outcome::Answered { latency_ms: now.saturating_sub(begun) }
            }
            Err(AskError::Limited { after_ms, shut_out, .. }) => {
                Outcome::Limited { after_ms: *after_ms, shut_out: *shut_out }
            }
            Err(_) => Outcome::Failed,
        };
        let mut jitter = [0];
        // Without randomness pauses are not spread; that is all.
        let _ = getrandom::fill(&mut jitter);
        let mut memory = self.memory();
        memory.health.report(outcome, now, jitter[0]);
        memory.trouble = answer.as_ref().err().map(|error| format!("{call}: {error}"));
        answer.map_err(|error| match error {
            AskError::Unreachable(_) | AskError::Limited { .. } | AskError::Status(500..) => {
                NodeError::Unreachable(error.to_string())
            }
            AskError::Refused(text) => NodeError::Refused(text),
            AskError::Status(_) => NodeError::Refused(error.to_string()),
            AskError::TooLong | AskError::NotJson(_) => NodeError::Malformed(error.to_string()),
        })
    }

    /// Id of its first block, which tells networks apart. Read once.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn genesis(&self) -> Result<[u8; 32], NodeError> {
        if let Some(known) = self.memory().genesis {
            return Ok(known);
        }
        let body = json!({"id_or_num": "0", "detail": false});
        let value = self.ask_unchecked(Side::Full, "getblock", body).await?;
        let block = answers::block(&value)?
            .filter(|block| block.number == 0)
            .ok_or_else(|| NodeError::Malformed("it does not show its first block".to_owned()))?;
        self.memory().genesis = Some(block.id);
        Ok(block.id)
    }

    fn newest(&self, solid: bool, value: &Value) -> Result<Block, NodeError> {
        let block = answers::block(value)?
            .ok_or_else(|| NodeError::Malformed("it shows no newest block".to_owned()))?;
        let mut memory = self.memory();
        let place = if solid { &mut memory.solid } else { &mut memory.head };
        *place = Some(block);
        Ok(block)
    }

    /// The newest block, also of a node that is not believed, for the watch to judge.
    pub(super) async fn peek(&self, solid: bool) -> Result<Block, NodeError> {
        let side = if solid { Side::Solid } else { Side::Full };
        let value = self.ask_unchecked(side, "getblock", json!({"detail": false})).await?;
        self.newest(solid, &value)
    }

    /// Id of a final block, also of a node that is not believed.
    pub(super) async fn peek_id(&self, number: u64) -> Result<Option<[u8; 32]>, NodeError> {
        let value = self.ask_unchecked(Side::Solid, "getblock", block_at(number)).await?;
        solid_block(&value, number)
    }

    /// The network it must be of.
    pub(super) fn network(&self) -> Network {
        self.0.network
    }

    /// An account, newest or final; `None` where there is none yet.
    ///
    /// # Errors
    /// When the node does not answer, or with something that is no account.
    pub async fn account(
        &self,
        address: Address,
        solid: bool,
    ) -> Result<Option<Account>, NodeError> {
        let side = if solid { Side::Solid } else { Side::Full };
        let body = json!({"address": hex::encode(&address.to_bytes())});
        Ok(answers::account(&self.ask(side, "getaccount", body).await?, address)?)
    }

    /// Energy and bandwidth of an account.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn resources(&self, address: Address) -> Result<Resources, NodeError> {
        let body = json!({"address": hex::encode(&address.to_bytes())});
        Ok(answers::resources(&self.ask(Side::Full, "getaccountresource", body).await?)?)
    }

    /// Prices and limits as they are now, at most a minute old.
    ///
    /// # Errors
    /// When the node does not answer, or not with all of them.
    pub async fn parameters(&self) -> Result<Parameters, NodeError> {
        if let Some((at, known)) = self.memory().parameters
            && at.elapsed() < PARAMETERS_FRESH
        {
            return Ok(known);
        }
        let value = self.ask(Side::Full, "getchainparameters", json!({})).await?;
        let parameters = answers::parameters(&value)?;
        self.memory().parameters = Some((Instant::now(), parameters));
        Ok(parameters)
    }

    /// Runs a call without executing it. `Err` inside when the node does not even run it.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn constant(
        &self,
        from: Address,
        contract: Address,
        data: &[u8],
        solid: bool,
    ) -> Result<Result<Seen, String>, NodeError> {
        let side = if solid { Side::Solid } else { Side::Full };
        let body = json!({
            "owner_address": hex::encode(&from.to_bytes()),
            "contract_address": hex::encode(&contract.to_bytes()),
            "data": hex::encode(data),
        });
        Ok(answers::constant(&self.ask(side, "triggerconstantcontract", body).await?)?)
    }

    /// A view function's words, or why there are none.
    ///
    /// # Errors
    /// When the node does not answer, or the call does not succeed.
    pub async fn view(
        &self,
        from: Address,
        contract: Address,
        data: &[u8],
        solid: bool,
    ) -> Result<Vec<u8>, NodeError> {
        let seen = self.constant(from, contract, data, solid).await?;
        match seen {
            Ok(Seen { output, reverted: None, .. }) => Ok(output),
            Ok(Seen { reverted: Some(why), .. }) | Err(why) => Err(NodeError::Refused(why)),
        }
    }

    /// Why an account cannot pay for a call of so much energy, and for `before` others like it. A
    /// call that runs out of energy fails on the chain and burns what was there.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn unpaid(
        &self,
        from: Address,
        contract: Address,
        data: &[u8],
        energy: u64,
        before: u64,
    ) -> Result<Option<String>, NodeError> {
        let parameters = self.parameters().await?;
        let size = cover::bandwidth(from, contract, data)
            .map_err(|error| NodeError::Refused(error.to_string()))?;
        let account = self.account(from, false).await?;
        let held = account.map_or(Sun::ZERO, |account| account.balance);
        let count = before.saturating_add(1);
        let burned = |has: &Resources| cover::burned(count, energy, size, has, &parameters);
        if burned(&Resources::default()) <= held {
            return Ok(None); // also without any stake
        }
        let needed = burned(&self.resources(from).await?);
        Ok((needed > held).then(|| {
            let others = match before {
                0 => String::new(),
                before => format!(" (with {before} that no block holds yet)"),
            };
            format!(
                "account {from} holds {held} TRX, and {needed} TRX would be burned for energy and \
                 bandwidth{others}; send it TRX, or stake for energy"
            )
        }))
    }

    /// What a transaction did, and what it cost; `None` while no block (no final block) holds it.
    ///
    /// # Errors
    /// When the node does not answer, or speaks of another transaction.
    pub async fn executed(&self, txid: TxId, solid: bool) -> Result<Option<Executed>, NodeError> {
        let side = if solid { Side::Solid } else { Side::Full };
        let body = json!({"value": hex::encode(&txid.0)});
        let found = answers::executed(&self.ask(side, "gettransactioninfobyid", body).await?)?;
        match found {
            Some(other) if other.receipt.txid != txid => {
                Err(NodeError::Malformed("its receipt is of another transaction".to_owned()))
            }
            found => Ok(found),
        }
    }

    /// What the transactions of a final block did.
    ///
    /// # Errors
    /// When the node does not answer, or speaks of another block.
    pub async fn executed_in(&self, number: u64) -> Result<Vec<Executed>, NodeError> {
        let body = json!({"num": number});
        let value = self.ask(Side::Solid, "gettransactioninfobyblocknum", body).await?;
        let list = value.as_array().ok_or(read::wrong("answer", "a list of receipts"))?;
        let mut found = Vec::with_capacity(list.len());
        for entry in list {
            match answers::executed(entry)? {
                Some(executed) if executed.receipt.block == number => found.push(executed),
                _ => return Err(read::wrong("blockNumber", "the block asked for").into()),
            }
        }
        Ok(found)
    }

    /// Reward of votes that can be claimed.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn reward(&self, address: Address) -> Result<Sun, NodeError> {
        let body = json!({"address": hex::encode(&address.to_bytes())});
        Ok(read::sun(&self.ask(Side::Full, "getReward", body).await?, "reward")?)
    }

    /// Stake that can be lent now.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn can_delegate(&self, owner: Address, of: Resource) -> Result<Sun, NodeError> {
        let body = json!({
            "owner_address": hex::encode(&owner.to_bytes()),
            "type": i32::from(of == Resource::Energy),
        });
        Ok(read::sun(&self.ask(Side::Full, "getcandelegatedmaxsize", body).await?, "max_size")?)
    }

    /// Unfreezes that may still be asked for.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn unfreezes_left(&self, owner: Address) -> Result<u64, NodeError> {
        let body = json!({"owner_address": hex::encode(&owner.to_bytes())});
        let value = self.ask(Side::Full, "getavailableunfreezecount", body).await?;
        Ok(read::count(&value, "count")?)
    }

    /// What has matured at a time, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn withdrawable(&self, owner: Address, at_ms: u64) -> Result<Sun, NodeError> {
        let body = json!({
            "owner_address": hex::encode(&owner.to_bytes()), "timestamp": at_ms,
        });
        let value = self.ask(Side::Full, "getcanwithdrawunfreezeamount", body).await?;
        Ok(read::sun(&value, "amount")?)
    }

    /// What an account lends, at most to 1,000 others.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn loans(&self, owner: Address) -> Result<Vec<Loan>, NodeError> {
        let owner = hex::encode(&owner.to_bytes());
        let body = json!({"value": owner});
        let index = self.ask(Side::Full, "getdelegatedresourceaccountindexv2", body).await?;
        let mut loans = Vec::new();
        for entry in read::list(&index, "toAccounts")?.iter().take(LOANS_MAX) {
            let to = entry.as_str().and_then(read::address_of);
            let to = to.ok_or(read::wrong("toAccounts", "a list of addresses"))?;
            let body = json!({"fromAddress": owner, "toAddress": hex::encode(&to.to_bytes())});
            let value = self.ask(Side::Full, "getdelegatedresourcev2", body).await?;
            loans.extend(answers::loans(&value)?);
        }
        Ok(loans)
    }

    /// Who has signed a transaction, and whether it is enough. `raw_data` is the transaction's JSON
    /// form with hexadecimal addresses.
    ///
    /// # Errors
    /// When the node does not answer, or with something else.
    pub async fn sign_weight(
        &self,
        raw_data: &Value,
        raw_data_hex: &str,
        signatures: &[Vec<u8>],
    ) -> Result<SignWeight, NodeError> {
        let signatures: Vec<String> = signatures.iter().map(|bytes| hex::encode(bytes)).collect();
        let body = json!({
            "raw_data": raw_data, "raw_data_hex": raw_data_hex, "signature": signatures,
        });
        Ok(answers::sign_weight(&self.ask(Side::Full, "getsignweight", body).await?)?)
    }
}

fn block_at(number: u64) -> Value {
    json!({"id_or_num": number.to_string(), "detail": false})
}

fn solid_block(value: &Value, number: u64) -> Result<Option<[u8; 32]>, NodeError> {
    match answers::block(value)? {
        Some(other) if other.number != number => {
            Err(NodeError::Malformed("it shows another block than asked for".to_owned()))
        }
        block => Ok(block.map(|block| block.id)),
    }
}

impl TronNode for HttpNode {
    async fn head(&self) -> Result<Block, NodeError> {
        let value = self.ask(Side::Full, "getblock", json!({"detail": false})).await?;
        self.newest(false, &value)
    }

    async fn solid(&self) -> Result<Block, NodeError> {
        let value = self.ask(Side::Solid, "getblock", json!({"detail": false})).await?;
        self.newest(true, &value)
    }

    async fn solid_id(&self, number: u64) -> Result<Option<[u8; 32]>, NodeError> {
        solid_block(&self.ask(Side::Solid, "getblock", block_at(number)).await?, number)
    }

    async fn receipt(&self, txid: TxId) -> Result<Option<Receipt>, NodeError> {
        Ok(self.executed(txid, true).await?.map(|executed| executed.receipt))
    }

    async fn sighted(&self, txid: TxId) -> Result<Option<u64>, NodeError> {
        Ok(self.executed(txid, false).await?.map(|executed| executed.receipt.block))
    }

    async fn balance(&self, owner: Address, token: Address) -> Result<Usdt, NodeError> {
        let output = self.view(owner, token, &abi::balance_of(&owner), true).await?;
        Ok(answers::amount_word(&output)?)
    }

    async fn fee_limit(
        &self,
        from: Address,
        contract: Address,
        data: &[u8],
        before: u64,
    ) -> Result<Result<u64, String>, NodeError> {
        let seen = match self.constant(from, contract, data, false).await? {
            Ok(Seen { reverted: Some(why), .. }) | Err(why) => return Ok(Err(why)),
            Ok(seen) => seen,
        };
        let parameters = self.parameters().await?;
        if let Some(why) = self.unpaid(from, contract, data, seen.energy, before).await? {
            return Ok(Err(why));
        }
        let wanted = u128::from(seen.energy)
            * u128::from(parameters.energy_price.units())
            * u128::from(FEE_MARGIN_PERCENT);
        let wanted = u64::try_from(wanted.div_ceil(100)).unwrap_or(u64::MAX);
        Ok(match wanted <= parameters.fee_limit_max.units() {
            true => Ok(wanted),
            false => Err(format!("it needs {} energy, more than a fee limit allows", seen.energy)),
        })
    }

    async fn broadcast(&self, signed: &[u8]) -> Result<Answer, NodeError> {
        let raw = Transaction::decode(signed).ok().and_then(|signed| signed.raw_data);
        let raw = raw.ok_or_else(|| NodeError::Malformed("what is sent is nothing".to_owned()))?;
        let txid = sha256(&raw.encode_to_vec());
        let body = json!({"transaction": hex::encode(signed)});
        match self.ask(Side::Full, "broadcasthex", body).await {
            Ok(value) => Ok(answers::broadcast(&value, &txid)),
            // An exception after the push to the pool looks the same as one before it.
            Err(NodeError::Refused(text)) => Ok(Answer::Unclear(text)),
            Err(error) => Err(error),
        }
    }
}
