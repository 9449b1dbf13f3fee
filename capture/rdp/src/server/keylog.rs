//! What is kept of keys: how many always, which only if the policy says so and nothing hides them.
//!
//! The worker hides keys with [`HOT_KEY`]; a password that a terminal asks for is hidden by itself
//! as far as it can be told ([`crate::secrecy`]). What is hidden is counted and never kept, not
//! even in memory.

use super::input::{Input, Utf16, keycode, keysym};
use crate::event::{EventKind, STROKES_MAX, Stroke};
use crate::policy::KeyRecording;

/// What the worker presses so that keys are not recorded, and again so that they are.
pub const HOT_KEY: &str = "Ctrl+Alt+Shift+H";
/// The letter of it.
const HOT_KEYSYM: u32 = 'h' as u32;
/// Most keys kept between two reports; more are counted only.
pub const PENDING_MAX: usize = 8 * STROKES_MAX;

/// What key codes mean in the desktop's layout, as the X server tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// The first key code.
    pub first: u8,
    /// Keysyms for each key code: first and second level of two groups, then the third level.
    pub each: usize,
    /// All of them.
    pub keysyms: Vec<u32>,
}

impl Layout {
    /// What a key means; 0 for nothing.
    pub fn keysym(&self, code: u8, shift: bool, third: bool) -> u32 {
        let Some(at) = code.checked_sub(self.first) else { return 0 };
        let begin = usize::from(at) * self.each;
        let of_key = self.keysyms.get(begin..begin + self.each).unwrap_or_default();
        let level = |at: usize| of_key.get(at).copied().filter(|keysym| *keysym != 0);
        let plain = level(0).unwrap_or(0);
        let chosen = match (third, shift) {
            (true, true) => level(5).or(level(4)),
            (true, false) => level(4),
            (false, true) => level(1).or_else(|| upper(plain)),
            (false, false) => None,
        };
        chosen.unwrap_or(plain)
    }
}

/// A letter of which only the small form is listed has its capital above it.
fn upper(keysym: u32) -> Option<u32> {
    char::from_u32(keysym).filter(char::is_ascii_lowercase).map(|c| c.to_ascii_uppercase().into())
}

/// What a key is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Goes down, with its keysym; 0 where it has none.
    Down(u32),
    /// Comes up, or is half of a character.
    Other,
    /// The hot-key: it does not reach the desktop.
    Hot,
}

/// The log of one connection.
#[derive(Debug)]
pub struct KeyLog {
    mode: KeyRecording,
    hiding: bool,
    control: bool,
    alt: bool,
    shift: bool,
    third: bool,
    units: Utf16,
    count: u64,
    hidden: u64,
    lost: u64,
    /// Time and keysym.
    strokes: Vec<(u64, u32)>,
}

impl KeyLog {
    /// An empty log.
    pub fn new(mode: KeyRecording) -> Self {
        KeyLog {
            mode,
            hiding: false,
            control: false,
            alt: false,
            shift: false,
            third: false,
            units: Utf16::default(),
            count: 0,
            hidden: 0,
            lost: 0,
            strokes: Vec::new(),
        }
    }

    /// Whether keys are kept at all, hidden for the moment or not.
    pub fn is_recording(&self) -> bool {
        self.mode == KeyRecording::Strokes
    }

    /// Follows the keyboard, also at keys that do not reach the desktop.
    pub fn follow(&mut self, input: Input, layout: &Layout) -> Key {
        match input {
            Input::Key { code, extended, down } => {
                match (code, extended) {
                    (0x1d, _) => self.control = down,
                    (0x38, false) => self.alt = down,
                    (0x38, true) => self.third = down,
                    (0x2a | 0x36, false) => self.shift = down,
                    _ => {}
                }
                if !down {
                    return Key::Other;
                }
                let code = keycode(code, extended).unwrap_or(0);
                let chord = self.control && self.alt && self.shift && self.is_recording();
                if chord && layout.keysym(code, false, false) == HOT_KEYSYM {
                    return Key::Hot;
                }
                Key::Down(layout.keysym(code, self.shift, self.third))
            }
            Input::Unicode { unit, down: true } => match self.units.push(unit) {
                Some(character) => Key::Down(keysym(character).unwrap_or(0)),
                None => Key::Other,
            },
            _ => Key::Other,
        }
    }

    /// The hot-key was pressed; whether keys are hidden now.
    pub fn toggle(&mut self) -> bool {
        self.hiding = !self.hiding;
        self.hiding
    }

    /// A key reached the desktop. `secret` if it is likely part of a password.
    pub fn pressed(&mut self, keysym: u32, now_us: u64, secret: bool) {
        self.count += 1;
        if !self.is_recording() {
            return;
        }
        if self.hiding || secret {
            self.hidden += 1;
        } else if self.strokes.len() < PENDING_MAX {
            self.strokes.push((now_us, keysym));
        } else {
            self.lost += 1;
        }
    }

    /// What came since this was last asked.
    pub fn report(&mut self) -> Vec<EventKind> {
        let (count, hidden, lost) = (self.count, self.hidden, self.lost);
        (self.count, self.hidden, self.lost) = (0, 0, 0);
        if count == 0 {
            return Vec::new();
        }
        let strokes = std::mem::take(&mut self.strokes);
        let mut events = Vec::new();
        let mut left = count;
        let mut chunks = strokes.chunks(STROKES_MAX).peekable();
        while let Some(chunk) = chunks.next_if(|chunk| chunk.len() == STROKES_MAX) {
            left -= chunk.len() as u64;
            let (count, strokes) = (chunk.len() as u64, told(chunk));
            events.push(EventKind::Keys { count, hidden: 0, strokes });
        }
        if left > 0 {
            let strokes = chunks.next().map(told).unwrap_or_default();
            events.push(EventKind::Keys { count: left, hidden, strokes });
        }
        if lost > 0 {
            events.push(EventKind::Lost { count: lost });
        }
        events
    }
}

fn told(chunk: &[(u64, u32)]) -> Vec<Stroke> {
    let first = chunk.first().map_or(0, |(at, _)| *at);
    let after = |at: u64| u32::try_from(at.saturating_sub(first)).unwrap_or(u32::MAX);
    chunk.iter().map(|(at, keysym)| Stroke { after_us: after(*at), keysym: *keysym }).collect()
}

#[cfg(test)]
mod tests;
