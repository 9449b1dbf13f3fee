//! Whether what is typed into a desktop now is likely a secret, as far as the machine can tell.
//!
//! X does not say which field is a password's. Two signs are taken: a program holds the keyboard
//! for itself (agents that ask for passwords, screen locks; menus too), and a terminal of the
//! desktop reads whole lines without echo (`sudo`, `su`, `ssh`, `passwd`, `read -s`). Passwords
//! typed into fields of browsers and other programs, and into programs on other machines, give no
//! sign: for those there is the worker's hot-key.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::termios::LocalModes;

/// Where terminals are.
const TERMINALS: &str = "/dev/pts";
/// Most terminals that are looked at for one key.
const TERMINALS_MAX: usize = 256;

/// The signs of one desktop.
#[derive(Debug, Default)]
pub struct Secrecy {
    keyboard_held: AtomicBool,
    /// Whose terminals are looked at; none for nobody's.
    user: Option<u32>,
}

impl Secrecy {
    /// Of a desktop whose programs run as `user`.
    pub fn of_user(user: u32) -> Self {
        Secrecy { keyboard_held: AtomicBool::new(false), user: Some(user) }
    }

    /// A program took the keyboard for itself, or gave it back.
    pub fn keyboard_held(&self, held: bool) {
        self.keyboard_held.store(held, Ordering::Relaxed);
    }

    /// Whether there is a sign now. Costs a look at each terminal of the user.
    pub fn is_likely(&self) -> bool {
        self.keyboard_held.load(Ordering::Relaxed) || self.user.is_some_and(is_asked_in_terminal)
    }
}

fn is_asked_in_terminal(user: u32) -> bool {
    let Ok(entries) = std::fs::read_dir(TERMINALS) else { return false };
    let numbered = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    numbered.take(TERMINALS_MAX).any(|entry| {
        let path = entry.path();
        path.metadata().is_ok_and(|found| found.uid() == user) && reads_without_echo(&path)
    })
}

/// Whether a program reads lines of it without showing them.
fn reads_without_echo(terminal: &Path) -> bool {
    // Opened without becoming anybody's terminal.
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(terminal, flags, Mode::empty());
    let modes = opened.and_then(rustix::termios::tcgetattr).map(|found| found.local_modes);
    // Editors and shells that draw what is typed themselves read letters, not lines.
    modes.is_ok_and(|modes| modes.contains(LocalModes::ICANON) && !modes.contains(LocalModes::ECHO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desktop::{Definition, Launcher, Places, Running, Setup};
    use std::time::{Duration, Instant};

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(60), "gave up waiting until {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_terminal_that_asks_without_echo_is_seen_and_an_ordinary_one_is_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let script = "echo >plain; while [ ! -e ask ]; do sleep 0.05; done; \
                      stty -echo; echo >asking; while [ ! -e asked ]; do sleep 0.05; done; \
                      stty echo; echo >over; exec sleep 600";
        let definition = Definition {
            name: "secrecy".into(),
            width: 320,
            height: 200,
            command: Some(format!("exec xterm -e sh -c '{script}'")),
            restart: false,
        };
        let home = dir.path().join("home");
        let places = Places { runtime: dir.path().join("run"), home: home.clone() };
        let mut setup = Setup::new(definition, places, 111);
        setup.launcher = Launcher::Direct;
        let running = Running::start(setup).unwrap();
        let secrecy = running.desktop().unwrap().secrecy;
        until("the terminal is there", || home.join("plain").exists());
        assert!(!secrecy.is_likely());
        std::fs::write(home.join("ask"), "").unwrap();
        until("it asks", || home.join("asking").exists());
        assert!(secrecy.is_likely());
        std::fs::write(home.join("asked"), "").unwrap();
        until("it has asked", || home.join("over").exists());
        assert!(!secrecy.is_likely());
        secrecy.keyboard_held(true);
        assert!(secrecy.is_likely());
        running.stop();
        assert!(!Secrecy::default().is_likely());
    }
}
