//! What an error on the bus means for the operator.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use gstreamer as gst;

use super::tap::Shared;
use crate::source::SourceError;
use crate::uri::{RtspAddress, SourceKind};

/// How long asking a host why it did not answer may take, seconds.
const DIAGNOSIS_SECONDS: u64 = 2;
/// Longest text taken over from GStreamer, characters.
const MAX_DETAIL: usize = 200;

/// Turns an error message into the error that names the cause.
pub(super) fn explain(shared: &Shared, message: &gst::message::Error) -> SourceError {
    let error = message.error();
    let detail = clean(shared, error.message());
    // The debug text may hold addresses; it goes to nobody.
    match &shared.kind {
        SourceKind::Rtsp(address) => explain_rtsp(shared, address, &error, detail),
        SourceKind::File { .. } => {
            if matches!(
                error.kind::<gst::StreamError>(),
                Some(gst::StreamError::CodecNotFound | gst::StreamError::Decrypt)
            ) {
                SourceError::Codec { source_name: shared.name.clone(), codec: detail }
            } else if shared.has_pictures() {
                SourceError::BrokeOff { source_name: shared.name.clone(), detail }
            } else {
                SourceError::NotVideo { source_name: shared.name.clone(), detail }
            }
        }
        SourceKind::Screen { display } if !shared.has_pictures() => {
            SourceError::Screen { display: *display, detail }
        }
        SourceKind::V4l2 { device } => {
            let device = device.display().to_string();
            match error.kind::<gst::ResourceError>() {
                Some(gst::ResourceError::Busy) => SourceError::DeviceBusy { device },
                _ => SourceError::Device { device, detail },
            }
        }
        SourceKind::Libcamera { id } => SourceError::Device {
            device: id.clone().unwrap_or_else(|| "libcamera".to_owned()),
            detail,
        },
        _ => SourceError::BrokeOff { source_name: shared.name.clone(), detail },
    }
}

fn explain_rtsp(
    shared: &Shared,
    address: &RtspAddress,
    error: &gst::glib::Error,
    detail: String,
) -> SourceError {
    let source_name = shared.name.clone();
    if let Some(kind) = error.kind::<gst::StreamError>() {
        return match kind {
            gst::StreamError::CodecNotFound | gst::StreamError::WrongType => {
                SourceError::Codec { source_name, codec: detail }
            }
            _ => SourceError::BrokeOff { source_name, detail },
        };
    }
    if matches!(error.kind::<gst::CoreError>(), Some(gst::CoreError::MissingPlugin)) {
        return SourceError::Codec {
            source_name,
            codec: "a codec without a decoder here".to_owned(),
        };
    }
    match error.kind::<gst::ResourceError>() {
        Some(gst::ResourceError::NotAuthorized) => SourceError::Unauthorised { source_name },
        Some(gst::ResourceError::NotFound) if !shared.has_pictures() => {
            // Also said of a host name that is not known.
            diagnose(shared, address).unwrap_or(SourceError::NoSuchStream { source_name })
        }
        _ if shared.has_pictures() => SourceError::BrokeOff { source_name, detail },
        _ => match diagnose(shared, address) {
            Some(error) => error,
            None if address.tls => SourceError::Tls {
                host: address.host.clone(),
                port: address.port,
                detail: "the certificate is not trusted, or the port does not speak tls".to_owned(),
            },
            None => SourceError::Protocol { source_name, detail },
        },
    }
}

/// Knocks at the camera's port; `None` when somebody opens.
fn diagnose(shared: &Shared, address: &RtspAddress) -> Option<SourceError> {
    let host = address.host.clone();
    let port = address.port;
    let Some(target) =
        (host.as_str(), port).to_socket_addrs().ok().and_then(|mut found| found.next())
    else {
        return Some(SourceError::UnknownHost { host });
    };
    match TcpStream::connect_timeout(&target, Duration::from_secs(DIAGNOSIS_SECONDS)) {
        Ok(_) => None,
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            Some(SourceError::Refused { host, port })
        }
        Err(_) => Some(SourceError::Unreachable {
            host,
            port,
            seconds: shared.options.connect_timeout.as_secs(),
        }),
    }
}

/// One short line without addresses.
fn clean(shared: &Shared, text: &str) -> String {
    let mut text = text.replace(['\n', '\r', '\t'], " ");
    if let SourceKind::Rtsp(address) = &shared.kind {
        text = text.replace(address.location().as_str(), &shared.name);
        for secret in [address.user(), address.password(), Some(address.path.as_str())] {
            if let Some(secret) = secret.filter(|s| s.len() > 1) {
                text = text.replace(secret, "***");
            }
        }
    }
    let text = text.trim().trim_end_matches('.');
    let mut short: String = text.chars().take(MAX_DETAIL).collect();
    if let Some(first) = short.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    short
}
