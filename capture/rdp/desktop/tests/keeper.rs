//! The real keeper as root, and a daemon that is somebody else.
//!
//! Only root can run it; as anybody else these tests say so and end.
#![allow(clippy::unwrap_used, clippy::panic)] // what is broken stops the test

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lucid_desktop::keeper::{Answer, Kept, Order, REQUEST_MAX_BYTES, Request, erase_homes, listed};
use lucid_desktop::{Definition, Life, Limits, Owner, Programs as _, StartError, State};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, MapState};
use x11rb::rust_connection::{DefaultStream, RustConnection};

/// The user who plays the daemon: `nobody`.
const DAEMON: u32 = 65_534;
/// Set in the process that plays the daemon.
const SOCKET: &str = "LUCID_TEST_KEEPER";
const PATIENCE: Duration = Duration::from_secs(90);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A keeper, and where it lives.
struct Stage {
    dir: tempfile::TempDir,
    keeper: Child,
}

impl Stage {
    fn new(settings: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not root: there is no keeper to be had");
            return None;
        }
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        open(dir.path(), 0o711);
        let file = dir.path().join("desktops.toml");
        let (home, runtime) = (dir.path().join("home"), dir.path().join("run"));
        let text = format!("user = \"nobody\"\nhome = {home:?}\nruntime = {runtime:?}\n{settings}");
        std::fs::write(&file, text).unwrap();
        open(&file, 0o644);
        let socket = dir.path().join("keeper.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-desktopd"));
        command.arg("--settings").arg(&file).arg("--socket").arg(&socket);
        let keeper = command.stdin(Stdio::null()).spawn().unwrap();
        let mut stage = Stage { dir, keeper };
        until("the keeper listens", || {
            assert_eq!(stage.keeper.try_wait().unwrap(), None, "the keeper ended");
            let made = stage.socket().metadata();
            made.is_ok_and(|made| made.mode() & 0o777 == 0o660)
        });
        Some(stage)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("keeper.sock")
    }

    /// Runs a test of this file again, as the daemon's user.
    fn as_daemon(&self, test: &str) {
        // This program where everybody can reach it.
        let program = self.dir.path().join("test");
        if !program.exists() {
            std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
            std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        }
        let user = format!("--reuid={DAEMON}");
        let mut command = Command::new("setpriv");
        command.args([&user, "--regid=65534", "--clear-groups", "--no-new-privs", "--"]);
        command.arg(&program).args(["--exact", test, "--nocapture"]);
        let output = command.env(SOCKET, self.socket()).current_dir("/").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "as the daemon: {said}\n{complained}");
        assert!(said.contains("1 passed"), "{said}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Where the keeper listens, in the process that plays the daemon.
fn as_daemon() -> Option<PathBuf> {
    let socket = std::env::var_os(SOCKET)?;
    assert_eq!(rustix::process::geteuid().as_raw(), DAEMON);
    Some(socket.into())
}

fn order(index: u16, command: &str) -> Order {
    Order {
        index,
        key: format!("dsk-{index}"),
        definition: Definition {
            name: format!("kept-{index}"),
            width: 640,
            height: 400,
            command: Some(command.to_owned()),
            restart: false,
        },
        limits: Limits { memory_bytes: 256 << 20, tasks: 64, ..Limits::default() },
    }
}

/// Looks at the display before anybody else, as the daemon does.
#[derive(Default)]
struct Daemon(Mutex<Vec<String>>);

impl Owner for Daemon {
    fn ready(&self, life: &Life) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (server, root) = display(life);
        assert!(server.query_tree(root)?.reply()?.children.is_empty());
        self.0.lock().unwrap().push("ready".into());
        Ok(())
    }

    fn ending(&self, reason: &str) {
        self.0.lock().unwrap().push(format!("ending: {reason}"));
    }

    fn changed(&self, state: &State) {
        self.0.lock().unwrap().push(state.as_str().into());
    }
}

/// A connection that the keeper made, and the desktop's root window.
fn display(life: &Life) -> (RustConnection, u32) {
    let (stream, _) = DefaultStream::from_unix_stream(life.reach.connect().unwrap()).unwrap();
    let scheme = b"MIT-MAGIC-COOKIE-1".to_vec();
    let cookie = life.cookie.to_vec();
    let server = RustConnection::connect_to_stream_with_auth_info(stream, 0, scheme, cookie);
    let server = server.unwrap();
    let root = server.setup().roots[0].root;
    (server, root)
}

#[test]
fn a_daemon_that_is_not_root_has_a_desktop_and_reaches_nothing_else_of_it() {
    let test = "a_daemon_that_is_not_root_has_a_desktop_and_reaches_nothing_else_of_it";
    let Some(socket) = as_daemon() else {
        let Some(stage) = Stage::new("") else { return };
        stage.as_daemon(test);
        let home = stage.dir.path().join("home/dsk-811");
        let made = home.metadata().unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (70_811, 0o700));
        let runtime = stage.dir.path().join("run/dsk-811");
        until("its runtime directory is gone", || !runtime.exists());
        return;
    };
    let command = "umask 077; id -u >who; mkdir -p Transfers; echo out >Transfers/out.txt; \
                   echo secret >private; ln -s ../private Transfers/link; \
                   ln private Transfers/second; ln -s /etc/passwd Transfers/passwd; \
                   echo >Transfers/there; exec xterm -e sleep 600";
    let owner = Arc::new(Daemon::default());
    let kept = Kept::start(&socket, order(811, command), owner.clone()).unwrap();
    let life = kept.life().unwrap();
    assert_eq!(owner.0.lock().unwrap().clone(), ["ready", "running"]);
    let (server, root) = display(&life);
    until("a window is shown", || {
        let windows = server.query_tree(root).unwrap().reply().unwrap().children;
        windows.iter().any(|window| {
            let shown = server.get_window_attributes(*window).unwrap().reply();
            shown.is_ok_and(|shown| shown.map_state == MapState::VIEWABLE)
        })
    });
    // Its files are not this user's to see, whatever their names are.
    let home = life.files.parent().unwrap();
    assert!(std::fs::read_dir(home).is_err() && std::fs::read(home.join("who")).is_err());
    assert!(std::fs::read_dir(home.parent().unwrap()).is_err());
    // What lies in the directory of transfers comes through the keeper, links and others do not.
    let reach = &life.reach;
    until("its files are there", || reach.open_file(Path::new("there")).is_ok());
    let mut text = String::new();
    reach.open_file(Path::new("out.txt")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\n");
    for name in ["link", "second", "passwd", "../private", "/etc/passwd", "none"] {
        assert!(reach.open_file(Path::new(name)).is_err(), "{name}");
    }
}

#[test]
fn files_come_and_go_and_the_rest_is_refused() {
    let Some(socket) = as_daemon() else {
        let Some(stage) = Stage::new("memory_max_mib = 300\ncommands = [\"exec sleep 600\"]\n")
        else {
            return;
        };
        stage.as_daemon("files_come_and_go_and_the_rest_is_refused");
        let files = stage.dir.path().join("home/dsk-812/Transfers");
        assert_eq!(std::fs::read(files.join("in.txt")).unwrap(), b"from outside");
        // The worker's own, not the daemon's and not root's.
        assert_eq!(files.join("in.txt").metadata().unwrap().uid(), 70_812);
        assert!(!files.join("half").exists());
        // Root is not the daemon either.
        let refused = listed(&stage.socket()).unwrap_err().to_string();
        assert!(refused.contains("serves user nobody") && refused.contains("user 0"), "{refused}");
        return;
    };
    let owner = || Arc::new(Daemon::default());
    let kept = Kept::start(&socket, order(812, "exec sleep 600"), owner()).unwrap();
    let reach = kept.life().unwrap().reach;
    reach.create_file("in.txt").unwrap().write_all(b"from outside").unwrap();
    let taken = reach.create_file("in.txt").unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AlreadyExists);
    reach.create_file("half").unwrap().write_all(b"ha").unwrap();
    reach.remove_file("half").unwrap();
    // Only what was made on this connection, and once.
    assert!(reach.remove_file("half").is_err() && reach.open_file(Path::new("half")).is_err());
    assert!(!reach.is_asked_secretly());
    let usage = kept.usage();
    assert!(usage.tasks >= 2 && usage.memory_bytes > 4 << 20, "{usage:?}");
    assert_eq!(listed(&socket).unwrap(), [(812, true)]);

    // Bounds and commands are the administrator's.
    let refused = |order: Order| match Kept::start(&socket, order, owner()) {
        Err(StartError::Keeper(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let mut large = order(813, "exec sleep 600");
    large.limits.memory_bytes = 301 << 20;
    assert!(refused(large).contains("memory_max_mib is 300"));
    assert!(refused(order(813, "exec sh")).contains("commands"));
    // Whoever asks what cannot be asked is told and not heard again.
    let long = vec![1; REQUEST_MAX_BYTES + 1];
    for packet in [&[1, 99][..], &[2, 3], &[1], &Answer::Done.encode(), &long] {
        let (answered, gone) = said(&socket, packet);
        let Ok(Answer::Failed { why, .. }) = answered else { panic!("{answered:?}") };
        assert!(gone && why.contains("packet"), "{why}");
    }
    let climbing = Request::OpenFile { relative: "../../x".into() };
    let (answered, _) = said(&socket, &climbing.encode());
    assert!(matches!(answered, Ok(Answer::Failed { .. })), "{answered:?}");
    let (answered, _) = said(&socket, &Request::Usage.encode());
    assert!(matches!(answered, Ok(Answer::Failed { .. })), "no desktop on this connection");

    assert!(erase_homes(&socket).unwrap_err().to_string().contains("stop them first"));
    // A desktop in order, and one without: both are gone, and their number is free.
    kept.stop();
    assert_eq!(kept.state(), State::Stopped);
    assert!(kept.life().is_none() && reach.connect().is_err());
    drop(kept);
    let again = Kept::start(&socket, order(812, "exec sleep 600"), owner()).unwrap();
    let display = again.life().unwrap();
    drop(again);
    until("the number is free", || listed(&socket).unwrap().is_empty());
    assert!(display.reach.connect().is_err());
}

/// Sends one packet on a fresh connection; what comes back, and whether the connection ends.
fn said(
    socket: &Path,
    packet: &[u8],
) -> (Result<Answer, lucid_desktop::keeper::MessageError>, bool) {
    let (unix, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let line: OwnedFd = rustix::net::socket_with(unix, kind, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::connect(&line, &SocketAddrUnix::new(socket).unwrap()).unwrap();
    rustix::io::write(&line, packet).unwrap();
    let mut bytes = vec![0; REQUEST_MAX_BYTES];
    let length = rustix::io::read(&line, &mut bytes).unwrap();
    let answer = Answer::decode(&bytes[..length]);
    rustix::net::shutdown(&line, rustix::net::Shutdown::Write).unwrap();
    let mut rest = vec![0; REQUEST_MAX_BYTES];
    // A word of farewell may come before.
    let gone = (0..2).any(|_| rustix::io::read(&line, &mut rest) == Ok(0));
    (answer, gone)
}

#[test]
fn a_session_that_ends_is_told_with_its_reason_and_a_new_one_begins() {
    let Some(socket) = as_daemon() else {
        let Some(stage) = Stage::new("") else { return };
        stage.as_daemon("a_session_that_ends_is_told_with_its_reason_and_a_new_one_begins");
        // A factory reset leaves nothing of the workers.
        assert_eq!(std::fs::read_dir(stage.dir.path().join("home")).unwrap().count(), 0);
        return;
    };
    let owner = Arc::new(Daemon::default());
    let command = "[ -e again ] && exec sleep 600; touch again; exit 7";
    let mut order = order(814, command);
    order.definition.restart = true;
    let kept = Kept::start(&socket, order, owner.clone()).unwrap();
    let told = |wanted: &[&str]| until("it is told", || *owner.0.lock().unwrap() == wanted);
    let why = "ending: the session command ended (exit status 7)";
    told(&["ready", "running", why, "restarting", "ready", "running"]);
    assert!(kept.life().unwrap().reach.connect().is_ok());
    kept.end("over its limit".into());
    until("its end is told", || {
        owner.0.lock().unwrap().iter().any(|it| it == "ending: over its limit")
    });
    kept.stop();
    assert_eq!(kept.state(), State::Stopped);
    until("nothing runs", || listed(&socket).unwrap().is_empty());
    erase_homes(&socket).unwrap();
}
