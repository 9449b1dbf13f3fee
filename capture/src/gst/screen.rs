//! An X display as a source: pictures when something changes, pointer included.
//!
//! The grabber works in the thread of the element that asks for data; stopping the pipeline joins
//! it. A lost server fails the run like any other source, and the recorder tries again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSrc, AppSrcCallbacks, AppStreamType};

use super::element::{chain, filter, make};
use super::encode::{self, Picture};
use super::tap::Shared;
use crate::encoded::EncodedFeed;
use crate::screen::{Cursor, Frame, Grabber, ScreenAddress, ScreenError};
use crate::source::SourceError;

/// Pictures a second taken of a screen, at most.
const MAX_FPS: u32 = 15;

/// Longest time from one picture that stands alone to the next, when something changed in between,
/// and when nothing did. Pictures of a screen that did not change cost next to nothing as long as
/// they need not stand alone.
const KEYFRAME_CHANGED: Duration = Duration::from_secs(2);
const KEYFRAME_STILL: Duration = Duration::from_secs(10);
/// Least time between two pictures that are asked to stand alone: whoever watches can ask, and they
/// are larger than others.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
/// How often the pointer is looked at while nothing else happens.
const POINTER_INTERVAL: Duration = Duration::from_millis(100);

/// Builds the pipeline of an X display.
pub(super) fn build(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    display: u16,
) -> Result<(), SourceError> {
    let access = shared.options.screen_access.clone();
    let grabber = Grabber::connect(&ScreenAddress { display, access })
        .map_err(|e| SourceError::Screen { display, detail: e.to_string() })?;
    let fps = shared.options.max_fps.clamp(1, MAX_FPS);
    let (width, height) = grabber.size();
    let shape = Picture { width: width.into(), height: height.into(), fps }.fitted(shared);
    let source = AppSrc::builder()
        .caps(&caps(grabber.frame()))
        .format(gst::Format::Time)
        .is_live(true)
        .do_timestamp(true)
        .stream_type(AppStreamType::Stream)
        .build();
    let for_errors = Arc::clone(shared);
    let mut camera = Camera {
        grabber,
        interval: Duration::from_secs(1) / fps,
        still: Duration::from_micros(shared.options.fragment_us),
        encoded: shared.options.encoded.clone(),
        alone: None,
        changed: false,
        pointer: None,
        picture: None,
        last: None,
    };
    let mut failed = false;
    source.set_callbacks(
        AppSrcCallbacks::builder()
            .need_data(move |source, _| {
                if failed {
                    return;
                }
                if let Err(error) = camera.shoot(source) {
                    failed = true;
                    for_errors.fail(SourceError::BrokeOff {
                        source_name: for_errors.name.clone(),
                        detail: error.to_string(),
                    });
                }
            })
            .build(),
    );
    // A display that changes its size is fitted into the picture it began with.
    let fitted = gst::Caps::builder("video/x-raw")
        .field("width", i32::try_from(shape.width).unwrap_or(2))
        .field("height", i32::try_from(shape.height).unwrap_or(2))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    let mut elements = vec![source.upcast(), make("videoscale")?, filter(&fitted)?];
    elements.extend(encode::raw_video(shared, shape, false, None)?);
    shared.claim_video();
    chain(pipeline, &shared.name, &elements)
}

/// What is between two pictures.
struct Camera {
    grabber: Grabber,
    /// Least time between two pictures.
    interval: Duration,
    /// A screen on which nothing happens gives a picture this often: one for each fragment, so that
    /// a crash costs no more than elsewhere.
    still: Duration,
    /// Who else gets the encoded pictures, and may ask for one that stands alone.
    encoded: Option<EncodedFeed>,
    /// When the last picture that stands alone was taken.
    alone: Option<Instant>,
    /// Something changed since then.
    changed: bool,
    /// The pointer of the last picture.
    pointer: Option<Cursor>,
    /// The last picture, without a time.
    picture: Option<gst::Buffer>,
    /// When the last picture was taken.
    last: Option<Instant>,
}

impl Camera {
    /// Waits for the next picture's time and sends it on.
    fn shoot(&mut self, source: &AppSrc) -> Result<(), ScreenError> {
        let mut resized = false;
        let (mut wanted, mut fresh) = (false, true);
        let pointer = match self.last {
            None => self.grabber.cursor()?,
            Some(last) => {
                let next = last + self.interval;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                loop {
                    // Pointers are not reported; they are looked at.
                    let left = (last + self.still).saturating_duration_since(Instant::now());
                    let damage = self.grabber.wait(left.min(POINTER_INTERVAL))?;
                    resized |= damage.resized;
                    let pointer = self.grabber.cursor()?;
                    wanted = self.is_keyframe_wanted();
                    let changed = !damage.is_empty() || pointer != self.pointer;
                    self.changed |= changed;
                    fresh = changed;
                    if changed || wanted || left.is_zero() {
                        break pointer;
                    }
                }
            }
        };
        let frame = self.grabber.frame();
        if resized {
            source.set_caps(Some(&caps(frame)));
        }
        let buffer = match self.picture.take().filter(|_| !fresh) {
            // The same memory again: a still screen is not even copied.
            Some(picture) => picture.copy(),
            None => {
                let mut pixels = frame.pixels.to_vec();
                if let Some(pointer) = &pointer {
                    let (width, height) = (frame.width.into(), frame.height.into());
                    pointer.draw(&mut pixels, width, height, frame.stride);
                }
                gst::Buffer::from_slice(pixels)
            }
        };
        self.picture = Some(buffer.copy());
        self.pointer = pointer;
        self.last = Some(Instant::now());
        let interval = if self.changed { KEYFRAME_CHANGED } else { KEYFRAME_STILL };
        if wanted || self.alone.is_none_or(|alone| alone.elapsed() >= interval) {
            // The first picture stands alone unasked. The event goes out at the pad, where this
            // thread is at home: the element's own way takes a lock that whoever stops the
            // pipeline holds while it waits for this thread.
            if self.alone.is_some()
                && let Some(pad) = source.static_pad("src")
            {
                let _ = pad.push_event(keyframe_event());
            }
            (self.alone, self.changed) = (self.last, false);
        }
        // Refused only by a pipeline that is being stopped.
        let _ = source.push_buffer(buffer);
        Ok(())
    }
}

impl Camera {
    /// Whether somebody asks for a picture that stands alone, and may have it.
    fn is_keyframe_wanted(&self) -> bool {
        let may = self.alone.is_none_or(|alone| alone.elapsed() >= KEYFRAME_INTERVAL);
        may && self.encoded.as_ref().is_some_and(EncodedFeed::take_wish)
    }
}

/// Has the encoder make the next picture one that stands alone.
fn keyframe_event() -> gst::Event {
    let none = gst::ClockTime::NONE;
    let structure = gst::Structure::builder("GstForceKeyUnit")
        .field("timestamp", none)
        .field("stream-time", none)
        .field("running-time", none)
        .field("all-headers", true)
        .field("count", 0u32)
        .build();
    gst::event::CustomDownstream::new(structure)
}

/// Caps of a frame; the rate varies.
fn caps(frame: Frame<'_>) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "BGRx")
        .field("width", i32::from(frame.width))
        .field("height", i32::from(frame.height))
        .field("framerate", gst::Fraction::new(0, 1))
        .build()
}
