//! The simulated node on real sockets.

use std::time::Duration;

use lucid_pay::client::{Endpoint, HttpNode, Network, Timeouts, Transport};
use lucid_pay::tron::Address;
use lucid_pay::tron::key::PrivateKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tron_node::http::{Node, control, full_node};
use tron_node::ledger::params::Params;
use tron_node::ledger::{Genesis, Ledger};

pub const START_MS: u64 = 1_760_000_000_000;
/// A block is final when this many stand on it.
pub const SOLID_AFTER: u64 = 19;

/// A node whose blocks are made on demand, with its controls.
pub struct Sim {
    pub node: Node,
    pub url: String,
    control: String,
    http: reqwest::Client,
}

pub fn transport(whole: Duration) -> Transport {
    Transport::new(Timeouts { connect: Duration::from_secs(5), whole }, b"").unwrap()
}

/// A plain client for the controls; it never meets TLS, but reqwest wants to know how it would.
fn plain() -> reqwest::Client {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

async fn serve(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

impl Sim {
    pub async fn new(seed: u64) -> Self {
        let genesis = Genesis {
            seed,
            time_ms: START_MS,
            interval_ms: 3_000,
            params: Params::default(),
            router: "payout(address,uint256,bytes32)".to_owned(),
        };
        let node = Node::new(Ledger::new(&genesis), true);
        let url = serve(full_node(node.clone())).await;
        let control = serve(control(node.clone())).await;
        Self { node, url, control, http: plain() }
    }

    /// A second address of the same node.
    pub async fn again(&self) -> String {
        serve(full_node(self.node.clone())).await
    }

    pub async fn control(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let request = self.http.request(method, format!("{}/sim/{path}", self.control));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub async fn faults(&self, rules: Value) {
        self.control(reqwest::Method::PUT, "faults", rules).await;
    }

    pub fn mine(&self, blocks: u64) {
        (0..blocks).for_each(|_| self.node.make_block());
    }

    /// Gives an account TRX and USDT, and makes it final.
    pub async fn fund(&self, to: Address, sun: u64, usdt: u64) {
        let gift = json!({"address": to.to_string(), "sun": sun, "usdt_micro": usdt});
        self.control(reqwest::Method::POST, "faucet", gift).await;
        self.mine(SOLID_AFTER + 1);
    }

    pub fn token(&self) -> Address {
        self.node.ledger().state(false).token.address.to_string().parse().unwrap()
    }

    pub fn client(&self, name: &str) -> HttpNode {
        client(name, &self.url, Duration::from_secs(20))
    }
}

pub fn client(name: &str, url: &str, whole: Duration) -> HttpNode {
    let endpoint = Endpoint::new(name, url, None, None).unwrap();
    HttpNode::new(endpoint, Network::Private, transport(whole))
}

pub fn key(n: u8) -> PrivateKey {
    PrivateKey::from_bytes(&[n; 32]).unwrap()
}
