//! The kinds of events and what each says.

use crate::controller::State;
use crate::policy::{Capability, Denial, Direction};
use lucid_evidence::Hash;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};

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
    const ALL: [Connection; 8] = [
        Connection::Opened,
        Connection::Resumed,
        Connection::Closed,
        Connection::TakenOver,
        Connection::Transferred,
        Connection::Terminated,
        Connection::ObserverJoined,
        Connection::ObserverLeft,
    ];

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
    const ALL: [Approval; 4] =
        [Approval::Asked, Approval::Granted, Approval::Denied, Approval::Expired];

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
    const ALL: [ClipboardKind; 4] =
        [ClipboardKind::Text, ClipboardKind::Image, ClipboardKind::Files, ClipboardKind::Other];

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
    pub(super) fn code(&self) -> u64 {
        match self {
            EventKind::Connection { .. } => 0,
            EventKind::State { .. } => 1,
            EventKind::Policy { .. } => 2,
            EventKind::Refused { .. } => 3,
            EventKind::Approval { .. } => 4,
            EventKind::NoticeShown { .. } => 5,
            EventKind::NoticeAccepted { .. } => 6,
            EventKind::Window { .. } => 7,
            EventKind::Keys { .. } => 8,
            EventKind::Redaction { .. } => 9,
            EventKind::Pointer { .. } => 10,
            EventKind::Clipboard { .. } => 11,
            EventKind::File { .. } => 12,
            EventKind::Resized { .. } => 13,
            EventKind::Alert { .. } => 14,
            EventKind::Lost { .. } => 15,
            EventKind::PolicyChanged { .. } => 16,
            EventKind::Offered { .. } => 17,
        }
    }

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

    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            EventKind::Connection { change, user, peer, reason } => {
                vec![change.as_str(), user, peer, reason]
            }
            EventKind::State { state } => vec![state.as_str()],
            EventKind::Refused { capability, denial, .. } => {
                vec![capability.as_str(), denial.as_str()]
            }
            EventKind::Approval { capability, approval, by, .. } => {
                vec![capability.as_str(), approval.as_str(), by]
            }
            EventKind::NoticeAccepted { user, .. } => vec![user],
            EventKind::Window { title, application } => vec![title, application],
            EventKind::Clipboard { direction, content, .. }
            | EventKind::Offered { direction, content } => {
                vec![direction.as_str(), content.as_str()]
            }
            EventKind::File { direction, name, .. } => vec![direction.as_str(), name],
            EventKind::Alert { what } => vec![what],
            EventKind::Policy { .. }
            | EventKind::PolicyChanged { .. }
            | EventKind::NoticeShown { .. }
            | EventKind::Keys { .. }
            | EventKind::Redaction { .. }
            | EventKind::Pointer { .. }
            | EventKind::Resized { .. }
            | EventKind::Lost { .. } => Vec::new(),
        }
    }

    pub(super) fn encode(&self, e: &mut Encoder) {
        let text = |text: &str| cut(text, TEXT_MAX_BYTES).to_owned();
        match self {
            EventKind::Connection { change, user, peer, reason } => {
                e.array(4).uint(code(&Connection::ALL, change));
                e.text(&text(user)).text(&text(peer)).text(&text(reason));
            }
            EventKind::State { state } => {
                e.array(1).uint(code(&State::ALL, state));
            }
            EventKind::Policy { hash, encoding } => {
                e.array(2).bytes(hash.as_bytes()).bytes(encoding);
            }
            EventKind::PolicyChanged { before, hash, encoding } => {
                e.array(3).bytes(before.as_bytes()).bytes(hash.as_bytes()).bytes(encoding);
            }
            EventKind::Refused { capability, denial, count } => {
                e.array(3).uint(capability.code()).uint(code(&Denial::ALL, denial)).uint(*count);
            }
            EventKind::Approval { request, capability, approval, by } => {
                e.array(4).uint(*request).uint(capability.code());
                e.uint(code(&Approval::ALL, approval)).text(&text(by));
            }
            EventKind::NoticeShown { text } => {
                e.array(1).bytes(text.as_bytes());
            }
            EventKind::NoticeAccepted { user, text: hash } => {
                e.array(2).text(&text(user)).bytes(hash.as_bytes());
            }
            EventKind::Window { title, application } => {
                e.array(2).text(&text(title)).text(cut(application, APPLICATION_MAX_BYTES));
            }
            EventKind::Keys { count, hidden, strokes } => {
                let strokes = &strokes[..strokes.len().min(STROKES_MAX)];
                e.array(3).uint(*count).uint(*hidden).array(strokes.len() as u64);
                for stroke in strokes {
                    e.array(2).uint(u64::from(stroke.after_us)).uint(u64::from(stroke.keysym));
                }
            }
            EventKind::Redaction { on } => {
                e.array(1).bool(*on);
            }
            EventKind::Pointer { moves, clicks, wheel } => {
                e.array(3).uint(*moves).uint(*clicks).uint(*wheel);
            }
            EventKind::Clipboard { direction, content, bytes, hash } => {
                e.array(4).bool(*direction == Direction::Out);
                e.uint(code(&ClipboardKind::ALL, content)).uint(*bytes).bytes(hash.as_bytes());
            }
            EventKind::Offered { direction, content } => {
                e.array(2).bool(*direction == Direction::Out);
                e.uint(code(&ClipboardKind::ALL, content));
            }
            EventKind::File { direction, name, bytes, hash } => {
                e.array(4).bool(*direction == Direction::Out).text(cut(name, NAME_MAX_BYTES));
                e.uint(*bytes).bytes(hash.as_bytes());
            }
            EventKind::Resized { width, height } => {
                e.array(2).uint(u64::from(*width)).uint(u64::from(*height));
            }
            EventKind::Alert { what } => {
                e.array(1).text(&text(what));
            }
            EventKind::Lost { count } => {
                e.array(1).uint(*count);
            }
        }
    }

    pub(super) fn decode(kind: u64, d: &mut Decoder<'_>) -> Result<Self, CborError> {
        let fields = match kind {
            1 | 5 | 9 | 14 | 15 => 1,
            2 | 6 | 7 | 13 | 17 => 2,
            3 | 8 | 10 | 16 => 3,
            0 | 4 | 11 | 12 => 4,
            other => return Err(d.value_error("event.kind", format!("unknown kind {other}"))),
        };
        d.array_of("event.body", fields)?;
        Ok(match kind {
            0 => EventKind::Connection {
                change: of(d, "event.connection.change", &Connection::ALL)?,
                user: text(d, "event.connection.user")?,
                peer: text(d, "event.connection.peer")?,
                reason: text(d, "event.connection.reason")?,
            },
            1 => EventKind::State { state: of(d, "event.state", &State::ALL)? },
            2 => EventKind::Policy { hash: d.hash("event.policy.hash")?, encoding: policy(d)? },
            16 => EventKind::PolicyChanged {
                before: d.hash("event.policy.before")?,
                hash: d.hash("event.policy.hash")?,
                encoding: policy(d)?,
            },
            3 => EventKind::Refused {
                capability: of(d, "event.refused.capability", &Capability::ALL)?,
                denial: of(d, "event.refused.denial", &Denial::ALL)?,
                count: d.u64("event.refused.count")?,
            },
            4 => EventKind::Approval {
                request: d.u64("event.approval.request")?,
                capability: of(d, "event.approval.capability", &Capability::ALL)?,
                approval: of(d, "event.approval.approval", &Approval::ALL)?,
                by: text(d, "event.approval.by")?,
            },
            5 => EventKind::NoticeShown { text: d.hash("event.notice.text")? },
            6 => EventKind::NoticeAccepted {
                user: text(d, "event.notice.user")?,
                text: d.hash("event.notice.text")?,
            },
            7 => EventKind::Window {
                title: text(d, "event.window.title")?,
                application: d.text("event.window.application", APPLICATION_MAX_BYTES)?.to_owned(),
            },
            8 => keys(d)?,
            9 => EventKind::Redaction { on: d.bool("event.redaction.on")? },
            10 => EventKind::Pointer {
                moves: d.u64("event.pointer.moves")?,
                clicks: d.u64("event.pointer.clicks")?,
                wheel: d.u64("event.pointer.wheel")?,
            },
            11 => EventKind::Clipboard {
                direction: direction(d, "event.clipboard.direction")?,
                content: of(d, "event.clipboard.content", &ClipboardKind::ALL)?,
                bytes: d.u64("event.clipboard.bytes")?,
                hash: d.hash("event.clipboard.hash")?,
            },
            12 => EventKind::File {
                direction: direction(d, "event.file.direction")?,
                name: d.text("event.file.name", NAME_MAX_BYTES)?.to_owned(),
                bytes: d.u64("event.file.bytes")?,
                hash: d.hash("event.file.hash")?,
            },
            13 => EventKind::Resized {
                width: d.u32("event.resized.width")?,
                height: d.u32("event.resized.height")?,
            },
            14 => EventKind::Alert { what: text(d, "event.alert.what")? },
            17 => EventKind::Offered {
                direction: direction(d, "event.offered.direction")?,
                content: of(d, "event.offered.content", &ClipboardKind::ALL)?,
            },
            _ => EventKind::Lost { count: d.u64("event.lost.count")? },
        })
    }
}

fn policy(d: &mut Decoder<'_>) -> Result<Vec<u8>, CborError> {
    let most = crate::policy::POLICY_MAX_BYTES;
    Ok(d.bytes("event.policy.encoding", most)?.to_vec())
}

fn keys(d: &mut Decoder<'_>) -> Result<EventKind, CborError> {
    let count = d.u64("event.keys.count")?;
    let hidden = d.u64_up_to("event.keys.hidden", count)?;
    // No more keys than were counted and not hidden.
    let most = (count - hidden).min(STROKES_MAX as u64);
    let mut strokes = Vec::new();
    for _ in 0..d.array("event.keys.strokes", most)? {
        d.array_of("event.keys.strokes", 2)?;
        let after_us = d.u32("event.keys.strokes.after")?;
        strokes.push(Stroke { after_us, keysym: d.u32("event.keys.strokes.keysym")? });
    }
    Ok(EventKind::Keys { count, hidden, strokes })
}

fn code<T: PartialEq>(all: &[T], one: &T) -> u64 {
    all.iter().position(|other| other == one).unwrap_or_default() as u64
}

fn of<T: Copy>(d: &mut Decoder<'_>, field: &'static str, all: &[T]) -> Result<T, CborError> {
    let code = d.u64(field)?;
    usize::try_from(code)
        .ok()
        .and_then(|code| all.get(code))
        .copied()
        .ok_or_else(|| d.value_error(field, format!("unknown code {code}")))
}

fn direction(d: &mut Decoder<'_>, field: &'static str) -> Result<Direction, CborError> {
    Ok(if d.bool(field)? { Direction::Out } else { Direction::In })
}

fn text(d: &mut Decoder<'_>, field: &'static str) -> Result<String, CborError> {
    d.text(field, TEXT_MAX_BYTES).map(str::to_owned)
}

/// Cuts at a character boundary.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
