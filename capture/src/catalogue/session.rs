//! The record of a session: what it is, how far it has come, and why it stands where it stands.

use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::chunk::{Gap, GapReason};
use lucid_evidence::manifest::{
    CodecInfo, EndReason, PARTICIPANTS_MAX, SourceInfo, TEXT_MAX_BYTES,
};
use lucid_evidence::{Hash, PublicKey, SessionId};

const VERSION: u64 = 1;
/// Transitions kept; a session has at most one of each state and a few repeats.
pub const TRANSITIONS_MAX: usize = 32;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Its keys are made; no media has come yet.
    Created,
    /// Media comes in and is made durable.
    Recording,
    /// No more media; the last chunk is closed and the manifest signed.
    Processing,
    /// All of it is durable.
    Stored,
    /// Its close is in a block.
    Anchored,
    /// Its keys for signing are gone and its proof is complete.
    Completed,
    /// No media ever came. Its close is anchored; it stays in this state.
    Failed,
    /// It was ended against its will, by a policy or an operator's emergency stop. Its close is
    /// anchored; it stays in this state.
    Terminated,
    /// Its keys were destroyed; a tombstone stands for it.
    Deleted,
}

impl SessionState {
    /// All states, in the order of their codes.
    pub const ALL: [SessionState; 9] = [
        SessionState::Created,
        SessionState::Recording,
        SessionState::Processing,
        SessionState::Stored,
        SessionState::Anchored,
        SessionState::Completed,
        SessionState::Failed,
        SessionState::Terminated,
        SessionState::Deleted,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::Created => "created",
            SessionState::Recording => "recording",
            SessionState::Processing => "processing",
            SessionState::Stored => "stored",
            SessionState::Anchored => "anchored",
            SessionState::Completed => "completed",
            SessionState::Failed => "failed",
            SessionState::Terminated => "terminated",
            SessionState::Deleted => "deleted",
        }
    }

    /// Whether media may still come.
    pub fn is_running(self) -> bool {
        matches!(self, SessionState::Created | SessionState::Recording | SessionState::Processing)
    }

    fn code(self) -> u64 {
        Self::ALL.iter().position(|state| *state == self).unwrap_or_default() as u64
    }

    fn from_code(code: u64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).copied()
    }
}

impl std::str::FromStr for SessionState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// A step from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The state entered.
    pub state: SessionState,
    /// When, microseconds since 1970.
    pub at_us: u64,
    /// Why, for people.
    pub reason: String,
}

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why it is held.
    pub reason: String,
    /// Since when, microseconds since 1970.
    pub since_us: u64,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When, microseconds since 1970.
    pub at_us: u64,
    /// Why.
    pub reason: EndReason,
    /// Time missing at its end.
    pub tail_gap: Option<Gap>,
}

/// In which blocks the session stands; none for not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnchorHeights {
    /// Its opening.
    pub open: Option<u64>,
    /// Its close.
    pub close: Option<u64>,
    /// Its tombstone.
    pub tombstone: Option<u64>,
}

/// The record of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session.
    pub id: SessionId,
    /// The source's identifier in the settings.
    pub source_id: String,
    /// The source.
    pub source: SourceInfo,
    /// What is recorded; known once media has come.
    pub codec: Option<CodecInfo>,
    /// The device's name.
    pub device_name: String,
    /// The software that records.
    pub software: String,
    /// The session's public key.
    pub session_key: PublicKey,
    /// Hash of the policy in force, where there is one.
    pub policy: Option<Hash>,
    /// Who takes part.
    pub participants: Vec<String>,
    /// What its operator wrote about it.
    pub note: String,
    /// Where it stands.
    pub state: SessionState,
    /// How it came there.
    pub transitions: Vec<Transition>,
    /// When it was opened, microseconds since 1970.
    pub start_us: u64,
    /// How it ended.
    pub ended: Option<Ended>,
    /// Closed chunks.
    pub chunks: u64,
    /// Bytes of media in them.
    pub plaintext_bytes: u64,
    /// Bytes of sealed pieces in them.
    pub sealed_bytes: u64,
    /// Where its media ends so far, microseconds of the stream clock; gaps counted.
    pub stream_end_us: u64,
    /// Volume in use when it was opened: its pieces lie there or after.
    pub first_volume: u64,
    /// The root over its closed chunks.
    pub root: Hash,
    /// Its legal hold.
    pub hold: Option<Hold>,
    /// Its place on the chain.
    pub anchor: AnchorHeights,
}

impl SessionRecord {
    /// Enters a state.
    pub fn enter(&mut self, state: SessionState, at_us: u64, reason: impl Into<String>) {
        self.state = state;
        let reason = lucid_evidence::manifest::clip(&reason.into());
        if self.transitions.len() == TRANSITIONS_MAX {
            // The first ones tell how it began, the last ones where it stands.
            self.transitions.remove(TRANSITIONS_MAX / 2);
        }
        self.transitions.push(Transition { state, at_us, reason });
    }

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.array(24).uint(VERSION).bytes(self.id.as_bytes()).text(&self.source_id);
        let source = &self.source;
        e.array(3).text(&source.kind).text(&source.name).text(&source.address);
        match &self.codec {
            None => {
                e.null();
            }
            Some(codec) => {
                e.array(7);
                e.optional_text(codec.video.as_deref()).optional_text(codec.audio.as_deref());
                e.uint(codec.width).uint(codec.height).text(&codec.encoder);
                e.bool(codec.hardware).text(&codec.reason);
            }
        }
        e.text(&self.device_name).text(&self.software).bytes(self.session_key.as_bytes());
        match &self.policy {
            Some(policy) => e.bytes(policy.as_bytes()),
            None => e.null(),
        };
        e.array(self.participants.len() as u64);
        for participant in &self.participants {
            e.text(participant);
        }
        e.text(&self.note).uint(self.state.code());
        e.array(self.transitions.len() as u64);
        for transition in &self.transitions {
            e.array(3).uint(transition.state.code()).uint(transition.at_us);
            e.text(&transition.reason);
        }
        e.uint(self.start_us);
        match &self.ended {
            None => {
                e.null();
            }
            Some(ended) => {
                e.array(3).uint(ended.at_us).uint(ended.reason.code());
                match &ended.tail_gap {
                    None => e.null(),
                    Some(gap) => e.array(2).uint(gap.length_us).uint(gap.reason.code()),
                };
            }
        }
        e.uint(self.chunks).uint(self.plaintext_bytes).uint(self.sealed_bytes);
        e.uint(self.stream_end_us).uint(self.first_volume).bytes(self.root.as_bytes());
        match &self.hold {
            None => e.null(),
            Some(hold) => e.array(2).text(&hold.reason).uint(hold.since_us),
        };
        e.optional_uint(self.anchor.open).optional_uint(self.anchor.close);
        e.optional_uint(self.anchor.tombstone);
        e.finish()
    }

    /// Reads the record's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.array_of("session", 24)?;
        let found = d.u64("session.version")?;
        if found != VERSION {
            let problem = lucid_evidence::cbor::Problem::Version { found, known: VERSION };
            return Err(d.error("session.version", problem));
        }
        let record = SessionRecord {
            id: d.session_id("session.id")?,
            source_id: text(&mut d, "session.source_id")?,
            source: {
                d.array_of("session.source", 3)?;
                SourceInfo {
                    kind: text(&mut d, "session.source.kind")?,
                    name: text(&mut d, "session.source.name")?,
                    address: text(&mut d, "session.source.address")?,
                }
            },
            codec: d.optional("session.codec", |d| {
                d.array_of("session.codec", 7)?;
                Ok(CodecInfo {
                    video: d.optional("session.codec.video", |d| text(d, "session.codec.video"))?,
                    audio: d.optional("session.codec.audio", |d| text(d, "session.codec.audio"))?,
                    width: d.u64("session.codec.width")?,
                    height: d.u64("session.codec.height")?,
                    encoder: text(d, "session.codec.encoder")?,
                    hardware: d.bool("session.codec.hardware")?,
                    reason: text(d, "session.codec.reason")?,
                })
            })?,
            device_name: text(&mut d, "session.device_name")?,
            software: text(&mut d, "session.software")?,
            session_key: d.public_key("session.session_key")?,
            policy: d.optional("session.policy", |d| d.hash("session.policy"))?,
            participants: {
                let count = d.array("session.participants", PARTICIPANTS_MAX)?;
                (0..count)
                    .map(|_| text(&mut d, "session.participants"))
                    .collect::<Result<_, _>>()?
            },
            note: text(&mut d, "session.note")?,
            state: state(&mut d)?,
            transitions: {
                let count = d.array("session.transitions", TRANSITIONS_MAX as u64)?;
                (0..count).map(|_| transition(&mut d)).collect::<Result<_, _>>()?
            },
            start_us: d.u64("session.start")?,
            ended: d.optional("session.ended", ended)?,
            chunks: d.u64("session.chunks")?,
            plaintext_bytes: d.u64("session.plaintext_bytes")?,
            sealed_bytes: d.u64("session.sealed_bytes")?,
            stream_end_us: d.u64("session.stream_end")?,
            first_volume: d.u64("session.first_volume")?,
            root: d.hash("session.root")?,
            hold: d.optional("session.hold", |d| {
                d.array_of("session.hold", 2)?;
                let reason = text(d, "session.hold.reason")?;
                Ok(Hold { reason, since_us: d.u64("session.hold.since")? })
            })?,
            anchor: AnchorHeights {
                open: d.optional("session.anchor.open", |d| d.u64("session.anchor.open"))?,
                close: d.optional("session.anchor.close", |d| d.u64("session.anchor.close"))?,
                tombstone: d
                    .optional("session.anchor.tombstone", |d| d.u64("session.anchor.tombstone"))?,
            },
        };
        d.end("session")?;
        Ok(record)
    }
}

fn text(d: &mut Decoder<'_>, field: &'static str) -> Result<String, CborError> {
    d.text(field, TEXT_MAX_BYTES).map(str::to_owned)
}

fn state(d: &mut Decoder<'_>) -> Result<SessionState, CborError> {
    let code = d.u64("session.state")?;
    SessionState::from_code(code)
        .ok_or_else(|| d.value_error("session.state", format!("unknown state {code}")))
}

fn transition(d: &mut Decoder<'_>) -> Result<Transition, CborError> {
    d.array_of("session.transitions", 3)?;
    Ok(Transition {
        state: state(d)?,
        at_us: d.u64("session.transitions.at")?,
        reason: text(d, "session.transitions.reason")?,
    })
}

fn ended(d: &mut Decoder<'_>) -> Result<Ended, CborError> {
    d.array_of("session.ended", 3)?;
    let at_us = d.u64("session.ended.at")?;
    let code = d.u64("session.ended.reason")?;
    let reason = EndReason::from_code(code)
        .ok_or_else(|| d.value_error("session.ended.reason", format!("unknown reason {code}")))?;
    let tail_gap = d.optional("session.ended.tail_gap", |d| {
        d.array_of("session.ended.tail_gap", 2)?;
        let length_us = d.u64("session.ended.tail_gap.length")?;
        let reason = GapReason::from_code(d.u64("session.ended.tail_gap.reason")?)
            .ok_or_else(|| d.value_error("session.ended.tail_gap.reason", "unknown reason"))?;
        Ok(Gap { length_us, reason })
    })?;
    Ok(Ended { at_us, reason, tail_gap })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use lucid_evidence::SigningKey;

    pub(crate) fn example() -> SessionRecord {
        SessionRecord {
            id: SessionId::new(1_793_000_000_000, [1; 10]),
            source_id: "src-1".into(),
            source: SourceInfo {
                kind: "test".into(),
                name: "Demo".into(),
                address: "test://".into(),
            },
            codec: None,
            device_name: "lucid".into(),
            software: "lucid 0.1.0".into(),
            session_key: SigningKey::from_seed(&[1; 32]).public(),
            policy: None,
            participants: vec![],
            note: String::new(),
            state: SessionState::Created,
            transitions: vec![],
            start_us: 1_793_000_000_000_000,
            ended: None,
            chunks: 0,
            plaintext_bytes: 0,
            sealed_bytes: 0,
            stream_end_us: 0,
            first_volume: 0,
            root: Hash([0; 32]),
            hold: None,
            anchor: AnchorHeights::default(),
        }
    }

    #[test]
    fn a_record_with_everything_goes_both_ways() {
        let mut record = example();
        assert_eq!(SessionRecord::decode(&record.encode()), Ok(record.clone()));
        record.codec = Some(CodecInfo {
            video: Some("avc1.64001f".into()),
            audio: None,
            width: 1280,
            height: 720,
            encoder: "x264enc".into(),
            hardware: false,
            reason: "software".into(),
        });
        record.policy = Some(Hash([2; 32]));
        record.participants = vec!["Ada".into()];
        record.enter(SessionState::Recording, 5, "first picture");
        let tail_gap = Some(Gap { length_us: 1_000_000, reason: GapReason::Crash });
        record.ended = Some(Ended { at_us: 9, reason: EndReason::Crash, tail_gap });
        record.hold = Some(Hold { reason: "case 12".into(), since_us: 3 });
        record.anchor = AnchorHeights { open: Some(1), close: Some(2), tombstone: None };
        assert_eq!(SessionRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn transitions_are_bounded_and_keep_both_ends() {
        let mut record = example();
        for at in 0..100 {
            record.enter(SessionState::Recording, at, "again");
        }
        assert_eq!(record.transitions.len(), TRANSITIONS_MAX);
        assert_eq!(record.transitions[0].at_us, 0);
        assert_eq!(record.transitions.last().unwrap().at_us, 99);
        assert!(SessionRecord::decode(&record.encode()).is_ok());
    }
}
