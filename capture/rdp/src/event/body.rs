//! The kinds of events and what each says. The names are for good: recordings hold them.

use crate::controller::State;
use crate::policy::{Capability, Denial, Direction};
use lucid_evidence::Hash;
use lucid_evidence::event::Value;

/// Longest free text: window titles, reasons, user names, addresses; bytes.
pub const TEXT_MAX_BYTES: usize = 512;
/// Longest file name, bytes.
pub const NAME_MAX_BYTES: usize = 255;
/// Longest name of the program a window belongs to, bytes.
pub const APPLICATION_MAX_BYTES: usize = 128;
/// Most keys in one event; the recorder begins another.
pub const STROKES_MAX: usize = 512;

/// What a connection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connection {
    /// The first client signed in.
    Opened,
    /// The worker came back within the grace time; the same session goes on.
    Resumed,
    /// A client's connection ended.
    Closed,
    /// Another client of the same user took the desktop over.
    TakenOver,
    /// The session was given to another user.
    Transferred,
    /// An operator or the policy ended it.
    Terminated,
    /// An observer began to watch.
    ObserverJoined,
    /// An observer left.
    ObserverLeft,
}

impl Connection {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Connection::Opened => "opened",
            Connection::Resumed => "resumed",
            Connection::Closed => "closed",
            Connection::TakenOver => "taken over",
            Connection::Transferred => "transferred",
            Connection::Terminated => "terminated",
            Connection::ObserverJoined => "observer joined",
            Connection::ObserverLeft => "observer left",
        }
    }
}

/// How a request for approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Approval {
    /// The worker asks.
    Asked,
    /// An operator granted it.
    Granted,
    /// An operator refused it.
    Denied,
    /// Nobody answered in time.
    Expired,
}

impl Approval {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Approval::Asked => "asked",
            Approval::Granted => "granted",
            Approval::Denied => "denied",
            Approval::Expired => "expired",
        }
    }
}

/// What kind of content went over the clipboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClipboardKind {
    /// Text.
    Text,
    /// A picture.
    Image,
    /// A list of files.
    Files,
    /// Anything else.
    Other,
}

impl ClipboardKind {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            ClipboardKind::Text => "text",
            ClipboardKind::Image => "image",
            ClipboardKind::Files => "files",
            ClipboardKind::Other => "other",
        }
    }
}

/// One key that was pressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stroke {
    /// When, microseconds after the first of its event, which was told at most a second after its
    /// last.
    pub after_us: u32,
    /// The X keysym.
    pub keysym: u32,
}

impl std::fmt::Debug for Stroke {
    /// Without the key: what is typed does not reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stroke").field("after_us", &self.after_us).finish_non_exhaustive()
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A connection came, went or changed hands.
    Connection {
        /// What it did.
        change: Connection,
        /// Who.
        user: String,
        /// From where, and in the client's own words with what.
        peer: String,
        /// Why, in words; empty where there is nothing to say.
        reason: String,
    },
    /// The controller entered a state.
    State {
        /// The state.
        state: State,
    },
    /// The policy under which the session runs, said once at its beginning.
    Policy {
        /// Its hash, the one anchored.
        hash: Hash,
        /// Its encoding, so that whoever opens the recording can read it.
        encoding: Vec<u8>,
    },
    /// A grant put another policy in force. Told after the approval that is its reason.
    PolicyChanged {
        /// The hash of the policy that was in force before.
        before: Hash,
        /// The hash of the one that is now.
        hash: Hash,
        /// Its encoding.
        encoding: Vec<u8>,
    },
    /// Requests outside the policy, dropped and counted.
    Refused {
        /// What was asked for.
        capability: Capability,
        /// Why not.
        denial: Denial,
        /// How many since the last event of this kind.
        count: u64,
    },
    /// A request for approval was made or answered.
    Approval {
        /// The request's number in this session.
        request: u64,
        /// What is asked for.
        capability: Capability,
        /// How it stands.
        approval: Approval,
        /// Who asked or answered.
        by: String,
    },
    /// The notice that the session is recorded was shown.
    NoticeShown {
        /// Hash of the text shown.
        text: Hash,
    },
    /// The worker accepted the notice.
    NoticeAccepted {
        /// Who.
        user: String,
        /// Hash of the text that was accepted.
        text: Hash,
    },
    /// Another window has the focus, or its title changed.
    Window {
        /// Its title.
        title: String,
        /// The program it belongs to, by its window class.
        application: String,
    },
    /// Keys since the last event of this kind.
    Keys {
        /// How many were pressed.
        count: u64,
        /// Of these, pressed while "do not record keys" was on, or while it looked as if a
        /// password was asked for.
        hidden: u64,
        /// Which, if the policy records them; never those hidden.
        strokes: Vec<Stroke>,
    },
    /// The worker switched "do not record keys" on or off.
    Redaction {
        /// Whether it is on now.
        on: bool,
    },
    /// The pointer since the last event of this kind.
    Pointer {
        /// Movements.
        moves: u64,
        /// Buttons pressed.
        clicks: u64,
        /// Turns of the wheel.
        wheel: u64,
    },
    /// Clipboard content went over.
    Clipboard {
        /// Which way.
        direction: Direction,
        /// What it was.
        content: ClipboardKind,
        /// How much, bytes.
        bytes: u64,
        /// Its hash.
        hash: Hash,
    },
    /// One side has something new on its clipboard that may go over; nothing went yet.
    Offered {
        /// Which way it may go.
        direction: Direction,
        /// What it is.
        content: ClipboardKind,
    },
    /// A file went over.
    File {
        /// Which way.
        direction: Direction,
        /// Its name.
        name: String,
        /// Its length, bytes.
        bytes: u64,
        /// Its hash.
        hash: Hash,
    },
    /// The desktop has another size.
    Resized {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A limit of the desktop was reached.
    Alert {
        /// Which and by how much, in words.
        what: String,
    },
    /// Events that came faster than they could be kept.
    Lost {
        /// How many.
        count: u64,
    },
}

impl EventKind {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::Connection { .. } => "connection",
            EventKind::State { .. } => "state",
            EventKind::Policy { .. } => "policy",
            EventKind::PolicyChanged { .. } => "policy_changed",
            EventKind::Refused { .. } => "refused",
            EventKind::Approval { .. } => "approval",
            EventKind::NoticeShown { .. } => "notice_shown",
            EventKind::NoticeAccepted { .. } => "notice_accepted",
            EventKind::Window { .. } => "window",
            EventKind::Keys { .. } => "keys",
            EventKind::Redaction { .. } => "redaction",
            EventKind::Pointer { .. } => "pointer",
            EventKind::Clipboard { .. } => "clipboard",
            EventKind::File { .. } => "file",
            EventKind::Offered { .. } => "offered",
            EventKind::Resized { .. } => "resized",
            EventKind::Alert { .. } => "alert",
            EventKind::Lost { .. } => "lost",
        }
    }

    /// What it says, each part by its name. Texts and lists over their limit are cut.
    pub(super) fn fields(&self) -> Vec<(&'static str, Value<'_>)> {
        match self {
            EventKind::Connection { change, user, peer, reason } => vec![
                ("change", Value::Text(change.as_str())),
                ("user", text(user)),
                ("peer", text(peer)),
                ("reason", text(reason)),
            ],
            EventKind::State { state } => vec![("state", Value::Text(state.as_str()))],
            EventKind::Policy { hash, encoding } => {
                vec![("hash", Value::Bytes(hash.as_bytes())), ("encoding", Value::Bytes(encoding))]
            }
            EventKind::PolicyChanged { before, hash, encoding } => vec![
                ("before", Value::Bytes(before.as_bytes())),
                ("hash", Value::Bytes(hash.as_bytes())),
                ("encoding", Value::Bytes(encoding)),
            ],
            EventKind::Refused { capability, denial, count } => vec![
                ("capability", Value::Text(capability.as_str())),
                ("denial", Value::Text(denial.as_str())),
                ("count", Value::Uint(*count)),
            ],
            EventKind::Approval { request, capability, approval, by } => vec![
                ("request", Value::Uint(*request)),
                ("capability", Value::Text(capability.as_str())),
                ("approval", Value::Text(approval.as_str())),
                ("by", text(by)),
            ],
            EventKind::NoticeShown { text } => vec![("text", Value::Bytes(text.as_bytes()))],
            EventKind::NoticeAccepted { user, text: hash } => {
                vec![("user", text(user)), ("text", Value::Bytes(hash.as_bytes()))]
            }
            EventKind::Window { title, application } => vec![
                ("title", text(title)),
                ("application", Value::Text(cut(application, APPLICATION_MAX_BYTES))),
            ],
            EventKind::Keys { count, hidden, strokes } => vec![
                ("count", Value::Uint(*count)),
                ("hidden", Value::Uint(*hidden)),
                ("strokes", Value::Array(strokes.iter().take(STROKES_MAX).map(pair).collect())),
            ],
            EventKind::Redaction { on } => vec![("on", Value::Bool(*on))],
            EventKind::Pointer { moves, clicks, wheel } => vec![
                ("moves", Value::Uint(*moves)),
                ("clicks", Value::Uint(*clicks)),
                ("wheel", Value::Uint(*wheel)),
            ],
            EventKind::Clipboard { direction, content, bytes, hash } => vec![
                ("direction", Value::Text(direction.as_str())),
                ("content", Value::Text(content.as_str())),
                ("bytes", Value::Uint(*bytes)),
                ("hash", Value::Bytes(hash.as_bytes())),
            ],
            EventKind::Offered { direction, content } => vec![
                ("direction", Value::Text(direction.as_str())),
                ("content", Value::Text(content.as_str())),
            ],
            EventKind::File { direction, name, bytes, hash } => vec![
                ("direction", Value::Text(direction.as_str())),
                ("name", Value::Text(cut(name, NAME_MAX_BYTES))),
                ("bytes", Value::Uint(*bytes)),
                ("hash", Value::Bytes(hash.as_bytes())),
            ],
            EventKind::Resized { width, height } => vec![
                ("width", Value::Uint(u64::from(*width))),
                ("height", Value::Uint(u64::from(*height))),
            ],
            EventKind::Alert { what } => vec![("what", text(what))],
            EventKind::Lost { count } => vec![("count", Value::Uint(*count))],
        }
    }
}

fn text(text: &str) -> Value<'_> {
    Value::Text(cut(text, TEXT_MAX_BYTES))
}

fn pair(stroke: &Stroke) -> Value<'static> {
    let number = |n: u32| Value::Uint(u64::from(n));
    Value::Array(vec![number(stroke.after_us), number(stroke.keysym)])
}

/// Cuts at a character boundary.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
