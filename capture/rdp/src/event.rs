//! What a recorded session keeps beside the picture: connections, decisions, windows, input.
//!
//! An event is one deterministic CBOR array `[version, stream time, wall time, kind, body]`. Events
//! stand one after the other (RFC 8742) in the plaintext of the session's chunks of kind *events*,
//! sealed and proved like the picture. Texts are cut at their limit when an event is made, and
//! refused over it when one is read.

mod body;

pub use body::{
    APPLICATION_MAX_BYTES, Approval, ClipboardKind, Connection, EventKind, NAME_MAX_BYTES,
    STROKES_MAX, Stroke, TEXT_MAX_BYTES,
};

use lucid_evidence::cbor::{CborError, Decoder, Encoder, Problem};

/// The version of the encoding.
pub const EVENT_VERSION: u64 = 1;
/// Longest encoded event, bytes.
pub const EVENT_MAX_BYTES: usize = 16 << 10;

/// Something that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, microseconds of the session's stream clock.
    pub stream_us: u64,
    /// When by the device's clock, microseconds since 1970.
    pub wall_us: u64,
    /// What.
    pub kind: EventKind,
}

impl Event {
    /// The one encoding. Texts and lists over their limit are cut.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.array(5).uint(EVENT_VERSION).uint(self.stream_us).uint(self.wall_us);
        e.uint(self.kind.code());
        self.kind.encode(&mut e);
        e.finish()
    }

    /// Reads one event that is all of `bytes`.
    ///
    /// # Errors
    /// Anything but the one encoding, naming the field.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let event = Self::read(&mut d)?;
        d.end("event")?;
        Ok(event)
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        let start = d.position();
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
        let code = d.u64("event.kind")?;
        let kind = EventKind::decode(code, d)?;
        let found = d.position() - start;
        if found > EVENT_MAX_BYTES {
            let (limit, found) = (EVENT_MAX_BYTES as u64, found as u64);
            return Err(d.error("event", Problem::Limit { limit, found }));
        }
        Ok(Event { stream_us, wall_us, kind })
    }

    /// The words of this event that a search looks at, in lower case.
    pub fn search_text(&self) -> String {
        let mut text = self.kind.name().to_owned();
        for part in self.kind.texts() {
            text.push(' ');
            text.push_str(&part.to_lowercase());
        }
        text
    }
}

/// Reads the events of a chunk's plaintext in order. After the first error nothing more comes.
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

impl Iterator for Events<'_> {
    type Item = Result<Event, CborError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // An event is read from what it may be long: a chunk is not copied for each of them.
        let mut d = Decoder::new(self.rest);
        match Event::read(&mut d) {
            Ok(event) => {
                let length = d.position();
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

#[cfg(test)]
mod tests;
