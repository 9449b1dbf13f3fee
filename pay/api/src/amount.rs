//! Amounts as integers of the smallest unit, and their decimal text.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// Largest amount, in the smallest unit: what every JSON reader holds exactly, 2^53 - 1. Nine
/// thousand million USDT.
pub const AMOUNT_MAX: u64 = (1 << 53) - 1;

/// Digits after the point of both USDT and TRX.
const DECIMALS: usize = 6;
const UNIT: u64 = 1_000_000;

/// Why a text or number is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// No digits at all.
    #[error("an amount is missing; write digits, such as 12.5")]
    Empty,
    /// A minus sign.
    #[error("the amount {0:?} is negative; amounts are 0 or more")]
    Negative(String),
    /// Something that is not a plain decimal number.
    #[error("{0:?} is not an amount; write digits and at most one point, such as 12.5")]
    NotDecimal(String),
    /// More than six digits after the point.
    #[error("{text:?} has {found} digits after the point; 6 are the most, 0.000001 the least")]
    TooFine {
        /// What was given.
        text: String,
        /// Digits after the point.
        found: usize,
    },
    /// Above [`AMOUNT_MAX`].
    #[error("the amount {0:?} is too large; 9007199254.740991 is the most")]
    TooLarge(String),
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Reads decimal text of whole units, such as `12.5`, into the smallest unit.
fn parse(text: &str) -> Result<u64, AmountError> {
    if text.is_empty() {
        return Err(AmountError::Empty);
    }
    if text.starts_with('-') {
        return Err(AmountError::Negative(shown(text)));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return Err(AmountError::NotDecimal(shown(text)));
    }
    if fraction.len() > DECIMALS {
        return Err(AmountError::TooFine { text: shown(text), found: fraction.len() });
    }
    let too_large = || AmountError::TooLarge(shown(text));
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let fraction: u64 = format!("{fraction:0<DECIMALS$}").parse().map_err(|_| too_large())?;
    let amount = whole.checked_mul(UNIT).and_then(|units| units.checked_add(fraction));
    amount.filter(|amount| *amount <= AMOUNT_MAX).ok_or_else(too_large)
}

fn from_number<'de, D: Deserializer<'de>>(deserializer: D, unit: &str) -> Result<u64, D::Error> {
    use serde::de::Error;
    let number = serde_json::Number::deserialize(deserializer)
        .map_err(|_| D::Error::custom(format!("an amount is a whole number of {unit}")))?;
    match number.as_u64() {
        Some(amount) if amount <= AMOUNT_MAX => Ok(amount),
        Some(amount) => {
            Err(D::Error::custom(format!("{amount} {unit} is too large; {AMOUNT_MAX} is the most")))
        }
        None if number.as_i64().is_some() => {
            Err(D::Error::custom(format!("{number} {unit} is negative; amounts are 0 or more")))
        }
        None => Err(D::Error::custom(format!("{number} is not a whole number of {unit}"))),
    }
}

macro_rules! amount {
    ($name:ident, $unit:literal, $whole:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_number(deserializer, $unit).map(Self)
            }
        }

        impl FromStr for $name {
            type Err = AmountError;

            /// Reads whole units with at most six decimals, such as `12.5`.
            fn from_str(text: &str) -> Result<Self, AmountError> {
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            /// Whole units with all six decimals and the unit's name.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{:06} {}", self.0 / UNIT, self.0 % UNIT, $whole)
            }
        }
    };
}

amount!(
    MicroUsdt,
    "micro-USDT",
    "USDT",
    "An amount of USDT in millionths; in JSON a whole number."
);
amount!(Sun, "sun", "TRX", "An amount of TRX in sun, its millionth; in JSON a whole number.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_is_read_exactly_or_refused_with_its_own_reason() {
        let good = [
            ("0", 0),
            ("0.000001", 1),
            ("12.5", 12_500_000),
            ("10000", 10_000_000_000),
            ("007", 7_000_000),
            ("9007199254.740991", AMOUNT_MAX),
        ];
        for (text, units) in good {
            assert_eq!(text.parse::<MicroUsdt>(), Ok(MicroUsdt(units)), "{text}");
        }
        type Case = (&'static str, fn(&AmountError) -> bool);
        let bad: [Case; 14] = [
            ("", |error| matches!(error, AmountError::Empty)),
            ("-1", |error| matches!(error, AmountError::Negative(_))),
            ("1.0000001", |error| matches!(error, AmountError::TooFine { found: 7, .. })),
            ("9007199254.740992", |error| matches!(error, AmountError::TooLarge(_))),
            ("99999999999999999999", |error| matches!(error, AmountError::TooLarge(_))),
            ("+1", |error| matches!(error, AmountError::NotDecimal(_))),
            (".5", |error| matches!(error, AmountError::NotDecimal(_))),
            ("5.", |error| matches!(error, AmountError::NotDecimal(_))),
            ("1e3", |error| matches!(error, AmountError::NotDecimal(_))),
            ("1,5", |error| matches!(error, AmountError::NotDecimal(_))),
            ("1.5.0", |error| matches!(error, AmountError::NotDecimal(_))),
            (" 1", |error| matches!(error, AmountError::NotDecimal(_))),
            ("NaN", |error| matches!(error, AmountError::NotDecimal(_))),
            ("١", |error| matches!(error, AmountError::NotDecimal(_))),
        ];
        for (text, is) in bad {
            let error = text.parse::<Sun>().unwrap_err();
            assert!(is(&error), "{text:?}: {error}");
        }
    }

    #[test]
    fn json_takes_whole_numbers_of_the_smallest_unit_only() {
        assert_eq!(serde_json::from_str::<MicroUsdt>("12500000").unwrap(), MicroUsdt(12_500_000));
        for (json, words) in [
            ("-1", "negative"),
            ("1.5", "not a whole number of micro-USDT"),
            ("1e3", "not a whole number"),
            ("\"5\"", "a whole number of micro-USDT"),
            ("9007199254740992", "too large"),
            ("18446744073709551616", "whole number"),
        ] {
            let error = serde_json::from_str::<MicroUsdt>(json).unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
        assert_eq!(serde_json::to_string(&Sun(7)).unwrap(), "7");
        assert_eq!(MicroUsdt(12_500_001).to_string(), "12.500001 USDT");
    }
}
