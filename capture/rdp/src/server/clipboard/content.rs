//! Clipboard content: as clients have it, and as programs of the desktop have it.
//!
//! Text is UTF-16 with CR LF and a NUL there, UTF-8 with LF here. Pictures are bitmaps without a
//! file header there ([CF_DIB]), PNG or BMP here.
//!
//! [CF_DIB]: https://learn.microsoft.com/en-us/windows/win32/dataxchg/standard-clipboard-formats

use std::io::Cursor;

/// Bytes of the header of a bitmap file, before the bitmap.
const FILE_HEADER_BYTES: usize = 14;
/// Bytes of the least header of a bitmap.
const INFO_HEADER_BYTES: usize = 40;
/// How pixels are packed: plain, or by masks after the header.
const PLAIN: u32 = 0;
const MASKS: u32 = 3;

/// Why content is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Not UTF-16, or an odd number of bytes.
    #[error("the text is no utf-16")]
    Text,
    /// Not a bitmap, or of a kind nobody sends.
    #[error("the picture cannot be read: {0}")]
    Picture(&'static str),
    /// A picture that would be larger than what may go over.
    #[error("a picture of {width} x {height} pixels has more than {limit} bytes")]
    Large {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Most bytes.
        limit: u64,
    },
}

/// Text as a client sends it, as the desktop has it.
///
/// # Errors
/// Bytes that are none.
pub fn text_in(bytes: &[u8]) -> Result<String, ContentError> {
    if !bytes.len().is_multiple_of(2) {
        return Err(ContentError::Text);
    }
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units = units.take_while(|unit| *unit != 0);
    let text = char::decode_utf16(units).collect::<Result<String, _>>();
    let text = text.map_err(|_| ContentError::Text)?;
    Ok(text.replace("\r\n", "\n"))
}

/// Text of the desktop, as clients want it.
pub fn text_out(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 2 + 2);
    let mut before = None;
    for unit in text.encode_utf16() {
        if unit == u16::from(b'\n') && before != Some(u16::from(b'\r')) {
            bytes.extend_from_slice(&[b'\r', 0]);
        }
        bytes.extend_from_slice(&unit.to_le_bytes());
        before = Some(unit);
    }
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

struct Bitmap<'a> {
    width: u32,
    height: u32,
    /// The first row is the lowest.
    upside_down: bool,
    bits: u16,
    stride: usize,
    pixels: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

/// Where the pixels of a bitmap begin.
fn pixels_at(dib: &[u8]) -> Option<usize> {
    let header = usize::try_from(u32_at(dib, 0)?).ok()?;
    let (bits, packing) = (u16_at(dib, 14)?, u32_at(dib, 16)?);
    let masks = if packing == MASKS && header == INFO_HEADER_BYTES { 12 } else { 0 };
    let used = usize::try_from(u32_at(dib, 32)?).ok()?;
    let colours = if bits <= 8 && used == 0 { 1usize.checked_shl(bits.into())? } else { used };
    // A palette has at most 256 colours; more is nonsense.
    (header >= INFO_HEADER_BYTES && colours <= 256).then(|| header + masks + colours * 4)
}

fn bitmap(dib: &[u8]) -> Result<Bitmap<'_>, ContentError> {
    let wrong = ContentError::Picture;
    let short = || wrong("its header is cut short");
    let at = pixels_at(dib).ok_or_else(short)?;
    let width = u32_at(dib, 4).ok_or_else(short)?;
    let rows = u32_at(dib, 8).ok_or_else(short)?.cast_signed();
    let (bits, packing) = (u16_at(dib, 14).ok_or_else(short)?, u32_at(dib, 16).ok_or_else(short)?);
    let height = rows.unsigned_abs();
    if width == 0 || height == 0 || width > 32_767 || height > 32_767 {
        return Err(wrong("its sides are not 1 to 32767 pixels"));
    }
    let plain = matches!((bits, packing), (24, PLAIN) | (32, PLAIN | MASKS));
    if !plain {
        return Err(wrong("it has not 24 or 32 plain bits a pixel"));
    }
    let stride = (width as usize * usize::from(bits)).div_ceil(32) * 4;
    let pixels = dib.get(at..).and_then(|rest| rest.get(..stride * height as usize));
    let pixels = pixels.ok_or_else(|| wrong("its pixels are cut short"))?;
    Ok(Bitmap { width, height, upside_down: rows > 0, bits, stride, pixels })
}

/// A client's bitmap as a bitmap file.
///
/// # Errors
/// Bytes that are none.
pub fn bmp_of_dib(dib: &[u8]) -> Result<Vec<u8>, ContentError> {
    let short = ContentError::Picture("its header is cut short");
    let at = pixels_at(dib).filter(|at| *at <= dib.len()).ok_or(short.clone())?;
    let all = u32::try_from(FILE_HEADER_BYTES + dib.len()).map_err(|_| short.clone())?;
    let at = u32::try_from(FILE_HEADER_BYTES + at).map_err(|_| short)?;
    let mut file = Vec::with_capacity(FILE_HEADER_BYTES + dib.len());
    file.extend_from_slice(b"BM");
    file.extend_from_slice(&all.to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&at.to_le_bytes());
    file.extend_from_slice(dib);
    Ok(file)
}

/// A bitmap file of the desktop as clients want it.
///
/// # Errors
/// Bytes that are none.
pub fn dib_of_bmp(file: &[u8]) -> Result<Vec<u8>, ContentError> {
    let dib = file.strip_prefix(b"BM").and_then(|rest| rest.get(FILE_HEADER_BYTES - 2..));
    let dib = dib.ok_or(ContentError::Picture("it is no bmp file"))?;
    pixels_at(dib)
        .filter(|at| *at <= dib.len())
        .ok_or(ContentError::Picture("its header is cut short"))?;
    Ok(dib.to_vec())
}

/// A client's bitmap as PNG.
///
/// # Errors
/// Bytes that are none, or of a kind nobody sends.
pub fn png_of_dib(dib: &[u8]) -> Result<Vec<u8>, ContentError> {
    let bitmap = bitmap(dib)?;
    let each = usize::from(bitmap.bits / 8);
    // Most bitmaps of 32 bits say nothing in the fourth byte; one that does has some above 0.
    let alpha = bitmap.bits == 32 && bitmap.pixels.chunks_exact(4).any(|pixel| pixel[3] != 0);
    let mut pixels = Vec::with_capacity(bitmap.width as usize * bitmap.height as usize * 4);
    for row in 0..bitmap.height as usize {
        let row = if bitmap.upside_down { bitmap.height as usize - 1 - row } else { row };
        let row = &bitmap.pixels[row * bitmap.stride..][..bitmap.width as usize * each];
        for pixel in row.chunks_exact(each) {
            pixels.extend_from_slice(&[pixel[2], pixel[1], pixel[0]]);
            if alpha {
                pixels.push(pixel[3]);
            }
        }
    }
    let mut file = Vec::new();
    let refused = |_| ContentError::Picture("it cannot be packed");
    let mut encoder = png::Encoder::new(&mut file, bitmap.width, bitmap.height);
    encoder.set_color(if alpha { png::ColorType::Rgba } else { png::ColorType::Rgb });
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(refused)?;
    writer.write_image_data(&pixels).map_err(refused)?;
    writer.finish().map_err(refused)?;
    Ok(file)
}

/// A PNG of the desktop as a bitmap for clients, of at most `limit` bytes: a small PNG may unpack
/// to a large picture.
///
/// # Errors
/// Bytes that are none, or a picture too large.
pub fn dib_of_png(file: &[u8], limit: u64) -> Result<Vec<u8>, ContentError> {
    let wrong = |_| ContentError::Picture("it is no png");
    let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(64 << 10);
    let limits = png::Limits { bytes: room };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(wrong)?;
    let (width, height) = (reader.info().width, reader.info().height);
    let bytes = u64::from(width) * u64::from(height) * 4 + INFO_HEADER_BYTES as u64;
    if bytes > limit || width > 32_767 || height > 32_767 {
        return Err(ContentError::Large { width, height, limit });
    }
    let size = reader.output_buffer_size().ok_or(ContentError::Picture("it is no png"))?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(wrong)?;
    let each = info.color_type.samples();
    let stride = width as usize * each;
    let mut dib = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    for number in [INFO_HEADER_BYTES as u32, width, height, 1 | 32 << 16, PLAIN] {
        dib.extend_from_slice(&number.to_le_bytes());
    }
    // The size of the pixels, the resolution and the palette say nothing.
    dib.extend_from_slice(&[0; 20]);
    for row in pixels.chunks_exact(stride).take(height as usize).rev() {
        for pixel in row.chunks_exact(each) {
            let (colour, alpha) = match *pixel {
                [grey] => ([grey; 3], u8::MAX),
                [grey, alpha] => ([grey; 3], alpha),
                [red, green, blue] => ([blue, green, red], u8::MAX),
                [red, green, blue, alpha] => ([blue, green, red], alpha),
                _ => ([0; 3], 0),
            };
            dib.extend_from_slice(&colour);
            dib.push(alpha);
        }
    }
    Ok(dib)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_goes_out_and_comes_back(text in "[^\\r\\x00]{0,200}") {
            prop_assert_eq!(text_in(&text_out(&text)).unwrap(), text);
        }

        /// Whatever a client or a program sends: an answer, never a panic.
        #[test]
        fn nonsense_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (text_in(&bytes), bmp_of_dib(&bytes), dib_of_bmp(&bytes), png_of_dib(&bytes));
            let _ = dib_of_png(&bytes, 1 << 20);
        }
    }

    fn dib(width: u32, rows: i32, bits: u16, pixels: &[u8]) -> Vec<u8> {
        let mut dib = 40u32.to_le_bytes().to_vec();
        dib.extend_from_slice(&width.to_le_bytes());
        dib.extend_from_slice(&rows.to_le_bytes());
        dib.extend_from_slice(&1u16.to_le_bytes());
        dib.extend_from_slice(&bits.to_le_bytes());
        dib.extend_from_slice(&[0; 24]);
        dib.extend_from_slice(pixels);
        dib
    }

    #[test]
    fn lines_end_as_each_side_wants() {
        assert_eq!(text_in(&text_out("a\nb\r\nc")).unwrap(), "a\nb\nc");
        assert_eq!(text_out("\n"), [b'\r', 0, b'\n', 0, 0, 0]);
        assert_eq!(text_in(&[0x41, 0, 0, 0, 0x42, 0]).unwrap(), "A");
        assert_eq!(text_in(&[0x41]), Err(ContentError::Text));
        assert_eq!(text_in(&[0x00, 0xd8, 0x41, 0x00]), Err(ContentError::Text));
    }

    #[test]
    fn a_picture_keeps_its_pixels_both_ways() {
        // Two by two, first row lowest: green blue above red white; rows padded to four bytes.
        let pixels = [0, 0, 255, 255, 255, 255, 9, 9, 0, 255, 0, 255, 0, 0, 9, 9];
        let original = dib(2, 2, 24, &pixels);
        let png = png_of_dib(&original).unwrap();
        let back = dib_of_png(&png, 1 << 20).unwrap();
        let expected = [[0, 0, 255, 255], [255, 255, 255, 255], [0, 255, 0, 255], [255, 0, 0, 255]];
        assert_eq!(back[40..], expected.concat());
        let bmp = bmp_of_dib(&original).unwrap();
        assert_eq!((&bmp[..2], &bmp[10..14]), (&b"BM"[..], &54u32.to_le_bytes()[..]));
        assert_eq!(dib_of_bmp(&bmp).unwrap(), original);
    }

    #[test]
    fn pictures_that_lie_are_refused() {
        assert!(matches!(png_of_dib(&dib(2, 2, 24, &[0; 15])), Err(ContentError::Picture(_))));
        let huge = dib(30_000, 30_000, 32, &[0; 64]);
        assert!(matches!(png_of_dib(&huge), Err(ContentError::Picture(_))));
        let mut bomb = Vec::new();
        let mut encoder = png::Encoder::new(&mut bomb, 4000, 4000);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&vec![0; 16_000_000]).unwrap();
        writer.finish().unwrap();
        assert!(bomb.len() < 100_000);
        let large = ContentError::Large { width: 4000, height: 4000, limit: 1 << 20 };
        assert_eq!(dib_of_png(&bomb, 1 << 20), Err(large));
    }
}
