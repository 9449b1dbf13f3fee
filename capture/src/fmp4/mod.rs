//! Fragmented MP4 (ISO/IEC 14496-12, CMAF shape): writing it, reading it back, moving it on the
//! time line. Pure.
//!
//! Reading takes bytes from anywhere: every length is checked against what is there, every table
//! has a limit, and an error names the box. Nothing here panics or loops on bad input.

mod boxes;
mod codec;
mod init;
mod read;
mod write;

use std::fmt;

pub use codec::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};
pub use init::{AUDIO_TRACK, VIDEO_TIMESCALE, VIDEO_TRACK, init_segment, parse_init};
pub use read::{FragmentInfo, TrackFragment, inspect, rebase};
pub use write::{RunSample, TrackRun, fragment};

/// Most boxes inside one box; more are refused.
pub const MAX_CHILDREN: usize = 256;
/// Most tracks in one init segment; more are refused.
pub const MAX_TRACKS: usize = 8;
/// Most samples one fragment may have per track; more are refused.
pub const MAX_SAMPLES: usize = 16_384;
/// Largest init segment in bytes; larger ones are refused.
pub const MAX_INIT_BYTES: usize = 1 << 20;
/// Largest fragment in bytes; larger ones are refused.
pub const MAX_FRAGMENT_BYTES: usize = 256 << 20;

/// A box's four-character name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why bytes are not the fragmented MP4 they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fmp4Error {
    /// The whole is larger than its limit.
    #[error("{what} has {bytes} bytes: at most {limit} are taken")]
    TooLarge {
        /// Init segment or fragment.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A box ends before its fields do.
    #[error("box {name} at byte {at} is cut short")]
    Truncated {
        /// The box.
        name: FourCc,
        /// Where in the input, bytes.
        at: usize,
    },
    /// A box claims a size that cannot be.
    #[error("box {name} at byte {at} has an impossible size")]
    Size {
        /// The box.
        name: FourCc,
        /// Where in the input, bytes.
        at: usize,
    },
    /// More of something than the limit.
    #[error("box {name} holds more than {limit} {what}")]
    TooMany {
        /// The box.
        name: FourCc,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A box that must be there is not.
    #[error("box {name} is missing in {parent}")]
    Missing {
        /// The missing box.
        name: FourCc,
        /// Where it should be.
        parent: FourCc,
    },
    /// A box that may be there once is there again, or where it may not be.
    #[error("box {name} at byte {at} is out of place")]
    Misplaced {
        /// The box.
        name: FourCc,
        /// Where in the input, bytes.
        at: usize,
    },
    /// A field has a value that makes no sense or is not supported.
    #[error("box {name}: {what}")]
    Field {
        /// The box.
        name: FourCc,
        /// What is wrong, and what would be right.
        what: &'static str,
    },
    /// A track that the init segment does not have.
    #[error("box {name} speaks of track {track}, which the init segment does not have")]
    UnknownTrack {
        /// The box.
        name: FourCc,
        /// The track's id.
        track: u32,
    },
    /// A time that does not fit.
    #[error("box {name}: the time of track {track} does not fit after moving it by {offset_us} us")]
    Time {
        /// The box.
        name: FourCc,
        /// The track's id.
        track: u32,
        /// By how much it was to be moved, microseconds.
        offset_us: i64,
    },
    /// Data points outside the fragment.
    #[error("box {name}: the samples of track {track} lie outside mdat")]
    DataRange {
        /// The box.
        name: FourCc,
        /// The track's id.
        track: u32,
    },
}

/// Ticks of a track to microseconds, rounded down; exact neighbours stay exact neighbours.
pub(crate) fn ticks_to_us(ticks: i64, timescale: u32) -> i64 {
    let us = i128::from(ticks) * 1_000_000 / i128::from(timescale.max(1));
    i64::try_from(us).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
}

/// Microseconds to ticks, rounded to the nearest; `None` when they do not fit.
pub(crate) fn us_to_ticks(us: i64, timescale: u32) -> Option<i64> {
    let scaled = i128::from(us) * i128::from(timescale);
    let half = if scaled < 0 { -500_000 } else { 500_000 };
    i64::try_from((scaled + half) / 1_000_000).ok()
}

#[cfg(test)]
mod tests;
