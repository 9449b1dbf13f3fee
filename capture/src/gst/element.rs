//! Making elements and saying which package has a missing one.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::source::SourceError;

/// Whether an element can be made.
pub(super) fn exists(name: &str) -> bool {
    gst::ElementFactory::find(name).is_some()
}

/// Makes an element.
pub(super) fn make(name: &str) -> Result<gst::Element, SourceError> {
    gst::ElementFactory::make(name).build().map_err(|_| SourceError::MissingElement {
        element: name.to_owned(),
        package: package(name),
    })
}

/// A caps filter.
pub(super) fn filter(caps: &gst::Caps) -> Result<gst::Element, SourceError> {
    let element = make("capsfilter")?;
    element.set_property("caps", caps);
    Ok(element)
}

/// A queue that keeps a few buffers and drops the oldest: between a live source and an encoder that
/// may be too slow.
pub(super) fn live_queue() -> Result<gst::Element, SourceError> {
    /// Raw pictures that may wait for the encoder; the oldest is dropped. 1080p I420 is 3 MB each.
    const MAX_RAW_PICTURES: u32 = 4;
    let queue = make("queue")?;
    queue.set_property("max-size-buffers", MAX_RAW_PICTURES);
    queue.set_property("max-size-bytes", 0u32);
    queue.set_property("max-size-time", 0u64);
    queue.set_property_from_str("leaky", "downstream");
    Ok(queue)
}

/// Adds elements to a pipeline and links them in this order; running pipelines take them up at
/// once.
pub(super) fn chain(
    pipeline: &gst::Pipeline,
    source_name: &str,
    elements: &[gst::Element],
) -> Result<(), SourceError> {
    let wrong =
        |detail: String| SourceError::BadMedia { source_name: source_name.to_owned(), detail };
    pipeline.add_many(elements).map_err(|e| wrong(e.to_string()))?;
    gst::Element::link_many(elements).map_err(|e| wrong(e.to_string()))?;
    // Downstream first, so that nothing arrives at an element that is not ready.
    for element in elements.iter().rev() {
        element.sync_state_with_parent().map_err(|e| wrong(e.to_string()))?;
    }
    Ok(())
}

fn package(element: &str) -> &'static str {
    match element {
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "h264parse" | "h265parse" | "openh264enc" | "voaacenc" => "gstreamer1.0-plugins-bad",
        "libcamerasrc" => "gstreamer1.0-libcamera",
        "clockoverlay" => "gstreamer1.0-x",
        "appsink" | "decodebin" | "videoconvert" | "videoscale" | "videorate" | "audioconvert"
        | "audioresample" | "videotestsrc" | "audiotestsrc" | "opusenc" => {
            "gstreamer1.0-plugins-base"
        }
        "queue" | "capsfilter" | "filesrc" | "fakesink" => "libgstreamer1.0-0",
        name if name.starts_with("avenc_") || name.starts_with("avdec_") => "gstreamer1.0-libav",
        _ => "gstreamer1.0-plugins-good",
    }
}
