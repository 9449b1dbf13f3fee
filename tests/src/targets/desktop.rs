//! Fuzz targets of recorded desktops: what a client sends, and what is stored of a session.

use std::path::Path;
use std::sync::Arc;

use lucid_evidence::event::{Event, Events};
use lucid_rdp::credential::{Credential, split_login};
use lucid_rdp::desktop::keeper::{Answer, Request, Settings};
use lucid_rdp::desktop::reach;
use lucid_rdp::policy::{Capability, Policy};
use lucid_rdp::server::channels::chunk::Reassembly;
use lucid_rdp::server::channels::dynamic::{Dynamic, Dynamics};
use lucid_rdp::server::clipboard::selection::{Kind, Kinds, News, Order};
use lucid_rdp::server::clipboard::{Clipboard, Effect, content, uris};
use lucid_rdp::server::graphics::{Graphics, Picture};
use lucid_rdp::server::message::{Action, Message};
use lucid_rdp::server::{display, input, message};

/// Most bytes of a message put together here.
const LIMIT: usize = 1000;

/// Cuts bytes into pieces, each after one byte with its length.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first()?;
        let (piece, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        Some(piece)
    })
}

/// What a client sends after the handshake: input, messages, chunks of channels, dynamic channels.
pub fn rdp_wire(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 4 {
        0 => {
            if let Message::Inputs(inputs) = message::read(1003, Action::FastPath, data) {
                assert!(inputs.len() <= data.len(), "input out of nothing");
            }
            let _ = input::fast_path(data);
        }
        1 => drop(message::read(1003, Action::X224, data)),
        2 => {
            let mut reassembly = Reassembly::new(LIMIT);
            for chunk in pieces(data) {
                if let Ok(Some(message)) = reassembly.push(chunk) {
                    assert!(message.len() <= LIMIT, "a message over the limit");
                }
            }
        }
        _ => {
            let mut dynamics = Dynamics::new(&Dynamic::ALL);
            let mut graphics = Graphics::default();
            for message in pieces(data) {
                let _ = dynamics.take(message);
                let _ = graphics.take(message);
                if graphics.has_room() {
                    let picture = Picture { size: (64, 48), time_ms: 0, h264: message };
                    graphics.show(picture).expect("a short picture can be said");
                }
            }
            let _ = display::wanted(data);
        }
    }
}

/// What a daemon asks of the keeper of desktops, which is root, and what that answers. A request
/// that is taken says nothing but what can be said, and lies within every limit.
pub fn desktop_keeper(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        assert_eq!(&*request.encode(), data);
        match request {
            Request::Start(order) => {
                assert!(order.validate().is_ok());
                let places = Settings::default().places(&order);
                let below = |path: &Path, top: &str| path.parent() == Some(Path::new(top));
                assert!(below(&places.home, "/var/lib/lucid-desktops"));
                assert!(below(&places.runtime, "/run/lucid-desktops"));
            }
            Request::OpenFile { relative } => assert!(reach::is_beneath(&relative)),
            Request::CreateFile { name } | Request::RemoveFile { name } => {
                assert!(reach::is_name(&name));
            }
            _ => {}
        }
    }
    if let Ok(answer) = Answer::decode(data) {
        assert_eq!(&*answer.encode(), data);
    }
}

/// The clipboard: messages of the client among news of the desktop, under a policy that allows
/// all; and the contents of either side.
pub fn rdp_clipboard(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    if kind % 4 == 0 {
        if let Ok(text) = content::text_in(data) {
            assert_eq!(content::text_in(&content::text_out(&text)).as_deref(), Ok(&*text));
        }
        let _ = (content::bmp_of_dib(data), content::dib_of_bmp(data), content::png_of_dib(data));
        if let Ok(dib) = content::dib_of_png(data, 1 << 16) {
            assert!(dib.len() <= 1 << 16, "a picture over the limit");
        }
        let paths = uris::read(data);
        assert_eq!(uris::read(&uris::write(&paths)), paths);
        return;
    }
    let mut policy = Policy::default();
    for capability in Capability::ALL {
        policy.grant(capability);
    }
    let mut clipboard = Clipboard::new(Arc::new(policy.clone()), true, 0);
    for (now_us, piece) in (0u64..).zip(pieces(data)) {
        let effects = match piece {
            [0xf0, id] => clipboard.news(News::Wanted(u64::from(*id), Kind::Text), now_us),
            [0xf1, id] => clipboard.news(News::Wanted(u64::from(*id), Kind::Files), now_us),
            [0xf2] => clipboard
                .news(News::Offered(Kinds { text: true, image: true, files: true }), now_us),
            [0xf3, taken] => clipboard.news(News::Stored(*taken != 0), now_us),
            message => clipboard.take(message, now_us).unwrap_or_default(),
        };
        for effect in effects {
            if let Effect::Do(Order::Begin(name)) = effect {
                assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.'), "{name:?}");
            }
        }
    }
    let _ = clipboard.end();
}

/// What is stored of desktops and sessions: policies, events, credentials, and logins.
pub fn rdp_records(data: &[u8]) {
    if let Ok(policy) = Policy::decode(data) {
        assert_eq!(policy.encode(), data);
    }
    if let Ok((event, length)) = Event::read(data) {
        assert_eq!(event.encode(), data[..length]);
        let mut line = String::new();
        event.json_line(&mut line);
    }
    let mut length = 0;
    for event in Events::new(data).map_while(Result::ok) {
        length += event.encode().len();
    }
    assert!(length <= data.len(), "events out of nothing");
    if let Ok(credential) = Credential::decode(data) {
        assert_eq!(credential.encode(), data);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some((desktop, user)) = split_login(text)
    {
        assert!(desktop.len() + user.len() < text.len());
    }
}
