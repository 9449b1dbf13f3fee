//! The table of every configuration key: spelling, meaning, how it is read and how it is shown.

use std::path::PathBuf;

use lucid_settings::quoted;

use super::read::{absolute, address, addresses, names, usdt};
use super::{Config, LockMemory, LogFormat, Network, NodeUrl};
use crate::payout::router::Router;
use crate::payout::types::Usdt;
use crate::tron::{Address, hex};

/// One key of the payment process's configuration.
pub type Key = lucid_settings::Key<Config>;

const LOCK: [(&str, LockMemory); 3] =
    [("auto", LockMemory::Auto), ("required", LockMemory::Required), ("off", LockMemory::Off)];
const FORMATS: [(&str, LogFormat); 2] = [("human", LogFormat::Human), ("json", LogFormat::Json)];
/// Most nodes.
const MAX_NODES: usize = 8;
/// The function of a router whose function is not named.
const ROUTER_FUNCTION: &str = "payout(address,uint256,bytes32)";

fn path(path: Option<&PathBuf>) -> String {
    path.map(|path| quoted(&path.to_string_lossy())).unwrap_or_default()
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

fn amount(amount: Usdt) -> String {
    quoted(&amount.to_string())
}

fn word<T: PartialEq>(words: &[(&str, T)], value: &T) -> String {
    words.iter().find(|(_, known)| known == value).map(|(word, _)| quoted(word)).unwrap_or_default()
}

/// `https://host`, `http://127.0.0.1:8090`, or either after a name and `=`.
fn node(text: &str) -> Result<NodeUrl, String> {
    let expected =
        || format!("{text:?}: expected NAME=URL or a URL such as https://api.example:443");
    let (name, url) = match text.split_once('=') {
        Some((name, url)) => (Some(name.trim()), url.trim()),
        None => (None, text),
    };
    let url = url.trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.filter(|rest| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !rest.is_empty() && rest.len() <= 255 && rest.chars().all(plain)
    });
    let host = host.ok_or_else(expected)?;
    let name = name.unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(expected());
    }
    Ok(NodeUrl { name: name.to_owned(), url: url.to_owned() })
}

fn loopback(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start))
}

fn router(config: &mut Config, change: impl FnOnce(&mut Router)) -> Result<(), String> {
    match &mut config.router {
        Some(router) => change(router),
        None => return Err("set `router.address` before it".into()),
    }
    Ok(())
}

/// Every key, tables together, in the order `lucid-pay config` shows. A key that builds on another
/// stands after it.
pub const KEYS: &[Key] = &[
    Key {
        name: "network",
        help: "which chain: mainnet, nile, shasta or sandbox",
        set: |config, value| {
            config.network = value.word(&Network::ALL)?;
            Ok(())
        },
        show: |config| quoted(config.network.name()),
    },
    Key {
        name: "data_dir",
        help: "where wallets and journal live, one directory below it for each network",
        set: |config, value| {
            config.data_dir = absolute(value)?;
            Ok(())
        },
        show: |config| quoted(&config.data_dir.to_string_lossy()),
    },
    Key {
        name: "drain_s",
        help: "seconds that begun requests get to finish after a stop signal",
        set: |config, value| {
            config.drain = value.seconds(1.0, 300.0)?;
            Ok(())
        },
        show: |config| config.drain.as_secs_f64().to_string(),
    },
    Key {
        name: "log",
        help: "form of the log: human or json",
        set: |config, value| {
            config.log = value.word(&FORMATS)?;
            Ok(())
        },
        show: |config| word(&FORMATS, &config.log),
    },
    Key {
        name: "lock_memory",
        help: "keep memory out of the swap: auto (warn if not allowed), required or off",
        set: |config, value| {
            config.lock_memory = value.word(&LOCK)?;
            Ok(())
        },
        show: |config| word(&LOCK, &config.lock_memory),
    },
    Key {
        name: "wallet.passphrase_file",
        help: "file with the passphrase of the wallets, readable by its owner only",
        set: |config, value| {
            config.passphrase_file = Some(value.text()?.into());
            Ok(())
        },
        show: |config| path(config.passphrase_file.as_ref()),
    },
    Key {
        name: "wallet.pays",
        help: "name or id of the wallet that pays; without it the only one that can sign",
        set: |config, value| {
            config.paying_wallet = Some(value.text()?);
            Ok(())
        },
        show: |config| config.paying_wallet.as_deref().map(quoted).unwrap_or_default(),
    },
    Key {
        name: "gateway.socket",
        help: "the unix socket, an absolute path; without it pay.sock in the data directory",
        set: |config, value| {
            config.socket = Some(absolute(value)?);
            Ok(())
        },
        show: |config| path(config.socket.as_ref()),
    },
    Key {
        name: "gateway.users",
        help: "users who may ask, by name or id; who runs lucid-pay always may",
        set: |config, value| {
            config.users = names(value)?;
            Ok(())
        },
        show: |config| list(&config.users),
    },
    Key {
        name: "node.urls",
        help: "nodes to ask, each URL or NAME=URL; without any the network's public one",
        set: |config, value| {
            let nodes = value.list()?;
            if nodes.len() > MAX_NODES {
                return Err(format!("expected at most {MAX_NODES} nodes"));
            }
            config.nodes = nodes.iter().map(|text| node(text)).collect::<Result<_, _>>()?;
            match config
                .nodes
                .iter()
                .find(|node| node.url.starts_with("http://") && !loopback(&node.url))
            {
                Some(node) => {
                    Err(format!("{}: plain http reaches this machine only; use https", node.url))
                }
                None => Ok(()),
            }
        },
        show: |config| {
            let nodes = config.nodes.iter();
            let nodes: Vec<_> = nodes.map(|node| format!("{}={}", node.name, node.url)).collect();
            list(&nodes)
        },
    },
    Key {
        name: "node.api_key_file",
        help: "file with the nodes' API key; the credential `tron-api-key` is read as well",
        set: |config, value| {
            config.api_key_file = Some(value.text()?.into());
            Ok(())
        },
        show: |config| path(config.api_key_file.as_ref()),
    },
    Key {
        name: "node.relays",
        help: "directory of unix sockets named HOST:PORT, one for each node; else the network",
        set: |config, value| {
            config.relays = Some(value.text()?.into());
            Ok(())
        },
        show: |config| path(config.relays.as_ref()),
    },
    Key {
        name: "node.timeout_s",
        help: "seconds one call to a node may take",
        set: |config, value| {
            config.node_timeout = value.seconds(1.0, 120.0)?;
            Ok(())
        },
        show: |config| config.node_timeout.as_secs_f64().to_string(),
    },
    Key {
        name: "node.poll_ms",
        help: "milliseconds between two looks at the nodes",
        set: |config, value| {
            config.poll = std::time::Duration::from_millis(value.number(20, 600_000)?);
            Ok(())
        },
        show: |config| config.poll.as_millis().to_string(),
    },
    Key {
        name: "token.address",
        help: "contract of the token that is paid; without it the network's USDT",
        set: |config, value| {
            config.token = Some(address(value)?);
            Ok(())
        },
        show: |config| config.token.map(|token| quoted(&token.to_string())).unwrap_or_default(),
    },
    Key {
        name: "router.address",
        help: "contract of the router route",
        set: |config, value| {
            let contract = address(value)?;
            config.router = Some(Router { contract, function: ROUTER_FUNCTION.to_owned() });
            Ok(())
        },
        show: |config| {
            let router = config.router.as_ref();
            router.map(|router| quoted(&router.contract.to_string())).unwrap_or_default()
        },
    },
    Key {
        name: "router.function",
        help: "its function: payee, amount and, if there is a third, the evidence hash",
        set: |config, value| {
            let function = value.text()?;
            crate::payout::router::check(&function).map_err(|error| error.to_string())?;
            router(config, |router| router.function = function)
        },
        show: |config| {
            config.router.as_ref().map(|router| quoted(&router.function)).unwrap_or_default()
        },
    },
    Key {
        name: "payout.minimum",
        help: "smallest payout, USDT",
        set: |config, value| {
            config.minimum = usdt(value)?;
            Ok(())
        },
        show: |config| amount(config.minimum),
    },
    Key {
        name: "payout.maximum",
        help: "largest payout, USDT",
        set: |config, value| {
            config.maximum = usdt(value)?;
            Ok(())
        },
        show: |config| amount(config.maximum),
    },
    Key {
        name: "payout.daily",
        help: "most in a day (UTC) to everybody, USDT",
        set: |config, value| {
            config.daily = usdt(value)?;
            Ok(())
        },
        show: |config| amount(config.daily),
    },
    Key {
        name: "payout.daily_per_payee",
        help: "most in a day (UTC) to one payee, USDT",
        set: |config, value| {
            config.daily_per_payee = usdt(value)?;
            Ok(())
        },
        show: |config| amount(config.daily_per_payee),
    },
    Key {
        name: "payout.accumulate",
        help: "rewards of a node's owner are gathered until they reach this, USDT",
        set: |config, value| {
            config.accumulate = usdt(value)?;
            Ok(())
        },
        show: |config| amount(config.accumulate),
    },
    Key {
        name: "payout.second_person_above",
        help: "above this a second person approves, USDT",
        set: |config, value| {
            config.second_person_above = usdt(value)?;
            Ok(())
        },
        show: |config| amount(config.second_person_above),
    },
    Key {
        name: "payout.fee",
        help: "fee kept from each transfer, USDT",
        set: |config, value| {
            config.fee = usdt(value)?;
            Ok(())
        },
        show: |config| amount(config.fee),
    },
    Key {
        name: "payout.allow",
        help: "only these addresses are paid, if any are named",
        set: |config, value| {
            config.allow = addresses(value)?;
            Ok(())
        },
        show: |config| list::<Address>(&config.allow),
    },
    Key {
        name: "payout.deny",
        help: "these addresses are never paid",
        set: |config, value| {
            config.deny = addresses(value)?;
            Ok(())
        },
        show: |config| list::<Address>(&config.deny),
    },
    Key {
        name: "payout.compliance_key",
        help: "Ed25519 public key, 64 hex digits, that approves payees of the kyc route",
        set: |config, value| {
            let bytes = hex::decode(&value.text()?).ok().and_then(|bytes| bytes.try_into().ok());
            config.compliance = Some(bytes.ok_or("expected 64 hexadecimal digits")?);
            Ok(())
        },
        show: |config| config.compliance.map(|key| quoted(&hex::encode(&key))).unwrap_or_default(),
    },
    Key {
        name: "payout.lifetime_s",
        help: "seconds a signed transaction may wait for a block",
        set: |config, value| {
            config.lifetime = value.seconds(60.0, 86_000.0)?;
            Ok(())
        },
        show: |config| config.lifetime.as_secs_f64().to_string(),
    },
    Key {
        name: "payout.clock_skew_s",
        help: "seconds this machine's clock may be from the newest block's time",
        set: |config, value| {
            config.clock_skew = value.seconds(10.0, 3600.0)?;
            Ok(())
        },
        show: |config| config.clock_skew.as_secs_f64().to_string(),
    },
    Key {
        name: "staking.minimum_trx",
        help: "least stake, whole TRX; the chain's own minimum is 1",
        set: |config, value| {
            config.stake_minimum_sun = value.number(1, 1_000_000_000)? * 1_000_000;
            Ok(())
        },
        show: |config| (config.stake_minimum_sun / 1_000_000).to_string(),
    },
    Key {
        name: "sandbox.node",
        help: "program of the simulator; without it tron-node beside lucid-pay or in the path",
        set: |config, value| {
            config.sandbox_node = Some(value.text()?.into());
            Ok(())
        },
        show: |config| path(config.sandbox_node.as_ref()),
    },
    Key {
        name: "sandbox.block_ms",
        help: "milliseconds between two blocks of the simulator",
        set: |config, value| {
            config.sandbox_block_ms = value.number(1, 60_000)?;
            Ok(())
        },
        show: |config| config.sandbox_block_ms.to_string(),
    },
    Key {
        name: "sandbox.control",
        help: "URL of the controls of a simulator that runs already; node.urls names its API",
        set: |config, value| {
            let url = node(&value.text()?)?.url;
            if !url.starts_with("http://") {
                return Err("expected http:// and a host".into());
            }
            config.sandbox_control = Some(url);
            Ok(())
        },
        show: |config| config.sandbox_control.as_deref().map(quoted).unwrap_or_default(),
    },
];
