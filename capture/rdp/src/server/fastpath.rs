//! Output updates on the fast path ([MS-RDPBCGR] 2.2.9.1.2), in fragments where they are long.
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpbcgr/

use ironrdp_core::{Encode as _, EncodeResult, WriteCursor};
use ironrdp_pdu::fast_path::{
    EncryptionFlags, FastPathHeader, FastPathUpdatePdu, Fragmentation, UpdateCode,
};

/// Most data in one fragment, bytes: with its headers it stays under the 16383 that the length
/// field can say.
const FRAGMENT_BYTES: usize = 16_000;

/// Appends an update to `out`, whole or in fragments.
///
/// # Errors
/// When the encoder refuses, which it does for nothing this long.
pub fn append(out: &mut Vec<u8>, code: UpdateCode, data: &[u8]) -> EncodeResult<()> {
    let fragments = data.chunks(FRAGMENT_BYTES);
    let last = fragments.len().saturating_sub(1);
    if data.is_empty() {
        return fragment(out, code, Fragmentation::Single, data);
    }
    for (index, part) in fragments.enumerate() {
        let place = match (index, last) {
            (0, 0) => Fragmentation::Single,
            (0, _) => Fragmentation::First,
            (index, last) if index == last => Fragmentation::Last,
            _ => Fragmentation::Next,
        };
        fragment(out, code, place, part)?;
    }
    Ok(())
}

fn fragment(
    out: &mut Vec<u8>,
    code: UpdateCode,
    place: Fragmentation,
    data: &[u8],
) -> EncodeResult<()> {
    let update = FastPathUpdatePdu {
        fragmentation: place,
        update_code: code,
        compression_flags: None,
        compression_type: None,
        data,
    };
    let header = FastPathHeader::new(EncryptionFlags::empty(), update.size());
    let start = out.len();
    out.resize(start + header.size() + update.size(), 0);
    let mut cursor = WriteCursor::new(out.get_mut(start..).unwrap_or_default());
    header.encode(&mut cursor)?;
    update.encode(&mut cursor)?;
    let written = start + cursor.pos();
    out.truncate(written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironrdp_core::{ReadCursor, decode_cursor};
    use proptest::prelude::*;

    proptest! {
        /// What a client puts together is what was sent, in one first, any next, one last.
        #[test]
        fn fragments_put_together_are_the_update(length in 0usize..70_000) {
            let data: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut out = Vec::new();
            append(&mut out, UpdateCode::SurfaceCommands, &data).unwrap();
            let mut cursor = ReadCursor::new(&out);
            let (mut whole, mut places) = (Vec::new(), Vec::new());
            while !cursor.is_empty() {
                let header: FastPathHeader = decode_cursor(&mut cursor).unwrap();
                let update: FastPathUpdatePdu<'_> = decode_cursor(&mut cursor).unwrap();
                prop_assert_eq!(header.data_length, update.size());
                prop_assert_eq!(update.update_code, UpdateCode::SurfaceCommands);
                whole.extend_from_slice(update.data);
                places.push(update.fragmentation);
            }
            prop_assert_eq!(whole, data);
            if places.len() == 1 {
                prop_assert_eq!(&places[..], &[Fragmentation::Single][..]);
            } else {
                prop_assert_eq!(places.first(), Some(&Fragmentation::First));
                prop_assert_eq!(places.last(), Some(&Fragmentation::Last));
                let between = &places[1..places.len() - 1];
                prop_assert!(between.iter().all(|place| *place == Fragmentation::Next));
            }
        }
    }
}
