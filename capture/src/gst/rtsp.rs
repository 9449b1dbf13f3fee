//! RTSP cameras: H.264, H.265 and AAC are kept as they are, anything else is decoded if it can be.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::element::{chain, exists, make};
use super::encode;
use super::tap::Shared;
use crate::source::{RtspTransport, SourceError, TlsTrust};
use crate::uri::RtspAddress;

/// How long packets wait for those that overtook them, milliseconds. TCP keeps order; UDP on a
/// local network needs little.
const TCP_LATENCY_MS: u32 = 100;
const UDP_LATENCY_MS: u32 = 200;
/// How long saying goodbye to a camera may take, nanoseconds.
const TEARDOWN_NS: u64 = 100_000_000;

/// `rtspsrc` and, for each stream it offers, a way to the muxer.
pub(super) fn build(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    address: &RtspAddress,
) -> Result<(), SourceError> {
    let options = &shared.options;
    let source = make("rtspsrc")?;
    source.set_property("location", address.location().as_str());
    source.set_property("user-id", address.user());
    source.set_property("user-pw", address.password());
    let timeout_us = u64::try_from(options.connect_timeout.as_micros()).unwrap_or(8_000_000);
    source.set_property("tcp-timeout", timeout_us);
    source.set_property("teardown-timeout", TEARDOWN_NS);
    let (transport, latency) = match options.rtsp_transport {
        RtspTransport::Tcp => ("tcp", TCP_LATENCY_MS),
        RtspTransport::Udp => ("udp", UDP_LATENCY_MS),
    };
    let transport = if address.tls { format!("{transport}+tls") } else { transport.to_owned() };
    source.set_property_from_str("protocols", &transport);
    source.set_property("latency", latency);
    if options.rtsp_transport == RtspTransport::Udp {
        // UDP that brings nothing is an error for the owner, not a silent change of transport.
        source.set_property("timeout", timeout_us);
    }
    if address.tls && options.tls == TlsTrust::AnyCertificate {
        source.set_property_from_str("tls-validation-flags", "no-flags");
    }

    let chooser = Arc::clone(shared);
    source.connect("select-stream", false, move |values| {
        let caps = values.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let media = caps.as_ref().and_then(|c| c.structure(0)?.get::<String>("media").ok());
        let wanted = match media.as_deref() {
            Some("video") => chooser.claim_video(),
            Some("audio") => chooser.claim_audio(),
            _ => false,
        };
        Some(wanted.to_value())
    });
    let weak = pipeline.downgrade();
    let for_pads = Arc::clone(shared);
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        if let Err(error) = continue_stream(&pipeline, &for_pads, pad) {
            for_pads.fail(error);
        }
    });
    let for_end = Arc::clone(shared);
    source.connect_no_more_pads(move |_| {
        if !for_end.has_video() {
            for_end.fail(SourceError::NotVideo {
                source_name: for_end.name.clone(),
                detail: "the camera offers no picture stream".to_owned(),
            });
        }
    });
    chain(pipeline, &shared.name, &[source])
}

fn continue_stream(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    pad: &gst::Pad,
) -> Result<(), SourceError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let Some(s) = caps.structure(0) else { return Ok(()) };
    let field = |name: &str| s.get::<String>(name).unwrap_or_default();
    let (media, encoding) = (field("media"), field("encoding-name").to_ascii_uppercase());
    let elements = match (media.as_str(), encoding.as_str()) {
        ("video", "H264") => {
            let reason = "the camera's own H.264 is kept as it is";
            let kept = encode::kept_video(shared, "h264parse", false, "camera", reason)?;
            before("rtph264depay", kept)?
        }
        ("video", "H265") => {
            let reason = "the camera's own H.265 is kept as it is";
            let kept = encode::kept_video(shared, "h265parse", false, "camera", reason)?;
            before("rtph265depay", kept)?
        }
        ("audio", "MPEG4-GENERIC") => before("rtpmp4gdepay", encode::kept_audio(shared, false)?)?,
        ("video", _) => return decode(pipeline, shared, pad, &caps, &encoding),
        ("audio", _) if can_decode(&caps) => {
            return decode(pipeline, shared, pad, &caps, &encoding);
        }
        ("audio", _) => {
            tracing::warn!(source = %shared.name, codec = %encoding, "sound cannot be recorded");
            shared.give_up_audio();
            vec![encode::swallow()?]
        }
        _ => vec![encode::swallow()?],
    };
    encode::attach(pipeline, shared, pad, &elements)
}

fn before(
    depayloader: &str,
    mut rest: Vec<gst::Element>,
) -> Result<Vec<gst::Element>, SourceError> {
    rest.insert(0, make(depayloader)?);
    Ok(rest)
}

/// Whether a depayloader for this stream is known here.
fn can_decode(caps: &gst::Caps) -> bool {
    let depayloaders = gst::ElementFactory::factories_with_type(
        gst::ElementFactoryType::DEPAYLOADER,
        gst::Rank::MARGINAL,
    );
    depayloaders.iter().any(|f| f.can_sink_any_caps(caps))
}

/// Decodes what cannot be kept.
fn decode(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    pad: &gst::Pad,
    caps: &gst::Caps,
    encoding: &str,
) -> Result<(), SourceError> {
    if !can_decode(caps) || !exists("decodebin") {
        return Err(SourceError::Codec {
            source_name: shared.name.clone(),
            codec: encoding.to_owned(),
        });
    }
    let decoder = make("decodebin")?;
    decoder.set_property(
        "caps",
        gst::Caps::builder_full()
            .structure(gst::Structure::new_empty("video/x-raw"))
            .structure(gst::Structure::new_empty("audio/x-raw"))
            .build(),
    );
    let weak: glib::WeakRef<gst::Pipeline> = pipeline.downgrade();
    let for_pads = Arc::clone(shared);
    let codec = encoding.to_owned();
    decoder.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        if let Err(error) = continue_decoded(&pipeline, &for_pads, pad, &codec) {
            for_pads.fail(error);
        }
    });
    encode::attach(pipeline, shared, pad, &[decoder])
}

fn continue_decoded(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    pad: &gst::Pad,
    codec: &str,
) -> Result<(), SourceError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let is_video = caps.structure(0).is_some_and(|s| s.name() == "video/x-raw");
    let elements = if is_video {
        let picture = encode::Picture::from_caps(&caps, shared);
        let why = format!("the camera sends {codec}, which cannot be kept");
        encode::raw_video(shared, picture, false, Some(&why))?
    } else {
        encode::raw_audio(shared, false)?
    };
    let elements = if elements.is_empty() { vec![encode::swallow()?] } else { elements };
    encode::attach(pipeline, shared, pad, &elements)
}
