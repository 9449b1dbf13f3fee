//! The device as a machine, against the real daemon: its log, restart, shutdown, factory reset and
//! the report for those who help.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader, Write};

use serde_json::json;
use support::owner::Owner;
use support::{PASSWORD, start, start_in};

#[test]
fn the_log_is_searched_and_followed() {
    let owner = Owner::of(start(&[]));
    let system = owner.get("/system");
    assert_eq!(system["software_version"], env!("CARGO_PKG_VERSION"));
    assert!(system["recorder_up_s"].as_f64().unwrap() > 0.0);
    let disks = system["disks"].as_array().unwrap();
    assert!(
        disks
            .iter()
            .any(|disk| disk["holds"] == "recordings" && disk["total_bytes"].as_u64().unwrap() > 0)
    );

    let claimed = owner.get("/system/logs?q=DEVICE%20claimed&level=info");
    let lines = claimed["items"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "{claimed}");
    assert!(lines[0]["text"].as_str().unwrap().contains("the device has been claimed"));
    assert_eq!(owner.get("/system/logs?q=no-such-word-anywhere")["items"], json!([]));
    let newest = owner.get("/system/logs?limit=1&level=trace");
    assert_eq!((newest["items"].as_array().unwrap().len(), &newest["more"]), (1, &json!(true)));
    let before = newest["items"][0]["number"].as_u64().unwrap();
    let older = owner.get(&format!("/system/logs?limit=1&level=trace&before={before}"));
    assert!(older["items"][0]["number"].as_u64().unwrap() < before);
    owner.call("GET", "/system/logs?limit=0", None).is_problem("invalid-query");
    owner.call("GET", "/system/logs?level=loud", None).is_problem("invalid-query");
    let long = format!("/system/logs?q={}", "x".repeat(201));
    owner.call("GET", &long, None).is_problem("invalid-query");
    owner.daemon.send("GET", "/api/v1/system/logs", &[], None).is_problem("sign-in-needed");
}

#[test]
fn followers_get_what_fits_as_it_happens() {
    let owner = Owner::of(start(&[]));
    let mut stream = owner.daemon.connect();
    let head = format!(
        "GET /api/v1/system/logs/follow?q=support-bundle HTTP/1.1\r\nHost: {}\r\n\
         Authorization: Bearer {}\r\n\r\n",
        owner.daemon.address, owner.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("content-type: text/event-stream") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no stream");
    }
    owner.call("GET", "/system/logs", None);
    owner.call("GET", "/system/support-bundle", None);
    while !line.starts_with("data:") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
    }
    let told: serde_json::Value = serde_json::from_str(line["data:".len()..].trim()).unwrap();
    assert!(told["text"].as_str().unwrap().contains("system.support-bundle"), "{told}");
}

#[test]
fn the_machine_is_asked_where_somebody_listens_and_nowhere_else() {
    let deaf = Owner::of(start(&["--set", "system.power_requests=/nonexistent/power"]));
    assert_eq!(deaf.get("/system")["power"]["possible"], false);
    for (path, body) in [
        ("/system/shutdown", None),
        ("/system/restart", Some(json!({"what": "device"}))),
        // Nobody would start a daemon again that no systemd started.
        ("/system/restart", Some(json!({"what": "recorder"}))),
    ] {
        deaf.call("POST", path, body).is_problem("not-possible-here");
    }
    drop(deaf);

    let requests = tempfile::tempdir().unwrap();
    let setting = format!("system.power_requests={}", requests.path().display());
    let heard = Owner::of(start(&["--set", &setting]));
    assert_eq!(heard.get("/system")["power"]["possible"], true);
    heard.daemon.send("POST", "/api/v1/system/shutdown", &[], None).is_problem("sign-in-needed");
    assert_eq!(std::fs::read_dir(requests.path()).unwrap().count(), 0);
    let asked = heard.call("POST", "/system/restart", Some(json!({"what": "device"})));
    assert_eq!((asked.status, requests.path().join("reboot").exists()), (202, true));
    let asked = heard.call("POST", "/system/shutdown", None);
    assert_eq!((asked.status, requests.path().join("poweroff").exists()), (202, true));
}

#[test]
fn a_factory_reset_wants_the_name_and_leaves_a_first_start() {
    let options = ["--set", "name=Gate 7", "--set", "record.demo=false"];
    let owner = Owner::of(start(&options));
    let before = owner.get("/device")["device_fingerprint"].clone();
    let source = json!({"name": "Yard", "uri": "test://", "audio": false, "enabled": false});
    assert_eq!(owner.call("POST", "/sources", Some(source)).status, 201);
    let preview = owner.get("/system/factory-reset");
    assert_eq!(preview["confirm"], "Gate 7");
    assert_eq!((&preview["sources"], &preview["recordings"]), (&json!(1), &json!(0)));

    for wrong in ["gate 7", "", "Gate 7 "] {
        let refused = owner.call("POST", "/system/factory-reset", Some(json!({"confirm": wrong})));
        refused.is_problem("invalid-body");
        assert_eq!(refused.json()["errors"][0]["field"], "confirm");
    }
    let asked = owner.call("POST", "/system/factory-reset", Some(json!({"confirm": "Gate 7"})));
    assert_eq!(asked.status, 202, "{}", asked.text());
    // It ends by itself; what it left is the mark and what is destroyed at the next start.
    let (exit, log, data_dir) = owner.daemon.ended();
    assert_eq!(exit, 0, "{log}");
    assert!(data_dir.path().join("keys/device.key").exists());

    let again = start_in(data_dir, &options);
    assert_eq!(again.send("GET", "/api/v1/claim", &[], None).json()["claimed"], false);
    let owner = Owner::of(again);
    assert_ne!(owner.get("/device")["device_fingerprint"], before);
    assert_eq!(owner.get("/sources")["items"], json!([]));
    // Once is once.
    let (exit, _, data_dir) = owner.daemon.stop();
    assert_eq!(exit, 0);
    let kept = start_in(data_dir, &options);
    assert_eq!(kept.send("GET", "/api/v1/claim", &[], None).json()["claimed"], true);
}

#[test]
fn the_support_report_holds_no_secret() {
    let owner = Owner::of(start(&["--set", "record.demo=false"]));
    let uri = "rtsp://viewer:camera-secret@192.0.2.4:8554/stream";
    let source = json!({"name": "Gate", "uri": uri, "audio": false, "enabled": false});
    assert_eq!(owner.call("POST", "/sources", Some(source)).status, 201);
    let answer = owner.call("GET", "/system/support-bundle", None);
    assert!(answer.header("content-disposition").unwrap().contains("lucid-support-"));
    let report = answer.text();
    for part in ["== System ==", "== Components ==", "== Log ==", "rtsp://***@192.0.2.4:8554"] {
        assert!(report.contains(part), "{part} is missing:\n{report}");
    }
    let code = owner.daemon.claim_code.clone().unwrap();
    for secret in ["camera-secret", PASSWORD, owner.token.as_str(), code.as_str()] {
        assert!(!report.contains(secret), "a secret in the report");
    }
    owner
        .daemon
        .send("GET", "/api/v1/system/support-bundle", &[], None)
        .is_problem("sign-in-needed");
}
