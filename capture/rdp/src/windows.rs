//! Which window the worker looks at: its title and its program, as events of the session; and
//! whether a program holds the keyboard for itself.
//!
//! A window manager says which window is active (`_NET_ACTIVE_WINDOW`, [EWMH]); without one it is
//! the window that has the focus, or the one under the pointer where the focus follows that. Titles
//! are what programs say of themselves; nobody vouches for them.
//!
//! [EWMH]: https://specifications.freedesktop.org/wm-spec/latest/

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, NotifyMode, Window,
};

use crate::display::{Display, Stop, Waited};
use crate::event::{APPLICATION_MAX_BYTES, EventKind, TEXT_MAX_BYTES};
use crate::secrecy::Secrecy;
use crate::server::xconnection::XError;
use crate::session::{EventSink, RunningDesktop};

/// Shortest time between two looks: a title that changes faster is told as it is then.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Deepest nesting of windows that is followed.
const DEPTH_MAX: usize = 32;
/// Most windows that are there at the beginning and watched.
const WINDOWS_MAX: usize = 1024;

x11rb::atom_manager! {
    /// Names of the server.
    Atoms: AtomsCookie {
        _NET_ACTIVE_WINDOW,
        _NET_SUPPORTING_WM_CHECK,
        _NET_WM_NAME,
        UTF8_STRING,
    }
}

/// What the focused window says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Look {
    title: String,
    application: String,
}

/// Watches one desktop until it is dropped or the desktop ends.
#[derive(Debug)]
pub struct WindowWatcher {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl WindowWatcher {
    /// Begins to tell `events` which window has the focus, first the one that has it now.
    ///
    /// # Errors
    /// When the desktop cannot be reached.
    pub fn start(desktop: &RunningDesktop, events: Arc<dyn EventSink>) -> Result<Self, XError> {
        let number = desktop.display;
        let what = "watch windows of";
        let no_thread = |source| XError::Thread { display: number, what, source };
        let stop = Arc::new(Stop::new().map_err(no_thread)?);
        let display = Display::connect(desktop)?;
        let what = "let windows be watched";
        let refused = |source| XError::Request { display: number, what, source };
        let mut watch = Watch::begin(display, desktop.secrecy.clone()).map_err(refused)?;
        let told = stop.clone();
        let thread = std::thread::Builder::new()
            .name(format!("windows :{number}"))
            .spawn(move || {
                if let Err(error) = watch.run(&told, events.as_ref()) {
                    tracing::debug!(%error, display = number, "windows are no longer watched");
                }
            })
            .map_err(no_thread)?;
        Ok(WindowWatcher { stop, thread: Some(thread) })
    }
}

impl Drop for WindowWatcher {
    fn drop(&mut self) {
        self.stop.tell();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watch {
    display: Display,
    atoms: Atoms,
    secrecy: Arc<Secrecy>,
    told: Option<Look>,
}

impl Watch {
    fn begin(display: Display, secrecy: Arc<Secrecy>) -> Result<Self, ReplyError> {
        let atoms = Atoms::new(&display.server)?.reply()?;
        let masks = EventMask::PROPERTY_CHANGE | EventMask::SUBSTRUCTURE_NOTIFY;
        let masks = ChangeWindowAttributesAux::new().event_mask(masks);
        display.server.change_window_attributes(display.root, &masks)?.check()?;
        let there = display.server.query_tree(display.root)?.reply()?.children;
        let watch = Watch { display, atoms, secrecy, told: None };
        for window in there.into_iter().take(WINDOWS_MAX) {
            watch.watch(window)?;
        }
        Ok(watch)
    }

    fn run(&mut self, stop: &Stop, events: &dyn EventSink) -> Result<(), ReplyError> {
        let mut due = Some(Instant::now());
        loop {
            let most = due.map(|due| due.saturating_duration_since(Instant::now()));
            match self.display.wait(stop, most)? {
                Waited::Stopped => return Ok(()),
                Waited::Time => {}
                Waited::Event(event) => {
                    if self.concerns(&event)? {
                        due.get_or_insert_with(Instant::now);
                    }
                }
            }
            if due.is_some_and(|due| due <= Instant::now()) {
                due = None;
                if self.look(events)? {
                    // What comes now is seen together, later.
                    if stop.sleep(LOOK_INTERVAL) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether an event may mean another window or another title.
    fn concerns(&self, event: &Event) -> Result<bool, ConnectionError> {
        Ok(match event {
            Event::MapNotify(map) => {
                self.watch(map.window)?;
                true
            }
            Event::PropertyNotify(property) => {
                let names = [
                    self.atoms._NET_ACTIVE_WINDOW,
                    self.atoms._NET_WM_NAME,
                    AtomEnum::WM_NAME.into(),
                    AtomEnum::WM_CLASS.into(),
                ];
                names.contains(&property.atom)
            }
            Event::FocusIn(focus) | Event::FocusOut(focus) => {
                match focus.mode {
                    NotifyMode::GRAB => self.secrecy.keyboard_held(true),
                    NotifyMode::UNGRAB => self.secrecy.keyboard_held(false),
                    _ => {}
                }
                true
            }
            Event::EnterNotify(_) | Event::UnmapNotify(_) | Event::DestroyNotify(_) => true,
            _ => false,
        })
    }

    /// Asks to be told of a window; one that is gone already is no error.
    fn watch(&self, window: Window) -> Result<(), ConnectionError> {
        let masks = EventMask::PROPERTY_CHANGE | EventMask::FOCUS_CHANGE | EventMask::ENTER_WINDOW;
        let masks = ChangeWindowAttributesAux::new().event_mask(masks);
        self.display.server.change_window_attributes(window, &masks)?.ignore_error();
        Ok(())
    }

    /// Tells of the focused window, if it is another or says something else. Whether it did.
    fn look(&mut self, events: &dyn EventSink) -> Result<bool, ReplyError> {
        let window = gone_is_none(self.focused())?.flatten();
        let look = match window {
            Some(window) => {
                // A client's window under the frame of its window manager is no child of the root.
                self.watch(window)?;
                gone_is_none(self.read(window))?.unwrap_or_default()
            }
            None => Look::default(),
        };
        if self.told.as_ref() == Some(&look) {
            return Ok(false);
        }
        let Look { title, application } = look.clone();
        events.record(EventKind::Window { title, application });
        self.told = Some(look);
        Ok(true)
    }

    fn focused(&self) -> Result<Option<Window>, ReplyError> {
        let Display { server, root } = &self.display;
        if self.has_window_manager()? {
            let atom = self.atoms._NET_ACTIVE_WINDOW;
            return Ok(self.window_property(*root, atom)?.filter(|window| *window != x11rb::NONE));
        }
        // 0 is nobody, 1 whoever is under the pointer.
        let focus = server.get_input_focus()?.reply()?.focus;
        match focus {
            0 => Ok(None),
            focus if focus == 1 || focus == *root => {
                let child = server.query_pointer(*root)?.reply()?.child;
                Ok((child != x11rb::NONE).then_some(child))
            }
            focus => self.named_above(focus),
        }
    }

    /// Whether a window manager of today lives. What one that died left behind says nothing.
    fn has_window_manager(&self) -> Result<bool, ReplyError> {
        let atom = self.atoms._NET_SUPPORTING_WM_CHECK;
        let Some(check) = self.window_property(self.display.root, atom)? else { return Ok(false) };
        Ok(gone_is_none(self.window_property(check, atom))?.flatten() == Some(check))
    }

    fn window_property(&self, of: Window, atom: u32) -> Result<Option<Window>, ReplyError> {
        let server = &self.display.server;
        let property = server.get_property(false, of, atom, AtomEnum::WINDOW, 0, 1)?.reply()?;
        Ok(property.value32().and_then(|mut values| values.next()))
    }

    /// The window itself or the nearest above it that has a title.
    fn named_above(&self, window: Window) -> Result<Option<Window>, ReplyError> {
        let Display { server, root } = &self.display;
        let mut at = window;
        for _ in 0..DEPTH_MAX {
            if !self.read(at)?.title.is_empty() {
                return Ok(Some(at));
            }
            let parent = server.query_tree(at)?.reply()?.parent;
            if parent == *root || parent == x11rb::NONE {
                break;
            }
            at = parent;
        }
        Ok(Some(window))
    }

    fn read(&self, window: Window) -> Result<Look, ReplyError> {
        let Atoms { _NET_WM_NAME: name, UTF8_STRING: utf8, .. } = self.atoms;
        let mut title = decode_utf8(&self.text(window, name, utf8, TEXT_MAX_BYTES)?);
        if title.is_empty() {
            let old = AtomEnum::WM_NAME.into();
            title = decode_latin1(&self.text(window, old, x11rb::NONE, TEXT_MAX_BYTES)?);
        }
        let class = AtomEnum::WM_CLASS.into();
        let class = self.text(window, class, x11rb::NONE, 2 * APPLICATION_MAX_BYTES)?;
        // Instance and class, a NUL after each.
        let class = class.split(|byte| *byte == 0).rfind(|part| !part.is_empty());
        Ok(Look { title, application: decode_latin1(class.unwrap_or_default()) })
    }

    /// The first bytes of a text; of any type if `kind` is none.
    fn text(
        &self,
        window: Window,
        atom: u32,
        kind: u32,
        most: usize,
    ) -> Result<Vec<u8>, ReplyError> {
        let words = u32::try_from(most / 4).unwrap_or(0);
        let server = &self.display.server;
        let property = server.get_property(false, window, atom, kind, 0, words)?.reply()?;
        Ok(if property.format == 8 { property.value } else { Vec::new() })
    }
}

/// A window may be gone before it is asked.
fn gone_is_none<T>(result: Result<T, ReplyError>) -> Result<Option<T>, ReplyError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ReplyError::X11Error(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Text that was cut at a number of bytes, on one line.
fn decode_utf8(bytes: &[u8]) -> String {
    let cut = match std::str::from_utf8(bytes) {
        // An incomplete character at the end is the cut's.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    one_line(String::from_utf8_lossy(bytes.get(..cut).unwrap_or_default()).chars(), TEXT_MAX_BYTES)
}

fn decode_latin1(bytes: &[u8]) -> String {
    one_line(bytes.iter().map(|byte| char::from(*byte)), TEXT_MAX_BYTES)
}

fn one_line(characters: impl Iterator<Item = char>, most: usize) -> String {
    let mut text = String::new();
    for character in characters.map(|c| if c.is_control() { ' ' } else { c }) {
        if text.len() + character.len_utf8() > most {
            break;
        }
        text.push(character);
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests;
