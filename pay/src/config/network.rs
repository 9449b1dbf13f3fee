//! The chains, where their nodes are and which token is paid.

use std::fmt;

use crate::tron::Address;

/// A TRON chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// Real money.
    Mainnet,
    /// Test money.
    Nile,
    /// Test money.
    Shasta,
    /// The bundled simulator.
    Sandbox,
}

impl Network {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("mainnet", Self::Mainnet),
        ("nile", Self::Nile),
        ("shasta", Self::Shasta),
        ("sandbox", Self::Sandbox),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Nile => "nile",
            Self::Shasta => "shasta",
            Self::Sandbox => "sandbox",
        }
    }

    /// Whether its money is worth nothing.
    pub fn test_money(self) -> bool {
        self != Self::Mainnet
    }

    /// The public node, used when none is configured.
    pub fn node(self) -> Option<&'static str> {
        match self {
            Self::Mainnet => Some("https://api.trongrid.io"),
            Self::Nile => Some("https://nile.trongrid.io"),
            Self::Shasta => Some("https://api.shasta.trongrid.io"),
            Self::Sandbox => None,
        }
    }

    /// The token that is paid when none is configured. Only mainnet's is Tether's own; those of the
    /// test networks are test tokens.
    pub fn token(self) -> Option<Address> {
        let text = match self {
            Self::Mainnet => "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
            Self::Nile => "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf",
            Self::Shasta => "TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs",
            Self::Sandbox => return None,
        };
        text.parse().ok()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
