//! Media files, played as if they were live: paced by the clock, repeated without a seam.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::element::{chain, make};
use super::encode;
use super::tap::Shared;
use crate::delivery::Item;
use crate::media::MediaEvent;
use crate::source::SourceError;

/// How long a file may take to show its first picture. Slow disks spin up in less.
const PREROLL: Duration = Duration::from_secs(15);

/// `filesrc ! decodebin`, which stops at what can be kept.
pub(super) fn build(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    path: &Path,
) -> Result<(), SourceError> {
    check(path, &shared.name)?;
    let source = make("filesrc")?;
    source.set_property("location", path);
    let decoder = make("decodebin")?;
    decoder.set_property("caps", encode::stop_caps());
    let weak = pipeline.downgrade();
    let for_pads = Arc::clone(shared);
    decoder.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        if let Err(error) = encode::continue_pad(&pipeline, &for_pads, pad, true) {
            for_pads.fail(error);
        }
    });
    let for_end = Arc::clone(shared);
    decoder.connect_no_more_pads(move |_| {
        if !for_end.has_video() {
            for_end.fail(SourceError::NotVideo {
                source_name: for_end.name.clone(),
                detail: "it has no picture track".to_owned(),
            });
        }
    });
    chain(pipeline, &shared.name, &[source, decoder])
}

/// Waits until the first pictures are there, so that what is wrong with a file shows when it is
/// opened.
pub(super) fn preroll(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    repeat: bool,
) -> Result<(), SourceError> {
    let changed = pipeline.set_state(gst::State::Paused);
    let deadline = Instant::now() + PREROLL;
    let mut there = changed.is_err();
    while !there && !shared.delivery.is_over() {
        if Instant::now() > deadline {
            return Err(SourceError::NotVideo {
                source_name: shared.name.clone(),
                detail: format!("no picture within {} s", PREROLL.as_secs()),
            });
        }
        // A pipeline that has no taps yet is paused at once, so the taps are asked too.
        let (result, state, _) = pipeline.state(gst::ClockTime::from_mseconds(50));
        there = result.is_err() || (state == gst::State::Paused && shared.is_prerolled());
        if !there {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    if shared.delivery.is_over() || changed.is_err() {
        while let Some(item) = shared.delivery.next(Duration::ZERO) {
            if let Item::Event(MediaEvent::Failed(error)) = item {
                return Err(error);
            }
        }
        return Err(SourceError::NotVideo {
            source_name: shared.name.clone(),
            detail: "it cannot be read as media".to_owned(),
        });
    }
    if repeat {
        shared.set_round(pipeline.query_duration::<gst::ClockTime>());
        let flags = gst::SeekFlags::SEGMENT | gst::SeekFlags::FLUSH;
        if !seek(pipeline, flags) {
            return Err(SourceError::NotSeekable { source_name: shared.name.clone() });
        }
    }
    Ok(())
}

/// Starts the file again at its end, without a seam; false when it cannot be sought in.
pub(super) fn repeat(pipeline: &gst::Pipeline) -> bool {
    seek(pipeline, gst::SeekFlags::SEGMENT)
}

fn seek(pipeline: &gst::Pipeline, flags: gst::SeekFlags) -> bool {
    pipeline
        .seek(
            1.0,
            flags,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        )
        .is_ok()
}

fn check(path: &Path, name: &str) -> Result<(), SourceError> {
    let shown = path.display().to_string();
    let unreadable = |detail: String| SourceError::UnreadableFile { path: shown.clone(), detail };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(SourceError::NoSuchFile { path: shown });
        }
        Err(e) => return Err(unreadable(e.to_string())),
    };
    if !metadata.is_file() {
        return Err(unreadable("it is no regular file".to_owned()));
    }
    if metadata.len() == 0 {
        return Err(SourceError::Empty {
            source_name: name.to_owned(),
            detail: "it has 0 bytes".to_owned(),
        });
    }
    std::fs::File::open(path).map_err(|e| unreadable(e.to_string()))?;
    Ok(())
}
