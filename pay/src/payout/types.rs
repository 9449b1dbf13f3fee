//! Ids and requests.

use minicbor::{Decode, Encode};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

pub use crate::tron::{Address, Usdt};

/// Milliseconds since 1970.
pub type Millis = u64;

/// The longest reason of a request, bytes.
pub const REASON_BYTES_MAX: usize = 256;
/// The longest idempotency key, bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// The longest name of a person or batch, bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A hasher of ids that are hashes already: their first bytes spread well, and nobody chooses them.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map by [`PayoutId`] or [`TxId`].
pub type ById<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<IdHasher>>;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hex_id!(
    /// A transaction id: SHA-256 of its raw data.
    TxId, 32
);
hex_id!(
    /// A payout's id, made of its idempotency key: the same request has the same id for ever.
    PayoutId, 16
);

/// How the money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Route {
    /// A USDT `transfer` to the payee.
    #[n(0)]
    Direct,
    /// A call of the configured router contract.
    #[n(1)]
    Router,
    /// A USDT `transfer` once the compliance key has approved the payee.
    #[n(2)]
    Kyc,
}

/// What a node's reward was computed from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Credits {
    /// Credits earned.
    #[n(0)]
    pub credits: u64,
    /// Price of one credit in the smallest unit of USDT.
    #[n(1)]
    pub rate: Usdt,
    /// First and last block of the span the credits come from.
    #[n(2)]
    pub span: Option<(u64, u64)>,
}

/// Somebody asks for a payout.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Request {
    /// Who gets it.
    #[n(0)]
    pub payee: Address,
    /// Gross amount, the fee included.
    #[n(1)]
    pub amount: Usdt,
    /// Why, in words, at most [`REASON_BYTES_MAX`] bytes.
    #[n(2)]
    pub reason: String,
    /// Hash of the evidence for it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub evidence: [u8; 32],
    /// How it goes.
    #[n(4)]
    pub route: Route,
    /// Set for a node's reward: it waits until the payee has enough together.
    #[n(5)]
    pub credits: Option<Credits>,
    /// Who asked.
    #[n(6)]
    pub requested_by: String,
    /// The key of whoever asked: it never stands for two different payouts.
    #[n(7)]
    pub key: Option<String>,
}

impl Request {
    /// The payout's id: BLAKE3 over the idempotency key (payee, amount, reason, evidence hash).
    pub fn id(&self) -> PayoutId {
        static BASE: LazyLock<blake3::Hasher> =
            LazyLock::new(|| blake3::Hasher::new_derive_key("lucid-pay idempotency key v1"));
        let mut hasher = BASE.clone();
        hasher.update(&self.payee.to_bytes()).update(&self.amount.units().to_be_bytes());
        hasher.update(&(self.reason.len() as u64).to_be_bytes()).update(self.reason.as_bytes());
        hasher.update(&self.evidence);
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        PayoutId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_idempotency_key() {
        let request = Request {
            payee: Address::from_evm([1; 20]),
            amount: Usdt::whole(3),
            reason: "r".into(),
            evidence: [1; 32],
            route: Route::Direct,
            credits: None,
            requested_by: "a".into(),
            key: None,
        };
        let same = Request { requested_by: "b".into(), route: Route::Kyc, ..request.clone() };
        assert_eq!(request.id(), same.id());
        for other in [
            Request { amount: Usdt::whole(4), ..request.clone() },
            Request { payee: Address::from_evm([2; 20]), ..request.clone() },
            Request { reason: "s".into(), ..request.clone() },
            Request { evidence: [2; 32], ..request.clone() },
        ] {
            assert_ne!(request.id(), other.id());
        }
    }
}
