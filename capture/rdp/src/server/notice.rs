//! What a worker sees before the desktop: that the session is recorded, by whom, under which
//! policy. Drawn by us, so that nothing of the desktop can lie over it.

use embedded_graphics::mono_font::{MonoFont, MonoTextStyle, ascii};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};
use lucid_evidence::{Hash, SessionId};

use super::input::Input;
use super::keylog::HOT_KEY;
use super::picture::Pixels;
use crate::policy::{KeyRecording, Policy};

/// Longest name shown, characters.
const NAME_CHARS: usize = 60;
/// Scan codes of Return and Escape.
const RETURN: u8 = 0x1c;
const ESCAPE: u8 = 0x01;
const BACKGROUND: Rgb888 = Rgb888::new(24, 28, 36);
const INK: Rgb888 = Rgb888::new(240, 240, 240);
const BUTTON_WIDTH: u32 = 180;
const BUTTON_HEIGHT: u32 = 44;

/// What the worker answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The notice is accepted.
    Accepted,
    /// It is not.
    Declined,
}

/// The notice of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    lines: Vec<String>,
}

/// Letters and digits of this alphabet only: the font has no others, and none can pretend.
fn shown(text: &str) -> String {
    let plain = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    text.chars().take(NAME_CHARS).map(plain).collect()
}

impl Notice {
    /// The notice of a session.
    pub fn new(
        desktop: &str,
        user: &str,
        recorded_by: &str,
        session: SessionId,
        policy: &Policy,
    ) -> Self {
        let hash = policy.hash().to_string();
        let (keys, hide) = match policy.record_keys {
            KeyRecording::Counts => ("input counts,", String::new()),
            KeyRecording::Strokes => {
                ("THE KEYS YOU PRESS,", format!("{HOT_KEY} stops and starts recording keys."))
            }
        };
        let (first, second) = hash.split_at_checked(32).unwrap_or((&hash, ""));
        let lines = vec![
            "This session is recorded.".to_owned(),
            String::new(),
            format!("Recorded by  {}", shown(recorded_by)),
            format!("Desktop      {}", shown(desktop)),
            format!("You are      {}", shown(user)),
            format!("Session      {session}"),
            format!("Policy       {first}"),
            format!("             {second}"),
            String::new(),
            format!("Picture, {keys} window titles, clipboard and"),
            "file transfers are kept as evidence and cannot be changed later.".to_owned(),
            hide,
            "Accept with Enter, decline with Esc.".to_owned(),
        ];
        Notice { lines }
    }

    /// The words, one line each: what was accepted.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The hash of the words, for the events.
    pub fn hash(&self) -> Hash {
        Hash::of(self.text().as_bytes())
    }

    /// The notice as a picture.
    pub fn draw(&self, width: u16, height: u16) -> Canvas {
        let mut canvas = Canvas::new(width, height);
        let font: &MonoFont<'_> = if width >= 700 { &ascii::FONT_10X20 } else { &ascii::FONT_6X10 };
        let style = MonoTextStyle::new(font, INK);
        let row = font.character_size.height + 4;
        let longest = self.lines.iter().map(String::len).max().unwrap_or(0);
        let text_width = font.character_size.width * u32::try_from(longest).unwrap_or(0);
        let left = u32::from(width).saturating_sub(text_width) / 2;
        let rows = u32::try_from(self.lines.len()).unwrap_or(0);
        let tall = rows * row + BUTTON_HEIGHT + row;
        let top = u32::from(height).saturating_sub(tall) / 2;
        for (line, at) in self.lines.iter().zip(0u32..) {
            let origin = point(left, top + at * row);
            write(&mut canvas, line, origin, style);
        }
        for (answer, label) in [(Answer::Accepted, "Accept"), (Answer::Declined, "Decline")] {
            let button = self.button(answer, width, height);
            let colour = match answer {
                Answer::Accepted => Rgb888::new(30, 110, 60),
                Answer::Declined => Rgb888::new(120, 40, 40),
            };
            fill(&mut canvas, button, colour);
            let length = u32::try_from(label.len()).unwrap_or(0) * font.character_size.width;
            let x = BUTTON_WIDTH.saturating_sub(length) / 2;
            let y = BUTTON_HEIGHT.saturating_sub(font.character_size.height) / 2;
            write(&mut canvas, label, button.top_left + size(x, y), style);
        }
        canvas
    }

    fn button(&self, answer: Answer, width: u16, height: u16) -> Rectangle {
        let font_height = if width >= 700 { 20 } else { 10 };
        let rows = u32::try_from(self.lines.len()).unwrap_or(0);
        let tall = rows * (font_height + 4) + BUTTON_HEIGHT + font_height + 4;
        let top = u32::from(height).saturating_sub(tall) / 2 + tall - BUTTON_HEIGHT;
        let top = top.min(u32::from(height).saturating_sub(BUTTON_HEIGHT));
        let middle = u32::from(width) / 2;
        let left = match answer {
            Answer::Accepted => middle.saturating_sub(BUTTON_WIDTH + 10),
            Answer::Declined => middle + 10,
        };
        Rectangle::new(point(left, top), Size::new(BUTTON_WIDTH, BUTTON_HEIGHT))
    }

    /// What an input means to the notice; most mean nothing.
    pub fn answer(&self, input: Input, width: u16, height: u16) -> Option<Answer> {
        match input {
            Input::Key { code: RETURN, down: true, .. } => Some(Answer::Accepted),
            Input::Key { code: ESCAPE, down: true, .. } => Some(Answer::Declined),
            Input::Button { button: 1, down: true, x, y } => {
                let at = point(x.into(), y.into());
                [Answer::Accepted, Answer::Declined]
                    .into_iter()
                    .find(|answer| self.button(*answer, width, height).contains(at))
            }
            _ => None,
        }
    }
}

fn point(x: u32, y: u32) -> Point {
    Point::new(i32::try_from(x).unwrap_or(i32::MAX), i32::try_from(y).unwrap_or(i32::MAX))
}

fn size(x: u32, y: u32) -> Size {
    Size::new(x, y)
}

fn write(canvas: &mut Canvas, text: &str, at: Point, style: MonoTextStyle<'_, Rgb888>) {
    let Ok(_) = Text::with_baseline(text, at, style, Baseline::Top).draw(canvas);
}

fn fill(canvas: &mut Canvas, area: Rectangle, colour: Rgb888) {
    let Ok(()) = area.into_styled(PrimitiveStyle::with_fill(colour)).draw(canvas);
}

/// A picture of our own.
#[derive(Debug, Clone)]
pub struct Canvas {
    width: u16,
    height: u16,
    bytes: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: u16, height: u16) -> Self {
        let pixels = usize::from(width) * usize::from(height);
        let pixel = [BACKGROUND.b(), BACKGROUND.g(), BACKGROUND.r(), 0];
        Canvas { width, height, bytes: pixel.repeat(pixels) }
    }

    /// Its pixels.
    pub fn pixels(&self) -> Pixels<'_> {
        let stride = usize::from(self.width) * 4;
        Pixels { width: self.width, height: self.height, stride, bytes: &self.bytes }
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width.into(), self.height.into())
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = std::convert::Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Self::Error>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (u16::try_from(at.x), u16::try_from(at.y)) else { continue };
            if x >= self.width || y >= self.height {
                continue;
            }
            let from = (usize::from(y) * usize::from(self.width) + usize::from(x)) * 4;
            if let Some(pixel) = self.bytes.get_mut(from..from + 3) {
                pixel.copy_from_slice(&[colour.b(), colour.g(), colour.r()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy { audio: true, ..Policy::default() }
    }

    fn notice() -> Notice {
        let session = SessionId::new(1_700_000_000_000, [7; 10]);
        Notice::new("bench", "an\u{202e}na", "Lucid at the lab", session, &policy())
    }

    #[test]
    fn it_says_who_records_and_under_which_policy() {
        let text = notice().text();
        for part in ["is recorded", "Lucid at the lab", "bench", "an?na"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let hash = policy().hash().to_string();
        assert!(text.contains(&hash[..32]) && text.contains(&hash[32..]));
        assert!(text.contains("input counts") && !text.contains("KEYS"));
        let policy = Policy { record_keys: KeyRecording::Strokes, ..policy() };
        let session = SessionId::new(1, [7; 10]);
        let text = Notice::new("bench", "anna", "Lucid", session, &policy).text();
        assert!(text.contains("THE KEYS YOU PRESS") && text.contains(HOT_KEY));
    }

    #[test]
    fn it_fits_and_shows_on_every_size() {
        for (width, height) in [(200, 200), (640, 480), (1280, 720), (3840, 2160)] {
            let canvas = notice().draw(width, height);
            let pixels = canvas.pixels();
            assert_eq!(pixels.bytes.len(), usize::from(width) * usize::from(height) * 4);
            let lit = pixels.bytes.chunks(4).filter(|p| p[..3] == [240, 240, 240]).count();
            assert!(lit > 500, "{width}x{height}: {lit}");
        }
    }

    #[test]
    fn only_the_buttons_and_two_keys_answer() {
        let notice = notice();
        let (width, height) = (1280, 720);
        let answer = |input| notice.answer(input, width, height);
        let key = |code, down| Input::Key { code, extended: false, down };
        assert_eq!(answer(key(RETURN, true)), Some(Answer::Accepted));
        assert_eq!(answer(key(RETURN, false)), None);
        assert_eq!(answer(key(ESCAPE, true)), Some(Answer::Declined));
        assert_eq!(answer(key(0x1e, true)), None);
        let click = |x, y| answer(Input::Button { button: 1, down: true, x, y });
        assert_eq!(click(0, 0), None);
        for expected in [Answer::Accepted, Answer::Declined] {
            let middle = notice.button(expected, width, height).center();
            let (x, y) = (u16::try_from(middle.x).unwrap(), u16::try_from(middle.y).unwrap());
            assert_eq!(click(x, y), Some(expected));
        }
    }
}
