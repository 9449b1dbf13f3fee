//! What clients send, read by us.

use super::*;
use ironrdp_core::encode_vec;
use proptest::prelude::*;

fn read(event: FastPathInputEvent) -> Vec<Input> {
    fast_path(&encode_vec(&FastPathInput::single(event)).unwrap()).unwrap()
}

fn mouse(bits: u16, turn: i16) -> FastPathInputEvent {
    FastPathInputEvent::MouseEvent(MousePdu {
        flags: PointerFlags::from_bits_retain(bits),
        number_of_wheel_rotation_units: turn,
        x_position: 7,
        y_position: 9,
    })
}

#[test]
fn keys_go_down_and_up() {
    let read_key = |flags| read(FastPathInputEvent::KeyboardEvent(flags, 0x1c));
    let key = |extended, down| vec![Input::Key { code: 0x1c, extended, down }];
    assert_eq!(read_key(KeyboardFlags::empty()), key(false, true));
    assert_eq!(read_key(KeyboardFlags::RELEASE), key(false, false));
    assert_eq!(read_key(KeyboardFlags::RELEASE | KeyboardFlags::EXTENDED), key(true, false));
}

#[test]
fn buttons_wheel_and_moves_are_told_apart() {
    assert_eq!(read(mouse(0x0800, 0)), [Input::Move { x: 7, y: 9 }]);
    let pressed = |button, down| vec![Input::Button { button, down, x: 7, y: 9 }];
    assert_eq!(read(mouse(0x9000, 0)), pressed(1, true));
    assert_eq!(read(mouse(0x2000, 0)), pressed(3, false));
    assert_eq!(read(mouse(0xc000, 0)), pressed(2, true));
    assert_eq!(read(mouse(0x0200, 120)), [Input::Wheel { button: 4, notches: 1 }]);
    assert_eq!(read(mouse(0x0200, -240)), [Input::Wheel { button: 5, notches: 2 }]);
    assert_eq!(read(mouse(0x0400, -30)), [Input::Wheel { button: 6, notches: 1 }]);
}

#[test]
fn key_codes_are_those_of_evdev() {
    // A, Return, left shift, the arrow up, the Windows key.
    let codes = [(0x1e, false, 38), (0x1c, false, 36), (0x2a, false, 50)];
    for (code, extended, expected) in
        codes.into_iter().chain([(0x48, true, 111), (0x5b, true, 133)])
    {
        assert_eq!(keycode(code, extended), Some(expected), "{code:#x}");
    }
    assert_eq!(keycode(0, false), None);
    assert_eq!(keycode(0xff, true), None);
}

#[test]
fn characters_beyond_the_first_plane_come_in_two_units() {
    let mut units = Utf16::default();
    let mut text = String::new();
    for unit in "aé漢😀😀z".encode_utf16() {
        text.extend(units.push(unit));
    }
    assert_eq!(text, "aé漢😀😀z");
    // A half alone is dropped, what follows is not.
    assert_eq!([0xd83d, u16::from(b'x')].map(|unit| units.push(unit))[0], None);
    assert_eq!(units.push(u16::from(b'y')), Some('y'));
    assert_eq!(units.push(0xde00), None);
}

#[test]
fn keysyms_follow_the_rules_of_x() {
    assert_eq!(keysym('A'), Some(0x41));
    assert_eq!(keysym('é'), Some(0xe9));
    assert_eq!(keysym('漢'), Some(0x0100_6f22));
    assert_eq!(keysym('\n'), Some(0xff0d));
    assert_eq!(keysym('\0'), None);
}

proptest! {
    /// Anything may come; nothing panics, and what is read stays within bounds.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for input in fast_path(&bytes).unwrap_or_default() {
            if let Input::Wheel { notches, .. } = input {
                prop_assert!((1..=MAX_NOTCHES).contains(&notches));
            }
        }
    }
}
