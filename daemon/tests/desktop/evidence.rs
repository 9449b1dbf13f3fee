//! A worker's session from the credential to the verified evidence.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::office::{Office, WORDS, tool};
use crate::support::lucid;

/// What can be read in the last picture of a film.
fn read_last_picture(film: &Path, directory: &Path) -> String {
    let picture = directory.join("last.png");
    let path = |text: &'static str| Path::new(text);
    // From the end, as far as one keyframe lies; every picture replaces the one before.
    tool(
        "ffmpeg",
        &[
            path("-v"),
            path("error"),
            path("-y"),
            path("-sseof"),
            path("-3"),
            path("-i"),
            film,
            path("-update"),
            path("1"),
            &picture,
        ],
    );
    tool("tesseract", &[&picture, path("stdout"), path("--psm"), path("6")])
}

#[test]
fn a_worker_is_let_in_recorded_and_proved_and_the_credential_serves_once() {
    let office = Office::open(&["desktops.idle_s=2"]);
    let desktop = format!("/desktops/{}", office.desktop);
    assert_eq!(office.get(&desktop)["state"], "ready");
    office.call("GET", &format!("{desktop}/thumbnail"), None).is_problem("desktop-not-running");
    let credential = office.credential(None);
    let id = credential["session_id"].as_str().unwrap().to_owned();
    // The secret is shown this once.
    let listed = office.get(&format!("{desktop}/credentials"));
    assert_eq!(listed["items"][0]["session_id"], id.as_str());
    assert!(!listed.to_string().contains(credential["secret"].as_str().unwrap()));

    let client = office.connect(&credential);
    office.wait("/connections", |list| list["items"][0]["state"] == "connected");
    // What is typed at the notice goes nowhere.
    office.screen.press(&["type", "touch early"]);
    office.accept();
    office.make("made-over-rdp");
    assert!(!office.file("early").exists());
    office.wait("/connections", |list| list["items"][0]["keys"].as_u64().unwrap() > 20);
    let shown = office.call("GET", &format!("{desktop}/thumbnail"), None);
    assert_eq!(shown.header("content-type"), Some("image/png"));
    assert!(shown.body.starts_with(b"\x89PNG"));
    office.wait(&format!("{desktop}/usage"), |usage| {
        let last = usage["items"].as_array().unwrap().last().cloned().unwrap_or_default();
        last["memory_bytes"].as_u64().unwrap_or(0) > 1 << 20
    });
    // Close to a limit, which listeners, `/metrics` and the recording are told.
    let mut told = office.listen();
    office.screen.type_line("head -c 9000000 /dev/zero >big");
    let alert = told.next("desktop_alert");
    assert_eq!(alert["desktop_id"], office.desktop.as_str(), "{alert}");
    assert!(alert["what"].as_str().unwrap().starts_with("disk: "), "{alert}");
    assert!(office.figure("lucid_desktops_alerts") >= 1.0);
    office.wait("/connections", |list| list["items"][0]["state"] == "idle");

    // A lost connection within the grace time: the same session, the same programs, no new notice.
    drop(client);
    office.wait("/connections", |list| list["items"][0]["state"] == "disconnected");
    let client = office.connect(&credential);
    office.wait("/connections", |list| list["items"][0]["state"] == "active");
    office.make("made-after-coming-back");
    let again = office.connection();
    assert_eq!((again["id"].as_str(), again["owner"].as_str()), (Some(&*id), Some("anna")));

    // An operator ends it, and the credential opens nothing any more.
    assert_eq!(office.call("DELETE", &format!("/connections/{id}"), None).status, 204);
    drop(client);
    assert_eq!(office.get("/connections")["items"], json!([]));
    office.is_refused(&credential);
    let used = office.get(&format!("{desktop}/credentials"));
    assert_eq!(used["items"][0]["state"], "used");

    // The evidence.
    let session = format!("/sessions/{id}");
    let ended = office.wait(&session, |session| session["anchored"] != Value::Null);
    assert_eq!((&ended["state"], &ended["end_reason"]), (&json!("terminated"), &json!("stopped")));
    let last = ended["transitions"].as_array().unwrap().last().unwrap();
    assert_eq!(last["reason"], "ended by an operator", "{ended}");
    let titles = office.events(&id, "window");
    let title = |event: &Value| event["title"] == "Ledger of accounts";
    assert!(titles.iter().any(title), "{titles:?}");
    let keys = office.events(&id, "keys");
    let counted: u64 = keys.iter().map(|event| event["count"].as_u64().unwrap()).sum();
    assert!(counted > 20, "{keys:?}");
    let accepted = office.events(&id, "notice_accepted");
    assert_eq!(accepted.len(), 1, "whoever comes back is not asked again");
    let alerts = office.events(&id, "alert");
    assert!(alerts[0]["what"].as_str().unwrap().starts_with("disk: "), "{alerts:?}");
    let job = office.call("POST", "/exports", Some(json!({"session_id": id}))).json();
    let path = format!("/exports/{}", job["id"].as_str().unwrap());
    let made = office.wait(&path, |job| job["state"] == "done" || job["state"] == "failed");
    assert_eq!(made["verdict"], "valid", "{made}");
    let bundle = office.directory.path().join("session.lucid");
    let body = office.call("GET", &format!("{path}/download"), None).body;
    std::fs::write(&bundle, body).unwrap();
    let verdict = lucid().arg("verify").arg(&bundle).output().unwrap();
    assert_eq!(verdict.status.code(), Some(0), "{}", String::from_utf8_lossy(&verdict.stdout));
    let film = office.directory.path().join("film.mp4");
    let video = Command::new("unzip").arg("-p").arg(&bundle).arg("video.mp4").output().unwrap();
    std::fs::write(&film, video.stdout).unwrap();
    let text = read_last_picture(&film, office.directory.path());
    assert!(text.contains(WORDS), "not in the last picture: {text}");
}
