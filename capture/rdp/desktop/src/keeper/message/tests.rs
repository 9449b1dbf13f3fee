//! Every packet comes back as it was sent, and nothing else is taken.

use super::*;
use proptest::prelude::*;

fn order() -> Order {
    Order {
        index: 7,
        key: "dsk-abc".into(),
        definition: Definition {
            name: "accounts".into(),
            width: 1280,
            height: 720,
            command: Some("exec xterm".into()),
            restart: true,
        },
        limits: Limits { disk_bytes: Some(1 << 30), ..Limits::default() },
    }
}

fn requests() -> Vec<Request> {
    let plain = Order {
        definition: Definition { command: None, ..order().definition },
        limits: Limits::default(),
        ..order()
    };
    vec![
        Request::Start(Box::new(order())),
        Request::Start(Box::new(plain)),
        Request::Prepared { refused: None },
        Request::Prepared { refused: Some("too small".into()) },
        Request::Stop,
        Request::End { reason: "over".into() },
        Request::Usage,
        Request::Connect,
        Request::OpenFile { relative: "sub/a b.txt".into() },
        Request::CreateFile { name: "ü.txt".into() },
        Request::RemoveFile { name: "b".into() },
        Request::IsAskedSecretly,
        Request::List,
        Request::EraseHomes,
        Request::Sound,
    ]
}

#[test]
fn requests_come_back_and_lose_nothing() {
    for request in requests() {
        let packet = request.encode();
        assert_eq!(Request::decode(&packet), Ok(request.clone()));
        for length in 0..packet.len() {
            assert!(Request::decode(&packet[..length]).is_err(), "{request:?} cut at {length}");
        }
        let mut longer = packet.to_vec();
        longer.push(0);
        assert!(Request::decode(&longer).is_err(), "{request:?} with more");
        longer[0] = 2;
        assert_eq!(Request::decode(&longer), Err(MessageError::Version(2)));
    }
}

#[test]
fn answers_come_back() {
    let usage =
        Usage { cpu_us: 1, cpu_permille: 2, memory_bytes: 3, tasks: 4, disk_bytes: u64::MAX };
    let answers = [
        Answer::Done,
        Answer::Failed { exists: true, why: "there".into() },
        Answer::Flag(true),
        Answer::Usage(usage),
        Answer::List(vec![(1, true), (999, false)]),
        Answer::Server { display: 3, cookie: Zeroizing::new(vec![9; 16]), files: "/a/b".into() },
        Answer::Started,
        Answer::NotStarted("no".into()),
        Answer::Ending("soon".into()),
        Answer::Changed(State::Running),
        Answer::Changed(State::Restarting { reason: "r".into(), attempt: 3 }),
        Answer::Changed(State::Stopped),
        Answer::Changed(State::Ended { reason: "e".into() }),
    ];
    for answer in answers {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    let long = "ä".repeat(5000);
    let Ok(Answer::NotStarted(cut)) = Answer::decode(&Answer::NotStarted(long).encode()) else {
        panic!("a long text is cut, not refused")
    };
    assert_eq!(cut.len(), SAID_MAX_BYTES);
}

#[test]
fn what_cannot_be_asked_is_named() {
    let refused = |change: &dyn Fn(&mut Order)| {
        let mut order = order();
        change(&mut order);
        Request::decode(&Request::Start(Box::new(order)).encode()).unwrap_err()
    };
    assert_eq!(refused(&|order| order.index = 1000), MessageError::Index(1000));
    for key in ["", "../x", "a/b", "-a", "A", "a.b", &"x".repeat(49)] {
        let error = refused(&|order| order.key = key.to_owned());
        assert_eq!(error, MessageError::Field("key"), "{key:?}");
    }
    let size = refused(&|order| order.definition.width = 100_000);
    assert!(matches!(size, MessageError::Definition(_)));
    let name = refused(&|order| order.definition.name = "a/b".into());
    assert!(matches!(name, MessageError::Definition(_)));
    let long = refused(&|order| order.definition.command = Some("x".repeat(4097)));
    assert_eq!(long, MessageError::Field("command"));
    let limits = refused(&|order| order.limits.tasks = 1);
    assert!(matches!(limits, MessageError::Limits(_)));
    for path in ["../up", "/etc/shadow", "a/../../b", ""] {
        let request = Request::OpenFile { relative: path.into() };
        assert_eq!(Request::decode(&request.encode()), Err(MessageError::Field("file")));
    }
    for name in ["a/b", "..", ".hidden", ""] {
        let request = Request::CreateFile { name: name.into() };
        assert_eq!(Request::decode(&request.encode()), Err(MessageError::Field("file name")));
    }
    assert_eq!(Request::decode(&[1, 99]), Err(MessageError::Kind(99)));
    assert_eq!(Request::decode(&[1; REQUEST_MAX_BYTES + 1]), Err(MessageError::Long));
    // The longest that can be asked fits.
    let mut longest = order();
    longest.definition.command = Some("x".repeat(COMMAND_MAX_BYTES));
    assert!(Request::Start(Box::new(longest)).encode().len() <= REQUEST_MAX_BYTES);
    let all: Vec<(u16, bool)> = (0..1000).map(|index| (index, true)).collect();
    assert!(Answer::List(all).encode().len() <= REQUEST_MAX_BYTES);
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert_eq!(&*request.encode(), &bytes[..]);
        }
        let _ = Answer::decode(&bytes);
    }
}
