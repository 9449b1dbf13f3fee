//! `lucid-pay node`, and the nodes of a configuration.

use anyhow::Context as _;
use clap::Subcommand;
use lucid_pay::client::{self, ApiKey, Endpoint, HttpNode, Nodes, Timeouts, Transport, Watch};
use lucid_pay::config::{Config, Network, NodeUrl};
use lucid_pay::process::secret::Source;
use lucid_pay::service::now_ms;
use lucid_pay::tron::Address;
use serde_json::json;
use std::time::Duration;

use super::exit::{Exit, coded};
use super::{Context, block_on, output};

/// Looks at the TRON nodes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Asks every configured node how it is
    Status,
    /// Shows prices and limits of the chain, as a node has them now
    Prices,
}

/// Which network the client checks for.
pub fn network(network: Network) -> client::Network {
    match network {
        Network::Mainnet => client::Network::Mainnet,
        Network::Nile => client::Network::Nile,
        Network::Shasta => client::Network::Shasta,
        Network::Sandbox => client::Network::Private,
    }
}

/// Connects as the configuration says: over the network, or through relays.
pub fn transport(config: &Config, timeouts: Timeouts) -> anyhow::Result<Transport> {
    let transport =
        Transport::new(timeouts, b"").context("cannot set the client of the nodes up")?;
    Ok(match &config.relays {
        Some(directory) => transport.through(directory),
        None => transport,
    })
}

/// The nodes of a configuration; the network's public one if it names none.
pub fn urls(config: &Config) -> Vec<NodeUrl> {
    let mut urls = config.nodes.clone();
    if let (true, Some(url)) = (urls.is_empty(), config.network.node()) {
        urls.push(NodeUrl { name: "trongrid".to_owned(), url: url.to_owned() });
    }
    urls
}

/// The client of a configuration's nodes.
pub fn nodes(config: &Config, source: &Source) -> anyhow::Result<Nodes> {
    let key = source.api_key(config.api_key_file.as_deref())?;
    let key = key.map(|text| ApiKey::new(&text)).transpose()?;
    let urls = urls(config);
    if urls.is_empty() {
        let text = "no node is configured; set `node.urls`";
        return Err(coded(Exit::Config, text));
    }
    let connect = config.node_timeout.min(Duration::from_secs(5));
    let transport = transport(config, Timeouts { connect, whole: config.node_timeout })?;
    let mut nodes = Vec::new();
    for NodeUrl { name, url } in &urls {
        let endpoint = Endpoint::new(name, url, None, key.clone())?;
        nodes.push(HttpNode::new(endpoint, network(config.network), transport.clone()));
    }
    Ok(Nodes::new(nodes))
}

/// The token of a configuration.
pub fn token(config: &Config) -> anyhow::Result<Address> {
    let token = config.token.or_else(|| config.network.token());
    token.ok_or_else(|| coded(Exit::Config, "no token is configured; set `token.address`"))
}

/// One line a node.
pub fn table(watch: &Watch) -> String {
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let rows: Vec<_> = watch
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.name.clone(),
                format!("{:?}", node.state).to_lowercase(),
                number(node.head),
                number(node.solid),
                number(node.latency_ms),
                node.skew_ms.map(|ms| ms.to_string()).unwrap_or_default(),
                node.trouble.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["node", "state", "head", "solid", "ms", "skew ms", "trouble"], &rows)
}

/// Does it.
pub fn run(context: &Context, command: &Command) -> anyhow::Result<Exit> {
    let nodes = super::sandbox::nodes(context)?;
    match command {
        Command::Status => {
            let watch = block_on(async { Ok(nodes.watch(now_ms()).await) })?;
            output::show(context.json, &watch.nodes, || table(&watch))?;
            for found in &watch.disagreements {
                output::line(format!("disagreement about {}: {:?}", found.about, found.said))?;
            }
            let healthy =
                |node: &lucid_pay_api::NodeHealth| node.state == lucid_pay_api::NodeState::Healthy;
            let well = watch.nodes.iter().any(healthy);
            Ok(if well { Exit::Success } else { Exit::Unavailable })
        }
        Command::Prices => {
            let found = block_on(async {
                let found = nodes.read(|node: HttpNode| async move { node.parameters().await });
                found.await.map_err(|error| coded(Exit::Unavailable, error.to_string()))
            })?;
            let shown = json!({
                "energy_sun": found.energy_price.units(),
                "bandwidth_sun": found.bandwidth_price.units(),
                "new_account_sun": found.new_account_fee.units(),
                "multi_sign_sun": found.multi_sign_fee.units(),
                "permission_sun": found.permission_fee.units(),
                "memo_sun": found.memo_fee.units(),
                "fee_limit_max_sun": found.fee_limit_max.units(),
                "unfreeze_days": found.unfreeze_days,
            });
            output::show(context.json, &shown, || {
                format!(
                    "energy {} sun a point\nbandwidth {} sun a point\nunfreezing takes {} days",
                    found.energy_price.units(),
                    found.bandwidth_price.units(),
                    found.unfreeze_days
                )
            })?;
            Ok(Exit::Success)
        }
    }
}
