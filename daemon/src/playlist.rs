//! HLS playlists (RFC 8216, version 7: fMP4) from what the catalogue knows of a session's chunks.
//!
//! Segments begin where a picture stands alone: players drop what they get before one, and would
//! show nothing after a seek. A segment is one of the recorder's fragments, or as many of them as
//! it takes to the next such picture; in the list of what is live, where waiting for it would be
//! seen, each fragment is one. Where time is missing the playlist says so with a discontinuity and
//! the date and time at which the pictures go on.

use std::fmt::Write;

use jiff::Timestamp;
use lucid_capture::catalogue::ChunkMap;

/// Fragments in a live playlist, besides those back to a keyframe: enough for a player to start
/// without waiting, few enough that it stays close to now.
pub const LIVE_FRAGMENTS: usize = 8;

/// Fragments in one segment, at most: those up to the next picture that stands alone, of which a
/// screen has one every 10 s if nothing changes.
pub const SEGMENT_FRAGMENTS: usize = 16;
/// What the segments of a list that grows are expected to stay under, seconds.
const LIST_TARGET_S: u64 = 2;

/// What kind of playlist is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of a session that has ended.
    Whole,
    /// All so far of a session that records.
    Growing,
    /// The last fragments of a session that records.
    Live,
    /// The last fragments of a session that has ended: whoever watched it sees that it has.
    Over,
}

impl Kind {
    fn is_last(self) -> bool {
        matches!(self, Self::Live | Self::Over)
    }
}

/// A chunk and the number of the initialisation segment that its fragments need: the first chunk
/// that has the same one.
pub struct Part {
    /// The chunk.
    pub map: ChunkMap,
    /// The number in `init-{n}.mp4`.
    pub init: u64,
}

/// Fragments that follow on one another in one chunk: `{chunk}-{first}` or `{chunk}-{first}-{last}`
/// in the name of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The chunk.
    pub chunk: u64,
    /// Its first fragment in the segment.
    pub first: usize,
    /// Its last one.
    pub last: usize,
}

/// What one address in a playlist stands for.
struct Segment {
    runs: Vec<Run>,
    fragments: usize,
    keyframe: bool,
    duration_us: u64,
    wall_us: u64,
    init: u64,
    /// The pictures do not follow on from those before.
    is_break: bool,
}

impl Segment {
    fn name(&self) -> String {
        let runs = self.runs.iter().map(|run| match run.last == run.first {
            true => format!("{}-{}", run.chunk, run.first),
            false => format!("{}-{}-{}", run.chunk, run.first, run.last),
        });
        runs.collect::<Vec<_>>().join("_") + ".m4s"
    }

    fn push(&mut self, chunk: u64, index: usize, duration_us: u64) {
        self.duration_us += duration_us;
        self.fragments += 1;
        match self.runs.last_mut().filter(|run| run.chunk == chunk) {
            Some(run) => run.last = index,
            None => self.runs.push(Run { chunk, first: index, last: index }),
        }
    }
}

/// The runs that the name of a segment, without its `.m4s`, stands for; none for what is no name.
pub fn runs(name: &str) -> Option<Vec<Run>> {
    let run = |text: &str| {
        let mut parts = text.split('-');
        let chunk = number(parts.next()?)?;
        let first = usize::try_from(number(parts.next()?)?).ok()?;
        let last = match parts.next() {
            Some(last) => usize::try_from(number(last)?).ok().filter(|last| *last > first)?,
            None => first,
        };
        (parts.next().is_none() && last - first < SEGMENT_FRAGMENTS).then_some(Run {
            chunk,
            first,
            last,
        })
    };
    let runs: Vec<Run> =
        name.split('_').take(SEGMENT_FRAGMENTS + 1).map(run).collect::<Option<_>>()?;
    let fragments: usize = runs.iter().map(|run| run.last - run.first + 1).sum();
    (fragments <= SEGMENT_FRAGMENTS).then_some(runs)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// All segments of a session, in their order.
fn segments(parts: &[Part], kind: Kind) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for Part { map, init } in parts {
        let mut wall_us = map.wall_start_us;
        for (index, fragment) in map.fragments.iter().enumerate() {
            let is_break = index == 0 && !segments.is_empty() && breaks_before(map);
            let joins = !kind.is_last() && !fragment.keyframe && !is_break;
            let open = segments.last_mut().filter(|open| {
                joins && open.keyframe && open.init == *init && open.fragments < SEGMENT_FRAGMENTS
            });
            match open {
                Some(open) => open.push(map.index, index, fragment.duration_us),
                None => segments.push(Segment {
                    runs: vec![Run { chunk: map.index, first: index, last: index }],
                    fragments: 1,
                    keyframe: fragment.keyframe,
                    duration_us: fragment.duration_us,
                    wall_us,
                    init: *init,
                    is_break,
                }),
            }
            wall_us += fragment.duration_us;
        }
    }
    segments
}

/// Writes a playlist; `base` is put before every address.
pub fn write(parts: &[Part], kind: Kind, base: &str) -> String {
    let mut segments = segments(parts, kind);
    let skipped = match kind {
        Kind::Live | Kind::Over => {
            let most = segments.len().saturating_sub(LIVE_FRAGMENTS);
            // A player can begin only where a picture stands alone.
            let before = &segments[..segments.len().min(most + 1)];
            before.iter().rposition(|one| one.keyframe).unwrap_or(most)
        }
        // What is in a list stays as it is: the last segment may become longer yet.
        Kind::Growing => {
            segments.pop();
            0
        }
        Kind::Whole => 0,
    };
    let breaks = segments.iter().take(skipped + 1).filter(|one| one.is_break).count();
    let longest_us = segments.iter().map(|one| one.duration_us).max();
    // It must not change while a list is read anew; fragments are of a second, more or less.
    let least_s = if kind == Kind::Whole { 1 } else { LIST_TARGET_S };
    let target_s = longest_us.unwrap_or(1_000_000).div_ceil(1_000_000).max(least_s);
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    if segments.iter().skip(skipped).all(|one| one.keyframe) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    line(&mut out, format_args!("#EXT-X-TARGETDURATION:{target_s}"));
    line(&mut out, format_args!("#EXT-X-MEDIA-SEQUENCE:{skipped}"));
    match kind {
        Kind::Whole => out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n"),
        Kind::Growing => out.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n"),
        Kind::Live | Kind::Over => {
            line(&mut out, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{breaks}"));
        }
    }
    let (mut init, mut dated) = (None, None);
    for (number, segment) in segments.iter().enumerate().skip(skipped) {
        if segment.is_break && number != skipped {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if init.replace(segment.init) != Some(segment.init) {
            line(&mut out, format_args!("#EXT-X-MAP:URI=\"{base}init-{}.mp4\"", segment.init));
        }
        let chunk = segment.runs.first().map(|run| run.chunk);
        if std::mem::replace(&mut dated, chunk) != chunk {
            let date = Timestamp::from_microsecond(i64::try_from(segment.wall_us).unwrap_or(0));
            let date = date.unwrap_or_default();
            line(&mut out, format_args!("#EXT-X-PROGRAM-DATE-TIME:{date:.3}"));
        }
        let seconds = segment.duration_us as f64 / 1e6;
        line(&mut out, format_args!("#EXTINF:{seconds:.6},"));
        line(&mut out, format_args!("{base}{}", segment.name()));
    }
    if matches!(kind, Kind::Whole | Kind::Over) {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}

/// Whether the pictures of a chunk do not follow on from those before.
fn breaks_before(map: &ChunkMap) -> bool {
    map.gap_before.is_some() || map.clock_jump_us != 0
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use lucid_capture::catalogue::FragmentEntry;
    use lucid_evidence::SessionId;
    use lucid_evidence::chunk::{Gap, GapReason, MediaKind};

    use super::*;

    fn part(index: u64, fragments: u64, gap: bool, init: u64) -> Part {
        let start = index * 10_000_000;
        let gap_before = gap.then_some(Gap { length_us: 5, reason: GapReason::SourceLost });
        let fragment = |n: u64| FragmentEntry {
            first_piece: n,
            pieces: 1,
            bytes: 1,
            start_us: start + n * 1_000_000,
            duration_us: 1_000_000,
            keyframe: true,
        };
        Part {
            init,
            map: ChunkMap {
                session: SessionId::new(0, [0; 10]),
                index,
                kind: MediaKind::Video,
                nonce: [0; 16],
                init_bytes: 1,
                init_pieces: 1,
                runs: Vec::new(),
                fragments: (0..fragments).map(fragment).collect(),
                wall_start_us: 1_795_222_923_000_000 + start,
                wall_end_us: 0,
                stream_start_us: start,
                stream_end_us: start + fragments * 1_000_000,
                gap_before,
                clock_jump_us: 0,
            },
        }
    }

    #[test]
    fn a_whole_session_names_everything_once_and_marks_what_is_missing() {
        let parts = [part(0, 2, false, 0), part(1, 1, false, 0), part(2, 1, true, 2)];
        let expected = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
            #EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n\
            #EXT-X-MAP:URI=\"init-0.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-21T01:02:03.000Z\n\
            #EXTINF:1.000000,\n0-0.m4s\n#EXTINF:1.000000,\n0-1.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-21T01:02:13.000Z\n#EXTINF:1.000000,\n1-0.m4s\n\
            #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-2.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-21T01:02:23.000Z\n#EXTINF:1.000000,\n2-0.m4s\n\
            #EXT-X-ENDLIST\n";
        assert_eq!(write(&parts, Kind::Whole, ""), expected);
        let growing = write(&parts, Kind::Growing, "media/");
        assert!(growing.contains("PLAYLIST-TYPE:EVENT") && !growing.contains("ENDLIST"));
        assert!(growing.contains("\nmedia/1-0.m4s\n") && !growing.contains("2-0.m4s"));
    }

    #[test]
    fn a_live_playlist_slides_with_steady_numbers() {
        let mut parts = vec![part(0, 6, false, 0), part(1, 6, true, 1), part(2, 1, false, 1)];
        let live = write(&parts, Kind::Live, "");
        assert!(live.contains("#EXT-X-MEDIA-SEQUENCE:5\n"), "{live}");
        assert!(live.contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"), "{live}");
        assert_eq!(live.matches(".m4s").count(), LIVE_FRAGMENTS);
        assert!(live.contains("0-5.m4s\n#EXT-X-DISCONTINUITY\n"), "{live}");
        assert!(live.contains("#EXT-X-TARGETDURATION:2\n") && !live.contains("ENDLIST"), "{live}");
        // Once it has ended it is the same list, and says so.
        assert_eq!(write(&parts, Kind::Over, ""), format!("{live}#EXT-X-ENDLIST\n"));
        // One second later the break is the first thing in the list: it counts as gone.
        parts[2] = part(2, 2, false, 1);
        let live = write(&parts, Kind::Live, "");
        assert!(live.contains("#EXT-X-MEDIA-SEQUENCE:6\n"), "{live}");
        assert!(live.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"), "{live}");
        assert!(!live.contains("#EXT-X-DISCONTINUITY\n"), "{live}");
        assert!(!live.contains("ENDLIST"));
    }

    #[test]
    fn a_live_playlist_begins_at_a_keyframe() {
        let mut parts = [part(0, 12, false, 0), part(1, 3, false, 0)];
        for (n, fragment) in parts[0].map.fragments.iter_mut().enumerate() {
            fragment.keyframe = matches!(n, 0 | 4 | 9);
        }
        // The eighth from the end is 7; a picture that stands alone comes with 4.
        let live = write(&parts, Kind::Live, "");
        assert!(
            live.contains("#EXT-X-MEDIA-SEQUENCE:4\n") && live.contains("\n0-4.m4s\n"),
            "{live}"
        );
        assert!(!live.contains("0-3.m4s") && !live.contains("INDEPENDENT"), "{live}");
    }

    #[test]
    fn what_is_recorded_is_cut_where_pictures_stand_alone() {
        let mut parts = [part(0, 5, false, 0), part(1, 4, false, 0), part(2, 20, true, 2)];
        for (chunk, n) in [(0, 1), (0, 2), (0, 4), (1, 0), (1, 1), (1, 3), (2, 0)] {
            parts[chunk].map.fragments[n].keyframe = false;
        }
        let whole = write(&parts, Kind::Whole, "");
        let names: Vec<&str> = whole.lines().filter(|line| line.ends_with(".m4s")).collect();
        assert_eq!(names[..4], ["0-0-2.m4s", "0-3-4_1-0-1.m4s", "1-2-3.m4s", "2-0.m4s"]);
        assert!(whole.contains("#EXTINF:4.000000,\n0-3-4_1-0-1.m4s\n"), "{whole}");
        assert!(whole.contains("#EXT-X-TARGETDURATION:4\n"), "{whole}");
        // Nothing goes over a break, so its first segment has no picture that stands alone.
        assert!(whole.contains("#EXT-X-DISCONTINUITY\n") && !whole.contains("INDEPENDENT"));
        // The third segment says the time anew: it begins in another chunk than the one before.
        assert!(whole.contains("01:02:15.000Z\n#EXTINF:2.000000,\n1-2-3.m4s"), "{whole}");
        for fragment in &mut parts[2].map.fragments {
            fragment.keyframe = fragment.start_us == 20_000_000;
        }
        let whole = write(&parts, Kind::Whole, "");
        assert!(whole.contains("\n2-0-15.m4s\n"), "no segment is longer than may be asked for");
        for name in whole.lines().filter_map(|line| line.strip_suffix(".m4s")) {
            assert!(runs(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_growing_playlist_only_ever_gets_longer() {
        let mut fragments = part(0, 12, false, 0);
        for (n, fragment) in fragments.map.fragments.iter_mut().enumerate() {
            fragment.keyframe = matches!(n, 0 | 3 | 4 | 9);
        }
        let mut before = Vec::new();
        for n in 0..=12 {
            let mut so_far = part(0, 0, false, 0);
            so_far.map.fragments = fragments.map.fragments[..n].to_vec();
            let list = write(&[so_far], Kind::Growing, "");
            let names: Vec<String> =
                list.lines().filter(|line| line.ends_with(".m4s")).map(str::to_owned).collect();
            assert!(names.starts_with(&before), "{before:?} became {names:?}");
            before = names;
        }
        assert_eq!(before, ["0-0-2.m4s", "0-3.m4s", "0-4-8.m4s"]);
    }

    #[test]
    fn nothing_recorded_yet_is_an_empty_list() {
        let empty = write(&[], Kind::Live, "");
        assert!(empty.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && !empty.contains(".m4s"));
    }
}
