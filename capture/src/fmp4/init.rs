//! The init segment: `ftyp` + `moov` without samples.

use super::boxes::{Span, Writer, one, spans};
use super::codec::{AudioConfig, VideoConfig, read_entry};
use super::{Fmp4Error, FourCc, MAX_INIT_BYTES, MAX_TRACKS};
use crate::media::{Track, TrackKind};

/// Timescale of every video track this module writes: ticks per second.
pub const VIDEO_TIMESCALE: u32 = 90_000;
/// Track id of pictures in what this module writes.
pub const VIDEO_TRACK: u32 = 1;
/// Track id of sound in what this module writes.
pub const AUDIO_TRACK: u32 = 2;

/// Writes an init segment for pictures and, if given, sound. No edit lists: time 0 is the first
/// picture.
pub fn init_segment(video: &VideoConfig, audio: Option<&AudioConfig>) -> Vec<u8> {
    let mut w = Writer::with_capacity(2048);
    w.nest(b"ftyp", |w| {
        w.bytes(b"iso6");
        w.u32(0);
        w.bytes(b"iso6cmf2mp41");
    });
    w.nest(b"moov", |w| {
        w.full(b"mvhd", 0, 0, |w| {
            w.zeros(8);
            w.u32(1000);
            w.u32(0);
            w.u32(0x0001_0000);
            w.u16(0x0100);
            w.zeros(10);
            matrix(w);
            w.zeros(24);
            w.u32(AUDIO_TRACK + 1);
        });
        track(w, VIDEO_TRACK, VIDEO_TIMESCALE, Some(video), |w| video.write_entry(w));
        if let Some(audio) = audio {
            track(w, AUDIO_TRACK, audio.rate, None, |w| audio.write_entry(w));
        }
        w.nest(b"mvex", |w| {
            trex(w, VIDEO_TRACK);
            if audio.is_some() {
                trex(w, AUDIO_TRACK);
            }
        });
    });
    w.out
}

fn track(
    w: &mut Writer,
    id: u32,
    timescale: u32,
    video: Option<&VideoConfig>,
    entry: impl FnOnce(&mut Writer),
) {
    w.nest(b"trak", |w| {
        w.full(b"tkhd", 0, 3, |w| {
            w.zeros(8);
            w.u32(id);
            w.zeros(4 + 4 + 8 + 4);
            w.u16(if video.is_some() { 0 } else { 0x0100 }); // volume
            w.u16(0);
            matrix(w);
            // Shown size: pixels stretched to square ones.
            let (mut width, height) =
                video.map_or((0, 0), |v| (u32::from(v.width), u32::from(v.height)));
            if let Some((horizontal, vertical @ 1..)) = video.map(|v| v.pixel_aspect) {
                let shown = u64::from(width) * u64::from(horizontal) / u64::from(vertical);
                width = u32::try_from(shown).unwrap_or(width).min(0xffff);
            }
            w.u32(width << 16);
            w.u32(height << 16);
        });
        w.nest(b"mdia", |w| {
            w.full(b"mdhd", 0, 0, |w| {
                w.zeros(8);
                w.u32(timescale);
                w.u32(0);
                w.u16(0x55c4); // und
                w.u16(0);
            });
            w.full(b"hdlr", 0, 0, |w| {
                w.u32(0);
                w.bytes(if video.is_some() { b"vide" } else { b"soun" });
                w.zeros(12);
                w.bytes(if video.is_some() { b"video\0" } else { b"sound\0" });
            });
            w.nest(b"minf", |w| {
                if video.is_some() {
                    w.full(b"vmhd", 0, 1, |w| w.zeros(8));
                } else {
                    w.full(b"smhd", 0, 0, |w| w.zeros(4));
                }
                w.nest(b"dinf", |w| {
                    w.full(b"dref", 0, 0, |w| {
                        w.u32(1);
                        w.full(b"url ", 0, 1, |_| {});
                    });
                });
                w.nest(b"stbl", |w| {
                    w.full(b"stsd", 0, 0, |w| {
                        w.u32(1);
                        entry(w);
                    });
                    w.full(b"stts", 0, 0, |w| w.u32(0));
                    w.full(b"stsc", 0, 0, |w| w.u32(0));
                    w.full(b"stsz", 0, 0, |w| w.zeros(8));
                    w.full(b"stco", 0, 0, |w| w.u32(0));
                });
            });
        });
    });
}

fn trex(w: &mut Writer, track: u32) {
    w.full(b"trex", 0, 0, |w| {
        w.u32(track);
        w.u32(1); // default_sample_description_index
        w.zeros(12);
    });
}

fn matrix(w: &mut Writer) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        w.u32(value);
    }
}

/// Reads the tracks of an init segment, pictures and sound only, in the file's order.
///
/// # Errors
/// Names the box that is missing, cut short or makes no sense.
pub fn parse_init(data: &[u8]) -> Result<Vec<Track>, Fmp4Error> {
    if data.len() > MAX_INIT_BYTES {
        return Err(Fmp4Error::TooLarge {
            what: "init segment",
            bytes: data.len(),
            limit: MAX_INIT_BYTES,
        });
    }
    let file = FourCc(*b"file");
    let top = spans(data, 0, data.len(), file)?;
    one(&top, b"ftyp", file)?;
    let moov = one(&top, b"moov", file)?;
    let inner = moov.children(data, 0)?;
    one(&inner, b"mvex", moov.name)?;
    let mut tracks: Vec<Track> = Vec::new();
    for trak in inner.iter().filter(|s| s.name.0 == *b"trak") {
        let Some(track) = parse_track(data, trak)? else { continue };
        if tracks.len() == MAX_TRACKS {
            return Err(Fmp4Error::TooMany { name: moov.name, what: "tracks", limit: MAX_TRACKS });
        }
        if tracks.iter().any(|t| t.id == track.id) {
            return Err(Fmp4Error::Field {
                name: FourCc(*b"tkhd"),
                what: "repeats a track id: each track needs its own",
            });
        }
        tracks.push(track);
    }
    if tracks.is_empty() {
        return Err(Fmp4Error::Missing { name: FourCc(*b"trak"), parent: moov.name });
    }
    Ok(tracks)
}

fn parse_track(data: &[u8], trak: &Span) -> Result<Option<Track>, Fmp4Error> {
    let tkhd = trak.child(data, b"tkhd")?;
    let (version, _, mut fields) = tkhd.full(data)?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    let id = fields.u32()?;
    if id == 0 {
        return Err(Fmp4Error::Field { name: tkhd.name, what: "track id 0 is not allowed" });
    }
    let mdia = trak.child(data, b"mdia")?;
    let (_, _, mut fields) = mdia.child(data, b"hdlr")?.full(data)?;
    fields.skip(4)?;
    let kind = match &fields.array()? {
        b"vide" => TrackKind::Video,
        b"soun" => TrackKind::Audio,
        _ => return Ok(None),
    };
    let mdhd = mdia.child(data, b"mdhd")?;
    let (version, _, mut fields) = mdhd.full(data)?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    let timescale = fields.u32()?;
    if timescale == 0 {
        return Err(Fmp4Error::Field { name: mdhd.name, what: "timescale 0 is not allowed" });
    }
    let stsd = mdia.child(data, b"minf")?.child(data, b"stbl")?.child(data, b"stsd")?;
    let entries = stsd.children(data, 8)?;
    let entry =
        entries.first().ok_or(Fmp4Error::Missing { name: FourCc(*b"avc1"), parent: stsd.name })?;
    let entry = read_entry(data, entry, kind == TrackKind::Video)?;
    let rate = match kind {
        TrackKind::Audio if entry.rate == 0 => timescale,
        _ => entry.rate,
    };
    Ok(Some(Track {
        id,
        kind,
        codec: entry.codec,
        timescale,
        width: entry.width,
        height: entry.height,
        rate,
        channels: entry.channels,
    }))
}
