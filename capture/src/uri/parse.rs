//! The grammar of each kind of source URI.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::escape::decode;
use super::{
    MAX_TEST_FPS, MAX_TEST_HEIGHT, MAX_TEST_WIDTH, RtspAddress, SourceKind, TestPicture, UriError,
};

pub(super) fn parse_v4l2(rest: &str) -> Result<SourceKind, UriError> {
    let wrong = UriError::Part {
        scheme: "v4l2",
        part: "the device",
        expected: "a path below /dev, such as v4l2:///dev/video0",
    };
    let path = Path::new(rest);
    let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:+".contains(&b));
    let climbs = rest.split('/').any(|part| part == ".." || part == ".");
    if !rest.starts_with("/dev/") || rest.len() <= 5 || rest.ends_with('/') || !plain || climbs {
        return Err(wrong);
    }
    Ok(SourceKind::V4l2 { device: path.to_path_buf() })
}

pub(super) fn parse_libcamera(rest: &str) -> Result<SourceKind, UriError> {
    if rest.is_empty() {
        return Ok(SourceKind::Libcamera { id: None });
    }
    // Ids are device tree or ACPI paths: /base/axi/pcie@120000/rp1/i2c@80000/imx708@1a,
    // \_SB_.PCI0...
    let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:@\\,+".contains(&b));
    if !plain || rest.len() > 256 {
        return Err(UriError::Part {
            scheme: "libcamera",
            part: "the camera id",
            expected: "nothing, or the id that libcamera gives the camera",
        });
    }
    Ok(SourceKind::Libcamera { id: Some(rest.to_owned()) })
}

pub(super) fn parse_rtsp(tls: bool, rest: &str) -> Result<RtspAddress, UriError> {
    let scheme = if tls { "rtsps" } else { "rtsp" };
    let part = |part, expected| UriError::Part { scheme, part, expected };
    // Passwords are often typed without encoding, so the last @ before the path ends them.
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = match rest[..end].contains('@') || !rest[end..].contains('@') {
        true => rest.split_at(end),
        false => {
            return Err(part(
                "the user name or password",
                "the characters / ? # written as %2F %3F %23",
            ));
        }
    };
    let (userinfo, host_port) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let (host, port) = split_host_port(host_port)
        .ok_or_else(|| part("the host or port", "host, host:port or [address]:port"))?;
    let mut user = None;
    let mut password = None;
    if let Some(userinfo) = userinfo {
        let bad = || part("the user name or password", "valid percent-encoding");
        let (name, secret) = match userinfo.split_once(':') {
            Some((name, secret)) => (name, Some(secret)),
            None => (userinfo, None),
        };
        user = Some(Zeroizing::new(decode(name).ok_or_else(bad)?));
        if let Some(secret) = secret {
            password = Some(Zeroizing::new(decode(secret).ok_or_else(bad)?));
        }
    }
    let path = match path {
        "" => "/".to_owned(),
        p if p.starts_with('/') => p.to_owned(),
        p => format!("/{p}"),
    };
    Ok(RtspAddress {
        tls,
        host,
        port: port.unwrap_or(RtspAddress::default_port(tls)),
        path,
        user,
        password,
    })
}

pub(super) fn split_host_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if host.is_empty() || host.len() > 253 || !plain {
            return None;
        }
        (host, port)
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|p| *p != 0)?)
        }
        Some(_) => return None,
    };
    Some((host.to_owned(), port))
}

pub(super) fn parse_file(rest: &str) -> Result<SourceKind, UriError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.strip_prefix("localhost").unwrap_or(path);
    let decoded =
        decode(path).filter(|p| p.starts_with('/') && !p.contains('\0')).ok_or(UriError::Part {
            scheme: "file",
            part: "the path",
            expected: "an absolute path, percent-encoded, such as file:///srv/clip.mp4",
        })?;
    let mut repeat = false;
    for (name, value) in parameters(query) {
        match name {
            "loop" => repeat = switch("file", "loop", value)?,
            other => return Err(unknown("file", other, "loop")),
        }
    }
    Ok(SourceKind::File { path: PathBuf::from(decoded), repeat })
}

pub(super) fn parse_screen(rest: &str) -> Result<SourceKind, UriError> {
    rest.strip_prefix(':')
        .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|n| n.parse().ok())
        .map(|display| SourceKind::Screen { display })
        .ok_or(UriError::Part {
            scheme: "screen",
            part: "the display",
            expected: "a colon and a number, such as screen://:0",
        })
}

pub(super) fn parse_test(rest: &str) -> Result<TestPicture, UriError> {
    let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !matches!(host, "" | "/") {
        return Err(UriError::Part {
            scheme: "test",
            part: "what follows the slashes",
            expected: "nothing or parameters, such as test://?width=640",
        });
    }
    let mut picture = TestPicture::default();
    for (name, value) in parameters(query) {
        let number = value.parse::<u32>().ok();
        match name {
            "width" => {
                picture.width = number
                    .filter(|n| (64..=MAX_TEST_WIDTH).contains(n) && n % 2 == 0)
                    .ok_or(UriError::Parameter {
                        scheme: "test",
                        name: "width",
                        expected: "an even number from 64 to 3840",
                    })?;
            }
            "height" => {
                picture.height = number
                    .filter(|n| (64..=MAX_TEST_HEIGHT).contains(n) && n % 2 == 0)
                    .ok_or(UriError::Parameter {
                        scheme: "test",
                        name: "height",
                        expected: "an even number from 64 to 2160",
                    })?;
            }
            "fps" => {
                picture.fps = number.filter(|n| (1..=MAX_TEST_FPS).contains(n)).ok_or(
                    UriError::Parameter {
                        scheme: "test",
                        name: "fps",
                        expected: "a number from 1 to 60",
                    },
                )?;
            }
            "audio" => picture.audio = switch("test", "audio", value)?,
            other => return Err(unknown("test", other, "width, height, fps, audio")),
        }
    }
    Ok(picture)
}

pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")))
}

pub(super) fn switch(
    scheme: &'static str,
    name: &'static str,
    value: &str,
) -> Result<bool, UriError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(UriError::Parameter { scheme, name, expected: "0 or 1" }),
    }
}

pub(super) fn unknown(scheme: &'static str, name: &str, known: &'static str) -> UriError {
    UriError::UnknownParameter { scheme, name: name.chars().take(32).collect(), known }
}
