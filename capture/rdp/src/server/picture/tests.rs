//! What a client would see of what we encode.

use super::*;
use ironrdp_core::{ReadCursor, decode_cursor};
use ironrdp_graphics::rfx::{MessageDecoder, TILE_RGBA_LEN, TileDecoder};
use ironrdp_pdu::fast_path::{FastPathHeader, FastPathUpdatePdu};

fn accepted(coding: Coding) -> Accepted {
    Accepted { coding, max_update: 1 << 20 }
}

/// A picture of colours that differ by place.
fn pattern(width: u16, height: u16) -> Vec<u8> {
    let at = |n: usize| {
        let (x, y) = (n % usize::from(width), n / usize::from(width));
        [(x % 200) as u8, (y % 200) as u8, ((x + y) % 200) as u8, 0]
    };
    (0..usize::from(width) * usize::from(height)).flat_map(at).collect()
}

/// Updates put together from their fragments.
fn updates(out: &[u8]) -> Vec<(UpdateCode, Vec<u8>)> {
    use ironrdp_pdu::fast_path::Fragmentation::{First, Single};
    let mut cursor = ReadCursor::new(out);
    let mut found: Vec<(UpdateCode, Vec<u8>)> = Vec::new();
    while !cursor.is_empty() {
        let _: FastPathHeader = decode_cursor(&mut cursor).unwrap();
        let update: FastPathUpdatePdu<'_> = decode_cursor(&mut cursor).unwrap();
        match update.fragmentation {
            First | Single => found.push((update.update_code, update.data.to_vec())),
            _ => found.last_mut().unwrap().1.extend_from_slice(update.data),
        }
    }
    found
}

fn send(coding: Coding, (width, height): (u16, u16), part: Part) -> Vec<(UpdateCode, Vec<u8>)> {
    let bytes = pattern(width, height);
    let pixels = Pixels { width, height, stride: usize::from(width) * 4, bytes: &bytes };
    let mut out = Vec::new();
    Encoder::new(accepted(coding), width, height).append(&mut out, pixels, &[part]).unwrap();
    updates(&out)
}

#[test]
fn remote_fx_decodes_to_nearly_the_same_colours() {
    let part = Part { x: 10, y: 20, width: 100, height: 70 };
    for rlgr3 in [true, false] {
        let updates = send(Coding::RemoteFx { codec: 3, rlgr3 }, (200, 120), part);
        assert_eq!(updates.len(), 1);
        let mut cursor = ReadCursor::new(&updates[0].1);
        let SurfaceCommand::SetSurfaceBits(bits) = decode_cursor(&mut cursor).unwrap() else {
            panic!("not surface bits");
        };
        assert_eq!((bits.destination.left, bits.destination.bottom), (10, 90));
        let mut decoder = MessageDecoder::new();
        let message = decoder.parse(bits.extended_bitmap_data.data).unwrap();
        assert_eq!(message.tile_count(), 4);
        let set = &message.frames[0].tile_set;
        let mut decoder = TileDecoder::new();
        let rgba = decoder.decode(&set.tiles[0], &set.quants, set.entropy_algorithm).unwrap();
        assert_eq!(rgba.len(), TILE_RGBA_LEN);
        for (x, y) in [(0u16, 0u16), (63, 0), (31, 40), (63, 63)] {
            let at = usize::from(y) * 256 + usize::from(x) * 4;
            let (column, row) = (i32::from(x) + 10, i32::from(y) + 20);
            let sent = [column + row, row, column];
            let found: Vec<i32> = rgba[at..at + 3].iter().map(|n| i32::from(*n)).collect();
            // Brightness is kept well, colour less so.
            let bright = |c: &[i32]| (299 * c[0] + 587 * c[1] + 114 * c[2]) / 1000;
            assert!((bright(&found) - bright(&sent)).abs() <= 10, "{found:?} for {sent:?}");
            let far = found.iter().zip(sent).map(|(a, b)| (a - b).abs()).max();
            assert!(far.unwrap() <= 40, "{found:?} for {sent:?}");
        }
    }
}

#[test]
fn plain_pixels_stand_on_their_heads_and_are_cut_to_the_picture() {
    let part = Part { x: 2, y: 1, width: 100, height: 100 };
    let updates = send(Coding::Surface, (4, 3), part);
    let mut cursor = ReadCursor::new(&updates[0].1);
    let SurfaceCommand::SetSurfaceBits(bits) = decode_cursor(&mut cursor).unwrap() else {
        panic!("not surface bits");
    };
    let data = bits.extended_bitmap_data;
    assert_eq!((data.width, data.height, data.codec_id), (2, 2, 0));
    assert_eq!(data.data, [2, 2, 4, 0, 3, 2, 5, 0, 2, 1, 3, 0, 3, 1, 4, 0]);
    let outside = Part { x: 4, y: 0, width: 1, height: 1 };
    assert!(send(Coding::Surface, (4, 3), outside).is_empty());
}

#[test]
fn long_parts_go_in_strips_that_a_client_can_put_together() {
    let part = Part { x: 0, y: 0, width: 1000, height: 600 };
    for coding in [Coding::Surface, Coding::Bitmap] {
        let updates = send(coding, (1000, 600), part);
        assert!(updates.len() > 1);
        let all: usize = updates.iter().map(|(_, data)| data.len()).sum();
        assert!(all >= 1000 * 600 * 4);
        assert!(updates.iter().all(|(_, data)| data.len() <= 1 << 20));
    }
    let strips: Vec<Part> = strips(part, 64 << 10, 1).collect();
    assert_eq!(strips.iter().map(|strip| u32::from(strip.height)).sum::<u32>(), 600);
}
