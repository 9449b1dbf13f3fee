//! The decisions: `step(event, now) -> effects`, pure.

use super::book::{Book, DAY, State};
use super::kyc::Approval;
use super::policy::Policy;
use super::record::{Attempt, Entry, Record, Share};
use super::rules::{Look, Outcome, Rules};
use super::types::{
    Address, KEY_BYTES_MAX, Millis, NAME_BYTES_MAX, PayoutId, REASON_BYTES_MAX, Request, Route,
    TxId, Usdt,
};
use super::wallet::{Order, Signed};
use crate::chain::known;
use crate::node::{Answer, Block};
use crate::tron::abi;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

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
}

/// What is to be done, in order. What follows an append waits until it is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write the record, then apply it.
    Append(Entry),
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
    /// The approval is not the compliance key's or is over.
    #[error("the KYC approval is refused: {0}")]
    Kyc(&'static str),
}

/// Decides by a policy, a book and rules.
#[derive(Debug)]
pub struct Engine<R> {
    /// The operator's rules.
    pub policy: Policy,
    /// What the records add up to.
    pub book: Book,
    rules: PhantomData<R>,
}

impl<R: Rules> Engine<R> {
    /// An engine over what the journal held.
    pub fn new(policy: Policy, book: Book) -> Self {
        Self { policy, book, rules: PhantomData }
    }

    /// Decides. Changes nothing: the driver applies the appended records once they are durable.
    ///
    /// # Errors
    /// A [`Refusal`] for whoever sent the event.
    pub fn step(&self, event: Event, now: Millis) -> Result<Vec<Effect>, Refusal> {
        let append = |record| Effect::Append(Entry { at: now, record });
        let one = |record| Ok(vec![append(record)]);
        match event {
            Event::Requests { batch, requests } => self.requests(batch, requests, now),
            Event::Approve { payout: id, by } => {
                check_text("name", &by, NAME_BYTES_MAX)?;
                let payout = self.book.payouts.get(&id).ok_or(Refusal::Unknown(id))?;
                if payout.approved_by.is_some() {
                    return Ok(Vec::new());
                }
                if payout.request.requested_by == by {
                    return Err(Refusal::SamePerson(by));
                }
                if !payout.second || !self.waits(&id) {
                    return Err(refuse(id, payout.state(), "it needs no approval"));
                }
                one(Record::Approved { payout: id, by })
            }
            Event::Cancel { payout: id, by, cause } => {
                check_text("name", &by, NAME_BYTES_MAX)?;
                check_text("cause", &cause, REASON_BYTES_MAX)?;
                let payout = self.book.payouts.get(&id).ok_or(Refusal::Unknown(id))?;
                if !self.waits(&id) {
                    let why = "only what has no live transaction and is not over can be cancelled";
                    return Err(refuse(id, payout.state(), why));
                }
                one(Record::Cancelled { payout: id, by, cause })
            }
            Event::Retry { payout: id, by } => {
                check_text("name", &by, NAME_BYTES_MAX)?;
                let payout = self.book.payouts.get(&id).ok_or(Refusal::Unknown(id))?;
                if payout.state() != State::Failed || payout.moved > Usdt::ZERO || payout.cancelled
                {
                    let why =
                        "only what failed without moving anything, uncancelled, can be tried again";
                    return Err(refuse(id, payout.state(), why));
                }
                one(Record::Retried { payout: id, by })
            }
            Event::Kyc(approval) => {
                let key = self.policy.compliance.ok_or(Refusal::Route("KYC-gated"))?;
                if approval.expires <= now {
                    return Err(Refusal::Kyc("it has expired"));
                }
                if !approval.signed_by(&key) {
                    return Err(Refusal::Kyc("the compliance key did not sign it"));
                }
                let Approval { payee, kyc, expires, .. } = approval;
                one(Record::Kyc { payee, kyc, expires })
            }
            Event::Funded { amount, txid } => one(Record::Funded { amount, txid }),
            Event::Looked { txid, looks, needed, sighted, head_time } => {
                Ok(self.looked(txid, &looks, needed, sighted, head_time, now))
            }
            Event::Answered { txid, answer } => Ok(self.answered(txid, answer, now)),
            Event::Ready(view) => Ok(self.next(&view, now)),
            Event::NotReady(cause) => Ok(self.hold_all(&cause, now)),
            Event::Signed { order, signed } => {
                let fits = order.shares.iter().all(|share| self.waits(&share.payout));
                if !fits || self.book.knows(&signed.txid) {
                    return Ok(Vec::new());
                }
                let Order { shares, from, to, token, net, .. } = order;
                let Signed { txid, bytes } = signed;
                let attempt = Attempt {
                    txid,
                    bytes,
                    shares,
                    from,
                    to,
                    token,
                    net,
                    timestamp: order.timestamp,
                    expiration: order.expiration,
                    reference: order.reference,
                    reference_id: order.reference_id,
                    fee_limit: order.fee_limit,
                };
                Ok(vec![append(Record::Signed(attempt)), Effect::Broadcast(txid)])
            }
            Event::Unsigned { order, cause } => {
                let ids = order.shares.iter().map(|share| share.payout);
                Ok(ids.filter_map(|id| self.hold(id, cause.clone(), now)).collect())
            }
        }
    }

    fn waits(&self, id: &PayoutId) -> bool {
        self.book.payouts.get(id).is_some_and(|payout| {
            matches!(
                payout.state(),
                State::Requested | State::Held | State::Approved | State::Expired
            )
        })
    }

    fn requests(
        &self,
        batch: Option<String>,
        requests: Vec<Request>,
        now: Millis,
    ) -> Result<Vec<Effect>, Refusal> {
        if requests.is_empty() || requests.len() > BATCH_MAX {
            return Err(Refusal::Batch(requests.len()));
        }
        if let Some(batch) = &batch {
            check_text("batch", batch, NAME_BYTES_MAX)?;
        }
        let mut new = BTreeSet::new();
        let mut keys: BTreeMap<String, PayoutId> = BTreeMap::new();
        let mut effects = Vec::new();
        for request in requests {
            let id = request.id();
            if let Some(key) = &request.key {
                check_text("idempotency key", key, KEY_BYTES_MAX)?;
                let used = self.book.keyed(key).or_else(|| keys.get(key).copied());
                if let Some(other) = used.filter(|used| *used != id) {
                    return Err(Refusal::KeyReused(other));
                }
                keys.insert(key.clone(), id);
            }
            if self.book.payouts.contains_key(&id) || !new.insert(id) {
                continue; // asked before: the same payout
            }
            self.check(&request)?;
            let second = request.amount > self.policy.second_person_above;
            let record = Record::Requested { request, batch: batch.clone(), second };
            effects.push(Effect::Append(Entry { at: now, record }));
        }
        Ok(effects)
    }

    /// Whether a request would be accepted.
    ///
    /// # Errors
    /// The [`Refusal`] it would meet.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        let policy = &self.policy;
        let amount = request.amount;
        check_text("reason", &request.reason, REASON_BYTES_MAX)?;
        check_text("name", &request.requested_by, NAME_BYTES_MAX)?;
        let minimum = if request.credits.is_some() { Usdt::UNIT } else { policy.minimum };
        if amount < minimum {
            return Err(Refusal::TooSmall { amount, minimum });
        }
        for (limit, maximum) in [
            ("maximum", policy.maximum),
            ("daily limit", policy.daily),
            ("daily limit of a payee", policy.daily_per_payee),
        ] {
            if amount > maximum {
                return Err(Refusal::TooLarge { amount, limit, maximum });
            }
        }
        if request.credits.is_none() && amount <= policy.fee {
            return Err(Refusal::OnlyFee { amount, fee: policy.fee });
        }
        if let Some(credits) = &request.credits
            && credits.credits.checked_mul(credits.rate.units()) != Some(amount.units())
        {
            let (credits, rate) = (credits.credits, credits.rate);
            return Err(Refusal::Credits { credits, rate, amount });
        }
        match request.route {
            Route::Router if policy.router.is_none() => {
                return Err(Refusal::Route("router contract"));
            }
            Route::Kyc if policy.compliance.is_none() => return Err(Refusal::Route("KYC-gated")),
            Route::Kyc | Route::Direct | Route::Router => {}
        }
        self.payee(&request.payee).map_err(|why| Refusal::Payee(request.payee, why))
    }

    fn payee(&self, payee: &Address) -> Result<(), &'static str> {
        if *payee == self.policy.account || *payee == self.policy.token {
            Err("it is the paying account or the token itself")
        } else if let Some(why) = known::refusal(*payee) {
            Err(why)
        } else if self.policy.deny.contains(payee) {
            Err("it is on the deny list")
        } else if !self.policy.allow.is_empty() && !self.policy.allow.contains(payee) {
            Err("it is not on the allow list")
        } else {
            Ok(())
        }
    }

    fn looked(
        &self,
        txid: TxId,
        looks: &[Look],
        needed: usize,
        sighted: Option<u64>,
        head_time: Option<Millis>,
        now: Millis,
    ) -> Vec<Effect> {
        let append = |record| vec![Effect::Append(Entry { at: now, record })];
        let Some(live) = self.book.live.get(&txid) else { return Vec::new() };
        match R::settled(&live.attempt, looks, needed) {
            Some(Outcome::Paid { block, burned_sun }) => {
                return append(Record::Confirmed { txid, block, burned_sun });
            }
            Some(Outcome::Failed { block, burned_sun, moved, cause }) => {
                return append(Record::Failed { txid, block, burned_sun, moved, cause });
            }
            None => {}
        }
        if let Some(block) = R::dead(&live.attempt, looks, needed, self.policy.expiry_margin) {
            return append(Record::Expired { txid, block: block.number, time: block.time });
        }
        let mut effects = Vec::new();
        if let Some(block) = sighted
            && live.seen != Some(block)
        {
            effects = append(Record::Seen { txid, block });
        }
        if sighted.is_none() && head_time.is_some_and(|time| time < live.attempt.expiration) {
            effects.push(Effect::Broadcast(txid));
        }
        effects
    }

    fn answered(&self, txid: TxId, answer: Answer, now: Millis) -> Vec<Effect> {
        let Some(live) = self.book.live.get(&txid) else { return Vec::new() };
        let (taken, words) = match answer {
            Answer::Accepted => (true, "accepted".to_owned()),
            Answer::Duplicate => (true, "the node knows it already".to_owned()),
            Answer::Refused(why) => (false, format!("refused: {why}")),
            Answer::Unclear(why) => (false, format!("unclear: {why}")),
        };
        let mut effects = Vec::new();
        // After it was once taken, further answers change nothing: it is paid, failed or expired.
        if !live.taken && live.answer.as_ref() != Some(&(taken, words.clone())) {
            let record = Record::Broadcast { txid, taken, answer: words };
            effects.push(Effect::Append(Entry { at: now, record }));
        }
        if !taken && R::refusal_ends(live.taken) {
            let record = Record::Expired { txid, block: 0, time: 0 };
            effects.push(Effect::Append(Entry { at: now, record }));
        }
        effects
    }

    fn hold(&self, id: PayoutId, cause: String, now: Millis) -> Option<Effect> {
        let payout = self.book.payouts.get(&id)?;
        if payout.state() == State::Held && payout.cause() == cause {
            return None;
        }
        let record = Record::Held { payout: id, cause };
        Some(Effect::Append(Entry { at: now, record }))
    }

    fn hold_all(&self, cause: &str, now: Millis) -> Vec<Effect> {
        let ids = self.book.waiting.values().copied();
        ids.filter(|id| !self.awaits_person(id))
            .filter_map(|id| self.hold(id, cause.to_owned(), now))
            .collect()
    }

    fn awaits_person(&self, id: &PayoutId) -> bool {
        let payout = self.book.payouts.get(id);
        payout.is_some_and(|payout| payout.second && payout.approved_by.is_none())
    }

    /// The next order, and why the others wait.
    fn next(&self, view: &View, now: Millis) -> Vec<Effect> {
        let policy = &self.policy;
        let skew = now.abs_diff(view.head_time);
        if skew > policy.skew {
            let minutes = policy.skew / 60_000;
            let cause = format!(
                "this machine's clock is more than {minutes} min from the newest block's time; \
                 set the clock or ask a synced node"
            );
            return self.hold_all(&cause, now);
        }
        let mut effects = Vec::new();
        let mut seen = BTreeSet::new();
        for id in self.book.waiting.values() {
            let Some(payout) = self.book.payouts.get(id) else { continue };
            let payee = payout.request.payee;
            if self.awaits_person(id) {
                continue;
            }
            let rewards = payout.request.credits.is_some();
            if rewards && !seen.insert((payee, payout.request.route)) {
                continue; // taken together with the first one
            }
            let group = if rewards { self.group(&payee, payout.request.route) } else { vec![*id] };
            match self.order(&group, view, now) {
                Ok(order) => {
                    effects.push(Effect::Sign(Box::new(order)));
                    return effects;
                }
                Err(cause) => {
                    effects
                        .extend(group.iter().filter_map(|id| self.hold(*id, cause.clone(), now)));
                }
            }
        }
        effects
    }

    /// A payee's waiting rewards, up to what one transfer may carry without a second person.
    fn group(&self, payee: &Address, route: Route) -> Vec<PayoutId> {
        let cap = self.policy.maximum.min(self.policy.second_person_above);
        let mut sum = Usdt::ZERO;
        let mut group = Vec::new();
        for id in self.book.waiting.values() {
            let Some(payout) = self.book.payouts.get(id) else { continue };
            let request = &payout.request;
            let fits = request.credits.is_some()
                && request.payee == *payee
                && request.route == route
                && !self.awaits_person(id);
            if fits && (group.is_empty() || sum.saturating_add(request.amount) <= cap) {
                sum = sum.saturating_add(request.amount);
                group.push(*id);
            }
        }
        group
    }

    fn order(&self, group: &[PayoutId], view: &View, now: Millis) -> Result<Order, String> {
        let policy = &self.policy;
        let requests = group.iter().filter_map(|id| self.book.payouts.get(id));
        let requests: Vec<&Request> = requests.map(|payout| &payout.request).collect();
        let Some(first) = requests.first() else { return Err("there is nothing to pay".into()) };
        let payee = first.payee;
        let gross: Usdt = requests.iter().map(|request| request.amount).sum();
        if first.credits.is_some() && gross < policy.accumulate {
            return Err(format!("{} of {} USDT are together", gross, policy.accumulate));
        }
        self.payee(&payee).map_err(|why| format!("payee {payee} may not be paid: {why}"))?;
        if first.route == Route::Kyc {
            match self.book.kyc.get(&payee) {
                Some((_, expires)) if *expires > now => {}
                Some(_) => return Err("the payee's KYC approval has expired".into()),
                None => return Err("waits for the payee's KYC approval".into()),
            }
        }
        let net = gross.saturating_sub(policy.fee);
        if net == Usdt::ZERO {
            return Err(format!("the fee of {} USDT leaves nothing", policy.fee));
        }
        let day = now / DAY;
        let spent = self.book.spent_on(day);
        if spent.saturating_add(net) > policy.daily {
            return Err(format!("the daily limit of {} USDT is used up", policy.daily));
        }
        let spent = self.book.spent.get(&(day, payee)).copied().unwrap_or_default();
        if spent.saturating_add(net) > policy.daily_per_payee {
            let limit = policy.daily_per_payee;
            return Err(format!("the payee's daily limit of {limit} USDT is used up"));
        }
        if self.book.live.len() >= policy.live_max {
            return Err(format!(
                "{} transactions are under way, the most at once",
                policy.live_max
            ));
        }
        if view.solid.number < self.book.last_block {
            return Err("the node has not yet solidified our last transfer".into());
        }
        let reserved = self.book.reserved();
        if view.balance < reserved.saturating_add(net) {
            let account = policy.account;
            return Err(format!(
                "account {account} holds {} USDT, {reserved} of them under way; {net} are needed",
                view.balance
            ));
        }
        let (contract, call) = match (first.route, &policy.router) {
            (Route::Router, Some(router)) => {
                let call = router.call(payee, net, &first.evidence);
                (router.contract, call.map_err(|error| error.to_string())?)
            }
            (Route::Router, None) => return Err("the router contract is not configured".into()),
            _ => (policy.token, abi::transfer(&payee, net.units())),
        };
        Ok(Order {
            contract,
            call,
            shares: self.shares(group, &requests),
            from: policy.account,
            to: payee,
            token: policy.token,
            net,
            timestamp: R::timestamp(self.book.last_timestamp, now),
            expiration: view.head_time + policy.lifetime,
            reference: view.solid.number,
            reference_id: view.solid.id,
            fee_limit: 0,
        })
    }

    /// Spreads the fee over the payouts in order, each bearing what it can.
    fn shares(&self, group: &[PayoutId], requests: &[&Request]) -> Vec<Share> {
        let mut fee = self.policy.fee;
        let mut shares = Vec::with_capacity(group.len());
        for (payout, request) in group.iter().zip(requests) {
            let part = fee.min(request.amount);
            fee = fee.saturating_sub(part);
            shares.push(Share { payout: *payout, gross: request.amount, fee: part });
        }
        shares
    }
}

fn refuse(payout: PayoutId, state: State, why: &'static str) -> Refusal {
    Refusal::State { payout, state: state.name(), why }
}

fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), Refusal> {
    match text.len() {
        bytes if bytes == 0 || bytes > max => Err(Refusal::Text { field, bytes, max }),
        _ => Ok(()),
    }
}
