//! Points in time as the API writes them: RFC 3339 in UTC with microseconds.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// `2026-11-21T01:02:03.000000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-21T01:02:03.000000Z")]
pub struct Rfc3339(Timestamp);

impl Rfc3339 {
    /// From microseconds since 1970; what lies beyond year 9999 is shown as its last moment.
    pub fn from_us(us: u64) -> Self {
        let us = i64::try_from(us).unwrap_or(i64::MAX);
        Self(Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX))
    }
}

impl From<Timestamp> for Rfc3339 {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Microseconds since 1970 now, by the machine's clock.
pub fn now_us() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_decimals_always() {
        assert_eq!(Rfc3339::from_us(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            Rfc3339::from_us(1_795_222_923_000_001).to_string(),
            "2026-11-21T01:02:03.000001Z"
        );
        assert!(Rfc3339::from_us(u64::MAX).to_string().starts_with("9999-12-"));
    }
}
