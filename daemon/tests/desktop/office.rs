//! The stage: a daemon with one desktop, and workers' computers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{self, Answer, Daemon, Killed, PATIENCE, lucid, start, start_in};

/// What workers type, and what must be read in the recording.
pub const WORDS: &str = "LUCID WAS HERE";

/// A worker's computer: an X server that lets everybody of this machine in, since it shows a
/// client's window only.
pub struct Screen {
    display: String,
    _server: Killed,
}

impl Screen {
    pub fn new() -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-ac"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { display: format!(":{}", line.trim()), _server: Killed(server) }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.display);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Presses keys in the client's window.
    pub fn press(&self, args: &[&str]) {
        let focus = ["search", "--onlyvisible", "--class", "xfreerdp", "windowfocus"];
        // Before the window is there this fails, and is done again.
        let _tried = self.command("xdotool").args(focus).args(args).status().unwrap();
    }

    /// Types a line there.
    pub fn type_line(&self, line: &str) {
        self.press(&["type", "--delay", "30", line]);
        self.press(&["key", "Return"]);
    }

    /// Has a program of this computer offer something on the clipboard for as long as it lives.
    pub fn copies(&self, target: &str, content: &[u8]) -> Killed {
        let mut command = self.command("xclip");
        command.args(["-quiet", "-selection", "clipboard", "-i", "-t", target]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        Killed(child)
    }

    /// What a program of this computer gets when it pastes.
    pub fn pastes(&self, target: &str) -> Option<Vec<u8>> {
        let mut command = self.command("timeout");
        command.args(["10", "xclip", "-selection", "clipboard", "-o", "-t", target]);
        let pasted = command.stdout(Stdio::piped()).output().unwrap();
        pasted.status.success().then_some(pasted.stdout)
    }
}

/// What the daemon tells its listeners.
pub struct Told(BufReader<TcpStream>);

impl Told {
    /// The next event of this kind.
    pub fn next(&mut self, kind: &str) -> Value {
        let mut lines = self.0.by_ref().lines().map(Result::unwrap);
        lines.find(|line| line.trim() == format!("event: {kind}")).unwrap();
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        serde_json::from_str(&data.unwrap()).unwrap()
    }
}

/// A daemon with one desktop, and a worker's computer.
pub struct Office {
    /// None only between a kill and the next start.
    running: Option<Daemon>,
    options: Vec<String>,
    token: String,
    pub desktop: String,
    pub port: u64,
    /// Where the workers' files lie.
    home: PathBuf,
    pub screen: Screen,
    pub directory: tempfile::TempDir,
}

impl Office {
    /// With a desktop on which a terminal has the focus.
    pub fn open(settings: &[&str]) -> Self {
        let mut office = Self::empty(settings);
        // The window manager starts the terminal, so that it has the focus without a click.
        let terminal = "exec openbox --startup \"xterm -maximized -fa 'DejaVu Sans Mono' -fs 18 \
            -T 'Ledger of accounts' -e /bin/sh\"";
        let limits = json!({"disk_bytes": 8 << 20});
        let new = json!({
            "name": "bench", "width": 1024, "height": 640, "command": terminal, "limits": limits,
        });
        let made = office.call("POST", "/desktops", Some(new));
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        office.desktop = made["id"].as_str().unwrap().to_owned();
        office.port = made["port"].as_u64().unwrap();
        office
    }

    /// Without a desktop.
    pub fn empty(settings: &[&str]) -> Self {
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
        let (running, screen) = (Some(daemon), Screen::new());
        let (desktop, port) = (String::new(), 0);
        Self { running, options, token, desktop, port, home, screen, directory }
    }

    pub fn daemon(&self) -> &Daemon {
        self.running.as_ref().unwrap()
    }

    /// Kills the daemon and starts it over the same directory.
    pub fn again(&mut self) {
        let directory = self.running.take().unwrap().kill();
        let words: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let daemon = start_in(directory, &words);
        let body = json!({"username": "admin", "password": support::PASSWORD});
        let answer = daemon.send("POST", "/api/v1/session-token", &[], Some(&body));
        self.token = answer.json()["token"].as_str().unwrap().to_owned();
        self.running = Some(daemon);
    }

    pub fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let path = format!("/api/v1{path}");
        self.daemon().send(method, &path, &[("Authorization", &bearer)], body.as_ref())
    }

    pub fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    pub fn wait(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = self.get(path);
        let began = Instant::now();
        while !fits(&last) {
            assert!(began.elapsed() < 2 * PATIENCE, "GET {path} does not fit: {last}");
            std::thread::sleep(Duration::from_millis(100));
            last = self.get(path);
        }
        last
    }

    /// A figure of `/metrics`; 0 when there is none of this name.
    pub fn figure(&self, name: &str) -> f64 {
        let text = self.daemon().get("/metrics", &self.token).text();
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        rest.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0.0)
    }

    /// What listeners are told from now on.
    pub fn listen(&self) -> Told {
        let mut stream = self.daemon().connect();
        let head = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            self.daemon().address,
            self.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        Told(BufReader::new(stream))
    }

    /// The command line's exit code and answer.
    pub fn told(&self, args: &[&str]) -> (Option<i32>, Value) {
        let mut command = lucid();
        command.args(["desktop", "--json", "--data-dir"]).arg(self.daemon().data_dir.path());
        let output = command.args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), serde_json::from_str::<Value>(&text).unwrap_or_default())
    }

    pub fn credential(&self, policy: Option<Value>) -> Value {
        let body = json!({"user": "anna", "expires_in_s": 600, "policy": policy});
        let answer =
            self.call("POST", &format!("/desktops/{}/credentials", self.desktop), Some(body));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    pub fn connect(&self, credential: &Value) -> Killed {
        self.connect_on(&self.screen, credential)
    }

    pub fn connect_on(&self, screen: &Screen, credential: &Value) -> Killed {
        let (user, secret) = (credential["user"].as_str(), credential["secret"].as_str());
        let mut client = screen.command("xfreerdp");
        client.env("HOME", self.directory.path()).arg(format!("/v:127.0.0.1:{}", self.port));
        client.args([format!("/u:{}", user.unwrap()), format!("/p:{}", secret.unwrap())]);
        client.args(["/cert:ignore", "/sec:tls", "-wallpaper", "/log-level:ERROR"]);
        Killed(client.spawn().unwrap())
    }

    /// Whoever shows this opens nothing.
    pub fn is_refused(&self, credential: &Value) {
        let before = self.get("/connections");
        let mut refused = self.connect(credential);
        let mut left = None;
        until("a client without the right is sent away", || {
            left = refused.0.try_wait().unwrap();
            left.is_some()
        });
        assert!(!left.unwrap().success());
        let ids = |list: &Value| {
            let items = list["items"].as_array().unwrap().iter();
            items.map(|one| one["id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&before), ids(&self.get("/connections")));
    }

    pub fn connection(&self) -> Value {
        self.get("/connections")["items"][0].clone()
    }

    /// Connects and accepts the notice; the session runs from here on.
    pub fn enter(&self, credential: &Value) -> Killed {
        let client = self.connect(credential);
        self.wait("/connections", |list| list["items"][0]["state"] == "connected");
        self.accept();
        client
    }

    /// Accepts the notice that is shown.
    pub fn accept(&self) {
        until("the notice is accepted", || {
            self.screen.press(&["key", "Return"]);
            self.connection()["notice_accepted"] == true
        });
    }

    /// A file in the desktop's home.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.join(&self.desktop).join(name)
    }

    /// Types a command until the file is there that it makes.
    pub fn make(&self, name: &str) {
        until("the typed command has made its file", || {
            self.screen.type_line(&format!("touch {name}; echo {WORDS}"));
            self.file(name).exists()
        });
    }

    /// The request that waits for an answer about this, made again until it is there.
    pub fn asked(&self, capability: &str, mut again: impl FnMut()) -> Value {
        let mut request = Value::Null;
        until(&format!("{capability} is asked for"), || {
            again();
            let list = self.get("/approvals");
            let asked = list["items"].as_array().unwrap().iter().find(|one| {
                (&one["capability"], &one["state"]) == (&json!(capability), &json!("asked"))
            });
            request = asked.cloned().unwrap_or_default();
            !request.is_null()
        });
        request
    }

    pub fn answer(&self, request: &Value, decision: &str) -> Answer {
        let path = format!("/approvals/{}", request["id"].as_str().unwrap());
        self.call("POST", &path, Some(json!({"decision": decision})))
    }

    /// What a session's recording says of one kind.
    pub fn events(&self, session: &str, kind: &str) -> Vec<Value> {
        let list = self.get(&format!("/sessions/{session}/events?limit=1000&kind={kind}"));
        let fields = |event: &Value| event["fields"].clone();
        list["items"].as_array().unwrap().iter().map(fields).collect()
    }
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < 2 * PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn tool(program: &str, args: &[&Path]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
