//! Seeded lives of the payment process: lying nodes, forks, a full disk, and a kill at any await or
//! disk write. Nothing is paid twice, nothing is lost, the ledger balances.
//!
//! A seed that fails is named; `LUCID_PAY_SEED=n cargo test -p lucid-pay --test simulation`
//! replays it alone. `LUCID_PAY_SEEDS` sets how many run (10,000).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use lucid_pay::journal::JournalError;
use lucid_pay::ledger::Account;
use lucid_pay::payout::book::State;
use lucid_pay::payout::driver::{Driver, DriverError};
use lucid_pay::payout::event::Event;
use lucid_pay::payout::policy::Policy;
use lucid_pay::payout::record::Attempt;
use lucid_pay::payout::rules::{Life, Look, Outcome, Rules, Strict};
use lucid_pay::payout::types::{Address, Credits, Millis, PayoutId, Request, Route, TxId, Usdt};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use world::{BLOCKED, BLOCKED_BECAUSE, Deed, Node, Shared, SimMedium, SimWallet, World, usdt};

type Process<R> = Driver<R, SimMedium, Node, SimWallet>;

fn address(n: u8) -> Address {
    Address::from_evm([n; 20])
}

fn policy() -> Policy {
    let mut policy = Policy::new(address(0xaa), address(0xbb));
    policy.lifetime = 60_000;
    policy.expiry_margin = 9_000;
    policy.fee = usdt(100_000);
    policy
}

fn request(world: &mut World, n: u64) -> Request {
    let rewards = world.random.percent(30);
    let credits = 2_000 + world.random.below(5_000);
    let rate = usdt(1_000);
    Request {
        payee: address(1 + world.random.below(3) as u8),
        amount: if rewards { usdt(credits * rate.units()) } else { Usdt::whole(2) },
        reason: "work".into(),
        evidence: *blake3::hash(&n.to_be_bytes()).as_bytes(),
        route: Route::Direct,
        credits: rewards.then_some(Credits { credits, rate, span: None }),
        requested_by: "settle".into(),
        key: None,
    }
}

/// Runs one round; `None` when the process was killed in it.
fn round<R: Rules>(process: &mut Process<R>, shared: &Shared) -> Option<Result<(), JournalError>> {
    let clock = || shared.get().clock();
    let mut future = pin!(process.round(clock));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let polled = future.as_mut().poll(&mut context);
        if shared.get().dead {
            return None;
        }
        if let Poll::Ready(result) = polled {
            return Some(result);
        }
    }
}

fn open<R: Rules>(shared: &Shared, nodes: usize) -> Result<Option<Process<R>>, String> {
    let nodes = (0..nodes).map(|index| Node(shared.clone(), index)).collect();
    let medium = SimMedium(shared.clone());
    match Driver::open(medium, policy(), nodes, SimWallet(shared.clone())) {
        Ok((process, _)) => Ok(Some(process)),
        Err(_) if shared.get().dead => Ok(None),
        Err(error) => Err(format!("the journal does not open: {error}")),
    }
}

fn check<R: Rules>(process: &Process<R>, shared: &Shared) -> Result<(), String> {
    for (payout, times) in shared.get().paid() {
        if times > 1 {
            return Err(format!("{payout} was paid {times} times"));
        }
    }
    for (order, times) in shared.get().staked() {
        if times > 1 {
            return Err(format!("order of stake {} was carried out {times} times", order[0]));
        }
    }
    let book = &process.engine.book;
    let balances = process.ledger.balances();
    let of = |account| balances.get(&account).copied().unwrap_or(0);
    let under_way: u64 = book
        .live
        .values()
        .flat_map(|live| &live.attempt.shares)
        .map(|share| share.gross.units())
        .sum();
    let owed: i128 = balances
        .iter()
        .filter(|(account, _)| matches!(account, Account::Owed(_)))
        .map(|(_, balance)| balance)
        .sum();
    let waiting: u64 = book
        .payouts
        .values()
        .filter(|payout| {
            matches!(
                payout.state(),
                State::Requested | State::Held | State::Approved | State::Expired | State::Failed
            )
        })
        .map(|payout| payout.request.amount.units())
        .sum();
    if balances.values().sum::<i128>() != 0
        || of(Account::UnderWay) != -i128::from(under_way)
        || owed != -i128::from(waiting)
    {
        return Err(format!("unbalanced: {balances:?}, under way {under_way}, waiting {waiting}"));
    }
    Ok(())
}

/// An operator who stakes: asks until an answer comes, and again only if it was a failure.
struct Stakes {
    left: Vec<u8>,
    told: Option<TxId>,
}

impl Stakes {
    fn turn<R: Rules>(
        &mut self,
        running: &mut Process<R>,
        shared: &Shared,
        faulty: bool,
    ) -> Result<(), DriverError> {
        let Some(first) = self.left.first() else { return Ok(()) };
        let order = [*first; 32];
        let now = shared.get().clock();
        let book = &running.engine.book;
        if let Some(txid) = self.told {
            // Told once how it stood; from then on only its end matters.
            match book.stakes.get(&txid).map(|staked| staked.state) {
                Some(State::Confirmed) => drop(self.left.remove(0)),
                Some(State::Failed | State::Expired) => {}
                _ => return Ok(()),
            }
            self.told = None;
            return Ok(());
        }
        if faulty && !shared.get().random.percent(25) {
            return Ok(());
        }
        let same = book.stakes.same(None, &order, 0).map(|staked| staked.stake.txid);
        let txid = match same {
            Some(txid) => txid,
            None => {
                let timestamp = now.max(book.last_timestamp + 1);
                let stake = shared.get().sign_stake(order, timestamp);
                let txid = stake.txid;
                running.accept(Event::Stake { stake, since: 0 }, now)?;
                txid
            }
        };
        // At times the answer is lost on its way.
        if !faulty || shared.get().random.percent(50) {
            self.told = Some(txid);
        }
        Ok(())
    }
}

/// What a life did, for the tests of the tests.
#[derive(Default, Debug)]
struct Seen {
    kills: u64,
    points: u64,
}

/// One seed from beginning to end. `kill` sets the only kill, otherwise chance does.
fn live<R: Rules>(seed: u64, kill: Option<u64>) -> Result<Seen, String> {
    let shared = Shared(Arc::new(Mutex::new(World::new(seed))));
    let (nodes, count) = {
        let mut world = shared.get();
        let nodes = 1 + world.random.below(3) as usize;
        if nodes > 1 && world.random.percent(50) {
            world.liar = Some(world.random.below(nodes as u64) as usize);
        }
        (nodes, 2 + world.random.below(5))
    };
    let mut wanted: Vec<Request> = (0..count).map(|n| request(&mut shared.get(), n)).collect();
    // Enough rewards at the end that none keeps waiting for 10 USDT.
    for payee in 1..=3u8 {
        wanted.push(Request {
            payee: address(payee),
            amount: Usdt::whole(10),
            credits: Some(Credits { credits: 10, rate: Usdt::whole(1), span: None }),
            evidence: [payee; 32],
            ..wanted[0].clone()
        });
    }
    // One that can never be signed comes first and keeps nobody else from being paid.
    if shared.get().random.percent(30) {
        let blocked = Request { payee: BLOCKED, amount: Usdt::whole(2), ..wanted[0].clone() };
        wanted.insert(0, Request { credits: None, evidence: [0x0b; 32], ..blocked });
    }
    let orders = shared.get().random.below(3) as u8;
    let mut stakes = Stakes { left: (0..orders).collect(), told: None };
    let ids: BTreeSet<PayoutId> = wanted.iter().map(Request::id).collect();
    let mut acknowledged: BTreeSet<PayoutId> = BTreeSet::new();
    let mut seen = Seen::default();
    let mut process: Option<Process<R>> = None;
    let mut last = String::new();
    shared.get().kill_at = kill;
    for turn in 0..440 {
        let faulty = turn < 40;
        {
            let mut world = shared.get();
            if !faulty && world.faults {
                world.faults = false;
                world.skew = 0;
                world.kill_at = None;
                seen.points = world.points;
            }
            let blocks = if faulty { world.random.below(6) } else { 3 };
            world.advance(blocks);
            if faulty {
                world.skew = if world.random.percent(5) { 3_600_000 } else { 0 };
                if kill.is_none() && world.kill_at.is_none() && world.random.percent(60) {
                    world.kill_at = Some(world.points + 1 + world.random.below(150));
                }
            }
        }
        let mut running = match process.take() {
            Some(running) => running,
            None => match open::<R>(&shared, nodes)? {
                Some(running) => running,
                None => {
                    seen.kills += 1;
                    shared.get().restart();
                    continue;
                }
            },
        };
        for id in &acknowledged {
            if !running.engine.book.payouts.contains_key(id) {
                return Err(format!("{id} was accepted and is forgotten"));
            }
        }
        check(&running, &shared)?;
        // Clients ask until they are answered; the operator lets failed payouts be tried again.
        let mut poisoned = false;
        for request in &wanted {
            let ask = !faulty || shared.get().random.percent(15);
            if ask && !acknowledged.contains(&request.id()) {
                let now = shared.get().clock();
                let event = Event::Requests { batch: None, requests: vec![request.clone()] };
                match running.accept(event, now) {
                    Ok(()) => drop(acknowledged.insert(request.id())),
                    Err(DriverError::Journal(JournalError::Poisoned)) => poisoned = true,
                    Err(_) => {}
                }
            }
        }
        if stakes.told.is_some_and(|txid| running.engine.book.stakes.get(&txid).is_none()) {
            return Err("an order of stake was answered and is forgotten".into());
        }
        match stakes.turn(&mut running, &shared, faulty) {
            Ok(()) => {}
            Err(DriverError::Journal(JournalError::Poisoned)) => poisoned = true,
            Err(_) => {}
        }
        let failed = running.engine.book.payouts.iter();
        let failed: Vec<PayoutId> = failed
            .filter(|(_, payout)| payout.state() == State::Failed)
            .map(|(id, _)| *id)
            .collect();
        for payout in failed {
            let now = shared.get().clock();
            let event = Event::Retry { payout, by: "operator".into() };
            let answer = running.accept(event, now);
            poisoned |= matches!(answer, Err(DriverError::Journal(JournalError::Poisoned)));
        }
        if poisoned {
            // Only opening again tells what is durable: the process ends and is started again.
            drop(running);
            shared.get().restart();
            continue;
        }
        let ended = round(&mut running, &shared);
        if ended.is_none() || shared.get().dead {
            drop(running);
            seen.kills += 1;
            shared.get().restart();
            continue;
        }
        if let Some(Err(why)) = &ended {
            last = why.to_string();
            // The journal could not be written: the process ends and is started again.
            drop(running);
            shared.get().restart();
            continue;
        }
        check(&running, &shared)?;
        // What came after the last 10 USDT were together waits for more, and says so.
        let payouts = &running.engine.book.payouts;
        let done = payouts.values().all(|payout| {
            payout.state() == State::Confirmed
                || payout.cause().ends_with("USDT are together")
                || payout.cause().ends_with(BLOCKED_BECAUSE)
        });
        let done = done && stakes.left.is_empty();
        if done && acknowledged.len() == ids.len() && !faulty {
            let paid = shared.get().paid();
            for (id, payout) in payouts {
                let times = u32::from(payout.state() == State::Confirmed);
                if paid.get(id).copied().unwrap_or(0) != times {
                    return Err(format!("{id} is {} and was not paid so", payout.state().name()));
                }
            }
            if shared.get().staked().len() != usize::from(orders) {
                return Err("an order of stake is confirmed and was not carried out".into());
            }
            let moved: u64 = {
                let world = shared.get();
                let mined = world.chain.iter().flat_map(|mined| &mined.transactions);
                mined
                    .map(|txid| &world.known[txid])
                    .filter(|transaction| transaction.works)
                    .map(|transaction| match &transaction.deed {
                        Deed::Pays(order) => order.net.units(),
                        Deed::Stakes(_) => 0,
                    })
                    .sum()
            };
            if running.ledger.balance(Account::Wallet) != -i128::from(moved) {
                return Err("the ledger and the chain disagree on what was paid".into());
            }
            return Ok(seen);
        }
        process = Some(running);
    }
    let states: Vec<String> = process
        .iter()
        .flat_map(|process| {
            process
                .engine
                .book
                .payouts
                .values()
                .map(|p| format!("{} {}", p.state().name(), p.cause()))
        })
        .collect();
    Err(format!("not everything was paid in the end: {states:?} {last}"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

fn in_parallel(count: u64, run: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        break;
                    }
                    run(seed);
                }
            });
        }
    });
}

#[test]
fn no_payout_is_made_twice_or_lost_in_ten_thousand_seeds() {
    if let Some(seed) = number("LUCID_PAY_SEED") {
        live::<Strict>(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let kills = AtomicU64::new(0);
    in_parallel(number("LUCID_PAY_SEEDS").unwrap_or(10_000), |seed| {
        match live::<Strict>(seed, None) {
            Ok(seen) => kills.fetch_add(seen.kills, Ordering::Relaxed),
            Err(why) => panic!(
                "seed {seed}: {why}\nreplay: LUCID_PAY_SEED={seed} cargo test -p lucid-pay \
                 --test simulation no_payout"
            ),
        };
    });
    println!("{} kills", kills.load(Ordering::Relaxed));
    assert!(kills.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_kill_at_every_await_and_every_disk_write() {
    for seed in [3, 8] {
        let points = live::<Strict>(seed, Some(u64::MAX)).unwrap().points;
        assert!(points > 100, "{points}");
        println!("seed {seed}: {points} places to be killed at");
        in_parallel(points, |at| {
            live::<Strict>(seed, Some(at + 1))
                .unwrap_or_else(|why| panic!("seed {seed} killed at {}: {why}", at + 1));
        });
    }
}

/// The first seed in which broken rules are noticed.
#[track_caller]
fn noticed<R: Rules>(words: &[&str]) {
    for seed in 0..3_000 {
        if let Err(why) = live::<R>(seed, None) {
            println!("seed {seed}: {why}");
            assert!(words.iter().any(|word| why.contains(word)), "seed {seed}: {why}");
            return;
        }
    }
    panic!("3,000 seeds did not notice the broken rule");
}

#[test]
fn replacing_before_the_expiry_is_solidified_is_noticed() {
    struct Hasty;
    impl Rules for Hasty {
        fn dead(a: &Life, looks: &[Look], _: usize, _: Millis) -> Option<lucid_pay::node::Block> {
            let first = looks.iter().find(|look| look.receipt.is_none())?;
            (first.solid.time + 57_000 >= a.expiration).then_some(first.solid)
        }
    }
    noticed::<Hasty>(&["times"]);
}

#[test]
fn new_bytes_after_a_refused_broadcast_are_noticed() {
    struct Impatient;
    impl Rules for Impatient {
        fn refusal_ends(_: bool) -> bool {
            true
        }
    }
    noticed::<Impatient>(&["times"]);
}

#[test]
fn broadcasting_before_the_journal_is_noticed() {
    struct Careless;
    impl Rules for Careless {
        const JOURNAL_FIRST: bool = false;
    }
    noticed::<Careless>(&["times", "not paid so", "disagree"]);
}

#[test]
fn trusting_one_of_two_nodes_is_noticed() {
    struct Trusting;
    impl Rules for Trusting {
        fn dead(a: &Life, looks: &[Look], _: usize, m: Millis) -> Option<lucid_pay::node::Block> {
            looks.iter().find_map(|look| Strict::dead(a, std::slice::from_ref(look), 1, m))
        }
    }
    noticed::<Trusting>(&["times"]);
}

#[test]
fn taking_another_transactions_receipt_is_noticed() {
    struct Gullible;
    impl Rules for Gullible {
        fn sound(_: &Life, _: &Look) -> bool {
            true
        }
        fn settled(a: &Attempt, looks: &[Look], _: usize) -> Option<Outcome> {
            let receipt = looks.iter().find_map(|look| look.receipt.as_ref())?;
            Some(Self::outcome(a, receipt))
        }
    }
    noticed::<Gullible>(&[
        "not paid so",
        "times",
        "unbalanced",
        "disagree",
        "forgotten",
        "in the end",
    ]);
}
