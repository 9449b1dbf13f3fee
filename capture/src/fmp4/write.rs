//! Writing one fragment: `moof` + `mdat`.

use super::boxes::Writer;

/// `sample_flags` of a sample that can be decoded alone.
pub(super) const SYNC_FLAGS: u32 = 0x0200_0000;
/// `sample_flags` of one that needs others.
pub(super) const DEPENDENT_FLAGS: u32 = 0x0101_0000;
/// The bit of `sample_flags` that says "not a sync sample".
pub(super) const NON_SYNC_BIT: u32 = 0x0001_0000;

/// One sample in decoding order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSample {
    /// Bytes in the run's data.
    pub size: u32,
    /// Ticks until the next sample is decoded.
    pub duration: u32,
    /// Ticks from decoding to showing; may be negative.
    pub offset: i32,
    /// Whether it can be decoded alone.
    pub sync: bool,
}

/// The samples of one track in one fragment.
#[derive(Debug, Clone, Copy)]
pub struct TrackRun<'a> {
    /// Track id.
    pub track: u32,
    /// Decoding time of the first sample, ticks.
    pub start: u64,
    /// The samples.
    pub samples: &'a [RunSample],
    /// Their bytes, one after the other.
    pub data: &'a [u8],
}

/// Writes a fragment; runs without samples are left out.
pub fn fragment(sequence: u32, runs: &[TrackRun<'_>]) -> Vec<u8> {
    let data: usize = runs.iter().map(|r| r.data.len()).sum();
    let samples: usize = runs.iter().map(|r| r.samples.len()).sum();
    let mut w = Writer::with_capacity(data + samples * 16 + 256);
    let mut offsets = Vec::with_capacity(runs.len());
    w.nest(b"moof", |w| {
        w.full(b"mfhd", 0, 0, |w| w.u32(sequence));
        for run in runs.iter().filter(|r| !r.samples.is_empty()) {
            w.nest(b"traf", |w| offsets.push((track_run(w, run), run.data.len())));
        }
    });
    let mut position = w.out.len() + 8;
    for (place, length) in offsets {
        w.patch(place, u32::try_from(position).unwrap_or(u32::MAX));
        position += length;
    }
    w.nest(b"mdat", |w| {
        for run in runs.iter().filter(|r| !r.samples.is_empty()) {
            w.bytes(run.data);
        }
    });
    w.out
}

/// Writes `tfhd`, `tfdt`, `trun`; returns where the data offset goes.
fn track_run(w: &mut Writer, run: &TrackRun<'_>) -> usize {
    let first = run.samples.first();
    let duration = first.map_or(0, |s| s.duration);
    let same_duration = run.samples.iter().all(|s| s.duration == duration);
    let reordered = run.samples.iter().any(|s| s.offset != 0);
    let all_sync = run.samples.iter().all(|s| s.sync);
    let rest_dependent = run.samples.iter().skip(1).all(|s| !s.sync);
    let default_flags = if all_sync { SYNC_FLAGS } else { DEPENDENT_FLAGS };
    let first_flags = !all_sync && rest_dependent && first.is_some_and(|s| s.sync);
    let each_flags = !all_sync && !rest_dependent;

    let header = 0x02_0020 | if same_duration { 0x08 } else { 0 };
    w.full(b"tfhd", 0, header, |w| {
        w.u32(run.track);
        if same_duration {
            w.u32(duration);
        }
        w.u32(default_flags);
    });
    w.full(b"tfdt", 1, 0, |w| w.u64(run.start));
    let flags = 0x0201
        | if first_flags { 0x04 } else { 0 }
        | if same_duration { 0 } else { 0x0100 }
        | if each_flags { 0x0400 } else { 0 }
        | if reordered { 0x0800 } else { 0 };
    let mut place = 0;
    w.full(b"trun", 1, flags, |w| {
        w.u32(u32::try_from(run.samples.len()).unwrap_or(u32::MAX));
        place = w.out.len();
        w.u32(0);
        if first_flags {
            w.u32(SYNC_FLAGS);
        }
        for sample in run.samples {
            if !same_duration {
                w.u32(sample.duration);
            }
            w.u32(sample.size);
            if each_flags {
                w.u32(if sample.sync { SYNC_FLAGS } else { DEPENDENT_FLAGS });
            }
            if reordered {
                w.bytes(&sample.offset.to_be_bytes());
            }
        }
    });
    place
}
