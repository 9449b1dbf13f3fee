//! What a person sends along who asks for help: one text file they can read before they send it.
//!
//! Nothing of it is a secret: no key, no password, no token, no picture. What stands in addresses
//! between `//` and `@` is taken out of every line, whoever wrote it.

use std::fmt::Write as _;

/// Collects titled sections.
#[derive(Default)]
pub struct Report {
    text: String,
}

impl Report {
    /// Adds a section; an empty one says so.
    pub fn section(&mut self, title: &str, body: &str) {
        let body = if body.trim().is_empty() { "(nothing)" } else { body.trim_end() };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "== {title} ==\n");
        for line in body.lines() {
            let _ = writeln!(self.text, "{}", without_credentials(line));
        }
        self.text.push('\n');
    }

    /// The file.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// The line with `***` for what stands before the `@` of an address.
pub fn without_credentials(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        // The authority of an address ends with a slash or with what cannot stand in an address.
        let ends = |c: char| c == '/' || c.is_whitespace() || "\"'<>`".contains(c);
        let authority = after.split(ends).next().unwrap_or_default();
        match authority.rfind('@') {
            Some(end) => {
                out.push_str("***");
                rest = after.get(end..).unwrap_or_default();
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_addresses_are_taken_out() {
        let cases = [
            ("rtsp://ann:pa@ss@cam.local/x lost", "rtsp://***@cam.local/x lost"),
            ("a http://h/ b rtsp://u@h, rtsp://u:p@h", "a http://h/ b rtsp://***@h, rtsp://***@h"),
            ("https://host/path@v2", "https://host/path@v2"),
            ("mail ann@example.org", "mail ann@example.org"),
            ("://", "://"),
        ];
        for (line, wanted) in cases {
            assert_eq!(without_credentials(line), wanted);
        }
    }

    #[test]
    fn sections_are_told_apart() {
        let mut report = Report::default();
        report.section("Log", "one\ntwo rtsp://a:b@c\n");
        report.section("Faults", "");
        let text = report.into_text();
        assert_eq!(text, "== Log ==\n\none\ntwo rtsp://***@c\n\n== Faults ==\n\n(nothing)\n\n");
    }
}
