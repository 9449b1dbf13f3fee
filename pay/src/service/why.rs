//! "Why is this waiting?": what a payout waits for, who can move it on, and until when.

use lucid_pay_api::Why;

use super::convert;
use crate::payout::book::{Book, DAY, Payout, State};
use crate::payout::policy::Policy;
use crate::payout::types::{Millis, PayoutId, Route};

/// The answer for one payout. `barred` is what keeps everything from being signed.
pub fn why(
    id: PayoutId,
    payout: &Payout,
    book: &Book,
    policy: &Policy,
    barred: Option<&str>,
    now: Millis,
) -> Why {
    let state = payout.state();
    let (because, next, until_ms) = match state {
        State::Confirmed => (
            format!("It waits for nothing: it was paid, {}.", payout.cause()),
            "Nobody; this is final.".to_owned(),
            None,
        ),
        State::Failed if payout.cancelled => (
            format!("It was ended by a person: {}.", payout.cause()),
            "Nobody; this is final. Ask for a new payout under a new key.".to_owned(),
            None,
        ),
        State::Failed if payout.moved.units() > 0 => (
            format!("Its transaction moved another amount: {}.", payout.cause()),
            "A person must look at the transaction; it is never sent again.".to_owned(),
            None,
        ),
        State::Failed => (
            format!("It failed and nothing was paid: {}.", payout.cause()),
            "A person can let it be tried again, or leave it.".to_owned(),
            None,
        ),
        State::Signed | State::Broadcast | State::Seen => under_way(payout, book, policy),
        State::Requested | State::Held | State::Approved | State::Expired => {
            waiting(payout, book, policy, barred, now)
        }
    };
    Why { payout: id.to_string(), state: convert::state(state), because, next, until_ms }
}

fn under_way(payout: &Payout, book: &Book, policy: &Policy) -> (String, String, Option<Millis>) {
    let live = payout.attempts.last().and_then(|txid| book.live.get(txid));
    let until = live.map(|live| live.attempt.expiration.saturating_add(policy.expiry_margin));
    let said = live.and_then(|live| live.answer.as_ref()).map(|(_, words)| words.as_str());
    let because = match (payout.state(), said) {
        (State::Signed, Some(said)) => {
            format!("Its transaction is signed; the last answer of a node was: {said}.")
        }
        (State::Signed, None) => "Its transaction is signed and about to be sent.".to_owned(),
        (State::Seen, _) => {
            format!("Its transaction is {}; about a minute makes it final.", payout.cause())
        }
        _ => "A node took its transaction; it waits for a block.".to_owned(),
    };
    let next = "The network. The same bytes are sent again until a block holds them; if none does \
                before they expire, and final blocks prove it, a new transaction follows.";
    (because, next.to_owned(), until)
}

fn waiting(
    payout: &Payout,
    book: &Book,
    policy: &Policy,
    barred: Option<&str>,
    now: Millis,
) -> (String, String, Option<Millis>) {
    let person = payout.second && payout.approved_by.is_none();
    if person {
        return (
            format!(
                "{} USDT is above {} USDT: a second person must approve it.",
                payout.request.amount, policy.second_person_above
            ),
            format!("Anybody who may approve, except {}.", payout.request.requested_by),
            None,
        );
    }
    if let Some(barred) = barred {
        let next = "The operator; `lucid-pay doctor` says more.".to_owned();
        return (format!("Nothing is signed at present: {barred}."), next, None);
    }
    let cause = payout.cause();
    if payout.state() != State::Held {
        let before = book.waiting.range(..payout.number).count();
        let because = match (payout.state(), before) {
            (State::Expired, _) => format!("Its transaction expired unpaid: {cause}."),
            (_, 0) => "It is the next to be signed.".to_owned(),
            (_, more) => format!("{more} payouts that were asked for earlier come first."),
        };
        return (because, "Nobody needs to: it is signed when its turn comes.".to_owned(), None);
    }
    let tomorrow = (now / DAY + 1) * DAY;
    let (next, until) = if cause.contains("daily limit") {
        ("The next day (UTC), or the operator who raises the limit.", Some(tomorrow))
    } else if payout.request.route == Route::Kyc && cause.contains("KYC") {
        ("Compliance, with a new approval of the payee.", None)
    } else if cause.contains("are together") {
        ("Further rewards of the same payee.", None)
    } else if cause.contains("clock") {
        ("The operator, who sets the clock or names synced nodes.", None)
    } else if cause.contains("would be burned") {
        ("Whoever sends the paying wallet TRX, or stakes for energy.", None)
    } else if cause.contains("are needed") {
        ("Whoever fills the paying wallet.", None)
    } else if cause.contains("may not be paid") {
        ("The operator, who changes the lists, or anybody who rejects it.", None)
    } else if cause.contains("cannot sign") {
        ("The operator, who unlocks or replaces the paying wallet.", None)
    } else {
        ("It is tried again by itself every few seconds.", None)
    };
    (format!("It is held: {cause}."), next.to_owned(), until)
}
