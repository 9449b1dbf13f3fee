//! A small picture of a running desktop, for lists.

use std::sync::Arc;

use lucid_capture::screen::{Grabber, ScreenAddress, ScreenError};

use super::{DesktopId, Desktops, DesktopsError, blocking};

/// Widest picture, pixels.
const WIDTH_MAX: usize = 480;

/// A PNG.
pub struct Picture(pub Vec<u8>);

impl Desktops {
    /// What a desktop shows now, small.
    ///
    /// # Errors
    /// When it does not run or cannot be looked at.
    pub async fn picture(self: &Arc<Self>, id: &DesktopId) -> Result<Picture, DesktopsError> {
        let running = self.entry(id, |entry| entry.running.clone())?;
        let running = running.filter(|running| running.is_up()).ok_or(DesktopsError::NotRunning)?;
        let shown = running.desktop();
        blocking(move || {
            let address = ScreenAddress { display: shown.display, access: shown.access() };
            take(&address).map_err(|error| DesktopsError::Failed(error.to_string()))
        })
        .await
    }
}

fn take(address: &ScreenAddress) -> Result<Picture, ScreenError> {
    let grabber = Grabber::connect(address)?;
    let frame = grabber.frame();
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let (pixels, width, height) = smaller(frame.pixels, width, height, frame.stride);
    Ok(Picture(png(&pixels, width, height)))
}

/// Means over squares of pixels, as RGB: the least side of the squares that fits.
fn smaller(bgrx: &[u8], width: usize, height: usize, stride: usize) -> (Vec<u8>, usize, usize) {
    let side = width.div_ceil(WIDTH_MAX).max(1);
    let (out_width, out_height) = ((width / side).max(1), (height / side).max(1));
    let mut out = Vec::with_capacity(out_width * out_height * 3);
    for y in 0..out_height {
        for x in 0..out_width {
            let (mut sums, mut count) = ([0usize; 3], 0);
            for dy in 0..side {
                let begin = (y * side + dy) * stride + x * side * 4;
                let row = bgrx.get(begin..begin + side * 4).unwrap_or_default();
                for pixel in row.chunks_exact(4) {
                    for (sum, byte) in sums.iter_mut().zip([pixel[2], pixel[1], pixel[0]]) {
                        *sum += usize::from(byte);
                    }
                    count += 1;
                }
            }
            out.extend(sums.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX)));
        }
    }
    (out, out_width, out_height)
}

/// A PNG of RGB pixels ([PNG], 8 bits a sample).
///
/// [PNG]: https://www.w3.org/TR/png-3/
fn png(rgb: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(&mut out, side(width), side(height));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(rgb)?;
        writer.finish()
    });
    if let Err(error) = written {
        tracing::error!(%error, "a picture cannot be written");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_made_small_and_keeps_its_colours() {
        let (width, height) = (1280, 720);
        let stride = width * 4 + 16;
        let mut bgrx = vec![0; stride * height];
        for row in bgrx.chunks_exact_mut(stride) {
            for pixel in row[..width * 4].chunks_exact_mut(4) {
                pixel.copy_from_slice(&[30, 20, 10, 255]);
            }
        }
        let (rgb, width, height) = smaller(&bgrx, width, height, stride);
        assert_eq!((width, height, rgb.len()), (426, 240, 426 * 240 * 3));
        assert!(rgb.chunks_exact(3).all(|pixel| pixel == [10, 20, 30]));
        let file = png(&rgb, width, height);
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
        let mut read = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut read).unwrap();
        assert_eq!(read, rgb);
        let (one, ..) = smaller(&[1, 2, 3, 0], 1, 1, 4);
        assert_eq!(one, [3, 2, 1]);
    }
}
