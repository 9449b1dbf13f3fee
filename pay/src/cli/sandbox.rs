//! The sandbox: starts the bundled simulator on loopback, or uses one that runs, and fills a test
//! wallet.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use lucid_pay::client::{Nodes, Timeouts};
use lucid_pay::config::{Config, Network, NodeUrl};
use lucid_pay::tron::Address;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::exit::{Exit, coded};
use super::{Context, node};

/// TRX of a new test wallet, in sun.
const GIFT_SUN: u64 = 20_000_000_000;
/// USDT of a new test wallet, in millionths.
const GIFT_USDT: u64 = 100_000_000_000;
/// Longest line the simulator announces itself with, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// The file that says where the simulator of a running sandbox is.
const FILE: &str = "simulator.json";

/// Where a simulator is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Simulator {
    /// Its HTTP API.
    pub node: String,
    /// Its controls.
    pub control: String,
    /// Its token.
    pub token: String,
    /// Its router.
    #[serde(default)]
    pub router: Option<String>,
}

/// A simulator of ours; it ends with us.
pub struct Running {
    /// Where it is.
    pub simulator: Simulator,
    child: Option<Child>,
    file: Option<PathBuf>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file);
        }
    }
}

fn program(config: &Config) -> PathBuf {
    let beside = || {
        let here = std::env::current_exe().ok()?;
        Some(here.with_file_name("tron-node")).filter(|path| path.exists())
    };
    config.sandbox_node.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("tron-node"))
}

/// Starts the simulator, or asks the configured one where its token is.
pub fn start(config: &Config) -> anyhow::Result<Running> {
    if let Some(control) = &config.sandbox_control {
        let Some(first) = config.nodes.first() else {
            let text = "`sandbox.control` needs `node.urls`: where the simulator's API is";
            return Err(coded(Exit::Config, text));
        };
        let state = super::block_on(ask(config, control, "state", &serde_json::Value::Null))?;
        let token = state["token"].as_str().map(str::to_owned);
        let token = token.or_else(|| config.token.map(|token| token.to_string()));
        let token = token.context("the simulator names no token")?;
        let router = state["router"].as_str().map(str::to_owned);
        let simulator =
            Simulator { node: first.url.clone(), control: control.clone(), token, router };
        return Ok(Running { simulator, child: None, file: None });
    }
    let program = program(config);
    let mut command = Command::new(&program);
    command
        .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
        .args(["--block-interval-ms", &config.sandbox_block_ms.to_string()])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // A signal of the terminal is for us; the simulator ends when we do.
        .process_group(0);
    let mut child = command.spawn().map_err(|error| {
        let text = format!(
            "cannot start the simulator {}: {error}; build tron-node or set `sandbox.node`",
            program.display()
        );
        coded(Exit::Config, text)
    })?;
    let mut line = String::new();
    let out = child.stdout.take().context("the simulator has no output")?;
    BufReader::new(out.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    let simulator: Simulator = serde_json::from_str(&line).map_err(|_| {
        let _ = child.kill();
        let _ = child.wait();
        coded(Exit::Unavailable, "the simulator did not say where it is")
    })?;
    let file = config.network_dir().join(FILE);
    fs::write(&file, serde_json::to_vec(&simulator)?)?;
    Ok(Running { simulator, child: Some(child), file: Some(file) })
}

/// The nodes of the configuration; in the sandbox without any those of the running one.
pub fn nodes(context: &Context) -> anyhow::Result<Nodes> {
    let mut config = context.config.clone();
    if config.network == Network::Sandbox && config.nodes.is_empty() {
        let file = config.network_dir().join(FILE);
        let text = fs::read(&file).map_err(|_| not_running())?;
        let simulator: Simulator = serde_json::from_slice(&text)?;
        config.nodes = vec![NodeUrl { name: "simulator".to_owned(), url: simulator.node }];
    }
    node::nodes(&config, &context.source)
}

/// The token; in the sandbox without one in the configuration the simulator's.
pub async fn token(context: &Context) -> anyhow::Result<Address> {
    let config = &context.config;
    if config.network != Network::Sandbox || config.token.is_some() {
        return node::token(config);
    }
    let token = match &config.sandbox_control {
        Some(control) => {
            ask(config, control, "state", &serde_json::Value::Null).await?["token"].clone()
        }
        None => {
            let file = fs::read(config.network_dir().join(FILE)).map_err(|_| not_running())?;
            serde_json::from_slice::<Simulator>(&file)?.token.into()
        }
    };
    Ok(token.as_str().context("the simulator names no token")?.parse()?)
}

fn not_running() -> anyhow::Error {
    coded(Exit::Unavailable, "the sandbox does not run; start it with `lucid-pay serve`")
}

async fn ask(
    config: &Config,
    control: &str,
    call: &str,
    body: &serde_json::Value,
) -> anyhow::Result<serde_json::Value> {
    let transport = node::transport(config, Timeouts::default())?;
    Ok(transport.control(&format!("{control}/sim/{call}"), body).await?)
}

/// Gives a new test wallet something to pay with.
pub fn fund(config: &Config, running: &Running, address: Address) -> anyhow::Result<()> {
    let gift = json!({
        "address": address.to_string(), "sun": GIFT_SUN, "usdt_micro": GIFT_USDT,
    });
    super::block_on(ask(config, &running.simulator.control, "faucet", &gift))?;
    tracing::info!(%address, "the test wallet got 20000 TRX and 100000 test USDT");
    Ok(())
}
