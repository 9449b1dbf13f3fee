//! A recorded screen on which nothing moves, and one that changes its size.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Taken, options};
use lucid_capture::encoded::EncodedFeed;
use lucid_capture::screen::Access;
use lucid_capture::{MediaEvent, Stream};

struct Screen(Child);

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A screen with a picture that is worth encoding; `None` without Xvfb.
fn screen() -> Option<(Screen, u16)> {
    let mut child = Command::new("Xvfb")
        .args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .inspect_err(|e| println!("skipped: no Xvfb: {e}"))
        .ok()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Some((Screen(child), line.trim().parse().unwrap()))
}

fn open(display: u16, feed: &EncodedFeed) -> Stream {
    let mut options = options();
    (options.audio, options.max_fps, options.screen_access) = (false, 15, Access::Open);
    options.encoded = Some(feed.clone());
    common::open(&format!("screen://:{display}"), &options).unwrap()
}

fn take(stream: &mut Stream, until: impl Fn(&Taken) -> bool) -> Taken {
    let (mut taken, began) = (Taken::default(), Instant::now());
    while !until(&taken) {
        assert!(began.elapsed() < common::PATIENCE, "{taken:?}");
        taken.events.extend(stream.next(Duration::from_millis(100)));
    }
    taken
}

/// Colours the whole screen, which changes it.
fn paint(display: u16, colour: u32) {
    use x11rb::connection::Connection as _;
    use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _};
    use x11rb::wrapper::ConnectionExt as _;
    let (server, _) = x11rb::connect(Some(&format!(":{display}"))).unwrap();
    let root = server.setup().roots[0].root;
    let colour = ChangeWindowAttributesAux::new().background_pixel(colour);
    server.change_window_attributes(root, &colour).unwrap();
    server.clear_area(false, root, 0, 0, 0, 0).unwrap();
    server.sync().unwrap();
}

fn resize(display: u16, width: u16, height: u16) {
    use x11rb::connection::Connection as _;
    use x11rb::protocol::randr::{ConnectionExt as _, Rotation};
    let (server, _) = x11rb::connect(Some(&format!(":{display}"))).unwrap();
    let root = server.setup().roots[0].root;
    // No part of the display may still be shown outside its new size.
    let shown = server.randr_get_screen_resources_current(root).unwrap().reply().unwrap();
    for crtc in shown.crtcs {
        let off = server.randr_set_crtc_config(crtc, 0, 0, 0, 0, 0, Rotation::ROTATE0, &[]);
        off.unwrap().reply().unwrap();
    }
    server.randr_set_screen_size(root, width, height, 100, 75).unwrap().check().unwrap();
}

#[test]
fn a_still_screen_gives_small_pieces_in_time_and_a_keyframe_when_asked() {
    let Some((_screen, display)) = screen() else { return };
    let feed = EncodedFeed::default();
    let mut stream = open(display, &feed);
    let mut taken = take(&mut stream, |taken| taken.fragments().len() >= 4);
    let still = taken.fragments();
    assert!(still[0].keyframe && still[1..].iter().all(|piece| !piece.keyframe), "{still:?}");
    // What a crash may cost is no more than elsewhere.
    assert!(still.iter().all(|piece| piece.duration_us < 1_000_000), "{still:?}");
    // Whoever begins to watch need not wait for something to happen.
    let frames = feed.listen().unwrap();
    let first = frames.next(Duration::from_secs(5)).unwrap();
    assert!(first.keyframe && first.size == (640, 480));
    // A change has a picture that stands alone soon after it.
    paint(display, 0x00c0_8040);
    let changed = take(&mut stream, |taken| {
        taken.fragments().iter().filter(|piece| piece.keyframe).count() >= 2
    });
    taken.events.extend(changed.events);
    taken.events.extend(stream.stop());
    taken.check();
}

#[test]
fn a_screen_of_another_size_is_fitted_into_the_picture_it_began_with() {
    let Some((_screen, display)) = screen() else { return };
    let mut stream = open(display, &EncodedFeed::default());
    let mut taken = take(&mut stream, |taken| !taken.fragments().is_empty());
    resize(display, 400, 300);
    paint(display, 0x0020_c020);
    let pieces = taken.fragments().len() + 3;
    let more = take(&mut stream, |taken| taken.fragments().len() >= pieces);
    taken.events.extend(more.events);
    taken.events.extend(stream.stop());
    // One picture size from beginning to end, which every player can show.
    let inits = |e: &&MediaEvent| matches!(e, MediaEvent::Init(_));
    assert_eq!(taken.events.iter().filter(inits).count(), 1);
    taken.check();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.mp4");
    taken.write(&path);
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(&path)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    assert!(decoded.status.success(), "{}", String::from_utf8_lossy(&decoded.stderr));
}
