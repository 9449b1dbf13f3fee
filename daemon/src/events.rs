//! What moves: one bounded channel from every component to the listeners of `/api/v1/events`.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::broadcast;

/// Events kept for a listener that has fallen behind; older ones are dropped and the listener is
/// told so with a `lagged` event.
pub const EVENT_BACKLOG: usize = 256;

/// The kinds of event, named as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A component of the daemon changed state.
    Component,
    /// A source was set up, changed or removed, or its state changed.
    Source,
    /// A session changed.
    Session,
    /// Time is missing from a recording.
    Gap,
    /// An export made progress.
    Export,
    /// A block was committed.
    Block,
    /// The answer to "is my evidence safe?" changed.
    Health,
    /// A desktop was set up, changed, removed, started or stopped.
    Desktop,
    /// A session on a desktop changed.
    Connection,
    /// A worker asked for something, or was answered.
    Approval,
    /// A sign-in on a desktop was refused.
    DesktopSignIn,
    /// A desktop comes close to a limit.
    DesktopAlert,
    /// An update of the system made progress.
    Update,
}

impl Topic {
    /// The name in the `event:` line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Source => "source",
            Self::Session => "session",
            Self::Gap => "gap",
            Self::Export => "export",
            Self::Block => "block",
            Self::Health => "health",
            Self::Desktop => "desktop",
            Self::Connection => "connection",
            Self::Approval => "approval",
            Self::DesktopSignIn => "desktop_sign_in",
            Self::DesktopAlert => "desktop_alert",
            Self::Update => "update",
        }
    }
}

/// One event, encoded once for all listeners.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its kind.
    pub topic: Topic,
    /// The changed object as JSON.
    pub data: Arc<str>,
}

/// The sending side; clones share the channel.
#[derive(Clone, Debug)]
pub struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    /// A channel without listeners.
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(EVENT_BACKLOG) }
    }

    /// Tells whoever listens; with nobody listening the event is gone, which is right: a page that
    /// connects later reads the present state first.
    pub fn publish(&self, topic: Topic, changed: &impl Serialize) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        match serde_json::to_string(changed) {
            Ok(data) => {
                let _nobody_listens = self.sender.send(Event { topic, data: data.into() });
            }
            Err(error) => tracing::error!(topic = topic.name(), %error, "event cannot be encoded"),
        }
    }

    /// A new listener, seeing events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}
