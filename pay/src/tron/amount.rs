//! Amounts in the smallest unit. There are no floats; six decimals in text, never more.

use std::fmt;
use std::str::FromStr;

/// Smallest units in one TRX or one USDT.
pub const UNITS: u64 = 1_000_000;
/// Digits after the point.
const DECIMALS: usize = 6;
/// Largest amount a transaction can carry (int64 on the wire).
const MAX_UNITS: u64 = i64::MAX.unsigned_abs();

/// Why text or a number is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Nothing was given.
    #[error("the amount is empty")]
    Empty,
    /// Below zero.
    #[error("an amount cannot be negative")]
    Negative,
    /// Something else than digits and one point.
    #[error("an amount is digits and at most one point, with digits on both sides, like 12.5")]
    Form,
    /// More than six decimals.
    #[error("an amount has at most 6 decimals, this has {0}")]
    Decimals(usize),
    /// More than a transaction can carry.
    #[error("the amount is larger than a transaction can carry (9223372036854.775807)")]
    TooLarge,
}

fn parse(text: &str) -> Result<u64, AmountError> {
    if text.is_empty() {
        return Err(AmountError::Empty);
    }
    if text.starts_with('-') {
        return Err(AmountError::Negative);
    }
    let (whole, part) = match text.split_once('.') {
        Some((_, "")) => return Err(AmountError::Form),
        Some(both) => both,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return Err(AmountError::Form);
    }
    if part.len() > DECIMALS {
        return Err(AmountError::Decimals(part.len()));
    }
    let mut units: u64 = 0;
    let zeros = std::iter::repeat_n(b'0', DECIMALS - part.len());
    for digit in whole.bytes().chain(part.bytes()).chain(zeros) {
        units = units
            .checked_mul(10)
            .and_then(|units| units.checked_add(u64::from(digit - b'0')))
            .filter(|units| *units <= MAX_UNITS)
            .ok_or(AmountError::TooLarge)?;
    }
    Ok(units)
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(u64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// The smallest amount there is.
            pub const UNIT: Self = Self(1);

            /// The largest amount a transaction can carry.
            pub const MAX: Self = Self(MAX_UNITS);

            /// Whole units of text: `whole(3)` is "3".
            pub const fn whole(whole: u32) -> Self {
                // The product of 32 bits and a million fits 63 bits.
                Self(whole as u64 * UNITS)
            }

            /// From smallest units.
            pub const fn from_units(units: u64) -> Result<Self, AmountError> {
                if units > MAX_UNITS { Err(AmountError::TooLarge) } else { Ok(Self(units)) }
            }

            /// Smallest units.
            pub const fn units(self) -> u64 {
                self.0
            }

            /// Smallest units as the wire has them.
            pub const fn wire(self) -> i64 {
                // `from_units` keeps it in range.
                self.0.cast_signed()
            }

            /// Sum, unless it is larger than a transaction can carry.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).and_then(|units| Self::from_units(units).ok())
            }

            /// Sum, at most what a transaction can carry.
            pub const fn saturating_add(self, other: Self) -> Self {
                let units = self.0.saturating_add(other.0);
                Self(if units > MAX_UNITS { MAX_UNITS } else { units })
            }

            /// Difference, at least nothing.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// Decimal text with all six decimals, for columns.
            pub fn fixed(self) -> String {
                format!("{}.{:06}", self.0 / UNITS, self.0 % UNITS)
            }

            /// Difference, unless it is below zero.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
        }

        impl std::iter::Sum for $name {
            /// Stops at what a transaction can carry.
            fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
                amounts.fold(Self::ZERO, Self::saturating_add)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.u64(self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let at = d.position();
                Self::from_units(d.u64()?)
                    .map_err(|error| minicbor::decode::Error::custom(error).at(at))
            }
        }

        impl FromStr for $name {
            type Err = AmountError;

            fn from_str(text: &str) -> Result<Self, AmountError> {
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (whole, part) = (self.0 / UNITS, self.0 % UNITS);
                if part == 0 {
                    return write!(f, "{whole}");
                }
                let part = format!("{part:06}");
                write!(f, "{whole}.{}", part.trim_end_matches('0'))
            }
        }
    };
}

amount! {
    /// TRX in sun, its millionth. Text is in TRX.
    Sun
}
amount! {
    /// USDT in its millionth. Text is in USDT.
    Usdt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_exact_in_both_directions() {
        for (text, units) in [("0", 0), ("10", 10_000_000), ("0.000001", 1), ("12.5", 12_500_000)] {
            let amount: Usdt = text.parse().unwrap();
            assert_eq!(amount.units(), units);
            assert_eq!(amount.to_string(), text);
        }
        assert_eq!("9223372036854.775807".parse::<Sun>().unwrap().wire(), i64::MAX);
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let parse = |text: &str| text.parse::<Usdt>().unwrap_err();
        assert_eq!(parse(""), AmountError::Empty);
        assert_eq!(parse("-1"), AmountError::Negative);
        assert_eq!(parse("1.0000001"), AmountError::Decimals(7));
        assert_eq!(parse("9223372036854.775808"), AmountError::TooLarge);
        for text in ["1e3", "+1", "1.", ".5", "1,5", " 1", "1.2.3", "٣", "0x10", "NaN"] {
            assert_eq!(parse(text), AmountError::Form, "{text}");
        }
    }

    #[test]
    fn records_hold_whole_numbers_within_the_limit() {
        let bytes = minicbor::to_vec(Usdt::whole(3)).unwrap();
        assert_eq!(bytes, [0x1a, 0x00, 0x2d, 0xc6, 0xc0]);
        assert_eq!(minicbor::decode::<Usdt>(&bytes).unwrap().units(), 3_000_000);
        let above = minicbor::to_vec(u64::MAX).unwrap();
        assert!(minicbor::decode::<Usdt>(&above).is_err());
        let other = minicbor::to_vec(minicbor::bytes::ByteArray::from([0x42; 21])).unwrap();
        assert!(minicbor::decode::<crate::tron::Address>(&other).is_err());
    }

    #[test]
    fn sums_stay_within_what_a_transaction_carries() {
        assert_eq!(Usdt::MAX.saturating_add(Usdt::UNIT), Usdt::MAX);
        assert_eq!([Usdt::MAX, Usdt::MAX].into_iter().sum::<Usdt>(), Usdt::MAX);
        assert_eq!(Usdt::UNIT.saturating_sub(Usdt::MAX), Usdt::ZERO);
        assert_eq!(Usdt::from_units(12_500_000).unwrap().fixed(), "12.500000");
    }
}
