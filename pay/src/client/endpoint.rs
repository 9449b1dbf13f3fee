//! Where nodes are, which network they must be of, and the key some of them want.

use reqwest::Url;
use reqwest::header::HeaderValue;
use std::fmt;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use crate::tron::hex;

/// Longest API key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 512;

/// Why a node cannot be used as configured. No variant repeats a key or a URL that may hold one.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL of a node.
    #[error("the URL of node {name:?} is wrong: {why}")]
    Url {
        /// Name of the node.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A key would be readable on its way.
    #[error("node {0:?} has an API key but no TLS; use https, or leave the key out")]
    KeyWithoutTls(String),
    /// Not a key.
    #[error("the API key {0}; 1 to 256 visible ASCII characters in one line are right")]
    Key(&'static str),
    /// The key's file cannot be read.
    #[error("the API key cannot be read from {path}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A key that the node's operator gave. `Debug` does not show it; it is wiped when dropped.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

impl ApiKey {
    /// Takes a key; a line end after it is cut.
    ///
    /// # Errors
    /// When it is empty, too long or not visible ASCII.
    pub fn new(text: &str) -> Result<Self, EndpointError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        match text {
            "" => Err(EndpointError::Key("is empty")),
            _ if text.len() > KEY_BYTES_MAX => Err(EndpointError::Key("is too long")),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(EndpointError::Key("has characters a key does not have"))
            }
            _ => Ok(Self(Zeroizing::new(text.to_owned()))),
        }
    }

    /// Reads a key from a file, such as a systemd credential.
    ///
    /// # Errors
    /// When the file cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<Self, EndpointError> {
        let failed = |source| EndpointError::KeyFile { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES_MAX + 8));
        let most = u64::try_from(KEY_BYTES_MAX + 3).unwrap_or(u64::MAX);
        file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| EndpointError::Key("has characters a key does not have"))?;
        Self::new(text)
    }

    /// The header's value, marked so that HTTP libraries do not print it.
    pub(super) fn header(&self) -> Result<HeaderValue, EndpointError> {
        let mut value = HeaderValue::from_str(&self.0)
            .map_err(|_| EndpointError::Key("has characters a key does not have"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// A network, told apart by the id of its first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Real money.
    Mainnet,
    /// The test network that is like mainnet.
    Shasta,
    /// The test network of new features.
    Nile,
    /// A node of one's own, such as the bundled simulator: any first block, the same on all nodes.
    Private,
}

impl Network {
    /// The network's name: `mainnet`, `shasta`, `nile` or `private`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Shasta => "shasta",
            Self::Nile => "nile",
            Self::Private => "private",
        }
    }

    /// The network of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Mainnet, Self::Shasta, Self::Nile, Self::Private]
            .into_iter()
            .find(|network| network.name() == name)
    }

    /// Whether its money is play money.
    pub fn is_test(self) -> bool {
        self != Self::Mainnet
    }

    /// Id of the network's first block, where it is known beforehand.
    pub fn genesis(self) -> Option<[u8; 32]> {
        let text = match self {
            Self::Mainnet => "00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc",
            Self::Shasta => "0000000000000000de1aa88295e1fcf982742f773e0419c5a9c134c994a9059e",
            Self::Nile => "0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc",
            Self::Private => return None,
        };
        hex::decode(text).ok()?.try_into().ok()
    }

    /// TronGrid's public node of the network.
    pub fn public_url(self) -> Option<&'static str> {
        match self {
            Self::Mainnet => Some("https://api.trongrid.io"),
            Self::Shasta => Some("https://api.shasta.trongrid.io"),
            Self::Nile => Some("https://nile.trongrid.io"),
            Self::Private => None,
        }
    }

    /// The USDT contract of the network. Those of test networks are not Tether's: see that
    /// `symbol` and `decimals` say what is expected before relying on them.
    pub fn usdt(self) -> Option<&'static str> {
        match self {
            Self::Mainnet => Some("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
            Self::Shasta => Some("TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs"),
            Self::Nile => Some("TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"),
            Self::Private => None,
        }
    }
}

/// One node: where its two APIs are, and the key it wants.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// What people call it; in every report and error.
    pub name: String,
    pub(super) full: Url,
    pub(super) solid: Url,
    pub(super) key: Option<ApiKey>,
}

impl Endpoint {
    /// A node whose `/wallet/` is below `full` and whose `/walletsolidity/` is below `solid`, or
    /// below `full` as well. java-tron has them on ports 8090 and 8091, TronGrid on one.
    ///
    /// # Errors
    /// When a URL is not plain `http` or `https`, holds credentials, or a key would travel open.
    pub fn new(
        name: &str,
        full: &str,
        solid: Option<&str>,
        key: Option<ApiKey>,
    ) -> Result<Self, EndpointError> {
        let full = base(name, full)?;
        let solid = solid.map_or_else(|| Ok(full.clone()), |solid| base(name, solid))?;
        let open = |url: &Url| url.scheme() == "http" && !is_loopback(url);
        if key.is_some() && (open(&full) || open(&solid)) {
            return Err(EndpointError::KeyWithoutTls(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), full, solid, key })
    }

    /// TronGrid's node of a network; `None` for [`Network::Private`].
    ///
    /// # Errors
    /// As [`Endpoint::new`].
    pub fn public(network: Network, key: Option<ApiKey>) -> Option<Result<Self, EndpointError>> {
        let url = network.public_url()?;
        Some(Self::new(&format!("trongrid-{}", network.name()), url, None, key))
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A URL to which paths can be added.
fn base(name: &str, text: &str) -> Result<Url, EndpointError> {
    let wrong = |why| EndpointError::Url { name: name.to_owned(), why };
    if text.len() > URL_BYTES_MAX {
        return Err(wrong("it is longer than 512 bytes"));
    }
    let mut url = Url::parse(text).map_err(|_| wrong("it is no URL; write https://host[:port]"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("it is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a user or password; give a key by its file"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has a query or fragment; give a key by its file"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_would_leak_or_cannot_work_are_refused() {
        for url in [
            "ftp://host/",
            "host:8090",
            "https://user@host/",
            "https://:secret@host/",
            "https://host/?key=secret",
            "https://host/#secret",
            "https://",
            "",
        ] {
            let error = Endpoint::new("n", url, None, None).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(matches!(error, EndpointError::Url { .. }), "{url}: {error:?}");
            assert!(!text.contains("secret"), "{text}");
        }
        let node = Endpoint::new("n", "http://10.0.0.7:8090/tron", None, None).unwrap();
        assert_eq!(node.full.join("wallet/x").unwrap().path(), "/tron/wallet/x");
    }

    #[test]
    fn a_key_travels_only_under_tls_and_is_never_shown() {
        let key = || Some(ApiKey::new("s3cret-key\n").unwrap());
        assert!(Endpoint::new("n", "http://10.0.0.7", None, key()).is_err());
        let mixed = Endpoint::new("n", "https://h", Some("http://h:8091"), key());
        assert!(matches!(mixed, Err(EndpointError::KeyWithoutTls(_))));
        assert!(Endpoint::new("n", "http://[::1]:8090", None, key()).is_ok());
        let node = Endpoint::new("n", "https://h", None, key()).unwrap();
        assert!(!format!("{node:?}").contains("s3cret"));
        let header = node.key.unwrap().header().unwrap();
        assert_eq!(header.to_str().unwrap(), "s3cret-key");
        assert!(!format!("{header:?}").contains("s3cret"));
        let long = "k".repeat(257);
        for bad in ["", "\n", "a b", "a\nb", "ключ", long.as_str()] {
            assert!(matches!(ApiKey::new(bad), Err(EndpointError::Key(_))), "{bad:?}");
        }
    }

    #[test]
    fn networks_are_told_apart_by_their_first_block() {
        let chain = |network: Network| {
            let genesis = network.genesis().unwrap();
            u32::from_be_bytes([genesis[28], genesis[29], genesis[30], genesis[31]])
        };
        // The chain ids of TIP-712.
        assert_eq!(chain(Network::Mainnet), 728_126_428);
        assert_eq!(chain(Network::Nile), 3_448_148_188);
        for network in [Network::Mainnet, Network::Shasta, Network::Nile] {
            assert!(network.usdt().unwrap().parse::<crate::tron::Address>().is_ok());
            assert!(Endpoint::public(network, None).unwrap().is_ok());
            assert_eq!(Network::named(network.name()), Some(network));
        }
    }
}
