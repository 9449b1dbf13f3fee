//! `lucid-pay units`: what systemd's generator writes for this configuration.
//!
//! The unit of the payments has no network. Each configured node gets a relay, a unit of its own
//! that connects a unix socket with that node's host and port and holds no key; TLS is spoken
//! through it. So the process reaches the configured nodes and nothing else, whatever addresses
//! their names have today.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use lucid_pay::client::authority;
use lucid_pay::config::{Config, Network};

use super::exit::Exit;
use super::node;

/// Where the relays' sockets are; `lucid-pay-node@.socket` says the same.
const RELAYS: &str = "/run/lucid-pay-nodes";

/// Options of `lucid-pay units`.
#[derive(Debug, Args)]
pub struct Options {
    /// Directory of generated units
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes `lucid-pay.service.d/50-nodes.conf`.
pub fn run(config: &Config, options: &Options) -> anyhow::Result<Exit> {
    let directory = options.directory.join("lucid-pay.service.d");
    let path = directory.join("50-nodes.conf");
    std::fs::create_dir_all(&directory)
        .and_then(|()| std::fs::write(&path, drop_in(config)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Exit::Success)
}

/// Host and port of everything the process asks.
fn authorities(config: &Config) -> BTreeSet<String> {
    let urls = node::urls(config).into_iter().map(|node| node.url);
    let urls = urls.chain(config.sandbox_control.clone());
    urls.filter_map(|url| authority(&url.parse().ok()?)).collect()
}

fn drop_in(config: &Config) -> String {
    let mut text = String::from("# Written by lucid-pay-generator from /etc/lucid/pay.toml.\n");
    let authorities = authorities(config);
    if config.network == Network::Sandbox && authorities.is_empty() {
        // The simulator runs inside, on the loopback device of a network that has no other.
        text.push_str("[Service]\nRestrictAddressFamilies=AF_INET\nIPAddressAllow=localhost\n");
        return text;
    }
    text.push_str("[Unit]\n");
    for authority in &authorities {
        let unit = format!("lucid-pay-node@{}.socket", escaped(authority));
        // Writing to a string does not fail.
        let _ = writeln!(text, "Wants={unit}\nAfter={unit}");
    }
    let _ = writeln!(text, "[Service]\nEnvironment=LUCID_PAY_NODE_RELAYS={}", relays().display());
    text
}

fn relays() -> &'static Path {
    Path::new(RELAYS)
}

/// As systemd.unit(5) escapes instance names.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if at == 0 => escaped.push_str("\\x2e"),
            b':' | b'_' | b'.' => escaped.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            byte => {
                let _ = write!(escaped, "\\x{byte:02x}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use lucid_pay::config::NodeUrl;

    fn config(network: Network, urls: &[&str]) -> Config {
        let nodes = urls.iter().map(|url| NodeUrl { name: (*url).into(), url: (*url).into() });
        Config { network, nodes: nodes.collect(), ..Config::default() }
    }

    #[test]
    fn each_node_gets_a_relay_and_no_other_way_is_opened() {
        let public = drop_in(&config(Network::Mainnet, &[]));
        assert!(public.contains("Wants=lucid-pay-node@api.trongrid.io:443.socket\n"), "{public}");
        assert!(public.contains("Environment=LUCID_PAY_NODE_RELAYS=/run/lucid-pay-nodes\n"));
        let own = ["https://my-node.example", "http://127.0.0.1:8090", "https://[2001:db8::1]:1"];
        let own = drop_in(&config(Network::Nile, &own));
        for unit in ["my\\x2dnode.example:443", "127.0.0.1:8090", "\\x5b2001:db8::1\\x5d:1"] {
            let line = format!("After=lucid-pay-node@{unit}.socket\n");
            assert!(own.contains(&line), "{own}");
        }
        for text in [public, own] {
            assert!(!text.contains("AddressFamilies") && !text.contains("IPAddressAllow"));
        }
    }

    #[test]
    fn the_bundled_simulator_has_its_own_loopback() {
        let play = drop_in(&config(Network::Sandbox, &[]));
        assert!(play.contains("IPAddressAllow=localhost") && !play.contains("Wants="), "{play}");
        let control = Some("http://127.0.0.1:9090".into());
        let outside = Config { sandbox_control: control, ..config(Network::Sandbox, &[]) };
        assert!(drop_in(&outside).contains("lucid-pay-node@127.0.0.1:9090.socket"));
    }

    #[test]
    fn names_are_escaped_as_systemd_does() {
        assert_eq!(escaped("a/b-c_d.e:f"), "a-b\\x2dc_d.e:f");
        assert_eq!(escaped(".x"), "\\x2ex");
    }
}
