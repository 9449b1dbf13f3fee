//! What is kept of a chunk beside its pieces: where they lie, and where its fragments begin.

use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::chunk::{
    CHUNK_MAX_BYTES, CHUNK_MAX_PIECES, ChunkHeader, Gap, GapReason, MediaKind,
};
use lucid_evidence::seal::PieceAddress;
use lucid_evidence::{SessionId, chunk::HEADER_MAX_BYTES};

/// The newest version of these records. Version 1 knows no kind: all of it is video. Video is still
/// written so, and software from before the second kind reads it.
const VERSION: u64 = 2;
/// The version without a kind.
const VERSION_VIDEO: u64 = 1;
/// Most fragments in a chunk. The encoded table stays below the store's limit of a value.
pub const FRAGMENTS_MAX: u64 = 1024;
/// Most volumes a chunk can be spread over.
const RUNS_MAX: u64 = 256;

/// Where a fragment lies in its chunk; in a chunk of events, a batch of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentEntry {
    /// Its first piece.
    pub first_piece: u64,
    /// How many pieces it takes.
    pub pieces: u64,
    /// Its length, bytes.
    pub bytes: u64,
    /// Its start, microseconds of the session's stream clock.
    pub start_us: u64,
    /// Its length, microseconds.
    pub duration_us: u64,
    /// Whether it can be decoded without what is before it.
    pub keyframe: bool,
}

/// From `first_piece` on, pieces lie in `volume`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The volume's number.
    pub volume: u64,
    /// The first piece there.
    pub first_piece: u64,
}

/// The parts of a chunk that playback needs, closed or still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkMap {
    /// The session.
    pub session: SessionId,
    /// The chunk's index.
    pub index: u64,
    /// What it holds.
    pub kind: MediaKind,
    /// The random part of the nonces.
    pub nonce: [u8; 16],
    /// Bytes of its initialisation segment.
    pub init_bytes: u64,
    /// Pieces of its initialisation segment.
    pub init_pieces: u64,
    /// Where its pieces lie.
    pub runs: Vec<Run>,
    /// Its fragments.
    pub fragments: Vec<FragmentEntry>,
    /// Its start by the device's clock, microseconds since 1970.
    pub wall_start_us: u64,
    /// Its end by the device's clock.
    pub wall_end_us: u64,
    /// Its start by the stream clock, microseconds.
    pub stream_start_us: u64,
    /// Its end by the stream clock.
    pub stream_end_us: u64,
    /// Time missing before it.
    pub gap_before: Option<Gap>,
    /// By how much the device's clock was set just before it, microseconds; 0 for not at all.
    pub clock_jump_us: i64,
}

impl ChunkMap {
    /// The address of a piece.
    pub fn address(&self, piece: u64) -> PieceAddress {
        PieceAddress { session: self.session, chunk: self.index, piece, nonce: self.nonce }
    }

    /// The volume of a piece.
    pub fn volume_of(&self, piece: u64) -> Option<u64> {
        self.runs.iter().rev().find(|run| run.first_piece <= piece).map(|run| run.volume)
    }

    /// Notes that pieces from `first_piece` on went into `volume`.
    pub fn note_run(&mut self, volume: u64, first_piece: u64) {
        if self.runs.last().is_none_or(|run| run.volume != volume) {
            self.runs.push(Run { volume, first_piece });
        }
    }

    /// Pieces of all fragments and the initialisation segment.
    pub fn pieces(&self) -> u64 {
        self.fragments.last().map_or(self.init_pieces, |last| last.first_piece + last.pieces)
    }

    /// The version that this map is written in.
    fn version(&self) -> u64 {
        match self.kind {
            MediaKind::Video => VERSION_VIDEO,
            MediaKind::Events => VERSION,
        }
    }

    fn encode_into(&self, e: &mut Encoder) {
        match self.kind {
            MediaKind::Video => e.array(13),
            MediaKind::Events => e.array(14).uint(self.kind.code()),
        };
        e.bytes(self.session.as_bytes()).uint(self.index).bytes(&self.nonce);
        e.uint(self.init_bytes).uint(self.init_pieces);
        e.array(self.runs.len() as u64);
        for run in &self.runs {
            e.array(2).uint(run.volume).uint(run.first_piece);
        }
        e.array(self.fragments.len() as u64);
        for f in &self.fragments {
            e.array(6).uint(f.first_piece).uint(f.pieces).uint(f.bytes);
            e.uint(f.start_us).uint(f.duration_us).bool(f.keyframe);
        }
        e.uint(self.wall_start_us).uint(self.wall_end_us);
        e.uint(self.stream_start_us).uint(self.stream_end_us);
        match &self.gap_before {
            Some(gap) => e.array(2).uint(gap.length_us).uint(gap.reason.code()),
            None => e.null(),
        };
        e.int(self.clock_jump_us);
    }

    fn decode_from(d: &mut Decoder<'_>, version: u64) -> Result<Self, CborError> {
        let kind = match version {
            VERSION_VIDEO => {
                d.array_of("chunk_map", 13)?;
                MediaKind::Video
            }
            _ => {
                d.array_of("chunk_map", 14)?;
                match MediaKind::from_code(d.u64("chunk_map.kind")?) {
                    // Video has one encoding, which is version 1.
                    None | Some(MediaKind::Video) => {
                        return Err(d.value_error("chunk_map.kind", "unknown kind"));
                    }
                    Some(kind) => kind,
                }
            }
        };
        let session = d.session_id("chunk_map.session")?;
        let index = d.u64("chunk_map.index")?;
        let nonce = d.fixed("chunk_map.nonce")?;
        let init_bytes = d.u64_up_to("chunk_map.init_bytes", CHUNK_MAX_BYTES)?;
        let init_pieces = d.u64_up_to("chunk_map.init_pieces", CHUNK_MAX_PIECES)?;
        let mut runs = Vec::new();
        for _ in 0..d.array("chunk_map.runs", RUNS_MAX)? {
            d.array_of("chunk_map.runs", 2)?;
            let volume = d.u64("chunk_map.runs.volume")?;
            runs.push(Run { volume, first_piece: d.u64("chunk_map.runs.first_piece")? });
        }
        let mut fragments = Vec::new();
        for _ in 0..d.array("chunk_map.fragments", FRAGMENTS_MAX)? {
            d.array_of("chunk_map.fragments", 6)?;
            fragments.push(FragmentEntry {
                first_piece: d.u64_up_to("chunk_map.fragments.first_piece", CHUNK_MAX_PIECES)?,
                pieces: d.u64_up_to("chunk_map.fragments.pieces", CHUNK_MAX_PIECES)?,
                bytes: d.u64_up_to("chunk_map.fragments.bytes", CHUNK_MAX_BYTES)?,
                start_us: d.u64("chunk_map.fragments.start")?,
                duration_us: d.u64("chunk_map.fragments.duration")?,
                keyframe: d.bool("chunk_map.fragments.keyframe")?,
            });
        }
        Ok(ChunkMap {
            session,
            index,
            kind,
            nonce,
            init_bytes,
            init_pieces,
            runs,
            fragments,
            wall_start_us: d.u64("chunk_map.wall_start")?,
            wall_end_us: d.u64("chunk_map.wall_end")?,
            stream_start_us: d.u64("chunk_map.stream_start")?,
            stream_end_us: d.u64("chunk_map.stream_end")?,
            gap_before: d.optional("chunk_map.gap", |d| {
                d.array_of("chunk_map.gap", 2)?;
                let length_us = d.u64("chunk_map.gap.length")?;
                let code = d.u64("chunk_map.gap.reason")?;
                let reason = GapReason::from_code(code)
                    .ok_or_else(|| d.value_error("chunk_map.gap.reason", "unknown"))?;
                Ok(Gap { length_us, reason })
            })?,
            clock_jump_us: d.i64("chunk_map.clock_jump")?,
        })
    }

    /// The record of an open chunk.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.array(2).uint(self.version());
        self.encode_into(&mut e);
        e.finish()
    }

    /// Reads the record of an open chunk.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.array_of("open_chunk", 2)?;
        let version = version(&mut d)?;
        let map = Self::decode_from(&mut d, version)?;
        d.end("open_chunk")?;
        Ok(map)
    }
}

fn version(d: &mut Decoder<'_>) -> Result<u64, CborError> {
    match d.u64("chunk_record.version")? {
        known @ (VERSION_VIDEO | VERSION) => Ok(known),
        found => {
            let problem = lucid_evidence::cbor::Problem::Version { found, known: VERSION };
            Err(d.error("chunk_record.version", problem))
        }
    }
}

/// A closed chunk: its header, which is its leaf, and its map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRecord {
    /// The header.
    pub header: ChunkHeader,
    /// The map.
    pub map: ChunkMap,
}

impl ChunkRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.array(3).uint(self.map.version()).bytes(&self.header.encode());
        self.map.encode_into(&mut e);
        e.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.array_of("chunk_record", 3)?;
        let version = version(&mut d)?;
        let header = ChunkHeader::decode(d.bytes("chunk_record.header", HEADER_MAX_BYTES)?)?;
        let map = ChunkMap::decode_from(&mut d, version)?;
        if header.kind != map.kind {
            return Err(d.value_error("chunk_map.kind", "another kind than the header's"));
        }
        d.end("chunk_record")?;
        Ok(ChunkRecord { header, map })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_goes_both_ways_and_stays_within_a_value() {
        let fragment = FragmentEntry {
            first_piece: 4000,
            pieces: 160,
            bytes: CHUNK_MAX_BYTES,
            start_us: 1 << 45,
            duration_us: 1 << 33,
            keyframe: true,
        };
        let map = ChunkMap {
            session: SessionId::new(1, [1; 10]),
            index: 9,
            kind: MediaKind::Video,
            nonce: [3; 16],
            init_bytes: 700,
            init_pieces: 1,
            runs: vec![Run { volume: 4, first_piece: 0 }, Run { volume: 5, first_piece: 77 }],
            fragments: vec![fragment; FRAGMENTS_MAX as usize],
            wall_start_us: 1,
            wall_end_us: 2,
            stream_start_us: 3,
            stream_end_us: 4,
            gap_before: Some(Gap { length_us: 20_000_000, reason: GapReason::SourceLost }),
            clock_jump_us: -3_600_000_000,
        };
        let bytes = map.encode();
        assert!(bytes.len() + 2048 < lucid_store::VALUE_BYTES_MAX);
        assert_eq!(ChunkMap::decode(&bytes), Ok(map.clone()));
        assert_eq!(map.volume_of(0), Some(4));
        assert_eq!(map.volume_of(76), Some(4));
        assert_eq!(map.volume_of(77), Some(5));
        assert_eq!(map.pieces(), 4160);
        let events = ChunkMap { kind: MediaKind::Events, ..map };
        assert_eq!(ChunkMap::decode(&events.encode()), Ok(events));
    }

    /// The bytes that software from before the second kind wrote, and still has to read.
    #[test]
    fn a_map_of_video_is_as_it_was_before_there_were_kinds() {
        let fragment = FragmentEntry {
            first_piece: 1,
            pieces: 2,
            bytes: 70_000,
            start_us: 0,
            duration_us: 800_000,
            keyframe: true,
        };
        let map = ChunkMap {
            session: SessionId::new(1, [1; 10]),
            index: 0,
            kind: MediaKind::Video,
            nonce: [3; 16],
            init_bytes: 700,
            init_pieces: 1,
            runs: vec![Run { volume: 4, first_piece: 0 }],
            fragments: vec![fragment],
            wall_start_us: 1,
            wall_end_us: 2,
            stream_start_us: 0,
            stream_end_us: 800_000,
            gap_before: None,
            clock_jump_us: 0,
        };
        let hex: String = map.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "82018d500000000000017101810101010101010100500303030303030303030303030303\
            03031902bc0181820400818601021a00011170001a000c3500f50102001a000c3500f600\
            ";
        assert_eq!(hex, expected);
        // A kind that is written although it need not be is another encoding of the same.
        let mut other = map.encode();
        other.splice(1..3, [0x02, 0x8e, 0x00]);
        assert!(ChunkMap::decode(&other).is_err());
    }
}
