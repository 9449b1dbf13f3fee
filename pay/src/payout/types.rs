//! Amounts, addresses, ids and requests.

use minicbor::{Decode, Encode};
use std::fmt;

/// Milliseconds since 1970.
pub type Millis = u64;

/// The longest reason of a request, bytes.
pub const REASON_BYTES_MAX: usize = 256;
/// The longest name of a person or batch, bytes.
pub const NAME_BYTES_MAX: usize = 64;

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

/// A TRON account: `0x41` and 20 bytes; shown as base58check.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Address(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 21]);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match crate::tron::Address::from_bytes(&self.0) {
            Ok(address) => address.fmt(f),
            Err(_) => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

hex_id!(
    /// A transaction id: SHA-256 of its raw data.
    TxId, 32
);
hex_id!(
    /// A payout's id, made of its idempotency key: the same request has the same id for ever.
    PayoutId, 16
);

/// USDT in its smallest unit, a millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Usdt(#[n(0)] pub u64);

/// Why a text is no amount of USDT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// A minus sign.
    #[error("{0:?} is negative; an amount is above 0")]
    Negative(String),
    /// More than 6 decimals.
    #[error("{0:?} has more than 6 decimals; USDT has 6")]
    Decimals(String),
    /// Anything but digits and one point.
    #[error("{0:?} is no amount; write digits and at most one point, such as 12.5")]
    Form(String),
    /// Beyond what TRON's 64-bit amounts hold.
    #[error("{0:?} is more than TRON can transfer")]
    TooLarge(String),
}

impl Usdt {
    /// Whole USDT.
    pub const fn whole(units: u64) -> Self {
        Self(units * 1_000_000)
    }

    /// Reads a decimal amount of USDT, exactly.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let shown = || text.chars().take(40).collect::<String>();
        if text.starts_with('-') {
            return Err(AmountError::Negative(shown()));
        }
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return Err(AmountError::Form(shown()));
        }
        if part.len() > 6 {
            return Err(AmountError::Decimals(shown()));
        }
        let large = |_| AmountError::TooLarge(shown());
        let whole: u64 = whole.parse().map_err(large)?;
        let part: u64 = format!("{part:0<6}").parse().map_err(large)?;
        whole
            .checked_mul(1_000_000)
            .and_then(|whole| whole.checked_add(part))
            .filter(|sum| i64::try_from(*sum).is_ok())
            .map(Self)
            .ok_or_else(|| AmountError::TooLarge(shown()))
    }
}

impl fmt::Display for Usdt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

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
}

impl Request {
    /// The payout's id: BLAKE3 over the idempotency key (payee, amount, reason, evidence hash).
    pub fn id(&self) -> PayoutId {
        let mut hasher = blake3::Hasher::new_derive_key("lucid-pay idempotency key v1");
        hasher.update(&self.payee.0).update(&self.amount.0.to_be_bytes());
        hasher.update(&(self.reason.len() as u64).to_be_bytes()).update(self.reason.as_bytes());
        hasher.update(&self.evidence);
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        PayoutId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused_with_the_reason() {
        assert_eq!(Usdt::parse("12.5"), Ok(Usdt(12_500_000)));
        assert_eq!(Usdt::parse("0.000001"), Ok(Usdt(1)));
        assert_eq!(Usdt(1_234_567).to_string(), "1.234567");
        assert!(matches!(Usdt::parse("-1"), Err(AmountError::Negative(_))));
        assert!(matches!(Usdt::parse("1.0000001"), Err(AmountError::Decimals(_))));
        assert!(matches!(Usdt::parse("9223372036855"), Err(AmountError::TooLarge(_))));
        for text in ["", ".", "1.", ".5", "1e3", "+1", "1,5", " 1", "0x1", "1.2.3", "\u{663}"] {
            assert!(matches!(Usdt::parse(text), Err(AmountError::Form(_))), "{text:?}");
        }
    }

    #[test]
    fn the_id_is_the_idempotency_key() {
        let request = Request {
            payee: Address([0x41; 21]),
            amount: Usdt::whole(3),
            reason: "r".into(),
            evidence: [1; 32],
            route: Route::Direct,
            credits: None,
            requested_by: "a".into(),
        };
        let same = Request { requested_by: "b".into(), route: Route::Kyc, ..request.clone() };
        assert_eq!(request.id(), same.id());
        for other in [
            Request { amount: Usdt::whole(4), ..request.clone() },
            Request { payee: Address([0x42; 21]), ..request.clone() },
            Request { reason: "s".into(), ..request.clone() },
            Request { evidence: [2; 32], ..request.clone() },
        ] {
            assert_ne!(request.id(), other.id());
        }
    }
}
