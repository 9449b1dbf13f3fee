//! Hands input to the desktop's X server, through its XTEST extension, in a thread of its own: an
//! X server that hangs does not hang the connection.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use x11rb::connection::Connection as _;
use x11rb::errors::ReplyError;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{ConnectionExt as _, Window};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use super::focus::Focus;
use super::input::{Input, Utf16, keycode, keysym};
use super::keylog::Layout;
use super::xconnection::{self, XError};
use crate::session::RunningDesktop;

/// Most inputs that wait for the X server; what comes above is dropped.
pub const MAX_QUEUED: usize = 512;
/// Event codes of the core protocol.
const KEY_PRESS: u8 = 2;
const BUTTON_PRESS: u8 = 4;
const MOTION: u8 = 6;

/// The way to a desktop's keyboard and mouse. All that is held down comes up when it is dropped.
#[derive(Debug)]
pub struct Keyboard {
    queue: SyncSender<Input>,
    layout: Arc<Mutex<Layout>>,
}

impl Keyboard {
    /// Connects to the desktop.
    ///
    /// # Errors
    /// What is wrong with its X server.
    pub fn connect(desktop: &RunningDesktop) -> Result<Self, XError> {
        let mut hands = Hands::connect(desktop)?;
        let layout = hands.layout.clone();
        let display = desktop.display;
        let (queue, inputs) = sync_channel(MAX_QUEUED);
        std::thread::Builder::new()
            .name(format!("rdp input :{display}"))
            .spawn(move || {
                if let Err(error) = hands.run(&inputs) {
                    tracing::warn!(%error, "input of a desktop ended");
                }
            })
            .map_err(|source| XError::Thread { display, what: "hand input to", source })?;
        Ok(Keyboard { queue, layout })
    }

    /// What keys mean in the desktop's layout now.
    pub fn layout(&self) -> MutexGuard<'_, Layout> {
        self.layout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on an input. False when the desktop takes no more for the moment; it is dropped then.
    pub fn send(&self, input: Input) -> bool {
        !matches!(self.queue.try_send(input), Err(TrySendError::Full(_)))
    }
}

fn read_layout(server: &RustConnection) -> Result<Layout, ReplyError> {
    let setup = server.setup();
    let (first, last) = (setup.min_keycode, setup.max_keycode);
    let mapping = server.get_keyboard_mapping(first, last - first + 1)?.reply()?;
    let each = usize::from(mapping.keysyms_per_keycode).max(1);
    Ok(Layout { first, each, keysyms: mapping.keysyms })
}

struct Hands {
    server: RustConnection,
    root: Window,
    keys: BTreeSet<u8>,
    buttons: BTreeSet<u8>,
    units: Utf16,
    /// Key codes without a meaning, lent to characters in turn, with what each has now.
    spare: Vec<(u8, u32)>,
    next_spare: usize,
    layout: Arc<Mutex<Layout>>,
    focus: Focus,
}

impl Hands {
    fn connect(desktop: &RunningDesktop) -> Result<Self, XError> {
        let (server, root) = xconnection::connect(desktop)?;
        let (display, what) = (desktop.display, "take input");
        Self::on(server, root).map_err(|source| XError::Request { display, what, source })
    }

    fn on(server: RustConnection, root: Window) -> Result<Self, ReplyError> {
        server.xtest_get_version(2, 2)?.reply()?;
        let layout = read_layout(&server)?;
        let meanings = layout.keysyms.chunks(layout.each);
        let spare = (layout.first..=u8::MAX)
            .zip(meanings)
            .filter(|(_, keysyms)| keysyms.iter().all(|keysym| *keysym == 0))
            .map(|(code, _)| (code, 0))
            .collect();
        let (keys, buttons) = Default::default();
        let focus = Focus::new(&server, root)?;
        let (units, layout) = (Utf16::default(), Arc::new(Mutex::new(layout)));
        Ok(Hands { server, root, keys, buttons, units, spare, next_spare: 0, layout, focus })
    }

    fn run(&mut self, inputs: &Receiver<Input>) -> Result<(), ReplyError> {
        while let Ok(input) = inputs.recv() {
            self.take(input)?;
            // What waits already goes in one write.
            while let Ok(input) = inputs.try_recv() {
                self.take(input)?;
            }
            self.server.flush()?;
            self.follow_layout()?;
        }
        for code in std::mem::take(&mut self.keys) {
            self.fake(KEY_PRESS + 1, code, (0, 0))?;
        }
        for button in std::mem::take(&mut self.buttons) {
            self.fake(BUTTON_PRESS + 1, button, (0, 0))?;
        }
        // Answered only when all before it is done.
        self.server.get_input_focus()?.reply()?;
        Ok(())
    }

    /// Reads the keys' meanings again if the server said that they changed.
    fn follow_layout(&self) -> Result<(), ReplyError> {
        let mut changed = false;
        while let Some(event) = self.server.poll_for_event()? {
            changed |= matches!(event, Event::MappingNotify(_));
        }
        if changed {
            let layout = read_layout(&self.server)?;
            *self.layout.lock().unwrap_or_else(PoisonError::into_inner) = layout;
        }
        Ok(())
    }

    fn take(&mut self, input: Input) -> Result<(), ReplyError> {
        if matches!(input, Input::Key { down: true, .. } | Input::Unicode { down: true, .. }) {
            self.focus.look(&self.server)?;
        }
        match input {
            Input::Key { code, extended, down } => {
                let Some(code) = keycode(code, extended) else { return Ok(()) };
                let known = if down { self.keys.insert(code) } else { self.keys.remove(&code) };
                // Repeats come as presses; the X server repeats by itself.
                if known {
                    self.fake(KEY_PRESS + u8::from(!down), code, (0, 0))?;
                }
            }
            Input::Unicode { unit, down: true } => {
                if let Some(keysym) = self.units.push(unit).and_then(keysym) {
                    self.type_keysym(keysym)?;
                }
            }
            Input::Unicode { down: false, .. } => {}
            Input::Move { x, y } => self.fake(MOTION, 0, (x, y))?,
            Input::Button { button, down, x, y } => {
                self.fake(MOTION, 0, (x, y))?;
                let known = match down {
                    true => self.buttons.insert(button),
                    false => self.buttons.remove(&button),
                };
                if known {
                    self.fake(BUTTON_PRESS + u8::from(!down), button, (0, 0))?;
                }
            }
            Input::Wheel { button, notches } => {
                for _ in 0..notches {
                    self.fake(BUTTON_PRESS, button, (0, 0))?;
                    self.fake(BUTTON_PRESS + 1, button, (0, 0))?;
                }
            }
        }
        Ok(())
    }

    fn type_keysym(&mut self, keysym: u32) -> Result<(), ReplyError> {
        let found = self.spare.iter().find(|(_, has)| *has == keysym).map(|(code, _)| *code);
        let code = match found {
            Some(code) => code,
            None => {
                let count = self.spare.len().max(1);
                let Some(slot) = self.spare.get_mut(self.next_spare % count) else { return Ok(()) };
                self.next_spare = (self.next_spare + 1) % count;
                slot.1 = keysym;
                let code = slot.0;
                // Both levels: a shift held down changes nothing.
                self.server.change_keyboard_mapping(1, code, 2, &[keysym, keysym])?;
                // Programs must have heard of it before the key comes.
                self.server.get_input_focus()?.reply()?;
                code
            }
        };
        self.fake(KEY_PRESS, code, (0, 0))?;
        self.fake(KEY_PRESS + 1, code, (0, 0))
    }

    fn fake(&self, kind: u8, detail: u8, (x, y): (u16, u16)) -> Result<(), ReplyError> {
        let side = |n: u16| i16::try_from(n).unwrap_or(i16::MAX);
        let root = if kind == MOTION { self.root } else { x11rb::NONE };
        self.server.xtest_fake_input(kind, detail, 0, root, side(x), side(y), 0)?;
        Ok(())
    }
}
