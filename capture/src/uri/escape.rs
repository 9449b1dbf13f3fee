//! Percent-encoding, and hiding what looks like a credential.

use super::HARMLESS_NAMES;

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

/// Shortest part of a path that may be a key by its look, bytes.
const KEY_BYTES: usize = 16;

/// The path with everything that may be a credential replaced by `***`: values of parameters that
/// are not known to be harmless, `name:secret` pairs, and parts that look like keys.
pub(super) fn redact_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for piece in path.split_inclusive(['/', '?', '&', ';']) {
        let (body, separator) = match piece.char_indices().last() {
            Some((at, '/' | '?' | '&' | ';')) => piece.split_at(at),
            _ => (piece, ""),
        };
        match shown(body) {
            Some(name) => {
                out.push_str(&name);
                out.push_str("***");
            }
            None => out.push_str(body),
        }
        out.push_str(separator);
    }
    out
}

/// What may be shown before `***` of a piece that may hold a credential; `None` for others.
fn shown(piece: &str) -> Option<String> {
    // Cameras read it decoded; what cannot be decoded cannot be judged.
    let Some(plain) = decode(piece) else { return Some(String::new()) };
    if let Some((name, value)) = plain.split_once('=') {
        let is_harmless = HARMLESS_NAMES.contains(&name.to_ascii_lowercase().as_str());
        let simple = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        if is_harmless && value.chars().all(simple) && !looks_like_key(value) {
            return None;
        }
        let is_name = !name.is_empty() && name.chars().all(simple) && !looks_like_key(name);
        return Some(if is_name { format!("{name}=") } else { String::new() });
    }
    (plain.contains([':', '@']) || looks_like_key(&plain)).then(String::new)
}

/// Long, of letters of both cases and digits and nothing else: what a camera deals out.
fn looks_like_key(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    text.len() >= KEY_BYTES
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
}
