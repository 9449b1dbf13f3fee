//! From a server's pixels to bytes in the order blue, green, red, unused.

/// How the server stores a pixel of the root window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PixelFormat {
    /// Bytes of a pixel: 2, 3 or 4.
    pub bytes: usize,
    /// Bits a row is padded to.
    pub pad_bits: usize,
    /// Least significant byte first.
    pub little_endian: bool,
    pub red: u32,
    pub green: u32,
    pub blue: u32,
}

impl PixelFormat {
    /// Bytes of a row of `width` pixels, padding included.
    pub fn row_bytes(&self, width: usize) -> usize {
        (width * self.bytes * 8).next_multiple_of(self.pad_bits.max(8)) / 8
    }

    /// Whether the server's bytes are ours already.
    pub fn is_native(&self) -> bool {
        self.bytes == 4
            && self.little_endian
            && (self.red, self.green, self.blue) == (0xff_0000, 0xff00, 0xff)
    }

    /// Converts one row. `from` holds at least as many pixels as `to`.
    pub fn convert_row(&self, from: &[u8], to: &mut [u8]) {
        if self.is_native() {
            if let Some(from) = from.get(..to.len()) {
                to.copy_from_slice(from);
            }
            return;
        }
        let shifts = [self.blue, self.green, self.red].map(Channel::new);
        for (pixel, out) in from.chunks_exact(self.bytes).zip(to.chunks_exact_mut(4)) {
            let value = if self.little_endian {
                pixel.iter().rev().fold(0u32, |v, b| v << 8 | u32::from(*b))
            } else {
                pixel.iter().fold(0u32, |v, b| v << 8 | u32::from(*b))
            };
            for (channel, byte) in shifts.iter().zip(out.iter_mut()) {
                *byte = channel.byte(value);
            }
            out[3] = 0xff;
        }
    }
}

/// One colour of a pixel.
#[derive(Clone, Copy)]
struct Channel {
    mask: u32,
    shift: u32,
    max: u32,
}

impl Channel {
    fn new(mask: u32) -> Self {
        let shift = mask.trailing_zeros().min(31);
        Self { mask, shift, max: (mask >> shift).max(1) }
    }

    /// The colour widened or narrowed to 8 bits, rounded.
    fn byte(self, pixel: u32) -> u8 {
        let value = u64::from((pixel & self.mask) >> self.shift);
        let max = u64::from(self.max);
        u8::try_from((value * 255 + max / 2) / max).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BGRX: PixelFormat = PixelFormat {
        bytes: 4,
        pad_bits: 32,
        little_endian: true,
        red: 0xff_0000,
        green: 0xff00,
        blue: 0xff,
    };

    fn converted(format: PixelFormat, from: &[u8]) -> Vec<u8> {
        let mut to = vec![0; 4 * (from.len() / format.bytes)];
        format.convert_row(from, &mut to);
        to
    }

    #[test]
    fn every_layout_gives_blue_green_red() {
        assert!(BGRX.is_native());
        assert_eq!(converted(BGRX, &[1, 2, 3, 4]), [1, 2, 3, 4]);
        let big = PixelFormat { little_endian: false, ..BGRX };
        assert_eq!(converted(big, &[9, 3, 2, 1]), [1, 2, 3, 255]);
        let swapped = PixelFormat { red: 0xff, blue: 0xff_0000, ..BGRX };
        assert_eq!(converted(swapped, &[3, 2, 1, 0]), [1, 2, 3, 255]);
        let packed = PixelFormat { bytes: 3, ..BGRX };
        assert_eq!(converted(packed, &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 255, 4, 5, 6, 255]);
        let high = PixelFormat { bytes: 2, red: 0xf800, green: 0x07e0, blue: 0x1f, ..BGRX };
        assert_eq!(converted(high, &[0xff, 0xff]), [255, 255, 255, 255]);
        assert_eq!(converted(high, &[0x00, 0x80]), [0, 0, 132, 255]);
        let deep = PixelFormat { red: 0x3ff0_0000, green: 0xf_fc00, blue: 0x3ff, ..BGRX };
        assert_eq!(converted(deep, &0x3ff0_0000u32.to_le_bytes()), [0, 0, 255, 255]);
    }

    #[test]
    fn rows_are_padded() {
        let packed = PixelFormat { bytes: 3, ..BGRX };
        assert_eq!((packed.row_bytes(1), packed.row_bytes(4), packed.row_bytes(5)), (4, 12, 16));
        assert_eq!(BGRX.row_bytes(7), 28);
    }
}
