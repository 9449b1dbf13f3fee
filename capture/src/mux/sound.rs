//! The sound track: waits for its pictures, and is laid out without holes where there are none.

use std::collections::VecDeque;

use super::{Sample, ticks_to_ns};
use crate::fmp4::{AUDIO_TRACK, AudioConfig, MAX_SAMPLES, RunSample, TrackRun};

/// Blocks of sound that may wait for pictures; the oldest goes first. At 1024 samples and 48 kHz
/// about 20 s.
pub const MAX_SOUND_BLOCKS: usize = 1024;
/// Bytes of sound that may wait; the oldest goes first.
pub const MAX_SOUND_BYTES: usize = 4 << 20;
/// Time stamps that differ from the sum of durations by less are jitter, nanoseconds.
const JITTER_NS: i64 = 60_000_000;

#[derive(Debug)]
struct Block {
    time_ns: i64,
    duration: u32,
    data: Vec<u8>,
}

/// Sound that waits for its fragment.
#[derive(Debug)]
pub(super) struct SoundTrack {
    config: AudioConfig,
    blocks: VecDeque<Block>,
    bytes: usize,
    end_ns: i64,
    next: Option<i64>,
}

/// The sound of one fragment.
#[derive(Debug)]
pub(super) struct SoundRun {
    start: u64,
    samples: Vec<RunSample>,
    data: Vec<u8>,
}

impl SoundRun {
    pub fn as_track_run(&self) -> TrackRun<'_> {
        TrackRun { track: AUDIO_TRACK, start: self.start, samples: &self.samples, data: &self.data }
    }
}

impl SoundTrack {
    pub fn new(config: AudioConfig) -> Self {
        Self { config, blocks: VecDeque::new(), bytes: 0, end_ns: i64::MIN, next: None }
    }

    pub fn config(&self) -> &AudioConfig {
        &self.config
    }

    pub fn push(&mut self, sample: &Sample<'_>) {
        if sample.data.is_empty() || sample.data.len() > MAX_SOUND_BYTES {
            return;
        }
        let frame = self.config.frame_ticks();
        let duration = match sample.duration_ns {
            // Coded AAC frames have one length; what the source says about them is rounded.
            Some(ns) if matches!(self.config.codec, crate::fmp4::AudioCodec::Opus { .. }) => {
                u32::try_from(self.ticks(ns)).ok().filter(|t| *t > 0).unwrap_or(frame)
            }
            _ => frame,
        };
        let length_ns = i64::from(duration) * 1_000_000_000 / i64::from(self.config.rate.max(1));
        self.end_ns = self.end_ns.max(sample.time_ns.saturating_add(length_ns));
        self.bytes += sample.data.len();
        self.blocks.push_back(Block {
            time_ns: sample.time_ns,
            duration,
            data: sample.data.to_vec(),
        });
        while self.blocks.len() > MAX_SOUND_BLOCKS || self.bytes > MAX_SOUND_BYTES {
            self.drop_oldest();
        }
    }

    /// Whether the sound up to `end` (ticks of the video track) is here.
    pub fn reaches(&self, origin_ns: Option<i64>, end: i64) -> bool {
        origin_ns.is_some_and(|origin| self.end_ns >= origin.saturating_add(ticks_to_ns(end)))
    }

    /// The sound that starts before `end` (ticks of the video track), or all of it.
    pub fn take(&mut self, origin_ns: i64, end: Option<i64>) -> Option<SoundRun> {
        let until = end.map_or(i64::MAX, |end| origin_ns.saturating_add(ticks_to_ns(end)));
        let mut run = SoundRun { start: 0, samples: Vec::new(), data: Vec::new() };
        let jitter = self.ticks(JITTER_NS);
        while let Some(block) = self.blocks.front().filter(|b| b.time_ns < until) {
            if run.samples.len() == MAX_SAMPLES {
                break;
            }
            let time = self.ticks(block.time_ns.saturating_sub(origin_ns));
            if time < 0 && self.next.is_none() {
                self.drop_oldest(); // before the first picture
                continue;
            }
            // Sound follows on sound; a true hole lengthens the block before it or moves the start.
            let expected = self.next.unwrap_or(time);
            let at = if time > expected + jitter { time } else { expected };
            match run.samples.last_mut() {
                None => run.start = u64::try_from(at).unwrap_or(0),
                Some(last) => {
                    last.duration =
                        last.duration.saturating_add(u32::try_from(at - expected).unwrap_or(0));
                }
            }
            run.samples.push(RunSample {
                size: u32::try_from(block.data.len()).unwrap_or(0),
                duration: block.duration,
                offset: 0,
                sync: true,
            });
            run.data.extend_from_slice(&block.data);
            self.next = Some(at + i64::from(block.duration));
            self.drop_oldest();
        }
        (!run.samples.is_empty()).then_some(run)
    }

    fn drop_oldest(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.bytes -= block.data.len();
        }
    }

    fn ticks(&self, ns: i64) -> i64 {
        let scaled = i128::from(ns) * i128::from(self.config.rate);
        i64::try_from(scaled.div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
    }
}
