//! Chains from raw or compressed pads to the taps: passthrough where the muxer can take it, else
//! decoding and encoding.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::element::{chain, exists, filter, live_queue, make};
use super::tap::{Shared, TapOptions, audio_tap, video_tap};
use crate::media::EncoderNote;
use crate::source::SourceError;
use crate::uri::SourceKind;

/// Bits per pixel we give an encoder that is not told a bit rate, in thousandths.
const MILLIBITS_PER_PIXEL: u64 = 70;
/// Bounds of the bit rate picked that way, kbit/s.
const BITRATE_BOUNDS: (u64, u64) = (200, 12_000);
/// Most pictures between two keyframes of a screen, if it asks for none; it does after seconds.
const SCREEN_GROUP_MAX: u32 = 300;
/// Bit rate of encoded sound, bit/s.
const SOUND_BITRATE: i32 = 128_000;

/// A raw picture's size and rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picture {
    pub width: u32,
    pub height: u32,
    pub fps: u32,
}

impl Picture {
    /// Reads caps; missing parts come from the options' limits.
    pub fn from_caps(caps: &gst::CapsRef, shared: &Shared) -> Self {
        let s = caps.structure(0);
        let side = |name| {
            s.and_then(|s| s.get::<i32>(name).ok())
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n > 0)
        };
        let rate = s.and_then(|s| s.get::<gst::Fraction>("framerate").ok());
        let fps = rate
            .filter(|f| f.numer() > 0 && f.denom() > 0)
            .map(|f| u32::try_from((f.numer() + f.denom() / 2) / f.denom()).unwrap_or(25).max(1));
        Self {
            width: side("width").unwrap_or(shared.options.max_width),
            height: side("height").unwrap_or(shared.options.max_height),
            fps: fps.unwrap_or(25).min(shared.options.max_fps.max(1)),
        }
    }

    /// Shrunk into the options' limits, shape kept, sides even.
    pub fn fitted(self, shared: &Shared) -> Self {
        let (max_w, max_h) = (shared.options.max_width.max(2), shared.options.max_height.max(2));
        let (mut w, mut h) = (u64::from(self.width.max(2)), u64::from(self.height.max(2)));
        if w > u64::from(max_w) {
            (w, h) = (u64::from(max_w), h * u64::from(max_w) / w);
        }
        if h > u64::from(max_h) {
            (w, h) = (w * u64::from(max_h) / h, u64::from(max_h));
        }
        let even = |n: u64| u32::try_from(n.max(2) & !1).unwrap_or(2);
        Self { width: even(w), height: even(h), fps: self.fps }
    }
}

/// Elements from raw pictures to the tap. The first one is to be linked to the source.
pub(super) fn raw_video(
    shared: &Arc<Shared>,
    picture: Picture,
    paced: bool,
    why: Option<&str>,
) -> Result<Vec<gst::Element>, SourceError> {
    let plan = shared.options.encoder.video.clone().ok_or(SourceError::NoEncoder)?;
    let fitted = picture.fitted(shared);
    let mut elements = Vec::new();
    // Files are paced by their sinks and lose nothing; live sources must not wait.
    elements.push(if paced { make("queue")? } else { live_queue()? });
    if fitted != picture {
        elements.push(make("videoscale")?);
    }
    elements.push(make("videoconvert")?);
    let mut caps = gst::Caps::builder("video/x-raw").field("format", "I420");
    if fitted != picture {
        caps = caps
            .field("width", i32::try_from(fitted.width).unwrap_or(2))
            .field("height", i32::try_from(fitted.height).unwrap_or(2));
    }
    elements.push(filter(&caps.build())?);
    elements.extend(encoder(&plan.name, shared, fitted)?);
    // A screen's pictures come when it changes, and so do its keyframes: it asks for them itself.
    let ask_keyframes = plan.name != "jpegenc" && !is_screen(shared);
    elements.push(video_tap(shared, TapOptions { paced, ask_keyframes }));
    shared.set_note(match why {
        Some(why) => EncoderNote { reason: format!("{}; {why}", plan.reason), ..plan },
        None => plan,
    });
    Ok(elements)
}

fn is_screen(shared: &Shared) -> bool {
    matches!(shared.kind, SourceKind::Screen { .. })
}

fn encoder(
    name: &str,
    shared: &Shared,
    picture: Picture,
) -> Result<Vec<gst::Element>, SourceError> {
    let pixels = u64::from(picture.width) * u64::from(picture.height) * u64::from(picture.fps);
    let kbps = shared.options.bitrate_kbps.unwrap_or_else(|| {
        let picked =
            (pixels * MILLIBITS_PER_PIXEL / 1_000_000).clamp(BITRATE_BOUNDS.0, BITRATE_BOUNDS.1);
        u32::try_from(picked).unwrap_or(4000)
    });
    // Keyframes are also asked for by time; this is for sources whose rate is as announced.
    let group = u64::from(picture.fps) * shared.options.fragment_us / 1_000_000;
    let group = match is_screen(shared) {
        true => SCREEN_GROUP_MAX,
        false => u32::try_from(group).unwrap_or(25).max(1),
    };
    let element = make(name)?;
    let mut elements = vec![element.clone()];
    match name {
        "x264enc" => {
            element.set_property_from_str("tune", "zerolatency");
            let heavy = pixels > 640 * 480 * 30;
            element.set_property_from_str(
                "speed-preset",
                if heavy { "ultrafast" } else { "superfast" },
            );
            element.set_property("key-int-max", group);
            element.set_property("bframes", 0u32);
            element.set_property("bitrate", kbps);
            element.set_property("threads", if heavy { 3u32 } else { 1u32 });
            element.set_property_from_str("option-string", "scenecut=0");
            elements.push(make("h264parse")?);
        }
        "openh264enc" => {
            element.set_property("gop-size", group);
            element.set_property("bitrate", kbps.saturating_mul(1000));
            element.set_property_from_str("complexity", "low");
            element.set_property_from_str("rate-control", "bitrate");
            elements.push(make("h264parse")?);
        }
        "v4l2h264enc" => {
            let controls = gst::Structure::builder("controls")
                .field(
                    "video_bitrate",
                    i32::try_from(kbps.saturating_mul(1000)).unwrap_or(i32::MAX),
                )
                .field("h264_i_frame_period", i32::try_from(group).unwrap_or(25))
                .field("repeat_sequence_header", 1i32)
                .build();
            element.set_property("extra-controls", controls);
            // The driver asks for a level; 4 is what 1080p30 needs.
            elements.push(filter(&gst::Caps::builder("video/x-h264").field("level", "4").build())?);
            elements.push(make("h264parse")?);
        }
        "jpegenc" => element.set_property("quality", 80i32),
        _ => {}
    }
    Ok(elements)
}

/// Elements from raw sound to the tap; an empty list when no encoder for sound is installed.
pub(super) fn raw_audio(
    shared: &Arc<Shared>,
    paced: bool,
) -> Result<Vec<gst::Element>, SourceError> {
    let Some(name) = shared.options.encoder.audio.clone() else {
        tracing::warn!(source = %shared.name, "no encoder for sound; recording without sound");
        shared.give_up_audio();
        return Ok(Vec::new());
    };
    let encoder = make(&name)?;
    if encoder.has_property("bitrate") {
        encoder.set_property_from_str("bitrate", &SOUND_BITRATE.to_string());
    }
    let caps = gst::Caps::builder("audio/x-raw")
        .field("rate", 48_000i32)
        .field("channels", gst::IntRange::new(1, 2))
        .build();
    let parser = if name == "opusenc" { "opusparse" } else { "aacparse" };
    Ok(vec![
        make("queue")?,
        make("audioconvert")?,
        make("audioresample")?,
        filter(&caps)?,
        encoder,
        make(parser)?,
        audio_tap(shared, TapOptions { paced, ask_keyframes: false }),
    ])
}

/// Elements that keep pictures as the source encoded them.
pub(super) fn kept_video(
    shared: &Arc<Shared>,
    parser: &str,
    paced: bool,
    name: &str,
    reason: &str,
) -> Result<Vec<gst::Element>, SourceError> {
    shared.set_note(EncoderNote {
        name: name.to_owned(),
        hardware: false,
        passthrough: true,
        reason: reason.to_owned(),
    });
    Ok(vec![make(parser)?, video_tap(shared, TapOptions { paced, ask_keyframes: false })])
}

/// Elements that keep AAC as the source encoded it.
pub(super) fn kept_audio(
    shared: &Arc<Shared>,
    paced: bool,
) -> Result<Vec<gst::Element>, SourceError> {
    Ok(vec![make("aacparse")?, audio_tap(shared, TapOptions { paced, ask_keyframes: false })])
}

/// What `decodebin` is to stop at: what the muxer takes, or raw.
pub(super) fn stop_caps() -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    {
        let caps = caps.make_mut();
        for name in ["video/x-h264", "video/x-h265", "video/x-raw", "audio/x-raw"] {
            caps.append_structure(gst::Structure::builder(name).build());
        }
        for format in ["raw", "adts"] {
            caps.append_structure(
                gst::Structure::builder("audio/mpeg")
                    .field("mpegversion", 4i32)
                    .field("stream-format", format)
                    .build(),
            );
        }
    }
    caps
}

/// Continues a pad of `decodebin`, whatever it carries: the tap, or a sink that swallows it.
pub(super) fn continue_pad(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    pad: &gst::Pad,
    paced: bool,
) -> Result<(), SourceError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let kind = caps.structure(0).map_or_else(String::new, |s| s.name().to_string());
    let origin = if paced { "file" } else { "camera" };
    let elements = match kind.as_str() {
        "video/x-h264" if shared.claim_video() => {
            let reason = format!("the {origin}'s own H.264 is kept as it is");
            kept_video(shared, "h264parse", paced, origin, &reason)?
        }
        "video/x-h265" if shared.claim_video() => {
            let reason = format!("the {origin}'s own H.265 is kept as it is");
            kept_video(shared, "h265parse", paced, origin, &reason)?
        }
        "video/x-raw" if shared.claim_video() => {
            let picture = Picture::from_caps(&caps, shared);
            let why = format!("the {origin}'s own format is decoded, it cannot be kept");
            raw_video(shared, picture, paced, Some(&why))?
        }
        "audio/mpeg" if shared.claim_audio() => kept_audio(shared, paced)?,
        "audio/x-raw" if shared.claim_audio() => raw_audio(shared, paced)?,
        _ => Vec::new(),
    };
    let elements = if elements.is_empty() { vec![swallow()?] } else { elements };
    attach(pipeline, shared, pad, &elements)
}

/// A sink for what is not recorded.
pub(super) fn swallow() -> Result<gst::Element, SourceError> {
    let sink = make("fakesink")?;
    sink.set_property("sync", false);
    sink.set_property("async", false);
    Ok(sink)
}

/// Links a pad to a new chain.
pub(super) fn attach(
    pipeline: &gst::Pipeline,
    shared: &Shared,
    pad: &gst::Pad,
    elements: &[gst::Element],
) -> Result<(), SourceError> {
    chain(pipeline, &shared.name, elements)?;
    let target = elements.first().and_then(|e| e.static_pad("sink"));
    let linked = target.is_some_and(|target| pad.link(&target).is_ok());
    if linked {
        return Ok(());
    }
    let codec = pad
        .current_caps()
        .and_then(|c| c.structure(0).map(|s| s.name().to_string()))
        .unwrap_or_else(|| "an unknown format".to_owned());
    Err(SourceError::Codec { source_name: shared.name.clone(), codec })
}

/// Whether there is a decoder for MJPEG.
pub(super) fn has_jpeg_decoder() -> bool {
    exists("jpegdec")
}
