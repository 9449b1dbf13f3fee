//! A small fleet server that speaks hawkBit's device API, and writes down what it was told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::PATIENCE;

/// What the device has to show.
pub const TOKEN: &str = "a-target-token";
/// The device's name at the server.
pub const DEVICE: &str = "gate-7";

#[derive(Default)]
struct State {
    address: String,
    /// The action, and the version in it.
    action: Option<(String, String)>,
    bundle: Vec<u8>,
    sha256: String,
    told: Vec<(String, Value)>,
}

/// The server; it ends with the process.
pub struct Fleet {
    state: Arc<Mutex<State>>,
}

impl Fleet {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { address, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&mut stream.unwrap(), &shared));
            }
        });
        Self { state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn url(&self) -> String {
        self.lock().address.clone()
    }

    /// Offers a bundle.
    pub fn offer(&self, action: &str, version: &str, bundle: Vec<u8>, sha256: String) {
        let mut state = self.lock();
        state.action = Some((action.to_owned(), version.to_owned()));
        (state.bundle, state.sha256) = (bundle, sha256);
    }

    /// Waits until something was told that fits; the path after the device's own, and the body.
    pub fn told(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let told = self.lock().told.clone();
            let mut found = told.iter().filter(|(at, body)| at == path && fits(body));
            if let Some((_, body)) = found.next() {
                return body.clone();
            }
            assert!(began.elapsed() < PATIENCE, "nobody told {path}: {told:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The end of an action, as the device told it.
    pub fn end(&self, action: &str) -> Value {
        let path = format!("deploymentBase/{action}/feedback");
        self.told(&path, |body| body["status"]["execution"] == "closed")["status"].clone()
    }
}

fn serve(stream: &mut TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        head.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut words = head[0].split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let known = header("authorization").as_deref() == Some(&format!("TargetToken {TOKEN}"));
    let (status, answer) = match known {
        false => ("401 Unauthorized", Vec::new()),
        true => answer(&mut state.lock().unwrap(), method, path, &body),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    // The device may be gone by now; then it is the device's test that says so.
    let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer));
}

fn answer(state: &mut State, method: &str, path: &str, body: &[u8]) -> (&'static str, Vec<u8>) {
    let base = format!("/DEFAULT/controller/v1/{DEVICE}");
    let href = |path: &str| json!({"href": format!("{}{base}/{path}", state.address)});
    let ok = |value: Value| ("200 OK", value.to_string().into_bytes());
    if path == "/bundle" {
        return ("200 OK", state.bundle.clone());
    }
    let Some(path) = path.strip_prefix(&base) else { return ("404 Not Found", Vec::new()) };
    let path = path.trim_start_matches('/');
    if method != "GET" {
        let told: Value = serde_json::from_slice(body).unwrap();
        if told["status"]["execution"] == "closed" {
            state.action = None;
        }
        state.told.push((path.to_owned(), told));
        return ("200 OK", Vec::new());
    }
    let Some((id, version)) = &state.action else {
        return ok(json!({"config": {"polling": {"sleep": "00:05:00"}}}));
    };
    if path.is_empty() {
        return ok(json!({
            "config": {"polling": {"sleep": "00:05:00"}},
            "_links": {
                "deploymentBase": href(&format!("deploymentBase/{id}?c=1")),
                "configData": href("configData"),
            },
        }));
    }
    let link = json!({"href": format!("{}/bundle", state.address)});
    let artifact = json!({
        "filename": "lucid.raucb",
        "hashes": {"sha256": state.sha256},
        "size": state.bundle.len(),
        "_links": {"download-http": link},
    });
    let chunk = json!({"part": "os", "name": "lucid", "version": version, "artifacts": [artifact]});
    ok(json!({
        "id": id,
        "deployment": {"download": "forced", "update": "forced", "chunks": [chunk]},
    }))
}
