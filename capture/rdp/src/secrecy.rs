//! Whether what is typed into a desktop now is likely a secret, as far as the machine can tell.
//!
//! X does not say which field is a password's. Two signs are taken: a program holds the keyboard
//! for itself (agents that ask for passwords, screen locks; menus too), and a terminal of the
//! desktop reads whole lines without echo (`sudo`, `su`, `ssh`, `passwd`, `read -s`). Passwords
//! typed into fields of browsers and other programs, and into programs on other machines, give no
//! sign: for those there is the worker's hot-key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::desktop::reach::Reach;

/// The signs of one desktop.
#[derive(Debug, Default)]
pub struct Secrecy {
    keyboard_held: AtomicBool,
    /// The way to its terminals; none for none.
    reach: Option<Arc<dyn Reach>>,
}

impl Secrecy {
    /// Of a desktop that is reached so.
    pub fn of(reach: Arc<dyn Reach>) -> Self {
        Secrecy { keyboard_held: AtomicBool::new(false), reach: Some(reach) }
    }

    /// A program took the keyboard for itself, or gave it back.
    pub fn keyboard_held(&self, held: bool) {
        self.keyboard_held.store(held, Ordering::Relaxed);
    }

    /// Whether there is a sign now. Costs a look at each terminal of the desktop.
    pub fn is_likely(&self) -> bool {
        self.keyboard_held.load(Ordering::Relaxed)
            || self.reach.as_ref().is_some_and(|reach| reach.is_asked_secretly())
    }
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
