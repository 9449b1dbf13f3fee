//! Keys are counted always, kept only where the policy says so, and never while hidden.

use super::*;
use lucid_capture::recorder::Stamp;
use lucid_evidence::event::Event;

/// h, a and 2 as on a German keyboard: `2 " 2 " ² ²` has a third level.
fn layout() -> Layout {
    let mut keysyms = vec![0; 7 * 248];
    let mut key = |code: u8, meanings: &[u32]| {
        let begin = (usize::from(code) - 8) * 7;
        keysyms[begin..begin + meanings.len()].copy_from_slice(meanings);
    };
    key(43, &[0x68, 0x48]);
    key(38, &[0x61]);
    key(11, &[0x32, 0x22, 0x32, 0x22, 0xb2]);
    Layout { first: 8, each: 7, keysyms }
}

fn key(code: u8, down: bool) -> Input {
    Input::Key { code, extended: false, down }
}

const H: u8 = 0x23;
const A: u8 = 0x1e;
const TWO: u8 = 0x03;
const CONTROL: u8 = 0x1d;
const ALT: u8 = 0x38;
const SHIFT: u8 = 0x2a;

fn press(log: &mut KeyLog, code: u8, at_us: u64, secret: bool) -> Key {
    let pressed = log.follow(key(code, true), &layout());
    if let Key::Down(keysym) = pressed {
        log.pressed(keysym, at_us, secret);
    }
    log.follow(key(code, false), &layout());
    pressed
}

fn keysyms(events: &[EventKind]) -> Vec<u32> {
    let strokes = events.iter().filter_map(|event| match event {
        EventKind::Keys { strokes, .. } => Some(strokes.iter().map(|stroke| stroke.keysym)),
        _ => None,
    });
    strokes.flatten().collect()
}

#[test]
fn without_the_policys_word_keys_are_counted_only() {
    let mut log = KeyLog::new(KeyRecording::Counts);
    press(&mut log, A, 1, false);
    press(&mut log, H, 2, true);
    assert_eq!(log.report(), [EventKind::Keys { count: 2, hidden: 0, strokes: vec![] }]);
    assert!(log.report().is_empty());
    // The hot-key is a key like others then.
    for code in [CONTROL, ALT, SHIFT] {
        log.follow(key(code, true), &layout());
    }
    assert_eq!(log.follow(key(H, true), &layout()), Key::Down(0x48));
}

#[test]
fn keys_are_kept_in_the_desktops_layout_with_their_times() {
    let mut log = KeyLog::new(KeyRecording::Strokes);
    press(&mut log, A, 5_000_000, false);
    log.follow(key(SHIFT, true), &layout());
    press(&mut log, A, 5_100_000, false);
    press(&mut log, TWO, 5_200_000, false);
    log.follow(key(SHIFT, false), &layout());
    log.follow(Input::Key { code: 0x38, extended: true, down: true }, &layout());
    press(&mut log, TWO, 5_300_000, false);
    let unit = |unit: u16| Input::Unicode { unit, down: true };
    assert_eq!(log.follow(unit(0xd83d), &layout()), Key::Other);
    assert_eq!(log.follow(unit(0xde00), &layout()), Key::Down(0x0101_f600));
    let stroke = |after_us, keysym| Stroke { after_us, keysym };
    let strokes =
        vec![stroke(0, 0x61), stroke(100_000, 0x41), stroke(200_000, 0x22), stroke(300_000, 0xb2)];
    assert_eq!(log.report(), [EventKind::Keys { count: 4, hidden: 0, strokes }]);
}

#[test]
fn hidden_keys_are_counted_and_never_kept() {
    let mut log = KeyLog::new(KeyRecording::Strokes);
    press(&mut log, A, 1, false);
    for code in [CONTROL, ALT, SHIFT] {
        log.follow(key(code, true), &layout());
    }
    assert_eq!(log.follow(key(H, true), &layout()), Key::Hot);
    assert!(log.toggle());
    for code in [CONTROL, ALT, SHIFT, H] {
        log.follow(key(code, false), &layout());
    }
    press(&mut log, TWO, 2, false);
    press(&mut log, TWO, 3, true);
    assert!(!log.toggle());
    press(&mut log, TWO, 4, true);
    press(&mut log, H, 5, false);
    let events = log.report();
    assert_eq!(keysyms(&events), [0x61, 0x68]);
    assert!(matches!(events[..], [EventKind::Keys { count: 5, hidden: 3, .. }]));
    assert!(!format!("{log:?}").contains("50"), "what is typed reaches no log");
}

#[test]
fn a_flood_is_counted_whole_kept_in_part_and_each_event_can_be_read() {
    let mut log = KeyLog::new(KeyRecording::Strokes);
    let flood = PENDING_MAX as u64 + 100;
    for at in 0..flood {
        log.pressed(0x61, at, false);
    }
    log.pressed(0x61, flood, true);
    let events = log.report();
    let counted: u64 = events
        .iter()
        .map(|event| if let EventKind::Keys { count, .. } = event { *count } else { 0 })
        .sum();
    assert_eq!((counted, keysyms(&events).len()), (flood + 1, PENDING_MAX));
    assert_eq!(events.last(), Some(&EventKind::Lost { count: 100 }));
    for kind in events {
        let bytes = kind.encode(Stamp { stream_us: 1, wall_us: 2 });
        let (event, length) = Event::read(&bytes).unwrap();
        assert_eq!((event.kind, length), (kind.name(), bytes.len()));
    }
}
