//! The pictures of a recording as its encoder made them, for whoever shows them elsewhere: one
//! encoder run serves the recording and a remote screen.
//!
//! The recording never waits for a listener. One that is slow misses pictures, and goes on at the
//! next keyframe, so that what it gets can always be decoded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Pictures that wait for a listener; with one more they are dropped up to the next keyframe.
pub const FRAMES_WAITING_MAX: usize = 8;
/// Listeners at a time; more get no pictures.
pub const LISTENERS_MAX: usize = 16;
/// Length of the prefix of a unit in what the recorder's encoders make, bytes.
const LENGTH_BYTES: usize = 4;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// One encoded picture: an H.264 access unit.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    /// When it was taken, nanoseconds of the run's clock.
    pub time_ns: i64,
    /// Whether it can be decoded without any before it.
    pub keyframe: bool,
    /// Columns and rows that are shown of it.
    pub size: (u16, u16),
    /// What a decoder needs first: an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15).
    pub config: Arc<[u8]>,
    /// The units of the picture, each with its length in 4 bytes before it.
    pub data: Arc<[u8]>,
}

impl std::fmt::Debug for EncodedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodedFrame")
            .field("time_ns", &self.time_ns)
            .field("keyframe", &self.keyframe)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl EncodedFrame {
    /// The picture as a byte stream (ITU-T H.264 Annex B), with the parameter sets before a
    /// keyframe; none if the encoder's bytes are not what they should be.
    pub fn annex_b(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.data.len() + self.config.len() + 16);
        if self.keyframe {
            let mut rest = self.config.get(5..)?;
            // Sequence sets are counted in five bits, picture sets in eight.
            for mask in [0x1f, 0xff] {
                let (count, after) = rest.split_first()?;
                rest = after;
                for _ in 0..count & mask {
                    let length = usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?));
                    out.extend_from_slice(&START_CODE);
                    out.extend_from_slice(rest.get(2..2 + length)?);
                    rest = &rest[2 + length..];
                }
            }
        }
        let mut rest = &self.data[..];
        while !rest.is_empty() {
            let length = u32::from_be_bytes(*rest.first_chunk::<LENGTH_BYTES>()?);
            let end = LENGTH_BYTES.checked_add(usize::try_from(length).ok()?)?;
            out.extend_from_slice(&START_CODE);
            out.extend_from_slice(rest.get(LENGTH_BYTES..end)?);
            rest = &rest[end..];
        }
        Some(out)
    }
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<EncodedFrame>,
    /// Nothing is of use before the next keyframe.
    needs_keyframe: bool,
    missed: u64,
}

#[derive(Default)]
struct Listener {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Listener {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a recording puts its encoded pictures; clones are the same place. Put into
/// [`crate::StreamOptions::encoded`].
#[derive(Clone, Default)]
pub struct EncodedFeed(Arc<Feed>);

#[derive(Default)]
struct Feed {
    listeners: Mutex<Vec<Weak<Listener>>>,
    /// Somebody waits for a keyframe.
    wish: AtomicBool,
}

impl std::fmt::Debug for EncodedFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncodedFeed({} listeners)", self.lock().len())
    }
}

impl EncodedFeed {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Listener>>> {
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a keyframe soon. Sources that take pictures only when something changes take one
    /// for it; others have keyframes often enough.
    pub fn want_keyframe(&self) {
        self.0.wish.store(true, Ordering::Release);
    }

    /// Whether somebody has asked for a keyframe since the last time.
    pub(crate) fn take_wish(&self) -> bool {
        self.0.wish.swap(false, Ordering::AcqRel)
    }

    /// Listens from the next keyframe on, which is asked for; none if there are
    /// [`LISTENERS_MAX`] already.
    pub fn listen(&self) -> Option<EncodedFrames> {
        let mut listeners = self.lock();
        listeners.retain(|listener| listener.strong_count() > 0);
        if listeners.len() >= LISTENERS_MAX {
            return None;
        }
        let listener = Arc::new(Listener::default());
        listener.lock().needs_keyframe = true;
        listeners.push(Arc::downgrade(&listener));
        self.want_keyframe();
        Some(EncodedFrames(listener))
    }

    /// Gives a picture to all who listen; `make` is only asked if somebody does.
    pub(crate) fn publish(&self, make: impl FnOnce() -> EncodedFrame) {
        let mut listeners = self.lock();
        listeners.retain(|listener| listener.strong_count() > 0);
        if listeners.is_empty() {
            return;
        }
        let frame = make();
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            let mut waiting = listener.lock();
            if waiting.frames.len() >= FRAMES_WAITING_MAX {
                // What waits is older than what it would catch up with.
                waiting.missed += waiting.frames.len() as u64;
                waiting.frames.clear();
                waiting.needs_keyframe = true;
                self.want_keyframe();
            }
            if waiting.needs_keyframe && !frame.keyframe {
                waiting.missed += 1;
                continue;
            }
            waiting.needs_keyframe = false;
            waiting.frames.push_back(frame.clone());
            drop(waiting);
            listener.arrived.notify_all();
        }
    }
}

/// Takes the encoded pictures of a recording.
pub struct EncodedFrames(Arc<Listener>);

impl EncodedFrames {
    /// The next picture; none if none came in time.
    pub fn next(&self, timeout: Duration) -> Option<EncodedFrame> {
        let deadline = Instant::now() + timeout;
        let mut waiting = self.0.lock();
        loop {
            if let Some(frame) = waiting.frames.pop_front() {
                return Some(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let woken = self.0.arrived.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Pictures this listener did not get, because it was slow or had no keyframe yet.
    pub fn missed(&self) -> u64 {
        self.0.lock().missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(time_ns: i64, keyframe: bool) -> EncodedFrame {
        let config = [1, 0x42, 0, 30, 0xff, 0xe1, 0, 2, 0x67, 0xaa, 1, 0, 1, 0x68];
        let data = [0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 1, 0x06];
        let (config, data) = (config.as_slice().into(), data[..].into());
        EncodedFrame { time_ns, keyframe, size: (64, 48), config, data }
    }

    fn times(frames: &EncodedFrames) -> Vec<i64> {
        std::iter::from_fn(|| frames.next(Duration::ZERO)).map(|frame| frame.time_ns).collect()
    }

    #[test]
    fn a_listener_begins_and_goes_on_at_a_keyframe() {
        let feed = EncodedFeed::default();
        feed.publish(|| panic!("nobody listens"));
        let frames = feed.listen().unwrap();
        assert!(feed.take_wish() && !feed.take_wish());
        for time in 0..4 {
            feed.publish(|| frame(time, time == 2));
        }
        assert_eq!((times(&frames), frames.missed()), (vec![2, 3], 2));
        // Nine are one too many: all that waited is of no use, up to the next keyframe.
        for time in 10..20 {
            feed.publish(|| frame(time, time == 10 || time == 19));
        }
        assert_eq!((times(&frames), frames.missed()), (vec![19], 2 + 9));
        assert!(feed.take_wish());
        drop(frames);
        feed.publish(|| panic!("nobody listens any more"));
        let all: Vec<_> = std::iter::from_fn(|| feed.listen()).take(100).collect();
        assert_eq!(all.len(), LISTENERS_MAX);
    }

    #[test]
    fn a_byte_stream_has_parameter_sets_before_keyframes_alone() {
        let units = [0, 0, 0, 1, 0x65, 0x88, 0, 0, 0, 1, 0x06];
        let sets = [0, 0, 0, 1, 0x67, 0xaa, 0, 0, 0, 1, 0x68];
        assert_eq!(frame(0, false).annex_b().unwrap(), units);
        assert_eq!(frame(0, true).annex_b().unwrap(), [sets, units].concat());
        for cut in [&[0, 0, 0, 2, 1][..], &[0, 0], &[255, 255, 255, 255, 0]] {
            let broken = EncodedFrame { data: cut.into(), ..frame(0, false) };
            assert_eq!(broken.annex_b(), None);
        }
        let broken = EncodedFrame { config: [1, 2, 3][..].into(), ..frame(0, true) };
        assert_eq!(broken.annex_b(), None);
    }
}
