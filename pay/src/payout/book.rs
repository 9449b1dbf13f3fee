//! What the records add up to: every payout, its history, and the live transactions.

use super::record::{Attempt, Entry, Record, Share, Used};
use super::rules::Life;
use super::stake::Stakes;
use super::types::{Address, ById, Millis, PayoutId, Request, TxId, Usdt};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Milliseconds of a day.
pub const DAY: Millis = 86_400_000;

/// Where a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Accepted, waits for its turn.
    Requested,
    /// Waits for something; the cause says for what.
    Held,
    /// A second person approved.
    Approved,
    /// A transaction is signed and durable.
    Signed,
    /// A node took it.
    Broadcast,
    /// It is in a block.
    Seen,
    /// The transfer is solidified. Final.
    Confirmed,
    /// Ended without paying; the cause says why.
    Failed,
    /// The transaction died; another one follows.
    Expired,
}

impl State {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            State::Requested => "requested",
            State::Held => "held",
            State::Approved => "approved",
            State::Signed => "signed",
            State::Broadcast => "broadcast",
            State::Seen => "seen",
            State::Confirmed => "confirmed",
            State::Failed => "failed",
            State::Expired => "expired",
        }
    }
}

/// One step of a payout's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state entered.
    pub state: State,
    /// When.
    pub at: Millis,
    /// Why.
    pub cause: Cow<'static, str>,
}

/// One payout.
#[derive(Clone, Debug)]
pub struct Payout {
    /// Its place in the order of asking, from 0.
    pub number: u64,
    /// What was asked.
    pub request: Request,
    /// Its batch, if it came in one.
    pub batch: Option<String>,
    /// A second person must approve.
    pub second: bool,
    /// Who approved.
    pub approved_by: Option<String>,
    /// Every state with time and cause, oldest first; never empty.
    pub history: Vec<Change>,
    /// Its transactions, oldest first.
    pub attempts: Vec<TxId>,
    /// Most sun the energy of its last transaction may cost, as estimated when it was signed.
    pub fee_limit_sun: Option<u64>,
    /// TRX burned by its transactions, sun; for payouts that went together at the first of them.
    pub burned_sun: Option<u64>,
    /// Energy and bandwidth its transactions took; for payouts that went together at the first.
    pub used: Option<Used>,
    /// USDT moved by a transaction that failed; then nobody may try again.
    pub moved: Usdt,
    /// A person ended it; that is final.
    pub cancelled: bool,
}

impl Payout {
    /// The state it is in.
    pub fn state(&self) -> State {
        self.history.last().map_or(State::Requested, |change| change.state)
    }

    /// Why it is in that state.
    pub fn cause(&self) -> &str {
        self.history.last().map_or("", |change| &change.cause)
    }

    fn enter(&mut self, state: State, at: Millis, cause: impl Into<Cow<'static, str>>) {
        self.history.push(Change { state, at, cause: cause.into() });
    }
}

/// A live transaction.
#[derive(Clone, Debug)]
pub struct Live {
    /// What was signed.
    pub attempt: Attempt,
    /// When.
    pub at: Millis,
    /// The last answer to a broadcast.
    pub answer: Option<(bool, String)>,
    /// A node took it at some time.
    pub taken: bool,
    /// The block it was seen in.
    pub seen: Option<u64>,
}

/// Everything, derived from the records alone.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Every payout.
    pub payouts: ById<PayoutId, Payout>,
    /// Payouts that wait for a transaction, in the order they came.
    pub waiting: BTreeMap<u64, PayoutId>,
    /// Live transactions.
    pub live: BTreeMap<TxId, Live>,
    /// Approvals of payees: hash and expiry.
    pub kyc: HashMap<Address, ([u8; 32], Millis)>,
    /// The latest timestamp used.
    pub last_timestamp: Millis,
    /// The highest block with a receipt of ours.
    pub last_block: u64,
    /// What was signed and not expired, per day and payee.
    pub spent: BTreeMap<(u64, Address), Usdt>,
    /// Every payout in the order of asking.
    pub asked: Vec<PayoutId>,
    /// Orders of stake.
    pub stakes: Stakes,
    /// Which keys here signed transactions of several signers, and who asked for it.
    pub cosigned: HashMap<TxId, Vec<(Address, String)>>,
    txids: HashSet<u64>,
    keys: HashMap<u128, PayoutId>,
}

impl Book {
    /// Signed on `day` to everybody.
    pub fn spent_on(&self, day: u64) -> Usdt {
        let from = (day, Address::from_evm([0; 20]));
        let to = (day, Address::from_evm([0xff; 20]));
        self.spent.range(from..=to).map(|(_, amount)| *amount).sum()
    }

    /// Net amounts of live transactions: not to be spent again.
    pub fn reserved(&self) -> Usdt {
        self.live.values().map(|live| live.attempt.net).sum()
    }

    /// Whether this transaction id was ever used here (its first 8 bytes decide).
    pub fn knows(&self, txid: &TxId) -> bool {
        self.txids.contains(&short(txid))
    }

    /// What is needed to tell the end of a transaction that is under way.
    pub fn life(&self, txid: &TxId) -> Option<Life> {
        let live = self.live.get(txid).map(|live| live.attempt.life());
        live.or_else(|| self.stakes.life(txid).map(|(life, _)| life))
    }

    /// The bytes of a transaction that is under way.
    pub fn bytes(&self, txid: &TxId) -> Option<&[u8]> {
        let live = self.live.get(txid).map(|live| live.attempt.bytes.as_slice());
        live.or_else(|| self.stakes.life(txid).map(|(_, staked)| staked.stake.bytes.as_slice()))
    }

    /// Every transaction that is under way.
    pub fn under_way(&self) -> Vec<TxId> {
        self.live.keys().chain(self.stakes.live().map(|(txid, _)| txid)).copied().collect()
    }

    /// The payout that was asked for under this key.
    pub fn keyed(&self, key: &str) -> Option<PayoutId> {
        self.keys.get(&short_key(key)).copied()
    }

    fn wait(&mut self, id: PayoutId) {
        if let Some(payout) = self.payouts.get(&id) {
            self.waiting.insert(payout.number, id);
        }
    }

    fn enter(
        &mut self,
        shares: &[Share],
        state: State,
        at: Millis,
        cause: impl Into<Cow<'static, str>>,
    ) {
        let cause = cause.into();
        for share in shares {
            if let Some(payout) = self.payouts.get_mut(&share.payout) {
                payout.enter(state, at, cause.clone());
            }
        }
    }

    /// Adds one record. Records come from the engine, or from the journal that it wrote.
    pub fn apply(&mut self, entry: Entry) {
        let at = entry.at;
        match entry.record {
            Record::Requested { request, batch, second } => {
                let id = request.id();
                let number = self.asked.len() as u64;
                if let Some(key) = &request.key {
                    self.keys.insert(short_key(key), id);
                }
                let mut payout = Payout {
                    number,
                    request,
                    batch,
                    second,
                    approved_by: None,
                    history: Vec::with_capacity(5),
                    attempts: Vec::with_capacity(1),
                    fee_limit_sun: None,
                    burned_sun: None,
                    used: None,
                    moved: Usdt::ZERO,
                    cancelled: false,
                };
                payout.enter(State::Requested, at, "the request was accepted");
                if second {
                    payout.enter(State::Held, at, "waits for a second person's approval");
                }
                self.payouts.insert(id, payout);
                self.asked.push(id);
                self.waiting.insert(number, id);
            }
            Record::Approved { payout: id, by } => {
                if let Some(payout) = self.payouts.get_mut(&id) {
                    payout.enter(State::Approved, at, format!("approved by {by}"));
                    payout.approved_by = Some(by);
                }
            }
            Record::Cancelled { payout: id, by, cause } => {
                if let Some(payout) = self.payouts.get_mut(&id) {
                    self.waiting.remove(&payout.number);
                    payout.cancelled = true;
                    payout.enter(State::Failed, at, format!("cancelled by {by}: {cause}"));
                }
            }
            Record::Retried { payout: id, by } => {
                self.wait(id);
                if let Some(payout) = self.payouts.get_mut(&id) {
                    payout.enter(State::Requested, at, format!("tried again by {by}"));
                }
            }
            Record::Held { payout: id, cause } => {
                if let Some(payout) = self.payouts.get_mut(&id) {
                    payout.enter(State::Held, at, cause);
                }
            }
            Record::Kyc { payee, kyc, expires } => {
                self.kyc.insert(payee, (kyc, expires));
            }
            Record::Signed(attempt) => {
                self.last_timestamp = self.last_timestamp.max(attempt.timestamp);
                self.txids.insert(short(&attempt.txid));
                for share in &attempt.shares {
                    if let Some(payout) = self.payouts.get_mut(&share.payout) {
                        self.waiting.remove(&payout.number);
                        payout.attempts.push(attempt.txid);
                        payout.fee_limit_sun = Some(attempt.fee_limit);
                        payout.enter(State::Signed, at, "signed, not yet taken by a node");
                    }
                }
                let spent = self.spent.entry((at / DAY, attempt.to)).or_default();
                *spent = spent.saturating_add(attempt.net);
                let txid = attempt.txid;
                let live = Live { attempt, at, answer: None, taken: false, seen: None };
                self.live.insert(txid, live);
            }
            Record::Staked(stake) => {
                self.last_timestamp = self.last_timestamp.max(stake.timestamp);
                self.txids.insert(short(&stake.txid));
                self.stakes.apply(Entry { at, record: Record::Staked(stake) });
            }
            Record::Broadcast { txid, taken, ref answer } => {
                let Some(live) = self.live.get_mut(&txid) else { return self.stakes.apply(entry) };
                let first = taken && !live.taken;
                live.taken |= taken;
                live.answer = Some((taken, answer.clone()));
                if first && live.seen.is_none() {
                    let shares = live.attempt.shares.clone();
                    self.enter(&shares, State::Broadcast, at, "a node took the transaction");
                }
            }
            Record::Seen { txid, block } => {
                let Some(live) = self.live.get_mut(&txid) else { return self.stakes.apply(entry) };
                live.seen = Some(block);
                let shares = live.attempt.shares.clone();
                self.enter(&shares, State::Seen, at, format!("in block {block}, not yet solid"));
            }
            Record::Confirmed { txid, block, burned_sun, used } => {
                let Some(live) = self.live.remove(&txid) else { return self.stakes.apply(entry) };
                self.last_block = self.last_block.max(block);
                self.burn(&live.attempt.shares, burned_sun, used);
                let cause = format!("solidified in block {block}");
                self.enter(&live.attempt.shares, State::Confirmed, at, cause);
            }
            Record::Failed { txid, block, moved, ref cause, burned_sun, used } => {
                let Some(live) = self.live.remove(&txid) else { return self.stakes.apply(entry) };
                self.last_block = self.last_block.max(block);
                self.burn(&live.attempt.shares, burned_sun, used);
                self.unspend(&live, moved);
                for share in &live.attempt.shares {
                    if let Some(payout) = self.payouts.get_mut(&share.payout) {
                        payout.moved = moved;
                    }
                }
                self.enter(&live.attempt.shares, State::Failed, at, cause.clone());
            }
            Record::Expired { txid, block, .. } => {
                let Some(live) = self.live.remove(&txid) else { return self.stakes.apply(entry) };
                self.unspend(&live, Usdt::ZERO);
                let cause = format!("no block took it in time; block {block} proves it");
                self.enter(&live.attempt.shares, State::Expired, at, cause);
                for share in &live.attempt.shares {
                    self.wait(share.payout);
                }
            }
            Record::Cosigned { txid, signer, by, .. } => {
                self.cosigned.entry(txid).or_default().push((signer, by));
            }
            Record::Funded { .. } => {}
        }
    }

    fn burn(&mut self, shares: &[Share], sun: u64, used: Option<Used>) {
        for (place, share) in shares.iter().enumerate() {
            if let Some(payout) = self.payouts.get_mut(&share.payout) {
                let before = payout.burned_sun.unwrap_or_default();
                let part = if place == 0 { sun } else { 0 };
                payout.burned_sun = Some(before.saturating_add(part));
                let part = used.filter(|_| place == 0).unwrap_or_default();
                if used.is_some() {
                    payout.used = Some(payout.used.unwrap_or_default().and(part));
                }
            }
        }
    }

    /// What did not go out counts no more towards the limits of its day.
    fn unspend(&mut self, live: &Live, moved: Usdt) {
        if let Some(spent) = self.spent.get_mut(&(live.at / DAY, live.attempt.to)) {
            *spent = spent.saturating_sub(live.attempt.net).saturating_add(moved);
        }
    }
}

fn short(txid: &TxId) -> u64 {
    txid.0.first_chunk().map_or(0, |short| u64::from_be_bytes(*short))
}

fn short_key(key: &str) -> u128 {
    blake3::hash(key.as_bytes()).as_bytes().first_chunk().map_or(0, |k| u128::from_be_bytes(*k))
}
