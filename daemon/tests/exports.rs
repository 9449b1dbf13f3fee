//! Exports outlive the daemon, and nothing else that should end them.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::owner::Owner;
use support::{Answer, start, start_in};

const OPTIONS: &[&str] = &["--set", "record.demo=false", "--log-level", "warn"];
/// Exports that are asked for at once; the last of them cannot be done when the kill comes.
const MANY: usize = 12;

/// Records something short and waits until it is complete.
fn recording(owner: &Owner) -> String {
    let new = json!({"name": "Test", "uri": "test://?width=320&height=240&fps=10"});
    let source = owner.call("POST", "/sources", Some(new)).json();
    let path = format!("/sources/{}", source["id"].as_str().unwrap());
    let source = owner.wait(&path, |source| source["state"] == "recording");
    let id = source["current_session_id"].as_str().unwrap().to_owned();
    let session = format!("/sessions/{id}");
    owner.wait(&session, |session| session["duration_s"].as_f64().unwrap() > 1.0);
    assert_eq!(owner.call("POST", &format!("{session}/stop"), None).status, 200);
    owner.wait(&session, |session| session["state"] == "completed");
    id
}

fn ask(owner: &Owner, session: &str) -> String {
    let answer = owner.call("POST", "/exports", Some(json!({"session_id": session})));
    assert_eq!(answer.status, 202, "{}", answer.text());
    format!("/exports/{}", answer.json()["id"].as_str().unwrap())
}

fn done(owner: &Owner, path: &str) -> Value {
    let made = owner.wait(path, |export| export["finished_at"].is_string());
    assert_eq!((&made["state"], &made["verdict"]), (&json!("done"), &json!("valid")), "{made}");
    made
}

fn download(owner: &Owner, path: &str, more: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {}", owner.token);
    let headers = [&[("Authorization", bearer.as_str())], more].concat();
    owner.daemon.send("GET", &format!("/api/v1{path}/download"), &headers, None)
}

fn again(owner: Owner) -> Owner {
    Owner::again(start_in(owner.daemon.kill(), OPTIONS))
}

fn files(owner: &Owner) -> Vec<String> {
    let dir = owner.daemon.data_dir.path().join("exports");
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn file(owner: &Owner, path: &str, extension: &str) -> std::path::PathBuf {
    let id = path.rsplit('/').next().unwrap();
    owner.daemon.data_dir.path().join(Path::new("exports").join(id)).with_extension(extension)
}

#[test]
fn exports_survive_kills_and_end_with_their_deletion_or_their_recording() {
    let owner = Owner::of(start(OPTIONS));
    assert_eq!(owner.get("/exports"), json!({"items": [], "next_cursor": null}));
    let session = recording(&owner);
    let first = ask(&owner, &session);
    let made = done(&owner, &first);
    let whole = download(&owner, &first, &[]);
    let (etag, size) = (whole.header("etag").unwrap().to_owned(), whole.body.len());

    // Killed: the export is what it was, and half a download goes on where it broke off.
    let owner = again(owner);
    assert_eq!(owner.get("/exports")["items"], json!([made]));
    let half = size / 2;
    let from = format!("bytes={half}-");
    let rest = download(&owner, &first, &[("Range", &from), ("If-Range", &etag)]);
    assert_eq!((rest.status, rest.header("etag")), (206, Some(etag.as_str())));
    assert!([&whole.body[..half], &rest.body].concat() == whole.body);

    // Killed while exports wait and one is made: all are made in the end, in their order.
    let asked: Vec<String> = (0..MANY).map(|_| ask(&owner, &session)).collect();
    let owner = again(owner);
    let left = owner.get("/exports")["items"].as_array().unwrap().len();
    assert_eq!(left, MANY + 1);
    let ends: Vec<Value> =
        asked.iter().map(|path| done(&owner, path)["finished_at"].clone()).collect();
    assert!(ends.is_sorted_by(|a, b| a.as_str() < b.as_str()), "{ends:?}");
    for path in &asked {
        assert_eq!(download(&owner, path, &[]).body.len(), size);
    }

    // A file that was cut while the daemon was away is no export any more, and says so.
    let cut = std::fs::File::options().write(true).open(file(&owner, &asked[0], "bundle")).unwrap();
    cut.set_len(size as u64 / 2).unwrap();
    let owner = again(owner);
    let broken = owner.get(&asked[0]);
    assert_eq!(broken["state"], "failed", "{broken}");
    assert!(broken["error"].as_str().unwrap().contains("damaged"), "{broken}");
    download(&owner, &asked[0], &[]).is_problem("export-not-done");
    assert!(
        !file(&owner, &asked[0], "key").exists() && !file(&owner, &asked[0], "bundle").exists()
    );

    // Deleted means deleted, also after another life.
    for path in &asked {
        assert_eq!(owner.call("DELETE", path, None).status, 204);
    }
    owner.call("DELETE", &asked[0], None).is_problem("not-found");
    let owner = again(owner);
    owner.call("GET", &asked[1], None).is_problem("not-found");
    assert_eq!(files(&owner).len(), 3, "{:?}", files(&owner));
    let next = ask(&owner, &session);
    assert!(!asked.contains(&next), "a number comes once");
    done(&owner, &next);

    // What is deleted is not left behind in an export.
    assert_eq!(owner.call("DELETE", &format!("/sessions/{session}"), None).status, 200);
    assert_eq!(owner.get("/exports")["items"], json!([]));
    assert_eq!(files(&owner), [""; 0]);
}
