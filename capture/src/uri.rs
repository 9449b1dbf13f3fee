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
//! Credentials may also hide in the query or the path (`?password=`, `/user=admin_password=...`), as some cameras want
//! it; those are hidden as well.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

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

/// Parts of parameter names whose values are never printed.
const SECRET_NAMES: [&str; 9] =
    ["pass", "pwd", "psw", "user", "usr", "token", "auth", "secret", "login"];

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
    /// Path and query as the camera wants them, beginning with `/`. May hold credentials: not for printing.
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

    /// The address without user and password, as the camera is asked for it. Its path may hold credentials.
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

/// A source that can be recorded. `Display` and `Debug` hide credentials; [`SourceUri::reveal`] does not.
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
        Ok(Self { kind })
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

    /// The same source with this user name and password; other kinds than RTSP are returned unchanged.
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

fn parse_v4l2(rest: &str) -> Result<SourceKind, UriError> {
    let wrong = UriError::Part {
        scheme: "v4l2",
        part: "the device",
        expected: "a path below /dev, such as v4l2:///dev/video0",
    };
    let path = Path::new(rest);
    let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:+".contains(&b));
    let climbs = rest.split('/').any(|part| part == ".." || part == ".");
    if !rest.starts_with("/dev/") || rest.len() <= 5 || rest.ends_with('/') || !plain || climbs {
        return Err(wrong);
    }
    Ok(SourceKind::V4l2 { device: path.to_path_buf() })
}

fn parse_libcamera(rest: &str) -> Result<SourceKind, UriError> {
    if rest.is_empty() {
        return Ok(SourceKind::Libcamera { id: None });
    }
    // Ids are device tree or ACPI paths: /base/axi/pcie@120000/rp1/i2c@80000/imx708@1a, \_SB_.PCI0...
    let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:@\\,+".contains(&b));
    if !plain || rest.len() > 256 {
        return Err(UriError::Part {
            scheme: "libcamera",
            part: "the camera id",
            expected: "nothing, or the id that libcamera gives the camera",
        });
    }
    Ok(SourceKind::Libcamera { id: Some(rest.to_owned()) })
}

fn parse_rtsp(tls: bool, rest: &str) -> Result<RtspAddress, UriError> {
    let scheme = if tls { "rtsps" } else { "rtsp" };
    let part = |part, expected| UriError::Part { scheme, part, expected };
    // Passwords are often typed without encoding, so the last @ before the path ends them.
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = match rest[..end].contains('@') || !rest[end..].contains('@') {
        true => rest.split_at(end),
        false => {
            return Err(part(
                "the user name or password",
                "the characters / ? # written as %2F %3F %23",
            ));
        }
    };
    let (userinfo, host_port) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let (host, port) = split_host_port(host_port)
        .ok_or_else(|| part("the host or port", "host, host:port or [address]:port"))?;
    let mut user = None;
    let mut password = None;
    if let Some(userinfo) = userinfo {
        let bad = || part("the user name or password", "valid percent-encoding");
        let (name, secret) = match userinfo.split_once(':') {
            Some((name, secret)) => (name, Some(secret)),
            None => (userinfo, None),
        };
        user = Some(Zeroizing::new(decode(name).ok_or_else(bad)?));
        if let Some(secret) = secret {
            password = Some(Zeroizing::new(decode(secret).ok_or_else(bad)?));
        }
    }
    let path = match path {
        "" => "/".to_owned(),
        p if p.starts_with('/') => p.to_owned(),
        p => format!("/{p}"),
    };
    Ok(RtspAddress {
        tls,
        host,
        port: port.unwrap_or(RtspAddress::default_port(tls)),
        path,
        user,
        password,
    })
}

fn split_host_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if host.is_empty() || host.len() > 253 || !plain {
            return None;
        }
        (host, port)
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|p| *p != 0)?)
        }
        Some(_) => return None,
    };
    Some((host.to_owned(), port))
}

fn parse_file(rest: &str) -> Result<SourceKind, UriError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.strip_prefix("localhost").unwrap_or(path);
    let decoded =
        decode(path).filter(|p| p.starts_with('/') && !p.contains('\0')).ok_or(UriError::Part {
            scheme: "file",
            part: "the path",
            expected: "an absolute path, percent-encoded, such as file:///srv/clip.mp4",
        })?;
    let mut repeat = false;
    for (name, value) in parameters(query) {
        match name {
            "loop" => repeat = switch("file", "loop", value)?,
            other => return Err(unknown("file", other, "loop")),
        }
    }
    Ok(SourceKind::File { path: PathBuf::from(decoded), repeat })
}

fn parse_screen(rest: &str) -> Result<SourceKind, UriError> {
    rest.strip_prefix(':')
        .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|n| n.parse().ok())
        .map(|display| SourceKind::Screen { display })
        .ok_or(UriError::Part {
            scheme: "screen",
            part: "the display",
            expected: "a colon and a number, such as screen://:0",
        })
}

fn parse_test(rest: &str) -> Result<TestPicture, UriError> {
    let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !matches!(host, "" | "/") {
        return Err(UriError::Part {
            scheme: "test",
            part: "what follows the slashes",
            expected: "nothing or parameters, such as test://?width=640",
        });
    }
    let mut picture = TestPicture::default();
    for (name, value) in parameters(query) {
        let number = value.parse::<u32>().ok();
        match name {
            "width" => {
                picture.width = number
                    .filter(|n| (64..=MAX_TEST_WIDTH).contains(n) && n % 2 == 0)
                    .ok_or(UriError::Parameter {
                        scheme: "test",
                        name: "width",
                        expected: "an even number from 64 to 3840",
                    })?;
            }
            "height" => {
                picture.height = number
                    .filter(|n| (64..=MAX_TEST_HEIGHT).contains(n) && n % 2 == 0)
                    .ok_or(UriError::Parameter {
                        scheme: "test",
                        name: "height",
                        expected: "an even number from 64 to 2160",
                    })?;
            }
            "fps" => {
                picture.fps = number.filter(|n| (1..=MAX_TEST_FPS).contains(n)).ok_or(
                    UriError::Parameter {
                        scheme: "test",
                        name: "fps",
                        expected: "a number from 1 to 60",
                    },
                )?;
            }
            "audio" => picture.audio = switch("test", "audio", value)?,
            other => return Err(unknown("test", other, "width, height, fps, audio")),
        }
    }
    Ok(picture)
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")))
}

fn switch(scheme: &'static str, name: &'static str, value: &str) -> Result<bool, UriError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(UriError::Parameter { scheme, name, expected: "0 or 1" }),
    }
}

fn unknown(scheme: &'static str, name: &str, known: &'static str) -> UriError {
    UriError::UnknownParameter { scheme, name: name.chars().take(32).collect(), known }
}

/// Percent-decodes; `None` for broken escapes or bytes that are no UTF-8.
fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if b == b'%' {
            let hex = text.get(at + 1..at + 3)?;
            if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            out.push(u8::from_str_radix(hex, 16).ok()?);
            at += 3;
        } else {
            out.push(b);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

fn is_userinfo(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$*+".contains(&b)
}

fn is_path(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$*+/@,:=".contains(&b)
}

fn encode_into(out: &mut String, text: &str, keep: fn(u8) -> bool) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for b in text.bytes() {
        if keep(b) {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(HEX[usize::from(b >> 4)]);
            out.push(HEX[usize::from(b & 15)]);
        }
    }
}

/// The path with everything that looks like a credential replaced by `***`.
fn redact_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    // Each piece between separators either is harmless or loses all from its first telling name on.
    for piece in path.split_inclusive(['/', '?', '&', ';']) {
        let (body, separator) = match piece.char_indices().last() {
            Some((at, '/' | '?' | '&' | ';')) => piece.split_at(at),
            _ => (piece, ""),
        };
        let lower = body.to_ascii_lowercase();
        let telling = body.contains('=')
            && SECRET_NAMES
                .iter()
                .any(|name| lower.find(name).is_some_and(|at| lower[at..].contains('=')));
        if telling {
            let first = SECRET_NAMES.iter().filter_map(|name| lower.find(name)).min().unwrap_or(0);
            let value = body[first..].find('=').map_or(body.len(), |at| first + at + 1);
            out.push_str(&body[..value]);
            out.push_str("***");
        } else {
            out.push_str(body);
        }
        out.push_str(separator);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> SourceUri {
        SourceUri::parse(text).unwrap()
    }

    #[test]
    fn every_kind_prints_as_it_was_written() {
        for text in [
            "v4l2:///dev/video0",
            "v4l2:///dev/v4l/by-id/usb-046d_C920-video-index0",
            "libcamera://",
            "libcamera:///base/axi/pcie@120000/rp1/i2c@80000/imx708@1a",
            "rtsp://camera.local/stream1?channel=1&subtype=0",
            "rtsps://[fe80::1]:8322/",
            "file:///srv/clip.mp4?loop=1",
            "file:///srv/a%20b%3F.mp4",
            "screen://:10",
            "test://?width=320&height=240&fps=10&audio=1",
        ] {
            assert_eq!(parse(text).to_string(), text);
            assert_eq!(parse(text).reveal().as_str(), text);
        }
    }

    #[test]
    fn credentials_are_read_and_never_printed() {
        let uri = parse("rtsp://admin:p%40ss:w%2Frd@10.0.0.5:8554/h264?token=abc123&channel=2");
        let SourceKind::Rtsp(address) = uri.kind() else { panic!("rtsp") };
        assert_eq!(address.user(), Some("admin"));
        assert_eq!(address.password(), Some("p@ss:w/rd"));
        assert_eq!(uri.to_string(), "rtsp://10.0.0.5:8554/h264?token=***&channel=2");
        assert!(uri.has_credentials());
        assert_eq!(SourceUri::parse(&uri.reveal()).unwrap(), uri);
        for shown in [format!("{uri:?}"), format!("{:?}", uri.kind()), format!("{address:?}")] {
            for secret in ["admin", "p@ss", "p%40ss", "abc123"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    #[test]
    fn credentials_in_the_path_are_hidden() {
        let uri = parse(
            "rtsp://10.0.0.5/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp?real_stream",
        );
        assert_eq!(uri.to_string(), "rtsp://10.0.0.5/user=***?real_stream");
        assert!(uri.reveal().contains("tlJwpbo6"));
    }

    #[test]
    fn a_password_with_an_at_sign_typed_plainly_is_understood() {
        let SourceKind::Rtsp(a) = parse("rtsp://u:a@b@host/x").kind().clone() else {
            panic!("rtsp")
        };
        assert_eq!((a.password(), a.host.as_str()), (Some("a@b"), "host"));
    }

    #[test]
    fn wrong_uris_are_refused_by_name() {
        for (text, says) in [
            ("", "0 bytes"),
            ("/dev/video0", "no scheme"),
            ("http://x/", "known are v4l2"),
            ("v4l2:///etc/passwd", "/dev/video0"),
            ("v4l2:///dev/../etc/passwd", "/dev/video0"),
            ("rtsp:///path", "host"),
            ("rtsp://host:0/", "port"),
            ("rtsp://host:99999/", "port"),
            ("rtsp://u:p/w@host/", "%2F"),
            ("rtsp://u:%zz@host/", "percent"),
            ("file://relative.mp4", "absolute"),
            ("file:///x?lop=1", "known are loop"),
            ("file:///x?loop=yes", "0 or 1"),
            ("screen://0", "screen://:0"),
            ("screen://:70000", "screen://:0"),
            ("test://?width=63", "even number"),
            ("test://?fps=0", "1 to 60"),
            ("test://demo", "nothing or parameters"),
            ("rtsp://a b/", "byte 8"),
        ] {
            let error = SourceUri::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let long = format!("rtsp://h/{}", "a".repeat(MAX_URI_BYTES));
        assert!(matches!(SourceUri::parse(&long), Err(UriError::Length(_))));
        let error = SourceUri::parse("rtsp://admin:hun/ter2@host/").unwrap_err();
        assert!(!error.to_string().contains("ter2") && !format!("{error:?}").contains("ter2"));
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_and_never_leaks(text in "\\PC{0,64}") {
            if let Ok(uri) = SourceUri::parse(&text) {
                prop_assert_eq!(SourceUri::parse(&uri.reveal()).unwrap(), uri);
            }
        }

        #[test]
        fn any_credentials_survive_reveal_and_are_hidden(user in "[a-z]{6,10}#", password in "\\PC{1,24}") {
            let uri = SourceUri::parse("rtsp://h/x").unwrap().with_credentials(&user, &password);
            prop_assert_eq!(uri.to_string(), "rtsp://h/x");
            prop_assert_eq!(SourceUri::parse(&uri.reveal()).unwrap(), uri);
        }
    }
}
