//! Codecs: sample entries, their configuration records, and the RFC 6381 strings browsers ask for.

use super::boxes::{Span, Writer};
use super::{Fmp4Error, FourCc, MAX_CHILDREN};

/// A codec of pictures with its configuration record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264 with `AVCDecoderConfigurationRecord`; samples are length-prefixed NAL units (ISO/IEC
    /// 14496-15).
    Avc(Vec<u8>),
    /// H.265 with `HEVCDecoderConfigurationRecord`.
    Hevc(Vec<u8>),
    /// Motion JPEG, one JPEG a sample.
    Jpeg,
}

/// What a video track needs to be described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoConfig {
    /// The codec.
    pub codec: VideoCodec,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Shape of a pixel, horizontal to vertical.
    pub pixel_aspect: (u32, u32),
}

/// A codec of sound with its configuration record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioCodec {
    /// AAC with `AudioSpecificConfig` (ISO/IEC 14496-3); samples are raw data blocks.
    Aac(Vec<u8>),
    /// Opus (RFC 7845): samples to skip at the start.
    Opus {
        /// Pre-skip at 48 kHz.
        pre_skip: u16,
    },
}

/// What a sound track needs to be described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioConfig {
    /// The codec.
    pub codec: AudioCodec,
    /// Samples per second; also the track's timescale.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
}

impl AudioConfig {
    /// Sound samples in one coded frame when the source does not say.
    pub fn frame_ticks(&self) -> u32 {
        match self.codec {
            AudioCodec::Aac(_) => 1024,
            AudioCodec::Opus { .. } => self.rate / 50,
        }
    }
}

impl VideoConfig {
    /// The sample entry in `stsd`.
    pub(super) fn write_entry(&self, w: &mut Writer) {
        let name = match self.codec {
            VideoCodec::Avc(_) => b"avc1",
            VideoCodec::Hevc(_) => b"hvc1",
            VideoCodec::Jpeg => b"mp4v",
        };
        w.nest(name, |w| {
            w.zeros(6);
            w.u16(1); // data_reference_index
            w.zeros(16);
            w.u16(self.width);
            w.u16(self.height);
            w.u32(0x0048_0000); // 72 dpi
            w.u32(0x0048_0000);
            w.u32(0);
            w.u16(1); // frame_count
            w.zeros(32); // compressorname
            w.u16(0x0018);
            w.u16(0xffff);
            match &self.codec {
                VideoCodec::Avc(record) => w.nest(b"avcC", |w| w.bytes(record)),
                VideoCodec::Hevc(record) => w.nest(b"hvcC", |w| w.bytes(record)),
                VideoCodec::Jpeg => write_esds(w, 0x6c, 0x11, None),
            }
            let (horizontal, vertical) = self.pixel_aspect;
            if horizontal != vertical && horizontal != 0 && vertical != 0 {
                w.nest(b"pasp", |w| {
                    w.u32(horizontal);
                    w.u32(vertical);
                });
            }
        });
    }
}

impl AudioConfig {
    /// The sample entry in `stsd`.
    pub(super) fn write_entry(&self, w: &mut Writer) {
        let name = match self.codec {
            AudioCodec::Aac(_) => b"mp4a",
            AudioCodec::Opus { .. } => b"Opus",
        };
        w.nest(name, |w| {
            w.zeros(6);
            w.u16(1); // data_reference_index
            w.zeros(8);
            w.u16(self.channels);
            w.u16(16); // samplesize
            w.u32(0);
            // 16.16 holds no more than 65535 Hz; the configuration record has the true rate.
            w.u32(if self.rate < 65_536 { self.rate << 16 } else { 0 });
            match &self.codec {
                AudioCodec::Aac(config) => write_esds(w, 0x40, 0x15, Some(config)),
                AudioCodec::Opus { pre_skip } => w.nest(b"dOps", |w| {
                    w.u8(0);
                    w.u8(u8::try_from(self.channels).unwrap_or(u8::MAX));
                    w.u16(*pre_skip);
                    w.u32(self.rate);
                    w.u16(0); // output gain
                    w.u8(0); // mapping family: mono or stereo
                }),
            }
        });
    }
}

/// An `esds` box (ISO/IEC 14496-1 descriptors, one-byte lengths).
fn write_esds(w: &mut Writer, object_type: u8, stream_type: u8, specific: Option<&[u8]>) {
    // Records of more than 64 bytes do not occur; longer ones would need longer length fields.
    let specific = specific.map(|s| s.get(..s.len().min(64)).unwrap_or(s));
    let specific_len = specific.map_or(0, |s| s.len() + 2) as u8;
    w.full(b"esds", 0, 0, |w| {
        w.bytes(&[0x03, 3 + 2 + 13 + specific_len + 3, 0, 1, 0]); // ES_Descriptor, ES_ID 1
        w.bytes(&[0x04, 13 + specific_len, object_type, stream_type]);
        w.zeros(3 + 4 + 4); // buffer size and bit rates: not stated
        if let Some(specific) = specific {
            w.bytes(&[0x05, specific.len() as u8]);
            w.bytes(specific);
        }
        w.bytes(&[0x06, 1, 2]); // SLConfigDescriptor, predefined for MP4
    });
}

/// What a sample entry says about itself.
pub(super) struct Entry {
    pub codec: String,
    pub width: u32,
    pub height: u32,
    pub rate: u32,
    pub channels: u32,
}

/// Reads the first sample entry of an `stsd`.
pub(super) fn read_entry(data: &[u8], entry: &Span, video: bool) -> Result<Entry, Fmp4Error> {
    let mut fields = entry.fields(data);
    fields.skip(8)?;
    if video {
        fields.skip(16)?;
        let width = u32::from(fields.u16()?);
        let height = u32::from(fields.u16()?);
        let inner = entry.children(data, 78)?;
        let codec = match &entry.name.0 {
            b"avc1" | b"avc3" => {
                avc_string(entry.name, record(data, &inner, b"avcC", entry.name)?)?
            }
            b"hvc1" | b"hev1" => {
                hevc_string(entry.name, record(data, &inner, b"hvcC", entry.name)?)?
            }
            b"mp4v" => {
                let (object_type, _) = read_esds(record(data, &inner, b"esds", entry.name)?)?;
                format!("mp4v.{object_type:02x}")
            }
            _ => {
                return Err(Fmp4Error::Field {
                    name: entry.name,
                    what: "is no known video codec: expected avc1, avc3, hvc1, hev1 or mp4v",
                });
            }
        };
        return Ok(Entry { codec, width, height, rate: 0, channels: 0 });
    }
    fields.skip(8)?;
    let channels = u32::from(fields.u16()?);
    fields.skip(6)?;
    let rate = fields.u32()? >> 16;
    let inner = entry.children(data, 28)?;
    let codec = match &entry.name.0 {
        b"mp4a" => {
            let (object_type, specific) = read_esds(record(data, &inner, b"esds", entry.name)?)?;
            match specific.first() {
                Some(first) if object_type == 0x40 => {
                    let kind = match first >> 3 {
                        31 => 32 + ((first & 7) << 3 | specific.get(1).map_or(0, |b| b >> 5)),
                        kind => kind,
                    };
                    format!("mp4a.40.{kind}")
                }
                _ => format!("mp4a.{object_type:02x}"),
            }
        }
        b"Opus" => "opus".to_owned(),
        _ => {
            return Err(Fmp4Error::Field {
                name: entry.name,
                what: "is no known sound codec: expected mp4a or Opus",
            });
        }
    };
    Ok(Entry { codec, width: 0, height: 0, rate, channels })
}

fn record<'a>(
    data: &'a [u8],
    inner: &[Span],
    name: &[u8; 4],
    parent: FourCc,
) -> Result<&'a [u8], Fmp4Error> {
    Ok(super::boxes::one(inner, name, parent)?.fields(data).rest())
}

fn avc_string(entry: FourCc, record: &[u8]) -> Result<String, Fmp4Error> {
    let [_, profile, constraints, level, ..] = record else {
        return Err(Fmp4Error::Field { name: FourCc(*b"avcC"), what: "is shorter than 4 bytes" });
    };
    Ok(format!("{entry}.{profile:02x}{constraints:02x}{level:02x}"))
}

fn hevc_string(entry: FourCc, record: &[u8]) -> Result<String, Fmp4Error> {
    let short = Fmp4Error::Field { name: FourCc(*b"hvcC"), what: "is shorter than 13 bytes" };
    let &[_, general, c0, c1, c2, c3, ref constraints @ ..] = record else {
        return Err(short);
    };
    let (Some(constraints), Some(level)) = (constraints.get(..6), constraints.get(6)) else {
        return Err(short);
    };
    let space = ["", "A", "B", "C"][usize::from(general >> 6)];
    let tier = if general & 0x20 != 0 { 'H' } else { 'L' };
    let compatibility = u32::from_be_bytes([c0, c1, c2, c3]).reverse_bits();
    let mut text = format!("{entry}.{space}{}.{compatibility:X}.{tier}{level}", general & 0x1f);
    let used = constraints.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(used) {
        text.push_str(&format!(".{byte:X}"));
    }
    Ok(text)
}

/// Object type and decoder specific bytes of an `esds` body.
fn read_esds(body: &[u8]) -> Result<(u8, &[u8]), Fmp4Error> {
    let wrong = |what| Fmp4Error::Field { name: FourCc(*b"esds"), what };
    let mut rest = body.get(4..).ok_or(wrong("is cut short"))?;
    let mut object_type = None;
    for _ in 0..MAX_CHILDREN {
        let Some((&tag, after)) = rest.split_first() else { break };
        let mut length = 0usize;
        let mut body = after;
        for _ in 0..4 {
            let (&byte, after) = body.split_first().ok_or(wrong("is cut short"))?;
            body = after;
            length = length << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let content = body.get(..length).ok_or(wrong("has a descriptor longer than itself"))?;
        // Descriptors 3 and 4 hold further ones after their fixed fields; step into those.
        rest = match tag {
            0x03 => {
                let flags = *content.get(2).ok_or(wrong("is cut short"))?;
                let mut skip = 3 + if flags & 0x80 != 0 { 2 } else { 0 };
                if flags & 0x40 != 0 {
                    skip += 1 + usize::from(*content.get(skip).ok_or(wrong("is cut short"))?);
                }
                skip += if flags & 0x20 != 0 { 2 } else { 0 };
                content.get(skip..).ok_or(wrong("is cut short"))?
            }
            0x04 => {
                object_type = Some(*content.first().ok_or(wrong("is cut short"))?);
                content.get(13..).ok_or(wrong("is cut short"))?
            }
            0x05 => return Ok((object_type.ok_or(wrong("has no decoder config"))?, content)),
            _ => body.get(length..).unwrap_or(&[]),
        };
    }
    Ok((object_type.ok_or(wrong("has no decoder config"))?, &[]))
}
