//! The stage of these tests: a desktop, a client's screen, and a server between them.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lucid_capture::encoded::EncodedFeed;
use lucid_capture::screen::Access;
use lucid_capture::{HardwareEncoder, SourceUri, StreamOptions, probe_encoders};
use lucid_evidence::SessionId;
use lucid_rdp::controller::ClientId;
use lucid_rdp::desktop::reach::Local;
use lucid_rdp::event::EventKind;
use lucid_rdp::monitor::Counters;
use lucid_rdp::policy::{Capability, Policy};
use lucid_rdp::server::{Limits, RdpServer};
use lucid_rdp::session::{
    Admission, Attempt, Ended, Endpoint, EventSink, Gatekeeper, Order, Refused, RunningDesktop,
};
use lucid_rdp::sound::SoundFeed;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// How long anything may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const SECRET: &str = "one-time-and-long";

/// A process that ends with its owner.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An X server with a cookie of its own.
pub struct Display {
    pub number: u16,
    pub authority: PathBuf,
    pub cookie: Vec<u8>,
    pub _server: Running,
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
    pub fn start(directory: &Path, name: &str, width: u16, height: u16) -> Self {
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

    pub fn command(&self, program: &str) -> Command {
        let mut command = self.command_piped(program);
        command.stdout(Stdio::null());
        command
    }

    /// A program on this display whose output can be read.
    pub fn command_piped(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", format!(":{}", self.number));
        command.env("XAUTHORITY", &self.authority);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// Has a program of this display offer something on the clipboard for as long as it lives.
    pub fn copies(&self, target: &str, content: &[u8]) -> Running {
        use std::io::Write as _;
        let mut command = self.command("xclip");
        command.args(["-quiet", "-selection", "clipboard", "-i", "-t", target]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        Running(child)
    }

    /// What a program of this display gets when it pastes.
    pub fn pastes(&self, target: &str) -> Option<Vec<u8>> {
        let mut command = self.command_piped("timeout");
        command.args(["10", "xclip", "-selection", "clipboard", "-o", "-t", target]);
        let pasted = command.output().unwrap();
        pasted.status.success().then_some(pasted.stdout)
    }

    /// Presses keys in the window of the client on this screen.
    pub fn press(&self, args: &[&str]) -> bool {
        let mut all = vec!["search", "--onlyvisible", "--class", "xfreerdp", "windowfocus"];
        all.extend(args);
        self.xdotool(&all)
    }

    pub fn xdotool(&self, args: &[&str]) -> bool {
        self.command("xdotool").args(args).status().unwrap().success()
    }
}

#[derive(Default)]
pub struct Events(pub Mutex<Vec<EventKind>>);

impl EventSink for Events {
    fn record(&self, event: EventKind) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    pub fn any(&self, wanted: impl Fn(&EventKind) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(wanted)
    }

    pub fn accepted(&self) -> bool {
        self.any(|event| matches!(event, EventKind::NoticeAccepted { .. }))
    }
}

pub struct Gate {
    pub desktop: RunningDesktop,
    pub policy: watch::Sender<Arc<Policy>>,
    pub orders: watch::Sender<Order>,
    pub events: Arc<Events>,
    pub attempts: Mutex<Vec<(Option<String>, String, bool)>>,
    pub left: Mutex<Vec<Ended>>,
    pub counters: Arc<Counters>,
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
        let observer = attempt.user == "olga";
        let good = (attempt.user == "anna" || observer) && attempt.secret.as_str() == SECRET;
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
            observer,
            events: self.events.clone(),
            counters: self.counters.clone(),
            orders: self.orders.subscribe(),
        })
    }

    fn left(&self, _: SessionId, _: ClientId, ended: Ended) {
        self.left.lock().unwrap().push(ended);
    }
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub struct Stage {
    pub directory: tempfile::TempDir,
    pub desktop: Display,
    pub client: Display,
    pub gate: Arc<Gate>,
    pub server: RdpServer,
    pub at: SocketAddr,
    pub _terminal: Running,
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
    pub fn new(policy: Policy) -> Self {
        Self::sized(policy, 1024, 640)
    }

    pub fn sized(policy: Policy, width: u16, height: u16) -> Self {
        Self::made(policy, width, height, None)
    }

    /// With sound from elsewhere.
    pub fn sounding(policy: Policy, sound: Option<SoundFeed>) -> Self {
        Self::made(policy, 1024, 640, sound)
    }

    fn made(policy: Policy, width: u16, height: u16, sound: Option<SoundFeed>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let desktop = Display::start(directory.path(), "desktop", width, height);
        let client = Display::start(directory.path(), "client", 1280, 800);
        // Fills the desktop, so that it has the focus wherever the pointer is.
        let terminal = desktop
            .command("xterm")
            .args(["-fullscreen", "-fs", "16", "-fa", "DejaVu Sans Mono", "-e", "/bin/sh"])
            .current_dir(directory.path())
            .spawn()
            .unwrap();
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let gate = Arc::new(Gate {
            desktop: RunningDesktop {
                display: desktop.number,
                reach: Arc::new(Local {
                    files: Some(files.clone()),
                    ..Local::display(desktop.number)
                }),
                cookie: Zeroizing::new(desktop.cookie.clone()),
                name: "bench".into(),
                width,
                height,
                secrecy: Arc::default(),
                encoded: EncodedFeed::default(),
                sound,
                files: Some(files),
            },
            policy: watch::Sender::new(Arc::new(policy)),
            orders: watch::Sender::new(Order::Run),
            events: Arc::default(),
            attempts: Mutex::default(),
            left: Mutex::default(),
            counters: Arc::default(),
        });
        until("the terminal is there", || {
            desktop.xdotool(&["search", "--onlyvisible", "--class", "xterm"])
        });
        let server = RdpServer::start(certificate(), gate.clone(), Limits::default()).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let at = server.listen(Endpoint::Desktop("bench".into()), any).unwrap();
        Stage { directory, desktop, client, gate, server, at, _terminal: Running(terminal) }
    }

    pub fn connect(&self, at: SocketAddr, user: &str, secret: &str) -> Running {
        self.connect_with(at, user, secret, &[])
    }

    pub fn connect_with(&self, at: SocketAddr, user: &str, secret: &str, more: &[&str]) -> Running {
        self.connect_on(&self.client, at, (user, secret), more)
    }

    /// A client on a screen of its own.
    pub fn connect_on(
        &self,
        screen: &Display,
        at: SocketAddr,
        (user, secret): (&str, &str),
        more: &[&str],
    ) -> Running {
        let spawned = self.client_with(screen, at, (user, secret), more).spawn();
        Running(spawned.unwrap())
    }

    /// A client that is yet to be started.
    pub fn client_with(
        &self,
        screen: &Display,
        at: SocketAddr,
        (user, secret): (&str, &str),
        more: &[&str],
    ) -> Command {
        let mut client = screen.command("xfreerdp");
        client
            .env("HOME", self.directory.path())
            .args([format!("/v:{at}"), format!("/u:{user}"), format!("/p:{secret}")])
            .args(["/cert:ignore", "/sec:tls", "/rfx", "-wallpaper", "/log-level:ERROR"])
            .args(more);
        client
    }

    /// Presses keys in the client's window.
    pub fn press(&self, args: &[&str]) -> bool {
        self.client.press(args)
    }

    /// Has the desktop recorded, and its pictures offered to clients.
    pub fn record(&self) -> Recording {
        let hardware = HardwareEncoder::None { reason: "it is a test".into() };
        let mut options = StreamOptions::new(probe_encoders(&hardware, None).unwrap());
        options.audio = false;
        options.screen_access = Access::Cookie(self.gate.desktop.cookie.clone());
        options.encoded = Some(self.gate.desktop.encoded.clone());
        let uri = SourceUri::parse(&format!("screen://:{}", self.desktop.number)).unwrap();
        let mut stream = lucid_capture::open(&uri, &options).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                stream.next(Duration::from_millis(100));
            }
        });
        Recording { over, thread: Some(thread) }
    }

    pub fn accept(&self) {
        until("the notice is accepted", || {
            self.press(&["key", "Return"]);
            self.gate.events.accepted()
        });
    }

    /// What a person reads on the client's screen.
    pub fn read_screen(&self) -> String {
        self.read(&self.client)
    }

    pub fn read(&self, screen: &Display) -> String {
        let picture = self.directory.path().join("screen.png");
        let taken = screen.command("import").args(["-window", "root"]).arg(&picture).status();
        assert!(taken.unwrap().success());
        let read = Command::new("tesseract").arg(&picture).args(["stdout", "--psm", "6"]).output();
        String::from_utf8_lossy(&read.unwrap().stdout).into_owned()
    }
}

/// A recording of which nothing is kept. Ends when dropped.
pub struct Recording {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

pub fn working() -> Policy {
    let mut policy = Policy::default();
    policy.grant(Capability::Keyboard);
    policy.grant(Capability::Mouse);
    policy
}
