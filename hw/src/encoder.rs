//! Whether this board encodes H.264 in hardware.
//!
//! A device is believed when it behaves like an encoder, not when it is called one: it must list
//! H.264 on the side towards us and a raw format on the side towards it, accept both formats and
//! hand out buffers on both sides. What fails is kept with the reason and shown to the operator.
//! The software encoders are GStreamer elements and are chosen in the capture crate.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Board;
use crate::v4l2::{self, FourCc, Queue, Size, VideoNode, VideoNodes};

/// Raw formats an encoder may take, in the order of preference.
const RAW_FORMATS: [FourCc; 3] = [FourCc::YU12, FourCc::NV12, FourCc::YUYV];
/// Picture size of the trial; every H.264 encoder can do it.
const TRIAL_SIZE: Size = Size { width: 1280, height: 720 };

/// An encoder that accepted formats and buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct H264Encoder {
    /// Its video node.
    pub device: PathBuf,
    /// Its card name, such as `bcm2835-codec-encode`.
    pub name: String,
    /// The raw format it takes.
    pub raw: FourCc,
}

/// A memory-to-memory device that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Its video node.
    pub device: PathBuf,
    /// Its card name, or its node's path when it could not be asked.
    pub name: String,
    /// Whether it can be used.
    pub usable: bool,
    /// Why, or why not.
    pub reason: String,
}

/// What probing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderReport {
    /// The hardware encoder to use, if there is one.
    pub chosen: Option<H264Encoder>,
    /// One sentence for people: what was found, or why nothing was.
    pub reason: String,
    /// Every device that takes pictures in and gives something out, and every node that failed.
    pub considered: Vec<Considered>,
}

impl fmt::Display for EncoderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Looks at every video node of the machine.
pub fn probe(nodes: &dyn VideoNodes, board: &Board) -> EncoderReport {
    let paths = nodes.paths();
    let mut chosen = None;
    let mut considered = Vec::new();
    for path in &paths {
        let Some((found, raw)) = consider(nodes, path) else { continue };
        if let (None, Some(raw)) = (&chosen, raw) {
            let name = found.name.clone();
            chosen = Some(H264Encoder { device: path.clone(), name, raw });
        }
        considered.push(found);
    }
    let reason = reason(chosen.as_ref(), board, paths.len(), &considered);
    EncoderReport { chosen, reason, considered }
}

fn reason(
    chosen: Option<&H264Encoder>,
    board: &Board,
    nodes: usize,
    considered: &[Considered],
) -> String {
    if let Some(encoder) = chosen {
        return format!("{} at {} encodes H.264", encoder.name, encoder.device.display());
    }
    if board.kind.lacks_h264_encoder() {
        return format!("{} has no H.264 encoder", board.model);
    }
    match (nodes, considered.len()) {
        (0, _) => "there is no video device".to_owned(),
        (_, 0) => "no video device encodes anything".to_owned(),
        (_, 1) => "the one device that could be an encoder is none for H.264".to_owned(),
        (_, n) => format!("none of {n} devices that could be an encoder makes H.264"),
    }
}

/// `None` for a node that is no encoder and does not look like one, such as a camera.
fn consider(nodes: &dyn VideoNodes, path: &Path) -> Option<(Considered, Option<FourCc>)> {
    let refused = |name: String, reason: String| {
        let device = path.to_path_buf();
        Some((Considered { device, name, usable: false, reason }, None))
    };
    let own_name = || path.display().to_string();
    let node = match nodes.open(path) {
        Ok(node) => node,
        Err(error) => return refused(own_name(), format!("cannot be opened: {error}")),
    };
    let capability = match node.query_capability() {
        Ok(capability) => capability,
        Err(error) => return refused(own_name(), format!("does not answer: {error}")),
    };
    if !capability.is_memory_to_memory() {
        return None;
    }
    let (capture, output) = if capability.is_multi_planar() {
        (Queue::CaptureMplane, Queue::OutputMplane)
    } else {
        (Queue::Capture, Queue::Output)
    };
    match try_encode(node.as_ref(), capture, output) {
        Ok(raw) => {
            let reason = format!("takes {raw}, gives H264, gave buffers on both sides");
            let device = path.to_path_buf();
            Some((Considered { device, name: capability.card, usable: true, reason }, Some(raw)))
        }
        Err(reason) => refused(capability.card, reason),
    }
}

/// Goes through the set-up of the stateful encoder interface up to the buffers: coded format, raw
/// format, buffers. See "Memory-to-Memory Stateful Video Encoder Interface" in the kernel's
/// documentation.
fn try_encode(node: &dyn VideoNode, capture: Queue, output: Queue) -> Result<FourCc, String> {
    let list = |queue, side: &str| {
        v4l2::formats(node, queue).map_err(|error| format!("{side} formats: {error}"))
    };
    let coded = list(capture, "coded")?;
    if !coded.iter().any(|format| format.fourcc == FourCc::H264) {
        let gives: Vec<String> = coded.iter().take(4).map(|f| f.fourcc.to_string()).collect();
        return Err(match gives.len() {
            0 => "gives nothing".to_owned(),
            _ => format!("gives {}, not H264", gives.join(" ")),
        });
    }
    let offered = list(output, "raw")?;
    let raw = RAW_FORMATS
        .into_iter()
        .find(|raw| offered.iter().any(|format| format.fourcc == *raw))
        .ok_or_else(|| "gives H264 but takes no raw format known here".to_owned())?;
    for (queue, wanted) in [(capture, FourCc::H264), (output, raw)] {
        match node.set_format(queue, wanted, TRIAL_SIZE) {
            Ok(got) if got == wanted => {}
            Ok(got) => return Err(format!("lists {wanted} but sets {got}")),
            Err(error) => return Err(format!("refuses {wanted}: {error}")),
        }
    }
    let mut result = Ok(raw);
    for queue in [output, capture] {
        match node.request_buffers(queue, 1) {
            Ok(0) => result = Err("gives no buffers".to_owned()),
            Ok(_) => continue,
            Err(error) => result = Err(format!("gives no buffers: {error}")),
        }
        break;
    }
    for queue in [output, capture] {
        // Closing the file frees them too; a failure here changes nothing.
        let _freed = node.request_buffers(queue, 0);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::BoardKind;
    use crate::v4l2::recorded::{Recorded, pi4, pi5, uvc};

    const EBUSY: i32 = 16;
    const ENODEV: i32 = 19;

    fn board(kind: BoardKind, model: &str) -> Board {
        Board { model: model.to_owned(), revision: None, kind }
    }

    fn other() -> Board {
        board(BoardKind::Other, "some board")
    }

    fn looked_at<'a>(report: &'a EncoderReport, device: &str) -> &'a Considered {
        report.considered.iter().find(|c| c.device == Path::new(device)).unwrap()
    }

    #[test]
    fn the_pi_4_encoder_is_found_among_its_codecs() {
        let nodes = pi4();
        let report = probe(&nodes, &board(BoardKind::RaspberryPi4, "Raspberry Pi 4"));
        let chosen = report.chosen.as_ref().unwrap();
        assert_eq!(chosen.device, Path::new("/dev/video11"));
        assert_eq!((chosen.name.as_str(), chosen.raw), ("bcm2835-codec-encode", FourCc::YU12));
        assert!(report.reason.contains("/dev/video11 encodes H.264"), "{report}");
        assert!(looked_at(&report, "/dev/video10").reason.contains("not H264"));
        assert_eq!(looked_at(&report, "/dev/video31").reason, "gives JPEG, not H264");
        assert!(!report.considered.iter().any(|c| c.device == Path::new("/dev/video14")));
        assert_eq!(nodes.called("s_fmt"), 2, "only the encoder is tried");
        assert_eq!(nodes.called("free"), 2, "buffers are given back");
    }

    #[test]
    fn a_pi_5_has_none_whatever_its_devices_look_like() {
        let nodes = pi5();
        let report = probe(&nodes, &board(BoardKind::RaspberryPi5, "Raspberry Pi 5 Model B"));
        assert_eq!(report.chosen, None);
        assert_eq!(report.reason, "Raspberry Pi 5 Model B has no H.264 encoder");
        let devices: Vec<&str> =
            report.considered.iter().filter_map(|c| c.device.to_str()).collect();
        assert_eq!(devices, ["/dev/video19", "/dev/video20", "/dev/video21"]);
        assert!(report.considered.iter().all(|c| !c.usable && c.reason.contains("not H264")));
        assert_eq!(nodes.called("s_fmt"), 0);
    }

    #[test]
    fn cameras_are_not_touched_and_no_device_is_a_state() {
        let nodes = uvc();
        let report = probe(&nodes, &other());
        assert_eq!((report.chosen, report.considered.len()), (None, 0));
        assert_eq!(report.reason, "no video device encodes anything");
        assert_eq!(nodes.called("s_fmt") + nodes.called("enum_fmt"), 0);
        let report = probe(&Recorded::default(), &other());
        assert_eq!(report.reason, "there is no video device");
    }

    #[track_caller]
    fn refused(call: &'static str, errno: i32, words: &str) {
        let mut nodes = pi4();
        nodes.nodes.retain(|(path, _)| *path == "/dev/video11");
        nodes.nodes[0].1.fails.insert(call, errno);
        let report = probe(&nodes, &other());
        assert_eq!(report.chosen, None);
        let reason = &looked_at(&report, "/dev/video11").reason;
        assert!(reason.contains(words), "{words:?} is not in {reason:?}");
    }

    #[test]
    fn a_device_that_fails_is_left_out_with_the_reason() {
        refused("open", ENODEV, "cannot be opened: No such device");
        refused("querycap", ENODEV, "does not answer: No such device");
        refused("enum_fmt", ENODEV, "coded formats: No such device");
        refused("s_fmt", EBUSY, "refuses H264: Device or resource busy");
        refused("reqbufs", EBUSY, "gives no buffers: Device or resource busy");
    }

    #[test]
    fn the_next_device_is_taken_when_the_first_fails() {
        let mut nodes = pi4();
        let mut broken = nodes.nodes[1].clone();
        broken.0 = "/dev/video9";
        broken.1.fails.insert("reqbufs", EBUSY);
        nodes.nodes.insert(0, broken);
        let report = probe(&nodes, &other());
        assert_eq!(report.chosen.unwrap().device, Path::new("/dev/video11"));
    }

    #[test]
    fn a_list_that_lies_is_not_believed() {
        let mut nodes = pi4();
        nodes.nodes[1].1.coerced = Some("MJPG");
        let report = probe(&nodes, &other());
        assert_eq!(report.chosen, None);
        assert!(looked_at(&report, "/dev/video11").reason.contains("lists H264 but sets MJPG"));
        let mut nodes = pi4();
        nodes.nodes[1].1.no_buffers = true;
        assert_eq!(probe(&nodes, &other()).chosen, None);
        let mut nodes = pi4();
        nodes.nodes[1].1.output = vec!["BGR4"];
        assert!(looked_at(&probe(&nodes, &other()), "/dev/video11").reason.contains("no raw"));
    }

    #[test]
    fn an_endless_format_list_is_cut() {
        let mut nodes = pi4();
        nodes.nodes.truncate(1);
        nodes.nodes[0].1.capture = vec!["YU12"; 10_000];
        assert_eq!(probe(&nodes, &other()).chosen, None);
        assert_eq!(nodes.called("enum_fmt"), v4l2::MAX_FORMATS as usize);
    }
}
