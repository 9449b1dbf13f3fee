//! Gives the keyboard to a window when none has it.
//!
//! A session command that starts its programs beside its window manager can leave a desktop on
//! which
//! nothing has the focus until somebody clicks: keys would go nowhere. A window manager is asked as
//! a task bar would ask it ([EWMH] `_NET_ACTIVE_WINDOW`); without one the focus is set.
//!
//! [EWMH]: https://specifications.freedesktop.org/wm-spec/latest/

use std::time::{Duration, Instant};

use x11rb::connection::Connection as _;
use x11rb::errors::ReplyError;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, InputFocus, MapState, Window,
    WindowClass,
};
use x11rb::rust_connection::RustConnection;

/// Between two looks while somebody types.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a window manager may take to follow.
const FOLLOW_TIME: Duration = Duration::from_millis(250);
/// Between two looks whether it did.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(5);
/// In place of a window: nothing has the focus; what is under the pointer has it.
const NOTHING: Window = 0;
const UNDER_POINTER: Window = 1;
/// Most windows that are looked at, from the top.
const WINDOWS_MAX: usize = 256;

x11rb::atom_manager! {
    /// Names of the server.
    Atoms: AtomsCookie {
        _NET_ACTIVE_WINDOW,
        _NET_CLIENT_LIST_STACKING,
        _NET_SUPPORTING_WM_CHECK,
    }
}

/// Looks after the focus of one desktop.
#[derive(Debug)]
pub struct Focus {
    atoms: Atoms,
    root: Window,
    looked: Option<Instant>,
}

impl Focus {
    /// For a connection to the desktop.
    ///
    /// # Errors
    /// A server that is gone.
    pub fn new(server: &RustConnection, root: Window) -> Result<Self, ReplyError> {
        Ok(Focus { atoms: Atoms::new(server)?.reply()?, root, looked: None })
    }

    /// Before a key goes on: if nothing has the focus, the topmost window gets it. Waits a moment
    /// for the window manager.
    ///
    /// # Errors
    /// A server that is gone.
    pub fn look(&mut self, server: &RustConnection) -> Result<(), ReplyError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_INTERVAL) {
            return Ok(());
        }
        let began = Instant::now();
        self.looked = Some(began);
        let managed =
            self.window(server, self.root, self.atoms._NET_SUPPORTING_WM_CHECK)?.is_some();
        if self.is_held(server, managed)? {
            return Ok(());
        }
        let Some(top) = self.top(server)? else { return Ok(()) };
        if managed && self.ask_manager(server, top, began)? {
            return Ok(());
        }
        // A window that goes away in this moment is no error of ours.
        let set = server.set_input_focus(InputFocus::POINTER_ROOT, top, x11rb::CURRENT_TIME)?;
        set.check().or_else(passed_over)
    }

    /// Whether the window manager gave the keyboard to somebody.
    fn ask_manager(
        &self,
        server: &RustConnection,
        top: Window,
        began: Instant,
    ) -> Result<bool, ReplyError> {
        // As from a pager: from an application it might only ask for attention.
        let data = [2, x11rb::CURRENT_TIME, 0, 0, 0];
        let message = ClientMessageEvent::new(32, top, self.atoms._NET_ACTIVE_WINDOW, data);
        let to_manager = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        server.send_event(false, self.root, to_manager, message)?;
        server.flush()?;
        while began.elapsed() < FOLLOW_TIME {
            if self.is_held(server, true)? {
                return Ok(true);
            }
            std::thread::sleep(FOLLOW_INTERVAL);
        }
        Ok(false)
    }

    fn is_held(&self, server: &RustConnection, managed: bool) -> Result<bool, ReplyError> {
        let focus = server.get_input_focus()?.reply()?.focus;
        if managed && focus != NOTHING {
            // The focus itself may be on a window of the manager's own.
            let active = self.window(server, self.root, self.atoms._NET_ACTIVE_WINDOW)?;
            return Ok(active.is_some());
        }
        match focus {
            NOTHING => Ok(false),
            // Keys go to what is under the pointer.
            UNDER_POINTER => Ok(server.query_pointer(self.root)?.reply()?.child != x11rb::NONE),
            window => Ok(window != self.root),
        }
    }

    /// The topmost window that a program shows.
    fn top(&self, server: &RustConnection) -> Result<Option<Window>, ReplyError> {
        let stacking = self.atoms._NET_CLIENT_LIST_STACKING;
        let most = u32::try_from(WINDOWS_MAX).unwrap_or(u32::MAX);
        let listed =
            server.get_property(false, self.root, stacking, AtomEnum::WINDOW, 0, most)?.reply()?;
        // Those that a manager does not know come last: they were there before it.
        let mut windows = server.query_tree(self.root)?.reply()?.children;
        windows.extend(listed.value32().into_iter().flatten());
        for window in windows.into_iter().rev().take(WINDOWS_MAX) {
            let attributes = match server.get_window_attributes(window)?.reply() {
                Ok(attributes) => attributes,
                Err(error) => {
                    passed_over(error)?;
                    continue;
                }
            };
            if attributes.map_state == MapState::VIEWABLE
                && attributes.class == WindowClass::INPUT_OUTPUT
                && !attributes.override_redirect
            {
                return Ok(Some(window));
            }
        }
        Ok(None)
    }

    fn window(
        &self,
        server: &RustConnection,
        of: Window,
        property: u32,
    ) -> Result<Option<Window>, ReplyError> {
        let found = server.get_property(false, of, property, AtomEnum::WINDOW, 0, 1)?.reply()?;
        let window = found.value32().and_then(|mut values| values.next());
        Ok(window.filter(|window| *window != x11rb::NONE))
    }
}

/// What the server refuses is passed over; only a server that is gone is an error.
fn passed_over(error: ReplyError) -> Result<(), ReplyError> {
    match error {
        ReplyError::X11Error(_) => Ok(()),
        gone => Err(gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desktop::{Definition, Launcher, Places, Running, Setup};
    use crate::server::input::Input;
    use crate::server::keyboard::Keyboard;
    use crate::server::xconnection;

    /// What is typed arrives, though nothing has the focus before.
    fn arrives(index: u16, command: &str, wm: bool) {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let definition = Definition {
            name: format!("focus-{index}"),
            width: 640,
            height: 400,
            command: Some(command.to_owned()),
            restart: false,
        };
        let at = |name| dir.path().join(name);
        let places = Places { runtime: at("run"), home: at("home") };
        let mut setup = Setup::new(definition, places, index);
        setup.launcher = Launcher::Direct;
        let running = Running::start(setup).unwrap();
        let desktop = running.desktop().unwrap();
        let (server, root) = xconnection::connect(&desktop).unwrap();
        let focus = Focus::new(&server, root).unwrap();
        let began = Instant::now();
        let until = |what: &str, done: &mut dyn FnMut() -> bool| {
            while !done() {
                assert!(began.elapsed() < Duration::from_secs(60), "{what}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let ready = at("home").join("ready");
        until("the terminal waits", &mut || ready.exists());
        let check = focus.atoms._NET_SUPPORTING_WM_CHECK;
        until("it is shown", &mut || {
            let managed = focus.window(&server, root, check).unwrap().is_some();
            managed == wm && focus.top(&server).unwrap().is_some()
        });
        // Out of the way of every window.
        let corner = (639, 399);
        server.warp_pointer(x11rb::NONE, root, 0, 0, 0, 0, corner.0, corner.1).unwrap();
        server.set_input_focus(InputFocus::NONE, InputFocus::NONE, 0u32).unwrap();
        server.get_input_focus().unwrap().reply().unwrap();
        let keyboard = Keyboard::connect(&desktop).unwrap();
        let typed = at("home").join("typed");
        until("what is typed arrives", &mut || {
            for code in [0x1e, 0x1c] {
                for down in [true, false] {
                    keyboard.send(Input::Key { code, extended: false, down });
                }
            }
            std::thread::sleep(Duration::from_millis(200));
            std::fs::read_to_string(&typed).is_ok_and(|text| text.contains('a'))
        });
        drop(keyboard);
        running.stop();
    }

    const TERMINAL: &str =
        "xterm -geometry 40x10+0+0 -e sh -c 'echo >ready; while read x; do echo $x >>typed; done'";

    #[test]
    fn without_a_window_manager_the_topmost_window_gets_the_keys() {
        arrives(40, &format!("exec {TERMINAL}"), false);
    }

    #[test]
    fn a_window_manager_is_asked_for_the_topmost_window() {
        if crate::desktop::launcher::found("openbox").is_some() {
            // A window that comes while it starts is lost to openbox.
            let wait = "while [ ! -e ready ]; do sleep 0.05; done";
            arrives(41, &format!("{TERMINAL} & {wait}; exec openbox"), true);
        }
    }
}
