//! Tests of events.

use super::*;
use crate::controller::State;
use crate::policy::{Capability, Denial, Direction, Policy};
use lucid_evidence::Hash;
use proptest::prelude::*;

fn one_of_each() -> Vec<EventKind> {
    let hash = Hash([7; 32]);
    vec![
        EventKind::Connection {
            change: Connection::Resumed,
            user: "ada".into(),
            peer: "192.0.2.7:50000".into(),
            reason: String::new(),
        },
        EventKind::State { state: State::Idle },
        EventKind::Policy { hash, encoding: Policy::default().encode() },
        EventKind::Refused {
            capability: Capability::ClipboardIn,
            denial: Denial::OverLimit,
            count: 3,
        },
        EventKind::Approval {
            request: 1,
            capability: Capability::FilesOut,
            approval: Approval::Granted,
            by: "operator".into(),
        },
        EventKind::NoticeShown { text: hash },
        EventKind::NoticeAccepted { user: "ada".into(), text: hash },
        EventKind::Window { title: "Quarterly Figures".into(), application: "xterm".into() },
        EventKind::Keys {
            count: 5,
            hidden: 2,
            strokes: vec![Stroke { after_us: 9, keysym: 0x61 }; 3],
        },
        EventKind::Redaction { on: true },
        EventKind::Pointer { moves: 4, clicks: 2, wheel: 1 },
        EventKind::Clipboard {
            direction: Direction::Out,
            content: ClipboardKind::Image,
            bytes: 12,
            hash,
        },
        EventKind::File { direction: Direction::In, name: "a.pdf".into(), bytes: 9, hash },
        EventKind::Resized { width: 1280, height: 720 },
        EventKind::Alert { what: "memory: 512 MiB of 512 MiB".into() },
        EventKind::Lost { count: 1 },
        EventKind::PolicyChanged { before: hash, hash, encoding: Policy::default().encode() },
        EventKind::Offered { direction: Direction::Out, content: ClipboardKind::Image },
    ]
}

fn event(kind: EventKind) -> Event {
    Event { stream_us: 1_000_000, wall_us: 1_793_000_000_000_000, kind }
}

#[test]
fn every_kind_goes_both_ways_and_no_byte_is_free() {
    let kinds = one_of_each();
    let codes: Vec<u64> = kinds.iter().map(EventKind::code).collect();
    assert_eq!(codes, (0..kinds.len() as u64).collect::<Vec<_>>());
    for kind in kinds {
        let event = event(kind);
        let bytes = event.encode();
        assert_eq!(Event::decode(&bytes), Ok(event.clone()));
        for at in 0..bytes.len() {
            assert!(Event::decode(&bytes[..at]).is_err(), "{event:?} cut at {at}");
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(other) = Event::decode(&changed) {
                    assert_ne!(other, event, "byte {at} bit {bit}");
                    assert_eq!(other.encode(), changed, "byte {at} bit {bit}");
                }
            }
        }
    }
}

#[test]
fn a_chunk_gives_its_events_in_order_and_stops_at_damage() {
    let events: Vec<Event> = one_of_each().into_iter().map(event).collect();
    let plaintext: Vec<u8> = events.iter().flat_map(Event::encode).collect();
    let read: Vec<Event> = Events::new(&plaintext).map(Result::unwrap).collect();
    assert_eq!(read, events);
    let mut cut = plaintext.clone();
    cut.truncate(plaintext.len() - 1);
    let read: Vec<_> = Events::new(&cut).collect();
    assert_eq!(read.len(), events.len());
    assert!(read[..events.len() - 1].iter().all(Result::is_ok));
    let error = read.last().unwrap().clone().unwrap_err();
    assert!(error.offset > plaintext.len() - events.last().unwrap().encode().len());
}

#[test]
fn texts_are_cut_between_characters_and_the_largest_event_fits() {
    let long = "é".repeat(TEXT_MAX_BYTES);
    let windows = event(EventKind::Window { title: format!("a{long}"), application: long.clone() });
    let Ok(Event { kind: EventKind::Window { title, application }, .. }) =
        Event::decode(&windows.encode())
    else {
        panic!("not a window")
    };
    assert_eq!((title.len(), application.len()), (TEXT_MAX_BYTES - 1, APPLICATION_MAX_BYTES));
    let count = 2 * STROKES_MAX as u64;
    let strokes = vec![Stroke { after_us: u32::MAX, keysym: u32::MAX }; 2 * STROKES_MAX];
    let keys = event(EventKind::Keys { count, hidden: 0, strokes }).encode();
    assert!(keys.len() <= EVENT_MAX_BYTES, "{}", keys.len());
    assert!(Event::decode(&keys).is_ok());
}

#[test]
fn hidden_keys_cannot_stand_among_the_strokes() {
    let strokes = vec![Stroke { after_us: 0, keysym: 1 }; 2];
    let keys = event(EventKind::Keys { count: 2, hidden: 1, strokes });
    assert!(Event::decode(&keys.encode()).is_err());
}

#[test]
fn what_is_typed_does_not_reach_a_log() {
    let strokes = vec![Stroke { after_us: 0, keysym: 12345 }];
    let shown = format!("{:?}", event(EventKind::Keys { count: 1, hidden: 0, strokes }));
    assert!(!shown.contains("12345"), "{shown}");
}

#[test]
fn a_search_sees_titles_and_names_without_case() {
    let found = |kind, word| event(kind).search_text().contains(word);
    let window =
        EventKind::Window { title: "Quarterly Figures".into(), application: "XTerm".into() };
    assert!(found(window.clone(), "quarterly figures") && found(window, "xterm"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for event in Events::new(&bytes) {
            let _ = event;
        }
    }
}
