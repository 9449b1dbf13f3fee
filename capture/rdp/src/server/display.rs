//! The size of a desktop: what a client may want, and how the X server gets it.
//!
//! An X server keeps the room of its first screen: Xvfb takes any size up to that one, and is
//! started with [`crate::desktop::ROOM`]. Who watches a desktop learns of a new size from its
//! picture, so it does not matter who changed it.

use ironrdp_core::{DecodeError, decode, encode_vec};
use ironrdp_displaycontrol::pdu::{DisplayControlCapabilities, DisplayControlPdu};
use x11rb::CURRENT_TIME;
use x11rb::errors::ReplyError;
use x11rb::protocol::randr::{ConnectionExt as _, Mode, ModeInfo, Output, Rotation};
use x11rb::protocol::xproto::{ConnectionExt as _, Window};
use x11rb::rust_connection::RustConnection;

use super::xconnection::{self, XError};
use crate::desktop::reach::Reach;
use crate::session::RunningDesktop;

/// Least and most columns and rows a client can ask for ([MS-RDPEDISP] 2.2.2.2.1).
///
/// [MS-RDPEDISP]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpedisp/
pub const SIDE_PIXELS: std::ops::RangeInclusive<u32> = 200..=8192;
/// Names of the modes we make begin so; others are left alone.
const MODE_PREFIX: &str = "lucid-";

/// Why a size is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// Not a message of the protocol.
    #[error("no message about the size of a display")]
    Decode(#[source] DecodeError),
    /// Nothing a desktop can have.
    #[error("{width} x {height} pixels; each side may be 200 to 8192")]
    Absurd {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// The first message to a client: one monitor, of the largest size there is.
pub fn capabilities() -> Vec<u8> {
    let most = *SIDE_PIXELS.end();
    let capabilities = DisplayControlCapabilities::new(1, most, most).map(DisplayControlPdu::Caps);
    capabilities.ok().and_then(|all| encode_vec(&all).ok()).unwrap_or_default()
}

/// The size a client asks for, made even, as video wants it: columns and rows.
///
/// # Errors
/// What cannot be read, or cannot be had by any desktop.
pub fn wanted(message: &[u8]) -> Result<Option<(u16, u16)>, SizeError> {
    let DisplayControlPdu::MonitorLayout(layout) = decode(message).map_err(SizeError::Decode)?
    else {
        return Ok(None);
    };
    let (width, height) = layout.desktop_size();
    let absurd = || SizeError::Absurd { width, height };
    let side = |pixels: u32| {
        let even = pixels & !1;
        SIDE_PIXELS.contains(&even).then(|| u16::try_from(even).ok()).flatten().ok_or_else(absurd)
    };
    Ok(Some((side(width)?, side(height)?)))
}

/// Changes the size of a desktop, as far as its X server has room. Gives what it became.
///
/// # Errors
/// An X server that is gone, or has no RandR 1.2.
pub fn change(desktop: &RunningDesktop, size: (u16, u16)) -> Result<(u16, u16), XError> {
    change_of(desktop.display, &*desktop.reach, &desktop.cookie, size)
}

/// As [`change`], by the display's number, the way to it, and its cookie.
///
/// # Errors
/// As there.
pub fn change_of(
    display: u16,
    reach: &dyn Reach,
    cookie: &[u8],
    size: (u16, u16),
) -> Result<(u16, u16), XError> {
    let (server, root) = xconnection::connect_to(display, reach, cookie)?;
    let what = "change its size";
    resize(&server, root, size).map_err(|source| XError::Request { display, what, source })
}

fn resize(
    server: &RustConnection,
    root: Window,
    (width, height): (u16, u16),
) -> Result<(u16, u16), ReplyError> {
    server.randr_query_version(1, 3)?.reply()?;
    let range = server.randr_get_screen_size_range(root)?.reply()?;
    let width = width.clamp(range.min_width.max(2), range.max_width.max(2)) & !1;
    let height = height.clamp(range.min_height.max(2), range.max_height.max(2)) & !1;
    let now = server.get_geometry(root)?.reply()?;
    if (now.width, now.height) == (width, height) {
        return Ok((width, height));
    }
    let has = server.randr_get_screen_resources_current(root)?.reply()?;
    let (Some(output), Some(crtc)) = (has.outputs.first(), has.crtcs.first()) else {
        return Ok((now.width, now.height));
    };
    // Between these no program sees a screen and a monitor of different sizes.
    server.grab_server()?;
    let changed = (|| {
        let mode = mode(server, root, *output, (width, height))?;
        let off = server.randr_set_crtc_config(
            *crtc,
            CURRENT_TIME,
            CURRENT_TIME,
            0,
            0,
            x11rb::NONE,
            Rotation::ROTATE0,
            &[],
        )?;
        off.reply()?;
        // 96 dots an inch, as X servers without a monitor say.
        let millimetres = |pixels: u16| u32::from(pixels) * 254 / 960;
        let (wide, high) = (millimetres(width), millimetres(height));
        server.randr_set_screen_size(root, width, height, wide, high)?.check()?;
        let on = server.randr_set_crtc_config(
            *crtc,
            CURRENT_TIME,
            CURRENT_TIME,
            0,
            0,
            mode,
            Rotation::ROTATE0,
            &[*output],
        )?;
        on.reply()?;
        forget_others(server, root, *output, mode)
    })();
    server.ungrab_server()?;
    server.get_input_focus()?.reply()?;
    changed.map(|()| (width, height))
}

/// A mode of that size, made if there is none.
fn mode(
    server: &RustConnection,
    root: Window,
    output: Output,
    (width, height): (u16, u16),
) -> Result<Mode, ReplyError> {
    let has = server.randr_get_screen_resources_current(root)?.reply()?;
    let fits = |mode: &&ModeInfo| (mode.width, mode.height) == (width, height);
    if let Some(mode) = has.modes.iter().find(fits) {
        let id = mode.id;
        server.randr_add_output_mode(output, id)?.check()?;
        return Ok(id);
    }
    let name = format!("{MODE_PREFIX}{width}x{height}");
    let info = ModeInfo {
        width,
        height,
        // 60 pictures a second without blanking: no beam is there to wait for.
        dot_clock: u32::from(width) * u32::from(height) * 60,
        htotal: width,
        vtotal: height,
        name_len: u16::try_from(name.len()).unwrap_or_default(),
        ..ModeInfo::default()
    };
    let id = server.randr_create_mode(root, info, name.as_bytes())?.reply()?.mode;
    server.randr_add_output_mode(output, id)?.check()?;
    Ok(id)
}

/// Removes the modes made for sizes that are no longer used: a client that changes its window a
/// thousand times leaves one.
fn forget_others(
    server: &RustConnection,
    root: Window,
    output: Output,
    used: Mode,
) -> Result<(), ReplyError> {
    let has = server.randr_get_screen_resources_current(root)?.reply()?;
    let mut names = &has.names[..];
    for mode in &has.modes {
        let (name, rest) = names.split_at(usize::from(mode.name_len).min(names.len()));
        names = rest;
        if mode.id != used && name.starts_with(MODE_PREFIX.as_bytes()) {
            // Another output may use it; then it stays.
            let _ = server.randr_delete_output_mode(output, mode.id)?.check();
            let _ = server.randr_destroy_mode(mode.id)?.check();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironrdp_displaycontrol::pdu::{DisplayControlMonitorLayout, MonitorLayoutEntry};

    fn said(width: u32, height: u32) -> Vec<u8> {
        let monitor = MonitorLayoutEntry::new_primary(width, height).unwrap();
        let layout = DisplayControlMonitorLayout::new(&[monitor]).unwrap();
        encode_vec(&DisplayControlPdu::MonitorLayout(layout)).unwrap()
    }

    #[test]
    fn a_size_is_read_and_made_even() {
        assert_eq!(wanted(&said(1280, 721)).unwrap(), Some((1280, 720)));
        assert_eq!(wanted(&capabilities()).unwrap(), None);
        assert!(matches!(wanted(&[1, 2, 3]), Err(SizeError::Decode(_))));
    }

    #[test]
    fn absurd_sizes_are_refused() {
        // The fields of the one monitor, where the encoder would not say so.
        let mut message = said(1280, 720);
        for side in [0u32, 10, 100_000, u32::MAX] {
            message[28..32].copy_from_slice(&side.to_le_bytes());
            assert!(wanted(&message).is_err(), "{side}");
        }
    }
}
