//! The HTTP side against the real daemon: problems, limits, headers, TLS, the page.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use serde_json::json;
use support::{Answer, PATIENCE, start, start_in};

/// As many as the daemon takes; the constant stands in `daemon/src/http/events.rs`.
const LISTENERS_MAX: usize = 256;

#[test]
fn every_error_is_a_problem_document() {
    let daemon = start(&[]);
    let token = daemon.claim();
    let bearer = format!("Bearer {token}");
    let auth = ("Authorization", bearer.as_str());
    for (method, path, status, slug) in [
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("GET", "/api/v2", 404, "not-found"),
        ("GET", "/missing.js", 404, "not-found"),
        ("PUT", "/api/v1/claim", 405, "method-not-allowed"),
        ("POST", "/health", 405, "method-not-allowed"),
        ("POST", "/", 405, "method-not-allowed"),
    ] {
        let answer = daemon.send(method, path, &[auth], None);
        assert_eq!(answer.status, status, "{method} {path}");
        answer.is_problem(slug);
        if status == 404 {
            let body = answer.text();
            assert!(body.contains(&format!("there is no {path}")), "{body}");
        }
        if status == 405 {
            assert!(answer.header("allow").is_some(), "{method} {path}: {}", answer.head);
        }
    }
    let post = |body: &str, kind: &str| {
        let mut stream = daemon.connect();
        let head = format!(
            "POST /api/v1/session-token HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            daemon.address,
            body.len()
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        Answer::read(&mut stream)
    };
    let json = "application/json";
    for (body, kind, status, slug) in [
        ("{\"username\": ", json, 400, "malformed-json"),
        ("", json, 400, "malformed-json"),
        ("{\"username\": \"a\"}", json, 422, "invalid-body"),
        ("{\"username\": \"a\", \"password\": \"b\", \"x\": 1}", json, 422, "invalid-body"),
        ("{\"username\": \"a\", \"password\": 12345678}", json, 422, "invalid-body"),
        ("username=a", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
    ] {
        let answer = post(body, kind);
        assert_eq!(answer.status, status, "{body}");
        answer.is_problem(slug);
        assert!(!answer.text().contains("12345678"), "{}", answer.text());
    }
}

#[test]
fn a_body_of_a_gibibyte_is_refused_at_once_and_costs_no_memory() {
    const GIB: usize = 1 << 30;
    let daemon = start(&[]);
    let before = daemon.resident_bytes();
    let mut stream = daemon.connect();
    let head = format!(
        "POST /api/v1/claim HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {GIB}\r\n\r\n",
        daemon.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Not a byte of the body has been sent, and the answer is there.
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.status, 413);
    answer.is_problem("body-too-large");
    assert_eq!(answer.header("connection"), Some("close"));

    // A sender that only writes gets rid of as much as the daemon cares to throw away.
    let mut stream = daemon.connect();
    stream.write_all(head.as_bytes()).unwrap();
    let block = vec![b'x'; 1 << 20];
    let sent = (0..1024).take_while(|_| stream.write_all(&block).is_ok()).count();
    assert!(sent >= 1, "nothing could be sent");

    // Without a length the body is cut at the limit.
    let mut stream = daemon.connect();
    let chunked = format!(
        "POST /api/v1/claim HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        daemon.address
    );
    stream.write_all(chunked.as_bytes()).unwrap();
    for _ in 0..3 {
        let chunk =
            [format!("{:x}\r\n", block.len()).into_bytes(), block.clone(), b"\r\n".to_vec()];
        if stream.write_all(&chunk.concat()).is_err() {
            break;
        }
    }
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.status, 413);
    answer.is_problem("body-too-large");

    let grown = daemon.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "grew by {grown} bytes");
    assert_eq!(daemon.send("GET", "/health", &[], None).status, 200);
}

#[test]
fn players_do_not_use_up_what_a_session_may_ask() {
    let mut options = vec!["--set", "http.burst=3"];
    options.extend(["--set", "http.signed_in_per_minute=1", "--set", "http.media_per_minute=1"]);
    let daemon = start(&options);
    let token = daemon.claim();
    let media = "/api/v1/sessions/none/media/0-0.m4s";
    for _ in 0..3 {
        daemon.get(media, &token).is_problem("not-found");
    }
    for path in [media, "/api/v1/sessions/none/live"] {
        let refused = daemon.get(path, &token);
        refused.is_problem("too-many-requests");
        assert!(refused.header("retry-after").is_some(), "{}", refused.head);
    }
    for _ in 0..3 {
        assert_eq!(daemon.get("/api/v1/sources", &token).status, 200);
    }
    daemon.get("/api/v1/sources", &token).is_problem("too-many-requests");
}

#[test]
fn event_listeners_are_bounded_and_hear_what_moves() {
    let daemon = start(&["--set", "http.signed_in_per_minute=0"]);
    let token = daemon.claim();
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        daemon.address
    );
    let listen = || {
        let mut stream = daemon.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let answer = Answer::read(&mut stream);
        (stream, answer)
    };
    let mut listeners: Vec<(TcpStream, Answer)> = (0..LISTENERS_MAX).map(|_| listen()).collect();
    for (_, answer) in &listeners {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    }
    let before = daemon.resident_bytes();
    // Ten thousand tries in all, each answered and closed.
    for _ in LISTENERS_MAX..10_000 {
        let (_, refused) = listen();
        assert_eq!(refused.status, 503);
    }
    let (_, refused) = listen();
    refused.is_problem("too-many-listeners");
    assert!(refused.header("retry-after").is_some());
    let grown = daemon.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "grew by {grown} bytes");
    // Others are still answered, and a place given up is a place.
    assert_eq!(daemon.get("/api/v1/components", &token).status, 200);
    listeners.truncate(LISTENERS_MAX - 1);
    let began = std::time::Instant::now();
    while listen().1.status != 200 {
        assert!(began.elapsed() < PATIENCE, "the place was not given back");
    }
    // The stop ends every stream instead of waiting for it.
    let (mut stream, _) = listeners.pop().unwrap();
    let (exit, log, _) = daemon.stop();
    assert_eq!(exit, 0, "{log}");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
}

#[test]
fn headers_keep_the_page_to_itself_and_text_is_compressed() {
    let daemon = start(&[]);
    let page = daemon.send("GET", "/", &[], None);
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for (name, part) in [
        ("content-security-policy", "default-src 'self'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-cache"),
    ] {
        let value = page.header(name).unwrap_or_else(|| panic!("no {name}: {}", page.head));
        assert!(value.contains(part), "{name}: {value}");
    }
    let first = page.header("x-request-id").unwrap().to_owned();
    let route = daemon.send("GET", "/recordings/some-id", &[], None);
    assert_eq!(route.text(), page.text(), "the page's own paths get the page");
    assert_ne!(route.header("x-request-id").unwrap(), first);
    let api = daemon.send("GET", "/api/v1/claim", &[], None);
    assert_eq!(api.header("cache-control"), Some("no-store"));
    let gzip = [("Accept-Encoding", "gzip")];
    let description = daemon.send("GET", "/api/v1/openapi.json", &gzip, None);
    assert_eq!(description.header("content-encoding"), Some("gzip"));
}

#[test]
fn the_api_describes_itself() {
    let daemon = start(&[]);
    let description = daemon.send("GET", "/api/v1/openapi.json", &[], None).json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(description["servers"][0]["url"], "/api/v1");
    for (path, methods) in [
        ("/claim", vec!["get", "post"]),
        ("/session-token", vec!["get", "post", "delete"]),
        ("/components", vec!["get"]),
        ("/events", vec!["get"]),
    ] {
        for method in methods {
            assert!(description["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    // Every path described is served, and behind the sign-in unless it is said to be open.
    for (path, methods) in description["paths"].as_object().unwrap() {
        let open = ["/claim", "/session-token"].contains(&path.as_str());
        if methods.get("get").is_some() && !open {
            let path = path.replace(['{', '}'], "");
            let answer = daemon.send("GET", &format!("/api/v1{path}"), &[], None);
            assert_eq!(answer.status, 401, "GET {path}: {}", answer.text());
        }
    }
}

#[test]
fn metrics_are_not_public() {
    let daemon = start(&[]);
    let token = daemon.claim();
    daemon.send("GET", "/metrics", &[], None).is_problem("sign-in-needed");
    let text = daemon.get("/metrics", &token).text();
    assert!(text.contains("lucid_http_requests_total{"), "{text}");
    assert!(text.contains("lucid_component_healthy{component=\"http\"} 1"), "{text}");
    let (_, _, data_dir) = daemon.stop();
    let daemon = start_in(data_dir, &["--set", "metrics.loopback=true"]);
    assert_eq!(daemon.send("GET", "/metrics", &[], None).status, 200);
}

#[test]
fn https_has_one_certificate_for_good_and_marks_its_cookie() {
    let daemon = start(&[]);
    let certificate = |daemon: &support::Daemon| {
        let shown = daemon.greeting.lines().find(|line| line.contains("SHA-256")).unwrap();
        shown.split_whitespace().last().unwrap().to_owned()
    };
    let first = certificate(&daemon);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = json!({
        "code": daemon.claim_code.clone().unwrap(),
        "username": "admin",
        "password": support::PASSWORD,
    });
    let (cookie, version) = runtime.block_on(async {
        let answer = client()
            .post(format!("{}/api/v1/claim", daemon.https))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        (cookie, answer.version())
    });
    assert!(cookie.contains("Secure"), "{cookie}");
    assert_eq!(version, reqwest::Version::HTTP_2);
    let pem = daemon.data_dir.path().join("keys/tls.pem");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&pem).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = std::fs::read(&pem).unwrap();
    let (_, _, data_dir) = daemon.stop();
    let daemon = start_in(data_dir, &[]);
    assert_eq!(certificate(&daemon), first);
    assert_eq!(std::fs::read(daemon.data_dir.path().join("keys/tls.pem")).unwrap(), kept);
}

/// A client that takes the device's certificate, which no authority vouches for.
fn client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let _set_already = rustls::crypto::CryptoProvider::install_default((*provider).clone());
    reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap()
}

#[test]
fn slow_heads_and_huge_heads_are_cut_off() {
    let daemon = start(&[]);
    let mut stream = daemon.connect();
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Big: ", daemon.address);
    stream.write_all(head.as_bytes()).unwrap();
    let sent = stream.write_all(&vec![b'x'; 256 * 1024]);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(sent.is_err() || text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    let many: String = (0..100).map(|number| format!("X-{number}: y\r\n")).collect();
    let mut stream = daemon.connect();
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n{many}\r\n", daemon.address);
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut stream).status, 431);
    assert_eq!(daemon.send("GET", "/health", &[], None).status, 200);
}
