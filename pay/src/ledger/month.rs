//! Calendar months, in UTC.

use crate::payout::types::Millis;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;

/// Text that is no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a month is written as YYYY-MM, from 1970-01 to 9998-12")]
pub struct MonthError;

/// A month of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i16,
    month: i8,
}

fn start(year: i16, month: i8) -> Millis {
    let date = Date::new(year, month, 1).ok();
    let zoned = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    zoned.map_or(0, |zoned| zoned.timestamp().as_millisecond().unsigned_abs())
}

impl Month {
    /// The month a moment lies in.
    pub fn of(at: Millis) -> Self {
        let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        let date = at.unwrap_or_default().to_zoned(TimeZone::UTC).date();
        Self { year: date.year(), month: date.month() }
    }

    /// Its first millisecond and that of the next month.
    pub fn span(self) -> (Millis, Millis) {
        let (year, month) =
            if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        (start(self.year, self.month), start(year, month))
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
        let (year, month) = text.split_once('-').ok_or(MonthError)?;
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return Err(MonthError);
        }
        let year: i16 = year.parse().map_err(|_| MonthError)?;
        let month: i8 = month.parse().map_err(|_| MonthError)?;
        let fits = (1970..=9998).contains(&year) && (1..=12).contains(&month);
        if fits { Ok(Self { year, month }) } else { Err(MonthError) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// A moment as RFC 3339, in UTC and whole seconds.
pub fn utc(at: Millis) -> String {
    let at = i64::try_from(at / 1000).ok().and_then(|at| Timestamp::from_second(at).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_without_a_gap() {
        let mut month: Month = "2023-11".parse().unwrap();
        for _ in 0..30 {
            let (from, to) = month.span();
            assert_eq!(Month::of(from), month);
            assert_eq!(Month::of(to - 1), month);
            let next = Month::of(to);
            assert_eq!(next.span().0, to);
            assert!(next > month);
            month = next;
        }
        assert_eq!(month.to_string(), "2026-05");
        assert_eq!(
            "2024-02".parse::<Month>().unwrap().span(),
            (1_706_745_600_000, 1_709_251_200_000)
        );
    }

    #[test]
    fn anything_else_is_no_month() {
        for text in ["", "2026", "2026-13", "2026-00", "26-01", "2026-1", "1969-12", "2026-01-01"] {
            assert_eq!(text.parse::<Month>(), Err(MonthError), "{text:?}");
        }
        assert_eq!(utc(1_709_251_200_999), "2024-03-01T00:00:00Z");
    }
}
