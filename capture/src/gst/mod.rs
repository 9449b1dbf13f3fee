//! The one place where GStreamer is used: from a source URI to media events.
//!
//! A [`Stream`] is one run of one pipeline. Pipelines end in appsinks whose callbacks feed the pure
//! muxer; its events wait in a bounded queue for the owner. No thread of ours, no main loop;
//! stopping joins all of GStreamer's.

mod element;
mod encode;
mod failure;
mod file;
mod live;
mod modes;
mod rtsp;
mod screen;
mod tap;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::delivery::Item;
use crate::encoder::{EncoderPlan, HardwareEncoder};
use crate::media::{EncoderNote, MediaEvent};
use crate::source::{MAX_FRAGMENT_US, MIN_FRAGMENT_US, SourceError, StreamOptions};
use crate::uri::{SourceKind, SourceUri};
use tap::Shared;

/// Chooses the encoders of this machine; `hardware` is what probing the board found, `wanted` the
/// operator's own choice.
///
/// # Errors
/// When GStreamer itself does not start.
pub fn probe_encoders(
    hardware: &HardwareEncoder,
    wanted: Option<&str>,
) -> Result<EncoderPlan, SourceError> {
    start()?;
    Ok(EncoderPlan::choose(hardware, wanted, &element::exists))
}

/// A camera that GStreamer's device monitor knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCamera {
    /// Its source URI.
    pub uri: SourceUri,
    /// Its name for people.
    pub name: String,
}

/// The cameras libcamera offers; empty when its element is not installed.
///
/// # Errors
/// When GStreamer itself does not start.
pub fn libcamera_cameras() -> Result<Vec<FoundCamera>, SourceError> {
    start()?;
    Ok(live::libcamera_cameras())
}

/// Whether this element can be made here: for reports.
///
/// # Errors
/// When GStreamer itself does not start.
pub fn has_element(name: &str) -> Result<bool, SourceError> {
    start()?;
    Ok(element::exists(name))
}

/// Starts a source. Files are opened and looked at before this returns; cameras and networks answer
/// later, by events.
///
/// # Errors
/// What is wrong with the source or the options, as far as it shows at once.
pub fn open(uri: &SourceUri, options: &StreamOptions) -> Result<Stream, SourceError> {
    if !(MIN_FRAGMENT_US..=MAX_FRAGMENT_US).contains(&options.fragment_us) {
        return Err(SourceError::Option {
            option: "fragment_us",
            value: options.fragment_us.to_string(),
            expected: format!("from {MIN_FRAGMENT_US} to {MAX_FRAGMENT_US}"),
        });
    }
    start()?;
    let pipeline = gst::Pipeline::new();
    let note = EncoderNote {
        name: "none".to_owned(),
        hardware: false,
        passthrough: false,
        reason: "nothing has arrived yet".to_owned(),
    };
    let shared = Arc::new(Shared::new(uri, options, note));
    let repeat = matches!(uri.kind(), SourceKind::File { repeat: true, .. });
    // From here on dropping the stream cleans up.
    let stream = Stream { pipeline, shared, repeat };
    watch(&stream.pipeline, &stream.shared);
    match uri.kind() {
        SourceKind::Rtsp(address) => rtsp::build(&stream.pipeline, &stream.shared, address)?,
        SourceKind::File { path, .. } => {
            file::build(&stream.pipeline, &stream.shared, path)?;
            file::preroll(&stream.pipeline, &stream.shared, repeat)?;
        }
        SourceKind::Test(picture) => live::test(&stream.pipeline, &stream.shared, picture)?,
        SourceKind::Screen { display } => {
            screen::build(&stream.pipeline, &stream.shared, *display)?
        }
        SourceKind::V4l2 { device } => live::v4l2(&stream.pipeline, &stream.shared, device)?,
        SourceKind::Libcamera { id } => {
            live::libcamera(&stream.pipeline, &stream.shared, id.as_deref())?;
        }
    }
    if stream.pipeline.set_state(gst::State::Playing).is_err() {
        // The bus had the reason before the state change came back.
        return Err(stream.failure());
    }
    Ok(stream)
}

/// One run of a source. Dropping it stops it.
pub struct Stream {
    pipeline: gst::Pipeline,
    shared: Arc<Shared>,
    repeat: bool,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.shared.name)
    }
}

impl Stream {
    /// The next event; `None` when nothing came within `timeout` (the owner decides whether that is
    /// a stall), or at once after [`MediaEvent::Ended`] or [`MediaEvent::Failed`].
    pub fn next(&mut self, timeout: Duration) -> Option<MediaEvent> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shared.delivery.next(left)? {
                Item::Event(event) => return Some(event),
                Item::Repeat => {
                    if self.repeat && !file::repeat(&self.pipeline) {
                        let error =
                            SourceError::NotSeekable { source_name: self.shared.name.clone() };
                        self.shared.fail(error);
                    }
                }
            }
        }
    }

    /// Waits until fragments are lost because their owner is slow; says whether that came within
    /// `timeout`. They are declared by the next event that fits.
    pub fn wait_behind(&self, timeout: Duration) -> bool {
        self.shared.delivery.wait_behind(timeout)
    }

    /// Whether nothing more can come than what is already queued.
    pub fn is_over(&self) -> bool {
        self.shared.delivery.is_over()
    }

    /// Stops the source and returns what was still held, the last, shorter fragment included.
    pub fn stop(self) -> Vec<MediaEvent> {
        self.halt();
        self.shared.flush();
        std::iter::from_fn(|| self.shared.delivery.next(Duration::ZERO))
            .filter_map(|item| match item {
                Item::Event(event) => Some(event),
                Item::Repeat => None,
            })
            .collect()
    }

    fn halt(&self) {
        // Joins the streaming threads; going down cannot fail in a way that could be acted upon.
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }

    /// The reason the bus gave, or a general one.
    fn failure(&self) -> SourceError {
        while let Some(item) = self.shared.delivery.next(Duration::ZERO) {
            if let Item::Event(MediaEvent::Failed(error)) = item {
                return error;
            }
        }
        SourceError::BrokeOff {
            source_name: self.shared.name.clone(),
            detail: "it does not start, and says nothing about why".to_owned(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Turns the pipeline's messages into events, in the thread that sends them.
fn watch(pipeline: &gst::Pipeline, shared: &Arc<Shared>) {
    let Some(bus) = pipeline.bus() else { return };
    let shared = Arc::clone(shared);
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => shared.fail(failure::explain(&shared, error)),
            gst::MessageView::Eos(_) => shared.end(),
            gst::MessageView::SegmentDone(_) => shared.delivery.repeat(),
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
}

fn start() -> Result<(), SourceError> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| gst::init().map_err(|e| e.to_string()))
        .clone()
        .map_err(|detail| SourceError::Framework { detail })
}
