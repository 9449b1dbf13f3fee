//! What nodes did for the chain becomes requests to pay them: the one place where rewards turn into
//! payouts. The chain knows credits and no money, the payment process payouts and no blocks.
//!
//! Credits are settled in spans of whole hours of chain time, once a span is over. What each node
//! did in it stands in the ledger's state, so every device that keeps the chain counts the same.
//! Each reward is written down before it is handed over, and handed over under a key that follows
//! from chain, node and span: asked any number of times, over restarts of either process, it is one
//! reward. The payment process gathers the rewards of a payee until they reach its smallest payout.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lucid_chain::ledger::{Counts, Ledger};
use lucid_chain_node::{Node, NodeError};
use lucid_evidence::{Hash, PublicKey};
use lucid_pay_api::{
    AMOUNT_MAX, Client, ClientError, MicroUsdt, Payout, PayoutKind, PayoutRequest, RewardBasis,
    route,
};
use lucid_store::{Batch, Store, StoreError};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::http::App;
use crate::supervisor::Reporter;

/// How often the chain is looked at, and what waits is handed over.
const EVERY: Duration = Duration::from_secs(60);
/// Rewards handed over in one round; the payment process takes 100 requests a minute from us all.
const HAND_OVER_MAX: usize = 40;
/// Rewards the API lists, newest first.
pub const LISTED_MAX: usize = 500;
/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// An hour, microseconds.
pub const HOUR_US: u64 = 3_600_000_000;
const VERSION: u32 = 1;
const PREFIX: &str = "daemon/settle/";
/// The same keys again for rewards that are no payouts yet, so that years of others are not read.
const WAITING: &str = "daemon/settle-waiting/";
const KEY_CONTEXT: &str = "lucid 2026-11 reward idempotency key v1";

/// What is paid to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Paid for one credit; 0 is off.
    pub rate_micro: u64,
    /// Hours of one span.
    pub span_hours: u64,
    /// Payees' addresses by the keys of their nodes, 64 hexadecimal digits.
    pub payees: BTreeMap<String, String>,
}

/// Why rewards cannot be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A record that does not read.
    #[error("the reward {key} is damaged")]
    Damaged {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The clock or a task of the machine.
    #[error("settling was cut short")]
    Task(#[from] tokio::task::JoinError),
}

/// Hours of chain time, the first and one past the last, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first hour.
    pub from_hour: u64,
    /// The first hour after it.
    pub to_hour: u64,
}

/// What one node earned in one span, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reward {
    v: u32,
    /// The chain's genesis hash, hexadecimal.
    pub chain: String,
    /// The node's key, hexadecimal.
    pub node: String,
    /// The span.
    pub from_hour: u64,
    /// The first hour after it.
    pub to_hour: u64,
    /// First block of the span.
    pub from_height: u64,
    /// Last block of the span.
    pub to_height: u64,
    /// Blocks it was to sign.
    pub expected: u64,
    /// Blocks it signed.
    pub signed: u64,
    /// Blocks it proposed.
    pub proposed: u64,
    /// Turns it missed.
    pub missed: u64,
    /// Its credits.
    pub credits: u64,
    /// Paid for one credit, micro-USDT.
    pub rate_micro: u64,
    /// What was asked of the payment process, exactly; it is asked again with the same words until
    /// there is an answer.
    pub request: Option<PayoutRequest>,
    /// The payout it became.
    pub payout: Option<String>,
    /// Why it is not a payout yet.
    pub waits: Option<String>,
}

impl Settings {
    /// Whether rewards are settled here.
    pub fn on(&self) -> bool {
        self.rate_micro > 0
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate_micro: 0, span_hours: 24, payees: BTreeMap::new() }
    }
}

/// The spans that are over and wholly in the ledger's window, oldest first.
fn spans(ledger: &Ledger, hours: u64) -> Vec<Span> {
    let Some((first, now)) = ledger.credit_hours() else { return Vec::new() };
    let begin = first.div_ceil(hours);
    let end = now / hours;
    (begin..end).map(|n| Span { from_hour: n * hours, to_hour: (n + 1) * hours }).collect()
}

impl Reward {
    fn new(
        chain: &Hash,
        node: &PublicKey,
        span: Span,
        heights: (u64, u64),
        counts: &Counts,
        rate_micro: u64,
    ) -> Self {
        Self {
            v: VERSION,
            chain: chain.to_string(),
            node: node.to_string(),
            from_hour: span.from_hour,
            to_hour: span.to_hour,
            from_height: heights.0,
            to_height: heights.1,
            expected: counts.expected,
            signed: counts.signed,
            proposed: counts.proposed,
            missed: counts.missed,
            credits: counts.score(),
            rate_micro,
            request: None,
            payout: None,
            waits: None,
        }
    }

    /// What it comes to, micro-USDT; none above what an amount can be.
    pub fn amount(&self) -> Option<MicroUsdt> {
        let amount = self.credits.checked_mul(self.rate_micro)?;
        (amount <= AMOUNT_MAX).then_some(MicroUsdt(amount))
    }

    /// What the evidence hash is the BLAKE3 hash of: every number the amount follows from. Each of
    /// them stands in the chain's state, which the blocks after the span commit to.
    pub fn statement(&self) -> String {
        format!(
            "lucid reward 1\nchain {}\nnode {}\nhours {} to {}\nexpected {}\nsigned {}\n\
             proposed {}\nmissed {}\ncredits {}\nrate {} micro-USDT\n",
            self.chain,
            self.node,
            self.from_hour,
            self.to_hour,
            self.expected,
            self.signed,
            self.proposed,
            self.missed,
            self.credits,
            self.rate_micro
        )
    }

    /// Of chain, node and span, and of nothing that could differ the second time.
    fn idempotency_key(&self) -> String {
        let text = format!("{} {} {} {}", self.chain, self.node, self.from_hour, self.to_hour);
        format!("reward-{}", blake3::Hash::from(blake3::derive_key(KEY_CONTEXT, text.as_bytes())))
    }

    /// The BLAKE3 hash of [`Self::statement`], hexadecimal.
    pub fn evidence_hash(&self) -> String {
        blake3::hash(self.statement().as_bytes()).to_string()
    }

    fn asking(&self, payee: &str, amount_micro: MicroUsdt) -> PayoutRequest {
        let hours = format!("hours {} to {} of chain time", self.from_hour, self.to_hour);
        PayoutRequest {
            idempotency_key: self.idempotency_key(),
            payee: payee.to_owned(),
            amount_micro,
            reason: format!("{} credits of node {}, {hours}", self.credits, &self.node[..8]),
            evidence_hash: Some(self.evidence_hash()),
            wallet: None,
            route: lucid_pay_api::Route::Direct,
            kind: PayoutKind::NodeReward,
            basis: Some(RewardBasis {
                credits: self.credits,
                rate_micro: MicroUsdt(self.rate_micro),
                from_height: self.from_height,
                to_height: self.to_height,
            }),
            kyc: None,
            requested_by: Some("settlement of credits".into()),
        }
    }

    /// Makes the request if it can be made now; else says what is missing.
    fn prepare(&mut self, payees: &BTreeMap<String, String>) {
        if self.payout.is_some() || self.request.is_some() {
            return;
        }
        match (self.amount(), payees.get(&self.node)) {
            (None, _) => self.waits = Some("its amount is larger than an amount can be".into()),
            (_, None) => {
                let node = &self.node;
                self.waits = Some(format!("`settle.payees` names no address for node {node}"));
            }
            (Some(amount), Some(payee)) => {
                self.request = Some(self.asking(payee, amount));
                self.waits = None;
            }
        }
    }

    /// Takes the answer to its request. Says whether the payment process is there.
    fn answered(&mut self, answer: Result<Payout, ClientError>) -> bool {
        match answer {
            Ok(payout) => {
                (self.payout, self.waits) = (Some(payout.id), None);
                true
            }
            Err(ClientError::Refused(problem)) if (400..500).contains(&problem.status) => {
                self.waits = Some(format!("lucid-pay refuses it: {}", problem.detail));
                // What it refuses for its words it never recorded, so the next one may be worded
                // anew, with another payee. A refusal of who asks, or how often, says nothing of
                // an earlier one whose answer was lost.
                if problem.status == 422 {
                    self.request = None;
                }
                true
            }
            // Perhaps it was recorded: the same words are sent again.
            Err(error) => {
                self.waits = Some(error.to_string());
                false
            }
        }
    }
}

/// The rewards in the index.
pub struct Rewards {
    store: Arc<dyn Store>,
}

impl Rewards {
    /// In the index of the device.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    fn span_key(chain: &str, span: Span) -> String {
        // Of equal length, so that keys stand in the order of time.
        format!("{PREFIX}{}/{:012}-{:012}/", &chain[..16], span.from_hour, span.to_hour)
    }

    fn key(reward: &Reward) -> String {
        let span = Span { from_hour: reward.from_hour, to_hour: reward.to_hour };
        format!("{}{}", Self::span_key(&reward.chain, span), reward.node)
    }

    /// Writes down what the spans that are over came to, each once.
    fn note(&self, node: &Node, settings: &Settings) -> Result<usize, SettleError> {
        let ledger = node.ledger();
        let chain = *ledger.chain();
        let mut noted = 0;
        for span in spans(&ledger, settings.span_hours) {
            let marker = Self::span_key(&chain.to_string(), span);
            if self.overlaps(&chain.to_string(), span)? {
                continue;
            }
            let Some(counts) = ledger.credits_between(span.from_hour, span.to_hour) else {
                continue;
            };
            let heights = heights(node, span)?;
            let mut batch = Batch::new();
            batch.put(marker, VERSION.to_be_bytes());
            for (key, counts) in counts.iter().filter(|(_, counts)| counts.score() > 0) {
                let rate = settings.rate_micro;
                let mut reward = Reward::new(&chain, key, span, heights, counts, rate);
                reward.prepare(&settings.payees);
                put(&mut batch, &reward)?;
                noted += 1;
            }
            self.store.apply(batch)?;
            self.store.flush()?;
        }
        Ok(noted)
    }

    /// Whether an hour of the span is in one that was settled, also one of another length: the
    /// setting may have changed.
    fn overlaps(&self, chain: &str, span: Span) -> Result<bool, SettleError> {
        let prefix = format!("{PREFIX}{}/", &chain[..16]);
        let end = format!("{prefix}{:012}", span.to_hour);
        // Spans do not overlap each other, so the last that begins before this one's end is the
        // only one that could reach into it.
        let before = self.store.scan_back(prefix.as_bytes(), end.as_bytes(), 1)?;
        let reaches = before.first().and_then(|(key, _)| {
            let key = std::str::from_utf8(key).ok()?;
            key.strip_prefix(&prefix)?.split('/').next()?.split('-').nth(1)?.parse::<u64>().ok()
        });
        Ok(reaches.is_some_and(|until| until > span.from_hour))
    }

    /// The rewards, at most so many, newest first.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn list(&self, most: usize) -> Result<Vec<Reward>, SettleError> {
        let (mut found, mut to) = (Vec::new(), after(PREFIX));
        loop {
            let page = self.store.scan_back(PREFIX.as_bytes(), &to, 256)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            to = last.clone();
            for (key, value) in page.iter().filter(|(key, _)| !key.ends_with(b"/")) {
                match read(key, value) {
                    Ok(reward) => found.push(reward),
                    // The others are listed all the same.
                    Err(error) => tracing::error!(%error, "a reward is left out"),
                }
                if found.len() == most {
                    return Ok(found);
                }
            }
        }
    }

    /// Those that are no payouts yet, oldest first, with a request where one can be made, durably.
    fn waiting(&self, settings: &Settings) -> Result<Vec<Reward>, SettleError> {
        let (mut waiting, mut from) = (Vec::new(), WAITING.as_bytes().to_vec());
        loop {
            let page = self.store.scan(&from, &after(WAITING), 256)?;
            let Some((last, _)) = page.last() else { return Ok(waiting) };
            from = [&last[..], &[0]].concat();
            for (pointer, _) in &page {
                let key = [PREFIX.as_bytes(), &pointer[WAITING.len()..]].concat();
                let Some(value) = self.store.get(&key)? else { continue };
                let mut reward = read(&key, &value)?;
                let before = reward.clone();
                reward.prepare(&settings.payees);
                if reward != before {
                    self.store(&reward)?;
                }
                waiting.push(reward);
            }
        }
    }

    fn store(&self, reward: &Reward) -> Result<(), SettleError> {
        let mut batch = Batch::new();
        put(&mut batch, reward)?;
        self.store.apply(batch)?;
        Ok(self.store.flush()?)
    }
}

fn put(batch: &mut Batch, reward: &Reward) -> Result<(), SettleError> {
    let key = Rewards::key(reward);
    let value = serde_json::to_vec(reward)
        .map_err(|source| SettleError::Damaged { key: key.clone(), source })?;
    let pointer = format!("{WAITING}{}", &key[PREFIX.len()..]);
    match reward.payout {
        None => batch.put(pointer, VERSION.to_be_bytes()),
        Some(_) => batch.delete(pointer),
    };
    batch.put(key, value);
    Ok(())
}

fn read(key: &[u8], value: &[u8]) -> Result<Reward, SettleError> {
    let reward = serde_json::from_slice(value).and_then(|reward: Reward| match reward.v {
        VERSION => Ok(reward),
        _ => Err(serde::de::Error::custom("it has an unknown version")),
    });
    reward.map_err(|source| {
        let key = String::from_utf8_lossy(key).into_owned();
        SettleError::Damaged { key, source }
    })
}

/// The first key after all that begin so; the prefix ends with a slash.
fn after(prefix: &str) -> Vec<u8> {
    format!("{}0", prefix.trim_end_matches('/')).into_bytes()
}

/// The first and last block of a span, by the blocks' times; for people, so that blocks that are
/// no longer kept may be missing at its begin.
fn heights(node: &Node, span: Span) -> Result<(u64, u64), SettleError> {
    let first_at = |time_us: u64| -> Result<u64, SettleError> {
        let (mut low, mut high) = (1, node.head().height + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let before = match node.block(middle) {
                Ok(Some(block)) => block.header.time_us < time_us,
                Ok(None) => false,
                Err(NodeError::Forgotten { .. }) => true,
                Err(error) => return Err(error.into()),
            };
            (low, high) = if before { (middle + 1, high) } else { (low, middle) };
        }
        Ok(low)
    };
    let from = first_at(span.from_hour * HOUR_US)?;
    Ok((from, first_at(span.to_hour * HOUR_US)?.saturating_sub(1).max(from)))
}

/// Settles until asked to stop.
///
/// # Errors
/// When the index or the chain cannot be read.
pub async fn run(app: App, reporter: Reporter, stop: CancellationToken) -> anyhow::Result<()> {
    let settings = app.config.settle.clone();
    let client = match app.payments.client() {
        Some(client) if settings.on() => client.clone().within(ANSWER_WITHIN),
        Some(_) => return idle(&reporter, &stop, "off: `settle.rate_micro` is 0").await,
        None => return idle(&reporter, &stop, "off: `payments.socket` is off").await,
    };
    let rewards = Arc::new(Rewards::new(app.archive.data().index()));
    loop {
        let (kept, node, wanted) = (Arc::clone(&rewards), app.node.clone(), settings.clone());
        let waiting = tokio::task::spawn_blocking(move || {
            let noted = kept.note(&node, &wanted)?;
            if noted > 0 {
                tracing::info!(rewards = noted, "a span of credits is settled");
            }
            kept.waiting(&wanted)
        });
        let waiting = waiting.await??;
        let said = hand_over(&rewards, &client, waiting).await?;
        match said {
            None => reporter.healthy(),
            Some(said) => reporter.degraded(said),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn idle(reporter: &Reporter, stop: &CancellationToken, why: &str) -> anyhow::Result<()> {
    reporter.nothing_to_do(why);
    stop.cancelled().await;
    Ok(())
}

/// Hands over what waits, oldest first; what keeps some of it waiting.
async fn hand_over(
    rewards: &Arc<Rewards>,
    client: &Client,
    waiting: Vec<Reward>,
) -> Result<Option<String>, SettleError> {
    let (mut left, mut why) = (0, None);
    let mut asked = 0;
    let mut there = true;
    for mut reward in waiting {
        let request = reward.request.clone().filter(|_| there && asked < HAND_OVER_MAX);
        if let Some(request) = request {
            asked += 1;
            there = reward.answered(client.post(route::PAYOUTS, &request).await);
            let (kept, changed) = (Arc::clone(rewards), reward.clone());
            tokio::task::spawn_blocking(move || kept.store(&changed)).await??;
        }
        if reward.payout.is_none() {
            left += 1;
            why = why.or(reward.waits);
        }
    }
    let why = why.unwrap_or_else(|| "they are handed over in the next minutes".into());
    Ok((left > 0).then(|| format!("{left} rewards wait: {why}")))
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
