//! A worker on a recorded desktop, from the credential to the verified evidence: the real daemon, a
//! real xfreerdp in an X server of its own, and tesseract to read what was recorded.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Answer, Daemon, Killed, PATIENCE, lucid, start, start_in};

/// What the worker types, and what must be read in the recording.
const WORDS: &str = "LUCID WAS HERE";

/// A daemon with one desktop, and a worker's computer.
struct Office {
    /// None only between a kill and the next start.
    running: Option<Daemon>,
    options: Vec<String>,
    token: String,
    desktop: String,
    port: u64,
    /// Where the workers' files lie.
    home: PathBuf,
    /// The worker's computer: an X server, and what its files lie in.
    screen: String,
    directory: tempfile::TempDir,
    _server: Killed,
}

impl Office {
    fn open(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Desktops of a daemon that is root run as users of their own, who must get there.
        let passable = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(directory.path(), passable).unwrap();
        let home = directory.path().join("homes");
        let mut options: Vec<String> = Vec::new();
        let runtime = directory.path().join("run");
        for setting in [
            "record.demo=false".to_owned(),
            "desktops.enabled=on".to_owned(),
            "desktops.listen=off".to_owned(),
            "desktops.address=127.0.0.1".to_owned(),
            format!("desktops.home={}", home.display()),
            format!("desktops.runtime={}", runtime.display()),
        ]
        .into_iter()
        .chain(settings.iter().map(|setting| (*setting).to_owned()))
        {
            options.extend(["--set".to_owned(), setting]);
        }
        let words: Vec<&str> = options.iter().map(String::as_str).collect();
        let daemon = start(&words);
        let token = daemon.claim();
        let running = Some(daemon);
        let (server, screen) = x_server();
        let (desktop, port) = (String::new(), 0);
        let _server = server;
        let mut office =
            Self { running, options, token, desktop, port, home, screen, directory, _server };
        // The window manager starts the terminal, so that it has the focus without a click.
        let terminal = "exec openbox --startup \"xterm -maximized -fa 'DejaVu Sans Mono' -fs 18 \
            -T 'Ledger of accounts' -e /bin/sh\"";
        let new = json!({"name": "bench", "width": 1024, "height": 640, "command": terminal});
        let made = office.call("POST", "/desktops", Some(new));
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        office.desktop = made["id"].as_str().unwrap().to_owned();
        office.port = made["port"].as_u64().unwrap();
        office
    }

    fn daemon(&self) -> &Daemon {
        self.running.as_ref().unwrap()
    }

    /// Kills the daemon and starts it over the same directory.
    fn again(&mut self) {
        let directory = self.running.take().unwrap().kill();
        let words: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let daemon = start_in(directory, &words);
        let body = json!({"username": "admin", "password": support::PASSWORD});
        let answer = daemon.send("POST", "/api/v1/session-token", &[], Some(&body));
        self.token = answer.json()["token"].as_str().unwrap().to_owned();
        self.running = Some(daemon);
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let path = format!("/api/v1{path}");
        self.daemon().send(method, &path, &[("Authorization", &bearer)], body.as_ref())
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    fn wait(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        until(&format!("GET {path} fits"), || {
            last = self.get(path);
            fits(&last)
        });
        last
    }

    fn credential(&self, policy: Option<Value>) -> Value {
        let body = json!({"user": "anna", "expires_in_s": 600, "policy": policy});
        let answer =
            self.call("POST", &format!("/desktops/{}/credentials", self.desktop), Some(body));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    fn worker(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.screen).env("HOME", self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn connect(&self, credential: &Value) -> Killed {
        let (user, secret) = (credential["user"].as_str(), credential["secret"].as_str());
        let mut client = self.worker("xfreerdp");
        client.arg(format!("/v:127.0.0.1:{}", self.port));
        client.args([format!("/u:{}", user.unwrap()), format!("/p:{}", secret.unwrap())]);
        client.args(["/cert:ignore", "/sec:tls", "-wallpaper", "/log-level:ERROR"]);
        Killed(client.spawn().unwrap())
    }

    /// Presses keys in the client's window.
    fn press(&self, args: &[&str]) {
        let focus = ["search", "--onlyvisible", "--class", "xfreerdp", "windowfocus"];
        // Before the window is there this fails, and is done again.
        let _tried = self.worker("xdotool").args(focus).args(args).status().unwrap();
    }

    fn connection(&self) -> Value {
        self.get("/connections")["items"][0].clone()
    }

    /// Accepts the notice; the session runs from here on.
    fn accept(&self) {
        until("the notice is accepted", || {
            self.press(&["key", "Return"]);
            self.connection()["notice_accepted"] == true
        });
    }

    /// Types a command until the file is there that it makes.
    fn make(&self, name: &str) {
        let file = self.home.join(&self.desktop).join(name);
        until("the typed command has made its file", || {
            self.press(&["type", "--delay", "30", &format!("touch {name}; echo {WORDS}")]);
            self.press(&["key", "Return"]);
            file.exists()
        });
    }
}

/// An X server that lets everybody of this machine in: it shows a client's window only.
fn x_server() -> (Killed, String) {
    let mut server = Command::new("Xvfb")
        .args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-ac"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Killed(server), format!(":{}", line.trim()))
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < 2 * PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn tool(program: &str, args: &[&Path]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

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
    office.press(&["type", "touch early"]);
    office.accept();
    office.make("made-over-rdp");
    assert!(!office.home.join(&office.desktop).join("early").exists());
    office.wait("/connections", |list| list["items"][0]["keys"].as_u64().unwrap() > 20);
    let shown = office.call("GET", &format!("{desktop}/thumbnail"), None);
    assert_eq!(shown.header("content-type"), Some("image/png"));
    assert!(shown.body.starts_with(b"\x89PNG"));
    office.wait(&format!("{desktop}/usage"), |usage| {
        let last = usage["items"].as_array().unwrap().last().cloned().unwrap_or_default();
        last["memory_bytes"].as_u64().unwrap_or(0) > 1 << 20
    });
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
    let mut refused = office.connect(&credential);
    assert!(!refused.0.wait().unwrap().success());
    assert_eq!(office.get("/connections")["items"], json!([]));
    let used = office.get(&format!("{desktop}/credentials"));
    assert_eq!(used["items"][0]["state"], "used");

    // The evidence.
    let session = format!("/sessions/{id}");
    let ended = office.wait(&session, |session| session["state"] == "completed");
    assert_eq!(ended["end_reason"], "stopped", "{ended}");
    let events = |kind: &str| {
        let list = office.get(&format!("{session}/events?limit=1000&kind={kind}"));
        list["items"].as_array().unwrap().clone()
    };
    let titles = events("window");
    let title = |event: &Value| event["fields"]["title"] == "Ledger of accounts";
    assert!(titles.iter().any(title), "{titles:?}");
    let keys = events("keys");
    let counted: u64 = keys.iter().map(|event| event["fields"]["count"].as_u64().unwrap()).sum();
    assert!(counted > 20, "{keys:?}");
    assert_eq!(events("notice_accepted").len(), 1, "whoever comes back is not asked again");
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

#[test]
fn what_is_denied_is_asked_for_and_granted_and_nobody_comes_back_after_the_grace_time() {
    let office = Office::open(&["desktops.grace_s=1"]);
    let credential = office.credential(Some(json!({})));
    let client = office.connect(&credential);
    office.wait("/connections", |list| list["items"][0]["state"] == "connected");
    office.accept();
    let file = office.home.join(&office.desktop).join("granted");
    let ask = |capability: &str| {
        let mut request = Value::Null;
        until(&format!("{capability} is asked for"), || {
            office.press(&["type", "touch granted"]);
            office.press(&["key", "Return"]);
            let list = office.get("/approvals");
            let asked = list["items"].as_array().unwrap().iter().find(|one| {
                (&one["capability"], &one["state"]) == (&json!(capability), &json!("asked"))
            });
            request = asked.cloned().unwrap_or_default();
            !request.is_null()
        });
        request
    };
    let request = ask("keyboard");
    assert_eq!((&request["user"], &request["desktop_name"]), (&json!("anna"), &json!("bench")));
    assert!(!file.exists());
    let path = format!("/approvals/{}", request["id"].as_str().unwrap());
    let grant = json!({"decision": "grant"});
    assert_eq!(office.call("POST", &path, Some(grant.clone())).status, 200);
    office.call("POST", &path, Some(grant)).is_problem("already-answered");
    office.make("granted");
    let connection = office.connection();
    assert_eq!(connection["granted"], json!(["keyboard"]));
    assert_eq!(connection["policy_hash"], credential["policy_hash"], "what is anchored stays");

    drop(client);
    office.wait("/connections", |list| list["items"] == json!([]));
    let mut refused = office.connect(&credential);
    assert!(!refused.0.wait().unwrap().success());
    assert_eq!(office.get("/connections")["items"], json!([]));
    let id = credential["session_id"].as_str().unwrap();
    office.wait(&format!("/sessions/{id}"), |session| session["state"] == "completed");

    // The command line reaches the daemon without a sign-in, and says the same.
    let told = |args: &[&str]| {
        let mut command = lucid();
        command.args(["desktop", "--json", "--data-dir"]).arg(office.daemon().data_dir.path());
        let output = command.args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    let (exit, shown) = told(&["show", "bench"]);
    assert_eq!((exit, &shown["id"]), (Some(0), &json!(office.desktop)));
    let again = json!({"name": "bench"});
    office.call("POST", "/desktops", Some(again)).is_problem("name-taken");
    for wrong in [
        json!({"name": "a\\b"}),
        json!({"name": "odd", "width": 1281}),
        json!({"name": "huge", "width": 8192, "height": 8192}),
        json!({"name": "none", "command": ""}),
        json!({"name": "mice", "policy": {"mice": true}}),
        json!({"name": "fast", "policy": {"mouse": 100_000}}),
        json!({"name": "fat", "limits": {"memory_bytes": 1}}),
    ] {
        office.call("POST", "/desktops", Some(wrong)).is_problem("invalid-body");
    }
    let (exit, issued) = told(&["credential", "bench", "--user", "bob", "--allow", "keyboard"]);
    assert_eq!((exit, &issued["user"]), (Some(0), &json!("bob")));
    let session = issued["session_id"].as_str().unwrap();
    assert_eq!(told(&["revoke", "bench", session]).1["state"], "revoked");
    let mut refused = office.connect(&issued);
    assert!(!refused.0.wait().unwrap().success());
    assert_eq!(told(&["create", "Not A Name"]).0, Some(1));
    assert_eq!(told(&["delete", "bench"]).0, Some(0));
    assert_eq!(office.get("/desktops")["items"], json!([]));
    assert_eq!(office.daemon().send("GET", "/api/v1/desktops", &[], None).status, 401);
}

#[test]
fn a_session_that_the_daemon_was_killed_in_is_closed_and_never_continued() {
    let mut office = Office::open(&[]);
    let credential = office.credential(None);
    let client = office.connect(&credential);
    office.wait("/connections", |list| list["items"][0]["state"] == "connected");
    office.accept();
    office.make("before");
    let id = credential["session_id"].as_str().unwrap().to_owned();
    let session = format!("/sessions/{id}");
    office.wait(&session, |session| session["duration_s"].as_f64().unwrap() > 2.0);
    office.again();
    drop(client);
    let ended = office.wait(&session, |session| session["state"] == "completed");
    assert_eq!(ended["end_reason"], "recorder stopped without warning", "{ended}");
    assert_eq!(ended["gaps"].as_array().unwrap().len(), 1, "{ended}");
    assert_eq!(office.get("/connections")["items"], json!([]));
    let desktop = format!("/desktops/{}", office.desktop);
    assert_eq!(office.get(&format!("{desktop}/credentials"))["items"][0]["state"], "used");
    assert_eq!(office.get(&desktop)["port"], office.port);
    let mut refused = office.connect(&credential);
    assert!(!refused.0.wait().unwrap().success());
    // The desktop itself serves on, with what lies in its home.
    let credential = office.credential(None);
    let _client = office.connect(&credential);
    office.wait("/connections", |list| list["items"][0]["state"] == "connected");
    office.accept();
    office.make("after");
    assert!(office.home.join(&office.desktop).join("before").exists());
}
