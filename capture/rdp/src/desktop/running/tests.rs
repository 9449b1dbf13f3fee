//! Desktops on a real Xvfb: their size, and their end over a limit.

use super::*;
use crate::desktop::{Places, RunAs};
use std::time::{Duration, Instant};

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
            name: format!("shown-{}", self.index),
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

    fn read(&self, name: &str) -> String {
        let path = self.dir.path().join("home").join(name);
        until(|| path.exists());
        std::fs::read_to_string(path).unwrap()
    }
}

fn until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "gave up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn until_state(running: &Running, wanted: impl Fn(&State) -> bool) -> State {
    let state = running.state();
    until(|| wanted(&state.borrow()));
    State::clone(&state.borrow())
}

#[test]
fn a_desktop_begins_with_its_size_and_has_room_to_grow() {
    let stage = Stage::new(21);
    let command = "xdotool getdisplaygeometry >size.part; mv size.part size; exec sleep 600";
    let running = Running::start(stage.setup(command, false)).unwrap();
    let desktop = running.desktop().unwrap();
    assert_eq!((desktop.name.as_str(), desktop.width, desktop.height), ("shown-21", 640, 400));
    assert_eq!(stage.read("size"), "640 400\n");
    assert_eq!(display::change(&desktop, (2000, 1200)).unwrap(), (2000, 1200));
    assert_eq!(display::change(&desktop, (8192, 8192)).unwrap(), (2560, 1600));
    running.stop();
    assert_eq!(*running.state().borrow(), State::Stopped);
    assert!(running.desktop().is_none());
}

#[test]
fn a_desktop_over_its_limit_is_told_and_then_ended() {
    let stage = Stage::new(22);
    let command = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do sleep 600 & done; \
                   echo >there; wait";
    let mut setup = stage.setup(command, false);
    setup.limits.tasks = 16;
    // The kernel would not let a user of its own fork so far.
    setup.run_as = match rustix::process::geteuid().is_root() {
        true => RunAs::DaemonEvenRoot,
        false => RunAs::Daemon,
    };
    let running = Running::start(setup).unwrap();
    stage.read("there");
    let looks = [running.look(), running.look(), running.look()];
    assert!(looks[0].usage.tasks > 16 && looks[0].over.is_none(), "{looks:?}");
    assert_eq!(looks.iter().map(|look| look.alerts.len()).collect::<Vec<_>>(), [1, 0, 0]);
    let State::Ended { reason } = until_state(&running, State::is_final) else { panic!() };
    assert!(reason.starts_with("over its limit (tasks: "), "{reason}");
    assert!(running.desktop().is_none());
}
