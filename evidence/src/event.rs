//! Events: what happened in a session beside its media, one after the other in the plaintext of
//! its chunks of events.
//!
//! An event says in itself what its parts mean: its kind and its fields have names. So whoever
//! opens a bundle can read it, and a verifier can derive the readable form again, without a list of
//! kinds that would have to be as new as the recorder. The form is
//! `[version, stream time, wall time, kind, {field: value}]` in deterministic CBOR (RFC 8949
//! section 4.2.1); events follow each other without anything between (RFC 8742).

use crate::bundle::rfc3339;
use crate::cbor::{CborError, Decoder, Encoder, Problem};
use minicbor::data::Type;
use std::fmt::Write as _;

/// The version of the encoding.
pub const EVENT_VERSION: u64 = 1;
/// Longest encoded event, bytes.
pub const EVENT_MAX_BYTES: usize = 16 << 10;
/// Longest name of a kind or a field, bytes.
pub const NAME_MAX_BYTES: usize = 32;
/// Most fields of an event.
pub const FIELDS_MAX: u64 = 32;
/// How deep arrays may stand in each other.
pub const DEPTH_MAX: usize = 4;
/// Names that the readable form has for itself.
const RESERVED: [&str; 3] = ["time", "stream_us", "kind"];

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'b> {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Uint(u64),
    /// Text.
    Text(&'b str),
    /// Bytes, in the readable form hexadecimal.
    Bytes(&'b [u8]),
    /// More than one.
    Array(Vec<Value<'b>>),
}

impl Value<'_> {
    fn encode(&self, e: &mut Encoder) {
        match self {
            Value::Null => e.null(),
            Value::Bool(value) => e.bool(*value),
            Value::Uint(value) => e.uint(*value),
            Value::Text(value) => e.text(value),
            Value::Bytes(value) => e.bytes(value),
            Value::Array(values) => {
                e.array(values.len() as u64);
                values.iter().for_each(|value| value.encode(e));
                e
            }
        };
    }

    fn json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Uint(value) => put(out, format_args!("{value}")),
            Value::Text(value) => json_text(value, out),
            Value::Bytes(value) => {
                out.push('"');
                value.iter().for_each(|byte| put(out, format_args!("{byte:02x}")));
                out.push('"');
            }
            Value::Array(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value.json(out);
                }
                out.push(']');
            }
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'b> {
    /// When, microseconds of the session's stream clock.
    pub stream_us: u64,
    /// When by the device's clock, microseconds since 1970.
    pub wall_us: u64,
    /// What kind of event it is: lower-case letters, digits and `_`.
    pub kind: &'b str,
    /// What it says, each field once.
    pub fields: Vec<(&'b str, Value<'b>)>,
}

impl<'b> Event<'b> {
    /// The one encoding; fields may be in any order. Reading refuses what is over a limit.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields: Vec<&(&str, Value<'_>)> = self.fields.iter().collect();
        fields.sort_by_key(|(name, _)| order(name));
        let mut e = Encoder::new();
        e.array(5).uint(EVENT_VERSION).uint(self.stream_us).uint(self.wall_us).text(self.kind);
        e.map(fields.len() as u64);
        for (name, value) in fields {
            e.text(name);
            value.encode(&mut e);
        }
        e.finish()
    }

    /// Reads the event at the start of `bytes`; returns it and its length.
    ///
    /// # Errors
    /// Anything but the one encoding of an event within its limits, naming the part.
    pub fn read(bytes: &'b [u8]) -> Result<(Self, usize), CborError> {
        let mut d = Decoder::new(bytes.get(..EVENT_MAX_BYTES).unwrap_or(bytes));
        d.array_of("event", 5)?;
        match d.u64("event.version")? {
            EVENT_VERSION => {}
            found => {
                let problem = Problem::Version { found, known: EVENT_VERSION };
                return Err(d.error("event.version", problem));
            }
        }
        let stream_us = d.u64("event.stream")?;
        let wall_us = d.u64("event.wall")?;
        let kind = name(&mut d, "event.kind")?;
        let mut fields: Vec<(&str, Value<'_>)> = Vec::new();
        for _ in 0..d.map_up_to("event.fields", FIELDS_MAX)? {
            let field = name(&mut d, "event.field")?;
            if fields.last().is_some_and(|(before, _)| order(before) >= order(field)) {
                return Err(d.value_error("event.field", "fields out of order or repeated"));
            }
            if RESERVED.contains(&field) {
                return Err(d.value_error("event.field", "a name the readable form has for itself"));
            }
            fields.push((field, value(&mut d, DEPTH_MAX)?));
        }
        Ok((Event { stream_us, wall_us, kind, fields }, d.position()))
    }

    /// A field's value.
    pub fn field(&self, name: &str) -> Option<&Value<'b>> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// Appends the readable form: one JSON object and a line feed.
    pub fn json_line(&self, out: &mut String) {
        put(out, format_args!("{{\"time\":\"{}\"", rfc3339(self.wall_us)));
        put(out, format_args!(",\"stream_us\":{},\"kind\":\"{}\"", self.stream_us, self.kind));
        for (name, value) in &self.fields {
            put(out, format_args!(",\"{name}\":"));
            value.json(out);
        }
        out.push_str("}\n");
    }
}

/// Reads the events of a chunk's plaintext in order. After the first error nothing more comes.
#[derive(Debug)]
pub struct Events<'b> {
    rest: &'b [u8],
    offset: usize,
}

impl<'b> Events<'b> {
    /// The events in `plaintext`.
    pub fn new(plaintext: &'b [u8]) -> Self {
        Events { rest: plaintext, offset: 0 }
    }
}

impl<'b> Iterator for Events<'b> {
    type Item = Result<Event<'b>, CborError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Event::read(self.rest) {
            Ok((event, length)) => {
                self.rest = self.rest.get(length..).unwrap_or_default();
                self.offset += length;
                Some(Ok(event))
            }
            Err(mut error) => {
                error.offset += self.offset;
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// The order of names in a map: that of their encodings.
fn order(name: &str) -> (usize, &str) {
    (name.len(), name)
}

fn name<'b>(d: &mut Decoder<'b>, field: &'static str) -> Result<&'b str, CborError> {
    let text = d.text(field, NAME_MAX_BYTES)?;
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    match !text.is_empty() && text.bytes().all(of_name) {
        true => Ok(text),
        false => Err(d.value_error(field, "no name of lower-case letters, digits and _")),
    }
}

fn value<'b>(d: &mut Decoder<'b>, depth: usize) -> Result<Value<'b>, CborError> {
    const FIELD: &str = "event.value";
    match d.next_type() {
        Some(Type::Null) => {
            d.is_null(FIELD)?;
            Ok(Value::Null)
        }
        Some(Type::Bool) => d.bool(FIELD).map(Value::Bool),
        Some(Type::U8 | Type::U16 | Type::U32 | Type::U64) => d.u64(FIELD).map(Value::Uint),
        Some(Type::String) => d.text(FIELD, EVENT_MAX_BYTES).map(Value::Text),
        Some(Type::Bytes) => d.bytes(FIELD, EVENT_MAX_BYTES).map(Value::Bytes),
        Some(Type::Array) if depth > 0 => {
            let items = d.array(FIELD, EVENT_MAX_BYTES as u64)?;
            (0..items).map(|_| value(d, depth - 1)).collect::<Result<_, _>>().map(Value::Array)
        }
        _ => Err(d.value_error(FIELD, "neither a number, text, bytes, true, false nor null")),
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _ = out.write_fmt(text);
}

/// A JSON string. What would change how the text around it is seen is written as an escape.
fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if crate::bundle::deceives(c) => put(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Event<'static> {
        Event {
            stream_us: 1_500_000,
            wall_us: 1_793_534_400_000_001,
            kind: "window",
            fields: vec![
                ("title", Value::Text("Quarterly \"Figures\"\n\u{202e}é\u{85}")),
                ("application", Value::Text("xterm")),
                ("hash", Value::Bytes(&[0xab, 0x01])),
                ("on", Value::Bool(true)),
                ("keys", Value::Array(vec![Value::Array(vec![Value::Uint(7), Value::Null])])),
            ],
        }
    }

    #[test]
    fn an_event_goes_both_ways_and_reads_as_a_line() {
        let bytes = example().encode();
        let both = [bytes.clone(), bytes.clone()].concat();
        let read: Vec<Event<'_>> = Events::new(&both).collect::<Result<_, _>>().unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].encode(), bytes);
        assert_eq!(read[0].field("hash"), Some(&Value::Bytes(&[0xab, 0x01])));
        let names: Vec<&str> = read[0].fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["on", "hash", "keys", "title", "application"]);
        let mut line = String::new();
        read[0].json_line(&mut line);
        let expected = "{\"time\":\"2026-11-01T12:00:00.000001Z\",\"stream_us\":1500000,\
            \"kind\":\"window\",\"on\":true,\"hash\":\"ab01\",\"keys\":[[7,null]],\
            \"title\":\"Quarterly \\\"Figures\\\"\\u000a\\u202eé\\u0085\",\
            \"application\":\"xterm\"}\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn every_cut_and_every_other_encoding_is_refused() {
        let bytes = example().encode();
        for at in 1..bytes.len() {
            assert!(Event::read(&bytes[..at]).is_err(), "cut at {at}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok((other, length)) = Event::read(&changed) {
                    assert_ne!(other, Event::read(&bytes).unwrap().0, "byte {at} bit {bit}");
                    assert_eq!(other.encode(), changed[..length], "byte {at} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn what_is_over_a_limit_or_out_of_place_is_refused() {
        let with = |kind, fields| Event { kind, fields, ..example() };
        let deep = |n| (0..n).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        let long = "x".repeat(EVENT_MAX_BYTES);
        let many: Vec<String> = (0..=FIELDS_MAX).map(|n| format!("f{n}")).collect();
        let many = many.iter().map(|name| (name.as_str(), Value::Null)).collect();
        assert!(Event::read(&with("a", vec![("d", deep(DEPTH_MAX))]).encode()).is_ok());
        for (wrong, about) in [
            (with("a", vec![("d", deep(DEPTH_MAX + 1))]), "event.value"),
            (with("a", vec![("t", Value::Text(&long))]), "event.value"),
            (with("a", many), "event.fields"),
            (with("a", vec![("x", Value::Null), ("x", Value::Null)]), "event.field"),
            (with("a", vec![("kind", Value::Null)]), "event.field"),
            (with("a", vec![("a\"", Value::Null)]), "event.field"),
            (with("", vec![]), "event.kind"),
            (with("Window", vec![]), "event.kind"),
        ] {
            assert_eq!(Event::read(&wrong.encode()).unwrap_err().field, about, "{wrong:?}");
        }
        let mut newer = example().encode();
        newer[1] = 2;
        let error = Event::read(&newer).unwrap_err();
        assert_eq!(error.problem, Problem::Version { found: 2, known: 1 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for event in Events::new(&bytes).flatten() {
                let mut line = String::new();
                event.json_line(&mut line);
                let one = line.ends_with("}\n") && line.matches('\n').count() == 1;
                prop_assert!(one, "{:?}", line);
            }
        }
    }
}
