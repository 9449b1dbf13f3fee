//! Percent-encoding, and hiding what looks like a credential.

use super::SECRET_NAMES;

/// Percent-decodes; `None` for broken escapes or bytes that are no UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if b == b'%' {
            let hex = text.get(at + 1..at + 3)?;
            if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            out.push(u8::from_str_radix(hex, 16).ok()?);
            at += 3;
        } else {
            out.push(b);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

pub(super) fn is_userinfo(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$*+".contains(&b)
}

pub(super) fn is_path(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$*+/@,:=".contains(&b)
}

pub(super) fn encode_into(out: &mut String, text: &str, keep: fn(u8) -> bool) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for b in text.bytes() {
        if keep(b) {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(HEX[usize::from(b >> 4)]);
            out.push(HEX[usize::from(b & 15)]);
        }
    }
}

/// The path with everything that looks like a credential replaced by `***`.
pub(super) fn redact_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    // Each piece between separators either is harmless or loses all from its first telling name on.
    for piece in path.split_inclusive(['/', '?', '&', ';']) {
        let (body, separator) = match piece.char_indices().last() {
            Some((at, '/' | '?' | '&' | ';')) => piece.split_at(at),
            _ => (piece, ""),
        };
        let lower = body.to_ascii_lowercase();
        let telling = body.contains('=')
            && SECRET_NAMES
                .iter()
                .any(|name| lower.find(name).is_some_and(|at| lower[at..].contains('=')));
        if telling {
            let first = SECRET_NAMES.iter().filter_map(|name| lower.find(name)).min().unwrap_or(0);
            let value = body[first..].find('=').map_or(body.len(), |at| first + at + 1);
            out.push_str(&body[..value]);
            out.push_str("***");
        } else {
            out.push_str(body);
        }
        out.push_str(separator);
    }
    out
}
