//! Carries effects out: asks nodes, signs, writes the journal. It decides nothing.
//!
//! One driver owns the journal and does one thing after another, so reading a balance, reserving
//! and signing cannot interleave. Dropping its future at any await loses nothing: the next round
//! starts from the book.

use super::book::Book;
use super::engine::Engine;
use super::event::{Effect, Event, Refusal, View};
use super::policy::Policy;
use super::record::{self, Entry};
use super::rules::{Look, Rules};
use super::types::{Millis, PayoutId, TxId};
use super::wallet::{Order, Wallet};
use crate::journal::{Journal, JournalError, Medium, Opened};
use crate::ledger::Ledger;
use crate::node::{Answer, Block, NodeError, TronNode};
use std::collections::{BTreeSet, VecDeque};

/// Nodes that must agree on how a transaction ended, where so many are configured.
pub const WITNESSES: usize = 2;

/// Payouts that are tried in one round although none of them can be signed; others follow in the
/// next round. Each costs questions to the nodes.
pub const FRUITLESS_MAX: u32 = 5;

/// Why an event was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The event is refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The journal did not take it; nothing was accepted.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The payment process without its sockets.
pub struct Driver<R, M, N, W> {
    /// The decisions and the book.
    pub engine: Engine<R>,
    /// The ledger over the same records.
    pub ledger: Ledger,
    journal: Journal<M>,
    nodes: Vec<N>,
    wallet: W,
    /// Payouts that could not be signed in this pass, so that they keep no other from being paid.
    passed: BTreeSet<PayoutId>,
    /// How many in a row that was.
    fruitless: u32,
}

impl<R: Rules, M: Medium, N: TronNode, W: Wallet> Driver<R, M, N, W> {
    /// Reads the journal and stands where it ends.
    ///
    /// # Errors
    /// When the journal is damaged.
    pub fn open(
        medium: M,
        policy: Policy,
        nodes: Vec<N>,
        wallet: W,
    ) -> Result<(Self, Opened), JournalError> {
        let mut book = Book::default();
        let mut ledger = Ledger::default();
        let (journal, opened) = Journal::open(medium, |frame, payload| {
            let entries =
                record::decode(payload).map_err(|source| JournalError::Record { frame, source })?;
            for entry in entries {
                ledger.apply(&entry);
                book.apply(entry);
            }
            Ok(())
        })?;
        let engine = Engine::new(policy, book);
        let (passed, fruitless) = (BTreeSet::new(), 0);
        Ok((Self { engine, ledger, journal, nodes, wallet, passed, fruitless }, opened))
    }

    /// Carries out an event of a person or program: requests, approvals. No node is asked.
    ///
    /// # Errors
    /// [`DriverError::Refused`], or the journal's; nothing was accepted then.
    pub fn accept(&mut self, event: Event, now: Millis) -> Result<(), DriverError> {
        let effects = self.engine.step(event, now)?;
        let entries = effects.into_iter().filter_map(|effect| match effect {
            Effect::Append(entry) => Some(*entry),
            Effect::Broadcast(_) | Effect::Sign(_) => None,
        });
        Ok(self.append(entries.collect())?)
    }

    fn append(&mut self, entries: Vec<Entry>) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.journal.append(&record::encode(&entries))?;
        self.apply(entries);
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.ledger.apply(&entry);
            self.engine.book.apply(entry);
        }
    }

    /// One round: looks at every live transaction, sends again what may be sent, signs what is due.
    /// `clock` gives this machine's time.
    ///
    /// # Errors
    /// Of the journal. Nodes that do not answer are no error; the payouts say that they wait.
    pub async fn round(&mut self, clock: impl Fn() -> Millis) -> Result<(), JournalError> {
        for txid in self.engine.book.under_way() {
            self.settle(txid, &clock).await?;
        }
        // Each pass signs one payout, until none is due.
        for _ in 0..self.engine.policy.live_max {
            if !self.pay(&clock).await? {
                break;
            }
        }
        Ok(())
    }

    /// Looks at one live transaction, and sends it again if it may be sent.
    ///
    /// # Errors
    /// Of the journal.
    pub async fn settle(
        &mut self,
        txid: TxId,
        clock: &impl Fn() -> Millis,
    ) -> Result<(), JournalError> {
        let event = self.look(txid).await;
        self.run(event, clock).await
    }

    /// Signs and sends the next payout that is due, or finds that it cannot be signed; whether
    /// another one may be due.
    ///
    /// # Errors
    /// Of the journal.
    pub async fn pay(&mut self, clock: &impl Fn() -> Millis) -> Result<bool, JournalError> {
        if self.engine.book.waiting.is_empty() {
            return Ok(false);
        }
        let (live, passed) = (self.engine.book.live.len(), self.passed.len());
        let event = match self.view().await {
            Ok(view) => Event::Ready(view),
            Err(why) => Event::NotReady(format!("no node to sign by: {why}")),
        };
        self.run(event, clock).await?;
        if self.engine.book.live.len() > live {
            self.fruitless = 0;
            return Ok(true);
        }
        if self.passed.len() > passed {
            self.fruitless += 1;
            if self.fruitless < FRUITLESS_MAX {
                return Ok(true);
            }
        } else {
            // All were tried, and the next round begins with the first again.
            self.passed.clear();
        }
        self.fruitless = 0;
        Ok(false)
    }

    async fn run(&mut self, event: Event, clock: &impl Fn() -> Millis) -> Result<(), JournalError> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            if let Event::Unsigned { order, .. } = &event {
                self.passed.extend(order.shares.iter().map(|share| share.payout));
            }
            // The driver's own events are never refused.
            let effects = self.engine.step(event, clock()).unwrap_or_default();
            let mut entries = Vec::new();
            let mut others = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Append(entry) => entries.push(*entry),
                    other => others.push(other),
                }
            }
            if R::JOURNAL_FIRST {
                self.append(entries)?;
                for effect in others {
                    events.extend(self.perform(effect).await);
                }
            } else {
                self.apply(entries.clone());
                for effect in others {
                    events.extend(self.perform(effect).await);
                }
                if !entries.is_empty() {
                    self.journal.append(&record::encode(&entries))?;
                }
            }
        }
        Ok(())
    }

    async fn perform(&self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Append(_) => None,
            Effect::Broadcast(txid) => {
                let bytes = self.engine.book.bytes(&txid)?.to_vec();
                let mut answer = Answer::Unclear("no node is configured".into());
                for node in &self.nodes {
                    answer = match node.broadcast(&bytes).await {
                        Ok(answer) => answer,
                        Err(error) => Answer::Unclear(error.to_string()),
                    };
                    if matches!(answer, Answer::Accepted | Answer::Duplicate) {
                        break;
                    }
                }
                Some(Event::Answered { txid, answer })
            }
            Effect::Sign(order) => Some(self.sign(*order).await),
        }
    }

    async fn sign(&self, mut order: Order) -> Event {
        let mut cause = "no node is configured".to_owned();
        let live = self.engine.book.live.values();
        let before = live.filter(|live| live.seen.is_none()).count();
        let before = u64::try_from(before).unwrap_or(u64::MAX);
        for node in &self.nodes {
            match node.fee_limit(order.from, order.contract, &order.call, before).await {
                Ok(Ok(fee_limit)) => {
                    order.fee_limit = fee_limit;
                    return match self.wallet.sign(&order) {
                        Ok(signed) => Event::Signed { order, signed },
                        Err(error) => Event::Unsigned { order, cause: error.to_string() },
                    };
                }
                Ok(Err(why)) => cause = format!("the transfer would fail: {why}"),
                Err(error) => cause = format!("the cost cannot be estimated: {error}"),
            }
        }
        Event::Unsigned { order, cause }
    }

    /// What all nodes show of a transaction.
    async fn look(&self, txid: TxId) -> Event {
        let needed = self.nodes.len().clamp(1, WITNESSES);
        let Some(life) = self.engine.book.life(&txid) else {
            return Event::Looked {
                txid,
                looks: Vec::new(),
                needed,
                sighted: None,
                head_time: None,
            };
        };
        let reference = life.reference;
        let mut looks = Vec::new();
        let (mut sighted, mut head_time) = (None, None);
        for node in &self.nodes {
            if let Ok(look) = look_at(node, txid, reference).await {
                looks.push(look);
            }
            if sighted.is_none() {
                sighted = node.sighted(txid).await.ok().flatten();
            }
            if let Ok(head) = node.head().await {
                head_time = head_time.max(Some(head.time));
            }
        }
        Event::Looked { txid, looks, needed, sighted, head_time }
    }

    /// A view that enough nodes share: the lowest solid block, which each of them has, and the
    /// lowest balance.
    async fn view(&self) -> Result<View, String> {
        let needed = self.nodes.len().clamp(1, WITNESSES);
        let policy = &self.engine.policy;
        let mut answers: Vec<(usize, View)> = Vec::new();
        let mut why = "none is configured".to_owned();
        for (index, node) in self.nodes.iter().enumerate() {
            let view = async {
                let head: Block = node.head().await?;
                let solid = node.solid().await?;
                let balance = node.balance(policy.account, policy.token).await?;
                let passed = self.passed.clone();
                Ok::<_, NodeError>(View { head_time: head.time, solid, balance, passed })
            };
            match view.await {
                Ok(view) => answers.push((index, view)),
                Err(error) => why = error.to_string(),
            }
        }
        if answers.len() < needed {
            return Err(format!("{} of {needed} answered; {why}", answers.len()));
        }
        let Some((_, lowest)) = answers.iter().min_by_key(|(_, view)| view.solid.number) else {
            return Err(why);
        };
        let mut view = lowest.clone();
        for (index, other) in &answers {
            if self.nodes[*index].solid_id(view.solid.number).await != Ok(Some(view.solid.id)) {
                return Err("the nodes disagree on a solidified block".into());
            }
            view.head_time = view.head_time.max(other.head_time);
            view.balance = view.balance.min(other.balance);
        }
        Ok(view)
    }
}

async fn look_at<N: TronNode>(node: &N, txid: TxId, reference: u64) -> Result<Look, NodeError> {
    let solid = node.solid().await?;
    let reference = node.solid_id(reference).await?;
    let receipt = node.receipt(txid).await?;
    Ok(Look { solid, reference, receipt })
}
