//! Orders of stake: each is one signed transaction, durable before it is first sent, as payouts
//! are.
//!
//! Asking again orders nothing new. With an idempotency key that holds for ever. Without one an
//! order is an equal one (wallet and action) that is under way or was confirmed not long ago:
//! whether its answer reached whoever asked is something nobody here can know. One that failed or
//! died has provably done nothing, and the next is a new one.

use super::book::State;
use super::record::{Entry, Record, Stake, Used};
use super::rules::Life;
use super::types::{Millis, TxId};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Most orders under way at once.
pub const STAKES_LIVE_MAX: usize = 32;

/// One order and where it stands.
#[derive(Clone, Debug)]
pub struct Staked {
    /// What was signed.
    pub stake: Stake,
    /// Signed, broadcast, seen, confirmed, failed or expired.
    pub state: State,
    /// Since when.
    pub since: Millis,
    /// Why.
    pub cause: Cow<'static, str>,
    /// The last answer to a broadcast.
    pub answer: Option<(bool, String)>,
    /// A node took it at some time.
    pub taken: bool,
    /// The block it was seen in.
    pub seen: Option<u64>,
    /// TRX burned, sun.
    pub burned_sun: u64,
    /// Energy and bandwidth it took.
    pub used: Option<Used>,
}

impl Staked {
    /// Whether it can still come into a block, or be replaced in one.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Signed | State::Broadcast | State::Seen)
    }

    fn enter(&mut self, state: State, at: Millis, cause: impl Into<Cow<'static, str>>) {
        (self.state, self.since, self.cause) = (state, at, cause.into());
    }
}

/// Every order, derived from the records alone.
#[derive(Clone, Debug, Default)]
pub struct Stakes {
    orders: BTreeMap<TxId, Staked>,
    keys: HashMap<String, TxId>,
}

impl Stakes {
    /// One order.
    pub fn get(&self, txid: &TxId) -> Option<&Staked> {
        self.orders.get(txid)
    }

    /// Every order.
    pub fn all(&self) -> impl Iterator<Item = &Staked> {
        self.orders.values()
    }

    /// Those that are under way.
    pub fn live(&self) -> impl Iterator<Item = (&TxId, &Staked)> {
        self.orders.iter().filter(|(_, staked)| staked.is_live())
    }

    /// One that is under way, and what is needed to tell its end.
    pub fn life(&self, txid: &TxId) -> Option<(Life, &Staked)> {
        let staked = self.get(txid).filter(|staked| staked.is_live())?;
        Some((staked.stake.life(), staked))
    }

    /// The order that was given under this key.
    pub fn keyed(&self, key: &str) -> Option<&Staked> {
        self.keys.get(key).and_then(|txid| self.get(txid))
    }

    /// The order that this one repeats. `order` is the hash of wallet and action; without a key an
    /// equal one counts that was confirmed at `since` or later.
    pub fn same(&self, key: Option<&str>, order: &[u8; 32], since: Millis) -> Option<&Staked> {
        let recent = |known: &Staked| known.state == State::Confirmed && known.since >= since;
        match key {
            Some(key) => self.keyed(key).filter(|staked| staked.stake.order == *order),
            None => self
                .orders
                .values()
                .find(|known| known.stake.order == *order && (known.is_live() || recent(known))),
        }
    }

    /// Adds one record, if it is about an order.
    pub(super) fn apply(&mut self, entry: Entry) {
        let at = entry.at;
        match entry.record {
            Record::Staked(stake) => {
                if let Some(key) = &stake.key {
                    self.keys.insert(key.clone(), stake.txid);
                }
                let staked = Staked {
                    state: State::Signed,
                    since: at,
                    cause: "signed, not yet taken by a node".into(),
                    answer: None,
                    taken: false,
                    seen: None,
                    burned_sun: 0,
                    used: None,
                    stake,
                };
                self.orders.insert(staked.stake.txid, staked);
            }
            Record::Broadcast { txid, taken, answer } => {
                let Some(staked) = self.live_mut(&txid) else { return };
                let first = taken && !staked.taken && staked.seen.is_none();
                staked.taken |= taken;
                staked.answer = Some((taken, answer));
                if first {
                    staked.enter(State::Broadcast, at, "a node took the transaction");
                }
            }
            Record::Seen { txid, block } => {
                let Some(staked) = self.live_mut(&txid) else { return };
                staked.seen = Some(block);
                staked.enter(State::Seen, at, format!("in block {block}, not yet solid"));
            }
            Record::Confirmed { txid, block, burned_sun, used } => {
                let Some(staked) = self.live_mut(&txid) else { return };
                (staked.burned_sun, staked.used) = (burned_sun, used);
                staked.enter(State::Confirmed, at, format!("solidified in block {block}"));
            }
            Record::Failed { txid, burned_sun, cause, used, .. } => {
                let Some(staked) = self.live_mut(&txid) else { return };
                (staked.burned_sun, staked.used) = (burned_sun, used);
                staked.enter(State::Failed, at, cause);
            }
            Record::Expired { txid, block, .. } => {
                let Some(staked) = self.live_mut(&txid) else { return };
                let cause = format!("no block took it in time; block {block} proves it");
                staked.enter(State::Expired, at, cause);
            }
            _ => {}
        }
    }

    fn live_mut(&mut self, txid: &TxId) -> Option<&mut Staked> {
        self.orders.get_mut(txid).filter(|staked| staked.is_live())
    }
}
