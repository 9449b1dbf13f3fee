//! Sources leave nothing behind: alone in its process, because it counts threads and open files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use common::{file_uri, open, options, record};
use lucid_tests::fixture;

fn count(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count()
}

#[test]
fn stopped_sources_leave_no_threads_and_no_files() {
    let film = file_uri(&fixture("film-1280x720-5s-aac.mp4"));
    let round = |n: usize| {
        // Stopped after a while, dropped at once, and failed.
        record(open("test://?width=64&height=64&fps=20&audio=1", &options()).unwrap(), n);
        drop(open("test://?width=64&height=64", &options()).unwrap());
        drop(open(&film, &options()).unwrap());
        drop(open(&format!("{film}?loop=1"), &options()).unwrap());
        open("file:///proc/self/status", &options()).unwrap_err();
        if let Ok(stream) = open("rtsp://127.0.0.1:1/x", &options()) {
            record(stream, 1);
        }
    };
    // GStreamer keeps a pool of threads; it is full after the first rounds.
    for _ in 0..3 {
        round(1);
    }
    let before = (count("task"), count("fd"));
    for _ in 0..5 {
        round(1);
    }
    let after = (count("task"), count("fd"));
    assert!(after.0 <= before.0 + 2 && after.1 <= before.1 + 2, "{before:?} -> {after:?}");
}
