//! Rectangles of a display.

use super::MAX_RECTS;

/// A part of the display, in pixels from its upper left corner. Inside the display, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u16,
    /// Upper edge.
    pub y: u16,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Rect {
    /// The whole display.
    pub(super) fn whole((width, height): (u16, u16)) -> Self {
        Self { x: 0, y: 0, width, height }
    }

    /// What of this server's rectangle lies on the display.
    pub(super) fn clipped(
        x: i16,
        y: i16,
        width: u16,
        height: u16,
        size: (u16, u16),
    ) -> Option<Self> {
        let (left, width) = span(x, width, size.0)?;
        let (top, height) = span(y, height, size.1)?;
        Some(Self { x: left, y: top, width, height })
    }

    /// The smallest rectangle around both.
    fn around(self, other: Self) -> Self {
        let x = self.x.min(other.x);
        let y = self.y.min(other.y);
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Self { x, y, width: right - x, height: bottom - y }
    }
}

/// The part of `start..start + length` that lies in `0..limit`.
fn span(start: i16, length: u16, limit: u16) -> Option<(u16, u16)> {
    let start = i32::from(start);
    let end = (start + i32::from(length)).min(i32::from(limit));
    let start = start.max(0);
    let length = u16::try_from(end - start).ok().filter(|n| *n > 0)?;
    Some((u16::try_from(start).ok()?, length))
}

/// The rectangles themselves, or the one around them when there are more than [`MAX_RECTS`].
pub(super) fn limited(rects: Vec<Rect>) -> Vec<Rect> {
    if rects.len() <= MAX_RECTS {
        return rects;
    }
    rects.into_iter().reduce(Rect::around).into_iter().collect()
}

/// Bands of [`BAND_ROWS`] rows in which two pictures of `size` differ, neighbours joined: for
/// servers that do not tell.
pub(super) fn differing_bands(old: &[u8], new: &[u8], size: (u16, u16)) -> Vec<Rect> {
    const BAND_ROWS: u16 = 16;
    let stride = usize::from(size.0) * 4;
    let mut bands: Vec<Rect> = Vec::new();
    let mut y = 0;
    while y < size.1 {
        let rows = BAND_ROWS.min(size.1 - y);
        let range = usize::from(y) * stride..usize::from(y + rows) * stride;
        if old.get(range.clone()) != new.get(range) {
            match bands.last_mut() {
                Some(last) if last.y + last.height == y => last.height += rows,
                _ => bands.push(Rect { x: 0, y, width: size.0, height: rows }),
            }
        }
        y += rows;
    }
    bands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_cut_off() {
        let size = (100, 50);
        assert_eq!(
            Rect::clipped(-10, 40, 30, 30, size),
            Some(Rect { x: 0, y: 40, width: 20, height: 10 })
        );
        assert_eq!(Rect::clipped(100, 0, 5, 5, size), None);
        assert_eq!(Rect::clipped(-5, 0, 5, 5, size), None);
        assert_eq!(Rect::clipped(0, 0, 0, 5, size), None);
        assert_eq!(Rect::clipped(-32768, 0, 65535, 5, size).map(|r| r.width), Some(100));
    }

    #[test]
    fn too_many_become_the_one_around() {
        let dot = |n: u16| Rect { x: n, y: 2 * n, width: 1, height: 1 };
        let few: Vec<_> = (0..64).map(dot).collect();
        assert_eq!(limited(few.clone()), few);
        let many = (1..=65).map(dot).collect();
        assert_eq!(limited(many), [Rect { x: 1, y: 2, width: 65, height: 129 }]);
        assert_eq!(limited(Vec::new()), []);
    }

    #[test]
    fn bands_name_the_rows_that_differ() {
        let size = (3, 40);
        let old = vec![0u8; 3 * 40 * 4];
        let mut new = old.clone();
        assert_eq!(differing_bands(&old, &new, size), []);
        new[17 * 12] = 1;
        new[33 * 12 + 11] = 1;
        assert_eq!(differing_bands(&old, &new, size), [Rect { x: 0, y: 16, width: 3, height: 24 }]);
        new[17 * 12] = 0;
        assert_eq!(differing_bands(&old, &new, size), [Rect { x: 0, y: 32, width: 3, height: 8 }]);
    }
}
