//! What daemon and keeper say to each other: one packet each, every field of a fixed length or with
//! a stated limit.
//!
//! A packet is the version, the kind, and the fields of that kind one after another. Numbers are
//! big-endian; a text is its length in 16 bits and UTF-8; what may be missing has a byte before it.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::reach::{RELATIVE_MAX_BYTES, is_beneath, is_name};
use crate::xauthority::COOKIE_BYTES;
use crate::{
    COMMAND_MAX_BYTES, DESKTOPS_MAX, Definition, DefinitionError, LimitError, Limits,
    NAME_MAX_BYTES, State, Usage,
};

/// Version of the packets.
const VERSION: u8 = 1;
/// Longest packet, bytes.
pub const REQUEST_MAX_BYTES: usize = 8192;
/// Longest text for people, bytes; longer ones are cut.
const SAID_MAX_BYTES: usize = 1024;
/// Longest key of a desktop, bytes.
const KEY_MAX_BYTES: usize = 48;

/// A desktop that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which of all, below [`DESKTOPS_MAX`]; its users come from it.
    pub index: u16,
    /// Which home is its: small letters, digits and `-`, beginning with a letter or digit.
    pub key: String,
    /// What it is.
    pub definition: Definition,
    /// What it may take.
    pub limits: Limits,
}

/// What the daemon can ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Start a desktop; the connection is its from now on.
    Start(Box<Order>),
    /// The display was prepared, or why it could not be.
    Prepared {
        /// Why not.
        refused: Option<String>,
    },
    /// End it: programs are asked, and killed after the grace.
    Stop,
    /// End it for a reason, as if it had ended by itself.
    End {
        /// Why.
        reason: String,
    },
    /// What it takes.
    Usage,
    /// A connection to its X server.
    Connect,
    /// A transferred file, to read it.
    OpenFile {
        /// Below the directory of transfers.
        relative: PathBuf,
    },
    /// A new file in the directory of transfers.
    CreateFile {
        /// Its name.
        name: String,
    },
    /// Take away a file made on this connection.
    RemoveFile {
        /// Its name.
        name: String,
    },
    /// The pipe of what it plays.
    Sound,
    /// Whether a terminal of it asks for a secret.
    IsAskedSecretly,
    /// Which desktops run.
    List,
    /// Destroy all homes; only while no desktop runs.
    EraseHomes,
}

/// What the keeper says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was done; where a descriptor was asked for, it comes with this.
    Done,
    /// It was not done.
    Failed {
        /// A file of that name is there already.
        exists: bool,
        /// Why.
        why: String,
    },
    /// To a question.
    Flag(bool),
    /// What the desktop takes.
    Usage(Usage),
    /// Desktops that run, and whether each is up.
    List(Vec<(u16, bool)>),
    /// Unasked: its X server is there, and waits to be prepared.
    Server {
        /// The number of the display.
        display: u16,
        /// What opens it.
        cookie: Zeroizing<Vec<u8>>,
        /// The directory of transfers, as its programs name it.
        files: PathBuf,
    },
    /// Unasked: it was started.
    Started,
    /// Unasked: it was not, and why.
    NotStarted(String),
    /// Unasked: it ends by itself.
    Ending(String),
    /// Unasked: it stands otherwise.
    Changed(State),
}

/// A packet that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than any.
    #[error("a packet is over {REQUEST_MAX_BYTES} bytes")]
    Long,
    /// Of another version.
    #[error("a packet has version {0}, not {VERSION}")]
    Version(u8),
    /// Nothing that can be asked or said.
    #[error("there is no packet of kind {0}")]
    Kind(u8),
    /// Its end is missing, or something follows it.
    #[error("a packet of kind {0} does not have its length")]
    Length(u8),
    /// A text that is too long, no UTF-8 or not of its kind.
    #[error("field {0} of a packet is not usable")]
    Field(&'static str),
    /// No such desktop.
    #[error("desktop number {0} is not below {DESKTOPS_MAX}")]
    Index(u16),
    /// What it is.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// What it may take.
    #[error(transparent)]
    Limits(#[from] LimitError),
}

struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    fn new(kind: u8) -> Self {
        Writer(Zeroizing::new(vec![VERSION, kind]))
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u16(self, number: u16) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn u32(self, number: u32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn u64(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn text(self, text: &[u8]) -> Self {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        let text = text.get(..usize::from(length)).unwrap_or_default();
        self.u16(length).bytes(text)
    }

    fn said(self, text: &str) -> Self {
        let end = (0..=text.len().min(SAID_MAX_BYTES)).rev().find(|at| text.is_char_boundary(*at));
        self.text(text.get(..end.unwrap_or(0)).unwrap_or_default().as_bytes())
    }

    fn maybe<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self.bytes(&[1]), value),
            None => self.bytes(&[0]),
        }
    }
}

struct Reader<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(packet: &'a [u8]) -> Result<Self, MessageError> {
        if packet.len() > REQUEST_MAX_BYTES {
            return Err(MessageError::Long);
        }
        match packet {
            [VERSION, kind, rest @ ..] => Ok(Reader { kind: *kind, rest }),
            [version, ..] if *version != VERSION => Err(MessageError::Version(*version)),
            _ => Err(MessageError::Length(0)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (bytes, rest) =
            self.rest.split_first_chunk::<N>().ok_or(MessageError::Length(self.kind))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_be_bytes)
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, MessageError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(MessageError::Field(field)),
        }
    }

    fn text(&mut self, field: &'static str, most: usize) -> Result<String, MessageError> {
        let length = usize::from(self.u16()?);
        let (text, rest) =
            self.rest.split_at_checked(length).ok_or(MessageError::Length(self.kind))?;
        self.rest = rest;
        let text = (length <= most).then(|| std::str::from_utf8(text).ok()).flatten();
        text.map(str::to_owned).ok_or(MessageError::Field(field))
    }

    fn maybe<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, MessageError>,
    ) -> Result<Option<T>, MessageError> {
        self.flag(field)?.then(|| read(self)).transpose()
    }

    fn end<T>(self, value: T) -> Result<T, MessageError> {
        self.rest.is_empty().then_some(value).ok_or(MessageError::Length(self.kind))
    }
}

impl Order {
    /// Checks every field.
    ///
    /// # Errors
    /// The first that is not usable.
    pub fn validate(&self) -> Result<(), MessageError> {
        if usize::from(self.index) >= DESKTOPS_MAX {
            return Err(MessageError::Index(self.index));
        }
        let key = self.key.as_bytes();
        let usable = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let begins = key.first().is_some_and(|b| *b != b'-');
        if !begins || key.len() > KEY_MAX_BYTES || !key.iter().all(usable) {
            return Err(MessageError::Field("key"));
        }
        self.definition.validate()?;
        Ok(self.limits.validate()?)
    }

    fn write(&self, out: Writer) -> Writer {
        let Order { index, key, definition, limits } = self;
        let command = definition.command.as_deref();
        out.u16(*index)
            .text(key.as_bytes())
            .text(definition.name.as_bytes())
            .u32(definition.width)
            .u32(definition.height)
            .maybe(command, |out, command| out.text(command.as_bytes()))
            .bytes(&[u8::from(definition.restart)])
            .u64(limits.memory_bytes)
            .u32(limits.cpu_percent)
            .u32(limits.tasks)
            .maybe(limits.disk_bytes, Writer::u64)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, MessageError> {
        let (index, key) = (from.u16()?, from.text("key", KEY_MAX_BYTES)?);
        let definition = Definition {
            name: from.text("name", NAME_MAX_BYTES)?,
            width: from.u32()?,
            height: from.u32()?,
            command: from.maybe("command", |from| from.text("command", COMMAND_MAX_BYTES))?,
            restart: from.flag("restart")?,
        };
        let limits = Limits {
            memory_bytes: from.u64()?,
            cpu_percent: from.u32()?,
            tasks: from.u32()?,
            disk_bytes: from.maybe("disk", Reader::u64)?,
        };
        let order = Order { index, key, definition, limits };
        order.validate()?;
        Ok(order)
    }
}

impl Request {
    /// The packet.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let out = match self {
            Request::Start(order) => order.write(Writer::new(1)),
            Request::Prepared { refused } => {
                Writer::new(2).maybe(refused.as_deref(), |out, why| out.said(why))
            }
            Request::Stop => Writer::new(3),
            Request::End { reason } => Writer::new(4).said(reason),
            Request::Usage => Writer::new(5),
            Request::Connect => Writer::new(6),
            Request::OpenFile { relative } => {
                Writer::new(7).text(relative.as_os_str().as_encoded_bytes())
            }
            Request::CreateFile { name } => Writer::new(8).text(name.as_bytes()),
            Request::RemoveFile { name } => Writer::new(9).text(name.as_bytes()),
            Request::IsAskedSecretly => Writer::new(10),
            Request::List => Writer::new(11),
            Request::EraseHomes => Writer::new(12),
            Request::Sound => Writer::new(13),
        };
        out.0
    }

    /// Reads a packet and checks every field.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(packet: &[u8]) -> Result<Self, MessageError> {
        let mut from = Reader::new(packet)?;
        let name = |from: &mut Reader<'_>| {
            let name = from.text("file name", RELATIVE_MAX_BYTES)?;
            is_name(&name).then_some(name).ok_or(MessageError::Field("file name"))
        };
        let request = match from.kind {
            1 => Request::Start(Box::new(Order::read(&mut from)?)),
            2 => Request::Prepared {
                refused: from.maybe("reason", |from| from.text("reason", SAID_MAX_BYTES))?,
            },
            3 => Request::Stop,
            4 => Request::End { reason: from.text("reason", SAID_MAX_BYTES)? },
            5 => Request::Usage,
            6 => Request::Connect,
            7 => {
                let relative = PathBuf::from(from.text("file", RELATIVE_MAX_BYTES)?);
                if !is_beneath(&relative) {
                    return Err(MessageError::Field("file"));
                }
                Request::OpenFile { relative }
            }
            8 => Request::CreateFile { name: name(&mut from)? },
            9 => Request::RemoveFile { name: name(&mut from)? },
            10 => Request::IsAskedSecretly,
            11 => Request::List,
            12 => Request::EraseHomes,
            13 => Request::Sound,
            kind => return Err(MessageError::Kind(kind)),
        };
        from.end(request)
    }
}

impl Answer {
    /// Whether nobody asked for it.
    pub fn is_unasked(&self) -> bool {
        match self {
            Answer::Server { .. }
            | Answer::Started
            | Answer::NotStarted(_)
            | Answer::Ending(_)
            | Answer::Changed(_) => true,
            Answer::Done
            | Answer::Failed { .. }
            | Answer::Flag(_)
            | Answer::Usage(_)
            | Answer::List(_) => false,
        }
    }

    /// The packet.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let out = match self {
            Answer::Done => Writer::new(65),
            Answer::Failed { exists, why } => Writer::new(66).bytes(&[u8::from(*exists)]).said(why),
            Answer::Flag(flag) => Writer::new(67).bytes(&[u8::from(*flag)]),
            Answer::Usage(usage) => Writer::new(68)
                .u64(usage.cpu_us)
                .u32(usage.cpu_permille)
                .u64(usage.memory_bytes)
                .u32(usage.tasks)
                .u64(usage.disk_bytes),
            Answer::List(desktops) => {
                let count = u16::try_from(desktops.len()).unwrap_or(u16::MAX);
                desktops.iter().fold(Writer::new(69).u16(count), |out, (index, up)| {
                    out.u16(*index).bytes(&[u8::from(*up)])
                })
            }
            Answer::Server { display, cookie, files } => Writer::new(70)
                .u16(*display)
                .text(cookie)
                .text(files.as_os_str().as_encoded_bytes()),
            Answer::Started => Writer::new(71),
            Answer::NotStarted(why) => Writer::new(72).said(why),
            Answer::Ending(reason) => Writer::new(73).said(reason),
            Answer::Changed(state) => {
                let out = Writer::new(74);
                match state {
                    State::Running => out.bytes(&[0]),
                    State::Restarting { reason, attempt } => {
                        out.bytes(&[1]).u32(*attempt).said(reason)
                    }
                    State::Stopped => out.bytes(&[2]),
                    State::Ended { reason } => out.bytes(&[3]).said(reason),
                }
            }
        };
        out.0
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(packet: &[u8]) -> Result<Self, MessageError> {
        let mut from = Reader::new(packet)?;
        let said = |from: &mut Reader<'_>| from.text("reason", SAID_MAX_BYTES);
        let answer = match from.kind {
            65 => Answer::Done,
            66 => Answer::Failed { exists: from.flag("exists")?, why: said(&mut from)? },
            67 => Answer::Flag(from.flag("flag")?),
            68 => Answer::Usage(Usage {
                cpu_us: from.u64()?,
                cpu_permille: from.u32()?,
                memory_bytes: from.u64()?,
                tasks: from.u32()?,
                disk_bytes: from.u64()?,
            }),
            69 => {
                let count = usize::from(from.u16()?);
                if count > DESKTOPS_MAX {
                    return Err(MessageError::Field("count"));
                }
                let one = |_| Ok::<_, MessageError>((from.u16()?, from.flag("up")?));
                Answer::List((0..count).map(one).collect::<Result<_, _>>()?)
            }
            70 => {
                let display = from.u16()?;
                if usize::from(from.u16()?) != COOKIE_BYTES {
                    return Err(MessageError::Field("cookie"));
                }
                let cookie = Zeroizing::new(from.array::<COOKIE_BYTES>()?.to_vec());
                Answer::Server { display, cookie, files: from.text("files", 4096)?.into() }
            }
            71 => Answer::Started,
            72 => Answer::NotStarted(said(&mut from)?),
            73 => Answer::Ending(said(&mut from)?),
            74 => Answer::Changed(match from.array()? {
                [0] => State::Running,
                [1] => State::Restarting { attempt: from.u32()?, reason: said(&mut from)? },
                [2] => State::Stopped,
                [3] => State::Ended { reason: said(&mut from)? },
                _ => return Err(MessageError::Field("state")),
            }),
            kind => return Err(MessageError::Kind(kind)),
        };
        from.end(answer)
    }
}

#[cfg(test)]
mod tests;
