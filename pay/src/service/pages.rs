//! Lists of the book and the ledger, as the socket shows them.

use std::collections::BTreeSet;

use lucid_pay_api as api;
use lucid_pay_api::{MicroUsdt, Problem};

use super::convert;
use super::payer::Payer;
use crate::gateway::Answer;
use crate::ledger::Account;
use crate::payout::book::{Book, Payout, State};
use crate::payout::types::PayoutId;

/// Most rows of a page.
const PAGE_ROWS_MAX: u32 = 500;
/// Rows of a page whose size is not said.
const PAGE_ROWS: u32 = 100;

/// A payout of the book.
pub(super) fn find<'b>(book: &'b Book, id: &PayoutId) -> Result<&'b Payout, Problem> {
    let detail = || Problem::new(404, "not-found", format!("there is no payout {id}"));
    book.payouts.get(id).ok_or_else(detail)
}

/// A page of a book, newest first.
pub(super) fn page(book: &Book, query: &api::PayoutQuery, wallet: &str) -> Answer<api::PayoutPage> {
    let limit = query.limit.unwrap_or(PAGE_ROWS);
    if !(1..=PAGE_ROWS_MAX).contains(&limit) {
        let detail = format!("limit: {limit} is not from 1 to {PAGE_ROWS_MAX}");
        return Err(convert::unfit("invalid-query", detail));
    }
    let end = match &query.after {
        None => book.asked.len(),
        Some(after) => {
            let number = find(book, &convert::payout_id(after)?)?.number;
            usize::try_from(number).unwrap_or(usize::MAX)
        }
    };
    let payee = query.payee.as_deref().map(|text| convert::address("payee", text)).transpose()?;
    let fits = |payout: &Payout| {
        payee.is_none_or(|payee| payee == payout.request.payee)
            && query.state.is_none_or(|state| state == convert::state(payout.state()))
            && query.batch.as_ref().is_none_or(|batch| Some(batch) == payout.batch.as_ref())
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let asked = book.asked.get(..end).unwrap_or_default();
    let mut found = asked
        .iter()
        .rev()
        .filter_map(|id| Some((*id, book.payouts.get(id).filter(|payout| fits(payout))?)));
    let rows: Vec<_> = found.by_ref().take(limit).collect();
    let next = found.next().and(rows.last()).map(|(id, _)| id.to_string());
    let payouts = rows.iter().map(|(id, payout)| convert::payout(*id, payout, wallet, false));
    Ok(api::PayoutPage { payouts: payouts.collect(), next })
}

/// A batch nothing was counted in yet.
fn empty(id: &str) -> api::BatchSummary {
    api::BatchSummary {
        id: id.to_owned(),
        at_ms: 0,
        payouts: 0,
        confirmed: 0,
        failed: 0,
        total_micro: MicroUsdt(0),
        confirmed_micro: MicroUsdt(0),
    }
}

/// Counts a payout in; a batch is as old as the first one that is counted.
fn count(batch: &mut api::BatchSummary, payout: &Payout) {
    if batch.payouts == 0 {
        batch.at_ms = payout.history.first().map_or(0, |change| change.at);
    }
    let amount = payout.request.amount.units();
    batch.payouts += 1;
    batch.total_micro.0 += amount;
    match payout.state() {
        State::Confirmed => {
            batch.confirmed += 1;
            batch.confirmed_micro.0 += amount;
        }
        State::Failed => batch.failed += 1,
        _ => {}
    }
}

/// The batches of a book, newest first.
pub(super) fn batches(book: &Book) -> Vec<api::BatchSummary> {
    let mut found: Vec<api::BatchSummary> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for payout in book.asked.iter().filter_map(|id| book.payouts.get(id)) {
        let Some(batch) = &payout.batch else { continue };
        let place = *places.entry(batch.as_str()).or_insert_with(|| {
            found.push(empty(batch));
            found.len() - 1
        });
        count(&mut found[place], payout);
    }
    found.reverse();
    found
}

/// One batch and its payouts.
pub(super) fn batch_of(book: &Book, id: &str, wallet: &str) -> Answer<api::Batch> {
    let found = batch(book, id, wallet, |_, payout| payout.batch.as_deref() == Some(id));
    match found.items.is_empty() {
        true => Err(Problem::new(404, "not-found", format!("there is no batch {id:?}"))),
        false => Ok(found),
    }
}

/// The payouts a batch was asked with, also those that had been asked for before it.
pub(super) fn batch_of_these(
    book: &Book,
    id: &str,
    these: &BTreeSet<PayoutId>,
    wallet: &str,
) -> api::Batch {
    // Where none of them is new, it is the batch they came with that can be asked for later.
    let mut came = these.iter().filter_map(|id| book.payouts.get(id)?.batch.as_deref());
    let first = came.next().unwrap_or(id);
    let id = if first == id || came.any(|other| other == id) { id } else { first };
    batch(book, id, wallet, |id, _| these.contains(id))
}

fn batch(
    book: &Book,
    id: &str,
    wallet: &str,
    fits: impl Fn(&PayoutId, &Payout) -> bool,
) -> api::Batch {
    let (mut summary, mut items) = (empty(id), Vec::new());
    let payouts = book.asked.iter().filter_map(|id| Some((*id, book.payouts.get(id)?)));
    for (id, payout) in payouts.filter(|(id, payout)| fits(id, payout)) {
        count(&mut summary, payout);
        items.push(convert::payout(id, payout, wallet, false));
    }
    api::Batch { summary, items }
}

/// What moved in the paying wallet, newest first.
pub(super) fn history(payer: &Payer) -> Vec<api::HistoryEntry> {
    let book = &payer.driver.engine.book;
    let mut entries = Vec::new();
    let zero = MicroUsdt(0);
    for row in payer.driver.ledger.rows() {
        let payout = row.payout.and_then(|id| Some((id, book.payouts.get(&id)?)));
        let out_micro = MicroUsdt(row.amount);
        let what = match (row.debit, row.credit) {
            (Account::UnderWay, Account::Wallet) => {
                let reason = payout.map(|(_, payout)| payout.request.reason.clone());
                format!("paid: {}", reason.unwrap_or_default())
            }
            (Account::Disputed, Account::Wallet) => "moved by a transaction that failed".to_owned(),
            _ => continue,
        };
        entries.push(api::HistoryEntry {
            at_ms: row.at,
            what,
            txid: payout.and_then(|(_, payout)| payout.attempts.last()).map(ToString::to_string),
            payout: payout.map(|(id, _)| id.to_string()),
            in_micro: zero,
            out_micro,
            fee_sun: api::Sun(payout.and_then(|(_, payout)| payout.burned_sun).unwrap_or(0)),
        });
    }
    entries.extend(payer.driver.ledger.receipts().map(|(txid, at_ms, amount)| api::HistoryEntry {
        at_ms,
        what: "received".to_owned(),
        txid: Some(txid.to_string()),
        payout: None,
        in_micro: MicroUsdt(amount.units()),
        out_micro: zero,
        fee_sun: api::Sun(0),
    }));
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at_ms));
    entries
}
