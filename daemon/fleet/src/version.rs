//! Versions of systems, and which of two is the newer one.
//!
//! The shape is that of Semantic Versioning 2.0 with any count of numbers: `1.2`, `1.2.3`,
//! `2.0.0-rc.1`. What follows a `+` names a build and does not count.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest version taken, in bytes.
const BYTES_MAX: usize = 64;

/// A version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    text: String,
    numbers: Vec<u64>,
    before: Vec<String>,
}

/// Not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no version: expected numbers with points between, like 1.2.3 or 1.2.3-rc.1")]
pub struct VersionError {
    given: String,
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let wrong = || VersionError { given: text.chars().take(BYTES_MAX).collect() };
        let word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let (counted, build) = text.split_once('+').unwrap_or((text, "x"));
        let (numbers, before) = match counted.split_once('-') {
            Some((numbers, before)) => (numbers, before.split('.').map(str::to_owned).collect()),
            None => (counted, Vec::new()),
        };
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let numbers: Option<Vec<u64>> = numbers.split('.').map(number).collect();
        let fits = text.len() <= BYTES_MAX
            && build.split('.').all(word)
            && before.iter().all(|part: &String| word(part));
        let numbers = numbers.filter(|_| fits).ok_or_else(wrong)?;
        Ok(Self { text: text.to_owned(), numbers, before })
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Version {
    /// Which one is newer; builds of one version are equal. This is no `Ord`, whose equality
    /// would have to be that of the text.
    pub fn compare(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let at = |version: &Self, at: usize| version.numbers.get(at).copied().unwrap_or(0);
        let numbers = (0..length).map(|i| at(self, i).cmp(&at(other, i)));
        numbers.fold(Ordering::Equal, Ordering::then).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_words(&self.before, &other.before),
            }
        })
    }
}

/// Numbers by value and before words, words by their bytes, the longer list last.
fn compare_words(left: &[String], right: &[String]) -> Ordering {
    for (left, right) in left.iter().zip(right) {
        let order = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => left.cmp(right),
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_field_orders_them() {
        // The example of Semantic Versioning 2.0, section 11, with neighbours.
        let order = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.2",
            "1.10",
            "2026.11.21",
            "2026.12.1",
        ];
        let parsed: Vec<Version> = order.iter().map(|text| text.parse().unwrap()).collect();
        for (i, left) in parsed.iter().enumerate() {
            for (j, right) in parsed.iter().enumerate() {
                assert_eq!(left.compare(right), i.cmp(&j), "{left} and {right}");
            }
        }
        let same = |left: &str, right: &str| {
            let (left, right): (Version, Version) = (left.parse().unwrap(), right.parse().unwrap());
            left.compare(&right).is_eq()
        };
        assert!(same("1.2", "1.2.0") && same("1.2.3+a", "1.2.3+b.7"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let long = "1".repeat(65);
        let wrongs = [
            "", "v1", "1.", ".1", "1..2", "1.2-", "1.2+", "1.2-a..b", "1.-2", "1 2", &long, "1.+2",
        ];
        for wrong in wrongs {
            assert!(wrong.parse::<Version>().is_err(), "{wrong:?}");
        }
    }
}
