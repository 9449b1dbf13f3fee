//! Desktops on a real Xvfb: how they start, end, and what they leave.

use super::*;
use crate::identity::RunAs;
use crate::places::Places;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Output;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// An owner that only listens.
#[derive(Default)]
struct Listener {
    states: Mutex<Vec<State>>,
    ready: Mutex<Vec<u16>>,
}

impl Owner for Listener {
    fn ready(&self, life: &Life) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        life.reach.connect()?;
        self.ready.lock().unwrap().push(life.display);
        Ok(())
    }

    fn ending(&self, _: &str) {}

    fn changed(&self, state: &State) {
        self.states.lock().unwrap().push(state.clone());
    }
}

fn run(setup: Setup) -> Result<Running, StartError> {
    Running::start(setup, Arc::new(Listener::default()))
}

struct Stage {
    dir: tempfile::TempDir,
    index: u16,
}

impl Stage {
    /// `index` is another in each test: users are told apart by it.
    fn new(index: u16) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(dir.path(), open).unwrap();
        Stage { dir, index }
    }

    fn setup(&self, command: &str, restart: bool) -> Setup {
        let definition = Definition {
            name: format!("test-{}", self.index),
            width: 640,
            height: 400,
            command: Some(command.to_owned()),
            restart,
        };
        let places =
            Places { runtime: self.dir.path().join("run"), home: self.dir.path().join("home") };
        let mut setup = Setup::new(definition, places, self.index);
        setup.launcher = Launcher::Direct;
        setup
    }

    fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join("home").join(name)
    }

    fn read(&self, name: &str) -> String {
        until(|| self.home(name).exists());
        std::fs::read_to_string(self.home(name)).unwrap()
    }
}

fn until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "gave up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn until_state(running: &Running, wanted: impl Fn(&State) -> bool) -> State {
    until(|| wanted(&running.state()));
    running.state()
}

fn members(running: &Running) -> Membership {
    running.shared.life().as_ref().unwrap().1.clone()
}

/// Writes a file whole, so that whoever sees it can read all of it.
fn writes(name: &str, what: &str) -> String {
    format!("{{ {what}; }} >{name}.part; mv {name}.part {name};")
}

#[test]
fn a_session_has_its_display_and_nothing_of_the_daemon() {
    let stage = Stage::new(1);
    // A file that a library left open in the daemon.
    let leaked = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let mut command = writes("env", "env");
    command += &writes("fds", "ls -l /proc/self/fd");
    command +=
        &writes("who", "id -u; ulimit -d; ulimit -n; ulimit -c; grep NoNew /proc/self/status");
    command +=
        &writes("x", "od -An -v -tx1 $XAUTHORITY | tr -d ' \\n'; xdotool getdisplaygeometry");
    command += "exec sleep 600";
    let running = run(stage.setup(&command, false)).unwrap();
    let desktop = running.life().unwrap();
    let hex: String = desktop.cookie.iter().map(|byte| format!("{byte:02x}")).collect();
    let x = stage.read("x");
    // All the room it can grow to, until its owner says otherwise.
    assert!(x.contains(&hex) && x.contains(&format!("{} {}", ROOM.0, ROOM.1)), "{x}");
    let environment = stage.read("env");
    let names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    assert!(environment.contains(&format!("DISPLAY=:{}\n", desktop.display)));
    assert!(names.contains(&"XAUTHORITY") && names.contains(&"HOME"));
    for of_daemon in ["CARGO", "CARGO_MANIFEST_DIR", "RUST_BACKTRACE", "RUSTUP_HOME"] {
        assert!(!names.contains(&of_daemon), "{environment}");
    }
    let fds = stage.read("fds");
    assert!(fds.contains("/dev/null") && !fds.contains("passwd"), "{fds}");
    // 0 to 2, and the directory that ls reads.
    assert_eq!(fds.lines().filter(|line| line.contains("->")).count(), 4, "{fds}");
    let who = stage.read("who");
    let lines: Vec<&str> = who.lines().collect();
    let uid = match rustix::process::geteuid().is_root() {
        true => 70_001,
        false => rustix::process::geteuid().as_raw(),
    };
    assert_eq!(lines[..4], [uid.to_string(), (1 << 20).to_string(), "4096".into(), "0".into()]);
    assert!(lines[4].ends_with('1'), "{who}");
    drop(leaked);
    let usage = running.usage();
    assert!(usage.memory_bytes > 4 << 20 && usage.tasks >= 2 && usage.disk_bytes > 0, "{usage:?}");
    running.stop();
    assert_eq!(running.usage().tasks, 0);
}

#[test]
fn stopping_ends_everything_and_leaves_nothing() {
    let stage = Stage::new(2);
    let command = "trap 'echo >asked; exit' TERM; \
                   setsid sh -c 'trap \"\" TERM; echo >there; exec sleep 600' & \
                   while :; do sleep 0.1; done";
    let mut setup = stage.setup(command, true);
    setup.grace = Duration::from_millis(300);
    let running = run(setup).unwrap();
    stage.read("there");
    let (members, display) = (members(&running), running.life().unwrap().display);
    assert!(members.living().len() >= 3);
    running.stop();
    assert_eq!(running.state(), State::Stopped);
    assert!(members.living().is_empty() && running.life().is_none());
    // The display is free, and may be another test's by now.
    let socket = PathBuf::from(format!("/tmp/.X11-unix/X{display}"));
    let holder = || std::fs::read_to_string(format!("/tmp/.X{display}-lock")).unwrap_or_default();
    let is_anothers = || Path::new(&format!("/proc/{}/exe", holder().trim())).exists();
    until(|| is_anothers() || !socket.exists());
    assert!(stage.home("asked").exists() && !stage.dir.path().join("run").exists());
    // Once more is nothing.
    running.stop();
}

#[test]
fn a_session_that_ends_ends_the_desktop_and_says_how() {
    let stage = Stage::new(3);
    let running = run(stage.setup("sleep 600 & exit 7", false)).unwrap();
    let state = until_state(&running, State::is_final);
    assert_eq!(state, State::Ended { reason: "the session command ended (exit status 7)".into() });
    assert!(running.life().is_none());
    let user = format!("{}/run", stage.dir.path().display());
    let left = Membership { mark: user, ..Membership::default() };
    assert!(left.living().is_empty());
}

#[test]
fn a_killed_server_ends_the_session_and_a_fresh_desktop_is_started() {
    let stage = Stage::new(4);
    let command = "echo started >>starts; exec sleep 600";
    let running = run(stage.setup(command, true)).unwrap();
    stage.read("starts");
    let (before, first) = (members(&running), running.life().unwrap());
    let server = i32::try_from(before.groups[1]).ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(server, rustix::process::Signal::KILL).unwrap();
    let state = until_state(&running, |state| matches!(state, State::Restarting { .. }));
    let reason = "the X server ended (signal 9)".to_owned();
    assert_eq!(state, State::Restarting { reason, attempt: 1 });
    assert!(before.living().is_empty());
    until_state(&running, |state| *state == State::Running);
    until(|| stage.read("starts").lines().count() == 2);
    let second = running.life().unwrap();
    assert_ne!(first.cookie, second.cookie);
    // Dropped without a word it ends too.
    let members = members(&running);
    drop(running);
    assert!(members.living().is_empty());
}

#[test]
fn the_kernel_holds_a_user_of_its_own_to_its_tasks() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stage = Stage::new(9);
    let forks = "n=0; while [ $n -lt 40 ]; do sleep 600 & n=$((n+1)); done; echo done";
    // The shell gives up at the first that it cannot start.
    let command = format!("sh -c '{forks}' >out 2>&1; echo >there; exec sleep 600");
    let mut setup = stage.setup(&command, false);
    setup.limits.tasks = 16;
    let running = run(setup).unwrap();
    stage.read("there");
    let usage = running.usage();
    assert!((10..=18).contains(&usage.tasks), "{usage:?} {}", stage.read("out"));
    running.stop();
}

#[test]
fn what_a_killed_daemon_left_is_ended_before_the_next_start() {
    let stage = Stage::new(5);
    let setup = stage.setup("exec sleep 600", false);
    let root = rustix::process::geteuid().is_root();
    let mut orphan = Command::new("setpriv");
    if root {
        orphan.args(["--reuid=70005", "--regid=70005", "--clear-groups"]);
    }
    // Its user and its mark are its own only once it runs.
    orphan.args(["sh", "-c", "echo there; exec sleep 600"]).stdout(Stdio::piped());
    orphan.env(MARK, &setup.places.runtime).process_group(0);
    let mut orphan = orphan.spawn().unwrap();
    let mut there = [0; 6];
    orphan.stdout.as_mut().unwrap().read_exact(&mut there).unwrap();
    let running = run(setup).unwrap();
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(orphan.wait().unwrap().signal(), Some(9));
    running.stop();
}

#[test]
fn an_owner_that_cannot_prepare_the_display_ends_it() {
    struct Refuses;
    impl Owner for Refuses {
        fn ready(&self, _: &Life) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            Err("no such size".into())
        }
        fn ending(&self, _: &str) {}
        fn changed(&self, state: &State) {
            panic!("never {state:?}")
        }
    }
    let stage = Stage::new(10);
    let error = Running::start(stage.setup("touch ran", true), Arc::new(Refuses)).unwrap_err();
    assert!(sentence(&error).ends_with("cannot be prepared: no such size"), "{error:?}");
    assert!(!stage.home("ran").exists() && !stage.dir.path().join("run").exists());
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let stage = Stage::new(6);
    let mut setup = stage.setup("true", true);
    setup.definition.width = 1;
    assert!(matches!(run(setup), Err(StartError::Definition(_))));
    let mut setup = stage.setup("true", true);
    setup.limits.tasks = 1;
    assert!(matches!(run(setup), Err(StartError::Limits(_))));
    let mut setup = stage.setup("true", true);
    setup.run_as = RunAs::User { name: "nobody-of-that-name".into(), index: 6 };
    assert!(matches!(run(setup), Err(StartError::Identity(_))));
    assert!(!stage.dir.path().join("run").exists());
}

#[test]
fn pauses_before_new_starts_grow_and_end() {
    let pauses: Vec<u64> = (1..=RESTARTS_MAX).map(|n| restart_pause(n).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(restart_pause(u32::MAX), RESTART_LONGEST);
}

fn has(program: &str) -> bool {
    launcher::found(program).is_some()
}

#[test]
fn the_default_session_shows_a_terminal_that_takes_what_is_typed() {
    let stage = Stage::new(7);
    let mut setup = stage.setup("", false);
    setup.definition.command = None;
    if !has("xterm") {
        assert!(matches!(run(setup), Err(StartError::NoTerminal(_))));
        return;
    }
    let authority = setup.places.authority();
    let running = run(setup).unwrap();
    let display = running.life().unwrap().display;
    let xdotool = |args: &[&str]| {
        let mut command = Command::new("xdotool");
        command.args(args).env("DISPLAY", format!(":{display}")).env("XAUTHORITY", &authority);
        let Output { status, .. } = command.output().unwrap();
        status.success()
    };
    until(|| xdotool(&["search", "--onlyvisible", "--class", "xterm"]));
    // It has the focus without a click.
    until(|| {
        xdotool(&["type", "--delay", "20", "touch typed\n"]);
        stage.home("typed").exists()
    });
    running.stop();
}
