//! The copy of a display that follows what changes.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::damage::{self, ConnectionExt as _, ReportLevel};
use x11rb::protocol::xfixes::{self, ConnectionExt as _, CursorNotifyMask};
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConnectionExt as _, EventMask, ImageOrder, Screen, Setup,
    VisualClass, Window,
};
use x11rb::protocol::{ErrorKind, Event};

use super::cursor::Cursor;
use super::pixels::PixelFormat;
use super::region::{Rect, differing_bands, limited};
use super::transfer::{Server, Transfer};
use super::wire::Wire;
use super::{MAX_PIXELS, ScreenAddress, ScreenError};

/// How often a server without XDamage is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(66);
/// Times a grab is repeated because the display changed its size meanwhile.
const RESIZE_TRIES: usize = 4;

/// What changed since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// The parts whose pixels were read again, at most [`super::MAX_RECTS`]; they may touch.
    pub rects: Vec<Rect>,
    /// The display has another size; `rects` is all of it.
    pub resized: bool,
    /// The pointer looks different.
    pub cursor: bool,
}

impl Damage {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The picture of a display, without its pointer.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Bytes of a row, always `4 * width`.
    pub stride: usize,
    /// Pixels, row by row: blue, green, red, unused.
    pub pixels: &'a [u8],
}

/// What the server has beyond the core protocol, and what we made there.
#[derive(Debug, Clone, Copy, Default)]
struct Extensions {
    damage: Option<(damage::Damage, xfixes::Region)>,
    cursor: bool,
}

/// A connection to a display with a copy of its picture. Blocking; has no thread of its own.
#[derive(Debug)]
pub struct Grabber {
    display: u16,
    server: Server,
    root: Window,
    format: PixelFormat,
    size: (u16, u16),
    frame: Vec<u8>,
    /// The picture being read, where we must compare.
    next: Vec<u8>,
    transfer: Transfer,
    extensions: Extensions,
    pending: Pending,
    cursor: Option<Cursor>,
}

/// What events said.
#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    damage: bool,
    size: bool,
    cursor: bool,
}

/// Why a step failed, before it has a name.
#[derive(Debug)]
enum Failure {
    Reply(ReplyError),
    Size((u16, u16)),
}

impl<E: Into<ReplyError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Reply(error.into())
    }
}

impl Grabber {
    /// Connects and takes the first picture.
    ///
    /// # Errors
    /// No server, no access, pixels nobody can read, or a server lost on the way.
    pub fn connect(address: &ScreenAddress) -> Result<Self, ScreenError> {
        let display = address.display;
        let (protocol, cookie) = address.credentials()?;
        let wire =
            Wire::connect(address).map_err(|source| ScreenError::NoServer { display, source })?;
        let server = Server::connect_to_stream_with_auth_info(wire, 0, protocol, cookie.to_vec())
            .map_err(|error| refusal(display, error))?;
        let screen = &server.setup().roots[0];
        let (root, size) = (screen.root, (screen.width_in_pixels, screen.height_in_pixels));
        let format = pixel_format(server.setup(), screen)
            .map_err(|detail| ScreenError::Unsupported { display, detail })?;
        let named = |request| move |error| explain(display, request, error);
        let extensions = extend(&server, root).map_err(named("watch the screen"))?;
        checked(size).map_err(named("tell the size"))?;
        let transfer = Transfer::new(&server, root, format, size)
            .map_err(|e| explain(display, "share memory", e.into()))?;
        let mut grabber = Self {
            display,
            server,
            root,
            format,
            size,
            frame: Vec::new(),
            next: Vec::new(),
            transfer,
            extensions,
            pending: Pending { size: true, ..Pending::default() },
            cursor: None,
        };
        grabber.update().map_err(named("give the picture"))?;
        Ok(grabber)
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// The picture as it was at the last [`Self::wait`].
    pub fn frame(&self) -> Frame<'_> {
        let (width, height) = self.size;
        Frame { width, height, stride: usize::from(width) * 4, pixels: &self.frame }
    }

    /// Whether the server reports changes; else pictures are compared.
    pub fn is_told(&self) -> bool {
        self.extensions.damage.is_some()
    }

    /// Whether pixels come through shared memory; else over the socket.
    pub fn is_shared(&self) -> bool {
        self.transfer.is_shared()
    }

    /// Waits until something changes, at most `timeout`, and reads what did. Empty when nothing
    /// did. With a timeout of zero it never waits: for owners who poll the descriptor themselves
    /// (which must do so once before they first rely on it).
    ///
    /// # Errors
    /// A server that is gone or refuses; the grabber is of no use after that.
    pub fn wait(&mut self, timeout: Duration) -> Result<Damage, ScreenError> {
        let display = self.display;
        let deadline = Instant::now() + timeout;
        loop {
            self.take_events().map_err(|e| explain(display, "tell what happens", e))?;
            let damage = self.update().map_err(|e| explain(display, "give the picture", e))?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !damage.is_empty() || left.is_zero() {
                return Ok(damage);
            }
            let step = if self.is_told() { left } else { left.min(POLL_INTERVAL) };
            let lost = |e: ConnectionError| explain(display, "tell what happens", e.into());
            self.server.flush().map_err(lost)?;
            let started = Instant::now();
            self.server.stream().readable(step).map_err(|e| lost(e.into()))?;
            if !self.is_told() {
                // Its socket is readable for other reasons than changes; do not spin on it.
                std::thread::sleep(step.saturating_sub(started.elapsed()));
            }
        }
    }

    /// The pointer as it is now; `None` when the server does not show it to others.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn cursor(&mut self) -> Result<Option<Cursor>, ScreenError> {
        let display = self.display;
        self.point().map_err(|e| explain(display, "show the pointer", e))
    }

    fn point(&mut self) -> Result<Option<Cursor>, Failure> {
        if !self.extensions.cursor {
            return Ok(None);
        }
        self.take_events()?;
        if self.cursor.is_none() || self.pending.cursor {
            let image = self.server.xfixes_get_cursor_image()?.reply()?;
            self.cursor = Some(Cursor {
                x: image.x.into(),
                y: image.y.into(),
                hot_x: image.xhot,
                hot_y: image.yhot,
                width: image.width,
                height: image.height,
                serial: image.cursor_serial,
                argb: Arc::from(image.cursor_image),
            });
        } else {
            let pointer = self.server.query_pointer(self.root)?.reply()?;
            if let Some(cursor) = &mut self.cursor {
                (cursor.x, cursor.y) = (pointer.root_x.into(), pointer.root_y.into());
            }
        }
        Ok(self.cursor.clone())
    }

    fn take_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.server.poll_for_event()? {
            match event {
                Event::DamageNotify(_) => self.pending.damage = true,
                Event::ConfigureNotify(e) if e.window == self.root => self.pending.size = true,
                Event::XfixesCursorNotify(_) => {
                    self.pending.cursor = true;
                    self.cursor = None;
                }
                // Errors of requests without a reply; those that matter have one.
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads what events, or comparing, call for.
    fn update(&mut self) -> Result<Damage, Failure> {
        let cursor = std::mem::take(&mut self.pending.cursor);
        for _ in 0..RESIZE_TRIES {
            let result = if std::mem::take(&mut self.pending.size) {
                self.read_anew()
            } else if self.extensions.damage.is_none() {
                self.compare()
            } else if std::mem::take(&mut self.pending.damage) {
                self.read_damaged()
            } else {
                return Ok(Damage { cursor, ..Damage::default() });
            };
            match result {
                // The display became smaller between event and grab.
                Err(Failure::Reply(ReplyError::X11Error(e)))
                    if e.error_kind == ErrorKind::Match =>
                {
                    self.pending.size = true;
                }
                other => return other.map(|damage| Damage { cursor, ..damage }),
            }
        }
        // It keeps changing; the next call looks again.
        Ok(Damage { cursor, ..Damage::default() })
    }

    /// Asks for the size and reads everything.
    fn read_anew(&mut self) -> Result<Damage, Failure> {
        let geometry = self.server.get_geometry(self.root)?.reply()?;
        let size = checked((geometry.width, geometry.height))?;
        let resized = size != self.size;
        if !resized && !self.frame.is_empty() && self.extensions.damage.is_some() {
            // A root window is also configured without getting another size.
            return if std::mem::take(&mut self.pending.damage) {
                self.read_damaged()
            } else {
                Ok(Damage::default())
            };
        }
        if resized {
            self.transfer.detach(&self.server)?;
            self.transfer = Transfer::new(&self.server, self.root, self.format, size)?;
            self.size = size;
        }
        self.frame.clear();
        self.frame.resize(usize::from(size.0) * usize::from(size.1) * 4, 0);
        if let Some((damage, _)) = self.extensions.damage {
            // Before reading: what is drawn from now on is reported anew.
            self.server.damage_subtract(damage, x11rb::NONE, x11rb::NONE)?;
        }
        self.pending.damage = false;
        let whole = Rect::whole(size);
        let stride = usize::from(size.0) * 4;
        self.transfer.read(&self.server, whole, &mut self.frame, stride)?;
        Ok(Damage { rects: vec![whole], resized, cursor: false })
    }

    /// Reads what the server says was drawn on.
    fn read_damaged(&mut self) -> Result<Damage, Failure> {
        let Some((damage, region)) = self.extensions.damage else {
            return Ok(Damage::default());
        };
        self.server.damage_subtract(damage, x11rb::NONE, region)?;
        let drawn = self.server.xfixes_fetch_region(region)?.reply()?;
        let rects = drawn
            .rectangles
            .iter()
            .filter_map(|r| Rect::clipped(r.x, r.y, r.width, r.height, self.size))
            .collect();
        let rects = limited(rects);
        let stride = usize::from(self.size.0) * 4;
        for rect in &rects {
            self.transfer.read(&self.server, *rect, &mut self.frame, stride)?;
        }
        Ok(Damage { rects, ..Damage::default() })
    }

    /// Reads everything and finds what differs.
    fn compare(&mut self) -> Result<Damage, Failure> {
        self.next.resize(self.frame.len(), 0);
        let stride = usize::from(self.size.0) * 4;
        let whole = Rect::whole(self.size);
        self.transfer.read(&self.server, whole, &mut self.next, stride)?;
        let rects = limited(differing_bands(&self.frame, &self.next, self.size));
        std::mem::swap(&mut self.frame, &mut self.next);
        Ok(Damage { rects, ..Damage::default() })
    }
}

/// The connection's descriptor: readable when [`Grabber::wait`] has something to do.
impl AsFd for Grabber {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.server.stream().as_fd()
    }
}

/// Asks for reports of drawing, sizes and pointers, as far as the server has them.
fn extend(server: &Server, root: Window) -> Result<Extensions, Failure> {
    let wanted = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
    server.change_window_attributes(root, &wanted)?.check()?;
    let mut extensions = Extensions::default();
    if server.extension_information(xfixes::X11_EXTENSION_NAME)?.is_none() {
        return Ok(extensions);
    }
    // Regions came with version 2; it must be asked for before anything else.
    if server.xfixes_query_version(5, 0)?.reply()?.major_version < 2 {
        return Ok(extensions);
    }
    server.xfixes_select_cursor_input(root, CursorNotifyMask::DISPLAY_CURSOR)?.check()?;
    extensions.cursor = true;
    if server.extension_information(damage::X11_EXTENSION_NAME)?.is_some() {
        server.damage_query_version(1, 1)?.reply()?;
        let (damage, region) = (id(server)?, id(server)?);
        server.xfixes_create_region(region, &[])?.check()?;
        server.damage_create(damage, root, ReportLevel::NON_EMPTY)?.check()?;
        extensions.damage = Some((damage, region));
    }
    Ok(extensions)
}

fn id(server: &Server) -> Result<u32, Failure> {
    server.generate_id().map_err(|error| match error {
        ReplyOrIdError::ConnectionError(e) => e.into(),
        ReplyOrIdError::X11Error(e) => ReplyError::X11Error(e).into(),
        ReplyOrIdError::IdsExhausted => ConnectionError::InsufficientMemory.into(),
    })
}

fn checked(size: (u16, u16)) -> Result<(u16, u16), Failure> {
    let pixels = u64::from(size.0) * u64::from(size.1);
    if pixels == 0 || pixels > MAX_PIXELS { Err(Failure::Size(size)) } else { Ok(size) }
}

/// How the root window's pixels are stored.
fn pixel_format(setup: &Setup, screen: &Screen) -> Result<PixelFormat, String> {
    let stored = setup.pixmap_formats.iter().find(|f| f.depth == screen.root_depth);
    let visual = screen
        .allowed_depths
        .iter()
        .flat_map(|depth| &depth.visuals)
        .find(|visual| visual.visual_id == screen.root_visual);
    let (Some(stored), Some(visual)) = (stored, visual) else {
        return Err("its own description of the root window is incomplete".to_owned());
    };
    let direct = matches!(visual.class, VisualClass::TRUE_COLOR | VisualClass::DIRECT_COLOR);
    if !direct || !matches!(stored.bits_per_pixel, 16 | 24 | 32) {
        return Err(format!(
            "{} bits a pixel of class {:?}; start it with 24 bits of true colour",
            stored.bits_per_pixel, visual.class
        ));
    }
    Ok(PixelFormat {
        bytes: usize::from(stored.bits_per_pixel / 8),
        pad_bits: stored.scanline_pad.into(),
        little_endian: setup.image_byte_order == ImageOrder::LSB_FIRST,
        red: visual.red_mask,
        green: visual.green_mask,
        blue: visual.blue_mask,
    })
}

fn refusal(display: u16, error: ConnectError) -> ScreenError {
    let said = |reason: &[u8]| String::from_utf8_lossy(reason).trim().to_owned();
    match error {
        ConnectError::SetupFailed(e) => ScreenError::Denied { display, detail: said(&e.reason) },
        ConnectError::SetupAuthenticate(e) => {
            ScreenError::Denied { display, detail: said(&e.reason) }
        }
        other => ScreenError::Lost { display, detail: other.to_string() },
    }
}

fn explain(display: u16, request: &'static str, failure: Failure) -> ScreenError {
    match failure {
        Failure::Size((width, height)) => ScreenError::Unsupported {
            display,
            detail: format!("{width} x {height} pixels; at most {MAX_PIXELS} can be taken"),
        },
        Failure::Reply(ReplyError::ConnectionError(e)) => {
            ScreenError::Lost { display, detail: e.to_string() }
        }
        Failure::Reply(ReplyError::X11Error(e)) => {
            ScreenError::Refused { display, request, detail: format!("{:?}", e.error_kind) }
        }
    }
}
