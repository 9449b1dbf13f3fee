//! What a policy denies is refused, asked for, and works once granted; all of it is recorded.

use lucid_evidence::Hash;
use serde_json::{Value, json};

use crate::office::{Office, until};

const TEXT: &str = "UTF8_STRING";
const URIS: &str = "text/uri-list";

/// Whether one of the events has all these fields.
fn holds(events: &[Value], fields: &Value) -> bool {
    let fields = fields.as_object().unwrap();
    events.iter().any(|event| fields.iter().all(|(name, value)| event[name] == *value))
}

#[test]
fn what_is_denied_is_asked_for_and_granted_and_nobody_comes_back_after_the_grace_time() {
    let office = Office::open(&["desktops.grace_s=1"]);
    let credential = office.credential(Some(json!({})));
    let id = credential["session_id"].as_str().unwrap();
    let client = office.enter(&credential);
    let grant = |capability: &str| {
        let request = office.asked(capability, || {});
        assert_eq!((&request["user"], &request["desktop_name"]), (&json!("anna"), &json!("bench")));
        assert_eq!(office.answer(&request, "grant").status, 200);
        request
    };

    // Keys.
    office.asked("keyboard", || office.screen.type_line("touch granted"));
    assert!(!office.file("granted").exists());
    let answered = grant("keyboard");
    office.answer(&answered, "deny").is_problem("already-answered");
    office.make("granted");

    // Text into the desktop.
    let inward = "carried in\n".as_bytes();
    let copied = office.screen.copies(TEXT, inward);
    let request = office.asked("clipboard_in", || {});
    office.screen.type_line("timeout 5 xclip -o -se c >in; touch tried");
    until("the desktop has tried to paste", || office.file("tried").exists());
    assert_eq!(std::fs::read(office.file("in")).unwrap(), b"");
    assert_eq!(office.answer(&request, "grant").status, 200);
    until("text comes in", || {
        office.screen.type_line("timeout 5 xclip -o -se c >in");
        std::fs::read(office.file("in")).unwrap() == inward
    });
    drop(copied);

    // A file into it.
    let report: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let path = office.directory.path().join("report.txt");
    std::fs::write(&path, &report).unwrap();
    let uri = format!("file://{}\r\n", path.display());
    let copied = office.screen.copies(URIS, uri.as_bytes());
    office.asked("files_in", || {});
    let placed = office.file("Transfers/report.txt");
    assert!(!placed.exists());
    grant("files_in");
    until("a file comes in", || {
        office.screen.type_line("timeout 5 xclip -o -se c -t text/uri-list >uris");
        std::fs::read(&placed).is_ok_and(|found| found == report)
    });
    drop(copied);

    // Text out of it; files out are asked for, and denied.
    office.asked("clipboard_out", || office.screen.type_line("echo carried out | xclip -se c"));
    assert_ne!(office.screen.pastes(TEXT).as_deref(), Some(&b"carried out\n"[..]));
    grant("clipboard_out");
    until("text goes out", || office.screen.pastes(TEXT).as_deref() == Some(&b"carried out\n"[..]));
    let request = office.asked("files_out", || {
        office.screen.type_line("echo file://$HOME/granted | xclip -se c -t text/uri-list");
    });
    assert_eq!(office.answer(&request, "deny").json()["state"], "denied");

    let connection = office.connection();
    assert_eq!(connection["granted"].as_array().unwrap().len(), 4, "{connection}");
    assert_eq!(connection["policy_hash"], credential["policy_hash"], "what is anchored stays");

    drop(client);
    office.wait("/connections", |list| list["items"] == json!([]));
    office.is_refused(&credential);
    let session = format!("/sessions/{id}");
    office.wait(&session, |session| session["state"] == "completed");

    // The recording says all of it.
    let (refused, answers) = (office.events(id, "refused"), office.events(id, "approval"));
    for capability in ["keyboard", "clipboard_in", "clipboard_out", "files_in", "files_out"] {
        let denied = json!({"capability": capability, "denial": "not allowed"});
        assert!(holds(&refused, &denied), "{capability}: {refused:?}");
        let asked = json!({"capability": capability, "approval": "asked", "by": "anna"});
        assert!(holds(&answers, &asked), "{capability}: {answers:?}");
        let answer = if capability == "files_out" { "denied" } else { "granted" };
        let answered = json!({"capability": capability, "approval": answer, "by": "admin"});
        assert!(holds(&answers, &answered), "{capability}: {answers:?}");
    }
    assert_eq!(office.events(id, "policy_changed").len(), 4);
    let clipboard = office.events(id, "clipboard");
    for (direction, text) in [("in", inward), ("out", &b"carried out\n"[..])] {
        let hash = Hash::of(text).to_string();
        let (bytes, content) = (text.len(), "text");
        let told =
            json!({"direction": direction, "content": content, "bytes": bytes, "hash": hash});
        assert!(holds(&clipboard, &told), "{told}: {clipboard:?}");
    }
    let (hash, bytes) = (Hash::of(&report).to_string(), report.len());
    let told = json!({"direction": "in", "name": "report.txt", "bytes": bytes, "hash": hash});
    let files = office.events(id, "file");
    assert!(holds(&files, &told), "{files:?}");
    let connections = office.events(id, "connection");
    let over = json!({"change": "terminated", "reason": "nobody came back in time"});
    assert!(holds(&connections, &over), "{connections:?}");
}
