//! Which encoder turns raw pictures into H.264 on this machine, and why that one.
//!
//! Hardware is probed by the `hw` crate (formats and buffers, not names) and given in; software is
//! probed by asking which GStreamer elements exist. Pure: both come as arguments.

use crate::media::EncoderNote;

/// Software encoders in the order of preference, with the reason the operator reads.
const SOFTWARE: [(&str, &str); 3] = [
    ("x264enc", "x264 gives the best picture for its work"),
    ("openh264enc", "x264enc is not installed"),
    ("jpegenc", "neither x264enc nor openh264enc is installed; MJPEG needs many times the space"),
];

/// Software sound encoders in the order of preference.
const SOUND: [&str; 4] = ["fdkaacenc", "avenc_aac", "voaacenc", "opusenc"];

/// What probing the board's own encoders found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HardwareEncoder {
    /// A memory-to-memory H.264 encoder that accepted formats and buffers.
    Usable {
        /// Its device node.
        device: String,
        /// Its driver or card.
        name: String,
    },
    /// None, and why.
    None {
        /// Such as `this board has no H.264 encoder`.
        reason: String,
    },
}

/// The encoder for pictures and the one for sound, with the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderPlan {
    /// Encoder of pictures: element name, hardware or not, reason. `None` when nothing at all is
    /// installed.
    pub video: Option<EncoderNote>,
    /// Element that encodes sound; `None` when nothing is installed, then raw sound is left out.
    pub audio: Option<String>,
}

impl EncoderPlan {
    /// Chooses. `exists` says whether a GStreamer element can be made; `wanted` is the operator's
    /// own choice, taken if it exists.
    pub fn choose(
        hardware: &HardwareEncoder,
        wanted: Option<&str>,
        exists: &dyn Fn(&str) -> bool,
    ) -> Self {
        let audio = SOUND.iter().find(|name| exists(name)).map(|name| (*name).to_owned());
        Self { video: choose_video(hardware, wanted, exists), audio }
    }
}

fn choose_video(
    hardware: &HardwareEncoder,
    wanted: Option<&str>,
    exists: &dyn Fn(&str) -> bool,
) -> Option<EncoderNote> {
    let software = |name: &str, reason: String| EncoderNote {
        name: name.to_owned(),
        hardware: false,
        passthrough: false,
        reason,
    };
    let mut before = String::new();
    if let Some(wanted) = wanted {
        if SOFTWARE.iter().any(|(name, _)| *name == wanted) && exists(wanted) {
            return Some(software(wanted, format!("software: {wanted}; chosen by the operator")));
        }
        before = format!("{wanted} was wanted but is not installed or not known; ");
    }
    let why_no_hardware = match hardware {
        HardwareEncoder::Usable { device, name } if exists("v4l2h264enc") => {
            return Some(EncoderNote {
                name: "v4l2h264enc".to_owned(),
                hardware: true,
                passthrough: false,
                reason: format!("{before}hardware: {name} at {device}"),
            });
        }
        HardwareEncoder::Usable { device, .. } => {
            format!("the encoder at {device} has no gstreamer element")
        }
        HardwareEncoder::None { reason } => reason.clone(),
    };
    SOFTWARE.iter().find(|(name, _)| exists(name)).map(|(name, why)| {
        software(name, format!("{before}software: {name}; {why_no_hardware}; {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> HardwareEncoder {
        HardwareEncoder::None { reason: "this board has no H.264 encoder".to_owned() }
    }

    #[test]
    fn a_board_without_encoder_gets_x264_and_says_so() {
        let plan = EncoderPlan::choose(&none(), None, &|_| true);
        let note = plan.video.unwrap();
        assert_eq!((note.name.as_str(), note.hardware), ("x264enc", false));
        assert!(note.reason.starts_with("software: x264enc; this board has no H.264 encoder"));
    }

    #[test]
    fn hardware_counts_only_with_its_element() {
        let usable =
            HardwareEncoder::Usable { device: "/dev/video11".into(), name: "bcm2835-codec".into() };
        let with = EncoderPlan::choose(&usable, None, &|_| true).video.unwrap();
        assert!(with.hardware && with.reason.contains("/dev/video11"));
        let without =
            EncoderPlan::choose(&usable, None, &|name| name == "openh264enc").video.unwrap();
        assert!(!without.hardware && without.reason.contains("no gstreamer element"));
    }

    #[test]
    fn each_fallback_is_taken_in_turn_and_explained() {
        let note = EncoderPlan::choose(&none(), None, &|n| n == "jpegenc").video.unwrap();
        assert!(note.name == "jpegenc" && note.reason.contains("many times the space"));
        assert_eq!(EncoderPlan::choose(&none(), None, &|_| false).video, None);
        assert_eq!(EncoderPlan::choose(&none(), None, &|_| false).audio, None);
    }

    #[test]
    fn the_operators_choice_wins_if_it_exists() {
        let note = EncoderPlan::choose(&none(), Some("openh264enc"), &|_| true).video.unwrap();
        assert_eq!(note.name, "openh264enc");
        let note = EncoderPlan::choose(&none(), Some("nvh264enc"), &|_| true).video.unwrap();
        assert!(note.name == "x264enc" && note.reason.contains("nvh264enc was wanted"));
    }
}
