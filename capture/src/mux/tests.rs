//! Streams of made-up samples through the muxer.

use super::*;
use crate::fmp4::{AudioCodec, VideoCodec, inspect};

const FRAME: i64 = 40_000_000;

fn note() -> EncoderNote {
    EncoderNote { name: "camera".into(), hardware: false, passthrough: true, reason: "test".into() }
}

fn video(level: u8) -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::Avc(vec![1, 0x64, 0, level, 0xff]),
        width: 64,
        height: 64,
        pixel_aspect: (1, 1),
    }
}

fn aac() -> AudioConfig {
    AudioConfig { codec: AudioCodec::Aac(vec![0x11, 0x90]), rate: 48_000, channels: 2 }
}

fn muxer() -> (Muxer, Vec<MediaEvent>) {
    let mut out = Vec::new();
    let mut muxer = Muxer::new(1_000_000, note());
    muxer.set_video(video(40), &mut out).unwrap();
    (muxer, out)
}

fn picture(time_ns: i64, sync: bool) -> Sample<'static> {
    Sample {
        time_ns,
        duration_ns: Some(FRAME),
        sync,
        captured_at_us: (time_ns / 1000).unsigned_abs(),
        data: b"picture",
    }
}

fn sound(time_ns: i64) -> Sample<'static> {
    Sample { time_ns, duration_ns: None, sync: true, captured_at_us: 0, data: b"sound" }
}

fn fragments(out: &[MediaEvent]) -> Vec<&Fragment> {
    out.iter()
        .filter_map(|e| if let MediaEvent::Fragment(f) = e { Some(f) } else { None })
        .collect()
}

fn inits(out: &[MediaEvent]) -> Vec<&InitSegment> {
    out.iter().filter_map(|e| if let MediaEvent::Init(i) = e { Some(i) } else { None }).collect()
}

/// Each fragment starts where the one before ended, and its bytes agree with what is said of it.
fn check(out: &[MediaEvent]) {
    let tracks = &inits(out)[0].tracks;
    let mut end = 0;
    for fragment in fragments(out) {
        let info = inspect(&fragment.bytes, tracks).unwrap();
        assert_eq!(
            (info.start_us, info.duration_us, info.keyframe),
            (fragment.start_us, fragment.duration_us, fragment.keyframe)
        );
        assert_eq!(fragment.start_us, end);
        end = fragment.start_us + fragment.duration_us as i64;
    }
}

#[test]
fn a_plain_stream_gives_an_init_and_whole_seconds() {
    let (mut muxer, mut out) = muxer();
    for n in 0..75 {
        muxer.push_video(&picture(5_000_000_000 + n * FRAME, n % 25 == 0), &mut out).unwrap();
    }
    muxer.flush(&mut out).unwrap();
    check(&out);
    assert!(matches!(out[0], MediaEvent::Init(_)));
    let found = fragments(&out);
    assert_eq!(found.len(), 3);
    for (n, fragment) in found.iter().enumerate() {
        assert_eq!((fragment.start_us, fragment.duration_us), (n as i64 * 1_000_000, 1_000_000));
        assert!(fragment.keyframe);
        assert_eq!(fragment.captured_at_us, 5_000_000 + n as u64 * 1_000_000);
    }
}

#[test]
fn a_stream_that_joins_inside_a_group_waits_for_its_keyframe_but_not_for_ever() {
    let (mut muxer, mut out) = muxer();
    for n in 0..60 {
        muxer.push_video(&picture(n * FRAME, n == 10), &mut out).unwrap();
    }
    muxer.flush(&mut out).unwrap();
    check(&out);
    assert!(fragments(&out)[0].keyframe);
    assert_eq!(fragments(&out).iter().map(|f| f.duration_us).sum::<u64>(), 50 * 40_000);

    let (mut muxer, mut out) = self::muxer();
    for n in 0..100 {
        muxer.push_video(&picture(n * FRAME, false), &mut out).unwrap();
    }
    muxer.flush(&mut out).unwrap();
    check(&out);
    assert!(fragments(&out).iter().all(|f| !f.keyframe));
    assert_eq!(fragments(&out).iter().map(|f| f.duration_us).sum::<u64>(), 50 * 40_000);
}

#[test]
fn pictures_out_of_order_get_rising_decoding_times_without_holes() {
    let (mut muxer, mut out) = muxer();
    // I P B B groups: shown 0 3 1 2 6 4 5 ..., a keyframe every 30.
    let mut order = vec![0];
    for anchor in (3..300).step_by(3) {
        order.extend([anchor, anchor - 2, anchor - 1]);
    }
    for shown in &order {
        muxer.push_video(&picture(shown * FRAME, shown % 30 == 0), &mut out).unwrap();
    }
    muxer.flush(&mut out).unwrap();
    check(&out);
    let tracks = &inits(&out)[0].tracks;
    let mut samples = 0;
    for fragment in fragments(&out) {
        let info = inspect(&fragment.bytes, tracks).unwrap();
        samples += info.tracks[0].samples;
        assert!(fragment.duration_us <= 1_240_000, "{fragment:?}");
    }
    assert_eq!(samples, order.len());
}

#[test]
fn sound_goes_with_its_pictures() {
    let (mut muxer, mut out) = muxer();
    muxer.expect_sound(true);
    let block = 1024 * 1_000_000_000 / 48_000;
    let mut next_sound = 0;
    for n in 0..75 {
        muxer.push_video(&picture(n * FRAME, n % 25 == 0), &mut out).unwrap();
        // Sound starts a while later and lags behind by 100 ms.
        if n == 10 {
            muxer.set_audio(aac(), &mut out).unwrap();
        }
        while n >= 10 && next_sound * block < n * FRAME - 100_000_000 {
            muxer.push_audio(&sound(next_sound * block), &mut out).unwrap();
            next_sound += 1;
        }
    }
    muxer.flush(&mut out).unwrap();
    check(&out);
    assert_eq!(inits(&out).len(), 1);
    let tracks = &inits(&out)[0].tracks;
    let infos: Vec<_> =
        fragments(&out).iter().map(|f| inspect(&f.bytes, tracks).unwrap()).collect();
    assert_eq!(infos.iter().map(|i| i.tracks[1].samples).sum::<usize>() as i64, next_sound);
    for pair in infos.windows(2) {
        let (a, b) = (&pair[0].tracks[1], &pair[1].tracks[1]);
        assert_eq!(a.start + a.duration, b.start, "sound has no holes");
        assert!((b.start as i64 - pair[1].start_us * 48 / 1000).abs() <= 1024);
    }
}

#[test]
fn announced_sound_that_never_comes_delays_the_start_by_two_seconds_only() {
    let (mut muxer, mut out) = muxer();
    muxer.expect_sound(true);
    for n in 0..=50 {
        muxer.push_video(&picture(n * FRAME, n % 25 == 0), &mut out).unwrap();
        assert_eq!(fragments(&out).is_empty(), n < 50, "picture {n}");
    }
    assert_eq!(inits(&out)[0].tracks.len(), 1);
}

#[test]
fn sound_that_stops_does_not_hold_pictures_back() {
    let (mut muxer, mut out) = muxer();
    muxer.set_audio(aac(), &mut out).unwrap();
    muxer.push_audio(&sound(0), &mut out).unwrap();
    for n in 0..100 {
        muxer.push_video(&picture(n * FRAME, n % 25 == 0), &mut out).unwrap();
    }
    assert_eq!(fragments(&out).len(), 3);
}

#[test]
fn a_new_codec_closes_the_fragment_and_gives_a_new_init() {
    let (mut muxer, mut out) = muxer();
    for n in 0..30 {
        muxer.push_video(&picture(n * FRAME, n % 25 == 0), &mut out).unwrap();
    }
    muxer.set_video(video(41), &mut out).unwrap();
    for n in 30..60 {
        muxer.push_video(&picture(n * FRAME, n % 30 == 0), &mut out).unwrap();
    }
    muxer.flush(&mut out).unwrap();
    check(&out);
    let codecs: Vec<_> = inits(&out).iter().map(|i| i.tracks[0].codec.clone()).collect();
    assert_eq!(codecs, ["avc1.640028", "avc1.640029"]);
    assert!(matches!(out[2], MediaEvent::Fragment(_)) && matches!(out[3], MediaEvent::Init(_)));
    let total: u64 = fragments(&out).iter().map(|f| f.duration_us).sum();
    assert_eq!(total, 60 * 40_000);
}

#[test]
fn a_hole_in_the_time_stamps_is_declared() {
    let (mut muxer, mut out) = muxer();
    for n in (0..30).chain(130..160) {
        muxer.push_video(&picture(n * FRAME, n % 10 == 0), &mut out).unwrap();
    }
    muxer.flush(&mut out).unwrap();
    let lost: Vec<_> = out
        .iter()
        .filter_map(|e| if let MediaEvent::Lost(l) = e { Some(*l) } else { None })
        .collect();
    assert_eq!(
        lost,
        [Loss {
            start_us: 1_200_000,
            duration_us: 4_000_000,
            fragments: 0,
            reason: LossReason::SourceGap
        }]
    );
    let total: u64 = fragments(&out).iter().map(|f| f.duration_us).sum();
    assert_eq!(total, 60 * 40_000);
}

#[test]
fn a_slow_source_has_no_holes() {
    let (mut muxer, mut out) = muxer();
    for n in 0..10 {
        let mut slow = picture(n * 1_000_000_000, true);
        slow.duration_ns = None;
        muxer.push_video(&slow, &mut out).unwrap();
    }
    muxer.flush(&mut out).unwrap();
    assert!(!out.iter().any(|e| matches!(e, MediaEvent::Lost(_))));
    assert_eq!(fragments(&out).len(), 10);
}

#[test]
fn time_that_goes_back_and_giant_pictures_end_the_run() {
    let (mut muxer, mut out) = muxer();
    muxer.push_video(&picture(10_000_000_000, true), &mut out).unwrap();
    muxer.push_video(&picture(14_000_000_000, false), &mut out).unwrap();
    let error = muxer.push_video(&picture(10_000_000_000, false), &mut out).unwrap_err();
    assert_eq!(error, MuxError::TimeWentBack { back_ms: 4000 });
    let giant = vec![0; MAX_SAMPLE_BYTES + 1];
    let sample = Sample { data: &giant, ..picture(14_040_000_000, true) };
    assert!(matches!(muxer.push_video(&sample, &mut out), Err(MuxError::TooLarge { .. })));
    let mut fresh = Muxer::new(1_000_000, note());
    assert_eq!(fresh.push_video(&picture(0, true), &mut out), Err(MuxError::NoCodec));
}

#[test]
fn endless_pictures_without_a_keyframe_or_with_one_time_stay_bounded() {
    let (mut muxer, mut out) = muxer();
    for n in 0..(2 * MAX_OPEN_SAMPLES as i64) {
        muxer.push_video(&picture(0, n == 0), &mut out).unwrap();
    }
    assert!(!fragments(&out).is_empty(), "the number of pictures closes a fragment");
    let big = vec![0; 4 << 20];
    let (mut muxer, mut out) = self::muxer();
    for n in 0..10 {
        muxer.push_video(&Sample { data: &big, ..picture(n, n == 0) }, &mut out).unwrap();
    }
    assert!(!fragments(&out).is_empty(), "their size closes a fragment");
}
