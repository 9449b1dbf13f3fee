//! A line of words at the top of the desktop: what was denied, what was granted, that keys are not
//! recorded. It is a window of the desktop, so that the recording shows what the worker was told.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use embedded_graphics::mono_font::{MonoTextStyle, ascii};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    ConfigureWindowAux, ConnectionExt as _, CreateGCAux, CreateWindowAux, ImageFormat, StackMode,
    Window, WindowClass,
};
use x11rb::rust_connection::{ReplyOrIdError, RustConnection};

use super::notice::Canvas;
use super::xconnection::{self, XError};
use crate::session::RunningDesktop;

/// How long words stay that do not stay for good.
pub const SHOWN_FOR: Duration = Duration::from_secs(8);
/// Longest words, characters.
pub const CHARS_MAX: usize = 96;
/// Words that wait to be shown.
const QUEUED_MAX: usize = 8;
const INK: Rgb888 = Rgb888::new(255, 220, 120);
const MARGIN: u16 = 8;

#[derive(Debug)]
enum Words {
    /// For [`SHOWN_FOR`].
    Passing(String),
    /// Until others come; none for nothing.
    Standing(Option<String>),
}

/// The banner of one connection. Gone when dropped.
#[derive(Debug)]
pub struct Banner {
    queue: SyncSender<Words>,
}

impl Banner {
    /// Connects to the desktop; nothing is shown yet.
    ///
    /// # Errors
    /// What is wrong with its X server.
    pub fn connect(desktop: &RunningDesktop) -> Result<Self, XError> {
        let (server, root) = xconnection::connect(desktop)?;
        let display = desktop.display;
        let (queue, words) = sync_channel(QUEUED_MAX);
        std::thread::Builder::new()
            .name(format!("rdp banner :{display}"))
            .spawn(move || {
                if let Err(error) = run(&server, root, &words) {
                    tracing::debug!(%error, "the banner of a desktop ended");
                }
            })
            .map_err(|source| XError::Thread { display, what: "show words on", source })?;
        Ok(Banner { queue })
    }

    /// Shows words for a while. Dropped when too many wait: events tell them too.
    pub fn say(&self, words: String) {
        let _ = self.queue.try_send(Words::Passing(words));
    }

    /// Shows words until this is called again.
    pub fn stand(&self, words: Option<String>) {
        let _ = self.queue.try_send(Words::Standing(words));
    }
}

fn run(
    server: &RustConnection,
    root: Window,
    queue: &Receiver<Words>,
) -> Result<(), ReplyOrIdError> {
    let mut standing: Option<String> = None;
    let mut passing: Option<String> = None;
    let mut shown: Option<(String, Window)> = None;
    loop {
        let wanted = passing.as_ref().or(standing.as_ref());
        if shown.as_ref().map(|(words, _)| words) != wanted {
            if let Some((_, window)) = shown.take() {
                server.destroy_window(window)?;
            }
            if let Some(words) = wanted {
                shown = Some((words.clone(), show(server, root, words)?));
            }
            // Answered only when all before it is done; and what the server told is read away.
            server.get_input_focus()?.reply()?;
            while server.poll_for_event()?.is_some() {}
        }
        let next = match passing {
            Some(_) => queue.recv_timeout(SHOWN_FOR),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(Words::Passing(words)) => passing = Some(words),
            Ok(Words::Standing(words)) => standing = words,
            Err(RecvTimeoutError::Timeout) => passing = None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn show(server: &RustConnection, root: Window, words: &str) -> Result<Window, ReplyOrIdError> {
    let geometry = server.get_geometry(root)?.reply()?;
    let canvas = draw(words, geometry.width);
    let pixels = canvas.pixels();
    let (width, height) = (pixels.width, pixels.height);
    let picture = server.generate_id()?;
    server.create_pixmap(geometry.depth, picture, root, width, height)?;
    let context = server.generate_id()?;
    server.create_gc(context, picture, &CreateGCAux::new())?;
    let (format, depth) = (ImageFormat::Z_PIXMAP, geometry.depth);
    let put =
        server.put_image(format, picture, context, width, height, 0, 0, 0, depth, pixels.bytes)?;
    put.check()?;
    let window = server.generate_id()?;
    // Not the window manager's matter, and not in the way of the pointer.
    let looks = CreateWindowAux::new().override_redirect(1).background_pixmap(picture);
    let x = i16::try_from(geometry.width.saturating_sub(width) / 2).unwrap_or(0);
    let class = WindowClass::INPUT_OUTPUT;
    server.create_window(0, window, root, x, 0, width, height, 0, class, 0, &looks)?;
    server.map_window(window)?;
    let above = ConfigureWindowAux::new().stack_mode(StackMode::ABOVE);
    server.configure_window(window, &above)?;
    server.free_gc(context)?;
    server.free_pixmap(picture)?;
    Ok(window)
}

/// Words on a strip no wider than the desktop. Letters of one alphabet, as in the notice.
fn draw(words: &str, most: u16) -> Canvas {
    let plain = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    let words: String = words.chars().take(CHARS_MAX).map(plain).collect();
    let length = u16::try_from(words.len()).unwrap_or(u16::MAX);
    let width = |letter: u32| u32::from(length) * letter + 2 * u32::from(MARGIN);
    let font = match width(10) <= u32::from(most) {
        true => &ascii::FONT_10X20,
        false => &ascii::FONT_6X10,
    };
    let wide = width(font.character_size.width).min(most.into());
    let tall = font.character_size.height + u32::from(MARGIN);
    let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX).max(1);
    let mut canvas = Canvas::new(side(wide), side(tall));
    let at = Point::new(i32::from(MARGIN), i32::from(MARGIN / 2));
    let style = MonoTextStyle::new(font, INK);
    let Ok(_) = Text::with_baseline(&words, at, style, Baseline::Top).draw(&mut canvas);
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_every_desktop_and_one_request() {
        let longest = "clipboard in is not allowed here; ".repeat(9);
        for most in [200, 640, 1280, 8192] {
            let canvas = draw(&longest, most);
            let pixels = canvas.pixels();
            assert!(pixels.width <= most && pixels.bytes.len() < 200_000);
            let ink = pixels.bytes.chunks(4).filter(|p| p[..3] == [120, 220, 255]).count();
            assert!(ink > 100, "{most}: {ink}");
        }
    }
}
