//! Which of a camera's modes is recorded.

use gstreamer as gst;

/// How a camera delivers its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    H264,
    Mjpeg,
    Raw,
}

impl Format {
    pub fn caps_name(self) -> &'static str {
        match self {
            Self::H264 => "video/x-h264",
            Self::Mjpeg => "image/jpeg",
            Self::Raw => "video/x-raw",
        }
    }
}

/// One mode; `fps` 0 when the camera does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub format: Format,
    pub width: u32,
    pub height: u32,
    pub fps: u32,
}

/// What the operator allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub width: u32,
    pub height: u32,
    pub fps: u32,
}

/// Most modes that are looked at; cameras have some tens.
const MAX_MODES: usize = 1024;

/// The best mode within the limits, or the smallest when all are larger: size first up to the
/// limits, then whether the rate reaches 15, then the camera's own H.264, then rate, then raw
/// before MJPEG.
pub(super) fn best(modes: &[Mode], limits: Limits) -> Option<Mode> {
    let within = |m: &&Mode| m.width <= limits.width && m.height <= limits.height;
    let pixels = |m: &Mode| u64::from(m.width) * u64::from(m.height);
    let fluent = limits.fps.min(15);
    modes
        .iter()
        .filter(within)
        .max_by_key(|m| {
            let fluently = m.fps >= fluent || m.fps == 0;
            (
                fluently,
                pixels(m),
                m.format == Format::H264,
                m.fps.min(limits.fps),
                m.format == Format::Raw,
            )
        })
        .or_else(|| modes.iter().min_by_key(|m| pixels(m)))
        .map(|m| Mode { fps: if m.fps > limits.fps { limits.fps } else { m.fps }, ..*m })
}

/// Reads the modes out of a camera's caps; ranges give their largest values.
pub(super) fn modes(caps: &gst::CapsRef) -> Vec<Mode> {
    let mut found = Vec::new();
    for s in caps.iter() {
        let format = match s.name().as_str() {
            "video/x-h264" => Format::H264,
            "image/jpeg" => Format::Mjpeg,
            "video/x-raw" => Format::Raw,
            _ => continue,
        };
        let (Some(width), Some(height)) = (largest(s, "width"), largest(s, "height")) else {
            continue;
        };
        if found.len() < MAX_MODES {
            found.push(Mode { format, width, height, fps: rate(s) });
        }
    }
    found
}

fn largest(s: &gst::StructureRef, name: &str) -> Option<u32> {
    let number = s
        .get::<i32>(name)
        .ok()
        .or_else(|| s.get::<gst::IntRange<i32>>(name).ok().map(|r| r.max()))
        .or_else(|| {
            let list = s.get::<gst::List>(name).ok()?;
            list.iter().filter_map(|v| v.get::<i32>().ok()).max()
        })?;
    u32::try_from(number).ok().filter(|n| *n > 0)
}

fn rate(s: &gst::StructureRef) -> u32 {
    let whole = |f: gst::Fraction| match f.denom() {
        0 => 0,
        denom => u32::try_from(f.numer() / denom).unwrap_or(0),
    };
    s.get::<gst::Fraction>("framerate")
        .ok()
        .or_else(|| s.get::<gst::FractionRange>("framerate").ok().map(|r| r.max()))
        .map(whole)
        .or_else(|| {
            let list = s.get::<gst::List>("framerate").ok()?;
            list.iter().filter_map(|v| v.get::<gst::Fraction>().ok()).map(whole).max()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { width: 1920, height: 1080, fps: 30 };

    fn mode(format: Format, width: u32, height: u32, fps: u32) -> Mode {
        Mode { format, width, height, fps }
    }

    #[test]
    fn a_webcam_that_is_fast_only_as_mjpeg_gives_mjpeg() {
        let webcam = [
            mode(Format::Raw, 640, 480, 30),
            mode(Format::Raw, 1920, 1080, 5),
            mode(Format::Mjpeg, 1920, 1080, 30),
            mode(Format::Mjpeg, 3840, 2160, 30),
        ];
        assert_eq!(best(&webcam, LIMITS), Some(webcam[2]));
    }

    #[test]
    fn the_cameras_own_h264_is_preferred_at_the_same_size() {
        let webcam = [
            mode(Format::Raw, 1920, 1080, 60),
            mode(Format::H264, 1920, 1080, 30),
            mode(Format::Mjpeg, 1920, 1080, 60),
        ];
        assert_eq!(best(&webcam, LIMITS), Some(webcam[1]));
    }

    #[test]
    fn raw_is_preferred_to_mjpeg_and_rates_are_limited() {
        let webcam = [mode(Format::Mjpeg, 1280, 720, 60), mode(Format::Raw, 1280, 720, 60)];
        assert_eq!(best(&webcam, LIMITS), Some(mode(Format::Raw, 1280, 720, 30)));
    }

    #[test]
    fn a_camera_with_large_modes_only_gives_its_smallest() {
        let camera = [mode(Format::Raw, 4056, 3040, 10), mode(Format::Raw, 2028, 1520, 40)];
        assert_eq!(best(&camera, LIMITS).map(|m| m.width), Some(2028));
        assert_eq!(best(&[], LIMITS), None);
    }

    #[test]
    fn caps_of_every_shape_are_read() {
        gst::init().unwrap();
        let caps: gst::Caps = "video/x-raw, format=YUY2, width=640, height=480, \
             framerate={ (fraction)30/1, (fraction)15/1 }; \
             image/jpeg, width=[ 2, 1920 ], height=[ 2, 1080 ], framerate=[ 0/1, 30/1 ]; \
             video/x-h264, width={ 320, 1280 }, height={ 240, 720 }; \
             video/x-bayer, width=1, height=1"
            .parse()
            .unwrap();
        assert_eq!(
            modes(&caps),
            [
                mode(Format::Raw, 640, 480, 30),
                mode(Format::Mjpeg, 1920, 1080, 30),
                mode(Format::H264, 1280, 720, 0)
            ]
        );
    }
}
