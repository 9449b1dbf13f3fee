//! Asking again: under changed rules, in another batch, for what somebody else must approve; and
//! an account without the TRX that a payout burns.

use lucid_pay::tron::{Address, Usdt};
use lucid_pay_api::route;
use serde_json::{Value, json};

use super::world::{Installation, Simulator, terminate, wait_for};

const PAYEE: &str = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8";

fn request(key: &str, amount: u64) -> Value {
    json!({"idempotency_key": key, "payee": PAYEE, "amount_micro": amount, "reason": key})
}

fn batch(key: &str, payouts: &[Value]) -> Value {
    json!({"idempotency_key": key, "payouts": payouts})
}

#[test]
fn what_was_accepted_stays_accepted_whatever_is_asked_since() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    // Nothing can be paid, so that all of it waits.
    here.funded(&simulator, 1_000_000_000, 0);
    let mut process = here.serve();
    here.wait_until_ready();
    let (one, two) = (request("one", 5_000_000), request("two", 6_000_000));
    let first = here.post(route::PAYOUTS, &one).unwrap();

    // A batch with one that was asked for alone has both, and is the same when asked again.
    let both = batch("b", &[one.clone(), two.clone()]);
    let found = here.post(route::BATCHES, &both).unwrap();
    assert_eq!((&found["payouts"], &found["total_micro"]), (&json!(2), &json!(11_000_000)));
    assert_eq!(found["items"][0]["id"], first["id"]);
    let again = here.post(route::BATCHES, &both).unwrap();
    assert_eq!((&again["id"], &again["payouts"]), (&found["id"], &json!(2)), "{again}");
    // Under another key there is nothing new in it: the batch they came with answers.
    let other = here.post(route::BATCHES, &batch("c", std::slice::from_ref(&two))).unwrap();
    assert_eq!(other["id"], found["id"]);
    let shown = here.get(&format!("{}/{}", route::BATCHES, found["id"].as_str().unwrap()));
    assert_eq!(shown.unwrap()["payouts"], json!(1), "the one that came with it");
    for others in [vec![request("three", 7_000_000)], vec![one.clone()]] {
        let reused = here.post(route::BATCHES, &batch("b", &others)).unwrap_err();
        assert_eq!(reused, "idempotency-key-reused");
    }
    assert_eq!(here.get(route::PAYOUTS).unwrap()["payouts"].as_array().unwrap().len(), 2);

    // The rules change; what is known is answered, what is new is refused.
    assert_eq!(terminate(process), Some(0), "{}", here.log());
    here.option(&format!("--set=payout.deny={PAYEE}"));
    here.option("--set=payout.maximum=2");
    process = here.serve();
    here.wait_until_ready();
    assert_eq!(here.post(route::PAYOUTS, &one).unwrap()["id"], first["id"]);
    assert_eq!(here.post(route::BATCHES, &both).unwrap()["payouts"], json!(2));
    assert_eq!(here.post(route::PAYOUTS, &request("n", 1_000_000)).unwrap_err(), "payee-refused");
    assert_eq!(here.post(route::PAYOUTS, &request("n", 3_000_000)).unwrap_err(), "payout-limit");
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}

#[test]
fn nothing_is_signed_that_the_account_has_no_trx_for() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    let account = here.funded(&simulator, 1_000_000, 50);
    let process = here.serve();
    here.wait_until_ready();
    let id = here.ask(PAYEE, "7", "first");
    let held = here.until(&id, "the missing TRX", |payout| payout["state"] == json!("held"));
    let cause = held["cause"].as_str().unwrap();
    assert!(cause.contains("holds 1 TRX") && cause.contains("would be burned"), "{cause}");
    assert_eq!(held["txid"], Value::Null, "{held}");
    let why = here.ok(&["payout", "why", &id]);
    assert!(why["next"].as_str().unwrap().contains("TRX"), "{why}");
    let asked = ["payout", "estimate", "--payee", PAYEE, "--amount", "7", "--reason", "r"];
    let estimate = here.ok(&[&asked[..], &["--key", "k"]].concat());
    assert!(estimate["held_because"].as_str().unwrap().contains("1 TRX"), "{estimate}");
    simulator.give(&account.to_string(), 100_000_000, 0);
    here.until(&id, "the payment", |payout| payout["state"] == json!("confirmed"));
    let payee: Address = PAYEE.parse().unwrap();
    assert_eq!(simulator.usdt(payee), Usdt::whole(7));
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}

#[test]
fn who_asks_and_orders_on_the_command_line_is_named() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    here.funded(&simulator, 5_000_000_000, 5);
    let mut process = here.serve();
    here.wait_until_ready();
    let large = batch("large", &[request("large", 1_500_000_000)]).to_string();
    let file = here.secret("batch.json", large.as_bytes());
    let made = here.ok(&["payout", "batch", file.to_str().unwrap(), "--by", "ann"]);
    let id = made["items"][0]["id"].as_str().unwrap().to_owned();
    let own = here.run(&["payout", "approve", &id, "--by", "ann"]);
    assert_eq!(own.status.code(), Some(20), "whoever asked is no second person");
    here.ok(&["payout", "approve", &id, "--by", "bob"]);

    let order = ["stake", "freeze", "main", "1000", "--key", "k", "--by", "ann"];
    assert_eq!(here.ok(&order)["by"], json!("ann"));
    // The journal has it: who orders it again after a restart changes nothing.
    process.kill().unwrap();
    process.wait().unwrap();
    process = here.serve();
    here.wait_until_ready();
    let again = here.ok(&["stake", "freeze", "main", "1000", "--key", "k", "--by", "bob"]);
    assert_eq!(again["by"], json!("ann"), "{again}");
    let allowances = format!("{}/main/allowances", route::WALLETS);
    let router = wait_for("the router", || here.get(&allowances).ok());
    let order = json!({"idempotency_key": "a", "spender": router["items"][0]["spender"],
                       "amount_micro": 1_000_000, "by": "cleo"});
    assert_eq!(here.post(&allowances, &order).unwrap()["by"], json!("cleo"));
    let nobody = json!({"idempotency_key": "e", "spender": router["items"][0]["spender"],
                        "amount_micro": 0, "by": ""});
    assert_eq!(here.post(&allowances, &nobody).unwrap_err(), "invalid-text");
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}
