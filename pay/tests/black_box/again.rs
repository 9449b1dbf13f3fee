//! An account without the TRX that a payout burns.

use lucid_pay::tron::{Address, Usdt};
use serde_json::{Value, json};

use super::world::{Installation, Simulator, terminate};

const PAYEE: &str = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8";

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
