//! The manifest: what a session was, how it ended and how many chunks it has, signed by the device
//! key.

use crate::cbor::{CborError, Decoder, Encoder};
use crate::chunk::Gap;
use crate::cose::{self, CoseError};
use crate::{FORMAT_VERSION, Hash, PublicKey, SessionId, SigningKey};

/// The COSE content type of a manifest.
pub const CONTENT_TYPE: &str = "application/vnd.lucid.manifest+cbor";
/// Longest text in a manifest, bytes.
pub const TEXT_MAX_BYTES: usize = 512;
/// Most participants.
pub const PARTICIPANTS_MAX: u64 = 256;
/// Most gaps, and most clock jumps, in one session; the recorder ends a session that reaches it.
pub const GAPS_MAX: u64 = 65_536;
/// Most checkpoint heights.
pub const HEIGHTS_MAX: u64 = 1 << 20;
/// Most chunks in a session.
pub const CHUNKS_MAX: u64 = 1 << 20;

/// Where the media came from. Never holds credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInfo {
    /// The kind: `rtsp`, `v4l2`, `file`, `screen`, `test`, ….
    pub kind: String,
    /// The name its operator gave it.
    pub name: String,
    /// Its address without credentials.
    pub address: String,
}

/// What was recorded and who encoded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecInfo {
    /// RFC 6381 codec string of the picture.
    pub video: Option<String>,
    /// RFC 6381 codec string of the sound.
    pub audio: Option<String>,
    /// Picture width, pixels; 0 if there is no picture.
    pub width: u64,
    /// Picture height, pixels.
    pub height: u64,
    /// The encoder, for instance `x264enc`, or `source` where the source encodes.
    pub encoder: String,
    /// Whether that encoder is hardware of this device.
    pub hardware: bool,
    /// Why this encoder.
    pub reason: String,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Somebody allowed to stopped it.
    Stopped,
    /// The source came to its end.
    SourceEnded,
    /// The recorder stopped without warning and closed the session when it came back.
    Crash,
    /// The recorder was shut down in order.
    Shutdown,
    /// No space was left that may be freed.
    StorageFull,
    /// The source failed for good.
    SourceFailed,
    /// A limit of the session was reached.
    Limit,
    /// Ended by a policy.
    Policy,
    /// Ended as void: the policy in force was no longer the one that was anchored.
    Void,
}

impl EndReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [EndReason; 9] = [
        EndReason::Stopped,
        EndReason::SourceEnded,
        EndReason::Crash,
        EndReason::Shutdown,
        EndReason::StorageFull,
        EndReason::SourceFailed,
        EndReason::Limit,
        EndReason::Policy,
        EndReason::Void,
    ];

    /// The code in the encoding.
    pub fn code(self) -> u64 {
        Self::ALL.iter().position(|reason| *reason == self).unwrap_or_default() as u64
    }

    /// The reason of a code.
    pub fn from_code(code: u64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).copied()
    }

    /// The reason in words, also its stable name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Stopped => "stopped",
            EndReason::SourceEnded => "source ended",
            EndReason::Crash => "recorder stopped without warning",
            EndReason::Shutdown => "shutdown",
            EndReason::StorageFull => "storage full",
            EndReason::SourceFailed => "source failed",
            EndReason::Limit => "limit reached",
            EndReason::Policy => "ended by policy",
            EndReason::Void => "void, its policy was no longer the anchored one",
        }
    }
}

/// A gap and where it stands in the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapRecord {
    /// The chunk it comes before; the tree size for a gap at the end.
    pub before_chunk: u64,
    /// Where it begins, microseconds of the stream clock.
    pub stream_us: u64,
    /// When it begins, microseconds since 1970 by the device's clock.
    pub wall_us: u64,
    /// How long and why.
    pub gap: Gap,
}

impl GapRecord {
    /// Where it ends, microseconds of the stream clock; none if that is beyond all clocks.
    pub fn end(&self) -> Option<u64> {
        self.stream_us.checked_add(self.gap.length_us)
    }
}

/// A jump of the device's clock while it recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// Where, microseconds of the stream clock.
    pub stream_us: u64,
    /// By how much the wall clock was set, microseconds; negative for backwards.
    pub by_us: i64,
}

/// What a session was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The session.
    pub session: SessionId,
    /// The session key that signed the checkpoints.
    pub session_key: PublicKey,
    /// The source.
    pub source: SourceInfo,
    /// The codec.
    pub codec: CodecInfo,
    /// The device's name.
    pub device_name: String,
    /// The device key, which signs this manifest.
    pub device_key: PublicKey,
    /// The software that recorded, for instance `lucid 0.1.0`.
    pub software: String,
    /// Hash of the policy in force, where there is one.
    pub policy: Option<Hash>,
    /// Who took part, where the session has people.
    pub participants: Vec<String>,
    /// Start, microseconds since 1970 by the device's clock.
    pub start_us: u64,
    /// End, microseconds since 1970 by the device's clock.
    pub end_us: u64,
    /// Length by the stream clock, gaps included, microseconds.
    pub duration_us: u64,
    /// Why it ended.
    pub end_reason: EndReason,
    /// Chunks, which are the leaves of the tree.
    pub tree_size: u64,
    /// The root over them.
    pub root: Hash,
    /// Every gap, in order.
    pub gaps: Vec<GapRecord>,
    /// Jumps of the device's clock, in order.
    pub clock_jumps: Vec<ClockJump>,
    /// Heights of the blocks that hold its checkpoints, ascending.
    pub checkpoint_heights: Vec<u64>,
}

impl Manifest {
    /// The deterministic encoding, which is what is signed.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(19).uint(0).uint(FORMAT_VERSION);
        e.uint(1).bytes(self.session.as_bytes());
        e.uint(2).bytes(self.session_key.as_bytes());
        let source = &self.source;
        e.uint(3).array(3).text(&source.kind).text(&source.name).text(&source.address);
        let codec = &self.codec;
        e.uint(4).array(7);
        e.optional_text(codec.video.as_deref()).optional_text(codec.audio.as_deref());
        e.uint(codec.width).uint(codec.height);
        e.text(&codec.encoder).bool(codec.hardware).text(&codec.reason);
        e.uint(5).text(&self.device_name);
        e.uint(6).bytes(self.device_key.as_bytes());
        e.uint(7).text(&self.software);
        e.uint(8);
        match &self.policy {
            Some(hash) => e.bytes(hash.as_bytes()),
            None => e.null(),
        };
        e.uint(9).array(self.participants.len() as u64);
        for participant in &self.participants {
            e.text(participant);
        }
        e.uint(10).uint(self.start_us).uint(11).uint(self.end_us).uint(12).uint(self.duration_us);
        e.uint(13).uint(self.end_reason.code());
        e.uint(14).uint(self.tree_size).uint(15).bytes(self.root.as_bytes());
        e.uint(16).array(self.gaps.len() as u64);
        for record in &self.gaps {
            e.array(4).uint(record.before_chunk).uint(record.stream_us).uint(record.wall_us);
            record.gap.encode(&mut e);
        }
        e.uint(17).array(self.clock_jumps.len() as u64);
        for jump in &self.clock_jumps {
            e.array(2).uint(jump.stream_us).int(jump.by_us);
        }
        e.uint(18).array(self.checkpoint_heights.len() as u64);
        for height in &self.checkpoint_heights {
            e.uint(*height);
        }
        e.finish()
    }

    /// Reads the deterministic encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("manifest", 19)?;
        d.version("manifest.version", FORMAT_VERSION)?;
        let session = d.key("manifest.session", 1)?.session_id("manifest.session")?;
        let session_key = d.key("manifest.session_key", 2)?.public_key("manifest.session_key")?;
        d.key("manifest.source", 3)?.array_of("manifest.source", 3)?;
        let source = SourceInfo {
            kind: text(&mut d, "manifest.source.kind")?,
            name: text(&mut d, "manifest.source.name")?,
            address: text(&mut d, "manifest.source.address")?,
        };
        d.key("manifest.codec", 4)?.array_of("manifest.codec", 7)?;
        let codec = CodecInfo {
            video: d.optional("manifest.codec.video", |d| text(d, "manifest.codec.video"))?,
            audio: d.optional("manifest.codec.audio", |d| text(d, "manifest.codec.audio"))?,
            width: d.u64_up_to("manifest.codec.width", 65_535)?,
            height: d.u64_up_to("manifest.codec.height", 65_535)?,
            encoder: text(&mut d, "manifest.codec.encoder")?,
            hardware: d.bool("manifest.codec.hardware")?,
            reason: text(&mut d, "manifest.codec.reason")?,
        };
        let device_name = text(d.key("manifest.device_name", 5)?, "manifest.device_name")?;
        let device_key = d.key("manifest.device_key", 6)?.public_key("manifest.device_key")?;
        let software = text(d.key("manifest.software", 7)?, "manifest.software")?;
        let policy = d
            .key("manifest.policy", 8)?
            .optional("manifest.policy", |d| d.hash("manifest.policy"))?;
        let participants = list(&mut d, "manifest.participants", 9, PARTICIPANTS_MAX, |d| {
            text(d, "manifest.participants")
        })?;
        let start_us = d.key("manifest.start", 10)?.u64("manifest.start")?;
        let end_us = d.key("manifest.end", 11)?.u64("manifest.end")?;
        let duration_us = d.key("manifest.duration", 12)?.u64("manifest.duration")?;
        let code = d.key("manifest.end_reason", 13)?.u64("manifest.end_reason")?;
        let end_reason = EndReason::from_code(code).ok_or_else(|| {
            d.value_error("manifest.end_reason", format!("unknown end reason {code}"))
        })?;
        let tree_size =
            d.key("manifest.tree_size", 14)?.u64_up_to("manifest.tree_size", CHUNKS_MAX)?;
        let root = d.key("manifest.root", 15)?.hash("manifest.root")?;
        let gaps = list(&mut d, "manifest.gaps", 16, GAPS_MAX, |d| {
            d.array_of("manifest.gaps", 4)?;
            Ok(GapRecord {
                before_chunk: d.u64("manifest.gaps.before_chunk")?,
                stream_us: d.u64("manifest.gaps.stream")?,
                wall_us: d.u64("manifest.gaps.wall")?,
                gap: Gap::decode(d, "manifest.gaps.gap")?,
            })
        })?;
        let clock_jumps = list(&mut d, "manifest.clock_jumps", 17, GAPS_MAX, |d| {
            d.array_of("manifest.clock_jumps", 2)?;
            Ok(ClockJump {
                stream_us: d.u64("manifest.clock_jumps.stream")?,
                by_us: d.i64("manifest.clock_jumps.by")?,
            })
        })?;
        let checkpoint_heights =
            list(&mut d, "manifest.checkpoint_heights", 18, HEIGHTS_MAX, |d| {
                d.u64("manifest.checkpoint_heights")
            })?;
        d.end("manifest")?;
        Ok(Manifest {
            session,
            session_key,
            source,
            codec,
            device_name,
            device_key,
            software,
            policy,
            participants,
            start_us,
            end_us,
            duration_us,
            end_reason,
            tree_size,
            root,
            gaps,
            clock_jumps,
            checkpoint_heights,
        })
    }

    /// Signs it with the device key.
    pub fn sign(self, key: &SigningKey) -> SignedManifest {
        let bytes = cose::sign1(key, CONTENT_TYPE, &self.encode());
        SignedManifest { manifest: self, bytes }
    }
}

fn text(d: &mut Decoder<'_>, field: &'static str) -> Result<String, CborError> {
    d.text(field, TEXT_MAX_BYTES).map(str::to_owned)
}

/// Reads key `key` and the list below it, of at most `limit` items.
fn list<T>(
    d: &mut Decoder<'_>,
    field: &'static str,
    key: u64,
    limit: u64,
    mut item: impl FnMut(&mut Decoder<'_>) -> Result<T, CborError>,
) -> Result<Vec<T>, CborError> {
    let count = d.key(field, key)?.array(field, limit)?;
    // Grown as items are read: a head that promises many costs nothing.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(d)?);
    }
    Ok(items)
}

/// Cuts a text at the format's limit, at a character boundary.
pub fn clip(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A manifest with the signed bytes it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    manifest: Manifest,
    bytes: Vec<u8>,
}

/// Why a signed manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The envelope or its signature.
    #[error(transparent)]
    Cose(#[from] CoseError),
    /// What was signed is no manifest.
    #[error(transparent)]
    Content(#[from] CborError),
}

impl ManifestError {
    /// Whether the manifest is of a version this program does not know.
    pub fn is_unknown_version(&self) -> bool {
        matches!(
            self,
            ManifestError::Content(CborError { problem: crate::cbor::Problem::Version { .. }, .. })
        )
    }
}

impl SignedManifest {
    /// Reads COSE bytes and verifies them against the device key that the manifest names. Whose key
    /// that is, the chain and the verifier's expectation say.
    pub fn verify(bytes: &[u8]) -> Result<Self, ManifestError> {
        let envelope = cose::open(bytes, CONTENT_TYPE)?;
        let manifest = Manifest::decode(envelope.payload())?;
        envelope.verify(&manifest.device_key)?;
        Ok(SignedManifest { manifest, bytes: bytes.to_vec() })
    }

    /// What was signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The COSE_Sign1 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of the COSE_Sign1 bytes, which the chain holds.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::chunk::GapReason;

    /// A manifest with every field in use.
    pub(crate) fn example(device: &SigningKey, session_key: PublicKey) -> Manifest {
        Manifest {
            session: SessionId::new(1_793_000_000_000, [5; 10]),
            session_key,
            source: SourceInfo {
                kind: "rtsp".into(),
                name: "Front door".into(),
                address: "rtsp://***@camera.example/stream".into(),
            },
            codec: CodecInfo {
                video: Some("avc1.64001f".into()),
                audio: None,
                width: 1280,
                height: 720,
                encoder: "source".into(),
                hardware: false,
                reason: "the camera encodes".into(),
            },
            device_name: "lucid-test".into(),
            device_key: device.public(),
            software: "lucid 0.1.0".into(),
            policy: Some(Hash([3; 32])),
            participants: vec!["Ada".into()],
            start_us: 1_793_000_000_000_000,
            end_us: 1_793_000_060_000_000,
            duration_us: 60_000_000,
            end_reason: EndReason::Stopped,
            tree_size: 2,
            root: Hash([1; 32]),
            gaps: vec![GapRecord {
                before_chunk: 1,
                stream_us: 5,
                wall_us: 6,
                gap: Gap { length_us: 7, reason: GapReason::SourceLost },
            }],
            clock_jumps: vec![ClockJump { stream_us: 1, by_us: -3_600_000_000 }],
            checkpoint_heights: vec![4, 5],
        }
    }

    #[test]
    fn a_manifest_goes_both_ways_and_no_byte_is_free() {
        let device = SigningKey::from_seed(&[1; 32]);
        let manifest = example(&device, SigningKey::from_seed(&[2; 32]).public());
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        let signed = manifest.sign(&device);
        assert_eq!(SignedManifest::verify(signed.as_bytes()), Ok(signed.clone()));
        for at in 0..signed.as_bytes().len() {
            let mut changed = signed.as_bytes().to_vec();
            changed[at] ^= 1;
            assert!(SignedManifest::verify(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn another_device_cannot_sign_for_this_one() {
        let device = SigningKey::from_seed(&[1; 32]);
        let other = SigningKey::from_seed(&[9; 32]);
        let manifest = example(&device, SigningKey::from_seed(&[2; 32]).public());
        let forged = manifest.sign(&other);
        assert!(matches!(SignedManifest::verify(forged.as_bytes()), Err(ManifestError::Cose(_))));
    }

    #[test]
    fn long_texts_are_clipped_between_characters() {
        assert_eq!(clip(&"é".repeat(400)).len(), 512);
        assert_eq!(clip(&format!("a{}", "é".repeat(400))).len(), 511);
    }
}
