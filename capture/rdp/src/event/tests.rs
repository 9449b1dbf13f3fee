//! Tests of events.

use super::*;
use crate::controller::State;
use crate::policy::{Capability, Denial, Direction, Policy};
use lucid_evidence::Hash;
use lucid_evidence::event::{Event, Value};

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

const AT: Stamp = Stamp { stream_us: 1_000_000, wall_us: 1_793_000_000_000_000 };

fn line(kind: &EventKind) -> String {
    let bytes = kind.encode(AT);
    let (event, length) = Event::read(&bytes).unwrap();
    assert_eq!(length, bytes.len());
    let mut line = String::new();
    event.json_line(&mut line);
    line
}

/// Recordings keep these names for good: a change here makes old ones say something else.
#[test]
fn every_kind_says_what_it_is_in_words() {
    let hash = "07".repeat(32);
    let policy: String =
        Policy::default().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "'connection','peer':'192.0.2.7:50000','user':'ada','change':'resumed','reason':''",
        "'state','state':'idle'",
        &format!("'policy','hash':'{hash}','encoding':'{policy}'"),
        "'refused','count':3,'denial':'over the limit','capability':'clipboard_in'",
        "'approval','by':'operator','request':1,'approval':'granted','capability':'files_out'",
        &format!("'notice_shown','text':'{hash}'"),
        &format!("'notice_accepted','text':'{hash}','user':'ada'"),
        "'window','title':'Quarterly Figures','application':'xterm'",
        "'keys','count':5,'hidden':2,'strokes':[[9,97],[9,97],[9,97]]",
        "'redaction','on':true",
        "'pointer','moves':4,'wheel':1,'clicks':2",
        &format!("'clipboard','hash':'{hash}','bytes':12,'content':'image','direction':'out'"),
        &format!("'file','hash':'{hash}','name':'a.pdf','bytes':9,'direction':'in'"),
        "'resized','width':1280,'height':720",
        "'alert','what':'memory: 512 MiB of 512 MiB'",
        "'lost','count':1",
        &format!("'policy_changed','hash':'{hash}','before':'{hash}','encoding':'{policy}'"),
        "'offered','content':'image','direction':'out'",
    ];
    let kinds = one_of_each();
    assert_eq!(kinds.len(), expected.len());
    for (kind, expected) in kinds.iter().zip(expected) {
        let whole = "{'time':'2026-10-26T07:33:20.000000Z','stream_us':1000000,'kind':".to_owned()
            + expected
            + "}\n";
        assert_eq!(line(kind), whole.replace('\'', "\""));
    }
}

#[test]
fn texts_are_cut_between_characters_and_the_largest_event_fits() {
    let long = "é".repeat(TEXT_MAX_BYTES);
    let window = EventKind::Window { title: format!("a{long}"), application: long };
    let bytes = window.encode(AT);
    let (event, _) = Event::read(&bytes).unwrap();
    let length = |name| match event.field(name) {
        Some(Value::Text(text)) => text.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((length("title"), length("application")), (TEXT_MAX_BYTES - 1, 128));
    let count = 2 * STROKES_MAX as u64;
    let strokes = vec![Stroke { after_us: u32::MAX, keysym: u32::MAX }; 2 * STROKES_MAX];
    let keys = EventKind::Keys { count, hidden: 0, strokes };
    assert_eq!(line(&keys).matches("[4294967295,4294967295]").count(), STROKES_MAX);
}

#[test]
fn what_is_typed_does_not_reach_a_log() {
    let strokes = vec![Stroke { after_us: 0, keysym: 12345 }];
    let shown = format!("{:?}", EventKind::Keys { count: 1, hidden: 0, strokes });
    assert!(!shown.contains("12345"), "{shown}");
}
