//! What runs in a desktop that names no command of its own: a window manager and a terminal.

/// Window managers that need no configuration, the best first.
pub const WINDOW_MANAGERS: [&str; 7] =
    ["openbox", "icewm", "fluxbox", "jwm", "xfwm4", "metacity", "twm"];
/// Terminals, the best first.
pub const TERMINALS: [&str; 5] =
    ["xterm", "x-terminal-emulator", "lxterminal", "xfce4-terminal", "urxvt"];

/// No terminal to be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no terminal for the default session; install one (Debian: apt install openbox xterm) or give \
     the desktop a command"
)]
pub struct NoTerminal;

/// The default session. It lasts as long as the window manager; without one, as long as the
/// terminal, which then fills the screen.
///
/// # Errors
/// When there is no terminal that `is_found`.
pub fn default_command(is_found: impl Fn(&str) -> bool) -> Result<String, NoTerminal> {
    let first = |names: &[&'static str]| names.iter().copied().find(|name| is_found(name));
    let terminal = first(&TERMINALS).ok_or(NoTerminal)?;
    Ok(match (first(&WINDOW_MANAGERS), terminal) {
        // A window that is there before its manager does not get the focus.
        (Some("openbox"), terminal) => format!("exec openbox --startup {terminal}"),
        (Some(manager), terminal) => format!("(sleep 1; exec {terminal}) & exec {manager}"),
        (None, "xterm") => "exec xterm -fullscreen".to_owned(),
        (None, terminal) => format!("exec {terminal}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_takes_what_is_there_and_names_what_is_missing() {
        let with = |installed: &'static [&str]| default_command(|name| installed.contains(&name));
        assert_eq!(with(&["openbox", "twm", "xterm"]).unwrap(), "exec openbox --startup xterm");
        assert_eq!(with(&["twm", "lxterminal"]).unwrap(), "(sleep 1; exec lxterminal) & exec twm");
        assert_eq!(with(&["xterm"]).unwrap(), "exec xterm -fullscreen");
        assert_eq!(with(&["openbox"]), Err(NoTerminal));
        assert!(NoTerminal.to_string().contains("openbox xterm"));
    }
}
