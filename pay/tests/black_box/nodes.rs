//! Nodes that disagree, one that lies, and a chain whose clock is an hour off.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use lucid_pay::tron::{Address, Usdt};
use serde_json::{Value, json};

use super::world::{Installation, Simulator, terminate};

const PAYEE: &str = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8";

fn payee() -> Address {
    PAYEE.parse().unwrap()
}

fn cause(payout: &Value) -> &str {
    payout["cause"].as_str().unwrap()
}

#[test]
fn nodes_that_disagree_sign_nothing_until_most_agree() {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let start_ms = Some(u64::try_from(now_ms).unwrap());
    let simulator = Simulator::since(100, start_ms);
    // The same first block, and no money: from the gift on it is another chain.
    let other = Simulator::since(100, start_ms);
    let mut here = Installation::new(&simulator, true);
    here.funded(&simulator, 1_000_000_000, 50);
    let (one, two) = (format!("one={}", simulator.node), format!("two={}", other.node));
    here.nodes(&[&one, &two]);
    let process = here.serve();
    here.wait_until_ready();
    let id = here.ask(PAYEE, "7", "first");
    let held = here.until(&id, "the disagreement", |payout| cause(payout).contains("disagree"));
    assert_eq!(held["state"], json!("held"), "{held}");
    let why = here.ok(&["payout", "why", &id]);
    assert!(why["because"].as_str().unwrap().contains("disagree"), "{why}");
    assert_eq!(simulator.usdt(payee()), Usdt::ZERO);
    assert_eq!(terminate(process), Some(0), "{}", here.log());
    assert!(here.log().contains("nodes disagree"), "the log says so as well");

    // A third one, the first by another address, makes two against one.
    let third = format!("three={}", simulator.node.replace("127.0.0.1", "localhost"));
    here.nodes(&[&one, &two, &third]);
    let process = here.serve();
    here.wait_until_ready();
    here.until(&id, "the payment", |payout| payout["state"] == json!("confirmed"));
    assert_eq!(simulator.usdt(payee()), Usdt::whole(7));
    assert_eq!(other.usdt(payee()), Usdt::ZERO);
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}

/// What a liar says instead of the node's answer.
#[derive(Clone)]
enum Lie {
    /// The truth.
    None,
    /// This much USDT, in the smallest unit, for every balance.
    Balance(u64),
    /// For every transaction this receipt, under the id that was asked for.
    Receipt(Value),
}

/// A node that passes on another one's answers, and lies where it is told to.
struct Liar {
    url: String,
    lie: Arc<Mutex<Lie>>,
    /// How often it lied.
    told: Arc<AtomicU32>,
}

impl Liar {
    fn before(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (lie, told) = (Arc::new(Mutex::new(Lie::None)), Arc::new(AtomicU32::new(0)));
        let node = node.trim_start_matches("http://").to_owned();
        let (lies, count) = (Arc::clone(&lie), Arc::clone(&told));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (node, lies, count) = (node.clone(), Arc::clone(&lies), Arc::clone(&count));
                // A peer that hangs up in the middle is no matter here.
                std::thread::spawn(move || pass_on(stream, &node, &lies, &count));
            }
        });
        Self { url, lie, told }
    }

    fn tell(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
        self.told.store(0, Ordering::SeqCst);
    }
}

/// Head and body of a message with a length.
fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut part = [0; 4096];
        let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut body = bytes.split_off(end);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut rest = vec![0; length.unwrap_or(0).saturating_sub(body.len())];
    stream.read_exact(&mut rest).ok()?;
    body.extend(rest);
    Some((head, body))
}

fn pass_on(mut peer: TcpStream, node: &str, lies: &Mutex<Lie>, told: &AtomicU32) -> Option<()> {
    let (head, body) = message(&mut peer)?;
    let path = head.split(' ').nth(1)?.to_owned();
    let mut real = TcpStream::connect(node).ok()?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {node}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    real.write_all(request.as_bytes()).ok()?;
    real.write_all(&body).ok()?;
    let (_, answer) = message(&mut real)?;
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let lie = lies.lock().unwrap().clone();
    let answer = match lie {
        Lie::Balance(amount)
            if path.ends_with("triggerconstantcontract")
                && asked.to_string().contains("70a08231") =>
        {
            told.fetch_add(1, Ordering::SeqCst);
            let mut said: Value = serde_json::from_slice(&answer).ok()?;
            said["constant_result"] = json!([format!("{amount:064x}")]);
            said.to_string().into_bytes()
        }
        Lie::Receipt(mut receipt) if path.ends_with("gettransactioninfobyid") => {
            told.fetch_add(1, Ordering::SeqCst);
            receipt["id"] = asked["value"].clone();
            receipt.to_string().into_bytes()
        }
        _ => answer,
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        answer.len()
    );
    peer.write_all(head.as_bytes()).ok()?;
    peer.write_all(&answer).ok()
}

#[test]
fn one_lying_node_neither_overdraws_nor_confirms_and_a_wrong_clock_signs_nothing() {
    let simulator = Simulator::start(100);
    let liar = Liar::before(&simulator.node);
    let mut here = Installation::new(&simulator, true);
    here.funded(&simulator, 2_000_000_000, 50);
    here.nodes(&[&format!("honest={}", simulator.node), &format!("liar={}", liar.url)]);
    let process = here.serve();
    here.wait_until_ready();

    // A balance that is not there: the lower one counts.
    liar.tell(Lie::Balance(9_000_000_000));
    let large = here.ask(PAYEE, "900", "large");
    let held = here.until(&large, "the balance", |payout| cause(payout).contains("900"));
    assert_eq!(held["state"], json!("held"), "{held}");
    assert!(liar.told.load(Ordering::SeqCst) > 0);
    here.ok(&["payout", "reject", &large, "--by", "carol", "--reason", "it was a test"]);

    // The receipt of a payout that was made, shown for one that no block holds.
    liar.tell(Lie::None);
    let first = here.ask(PAYEE, "7", "first");
    let paid = here.until(&first, "the first", |payout| payout["state"] == json!("confirmed"));
    let url = "walletsolidity/gettransactioninfobyid";
    let receipt = simulator.asked(url, &json!({"value": paid["txid"]}));
    assert!(receipt["id"].is_string(), "{receipt}");
    simulator.control("chain", &json!({"hold": true}));
    liar.tell(Lie::Receipt(receipt));
    let second = here.ask(PAYEE, "7", "second");
    let sent = here.until(&second, "the second", |_| liar.told.load(Ordering::SeqCst) >= 20);
    // In a block that may be replaced, says the liar; that proves nothing.
    assert_ne!(sent["state"], json!("confirmed"), "{sent}");
    assert_eq!(simulator.usdt(payee()), Usdt::whole(7));
    // In a block by now; as long as one node says otherwise, nobody knows.
    simulator.control("chain", &json!({"hold": false}));
    liar.told.store(0, Ordering::SeqCst);
    let still = here.until(&second, "more lies", |_| liar.told.load(Ordering::SeqCst) >= 20);
    assert_ne!(still["state"], json!("confirmed"), "{still}");
    liar.tell(Lie::None);
    here.until(&second, "the truth", |payout| payout["state"] == json!("confirmed"));
    assert_eq!(simulator.usdt(payee()), Usdt::whole(14));

    // The chain's clock, or this machine's, is an hour off.
    simulator.control("advance", &json!({"ms": 3_600_000}));
    let late = here.ask(PAYEE, "7", "late");
    let held = here.until(&late, "the clock", |payout| cause(payout).contains("clock"));
    assert_eq!(held["state"], json!("held"), "{held}");
    assert_eq!(simulator.usdt(payee()), Usdt::whole(14));
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}
