//! Payouts that are asked for: alone or as a batch, once whatever is asked again.
//!
//! What was accepted once stays accepted: asked again it is the same payout, also where the rules
//! have changed since and would refuse it today.

use std::collections::BTreeSet;

use lucid_pay_api as api;
use lucid_pay_api::{BATCH_PAYOUTS_MAX, Problem};

use super::office::{Office, driver_problem};
use super::payer::Payer;
use super::{convert, now_ms, pages};
use crate::gateway::Answer;
use crate::payout::book::Book;
use crate::payout::event::Event;
use crate::payout::kyc::Approval;
use crate::payout::types::{KEY_BYTES_MAX, PayoutId, Request};

/// A request, and the compliance key's word on its payee if it came with one.
type Asked = (Request, Option<Approval>);

/// Accepts requests, all or none. `place` says which one a problem is about.
fn accept(
    payer: &mut Payer,
    batch: Option<String>,
    asked: Vec<Asked>,
    place: impl Fn(usize, Problem) -> Problem,
) -> Answer<()> {
    let now = now_ms();
    let engine = &payer.driver.engine;
    let (mut requests, mut events) = (Vec::new(), Vec::new());
    for (at, (request, approval)) in asked.into_iter().enumerate() {
        let known = engine.book.payouts.contains_key(&request.id());
        if !known {
            engine.check(&request).map_err(|error| place(at, convert::refusal(&error)))?;
        }
        // The word that came with a known one was taken then, and may be over by now.
        let old = |word: &Approval| known && word.expires <= now;
        events.extend(approval.filter(|word| !old(word)).map(Event::Kyc));
        requests.push(request);
    }
    events.push(Event::Requests { batch, requests });
    for event in events {
        payer.driver.accept(event, now).map_err(|error| driver_problem(&error))?;
    }
    Ok(())
}

fn read(asked: &api::PayoutRequest) -> Answer<Asked> {
    Ok((convert::request(asked)?, convert::kyc(asked)?))
}

/// Asks for one payout.
pub(super) async fn request(office: &Office, asked: api::PayoutRequest) -> Answer<api::Payout> {
    office.fits(&asked)?;
    let asked = read(&asked)?;
    let wallet = office.setup().paying.id.to_string();
    office
        .ask(move |payer| {
            let id = asked.0.id();
            accept(payer, None, vec![asked], |_, problem| problem)?;
            let found = pages::find(&payer.driver.engine.book, &id)?;
            Ok(convert::payout(id, found, &wallet, true))
        })
        .await?
}

fn in_place(place: usize, mut problem: Problem) -> Problem {
    problem.detail = format!("payouts[{place}]: {}", problem.detail);
    problem
}

/// The id of the batch that was asked for under a key.
fn batch_id(key: &str) -> String {
    let hash = blake3::derive_key("lucid-pay batch v1", key.as_bytes());
    crate::tron::hex::encode(&hash[..16])
}

/// Whether a batch's key was used for other payouts than these.
fn is_other(book: &Book, batch: &str, ids: &BTreeSet<PayoutId>) -> bool {
    let mut members = book
        .payouts
        .iter()
        .filter(|(_, payout)| payout.batch.as_deref() == Some(batch))
        .map(|(id, _)| id)
        .peekable();
    members.peek().is_some()
        && (members.any(|id| !ids.contains(id))
            || ids.iter().any(|id| !book.payouts.contains_key(id)))
}

/// Asks for several payouts at once. One that was asked for before is the same payout here too.
pub(super) async fn batch(office: &Office, asked: api::BatchRequest) -> Answer<api::Batch> {
    let key = asked.idempotency_key;
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let detail = "idempotency_key: 1 to 128 bytes are right";
        return Err(convert::unfit("invalid-key", detail));
    }
    if asked.payouts.len() > BATCH_PAYOUTS_MAX {
        let detail = format!("a batch holds at most {BATCH_PAYOUTS_MAX} payouts");
        return Err(convert::unfit("batch-too-large", detail));
    }
    let mut members: Vec<Asked> = Vec::new();
    for (place, payout) in asked.payouts.iter().enumerate() {
        let found = office.fits(payout).and_then(|()| read(payout));
        members.push(found.map_err(|problem| in_place(place, problem))?);
    }
    let batch = batch_id(&key);
    let wallet = office.setup().paying.id.to_string();
    office
        .ask(move |payer| {
            let ids: BTreeSet<PayoutId> = members.iter().map(|(request, _)| request.id()).collect();
            if is_other(&payer.driver.engine.book, &batch, &ids) {
                let detail = "the idempotency key was used for a batch of other payouts";
                return Err(Problem::new(409, "idempotency-key-reused", detail));
            }
            accept(payer, Some(batch.clone()), members, in_place)?;
            Ok(pages::batch_of_these(&payer.driver.engine.book, &batch, &ids, &wallet))
        })
        .await?
}
