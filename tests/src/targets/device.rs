//! What a device reads besides: media from cameras, addresses from people, its own stored records,
//! archives.

use lucid_capture::catalogue::{ChunkMap, ChunkRecord, SessionRecord};
use lucid_capture::media::{Track, TrackKind};
use lucid_capture::{SourceUri, fmp4};
use lucid_store::{DataDir, Options, import};

/// Fragmented MP4: an initialisation segment, or a fragment of two tracks, which is then moved in
/// time.
pub fn media(data: &[u8]) {
    if let Ok(tracks) = fmp4::parse_init(data) {
        assert!(tracks.len() <= fmp4::MAX_TRACKS);
        let _ = fmp4::inspect(data, &tracks);
    }
    let track = |id, kind, timescale| Track {
        id,
        kind,
        codec: String::new(),
        timescale,
        width: 0,
        height: 0,
        rate: 0,
        channels: 0,
    };
    let tracks = [track(1, TrackKind::Video, 90_000), track(2, TrackKind::Audio, 48_000)];
    let mut moved = data.to_vec();
    if fmp4::rebase(&mut moved, &tracks, 1_000_000, 7).is_ok() {
        assert_eq!(moved.len(), data.len());
        if let (Ok(before), Ok(after)) =
            (fmp4::inspect(data, &tracks), fmp4::inspect(&moved, &tracks))
        {
            // By whole ticks of a clock of 48,000 or more a second; times that no clock reaches are
            // held at the end of what is counted.
            if before.start_us < i64::MAX / 4 {
                assert!((after.start_us - before.start_us - 1_000_000).abs() <= 21);
            }
        }
    }
}

/// A source's address: what is accepted is spelled in one way, and hides what it must.
pub fn uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(uri) = SourceUri::parse(&text) {
        let spelled = uri.reveal();
        let again = SourceUri::parse(&spelled).expect("what is spelled is read");
        assert_eq!(*again.reveal(), *spelled);
        assert_eq!(again.to_string(), uri.to_string());
    }
}

/// The recorder's own records.
pub fn records(data: &[u8]) {
    if let Ok(value) = ChunkMap::decode(data) {
        assert_eq!(value.encode(), data);
    }
    if let Ok(value) = ChunkRecord::decode(data) {
        assert_eq!(value.encode(), data);
    }
    if let Ok(value) = SessionRecord::decode(data) {
        assert_eq!(value.encode(), data);
    }
}

/// An archive of a data directory, read into an empty one.
pub fn archive(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (directory, _) =
        DataDir::open(folder.path(), Options::default()).expect("an empty data directory opens");
    let _ = import(&directory, data);
}
