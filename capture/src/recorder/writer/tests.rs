//! The writer with made-up fragments and clocks: placing, gaps, jumps, and when chunks close.

use super::*;
use crate::media::{EncoderNote, Track, TrackKind};

const SECOND: u64 = 1_000_000;

fn tracks() -> Vec<Track> {
    vec![Track {
        id: 1,
        kind: TrackKind::Video,
        codec: "avc1.64001f".into(),
        timescale: 90_000,
        width: 16,
        height: 16,
        rate: 0,
        channels: 0,
    }]
}

fn init(mark: u8) -> InitSegment {
    let encoder = EncoderNote {
        name: "camera".into(),
        hardware: false,
        passthrough: true,
        reason: "the camera encodes".into(),
    };
    InitSegment { bytes: vec![mark; 600], tracks: tracks(), encoder }
}

/// `moof` + `mdat` with one sample of one second, written by the crate's own muxer.
fn fragment(start_s: u64, bytes: usize, keyframe: bool) -> Fragment {
    let sample =
        fmp4::RunSample { duration: 90_000, size: bytes as u32, sync: keyframe, offset: 0 };
    let data = vec![0xabu8; bytes];
    let run = fmp4::TrackRun { track: 1, start: start_s * 90_000, samples: &[sample], data: &data };
    Fragment {
        bytes: fmp4::fragment(1, &[run]),
        start_us: (start_s * SECOND) as i64,
        duration_us: SECOND,
        keyframe,
        captured_at_us: 1_793_000_000 * SECOND + start_s * SECOND,
    }
}

fn at(monotonic_s: u64) -> Now {
    Now { monotonic_us: monotonic_s * SECOND, wall_us: (1_793_000_000 + monotonic_s) * SECOND }
}

fn writer() -> SessionWriter {
    let session = SessionId::new(1_793_000_000_000, [5; 10]);
    SessionWriter::new(
        session,
        SessionSecret::from_bytes([4; 32]),
        Limits::default(),
        at(0).wall_us,
    )
}

fn feed(writer: &mut SessionWriter, start_s: u64, now: Now) -> Vec<Step> {
    writer.fragment(fragment(start_s, 1000, true), now, &mut || [1; 16]).unwrap()
}

fn closed(steps: &[Step]) -> Vec<&ChunkRecord> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Close(closing) => Some(&closing.record),
            Step::Append { .. } => None,
        })
        .collect()
}

#[test]
fn a_fragment_before_its_init_segment_is_refused() {
    let mut writer = writer();
    let result = writer.fragment(fragment(0, 10, true), at(1), &mut || [1; 16]);
    assert!(matches!(result, Err(WriterError::NoInit)));
}

#[test]
fn a_chunk_closes_after_a_minute_at_a_keyframe() {
    let mut writer = writer();
    writer.begin(init(1)).unwrap();
    for second in 0..60 {
        assert!(closed(&feed(&mut writer, second, at(second + 1))).is_empty());
    }
    // Due now, but no keyframe: it waits, and at most so long.
    for second in 60..70 {
        let delta = fragment(second, 1000, false);
        let steps = writer.fragment(delta, at(second + 1), &mut || [1; 16]).unwrap();
        assert!(closed(&steps).is_empty(), "{second}");
    }
    let delta = fragment(70, 1000, false);
    let steps = writer.fragment(delta, at(71), &mut || [1; 16]).unwrap();
    let chunks = closed(&steps);
    assert_eq!(chunks.len(), 1);
    let header = &chunks[0].header;
    assert_eq!((header.time.stream_start_us, header.time.stream_end_us), (0, 70 * SECOND));
    assert_eq!(header.init_bytes, 600);
    assert!(header.gap_before.is_none());
    assert_eq!(writer.checkpoint(0).tree_size, 1);
}

#[test]
fn a_chunk_closes_before_it_is_over_its_size() {
    let mut writer = writer();
    writer.begin(init(1)).unwrap();
    let mut chunks = Vec::new();
    for second in 0..8u64 {
        let big = fragment(second, 3 << 20, true);
        let steps = writer.fragment(big, at(second + 1), &mut || [1; 16]).unwrap();
        chunks.extend(closed(&steps).into_iter().cloned());
    }
    assert_eq!(chunks.len(), 2);
    assert!(chunks.iter().all(|chunk| chunk.header.plaintext_bytes <= CHUNK_MAX_BYTES));
    let huge = fragment(8, CHUNK_MAX_BYTES as usize, true);
    let result = writer.fragment(huge, at(9), &mut || [1; 16]);
    assert!(matches!(result, Err(WriterError::TooLarge { .. })));
}

#[test]
fn a_lost_source_leaves_exactly_the_gap_it_made() {
    let mut writer = writer();
    writer.begin(init(1)).unwrap();
    for second in 0..5 {
        feed(&mut writer, second, at(second + 1));
    }
    writer.run_lost(GapReason::SourceLost);
    // Back after 20 s, with a clock that begins anew.
    writer.begin(init(1)).unwrap();
    let steps = feed(&mut writer, 0, at(26));
    let before = closed(&steps);
    assert_eq!(before[0].header.time.stream_end_us, 5 * SECOND);
    let gap = Gap { length_us: 20 * SECOND, reason: GapReason::SourceLost };
    assert_eq!(writer.gaps().len(), 1);
    assert_eq!(writer.gaps()[0].gap, gap);
    assert_eq!(writer.gaps()[0].before_chunk, 1);
    let steps = writer.close().unwrap();
    let after = &closed(&steps)[0].header;
    assert_eq!(after.gap_before, Some(gap));
    assert_eq!(after.time.stream_start_us, 25 * SECOND);
    let (gaps, _, length) = writer.account(None);
    assert_eq!((gaps.len(), length), (1, 26 * SECOND));
}

#[test]
fn time_before_the_first_media_is_a_gap_unless_it_is_short() {
    // A source that takes a moment to open: nothing is missing.
    let mut quick = writer();
    quick.begin(init(1)).unwrap();
    let now = Now { monotonic_us: SECOND + START_TOLERANCE_US, ..at(2) };
    feed(&mut quick, 0, now);
    assert!(quick.gaps().is_empty());
    assert_eq!((quick.media_us(), quick.zero_us()), (SECOND, Some(START_TOLERANCE_US)));

    // One that could not be opened for half a minute, with an event meanwhile; its own clock tells
    // nothing about that.
    let mut late = writer();
    let mut steps = events(&mut late, 3, "waiting");
    late.run_lost(GapReason::SourceLost);
    late.begin(init(1)).unwrap();
    steps.extend(feed(&mut late, 500, at(32)));
    steps.extend(feed(&mut late, 501, at(33)));
    steps.extend(late.close().unwrap());
    let gap = Gap { length_us: 31 * SECOND, reason: GapReason::SourceLost };
    let wall_us = at(0).wall_us;
    let declared = GapRecord { before_chunk: 1, stream_us: 0, wall_us, gap };
    assert_eq!(late.account(None), (vec![declared], vec![], 33 * SECOND));
    assert_eq!((late.media_us(), late.zero_us()), (2 * SECOND, Some(0)));
    let chunks = closed(&steps);
    assert_eq!(chunks[0].header.gap_before, None);
    assert_eq!(chunks[1].header.gap_before, Some(gap));
    assert_eq!(chunks[1].header.time.stream_start_us, 31 * SECOND);
    assert_eq!(chunks[1].map.fragments[1].start_us, 32 * SECOND);

    // One that opened and was silent; and a session that goes on with what is here already.
    for (here, expected) in [(false, vec![GapReason::SourceStalled]), (true, vec![])] {
        let mut writer = writer();
        if here {
            writer.media_is_here();
        }
        writer.begin(init(1)).unwrap();
        feed(&mut writer, 0, at(10));
        let reasons: Vec<GapReason> = writer.gaps().iter().map(|gap| gap.gap.reason).collect();
        assert_eq!((reasons, writer.media_us()), (expected, SECOND));
    }
}

#[test]
fn a_hole_in_the_sources_time_is_a_gap_and_unevenness_is_not() {
    let mut writer = writer();
    writer.begin(init(1)).unwrap();
    feed(&mut writer, 0, at(1));
    let mut uneven = fragment(1, 1000, true);
    uneven.start_us += 200_000;
    writer.fragment(uneven, at(2), &mut || [1; 16]).unwrap();
    assert!(writer.gaps().is_empty());
    feed(&mut writer, 7, at(8));
    assert_eq!(writer.gaps().len(), 1);
    assert_eq!(writer.gaps()[0].gap.reason, GapReason::SourceStalled);
    writer.media_lost(GapReason::Overload);
    feed(&mut writer, 11, at(12));
    let gap = Gap { length_us: 3 * SECOND, reason: GapReason::Overload };
    assert_eq!(writer.gaps()[1].gap, gap);
}

#[test]
fn time_that_goes_back_goes_on_where_it_was() {
    let mut writer = writer();
    writer.begin(init(1)).unwrap();
    feed(&mut writer, 100, at(1));
    feed(&mut writer, 0, at(2));
    assert!(writer.gaps().is_empty());
    // The first fragment may stand a little after zero, by what its source said.
    assert!(writer.stream_end_us().abs_diff(2 * SECOND) <= GAP_TOLERANCE_US);
}

#[test]
fn a_clock_that_is_set_is_recorded_and_moves_nothing() {
    let mut writer = writer();
    writer.begin(init(1)).unwrap();
    feed(&mut writer, 0, at(1));
    let hour = 3600 * SECOND;
    let mut later = at(2);
    later.wall_us += hour;
    let steps = feed(&mut writer, 1, later);
    assert_eq!(closed(&steps).len(), 1);
    let mut back = at(3);
    back.wall_us -= hour;
    feed(&mut writer, 2, back);
    let (gaps, jumps, length) = writer.account(None);
    assert!(gaps.is_empty());
    assert_eq!(length, 3 * SECOND);
    let by: Vec<i64> = jumps.iter().map(|jump| jump.by_us).collect();
    assert_eq!(by, [hour as i64, -2 * hour as i64]);
}

#[test]
fn a_new_init_segment_begins_a_new_chunk_and_the_same_one_does_not() {
    let mut writer = writer();
    writer.begin(init(1)).unwrap();
    feed(&mut writer, 0, at(1));
    assert!(closed(&writer.begin(init(1)).unwrap()).is_empty());
    assert_eq!(closed(&writer.begin(init(2)).unwrap()).len(), 1);
    let too_long = InitSegment { bytes: vec![0; 70_000], ..init(3) };
    assert!(matches!(writer.begin(too_long), Err(WriterError::InitTooLarge { .. })));
}

#[test]
fn what_is_appended_is_sealed_and_mapped() {
    let mut writer = writer();
    writer.begin(init(1)).unwrap();
    let steps = feed(&mut writer, 0, at(1));
    let [Step::Append { records, map, first_piece, .. }] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!((*first_piece, map.init_pieces), (0, 1));
    assert_eq!(map.fragments.len(), 1);
    let (key, open) = records.last().unwrap();
    assert_eq!(read_volume_key(key).unwrap().1, RecordKind::Open as u8);
    assert_eq!(ChunkMap::decode(open).unwrap().fragments, map.fragments);
    for (_, frame) in records {
        assert!(!frame.windows(100).any(|window| window.iter().all(|byte| *byte == 0xab)));
    }
}

fn batch(from_s: u64, text: &str) -> EventBatch {
    let stamp = |s: u64| super::super::feed::Stamp {
        stream_us: s * SECOND,
        wall_us: (1_793_000_000 + s) * SECOND,
    };
    EventBatch { bytes: text.as_bytes().to_vec(), first: stamp(from_s), last: stamp(from_s) }
}

fn events(writer: &mut SessionWriter, at_s: u64, text: &str) -> Vec<Step> {
    writer.events(&batch(at_s, text), &mut || [2; 16]).unwrap()
}

/// Index, kind and stream times of each chunk.
fn order(steps: &[Step]) -> Vec<(u64, MediaKind, u64, u64)> {
    let of = |record: &ChunkRecord| {
        let (header, time) = (&record.header, record.header.time);
        let second = |us| us / SECOND;
        (header.index, header.kind, second(time.stream_start_us), second(time.stream_end_us))
    };
    closed(steps).into_iter().map(of).collect()
}

#[test]
fn events_have_the_index_after_the_media_they_are_beside_and_take_no_time() {
    use MediaKind::{Events, Video};
    let mut writer = writer();
    let mut steps = events(&mut writer, 0, "before");
    steps.extend(writer.begin(init(1)).unwrap());
    for second in 0..125 {
        steps.extend(feed(&mut writer, second, at(second + 1)));
        // None in the second minute.
        if second % 120 < 50 && second % 7 == 0 {
            steps.extend(events(&mut writer, second, "typing"));
        }
    }
    // The source goes; what happens meanwhile belongs to what was open, and the gap is after it.
    writer.run_lost(GapReason::SourceLost);
    steps.extend(events(&mut writer, 130, "gone"));
    steps.extend(feed(&mut writer, 0, at(141)));
    steps.extend(writer.close().unwrap());
    assert_eq!(
        order(&steps),
        [
            (0, Events, 0, 0),
            (1, Video, 0, 60),
            (2, Events, 60, 60),
            (3, Video, 60, 120),
            (4, Video, 120, 125),
            (5, Events, 125, 125),
            (6, Video, 140, 141),
        ]
    );
    let (gaps, _, length) = writer.account(None);
    assert_eq!((gaps.len(), gaps[0].before_chunk, length), (1, 6, 141 * SECOND));
    assert_eq!(gaps[0].end(), Some(140 * SECOND));
    assert_eq!(writer.checkpoint(0).tree_size, 7);
}

#[test]
fn events_alone_and_events_without_end_close_their_chunk() {
    let mut writer = writer();
    let mut steps = Vec::new();
    // A source that never comes: a chunk of events now and then, so that a checkpoint covers them.
    for second in 0..200 {
        steps.extend(events(&mut writer, second, "x"));
    }
    assert_eq!(order(&steps).len(), 2);
    // A flood beside media: both close, and both go on.
    writer.begin(init(1)).unwrap();
    feed(&mut writer, 0, at(201));
    let flood = "e".repeat(1 << 20);
    let mut steps = Vec::new();
    for _ in 0..11 {
        steps.extend(events(&mut writer, 202, &flood));
    }
    let kinds: Vec<MediaKind> = order(&steps).iter().map(|one| one.1).collect();
    assert_eq!(kinds, [MediaKind::Video, MediaKind::Events]);
    let end = closed(&steps)[0].header.time.stream_end_us;
    steps = feed(&mut writer, 1, at(202));
    steps.extend(writer.close().unwrap());
    let after: Vec<(MediaKind, u64)> = closed(&steps)
        .iter()
        .map(|record| (record.header.kind, record.header.time.stream_start_us))
        .collect();
    assert_eq!(after, [(MediaKind::Events, end), (MediaKind::Video, end)]);
    assert_eq!(closed(&steps)[0].header.plaintext_bytes, 1 << 20);
}
