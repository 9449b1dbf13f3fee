//! An account of several keys, watched and signed for over the socket, with one party elsewhere;
//! what a router may take; and a wallet whose key a Ledger has.

use lucid_pay::tron::{Address, Usdt};
use lucid_pay_api::route;
use serde_json::{Value, json};

use super::world::{Installation, Simulator, terminate, wait_for};

const PAYEE: &str = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8";

fn create(here: &mut Installation, name: &str) -> String {
    here.ok(&["wallet", "create", name])["address"].as_str().unwrap().to_owned()
}

fn text(view: &Value) -> String {
    view["proposal"].as_str().unwrap().to_owned()
}

/// The vault's address, under three keys of which two must sign: ann's and bob's here, cleo's away.
fn vault(here: &mut Installation, away: &mut Installation, simulator: &Simulator) -> String {
    let (ann, bob) = (create(here, "ann"), create(here, "bob"));
    let (cleo, vault) = (create(away, "cleo"), create(away, "vault"));
    simulator.give(&vault, 1_000_000_000, 50_000_000);
    simulator.give(&ann, 100_000_000, 0);
    let address: Address = vault.parse().unwrap();
    wait_for("the money", || (simulator.usdt(address) == Usdt::whole(50)).then_some(()));
    let file = away.dir.path().join("share").to_str().unwrap().to_owned();
    let keys = ["--key", &ann, "--key", &bob, "--key", &cleo];
    let propose = ["proposal", "share", &vault, "--threshold", "2", "-o", &file];
    away.ok(&[&propose[..], &keys[..]].concat());
    away.ok(&["proposal", "sign", &file, "--wallet", "vault", "-o", &file]);
    away.ok(&["proposal", "send", &file]);
    vault
}

#[test]
fn several_sign_over_the_socket_and_nobody_signs_for_two() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    let mut away = Installation::new(&simulator, true);
    here.funded(&simulator, 1_000_000_000, 5);
    let vault = vault(&mut here, &mut away, &simulator);
    here.ok(&["wallet", "import", "vault", "--watch", &vault]);
    let path = "m/44'/195'/0'/0/0";
    let stick = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH";
    here.ok(&["wallet", "import", "stick", "--watch", stick, "--ledger-path", path]);
    here.option("--set=wallet.pays=main");
    let mut process = here.serve();
    here.wait_until_ready();

    // Who has which key.
    let of = |name: &str, what: &str| format!("{}/{name}/{what}", route::WALLETS);
    let wallets = here.get(route::WALLETS).unwrap();
    let found = wallets.as_array().unwrap().iter().find(|wallet| wallet["name"] == "stick");
    assert_eq!(found.unwrap()["kind"], json!("hardware"), "{wallets}");
    assert_eq!(here.get(&of("stick", "signers")).unwrap()["ledger_path"], json!(path));
    if !cfg!(feature = "ledger") {
        assert_eq!(here.get(route::LEDGER).unwrap()["presence"], json!("not-built"));
    }
    let signers = wait_for("the shared account", || {
        std::thread::sleep(std::time::Duration::from_millis(700));
        let found = here.get(&of("vault", "signers")).unwrap();
        (found["kind"] == json!("multisig")).then_some(found)
    });
    assert_eq!(signers["own_key_suffices"], json!(false));
    let keys = signers["permissions"][1]["keys"].as_array().unwrap();
    let known: Vec<_> = keys.iter().map(|key| (&key["wallet"], &key["here"])).collect();
    let (ann, bob) = (json!("ann"), json!("bob"));
    assert_eq!(
        known,
        [(&ann, &json!(true)), (&bob, &json!(true)), (&Value::Null, &json!(false))],
        "{signers}"
    );

    // A payment of two of three: one key here, one elsewhere.
    let pay = |wallet: &str| {
        json!({"wallet": wallet, "permission": 2, "action": "pay-usdt", "to": PAYEE,
               "amount_micro": 7_000_000})
    };
    let code = |answer: Result<Value, String>| answer.unwrap_err();
    assert_eq!(code(here.post(route::PROPOSALS, &pay("main"))), "paying-account");
    let view = here.post(route::PROPOSALS, &pay("vault")).unwrap();
    assert_eq!((&view["weight"], &view["threshold"]), (&json!(0), &json!(2)), "{view}");
    assert_eq!((&view["node"]["enough"], &view["state"]), (&json!(false), &json!("open")));
    assert!(view["qr"]["path"].as_str().unwrap().starts_with("M0 0h1v1h-1z"), "{view}");
    let unsigned = text(&view);
    let sign = |wallet: &str, by: &str| json!({"proposal": &unsigned, "wallet": wallet, "by": by});
    assert_eq!(code(here.post(route::PROPOSAL_SIGN, &sign("main", "alice"))), "stranger-signed");
    let first = here.post(route::PROPOSAL_SIGN, &sign("ann", "alice")).unwrap();
    assert_eq!(first["weight"], json!(1), "{first}");
    assert_eq!(here.post(route::PROPOSAL_SIGN, &sign("ann", "alice")).unwrap(), first);
    // Who signed for whom is in the journal, so that no restart lets one person sign for two.
    process.kill().unwrap();
    process.wait().unwrap();
    process = here.serve();
    here.wait_until_ready();
    assert_eq!(code(here.post(route::PROPOSAL_SIGN, &sign("bob", "alice"))), "same-person");
    let texts = |texts: &[&str]| json!({ "proposals": texts });
    let alone = texts(&[&text(&first)]);
    assert_eq!(code(here.post(route::PROPOSAL_SEND, &alone)), "more-must-sign");
    let file = away.secret("proposal", unsigned.as_bytes());
    let file = file.to_str().unwrap();
    let second = text(&away.ok(&["proposal", "sign", file, "--wallet", "cleo"]));
    let cut = texts(&[&second[..second.len() - 2]]);
    assert_eq!(code(here.post(route::PROPOSAL_SHOW, &cut)), "invalid-proposal");
    assert_eq!(code(here.post(route::PROPOSAL_SHOW, &texts(&[]))), "invalid-proposal");
    let both = here.post(route::PROPOSAL_SHOW, &texts(&[&text(&first), &second])).unwrap();
    assert_eq!((&both["enough"], &both["node"]["enough"]), (&json!(true), &json!(true)), "{both}");
    assert_eq!(both["node"]["weight"], json!(2), "{both}");
    let both = texts(&[&text(&both)]);
    let sent = here.post(route::PROPOSAL_SEND, &both).unwrap();
    assert!(["seen", "confirmed"].contains(&sent["state"].as_str().unwrap()), "{sent}");
    let payee: Address = PAYEE.parse().unwrap();
    wait_for("the payment", || (simulator.usdt(payee) == Usdt::whole(7)).then_some(()));
    assert_eq!(here.post(route::PROPOSAL_SEND, &both).unwrap()["state"], json!("confirmed"));
    assert_eq!(here.post(route::PROPOSAL_SHOW, &both).unwrap()["state"], json!("confirmed"));
    assert_eq!(simulator.usdt(payee), Usdt::whole(7));

    // What one key can do alone is a payout, with its limits.
    let trx = json!({"wallet": "ann", "action": "pay-trx", "to": PAYEE, "amount_sun": 1_000_000});
    let alone = text(&here.post(route::PROPOSALS, &trx).unwrap());
    let alone = json!({"proposal": alone, "wallet": "ann", "by": "alice"});
    assert_eq!(code(here.post(route::PROPOSAL_SIGN, &alone)), "no-others-needed");
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}

#[test]
fn the_router_is_let_take_usdt_and_anybody_is_stopped() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    here.funded(&simulator, 1_000_000_000, 50);
    let cold = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH";
    here.ok(&["wallet", "import", "cold", "--watch", cold]);
    let process = here.serve();
    here.wait_until_ready();
    let of = |wallet: &str| format!("{}/{wallet}/allowances", route::WALLETS);
    let found = here.get(&of("main")).unwrap();
    let router = found["items"][0]["spender"].as_str().unwrap().to_owned();
    assert_eq!(
        (&found["items"][0]["router"], &found["items"][0]["amount_micro"]),
        (&json!(true), &json!(0))
    );
    let order = |key: &str, spender: &str, amount: u64| -> Value {
        json!({"idempotency_key": key, "spender": spender, "amount_micro": amount})
    };
    let code = |answer: Result<Value, String>| answer.unwrap_err();
    let until = |here: &Installation, amount: u64| {
        wait_for("the allowance", || {
            std::thread::sleep(std::time::Duration::from_millis(700));
            let found = here.get(&of("main")).unwrap();
            (found["items"][0]["amount_micro"] == json!(amount)).then_some(())
        });
    };
    assert_eq!(code(here.post(&of("main"), &order("k", cold, 1))), "not-the-router");
    assert_eq!(code(here.post(&of("cold"), &order("k", &router, 1))), "cannot-sign");
    assert_eq!(code(here.post(&of("main"), &order("", &router, 1))), "invalid-key");
    let first = here.post(&of("main"), &order("one", &router, 25_000_000)).unwrap();
    let again = here.post(&of("main"), &order("one", &router, 25_000_000)).unwrap();
    assert_eq!(again["txid"], first["txid"]);
    assert!(again["detail"].as_str().unwrap().contains("this is the order given"), "{again}");
    let other = here.post(&of("main"), &order("one", &router, 26_000_000));
    assert_eq!(code(other), "idempotency-key-reused");
    until(&here, 25_000_000);
    here.post(&of("main"), &order("two", &router, 0)).unwrap();
    until(&here, 0);
    // Nobody else ever got anything, and one more is looked at when it is asked for.
    let found = here.get(&format!("{}?spender={cold}", of("main"))).unwrap();
    assert_eq!(found["items"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}
