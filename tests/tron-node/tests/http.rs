//! The node's answers on HTTP: forms of addresses, empty answers, errors with status 200, faults.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tron_node::http::{Node, control, full_node};
use tron_node::ledger::params::Params;
use tron_node::ledger::{Genesis, Ledger};

const ALICE: &str = "TZ6qakaUVgEwqwvH8nBBc8cjzUTH7tU9i4";
const ALICE_HEX: &str = "41fdbc5749d8eb67e7df5c7538ed3a118b3689166d";

struct Sim {
    node: Router,
    control: Router,
}

impl Sim {
    fn new() -> Self {
        let genesis = Genesis {
            seed: 3,
            time_ms: 1_760_000_000_000,
            interval_ms: 3000,
            params: Params::default(),
            router: "payout(address,uint256,bytes32)".to_owned(),
        };
        let node = Node::new(Ledger::new(&genesis), true);
        Self { node: full_node(node.clone()), control: control(node) }
    }

    async fn send(router: &Router, method: &str, path: &str, body: Value) -> (u16, String) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = match answer.into_body().collect().await {
            Ok(body) => String::from_utf8(body.to_bytes().to_vec()).unwrap(),
            Err(_) => "broken".to_owned(),
        };
        (status, body)
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        let (status, text) = Self::send(&self.node, "POST", path, body).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, text) = Self::send(&self.control, method, path, body).await;
        assert!(status < 300, "{status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn funded() -> Self {
        let sim = Self::new();
        let gift = json!({"address": ALICE, "sun": 100_000_000, "usdt_micro": 50_000_000});
        sim.control("POST", "/sim/faucet", gift).await;
        sim.control("POST", "/sim/mine", json!({"blocks": 1})).await;
        sim
    }
}

#[tokio::test]
async fn addresses_are_taken_and_given_in_the_form_asked_for() {
    let sim = Sim::funded().await;
    let hex = sim.call("/wallet/getaccount", json!({"address": ALICE_HEX})).await;
    assert_eq!((&hex["address"], &hex["balance"]), (&json!(ALICE_HEX), &json!(100_000_000)));
    let body = json!({"address": ALICE, "visible": true});
    let shown = sim.call("/wallet/getaccount", body.clone()).await;
    assert_eq!(shown["address"], ALICE);
    assert_eq!(shown["owner_permission"]["keys"][0]["address"], ALICE);
    let wrong = sim.call("/wallet/getaccount", json!({"address": ALICE})).await;
    assert!(wrong["Error"].as_str().unwrap().contains("invalid address"), "{wrong}");
    // Not final yet, so a solidity node does not know it.
    assert_eq!(sim.call("/walletsolidity/getaccount", body).await, json!({}));
    let path = format!("/wallet/getaccount?address={ALICE}&visible=true");
    let (_, got) = Sim::send(&sim.node, "GET", &path, Value::Null).await;
    assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), shown);
}

#[tokio::test]
async fn nothing_found_is_an_empty_object_and_errors_have_status_200() {
    let sim = Sim::funded().await;
    let id = json!({"value": "00".repeat(32)});
    for call in ["gettransactionbyid", "gettransactioninfobyid", "gettransactionfrompending"] {
        assert_eq!(sim.call(&format!("/wallet/{call}"), id.clone()).await, json!({}), "{call}");
    }
    assert_eq!(sim.call("/wallet/getblock", json!({"id_or_num": "99"})).await, json!({}));
    let pay = json!({"owner_address": ALICE, "to_address": ALICE, "amount": 1, "visible": true});
    let error = sim.call("/wallet/createtransaction", pay).await;
    let text = "class org.tron.core.exception.ContractValidateException : \
                Cannot transfer TRX to yourself.";
    assert_eq!(error, json!({"Error": text}));
    let error = sim.call("/wallet/broadcasthex", json!({"transaction": "0a0b"})).await;
    assert!(error["Error"].as_str().unwrap().contains("InvalidProtocolBuffer"), "{error}");
    let (status, _) = Sim::send(&sim.node, "POST", "/wallet/nosuchcall", json!({})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_constant_call_estimates_and_a_refused_one_says_why_in_hex() {
    let sim = Sim::funded().await;
    let state = sim.control("GET", "/sim/state", Value::Null).await;
    let token = state["token"].as_str().unwrap();
    let to = "00000000000000000000000036659d08a896709c991f33ea6ff9152cd5dfc24f";
    let mut call = json!({
        "owner_address": ALICE, "contract_address": token, "visible": true,
        "function_selector": "transfer(address,uint256)",
        "parameter": format!("{to}{:064x}", 50_000_000),
    });
    let path = "/wallet/triggerconstantcontract";
    let seen = sim.call(path, call.clone()).await;
    assert_eq!(seen["energy_used"], 130_285);
    assert_eq!(seen["constant_result"], json!(["00".repeat(32)]), "false although it works");
    call["parameter"] = json!(format!("{to}{:064x}", 50_000_001));
    let seen = sim.call(path, call.clone()).await;
    assert_eq!(seen["result"]["result"], true, "the node says so even of a revert");
    assert_eq!(seen["transaction"]["ret"][0]["ret"], "FAILED");
    let seen = sim.call("/wallet/estimateenergy", call.clone()).await;
    assert_eq!(seen["result"]["code"], "CONTRACT_VALIDATE_ERROR");
    call["contract_address"] = json!(ALICE);
    let seen = sim.call("/wallet/triggersmartcontract", call).await;
    assert_eq!(seen["result"]["code"], "CONTRACT_VALIDATE_ERROR");
}

#[tokio::test]
async fn the_fault_dial_breaks_what_it_is_told_to() {
    let sim = Sim::funded().await;
    let rules = json!([
        {"call": "getnowblock", "times": 1, "fault": "status", "status": 429},
        {"call": "getnowblock", "after": 1, "times": 1, "fault": "lose-answer"},
        {"call": "getaccount", "times": 1, "fault": "balance", "amount": 7},
    ]);
    sim.control("PUT", "/sim/faults", rules).await;
    let now = async || Sim::send(&sim.node, "POST", "/wallet/getnowblock", json!({})).await;
    assert_eq!(now().await.0, 429);
    assert_eq!(now().await, (200, "broken".to_owned()));
    assert_eq!(now().await.0, 200);
    let body = json!({"address": ALICE_HEX});
    assert_eq!(sim.call("/wallet/getaccount", body.clone()).await["balance"], 7);
    assert_eq!(sim.call("/wallet/getaccount", body).await["balance"], 100_000_000);
}

#[tokio::test]
async fn a_lagging_solidity_is_seen_from_outside() {
    let sim = Sim::funded().await;
    sim.control("POST", "/sim/chain", json!({"solid_lag": 5})).await;
    let state = sim.control("POST", "/sim/mine", json!({"blocks": 30})).await;
    assert_eq!((&state["head"], &state["solid"]), (&json!(31), &json!(7)));
    let block = sim.call("/walletsolidity/getnowblock", json!({})).await;
    assert_eq!(block["block_header"]["raw_data"]["number"], 7);
    let advanced = sim.control("POST", "/sim/advance", json!({"ms": 86_400_000})).await;
    let ahead = advanced["now_ms"].as_u64().unwrap() - state["now_ms"].as_u64().unwrap();
    assert!(ahead >= 86_400_000, "{ahead}");
}
