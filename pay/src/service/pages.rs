//! Lists of the book and the ledger, as the socket shows them.

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

/// The batches of a book, newest first.
pub(super) fn batches(book: &Book) -> Vec<api::BatchSummary> {
    let mut found: Vec<api::BatchSummary> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for payout in book.asked.iter().filter_map(|id| book.payouts.get(id)) {
        let Some(batch) = &payout.batch else { continue };
        let place = *places.entry(batch.as_str()).or_insert_with(|| {
            found.push(api::BatchSummary {
                id: batch.clone(),
                at_ms: payout.history.first().map_or(0, |change| change.at),
                payouts: 0,
                confirmed: 0,
                failed: 0,
                total_micro: MicroUsdt(0),
                confirmed_micro: MicroUsdt(0),
            });
            found.len() - 1
        });
        let (batch, amount) = (&mut found[place], payout.request.amount.units());
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
    found.reverse();
    found
}

/// One batch and its payouts.
pub(super) fn batch_of(book: &Book, id: &str, wallet: &str) -> Answer<api::Batch> {
    let summary = batches(book).into_iter().find(|batch| batch.id == id);
    let summary = summary
        .ok_or_else(|| Problem::new(404, "not-found", format!("there is no batch {id:?}")))?;
    let payouts = book.asked.iter().filter_map(|id| Some((*id, book.payouts.get(id)?)));
    let items = payouts
        .filter(|(_, payout)| payout.batch.as_deref() == Some(id))
        .map(|(id, payout)| convert::payout(id, payout, wallet, false));
    Ok(api::Batch { summary, items: items.collect() })
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
