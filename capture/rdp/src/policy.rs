//! What a remote worker may do in one session. Nothing is allowed unless it stands here.
//!
//! A policy has one encoding, deterministic CBOR, and its hash stands in the session's opening on
//! the chain and in its manifest. Whoever changes a policy while a session runs under it makes
//! another hash, and the session is void ([`PolicyInForce::check`]).

mod in_force;

pub use in_force::{BrokenChain, GrantChain, PolicyInForce, Void};

use lucid_evidence::Hash;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};

/// The version of the encoding.
pub const POLICY_VERSION: u64 = 1;
/// The domain of the hash, so that no other structure's hash can pass for a policy's.
pub const POLICY_HASH_CONTEXT: &str = "lucid 2026-11 session policy v1";
/// Longest encoded policy, bytes.
pub const POLICY_MAX_BYTES: usize = 4096;
/// Most pointer events a second that can be allowed.
pub const MOUSE_RATE_MAX: u32 = 1000;
/// Pointer events a second when the mouse is allowed without a number.
pub const MOUSE_RATE_DEFAULT: u32 = 250;
/// Largest clipboard content that can be allowed, bytes.
pub const CLIPBOARD_MAX_BYTES: u64 = 16 << 20;
/// Clipboard content when it is allowed without a number, bytes.
pub const CLIPBOARD_DEFAULT_BYTES: u64 = 1 << 20;
/// Largest single file that can be allowed, bytes.
pub const FILE_MAX_BYTES: u64 = 4 << 30;
/// Single file when files are allowed without a number, bytes.
pub const FILE_DEFAULT_BYTES: u64 = 64 << 20;
/// Most extensions in a list.
pub const EXTENSIONS_MAX: usize = 64;
/// Longest extension, bytes, without its dot.
pub const EXTENSION_MAX_BYTES: usize = 16;
/// Most observers that can be allowed at a time.
pub const OBSERVERS_MAX: u32 = 8;
/// The extension that stands for all, also for files without one.
pub const ANY_EXTENSION: &str = "*";

/// Which way something goes, seen from the desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the remote worker's computer into the desktop.
    In,
    /// From the desktop to the remote worker's computer.
    Out,
}

impl Direction {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// Files in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRule {
    /// Largest single file, bytes, 1 to [`FILE_MAX_BYTES`].
    pub max_bytes: u64,
    /// Extensions in lower case without the dot, ascending, each once; `*` for all.
    pub extensions: Vec<String>,
}

/// What is kept of what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyRecording {
    /// How many keys, never which.
    #[default]
    Counts,
    /// The keys themselves, but for stretches the worker hides ("do not record keys").
    Strokes,
}

/// What a session allows. [`Policy::default`] denies everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Keys reach the desktop.
    pub keyboard: bool,
    /// Pointer events a second that reach the desktop; none for no mouse.
    pub mouse_per_s: Option<u32>,
    /// Clipboard content into the desktop, largest in bytes; none for refused.
    pub clipboard_in_bytes: Option<u64>,
    /// Clipboard content out of the desktop, largest in bytes; none for refused.
    pub clipboard_out_bytes: Option<u64>,
    /// Files into the desktop.
    pub files_in: Option<FileRule>,
    /// Files out of the desktop.
    pub files_out: Option<FileRule>,
    /// Sound of the desktop is sent out.
    pub audio: bool,
    /// The client may change the desktop's size.
    pub resize: bool,
    /// How many observers may watch at a time.
    pub observers: u32,
    /// What is kept of what is typed.
    pub record_keys: KeyRecording,
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A number outside its range.
    #[error("policy: {field} is {found}, it may be {least} to {most}")]
    Range {
        /// The field.
        field: &'static str,
        /// What stood there.
        found: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
    /// Too many or no extensions.
    #[error("policy: {field} names {found} extensions, it may name 1 to {EXTENSIONS_MAX}")]
    Extensions {
        /// The field.
        field: &'static str,
        /// How many.
        found: usize,
    },
    /// An extension that is none.
    #[error(
        "policy: {field}: {found:?} is no extension; write 1 to {EXTENSION_MAX_BYTES} lower-case \
         letters, digits, - or _ without the dot, or * for all"
    )]
    Extension {
        /// The field.
        field: &'static str,
        /// What stood there, cut at 40 characters.
        found: String,
    },
    /// Not the encoding of a policy.
    #[error(transparent)]
    Encoding(#[from] CborError),
}

/// Something a remote worker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Keys.
    Keyboard,
    /// The mouse.
    Mouse,
    /// Clipboard into the desktop.
    ClipboardIn,
    /// Clipboard out of the desktop.
    ClipboardOut,
    /// Files into the desktop.
    FilesIn,
    /// Files out of the desktop.
    FilesOut,
    /// Sound.
    Audio,
    /// Another size.
    Resize,
    /// Another observer.
    Observe,
}

impl Capability {
    /// All, in the order of their codes.
    pub const ALL: [Capability; 9] = [
        Capability::Keyboard,
        Capability::Mouse,
        Capability::ClipboardIn,
        Capability::ClipboardOut,
        Capability::FilesIn,
        Capability::FilesOut,
        Capability::Audio,
        Capability::Resize,
        Capability::Observe,
    ];

    /// The code in encodings.
    pub fn code(self) -> u64 {
        Self::ALL.iter().position(|one| *one == self).unwrap_or_default() as u64
    }

    /// The capability of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).copied()
    }

    /// The stable name, which is also the policy's field.
    pub fn as_str(self) -> &'static str {
        match self {
            Capability::Keyboard => "keyboard",
            Capability::Mouse => "mouse",
            Capability::ClipboardIn => "clipboard_in",
            Capability::ClipboardOut => "clipboard_out",
            Capability::FilesIn => "files_in",
            Capability::FilesOut => "files_out",
            Capability::Audio => "audio",
            Capability::Resize => "resize",
            Capability::Observe => "observers",
        }
    }
}

impl std::str::FromStr for Capability {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or(())
    }
}

/// Why something was not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The policy does not allow it at all.
    NotAllowed,
    /// More than the policy's size or number.
    OverLimit,
    /// A file whose extension is not listed.
    Extension,
    /// A file whose name is no plain file name.
    Name,
}

impl Denial {
    /// All, in the order of their codes.
    pub const ALL: [Denial; 4] =
        [Denial::NotAllowed, Denial::OverLimit, Denial::Extension, Denial::Name];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Denial::NotAllowed => "not allowed",
            Denial::OverLimit => "over the limit",
            Denial::Extension => "extension not allowed",
            Denial::Name => "not a plain file name",
        }
    }
}

impl Policy {
    /// Checks every number and list.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let range = |field, found: Option<u64>, most| match found {
            Some(found) if found == 0 || found > most => {
                Err(PolicyError::Range { field, found, least: 1, most })
            }
            _ => Ok(()),
        };
        range("mouse", self.mouse_per_s.map(u64::from), u64::from(MOUSE_RATE_MAX))?;
        range("clipboard_in", self.clipboard_in_bytes, CLIPBOARD_MAX_BYTES)?;
        range("clipboard_out", self.clipboard_out_bytes, CLIPBOARD_MAX_BYTES)?;
        for (field, rule) in [("files_in", &self.files_in), ("files_out", &self.files_out)] {
            let Some(rule) = rule else { continue };
            range(field, Some(rule.max_bytes), FILE_MAX_BYTES)?;
            let list = &rule.extensions;
            if list.is_empty() || list.len() > EXTENSIONS_MAX {
                return Err(PolicyError::Extensions { field, found: list.len() });
            }
            let ascending = list.windows(2).all(|pair| pair[0] < pair[1]);
            let wrong = list.iter().find(|one| !is_extension(one));
            if let Some(found) = wrong.or(list.first().filter(|_| !ascending)) {
                let found = found.chars().take(40).collect();
                return Err(PolicyError::Extension { field, found });
            }
        }
        if self.observers > OBSERVERS_MAX {
            let (field, found) = ("observers", u64::from(self.observers));
            let most = u64::from(OBSERVERS_MAX);
            return Err(PolicyError::Range { field, found, least: 0, most });
        }
        Ok(())
    }

    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(11).uint(0).uint(POLICY_VERSION);
        e.uint(1).bool(self.keyboard);
        e.uint(2).optional_uint(self.mouse_per_s.map(u64::from));
        e.uint(3).optional_uint(self.clipboard_in_bytes);
        e.uint(4).optional_uint(self.clipboard_out_bytes);
        for (key, rule) in [(5, &self.files_in), (6, &self.files_out)] {
            e.uint(key);
            let Some(rule) = rule else {
                e.null();
                continue;
            };
            e.array(2).uint(rule.max_bytes).array(rule.extensions.len() as u64);
            for extension in &rule.extensions {
                e.text(extension);
            }
        }
        e.uint(7).bool(self.audio).uint(8).bool(self.resize);
        e.uint(9).uint(u64::from(self.observers));
        e.uint(10).bool(self.record_keys == KeyRecording::Strokes);
        e.finish()
    }

    /// Reads the encoding and checks what it says.
    ///
    /// # Errors
    /// Anything but the one encoding of a policy that [`Policy::validate`] accepts.
    pub fn decode(bytes: &[u8]) -> Result<Self, PolicyError> {
        let mut d = Decoder::new(bytes);
        d.map("policy", 11)?;
        d.version("policy.version", POLICY_VERSION)?;
        let policy = Policy {
            keyboard: d.key("policy.keyboard", 1)?.bool("policy.keyboard")?,
            mouse_per_s: d
                .key("policy.mouse", 2)?
                .optional("policy.mouse", |d| d.u32("policy.mouse"))?,
            clipboard_in_bytes: d
                .key("policy.clipboard_in", 3)?
                .optional("policy.clipboard_in", |d| d.u64("policy.clipboard_in"))?,
            clipboard_out_bytes: d
                .key("policy.clipboard_out", 4)?
                .optional("policy.clipboard_out", |d| d.u64("policy.clipboard_out"))?,
            files_in: file_rule(&mut d, "policy.files_in", 5)?,
            files_out: file_rule(&mut d, "policy.files_out", 6)?,
            audio: d.key("policy.audio", 7)?.bool("policy.audio")?,
            resize: d.key("policy.resize", 8)?.bool("policy.resize")?,
            observers: d.key("policy.observers", 9)?.u32("policy.observers")?,
            record_keys: match d.key("policy.record_keys", 10)?.bool("policy.record_keys")? {
                true => KeyRecording::Strokes,
                false => KeyRecording::Counts,
            },
        };
        d.end("policy")?;
        policy.validate()?;
        Ok(policy)
    }

    /// The hash that the session's opening and its manifest carry.
    pub fn hash(&self) -> Hash {
        Hash(blake3::derive_key(POLICY_HASH_CONTEXT, &self.encode()))
    }

    /// Whether `capability` is allowed at all, whatever its size.
    pub fn allows(&self, capability: Capability) -> bool {
        match capability {
            Capability::Keyboard => self.keyboard,
            Capability::Mouse => self.mouse_per_s.is_some(),
            Capability::ClipboardIn => self.clipboard_in_bytes.is_some(),
            Capability::ClipboardOut => self.clipboard_out_bytes.is_some(),
            Capability::FilesIn => self.files_in.is_some(),
            Capability::FilesOut => self.files_out.is_some(),
            Capability::Audio => self.audio,
            Capability::Resize => self.resize,
            Capability::Observe => self.observers > 0,
        }
    }

    /// Whether clipboard content of so many bytes may go that way.
    ///
    /// # Errors
    /// Why not.
    pub fn clipboard(&self, direction: Direction, bytes: u64) -> Result<(), Denial> {
        let limit = match direction {
            Direction::In => self.clipboard_in_bytes,
            Direction::Out => self.clipboard_out_bytes,
        };
        match limit {
            None => Err(Denial::NotAllowed),
            Some(limit) if bytes > limit => Err(Denial::OverLimit),
            Some(_) => Ok(()),
        }
    }

    /// Whether a file of this name and so many bytes may go that way. A name that climbs, hides or
    /// is more than a name is refused even where files are allowed.
    ///
    /// # Errors
    /// Why not.
    pub fn file(&self, direction: Direction, name: &str, bytes: u64) -> Result<(), Denial> {
        let rule = match direction {
            Direction::In => &self.files_in,
            Direction::Out => &self.files_out,
        };
        let rule = rule.as_ref().ok_or(Denial::NotAllowed)?;
        if !is_plain_name(name) {
            return Err(Denial::Name);
        }
        let extension = name.rsplit_once('.').map_or("", |(_, after)| after).to_ascii_lowercase();
        let listed = |one: &String| *one == ANY_EXTENSION || *one == extension;
        if !rule.extensions.iter().any(listed) {
            return Err(Denial::Extension);
        }
        if bytes > rule.max_bytes {
            return Err(Denial::OverLimit);
        }
        Ok(())
    }

    /// Adds what an operator granted. A grant never takes anything away.
    pub fn grant(&mut self, capability: Capability) {
        let all = |max_bytes| FileRule { max_bytes, extensions: vec![ANY_EXTENSION.into()] };
        match capability {
            Capability::Keyboard => self.keyboard = true,
            Capability::Mouse => {
                self.mouse_per_s.get_or_insert(MOUSE_RATE_DEFAULT);
            }
            Capability::ClipboardIn => {
                self.clipboard_in_bytes.get_or_insert(CLIPBOARD_DEFAULT_BYTES);
            }
            Capability::ClipboardOut => {
                self.clipboard_out_bytes.get_or_insert(CLIPBOARD_DEFAULT_BYTES);
            }
            Capability::FilesIn => {
                self.files_in.get_or_insert(all(FILE_DEFAULT_BYTES));
            }
            Capability::FilesOut => {
                self.files_out.get_or_insert(all(FILE_DEFAULT_BYTES));
            }
            Capability::Audio => self.audio = true,
            Capability::Resize => self.resize = true,
            Capability::Observe => self.observers = self.observers.max(1),
        }
    }
}

fn file_rule(
    d: &mut Decoder<'_>,
    field: &'static str,
    key: u64,
) -> Result<Option<FileRule>, CborError> {
    d.key(field, key)?.optional(field, |d| {
        d.array_of(field, 2)?;
        let max_bytes = d.u64(field)?;
        let count = d.array(field, EXTENSIONS_MAX as u64)?;
        let extensions = (0..count)
            .map(|_| d.text(field, EXTENSION_MAX_BYTES).map(str::to_owned))
            .collect::<Result<_, _>>()?;
        Ok(FileRule { max_bytes, extensions })
    })
}

fn is_extension(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    text == ANY_EXTENSION
        || (!text.is_empty() && text.len() <= EXTENSION_MAX_BYTES && text.bytes().all(letter))
}

/// Whether `name` is one plain file name on every system: no path, no climbing, no control
/// characters, no name that begins with a dot, at most 255 bytes.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.trim() == name
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'))
}

#[cfg(test)]
mod tests;
