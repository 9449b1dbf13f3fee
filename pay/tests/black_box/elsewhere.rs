//! Transactions that several sign, or somebody far away: passed on as files, by the commands alone.

use super::world::{Installation, Simulator, wait_for};
use lucid_pay::tron::{Address, Usdt};
use serde_json::{Value, json};

/// Puts three wallets' keys on the first one's account; gives the addresses.
fn shared(here: &mut Installation, simulator: &Simulator) -> Vec<String> {
    let mut addresses = Vec::new();
    for name in ["ann", "bob", "cleo"] {
        let made = here.ok(&["wallet", "create", name]);
        addresses.push(made["address"].as_str().unwrap().to_owned());
    }
    let account = addresses[0].clone();
    simulator.give(&account, 1_000_000_000, 50_000_000);
    let client: Address = account.parse().unwrap();
    wait_for("the money", || (simulator.usdt(client) == Usdt::whole(50)).then_some(()));
    let keys: Vec<&str> = addresses.iter().flat_map(|key| ["--key", key.as_str()]).collect();
    let file = here.dir.path().join("share").to_str().unwrap().to_owned();
    let propose = ["proposal", "share", &account, "--threshold", "2", "-o", &file];
    here.ok(&[&propose[..], &keys[..]].concat());
    here.ok(&["proposal", "sign", &file, "--wallet", "ann", "-o", &file]);
    let sent = here.ok(&["proposal", "send", &file]);
    assert!(["seen", "confirmed"].contains(&sent["state"].as_str().unwrap()), "{sent}");
    addresses
}

#[test]
fn two_of_three_sign_a_payment_that_one_alone_cannot_make() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    let addresses = shared(&mut here, &simulator);
    let account = addresses[0].as_str();
    let payee = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH";
    let path = |name: &str| here.dir.path().join(name).to_str().unwrap().to_owned();
    let (first, second, both) = (path("first"), path("second"), path("both"));

    // The account's first key has no power of its own any more.
    let alone = ["proposal", "pay", account, "--to", payee, "--amount", "7", "-o"];
    here.ok(&[&alone[..], &[first.as_str()]].concat());
    here.ok(&["proposal", "sign", &first, "--wallet", "ann", "-o", &first]);
    let refused = here.run(&["proposal", "send", &first]);
    assert_eq!(refused.status.code(), Some(20));

    // With the shared permission two sign, each their own copy.
    let pay = [&alone[..], &[first.as_str(), "--permission", "2"]].concat();
    let made = here.ok(&pay);
    assert!(made["does"].as_str().unwrap().contains("7 of token"), "{made}");
    here.ok(&["proposal", "sign", &first, "--wallet", "cleo", "-o", &second]);
    here.ok(&["proposal", "sign", &first, "--wallet", "bob", "-o", &first]);
    let shown = here.ok(&["proposal", "show", &first]);
    assert_eq!((&shown["weight"], &shown["threshold"]), (&json!(1), &json!(2)));
    assert_eq!((&shown["enough"], &shown["signed_by"]), (&json!(false), &json!([addresses[1]])));
    assert!(shown["node"].is_string(), "the node says that it is not enough: {shown}");
    assert_eq!(here.run(&["proposal", "send", &first]).status.code(), Some(20));

    here.ok(&["proposal", "merge", &first, &second, "-o", &both]);
    let shown = here.ok(&["proposal", "show", &both]);
    assert_eq!((&shown["enough"], &shown["node"]), (&json!(true), &Value::Null));
    here.ok(&["proposal", "send", &both]);
    let to: Address = payee.parse().unwrap();
    wait_for("the payment", || (simulator.usdt(to) == Usdt::whole(7)).then_some(()));
    // Sent again it is the same transaction, and says how it ended.
    assert_eq!(here.ok(&["proposal", "send", &both])["state"], json!("confirmed"));
    assert_eq!(simulator.usdt(to), Usdt::whole(7));

    // A damaged file, and a place where money would be lost.
    let text = std::fs::read_to_string(&both).unwrap();
    here.secret("cut", &text.as_bytes()[..200]);
    let cut = here.dir.path().join("cut").to_str().unwrap().to_owned();
    assert_eq!(here.run(&["proposal", "show", &cut]).status.code(), Some(65));
    let lost = "TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH";
    let lost = ["proposal", "pay", account, "--to", lost, "--amount", "7"];
    assert_eq!(here.run(&lost).status.code(), Some(20));
    let qr = here.run(&["proposal", "show", &both, "--qr"]);
    assert!(String::from_utf8_lossy(&qr.stdout).contains('█'));
}

#[test]
fn a_watched_account_allows_a_contract_with_a_signature_from_elsewhere() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    let made = here.ok(&["wallet", "create", "key"]);
    let account = made["address"].as_str().unwrap().to_owned();
    simulator.give(&account, 1_000_000_000, 50_000_000);
    let client: Address = account.parse().unwrap();
    wait_for("the money", || (simulator.usdt(client) == Usdt::whole(50)).then_some(()));
    let file = here.dir.path().join("allow").to_str().unwrap().to_owned();
    let spender = simulator.token.to_string();
    let spender = spender.as_str();
    here.ok(&[
        "proposal",
        "allow",
        &account,
        "--spender",
        spender,
        "--amount",
        "12.5",
        "-o",
        &file,
    ]);
    let before = std::fs::read_to_string(&file).unwrap();
    let signed = here.ok(&["proposal", "sign", &file, "--wallet", "key"]);
    // Only the signature comes back, as from a device without this program.
    let proposal =
        lucid_pay::chain::multisig::Proposal::from_text(signed["proposal"].as_str().unwrap());
    let signature = lucid_pay::tron::hex::encode(&proposal.unwrap().signatures()[0]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "it is written where it is asked");
    // One over other bytes is somebody else's, if it is one at all: it is not sent.
    let wrong = format!("00{}", &signature[2..]);
    let other = here.dir.path().join("other").to_str().unwrap().to_owned();
    let taken = here.run(&["proposal", "sign", &file, "--signature", &wrong, "-o", &other]);
    if taken.status.success() {
        assert_eq!(here.run(&["proposal", "send", &other]).status.code(), Some(20));
    }
    let short = ["proposal", "sign", &file, "--signature", &signature[..128]];
    assert_eq!(here.run(&short).status.code(), Some(65));
    here.ok(&["proposal", "sign", &file, "--signature", &signature, "-o", &file]);
    here.ok(&["proposal", "send", &file]);
    wait_for("the allowance", || {
        let found = here.ok(&["wallet", "allowance", &account, spender]);
        (found["allowance_micro"] == json!(12_500_000)).then_some(())
    });
}
