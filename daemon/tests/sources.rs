//! Setting up sources, and what the device says of itself, against the real daemon.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::owner::Owner;
use support::{Answer, Daemon, start, start_in};

fn call(daemon: &Daemon, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    let bearer = format!("Bearer {token}");
    let path = format!("/api/v1{path}");
    daemon.send(method, &path, &[("Authorization", &bearer)], body.as_ref())
}

#[test]
fn sources_are_set_up_changed_kept_and_removed() {
    let daemon = start(&["--set", "record.demo=false"]);
    let token = daemon.claim();
    assert_eq!(daemon.send("GET", "/api/v1/sources", &[], None).status, 401);
    let uri = "rtsp://cam:s3cret@192.0.2.4:8554/stream";
    let new = json!({"name": "Gate", "uri": uri, "audio": false, "enabled": false});
    let made = call(&daemon, &token, "POST", "/sources", Some(new));
    assert_eq!(made.status, 201, "{}", made.text());
    let source = made.json();
    let path = format!("/sources/{}", source["id"].as_str().unwrap());
    assert_eq!(made.header("location").unwrap(), format!("/api/v1{path}"));
    assert_eq!(source["uri"], "rtsp://***@192.0.2.4:8554/stream");
    assert_eq!((&source["kind"], &source["demo"]), (&json!("rtsp"), &json!(false)));
    assert_eq!(source["retention"], json!({"max_age_s": null, "max_bytes": null}));
    // Sending back what was shown leaves the address and its password.
    let change = json!({
        "uri": source["uri"],
        "name": "North gate",
        "retention": {"max_age_s": 3600, "max_bytes": 536_870_912},
    });
    let changed = call(&daemon, &token, "PATCH", &path, Some(change)).json();
    assert_eq!(changed["name"], "North gate");
    assert_eq!(changed["uri"], source["uri"]);
    assert_eq!(changed["retention"]["max_age_s"], 3600);
    assert_eq!(changed["audio"], false);
    // Another path of the same camera keeps its password, another camera never gets it.
    let other = json!({"uri": "rtsp://***@192.0.2.4:8554/other"});
    let moved = call(&daemon, &token, "PATCH", &path, Some(other)).json();
    assert_eq!(moved["uri"], "rtsp://***@192.0.2.4:8554/other");
    let other = json!({"uri": "rtsp://***@192.0.2.5:8554/stream"});
    let refused = call(&daemon, &token, "PATCH", &path, Some(other));
    refused.is_problem("invalid-body");
    assert!(refused.text().contains("anew"), "{}", refused.text());
    let change = json!({"uri": "rtsp://***@192.0.2.4:8554/stream"});
    let changed = call(&daemon, &token, "PATCH", &path, Some(change)).json();
    assert_eq!(changed["uri"], source["uri"]);
    let list = call(&daemon, &token, "GET", "/sources", None).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let (exit, log, data_dir) = daemon.stop();
    assert_eq!(exit, 0, "{log}");
    assert!(!log.contains("s3cret"), "{log}");
    let daemon = start_in(data_dir, &[]);
    let kept = call(&daemon, &token, "GET", &path, None).json();
    assert_eq!(kept, changed);
    assert_eq!(call(&daemon, &token, "DELETE", &path, None).status, 204);
    call(&daemon, &token, "GET", &path, None).is_problem("not-found");
    call(&daemon, &token, "DELETE", &path, None).is_problem("not-found");
}

#[test]
fn unfit_sources_are_refused_by_field_without_repeating_a_password() {
    let daemon = start(&[]);
    let token = daemon.claim();
    for (uri, says) in [
        ("", "0 bytes"),
        ("camera", "scheme"),
        ("ftp://u:s3cret@192.0.2.4/x", "known"),
        ("rtsp://u:s3cret@192.0.2.4:99999/x", "port"),
        ("rtsp://u:s3cret@/x", "host"),
        ("v4l2:///etc/passwd", "/dev/"),
        ("file://relative.mp4", "absolute"),
        ("test://?width=99999", "width"),
        ("rtsp://***@192.0.2.4/x y", "space"),
    ] {
        let new = json!({"name": "x", "uri": uri});
        let refused = call(&daemon, &token, "POST", "/sources", Some(new));
        assert_eq!(refused.status, 422, "{uri}: {}", refused.text());
        refused.is_problem("invalid-body");
        let error = refused.json()["errors"][0].clone();
        assert_eq!(error["field"], "uri", "{uri}");
        let text = error.to_string().to_lowercase();
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains(says), "{uri}: {text}");
    }
    let retention = json!({"name": "x", "uri": "test://", "retention": {"max_bytes": 5}});
    let refused = call(&daemon, &token, "POST", "/sources", Some(retention)).json();
    assert_eq!(refused["errors"][0]["field"], "retention.max_bytes");
    let nameless = json!({"name": " ", "uri": "test://"});
    let refused = call(&daemon, &token, "POST", "/sources", Some(nameless)).json();
    assert_eq!(refused["errors"][0]["field"], "name");
    let list = call(&daemon, &token, "GET", "/sources", None).json();
    assert!(list["items"].as_array().unwrap().iter().all(|source| source["name"] != "x"));
}

#[test]
fn the_device_offers_what_it_finds_and_says_what_it_is() {
    let daemon = start(&["--set", "name=gate", "--set", "panel.gpio=sim"]);
    let token = daemon.claim();
    let found = call(&daemon, &token, "GET", "/sources/discovered", None).json();
    let demo = found["items"].as_array().unwrap().iter().find(|item| item["kind"] == "demo");
    assert_eq!(demo.unwrap()["uri"], "test://");
    let encoder = &found["encoder"];
    assert!(encoder["name"].is_string() && encoder["hardware"].is_boolean(), "{found}");
    assert!(encoder["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{found}");
    let device = call(&daemon, &token, "GET", "/device", None).json();
    assert_eq!(device["name"], "gate");
    assert!(daemon.greeting.contains(device["device_fingerprint"].as_str().unwrap()));
    assert!(daemon.greeting.contains(device["tls_fingerprint"].as_str().unwrap()));
    assert!(!device["board"]["model"].as_str().unwrap().is_empty());
    assert_eq!(device["encoder"], *encoder);
    // With pins (here simulated ones) the panel works; everything else does anyway.
    let components = call(&daemon, &token, "GET", "/components", None).json();
    for name in ["panel", "chain", "recorder", "retention", "anchoring", "http", "https"] {
        let items = components["items"].as_array().unwrap();
        let found = items.iter().find(|item| item["name"] == name);
        let found = found.unwrap_or_else(|| panic!("no {name} in {components}"));
        assert_eq!(found["state"], "healthy", "{found}");
        assert_eq!(found["reason"], Value::Null, "{found}");
    }
}

#[test]
fn a_file_that_is_no_video_leaves_no_session_and_is_recorded_once_it_is_one() {
    let owner = Owner::of(start(&["--set", "record.demo=false"]));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.mp4");
    std::fs::write(&path, "this is no video\n".repeat(100)).unwrap();
    let new = json!({"name": "Film", "uri": format!("file://{}", path.display())});
    let made = owner.call("POST", "/sources", Some(new)).json();
    let source = format!("/sources/{}", made["id"].as_str().unwrap());
    let refused = owner.wait(&source, |source| source["state"] == "refused");
    let reason = refused["state_reason"].as_str().unwrap();
    assert!(reason.contains("no video"), "{reason}");
    assert_eq!(refused["current_session_id"], Value::Null);
    assert_eq!(owner.get("/sessions")["items"], json!([]));

    // It becomes one: one session, with all of it.
    let film = dir.path().join("film.mp4");
    std::fs::copy(lucid_tests::fixture("street-640x272-10s.mp4"), &film).unwrap();
    std::fs::rename(&film, &path).unwrap();
    let list = owner.wait("/sessions", |list| list["items"][0]["state"] == "completed");
    let items = list["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["end_reason"]), (1, &json!("source ended")), "{list}");
    assert!(items[0]["chunks"].as_u64() > Some(0), "{list}");
    assert_eq!(owner.get(&source)["state"], "idle");
    let (exit, log, _) = owner.daemon.stop();
    assert_eq!(exit, 0, "{log}");
    assert!(!log.contains("the chain refused"), "{log}");
}

#[test]
fn an_empty_session_is_closed_on_the_chain_without_a_checkpoint() {
    let owner = Owner::of(start(&["--set", "record.demo=false"]));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.mp4");
    std::fs::write(&path, "this is no video\n".repeat(100)).unwrap();
    let uri = format!("file://{}", path.display());
    let new = json!({"name": "Film", "uri": uri, "enabled": false});
    let made = owner.call("POST", "/sources", Some(new)).json();
    let begun = owner.call("POST", "/sessions", Some(json!({"source_id": made["id"]})));
    assert_eq!(begun.status, 201, "{}", begun.text());
    let session = format!("/sessions/{}", begun.json()["id"].as_str().unwrap());
    let closed = owner.wait(&session, |session| session["anchored"] != Value::Null);
    assert_eq!((&closed["chunks"], &closed["end_reason"]), (&json!(0), &json!("source failed")));
    assert_eq!(closed["state"], "failed", "{closed}");
    let last = closed["transitions"].as_array().unwrap().last().unwrap()["reason"].clone();
    assert!(last.as_str().is_some_and(|why| why.starts_with("no media came: ")), "{closed}");
    assert!(last.as_str().is_some_and(|why| why.contains("no video")), "{closed}");
    let listed = owner.get("/sessions?state=failed");
    assert_eq!(listed["items"][0]["id"], closed["id"]);
    let (exit, log, _) = owner.daemon.stop();
    assert_eq!(exit, 0, "{log}");
    assert!(!log.contains("the chain refused"), "{log}");
}
