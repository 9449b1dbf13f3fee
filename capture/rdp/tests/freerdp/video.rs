//! The recording's own pictures at a client that takes H.264.

use rustix::process::{Pid, Signal, kill_process};

use crate::stage::{SECRET, Stage, until, working};

fn reads(stage: &Stage, text: &str) {
    until("the echo is read on the client", || {
        stage.press(&["type", "--delay", "40", &format!("clear; echo {text}")]);
        stage.press(&["key", "Return"]);
        stage.read_screen().contains(text)
    });
}

#[test]
fn one_encoder_run_serves_the_recording_and_a_client() {
    let stage = Stage::new(working());
    let _client = stage.connect_with(stage.at, "anna", SECRET, &["/gfx-h264:AVC420"]);
    stage.accept();
    // As long as nothing is recorded, pictures are made for the client.
    reads(&stage, "LUCID BY TILES");
    assert_eq!(stage.gate.counters.now().frames_video, 0);
    let recording = stage.record();
    // The desktop is still: the first picture comes because it is asked for.
    until("video comes", || stage.gate.counters.now().frames_video > 0);
    until("the desktop is read from video", || stage.read_screen().contains("LUCID BY TILES"));
    reads(&stage, "LUCID BY VIDEO");
    assert!(stage.gate.counters.now().frames_video > 5);
    // A second one joins while nothing moves.
    let before = stage.gate.counters.now().frames_video;
    let screen = crate::stage::Display::start(stage.directory.path(), "second", 1280, 800);
    let user = ("anna", SECRET);
    let _second = stage.connect_on(&screen, stage.at, user, &["/gfx-h264:AVC420"]);
    until("the second reads the desktop", || {
        screen.press(&["key", "Return"]);
        stage.read(&screen).contains("LUCID BY VIDEO")
    });
    assert!(stage.gate.counters.now().frames_video > before);
    drop(recording);
}

#[test]
fn a_client_without_h264_and_one_that_stops_reading_do_no_harm() {
    let stage = Stage::new(working());
    let _recording = stage.record();
    let plain = stage.connect_with(stage.at, "anna", SECRET, &["/gfx:RFX"]);
    stage.accept();
    reads(&stage, "LUCID BY TILES");
    assert_eq!(stage.gate.counters.now().frames_video, 0);
    drop(plain);

    stage.gate.events.0.lock().unwrap().clear();
    let client = stage.connect_with(stage.at, "anna", SECRET, &["/gfx-h264:AVC420"]);
    stage.accept();
    reads(&stage, "LUCID BY VIDEO");
    let pid = Pid::from_raw(i32::try_from(client.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let stopped = stage.gate.counters.now();
    stage.desktop.xdotool(&["type", "--delay", "20", "seq 999999\n"]);
    until("pictures are left out", || {
        stage.gate.counters.now().frames_skipped > stopped.frames_skipped + 20
    });
    let sent = stage.gate.counters.now();
    // What a client may have without saying that it has it, and one that the writer holds.
    assert!(sent.frames_video - stopped.frames_video <= 6, "{stopped:?} {sent:?}");
    kill_process(pid, Signal::CONT).unwrap();
    stage.desktop.xdotool(&["key", "ctrl+c"]);
    reads(&stage, "LUCID AGAIN");
}
