//! The ioctls themselves: the only `unsafe` of the whole workspace.
//!
//! Justification: the kernel has no other interface for these questions; the `v4l` crate knows
//! neither multi-planar nor memory-to-memory devices, and a media framework would load plugins to
//! answer what five structures can. Layouts are those of `linux/videodev2.h`; their sizes are part
//! of the request number, so the kernel refuses a call whose structure does not match.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use super::{Capability, Format, FourCc, MAX_NODES, Queue, Size, VideoNode, VideoNodes, cap};
use crate::machine::by_number;

/// `struct v4l2_capability`.
#[repr(C)]
struct RawCapability {
    driver: [u8; 16],
    card: [u8; 32],
    bus_info: [u8; 32],
    version: u32,
    capabilities: u32,
    device_caps: u32,
    reserved: [u32; 3],
}

/// `struct v4l2_fmtdesc`.
#[repr(C)]
struct RawFormatDescription {
    index: u32,
    kind: u32,
    flags: u32,
    description: [u8; 32],
    pixel_format: [u8; 4],
    mbus_code: u32,
    reserved: [u32; 3],
}

/// `struct v4l2_frmsizeenum`; the union holds width and height, or six words of a range.
#[repr(C)]
struct RawFrameSize {
    index: u32,
    pixel_format: [u8; 4],
    kind: u32,
    union: [u32; 6],
    reserved: [u32; 2],
}

/// The union of `struct v4l2_format`: 200 bytes, aligned like the pointers in one of its members.
#[cfg_attr(target_pointer_width = "64", repr(C, align(8)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(C, align(4)))]
struct RawFormatUnion {
    words: [u32; 50],
}

/// `struct v4l2_format`.
#[repr(C)]
struct RawFormat {
    kind: u32,
    union: RawFormatUnion,
}

/// `struct v4l2_requestbuffers`.
#[repr(C)]
struct RawRequestBuffers {
    count: u32,
    kind: u32,
    memory: u32,
    capabilities: u32,
    flags: u8,
    reserved: [u8; 3],
}

const _: () = {
    assert!(size_of::<RawCapability>() == 104);
    assert!(size_of::<RawFormatDescription>() == 64);
    assert!(size_of::<RawFrameSize>() == 44);
    assert!(size_of::<RawFormat>() == 200 + size_of::<usize>());
    assert!(size_of::<RawRequestBuffers>() == 20);
};

const VIDIOC_QUERYCAP: Opcode = opcode::read::<RawCapability>(b'V', 0);
const VIDIOC_ENUM_FMT: Opcode = opcode::read_write::<RawFormatDescription>(b'V', 2);
const VIDIOC_S_FMT: Opcode = opcode::read_write::<RawFormat>(b'V', 5);
const VIDIOC_REQBUFS: Opcode = opcode::read_write::<RawRequestBuffers>(b'V', 8);
const VIDIOC_ENUM_FRAMESIZES: Opcode = opcode::read_write::<RawFrameSize>(b'V', 74);

/// `V4L2_MEMORY_MMAP`.
const MEMORY_MMAP: u32 = 1;
/// `V4L2_FIELD_NONE`: progressive.
const FIELD_NONE: u32 = 1;
/// `V4L2_FRMSIZE_TYPE_DISCRETE`.
const FRAME_SIZE_DISCRETE: u32 = 1;
/// Word of `num_planes` in `struct v4l2_pix_format_mplane`: after five words and eight plane
/// formats of five words each. It is the first byte of that word.
const NUM_PLANES_WORD: usize = 5 + 8 * 5;
/// Room asked for one coded picture (bytes).
const CODED_PICTURE_BYTES: u32 = 1 << 20;

/// The running kernel's video nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct System(());

impl System {
    /// Asks nothing yet.
    pub fn new() -> Self {
        Self(())
    }
}

impl VideoNodes for System {
    fn paths(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| {
                let number = name.strip_prefix("video");
                number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            })
            .collect();
        names.sort_by_key(|name| by_number(name));
        names.truncate(MAX_NODES);
        names.into_iter().map(|name| Path::new("/dev").join(name)).collect()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VideoNode>> {
        // Non-blocking: a node whose driver waits for hardware must not hold us.
        let flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        Ok(Box::new(Node { file }))
    }

    fn stable_path(&self, path: &Path) -> Option<PathBuf> {
        ["/dev/v4l/by-id", "/dev/v4l/by-path"].into_iter().find_map(|dir| {
            let mut links: Vec<PathBuf> =
                std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
            links.sort();
            links.into_iter().find(|link| link.canonicalize().is_ok_and(|target| target == path))
        })
    }
}

/// An open node of the running kernel.
struct Node {
    file: File,
}

impl Node {
    /// One ioctl that reads and writes `value`.
    ///
    /// # Safety
    ///
    /// `value` must be the structure that the kernel expects for `OPCODE`, valid for every bit
    /// pattern the kernel may write into it.
    #[allow(unsafe_code)]
    unsafe fn call<const OPCODE: Opcode, T>(&self, value: &mut T) -> Result<(), Errno> {
        // SAFETY: the caller pairs the opcode with its structure; `value` is borrowed for the call
        // and the kernel keeps no pointer to it.
        unsafe { ioctl(&self.file, Updater::<OPCODE, T>::new(value)) }
    }
}

impl VideoNode for Node {
    #[allow(unsafe_code)]
    fn query_capability(&self) -> io::Result<Capability> {
        let mut raw = RawCapability {
            driver: [0; 16],
            card: [0; 32],
            bus_info: [0; 32],
            version: 0,
            capabilities: 0,
            device_caps: 0,
            reserved: [0; 3],
        };
        // SAFETY: VIDIOC_QUERYCAP takes `struct v4l2_capability`, integers and bytes only.
        unsafe { self.call::<VIDIOC_QUERYCAP, _>(&mut raw) }?;
        let own = raw.capabilities & cap::DEVICE_CAPS != 0;
        Ok(Capability {
            driver: text(&raw.driver),
            card: text(&raw.card),
            bus: text(&raw.bus_info),
            caps: if own { raw.device_caps } else { raw.capabilities },
        })
    }

    #[allow(unsafe_code)]
    fn format(&self, queue: Queue, index: u32) -> io::Result<Option<Format>> {
        let mut raw = RawFormatDescription {
            index,
            kind: queue_number(queue),
            flags: 0,
            description: [0; 32],
            pixel_format: [0; 4],
            mbus_code: 0,
            reserved: [0; 3],
        };
        // SAFETY: VIDIOC_ENUM_FMT takes `struct v4l2_fmtdesc`, integers and bytes only.
        let answer = unsafe { self.call::<VIDIOC_ENUM_FMT, _>(&mut raw) };
        end_of_list(answer, || Format {
            fourcc: FourCc(raw.pixel_format),
            description: text(&raw.description),
        })
    }

    #[allow(unsafe_code)]
    fn size(&self, fourcc: FourCc, index: u32) -> io::Result<Option<Size>> {
        let mut raw = RawFrameSize {
            index,
            pixel_format: fourcc.0,
            kind: 0,
            union: [0; 6],
            reserved: [0; 2],
        };
        // SAFETY: VIDIOC_ENUM_FRAMESIZES takes `struct v4l2_frmsizeenum`, integers only.
        let answer = unsafe { self.call::<VIDIOC_ENUM_FRAMESIZES, _>(&mut raw) };
        end_of_list(answer, || match (raw.kind, raw.union) {
            (FRAME_SIZE_DISCRETE, [width, height, ..]) => Size { width, height },
            // A range: minimum, maximum and step of the width, then of the height.
            (_, [_, width, _, _, height, _]) => Size { width, height },
        })
    }

    #[allow(unsafe_code)]
    fn set_format(&self, queue: Queue, fourcc: FourCc, size: Size) -> io::Result<FourCc> {
        let mut words = [0_u32; 50];
        words[0] = size.width;
        words[1] = size.height;
        words[2] = u32::from_ne_bytes(fourcc.0);
        words[3] = FIELD_NONE;
        let coded = if fourcc == FourCc::H264 { CODED_PICTURE_BYTES } else { 0 };
        // Word 5 is `sizeimage`, of the picture or of its first plane.
        words[5] = coded;
        if matches!(queue, Queue::CaptureMplane | Queue::OutputMplane) {
            words[NUM_PLANES_WORD] = u32::from_ne_bytes([1, 0, 0, 0]);
        }
        let mut raw = RawFormat { kind: queue_number(queue), union: RawFormatUnion { words } };
        // SAFETY: VIDIOC_S_FMT takes `struct v4l2_format`; for the four queues used here its union
        // holds integers only, no pointer that the kernel would follow.
        unsafe { self.call::<VIDIOC_S_FMT, _>(&mut raw) }?;
        Ok(FourCc(raw.union.words[2].to_ne_bytes()))
    }

    #[allow(unsafe_code)]
    fn request_buffers(&self, queue: Queue, count: u32) -> io::Result<u32> {
        let mut raw = RawRequestBuffers {
            count,
            kind: queue_number(queue),
            memory: MEMORY_MMAP,
            capabilities: 0,
            flags: 0,
            reserved: [0; 3],
        };
        // SAFETY: VIDIOC_REQBUFS takes `struct v4l2_requestbuffers`, integers only. The buffers
        // are the driver's and are freed with the file.
        unsafe { self.call::<VIDIOC_REQBUFS, _>(&mut raw) }?;
        Ok(raw.count)
    }
}

/// Lists end with EINVAL; ENOTTY means the driver has no such list.
fn end_of_list<T>(answer: Result<(), Errno>, value: impl FnOnce() -> T) -> io::Result<Option<T>> {
    match answer {
        Ok(()) => Ok(Some(value())),
        Err(Errno::INVAL | Errno::NOTTY) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `V4L2_BUF_TYPE_*`.
fn queue_number(queue: Queue) -> u32 {
    match queue {
        Queue::Capture => 1,
        Queue::Output => 2,
        Queue::CaptureMplane => 9,
        Queue::OutputMplane => 10,
    }
}

/// Text up to the first zero byte, without control characters.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from `linux/videodev2.h` on 64-bit machines.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn request_numbers_are_the_kernels() {
        assert_eq!(VIDIOC_QUERYCAP, 0x8068_5600);
        assert_eq!(VIDIOC_ENUM_FMT, 0xc040_5602);
        assert_eq!(VIDIOC_S_FMT, 0xc0d0_5605);
        assert_eq!(VIDIOC_REQBUFS, 0xc014_5608);
        assert_eq!(VIDIOC_ENUM_FRAMESIZES, 0xc02c_564a);
    }

    #[test]
    fn a_file_that_is_no_video_node_is_an_error_not_a_crash() {
        let node = System::new().open(Path::new("/dev/null")).unwrap();
        assert!(node.query_capability().is_err());
        assert_eq!(node.format(Queue::Capture, 0).unwrap(), None);
        assert!(
            node.set_format(Queue::OutputMplane, FourCc::NV12, Size { width: 64, height: 64 })
                .is_err()
        );
        assert!(node.request_buffers(Queue::Capture, 1).is_err());
        assert!(System::new().open(Path::new("/dev/video-none")).is_err());
    }

    #[test]
    fn text_ends_at_zero_and_carries_no_control_characters() {
        assert_eq!(text(b"uvc\x1b[0mvideo\0rest"), "uvc[0mvideo");
        assert_eq!(text(b"full"), "full");
    }
}
