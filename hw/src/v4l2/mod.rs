//! Just enough of Video4Linux2 to ask a device what it is: QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES,
//! S_FMT and REQBUFS. No picture is ever moved here; capture does that through GStreamer.
//!
//! [`VideoNodes`] is the seam: [`System`] asks the kernel, tests answer from recordings of boards.
//! Specification: <https://docs.kernel.org/userspace-api/media/v4l/v4l2.html>.

mod sys;

#[cfg(test)]
pub(crate) mod recorded;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use sys::System;

/// Video nodes looked at, at most; the kernel has at most this many.
pub const MAX_NODES: usize = 256;
/// Formats asked from one queue, at most. A driver that never ends its list is cut here.
pub const MAX_FORMATS: u32 = 64;
/// Frame sizes asked for one format, at most.
pub const MAX_SIZES: u32 = 64;

/// Capability bits (`V4L2_CAP_*`).
pub mod cap {
    /// Single-planar capture.
    pub const VIDEO_CAPTURE: u32 = 0x0000_0001;
    /// Single-planar output.
    pub const VIDEO_OUTPUT: u32 = 0x0000_0002;
    /// Multi-planar capture.
    pub const VIDEO_CAPTURE_MPLANE: u32 = 0x0000_1000;
    /// Multi-planar output.
    pub const VIDEO_OUTPUT_MPLANE: u32 = 0x0000_2000;
    /// Multi-planar memory to memory.
    pub const VIDEO_M2M_MPLANE: u32 = 0x0000_4000;
    /// Single-planar memory to memory.
    pub const VIDEO_M2M: u32 = 0x0000_8000;
    /// Metadata capture, such as the second node of a UVC camera.
    pub const META_CAPTURE: u32 = 0x0080_0000;
    /// Streaming I/O.
    pub const STREAMING: u32 = 0x0400_0000;
    /// `device_caps` is filled in.
    pub const DEVICE_CAPS: u32 = 0x8000_0000;
}

/// A pixel format code of four characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    /// H.264 with start codes, the output of an encoder.
    pub const H264: Self = Self(*b"H264");
    /// Motion JPEG.
    pub const MJPG: Self = Self(*b"MJPG");
    /// 4:2:0 in three planes.
    pub const YU12: Self = Self(*b"YU12");
    /// 4:2:0 in two planes.
    pub const NV12: Self = Self(*b"NV12");
    /// 4:2:2 packed.
    pub const YUYV: Self = Self(*b"YUYV");
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            // The top bit of the last character marks big-endian variants.
            let c = char::from(byte & 0x7f);
            write!(f, "{}", if c.is_ascii_graphic() { c } else { ' ' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FourCc({self})")
    }
}

/// Answer to VIDIOC_QUERYCAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Kernel driver.
    pub driver: String,
    /// Name of the device.
    pub card: String,
    /// Where it hangs, such as `usb-0000:01:00.0-1.2`.
    pub bus: String,
    /// [`cap`] bits of this very node.
    pub caps: u32,
}

impl Capability {
    /// Whether the node takes pictures in and gives pictures out. Says nothing about what it does
    /// to them: the Pi 5's image processor looks like this too and encodes nothing.
    pub fn is_memory_to_memory(&self) -> bool {
        let output = cap::VIDEO_OUTPUT | cap::VIDEO_OUTPUT_MPLANE;
        let capture = cap::VIDEO_CAPTURE | cap::VIDEO_CAPTURE_MPLANE;
        self.caps & (cap::VIDEO_M2M | cap::VIDEO_M2M_MPLANE) != 0
            || (self.caps & output != 0 && self.caps & capture != 0)
    }

    /// Whether pictures can be streamed out of it.
    pub fn is_capture(&self) -> bool {
        let capture = cap::VIDEO_CAPTURE | cap::VIDEO_CAPTURE_MPLANE;
        self.caps & capture != 0 && self.caps & cap::STREAMING != 0 && !self.is_memory_to_memory()
    }

    /// Whether its queues are multi-planar.
    pub fn is_multi_planar(&self) -> bool {
        let planar = cap::VIDEO_M2M_MPLANE | cap::VIDEO_CAPTURE_MPLANE | cap::VIDEO_OUTPUT_MPLANE;
        self.caps & planar != 0
    }
}

/// One of a device's two queues (`V4L2_BUF_TYPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Towards the application.
    Capture,
    /// Towards the device.
    Output,
    /// Towards the application, multi-planar.
    CaptureMplane,
    /// Towards the device, multi-planar.
    OutputMplane,
}

/// One entry of a format list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Pixel format.
    pub fourcc: FourCc,
    /// The driver's words for it.
    pub description: String,
}

/// Picture size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// An open video node.
pub trait VideoNode {
    /// What it is.
    fn query_capability(&self) -> io::Result<Capability>;
    /// Entry `index` of a queue's format list; `None` behind its end.
    fn format(&self, queue: Queue, index: u32) -> io::Result<Option<Format>>;
    /// Largest size of entry `index` of a format's size list; `None` behind its end.
    fn size(&self, fourcc: FourCc, index: u32) -> io::Result<Option<Size>>;
    /// Sets a queue's format and answers what the driver made of it. Only this open file is
    /// affected on memory-to-memory devices; do not call it on cameras.
    fn set_format(&self, queue: Queue, fourcc: FourCc, size: Size) -> io::Result<FourCc>;
    /// Asks for `count` buffers (0 frees them) and answers how many there are.
    fn request_buffers(&self, queue: Queue, count: u32) -> io::Result<u32>;
}

/// The video nodes of a machine.
pub trait VideoNodes {
    /// Paths of all nodes in the order of their numbers, at most [`MAX_NODES`].
    fn paths(&self) -> Vec<PathBuf>;
    /// Opens one.
    fn open(&self, path: &Path) -> io::Result<Box<dyn VideoNode>>;
    /// The name of a node that stays the same when devices are plugged in another order, where
    /// udev made one.
    fn stable_path(&self, path: &Path) -> Option<PathBuf>;
}

/// A queue's whole format list, at most [`MAX_FORMATS`] entries.
pub fn formats(node: &dyn VideoNode, queue: Queue) -> io::Result<Vec<Format>> {
    let mut formats = Vec::new();
    for index in 0..MAX_FORMATS {
        match node.format(queue, index)? {
            Some(format) => formats.push(format),
            None => break,
        }
    }
    Ok(formats)
}

/// The sizes a format comes in, largest first, at most [`MAX_SIZES`]; empty when the driver does
/// not say.
pub fn sizes(node: &dyn VideoNode, fourcc: FourCc) -> Vec<Size> {
    let mut sizes = Vec::new();
    for index in 0..MAX_SIZES {
        match node.size(fourcc, index) {
            Ok(Some(size)) => sizes.push(size),
            Ok(None) | Err(_) => break,
        }
    }
    sizes.sort_unstable_by_key(|size| std::cmp::Reverse((size.width, size.height)));
    sizes.dedup();
    sizes
}
