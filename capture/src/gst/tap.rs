//! The end of every pipeline: appsinks that feed the muxer, and what all parts of a run share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};

use crate::delivery::Delivery;
use crate::encoded::EncodedFrame;
use crate::fmp4::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};
use crate::media::{EncoderNote, MediaEvent};
use crate::mux::{MuxError, Muxer, Sample};
use crate::source::{SourceError, StreamOptions};
use crate::uri::{SourceKind, SourceUri};

/// Buffers an appsink holds before it makes its pipeline wait; they are taken at once, so it stays
/// nearly empty.
const MAX_SINK_BUFFERS: u32 = 16;
/// A sample cannot be older than this when it reaches us; an older one has a wrong time stamp.
/// Nanoseconds.
const MAX_AGE_NS: i64 = 10_000_000_000;
/// Distance of pictures that have neither time stamps nor lengths, nanoseconds.
const DEFAULT_STEP_NS: i64 = 40_000_000;

/// What the parts of one run share. Holds no reference to the pipeline.
pub(super) struct Shared {
    /// The source as it may be shown.
    pub name: String,
    pub kind: SourceKind,
    pub options: StreamOptions,
    pub delivery: Delivery,
    /// Length of a file that is repeated, nanoseconds; 0 when it is not, or not known.
    round_ns: AtomicU64,
    /// A paced tap has its first picture or sound.
    prerolled: AtomicBool,
    state: Mutex<State>,
}

struct State {
    mux: Muxer,
    out: Vec<MediaEvent>,
    video: Option<gst::Caps>,
    audio: Option<gst::Caps>,
    pictures: u64,
    /// Running time of the last picture, nanoseconds.
    last_ns: i64,
    has_video: bool,
    has_audio: bool,
}

impl Shared {
    pub fn new(uri: &SourceUri, options: &StreamOptions, note: EncoderNote) -> Self {
        Self {
            name: uri.to_string(),
            kind: uri.kind().clone(),
            options: options.clone(),
            delivery: Delivery::default(),
            round_ns: AtomicU64::new(0),
            prerolled: AtomicBool::new(false),
            state: Mutex::new(State {
                mux: Muxer::new(options.fragment_us, note),
                out: Vec::new(),
                video: None,
                audio: None,
                pictures: 0,
                last_ns: 0,
                has_video: false,
                has_audio: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the muxer and sends what comes out, in order.
    fn with(&self, work: impl FnOnce(&mut State) -> Result<(), MuxError>) -> bool {
        let mut state = self.lock();
        let result = work(&mut state);
        if !state.out.is_empty() {
            // Pushed under the lock, so that two threads cannot change the order.
            let events = std::mem::take(&mut state.out);
            self.delivery.push(events);
        }
        if let Err(error) = &result {
            self.delivery.push([MediaEvent::Failed(SourceError::BadMedia {
                source_name: self.name.clone(),
                detail: error.to_string(),
            })]);
        }
        result.is_ok()
    }

    /// Claims the one video track; false when there is one already.
    pub fn claim_video(&self) -> bool {
        !std::mem::replace(&mut self.lock().has_video, true)
    }

    /// Claims the one sound track; false when there is one already or sound is off.
    pub fn claim_audio(&self) -> bool {
        if !self.options.audio {
            return false;
        }
        let mut state = self.lock();
        state.mux.expect_sound(true);
        !std::mem::replace(&mut state.has_audio, true)
    }

    /// Sound that was claimed will not come after all.
    pub fn give_up_audio(&self) {
        self.lock().mux.expect_sound(false);
    }

    pub fn has_video(&self) -> bool {
        self.lock().has_video
    }

    /// Whether a picture has arrived yet.
    pub fn has_pictures(&self) -> bool {
        self.lock().pictures > 0
    }

    /// Whether the taps of a file have something.
    pub fn is_prerolled(&self) -> bool {
        self.prerolled.load(Ordering::Acquire)
    }

    /// The file starts again after this long.
    pub fn set_round(&self, length: Option<gst::ClockTime>) {
        self.round_ns.store(length.map_or(0, gst::ClockTime::nseconds), Ordering::Release);
    }

    /// Forgets what came before a seek.
    fn restart(&self) {
        let mut state = self.lock();
        if state.mux.is_untouched() {
            state.mux.forget_samples();
        }
    }

    pub fn set_note(&self, note: EncoderNote) {
        self.lock().mux.set_note(note);
    }

    /// Everything still held becomes events.
    pub fn flush(&self) {
        self.with(|state| state.mux.flush(&mut state.out));
    }

    /// The pipeline came to its end.
    pub fn end(&self) {
        self.flush();
        let event = match &self.kind {
            SourceKind::File { .. } if !self.has_pictures() => {
                MediaEvent::Failed(SourceError::Empty {
                    source_name: self.name.clone(),
                    detail: "it ends before the first picture".to_owned(),
                })
            }
            SourceKind::File { .. } => MediaEvent::Ended,
            // Cameras do not end.
            _ => MediaEvent::Failed(SourceError::BrokeOff {
                source_name: self.name.clone(),
                detail: "it ended the stream".to_owned(),
            }),
        };
        self.delivery.push([event]);
    }

    /// The pipeline died.
    pub fn fail(&self, error: SourceError) {
        self.flush();
        self.delivery.push([MediaEvent::Failed(error)]);
    }
}

/// Caps of pictures the muxer takes.
fn video_caps() -> gst::Caps {
    gst::Caps::builder_full()
        .structure(
            gst::Structure::builder("video/x-h264")
                .field("stream-format", "avc")
                .field("alignment", "au")
                .build(),
        )
        .structure(
            gst::Structure::builder("video/x-h265")
                .field("stream-format", "hvc1")
                .field("alignment", "au")
                .build(),
        )
        .structure(gst::Structure::builder("image/jpeg").build())
        .build()
}

/// The decoder configuration and the size of H.264 pictures.
fn avc_config(
    caps: &gst::CapsRef,
) -> Option<(gst::buffer::MappedBuffer<gst::buffer::Readable>, (u16, u16))> {
    let structure = caps.structure(0).filter(|s| s.name() == "video/x-h264")?;
    let config = structure.get::<gst::Buffer>("codec_data").ok()?;
    let side = |name| structure.get::<i32>(name).ok().and_then(|n| u16::try_from(n).ok());
    let size = (side("width")?, side("height")?);
    Some((config.into_mapped_buffer_readable().ok()?, size))
}

/// Caps of sound the muxer takes.
fn audio_caps() -> gst::Caps {
    gst::Caps::builder_full()
        .structure(
            gst::Structure::builder("audio/mpeg")
                .field("mpegversion", 4i32)
                .field("stream-format", "raw")
                .field("framed", true)
                .build(),
        )
        .structure(
            gst::Structure::builder("audio/x-opus").field("channel-mapping-family", 0i32).build(),
        )
        .build()
}

/// How a tap treats its samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct TapOptions {
    /// Held back until the clock reaches their time: for files.
    pub paced: bool,
    /// Ask the encoder for a keyframe at each fragment's start.
    pub ask_keyframes: bool,
}

/// An appsink that feeds pictures to the muxer.
pub(super) fn video_tap(shared: &Arc<Shared>, options: TapOptions) -> gst::Element {
    let shared = Arc::clone(shared);
    let interval = gst::ClockTime::from_useconds(shared.options.fragment_us);
    sink(&video_caps(), options, Arc::clone(&shared), move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let Some(buffer) = sample.buffer() else { return Ok(gst::FlowSuccess::Ok) };
        let Ok(map) = buffer.map_readable() else { return Ok(gst::FlowSuccess::Ok) };
        let caps = sample.caps();
        let sync = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let time = running_time(&sample, buffer);
        let ok = map.is_empty()
            || shared.with(|state| {
                if time.is_none() && options.paced {
                    return Err(MuxError::NoTime);
                }
                // Cameras leave time stamps out; a picture without one follows on the one before.
                let step = buffer.duration().map_or(DEFAULT_STEP_NS, |d| nanoseconds(d.nseconds()));
                let time_ns = time.unwrap_or(state.last_ns.saturating_add(step));
                state.last_ns = time_ns;
                if state.video.as_deref() != caps {
                    let Some(config) = caps.and_then(video_config) else {
                        return Err(MuxError::NoCodec);
                    };
                    state.video = caps.map(ToOwned::to_owned);
                    state.mux.set_video(config, &mut state.out)?;
                }
                state.pictures += 1;
                if let Some(feed) = &shared.options.encoded
                    && let Some((config, size)) = caps.and_then(avc_config)
                {
                    feed.publish(|| EncodedFrame {
                        time_ns,
                        keyframe: sync,
                        size,
                        config: config.as_slice().into(),
                        data: map.as_slice().into(),
                    });
                }
                let sample = Sample {
                    time_ns,
                    duration_ns: buffer.duration().map(|d| nanoseconds(d.nseconds())),
                    sync,
                    captured_at_us: captured_at(sink, time_ns),
                    data: &map,
                };
                state.mux.push_video(&sample, &mut state.out)
            });
        if let (true, true, Some(time)) = (sync, options.ask_keyframes, time) {
            ask_keyframe(sink, time, interval);
        }
        if ok { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Error) }
    })
}

/// An appsink that feeds sound to the muxer.
pub(super) fn audio_tap(shared: &Arc<Shared>, options: TapOptions) -> gst::Element {
    let shared = Arc::clone(shared);
    sink(&audio_caps(), options, Arc::clone(&shared), move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let Some(buffer) = sample.buffer() else { return Ok(gst::FlowSuccess::Ok) };
        let Ok(map) = buffer.map_readable() else { return Ok(gst::FlowSuccess::Ok) };
        let caps = sample.caps();
        let Some(time_ns) = running_time(&sample, buffer) else { return Ok(gst::FlowSuccess::Ok) };
        let ok = shared.with(|state| {
            if state.audio.as_deref() != caps {
                // Sound that cannot be described is left out; the pictures matter more.
                let Some(config) = caps.and_then(audio_config) else {
                    state.mux.expect_sound(false);
                    return Ok(());
                };
                state.audio = caps.map(ToOwned::to_owned);
                state.mux.set_audio(config, &mut state.out)?;
            }
            let sample = Sample {
                time_ns,
                duration_ns: buffer.duration().map(|d| nanoseconds(d.nseconds())),
                sync: true,
                captured_at_us: 0,
                data: &map,
            };
            state.mux.push_audio(&sample, &mut state.out)
        });
        if ok { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Error) }
    })
}

fn sink(
    caps: &gst::Caps,
    options: TapOptions,
    shared: Arc<Shared>,
    take: impl FnMut(&AppSink) -> Result<gst::FlowSuccess, gst::FlowError> + Send + 'static,
) -> gst::Element {
    let repeat = matches!(shared.kind, SourceKind::File { repeat: true, .. });
    let for_events = Arc::clone(&shared);
    let sink = AppSink::builder()
        .caps(caps)
        .max_buffers(MAX_SINK_BUFFERS)
        .sync(options.paced)
        // Live pipelines do not wait for the first buffer of every sink; files do, so that they can
        // be sought in.
        .async_(options.paced)
        .enable_last_sample(false)
        .callbacks(
            AppSinkCallbacks::builder()
                .new_preroll(move |_| {
                    shared.prerolled.store(true, Ordering::Release);
                    Ok(gst::FlowSuccess::Ok)
                })
                .new_sample(take)
                .build(),
        )
        .build();
    if repeat {
        join_rounds(&sink, for_events);
    }
    sink.upcast()
}

/// Lets each round of a repeated file begin exactly where the one before ended.
///
/// Demuxers take the start of the last sample for the end of a round. Corrected before the sink
/// sees it, so that pace and time stamps stay one.
fn join_rounds(sink: &AppSink, shared: Arc<Shared>) {
    let Some(pad) = sink.static_pad("sink") else { return };
    let rounds = Mutex::new((gst::ClockTime::ZERO, 0u64));
    let mask = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(mask, move |_, info| {
        let Some(event) = info.event_mut() else { return gst::PadProbeReturn::Ok };
        let replaced = match event.view() {
            // Samples outside the segment pass while a file is opened; they will come again.
            gst::EventView::FlushStop(_) => {
                shared.restart();
                return gst::PadProbeReturn::Ok;
            }
            gst::EventView::Segment(segment) => {
                let Some(time) = segment.segment().downcast_ref::<gst::ClockTime>() else {
                    return gst::PadProbeReturn::Ok;
                };
                let base = time.base().unwrap_or(gst::ClockTime::ZERO);
                let mut rounds = rounds.lock().unwrap_or_else(PoisonError::into_inner);
                if base > rounds.0 {
                    *rounds = (base, rounds.1 + 1);
                }
                let round = shared.round_ns.load(Ordering::Acquire);
                if round == 0 {
                    return gst::PadProbeReturn::Ok;
                }
                let mut time = time.clone();
                time.set_base(gst::ClockTime::from_nseconds(round.saturating_mul(rounds.1)));
                gst::event::Segment::builder(&time).seqnum(event.seqnum()).build()
            }
            _ => return gst::PadProbeReturn::Ok,
        };
        *event = replaced;
        gst::PadProbeReturn::Ok
    });
}

fn nanoseconds(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn running_time(sample: &gst::Sample, buffer: &gst::BufferRef) -> Option<i64> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let time = segment.to_running_time_full(buffer.pts().or(buffer.dts())?)?;
    match time {
        gst::Signed::Positive(t) => i64::try_from(t.nseconds()).ok(),
        gst::Signed::Negative(t) => i64::try_from(t.nseconds()).ok().map(|t| -t),
    }
}

/// Wall clock of the moment a sample was captured: now, less what its time stamp says it took to
/// get here.
fn captured_at(sink: &AppSink, time_ns: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let age = sink
        .current_running_time()
        .and_then(|t| i64::try_from(t.nseconds()).ok())
        .map_or(0, |running| running.saturating_sub(time_ns).clamp(0, MAX_AGE_NS));
    let captured = now.saturating_sub(Duration::from_nanos(age.unsigned_abs()));
    u64::try_from(captured.as_micros()).unwrap_or(u64::MAX)
}

/// Asks the encoder for a keyframe one fragment after this one.
fn ask_keyframe(sink: &AppSink, time_ns: i64, interval: gst::ClockTime) {
    let Ok(now) = u64::try_from(time_ns) else { return };
    let structure = gst::Structure::builder("GstForceKeyUnit")
        .field("running-time", gst::ClockTime::from_nseconds(now) + interval)
        .field("all-headers", false)
        .field("count", 0u32)
        .build();
    // An encoder that does not know the event keeps to its own interval. Pushed by the pad: the
    // element's own way takes the state lock, which a thread that stops the pipeline holds.
    if let Some(pad) = sink.static_pad("sink") {
        pad.push_event(gst::event::CustomUpstream::new(structure));
    }
}

fn video_config(caps: &gst::CapsRef) -> Option<VideoConfig> {
    let s = caps.structure(0)?;
    let record = || {
        let buffer = s.get::<gst::Buffer>("codec_data").ok()?;
        let map = buffer.map_readable().ok()?;
        Some(map.to_vec())
    };
    let codec = match s.name().as_str() {
        "video/x-h264" => VideoCodec::Avc(record()?),
        "video/x-h265" => VideoCodec::Hevc(record()?),
        "image/jpeg" => VideoCodec::Jpeg,
        _ => return None,
    };
    let side = |name| s.get::<i32>(name).ok().and_then(|n| u16::try_from(n).ok());
    let aspect = s
        .get::<gst::Fraction>("pixel-aspect-ratio")
        .ok()
        .and_then(|f| Some((u32::try_from(f.numer()).ok()?, u32::try_from(f.denom()).ok()?)));
    Some(VideoConfig {
        codec,
        width: side("width")?,
        height: side("height")?,
        pixel_aspect: aspect.unwrap_or((1, 1)),
    })
}

fn audio_config(caps: &gst::CapsRef) -> Option<AudioConfig> {
    /// RFC 7845 recommends this many samples at 48 kHz for encoders that do not say.
    const OPUS_PRE_SKIP: u16 = 312;
    let s = caps.structure(0)?;
    let rate = s.get::<i32>("rate").ok().and_then(|r| u32::try_from(r).ok()).filter(|r| *r > 0);
    let channels =
        s.get::<i32>("channels").ok().and_then(|c| u16::try_from(c).ok()).filter(|c| *c > 0);
    match s.name().as_str() {
        "audio/mpeg" => {
            let buffer = s.get::<gst::Buffer>("codec_data").ok()?;
            let config = buffer.map_readable().ok()?.to_vec();
            Some(AudioConfig { codec: AudioCodec::Aac(config), rate: rate?, channels: channels? })
        }
        "audio/x-opus" => Some(AudioConfig {
            codec: AudioCodec::Opus { pre_skip: OPUS_PRE_SKIP },
            rate: 48_000,
            channels: channels.unwrap_or(2),
        }),
        _ => None,
    }
}
