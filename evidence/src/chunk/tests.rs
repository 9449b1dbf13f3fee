//! A chunk goes both ways, survives a resumed sealing, and refuses what its header does not say.

use super::*;
use proptest::prelude::*;

fn session() -> SessionId {
    SessionId::new(1_793_000_000_000, [5; 10])
}

fn span() -> TimeSpan {
    TimeSpan { wall_start_us: 10, wall_end_us: 20, stream_start_us: 0, stream_end_us: 10 }
}

fn secret() -> SessionSecret {
    SessionSecret::from_bytes([4; 32])
}

fn sealed(parts: &[Vec<u8>]) -> (ChunkHeader, Vec<u8>) {
    let mut sealer = ChunkSealer::new(session(), 3, MediaKind::Video, &secret(), [2; 16]);
    let mut bytes = Vec::new();
    for part in parts {
        for frame in sealer.push(part).unwrap() {
            bytes.extend_from_slice(&frame);
        }
    }
    let gap = Some(Gap { length_us: 5, reason: GapReason::Crash });
    let (last, header) = sealer.finish(span(), 0, gap).unwrap();
    bytes.extend_from_slice(&last);
    (header, bytes)
}

#[test]
fn a_resumed_chunk_is_the_same_chunk() {
    let mut first = ChunkSealer::new(session(), 3, MediaKind::Video, &secret(), [2; 16]);
    let frames = first.push(&vec![7; 150_000]).unwrap();
    let mut second = ChunkSealer::new(session(), 3, MediaKind::Video, &secret(), [2; 16]);
    let mut plaintext = Vec::new();
    for frame in &frames {
        plaintext.extend(second.resume(frame).unwrap());
    }
    assert_eq!(plaintext, vec![7; 150_000]);
    // The lost piece after these may have used the next nonce.
    assert!(matches!(second.push(b"more"), Err(ChunkError::Mismatch { .. })));
    let first = first.finish(span(), 0, None).unwrap();
    assert_eq!(second.finish(span(), 0, None).unwrap(), first);
}

#[test]
fn a_chunk_that_ended_is_not_resumed_and_a_full_one_takes_no_more() {
    let (_, bytes) = sealed(&[]);
    let mut sealer = ChunkSealer::new(session(), 3, MediaKind::Video, &secret(), [2; 16]);
    assert!(matches!(sealer.resume(&bytes), Err(ChunkError::Mismatch { .. })));
    assert!(matches!(
        sealer.push(&vec![0; CHUNK_MAX_BYTES as usize + 1]),
        Err(ChunkError::Full { .. })
    ));
    sealer.push(&vec![0; CHUNK_MAX_BYTES as usize]).unwrap();
    assert!(matches!(sealer.push(&[0]), Err(ChunkError::Full { .. })));
}

#[test]
fn missing_repeated_and_swapped_pieces_are_refused() {
    let (header, bytes) = sealed(&[vec![1; 1000], vec![2; 1000]]);
    let key = secret().chunk_key(3);
    assert_eq!(open_chunk(&header, &key, &bytes).unwrap().len(), 2000);
    let first = seal::read_frame(&bytes, 3, 0).unwrap().length;
    let second = first + seal::read_frame(&bytes[first..], 3, 1).unwrap().length;
    let (a, b, end) = (&bytes[..first], &bytes[first..second], &bytes[second..]);
    for wrong in [
        [a, b].concat(),
        [a, end].concat(),
        [b, a, end].concat(),
        [a, b, end, end].concat(),
        [a, a, b, end].concat(),
        bytes[..bytes.len() - 1].to_vec(),
        vec![],
    ] {
        assert!(open_chunk(&header, &key, &wrong).is_err());
    }
}

#[test]
fn a_header_out_of_bounds_names_its_field() {
    let (header, _) = sealed(&[vec![1; 10]]);
    let over = ChunkHeader { plaintext_bytes: CHUNK_MAX_BYTES + 1, ..header.clone() };
    let error = ChunkHeader::decode(&over.encode()).unwrap_err();
    assert_eq!(error.field, "chunk.plaintext_bytes");
    let backwards = TimeSpan { stream_end_us: 0, stream_start_us: 1, ..span() };
    let error = ChunkHeader::decode(&ChunkHeader { time: backwards, ..header }.encode());
    assert_eq!(error.unwrap_err().field, "chunk.stream_end");
}

proptest! {
    #[test]
    fn any_media_goes_both_ways(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70_000), 0..4)) {
        let (header, bytes) = sealed(&parts);
        prop_assert_eq!(header.sealed_bytes, bytes.len() as u64);
        prop_assert_eq!(header.sealed_hash, Hash::of(&bytes));
        prop_assert_eq!(ChunkHeader::decode(&header.encode()).unwrap(), header.clone());
        prop_assert!(header.encode().len() <= HEADER_MAX_BYTES);
        let opened = open_chunk(&header, &secret().chunk_key(3), &bytes).unwrap();
        prop_assert_eq!(opened, parts.concat());
    }

    #[test]
    fn headers_of_any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = ChunkHeader::decode(&data);
    }
}
