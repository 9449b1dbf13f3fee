//! A real xfreerdp against the real server and a real desktop: who is let in, what is shown, what
//! reaches the desktop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lucid_evidence::SessionId;
use lucid_rdp::controller::ClientId;
use lucid_rdp::event::EventKind;
use lucid_rdp::policy::{Capability, Policy};
use lucid_rdp::server::{Limits, RdpServer};
use lucid_rdp::session::{
    Admission, Attempt, Ended, Endpoint, EventSink, Gatekeeper, Order, Refused, RunningDesktop,
};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(90);
const SECRET: &str = "one-time-and-long";

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An X server with a cookie of its own.
struct Display {
    number: u16,
    authority: PathBuf,
    cookie: Vec<u8>,
    _server: Running,
}

fn xauth(authority: &Path, display: u16, cookie: &[u8]) {
    let hex: String = cookie.iter().map(|byte| format!("{byte:02x}")).collect();
    let status = Command::new("xauth")
        .args(["-q", "-f"])
        .arg(authority)
        .args(["add", &format!(":{display}"), ".", &hex])
        .status()
        .unwrap();
    assert!(status.success());
}

impl Display {
    fn start(directory: &Path, name: &str, width: u16, height: u16) -> Self {
        let authority = directory.join(name);
        let cookie: Vec<u8> = (1..=16).collect();
        xauth(&authority, 0, &cookie);
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-noreset", "-screen", "0"])
            .arg(format!("{width}x{height}x24"))
            .arg("-auth")
            .arg(&authority)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let number = line.trim().parse().unwrap();
        xauth(&authority, number, &cookie);
        Display { number, authority, cookie, _server: Running(server) }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", format!(":{}", self.number));
        command.env("XAUTHORITY", &self.authority);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn xdotool(&self, args: &[&str]) -> bool {
        self.command("xdotool").args(args).status().unwrap().success()
    }
}

#[derive(Default)]
struct Events(Mutex<Vec<EventKind>>);

impl EventSink for Events {
    fn record(&self, event: EventKind) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    fn any(&self, wanted: impl Fn(&EventKind) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(wanted)
    }

    fn accepted(&self) -> bool {
        self.any(|event| matches!(event, EventKind::NoticeAccepted { .. }))
    }
}

struct Gate {
    desktop: RunningDesktop,
    policy: watch::Sender<Arc<Policy>>,
    orders: watch::Sender<Order>,
    events: Arc<Events>,
    attempts: Mutex<Vec<(Option<String>, String, bool)>>,
    left: Mutex<Vec<Ended>>,
}

#[async_trait::async_trait]
impl Gatekeeper for Gate {
    fn size(&self, endpoint: &Endpoint) -> Option<(u16, u16)> {
        match endpoint {
            Endpoint::Shared => None,
            Endpoint::Desktop(_) => Some((self.desktop.width, self.desktop.height)),
        }
    }

    async fn admit(&self, attempt: Attempt) -> Result<Admission, Refused> {
        let good = attempt.user == "anna" && attempt.secret.as_str() == SECRET;
        self.attempts.lock().unwrap().push((attempt.desktop, attempt.user.clone(), good));
        if !good {
            return Err(Refused::Refused);
        }
        Ok(Admission {
            session: SessionId::new(1, [1; 10]),
            client: ClientId(1),
            user: attempt.user,
            recorded_by: "the test".into(),
            desktop: self.desktop.clone(),
            policy: self.policy.subscribe(),
            accepted: false,
            observer: false,
            events: self.events.clone(),
            orders: self.orders.subscribe(),
        })
    }

    fn left(&self, _: SessionId, _: ClientId, ended: Ended) {
        self.left.lock().unwrap().push(ended);
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Stage {
    directory: tempfile::TempDir,
    desktop: Display,
    client: Display,
    gate: Arc<Gate>,
    server: RdpServer,
    at: SocketAddr,
    _terminal: Running,
}

fn certificate() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

impl Stage {
    fn new(policy: Policy) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let desktop = Display::start(directory.path(), "desktop", 1024, 640);
        let client = Display::start(directory.path(), "client", 1280, 800);
        // Fills the desktop, so that it has the focus wherever the pointer is.
        let terminal = desktop
            .command("xterm")
            .args(["-fullscreen", "-fs", "16", "-fa", "DejaVu Sans Mono", "-e", "/bin/sh"])
            .current_dir(directory.path())
            .spawn()
            .unwrap();
        let gate = Arc::new(Gate {
            desktop: RunningDesktop {
                display: desktop.number,
                cookie: Zeroizing::new(desktop.cookie.clone()),
                name: "bench".into(),
                width: 1024,
                height: 640,
                files: None,
            },
            policy: watch::Sender::new(Arc::new(policy)),
            orders: watch::Sender::new(Order::Run),
            events: Arc::default(),
            attempts: Mutex::default(),
            left: Mutex::default(),
        });
        until("the terminal is there", || {
            desktop.xdotool(&["search", "--onlyvisible", "--class", "xterm"])
        });
        let server = RdpServer::start(certificate(), gate.clone(), Limits::default()).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let at = server.listen(Endpoint::Desktop("bench".into()), any).unwrap();
        Stage { directory, desktop, client, gate, server, at, _terminal: Running(terminal) }
    }

    fn connect(&self, at: SocketAddr, user: &str, secret: &str) -> Running {
        let child = self
            .client
            .command("xfreerdp")
            .env("HOME", self.directory.path())
            .args([format!("/v:{at}"), format!("/u:{user}"), format!("/p:{secret}")])
            .args(["/cert:ignore", "/sec:tls", "/rfx", "-wallpaper", "/log-level:ERROR"])
            .spawn()
            .unwrap();
        Running(child)
    }

    /// Presses keys in the client's window.
    fn press(&self, args: &[&str]) -> bool {
        let mut all = vec!["search", "--onlyvisible", "--class", "xfreerdp", "windowfocus"];
        all.extend(args);
        self.client.xdotool(&all)
    }

    fn accept(&self) {
        until("the notice is accepted", || {
            self.press(&["key", "Return"]);
            self.gate.events.accepted()
        });
    }

    /// What a person reads on the client's screen.
    fn read_screen(&self) -> String {
        let picture = self.directory.path().join("screen.png");
        let taken = self.client.command("import").args(["-window", "root"]).arg(&picture).status();
        assert!(taken.unwrap().success());
        let read = Command::new("tesseract").arg(&picture).args(["stdout", "--psm", "6"]).output();
        String::from_utf8_lossy(&read.unwrap().stdout).into_owned()
    }
}

fn working() -> Policy {
    let mut policy = Policy::default();
    policy.grant(Capability::Keyboard);
    policy.grant(Capability::Mouse);
    policy
}

#[test]
fn typed_text_reaches_the_desktop_after_the_notice_and_is_seen() {
    let stage = Stage::new(working());
    let mut refused = stage.connect(stage.at, "anna", "wrong");
    assert!(!refused.0.wait().unwrap().success());
    assert!(stage.gate.events.0.lock().unwrap().is_empty());

    let _client = stage.connect(stage.at, "bench\\anna", SECRET);
    let shown = |event: &EventKind| matches!(event, EventKind::NoticeShown { .. });
    until("the notice is shown", || stage.gate.events.any(shown));
    until("the notice is read", || stage.read_screen().contains("session is recorded"));
    // What is typed at the notice goes nowhere.
    stage.press(&["type", "touch early"]);
    stage.accept();
    let made = stage.directory.path().join("made-over-rdp");
    until("the file is there", || {
        stage.press(&["type", "--delay", "40", "touch made-over-rdp; echo LUCID WAS HERE"]);
        stage.press(&["key", "Return"]);
        made.exists()
    });
    until("the echo is read on the client", || stage.read_screen().contains("LUCID WAS HERE"));
    assert!(!stage.directory.path().join("early").exists());
    let keys = |event: &EventKind| matches!(event, EventKind::Keys { count, .. } if *count > 0);
    until("keys are counted", || stage.gate.events.any(keys));
    let attempts = stage.gate.attempts.lock().unwrap().clone();
    assert_eq!(attempts[0], (None, "anna".into(), false));
    assert_eq!(attempts[1], (Some("bench".into()), "anna".into(), true));

    stage.gate.orders.send(Order::End { reason: "the test is over".into() }).unwrap();
    until("the client is gone", || !stage.gate.left.lock().unwrap().is_empty());
    assert_eq!(*stage.gate.left.lock().unwrap(), [Ended::Ordered]);
}

#[test]
fn nothing_reaches_the_desktop_by_default_until_it_is_granted() {
    let stage = Stage::new(Policy::default());
    // The shared port does not know the size before it knows who comes: it changes on the way.
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let shared = stage.server.listen(Endpoint::Shared, any).unwrap();
    let _client = stage.connect(shared, "bench\\anna", SECRET);
    stage.accept();
    let refused = |event: &EventKind| {
        matches!(event, EventKind::Refused { capability: Capability::Keyboard, .. })
    };
    until("keys are refused", || {
        stage.press(&["type", "touch made-over-rdp"]);
        stage.press(&["key", "Return"]);
        stage.gate.events.any(refused)
    });
    assert!(!stage.directory.path().join("made-over-rdp").exists());
    let keys = |event: &EventKind| matches!(event, EventKind::Keys { .. });
    assert!(!stage.gate.events.any(keys));
    stage.gate.policy.send(Arc::new(working())).unwrap();
    until("the file is there", || {
        stage.press(&["type", "--delay", "40", "touch made-over-rdp"]);
        stage.press(&["key", "Return"]);
        stage.directory.path().join("made-over-rdp").exists()
    });
}

#[test]
fn a_desktop_that_dies_ends_the_connection() {
    let mut stage = Stage::new(working());
    let mut client = stage.connect(stage.at, "anna", SECRET);
    stage.accept();
    until("the desktop is read", || !stage.read_screen().contains("session is recorded"));
    stage.desktop._server.0.kill().unwrap();
    let gate = stage.gate.clone();
    until("its end is told", || gate.left.lock().unwrap().contains(&Ended::NoDesktop));
    client.0.wait().unwrap();
}

/// Garbage, silence and plain text by the thousand: who comes next is served.
#[test]
fn ten_thousand_clients_that_say_nothing_sensible_do_no_harm() {
    use std::io::Write as _;
    let stage = Stage::new(working());
    let mut open = std::collections::VecDeque::new();
    for number in 0..10_000u32 {
        let Ok(mut stream) = std::net::TcpStream::connect(stage.at) else { continue };
        let garbage = [number.to_le_bytes(), [3, 0, 0, 200]].concat();
        match number % 3 {
            0 => drop(stream.write_all(&garbage)),
            1 => drop(stream.write_all(b"GET / HTTP/1.1\r\n\r\n")),
            _ => {}
        }
        open.push_back(stream);
        if open.len() > 300 {
            open.pop_front();
        }
    }
    let _client = stage.connect(stage.at, "anna", SECRET);
    stage.accept();
    assert_eq!(stage.gate.attempts.lock().unwrap().len(), 1);
}
