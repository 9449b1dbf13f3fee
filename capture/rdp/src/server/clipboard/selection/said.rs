//! What a connection and the thread of its desktop's clipboard say to one another.

use std::path::PathBuf;

use crate::server::clipboard::store::{Outgoing, Received};

/// A kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A picture.
    Image,
    /// Files.
    Files,
}

/// Kinds of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    /// Text.
    pub text: bool,
    /// A picture.
    pub image: bool,
    /// Files.
    pub files: bool,
}

impl Kinds {
    /// Whether it is among them.
    pub fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Text => self.text,
            Kind::Image => self.image,
            Kind::Files => self.files,
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Kinds::default()
    }
}

/// Content for the desktop's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture, as clients have it.
    Image(Vec<u8>),
    /// Files that lie on the desktop's disk now.
    Files(Vec<PathBuf>),
}

/// Content of the desktop's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Text.
    Text(String),
    /// A picture, as clients have it.
    Image(Vec<u8>),
    /// Files that may be read, and how many were named that may not.
    Files(Vec<Outgoing>, u64),
}

/// Why there is no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The program did not give it, or not so that it can be read.
    Gone,
    /// It is more than what was asked for.
    Large,
}

/// What the thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// The client has this: take the clipboard. With none, give it up.
    Own(Kinds),
    /// The answer to [`News::Wanted`].
    Provide(u64, Option<Content>),
    /// Read the desktop's clipboard, of at most so many bytes.
    Fetch(Kind, u64),
    /// Read of a file.
    Read(Outgoing, u64, usize),
    /// A file comes in.
    Begin(String),
    /// More of it.
    Append(Vec<u8>),
    /// It is whole.
    Finish,
    /// It is not wanted any more.
    Abandon,
}

/// What the thread has to tell.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// A program of the desktop has this now, or none has anything.
    Offered(Kinds),
    /// A program wants this.
    Wanted(u64, Kind),
    /// Answers [`Order::Fetch`].
    Fetched(Kind, Result<Found, Missing>),
    /// Answers [`Order::Read`].
    ReadDone(Option<Vec<u8>>),
    /// Answers [`Order::Begin`] and [`Order::Append`]: whether the disk took it.
    Stored(bool),
    /// Answers [`Order::Finish`].
    Finished(Option<Received>),
}
