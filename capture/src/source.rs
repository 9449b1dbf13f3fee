//! Options of a running source and the ways it can fail.

use std::time::Duration;

use crate::encoded::EncodedFeed;
use crate::encoder::EncoderPlan;
use crate::screen::Access;

/// Shortest fragment that may be asked for, microseconds.
pub const MIN_FRAGMENT_US: u64 = 200_000;
/// Longest fragment that may be asked for, microseconds.
pub const MAX_FRAGMENT_US: u64 = 10_000_000;
/// Most fragments that wait for a slow owner; when one more is ready it is dropped and declared
/// lost.
pub const MAX_QUEUED_FRAGMENTS: usize = 8;
/// Most bytes of fragments that wait for a slow owner; above it new fragments are dropped and
/// declared lost.
pub const MAX_QUEUED_BYTES: usize = 32 << 20;

/// How RTP reaches us from an RTSP camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RtspTransport {
    /// Interleaved in the RTSP connection: no loss, passes firewalls.
    #[default]
    Tcp,
    /// Separate UDP ports.
    Udp,
}

/// Whom to believe on the other side of `rtsps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsTrust {
    /// The certificate must be valid for the host and signed by an authority this system trusts.
    #[default]
    System,
    /// Any certificate: for cameras with a certificate of their own making. Encrypts, proves
    /// nothing.
    AnyCertificate,
}

/// How a source is opened.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Record sound where the source has it.
    pub audio: bool,
    /// Encoder for sources that deliver raw pictures; see [`EncoderPlan::choose`].
    pub encoder: EncoderPlan,
    /// Length of a fragment in microseconds, [`MIN_FRAGMENT_US`] to [`MAX_FRAGMENT_US`]. Never
    /// exceeded by more than one picture.
    pub fragment_us: u64,
    /// Transport of RTSP sources.
    pub rtsp_transport: RtspTransport,
    /// Trust in `rtsps` servers.
    pub tls: TlsTrust,
    /// How long a network source may take to connect and to answer.
    pub connect_timeout: Duration,
    /// Largest width in pixels where the source lets us choose, and for encoded sources.
    pub max_width: u32,
    /// Largest height in pixels, as `max_width`.
    pub max_height: u32,
    /// Most pictures per second, as `max_width`.
    pub max_fps: u32,
    /// Bit rate in kbit/s when we encode; `None` picks one from the size.
    pub bitrate_kbps: Option<u32>,
    /// What lets us in where the source is an X display.
    pub screen_access: Access,
    /// Who else gets the pictures as they are encoded; H.264 alone.
    pub encoded: Option<EncodedFeed>,
}

impl StreamOptions {
    /// Sound on, 0.8 s fragments, RTSP over TCP, at most 1080p30. What waits for the disk at a
    /// crash comes on top of a fragment; both together stay below the second that may be lost.
    pub fn new(encoder: EncoderPlan) -> Self {
        Self {
            audio: true,
            encoder,
            fragment_us: 800_000,
            rtsp_transport: RtspTransport::default(),
            tls: TlsTrust::default(),
            connect_timeout: Duration::from_secs(8),
            max_width: 1920,
            max_height: 1080,
            max_fps: 30,
            bitrate_kbps: None,
            screen_access: Access::default(),
            encoded: None,
        }
    }
}

/// Why a source could not be opened or died. No variant ever carries a credential.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// An option is out of its range.
    #[error("option {option} is {value}: it must be {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// GStreamer itself does not start.
    #[error("gstreamer does not start: {detail}")]
    Framework {
        /// What GStreamer says.
        detail: String,
    },
    /// An element is missing from this system.
    #[error("gstreamer element {element} is missing: install {package}")]
    MissingElement {
        /// Name of the element.
        element: String,
        /// Debian package that has it.
        package: &'static str,
    },
    /// The file does not exist.
    #[error("file {path} does not exist")]
    NoSuchFile {
        /// The path.
        path: String,
    },
    /// The file exists but cannot be read.
    #[error("file {path} cannot be read: {detail}")]
    UnreadableFile {
        /// The path.
        path: String,
        /// What the system says.
        detail: String,
    },
    /// There is nothing in it: no bytes, or a container without a single picture.
    #[error("{source_name} holds no media: {detail}")]
    Empty {
        /// The source.
        source_name: String,
        /// What was found.
        detail: String,
    },
    /// It is not media that can be read.
    #[error("{source_name} is no video: {detail}")]
    NotVideo {
        /// The source.
        source_name: String,
        /// What was found.
        detail: String,
    },
    /// The device node does not exist or is no camera.
    #[error("camera {device} cannot be opened: {detail}")]
    Device {
        /// The device.
        device: String,
        /// What the system says.
        detail: String,
    },
    /// The device is used by another program.
    #[error("camera {device} is used by another program")]
    DeviceBusy {
        /// The device.
        device: String,
    },
    /// The X display cannot be grabbed.
    #[error("screen :{display} cannot be opened: {detail}")]
    Screen {
        /// Number of the display.
        display: u16,
        /// What was tried and what would help.
        detail: String,
    },
    /// Its name is not known.
    #[error("host {host} is not known: check the name, or use its address")]
    UnknownHost {
        /// The host.
        host: String,
    },
    /// Nothing answers at the address.
    #[error("{host}:{port} is unreachable: no answer within {seconds} s")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// How long was waited, seconds.
        seconds: u64,
    },
    /// The host is there, the port is closed.
    #[error("{host} refused the connection on port {port}: is rtsp switched on there?")]
    Refused {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// 401.
    #[error("{source_name} refused the user name or password")]
    Unauthorised {
        /// The source, without credentials.
        source_name: String,
    },
    /// 404.
    #[error("{source_name} does not exist on that camera: check the path")]
    NoSuchStream {
        /// The source, without credentials.
        source_name: String,
    },
    /// The TLS handshake failed or the certificate is not trusted.
    #[error("no trusted tls connection with {host}:{port}: {detail}")]
    Tls {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What was wrong.
        detail: String,
    },
    /// It answers, but with something we cannot use.
    #[error("{source_name} answered with an error: {detail}")]
    Protocol {
        /// The source, without credentials.
        source_name: String,
        /// What it said.
        detail: String,
    },
    /// Its pictures are in a codec that cannot be put into fragments and no decoder is there.
    #[error(
        "{source_name} sends {codec}, which cannot be recorded: set the camera to h.264 or h.265"
    )]
    Codec {
        /// The source, without credentials.
        source_name: String,
        /// The codec.
        codec: String,
    },
    /// It cannot be repeated from its start.
    #[error("{source_name} cannot be repeated: its format cannot be sought in")]
    NotSeekable {
        /// The source.
        source_name: String,
    },
    /// No encoder at all.
    #[error("no encoder is installed: install gstreamer1.0-plugins-ugly (x264enc)")]
    NoEncoder,
    /// The stream broke off without saying goodbye.
    #[error("{source_name} broke off: {detail}")]
    BrokeOff {
        /// The source, without credentials.
        source_name: String,
        /// What was noticed.
        detail: String,
    },
    /// Its time stamps or samples make no sense.
    #[error("{source_name} sends media that cannot be recorded: {detail}")]
    BadMedia {
        /// The source, without credentials.
        source_name: String,
        /// What was wrong.
        detail: String,
    },
}

impl SourceError {
    /// Whether trying again later may help without the operator doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Refused { .. }
                | Self::UnknownHost { .. }
                | Self::BrokeOff { .. }
                | Self::DeviceBusy { .. }
                | Self::Device { .. }
                | Self::Screen { .. }
                | Self::Protocol { .. }
                | Self::BadMedia { .. }
        )
    }
}
