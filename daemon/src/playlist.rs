//! HLS playlists (RFC 8216, version 7: fMP4) from what the catalogue knows of a session's chunks.
//!
//! Segments are the recorder's own fragments. Where time is missing the playlist says so with a
//! discontinuity and the date and time at which the pictures go on.

use std::fmt::Write;

use jiff::Timestamp;
use lucid_capture::catalogue::ChunkMap;

/// Fragments in a live playlist, besides those back to a keyframe: enough for a player to start
/// without waiting, few enough that it stays close to now.
pub const LIVE_FRAGMENTS: usize = 8;

/// What kind of playlist is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of a session that has ended.
    Whole,
    /// All so far of a session that records.
    Growing,
    /// The last fragments of a session that records.
    Live,
}

/// A chunk and the number of the initialisation segment that its fragments need: the first chunk
/// that has the same one.
pub struct Part {
    /// The chunk.
    pub map: ChunkMap,
    /// The number in `init-{n}.mp4`.
    pub init: u64,
}

/// Writes a playlist; `base` is put before every address.
pub fn write(parts: &[Part], kind: Kind, base: &str) -> String {
    let total: usize = parts.iter().map(|part| part.map.fragments.len()).sum();
    let all = || parts.iter().flat_map(|part| &part.map.fragments);
    let skipped = match kind {
        Kind::Live => {
            let most = total.saturating_sub(LIVE_FRAGMENTS);
            // A player can begin only where a picture stands alone.
            let before = all().take(most + 1).collect::<Vec<_>>();
            before.iter().rposition(|fragment| fragment.keyframe).unwrap_or(most)
        }
        Kind::Whole | Kind::Growing => 0,
    };
    let independent = all().skip(skipped).all(|fragment| fragment.keyframe);
    let longest_us = all().map(|f| f.duration_us).max();
    let target_s = longest_us.unwrap_or(1_000_000).div_ceil(1_000_000).max(1);
    let mut body = String::new();
    let (mut number, mut breaks_skipped) = (0, 0);
    let mut init = None;
    for part in parts {
        let mut wall_us = part.map.wall_start_us;
        for (index, fragment) in part.map.fragments.iter().enumerate() {
            let is_break = index == 0 && number > 0 && breaks_before(&part.map);
            let is_first = number == skipped;
            if number >= skipped {
                if is_break && !is_first {
                    body.push_str("#EXT-X-DISCONTINUITY\n");
                }
                if init != Some(part.init) {
                    init = Some(part.init);
                    line(
                        &mut body,
                        format_args!("#EXT-X-MAP:URI=\"{base}init-{}.mp4\"", part.init),
                    );
                }
                if index == 0 || is_first {
                    let date = Timestamp::from_microsecond(i64::try_from(wall_us).unwrap_or(0));
                    let date = date.unwrap_or_default();
                    line(&mut body, format_args!("#EXT-X-PROGRAM-DATE-TIME:{date:.3}"));
                }
                let seconds = fragment.duration_us as f64 / 1e6;
                line(&mut body, format_args!("#EXTINF:{seconds:.6},"));
                line(&mut body, format_args!("{base}{}-{index}.m4s", part.map.index));
            }
            if is_break && number <= skipped && kind == Kind::Live {
                breaks_skipped += 1;
            }
            number += 1;
            wall_us += fragment.duration_us;
        }
    }
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    if independent {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    line(&mut out, format_args!("#EXT-X-TARGETDURATION:{target_s}"));
    line(&mut out, format_args!("#EXT-X-MEDIA-SEQUENCE:{skipped}"));
    match kind {
        Kind::Whole => out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n"),
        Kind::Growing => out.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n"),
        Kind::Live => {
            line(&mut out, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{breaks_skipped}"));
        }
    }
    out.push_str(&body);
    if kind == Kind::Whole {
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
        assert!(growing.contains("\nmedia/0-1.m4s\n"));
    }

    #[test]
    fn a_live_playlist_slides_with_steady_numbers() {
        let mut parts = vec![part(0, 6, false, 0), part(1, 6, true, 1), part(2, 1, false, 1)];
        let live = write(&parts, Kind::Live, "");
        assert!(live.contains("#EXT-X-MEDIA-SEQUENCE:5\n"), "{live}");
        assert!(live.contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"), "{live}");
        assert_eq!(live.matches(".m4s").count(), LIVE_FRAGMENTS);
        assert!(live.contains("0-5.m4s\n#EXT-X-DISCONTINUITY\n"), "{live}");
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
    fn nothing_recorded_yet_is_an_empty_list() {
        let empty = write(&[], Kind::Live, "");
        assert!(empty.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && !empty.contains(".m4s"));
    }
}
