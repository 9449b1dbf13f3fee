//! Round trips, the shapes a fragment may have, and bad input of every kind.

use proptest::prelude::*;

use super::*;
use crate::media::{Track, TrackKind};

const AVCC: [u8; 10] = [1, 0x64, 0x00, 0x28, 0xff, 0xe1, 0, 1, 0x67, 1];

fn video() -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::Avc(AVCC.to_vec()),
        width: 1920,
        height: 1080,
        pixel_aspect: (1, 1),
    }
}

fn audio() -> AudioConfig {
    AudioConfig { codec: AudioCodec::Aac(vec![0x12, 0x10]), rate: 44_100, channels: 2 }
}

fn init() -> (Vec<u8>, Vec<Track>) {
    let bytes = init_segment(&video(), Some(&audio()));
    let tracks = parse_init(&bytes).unwrap();
    (bytes, tracks)
}

fn sample(size: u32, duration: u32, offset: i32, sync: bool) -> RunSample {
    RunSample { size, duration, offset, sync }
}

fn two_tracks(start: u64) -> Vec<u8> {
    let pictures =
        [sample(5, 3000, 0, true), sample(3, 3600, 3000, false), sample(2, 3000, -3000, false)];
    let sound = [sample(4, 1024, 0, true), sample(4, 1024, 0, true)];
    fragment(
        7,
        &[
            TrackRun { track: VIDEO_TRACK, start, samples: &pictures, data: b"0123456789" },
            TrackRun { track: AUDIO_TRACK, start: start / 2, samples: &sound, data: b"abcdefgh" },
        ],
    )
}

#[test]
fn an_init_segment_reads_back() {
    let (_, tracks) = init();
    assert_eq!(
        tracks,
        [
            Track {
                id: 1,
                kind: TrackKind::Video,
                codec: "avc1.640028".into(),
                timescale: 90_000,
                width: 1920,
                height: 1080,
                rate: 0,
                channels: 0
            },
            Track {
                id: 2,
                kind: TrackKind::Audio,
                codec: "mp4a.40.2".into(),
                timescale: 44_100,
                width: 0,
                height: 0,
                rate: 44_100,
                channels: 2
            }
        ]
    );
}

#[test]
fn codecs_have_the_strings_browsers_know() {
    // Main profile, level 4.1 (123), constraint byte B0: the example of ISO/IEC 14496-15 annex E.
    let mut hvcc = vec![1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93];
    hvcc.resize(23, 0);
    let hevc = VideoConfig { codec: VideoCodec::Hevc(hvcc), ..video() };
    assert_eq!(parse_init(&init_segment(&hevc, None)).unwrap()[0].codec, "hvc1.1.6.L93.B0");
    let jpeg = VideoConfig { codec: VideoCodec::Jpeg, ..video() };
    assert_eq!(parse_init(&init_segment(&jpeg, None)).unwrap()[0].codec, "mp4v.6c");
    let opus = AudioConfig { codec: AudioCodec::Opus { pre_skip: 312 }, rate: 48_000, channels: 1 };
    assert_eq!(parse_init(&init_segment(&video(), Some(&opus))).unwrap()[1].codec, "opus");
}

#[test]
fn a_fragment_reads_back() {
    let (_, tracks) = init();
    let info = inspect(&two_tracks(90_000), &tracks).unwrap();
    assert_eq!((info.sequence, info.start_us, info.keyframe), (7, 1_000_000, true));
    assert_eq!(info.duration_us, 9600 * 1_000_000 / 90_000);
    assert_eq!((info.tracks[0].samples, info.tracks[0].bytes), (3, 10));
    assert_eq!((info.tracks[1].start, info.tracks[1].duration), (45_000, 2048));
}

#[test]
fn a_fragment_that_starts_inside_a_group_says_so() {
    let (_, tracks) = init();
    for samples in [
        vec![sample(1, 10, 0, false), sample(1, 10, 0, false)],
        vec![sample(1, 10, 0, false), sample(1, 10, 0, true)],
    ] {
        let bytes = fragment(1, &[TrackRun { track: 1, start: 0, samples: &samples, data: b"xy" }]);
        assert!(!inspect(&bytes, &tracks).unwrap().keyframe);
    }
}

#[test]
fn rebase_moves_every_track_and_nothing_else() {
    let (_, tracks) = init();
    let before = two_tracks(90_000);
    let mut after = before.clone();
    rebase(&mut after, &tracks, 2_500_000, 99).unwrap();
    let info = inspect(&after, &tracks).unwrap();
    assert_eq!((info.sequence, info.start_us), (99, 3_500_000));
    assert_eq!(info.tracks[1].start, 45_000 + 110_250);
    rebase(&mut after, &tracks, -2_500_000, 7).unwrap();
    assert_eq!(after, before);
}

#[test]
fn rebase_below_zero_is_refused_and_changes_nothing() {
    let (_, tracks) = init();
    let before = two_tracks(90_000);
    let mut after = before.clone();
    let error = rebase(&mut after, &tracks, -2_000_000, 1).unwrap_err();
    assert!(matches!(error, Fmp4Error::Time { track: 1, .. }), "{error}");
    assert_eq!(after, before);
}

#[test]
fn a_strange_track_or_data_outside_mdat_is_refused() {
    let (_, tracks) = init();
    let samples = [sample(9, 10, 0, true)];
    let run = |track, data| fragment(1, &[TrackRun { track, start: 0, samples: &samples, data }]);
    let error = inspect(&run(3, b"123456789"), &tracks).unwrap_err();
    assert_eq!(error, Fmp4Error::UnknownTrack { name: FourCc(*b"tfhd"), track: 3 });
    let error = inspect(&run(1, b"short"), &tracks).unwrap_err();
    assert_eq!(error, Fmp4Error::DataRange { name: FourCc(*b"trun"), track: 1 });
}

#[test]
fn errors_name_the_box() {
    let (bytes, tracks) = init();
    let says = |e: Fmp4Error| e.to_string();
    assert!(says(parse_init(&bytes[..bytes.len() - 1]).unwrap_err()).contains("moov"));
    assert!(says(parse_init(&[]).unwrap_err()).contains("ftyp"));
    assert!(says(inspect(&bytes, &tracks).unwrap_err()).contains("ftyp"));
    let mut no_mdat = two_tracks(0);
    no_mdat.truncate(no_mdat.len() - 26);
    assert!(says(inspect(&no_mdat, &tracks).unwrap_err()).contains("mdat"));
    let mut tiny = two_tracks(0);
    tiny[3] = 4;
    assert!(says(inspect(&tiny, &tracks).unwrap_err()).contains("impossible size"));
}

#[test]
fn too_many_boxes_and_too_large_inputs_are_refused() {
    let (_, tracks) = init();
    let many = [0, 0, 0, 8, b'f', b'r', b'e', b'e'].repeat(MAX_CHILDREN + 1);
    assert!(matches!(inspect(&many, &tracks), Err(Fmp4Error::TooMany { .. })));
    assert!(matches!(parse_init(&vec![0; MAX_INIT_BYTES + 1]), Err(Fmp4Error::TooLarge { .. })));
}

proptest! {
    #[test]
    fn any_samples_read_back(
        start in 0u64..1 << 40,
        offset in 0i64..1 << 40,
        samples in prop::collection::vec(
            (1u32..50, 0u32..9000, -9000i32..9000, any::<bool>()),
            1..40,
        ),
    ) {
        let (_, tracks) = init();
        let samples: Vec<RunSample> =
            samples.into_iter().map(|(s, d, o, k)| sample(s, d, o, k)).collect();
        let data = vec![0x5a; samples.iter().map(|s| s.size as usize).sum()];
        let mut bytes =
            fragment(1, &[TrackRun { track: 1, start, samples: &samples, data: &data }]);
        let info = inspect(&bytes, &tracks).unwrap();
        prop_assert_eq!(info.tracks[0].start, start);
        let duration: u64 = samples.iter().map(|s| u64::from(s.duration)).sum();
        prop_assert_eq!(info.tracks[0].duration, duration);
        prop_assert_eq!(info.keyframe, samples[0].sync);
        prop_assert!(bytes.ends_with(&data));
        rebase(&mut bytes, &tracks, offset, 5).unwrap();
        let moved = inspect(&bytes, &tracks).unwrap();
        prop_assert!((moved.start_us - info.start_us - offset).abs() <= 12);
    }

    #[test]
    fn flipped_and_cut_fragments_never_panic(
        at in any::<prop::sample::Index>(),
        value: u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let (init_bytes, tracks) = init();
        let mut bytes = two_tracks(1234);
        let place = at.index(bytes.len());
        bytes[place] = value;
        let _ = inspect(&bytes, &tracks);
        let _ = rebase(&mut bytes, &tracks, 1, 1);
        bytes.truncate(cut.index(bytes.len()));
        let _ = inspect(&bytes, &tracks);
        let mut bytes = init_bytes;
        let place = at.index(bytes.len());
        bytes[place] = value;
        let _ = parse_init(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = parse_init(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (_, tracks) = init();
        let _ = inspect(&bytes, &tracks);
        let _ = parse_init(&bytes);
    }
}
