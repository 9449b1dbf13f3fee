//! The sockets of X servers, which one that is killed leaves behind.
//!
//! A display belongs to whoever holds its lock file, `/tmp/.X7-lock`, which names a process. A
//! server that finds the lock of a process that is gone takes the display over, in the moment in
//! which the other ends; so a socket is removed only while we hold that lock ourselves. The file
//! alone says nothing: a new one may well have the number of the one before.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, test_kill_process};

use super::DESKTOPS_MAX;
use super::identity::SERVER_UID_FIRST;

/// Most sockets looked at in one go; what lies beyond is seen to when these are gone.
const SOCKETS_MAX: usize = 4096;
/// Longest lock file that can be one: ten columns and a line feed.
const LOCK_MAX_BYTES: u64 = 11;

/// Where the X servers of a machine have their files.
#[derive(Debug, Clone)]
struct Displays {
    /// `/tmp`, or a test's own.
    temporary: PathBuf,
}

/// Makes the directory of sockets where a server of another user is to use it, and removes what
/// ended servers of ours left there.
pub(super) fn prepare(of_others: bool) {
    let displays = Displays::of_machine();
    if of_others {
        displays.make_directory();
    }
    displays.sweep();
}

/// Removes the socket of a display whose server is gone.
pub(super) fn remove_dead(display: u32) {
    Displays::of_machine().remove_dead(display);
}

impl Displays {
    fn of_machine() -> Self {
        Displays { temporary: "/tmp".into() }
    }

    fn sockets(&self) -> PathBuf {
        self.temporary.join(".X11-unix")
    }

    fn socket(&self, display: u32) -> PathBuf {
        self.sockets().join(format!("X{display}"))
    }

    fn lock(&self, display: u32) -> PathBuf {
        self.temporary.join(format!(".X{display}-lock"))
    }

    /// Open to all, each its own. A server that is not root would make it its own.
    fn make_directory(&self) {
        // One that is there is somebody's; one that cannot be made is told by the server.
        if std::fs::create_dir(self.sockets()).is_ok() {
            let open = std::fs::Permissions::from_mode(0o1777);
            let _ = std::fs::set_permissions(self.sockets(), open);
        }
    }

    /// Removes the sockets of servers that are gone, if they were this user's or a desktop's: a
    /// daemon that was killed could not.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(self.sockets()) else { return };
        let servers = SERVER_UID_FIRST..SERVER_UID_FIRST + DESKTOPS_MAX as u32;
        let own = rustix::process::geteuid().as_raw();
        for entry in entries.flatten().take(SOCKETS_MAX) {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix('X'));
            let Some(display) = number.and_then(|number| number.parse().ok()) else { continue };
            let Ok(found) = entry.metadata() else { continue };
            let ours = found.uid() == own || servers.contains(&found.uid());
            if found.file_type().is_socket() && ours {
                self.remove_dead(display);
            }
        }
    }

    fn remove_dead(&self, display: u32) {
        let Some(lock) = self.take_lock(display) else { return };
        // A server that was told to use no locks is known by its answer.
        let socket = self.socket(display);
        let refused = UnixStream::connect(&socket)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        if refused {
            let _ = std::fs::remove_file(&socket);
        }
        let _ = std::fs::remove_file(&lock);
    }

    /// Takes a display's lock as X servers do: written whole beside it, then linked to its name.
    /// None if somebody has it who lives, or it cannot be had.
    fn take_lock(&self, display: u32) -> Option<PathBuf> {
        let lock = self.lock(display);
        if lock.exists() && !is_dead(&lock) {
            return None;
        }
        let written = self.write_lock(display).ok()?;
        let taken = (0..2).any(|_| match std::fs::hard_link(&written, &lock) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is_dead(&lock) => {
                let _ = std::fs::remove_file(&lock);
                false
            }
            Err(_) => false,
        });
        let _ = std::fs::remove_file(&written);
        taken.then_some(lock)
    }

    fn write_lock(&self, display: u32) -> std::io::Result<PathBuf> {
        // A name of its own for each that tries.
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let (pid, n) = (std::process::id(), TRIES.fetch_add(1, Ordering::Relaxed));
        let path = self.temporary.join(format!(".lucid-X{display}-{pid}-{n}"));
        let _ = std::fs::remove_file(&path);
        let mut file = std::fs::File::create_new(&path)?;
        file.write_all(format!("{pid:10}\n").as_bytes())?;
        file.set_permissions(std::fs::Permissions::from_mode(0o444))?;
        Ok(path)
    }
}

/// Whether a lock names a process that is gone.
fn is_dead(lock: &Path) -> bool {
    let short = std::fs::symlink_metadata(lock)
        .is_ok_and(|found| found.is_file() && found.len() <= LOCK_MAX_BYTES);
    let text = short.then(|| std::fs::read_to_string(lock).ok()).flatten();
    let pid = text.and_then(|text| text.trim().parse::<i32>().ok()).and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn displays() -> (tempfile::TempDir, Displays) {
        let dir = tempfile::tempdir().unwrap();
        let displays = Displays { temporary: dir.path().to_owned() };
        displays.make_directory();
        (dir, displays)
    }

    /// The number of a process that has ended.
    fn ended() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    fn hold(displays: &Displays, display: u32, pid: u32) {
        std::fs::write(displays.lock(display), format!("{pid:10}\n")).unwrap();
    }

    #[test]
    fn sockets_of_ended_servers_go_and_those_of_others_stay() {
        let (_dir, displays) = displays();
        let bind = |display| UnixListener::bind(displays.socket(display)).unwrap();
        // 1 killed, with its lock; 2 killed, without; 3 lives without a lock; 4 begins just now,
        // and does not listen yet; 5 has a lock that says nothing.
        drop((bind(1), bind(2), bind(4), bind(5)));
        hold(&displays, 1, ended());
        let living = bind(3);
        hold(&displays, 4, std::process::id());
        std::fs::write(displays.lock(5), "not a number").unwrap();
        std::fs::write(displays.sockets().join("X6"), "no socket").unwrap();
        displays.sweep();
        let left: Vec<u32> = (1..=6).filter(|n| displays.socket(*n).exists()).collect();
        assert_eq!(left, [3, 4, 5, 6]);
        let locks: Vec<u32> = (1..=6).filter(|n| displays.lock(*n).exists()).collect();
        assert_eq!(locks, [4, 5]);
        drop(living);
        // Nothing of our own stays.
        assert_eq!(std::fs::read_dir(&displays.temporary).unwrap().count(), 3);
    }

    #[test]
    fn a_display_that_was_taken_over_is_left_alone() {
        let (_dir, displays) = displays();
        drop(UnixListener::bind(displays.socket(7)).unwrap());
        hold(&displays, 7, std::process::id());
        displays.remove_dead(7);
        assert!(displays.socket(7).exists() && displays.lock(7).exists());
        hold(&displays, 7, ended());
        displays.remove_dead(7);
        assert!(!displays.socket(7).exists() && !displays.lock(7).exists());
        // A lock alone goes too.
        hold(&displays, 7, ended());
        displays.remove_dead(7);
        assert!(!displays.lock(7).exists());
    }
}
