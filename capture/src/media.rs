//! What a running source hands to its owner: init segments, fragments, losses and its end.

use std::fmt;

use crate::source::SourceError;

/// Whether a track carries pictures or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One track of an init segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// `track_ID` of ISO/IEC 14496-12, unique within the init segment, never 0.
    pub id: u32,
    /// Pictures or sound.
    pub kind: TrackKind,
    /// RFC 6381 codec string, such as `avc1.640028` or `mp4a.40.2`.
    pub codec: String,
    /// Ticks per second of this track's time stamps.
    pub timescale: u32,
    /// Width in pixels; 0 for sound.
    pub width: u32,
    /// Height in pixels; 0 for sound.
    pub height: u32,
    /// Samples per second; 0 for pictures.
    pub rate: u32,
    /// Channels; 0 for pictures.
    pub channels: u32,
}

/// Who encodes the pictures, and why this one: shown to the operator as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderNote {
    /// `camera`, `file` or the name of the encoder element, such as `x264enc`.
    pub name: String,
    /// True only where a hardware encoder of this board does the work.
    pub hardware: bool,
    /// True where the source's own encoded pictures are kept untouched.
    pub passthrough: bool,
    /// A sentence for people: why this encoder.
    pub reason: String,
}

/// `ftyp` + `moov`: what a player needs before the first fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct InitSegment {
    /// The whole init segment.
    pub bytes: Vec<u8>,
    /// Its tracks, video first.
    pub tracks: Vec<Track>,
    /// Who encodes the pictures.
    pub encoder: EncoderNote,
}

impl fmt::Debug for InitSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InitSegment")
            .field("bytes", &self.bytes.len())
            .field("tracks", &self.tracks)
            .field("encoder", &self.encoder)
            .finish()
    }
}

/// One `moof` + `mdat` with the samples of all tracks.
#[derive(Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The whole fragment.
    pub bytes: Vec<u8>,
    /// Start of the pictures in microseconds since the start of this run; the same time line as
    /// `tfdt`.
    pub start_us: i64,
    /// Length of the pictures in microseconds.
    pub duration_us: u64,
    /// Whether the first picture can be decoded without any before it.
    pub keyframe: bool,
    /// Wall clock of the first picture, microseconds since the Unix epoch.
    pub captured_at_us: u64,
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("bytes", &self.bytes.len())
            .field("start_us", &self.start_us)
            .field("duration_us", &self.duration_us)
            .field("keyframe", &self.keyframe)
            .field("captured_at_us", &self.captured_at_us)
            .finish()
    }
}

/// Why pictures of a running source are missing from its fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// The owner took fragments more slowly than the source made them; whole fragments were
    /// dropped.
    SlowConsumer,
    /// The source itself left a hole in its time stamps.
    SourceGap,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlowConsumer => "storage was slower than the source",
            Self::SourceGap => "the source left a hole in its time stamps",
        })
    }
}

/// A stretch of stream time for which no fragment follows; declared so that a gap can be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Start in microseconds since the start of this run.
    pub start_us: i64,
    /// Length in microseconds.
    pub duration_us: u64,
    /// Whole fragments that were dropped; 0 for a hole in the source.
    pub fragments: u32,
    /// Why.
    pub reason: LossReason,
}

/// What a running source tells its owner, in the order of stream time.
#[derive(Debug)]
pub enum MediaEvent {
    /// Comes before the first fragment, and again whenever codec, size or tracks change.
    Init(InitSegment),
    /// About one second of media.
    Fragment(Fragment),
    /// Media that will not come.
    Lost(Loss),
    /// The source has ended as it should (a file without `loop`). Nothing follows.
    Ended,
    /// The source died. Nothing follows; the owner opens it again when it sees fit.
    Failed(SourceError),
}
