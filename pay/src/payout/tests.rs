//! What the engine refuses and what it holds, and for which reason.

use super::book::{Book, State};
use super::engine::Engine;
use super::event::{Effect, Event, Refusal, View};
use super::kyc::Approval;
use super::policy::Policy;
use super::record::{Entry, Record};
use super::rules::Strict;
use super::types::{Address, Credits, Millis, PayoutId, Request, Route, TxId, Usdt};
use super::wallet::{Order, Signed};
use crate::node::Block;
use ed25519_dalek::{Signer, SigningKey};
use std::collections::BTreeSet;

const NOW: Millis = 1_700_000_000_000;

fn address(n: u8) -> Address {
    Address::from_evm([n; 20])
}

fn usdt(units: u64) -> Usdt {
    Usdt::from_units(units).unwrap()
}

fn engine() -> Engine<Strict> {
    Engine::new(Policy::new(address(1), address(2)), Book::default())
}

fn request(amount: u64) -> Request {
    Request {
        payee: address(9),
        amount: usdt(amount),
        reason: "work".into(),
        evidence: [3; 32],
        route: Route::Direct,
        credits: None,
        requested_by: "ann".into(),
        key: None,
    }
}

fn reward(amount: u64, evidence: u8) -> Request {
    let credits = Some(Credits { credits: amount, rate: usdt(1), span: None });
    Request { evidence: [evidence; 32], credits, ..request(amount) }
}

fn ask(engine: &mut Engine<Strict>, request: Request) -> Result<PayoutId, Refusal> {
    let id = request.id();
    run(engine, Event::Requests { batch: None, requests: vec![request] }, NOW)?;
    Ok(id)
}

/// Steps, applies what is appended and gives the order, if there is one.
fn run(engine: &mut Engine<Strict>, event: Event, now: Millis) -> Result<Option<Order>, Refusal> {
    let mut order = None;
    for effect in engine.step(event, now)? {
        match effect {
            Effect::Append(entry) => engine.book.apply(*entry),
            Effect::Sign(found) => order = Some(*found),
            Effect::Broadcast(_) => {}
        }
    }
    Ok(order)
}

fn view(balance: u64) -> Event {
    let solid = Block { number: 5, id: [5; 32], time: NOW - 57_000 };
    Event::Ready(View { head_time: NOW, solid, balance: usdt(balance), passed: BTreeSet::new() })
}

#[track_caller]
fn held(engine: &Engine<Strict>, id: &PayoutId, words: &str) {
    let payout = &engine.book.payouts[id];
    assert_eq!(payout.state(), State::Held);
    assert!(payout.cause().contains(words), "{}", payout.cause());
}

#[test]
fn requests_outside_the_limits_are_refused_and_change_nothing() {
    let mut engine = engine();
    engine.policy.fee = Usdt::whole(2);
    engine.policy.deny.insert(address(8));
    let refused = |request: Request, engine: &mut Engine<Strict>| ask(engine, request).unwrap_err();
    let error = refused(request(999_999), &mut engine);
    assert!(matches!(error, Refusal::TooSmall { .. }), "{error}");
    let error = refused(request(10_000_000_001), &mut engine);
    assert!(matches!(error, Refusal::TooLarge { limit: "maximum", .. }), "{error}");
    let error = refused(request(2_000_000), &mut engine);
    assert!(matches!(error, Refusal::OnlyFee { .. }), "{error}");
    for payee in [address(8), address(1), address(2)] {
        let error = refused(Request { payee, ..request(5_000_000) }, &mut engine);
        assert!(matches!(error, Refusal::Payee(..)), "{error}");
    }
    let error = refused(Request { reason: String::new(), ..request(5_000_000) }, &mut engine);
    assert!(matches!(error, Refusal::Text { field: "reason", .. }), "{error}");
    let wrong = Some(Credits { credits: 2, rate: usdt(1), span: None });
    let error = refused(Request { credits: wrong, ..request(5_000_000) }, &mut engine);
    assert!(matches!(error, Refusal::Credits { .. }), "{error}");
    let error = refused(Request { route: Route::Router, ..request(5_000_000) }, &mut engine);
    assert!(matches!(error, Refusal::Route(_)), "{error}");
    // A batch with one bad request is refused whole.
    let requests = vec![request(5_000_000), request(1)];
    let batch = Event::Requests { batch: Some("b".into()), requests };
    assert!(run(&mut engine, batch, NOW).is_err());
    assert!(engine.book.payouts.is_empty());
}

#[test]
fn the_same_request_again_is_the_same_payout() {
    let mut engine = engine();
    ask(&mut engine, request(5_000_000)).unwrap();
    let again = Event::Requests { batch: None, requests: vec![request(5_000_000); 2] };
    assert_eq!(engine.step(again, NOW), Ok(Vec::new()));
}

#[test]
fn a_key_stands_for_one_payout_for_ever() {
    let mut engine = engine();
    let keyed = |units: u64, key: &str| Request { key: Some(key.into()), ..request(units) };
    let id = ask(&mut engine, keyed(5_000_000, "k")).unwrap();
    // Asked again, and asked again under another key: the same payout.
    for again in [keyed(5_000_000, "k"), keyed(5_000_000, "other")] {
        let event = Event::Requests { batch: None, requests: vec![again] };
        assert_eq!(engine.step(event, NOW), Ok(Vec::new()));
    }
    let refused = ask(&mut engine, keyed(6_000_000, "k")).unwrap_err();
    assert_eq!(refused, Refusal::KeyReused(id));
    let both = vec![keyed(7_000_000, "new"), keyed(8_000_000, "new")];
    let event = Event::Requests { batch: None, requests: both };
    assert!(matches!(engine.step(event, NOW), Err(Refusal::KeyReused(_))));
}

#[test]
fn a_large_payout_waits_for_another_person() {
    let mut engine = engine();
    let id = ask(&mut engine, request(1_000_000_001)).unwrap();
    assert!(run(&mut engine, view(u64::MAX / 2), NOW).unwrap().is_none());
    held(&engine, &id, "second person");
    let by = |by: &str| Event::Approve { payout: id, by: by.into() };
    assert_eq!(run(&mut engine, by("ann"), NOW).unwrap_err(), Refusal::SamePerson("ann".into()));
    run(&mut engine, by("bob"), NOW).unwrap();
    let order = run(&mut engine, view(u64::MAX / 2), NOW).unwrap().unwrap();
    assert_eq!(order.net, usdt(1_000_000_001));
}

#[test]
fn rewards_wait_until_ten_usdt_are_together_and_go_as_one() {
    let mut engine = engine();
    engine.policy.fee = usdt(500_000);
    let id = ask(&mut engine, reward(6_000_000, 1)).unwrap();
    assert!(run(&mut engine, view(50_000_000), NOW).unwrap().is_none());
    held(&engine, &id, "6 of 10 USDT");
    ask(&mut engine, reward(4_000_000, 2)).unwrap();
    let order = run(&mut engine, view(50_000_000), NOW).unwrap().unwrap();
    assert_eq!((order.net, order.shares.len()), (usdt(9_500_000), 2));
}

#[test]
fn a_clock_an_hour_off_an_empty_account_and_the_daily_limits_hold() {
    let mut engine = engine();
    let id = ask(&mut engine, request(5_000_000)).unwrap();
    for now in [NOW + 3_600_000, NOW - 3_600_000] {
        assert!(run(&mut engine, view(9_000_000), now).unwrap().is_none());
        held(&engine, &id, "clock");
    }
    assert!(run(&mut engine, view(4_999_999), NOW).unwrap().is_none());
    held(&engine, &id, "holds 4.999999 USDT");
    engine.policy.daily = usdt(4_000_000);
    assert!(run(&mut engine, view(9_000_000), NOW).unwrap().is_none());
    held(&engine, &id, "daily limit");
    engine.policy.daily = usdt(5_000_000);
    assert!(run(&mut engine, view(9_000_000), NOW).unwrap().is_some());
    engine.policy.deny.insert(address(9));
    assert!(run(&mut engine, view(9_000_000), NOW).unwrap().is_none());
    held(&engine, &id, "deny list");
}

#[test]
fn the_gated_route_waits_for_the_compliance_key() {
    let key = SigningKey::from_bytes(&[4; 32]);
    let mut engine = engine();
    engine.policy.compliance = Some(key.verifying_key().to_bytes());
    let id = ask(&mut engine, Request { route: Route::Kyc, ..request(5_000_000) }).unwrap();
    assert!(run(&mut engine, view(9_000_000), NOW).unwrap().is_none());
    held(&engine, &id, "waits for the payee's KYC approval");
    let (payee, kyc, expires) = (address(9), [6; 32], NOW + 1_000);
    let signature = key.sign(&Approval::message(&payee, &kyc, expires)).to_bytes();
    let approval = Approval { payee, kyc, expires, signature };
    for altered in [
        Approval { payee: address(7), ..approval.clone() },
        Approval { kyc: [7; 32], ..approval.clone() },
        Approval { expires: expires + 1, ..approval.clone() },
    ] {
        assert!(matches!(run(&mut engine, Event::Kyc(altered), NOW), Err(Refusal::Kyc(_))));
    }
    run(&mut engine, Event::Kyc(approval), NOW).unwrap();
    assert!(run(&mut engine, view(9_000_000), NOW).unwrap().is_some());
    assert!(run(&mut engine, view(9_000_000), NOW + 1_000).unwrap().is_none());
    held(&engine, &id, "has expired");
}

#[test]
fn what_a_failed_transfer_moved_all_the_same_counts_towards_the_day() {
    let mut engine = engine();
    let id = ask(&mut engine, request(5_000_000)).unwrap();
    let mut pay = |moved: u64, number: u8| {
        let order = run(&mut engine, view(90_000_000), NOW).unwrap().unwrap();
        let signed = Signed { txid: TxId([number; 32]), bytes: vec![number] };
        run(&mut engine, Event::Signed { order, signed }, NOW).unwrap();
        let failed = Record::Failed {
            txid: TxId([number; 32]),
            block: 4,
            burned_sun: 0,
            moved: usdt(moved),
            cause: "it failed".into(),
            used: None,
        };
        engine.book.apply(Entry { at: NOW, record: failed });
        let spent = engine.book.spent_on(NOW / 86_400_000).units();
        // Only what moved nothing is tried again.
        let retried = run(&mut engine, Event::Retry { payout: id, by: "bob".into() }, NOW);
        assert_eq!(retried.is_ok(), moved == 0);
        spent
    };
    assert_eq!(pay(0, 1), 0);
    assert_eq!(pay(4_000_000, 2), 4_000_000);
}
