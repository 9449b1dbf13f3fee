//! Two small recordings made from fixed seeds: a camera's with three chunks, a gap, a change of
//! codec and a clock that jumped, and a desktop's with events.

mod chain;

pub use chain::Chain;

use lucid_evidence::bundle::{self, Disclosure};
use lucid_evidence::checkpoint::Checkpoint;
use lucid_evidence::chunk::{ChunkHeader, ChunkSealer, Gap, GapReason, MediaKind, TimeSpan};
use lucid_evidence::event::{Event, Value};
use lucid_evidence::manifest::{
    ClockJump, CodecInfo, EndReason, GapRecord, Manifest, SignedManifest, SourceInfo,
};
use lucid_evidence::proof::Proof;
use lucid_evidence::seal::SessionSecret;
use lucid_evidence::tree::{Blake3, Tree};
use lucid_evidence::{Hash, SessionId, SigningKey};
use std::convert::Infallible;
use std::io::Cursor;

/// Seed of the device key.
pub const DEVICE_SEED: [u8; 32] = [0x11; 32];
/// Seed of the session key.
pub const SESSION_SEED: [u8; 32] = [0x22; 32];
/// The session secret.
pub const SECRET: [u8; 32] = [0x33; 32];
/// 1 November 2026, 12:00:00 UTC, in microseconds since 1970.
pub const START_US: u64 = 1_793_534_400_000_000;

/// The recording with everything that a bundle of it needs.
#[derive(Debug)]
pub struct Sample {
    /// The manifest before it is signed.
    pub manifest: Manifest,
    /// The manifest.
    pub signed: SignedManifest,
    /// The proof for all chunks.
    pub proof: Proof,
    /// The headers of all chunks.
    pub headers: Vec<ChunkHeader>,
    /// The framed pieces of all chunks.
    pub sealed: Vec<Vec<u8>>,
    /// What the chunks hold.
    pub plaintexts: Vec<Vec<u8>>,
    /// The session secret.
    pub secret: SessionSecret,
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut out);
    out
}

/// What a chunk is made of.
struct Cut {
    kind: MediaKind,
    /// Of video an initialisation segment, then fragments; of events, batches.
    parts: Vec<Vec<u8>>,
    gap: Option<Gap>,
    /// By how much the device's clock is behind the stream clock, microseconds.
    behind_us: u64,
    /// Whether a checkpoint covers it.
    checkpoint: bool,
}

fn text(n: usize) -> Vec<u8> {
    format!("fragment {n}, one second of video; ").repeat(12).into_bytes()
}

fn video(parts: Vec<Vec<u8>>) -> Cut {
    Cut { kind: MediaKind::Video, parts, gap: None, behind_us: 0, checkpoint: true }
}

/// Three chunks of video. The second holds a piece that does not compress, the third one more than
/// a piece holds.
fn camera() -> Vec<Cut> {
    let first = b"initialisation segment A; ".repeat(8);
    let second = b"initialisation segment B; ".repeat(8);
    let gap = Some(Gap { length_us: 20_000_000, reason: GapReason::SourceLost });
    vec![
        video(vec![first.clone(), text(0), text(1)]),
        Cut { gap, checkpoint: false, ..video(vec![first, noise(300), text(2)]) },
        // The clock was set back by an hour after the second chunk had begun.
        Cut {
            behind_us: 3_600_000_000,
            ..video(vec![second, vec![0x55; 65_600], Vec::new(), noise(40)])
        },
    ]
}

fn event(stream_us: u64, kind: &str, fields: Vec<(&str, Value<'_>)>) -> Vec<u8> {
    Event { stream_us, wall_us: START_US + stream_us, kind, fields }.encode()
}

/// A desktop: events before the first picture, video with events beside it, video without.
fn desktop() -> Vec<Cut> {
    let init = b"initialisation segment A; ".repeat(8);
    let events = |parts| Cut { kind: MediaKind::Events, ..video(parts) };
    let user = ("user", Value::Text("ada"));
    vec![
        events(vec![
            [
                event(0, "connection", vec![user.clone(), ("change", Value::Text("opened"))]),
                event(0, "notice_accepted", vec![user, ("text", Value::Bytes(&[0xa5; 32]))]),
            ]
            .concat(),
        ]),
        Cut { checkpoint: false, ..video(vec![init.clone(), text(0), text(1)]) },
        events(vec![
            event(
                500_000,
                "window",
                vec![
                    ("title", Value::Text("Quarterly \"Figures\"\n\u{202e}\u{1d11e} é \\")),
                    ("application", Value::Text("xterm")),
                ],
            ),
            event(
                u64::from(u32::MAX) + 1,
                "keys",
                vec![
                    ("count", Value::Uint(u64::MAX)),
                    ("strokes", Value::Array(vec![Value::Array(vec![Value::Uint(0)])])),
                    ("hidden", Value::Null),
                    ("on", Value::Bool(false)),
                ],
            ),
        ]),
        video(vec![init, text(2)]),
    ]
}

impl Sample {
    /// The recording of a camera; always the same.
    pub fn new() -> Self {
        let source = ["rtsp", "Front door", "rtsp://camera.example/stream"];
        Self::of([0x44; 10], source, camera())
    }

    /// The recording of a desktop, with events; always the same.
    pub fn desktop() -> Self {
        Self::of([0x45; 10], ["screen", "Accounts", "screen://:7"], desktop())
    }

    fn of(id: [u8; 10], [kind, name, address]: [&str; 3], cuts: Vec<Cut>) -> Self {
        let session = SessionId::new(START_US / 1000, id);
        let session_key = SigningKey::from_seed(&SESSION_SEED);
        let secret = SessionSecret::from_bytes(SECRET);
        let (mut headers, mut sealed, mut plaintexts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut gaps, mut clock_jumps) = (Vec::new(), Vec::new());
        let mut tree = Tree::<Blake3>::new();
        let mut checkpoints = Vec::new();
        let (mut clock, mut behind) = (0, 0);
        for (index, cut) in (0u64..).zip(cuts) {
            let nonce = [0x50 + index as u8; 16];
            let mut sealer = ChunkSealer::new(session, index, cut.kind, &secret, nonce);
            let mut bytes = Vec::new();
            for part in &cut.parts {
                bytes.extend(sealer.push(part).expect("the sample is small").concat());
            }
            if let Some(gap) = cut.gap {
                let (stream_us, wall_us) = (clock, START_US + clock - behind);
                gaps.push(GapRecord { before_chunk: index, stream_us, wall_us, gap });
                clock += gap.length_us;
            }
            if cut.behind_us != behind {
                behind = cut.behind_us;
                clock_jumps
                    .push(ClockJump { stream_us: clock - 1_000_000, by_us: -(behind as i64) });
            }
            let (init, length) = match cut.kind {
                MediaKind::Video => (cut.parts[0].len() as u64, 2_000_000),
                MediaKind::Events => (0, 0),
            };
            let time = TimeSpan {
                wall_start_us: START_US + clock - behind,
                wall_end_us: START_US + clock + length - behind,
                stream_start_us: clock,
                stream_end_us: clock + length,
            };
            clock += length;
            let (last, header) = sealer.finish(time, init, cut.gap).expect("the sample is small");
            bytes.extend(last);
            tree.push(header.leaf());
            headers.push(header);
            sealed.push(bytes);
            plaintexts.push(cut.parts.concat());
            if cut.checkpoint {
                let (tree_size, root) = (tree.size(), tree.root());
                let time_us = START_US + clock - behind;
                let checkpoint = Checkpoint { session, tree_size, root, time_us };
                checkpoints.push(checkpoint.sign(&session_key).as_bytes().to_vec());
            }
        }
        let manifest = Manifest {
            session,
            session_key: session_key.public(),
            source: SourceInfo { kind: kind.into(), name: name.into(), address: address.into() },
            codec: CodecInfo {
                video: Some("avc1.64001f".into()),
                audio: None,
                width: 1280,
                height: 720,
                encoder: "source".into(),
                hardware: false,
                reason: "the camera encodes".into(),
            },
            device_name: "lucid-sample".into(),
            device_key: SigningKey::from_seed(&DEVICE_SEED).public(),
            software: "lucid 0.1.0".into(),
            policy: Some(Hash::of(b"policy")),
            participants: vec!["Ada".into(), "Grace".into()],
            start_us: START_US,
            end_us: START_US + clock - behind,
            duration_us: clock,
            end_reason: EndReason::Stopped,
            tree_size: tree.size(),
            root: tree.root(),
            gaps,
            clock_jumps,
            checkpoint_heights: vec![3, 4],
        };
        let proof = Proof {
            session,
            leaves: tree.leaves().to_vec(),
            first_chunk: 0,
            chunk_count: tree.size(),
            checkpoints,
            anchor: None,
        };
        let signed = manifest.clone().sign(&SigningKey::from_seed(&DEVICE_SEED));
        Sample { manifest, signed, proof, headers, sealed, plaintexts, secret }
    }

    /// The bundle of `count` chunks from `first` on.
    pub fn bundle(&self, first: u64, count: u64, disclosure: &Disclosure<'_>) -> Vec<u8> {
        let proof = Proof { first_chunk: first, chunk_count: count, ..self.proof.clone() };
        let headers = &self.headers[first as usize..(first + count) as usize];
        let mut out = Cursor::new(Vec::new());
        let load = |h: &ChunkHeader| Ok::<_, Infallible>(self.sealed[h.index as usize].clone());
        bundle::write(&mut out, &self.signed, &proof, headers, disclosure, load, |_, _| {})
            .expect("a bundle in memory is written");
        out.into_inner()
    }

    /// Bundles of every form, with their names.
    pub fn bundles(&self) -> Vec<(&'static str, Vec<u8>)> {
        let secret = &self.secret;
        let desktop = Self::desktop();
        vec![
            ("desktop", desktop.bundle(0, 4, &Disclosure::Video(&desktop.secret))),
            ("desktop-range", desktop.bundle(2, 2, &Disclosure::Keys(&desktop.secret))),
            ("disclosed", self.bundle(0, 3, &Disclosure::Video(secret))),
            ("keys", self.bundle(0, 3, &Disclosure::Keys(secret))),
            ("sealed", self.bundle(0, 3, &Disclosure::Sealed)),
            ("range", self.bundle(1, 2, &Disclosure::Video(secret))),
            ("withheld", self.bundle(0, 0, &Disclosure::Sealed)),
        ]
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::new()
    }
}
