//! Carries the recording's own encoded pictures to one client, in a thread of its own.
//!
//! A client that is slow misses pictures and goes on at a keyframe: what waits for it is bounded by
//! [`lucid_capture::encoded::FRAMES_WAITING_MAX`] and by what it has not acknowledged. While the
//! recording has another size than the desktop, and before its first keyframe, nothing comes from
//! here, and [`super::screen`] sends its own pictures.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lucid_capture::encoded::{EncodedFrame, EncodedFrames};

use super::channels::Carrier;
use super::channels::dynamic::{self, Dynamic, DynamicError};
use super::graphics::{Graphics, GraphicsError, Heard, Picture};
use super::outgoing::{Frame, Frames};
use super::screen::Wishes;
use crate::monitor::Counters;
use crate::session::RunningDesktop;

/// How often a still desktop looks whether anybody still watches.
const STILL_INTERVAL: Duration = Duration::from_millis(250);

/// Why there is no video, or no more of it. The client gets pictures all the same.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// Its channel.
    #[error(transparent)]
    Graphics(#[from] GraphicsError),
    /// The channel that carries it.
    #[error(transparent)]
    Dynamic(#[from] DynamicError),
    /// No thread.
    #[error("no thread for the video of display :{display}")]
    Thread {
        /// The display.
        display: u16,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// The graphics of one client, seen by its connection and by the thread.
#[derive(Debug, Default)]
pub struct Video {
    graphics: Mutex<Graphics>,
    acknowledged: Condvar,
    /// Pictures go out as video; no others need to.
    is_on: AtomicBool,
}

impl Video {
    fn lock(&self) -> MutexGuard<'_, Graphics> {
        self.graphics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message of the client.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&self, message: &[u8]) -> Result<Heard, GraphicsError> {
        let heard = self.lock().take(message);
        self.acknowledged.notify_all();
        heard
    }

    /// Whether the client takes video.
    pub fn is_agreed(&self) -> bool {
        self.lock().is_agreed()
    }

    /// Whether video goes out just now.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Waits for room at the client, a moment at most.
    fn wait_for_room(&self) -> bool {
        let graphics = self.lock();
        let waited = self
            .acknowledged
            .wait_timeout_while(graphics, STILL_INTERVAL, |graphics| !graphics.has_room());
        waited.unwrap_or_else(PoisonError::into_inner).0.has_room()
    }
}

/// What a thread is started with.
pub struct Projection {
    /// The desktop, with the size its client is activated with.
    pub desktop: RunningDesktop,
    /// The client's graphics.
    pub video: Arc<Video>,
    /// What the client wants.
    pub wishes: Arc<Wishes>,
    /// How messages of dynamic channels go to it.
    pub carrier: Carrier,
    /// Where pictures go.
    pub frames: Frames,
    /// The activation in force; the thread ends when it is another.
    pub generation: Arc<AtomicU64>,
    /// Where pictures are counted.
    pub counters: Arc<Counters>,
}

impl Projection {
    /// Starts to send the recording's pictures, until they are not wanted any more.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(self) -> Result<(), VideoError> {
        let display = self.desktop.display;
        let generation = self.generation.load(Ordering::Acquire);
        std::thread::Builder::new()
            .name(format!("rdp video :{display}"))
            .spawn(move || {
                if let Err(error) = self.run(generation) {
                    tracing::warn!(%error, "a client gets no video");
                }
                self.video.is_on.store(false, Ordering::Release);
            })
            .map(drop)
            .map_err(|source| VideoError::Thread { display, source })
    }

    fn is_wanted(&self, generation: u64) -> bool {
        !self.frames.is_closed() && self.generation.load(Ordering::Acquire) == generation
    }

    fn run(&self, generation: u64) -> Result<(), VideoError> {
        self.video.lock().restart();
        let mut listening: Option<EncodedFrames> = None;
        let mut missed = 0;
        while self.is_wanted(generation) {
            if self.wishes.suppressed.load(Ordering::Relaxed) {
                // Begins anew, with all of the picture, when it is shown again.
                listening = None;
                std::thread::sleep(STILL_INTERVAL);
                continue;
            }
            if self.video.is_on() && self.wishes.repaint.swap(false, Ordering::Relaxed) {
                self.desktop.encoded.want_keyframe();
            }
            if let Some(frames) = &listening {
                let more = frames.missed();
                if self.video.is_on() {
                    (missed..more).for_each(|_| self.counters.frame_skipped());
                }
                missed = more;
            }
            if !self.video.wait_for_room() {
                continue;
            }
            if listening.is_none() {
                (listening, missed) = (self.desktop.encoded.listen(), 0);
            }
            let Some(frames) = &listening else {
                // More listen than may; others come and go.
                std::thread::sleep(STILL_INTERVAL);
                continue;
            };
            let Some(frame) = frames.next(STILL_INTERVAL) else { continue };
            let is_on = self.video.is_on();
            if frame.size != (self.desktop.width, self.desktop.height) {
                self.video.is_on.store(false, Ordering::Release);
                continue;
            }
            // What other pictures covered in the meantime must be shown anew as well.
            if !is_on && !frame.keyframe {
                self.desktop.encoded.want_keyframe();
                continue;
            }
            if !self.send(&frame, generation)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands a picture to the writer; false when nobody takes it any more.
    fn send(&self, frame: &EncodedFrame, generation: u64) -> Result<bool, VideoError> {
        let began = Instant::now();
        let Some(h264) = frame.annex_b() else {
            tracing::debug!("an encoded picture is not what it should be");
            return Ok(true);
        };
        let time_ms = u64::try_from(frame.time_ns / 1_000_000).unwrap_or_default();
        let picture = Picture { size: frame.size, time_ms, h264: &h264 };
        let mut graphics = self.video.lock();
        // Looked at under the lock: what is laid out from here on for another activation would be
        // thrown away, and the thread that comes after must not take it for laid out.
        if !self.is_wanted(generation) {
            return Ok(false);
        }
        let message = graphics.show(picture)?;
        drop(graphics);
        let mut bytes = Vec::with_capacity(message.len() + message.len() / 32 + 64);
        for fragment in dynamic::fragments(Dynamic::Graphics, &message)? {
            let said = self.carrier.append(&mut bytes, &fragment);
            said.map_err(DynamicError::Encode)?;
        }
        self.counters.frame_video(began.elapsed());
        self.video.is_on.store(true, Ordering::Release);
        Ok(self.frames.blocking_send(Ok(Frame { generation, bytes })).is_ok())
    }
}
