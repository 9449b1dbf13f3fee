//! From pixels to updates a client can take: RemoteFX, plain surface bits, or bitmap updates.

use std::ops::Range;

use ironrdp_core::{Encode, EncodeError, WriteCursor, encode_vec};
use ironrdp_graphics::color_conversion::to_64x64_ycbcr_tile;
use ironrdp_graphics::image_processing::PixelFormat;
use ironrdp_pdu::bitmap::{BitmapData, BitmapUpdateData, Compression};
use ironrdp_pdu::codecs::rfx::{
    Block, ChannelsPdu, CodecChannel, CodecVersionsPdu, ContextPdu, EntropyAlgorithm,
    FrameBeginPdu, FrameEndPdu, OperatingMode, Quant, RegionPdu, RfxChannel, RfxRectangle, SyncPdu,
    Tile, TileSetPdu,
};
use ironrdp_pdu::fast_path::UpdateCode;
use ironrdp_pdu::geometry::{ExclusiveRectangle, InclusiveRectangle};
use ironrdp_pdu::surface_commands::{ExtendedBitmapDataPdu, SurfaceBitsPdu, SurfaceCommand};

use super::capabilities::{Accepted, Coding};
use super::fastpath;
use super::remotefx::{ComponentCoder, Plane, SAMPLES};

/// Edge of a RemoteFX tile, pixels.
const TILE: u16 = 64;
/// Most pixels of one bitmap update; with its headers it fits the 16 bits of its length.
const BITMAP_PIXELS: usize = 16_000;
/// Most headers around the pixels of a surface command, bytes.
const SURFACE_OVERHEAD: usize = 256;

/// A part of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// First column.
    pub x: u16,
    /// First row.
    pub y: u16,
    /// Columns, at least 1.
    pub width: u16,
    /// Rows, at least 1.
    pub height: u16,
}

/// Pixels, row by row: blue, green, red, unused.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Bytes of a row.
    pub stride: usize,
    /// All rows.
    pub bytes: &'a [u8],
}

/// Why a picture cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The protocol's encoder refused.
    #[error("a picture of {width}x{height} cannot be encoded")]
    Encode {
        /// Columns of the part.
        width: u16,
        /// Rows of the part.
        height: u16,
        /// What it said.
        #[source]
        source: EncodeError,
    },
    /// A tile could not be compressed.
    #[error("the tile at {x},{y} cannot be compressed: {detail}")]
    Tile {
        /// Column, pixels.
        x: u16,
        /// Row, pixels.
        y: u16,
        /// What the codec said.
        detail: String,
    },
}

/// Encodes pictures for one client.
#[derive(Debug)]
pub struct Encoder {
    accepted: Accepted,
    /// Size to be told before the first tiles.
    untold: Option<(u16, u16)>,
    tiles: TileCoder,
}

/// A tile, and where its components lie among the coded bytes.
struct Coded {
    x: u16,
    y: u16,
    components: [Range<usize>; 3],
}

/// Codes tiles; keeps room between them.
#[derive(Debug)]
struct TileCoder {
    planes: Box<[Plane; 3]>,
    components: ComponentCoder,
}

impl Encoder {
    /// For a client that sees a desktop of this size.
    pub fn new(accepted: Accepted, width: u16, height: u16) -> Self {
        Encoder { accepted, untold: Some((width, height)), tiles: TileCoder::default() }
    }

    /// Appends the updates that bring `parts` of `pixels` to the client.
    ///
    /// # Errors
    /// A part that cannot be encoded; what was appended before is whole.
    pub fn append(
        &mut self,
        out: &mut Vec<u8>,
        pixels: Pixels<'_>,
        parts: &[Part],
    ) -> Result<(), PictureError> {
        for part in parts {
            let part = clip(*part, pixels);
            let Some(part) = part else { continue };
            match self.accepted.coding {
                Coding::RemoteFx { codec, rlgr3 } => {
                    let entropy =
                        if rlgr3 { EntropyAlgorithm::Rlgr3 } else { EntropyAlgorithm::Rlgr1 };
                    // No tile is longer than its pixels by much, so strips of pixels fit.
                    for strip in strips(part, self.strip_bytes(), TILE) {
                        let data = self.remote_fx(pixels, strip, entropy)?;
                        surface(out, strip, codec, &data)?;
                    }
                }
                Coding::Surface => {
                    for strip in strips(part, self.strip_bytes(), 1) {
                        surface(out, strip, 0, &plain(pixels, strip))?;
                    }
                }
                Coding::Bitmap => {
                    for strip in strips(part, BITMAP_PIXELS * 4, 1) {
                        bitmap(out, pixels, strip)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn strip_bytes(&self) -> usize {
        self.accepted.max_update.saturating_sub(SURFACE_OVERHEAD)
    }

    /// One frame: [MS-RDPRFX] 2.2.2, image mode.
    fn remote_fx(
        &mut self,
        pixels: Pixels<'_>,
        part: Part,
        entropy: EntropyAlgorithm,
    ) -> Result<Vec<u8>, PictureError> {
        let quant = Quant::default();
        let (mut coded, mut bytes) = (Vec::new(), Vec::new());
        for y in (0..part.height).step_by(usize::from(TILE)) {
            for x in (0..part.width).step_by(usize::from(TILE)) {
                let components =
                    self.tiles.append(&mut bytes, pixels, part, (x, y), &quant, entropy)?;
                coded.push(Coded { x: x / TILE, y: y / TILE, components });
            }
        }
        let tiles = coded.iter().map(|one| Tile {
            y_quant_index: 0,
            cb_quant_index: 0,
            cr_quant_index: 0,
            x: one.x,
            y: one.y,
            y_data: &bytes[one.components[0].clone()],
            cb_data: &bytes[one.components[1].clone()],
            cr_data: &bytes[one.components[2].clone()],
        });
        let mut blocks = Vec::new();
        if let Some((width, height)) = self.untold.take() {
            let side = |side: u16| i16::try_from(side).unwrap_or(i16::MAX);
            let context =
                ContextPdu { flags: OperatingMode::IMAGE_MODE, entropy_algorithm: entropy };
            blocks.push(Block::Sync(SyncPdu));
            blocks.push(Block::CodecChannel(CodecChannel::Context(context)));
            let channel = RfxChannel { width: side(width), height: side(height) };
            blocks.push(Block::Channels(ChannelsPdu(vec![channel])));
            blocks.push(Block::CodecVersions(CodecVersionsPdu));
        }
        let begin = FrameBeginPdu { index: 0, number_of_regions: 1 };
        let all = RfxRectangle { x: 0, y: 0, width: part.width, height: part.height };
        let set = TileSetPdu {
            entropy_algorithm: entropy,
            quants: vec![quant.clone()],
            tiles: tiles.collect(),
        };
        blocks.push(Block::CodecChannel(CodecChannel::FrameBegin(begin)));
        let region = RegionPdu { rectangles: vec![all] };
        blocks.push(Block::CodecChannel(CodecChannel::Region(region)));
        blocks.push(Block::CodecChannel(CodecChannel::TileSet(set)));
        blocks.push(Block::CodecChannel(CodecChannel::FrameEnd(FrameEndPdu)));
        let mut out = vec![0; blocks.iter().map(Encode::size).sum()];
        let mut cursor = WriteCursor::new(&mut out);
        for block in &blocks {
            block.encode(&mut cursor).map_err(|e| refused(part, e))?;
        }
        let written = cursor.pos();
        out.truncate(written);
        Ok(out)
    }
}

fn refused(part: Part, source: EncodeError) -> PictureError {
    PictureError::Encode { width: part.width, height: part.height, source }
}

/// The part of `part` that lies within the picture.
fn clip(part: Part, pixels: Pixels<'_>) -> Option<Part> {
    let width = part.width.min(pixels.width.checked_sub(part.x)?);
    let height = part.height.min(pixels.height.checked_sub(part.y)?);
    (width > 0 && height > 0).then_some(Part { width, height, ..part })
}

/// Cuts a part into strips of at most `bytes` of pixels, whose rows are a multiple of `rows` but
/// for the last. A strip has at least `rows` rows.
fn strips(part: Part, bytes: usize, rows: u16) -> impl Iterator<Item = Part> {
    let row = usize::from(part.width) * 4;
    let fitting = u16::try_from(bytes / row.max(1)).unwrap_or(u16::MAX);
    let height = (fitting / rows * rows).max(rows);
    (0..part.height).step_by(usize::from(height)).map(move |y| Part {
        y: part.y + y,
        height: height.min(part.height - y),
        ..part
    })
}

impl Default for TileCoder {
    fn default() -> Self {
        let planes = Box::new([[0; SAMPLES]; 3]);
        TileCoder { planes, components: ComponentCoder::default() }
    }
}

impl TileCoder {
    /// Appends the tile of a part that begins at `x`, `y` of it; where its components lie.
    fn append(
        &mut self,
        out: &mut Vec<u8>,
        pixels: Pixels<'_>,
        part: Part,
        (x, y): (u16, u16),
        quant: &Quant,
        entropy: EntropyAlgorithm,
    ) -> Result<[Range<usize>; 3], PictureError> {
        let at = (part.x + x, part.y + y);
        let wrong = |detail: String| PictureError::Tile { x: at.0, y: at.1, detail };
        let width = u32::from((part.width - x).min(TILE));
        let height = u32::from((part.height - y).min(TILE));
        let from = usize::from(at.1) * pixels.stride + usize::from(at.0) * 4;
        let input = pixels.bytes.get(from..).ok_or_else(|| wrong("it lies outside".into()))?;
        let stride = u32::try_from(pixels.stride).map_err(|e| wrong(e.to_string()))?;
        if width < u32::from(TILE) || height < u32::from(TILE) {
            // What lies beyond the part must not be what an earlier tile had there.
            self.planes.as_flattened_mut().fill(0);
        }
        let [luma, blue, red] = &mut *self.planes;
        to_64x64_ycbcr_tile(input, width, height, stride, PixelFormat::BgrX32, luma, blue, red)
            .map_err(|e| wrong(e.to_string()))?;
        Ok([luma, blue, red].map(|plane| {
            let from = out.len();
            self.components.append(plane, quant, entropy, out);
            from..out.len()
        }))
    }
}

/// The rows of a part, first row last: plain bitmaps stand on their heads.
fn plain(pixels: Pixels<'_>, part: Part) -> Vec<u8> {
    let mut data = Vec::with_capacity(usize::from(part.width) * usize::from(part.height) * 4);
    for y in (part.y..part.y + part.height).rev() {
        let from = usize::from(y) * pixels.stride + usize::from(part.x) * 4;
        let row = pixels.bytes.get(from..from + usize::from(part.width) * 4);
        data.extend_from_slice(row.unwrap_or_default());
    }
    data
}

fn surface(out: &mut Vec<u8>, part: Part, codec: u8, data: &[u8]) -> Result<(), PictureError> {
    let command = SurfaceCommand::SetSurfaceBits(SurfaceBitsPdu {
        destination: ExclusiveRectangle {
            left: part.x,
            top: part.y,
            right: part.x + part.width,
            bottom: part.y + part.height,
        },
        extended_bitmap_data: ExtendedBitmapDataPdu {
            bpp: 32,
            codec_id: codec,
            width: part.width,
            height: part.height,
            header: None,
            data,
        },
    });
    let data = encode_vec(&command).map_err(|e| refused(part, e))?;
    fastpath::append(out, UpdateCode::SurfaceCommands, &data).map_err(|e| refused(part, e))
}

/// One uncompressed bitmap update.
fn bitmap(out: &mut Vec<u8>, pixels: Pixels<'_>, part: Part) -> Result<(), PictureError> {
    let data = plain(pixels, part);
    let update = BitmapUpdateData {
        rectangles: vec![BitmapData {
            rectangle: InclusiveRectangle {
                left: part.x,
                top: part.y,
                right: part.x + part.width - 1,
                bottom: part.y + part.height - 1,
            },
            width: part.width,
            height: part.height,
            bits_per_pixel: 32,
            compression_flags: Compression::empty(),
            compressed_data_header: None,
            bitmap_data: &data,
        }],
    };
    let data = encode_vec(&update).map_err(|e| refused(part, e))?;
    fastpath::append(out, UpdateCode::Bitmap, &data).map_err(|e| refused(part, e))
}

#[cfg(test)]
mod tests;
