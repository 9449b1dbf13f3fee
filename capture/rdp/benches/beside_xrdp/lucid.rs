//! Lucid's side: this program again, as a server of its own.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lucid_capture::screen::Access;
use lucid_capture::{HardwareEncoder, SourceUri, StreamOptions, probe_encoders};
use lucid_evidence::SessionId;
use lucid_rdp::controller::ClientId;
use lucid_rdp::desktop::{Definition, Launcher, Places, Running, Setup};
use lucid_rdp::event::EventKind;
use lucid_rdp::policy::{Capability, Policy};
use lucid_rdp::server::{Limits, RdpServer};
use lucid_rdp::session::{
    Admission, Attempt, Ended, Endpoint, EventSink, Gatekeeper, Order, Refused, RunningDesktop,
};
use tokio::sync::watch;

use super::client::Client;
use super::processes::Tree;
use super::{Contender, SIZE, Scene};

const SECRET: &str = "bench";

/// Lets users without a name pass.
pub fn open_to_all(dir: &Path) {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The server process. It ends when its standard input does.
pub struct Lucid {
    dir: PathBuf,
    server: Option<Child>,
}

impl Lucid {
    pub fn new(dir: &Path) -> Self {
        Lucid { dir: dir.to_owned(), server: None }
    }

    /// Starts it with so many desktops; their ports.
    fn start(&mut self, script: &str, desktops: usize) -> Vec<u16> {
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["--serve", script])
            .env("BENCH_DIR", &self.dir)
            .env("BENCH_DESKTOPS", desktops.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let ports = (0..desktops).map(|_| lines.next().unwrap().unwrap().parse().unwrap());
        let ports = ports.collect();
        self.server = Some(server);
        ports
    }
}

impl Contender for Lucid {
    fn name(&self) -> &'static str {
        "Lucid"
    }

    fn stage(&mut self, scene: Scene, video: &Path) -> (u16, String, String) {
        let ports = self.start(&scene.script(video), 1);
        (ports[0], "anna".to_owned(), SECRET.to_owned())
    }

    fn processes(&self) -> Tree {
        Tree::of(&[self.server.as_ref().unwrap().id()])
    }

    fn clear(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            server.wait().unwrap();
        }
    }
}

impl Drop for Lucid {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Resident bytes for each of `many` connected, still desktops: of the server's process beyond one
/// without desktops, and with the X servers.
pub fn memory(dir: &Path, client: &Client, many: usize) -> (f64, f64) {
    let mut lucid = Lucid::new(dir);
    lucid.start("true", 0);
    let empty = lucid.processes().resident("beside_xrdp");
    lucid.clear();
    let ports = lucid.start(&Scene::Still.script(dir), many);
    let clients: Vec<_> = ports.iter().map(|port| client.connect(*port, "anna", SECRET)).collect();
    client.until_red();
    std::thread::sleep(Duration::from_secs(10));
    let tree = lucid.processes();
    let (full, servers) = (tree.resident("beside_xrdp"), tree.resident("Xvfb"));
    drop(clients);
    lucid.clear();
    let each = (full - empty) / many as f64;
    (each, each + servers / many as f64)
}

/// In the server's process: desktops with a script, their ports on standard output.
pub fn serve(script: &str) {
    let dir = PathBuf::from(std::env::var_os("BENCH_DIR").unwrap());
    let desktops: u16 = std::env::var("BENCH_DESKTOPS").unwrap().parse().unwrap();
    let running: Vec<Running> = (0..desktops).map(|index| desktop(&dir, index, script)).collect();
    let gates: Vec<RunningDesktop> =
        running.iter().map(|running| running.desktop().unwrap()).collect();
    gates.iter().for_each(record);
    let gate = Arc::new(Gate {
        desktops: gates,
        policy: watch::Sender::new(Arc::new(policy())),
        orders: watch::Sender::new(Order::Run),
    });
    let server = RdpServer::start(certificate(), gate, Limits::default()).unwrap();
    for index in 0..desktops {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let at = server.listen(Endpoint::Desktop(index.to_string()), any).unwrap();
        println!("{}", at.port());
    }
    let _ = std::io::stdin().lines().next();
    drop(server);
    running.iter().for_each(Running::stop);
}

/// Records a desktop for as long as the process lives, up to what would be sealed and stored.
fn record(desktop: &RunningDesktop) {
    let none = HardwareEncoder::None { reason: "software is measured".into() };
    let mut options = StreamOptions::new(probe_encoders(&none, None).unwrap());
    options.audio = false;
    options.max_fps = 15;
    options.screen_access = Access::Cookie(desktop.cookie.clone());
    options.encoded = Some(desktop.encoded.clone());
    let uri = SourceUri::parse(&format!("screen://:{}", desktop.display)).unwrap();
    let mut stream = lucid_capture::open(&uri, &options).unwrap();
    std::thread::spawn(move || {
        loop {
            stream.next(Duration::from_secs(1));
        }
    });
}

fn desktop(dir: &Path, index: u16, script: &str) -> Running {
    let definition = Definition {
        name: format!("bench-{index}"),
        width: SIZE.0.into(),
        height: SIZE.1.into(),
        command: Some(script.to_owned()),
        restart: false,
    };
    let places = Places {
        runtime: dir.join(format!("run-{index}")),
        home: dir.join(format!("home-{index}")),
    };
    // Indices that no other desktop of this machine has.
    let mut setup = Setup::new(definition, places, 900 + index);
    setup.launcher = Launcher::Direct;
    Running::start(setup).unwrap()
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.grant(Capability::Keyboard);
    policy.grant(Capability::Mouse);
    policy
}

struct Gate {
    desktops: Vec<RunningDesktop>,
    policy: watch::Sender<Arc<Policy>>,
    orders: watch::Sender<Order>,
}

struct Nobody;

impl EventSink for Nobody {
    fn record(&self, _: EventKind) {}
}

#[async_trait::async_trait]
impl Gatekeeper for Gate {
    fn size(&self, _: &Endpoint) -> Option<(u16, u16)> {
        Some(SIZE)
    }

    async fn admit(&self, attempt: Attempt) -> Result<Admission, Refused> {
        let Endpoint::Desktop(index) = &attempt.endpoint else { return Err(Refused::Refused) };
        let index: usize = index.parse().map_err(|_| Refused::Refused)?;
        Ok(Admission {
            session: SessionId::new(1, [1; 10]),
            client: ClientId(1),
            user: attempt.user,
            recorded_by: "the bench".into(),
            desktop: self.desktops[index].clone(),
            policy: self.policy.subscribe(),
            // A notice to click away would be measured with the desktop.
            accepted: true,
            observer: false,
            events: Arc::new(Nobody),
            counters: Arc::default(),
            orders: self.orders.subscribe(),
        })
    }

    fn left(&self, _: SessionId, _: ClientId, _: Ended) {}
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
