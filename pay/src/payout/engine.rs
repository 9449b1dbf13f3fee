//! The decisions: `step(event, now) -> effects`, pure.

use super::book::{Book, State};
use super::event::{BATCH_MAX, Effect, Event, Refusal};
use super::kyc::Approval;
use super::policy::Policy;
use super::record::{Attempt, Entry, Record, Stake};
use super::rules::{Look, Outcome, Rules};
use super::stake::STAKES_LIVE_MAX;
use super::types::{
    Address, KEY_BYTES_MAX, Millis, NAME_BYTES_MAX, PayoutId, REASON_BYTES_MAX, Request, Route,
    TxId, Usdt,
};
use super::wallet::{Order, Signed};
use crate::chain::known;
use crate::node::Answer;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

/// Longest description of a transaction that is no payout, bytes.
const WHAT_BYTES_MAX: usize = 8_192;

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
        let append = |record| Effect::Append(Box::new(Entry { at: now, record }));
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
            Event::Stake { stake, since } => self.stake(stake, since, now),
            Event::Cosign { txid, signer, by, what } => {
                check_text("name", &by, NAME_BYTES_MAX)?;
                check_text("action", &what, WHAT_BYTES_MAX)?;
                let before = self.book.cosigned.get(&txid).into_iter().flatten();
                for (known, who) in before {
                    if *known == signer {
                        return Ok(Vec::new()); // asked before: the same signature
                    }
                    if *who == by {
                        return Err(Refusal::Cosigner { by, signer: *known });
                    }
                }
                one(Record::Cosigned { txid, signer, by, what })
            }
            Event::Unsigned { order, cause } => {
                let ids = order.shares.iter().map(|share| share.payout);
                Ok(ids.filter_map(|id| self.hold(id, cause.clone(), now)).collect())
            }
        }
    }

    fn stake(&self, stake: Stake, since: Millis, now: Millis) -> Result<Vec<Effect>, Refusal> {
        let stakes = &self.book.stakes;
        if let Some(key) = &stake.key {
            check_text("idempotency key", key, KEY_BYTES_MAX)?;
            if let Some(other) = stakes.keyed(key).filter(|known| known.stake.order != stake.order)
            {
                return Err(Refusal::StakeKeyReused(other.stake.what.clone()));
            }
        }
        check_text("action", &stake.what, WHAT_BYTES_MAX)?;
        if let Some(by) = &stake.by {
            check_text("name", by, NAME_BYTES_MAX)?;
        }
        let same = stakes.same(stake.key.as_deref(), &stake.order, since).is_some();
        if same || self.book.knows(&stake.txid) {
            return Ok(Vec::new()); // asked before: the same order
        }
        if stakes.live().count() >= STAKES_LIVE_MAX {
            return Err(Refusal::Stakes);
        }
        Ok(vec![Effect::Append(Box::new(Entry { at: now, record: Record::Staked(stake) }))])
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
            effects.push(Effect::Append(Box::new(Entry { at: now, record })));
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

    pub(super) fn payee(&self, payee: &Address) -> Result<(), &'static str> {
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
        let append = |record| vec![Effect::Append(Box::new(Entry { at: now, record }))];
        let (life, seen, settled) = if let Some(live) = self.book.live.get(&txid) {
            (live.attempt.life(), live.seen, R::settled(&live.attempt, looks, needed))
        } else if let Some((life, staked)) = self.book.stakes.life(&txid) {
            (life, staked.seen, R::stake_settled(&life, looks, needed))
        } else {
            return Vec::new();
        };
        match settled {
            Some(Outcome::Paid { block, burned_sun, used }) => {
                return append(Record::Confirmed { txid, block, burned_sun, used: Some(used) });
            }
            Some(Outcome::Failed { block, burned_sun, used, moved, cause }) => {
                let used = Some(used);
                return append(Record::Failed { txid, block, burned_sun, moved, cause, used });
            }
            None => {}
        }
        if let Some(block) = R::dead(&life, looks, needed, self.policy.expiry_margin) {
            return append(Record::Expired { txid, block: block.number, time: block.time });
        }
        let mut effects = Vec::new();
        if let Some(block) = sighted
            && seen != Some(block)
        {
            effects = append(Record::Seen { txid, block });
        }
        if sighted.is_none() && head_time.is_some_and(|time| time < life.expiration) {
            effects.push(Effect::Broadcast(txid));
        }
        effects
    }

    fn answered(&self, txid: TxId, answer: Answer, now: Millis) -> Vec<Effect> {
        let (was_taken, before) = if let Some(live) = self.book.live.get(&txid) {
            (live.taken, &live.answer)
        } else if let Some((_, staked)) = self.book.stakes.life(&txid) {
            (staked.taken, &staked.answer)
        } else {
            return Vec::new();
        };
        let (taken, words) = match answer {
            Answer::Accepted => (true, "accepted".to_owned()),
            Answer::Duplicate => (true, "the node knows it already".to_owned()),
            Answer::Refused(why) => (false, format!("refused: {why}")),
            Answer::Unclear(why) => (false, format!("unclear: {why}")),
        };
        let mut effects = Vec::new();
        // After it was once taken, further answers change nothing: it is paid, failed or expired.
        if !was_taken && before.as_ref() != Some(&(taken, words.clone())) {
            let record = Record::Broadcast { txid, taken, answer: words };
            effects.push(Effect::Append(Box::new(Entry { at: now, record })));
        }
        if !taken && R::refusal_ends(was_taken) {
            let record = Record::Expired { txid, block: 0, time: 0 };
            effects.push(Effect::Append(Box::new(Entry { at: now, record })));
        }
        effects
    }

    pub(super) fn hold(&self, id: PayoutId, cause: String, now: Millis) -> Option<Effect> {
        let payout = self.book.payouts.get(&id)?;
        if payout.state() == State::Held && payout.cause() == cause {
            return None;
        }
        let record = Record::Held { payout: id, cause };
        Some(Effect::Append(Box::new(Entry { at: now, record })))
    }

    pub(super) fn hold_all(&self, cause: &str, now: Millis) -> Vec<Effect> {
        let ids = self.book.waiting.values().copied();
        ids.filter(|id| !self.awaits_person(id))
            .filter_map(|id| self.hold(id, cause.to_owned(), now))
            .collect()
    }

    pub(super) fn awaits_person(&self, id: &PayoutId) -> bool {
        let payout = self.book.payouts.get(id);
        payout.is_some_and(|payout| payout.second && payout.approved_by.is_none())
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
