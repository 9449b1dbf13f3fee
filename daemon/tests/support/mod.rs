//! Starts the real binary on free ports over a directory of its own, and stops it.

// Each test binary uses a part of this, and a failed step here is a failed test.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod owner;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest a daemon may take to start or stop before the test is a failure, not slow.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The first administrator's password in these tests.
pub const PASSWORD: &str = "a long enough one";

/// The command under test, with nothing of this environment's configuration.
pub fn lucid() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LUCID_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs to the end and returns the exit code and standard error.
pub fn run(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8_lossy(&stderr).into_owned())
}

/// A process that ends with the test, however that ends.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    output: BufReader<ChildStdout>,
    pub data_dir: tempfile::TempDir,
    pub http: String,
    pub https: String,
    pub address: SocketAddr,
    pub claim_code: Option<String>,
    pub greeting: String,
}

/// Starts a daemon over a new directory.
pub fn start(options: &[&str]) -> Daemon {
    start_in(tempfile::tempdir().unwrap(), options)
}

/// Starts a daemon over a directory.
pub fn start_in(data_dir: tempfile::TempDir, options: &[&str]) -> Daemon {
    begin_in(data_dir, options).ready()
}

/// A daemon that is starting up.
pub struct Starting {
    child: Child,
    data_dir: tempfile::TempDir,
    ready: std::path::PathBuf,
}

/// Starts a daemon over a directory without waiting for it.
pub fn begin_in(data_dir: tempfile::TempDir, options: &[&str]) -> Starting {
    begin_with(data_dir, options, &[])
}

/// [`begin_in`] with variables of the environment.
pub fn begin_with(
    data_dir: tempfile::TempDir,
    options: &[&str],
    variables: &[(&str, &str)],
) -> Starting {
    let ready = data_dir.path().join("../").join(format!("ready-{}", unique()));
    let mut command = lucid();
    command
        .args(["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--log-format", "json"])
        .arg("--data-dir")
        .arg(data_dir.path())
        .arg("--ready-file")
        .arg(&ready)
        .args(options)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Starting { child: command.spawn().unwrap(), data_dir, ready }
}

impl Starting {
    /// Waits until it answers.
    pub fn ready(mut self) -> Daemon {
        let began = Instant::now();
        let addresses: Value = loop {
            if let Ok(text) = std::fs::read_to_string(&self.ready) {
                break serde_json::from_str(&text).unwrap();
            }
            if self.child.try_wait().unwrap().is_some() || began.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                let mut said = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("the daemon did not start: {said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        std::fs::remove_file(&self.ready).unwrap();
        let mut child = self.child;
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        // The greeting ends with an empty line, after the empty one it begins with.
        while greeting.len() < 2 || !greeting.ends_with("\n\n") {
            assert!(output.read_line(&mut greeting).unwrap() > 0, "greeting cut short: {greeting}");
        }
        let claim_code = greeting
            .lines()
            .find_map(|line| line.trim().strip_prefix("claim code"))
            .and_then(|rest| rest.split_whitespace().next())
            .map(str::to_owned);
        let text = |name: &str| addresses[name].as_str().unwrap().to_owned();
        let (http, https, data_dir) = (text("http"), text("https"), self.data_dir);
        let address = http.strip_prefix("http://").unwrap().parse().unwrap();
        Daemon { child, output, data_dir, http, https, address, claim_code, greeting }
    }

    /// Kills it wherever it is; returns the directory.
    pub fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _not_written_yet = std::fs::remove_file(&self.ready);
        let _not_written_yet = std::fs::remove_file(self.ready.with_extension("new"));
        self.data_dir
    }
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Daemon {
    /// Claims the device; returns the token.
    pub fn claim(&self) -> String {
        let code = self.claim_code.clone().unwrap();
        let body = json!({"code": code, "username": "admin", "password": PASSWORD});
        let answer = self.send("POST", "/api/v1/claim", &[], Some(&body));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// One request over plain HTTP, on a connection of its own.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str("Content-Type: application/json\r\n");
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut stream = self.connect();
        stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).unwrap();
        Answer::read(&mut stream)
    }

    /// [`Self::send`] without a body, with a bearer token.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, &[("Authorization", &format!("Bearer {token}"))], None)
    }

    /// A connection to plain HTTP.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory the daemon holds now.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Kills it as a power cut would; returns the directory.
    pub fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.data_dir, tempfile::tempdir().unwrap())
    }

    /// Asks it to stop; returns the exit code, its log and the directory.
    pub fn stop(self) -> (i32, String, tempfile::TempDir) {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it ends; returns the exit code, its log and the directory.
    pub fn ended(mut self) -> (i32, String, tempfile::TempDir) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let status = self.child.wait().unwrap();
        let data_dir = std::mem::replace(&mut self.data_dir, tempfile::tempdir().unwrap());
        (status.code().unwrap_or(-1), log, data_dir)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
        let mut rest = Vec::new();
        let _nothing_more = self.output.read_to_end(&mut rest);
        if std::thread::panicking()
            && let Some(mut stderr) = self.child.stderr.take()
        {
            // What a failed test needs to be understood.
            let mut log = String::new();
            let _nothing_more = stderr.read_to_string(&mut log);
            self.data_dir.disable_cleanup(true);
            eprintln!("{log}the data directory is kept: {}", self.data_dir.path().display());
        }
    }
}

/// An answer as it came over the wire.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads until the connection closes or the declared length is there.
    pub fn read(stream: &mut TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "answer cut short: {head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Self { status, head, body: Vec::new() };
        match answer.header("content-length").map(|length| length.parse::<u64>().unwrap()) {
            Some(length) => {
                reader.take(length).read_to_end(&mut answer.body).unwrap();
            }
            None if answer.header("content-type") == Some("text/event-stream") => {}
            None => {
                reader.read_to_end(&mut answer.body).unwrap();
            }
        }
        answer
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// Checks that it is a problem document of a kind.
    pub fn is_problem(&self, slug: &str) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let document = self.json();
        assert_eq!(document["type"], format!("urn:lucid:problem:{slug}"), "{document}");
        assert_eq!(document["status"], self.status, "{document}");
        assert!(document["title"].is_string() && document["detail"].is_string(), "{document}");
    }
}
