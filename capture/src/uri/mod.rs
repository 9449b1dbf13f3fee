//! Source URIs: what can be recorded, parsed strictly, printed without credentials.
//!
//! | form | records |
//! |---|---|
//! | `v4l2:///dev/video0` | a V4L2 camera |
//! | `libcamera://` or `libcamera://ID` | the first or the named libcamera camera |
//! | `rtsp://[user[:password]@]host[:port]/path`, `rtsps://...` | a network camera |
//! | `file:///path[?loop=1]` | a media file, as if live |
//! | `screen://:N` | the X display N |
//! | `test://[?width=&height=&fps=&audio=1]` | a marked demo picture |
//!
//! Credentials may also hide in the query or the path (`?password=`, `/user=admin_password=...`),
//! as some cameras want it; those are hidden as well.

mod escape;
mod parse;

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use escape::{encode_into, is_path, is_userinfo, redact_path};
use parse::{parse_file, parse_libcamera, parse_rtsp, parse_screen, parse_test, parse_v4l2};

/// Longest URI in bytes; longer ones are refused.
pub const MAX_URI_BYTES: usize = 2048;
/// Widest test picture, pixels.
pub const MAX_TEST_WIDTH: u32 = 3840;
/// Highest test picture, pixels.
pub const MAX_TEST_HEIGHT: u32 = 2160;
/// Most test pictures a second.
pub const MAX_TEST_FPS: u32 = 60;
/// The schemes that can be recorded, as error messages list them.
pub const SCHEMES: &str = "v4l2, libcamera, rtsp, rtsps, file, screen, test";

/// Parameters of cameras whose plain values are printed; those of all others may be credentials.
const HARMLESS_NAMES: [&str; 20] = [
    "audio",
    "camera",
    "channel",
    "codec",
    "fps",
    "framerate",
    "height",
    "proto",
    "profile",
    "resolution",
    "starttime",
    "stream",
    "streamtype",
    "subtype",
    "transport",
    "transportmode",
    "unicast",
    "video",
    "videocodec",
    "width",
];
/// What stands for hidden parts of an address.
const HIDDEN: &str = "***";

/// Why a URI was refused. Never repeats the part that may hold a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Empty or longer than [`MAX_URI_BYTES`].
    #[error("source uri has {0} bytes: it must have 1 to {MAX_URI_BYTES}")]
    Length(usize),
    /// Control characters or spaces.
    #[error("source uri holds a space or control character at byte {0}: write it percent-encoded")]
    Character(usize),
    /// No `scheme://`.
    #[error("source uri has no scheme: write one of {SCHEMES} followed by ://")]
    NoScheme,
    /// What stands for hidden parts, where it is not known what was hidden.
    #[error(
        "source uri: `***` keeps what is hidden of the same scheme, host, port and path; write \
         user name, password and path anew"
    )]
    Hidden,
    /// A scheme that cannot be recorded.
    #[error("unknown source scheme {0:?}: known are {SCHEMES}")]
    UnknownScheme(String),
    /// A part that is wrong.
    #[error("{scheme} uri: {part} is wrong: expected {expected}")]
    Part {
        /// The scheme.
        scheme: &'static str,
        /// The part.
        part: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A parameter nobody knows.
    #[error("{scheme} uri: unknown parameter {name:?}: known are {known}")]
    UnknownParameter {
        /// The scheme.
        scheme: &'static str,
        /// The parameter's name.
        name: String,
        /// The known ones.
        known: &'static str,
    },
    /// A parameter out of range.
    #[error("{scheme} uri: parameter {name} must be {expected}")]
    Parameter {
        /// The scheme.
        scheme: &'static str,
        /// The parameter's name.
        name: &'static str,
        /// What would be right.
        expected: &'static str,
    },
}

/// An RTSP address.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspAddress {
    /// `rtsps`.
    pub tls: bool,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port, 554 or 322 when none was given.
    pub port: u16,
    /// Path and query as the camera wants them, beginning with `/`. May hold credentials: not for
    /// printing.
    pub path: String,
    user: Option<Zeroizing<String>>,
    password: Option<Zeroizing<String>>,
}

impl RtspAddress {
    /// User name, decoded.
    pub fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|u| u.as_str())
    }

    /// Password, decoded.
    pub fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|p| p.as_str())
    }

    /// The address without user and password, as the camera is asked for it. Its path may hold
    /// credentials.
    pub fn location(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{}://{}{}{}",
            self.scheme(),
            self.bracketed_host(),
            self.port_suffix(),
            self.path
        ))
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "rtsps" } else { "rtsp" }
    }

    fn default_port(tls: bool) -> u16 {
        if tls { 322 } else { 554 }
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    fn port_suffix(&self) -> String {
        if self.port == Self::default_port(self.tls) {
            String::new()
        } else {
            format!(":{}", self.port)
        }
    }
}

impl fmt::Debug for RtspAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RtspAddress({}://{}:{}{})",
            self.scheme(),
            self.bracketed_host(),
            self.port,
            redact_path(&self.path)
        )
    }
}

/// The demo picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestPicture {
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
    /// Pictures per second.
    pub fps: u32,
    /// Whether it ticks.
    pub audio: bool,
}

impl Default for TestPicture {
    fn default() -> Self {
        Self { width: 640, height: 360, fps: 25, audio: false }
    }
}

/// What kind of source a URI names, with its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A V4L2 device node.
    V4l2 {
        /// Path below `/dev/`.
        device: PathBuf,
    },
    /// A libcamera camera; the first one without an id.
    Libcamera {
        /// libcamera's own id of it.
        id: Option<String>,
    },
    /// A network camera.
    Rtsp(RtspAddress),
    /// A media file, played as if it were live.
    File {
        /// Absolute path.
        path: PathBuf,
        /// Whether it starts again at its end.
        repeat: bool,
    },
    /// An X display.
    Screen {
        /// Its number.
        display: u16,
    },
    /// The demo picture.
    Test(TestPicture),
}

/// A source that can be recorded. `Display` and `Debug` hide credentials; [`SourceUri::reveal`]
/// does not.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUri {
    kind: SourceKind,
}

impl SourceUri {
    /// Parses a URI.
    ///
    /// # Errors
    /// Whatever is not exactly one of the forms above, naming the part and what would be right.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.is_empty() || text.len() > MAX_URI_BYTES {
            return Err(UriError::Length(text.len()));
        }
        if let Some(at) = text.bytes().position(|b| b <= b' ' || b == 0x7f) {
            return Err(UriError::Character(at));
        }
        let (scheme, rest) = text.split_once("://").ok_or(UriError::NoScheme)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "v4l2" => parse_v4l2(rest)?,
            "libcamera" => parse_libcamera(rest)?,
            "rtsp" => SourceKind::Rtsp(parse_rtsp(false, rest)?),
            "rtsps" => SourceKind::Rtsp(parse_rtsp(true, rest)?),
            "file" => parse_file(rest)?,
            "screen" => parse_screen(rest)?,
            "test" => SourceKind::Test(parse_test(rest)?),
            other => {
                return Err(UriError::UnknownScheme(other.chars().take(16).collect()));
            }
        };
        let uri = Self { kind };
        // What is spelled out is stored and read again; escapes make it longer than what came in.
        match uri.reveal().len() {
            length if length > MAX_URI_BYTES => Err(UriError::Length(length)),
            _ => Ok(uri),
        }
    }

    /// Reads an address that a person wrote. Where `kept` is the source it replaces, `***` keeps
    /// what is hidden of that one: user name and password of the same scheme, host and port, and
    /// the same path.
    ///
    /// # Errors
    /// As [`Self::parse`], and for a `***` of which it is not known what it hides.
    pub fn from_person(text: &str, kept: Option<&Self>) -> Result<Self, UriError> {
        let mut uri = Self::parse(text)?;
        let SourceKind::Rtsp(new) = &mut uri.kind else { return Ok(uri) };
        let old = match kept.map(|kept| &kept.kind) {
            Some(SourceKind::Rtsp(old))
                if (old.tls, &old.host, old.port) == (new.tls, &new.host, new.port) =>
            {
                Some(old)
            }
            _ => None,
        };
        let hides = |text: Option<&str>| text.is_some_and(|text| text.contains(HIDDEN));
        if new.user() == Some(HIDDEN) && new.password.is_none() {
            let old = old.ok_or(UriError::Hidden)?;
            (new.user, new.password) = (old.user.clone(), old.password.clone());
        } else if hides(new.user()) || hides(new.password()) {
            return Err(UriError::Hidden);
        }
        if new.path.contains(HIDDEN) {
            let old = old.filter(|old| redact_path(&old.path) == new.path);
            new.path = old.ok_or(UriError::Hidden)?.path.clone();
        }
        Ok(uri)
    }

    /// What it names.
    pub fn kind(&self) -> &SourceKind {
        &self.kind
    }

    /// The scheme it was written with.
    pub fn scheme(&self) -> &'static str {
        match &self.kind {
            SourceKind::V4l2 { .. } => "v4l2",
            SourceKind::Libcamera { .. } => "libcamera",
            SourceKind::Rtsp(address) => address.scheme(),
            SourceKind::File { .. } => "file",
            SourceKind::Screen { .. } => "screen",
            SourceKind::Test(_) => "test",
        }
    }

    /// Whether user name or password are part of it.
    pub fn has_credentials(&self) -> bool {
        match &self.kind {
            SourceKind::Rtsp(a) => {
                a.user.is_some() || a.password.is_some() || redact_path(&a.path) != a.path
            }
            _ => false,
        }
    }

    /// The same source with this user name and password; other kinds than RTSP are returned
    /// unchanged.
    #[must_use]
    pub fn with_credentials(mut self, user: &str, password: &str) -> Self {
        if let SourceKind::Rtsp(address) = &mut self.kind {
            address.user = Some(Zeroizing::new(user.to_owned()));
            address.password = Some(Zeroizing::new(password.to_owned()));
        }
        self
    }

    /// The whole URI with credentials, for keeping it (encrypted); parses back to an equal value.
    pub fn reveal(&self) -> Zeroizing<String> {
        let SourceKind::Rtsp(a) = &self.kind else {
            return Zeroizing::new(self.to_string());
        };
        let mut text = Zeroizing::new(format!("{}://", a.scheme()));
        if a.user.is_some() || a.password.is_some() {
            encode_into(&mut text, a.user().unwrap_or(""), is_userinfo);
            if let Some(password) = a.password() {
                text.push(':');
                encode_into(&mut text, password, is_userinfo);
            }
            text.push('@');
        }
        text.push_str(&a.bracketed_host());
        text.push_str(&a.port_suffix());
        text.push_str(&a.path);
        text
    }
}

impl fmt::Display for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SourceKind::V4l2 { device } => write!(f, "v4l2://{}", device.display()),
            SourceKind::Libcamera { id } => {
                write!(f, "libcamera://{}", id.as_deref().unwrap_or(""))
            }
            SourceKind::Rtsp(a) => write!(
                f,
                "{}://{}{}{}",
                a.scheme(),
                a.bracketed_host(),
                a.port_suffix(),
                redact_path(&a.path)
            ),
            SourceKind::File { path, repeat } => {
                let mut text = String::from("file://");
                encode_into(&mut text, &path.to_string_lossy(), is_path);
                if *repeat {
                    text.push_str("?loop=1");
                }
                f.write_str(&text)
            }
            SourceKind::Screen { display } => write!(f, "screen://:{display}"),
            SourceKind::Test(t) => {
                write!(f, "test://?width={}&height={}&fps={}", t.width, t.height, t.fps)?;
                if t.audio { f.write_str("&audio=1") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Debug for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceUri({self})")
    }
}

impl std::str::FromStr for SourceUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
