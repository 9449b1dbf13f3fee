//! The desktop as video: what is said over the graphics channel ([MS-RDPEGFX]), H.264 alone
//! (AVC420). Pure: messages in, messages out.
//!
//! One surface is as large as the desktop. It is made anew whenever the desktop has another size,
//! and everything that belongs to one picture goes in one message. Pictures are acknowledged by
//! the client; while [`FRAMES_IN_FLIGHT_MAX`] are not, no more are made.
//!
//! [MS-RDPEGFX]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpegfx/

use ironrdp_core::{DecodeError, EncodeError, ReadCursor, decode_cursor, encode_vec};
use ironrdp_egfx::pdu::{
    Avc420BitmapStream, CapabilitiesAdvertisePdu, CapabilitiesConfirmPdu, CapabilitiesV10Flags,
    CapabilitiesV81Flags, CapabilitiesV103Flags, CapabilitiesV104Flags, CapabilitiesV107Flags,
    CapabilitySet, Codec1Type, CreateSurfacePdu, DeleteSurfacePdu, EndFramePdu, GfxPdu,
    MapSurfaceToOutputPdu, PixelFormat, QuantQuality, QueueDepth, RawCapabilitySet,
    ResetGraphicsPdu, StartFramePdu, Timestamp, WireToSurface1Pdu,
};
use ironrdp_graphics::zgfx::wrap_uncompressed;
use ironrdp_pdu::gcc::{Monitor, MonitorFlags};
use ironrdp_pdu::geometry::ExclusiveRectangle;

/// Pictures that a client may have without having acknowledged them: enough for a way there and
/// back of a quarter of a second at fifteen a second.
pub const FRAMES_IN_FLIGHT_MAX: u32 = 4;
/// Messages that are looked at in one message of the channel.
const MESSAGES_MAX: usize = 64;
/// The only surface there is.
const SURFACE: u16 = 1;
/// What the client is told of the quality, which it only shows: the encoder chooses its own.
const QUALITY: QuantQuality =
    QuantQuality { quantization_parameter: 22, progressive: false, quality: 100 };

/// Why a message is not taken, or not made.
#[derive(Debug, thiserror::Error)]
pub enum GraphicsError {
    /// Not a message of the protocol.
    #[error("no message of the graphics channel")]
    Decode(#[source] DecodeError),
    /// More than anybody has to say at once.
    #[error("more than {MESSAGES_MAX} graphics messages in one")]
    Many,
    /// What we say does not fit the protocol.
    #[error("a message of the graphics channel cannot be said")]
    Encode(#[source] EncodeError),
}

/// What a client's message comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing to do at once; there may be room for another picture now.
    Nothing,
    /// It takes H.264: this says so, and pictures may follow.
    Begin(Vec<u8>),
    /// It takes no H.264.
    Unfit,
}

/// A picture on its way to the client.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Columns and rows.
    pub size: (u16, u16),
    /// When it was taken, milliseconds of any clock.
    pub time_ms: u64,
    /// One access unit as a byte stream (ITU-T H.264 Annex B).
    pub h264: &'a [u8],
}

/// The graphics of one client.
#[derive(Debug, Default)]
pub struct Graphics {
    agreed: bool,
    surface: Option<(u16, u16)>,
    /// The client may have lost its surface, or never got it.
    stale: bool,
    /// The last frame that was sent, and the last that was acknowledged.
    sent: u32,
    acknowledged: u32,
    /// The client acknowledges nothing, by its own wish.
    unasked: bool,
}

impl Graphics {
    /// Whether pictures may be sent at all.
    pub fn is_agreed(&self) -> bool {
        self.agreed
    }

    /// Whether the client has room for another picture.
    pub fn has_room(&self) -> bool {
        self.unasked || self.sent.wrapping_sub(self.acknowledged) < FRAMES_IN_FLIGHT_MAX
    }

    /// What is in flight may never have left: nothing of it is waited for any more, and the surface
    /// is made anew.
    pub fn restart(&mut self) {
        (self.acknowledged, self.stale) = (self.sent, true);
    }

    /// Takes a message of the client.
    ///
    /// # Errors
    /// What is wrong with it; what came before in the same message was taken.
    pub fn take(&mut self, message: &[u8]) -> Result<Heard, GraphicsError> {
        let mut cursor = ReadCursor::new(message);
        let mut heard = Heard::Nothing;
        for _ in 0..MESSAGES_MAX {
            if cursor.is_empty() {
                return Ok(heard);
            }
            match decode_cursor(&mut cursor).map_err(GraphicsError::Decode)? {
                GfxPdu::CapabilitiesAdvertise(offered) => heard = self.agree(&offered)?,
                GfxPdu::FrameAcknowledge(frame) => {
                    self.unasked = frame.queue_depth == QueueDepth::Suspend;
                    // What was never sent cannot have arrived.
                    let flying = self.sent.wrapping_sub(self.acknowledged);
                    if frame.frame_id.wrapping_sub(self.acknowledged) <= flying {
                        self.acknowledged = frame.frame_id;
                    }
                }
                // Times of its pictures, and offers of what it kept: nothing we ask for.
                _ => {}
            }
        }
        if cursor.is_empty() { Ok(heard) } else { Err(GraphicsError::Many) }
    }

    fn agree(&mut self, offered: &CapabilitiesAdvertisePdu) -> Result<Heard, GraphicsError> {
        let best = offered.0.iter().filter(|set| takes_avc420(set));
        let Some(best) = best.max_by_key(|set| set.version.0) else { return Ok(Heard::Unfit) };
        // A client may begin again: it then has no surface any more.
        (self.agreed, self.surface, self.unasked) = (true, None, false);
        self.restart();
        let confirm = CapabilitiesConfirmPdu(best.clone());
        let mut bytes = Vec::new();
        append(&mut bytes, &GfxPdu::CapabilitiesConfirm(confirm))?;
        Ok(Heard::Begin(wrap_uncompressed(&bytes)))
    }

    /// The message that shows a picture, to be sent if [`Self::has_room`] said so.
    ///
    /// # Errors
    /// When the encoder refuses, which it does for nothing of a picture's length.
    pub fn show(&mut self, picture: Picture<'_>) -> Result<Vec<u8>, GraphicsError> {
        let mut bytes = Vec::with_capacity(picture.h264.len() + 512);
        if self.surface != Some(picture.size) || self.stale {
            self.lay_out(&mut bytes, picture.size)?;
        }
        let (right, bottom) = picture.size;
        let all = ExclusiveRectangle { left: 0, top: 0, right, bottom };
        let stream = Avc420BitmapStream {
            rectangles: vec![all.clone()],
            quant_qual_vals: vec![QUALITY],
            data: picture.h264,
        };
        let frame_id = self.sent.wrapping_add(1);
        let timestamp = timestamp(picture.time_ms);
        append(&mut bytes, &GfxPdu::StartFrame(StartFramePdu { timestamp, frame_id }))?;
        append(
            &mut bytes,
            &GfxPdu::WireToSurface1(WireToSurface1Pdu {
                surface_id: SURFACE,
                codec_id: Codec1Type::Avc420,
                pixel_format: PixelFormat::XRgb,
                destination_rectangle: all,
                bitmap_data: encode_vec(&stream).map_err(GraphicsError::Encode)?,
            }),
        )?;
        append(&mut bytes, &GfxPdu::EndFrame(EndFramePdu { frame_id }))?;
        self.sent = frame_id;
        Ok(wrap_uncompressed(&bytes))
    }

    /// One monitor of this size, covered by the surface.
    fn lay_out(&mut self, out: &mut Vec<u8>, size: (u16, u16)) -> Result<(), GraphicsError> {
        if self.surface.take().is_some() {
            append(out, &GfxPdu::DeleteSurface(DeleteSurfacePdu { surface_id: SURFACE }))?;
        }
        let (width, height) = size;
        let monitor = Monitor {
            left: 0,
            top: 0,
            right: i32::from(width) - 1,
            bottom: i32::from(height) - 1,
            flags: MonitorFlags::PRIMARY,
        };
        let (wide, high, monitors) = (width.into(), height.into(), vec![monitor]);
        let reset = ResetGraphicsPdu { width: wide, height: high, monitors };
        append(out, &GfxPdu::ResetGraphics(reset))?;
        let pixel_format = PixelFormat::XRgb;
        let create = CreateSurfacePdu { surface_id: SURFACE, width, height, pixel_format };
        append(out, &GfxPdu::CreateSurface(create))?;
        let (output_origin_x, output_origin_y) = (0, 0);
        let map = MapSurfaceToOutputPdu { surface_id: SURFACE, output_origin_x, output_origin_y };
        append(out, &GfxPdu::MapSurfaceToOutput(map))?;
        (self.surface, self.stale) = (Some(size), false);
        Ok(())
    }
}

fn append(out: &mut Vec<u8>, message: &GfxPdu) -> Result<(), GraphicsError> {
    out.extend_from_slice(&encode_vec(message).map_err(GraphicsError::Encode)?);
    Ok(())
}

/// Whether a set of capabilities (2.2.3) has H.264 in it. That of version 10.1 does not say:
/// clients offer it with H.264 and without.
fn takes_avc420(set: &RawCapabilitySet) -> bool {
    match set.parsed() {
        Ok(Some(CapabilitySet::V8_1 { flags })) => {
            flags.contains(CapabilitiesV81Flags::AVC420_ENABLED)
        }
        Ok(Some(CapabilitySet::V10 { flags } | CapabilitySet::V10_2 { flags })) => {
            !flags.contains(CapabilitiesV10Flags::AVC_DISABLED)
        }
        Ok(Some(CapabilitySet::V10_3 { flags })) => {
            !flags.contains(CapabilitiesV103Flags::AVC_DISABLED)
        }
        Ok(Some(
            CapabilitySet::V10_4 { flags }
            | CapabilitySet::V10_5 { flags }
            | CapabilitySet::V10_6 { flags }
            | CapabilitySet::V10_6Err { flags },
        )) => !flags.contains(CapabilitiesV104Flags::AVC_DISABLED),
        Ok(Some(CapabilitySet::V10_7 { flags })) => {
            !flags.contains(CapabilitiesV107Flags::AVC_DISABLED)
        }
        _ => false,
    }
}

/// The time within a span of 1024 hours.
fn timestamp(time_ms: u64) -> Timestamp {
    let part = |unit: u64, of: u64| u16::try_from(time_ms / unit % of).unwrap_or_default();
    let small = |unit: u64| u8::try_from(time_ms / unit % 60).unwrap_or_default();
    Timestamp {
        milliseconds: part(1, 1000),
        seconds: small(1000),
        minutes: small(60_000),
        hours: part(3_600_000, 1024),
    }
}

#[cfg(test)]
mod tests;
