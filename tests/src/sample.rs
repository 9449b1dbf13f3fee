//! One small recording made from fixed seeds: three chunks, a gap, a change of codec, a clock that
//! jumped.

mod chain;

pub use chain::Chain;

use lucid_evidence::bundle::{self, Disclosure};
use lucid_evidence::checkpoint::Checkpoint;
use lucid_evidence::chunk::{ChunkHeader, ChunkSealer, Gap, GapReason, MediaKind, TimeSpan};
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

/// Parts of the media of each chunk: an initialisation segment, then fragments. The second holds a
/// piece that does not compress, the third one more than a piece holds.
fn media() -> [Vec<Vec<u8>>; 3] {
    let first = b"initialisation segment A; ".repeat(8);
    let second = b"initialisation segment B; ".repeat(8);
    let text = |n: usize| format!("fragment {n}, one second of video; ").repeat(12).into_bytes();
    [
        vec![first.clone(), text(0), text(1)],
        vec![first, noise(300), text(2)],
        vec![second, vec![0x55; 65_600], Vec::new(), noise(40)],
    ]
}

impl Sample {
    /// Makes the recording; always the same.
    pub fn new() -> Self {
        let session = SessionId::new(START_US / 1000, [0x44; 10]);
        let session_key = SigningKey::from_seed(&SESSION_SEED);
        let secret = SessionSecret::from_bytes(SECRET);
        let gap = Gap { length_us: 20_000_000, reason: GapReason::SourceLost };
        let (mut headers, mut sealed, mut plaintexts) = (Vec::new(), Vec::new(), Vec::new());
        let mut tree = Tree::<Blake3>::new();
        let mut checkpoints = Vec::new();
        let mut clock = 0;
        for (index, parts) in (0u64..).zip(media()) {
            let nonce = [0x50 + index as u8; 16];
            let mut sealer = ChunkSealer::new(session, index, MediaKind::Video, &secret, nonce);
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend(sealer.push(part).expect("the sample is small").concat());
            }
            let gap_before = (index == 1).then_some(gap);
            clock += gap_before.map_or(0, |gap| gap.length_us);
            // The clock was set back by an hour after the second chunk had begun.
            let jump = if index == 2 { 3_600_000_000 } else { 0 };
            let time = TimeSpan {
                wall_start_us: START_US + clock - jump,
                wall_end_us: START_US + clock + 2_000_000 - jump,
                stream_start_us: clock,
                stream_end_us: clock + 2_000_000,
            };
            clock += 2_000_000;
            let init = parts[0].len() as u64;
            let (last, header) =
                sealer.finish(time, init, gap_before).expect("the sample is small");
            bytes.extend(last);
            tree.push(header.leaf());
            headers.push(header);
            sealed.push(bytes);
            plaintexts.push(parts.concat());
            if index != 1 {
                let (tree_size, root) = (tree.size(), tree.root());
                let time_us = START_US + clock - jump;
                let checkpoint = Checkpoint { session, tree_size, root, time_us };
                checkpoints.push(checkpoint.sign(&session_key).as_bytes().to_vec());
            }
        }
        let manifest = Manifest {
            session,
            session_key: session_key.public(),
            source: SourceInfo {
                kind: "rtsp".into(),
                name: "Front door".into(),
                address: "rtsp://camera.example/stream".into(),
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
            device_name: "lucid-sample".into(),
            device_key: SigningKey::from_seed(&DEVICE_SEED).public(),
            software: "lucid 0.1.0".into(),
            policy: Some(Hash::of(b"policy")),
            participants: vec!["Ada".into(), "Grace".into()],
            start_us: START_US,
            end_us: START_US + clock - 3_600_000_000,
            duration_us: clock,
            end_reason: EndReason::Stopped,
            tree_size: tree.size(),
            root: tree.root(),
            gaps: vec![GapRecord {
                before_chunk: 1,
                stream_us: 2_000_000,
                wall_us: START_US + 2_000_000,
                gap,
            }],
            clock_jumps: vec![ClockJump { stream_us: 23_000_000, by_us: -3_600_000_000 }],
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
        vec![
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
