//! Input of the client, in our words: which key, which button, where.

use ironrdp_core::{DecodeResult, decode, invalid_field_err};
use ironrdp_pdu::input::fast_path::{FastPathInput, FastPathInputEvent, KeyboardFlags};
use ironrdp_pdu::input::mouse::PointerFlags;
use ironrdp_pdu::input::mouse_x::PointerXFlags;
use ironrdp_pdu::input::{InputEvent, InputEventPdu, MousePdu, MouseXPdu, scan_code, unicode};

/// One turn of the wheel by one notch, as clients count.
const NOTCH: i16 = 120;
/// Most notches taken of one message.
const MAX_NOTCHES: u8 = 16;

/// Something the worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A key, by its place on the keyboard.
    Key {
        /// Scan code of set 1.
        code: u8,
        /// Of the keys that came with the extended keyboard.
        extended: bool,
        /// Pressed or let go.
        down: bool,
    },
    /// A character, by one unit of its UTF-16.
    Unicode {
        /// The unit.
        unit: u16,
        /// Pressed or let go.
        down: bool,
    },
    /// The pointer moved.
    Move {
        /// Column.
        x: u16,
        /// Row.
        y: u16,
    },
    /// A button, by its number in X: 1 left, 2 middle, 3 right, 8 back, 9 forward.
    Button {
        /// The number.
        button: u8,
        /// Pressed or let go.
        down: bool,
        /// Column.
        x: u16,
        /// Row.
        y: u16,
    },
    /// The wheel, by its button in X: 4 up, 5 down, 6 left, 7 right.
    Wheel {
        /// The number.
        button: u8,
        /// Notches, at least 1.
        notches: u8,
    },
}

/// Reads fast-path input.
///
/// # Errors
/// Bytes that are none.
pub fn fast_path(bytes: &[u8]) -> DecodeResult<Vec<Input>> {
    // The decoder takes the length it is told for at least that of the header.
    if said_length(bytes) != Some(bytes.len()) {
        return Err(invalid_field_err!("length", "it is not that of the message"));
    }
    let input: FastPathInput = decode(bytes)?;
    let mut out = Vec::new();
    for event in input.input_events() {
        match *event {
            FastPathInputEvent::KeyboardEvent(flags, code) => out.push(Input::Key {
                code,
                extended: flags.contains(KeyboardFlags::EXTENDED),
                down: !flags.contains(KeyboardFlags::RELEASE),
            }),
            FastPathInputEvent::UnicodeKeyboardEvent(flags, unit) => {
                let down = !flags.contains(KeyboardFlags::RELEASE);
                out.push(Input::Unicode { unit, down });
            }
            FastPathInputEvent::MouseEvent(mouse) => pointer(&mut out, mouse),
            FastPathInputEvent::MouseEventEx(mouse) => pointer_x(&mut out, mouse),
            FastPathInputEvent::MouseEventRel(_)
            | FastPathInputEvent::QoeEvent(_)
            | FastPathInputEvent::SyncEvent(_) => {}
        }
    }
    Ok(out)
}

/// The length in the header of fast-path input: one byte, or two if its first bit is set.
fn said_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [_, first, second, ..] if first & 0x80 != 0 => {
            Some(usize::from(u16::from_be_bytes([first & 0x7f, *second])))
        }
        [_, first, ..] if first & 0x80 == 0 => Some(usize::from(*first)),
        _ => None,
    }
}

/// Reads slow-path input.
pub fn slow_path(input: InputEventPdu) -> Vec<Input> {
    let mut out = Vec::new();
    for event in input.0 {
        match event {
            InputEvent::ScanCode(key) => {
                if let Ok(code) = u8::try_from(key.key_code) {
                    out.push(Input::Key {
                        code,
                        extended: key.flags.contains(scan_code::KeyboardFlags::EXTENDED),
                        down: !key.flags.contains(scan_code::KeyboardFlags::RELEASE),
                    });
                }
            }
            InputEvent::Unicode(key) => out.push(Input::Unicode {
                unit: key.unicode_code,
                down: !key.flags.contains(unicode::KeyboardFlags::RELEASE),
            }),
            InputEvent::Mouse(mouse) => pointer(&mut out, mouse),
            InputEvent::MouseX(mouse) => pointer_x(&mut out, mouse),
            InputEvent::MouseRel(_) | InputEvent::Sync(_) | InputEvent::Unused(_) => {}
        }
    }
    out
}

fn pointer(out: &mut Vec<Input>, mouse: MousePdu) {
    let (x, y) = (mouse.x_position, mouse.y_position);
    let has = |bits: u16| mouse.flags.bits() & bits != 0;
    let vertical = mouse.flags.contains(PointerFlags::VERTICAL_WHEEL);
    let horizontal = mouse.flags.contains(PointerFlags::HORIZONTAL_WHEEL);
    if vertical || horizontal {
        let turn = mouse.number_of_wheel_rotation_units;
        let button = match (vertical, turn > 0) {
            (true, true) => 4,
            (true, false) => 5,
            (false, false) => 6,
            (false, true) => 7,
        };
        if turn != 0 {
            let notches = (turn.unsigned_abs() / NOTCH.unsigned_abs()).max(1);
            let notches = u8::try_from(notches).unwrap_or(MAX_NOTCHES).min(MAX_NOTCHES);
            out.push(Input::Wheel { button, notches });
        }
        return;
    }
    // [MS-RDPBCGR] 2.2.8.1.1.3.1.1.3: down, and the left, right and middle button.
    let down = has(0x8000);
    let buttons = [(0x1000, 1), (0x2000, 3), (0x4000, 2)];
    let pressed: Vec<u8> =
        buttons.iter().filter(|(bit, _)| has(*bit)).map(|(_, button)| *button).collect();
    if pressed.is_empty() {
        out.push(Input::Move { x, y });
    }
    out.extend(pressed.into_iter().map(|button| Input::Button { button, down, x, y }));
}

fn pointer_x(out: &mut Vec<Input>, mouse: MouseXPdu) {
    let (x, y) = (mouse.x_position, mouse.y_position);
    let down = mouse.flags.contains(PointerXFlags::DOWN);
    for (bit, button) in [(PointerXFlags::BUTTON1, 8), (PointerXFlags::BUTTON2, 9)] {
        if mouse.flags.contains(bit) {
            out.push(Input::Button { button, down, x, y });
        }
    }
}

/// The X key code of a key, as servers with evdev's numbering have it (Linux's number plus 8).
pub fn keycode(code: u8, extended: bool) -> Option<u8> {
    let linux = match (extended, code) {
        // Up to here Linux numbers keys as the first keyboards did.
        (false, 0x01..=0x53 | 0x56..=0x58) => code,
        (false, 0x70) => 93,
        (false, 0x73) => 89,
        (false, 0x79) => 92,
        (false, 0x7b) => 94,
        (false, 0x7d) => 124,
        (true, 0x1c) => 96,
        (true, 0x1d) => 97,
        (true, 0x35) => 98,
        (true, 0x37) => 99,
        (true, 0x38) => 100,
        (true, 0x46) => 119,
        (true, 0x47..=0x49) => code - 0x47 + 102,
        (true, 0x4b) => 105,
        (true, 0x4d) => 106,
        (true, 0x4f..=0x53) => code - 0x4f + 107,
        (true, 0x5b..=0x5d) => code - 0x5b + 125,
        _ => return None,
    };
    Some(linux + 8)
}

/// The X keysym of a character; none for those that are not typed.
pub fn keysym(character: char) -> Option<u32> {
    match u32::from(character) {
        0x0d | 0x0a => Some(0xff0d),
        0x08 => Some(0xff08),
        0x09 => Some(0xff09),
        0x1b => Some(0xff1b),
        code @ (0x20..=0x7e | 0xa0..=0xff) => Some(code),
        code if code > 0xff => Some(0x0100_0000 | code),
        _ => None,
    }
}

/// Puts characters together that come as two units.
#[derive(Debug, Default)]
pub struct Utf16 {
    high: Option<u16>,
}

impl Utf16 {
    /// Takes a unit and gives the character it completes.
    pub fn push(&mut self, unit: u16) -> Option<char> {
        let units = [self.high.take().unwrap_or(unit), unit];
        let pair = units[0] != units[1] && (0xd800..0xdc00).contains(&units[0]);
        if !pair && (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return None;
        }
        let units = if pair { &units[..] } else { &units[1..] };
        char::decode_utf16(units.iter().copied()).next()?.ok()
    }
}

#[cfg(test)]
mod tests;
