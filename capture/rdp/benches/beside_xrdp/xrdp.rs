//! xrdp's side: Debian's configuration, but for the port, the certificate and the script.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lucid_rdp::desktop::processes::Membership;

use super::client::Ended;
use super::processes::Tree;
use super::{Contender, Scene};

/// The user whose desktop xrdp shows, made for the bench and deleted after it.
pub const USER: &str = "lucid-bench";
/// Where xrdp looks for its session manager, whatever its own configuration says.
const SESMAN_PORT: u16 = 3350;

pub struct Xrdp {
    dir: PathBuf,
    home: PathBuf,
    user: u32,
    password: String,
    running: Vec<Ended>,
    port: u16,
}

fn run(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether somebody listens; the session manager may have chosen IPv6 alone.
fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        || TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok()
}

impl Xrdp {
    /// Makes the user.
    ///
    /// # Errors
    /// Why xrdp cannot be measured here.
    pub fn new(dir: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".into());
        }
        for program in ["/usr/sbin/xrdp", "/usr/sbin/xrdp-sesman", "/usr/lib/xorg/Xorg"] {
            if !Path::new(program).exists() {
                return Err(format!("{program} is missing (Debian: xrdp xorgxrdp)"));
            }
        }
        if listens(SESMAN_PORT) {
            return Err(format!("port {SESMAN_PORT} is taken; stop the xrdp that runs"));
        }
        let home = dir.join("xrdp-home");
        let made = ["-m", "-d", &home.display().to_string(), "-s", "/bin/sh", USER];
        if !run("useradd", &made) {
            return Err(format!("user {USER} cannot be made"));
        }
        let mut bytes = [0u8; 16];
        let mut random = std::fs::File::open("/dev/urandom").unwrap();
        std::io::Read::read_exact(&mut random, &mut bytes).unwrap();
        let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut set = Command::new("chpasswd").stdin(Stdio::piped()).spawn().unwrap();
        let line = format!("{USER}:{password}\n");
        std::io::Write::write_all(&mut set.stdin.take().unwrap(), line.as_bytes()).unwrap();
        assert!(set.wait().unwrap().success());
        let user = std::fs::metadata(&home).unwrap().uid();
        assert_ne!(user, 0);
        let running = Vec::new();
        let xrdp = Xrdp { dir: dir.to_owned(), home, user, password, running, port: 0 };
        xrdp.configure();
        Ok(xrdp)
    }

    fn configure(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (cert, key) = (self.dir.join("xrdp.pem"), self.dir.join("xrdp.key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let debian = std::fs::read_to_string("/etc/xrdp/xrdp.ini").unwrap();
        let lines = debian.lines().map(|line| match line.split('=').next() {
            Some("certificate") => format!("certificate={}", cert.display()),
            Some("key_file") => format!("key_file={}", key.display()),
            Some("autorun") => "autorun=Xorg".to_owned(),
            _ => line.to_owned(),
        });
        let ini: Vec<String> = lines.collect();
        std::fs::write(self.dir.join("xrdp.ini"), ini.join("\n")).unwrap();
    }

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(30), "gave up waiting until {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Contender for Xrdp {
    fn name(&self) -> &'static str {
        "xrdp with xorgxrdp"
    }

    fn stage(&mut self, scene: Scene, video: &Path) -> (u16, String, String) {
        let script = self.home.join("startwm.sh");
        std::fs::write(&script, format!("#!/bin/sh\n{}\n", scene.script(video))).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        self.port = free.local_addr().unwrap().port();
        drop(free);
        std::fs::create_dir_all("/run/xrdp").unwrap();
        let log = std::fs::File::create(self.dir.join("xrdp-output.log")).unwrap();
        let start = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args).stdin(Stdio::null());
            command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
            Ended(command.spawn().unwrap())
        };
        let sesman = start("/usr/sbin/xrdp-sesman", &["-n"]);
        let ini = self.dir.join("xrdp.ini").display().to_string();
        let port = self.port.to_string();
        let xrdp = start("/usr/sbin/xrdp", &["-n", "-c", &ini, "-p", &port]);
        self.running = vec![sesman, xrdp];
        for port in [SESMAN_PORT, self.port] {
            Self::until("xrdp listens", || listens(port));
        }
        (self.port, USER.to_owned(), self.password.clone())
    }

    fn processes(&self) -> Tree {
        let roots: Vec<u32> = self.running.iter().map(|process| process.0.id()).collect();
        Tree::of(&roots)
    }

    fn clear(&mut self) {
        for process in &self.running {
            // Asked to end, xrdp ends its children.
            run("kill", &["-TERM", &process.0.id().to_string()]);
        }
        std::thread::sleep(Duration::from_secs(1));
        self.running.clear();
        // Its sessions outlive it; all processes of the user are the bench's.
        let left = Membership { users: vec![self.user], ..Membership::default() };
        assert_eq!(left.end(Duration::ZERO), 0);
    }
}

impl Drop for Xrdp {
    fn drop(&mut self) {
        if !self.running.is_empty() {
            self.clear();
        }
        run("userdel", &["-f", USER]);
    }
}
