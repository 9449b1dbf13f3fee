//! Whether a program asks for a secret in a terminal of a desktop.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::termios::LocalModes;

/// Where terminals are.
const TERMINALS: &str = "/dev/pts";
/// Most terminals that are looked at for one key.
const TERMINALS_MAX: usize = 256;

/// Whether a program of this user reads a line without showing it. Costs a look at each terminal.
pub(crate) fn is_asked_secretly(user: u32) -> bool {
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
