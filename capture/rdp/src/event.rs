//! What a recorded session keeps beside the picture: connections, decisions, windows, input.
//!
//! An event is [`lucid_evidence::event::Event`]: it names its kind and its fields, so that anyone
//! who is shown the recording can read it. Here are the kinds that a desktop makes, and how they
//! reach a recording that runs. Texts and lists over their limit are cut when an event is made.

mod body;

pub use body::{
    APPLICATION_MAX_BYTES, Approval, ClipboardKind, Connection, EventKind, NAME_MAX_BYTES,
    STROKES_MAX, Stroke, TEXT_MAX_BYTES,
};

use crate::session::EventSink;
use lucid_capture::recorder::{EncodeLost, EventFeed, Stamp};
use lucid_evidence::event;
use std::sync::Arc;

impl EventKind {
    /// The event of this kind at this time, as recordings hold it.
    pub fn encode(&self, at: Stamp) -> Vec<u8> {
        let (kind, fields) = (self.name(), self.fields());
        event::Event { stream_us: at.stream_us, wall_us: at.wall_us, kind, fields }.encode()
    }
}

/// How a recording of a desktop says that events were lost; for
/// [`lucid_capture::recorder::RecorderConfig::events`].
pub fn encode_lost() -> EncodeLost {
    Arc::new(|at, count| EventKind::Lost { count }.encode(at))
}

impl EventSink for EventFeed {
    fn record(&self, event: EventKind) {
        EventFeed::record(self, |at| event.encode(at));
    }
}

#[cfg(test)]
mod tests;
