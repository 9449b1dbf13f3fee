//! Windows of real programs, with and without a window manager.

use super::*;
use crate::desktop::{Definition, Launcher, Places, Running, Setup};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Told(Mutex<Vec<(String, String)>>);

impl EventSink for Told {
    fn record(&self, event: EventKind) {
        if let EventKind::Window { title, application } = event {
            self.0.lock().unwrap().push((title, application));
        }
    }
}

impl Told {
    fn until(&self, title: &str, application: &str) {
        let began = Instant::now();
        let wanted = (title.to_owned(), application.to_owned());
        while self.0.lock().unwrap().last() != Some(&wanted) {
            let told = self.0.lock().unwrap();
            assert!(began.elapsed() < PATIENCE, "waiting for {wanted:?}, told {told:?}");
            drop(told);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

struct Stage {
    running: Running,
    authority: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new(index: u16, command: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let definition = Definition {
            name: format!("windows-{index}"),
            width: 640,
            height: 400,
            command: Some(command.to_owned()),
            restart: false,
        };
        let places = Places { runtime: dir.path().join("run"), home: dir.path().join("home") };
        let authority = places.authority();
        let mut setup = Setup::new(definition, places, index);
        setup.launcher = Launcher::Direct;
        let running = Running::start(setup).unwrap();
        Stage { running, authority, _dir: dir }
    }

    fn desktop(&self) -> RunningDesktop {
        self.running.desktop().unwrap()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", format!(":{}", self.desktop().display));
        command.env("XAUTHORITY", &self.authority);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn terminal(&self, title: &str, geometry: &str) -> Child {
        let mut command = self.command("xterm");
        command.args(["-geometry", geometry, "-T", title, "-e", "sleep", "600"]);
        command.spawn().unwrap()
    }

    fn xdotool(&self, args: &[&str]) {
        assert!(self.command("xdotool").args(args).status().unwrap().success());
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_window_managers_active_window_is_told_with_its_titles() {
    let stage = Stage::new(101, "exec openbox");
    let told = Arc::new(Told::default());
    let watcher = WindowWatcher::start(&stage.desktop(), told.clone()).unwrap();
    told.until("", "");
    // A window that is there before its manager does not get the focus.
    let watch = Watch::begin(Display::connect(&stage.desktop()).unwrap(), Arc::default()).unwrap();
    let began = Instant::now();
    while !watch.has_window_manager().unwrap() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let first = stage.terminal("Rechnungen für Müller", "20x5+0+0");
    told.until("Rechnungen für Müller", "XTerm");
    let second = stage.terminal("other", "20x5+300+200");
    told.until("other", "XTerm");
    // A window's title changes while it has the focus.
    stage.xdotool(&["search", "--name", "^other$", "set_window", "--name", "renamed"]);
    told.until("renamed", "XTerm");
    end(second);
    told.until("Rechnungen für Müller", "XTerm");
    end(first);
    told.until("", "");
    drop(watcher);
    stage.running.stop();
}

#[test]
fn without_a_window_manager_the_focus_or_the_pointer_says_it() {
    let stage = Stage::new(102, "exec sleep 600");
    let told = Arc::new(Told::default());
    let watcher = WindowWatcher::start(&stage.desktop(), told.clone()).unwrap();
    let left = stage.terminal("left", "20x5+0+0");
    let right = stage.terminal("right", "20x5+300+0");
    stage.xdotool(&["search", "--sync", "--onlyvisible", "--name", "^(left|right)$"]);
    stage.xdotool(&["mousemove", "320", "20"]);
    told.until("right", "XTerm");
    stage.xdotool(&["mousemove", "20", "20"]);
    told.until("left", "XTerm");
    stage.xdotool(&["search", "--name", "^right$", "windowfocus"]);
    told.until("right", "XTerm");
    let secrecy = stage.desktop().secrecy;
    let other = Display::connect(&stage.desktop()).unwrap();
    let (mode, now) = (x11rb::protocol::xproto::GrabMode::ASYNC, x11rb::CURRENT_TIME);
    other.server.grab_keyboard(true, other.root, now, mode, mode).unwrap().reply().unwrap();
    let until_grab = |wanted: bool| {
        let began = Instant::now();
        while secrecy.is_likely() != wanted {
            assert!(began.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until_grab(true);
    other.server.ungrab_keyboard(now).unwrap().check().unwrap();
    until_grab(false);
    end(right);
    end(left);
    told.until("", "");
    let changes = told.0.lock().unwrap().clone();
    assert!(changes.windows(2).all(|two| two[0] != two[1]), "{changes:?}");
    drop(watcher);
    stage.running.stop();
}

#[test]
fn a_desktop_that_ends_ends_the_watch_and_titles_that_race_are_told_in_time() {
    let stage = Stage::new(103, "exec sleep 600");
    let told = Arc::new(Told::default());
    let watcher = WindowWatcher::start(&stage.desktop(), told.clone()).unwrap();
    let racing = stage.terminal("racing", "120x50+0+0");
    told.until("racing", "XTerm");
    let before = told.0.lock().unwrap().len();
    let began = Instant::now();
    for number in 0..200 {
        let name = format!("racing {number}");
        stage.xdotool(&["search", "--class", "xterm", "set_window", "--name", &name]);
    }
    told.until("racing 199", "XTerm");
    let most = began.elapsed().as_millis() / LOOK_INTERVAL.as_millis() + 2;
    let told_since = told.0.lock().unwrap().len() - before;
    assert!(told_since as u128 <= most, "{told_since} in {most} intervals");
    stage.running.stop();
    end(racing);
    assert!(
        WindowWatcher::start(
            &RunningDesktop {
                display: 65_535,
                reach: Arc::new(crate::desktop::reach::Local::display(65_535)),
                cookie: Default::default(),
                name: String::new(),
                width: 1,
                height: 1,
                files: None,
                secrecy: Arc::default(),
                sound: None,
                encoded: Default::default(),
            },
            told
        )
        .is_err()
    );
    drop(watcher);
}

#[test]
fn texts_are_cut_at_characters_and_kept_on_one_line() {
    assert_eq!(decode_utf8("gr\u{fc}n".as_bytes()), "grün");
    assert_eq!(decode_utf8(&"ü".as_bytes()[..1]), "");
    assert_eq!(decode_utf8(b"a\xFFb\nc\x1b[2J"), "a\u{fffd}b c [2J");
    assert_eq!(decode_latin1(b"gr\xFCn\0"), "grün");
    let long = decode_latin1(&[0xFC; 600]);
    assert!(long.len() <= TEXT_MAX_BYTES && long.chars().all(|c| c == 'ü'));
}
