//! Hands input to the desktop's X server, through its XTEST extension, in a thread of its own: an
//! X server that hangs does not hang the connection.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use x11rb::connection::Connection as _;
use x11rb::errors::{ConnectError, ReplyError};
use x11rb::protocol::xproto::{ConnectionExt as _, Window};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::{DefaultStream, RustConnection};

use super::input::{Input, Utf16, keycode, keysym};
use crate::session::RunningDesktop;

/// Most inputs that wait for the X server; what comes above is dropped.
pub const MAX_QUEUED: usize = 512;
/// The one protocol X servers use on this machine.
const COOKIE: &[u8] = b"MIT-MAGIC-COOKIE-1";
/// Event codes of the core protocol.
const KEY_PRESS: u8 = 2;
const BUTTON_PRESS: u8 = 4;
const MOTION: u8 = 6;

/// Why input cannot be handed on.
#[derive(Debug, thiserror::Error)]
pub enum KeyboardError {
    /// Its socket does not answer.
    #[error("display :{display} cannot be reached")]
    Socket {
        /// The display.
        display: u16,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It does not let us in.
    #[error("display :{display} refuses input")]
    Connect {
        /// The display.
        display: u16,
        /// What it says.
        #[source]
        source: Box<ConnectError>,
    },
    /// It has no XTEST, or is gone.
    #[error("display :{display} takes no input")]
    Request {
        /// The display.
        display: u16,
        /// What it says.
        #[source]
        source: ReplyError,
    },
    /// No thread.
    #[error("no thread for the input of display :{display}")]
    Thread {
        /// The display.
        display: u16,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// The way to a desktop's keyboard and mouse. All that is held down comes up when it is dropped.
#[derive(Debug)]
pub struct Keyboard {
    queue: SyncSender<Input>,
}

impl Keyboard {
    /// Connects to the desktop.
    ///
    /// # Errors
    /// What is wrong with its X server.
    pub fn connect(desktop: &RunningDesktop) -> Result<Self, KeyboardError> {
        let mut hands = Hands::connect(desktop)?;
        let display = desktop.display;
        let (queue, inputs) = sync_channel(MAX_QUEUED);
        std::thread::Builder::new()
            .name(format!("rdp input :{display}"))
            .spawn(move || {
                if let Err(error) = hands.run(&inputs) {
                    tracing::warn!(%error, "input of a desktop ended");
                }
            })
            .map_err(|source| KeyboardError::Thread { display, source })?;
        Ok(Keyboard { queue })
    }

    /// Hands on an input. False when the desktop takes no more for the moment; it is dropped then.
    pub fn send(&self, input: Input) -> bool {
        !matches!(self.queue.try_send(input), Err(TrySendError::Full(_)))
    }
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
}

impl Hands {
    fn connect(desktop: &RunningDesktop) -> Result<Self, KeyboardError> {
        let display = desktop.display;
        let socket = |source| KeyboardError::Socket { display, source };
        let stream = UnixStream::connect(format!("/tmp/.X11-unix/X{display}")).map_err(socket)?;
        let (stream, _) = DefaultStream::from_unix_stream(stream).map_err(socket)?;
        let cookie = desktop.cookie.to_vec();
        let protocol = if cookie.is_empty() { Vec::new() } else { COOKIE.to_vec() };
        let server = RustConnection::connect_to_stream_with_auth_info(stream, 0, protocol, cookie)
            .map_err(|source| KeyboardError::Connect { display, source: Box::new(source) })?;
        let hands = Self::on(server);
        hands.map_err(|source| KeyboardError::Request { display, source })
    }

    fn on(server: RustConnection) -> Result<Self, ReplyError> {
        server.xtest_get_version(2, 2)?.reply()?;
        let setup = server.setup();
        let root = setup.roots.first().map_or(x11rb::NONE, |screen| screen.root);
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let mapping = server.get_keyboard_mapping(first, last - first + 1)?.reply()?;
        let each = usize::from(mapping.keysyms_per_keycode).max(1);
        let meanings = mapping.keysyms.chunks(each);
        let spare = (first..=last)
            .zip(meanings)
            .filter(|(_, keysyms)| keysyms.iter().all(|keysym| *keysym == 0))
            .map(|(code, _)| (code, 0))
            .collect();
        let (keys, buttons) = Default::default();
        Ok(Hands { server, root, keys, buttons, units: Utf16::default(), spare, next_spare: 0 })
    }

    fn run(&mut self, inputs: &Receiver<Input>) -> Result<(), ReplyError> {
        while let Ok(input) = inputs.recv() {
            self.take(input)?;
            // What waits already goes in one write.
            while let Ok(input) = inputs.try_recv() {
                self.take(input)?;
            }
            self.server.flush()?;
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

    fn take(&mut self, input: Input) -> Result<(), ReplyError> {
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
