//! An order of stake, and a `kill -9` after it is durable and before anybody was told.

use super::world::{Installation, Simulator, terminate, wait_for};
use lucid_pay::tron::{Address, Usdt};
use serde_json::json;

#[test]
fn an_order_of_stake_repeated_after_a_kill_is_carried_out_once() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    let wallet = here.ok(&["wallet", "create", "main"]);
    let address = wallet["address"].as_str().unwrap().to_owned();
    let account: Address = address.parse().unwrap();
    simulator.give(&address, 20_000_000_000, 1_000_000);
    let mut process = here.serve();
    here.wait_until_ready();
    wait_for("the money", || (simulator.usdt(account) == Usdt::whole(1)).then_some(()));
    // What came in is journalled first, so that only the order makes the journal grow.
    wait_for("the receipt", || (here.journal_len() > 0).then_some(()));

    for order in [["freeze", "2000"], ["unfreeze", "1200"]] {
        // No block takes it, so that nobody can be told that one does.
        simulator.control("chain", &json!({"hold": true}));
        let command = ["stake", order[0], "main", order[1]];
        let from = here.journal_len();
        let mut asking = here.start(&command);
        wait_for("the signed order", || (here.journal_len() > from).then_some(()));
        process.kill().unwrap();
        process.wait().unwrap();
        assert_ne!(asking.wait().unwrap().code(), Some(0), "nobody was told");
        simulator.control("chain", &json!({"hold": false}));
        process = here.serve();
        here.wait_until_ready();
        here.ok(&command);
    }
    // A key of its own is an order of its own, and given twice it is one.
    let keyed = |amount| ["stake", "freeze", "main", amount, "--key", "third"];
    let first = here.ok(&keyed("1500"));
    assert_eq!(here.ok(&keyed("1500"))["txid"], first["txid"]);
    assert_eq!(here.run(&keyed("1000")).status.code(), Some(20), "one key, two orders");
    let staking = wait_for("the end of all orders", || {
        // Far below the gateway's limit of requests.
        std::thread::sleep(std::time::Duration::from_millis(700));
        let staking = here.ok(&["stake", "show", "main"]);
        staking["under_way"].as_array()?.is_empty().then_some(staking)
    });
    assert_eq!(staking["energy_sun"], json!(2_300_000_000_u64), "{staking}");
    assert_eq!(staking["maturing"].as_array().unwrap().len(), 1, "{staking}");
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}

#[test]
fn odd_amounts_are_refused_and_energy_and_bandwidth_are_kept_apart() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    let wallet = here.ok(&["wallet", "create", "main"]);
    let address = wallet["address"].as_str().unwrap().to_owned();
    let account: Address = address.parse().unwrap();
    simulator.give(&address, 20_000_000_000, 50_000_000);
    wait_for("the money", || (simulator.usdt(account) == Usdt::whole(50)).then_some(()));
    let process = here.serve();
    here.wait_until_ready();
    let payee = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8";
    let ask = |here: &mut Installation, amount: &str, key: &str| {
        let amount = format!("--amount={amount}");
        let request = ["--json", "payout", "request", "--payee", payee, "--reason", "r", "--key"];
        here.run(&[&request[..], &[key, &amount]].concat())
    };
    for (amount, code) in [("-5", 65), ("1.0000001", 65), ("1e3", 65), ("0.5", 20), ("10001", 20)] {
        assert_eq!(ask(&mut here, amount, "k").status.code(), Some(code), "{amount}");
    }
    // More than the account holds waits and keeps no later one from being paid.
    let id = |output: std::process::Output| {
        let payout: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        payout["id"].as_str().unwrap().to_owned()
    };
    let first = id(ask(&mut here, "900", "first"));
    let later = id(ask(&mut here, "5", "later"));
    let paid = wait_for("the later payout", || {
        // Far below the gateway's limit of requests.
        std::thread::sleep(std::time::Duration::from_millis(700));
        let found = here.ok(&["payout", "show", &later]);
        (found["state"] == json!("confirmed")).then_some(found)
    });
    let used = &paid["used"];
    assert!(used["energy"].as_u64().unwrap() > 0, "{paid}");
    let burned = used["energy_sun"].as_u64().unwrap() + used["bandwidth_sun"].as_u64().unwrap();
    assert_eq!(json!(burned), paid["fee_sun"], "{paid}");
    let held = here.ok(&["payout", "show", &first]);
    assert_eq!(held["state"], json!("held"), "{held}");
    assert!(held["cause"].as_str().unwrap().contains("900 are needed"), "{held}");
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}
