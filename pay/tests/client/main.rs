//! The client against the simulated node over real HTTP, with its fault dial.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chain;
mod sim;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use lucid_pay::client::{
    ANSWER_BYTES_MAX, ApiKey, Endpoint, HttpNode, Network, Nodes, Timeouts, Transport,
    health::FAILURES_MAX,
};
use lucid_pay::journal::FileMedium;
use lucid_pay::node::{Answer, NodeError, TronNode};
use lucid_pay::payout::book::State;
use lucid_pay::payout::driver::Driver;
use lucid_pay::payout::event::Event;
use lucid_pay::payout::hot::HotWallet;
use lucid_pay::payout::policy::Policy;
use lucid_pay::payout::rules::Strict;
use lucid_pay::payout::types::{Request as Payout, Route, TxId};
use lucid_pay::tron::{Sun, Usdt, abi};
use lucid_pay_api::NodeState;
use serde_json::json;
use sim::{START_MS, Sim, client, key, transport};
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(20);

/// A node that answers everything by `answer`, and how often it was asked.
async fn stub<F>(answer: F) -> (String, Arc<AtomicUsize>)
where
    F: Fn(Request) -> Response + Clone + Send + Sync + 'static,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let router = Router::new().fallback(move |request: Request| {
        count.fetch_add(1, Ordering::SeqCst);
        let answer = answer(request);
        async move { answer }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

fn text(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

#[tokio::test]
async fn what_the_chain_has_is_read_from_the_node() {
    let sim = Sim::new(1).await;
    let (rich, other) = (key(1).address(), key(2).address());
    sim.fund(rich, 500_000_000, 70_000_000).await;
    let node = sim.client("a");
    let (head, solid) = (node.head().await.unwrap(), node.solid().await.unwrap());
    assert_eq!(head.number - solid.number, sim::SOLID_AFTER);
    assert_eq!(node.solid_id(solid.number).await.unwrap(), Some(solid.id));
    assert_eq!(node.solid_id(head.number).await.unwrap(), None, "not final yet");
    assert_eq!(node.balance(rich, sim.token()).await.unwrap(), Usdt::whole(70));
    assert_eq!(node.balance(other, sim.token()).await.unwrap(), Usdt::ZERO);
    let account = node.account(rich, true).await.unwrap().unwrap();
    assert_eq!(account.balance, Sun::whole(500));
    assert!(account.is_own_key() && !account.contract);
    assert_eq!(node.account(other, false).await.unwrap(), None, "no account yet");
    assert_eq!(node.resources(rich).await.unwrap().free_limit, 600);
    let parameters = node.parameters().await.unwrap();
    assert_eq!((parameters.energy_price.units(), parameters.unfreeze_days), (100, 14));
    // 130,285 energy at 100 sun, and 30 % more.
    let amount = Usdt::whole(5);
    let pay = |amount: Usdt| abi::transfer(&other, amount.units());
    let limit = node.fee_limit(rich, sim.token(), &pay(amount), 0).await.unwrap();
    assert_eq!(limit, Ok(16_937_050));
    let over = node.fee_limit(rich, sim.token(), &pay(Usdt::whole(71)), 0).await.unwrap();
    assert!(over.unwrap_err().contains("REVERT"));
    let nothing = node.fee_limit(rich, rich, &pay(amount), 0).await.unwrap().unwrap_err();
    assert!(nothing.contains("not exist"), "{nothing}");
    // 13,028,500 sun each for energy; the first has its bandwidth free, the others burn for it.
    let unpaid = async |before| node.fee_limit(rich, sim.token(), &pay(amount), before).await;
    assert_eq!(unpaid(36).await.unwrap(), Ok(16_937_050));
    let why = unpaid(37).await.unwrap().unwrap_err();
    assert!(why.contains("holds 500 TRX") && why.contains("with 37 that no block"), "{why}");
    sim.fund(other, 13_028_499, 70_000_000).await;
    let poor = node.fee_limit(other, sim.token(), &abi::transfer(&rich, 5_000_000), 0).await;
    assert!(poor.unwrap().is_ok(), "a holder of USDT costs less");
    let new = abi::transfer(&key(3).address(), 5_000_000);
    let why = node.fee_limit(other, sim.token(), &new, 0).await.unwrap().unwrap_err();
    assert!(why.contains("holds 13.028499 TRX, and 13.0285 TRX would be burned"), "{why}");
    assert_eq!(node.receipt(TxId([7; 32])).await.unwrap(), None);
}

fn driver(
    sim: &Sim,
    nodes: Vec<HttpNode>,
    directory: &std::path::Path,
) -> Driver<Strict, FileMedium, HttpNode, HotWallet> {
    let mut policy = Policy::new(sim.token(), key(1).address());
    // The simulated chain began long ago.
    policy.skew = u64::MAX;
    let medium = FileMedium::open(directory).unwrap();
    Driver::open(medium, policy, nodes, HotWallet::new(key(1))).unwrap().0
}

fn payout(n: u8) -> Payout {
    Payout {
        payee: key(100 + n).address(),
        amount: Usdt::whole(5),
        reason: "work".into(),
        evidence: [n; 32],
        route: Route::Direct,
        credits: None,
        requested_by: "ann".into(),
        key: None,
    }
}

#[tokio::test]
async fn payouts_go_through_lost_answers_limits_and_forks_once_each() {
    let sim = Sim::new(2).await;
    sim.fund(key(1).address(), 9_000_000_000, 100_000_000).await;
    let second = sim.again().await;
    let directory = tempfile::tempdir().unwrap();
    let nodes = vec![sim.client("a"), client("b", &second, LONG)];
    let mut driver = driver(&sim, nodes, directory.path());
    let requests: Vec<_> = (0..6).map(payout).collect();
    let ids: Vec<_> = requests.iter().map(Payout::id).collect();
    let now = || sim.node.now_ms();
    driver.accept(Event::Requests { batch: None, requests }, now()).unwrap();
    sim.faults(json!([
        {"call": "broadcasthex", "times": 1, "fault": "lose-answer"},
        {"call": "broadcasthex", "times": 1, "after": 2, "fault": "execute-and-code",
         "code": "OTHER_ERROR"},
        {"call": "broadcasthex", "times": 1, "after": 3, "fault": "forget"},
        {"call": "gettransactioninfobyid", "times": 2, "after": 5, "fault": "garbage"},
        {"call": "gettransactioninfobyid", "times": 2, "after": 9, "fault": "wrong-receipt"},
    ]))
    .await;
    let mut rounds = 0;
    while ids.iter().any(|id| driver.engine.book.payouts[id].state() != State::Confirmed) {
        driver.round(now).await.unwrap();
        sim.mine(1);
        if rounds == 3 {
            let fork = json!({"depth": 2, "lose": true});
            sim.control(reqwest::Method::POST, "fork", fork).await;
        }
        rounds += 1;
        assert!(rounds < 400, "{:?}", driver.engine.book.payouts[&ids[0]].history);
    }
    sim.mine(sim::SOLID_AFTER + 1);
    let node = sim.client("c");
    for n in 0..6 {
        let held = node.balance(key(100 + n).address(), sim.token()).await.unwrap();
        assert_eq!(held, Usdt::whole(5), "exactly once");
    }
    let rest = node.balance(key(1).address(), sim.token()).await.unwrap();
    assert_eq!(rest, Usdt::whole(70));
}

#[tokio::test]
async fn a_node_that_limits_is_left_alone_and_the_next_one_answers() {
    let sim = Sim::new(3).await;
    let (limited, asked) = stub(|_| {
        let mut response = text(429, "slow down");
        response.headers_mut().insert("retry-after", "60".parse().unwrap());
        response
    })
    .await;
    let nodes = Nodes::new(vec![client("limited", &limited, LONG), sim.client("good")]);
    for _ in 0..5 {
        nodes.read(async |node| node.head().await).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it asked for a minute");
    let report = nodes.report();
    assert_eq!((report[0].state, report[1].state), (NodeState::RateLimited, NodeState::Healthy));
    assert!(report[0].trouble.as_deref().unwrap().contains("429"), "{report:?}");
    // By itself it says how long it will be left alone.
    let error = nodes.all()[0].head().await.unwrap_err();
    assert!(error.to_string().contains("left alone"), "{error}");
}

#[tokio::test]
async fn a_dead_node_is_not_asked_for_ever_and_every_fault_moves_on() {
    let sim = Sim::new(4).await;
    sim.mine(30);
    let (broken, asked) = stub(|_| text(200, "upstream connect error")).await;
    let alone = Nodes::new(vec![client("broken", &broken, LONG)]);
    for _ in 0..FAILURES_MAX + 5 {
        let error = alone.read(async |node| node.head().await).await.unwrap_err();
        assert!(error.to_string().contains("broken: "), "{error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), FAILURES_MAX as usize, "the circuit is open");
    assert_eq!(alone.report()[0].state, NodeState::Down);

    let faults = [
        json!({"fault": "status", "status": 503}),
        json!({"fault": "status", "status": 500}),
        json!({"fault": "lose-request"}),
        json!({"fault": "lose-answer"}),
        json!({"fault": "garbage"}),
        json!({"fault": "empty"}),
        json!({"fault": "latency", "ms": 600_000}),
    ];
    for mut fault in faults {
        let nodes = Nodes::new(vec![
            client("bad", &sim.url, Duration::from_millis(500)),
            client("good", &sim.url, LONG),
        ]);
        fault["times"] = json!(1);
        sim.faults(json!([fault])).await;
        let head = nodes.read(async |node| node.head().await).await.unwrap();
        assert_eq!(head.number, 30, "{fault}");
        let trouble = &nodes.report()[0].trouble;
        assert!(fault["fault"] == "empty" || trouble.is_some(), "{fault}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_a_redirect_is_not_followed() {
    let (long, _) = stub(|_| text(200, vec![b' '; ANSWER_BYTES_MAX + 1])).await;
    let error = client("long", &long, LONG).head().await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
    let (target, asked) = stub(|_| text(200, "{}")).await;
    let (moved, _) = stub(move |_| {
        let mut response = text(302, "");
        response.headers_mut().insert("location", target.parse().unwrap());
        response
    })
    .await;
    let error = client("moved", &moved, LONG).head().await.unwrap_err();
    assert!(matches!(error, NodeError::Malformed(_) | NodeError::Refused(_)), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_key_is_sent_as_a_header_and_shown_nowhere() {
    const KEY: &str = "0f5ce7d1-key-that-nobody-sees";
    let (url, asked) = stub(|request| {
        let found = request.headers().get("tron-pro-api-key").map(|key| key.as_bytes());
        assert_eq!(found, Some(KEY.as_bytes()));
        assert!(!request.uri().to_string().contains(KEY));
        text(500, "no")
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let key = ApiKey::read(&file).unwrap();
    let endpoint = Endpoint::new("n", &url, None, Some(key)).unwrap();
    let node = HttpNode::new(endpoint, Network::Private, transport(LONG));
    let error = node.head().await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let nodes = Nodes::new(vec![node]);
    let shown = format!("{error} {error:?} {nodes:?} {:?}", nodes.report());
    assert!(!shown.contains(KEY), "{shown}");
}

#[tokio::test]
async fn a_node_of_another_network_is_not_believed() {
    let sim = Sim::new(5).await;
    let endpoint = Endpoint::new("n", &sim.url, None, None).unwrap();
    let node = HttpNode::new(endpoint, Network::Mainnet, transport(LONG));
    let error = node.head().await.unwrap_err();
    assert!(error.to_string().contains("not of mainnet"), "{error}");
    let watch = Nodes::new(vec![node]).watch(START_MS).await;
    assert_eq!(watch.disagreements[0].contradicted, ["n"]);
    assert_eq!(watch.nodes[0].state, NodeState::Down);
}

#[tokio::test]
async fn nodes_that_disagree_are_noticed_and_the_minority_is_not_asked() {
    let (one, other) = (Sim::new(6).await, Sim::new(6).await);
    for sim in [&one, &other] {
        sim.mine(25);
    }
    // The same first block and another chain after it: one has a transaction the other has not.
    one.fund(key(1).address(), 5_000_000, 0).await;
    other.mine(sim::SOLID_AFTER + 1);
    let two = Nodes::new(vec![one.client("a"), other.client("b")]);
    let watch = two.watch(START_MS).await;
    let [found] = &watch.disagreements[..] else { panic!("{watch:?}") };
    assert!(found.about.starts_with("solidified block"), "{found:?}");
    assert_eq!((found.said.len(), found.contradicted.len()), (2, 0), "nobody knows who is right");

    let again = one.again().await;
    let three = Nodes::new(vec![other.client("odd"), one.client("a"), client("b", &again, LONG)]);
    let watch = three.watch(START_MS).await;
    assert_eq!(watch.disagreements[0].contradicted, ["odd"]);
    assert_eq!(watch.nodes[0].state, NodeState::Down);
    let seen = three.read(async |node| node.account(key(1).address(), true).await).await;
    assert_eq!(seen.unwrap().unwrap().balance, Sun::whole(5), "a node of the majority answered");
    let error = three.all()[0].head().await.unwrap_err();
    assert!(error.to_string().contains("contradict"), "{error}");
}

#[tokio::test]
async fn a_node_that_lags_and_a_clock_that_is_wrong_are_told_apart() {
    let (fresh, stale) = (Sim::new(7).await, Sim::new(7).await);
    fresh.mine(100);
    stale.mine(50);
    let now = fresh.node.now_ms();
    let nodes = Nodes::new(vec![stale.client("stale"), fresh.client("fresh")]);
    let watch = nodes.watch(now).await;
    assert_eq!(watch.nodes[0].state, NodeState::Behind);
    assert_eq!((watch.nodes[1].state, watch.nodes[1].skew_ms), (NodeState::Healthy, Some(0)));
    assert_eq!((watch.clock_off_ms, watch.disagreements.len()), (None, 0));
    let head = nodes.read(async |node| node.head().await).await.unwrap();
    assert_eq!(head.number, 100, "the fresh one is asked first");
    let watch = nodes.watch(now + 3_600_000).await;
    assert_eq!(watch.clock_off_ms, Some(-3_600_000), "our clock is an hour ahead");
    let watch = nodes.watch(now - 3_600_000).await;
    assert_eq!(watch.clock_off_ms, Some(3_600_000));
}

#[tokio::test]
async fn broadcasts_are_read_by_their_code_and_never_taken_for_more() {
    let sim = Sim::new(8).await;
    sim.fund(key(1).address(), 50_000_000, 0).await;
    let node = sim.client("a");
    let signed = transfer(&sim, &node).await;
    let answer = async || node.broadcast(&signed).await;
    for (code, refused) in [
        ("SERVER_BUSY", false),
        ("NO_CONNECTION", false),
        ("NOT_ENOUGH_EFFECTIVE_CONNECTION", false),
        ("BLOCK_UNSOLIDIFIED", false),
        ("OTHER_ERROR", false),
        ("SOMETHING_NEW", false),
        ("TAPOS_ERROR", true),
        ("SIGERROR", true),
        ("BANDWITH_ERROR", true),
        ("TRANSACTION_EXPIRATION_ERROR", true),
    ] {
        sim.faults(json!([{"call": "broadcasthex", "fault": "code", "code": code}])).await;
        match answer().await.unwrap() {
            Answer::Refused(why) => assert!(refused && why.contains(code), "{why}"),
            Answer::Unclear(why) => assert!(!refused && why.contains(code), "{why}"),
            other => panic!("{code}: {other:?}"),
        }
    }
    sim.faults(json!([{"call": "broadcasthex", "times": 1, "fault": "lose-answer"}])).await;
    assert!(matches!(answer().await, Err(NodeError::Unreachable(_))));
    assert_eq!(answer().await.unwrap(), Answer::Duplicate, "it was taken all the same");
    let mut altered = signed.clone();
    let last = altered.len() - 2;
    altered[last] ^= 1;
    let refused = node.broadcast(&altered).await.unwrap();
    assert_eq!(refused, Answer::Duplicate, "the id leaves signatures out");
    assert!(matches!(node.broadcast(b"nothing").await, Err(NodeError::Malformed(_))));
}

/// A signed transfer of 1 TRX.
async fn transfer(sim: &Sim, node: &HttpNode) -> Vec<u8> {
    use lucid_pay::tron::transaction::{Frame, RefBlock, Unsigned};
    let contract = tron_protobuf::TransferContract {
        owner_address: key(1).address().to_bytes().to_vec(),
        to_address: key(2).address().to_bytes().to_vec(),
        amount: 1_000_000,
    };
    let now = i64::try_from(sim.node.now_ms()).unwrap();
    let frame = Frame {
        block: RefBlock::of(&node.solid().await.unwrap().id),
        timestamp: now,
        expiration: now + 600_000,
        fee_limit: 0,
        memo: Vec::new(),
        permission_id: 0,
    };
    let unsigned = Unsigned::build(&contract, frame).unwrap();
    unsigned.signed_once(&key(1).sign(&unsigned.txid))
}

/// A node behind TLS with a certificate of its own authority. Gives its URL and the authority.
async fn behind_tls() -> (String, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let block = format!(
                r#"{{"blockID":"{:064x}","block_header":{{"raw_data":{{"timestamp":7}}}}}}"#,
                1
            );
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", block.len());
            let _ = stream.write_all((head + &block).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (format!("https://localhost:{port}"), made.cert.pem())
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_nobody_else() {
    let (url, authority) = behind_tls().await;
    let timeouts = Timeouts { connect: LONG, whole: LONG };
    let node = |transport| {
        let endpoint = Endpoint::new("n", &url, None, None).unwrap();
        HttpNode::new(endpoint, Network::Private, transport)
    };
    let stranger = node(Transport::new(timeouts, b"").unwrap());
    let error = stranger.head().await.unwrap_err();
    assert!(error.to_string().contains("certificate is not trusted"), "{error}");
    let trusted = node(Transport::new(timeouts, authority.as_bytes()).unwrap());
    assert_eq!(trusted.head().await.unwrap().time, 7);
}
