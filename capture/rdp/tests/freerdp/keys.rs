//! What is kept of what is typed, and what the worker is told on the desktop.

use std::sync::Arc;
use std::time::Duration;

use lucid_rdp::event::EventKind;
use lucid_rdp::policy::{Capability, KeyRecording, Policy};

use crate::stage::{SECRET, Stage, until, working};

/// The letters that were kept, and how many keys were hidden.
fn kept(stage: &Stage) -> (String, u64) {
    let mut letters = String::new();
    let mut all_hidden = 0;
    for event in stage.gate.events.0.lock().unwrap().iter() {
        let EventKind::Keys { hidden, strokes, .. } = event else { continue };
        let plain = strokes.iter().filter_map(|stroke| char::from_u32(stroke.keysym));
        letters.extend(plain.filter(char::is_ascii_alphanumeric));
        all_hidden += hidden;
    }
    (letters, all_hidden)
}

#[test]
fn keys_are_kept_but_for_what_the_worker_hides() {
    let stage = Stage::new(Policy { record_keys: KeyRecording::Strokes, ..working() });
    let _client = stage.connect(stage.at, "anna", SECRET);
    until("the notice warns", || stage.read_screen().contains("THE KEYS YOU PRESS"));
    stage.accept();
    until("the first is kept", || {
        stage.press(&["type", "--delay", "40", "a"]);
        kept(&stage).0.starts_with('a')
    });
    let redaction = |wanted: bool| {
        stage.press(&["key", "ctrl+alt+shift+h"]);
        until("the hot-key is told", || {
            stage.gate.events.any(|event| *event == EventKind::Redaction { on: wanted })
        });
    };
    redaction(true);
    until("the worker sees that", || stage.read_screen().contains("Keys are not recorded"));
    let before = kept(&stage).0;
    stage.press(&["type", "--delay", "40", "secret"]);
    until("the hidden are counted", || kept(&stage).1 >= 6);
    assert_eq!(kept(&stage).0, before);
    redaction(false);
    until("keys are kept again", || {
        stage.press(&["type", "--delay", "40", "b"]);
        kept(&stage).0.ends_with('b')
    });
    assert!(!kept(&stage).0.contains('s'));
}

#[test]
fn the_worker_is_told_on_the_desktop_what_is_denied_and_granted() {
    let stage = Stage::new(Policy::default());
    let _client = stage.connect(stage.at, "anna", SECRET);
    stage.accept();
    until("the denial is read", || {
        stage.press(&["type", "x"]);
        stage.read_screen().contains("Not allowed in this session: keyboard")
    });
    let mut granted = Policy::default();
    granted.grant(Capability::Keyboard);
    // What is told goes by in seconds, and reading may take longer: it is told again.
    until("the grant is read", || {
        for policy in [Policy::default(), granted.clone()] {
            stage.gate.policy.send(Arc::new(policy)).unwrap();
            std::thread::sleep(Duration::from_millis(300));
        }
        stage.read_screen().contains("Granted for this session: keyboard")
    });
}
