//! The binary `tron-node`.

#![forbid(unsafe_code)]

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tron_node::http::{Node, control, full_node};
use tron_node::ledger::params::Params;
use tron_node::ledger::{Genesis, Ledger};

/// A TRON node for tests. Prints one line of JSON with its addresses when it is ready; everything
/// it knows is in memory.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Address of the node's HTTP API; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Address of the controls `/sim/*`; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8099")]
    control: SocketAddr,
    /// Makes every key of the chain; the same seed makes the same addresses
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Milliseconds between blocks
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    block_interval_ms: u64,
    /// Milliseconds in a day, for waiting times of stake, rewards and resources
    #[arg(long, default_value_t = 86_400_000, value_parser = clap::value_parser!(u64).range(1..))]
    day_ms: u64,
    /// Make blocks only on POST /sim/mine; the clock stands between them
    #[arg(long)]
    manual: bool,
    /// Time of the first block in milliseconds since 1970; the present if absent
    #[arg(long)]
    start_ms: Option<u64>,
    /// The router's function; its first arguments are the payee and the amount
    #[arg(long, default_value = "payout(address,uint256,bytes32)")]
    router: String,
    /// Answer `estimateenergy`, as few nodes do
    #[arg(long)]
    estimate_energy: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let genesis = Genesis {
        seed: options.seed,
        time_ms: options.start_ms.unwrap_or(now_ms),
        interval_ms: options.block_interval_ms,
        params: Params {
            day_ms: options.day_ms,
            estimate_energy: options.estimate_energy,
            ..Params::default()
        },
        router: options.router,
    };
    let node = Node::new(Ledger::new(&genesis), options.manual);
    let listen = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let controls = TcpListener::bind(options.control)
        .await
        .with_context(|| format!("cannot listen on {}", options.control))?;
    let ready = {
        let ledger = node.ledger();
        json!({
            "node": format!("http://{}", listen.local_addr()?),
            "control": format!("http://{}", controls.local_addr()?),
            "faucet": ledger.faucet().to_string(),
            "token": ledger.state(false).token.address.to_string(),
            "router": ledger.state(false).router.0.to_string(),
        })
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ready}")?;
    out.flush()?;
    drop(out);
    if !options.manual {
        tokio::spawn(node.clone().run());
    }
    tokio::select! {
        done = axum::serve(listen, full_node(node.clone())) => done.context("the node stopped"),
        done = axum::serve(controls, control(node)) => done.context("the controls stopped"),
        done = tokio::signal::ctrl_c() => done.context("cannot wait for the signal"),
    }
}
