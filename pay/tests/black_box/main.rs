//! The real `lucid-pay` against the real simulator: money comes in, is staked and paid out, while
//! the process is killed again and again; and no secret is ever said.

#![allow(clippy::unwrap_used)]

mod again;
mod disk;
mod elsewhere;
mod nodes;
mod peers;
mod secrets;
mod shared;
mod stake;
mod world;

use std::collections::BTreeMap;

use lucid_pay::journal::{FileMedium, Journal};
use lucid_pay::ledger::{Account, Ledger};
use lucid_pay::payout::record;
use lucid_pay::tron::{Address, Usdt};
use serde_json::{Value, json};
use world::{Installation, Simulator, terminate, wait_for};

/// `kill -9`s while the batch is paid.
const KILLS: u32 = 50;
/// Payouts of the batch.
const PAYOUTS: u32 = 100;

/// A small generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Payee and amount of every payout: every fourth goes to a payee who gets others too.
fn payouts() -> Vec<(Address, u64)> {
    let payee = |n: u32| {
        let hash = blake3::hash(&n.to_be_bytes());
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&hash.as_bytes()[..20]);
        Address::from_evm(bytes)
    };
    (0..PAYOUTS)
        .map(|n| (payee(if n % 4 == 0 { 0 } else { n }), 1_000_000 + u64::from(n) * 1_001))
        .collect()
}

#[test]
fn a_hundred_payouts_survive_fifty_kills_exactly_once() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);

    // Create, and receive.
    let wallet = here.ok(&["wallet", "create", "main"]);
    let address = wallet["address"].as_str().unwrap().to_owned();
    let account: Address = address.parse().unwrap();
    simulator.give(&address, 20_000_000_000, 1_000_000_000);
    let other = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH";
    simulator.give(other, 5_000_000, 0);
    let mut process = here.serve();
    here.wait_until_ready();
    wait_for("the money", || (simulator.usdt(account) == Usdt::whole(1_000)).then_some(()));
    let balance = here.ok(&["wallet", "balance", "main"]);
    assert_eq!(balance["usdt_micro"], json!(1_000_000_000));

    // Stake and lend.
    let small = here.run(&["stake", "freeze", "main", "999"]);
    assert_eq!(small.status.code(), Some(20), "below the minimum of 1000 TRX");
    here.ok(&["stake", "freeze", "main", "6000"]);
    here.ok(&["stake", "delegate", "main", "1000", "--to", other]);
    let staking = here.ok(&["stake", "show", "main"]);
    assert_eq!(staking["energy_sun"], json!(6_000_000_000_u64));
    assert_eq!(staking["delegations"][0]["amount_sun"], json!(1_000_000_000));
    assert_eq!(staking["delegations"][0]["receiver"], json!(other));

    // Ask for the batch; asking again is asking once.
    let asked = payouts();
    let list: Vec<Value> = asked
        .iter()
        .enumerate()
        .map(|(n, (payee, amount))| {
            json!({"idempotency_key": format!("k-{n}"), "payee": payee.to_string(),
                   "amount_micro": amount, "reason": format!("reward {n}")})
        })
        .collect();
    let batch = json!({"idempotency_key": "november", "payouts": list}).to_string();
    let file = here.secret("batch.json", batch.as_bytes());
    let file = file.to_str().unwrap();
    let id = here.ok(&["payout", "batch", file])["id"].as_str().unwrap().to_owned();

    // Killed between any two writes: after so many bytes more of the journal.
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut met = 0;
    for kill in 0..KILLS {
        let from = here.journal_len();
        let more = numbers.below(1_500);
        let mut over = false;
        wait_for("the journal to grow", || {
            over = process.try_wait().unwrap().is_some();
            (over || here.journal_len() >= from + more).then_some(())
        });
        assert!(!over, "it ended by itself before kill {kill}: {}", here.log());
        // Between a write and what follows it there is network: die there as well.
        std::thread::sleep(std::time::Duration::from_micros(numbers.below(20_000)));
        process.kill().unwrap();
        process.wait().unwrap();
        met += u32::from(here.journal_len() > from);
        process = here.serve();
        if kill == KILLS / 2 {
            here.wait_until_ready();
            here.ok(&["payout", "batch", file]);
        }
    }
    assert!(met > KILLS / 2, "{met} of {KILLS} kills met a process that was paying");

    // All are paid in the end.
    let total: u64 = asked.iter().map(|(_, amount)| amount).sum();
    here.wait_until_ready();
    let mut last = Value::Null;
    wait_for("a hundred confirmed payouts", || {
        // Far below the gateway's limit of requests.
        std::thread::sleep(std::time::Duration::from_millis(700));
        last = here.ok(&["payout", "batches", &id]);
        (last["confirmed"] == json!(PAYOUTS)).then_some(())
    });
    assert_eq!(last["confirmed_micro"], json!(total));

    // The chain has them exactly once, by its own account.
    let mut wanted: BTreeMap<Address, u64> = BTreeMap::new();
    for (payee, amount) in &asked {
        *wanted.entry(*payee).or_default() += amount;
    }
    for (payee, amount) in &wanted {
        assert_eq!(simulator.usdt(*payee).units(), *amount, "{payee}");
    }
    assert_eq!(simulator.usdt(account).units(), 1_000_000_000 - total);

    // The statement adds up, and says why.
    let statement = here.ok(&["payout", "statements"]);
    let lines = statement["lines"].as_array().unwrap();
    assert_eq!((lines.len(), &statement["net_micro"]), (PAYOUTS as usize, &json!(total)));
    let net: u64 = lines.iter().map(|line| line["net_micro"].as_u64().unwrap()).sum();
    assert_eq!(net, total);
    assert!(lines.iter().all(|line| line["because"].as_str().unwrap().starts_with("paid: ")));
    let csv = here.run(&["payout", "statements", "--format", "csv"]).stdout;
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!(csv.lines().count(), PAYOUTS as usize + 2);
    let sum = format!("{}", Usdt::from_units(total).unwrap());
    assert!(csv.lines().last().unwrap().contains(&sum), "{csv}");
    let payee = asked[0].0.to_string();
    let one = here.ok(&["payout", "statements", "--payee", &payee]);
    assert_eq!(one["net_micro"], json!(wanted[&asked[0].0]));

    let history = wait_for("the receipt in the history", || {
        let history = here.ok(&["wallet", "history", "main"]);
        let count = history.as_array()?.len();
        (count == PAYOUTS as usize + 1).then_some(history)
    });
    let sum = |key: &str| -> u64 {
        history.as_array().unwrap().iter().map(|entry| entry[key].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("in_micro"), sum("out_micro")), (1_000_000_000, total));

    assert_eq!(terminate(process), Some(0), "{}", here.log());

    // The journal's own sums: balanced, and what left the wallet.
    let medium = FileMedium::open(&here.dir.path().join("data/sandbox")).unwrap();
    let mut ledger = Ledger::default();
    Journal::open(medium, |_, payload| {
        record::decode(payload).unwrap().iter().for_each(|entry| ledger.apply(entry));
        Ok(())
    })
    .unwrap();
    assert_eq!(ledger.balances().values().sum::<i128>(), 0);
    // What came in was journalled as well, so the ledger holds what the chain shows.
    assert_eq!(ledger.balance(Account::Funding), -1_000_000_000);
    assert_eq!(ledger.balance(Account::Wallet), 1_000_000_000 - i128::from(total));
    assert_eq!(ledger.balance(Account::UnderWay), 0);
}
