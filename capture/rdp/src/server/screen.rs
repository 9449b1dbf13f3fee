//! Takes the desktop's picture where it changes and encodes it for one client, in a thread of its
//! own.
//!
//! A frame is taken only when the one before has gone to the writer, so a slow reader costs frames
//! and never memory: what changes meanwhile is gathered by the X server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ironrdp_core::encode_vec;
use ironrdp_pdu::fast_path::UpdateCode;
use ironrdp_pdu::pointer::{ColorPointerAttribute, Point16, PointerAttribute};
use lucid_capture::screen::{Access, Cursor, Grabber, ScreenAddress, ScreenError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use super::capabilities::Accepted;
use super::fastpath;
use super::outgoing::{Frame, Frames};
use super::picture::{Encoder, Part, PictureError, Pixels};
use super::video::Video;
use crate::monitor::Counters;
use crate::session::RunningDesktop;

/// Encoded frames that wait for the writer.
pub const MAX_QUEUED_FRAMES: usize = 1;
/// Shortest time between two frames: 30 a second.
const FRAME_INTERVAL: Duration = Duration::from_millis(33);
/// How often a still desktop looks whether anybody still watches.
const STILL_INTERVAL: Duration = Duration::from_secs(1);
/// Largest pointer that every client takes, pixels a side.
const MAX_POINTER: u16 = 96;

/// Why no more pictures come.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The desktop's X server.
    #[error(transparent)]
    Screen(#[from] ScreenError),
    /// The encoder.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// No thread.
    #[error("no thread for the pictures of display :{display}")]
    Thread {
        /// The display.
        display: u16,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// What the connection tells the thread.
#[derive(Debug, Default)]
pub struct Wishes {
    /// The client shows nothing for the moment.
    pub suppressed: AtomicBool,
    /// The client wants all of it again.
    pub repaint: AtomicBool,
}

/// What a thread is started with.
pub struct Screen {
    /// The desktop, with the size its client is activated with.
    pub desktop: RunningDesktop,
    /// What the client takes.
    pub accepted: Accepted,
    /// What it wants.
    pub wishes: Arc<Wishes>,
    /// Where frames go.
    pub frames: Frames,
    /// The activation in force; the thread ends when it is another.
    pub generation: Arc<AtomicU64>,
    /// Told when the desktop has another size than its client, and then no more frames come.
    pub resized: watch::Sender<(u16, u16)>,
    /// While it is on, the client gets its pictures there, and from here the pointer alone.
    pub video: Arc<Video>,
    /// Where frames are counted.
    pub counters: Arc<Counters>,
}

impl Screen {
    /// Starts to send encoded frames of the desktop, until they are not wanted any more or an
    /// error has gone after them.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(self) -> Result<(), FrameError> {
        let display = self.desktop.display;
        let generation = self.generation.load(Ordering::Acquire);
        std::thread::Builder::new()
            .name(format!("rdp screen :{display}"))
            .spawn(move || {
                if let Err(error) = self.run(generation) {
                    // Nobody to tell is no matter: the connection is over then.
                    let _ = self.frames.blocking_send(Err(error));
                }
            })
            .map(drop)
            .map_err(|source| FrameError::Thread { display, source })
    }

    /// Hands a frame to the writer; false when nobody takes it any more.
    fn send(&self, frame: Frame) -> bool {
        match self.frames.try_send(Ok(frame)) {
            Ok(()) => true,
            Err(TrySendError::Full(frame)) => {
                // The reader is slow: what changes until it is ready is one frame.
                self.counters.frame_skipped();
                self.frames.blocking_send(frame).is_ok()
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }

    fn is_wanted(&self, generation: u64) -> bool {
        !self.frames.is_closed() && self.generation.load(Ordering::Acquire) == generation
    }

    fn run(&self, generation: u64) -> Result<(), FrameError> {
        let (desktop, wishes) = (&self.desktop, &self.wishes);
        let (width, height) = (desktop.width, desktop.height);
        let address = ScreenAddress { display: desktop.display, access: access(desktop) };
        let mut grabber = Grabber::connect(&address)?;
        let mut encoder = Encoder::new(self.accepted, width, height);
        let whole = Part { x: 0, y: 0, width, height };
        let mut parts = vec![whole];
        let mut pointer = true;
        let mut sent = Instant::now();
        let mut elsewhere = false;
        while self.is_wanted(generation) {
            if grabber.size() != (width, height) {
                self.resized.send_replace(grabber.size());
                return Ok(());
            }
            let before = std::mem::replace(&mut elsewhere, self.video.is_on());
            let again = !elsewhere && wishes.repaint.swap(false, Ordering::Relaxed);
            if elsewhere {
                parts.clear();
            } else if before || again {
                parts = vec![whole];
            }
            let shown = !wishes.suppressed.load(Ordering::Relaxed);
            if shown && (pointer || !parts.is_empty()) {
                let mut bytes = Vec::new();
                let encoding = Instant::now();
                let frame = grabber.frame();
                let pixels = Pixels { width, height, stride: frame.stride, bytes: frame.pixels };
                encoder.append(&mut bytes, pixels, &parts)?;
                parts.clear();
                if std::mem::take(&mut pointer)
                    && let Some(cursor) = grabber.cursor()?
                {
                    shape(&mut bytes, &cursor)?;
                }
                if !bytes.is_empty() {
                    self.counters.frame(encoding.elapsed());
                    if !self.send(Frame { generation, bytes }) {
                        return Ok(());
                    }
                }
                let rest = FRAME_INTERVAL.saturating_sub(sent.elapsed());
                std::thread::sleep(rest);
                sent = Instant::now();
            }
            let damage = grabber.wait(STILL_INTERVAL)?;
            pointer |= damage.cursor;
            let changed = damage.rects.iter().map(|rect| Part {
                x: rect.x,
                y: rect.y,
                width: rect.width,
                height: rect.height,
            });
            match shown {
                true => parts.extend(changed),
                // Gathered as all of it: a window that is not shown must not gather rectangles.
                false if !damage.rects.is_empty() => parts = vec![whole],
                false => {}
            }
        }
        Ok(())
    }
}

fn access(desktop: &RunningDesktop) -> Access {
    match desktop.cookie.is_empty() {
        true => Access::Open,
        false => desktop.access(),
    }
}

/// The pointer's look, with its own transparency.
fn shape(out: &mut Vec<u8>, cursor: &Cursor) -> Result<(), PictureError> {
    let (width, height) = (cursor.width, cursor.height);
    if width == 0 || height == 0 || width > MAX_POINTER || height > MAX_POINTER {
        return Ok(());
    }
    let mut pixels = Vec::with_capacity(cursor.argb.len() * 4);
    for row in cursor.argb.chunks_exact(usize::from(width)).rev() {
        for argb in row {
            pixels.extend_from_slice(&straight(*argb).to_le_bytes());
        }
    }
    // Rows of the mask are padded to two bytes; nothing is masked.
    let mask = vec![0; usize::from(width).div_ceil(16) * 2 * usize::from(height)];
    let pointer = PointerAttribute {
        xor_bpp: 32,
        color_pointer: ColorPointerAttribute {
            cache_index: 0,
            hot_spot: Point16 { x: cursor.hot_x.min(width), y: cursor.hot_y.min(height) },
            width,
            height,
            xor_mask: &pixels,
            and_mask: &mask,
        },
    };
    let refused = |source| PictureError::Encode { width, height, source };
    let data = encode_vec(&pointer).map_err(refused)?;
    fastpath::append(out, UpdateCode::NewPointer, &data).map_err(refused)
}

/// A colour that was multiplied by its alpha, as it was before.
fn straight(argb: u32) -> u32 {
    let [blue, green, red, alpha] = argb.to_le_bytes();
    let divide = |colour: u8| match alpha {
        0 => 0,
        alpha => u8::try_from(u32::from(colour) * 255 / u32::from(alpha)).unwrap_or(u8::MAX),
    };
    u32::from_le_bytes([divide(blue), divide(green), divide(red), alpha])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_back_from_their_alpha() {
        assert_eq!(straight(0xff11_2233), 0xff11_2233);
        assert_eq!(straight(0x8040_2000), 0x807f_3f00);
        assert_eq!(straight(0x00ff_ffff), 0);
        assert_eq!(straight(0x0110_1010), 0x01ff_ffff);
    }
}
