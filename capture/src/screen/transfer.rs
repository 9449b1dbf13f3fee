//! How pixels come over: through shared memory, or over the socket.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::MemfdFlags;
use x11rb::connection::RequestConnection;
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, Window};
use x11rb::rust_connection::RustConnection;

use super::pixels::PixelFormat;
use super::region::Rect;
use super::wire::Wire;

pub(super) type Server = RustConnection<Wire>;

/// All planes.
const ALL: u32 = !0;

/// Memory that the server writes pictures into and we read like a file, so that no memory is
/// mapped that somebody else changes.
#[derive(Debug)]
struct Segment {
    id: shm::Seg,
    file: File,
    bytes: usize,
}

/// The way pixels come, with its buffers.
#[derive(Debug)]
pub(super) struct Transfer {
    root: Window,
    format: PixelFormat,
    segment: Option<Segment>,
    /// One rectangle as the server laid it out; reused.
    scratch: Vec<u8>,
}

impl Transfer {
    /// Shared memory for pictures of `size` if the server takes it, else the socket.
    pub fn new(
        server: &Server,
        root: Window,
        format: PixelFormat,
        size: (u16, u16),
    ) -> Result<Self, ReplyError> {
        let bytes = format.row_bytes(size.0.into()) * usize::from(size.1);
        let segment = Segment::attach(server, bytes)?;
        Ok(Self { root, format, segment, scratch: Vec::new() })
    }

    /// Whether pixels come through shared memory.
    pub fn is_shared(&self) -> bool {
        self.segment.is_some()
    }

    /// Gives the memory back to the server.
    pub fn detach(&self, server: &Server) -> Result<(), ConnectionError> {
        if let Some(segment) = &self.segment {
            server.shm_detach(segment.id)?;
        }
        Ok(())
    }

    /// Copies one rectangle of the root window into a frame of rows of `stride` bytes.
    pub fn read(
        &mut self,
        server: &Server,
        rect: Rect,
        frame: &mut [u8],
        stride: usize,
    ) -> Result<(), ReplyError> {
        let signed = |n: u16| i16::try_from(n).unwrap_or(i16::MAX);
        let (x, y) = (signed(rect.x), signed(rect.y));
        let row_bytes = self.format.row_bytes(rect.width.into());
        let bytes = row_bytes * usize::from(rect.height);
        let from = usize::from(rect.y) * stride + usize::from(rect.x) * 4;
        if let Some(segment) = self.segment.as_ref().filter(|segment| segment.bytes >= bytes) {
            let id = segment.id;
            server
                .shm_get_image(
                    self.root,
                    x,
                    y,
                    rect.width,
                    rect.height,
                    ALL,
                    ImageFormat::Z_PIXMAP.into(),
                    id,
                    0,
                )?
                .reply()?;
            // Rows as wide as the frame, in our own order, need no detour.
            if self.format.is_native() && row_bytes == stride {
                return match frame.get_mut(from..from + bytes) {
                    Some(rows) => {
                        Ok(segment.file.read_exact_at(rows, 0).map_err(ConnectionError::from)?)
                    }
                    None => Ok(()),
                };
            }
            self.scratch.resize(bytes, 0);
            segment.file.read_exact_at(&mut self.scratch, 0).map_err(ConnectionError::from)?;
        } else {
            self.scratch = server
                .get_image(ImageFormat::Z_PIXMAP, self.root, x, y, rect.width, rect.height, ALL)?
                .reply()?
                .data;
        }
        let width = usize::from(rect.width) * 4;
        for (row, line) in self.scratch.chunks_exact(row_bytes.max(1)).enumerate() {
            let at = from + row * stride;
            if let Some(to) = frame.get_mut(at..at + width) {
                self.format.convert_row(line, to);
            }
        }
        Ok(())
    }
}

impl Segment {
    /// `None` when the server cannot share memory by descriptor (MIT-SHM 1.2).
    fn attach(server: &Server, bytes: usize) -> Result<Option<Self>, ReplyError> {
        if server.extension_information(shm::X11_EXTENSION_NAME)?.is_none() {
            return Ok(None);
        }
        let version = server.shm_query_version()?.reply()?;
        if (version.major_version, version.minor_version) < (1, 2) {
            return Ok(None);
        }
        let memory = || -> std::io::Result<File> {
            let file = File::from(rustix::fs::memfd_create("lucid-screen", MemfdFlags::CLOEXEC)?);
            file.set_len(u64::try_from(bytes).unwrap_or(u64::MAX))?;
            Ok(file)
        };
        let Ok(file) = memory() else { return Ok(None) };
        let Ok(copy) = file.try_clone() else { return Ok(None) };
        let Ok(id) = x11rb::connection::Connection::generate_id(server) else { return Ok(None) };
        match server.shm_attach_fd(id, std::os::fd::OwnedFd::from(copy), false)?.check() {
            Ok(()) => Ok(Some(Self { id, file, bytes })),
            // A server elsewhere, or one that may not map our memory.
            Err(ReplyError::X11Error(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }
}
