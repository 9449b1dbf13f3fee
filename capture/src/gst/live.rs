//! Sources on this machine: the demo picture, V4L2 and libcamera cameras.

use std::path::Path;
use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::FoundCamera;
use super::element::{chain, exists, filter, make};
use super::encode::{self, Picture};
use super::modes::{Format, Limits, best, modes};
use super::tap::Shared;
use crate::source::SourceError;
use crate::uri::{SourceUri, TestPicture};

/// A test picture that says what it is, with a running clock; ticks if asked.
pub(super) fn test(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    picture: &TestPicture,
) -> Result<(), SourceError> {
    let source = make("videotestsrc")?;
    source.set_property("is-live", true);
    source.set_property_from_str("pattern", "smpte");
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", side(picture.width))
        .field("height", side(picture.height))
        .field("framerate", gst::Fraction::new(side(picture.fps), 1))
        .build();
    // Without the words it could be taken for a recording of something; so there is no test picture
    // without them.
    let clock = make("clockoverlay")?;
    clock.set_property("text", "DEMO - not a camera");
    clock.set_property("time-format", "%Y-%m-%d %H:%M:%S %Z");
    clock.set_property("shaded-background", true);
    clock.set_property_from_str("halignment", "center");
    clock.set_property_from_str("valignment", "center");
    clock.set_property("font-desc", "Sans Bold 20");
    let shape = Picture { width: picture.width, height: picture.height, fps: picture.fps };
    let mut elements = vec![source, filter(&caps)?, clock];
    elements.extend(encode::raw_video(shared, shape, false, None)?);
    shared.claim_video();
    chain(pipeline, &shared.name, &elements)?;
    if picture.audio && shared.claim_audio() {
        let source = make("audiotestsrc")?;
        source.set_property("is-live", true);
        source.set_property_from_str("wave", "ticks");
        let mut elements = vec![source];
        elements.extend(encode::raw_audio(shared, false)?);
        if elements.len() > 1 {
            chain(pipeline, &shared.name, &elements)?;
        }
    }
    Ok(())
}

/// A V4L2 camera: its own H.264 if it has any, else raw or MJPEG, whichever gives the better
/// picture.
pub(super) fn v4l2(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    device: &Path,
) -> Result<(), SourceError> {
    let shown = device.display().to_string();
    let refused =
        |detail: &str| SourceError::Device { device: shown.clone(), detail: detail.to_owned() };
    match std::fs::File::open(device) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => {
            return Err(SourceError::DeviceBusy { device: shown });
        }
        Err(e) => return Err(SourceError::Device { device: shown, detail: e.to_string() }),
    }
    let source = make("v4l2src")?;
    source.set_property("device", &shown);
    if source.set_state(gst::State::Ready).is_err() {
        return Err(refused("it is no video capture device"));
    }
    let caps = source
        .static_pad("src")
        .map(|pad| pad.query_caps(None))
        .unwrap_or_else(gst::Caps::new_empty);
    let limits = Limits {
        width: shared.options.max_width,
        height: shared.options.max_height,
        fps: shared.options.max_fps,
    };
    let mode = best(&modes(&caps), limits)
        .ok_or_else(|| refused("it offers no picture format that can be recorded"))?;
    let mut caps = gst::Caps::builder(mode.format.caps_name())
        .field("width", side(mode.width))
        .field("height", side(mode.height));
    if mode.fps > 0 {
        caps = caps.field("framerate", gst::Fraction::new(side(mode.fps), 1));
    }
    let shape = Picture { width: mode.width, height: mode.height, fps: mode.fps.max(1) };
    let mut elements = vec![source, filter(&caps.build())?];
    shared.claim_video();
    match mode.format {
        Format::H264 => elements.extend(encode::kept_video(
            shared,
            "h264parse",
            false,
            "camera",
            "the camera's own H.264 is kept as it is",
        )?),
        Format::Mjpeg if keeps_jpeg(shared) => elements.extend(encode::kept_video(
            shared,
            "jpegparse",
            false,
            "camera",
            "the camera's own MJPEG is kept: an H.264 encoder or a JPEG decoder is missing",
        )?),
        Format::Mjpeg => {
            elements.push(make("jpegdec")?);
            let why = "the camera's MJPEG is decoded";
            elements.extend(encode::raw_video(shared, shape, false, Some(why))?);
        }
        Format::Raw => elements.extend(encode::raw_video(shared, shape, false, None)?),
    }
    chain(pipeline, &shared.name, &elements)
}

/// Whether re-encoding MJPEG would only make it worse, or cannot be done.
fn keeps_jpeg(shared: &Shared) -> bool {
    let encoder = shared.options.encoder.video.as_ref().map(|e| e.name.as_str());
    matches!(encoder, None | Some("jpegenc")) || !encode::has_jpeg_decoder()
}

/// A libcamera camera. libcamera gives raw pictures.
pub(super) fn libcamera(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    id: Option<&str>,
) -> Result<(), SourceError> {
    let source = make("libcamerasrc")?;
    if let Some(id) = id {
        source.set_property("camera-name", id);
    }
    let shape = Picture {
        width: shared.options.max_width & !1,
        height: shared.options.max_height & !1,
        fps: shared.options.max_fps.max(1),
    };
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "NV12")
        .field("width", side(shape.width))
        .field("height", side(shape.height))
        .field("framerate", gst::Fraction::new(side(shape.fps), 1))
        .build();
    let mut elements = vec![source, filter(&caps)?];
    elements.extend(encode::raw_video(shared, shape, false, None)?);
    shared.claim_video();
    chain(pipeline, &shared.name, &elements)
}

/// Cameras the device monitor knows from libcamera.
pub(super) fn libcamera_cameras() -> Vec<FoundCamera> {
    if !exists("libcamerasrc") {
        return Vec::new();
    }
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Source/Video"), None);
    if monitor.start().is_err() {
        return Vec::new();
    }
    let found = monitor
        .devices()
        .iter()
        .filter(|device| device.has_classes("Source/Video"))
        .filter_map(|device| {
            let element = device.create_element(None).ok()?;
            if element.factory()?.name() != "libcamerasrc" {
                return None;
            }
            let id = element.property::<Option<String>>("camera-name")?;
            let uri = SourceUri::parse(&format!("libcamera://{id}")).ok()?;
            Some(FoundCamera { uri, name: device.display_name().to_string() })
        })
        .collect();
    monitor.stop();
    found
}

fn side(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
