//! Answers of real boards, for the tests. Caps and format lists are those the drivers give.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Capability, Format, FourCc, Queue, Size, VideoNode, VideoNodes, cap};

/// How a recorded node answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    pub driver: &'static str,
    pub card: &'static str,
    pub caps: u32,
    pub capture: Vec<&'static str>,
    pub output: Vec<&'static str>,
    pub sizes: Vec<(u32, u32)>,
    /// Calls that fail, by name, with an errno.
    pub fails: BTreeMap<&'static str, i32>,
    /// What S_FMT answers instead of what was asked.
    pub coerced: Option<&'static str>,
    /// Gives no buffers, without an error.
    pub no_buffers: bool,
    pub stable: Option<&'static str>,
}

/// A machine that answers from a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded {
    pub nodes: Vec<(&'static str, Answers)>,
    /// Calls made, in order, to see what was asked of whom.
    pub calls: Arc<Mutex<Vec<String>>>,
}

struct Node {
    name: String,
    answers: Answers,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Recorded {
    pub(crate) fn new(nodes: Vec<(&'static str, Answers)>) -> Self {
        Self { nodes, calls: Arc::default() }
    }

    pub(crate) fn called(&self, what: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| call.contains(what)).count()
    }
}

fn code(text: &str) -> FourCc {
    FourCc(text.as_bytes().try_into().unwrap())
}

impl VideoNodes for Recorded {
    fn paths(&self) -> Vec<PathBuf> {
        self.nodes.iter().map(|(path, _)| PathBuf::from(path)).collect()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VideoNode>> {
        let (name, answers) =
            self.nodes.iter().find(|(name, _)| Path::new(name) == path).unwrap().clone();
        let node = Node { name: name.to_owned(), answers, calls: Arc::clone(&self.calls) };
        node.fail("open")?;
        Ok(Box::new(node))
    }

    fn stable_path(&self, path: &Path) -> Option<PathBuf> {
        let (_, answers) = self.nodes.iter().find(|(name, _)| Path::new(name) == path)?;
        answers.stable.map(PathBuf::from)
    }
}

impl Node {
    fn fail(&self, call: &'static str) -> io::Result<()> {
        self.calls.lock().unwrap().push(format!("{} {call}", self.name));
        match self.answers.fails.get(call) {
            Some(errno) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(()),
        }
    }

    fn list(&self, queue: Queue) -> &[&'static str] {
        let planar = matches!(queue, Queue::CaptureMplane | Queue::OutputMplane);
        let own = Capability {
            driver: String::new(),
            card: String::new(),
            bus: String::new(),
            caps: self.answers.caps,
        };
        // A driver knows only its own kind of queue.
        if planar != own.is_multi_planar() {
            return &[];
        }
        match queue {
            Queue::Capture | Queue::CaptureMplane => &self.answers.capture,
            Queue::Output | Queue::OutputMplane => &self.answers.output,
        }
    }
}

impl VideoNode for Node {
    fn query_capability(&self) -> io::Result<Capability> {
        self.fail("querycap")?;
        Ok(Capability {
            driver: self.answers.driver.to_owned(),
            card: self.answers.card.to_owned(),
            bus: "platform:test".to_owned(),
            caps: self.answers.caps,
        })
    }

    fn format(&self, queue: Queue, index: u32) -> io::Result<Option<Format>> {
        self.fail("enum_fmt")?;
        let entry = self.list(queue).get(index as usize);
        Ok(entry.map(|name| Format { fourcc: code(name), description: (*name).to_owned() }))
    }

    fn size(&self, _fourcc: FourCc, index: u32) -> io::Result<Option<Size>> {
        let size = self.answers.sizes.get(index as usize);
        Ok(size.map(|(width, height)| Size { width: *width, height: *height }))
    }

    fn set_format(&self, queue: Queue, fourcc: FourCc, _size: Size) -> io::Result<FourCc> {
        self.fail("s_fmt")?;
        let known = self.list(queue).iter().any(|name| code(name) == fourcc);
        let answer = if known { Some(fourcc) } else { self.list(queue).first().map(|n| code(n)) };
        let answer = self.answers.coerced.map(code).or(answer);
        answer.ok_or_else(|| io::Error::from_raw_os_error(22))
    }

    fn request_buffers(&self, _queue: Queue, count: u32) -> io::Result<u32> {
        self.fail(if count == 0 { "free" } else { "reqbufs" })?;
        Ok(if self.answers.no_buffers { 0 } else { count })
    }
}

const M2M_MPLANE: u32 = cap::VIDEO_M2M_MPLANE | cap::STREAMING | cap::DEVICE_CAPS | 0x20_0000;
const RAW: [&str; 4] = ["YU12", "YV12", "NV12", "NV21"];

/// A Raspberry Pi 4 with Raspberry Pi's kernel.
pub(crate) fn pi4() -> Recorded {
    let codec = |card, capture: &[&'static str], output: &[&'static str]| Answers {
        driver: "bcm2835-codec",
        card,
        caps: M2M_MPLANE,
        capture: capture.to_vec(),
        output: output.to_vec(),
        ..Answers::default()
    };
    Recorded::new(vec![
        ("/dev/video10", codec("bcm2835-codec-decode", &RAW, &["H264", "MJPG"])),
        ("/dev/video11", codec("bcm2835-codec-encode", &["H264", "MJPG"], &RAW)),
        ("/dev/video12", codec("bcm2835-codec-isp", &RAW, &RAW)),
        (
            "/dev/video14",
            Answers {
                driver: "bcm2835-isp",
                card: "bcm2835-isp",
                caps: cap::VIDEO_CAPTURE | cap::STREAMING,
                capture: RAW.to_vec(),
                ..Answers::default()
            },
        ),
        ("/dev/video18", codec("bcm2835-codec-image_fx", &RAW, &RAW)),
        (
            "/dev/video19",
            Answers {
                driver: "rpivid",
                card: "rpivid",
                caps: M2M_MPLANE,
                capture: vec!["NC12"],
                output: vec!["S265"],
                ..Answers::default()
            },
        ),
        ("/dev/video31", codec("bcm2835-codec-encode_image", &["JPEG"], &RAW)),
    ])
}

/// A Raspberry Pi 5 with Raspberry Pi's kernel: camera front end, image processor, HEVC decoder.
pub(crate) fn pi5() -> Recorded {
    let cfe = Answers {
        driver: "rp1-cfe",
        card: "rp1-cfe",
        caps: cap::VIDEO_CAPTURE | cap::META_CAPTURE | cap::STREAMING,
        capture: vec!["YUYV", "RGB3", "pBAA"],
        ..Answers::default()
    };
    let pispbe = Answers {
        driver: "pispbe",
        card: "pispbe",
        caps: cap::VIDEO_CAPTURE_MPLANE | cap::VIDEO_OUTPUT_MPLANE | cap::STREAMING,
        capture: RAW.to_vec(),
        output: RAW.to_vec(),
        ..Answers::default()
    };
    let hevc = Answers {
        driver: "rpi-hevc-dec",
        card: "rpi-hevc-dec",
        caps: M2M_MPLANE,
        capture: vec!["NC12", "NC30"],
        output: vec!["S265"],
        ..Answers::default()
    };
    Recorded::new(vec![
        ("/dev/video0", cfe.clone()),
        ("/dev/video1", cfe),
        ("/dev/video19", hevc),
        ("/dev/video20", pispbe.clone()),
        ("/dev/video21", pispbe),
    ])
}

/// A USB camera with its metadata node.
pub(crate) fn uvc() -> Recorded {
    Recorded::new(vec![
        (
            "/dev/video0",
            Answers {
                driver: "uvcvideo",
                card: "HD Pro Webcam C920",
                caps: cap::VIDEO_CAPTURE | cap::STREAMING,
                capture: vec!["YUYV", "MJPG", "H264"],
                sizes: vec![(640, 480), (1920, 1080), (1280, 720)],
                stable: Some("/dev/v4l/by-id/usb-046d_C920-video-index0"),
                ..Answers::default()
            },
        ),
        (
            "/dev/video1",
            Answers {
                driver: "uvcvideo",
                card: "HD Pro Webcam C920",
                caps: cap::META_CAPTURE | cap::STREAMING,
                ..Answers::default()
            },
        ),
    ])
}
