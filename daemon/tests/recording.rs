//! The whole way through the running daemon: from the claim to a verified export.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::owner::Owner;
use support::{Answer, PATIENCE, start, start_in};

#[test]
fn a_claimed_device_shows_a_live_picture_and_exports_what_it_recorded() {
    let owner = Owner::of(start(&[]));
    // No camera here: a marked demo source records by itself.
    let list = owner.wait("/sources", |list| list["items"][0]["state"] == "recording");
    let source = &list["items"][0];
    assert_eq!((&source["demo"], &source["kind"]), (&json!(true), &json!("test")));
    assert_eq!(source["retention"], json!({"max_age_s": 3600, "max_bytes": 536_870_912}));
    let id = source["current_session_id"].as_str().unwrap().to_owned();
    let session = format!("/sessions/{id}");
    let live = format!("{session}/live");
    let began = Instant::now();
    let playlist = loop {
        let text = owner.call("GET", &live, None).text();
        if text.matches(".m4s").count() >= 3 {
            break text;
        }
        assert!(began.elapsed() < PATIENCE, "no live picture: {text}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(!playlist.contains("ENDLIST"), "{playlist}");
    let address = |line: &str| format!("{session}/{line}");
    let map = playlist.split("URI=\"").nth(1).unwrap().split('"').next().unwrap();
    let init = owner.call("GET", &address(map), None);
    assert_eq!(init.header("content-type"), Some("video/mp4"));
    assert_eq!(&init.body[4..8], b"ftyp");
    let first = playlist.lines().find(|line| line.ends_with(".m4s")).unwrap();
    let fragment = owner.call("GET", &address(first), None);
    assert_eq!(&fragment.body[4..8], b"moof");
    assert!(fragment.header("cache-control").unwrap().contains("private"));
    assert_eq!(
        owner.daemon.send("GET", &format!("/api/v1{}", address(first)), &[], None).status,
        401
    );
    owner.call("GET", &format!("{session}/media/9-9.m4s"), None).is_problem("not-found");

    // While it records it cannot be exported or deleted, and not be recorded twice.
    let export = json!({"session_id": id});
    owner.call("POST", "/exports", Some(export.clone())).is_problem("still-recording");
    owner.call("DELETE", &session, None).is_problem("still-recording");
    let again = json!({"source_id": source["id"]});
    owner.call("POST", "/sessions", Some(again)).is_problem("already-recording");
    let health = owner.wait("/evidence-health", |health| health["recording_sources"] == 1);
    assert_eq!(health["safe"], true, "{health}");

    // Stopped, it is stored, anchored and complete, and its source stays quiet.
    let stopped = owner.call("POST", &format!("{session}/stop"), None);
    assert_eq!(stopped.status, 200, "{}", stopped.text());
    assert_eq!(stopped.json()["end_reason"], "stopped");
    owner.call("POST", &format!("{session}/stop"), None).is_problem("not-recording");
    let done = owner.wait(&session, |session| session["state"] == "completed");
    assert!(done["duration_s"].as_f64().unwrap() > 1.0, "{done}");
    assert_eq!(done["gaps"], json!([]));
    assert_eq!(
        (&done["anchored"]["witnesses"], &done["anchored"]["validators"]),
        (&json!(1), &json!(1))
    );
    let quiet = owner.get("/sources");
    assert_eq!(
        (&quiet["items"][0]["state"], &quiet["items"][0]["enabled"]),
        (&json!("idle"), &json!(false))
    );
    let whole = owner.call("GET", &format!("{session}/media/playlist.m3u8"), None).text();
    assert!(whole.contains("PLAYLIST-TYPE:VOD") && whole.ends_with("#EXT-X-ENDLIST\n"), "{whole}");

    // The export verifies, here and by upload.
    let export = owner.call("POST", "/exports", Some(export));
    assert_eq!(export.status, 202, "{}", export.text());
    let path = format!("/exports/{}", export.json()["id"].as_str().unwrap());
    let made = owner.wait(&path, |export| export["state"] == "done" || export["state"] == "failed");
    assert_eq!((&made["verdict"], &made["progress"]), (&json!("valid"), &json!(1.0)), "{made}");
    let bundle = owner.call("GET", &format!("{path}/download"), None);
    assert_eq!(bundle.header("content-type"), Some("application/zip"));
    assert!(bundle.header("content-disposition").unwrap().contains(".lucid"));
    assert_eq!(bundle.body.len() as u64, made["bytes"].as_u64().unwrap());
    a_broken_off_download_goes_on(&owner, &path, &bundle);
    assert_eq!(upload(&owner, &bundle.body)["verdict"], "valid");
    let mut changed = bundle.body.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    assert_ne!(upload(&owner, &changed)["verdict"], "valid");
    assert_ne!(upload(&owner, b"no bundle")["verdict"], "valid");
    assert_eq!(owner.call("DELETE", &path, None).status, 204);
    owner.call("GET", &path, None).is_problem("not-found");
    let proof = owner.call("GET", &format!("{session}/proof?format=json"), None).json();
    assert_eq!(proof["anchored"], true, "{proof}");

    // Held it cannot be deleted; released it can, and then nothing of it opens again.
    let held = owner.call("PUT", &format!("{session}/hold"), Some(json!({"reason": "case 7"})));
    assert_eq!(held.json()["held"]["reason"], "case 7");
    owner.call("DELETE", &session, None).is_problem("on-hold");
    assert_eq!(owner.call("DELETE", &format!("{session}/hold"), None).json()["held"], Value::Null);
    assert_eq!(owner.call("DELETE", &session, None).json()["state"], "deleted");
    owner.call("GET", &live, None).is_problem("session-deleted");
    owner.call("GET", &address(first), None).is_problem("session-deleted");
    owner.call("POST", "/exports", Some(json!({"session_id": id}))).is_problem("session-deleted");
}

/// Ranges of a bundle are what the RFC says they are, and put together they are the bundle.
fn a_broken_off_download_goes_on(owner: &Owner, path: &str, whole: &Answer) {
    let path = format!("/api/v1{path}/download");
    let bearer = format!("Bearer {}", owner.token);
    let ask = |method: &str, more: &[(&str, &str)]| {
        let headers = [&[("Authorization", bearer.as_str())], more].concat();
        owner.daemon.send(method, &path, &headers, None)
    };
    let (bytes, size) = (&whole.body, whole.body.len());
    let etag = whole.header("etag").unwrap();
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));

    // Parts that lie across blocks of the sealed file and across what is sent at a time.
    let cut = (size / 2).max(1);
    let mut joined = Vec::new();
    for (range, first, last) in
        [(format!("bytes=0-{}", cut - 1), 0, cut - 1), (format!("bytes={cut}-"), cut, size - 1)]
    {
        let part = ask("GET", &[("Range", &range), ("If-Range", etag)]);
        assert_eq!(part.status, 206, "{}", part.head);
        let place = format!("bytes {first}-{last}/{size}");
        assert_eq!(part.header("content-range"), Some(place.as_str()));
        assert_eq!(part.header("content-length"), Some((last - first + 1).to_string().as_str()));
        assert_eq!(part.header("etag"), Some(etag));
        assert_eq!(part.header("content-type"), Some("application/zip"));
        joined.extend(part.body);
    }
    assert!(joined == *bytes);
    let tail = ask("GET", &[("Range", "bytes=-7")]);
    assert_eq!((tail.status, &tail.body[..]), (206, &bytes[size - 7..]));

    let outside = ask("GET", &[("Range", &format!("bytes={size}-"))]);
    assert_eq!(outside.status, 416);
    outside.is_problem("range-not-satisfiable");
    assert_eq!(outside.header("content-range"), Some(format!("bytes */{size}").as_str()));
    for more in [
        &[("Range", "bytes=0-1,4-5")][..],
        &[("Range", "bytes=0-1"), ("If-Range", "\"another\"")],
        &[("Range", "lines=0-1")],
    ] {
        let all = ask("GET", more);
        assert_eq!((all.status, all.header("content-range")), (200, None), "{more:?}");
        assert!(all.body == *bytes, "{more:?}");
    }
}

fn upload(owner: &Owner, bundle: &[u8]) -> Value {
    use std::io::Write;
    let mut stream = owner.daemon.connect();
    let head = format!(
        "POST /api/v1/verify HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        owner.daemon.address,
        owner.token,
        bundle.len()
    );
    stream.write_all(&[head.as_bytes(), bundle].concat()).unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn recording_goes_on_after_a_stop_and_after_a_kill() {
    let owner = Owner::of(start(&["--set", "record.demo=false"]));
    assert_eq!(owner.get("/sources")["items"], json!([]));
    let new = json!({"name": "Test", "uri": "test://?width=320&height=240&fps=10"});
    let source = owner.call("POST", "/sources", Some(new)).json();
    let path = format!("/sources/{}", source["id"].as_str().unwrap());
    let recording = |owner: &Owner| owner.wait(&path, |source| source["state"] == "recording");
    let first = recording(&owner)["current_session_id"].as_str().unwrap().to_owned();
    // A drain closes the session in order.
    let (exit, log, data_dir) = owner.daemon.stop();
    assert_eq!(exit, 0, "{log}");
    let owner = Owner::again(start_in(data_dir, &[]));
    let session = owner.get(&format!("/sessions/{first}"));
    assert_eq!(
        (&session["end_reason"], &session["state"]),
        (&json!("shutdown"), &json!("completed"))
    );
    let second = recording(&owner)["current_session_id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let session = format!("/sessions/{second}");
    owner.wait(&session, |session| session["duration_s"].as_f64().unwrap() > 2.0);
    // A kill does not: the session is closed at the next start, and says what may be missing.
    let data_dir = owner.daemon.kill();
    let owner = Owner::again(start_in(data_dir, &[]));
    let ended = owner.wait(&session, |session| session["state"] == "completed");
    assert!(ended["duration_s"].as_f64().unwrap() > 1.0, "{ended}");
    assert_eq!(ended["gaps"][0]["length_s"], 1.0, "{ended}");
    let list = owner.get("/sessions?state=completed&limit=1");
    assert_eq!(list["items"][0]["id"], json!(second));
    let cursor = list["next_cursor"].as_str().unwrap();
    let rest = owner.get(&format!("/sessions?state=completed&limit=1&cursor={cursor}"));
    assert_eq!(rest["items"][0]["id"], json!(first));
    let none = owner.get("/sessions?to=2001-01-01T00:00:00Z");
    assert_eq!((&none["items"], &none["next_cursor"]), (&json!([]), &Value::Null));
    let all = owner.get("/sessions?to=9999-12-31T23:59:59Z");
    assert!(all["items"].as_array().unwrap().len() >= 2, "{all}");
    for query in ["limit=0", "limit=x", "state=lost", "from=yesterday", "cursor=x", "colour=red"] {
        owner.call("GET", &format!("/sessions?{query}"), None).is_problem("invalid-query");
    }
    // Players that still watch see that it is over.
    let last = owner.call("GET", &format!("{session}/live"), None).text();
    assert!(last.ends_with("#EXT-X-ENDLIST\n"), "{last}");
    let nobody = "/sessions/01K00000000000000000000000";
    for part in ["", "/events", "/activity", "/live", "/proof"] {
        owner.call("GET", &format!("{nobody}{part}"), None).is_problem("not-found");
    }
    // The chain says so too.
    let head = owner.get("/chain/head");
    assert_eq!(head["genesis"], owner.get("/device")["chain_genesis"]);
    assert!(owner.daemon.greeting.contains(head["genesis"].as_str().unwrap()));
    let blocks = owner.get("/chain/blocks?limit=1000");
    let all = blocks["items"].as_array().unwrap();
    let close = all
        .iter()
        .flat_map(|block| block["transactions"].as_array().unwrap())
        .find(|transaction| transaction["session_id"] == json!(second))
        .unwrap_or_else(|| panic!("nothing of {second} in {blocks}"));
    let transaction = owner.get(&format!("/chain/transactions/{}", close["id"].as_str().unwrap()));
    let height = transaction["height"].as_u64().unwrap();
    assert_eq!(owner.get(&format!("/chain/blocks/{height}"))["id"], transaction["block"]);
    owner.call("GET", "/chain/blocks/99999999", None).is_problem("not-found");
    owner.call("GET", "/chain/transactions/00", None).is_problem("not-found");
}
