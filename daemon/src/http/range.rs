//! Which part of a file a download asks for: one range of bytes (RFC 9110, section 14).
//!
//! Several ranges, other units and what is not well formed are ignored, as the RFC allows: the
//! answer then is the whole file.

use axum::http::header::{HeaderMap, HeaderName, IF_RANGE, RANGE};
use axum::http::{HeaderValue, Method};

/// What to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it (200).
    Whole,
    /// These bytes (206), both ends inclusive and inside the file.
    Part {
        /// Place of the first byte.
        first: u64,
        /// Place of the last byte.
        last: u64,
    },
    /// Nothing of it is in the file (416).
    Outside,
}

/// Reads `Range` and `If-Range` of a request for a file of `size` bytes whose strong validator is
/// `etag`, quotes included.
pub fn wanted(method: &Method, headers: &HeaderMap, size: u64, etag: &str) -> Wanted {
    // Of other methods, HEAD among them, ranges are not defined.
    if method != Method::GET || !if_range_holds(headers, etag) {
        return Wanted::Whole;
    }
    only(headers, RANGE).and_then(|value| parse(value, size)).unwrap_or(Wanted::Whole)
}

/// Without the header it holds; a date never does, as files here have none.
fn if_range_holds(headers: &HeaderMap, etag: &str) -> bool {
    !headers.contains_key(IF_RANGE) || only(headers, IF_RANGE) == Some(etag)
}

/// The value of a header that stands there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::to_str)?.ok()?;
    values.next().is_none().then_some(first.trim())
}

/// `None` when the value is to be ignored.
fn parse(value: &str, size: u64) -> Option<Wanted> {
    let (unit, range) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let end = size.saturating_sub(1);
    if first.is_empty() {
        let count = place(last)?;
        return Some(match count {
            0 => Wanted::Outside,
            _ if size == 0 => Wanted::Outside,
            _ => Wanted::Part { first: size.saturating_sub(count), last: end },
        });
    }
    let first = place(first)?;
    let last = if last.is_empty() { u64::MAX } else { place(last)? };
    if last < first {
        return None;
    }
    Some(if first >= size { Wanted::Outside } else { Wanted::Part { first, last: last.min(end) } })
}

/// A decimal number; one too large to count with is larger than any file.
fn place(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"one\"";

    fn ask(method: Method, fields: &[(HeaderName, &str)], size: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().unwrap());
        }
        wanted(&method, &headers, size, ETAG)
    }

    #[test]
    fn one_range_is_taken_and_what_is_not_one_is_ignored() {
        let part = |first, last| Wanted::Part { first, last };
        for (value, size, expected) in [
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=2-5", 10, part(2, 5)),
            ("Bytes=2-", 10, part(2, 9)),
            ("bytes=9-99", 10, part(9, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-30", 10, part(0, 9)),
            ("bytes=0-99999999999999999999999", 10, part(0, 9)),
            ("bytes=10-", 10, Wanted::Outside),
            ("bytes=99999999999999999999999-", 10, Wanted::Outside),
            ("bytes=-0", 10, Wanted::Outside),
            ("bytes=0-", 0, Wanted::Outside),
            ("bytes=-1", 0, Wanted::Outside),
            ("bytes=0-1,4-5", 10, Wanted::Whole),
            ("bytes=5-2", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("bytes=+1-2", 10, Wanted::Whole),
            ("bytes=1--2", 10, Wanted::Whole),
            ("bytes", 10, Wanted::Whole),
            ("seconds=0-1", 10, Wanted::Whole),
            ("", 10, Wanted::Whole),
        ] {
            assert_eq!(ask(Method::GET, &[(RANGE, value)], size), expected, "{value} of {size}");
        }
        let twice = [(RANGE, "bytes=0-1"), (RANGE, "bytes=2-3")];
        assert_eq!(ask(Method::GET, &twice, 10), Wanted::Whole);
        assert_eq!(ask(Method::HEAD, &twice[..1], 10), Wanted::Whole);
    }

    #[test]
    fn a_range_of_another_file_is_the_whole_of_this_one() {
        let with = |value| ask(Method::GET, &[(RANGE, "bytes=1-2"), (IF_RANGE, value)], 10);
        assert_eq!(with(ETAG), Wanted::Part { first: 1, last: 2 });
        for other in ["\"two\"", "W/\"one\"", "one", "Sat, 21 Nov 2026 00:00:00 GMT"] {
            assert_eq!(with(other), Wanted::Whole, "{other}");
        }
    }
}
