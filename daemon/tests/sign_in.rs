//! The claim, sign-in and what guards them, against the real daemon.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use serde_json::json;
use support::{PASSWORD, start, start_in};

#[test]
fn the_claim_works_once_and_signs_in() {
    let daemon = start(&[]);
    let info = daemon.send("GET", "/api/v1/claim", &[], None).json();
    assert_eq!(info["claimed"], false);
    let fingerprint = info["device_fingerprint"].as_str().unwrap();
    assert!(daemon.greeting.contains(fingerprint), "{}", daemon.greeting);
    assert!(daemon.greeting.contains("SHA-256 "), "{}", daemon.greeting);
    daemon.send("GET", "/api/v1/components", &[], None).is_problem("sign-in-needed");

    let code = daemon.claim_code.clone().unwrap();
    let claim = |code: &str, username: &str, password: &str| {
        let body = json!({"code": code, "username": username, "password": password});
        daemon.send("POST", "/api/v1/claim", &[], Some(&body))
    };
    let wrong = claim("0000-0000-0000-0000", "admin", PASSWORD);
    assert_eq!(wrong.status, 403);
    wrong.is_problem("wrong-claim-code");
    let short = claim(&code, "admin", "short");
    assert_eq!(short.status, 422);
    assert_eq!(short.json()["errors"][0]["field"], "password");
    let right = claim(&code.to_lowercase().replace('-', " "), "Admin", PASSWORD);
    assert_eq!(right.status, 201, "{}", right.text());
    let body = right.json();
    assert_eq!(body["user"], json!({"username": "admin", "role": "admin"}));
    let cookie = right.header("set-cookie").unwrap().to_owned();
    for part in ["lucid_session=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain HTTP on this machine: {cookie}");
    let again = claim(&code, "eve", PASSWORD);
    assert_eq!(again.status, 409);
    again.is_problem("already-claimed");

    // Both ways of carrying the token work until the sign-out, then neither.
    let token = body["token"].as_str().unwrap();
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(daemon.get("/api/v1/session-token", token).json()["user"]["username"], "admin");
    assert_eq!(daemon.send("GET", "/api/v1/components", &[("Cookie", pair)], None).status, 200);
    let out = daemon.send("DELETE", "/api/v1/session-token", &[("Cookie", pair)], None);
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    daemon.get("/api/v1/session-token", token).is_problem("sign-in-needed");

    // The account is there after a restart, the code is void, and neither was logged.
    let (exit, log, data_dir) = daemon.stop();
    assert_eq!(exit, 0, "{log}");
    for secret in [code.as_str(), &code.replace('-', ""), token, PASSWORD] {
        assert!(!log.contains(secret), "a secret in the log: {log}");
    }
    let daemon = start_in(data_dir, &[]);
    assert_eq!(daemon.claim_code, None, "{}", daemon.greeting);
    let body = json!({"username": "admin", "password": PASSWORD});
    let signed_in = daemon.send("POST", "/api/v1/session-token", &[], Some(&body));
    assert_eq!(signed_in.status, 201);
    let secrets = [PASSWORD.as_bytes(), code.as_bytes(), token.as_bytes()];
    // A socket holds nothing to read.
    for file in files(daemon.data_dir.path()).into_iter().filter(|file| file.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "a secret in {}", file.display());
        }
    }
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn wrong_words_run_into_the_limit_with_a_time_to_wait() {
    let daemon = start(&[]);
    let claim = |code: &str| {
        let body = json!({"code": code, "username": "admin", "password": PASSWORD});
        daemon.send("POST", "/api/v1/claim", &[], Some(&body))
    };
    for _ in 0..5 {
        claim("0000-0000-0000-0000").is_problem("wrong-claim-code");
    }
    let refused = claim(&daemon.claim_code.clone().unwrap());
    assert_eq!(refused.status, 429);
    refused.is_problem("too-many-requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=13).contains(&wait), "{wait}");
    // Sign-in has a count of its own.
    let body = json!({"username": "nobody", "password": PASSWORD});
    for _ in 0..5 {
        let answer = daemon.send("POST", "/api/v1/session-token", &[], Some(&body));
        assert_eq!(answer.status, 401);
        answer.is_problem("wrong-credentials");
    }
    let refused = daemon.send("POST", "/api/v1/session-token", &[], Some(&body));
    refused.is_problem("too-many-requests");
}

#[test]
fn requests_run_into_their_rate() {
    let daemon = start(&["--set", "http.burst=20"]);
    let token = daemon.claim();
    let statuses: Vec<_> =
        (0..40).map(|_| daemon.send("GET", "/api/v1/claim", &[], None).status).collect();
    assert!(statuses.starts_with(&[200; 10]), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    // Somebody signed in is counted apart from strangers at the same address.
    assert_eq!(daemon.get("/api/v1/components", &token).status, 200);
    let refused = daemon.send("GET", "/api/v1/claim", &[], None);
    refused.is_problem("too-many-requests");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(daemon.send("GET", "/health", &[], None).status, 200);
}

#[test]
fn a_foreign_site_cannot_write_with_the_cookie() {
    let daemon = start(&[]);
    let token = daemon.claim();
    let cookie = format!("lucid_session={token}");
    let out = |headers: &[(&str, &str)]| {
        let mut all = vec![("Cookie", cookie.as_str())];
        all.extend(headers);
        daemon.send("DELETE", "/api/v1/session-token", &all, None)
    };
    for headers in [
        [("Origin", "https://evil.example")],
        [("Origin", "null")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
    ] {
        let refused = out(&headers);
        assert_eq!(refused.status, 403, "{headers:?}");
        refused.is_problem("cross-site");
    }
    let read = daemon.send(
        "GET",
        "/api/v1/session-token",
        &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")],
        None,
    );
    assert_eq!(read.status, 200, "reading is not writing");
    assert!(read.header("access-control-allow-origin").is_none());
    assert_eq!(out(&[("Origin", &daemon.http)]).status, 204);
}

#[test]
fn the_claim_can_be_reset_at_the_device() {
    let daemon = start(&[]);
    daemon.claim();
    let mut reset = support::lucid();
    reset.arg("reset-claim").arg("--data-dir").arg(daemon.data_dir.path());
    let (exit, error) = support::run(&mut reset);
    assert_eq!(exit, 75, "the running daemon holds the directory: {error}");
    let (_, _, data_dir) = daemon.stop();
    let mut reset = support::lucid();
    reset.arg("reset-claim").arg("--data-dir").arg(data_dir.path());
    let (exit, error) = support::run(&mut reset);
    assert_eq!(exit, 0, "{error}");
    let daemon = start_in(data_dir, &[]);
    daemon.claim();
}

#[test]
fn a_lost_index_does_not_make_the_device_claimable() {
    let daemon = start(&[]);
    daemon.claim();
    let (_, _, data_dir) = daemon.stop();
    std::fs::remove_dir_all(data_dir.path().join("index")).unwrap();
    let daemon = start_in(data_dir, &[]);
    assert_eq!(daemon.claim_code, None);
    assert!(daemon.greeting.contains("reset-claim"), "{}", daemon.greeting);
    assert_eq!(daemon.send("GET", "/api/v1/claim", &[], None).json()["claimed"], true);
    let body = json!({"code": "0000-0000-0000-0000", "username": "eve", "password": PASSWORD});
    let refused = daemon.send("POST", "/api/v1/claim", &[], Some(&body));
    assert_eq!(refused.status, 503);
    refused.is_problem("claim-closed");
}
