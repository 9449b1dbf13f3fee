//! Whole bundles with anchors: each verdict, and what decides it.

use super::*;
use crate::testing::{Pool, START_US, key, session};
use crate::transaction::{Body, SessionClose, SessionOpen, Transaction};
use lucid_evidence::bundle::{Disclosure, write};
use lucid_evidence::chunk::{ChunkHeader, ChunkSealer, MediaKind, TimeSpan};
use lucid_evidence::manifest::{CodecInfo, EndReason, Manifest, SourceInfo};
use lucid_evidence::seal::SessionSecret;
use lucid_evidence::{Checkpoint, Hash};
use std::io::Cursor;

struct Recording {
    pool: Pool,
    manifest: SignedManifest,
    proof: Proof,
    headers: Vec<ChunkHeader>,
    sealed: Vec<Vec<u8>>,
}

/// Two chunks, a checkpoint over each, closed; on a chain of so many nodes.
fn recording(nodes: u8) -> Recording {
    recording_under(nodes, None, None)
}

/// The same, with the policies that the opening on the chain and the manifest name.
fn recording_under(nodes: u8, opened: Option<Hash>, policy: Option<Hash>) -> Recording {
    let mut pool = Pool::new(nodes);
    let (device, session_key) = (key(1), key(101));
    pool.block(vec![pool.open_under(1, &device, opened)]);
    let secret = SessionSecret::from_bytes([3; 32]);
    let (mut headers, mut sealed) = (Vec::new(), Vec::new());
    let (mut tree, mut checkpoints, mut heights) = (Tree::<Blake3>::new(), vec![], vec![]);
    for index in 0..2u64 {
        let kind = MediaKind::Video;
        let mut sealer = ChunkSealer::new(session(1), index, kind, &secret, [index as u8; 16]);
        let mut bytes = sealer.push(b"init").unwrap().concat();
        bytes.extend(sealer.push(&[index as u8; 50]).unwrap().concat());
        let start = index * 1000;
        let time = TimeSpan {
            wall_start_us: START_US + start,
            wall_end_us: START_US + start + 1000,
            stream_start_us: start,
            stream_end_us: start + 1000,
        };
        let (last, header) = sealer.finish(time, 4, None).unwrap();
        bytes.extend(last);
        tree.push(header.leaf());
        headers.push(header);
        sealed.push(bytes);
        let (tree_size, root) = (tree.size(), tree.root());
        let checkpoint = Checkpoint { session: session(1), tree_size, root, time_us: START_US };
        let checkpoint = checkpoint.sign(&session_key);
        pool.block(vec![Transaction::checkpoint(&checkpoint)]);
        heights.push(pool.ledger.height());
        checkpoints.push(checkpoint.as_bytes().to_vec());
    }
    let manifest = Manifest {
        session: session(1),
        session_key: session_key.public(),
        source: SourceInfo { kind: "test".into(), name: "hall".into(), address: "test://".into() },
        codec: CodecInfo {
            video: None,
            audio: None,
            width: 0,
            height: 0,
            encoder: "source".into(),
            hardware: false,
            reason: "test".into(),
        },
        device_name: "box".into(),
        device_key: device.public(),
        software: "lucid test".into(),
        policy,
        participants: vec![],
        start_us: START_US,
        end_us: START_US + 2000,
        duration_us: 2000,
        end_reason: EndReason::Stopped,
        tree_size: 2,
        root: tree.root(),
        gaps: vec![],
        clock_jumps: vec![],
        checkpoint_heights: heights,
    }
    .sign(&device);
    let close = SessionClose {
        chain: pool.chain(),
        session: session(1),
        device: device.public(),
        manifest: manifest.hash(),
        tree_size: 2,
        root: tree.root(),
        time_us: START_US,
        checkpoints: pool.checkpoints(1),
    };
    pool.block(vec![Transaction::sign(Body::SessionClose(close), &device)]);
    let proof = Proof {
        session: session(1),
        leaves: tree.leaves().to_vec(),
        first_chunk: 0,
        chunk_count: 2,
        checkpoints,
        anchor: Some(pool.anchor(1).to_bytes()),
    };
    Recording { pool, manifest, proof, headers, sealed }
}

impl Recording {
    fn bundle(&self) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let load = |header: &ChunkHeader| -> Result<Vec<u8>, std::convert::Infallible> {
            Ok(self.sealed[header.index as usize].clone())
        };
        let (form, progress) = (Disclosure::Sealed, |_, _| {});
        write(&mut out, &self.manifest, &self.proof, &self.headers[..], &form, load, progress)
            .unwrap();
        out.into_inner()
    }

    fn report(&self, trust: &Trust) -> Report {
        bundle(&self.bundle(), trust, &|_, _| {})
    }
}

fn failed(report: &Report) -> Vec<&'static str> {
    let mut names: Vec<_> =
        report.checks.iter().filter(|c| c.verdict != "valid").map(|c| c.check).collect();
    names.dedup();
    names
}

#[test]
fn an_anchored_bundle_is_valid_and_says_by_whom() {
    let report = recording(1).report(&Trust::default());
    assert_eq!((report.verdict, report.exit_code), ("valid", 0), "{report}");
    let anchor = report.anchor.as_ref().unwrap();
    assert_eq!(
        anchor.statement,
        "anchored at height 4 by 1 of 1 nodes: only the device itself vouches, and one node is \
         no quorum"
    );
    assert_eq!(anchor.checkpoints.len(), 2);
    let text = report.to_string();
    assert!(text.contains("1 of 1 witness") && text.contains("not checked"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["anchor"]["closed"]["height"], 4);
    assert_eq!(json["device"]["checked"], false);
    let many = recording(4).report(&Trust::default());
    assert_eq!(many.anchor.unwrap().statement, "anchored at height 4 by 4 of 4 nodes");
    assert!(!many.does_not_say.iter().any(|line| line.contains("1 of 1")));
}

#[test]
fn clocks_that_disagree_are_pointed_at() {
    let mut recording = recording(1);
    let says = |recording: &Recording| {
        let report = recording.report(&Trust::default());
        report.does_not_say.iter().any(|line| line.contains("before the opening on the chain"))
    };
    assert!(!says(&recording));
    // A device whose clock was a year behind, or that claims so.
    let mut manifest = recording.manifest.manifest().clone();
    manifest.start_us -= 31_536_000_000_000;
    recording.manifest = manifest.sign(&key(1));
    assert!(says(&recording));
}

#[test]
fn expectations_are_checked() {
    let recording = recording(1);
    let (device, chain) = (key(1).public(), recording.pool.chain());
    for expected in [device.fingerprint(), Hash(*device.as_bytes())] {
        let trust = Trust { devices: vec![Hash::of(b"x"), expected], chains: vec![chain] };
        let report = recording.report(&trust);
        assert_eq!(report.verdict, "valid");
        assert!(report.device.unwrap().checked && report.chain.unwrap().checked);
    }
    let other = Trust { devices: vec![Hash::of(b"x")], chains: vec![] };
    let report = recording.report(&other);
    assert_eq!((report.verdict, failed(&report)), ("unverifiable", vec!["device"]));
    let other = Trust { devices: vec![], chains: vec![Hash::of(b"x")] };
    let report = recording.report(&other);
    assert_eq!((report.exit_code, failed(&report)), (12, vec!["chain"]));
}

#[test]
fn without_an_anchor_nothing_can_be_judged() {
    let mut recording = recording(1);
    recording.proof.anchor = None;
    let report = recording.report(&Trust::default());
    assert_eq!((report.verdict, failed(&report)), ("unverifiable", vec!["anchor"]));
    let trust = Trust { devices: vec![], chains: vec![recording.pool.chain()] };
    let report = recording.report(&trust);
    assert_eq!(failed(&report), ["anchor", "chain"]);
    let report = bundle(&b"no bundle".to_vec(), &Trust::default(), &|_, _| {});
    assert_eq!(report.verdict, "unverifiable");
}

#[test]
fn an_unknown_version_cannot_be_judged_and_nonsense_is_tampering() {
    let mut recording = recording(1);
    recording.proof.anchor.as_mut().unwrap()[2] = 2;
    assert_eq!(recording.report(&Trust::default()).verdict, "unverifiable");
    recording.proof.anchor = Some(b"nonsense".to_vec());
    assert_eq!(recording.report(&Trust::default()).verdict, "tampered");
}

#[test]
fn an_anchor_without_its_closing_is_not_enough() {
    let mut recording = recording(1);
    let mut places = recording.pool.places(1);
    places.pop_last();
    let genesis = recording.pool.ledger.genesis();
    let proof = crate::anchor::prove(genesis, &recording.pool, &places, 4).unwrap();
    recording.proof.anchor = Some(proof.to_bytes());
    let report = recording.report(&Trust::default());
    assert_eq!((report.verdict, failed(&report)), ("unverifiable", vec!["anchor-closing"]));
}

#[test]
fn a_checkpoint_that_the_manifest_counts_must_be_there() {
    let mut recording = recording(1);
    let mut places = recording.pool.places(1);
    places.remove(&(2, 0));
    let genesis = recording.pool.ledger.genesis();
    let proof = crate::anchor::prove(genesis, &recording.pool, &places, 4).unwrap();
    recording.proof.anchor = Some(proof.to_bytes());
    let report = recording.report(&Trust::default());
    assert_eq!((report.verdict, failed(&report)), ("incomplete", vec!["anchor"]));
}

#[test]
fn the_policy_of_the_opening_is_that_of_the_manifest() {
    let policy = Some(Hash::of(b"policy"));
    let text = |recording: &Recording| {
        let report = recording.report(&Trust::default());
        let of = report.checks.iter().find(|check| check.check == "anchor-opening").unwrap();
        (report.verdict, of.text.clone())
    };
    let (verdict, said) = text(&recording_under(1, policy, policy));
    assert_eq!(verdict, "valid");
    assert!(said.ends_with(&format!("under the policy {}", Hash::of(b"policy"))), "{said}");
    // Opened by software that did not put policies on the chain yet.
    let (verdict, said) = text(&recording_under(1, None, policy));
    assert_eq!(verdict, "valid");
    assert!(said.contains("is not on the chain"), "{said}");
    for stated in [None, Some(Hash::of(b"another"))] {
        let report = recording_under(1, policy, stated).report(&Trust::default());
        assert_eq!((report.verdict, failed(&report)), ("tampered", vec!["anchor-opening"]));
    }
}

#[test]
fn the_anchor_of_another_recording_does_not_serve() {
    let mut recording = recording(1);
    // The same session id and device on a chain of its own, with other content.
    let mut pool = Pool::new(1);
    let device = key(1);
    let body = SessionOpen {
        chain: pool.chain(),
        session: session(1),
        session_key: key(77).public(),
        device: device.public(),
        time_us: 0,
        policy: None,
    };
    pool.block(vec![Transaction::sign(Body::SessionOpen(body), &device)]);
    pool.block(vec![pool.close(1, 2, &device)]);
    recording.proof.anchor = Some(pool.anchor(1).to_bytes());
    let report = recording.report(&Trust::default());
    assert_eq!(report.verdict, "tampered");
    assert_eq!(failed(&report), ["anchor-opening", "anchor-checkpoints", "anchor-closing"]);
}

#[test]
fn no_bit_of_an_anchored_bundle_is_free() {
    let bytes = recording(1).bundle();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let report = bundle(&changed, &Trust::default(), &|_, _| {});
        assert_ne!(report.verdict, "valid", "byte {at} of {}", bytes.len());
    }
}

#[test]
fn text_of_a_stranger_does_not_steer_the_terminal() {
    let mut recording = recording(1);
    let mut manifest = recording.manifest.manifest().clone();
    manifest.device_name = "box\u{1b}[2J\rverdict: valid".into();
    recording.manifest = manifest.sign(&key(1));
    let report = recording.report(&Trust::default());
    assert_eq!(report.verdict, "tampered", "it is not the manifest on the chain");
    assert!(!report.to_string().contains(['\u{1b}', '\r']));
}
