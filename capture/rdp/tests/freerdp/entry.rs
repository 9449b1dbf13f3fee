//! Who is let in, and what reaches the desktop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lucid_rdp::event::EventKind;
use lucid_rdp::policy::{Capability, Policy};
use lucid_rdp::session::{Ended, Endpoint, Order};

use crate::stage::{Display, SECRET, Stage, until, working};

#[test]
fn typed_text_reaches_the_desktop_after_the_notice_and_is_seen() {
    let stage = Stage::new(working());
    let mut refused = stage.connect(stage.at, "anna", "wrong");
    assert!(!refused.0.wait().unwrap().success());
    assert!(stage.gate.events.0.lock().unwrap().is_empty());

    let _client = stage.connect(stage.at, "bench\\anna", SECRET);
    let shown = |event: &EventKind| matches!(event, EventKind::NoticeShown { .. });
    until("the notice is shown", || stage.gate.events.any(shown));
    until("the notice is read", || stage.read_screen().contains("session is recorded"));
    // What is typed at the notice goes nowhere.
    stage.press(&["type", "touch early"]);
    stage.accept();
    let made = stage.directory.path().join("made-over-rdp");
    until("the file is there", || {
        stage.press(&["type", "--delay", "40", "touch made-over-rdp; echo LUCID WAS HERE"]);
        stage.press(&["key", "Return"]);
        made.exists()
    });
    until("the echo is read on the client", || stage.read_screen().contains("LUCID WAS HERE"));
    assert!(!stage.directory.path().join("early").exists());
    let keys = |event: &EventKind| matches!(event, EventKind::Keys { count, .. } if *count > 0);
    until("keys are counted", || stage.gate.events.any(keys));
    let attempts = stage.gate.attempts.lock().unwrap().clone();
    assert_eq!(attempts[0], (None, "anna".into(), false));
    assert_eq!(attempts[1], (Some("bench".into()), "anna".into(), true));

    until("the way and back is measured", || stage.gate.counters.now().round_trip_us > 0);
    let counted = stage.gate.counters.now();
    assert!(counted.bytes_in > 0 && counted.bytes_out > 10_000, "{counted:?}");
    assert!(counted.frames > 3 && counted.encode_longest_us > 0, "{counted:?}");

    stage.gate.orders.send(Order::End { reason: "the test is over".into() }).unwrap();
    until("the client is gone", || !stage.gate.left.lock().unwrap().is_empty());
    assert_eq!(*stage.gate.left.lock().unwrap(), [Ended::Ordered]);
}

#[test]
fn nothing_reaches_the_desktop_by_default_until_it_is_granted() {
    let stage = Stage::new(Policy::default());
    // The shared port does not know the size before it knows who comes: it changes on the way.
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let shared = stage.server.listen(Endpoint::Shared, any).unwrap();
    let _client = stage.connect(shared, "bench\\anna", SECRET);
    stage.accept();
    let refused = |event: &EventKind| {
        matches!(event, EventKind::Refused { capability: Capability::Keyboard, .. })
    };
    until("keys are refused", || {
        stage.press(&["type", "touch made-over-rdp"]);
        stage.press(&["key", "Return"]);
        stage.gate.events.any(refused)
    });
    assert!(!stage.directory.path().join("made-over-rdp").exists());
    let keys = |event: &EventKind| matches!(event, EventKind::Keys { .. });
    assert!(!stage.gate.events.any(keys));
    stage.gate.policy.send(Arc::new(working())).unwrap();
    until("the file is there", || {
        stage.press(&["type", "--delay", "40", "touch made-over-rdp"]);
        stage.press(&["key", "Return"]);
        stage.directory.path().join("made-over-rdp").exists()
    });
}

#[test]
fn an_observer_sees_all_and_touches_nothing() {
    let stage = Stage::new(working());
    let _worker = stage.connect(stage.at, "anna", SECRET);
    stage.accept();
    let screen = Display::start(stage.directory.path(), "observer", 1280, 800);
    let _observer = stage.connect_on(&screen, stage.at, ("olga", SECRET), &[]);
    let olga = |event: &EventKind| match event {
        EventKind::NoticeAccepted { user, .. } => user == "olga",
        _ => false,
    };
    // An observer too is told that all is recorded.
    until("the observer accepts", || {
        screen.press(&["key", "Return"]);
        stage.gate.events.any(olga)
    });
    let refused = |event: &EventKind| {
        matches!(event, EventKind::Refused { capability: Capability::Keyboard, .. })
    };
    until("keys of the observer are refused", || {
        screen.press(&["type", "touch made-by-olga"]);
        screen.press(&["key", "Return"]);
        stage.gate.events.any(refused)
    });
    until("the observer reads what the worker types", || {
        stage.press(&["type", "--delay", "40", "clear; echo LUCID WAS HERE"]);
        stage.press(&["key", "Return"]);
        stage.read(&screen).contains("LUCID WAS HERE")
    });
    assert!(!stage.directory.path().join("made-by-olga").exists());
}

#[test]
fn a_desktop_that_dies_ends_the_connection() {
    let mut stage = Stage::new(working());
    let mut client = stage.connect(stage.at, "anna", SECRET);
    stage.accept();
    until("the desktop is read", || !stage.read_screen().contains("session is recorded"));
    stage.desktop._server.0.kill().unwrap();
    let gate = stage.gate.clone();
    until("its end is told", || gate.left.lock().unwrap().contains(&Ended::NoDesktop));
    client.0.wait().unwrap();
}

/// Garbage, silence and plain text by the thousand: who comes next is served.
#[test]
fn ten_thousand_clients_that_say_nothing_sensible_do_no_harm() {
    use std::io::Write as _;
    let stage = Stage::new(working());
    let mut open = std::collections::VecDeque::new();
    for number in 0..10_000u32 {
        let Ok(mut stream) = std::net::TcpStream::connect(stage.at) else { continue };
        let garbage = [number.to_le_bytes(), [3, 0, 0, 200]].concat();
        match number % 3 {
            0 => drop(stream.write_all(&garbage)),
            1 => drop(stream.write_all(b"GET / HTTP/1.1\r\n\r\n")),
            _ => {}
        }
        open.push_back(stream);
        if open.len() > 300 {
            open.pop_front();
        }
    }
    let _client = stage.connect(stage.at, "anna", SECRET);
    stage.accept();
    assert_eq!(stage.gate.attempts.lock().unwrap().len(), 1);
}
