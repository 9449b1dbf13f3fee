//! Sources, encoder choice and the recorder.
//!
//! A [`SourceUri`] names what is recorded. [`media::MediaEvent`]s are what a running source gives:
//! an init segment, then fragments of about one second, starting on keyframes where the stream
//! allows.
#![forbid(unsafe_code)]

pub mod archive;
pub mod catalogue;
pub mod check;
mod delivery;
pub mod encoded;
pub mod encoder;
pub mod export;
pub mod fmp4;
mod gst;
pub mod keys;
pub mod media;
pub mod mux;
pub mod rebuild;
pub mod recorder;
pub mod recovery;
pub mod retention;
pub mod screen;
pub mod source;
pub mod uri;

pub use archive::{Archive, ArchiveError};
pub use encoder::{EncoderPlan, HardwareEncoder};
pub use gst::{FoundCamera, Stream, has_element, libcamera_cameras, open, probe_encoders};
pub use media::{
    EncoderNote, Fragment, InitSegment, Loss, LossReason, MediaEvent, Track, TrackKind,
};
pub use source::{RtspTransport, SourceError, StreamOptions, TlsTrust};
pub use uri::{SourceKind, SourceUri, UriError};
