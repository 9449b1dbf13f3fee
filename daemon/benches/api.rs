//! How many requests a second does `GET /api/v1/sessions` answer with 10,000 sessions stored,
//! beside a bare axum handler that returns the same bytes?
//!
//! Both run in this one measurement, under `wrk` with the same connections, on loopback.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::{AnchorHeights, Ended, SessionRecord, SessionState};
use lucid_evidence::manifest::{CodecInfo, EndReason, SourceInfo};
use lucid_evidence::{Hash, SessionId, SigningKey};
use lucid_store::{DataDir, Options};
use std::path::Path;
use std::process::Command;

const SESSIONS: u64 = 10_000;
const CONNECTIONS: &str = "32";
const SECONDS: &str = "8s";

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fill(dir.path());
    let daemon = support::start_in(
        dir,
        &["--set", "http.signed_in_per_minute=0", "--set", "record.demo=false"],
    );
    let token = daemon.claim();
    let body = daemon.get("/api/v1/sessions", &token).text();
    println!("GET /api/v1/sessions, {SESSIONS} sessions stored, {} bytes a page", body.len());
    let ours = wrk(&format!("{}/api/v1/sessions", daemon.http), &token);
    let bare = serve_bare(body);
    let theirs = wrk(&format!("http://{bare}/"), &token);
    println!("lucid        {ours:>9.0} requests/s");
    println!(
        "bare handler {theirs:>9.0} requests/s: lucid answers {:.2} times as many",
        ours / theirs
    );
    daemon.stop();
}

/// Sessions as long-running devices have them: finished and anchored.
fn fill(path: &Path) {
    let (data, _) = DataDir::open(path, Options::default()).unwrap();
    let archive = Archive::new(data).unwrap();
    let index = archive.data().index();
    let mut batch = lucid_store::Batch::new();
    for number in 0..SESSIONS {
        let start_us = (1_793_000_000_000 + number * 60_000) * 1000;
        let mut record = SessionRecord {
            id: SessionId::new(start_us / 1000, [7; 10]),
            source_id: format!("src-{}", number % 16),
            source: SourceInfo {
                kind: "rtsp".into(),
                name: format!("Camera {}", number % 16),
                address: "rtsp://***@camera/stream".into(),
            },
            codec: Some(CodecInfo {
                video: Some("avc1.64001f".into()),
                audio: None,
                width: 1920,
                height: 1080,
                encoder: "camera".into(),
                hardware: false,
                reason: "the camera encodes".into(),
            }),
            device_name: "bench".into(),
            software: "lucid".into(),
            session_key: SigningKey::from_seed(&[1; 32]).public(),
            policy: None,
            participants: vec![],
            note: String::new(),
            state: SessionState::Created,
            transitions: vec![],
            start_us,
            ended: Some(Ended { at_us: start_us + 1, reason: EndReason::Stopped, tail_gap: None }),
            chunks: 0,
            plaintext_bytes: 30 << 20,
            sealed_bytes: 30 << 20,
            stream_end_us: 60_000_000,
            first_volume: 0,
            root: Hash([0; 32]),
            hold: None,
            anchor: AnchorHeights { open: Some(1), close: Some(2), tombstone: None },
        };
        for state in [SessionState::Recording, SessionState::Stored, SessionState::Completed] {
            record.enter(state, start_us, "bench");
        }
        batch.put([b"s", &record.id.as_bytes()[..]].concat(), record.encode());
        if batch.len() == 200 {
            index.apply(std::mem::take(&mut batch)).unwrap();
        }
    }
    index.apply(batch).unwrap();
    index.flush().unwrap();
}

fn serve_bare(body: String) -> std::net::SocketAddr {
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let handler = move || {
                let body = body.clone();
                async move { ([("content-type", "application/json")], body) }
            };
            let router = axum::Router::new().route("/", axum::routing::get(handler));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    heard.recv().unwrap()
}

/// Requests a second that `wrk` counts; only answers of 200.
fn wrk(url: &str, token: &str) -> f64 {
    let output = Command::new("wrk")
        .args(["-t", "1", "-c", CONNECTIONS, "-d", SECONDS, "-H"])
        .arg(format!("Authorization: Bearer {token}"))
        .arg(url)
        .output()
        .unwrap_or_else(|error| panic!("wrk: {error}; install the package wrk"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text.lines().find(|line| line.starts_with("Requests/sec:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
