//! A client's window and the desktop's size.

use std::sync::Arc;

use lucid_rdp::event::EventKind;
use lucid_rdp::policy::Capability;

use crate::stage::{SECRET, Stage, until, working};

/// The size of the desktop, as its own programs see it.
fn geometry(stage: &Stage) -> String {
    let said = stage.desktop.command_piped("xdotool").arg("getdisplaygeometry").output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_desktop_follows_the_clients_window_once_that_is_granted() {
    let stage = Stage::sized(working(), 1200, 760);
    let _client = stage.connect_with(stage.at, "anna", SECRET, &["/dynamic-resolution"]);
    stage.accept();
    assert_eq!(geometry(&stage), "1200 760");
    let refused = |event: &EventKind| {
        matches!(event, EventKind::Refused { capability: Capability::Resize, .. })
    };
    until("the change is refused", || {
        stage.press(&["windowsize", "1000", "600"]);
        stage.gate.events.any(refused)
    });
    assert_eq!(geometry(&stage), "1200 760");

    let mut policy = working();
    policy.grant(Capability::Resize);
    stage.gate.policy.send(Arc::new(policy)).unwrap();
    for (width, height) in [("900", "560"), ("1100", "700")] {
        until("the desktop has the size of the window", || {
            stage.press(&["windowsize", width, height]);
            geometry(&stage) == format!("{width} {height}")
        });
        let (width, height) = (width.parse().unwrap(), height.parse().unwrap());
        let resized = EventKind::Resized { width, height };
        until("the change is told", || stage.gate.events.any(|event| *event == resized));
        until("the terminal is read", || {
            stage.press(&["type", "--delay", "40", "clear; echo LUCID IS HERE"]);
            stage.press(&["key", "Return"]);
            stage.read_screen().contains("LUCID IS HERE")
        });
    }
}
