//! Text, pictures and files over the clipboard.

use std::sync::Arc;

use lucid_evidence::Hash;
use lucid_rdp::event::{ClipboardKind, EventKind};
use lucid_rdp::policy::{Capability, Direction, FileRule, Policy};

use crate::stage::{SECRET, Stage, until, working};

const TEXT: &str = "UTF8_STRING";

fn refused(capability: Capability) -> impl Fn(&EventKind) -> bool {
    move |event| matches!(event, EventKind::Refused { capability: one, .. } if *one == capability)
}

fn went(direction: Direction, content: ClipboardKind, bytes: &[u8]) -> EventKind {
    let (hash, bytes) = (Hash::of(bytes), bytes.len() as u64);
    EventKind::Clipboard { direction, content, bytes, hash }
}

#[test]
fn text_and_pictures_are_refused_by_default_and_go_over_once_granted() {
    let stage = Stage::new(working());
    let _client = stage.connect(stage.at, "anna", SECRET);
    stage.accept();
    let events = &stage.gate.events;

    let inward = "gruß\nan den Tisch";
    let _copied = stage.client.copies(TEXT, inward.as_bytes());
    until("the offer is refused", || events.any(refused(Capability::ClipboardIn)));
    assert_eq!(stage.desktop.pastes(TEXT), None);
    let mut policy = working();
    (policy.clipboard_in_bytes, policy.clipboard_out_bytes) = (Some(1 << 20), Some(2 << 20));
    stage.gate.policy.send(Arc::new(policy.clone())).unwrap();
    until("text comes in", || {
        stage.desktop.pastes(TEXT).is_some_and(|text| text == inward.as_bytes())
    });
    let told = went(Direction::In, ClipboardKind::Text, inward.as_bytes());
    assert!(events.any(|event| *event == told));

    // More than fits one property, both ways.
    let outward = "0123456789abcde\n".repeat(100_000);
    let _copied = stage.desktop.copies(TEXT, outward.as_bytes());
    until("text goes out", || {
        stage.client.pastes(TEXT).is_some_and(|text| text == outward.as_bytes())
    });
    let told = went(Direction::Out, ClipboardKind::Text, outward.as_bytes());
    assert!(events.any(|event| *event == told));
    let inward = "zurück, lang\n".repeat(50_000);
    let _copied = stage.client.copies(TEXT, inward.as_bytes());
    until("long text comes in", || {
        stage.desktop.pastes(TEXT).is_some_and(|text| text == inward.as_bytes())
    });

    // More than the policy's size.
    policy.clipboard_in_bytes = Some(1000);
    stage.gate.policy.send(Arc::new(policy.clone())).unwrap();
    let large = "too much".repeat(1000);
    let refusals = || {
        let one = refused(Capability::ClipboardIn);
        events.0.lock().unwrap().iter().filter(|event| one(event)).count()
    };
    let before = refusals();
    assert!(before > 0);
    let _copied = stage.client.copies(TEXT, large.as_bytes());
    until("too much is refused", || {
        let _ = stage.desktop.pastes(TEXT);
        refusals() > before
    });
    assert_eq!(stage.desktop.pastes(TEXT), None);

    // A picture of 8 by 8 pixels, as a file of the client; a program of the desktop wants PNG.
    let made = std::process::Command::new("convert")
        .args(["-size", "8x8", "xc:#3366cc", "-type", "TrueColor", "bmp3:-"])
        .output()
        .unwrap();
    let _copied = stage.client.copies("image/bmp", &made.stdout);
    until("a picture comes in", || {
        stage.desktop.pastes("image/png").is_some_and(|png| png.starts_with(b"\x89PNG"))
    });
    let image = |direction| {
        move |event: &EventKind| {
            let content = ClipboardKind::Image;
            matches!(event, EventKind::Clipboard { direction: d, content: c, .. }
                if *d == direction && *c == content)
        }
    };
    assert!(events.any(image(Direction::In)));
    let png = stage.desktop.pastes("image/png").unwrap();
    let _copied = stage.desktop.copies("image/png", &png);
    until("a picture goes out", || {
        let pasted = stage.client.pastes("image/bmp");
        // Until the client has heard of it, this was its own picture.
        events.any(image(Direction::Out)) && pasted.is_some_and(|bmp| bmp.starts_with(b"BM"))
    });
}

#[test]
fn files_come_in_as_the_policy_allows_each() {
    let stage = Stage::new(working());
    let _client = stage.connect(stage.at, "anna", SECRET);
    stage.accept();
    let events = &stage.gate.events;
    let here = stage.directory.path();
    let report: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(here.join("report.txt"), &report).unwrap();
    std::fs::write(here.join("tool.exe"), "MZ").unwrap();
    let uri = |name: &str| format!("file://{}\r\n", here.join(name).display());
    let uris = uri("report.txt") + &uri("tool.exe");
    let _copied = stage.client.copies("text/uri-list", uris.as_bytes());
    until("files are refused", || events.any(refused(Capability::FilesIn)));
    assert!(std::fs::read_dir(here.join("files")).unwrap().next().is_none());

    let rule = FileRule { max_bytes: 1 << 20, extensions: vec!["txt".into()] };
    stage.gate.policy.send(Arc::new(Policy { files_in: Some(rule), ..working() })).unwrap();
    let placed = here.join("files/report.txt");
    let expected = format!("file://{}\r\n", placed.display());
    until("a file comes in", || {
        stage.desktop.pastes("text/uri-list").is_some_and(|list| list == expected.as_bytes())
    });
    assert!(std::fs::read(&placed).unwrap() == report);
    assert!(!here.join("files/tool.exe").exists());
    let (direction, name) = (Direction::In, "report.txt".to_owned());
    let told = EventKind::File { direction, name, bytes: 700_000, hash: Hash::of(&report) };
    assert!(events.any(|event| *event == told));
}
