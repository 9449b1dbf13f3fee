//! From coded samples to fragments. Pure: samples with their times in, media events out.
//!
//! Own muxing instead of an element (see docs/capture.md for what was tried): one `moof` for all
//! tracks, a cut inside a group of pictures longer than a fragment, a new init segment whenever the
//! codec changes, no edit lists, and nothing held back longer than [`SOUND_WAIT_NS`].
//!
//! Time: the first picture of a run is decoded at time 0. Decoding times are the sorted
//! presentation times, so that no stream needs decoding times of its own (RTP has none). Where
//! pictures come out of order, everything is shown later by the depth of reordering the first
//! fragment has, so that composition offsets stay positive: players disagree about negative ones.

mod cut;
mod sound;

use std::collections::VecDeque;

use crate::fmp4::{
    self, AudioConfig, RunSample, TrackRun, VIDEO_TIMESCALE, VIDEO_TRACK, VideoConfig,
};
use crate::media::{EncoderNote, Fragment, InitSegment, Loss, LossReason, MediaEvent, Track};
use cut::Cutter;
use sound::SoundTrack;

/// How long a finished fragment waits for sound that comes later than its pictures, nanoseconds of
/// stream time. Later sound goes into the next fragment.
pub const SOUND_WAIT_NS: i64 = 300_000_000;
/// How long the first fragment waits for a sound track that was announced, nanoseconds. Then it
/// goes without.
pub const SOUND_START_WAIT_NS: i64 = 2_000_000_000;
/// How long the start waits for a keyframe, nanoseconds. Then the run starts inside a group of
/// pictures.
pub const KEYFRAME_WAIT_NS: i64 = 2_000_000_000;
/// Largest coded picture in bytes; a larger one is an error.
pub const MAX_SAMPLE_BYTES: usize = 16 << 20;
/// Bytes of pictures at which a fragment is closed whatever its length.
pub const MAX_OPEN_BYTES: usize = 24 << 20;
/// Pictures at which a fragment is closed whatever its length.
pub const MAX_OPEN_SAMPLES: usize = 4096;
/// A hole in the pictures' time stamps longer than this (and than eight pictures) is declared lost,
/// nanoseconds.
pub const MIN_GAP_NS: i64 = 1_500_000_000;
/// Time stamps further back than this are an error, not reordering, nanoseconds.
pub const MAX_REORDER_NS: i64 = 2_000_000_000;
/// Finished fragments that may wait for sound; one more sends the oldest off.
pub const MAX_WAITING: usize = 8;

/// Why samples cannot be put into fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// A picture before its codec is known.
    #[error("a picture came before its codec was known")]
    NoCodec,
    /// A picture that is too large.
    #[error("a picture has {bytes} bytes: at most {MAX_SAMPLE_BYTES} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The time stamps went back.
    #[error("time stamps went back by {back_ms} ms")]
    TimeWentBack {
        /// By how much, milliseconds.
        back_ms: i64,
    },
    /// A file without time stamps cannot be played at its pace.
    #[error("its pictures have no time stamps: put it into a container such as mp4")]
    NoTime,
    /// What we wrote does not read back: a codec record of the source is damaged.
    #[error("codec configuration of the source is damaged")]
    Init(#[source] fmp4::Fmp4Error),
}

/// One coded picture or block of sound.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// When it is shown, nanoseconds of the pipeline's running time.
    pub time_ns: i64,
    /// How long, nanoseconds, if the source says.
    pub duration_ns: Option<i64>,
    /// Whether it can be decoded alone.
    pub sync: bool,
    /// Wall clock at which it was captured, microseconds since the Unix epoch.
    pub captured_at_us: u64,
    /// Its bytes.
    pub data: &'a [u8],
}

/// A picture of the open fragment.
#[derive(Debug, Clone, Copy)]
struct Picture {
    /// Ticks since the start of the run.
    time: i64,
    size: u32,
    sync: bool,
}

#[derive(Debug, Default)]
struct Open {
    pictures: Vec<Picture>,
    data: Vec<u8>,
    captured_at_us: u64,
}

/// A fragment whose pictures are complete.
#[derive(Debug)]
struct Closed {
    start: i64,
    end: i64,
    samples: Vec<RunSample>,
    data: Vec<u8>,
    captured_at_us: u64,
    lost_after: Option<Loss>,
}

/// Makes fragments of samples.
#[derive(Debug)]
pub struct Muxer {
    cutter: Cutter,
    note: EncoderNote,
    video: Option<VideoConfig>,
    sound: Option<SoundTrack>,
    sound_expected: bool,
    announced: Option<(VideoConfig, Option<AudioConfig>)>,
    origin_ns: Option<i64>,
    first_seen_ns: Option<i64>,
    open: Open,
    last_time: i64,
    latest_ns: i64,
    frame_ticks: i64,
    reordered: bool,
    /// Ticks by which everything is shown later than decoded; known once the first fragment is
    /// closed.
    delay: Option<i64>,
    next_start: i64,
    last_end: i64,
    waiting: VecDeque<Closed>,
    sequence: u32,
    last_bytes: usize,
}

impl Muxer {
    /// A muxer for one run. `note` goes into every init segment.
    pub fn new(fragment_us: u64, note: EncoderNote) -> Self {
        Self {
            cutter: Cutter::new(ns_to_ticks(
                i64::try_from(fragment_us).unwrap_or(1_000_000) * 1000,
            )),
            note,
            video: None,
            sound: None,
            sound_expected: false,
            announced: None,
            origin_ns: None,
            first_seen_ns: None,
            open: Open::default(),
            last_time: 0,
            latest_ns: 0,
            frame_ticks: i64::from(VIDEO_TIMESCALE) / 25,
            reordered: false,
            delay: None,
            next_start: 0,
            last_end: 0,
            waiting: VecDeque::new(),
            sequence: 0,
            last_bytes: 0,
        }
    }

    /// Who encodes, as the init segments from now on say.
    pub fn set_note(&mut self, note: EncoderNote) {
        self.note = note;
    }

    /// Sound will come: the first fragment waits for its codec up to [`SOUND_START_WAIT_NS`].
    pub fn expect_sound(&mut self, expected: bool) {
        self.sound_expected = expected;
    }

    /// The pictures' codec from now on; a change closes the open fragment.
    ///
    /// # Errors
    /// As [`Muxer::flush`].
    pub fn set_video(
        &mut self,
        config: VideoConfig,
        out: &mut Vec<MediaEvent>,
    ) -> Result<(), MuxError> {
        if self.video.as_ref() == Some(&config) {
            return Ok(());
        }
        if self.video.is_some() {
            self.close(None);
            self.release_all(out)?;
        }
        self.video = Some(config);
        Ok(())
    }

    /// The sound's codec from now on; a change closes the open fragment.
    ///
    /// # Errors
    /// As [`Muxer::flush`].
    pub fn set_audio(
        &mut self,
        config: AudioConfig,
        out: &mut Vec<MediaEvent>,
    ) -> Result<(), MuxError> {
        match &self.sound {
            Some(sound) if *sound.config() == config => return Ok(()),
            Some(_) => {
                self.close(None);
                self.release_all(out)?;
            }
            None => {}
        }
        self.sound = Some(SoundTrack::new(config));
        Ok(())
    }

    /// Takes a picture, in decoding order.
    ///
    /// # Errors
    /// A picture that cannot be recorded; the run is over then.
    pub fn push_video(
        &mut self,
        sample: &Sample<'_>,
        out: &mut Vec<MediaEvent>,
    ) -> Result<(), MuxError> {
        if self.video.is_none() {
            return Err(MuxError::NoCodec);
        }
        let size = u32::try_from(sample.data.len())
            .ok()
            .filter(|_| sample.data.len() <= MAX_SAMPLE_BYTES)
            .ok_or(MuxError::TooLarge { bytes: sample.data.len() })?;
        let Some(origin) = self.origin(sample) else { return Ok(()) };
        let since_ns = sample.time_ns.saturating_sub(origin);
        let time = ns_to_ticks(since_ns);
        if since_ns < 0 && self.open.pictures.is_empty() && self.next_start == 0 {
            return Ok(()); // shown before the first keyframe, and not decodable
        }
        let back_ns = self.latest_ns.saturating_sub(since_ns);
        if back_ns > MAX_REORDER_NS {
            return Err(MuxError::TimeWentBack { back_ms: back_ns / 1_000_000 });
        }
        if let Some(duration) = sample.duration_ns.filter(|d| *d > 0 && *d < MIN_GAP_NS)
            && self.open.pictures.is_empty()
            && self.sequence == 0
        {
            self.frame_ticks = ns_to_ticks(duration).max(1);
        }
        let forward = time > self.last_time || self.open.pictures.is_empty();
        if !forward {
            self.reordered = true;
        }
        if sample.sync {
            self.cutter.keyframe(time);
        }
        if let Some(first) = self.open.pictures.iter().map(|p| p.time).min() {
            let gap_ns = since_ns - self.latest_ns;
            let gap = gap_ns > MIN_GAP_NS && ns_to_ticks(gap_ns) > 8 * self.frame_ticks;
            let full = self.open.pictures.len() >= MAX_OPEN_SAMPLES
                || self.open.data.len() + sample.data.len() > MAX_OPEN_BYTES;
            let due = forward && self.cutter.cut(time - first, sample.sync, self.frame_ticks);
            if gap {
                self.close(None);
                self.declare_gap(time);
            } else if due || full {
                self.close(Some(time));
            }
        }
        if self.open.pictures.is_empty() {
            self.open.captured_at_us = sample.captured_at_us;
            // The next fragment will be about as large as the last; growing copies.
            self.open.data.reserve(self.last_bytes + self.last_bytes / 8);
        }
        self.open.pictures.push(Picture { time, size, sync: sample.sync });
        self.open.data.extend_from_slice(sample.data);
        if time > self.last_time {
            let step = time - self.last_time;
            if forward
                && !self.reordered
                && self.open.pictures.len() > 1
                && step < 8 * self.frame_ticks
            {
                self.frame_ticks = step;
            }
            self.last_time = time;
        }
        self.latest_ns = self.latest_ns.max(since_ns);
        self.release_ready(out)
    }

    /// Takes a block of sound.
    ///
    /// # Errors
    /// As [`Muxer::flush`].
    pub fn push_audio(
        &mut self,
        sample: &Sample<'_>,
        out: &mut Vec<MediaEvent>,
    ) -> Result<(), MuxError> {
        if let Some(sound) = &mut self.sound {
            sound.push(sample);
        }
        self.release_ready(out)
    }

    /// Ends the run: everything still held becomes fragments.
    ///
    /// # Errors
    /// When the source's codec records are damaged.
    pub fn flush(&mut self, out: &mut Vec<MediaEvent>) -> Result<(), MuxError> {
        self.close(None);
        self.release_all(out)
    }

    /// Whether nothing has come out yet.
    pub fn is_untouched(&self) -> bool {
        self.announced.is_none() && self.waiting.is_empty()
    }

    /// Forgets all samples, as if the run began now; codecs stay.
    pub fn forget_samples(&mut self) {
        self.open = Open::default();
        self.origin_ns = None;
        self.first_seen_ns = None;
        self.last_time = 0;
        self.latest_ns = 0;
        self.reordered = false;
        self.cutter.forget();
        self.sound = self.sound.take().map(|sound| SoundTrack::new(sound.config().clone()));
    }

    /// Running time of the first picture; `None` while waiting for a keyframe.
    fn origin(&mut self, sample: &Sample<'_>) -> Option<i64> {
        if let Some(origin) = self.origin_ns {
            return Some(origin);
        }
        let first = *self.first_seen_ns.get_or_insert(sample.time_ns);
        if !sample.sync && sample.time_ns.saturating_sub(first) < KEYFRAME_WAIT_NS {
            return None;
        }
        self.origin_ns = Some(sample.time_ns);
        Some(sample.time_ns)
    }

    /// Closes the open fragment; `next` is the time of the picture that follows.
    fn close(&mut self, next: Option<i64>) {
        if self.open.pictures.is_empty() {
            return;
        }
        let open = std::mem::take(&mut self.open);
        self.last_bytes = open.data.len();
        // Decoding times: the presentation times in order, each later than the one before.
        let mut times: Vec<i64> = open.pictures.iter().map(|p| p.time).collect();
        times.sort_unstable();
        // Where a run of reordered pictures is cut short, the earliest are not there; decoding goes
        // on all the same.
        if let Some(first) = times.first_mut()
            && self.reordered
            && *first > self.last_end
            && *first - self.last_end < 8 * self.frame_ticks
        {
            *first = self.last_end;
        }
        let mut floor = self.next_start;
        for time in &mut times {
            *time = (*time).max(floor);
            floor = *time + 1;
        }
        let (Some(&start), Some(&last)) = (times.first(), times.last()) else { return };
        if self.reordered
            && let [.., before, last] = times.as_slice()
        {
            self.frame_ticks = (last - before).clamp(1, 8 * self.frame_ticks);
        }
        let end = match next {
            Some(next) if !self.reordered && next > last => next,
            _ => last + self.frame_ticks,
        };
        let late = || open.pictures.iter().zip(&times).map(|(p, decode)| decode - p.time).max();
        let delay = *self.delay.get_or_insert_with(|| late().unwrap_or(0).max(0));
        let samples = open
            .pictures
            .iter()
            .zip(&times)
            .zip(times.iter().skip(1).chain([&end]))
            .map(|((picture, decode), following)| RunSample {
                size: picture.size,
                duration: u32::try_from(following - decode).unwrap_or(1),
                offset: i32::try_from(picture.time + delay - decode).unwrap_or(0),
                sync: picture.sync,
            })
            .collect();
        self.next_start = if self.reordered { last + 1 } else { end };
        self.last_end = end;
        self.waiting.push_back(Closed {
            start,
            end,
            samples,
            data: open.data,
            captured_at_us: open.captured_at_us,
            lost_after: None,
        });
    }

    /// The fragment just closed is followed by nothing until `resumes`.
    fn declare_gap(&mut self, resumes: i64) {
        if let Some(closed) = self.waiting.back_mut() {
            let start_us = fmp4::ticks_to_us(closed.end, VIDEO_TIMESCALE);
            let end_us = fmp4::ticks_to_us(resumes, VIDEO_TIMESCALE);
            closed.lost_after = Some(Loss {
                start_us,
                duration_us: (end_us - start_us).unsigned_abs(),
                fragments: 0,
                reason: LossReason::SourceGap,
            });
        }
    }

    fn release_ready(&mut self, out: &mut Vec<MediaEvent>) -> Result<(), MuxError> {
        while let Some(front) = self.waiting.front() {
            let late_ns = self.latest_ns - ticks_to_ns(front.end);
            let waits = match &self.sound {
                Some(sound) => {
                    let shown = front.end - self.delay.unwrap_or(0);
                    late_ns < SOUND_WAIT_NS && !sound.reaches(self.origin_ns, shown)
                }
                None => {
                    self.sound_expected
                        && self.announced.is_none()
                        && self.latest_ns < SOUND_START_WAIT_NS
                }
            };
            if waits && self.waiting.len() <= MAX_WAITING {
                break;
            }
            self.release(false, out)?;
        }
        Ok(())
    }

    fn release_all(&mut self, out: &mut Vec<MediaEvent>) -> Result<(), MuxError> {
        while !self.waiting.is_empty() {
            self.release(self.waiting.len() == 1, out)?;
        }
        Ok(())
    }

    /// Sends off the oldest finished fragment with the sound up to its end; `last` takes all sound
    /// there is.
    fn release(&mut self, last: bool, out: &mut Vec<MediaEvent>) -> Result<(), MuxError> {
        let Some(closed) = self.waiting.pop_front() else { return Ok(()) };
        let video = self.video.clone().ok_or(MuxError::NoCodec)?;
        let current = (video, self.sound.as_ref().map(|s| s.config().clone()));
        if self.announced.as_ref() != Some(&current) {
            let bytes = fmp4::init_segment(&current.0, current.1.as_ref());
            let tracks: Vec<Track> = fmp4::parse_init(&bytes).map_err(MuxError::Init)?;
            let encoder = self.note.clone();
            out.push(MediaEvent::Init(InitSegment { bytes, tracks, encoder }));
            self.announced = Some(current);
        }
        let delay_ns = ticks_to_ns(self.delay.unwrap_or(0));
        let run = match (&mut self.sound, self.origin_ns) {
            (Some(sound), Some(origin)) => {
                sound.take(origin - delay_ns, (!last).then_some(closed.end))
            }
            _ => None,
        };
        self.sequence += 1;
        let pictures = TrackRun {
            track: VIDEO_TRACK,
            start: u64::try_from(closed.start).unwrap_or(0),
            samples: &closed.samples,
            data: &closed.data,
        };
        let bytes = match &run {
            Some(run) => fmp4::fragment(self.sequence, &[pictures, run.as_track_run()]),
            None => fmp4::fragment(self.sequence, &[pictures]),
        };
        let start_us = fmp4::ticks_to_us(closed.start, VIDEO_TIMESCALE);
        let end_us = fmp4::ticks_to_us(closed.end, VIDEO_TIMESCALE);
        out.push(MediaEvent::Fragment(Fragment {
            bytes,
            start_us,
            duration_us: (end_us - start_us).unsigned_abs(),
            keyframe: closed.samples.first().is_some_and(|s| s.sync),
            captured_at_us: closed.captured_at_us,
        }));
        out.extend(closed.lost_after.map(MediaEvent::Lost));
        Ok(())
    }
}

/// Nanoseconds to ticks of the video track, to the nearest.
fn ns_to_ticks(ns: i64) -> i64 {
    let scaled = i128::from(ns) * i128::from(VIDEO_TIMESCALE);
    let half = if scaled < 0 { -500_000_000 } else { 500_000_000 };
    i64::try_from((scaled + half) / 1_000_000_000).unwrap_or(i64::MAX)
}

fn ticks_to_ns(ticks: i64) -> i64 {
    ticks.saturating_mul(100_000) / 9
}

#[cfg(test)]
mod tests;
