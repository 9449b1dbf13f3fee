//! How recordings look from outside: the JSON of API and command line, made from the catalogue's
//! records.

use lucid_capture::archive::{Archive, ArchiveError};
use lucid_capture::catalogue::{ChunkMap, SessionRecord};
use lucid_chain::AnchorProof;
use lucid_chain_node::Node;
use lucid_evidence::SessionId;
use lucid_evidence::manifest::GapRecord;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::chain::place;
use crate::http::time::Rfc3339;

/// Time that is missing from a recording.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GapView {
    /// When it begins, by the device's clock.
    pub at: Rfc3339,
    /// Where it begins, seconds of the recording.
    pub stream_time_s: f64,
    /// How long it is, seconds.
    pub length_s: f64,
    /// Why.
    pub reason: &'static str,
}

impl GapView {
    /// From the record of a gap.
    pub fn new(record: &GapRecord) -> Self {
        Self {
            at: Rfc3339::from_us(record.wall_us),
            stream_time_s: seconds(record.stream_us),
            length_s: seconds(record.gap.length_us),
            reason: record.gap.reason.as_str(),
        }
    }
}

/// Who encodes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EncoderView {
    /// The encoder, or `camera`.
    pub name: String,
    /// Whether it is hardware of this device.
    pub hardware: bool,
    /// Why this one.
    pub reason: String,
}

/// What is recorded.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CodecView {
    /// RFC 6381 codec string of the picture.
    pub video: Option<String>,
    /// RFC 6381 codec string of the sound.
    pub audio: Option<String>,
    /// Width, pixels.
    pub width: u64,
    /// Height, pixels.
    pub height: u64,
    /// Who encodes.
    pub encoder: EncoderView,
}

/// Where a session stands on the chain.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnchoredView {
    /// Height of the block that closed it.
    pub height: u64,
    /// Time of that block, where it is known here.
    pub time: Option<Rfc3339>,
    /// Nodes that signed it, where it is known here.
    pub witnesses: Option<usize>,
    /// Nodes that could have.
    pub validators: Option<usize>,
}

/// A legal hold.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HoldView {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Rfc3339,
}

/// A step in a session's life.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TransitionView {
    /// The state entered.
    pub state: &'static str,
    /// When.
    pub at: Rfc3339,
    /// Why.
    pub reason: String,
}

/// A recording session.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionView {
    /// UUIDv7.
    pub id: String,
    /// The source.
    pub source_id: String,
    /// Its name when the session began.
    pub source_name: String,
    /// created, recording, processing, stored, anchored, completed, failed, terminated or deleted.
    /// `failed` (no media ever came) and `terminated` (a void policy or an operator ended it) are
    /// last states: the last transition says why, `anchored` whether it is on the chain.
    pub state: &'static str,
    /// When it began.
    pub started_at: Rfc3339,
    /// When it ended.
    pub ended_at: Option<Rfc3339>,
    /// Why it ended.
    pub end_reason: Option<&'static str>,
    /// Length so far in closed chunks, gaps counted, seconds.
    pub duration_s: f64,
    /// Media in closed chunks, bytes.
    pub bytes: u64,
    /// The same as stored, bytes.
    pub stored_bytes: u64,
    /// Closed chunks.
    pub chunks: u64,
    /// Time that is missing.
    pub gaps: Vec<GapView>,
    /// What is recorded; none before media came.
    pub codec: Option<CodecView>,
    /// Leaves of its tree.
    pub tree_size: u64,
    /// Root of its tree, hexadecimal.
    pub root: String,
    /// Where it stands on the chain; none before it is closed there.
    pub anchored: Option<AnchoredView>,
    /// Its legal hold.
    pub held: Option<HoldView>,
    /// How it came to its state.
    pub transitions: Vec<TransitionView>,
    /// What its operator wrote.
    pub note: String,
}

impl SessionView {
    /// From the session's record and chunks.
    ///
    /// # Errors
    /// When the chunks cannot be read.
    pub fn new(archive: &Archive, session: &SessionRecord) -> Result<Self, ArchiveError> {
        let gaps = archive.gaps(session)?;
        Ok(SessionView { gaps: gaps.iter().map(GapView::new).collect(), ..Self::brief(session) })
    }

    /// Says what the chain knows of the block that closed the session.
    pub fn place_on(&mut self, node: &Node, id: SessionId) {
        // A height of a chain that is lost says nothing on this one.
        let known = || matches!(node.session(&id), Ok(Some(_)));
        let Some(anchored) = self.anchored.as_mut().filter(|_| known()) else { return };
        if let Some((time_us, witnesses, validators)) = place(node, anchored.height) {
            anchored.time = Some(Rfc3339::from_us(time_us));
            anchored.witnesses = Some(witnesses);
            anchored.validators = Some(validators);
        }
    }

    /// Says what a kept proof tells of the block that closed the session, if it verifies.
    pub fn place_by(&mut self, proof: &[u8], id: SessionId) {
        let verified = AnchorProof::from_bytes(proof).ok().and_then(|p| p.verify(&id).ok());
        let (Some(anchored), Some(proved)) = (self.anchored.as_mut(), verified) else { return };
        let closed = proved.closed.as_ref().filter(|closed| closed.height == anchored.height);
        if let Some(closed) = closed {
            anchored.time = Some(Rfc3339::from_us(closed.time_us));
            anchored.witnesses = Some(proved.witnesses.len());
            anchored.validators = Some(proved.validators);
        }
    }

    /// As [`SessionView::new`], without looking at the chunks: the gaps are left out.
    pub fn brief(session: &SessionRecord) -> Self {
        SessionView {
            id: session.id.to_string(),
            source_id: session.source_id.clone(),
            source_name: session.source.name.clone(),
            state: session.state.as_str(),
            started_at: Rfc3339::from_us(session.start_us),
            ended_at: session.ended.map(|ended| Rfc3339::from_us(ended.at_us)),
            end_reason: session.ended.map(|ended| ended.reason.as_str()),
            duration_s: seconds(session.stream_end_us),
            bytes: session.plaintext_bytes,
            stored_bytes: session.sealed_bytes,
            chunks: session.chunks,
            gaps: Vec::new(),
            codec: session.codec.as_ref().map(|codec| CodecView {
                video: codec.video.clone(),
                audio: codec.audio.clone(),
                width: codec.width,
                height: codec.height,
                encoder: EncoderView {
                    name: codec.encoder.clone(),
                    hardware: codec.hardware,
                    reason: codec.reason.clone(),
                },
            }),
            tree_size: session.chunks,
            root: session.root.to_string(),
            anchored: session.anchor.close.map(|height| AnchoredView {
                height,
                time: None,
                witnesses: None,
                validators: None,
            }),
            held: session.hold.as_ref().map(|hold| HoldView {
                reason: hold.reason.clone(),
                since: Rfc3339::from_us(hold.since_us),
            }),
            transitions: session
                .transitions
                .iter()
                .map(|transition| TransitionView {
                    state: transition.state.as_str(),
                    at: Rfc3339::from_us(transition.at_us),
                    reason: transition.reason.clone(),
                })
                .collect(),
            note: session.note.clone(),
        }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The gaps of a session's closed chunks and the one before its open chunk: time is missing from
/// when media comes again, not only from when the chunk after it is closed.
pub fn with_open(mut gaps: Vec<GapRecord>, open: Option<&ChunkMap>) -> Vec<GapRecord> {
    let Some((open, gap)) = open.and_then(|open| Some((open, open.gap_before?))) else {
        return gaps;
    };
    // It may have been closed since the caller looked.
    if gaps.iter().all(|known| known.before_chunk != open.index) {
        gaps.push(GapRecord {
            before_chunk: open.index,
            stream_us: open.stream_start_us.saturating_sub(gap.length_us),
            wall_us: open.wall_start_us.saturating_sub(gap.length_us),
            gap,
        });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use lucid_evidence::chunk::{Gap, GapReason, MediaKind};

    use super::*;

    fn open(gap_before: Option<Gap>) -> ChunkMap {
        ChunkMap {
            session: SessionId::new(0, [0; 10]),
            index: 3,
            kind: MediaKind::Video,
            nonce: [0; 16],
            init_bytes: 0,
            init_pieces: 0,
            runs: Vec::new(),
            fragments: Vec::new(),
            wall_start_us: 50_000_000,
            wall_end_us: 50_000_000,
            stream_start_us: 40_000_000,
            stream_end_us: 40_000_000,
            gap_before,
            clock_jump_us: 0,
        }
    }

    #[test]
    fn a_gap_counts_before_the_chunk_after_it_is_closed_and_once() {
        assert!(with_open(Vec::new(), None).is_empty());
        assert!(with_open(Vec::new(), Some(&open(None))).is_empty());
        let gap = Gap { length_us: 16_000_000, reason: GapReason::SourceLost };
        let known = with_open(Vec::new(), Some(&open(Some(gap))));
        assert_eq!(known.len(), 1);
        assert_eq!((known[0].stream_us, known[0].wall_us), (24_000_000, 34_000_000));
        assert_eq!(with_open(known.clone(), Some(&open(Some(gap)))), known);
    }
}
