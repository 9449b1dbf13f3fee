//! The clipboard as a client and as the desktop use it.

use std::path::PathBuf;

use ironrdp_cliprdr::pdu::{
    FileContentsFlags, FileContentsRequest, FileDescriptor, FormatDataRequest, FormatList,
    PackedFileList,
};
use lucid_evidence::Hash;

use super::selection::{Content, Found, Missing};
use super::store::{self, Outgoing, Received};
use super::*;
use crate::policy::FileRule;

const SECOND: u64 = 1_000_000;

fn granted(all: &[Capability]) -> Arc<Policy> {
    let mut policy = Policy::default();
    for capability in all {
        policy.grant(*capability);
    }
    Arc::new(policy)
}

fn clipboard(policy: Arc<Policy>) -> Clipboard {
    let mut clipboard = Clipboard::new(policy, true, 0);
    let flags = Flags::USE_LONG_FORMAT_NAMES;
    let all = Capabilities::new(ClipboardProtocolVersion::V2, flags);
    assert!(take(&mut clipboard, ClipboardPdu::Capabilities(all)).is_empty());
    clipboard
}

fn take(clipboard: &mut Clipboard, message: ClipboardPdu<'_>) -> Vec<Effect> {
    clipboard.take(&encode_vec(&message).unwrap(), SECOND).unwrap()
}

fn news(clipboard: &mut Clipboard, news: News) -> Vec<Effect> {
    clipboard.news(news, SECOND)
}

fn all_kinds() -> Kinds {
    Kinds { text: true, image: true, files: true }
}

fn offer(kinds: Kinds) -> ClipboardPdu<'static> {
    ClipboardPdu::FormatList(FormatList::new_unicode(&formats_of(kinds), true).unwrap())
}

fn data(bytes: &[u8]) -> ClipboardPdu<'_> {
    ClipboardPdu::FormatDataResponse(FormatDataResponse::new_data(bytes))
}

fn request(format: u32) -> ClipboardPdu<'static> {
    let format = ClipboardFormatId(format);
    ClipboardPdu::FormatDataRequest(FormatDataRequest { format })
}

fn range(stream_id: u32, index: i32, position: u64, requested_size: u32) -> ClipboardPdu<'static> {
    let (flags, data_id) = (FileContentsFlags::RANGE, None);
    let request =
        FileContentsRequest { stream_id, index, flags, position, requested_size, data_id };
    ClipboardPdu::FileContentsRequest(request)
}

fn said(effects: &[Effect]) -> Vec<ClipboardPdu<'_>> {
    let messages = effects.iter().filter_map(|effect| match effect {
        Effect::Say(bytes) => Some(decode::<ClipboardPdu<'_>>(bytes).unwrap()),
        _ => None,
    });
    messages.collect()
}

fn orders(effects: &[Effect]) -> Vec<&Order> {
    let orders = effects.iter().filter_map(|effect| match effect {
        Effect::Do(order) => Some(order),
        _ => None,
    });
    orders.collect()
}

fn refusals(effects: &[Effect]) -> Vec<(Capability, Denial)> {
    let refused = effects.iter().filter_map(|effect| match effect {
        Effect::Refuse(capability, denial) => Some((*capability, *denial)),
        _ => None,
    });
    refused.collect()
}

fn events(effects: Vec<Effect>) -> Vec<EventKind> {
    let events = effects.into_iter().filter_map(|effect| match effect {
        Effect::Record(event) => Some(event),
        _ => None,
    });
    events.collect()
}

fn answer_is_error(effects: &[Effect]) -> bool {
    match said(effects).as_slice() {
        [ClipboardPdu::FormatDataResponse(answer)] => answer.is_error(),
        [ClipboardPdu::FileContentsResponse(answer)] => answer.is_error(),
        other => panic!("no single answer: {other:?}"),
    }
}

#[test]
fn nothing_goes_over_by_default() {
    let mut clipboard = clipboard(Arc::default());
    let (content, files) = (Capability::ClipboardIn, Capability::FilesIn);
    let no = Denial::NotAllowed;
    let (text, image) = ((content, no), (content, no));
    for (kinds, refused) in [
        (Kinds { text: true, ..Kinds::default() }, vec![text]),
        (Kinds { text: true, image: true, ..Kinds::default() }, vec![text, image]),
        (Kinds { text: true, files: true, ..Kinds::default() }, vec![text, (files, no)]),
        // So says a client that does not know what it has.
        (all_kinds(), Vec::new()),
    ] {
        let effects = take(&mut clipboard, offer(kinds));
        assert_eq!(orders(&effects), [&Order::Own(Kinds::default())]);
        assert_eq!(refusals(&effects), refused);
    }
    let effects = news(&mut clipboard, News::Offered(all_kinds()));
    assert!(said(&effects).is_empty());
    assert_eq!(refusals(&effects).len(), 3);
    let effects = take(&mut clipboard, request(13));
    assert!(answer_is_error(&effects) && orders(&effects).is_empty());
    assert_eq!(refusals(&effects), [(Capability::ClipboardOut, no)]);
}

#[test]
fn a_grant_offers_what_was_refused_before() {
    let mut clipboard = clipboard(Arc::default());
    take(&mut clipboard, offer(all_kinds()));
    let effects = clipboard.replace(granted(&[Capability::ClipboardIn]), SECOND);
    let content = Kinds { files: false, ..all_kinds() };
    assert_eq!(orders(&effects), [&Order::Own(content)]);
    news(&mut clipboard, News::Offered(all_kinds()));
    let effects = clipboard.replace(granted(&[Capability::FilesOut]), SECOND);
    let files = Kinds { files: true, ..Kinds::default() };
    let [ClipboardPdu::FormatList(list)] = &said(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(list.get_formats(true).unwrap(), formats_of(files));
}

#[test]
fn text_of_the_client_reaches_the_program_that_asks_and_is_told() {
    let mut clipboard = clipboard(granted(&[Capability::ClipboardIn]));
    let text = Kinds { text: true, ..Kinds::default() };
    let effects = take(&mut clipboard, offer(text));
    assert_eq!(orders(&effects), [&Order::Own(text)]);
    let effects = news(&mut clipboard, News::Wanted(7, Kind::Text));
    assert!(matches!(said(&effects)[..], [ClipboardPdu::FormatDataRequest(_)]));
    // A second program meanwhile does not make a second request.
    assert!(news(&mut clipboard, News::Wanted(8, Kind::Text)).is_empty());
    let effects = take(&mut clipboard, data(&content::text_out("zwölf\n")));
    let content = || Some(Content::Text("zwölf\n".into()));
    assert_eq!(orders(&effects), [&Order::Provide(7, content()), &Order::Provide(8, content())]);
    let hash = Hash::of("zwölf\n".as_bytes());
    let (direction, content) = (Direction::In, ClipboardKind::Text);
    let told = EventKind::Clipboard { direction, content, bytes: 7, hash };
    assert_eq!(events(effects), [told]);
    // And a third, later, is answered at once.
    let effects = news(&mut clipboard, News::Wanted(9, Kind::Text));
    assert!(said(&effects).is_empty() && orders(&effects).len() == 1);
}

#[test]
fn what_is_too_large_is_refused_in_both_directions() {
    let mut policy = Policy { clipboard_in_bytes: Some(4), ..Policy::default() };
    policy.clipboard_out_bytes = Some(4);
    let mut clipboard = clipboard(Arc::new(policy));
    take(&mut clipboard, offer(all_kinds()));
    news(&mut clipboard, News::Wanted(1, Kind::Text));
    let effects = take(&mut clipboard, data(&content::text_out("12345")));
    assert_eq!(orders(&effects), [&Order::Provide(1, None)]);
    assert_eq!(refusals(&effects), [(Capability::ClipboardIn, Denial::OverLimit)]);
    news(&mut clipboard, News::Wanted(2, Kind::Image));
    let effects = clipboard.overlong(SECOND);
    assert_eq!(orders(&effects), [&Order::Provide(2, None)]);
    assert_eq!(refusals(&effects), [(Capability::ClipboardIn, Denial::OverLimit)]);

    news(&mut clipboard, News::Offered(all_kinds()));
    let effects = take(&mut clipboard, request(13));
    assert_eq!(orders(&effects), [&Order::Fetch(Kind::Text, 4)]);
    let large = News::Fetched(Kind::Text, Err(Missing::Large));
    let effects = news(&mut clipboard, large);
    assert!(answer_is_error(&effects));
    assert_eq!(refusals(&effects), [(Capability::ClipboardOut, Denial::OverLimit)]);
    take(&mut clipboard, request(13));
    let found = Found::Text("1234".into());
    let effects = news(&mut clipboard, News::Fetched(Kind::Text, Ok(found)));
    assert!(!answer_is_error(&effects));
    assert!(matches!(events(effects)[..], [EventKind::Clipboard { bytes: 4, .. }]));
}

#[test]
fn a_flood_of_offers_is_refused() {
    let mut clipboard = clipboard(granted(&[Capability::ClipboardIn]));
    let over = (Capability::ClipboardIn, Denial::OverLimit);
    let refused = |clipboard: &mut Clipboard, count: usize, now_us: u64| {
        let list = encode_vec(&offer(all_kinds())).unwrap();
        let flood = (0..count).flat_map(|_| clipboard.take(&list, now_us).unwrap());
        let flood: Vec<Effect> = flood.collect();
        refusals(&flood).into_iter().filter(|one| *one == over).count()
    };
    assert_eq!(refused(&mut clipboard, 1000, 2 * SECOND), 980);
    assert_eq!(refused(&mut clipboard, 100, 3 * SECOND), 90);
    assert_eq!(refused(&mut clipboard, 5, 4 * SECOND), 0);
}

#[test]
fn an_old_answer_is_not_taken_for_new_content() {
    let mut clipboard = clipboard(granted(&[Capability::ClipboardIn]));
    let text = Kinds { text: true, ..Kinds::default() };
    take(&mut clipboard, offer(text));
    news(&mut clipboard, News::Wanted(1, Kind::Text));
    take(&mut clipboard, offer(text));
    // Asked only when the old request is answered: answers carry no number.
    assert!(said(&news(&mut clipboard, News::Wanted(2, Kind::Text))).is_empty());
    let effects = take(&mut clipboard, data(&content::text_out("old")));
    assert!(orders(&effects).is_empty() && said(&effects).len() == 1);
    let effects = take(&mut clipboard, data(&content::text_out("new")));
    assert_eq!(orders(&effects), [&Order::Provide(2, Some(Content::Text("new".into())))]);
}

#[test]
fn a_client_that_forgets_an_old_request_is_asked_anew() {
    let mut clipboard = clipboard(granted(&[Capability::ClipboardIn]));
    let text = Kinds { text: true, ..Kinds::default() };
    take(&mut clipboard, offer(text));
    news(&mut clipboard, News::Wanted(1, Kind::Text));
    take(&mut clipboard, offer(text));
    news(&mut clipboard, News::Wanted(2, Kind::Text));
    assert!(clipboard.tick(3 * SECOND).is_empty());
    let effects = clipboard.tick(3 * SECOND + 1);
    assert!(matches!(said(&effects)[..], [ClipboardPdu::FormatDataRequest(_)]));
}

#[test]
fn a_client_that_does_not_answer_is_given_up() {
    let mut clipboard = clipboard(granted(&[Capability::ClipboardIn]));
    take(&mut clipboard, offer(all_kinds()));
    news(&mut clipboard, News::Wanted(1, Kind::Text));
    assert!(clipboard.tick(CLIENT_TIMEOUT_US).is_empty());
    let effects = clipboard.tick(2 * SECOND + CLIENT_TIMEOUT_US);
    assert_eq!(orders(&effects), [&Order::Provide(1, None)]);
}

fn list(files: &[(&str, u64)]) -> Vec<u8> {
    let file = |(name, bytes): &(&str, u64)| FileDescriptor::new(*name).with_file_size(*bytes);
    encode_vec(&PackedFileList { files: files.iter().map(file).collect() }).unwrap()
}

fn contents(effects: &[Effect]) -> FileContentsRequest {
    match &said(effects)[..] {
        [ClipboardPdu::FileContentsRequest(request)] => request.clone(),
        other => panic!("no request for a file: {other:?}"),
    }
}

fn part(stream: u32, data: &[u8]) -> ClipboardPdu<'_> {
    let answer = FileContentsResponse::new_data_response(stream, data);
    ClipboardPdu::FileContentsResponse(answer)
}

#[test]
fn files_come_in_one_after_the_other_and_only_those_allowed() {
    let rule = FileRule { max_bytes: 10, extensions: vec!["txt".into()] };
    let policy = Policy { files_in: Some(rule), ..Policy::default() };
    let mut clipboard = clipboard(Arc::new(policy));
    take(&mut clipboard, offer(all_kinds()));
    news(&mut clipboard, News::Wanted(1, Kind::Files));
    let files = [
        ("..\\up.txt", 1),
        ("../up.txt", 1),
        ("C:\\x.txt", 1),
        (".hidden.txt", 1),
        ("a.exe", 1),
        ("large.txt", 11),
        ("a.txt", 10),
        ("empty.txt", 0),
    ];
    let effects = take(&mut clipboard, data(&list(&files)));
    let denials: Vec<Denial> = refusals(&effects).into_iter().map(|(_, denial)| denial).collect();
    use Denial::{Extension, Name, OverLimit};
    assert_eq!(denials, [Name, Name, Name, Name, Extension, OverLimit]);
    assert_eq!(orders(&effects), [&Order::Begin("a.txt".into())]);

    let request = contents(&news(&mut clipboard, News::Stored(true)));
    assert_eq!((request.index, request.position, request.requested_size), (6, 0, 10));
    let effects = take(&mut clipboard, part(request.stream_id, b"0123"));
    assert_eq!(orders(&effects), [&Order::Append(b"0123".to_vec())]);
    let request = contents(&news(&mut clipboard, News::Stored(true)));
    assert_eq!((request.position, request.requested_size), (4, 6));
    take(&mut clipboard, part(request.stream_id, b"456789"));
    let effects = news(&mut clipboard, News::Stored(true));
    assert_eq!(orders(&effects), [&Order::Finish]);
    let hash = Hash::of(b"0123456789");
    let path = PathBuf::from("/files/a.txt");
    let received = Received { path: path.clone(), bytes: 10, hash };
    let effects = news(&mut clipboard, News::Finished(Some(received)));
    assert_eq!(orders(&effects), [&Order::Begin("empty.txt".into())]);
    let (direction, name) = (Direction::In, "a.txt".to_owned());
    assert_eq!(events(effects), [EventKind::File { direction, name, bytes: 10, hash }]);
    let effects = news(&mut clipboard, News::Stored(true));
    assert_eq!(orders(&effects), [&Order::Finish]);
    // This one the disk did not take after all.
    let effects = news(&mut clipboard, News::Finished(None));
    assert_eq!(orders(&effects), [&Order::Provide(1, Some(Content::Files(vec![path])))]);
}

#[test]
fn a_file_that_grows_on_the_way_is_given_up() {
    let mut clipboard = clipboard(granted(&[Capability::FilesIn]));
    take(&mut clipboard, offer(all_kinds()));
    news(&mut clipboard, News::Wanted(1, Kind::Files));
    take(&mut clipboard, data(&list(&[("a", 3)])));
    let request = contents(&news(&mut clipboard, News::Stored(true)));
    let effects = take(&mut clipboard, part(request.stream_id, b"more"));
    assert_eq!(refusals(&effects), [(Capability::FilesIn, Denial::OverLimit)]);
    assert_eq!(orders(&effects), [&Order::Abandon, &Order::Provide(1, None)]);
    // Answers to nothing are nothing.
    assert!(take(&mut clipboard, part(request.stream_id, b"abc")).is_empty());
}

#[test]
fn files_given_up_do_not_mix_with_the_next_ones() {
    let mut clipboard = clipboard(granted(&[Capability::FilesIn]));
    take(&mut clipboard, offer(all_kinds()));
    news(&mut clipboard, News::Wanted(1, Kind::Files));
    take(&mut clipboard, data(&list(&[("old", 3)])));
    // The disk has not answered for the old file when the client has something else.
    let effects = take(&mut clipboard, offer(all_kinds()));
    assert_eq!(
        orders(&effects),
        [&Order::Abandon, &Order::Own(Kinds { files: true, ..Kinds::default() })]
    );
    news(&mut clipboard, News::Wanted(2, Kind::Files));
    take(&mut clipboard, data(&list(&[("new", 3)])));
    assert!(news(&mut clipboard, News::Stored(true)).is_empty());
    let request = contents(&news(&mut clipboard, News::Stored(true)));
    assert_eq!(request.position, 0);
}

fn outgoing() -> (tempfile::TempDir, Outgoing) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.txt");
    std::fs::write(&path, "0123456789").unwrap();
    let file = store::local(directory.path()).outgoing(&path).unwrap();
    (directory, file)
}

#[test]
fn files_go_out_in_order_and_their_hash_is_told() {
    let mut clipboard = clipboard(granted(&[Capability::FilesOut]));
    let (_directory, file) = outgoing();
    take(&mut clipboard, offer(Kinds::default()));
    news(&mut clipboard, News::Offered(all_kinds()));
    let effects = take(&mut clipboard, request(FILES_FORMAT));
    assert!(matches!(orders(&effects)[..], [Order::Fetch(Kind::Files, _)]));
    let found = Found::Files(vec![file.clone()], 2);
    let effects = news(&mut clipboard, News::Fetched(Kind::Files, Ok(found)));
    assert_eq!(refusals(&effects), [(Capability::FilesOut, Denial::Name); 2]);
    let [ClipboardPdu::FormatDataResponse(answer)] = &said(&effects)[..] else { panic!() };
    let listed = answer.to_file_list().unwrap().files;
    assert_eq!((listed[0].name.as_str(), listed[0].file_size), ("a.txt", Some(10)));

    let read = |clipboard: &mut Clipboard, position, bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap();
        let effects = take(clipboard, range(5, 0, position, length));
        let wanted = Order::Read(file.clone(), position, bytes.len());
        assert_eq!(orders(&effects), [&wanted]);
        news(clipboard, News::ReadDone(Some(bytes.to_vec())))
    };
    assert!(events(read(&mut clipboard, 0, b"0123")).is_empty());
    // Not in order: what it would hash to could not be told.
    let effects = take(&mut clipboard, range(6, 0, 8, 2));
    assert!(answer_is_error(&effects));
    let effects = read(&mut clipboard, 4, b"456789");
    let (direction, name) = (Direction::Out, "a.txt".to_owned());
    let hash = Hash::of(b"0123456789");
    let whole = EventKind::File { direction, name: name.clone(), bytes: 10, hash };
    assert_eq!(events(effects), [whole]);
    // Again, in part: that is told when the connection ends.
    read(&mut clipboard, 0, b"01");
    let half = EventKind::File { direction, name, bytes: 2, hash: Hash::of(b"01") };
    assert_eq!(events(clipboard.end()), [half]);
    assert!(answer_is_error(&take(&mut clipboard, range(7, 0, 0, 1))));
}

#[test]
fn a_grant_taken_back_stops_a_file() {
    let mut clipboard = clipboard(granted(&[Capability::FilesOut]));
    let (_directory, file) = outgoing();
    take(&mut clipboard, offer(Kinds::default()));
    news(&mut clipboard, News::Offered(all_kinds()));
    take(&mut clipboard, request(FILES_FORMAT));
    news(&mut clipboard, News::Fetched(Kind::Files, Ok(Found::Files(vec![file], 0))));
    clipboard.replace(Arc::default(), SECOND);
    let effects = take(&mut clipboard, range(1, 0, 0, 10));
    assert!(answer_is_error(&effects));
    assert_eq!(refusals(&effects), [(Capability::FilesOut, Denial::NotAllowed)]);
}

proptest::proptest! {
    /// Whatever a client sends, in whatever order: no panic, and nothing is asked of the disk.
    #[test]
    fn nonsense_does_no_harm(
        messages in proptest::collection::vec(
            proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), 0..20),
        kinds in proptest::collection::vec(0u16..12, 20),
    ) {
        let mut clipboard = clipboard(granted(&Capability::ALL));
        for (mut message, kind) in messages.into_iter().zip(kinds) {
            if let Some(first) = message.first_chunk_mut::<2>() {
                *first = kind.to_le_bytes();
            }
            let effects = clipboard.take(&message, SECOND).unwrap_or_default();
            let disk = |order: &&Order| !matches!(order, Order::Own(_));
            proptest::prop_assert_eq!(orders(&effects).into_iter().find(disk), None);
        }
    }
}
