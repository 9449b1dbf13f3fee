//! Reading a fragment back and moving it on the time line.

use super::boxes::{Span, one, spans};
use super::write::NON_SYNC_BIT;
use super::{Fmp4Error, FourCc, MAX_FRAGMENT_BYTES, MAX_SAMPLES, ticks_to_us, us_to_ticks};
use crate::media::{Track, TrackKind};

/// One track's part of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackFragment {
    /// Track id.
    pub track: u32,
    /// Decoding time of the first sample, ticks of the track.
    pub start: u64,
    /// Sum of the samples' durations, ticks.
    pub duration: u64,
    /// Number of samples.
    pub samples: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the first sample can be decoded alone.
    pub starts_sync: bool,
}

/// What a fragment says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Sequence number of `mfhd`.
    pub sequence: u32,
    /// Start of the pictures (or of the first track when there are none) in microseconds.
    pub start_us: i64,
    /// Length of the same track in microseconds.
    pub duration_us: u64,
    /// Whether the first picture can be decoded alone.
    pub keyframe: bool,
    /// Each track's part.
    pub tracks: Vec<TrackFragment>,
}

/// Where the parts of a fragment lie that `rebase` rewrites.
struct Layout {
    sequence_at: usize,
    sequence: u32,
    times: Vec<Time>,
    tracks: Vec<TrackFragment>,
}

struct Time {
    track: u32,
    timescale: u32,
    at: usize,
    wide: bool,
    value: u64,
}

/// Reads start, length and keyframe of a fragment.
///
/// # Errors
/// Anything but one `moof` and one `mdat` (besides `styp`, `sidx`, `prft`, `emsg`, `free`) that
/// agree with each other and with `tracks`.
pub fn inspect(fragment: &[u8], tracks: &[Track]) -> Result<FragmentInfo, Fmp4Error> {
    let layout = parse(fragment, tracks)?;
    let is_video = |id| tracks.iter().any(|t| t.id == id && t.kind == TrackKind::Video);
    let lead = layout
        .tracks
        .iter()
        .find(|t| is_video(t.track))
        .or(layout.tracks.first())
        .ok_or(Fmp4Error::Missing { name: FourCc(*b"traf"), parent: FourCc(*b"moof") })?;
    let scale = tracks.iter().find(|t| t.id == lead.track).map_or(1, |t| t.timescale);
    let time = |ticks: u64| {
        i64::try_from(ticks).map(|t| ticks_to_us(t, scale)).map_err(|_| Fmp4Error::Time {
            name: FourCc(*b"tfdt"),
            track: lead.track,
            offset_us: 0,
        })
    };
    let start_us = time(lead.start)?;
    let end_us = time(lead.start.saturating_add(lead.duration))?;
    Ok(FragmentInfo {
        sequence: layout.sequence,
        start_us,
        duration_us: end_us.saturating_sub(start_us).unsigned_abs(),
        keyframe: lead.starts_sync,
        tracks: layout.tracks,
    })
}

/// Moves every track of a fragment by `offset_us` and gives it a sequence number; nothing is
/// changed on error.
///
/// The offset is turned into ticks once per track, so fragments moved by the same offset keep their
/// distances exactly.
///
/// # Errors
/// As [`inspect`], or when a time would become negative or not fit its field.
pub fn rebase(
    fragment: &mut [u8],
    tracks: &[Track],
    offset_us: i64,
    sequence: u32,
) -> Result<(), Fmp4Error> {
    let layout = parse(fragment, tracks)?;
    let mut moved = Vec::with_capacity(layout.times.len());
    for time in &layout.times {
        let error = Fmp4Error::Time { name: FourCc(*b"tfdt"), track: time.track, offset_us };
        let offset = us_to_ticks(offset_us, time.timescale).ok_or(error)?;
        let value = time.value.checked_add_signed(offset).ok_or(error)?;
        if !time.wide && u32::try_from(value).is_err() {
            return Err(error);
        }
        moved.push(value);
    }
    write_u32(fragment, layout.sequence_at, sequence);
    for (time, value) in layout.times.iter().zip(moved) {
        if time.wide {
            write_u32(fragment, time.at, (value >> 32) as u32);
            write_u32(fragment, time.at + 4, value as u32);
        } else {
            write_u32(fragment, time.at, value as u32);
        }
    }
    Ok(())
}

fn write_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn parse(data: &[u8], tracks: &[Track]) -> Result<Layout, Fmp4Error> {
    if data.len() > MAX_FRAGMENT_BYTES {
        return Err(Fmp4Error::TooLarge {
            what: "fragment",
            bytes: data.len(),
            limit: MAX_FRAGMENT_BYTES,
        });
    }
    let file = FourCc(*b"file");
    let top = spans(data, 0, data.len(), file)?;
    if let Some(odd) = top.iter().find(|s| {
        !matches!(&s.name.0, b"moof" | b"mdat" | b"styp" | b"sidx" | b"prft" | b"emsg" | b"free")
    }) {
        return Err(Fmp4Error::Misplaced { name: odd.name, at: odd.start });
    }
    let moof = one(&top, b"moof", file)?;
    let mdat = one(&top, b"mdat", file)?;
    if mdat.start < moof.end {
        return Err(Fmp4Error::Misplaced { name: mdat.name, at: mdat.start });
    }
    let inner = moof.children(data, 0)?;
    let mfhd = one(&inner, b"mfhd", moof.name)?;
    let (_, _, mut fields) = mfhd.full(data)?;
    let sequence_at = fields.position();
    let sequence = fields.u32()?;
    let mut layout = Layout { sequence_at, sequence, times: Vec::new(), tracks: Vec::new() };
    for traf in inner.iter().filter(|s| s.name.0 == *b"traf") {
        parse_traf(data, &moof, &mdat, traf, tracks, &mut layout)?;
    }
    if layout.tracks.is_empty() {
        return Err(Fmp4Error::Missing { name: FourCc(*b"traf"), parent: moof.name });
    }
    Ok(layout)
}

/// Defaults of `tfhd`.
struct Defaults {
    duration: u32,
    size: u32,
    flags: Option<u32>,
}

fn parse_traf(
    data: &[u8],
    moof: &Span,
    mdat: &Span,
    traf: &Span,
    tracks: &[Track],
    layout: &mut Layout,
) -> Result<(), Fmp4Error> {
    let inner = traf.children(data, 0)?;
    let tfhd = one(&inner, b"tfhd", traf.name)?;
    let (_, flags, mut fields) = tfhd.full(data)?;
    let id = fields.u32()?;
    let track = tracks
        .iter()
        .find(|t| t.id == id)
        .ok_or(Fmp4Error::UnknownTrack { name: tfhd.name, track: id })?;
    if layout.tracks.iter().any(|t| t.track == id) {
        return Err(Fmp4Error::Misplaced { name: traf.name, at: traf.start });
    }
    if flags & 0x01 != 0 || flags & 0x02_0000 == 0 {
        return Err(Fmp4Error::Field {
            name: tfhd.name,
            what: "data must be addressed from the start of moof (default-base-is-moof)",
        });
    }
    if flags & 0x02 != 0 {
        fields.skip(4)?;
    }
    let duration = if flags & 0x08 != 0 { fields.u32()? } else { 0 };
    let size = if flags & 0x10 != 0 { fields.u32()? } else { 0 };
    let default_flags = if flags & 0x20 != 0 { Some(fields.u32()?) } else { None };
    let defaults = Defaults { duration, size, flags: default_flags };

    let tfdt = one(&inner, b"tfdt", traf.name)?;
    let (version, _, mut fields) = tfdt.full(data)?;
    let at = fields.position();
    let wide = version == 1;
    let start = if wide { fields.u64()? } else { u64::from(fields.u32()?) };
    layout.times.push(Time { track: id, timescale: track.timescale, at, wide, value: start });

    let mut part =
        TrackFragment { track: id, start, duration: 0, samples: 0, bytes: 0, starts_sync: false };
    let mut next = None;
    for trun in inner.iter().filter(|s| s.name.0 == *b"trun") {
        next = Some(parse_trun(data, moof, mdat, trun, &defaults, next, &mut part)?);
    }
    if part.samples == 0 {
        return Err(Fmp4Error::Missing { name: FourCc(*b"trun"), parent: traf.name });
    }
    layout.tracks.push(part);
    Ok(())
}

/// Adds one run to `part`; returns where its data ends in the fragment.
fn parse_trun(
    data: &[u8],
    moof: &Span,
    mdat: &Span,
    trun: &Span,
    defaults: &Defaults,
    next: Option<u64>,
    part: &mut TrackFragment,
) -> Result<u64, Fmp4Error> {
    let outside = Fmp4Error::DataRange { name: trun.name, track: part.track };
    let (_, flags, mut fields) = trun.full(data)?;
    let count = fields.u32()? as usize;
    if count > MAX_SAMPLES - part.samples {
        return Err(Fmp4Error::TooMany { name: trun.name, what: "samples", limit: MAX_SAMPLES });
    }
    let mut at = if flags & 0x01 != 0 {
        let offset = i64::from(i32::from_be_bytes(fields.array()?));
        (moof.start as u64).checked_add_signed(offset).ok_or(outside)?
    } else {
        next.ok_or(Fmp4Error::Field { name: trun.name, what: "has no data offset" })?
    };
    let first_flags = if flags & 0x04 != 0 { Some(fields.u32()?) } else { None };
    let width = [0x0100, 0x0200, 0x0400, 0x0800].iter().filter(|f| flags & **f != 0).count() * 4;
    if fields.remaining() < count.saturating_mul(width) {
        return Err(Fmp4Error::Truncated { name: trun.name, at: trun.start });
    }
    let begin = at;
    for index in 0..count {
        let duration = if flags & 0x0100 != 0 { fields.u32()? } else { defaults.duration };
        let size = if flags & 0x0200 != 0 { fields.u32()? } else { defaults.size };
        let own = if flags & 0x0400 != 0 { Some(fields.u32()?) } else { None };
        if flags & 0x0800 != 0 {
            fields.skip(4)?;
        }
        if part.samples == 0 && index == 0 {
            let effective = first_flags.or(own).or(defaults.flags);
            part.starts_sync = effective.is_some_and(|f| f & NON_SYNC_BIT == 0);
        }
        part.duration += u64::from(duration);
        part.bytes += u64::from(size);
        at += u64::from(size);
    }
    if count > 0 && (begin < mdat.body as u64 || at > mdat.end as u64) {
        return Err(outside);
    }
    part.samples += count;
    Ok(at)
}
