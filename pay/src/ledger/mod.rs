//! The double-entry ledger: rows derived from the journal's records, and nothing else. Every total
//! is a sum of these rows.

mod month;
mod statement;

pub use month::{Month, MonthError, utc};
pub use statement::{Line, Statement};

use crate::payout::record::{Entry, Record, Share};
use crate::payout::types::{Address, ById, Millis, PayoutId, TxId, Usdt};
use std::collections::{BTreeMap, BTreeSet};

/// An account of the ledger. Those of TRX hold sun, the others millionths of USDT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// USDT in the paying account.
    Wallet,
    /// Where the paying account's USDT came from.
    Funding,
    /// What payouts cost.
    Payouts,
    /// What is owed to a payee.
    Owed(Address),
    /// Signed and not yet over.
    UnderWay,
    /// Fees kept.
    Fees,
    /// Sent, but not what should have been: a person must look.
    Disputed,
    /// TRX of the paying account.
    Trx,
    /// TRX burned by transactions.
    Burned,
}

/// One posting: `amount` from `credit` to `debit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// When.
    pub at: Millis,
    /// The payout it belongs to.
    pub payout: Option<PayoutId>,
    /// Grows by the amount.
    pub debit: Account,
    /// Shrinks by the amount.
    pub credit: Account,
    /// Millionths of USDT, or sun.
    pub amount: u64,
}

/// All rows, and what is needed to make the next ones.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    rows: Vec<Row>,
    owed: ById<PayoutId, (Address, Usdt)>,
    live: ById<TxId, (Address, Vec<Share>)>,
    funded: ById<TxId, (Millis, Usdt)>,
    stakes: BTreeSet<TxId>,
}

impl Ledger {
    /// The rows, oldest first.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// When and how much came in by a transaction.
    pub fn received(&self, txid: &TxId) -> Option<(Millis, Usdt)> {
        self.funded.get(txid).copied()
    }

    /// Everything that came in, in no order.
    pub fn receipts(&self) -> impl Iterator<Item = (TxId, Millis, Usdt)> {
        self.funded.iter().map(|(txid, (at, amount))| (*txid, *at, *amount))
    }

    /// What an account holds: debits less credits.
    pub fn balance(&self, account: Account) -> i128 {
        self.balances().get(&account).copied().unwrap_or(0)
    }

    /// Every account that was ever posted to. They add up to 0.
    pub fn balances(&self) -> BTreeMap<Account, i128> {
        let mut balances = BTreeMap::new();
        for row in &self.rows {
            *balances.entry(row.debit).or_default() += i128::from(row.amount);
            *balances.entry(row.credit).or_default() -= i128::from(row.amount);
        }
        balances
    }

    fn post(
        &mut self,
        at: Millis,
        payout: Option<PayoutId>,
        debit: Account,
        credit: Account,
        amount: u64,
    ) {
        if amount > 0 {
            self.rows.push(Row { at, payout, debit, credit, amount });
        }
    }

    /// Posts one record.
    pub fn apply(&mut self, entry: &Entry) {
        let at = entry.at;
        match &entry.record {
            Record::Requested { request, .. } => {
                let (id, payee) = (request.id(), request.payee);
                self.owed.insert(id, (payee, request.amount));
                let amount = request.amount.units();
                self.post(at, Some(id), Account::Payouts, Account::Owed(payee), amount);
            }
            Record::Cancelled { payout, .. } => {
                if let Some((payee, amount)) = self.owed.get(payout).copied() {
                    let owed = Account::Owed(payee);
                    self.post(at, Some(*payout), owed, Account::Payouts, amount.units());
                }
            }
            Record::Signed(attempt) => {
                for share in &attempt.shares {
                    let owed = Account::Owed(attempt.to);
                    let id = Some(share.payout);
                    self.post(at, id, owed, Account::UnderWay, share.gross.units());
                }
                self.live.insert(attempt.txid, (attempt.to, attempt.shares.clone()));
            }
            Record::Confirmed { txid, burned_sun, .. } => {
                let Some((_, shares)) = self.live.remove(txid) else {
                    return self.stake_over(at, txid, *burned_sun);
                };
                for share in &shares {
                    let id = Some(share.payout);
                    let net = share.gross.saturating_sub(share.fee).units();
                    self.post(at, id, Account::UnderWay, Account::Wallet, net);
                    self.post(at, id, Account::UnderWay, Account::Fees, share.fee.units());
                }
                self.post(at, None, Account::Burned, Account::Trx, *burned_sun);
            }
            Record::Failed { txid, burned_sun, moved, .. } => {
                let Some((to, shares)) = self.live.remove(txid) else {
                    return self.stake_over(at, txid, *burned_sun);
                };
                if moved == &Usdt::ZERO {
                    self.back(at, to, &shares);
                } else {
                    for share in &shares {
                        let id = Some(share.payout);
                        self.post(
                            at,
                            id,
                            Account::UnderWay,
                            Account::Disputed,
                            share.gross.units(),
                        );
                    }
                    self.post(at, None, Account::Disputed, Account::Wallet, moved.units());
                }
                self.post(at, None, Account::Burned, Account::Trx, *burned_sun);
            }
            Record::Expired { txid, .. } => {
                self.stakes.remove(txid);
                if let Some((to, shares)) = self.live.remove(txid) {
                    self.back(at, to, &shares);
                }
            }
            Record::Funded { amount, txid } => {
                if self.funded.insert(*txid, (at, *amount)).is_none() {
                    self.post(at, None, Account::Wallet, Account::Funding, amount.units());
                }
            }
            Record::Staked(stake) => drop(self.stakes.insert(stake.txid)),
            Record::Approved { .. }
            | Record::Retried { .. }
            | Record::Held { .. }
            | Record::Kyc { .. }
            | Record::Cosigned { .. }
            | Record::Broadcast { .. }
            | Record::Seen { .. } => {}
        }
    }

    /// What an order of stake burned.
    fn stake_over(&mut self, at: Millis, txid: &TxId, burned_sun: u64) {
        if self.stakes.remove(txid) {
            self.post(at, None, Account::Burned, Account::Trx, burned_sun);
        }
    }

    fn back(&mut self, at: Millis, to: Address, shares: &[Share]) {
        for share in shares {
            let owed = Account::Owed(to);
            self.post(at, Some(share.payout), Account::UnderWay, owed, share.gross.units());
        }
    }
}
