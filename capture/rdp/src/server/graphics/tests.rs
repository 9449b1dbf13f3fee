//! What a client says and hears over the graphics channel.

use super::*;
use ironrdp_core::decode;
use ironrdp_egfx::pdu::{CapabilitiesV8Flags, CapabilityVersion, FrameAcknowledgePdu};
use ironrdp_graphics::zgfx::Decompressor;
use proptest::prelude::*;

fn said(pdu: &GfxPdu) -> Vec<u8> {
    encode_vec(pdu).unwrap()
}

fn offer(sets: &[CapabilitySet]) -> Vec<u8> {
    said(&GfxPdu::CapabilitiesAdvertise(CapabilitiesAdvertisePdu::from_typed(sets)))
}

fn acknowledge(frame_id: u32, queue_depth: QueueDepth) -> Vec<u8> {
    let frame = FrameAcknowledgePdu { queue_depth, frame_id, total_frames_decoded: frame_id };
    said(&GfxPdu::FrameAcknowledge(frame))
}

/// What a client reads.
fn heard(message: &[u8]) -> Vec<GfxPdu> {
    let mut plain = Vec::new();
    Decompressor::new().decompress(message, &mut plain).unwrap();
    let mut cursor = ReadCursor::new(&plain);
    let mut all = Vec::new();
    while !cursor.is_empty() {
        all.push(decode_cursor(&mut cursor).unwrap());
    }
    all
}

fn v81(flags: CapabilitiesV81Flags) -> CapabilitySet {
    CapabilitySet::V8_1 { flags }
}

fn agreed() -> Graphics {
    let mut graphics = Graphics::default();
    let offer = offer(&[v81(CapabilitiesV81Flags::AVC420_ENABLED)]);
    assert!(matches!(graphics.take(&offer), Ok(Heard::Begin(_))));
    graphics
}

fn picture(size: (u16, u16), h264: &[u8]) -> Picture<'_> {
    Picture { size, time_ms: 3_661_042, h264 }
}

#[test]
fn the_best_set_with_h264_is_agreed_on() {
    let v8 = CapabilitySet::V8 { flags: CapabilitiesV8Flags::THIN_CLIENT };
    let plain = v81(CapabilitiesV81Flags::THIN_CLIENT);
    let without = CapabilitySet::V10_4 { flags: CapabilitiesV104Flags::AVC_DISABLED };
    let with = CapabilitySet::V10 { flags: CapabilitiesV10Flags::empty() };
    let mut graphics = Graphics::default();
    let all = [v8.clone(), plain.clone(), without.clone(), CapabilitySet::V10_1];
    let unfit = graphics.take(&offer(&all)).unwrap();
    assert!(unfit == Heard::Unfit && !graphics.is_agreed());
    let Heard::Begin(message) = graphics.take(&offer(&[v8, with, plain, without])).unwrap() else {
        panic!("it takes H.264")
    };
    let [GfxPdu::CapabilitiesConfirm(confirm)] = &heard(&message)[..] else { panic!() };
    assert_eq!(confirm.0.version, CapabilityVersion::V10);
    assert!(graphics.is_agreed() && graphics.has_room());
}

#[test]
fn a_picture_brings_its_surface_and_a_new_size_another() {
    let mut graphics = agreed();
    let names = |message: &[u8]| {
        let name = |pdu: &GfxPdu| match pdu {
            GfxPdu::ResetGraphics(reset) => format!("reset {}x{}", reset.width, reset.height),
            GfxPdu::CreateSurface(made) => format!("create {}x{}", made.width, made.height),
            GfxPdu::DeleteSurface(_) => "delete".to_owned(),
            GfxPdu::MapSurfaceToOutput(_) => "map".to_owned(),
            GfxPdu::StartFrame(frame) => format!("start {}", frame.frame_id),
            GfxPdu::EndFrame(frame) => format!("end {}", frame.frame_id),
            GfxPdu::WireToSurface1(wire) => {
                let stream: Avc420BitmapStream<'_> = decode(&wire.bitmap_data).unwrap();
                assert_eq!(stream.rectangles, std::slice::from_ref(&wire.destination_rectangle));
                format!("{:?} {}", wire.codec_id, stream.data.len())
            }
            other => panic!("{other:?}"),
        };
        heard(message).iter().map(name).collect::<Vec<_>>()
    };
    let long = vec![7; 200_000];
    let first = graphics.show(picture((64, 48), &long)).unwrap();
    assert_eq!(
        names(&first),
        ["reset 64x48", "create 64x48", "map", "start 1", "Avc420 200000", "end 1"]
    );
    let second = graphics.show(picture((64, 48), &[1; 5])).unwrap();
    assert_eq!(names(&second), ["start 2", "Avc420 5", "end 2"]);
    let other = graphics.show(picture((32, 48), &[1; 5])).unwrap();
    assert_eq!(names(&other)[..3], ["delete", "reset 32x48", "create 32x48"]);
    graphics.restart();
    let again = graphics.show(picture((32, 48), &[1; 5])).unwrap();
    assert_eq!(names(&again)[..3], ["delete", "reset 32x48", "create 32x48"]);
    let [GfxPdu::StartFrame(start), ..] = &heard(&second)[..] else { panic!() };
    let time = &start.timestamp;
    assert_eq!((time.hours, time.minutes, time.seconds, time.milliseconds), (1, 1, 1, 42));
}

#[test]
fn pictures_wait_for_what_the_client_acknowledges() {
    let mut graphics = agreed();
    let show = |graphics: &mut Graphics| graphics.show(picture((16, 16), &[1])).map(drop).unwrap();
    let mut sent = 0;
    while graphics.has_room() {
        show(&mut graphics);
        sent += 1;
    }
    assert_eq!(sent, FRAMES_IN_FLIGHT_MAX);
    // What was never sent, and what is long gone, makes no room.
    for wrong in [sent + 1, 0, u32::MAX] {
        graphics.take(&acknowledge(wrong, QueueDepth::Unavailable)).unwrap();
        assert!(!graphics.has_room(), "{wrong}");
    }
    graphics.take(&acknowledge(2, QueueDepth::Unavailable)).unwrap();
    show(&mut graphics);
    show(&mut graphics);
    assert!(!graphics.has_room());
    // A client that acknowledges no more is sent what its connection takes.
    graphics.take(&acknowledge(3, QueueDepth::Suspend)).unwrap();
    (0..20).for_each(|_| show(&mut graphics));
    assert!(graphics.has_room());
    graphics.take(&acknowledge(4, QueueDepth::AvailableBytes(1))).unwrap();
    assert!(!graphics.has_room());
    graphics.restart();
    assert!(graphics.has_room());
}

#[test]
fn a_flood_in_one_message_is_cut_short() {
    let mut graphics = agreed();
    let one = acknowledge(1, QueueDepth::Unavailable);
    assert_eq!(graphics.take(&one.repeat(MESSAGES_MAX)).unwrap(), Heard::Nothing);
    let flood = graphics.take(&one.repeat(MESSAGES_MAX + 1));
    assert!(matches!(flood, Err(GraphicsError::Many)));
}

proptest! {
    #[test]
    fn garbage_harms_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut graphics = Graphics::default();
        let _ = graphics.take(&bytes);
        let mut cut = offer(&[CapabilitySet::V10_1]);
        cut.truncate(bytes.len());
        let _ = graphics.take(&cut);
    }
}
