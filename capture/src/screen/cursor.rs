//! The pointer of a display.

use std::sync::Arc;

/// The pointer: where it is and how it looks. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Column of the hot spot, pixels; may lie outside while a picture shrinks.
    pub x: i32,
    /// Row of the hot spot, pixels.
    pub y: i32,
    /// Column of the hot spot within the image.
    pub hot_x: u16,
    /// Row of the hot spot within the image.
    pub hot_y: u16,
    /// Columns of the image.
    pub width: u16,
    /// Rows of the image.
    pub height: u16,
    /// Changes when the image does.
    pub serial: u32,
    /// The image, row by row, as 0xAARRGGBB with colours already multiplied by alpha.
    pub argb: Arc<[u32]>,
}

impl Cursor {
    /// Draws the pointer into a picture of 4-byte pixels (blue, green, red, unused).
    pub fn draw(&self, pixels: &mut [u8], width: usize, height: usize, stride: usize) {
        let left = i64::from(self.x) - i64::from(self.hot_x);
        let top = i64::from(self.y) - i64::from(self.hot_y);
        let columns = usize::from(self.width).max(1);
        for (row, line) in self.argb.chunks_exact(columns).enumerate() {
            let y = top + i64::try_from(row).unwrap_or(i64::MAX);
            let Some(y) = usize::try_from(y).ok().filter(|y| *y < height) else { continue };
            for (column, argb) in line.iter().enumerate() {
                let x = left + i64::try_from(column).unwrap_or(i64::MAX);
                let Some(x) = usize::try_from(x).ok().filter(|x| *x < width) else { continue };
                let at = y * stride + x * 4;
                if let Some(pixel) = pixels.get_mut(at..at + 3) {
                    blend(pixel, *argb);
                }
            }
        }
    }
}

/// Lays a colour multiplied by its alpha over blue, green, red.
fn blend(pixel: &mut [u8], argb: u32) {
    let [blue, green, red, alpha] = argb.to_le_bytes();
    for (under, over) in pixel.iter_mut().zip([blue, green, red]) {
        let rest = u32::from(*under) * (255 - u32::from(alpha)) + 127;
        *under = u8::try_from(rest / 255 + u32::from(over)).unwrap_or(u8::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_is_drawn_at_its_hot_spot_and_cut_at_edges() {
        let cursor = Cursor {
            x: 0,
            y: 1,
            hot_x: 1,
            hot_y: 0,
            width: 2,
            height: 2,
            serial: 1,
            argb: Arc::new([0xffff_ffff, 0xff11_2233, 0x8000_0000, 0x8000_0000]),
        };
        let mut pixels = vec![100u8; 3 * 2 * 4];
        cursor.draw(&mut pixels, 3, 2, 12);
        let mut expected = vec![100u8; 24];
        expected[12..15].copy_from_slice(&[0x33, 0x22, 0x11]);
        assert_eq!(pixels, expected);
        let half = Cursor { x: 1, y: 0, ..cursor };
        half.draw(&mut pixels, 3, 2, 12);
        assert_eq!(pixels[..4], [255, 255, 255, 100]);
        assert_eq!(pixels[16..19], [50, 50, 50]);
    }
}
