//! The sample bundles and the values on the way to them, byte for byte: a change of the format
//! fails here first.
//!
//! `LUCID_WRITE_FIXTURES=1` writes them anew. Nothing but a new version of the format is a reason
//! to.
#![allow(clippy::unwrap_used, clippy::panic)] // what is broken stops the test

use lucid_chain::verify::{self, Trust};
use lucid_evidence::bundle::{self, Disclosure};
use lucid_evidence::proof::Proof;
use lucid_evidence::seal::read_frame;
use lucid_evidence::tree::{Blake3, Tree};
use lucid_evidence::{SigningKey, Verdict, cose};
use lucid_tests::container::{assemble, take_apart};
use lucid_tests::sample::{Chain, DEVICE_SEED, SECRET, SESSION_SEED, Sample};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/evidence")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sample's bundles, and one that a chain of one node vouches for.
fn bundles() -> Vec<(&'static str, Vec<u8>)> {
    let sample = Sample::new();
    let mut bundles = sample.bundles();
    let anchor = Some(Chain::of(&sample).anchor().to_bytes());
    let anchored = Sample { proof: Proof { anchor, ..sample.proof.clone() }, ..sample };
    bundles.push(("anchored", anchored.bundle(0, 1, &Disclosure::Video(&anchored.secret))));
    bundles
}

/// Everything between the seeds and the bundles that a second implementation meets.
fn values() -> Value {
    let sample = Sample::new();
    let chunks: Vec<Value> = sample
        .headers
        .iter()
        .zip(&sample.sealed)
        .map(|(header, sealed)| {
            let key = sample.secret.chunk_key(header.index);
            let (mut at, mut pieces) = (0, Vec::new());
            while at < sealed.len() {
                let piece = pieces.len() as u64;
                let frame = read_frame(&sealed[at..], header.index, piece).unwrap();
                let number = if frame.is_last() { piece | 1 << 63 } else { piece };
                let nonce = [&header.nonce[..], &number.to_be_bytes()].concat();
                let flags = sealed[at];
                let mut data = vec![1];
                data.extend(header.session.as_bytes());
                data.extend(header.index.to_be_bytes());
                data.extend(piece.to_be_bytes());
                data.extend([flags & 1, flags >> 1]);
                let opened = key.open(&header.address(piece), &frame).unwrap();
                pieces.push(json!({
                    "flags": flags,
                    "frame_bytes": frame.length,
                    "nonce": hex(&nonce),
                    "associated_data": hex(&data),
                    "plaintext_bytes": opened.plaintext.len(),
                }));
                at += frame.length;
            }
            json!({
                "key": hex(key.expose()),
                "key_commitment": key.commitment().to_string(),
                "header": hex(&header.encode()),
                "leaf": header.leaf().to_string(),
                "sealed_hash": header.sealed_hash.to_string(),
                "pieces": pieces,
            })
        })
        .collect();
    let tree = Tree::<Blake3>::from_leaves(sample.proof.leaves.iter().copied());
    let size = tree.size();
    let text = |hashes: Vec<lucid_evidence::Hash>| -> Vec<String> {
        hashes.iter().map(ToString::to_string).collect()
    };
    let checkpoints: Vec<Value> = sample
        .proof
        .checkpoints
        .iter()
        .map(|bytes| {
            let signed = cose::open(bytes, lucid_evidence::checkpoint::CONTENT_TYPE).unwrap();
            json!({ "payload": hex(signed.payload()), "signed": hex(bytes) })
        })
        .collect();
    json!({
        "seeds": {
            "device": hex(&DEVICE_SEED),
            "session": hex(&SESSION_SEED),
            "session_secret": hex(&SECRET),
        },
        "session": sample.manifest.session.to_string(),
        "device_key": SigningKey::from_seed(&DEVICE_SEED).public().to_string(),
        "device_fingerprint": sample.manifest.device_key.fingerprint().to_string(),
        "session_key": SigningKey::from_seed(&SESSION_SEED).public().to_string(),
        "chunks": chunks,
        "roots": (0..=size).map(|n| tree.root_at(n).unwrap().to_string()).collect::<Vec<_>>(),
        "inclusion": (0..size).map(|n| text(tree.inclusion(n, size).unwrap())).collect::<Vec<_>>(),
        "consistency_2_to_3": text(tree.consistency(2, 3).unwrap()),
        "checkpoints": checkpoints,
        "manifest": hex(&sample.manifest.encode()),
        "manifest_hash": sample.signed.hash().to_string(),
    })
}

fn content_verdict(bytes: &[u8]) -> Verdict {
    bundle::read(&bytes.to_vec(), &|_, _| {}).findings.verdict()
}

fn whole_verdict(bytes: &[u8]) -> &'static str {
    verify::bundle(&bytes.to_vec(), &Trust::default(), &|_, _| {}).verdict
}

/// Verdicts on the bundles and on changes of them, so that two verifiers can be compared.
fn verdicts() -> Value {
    let mut all = Vec::new();
    for (name, bytes) in bundles() {
        let mut changes = Vec::new();
        // A step that shares no factor with the lengths of fields reaches all kinds of them.
        let step = (bytes.len() / 37).max(1) | 1;
        for at in (0..bytes.len()).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let flip = content_verdict(&flipped).as_str();
            let cut = content_verdict(&bytes[..at]).as_str();
            changes.push(json!({ "at": at, "flip": flip, "cut": cut }));
        }
        let entries = take_apart(&bytes);
        let mut inside = Vec::new();
        for (place, (entry, data)) in entries.iter().enumerate() {
            for at in (0..data.len()).step_by((data.len() / 9).max(1) | 1) {
                let mut changed = entries.clone();
                changed[place].1[at] ^= 1 << (at % 8);
                let flip = content_verdict(&assemble(&changed)).as_str();
                inside.push(json!({ "entry": entry, "at": at, "flip": flip }));
            }
            let mut without = entries.clone();
            without.remove(place);
            let verdict = content_verdict(&assemble(&without)).as_str();
            inside.push(json!({ "entry": entry, "without": verdict }));
        }
        all.push(json!({
            "inside": inside,
            "bundle": name,
            "bytes": bytes.len(),
            "content": content_verdict(&bytes).as_str(),
            "whole": whole_verdict(&bytes),
            "changes": changes,
        }));
    }
    Value::Array(all)
}

fn check(path: &Path, bytes: &[u8]) {
    if std::env::var_os("LUCID_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let kept = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let differs = kept.iter().zip(bytes).position(|(a, b)| a != b);
    assert!(kept == bytes, "{}: the format changed, at byte {differs:?}", path.display());
}

fn json_text(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_string_pretty(value).unwrap();
    text.push('\n');
    text.into_bytes()
}

#[test]
fn the_format_has_not_changed() {
    for (name, bytes) in bundles() {
        check(&folder().join(format!("bundles/{name}.lucid")), &bytes);
    }
    check(&folder().join("values.json"), &json_text(&values()));
    check(&folder().join("verdicts.json"), &json_text(&verdicts()));
}

/// Old bundles must be readable for good, whatever the library that compressed them writes today.
#[test]
fn kept_bundles_are_judged_as_ever() {
    let text = std::fs::read(folder().join("verdicts.json")).unwrap();
    let verdicts: Value = serde_json::from_slice(&text).unwrap();
    for case in verdicts.as_array().unwrap() {
        let name = case["bundle"].as_str().unwrap();
        let bytes = std::fs::read(folder().join(format!("bundles/{name}.lucid"))).unwrap();
        assert_eq!(content_verdict(&bytes).as_str(), case["content"], "{name}");
        assert_eq!(whole_verdict(&bytes), case["whole"], "{name}");
    }
}

/// All three chunks, their keys, and the chain's anchor: small enough to try every byte.
fn whole() -> Vec<u8> {
    let sample = Sample::new();
    let anchor = Some(Chain::of(&sample).anchor().to_bytes());
    let anchored = Sample { proof: Proof { anchor, ..sample.proof.clone() }, ..sample };
    anchored.bundle(0, 3, &Disclosure::Keys(&anchored.secret))
}

#[test]
fn no_byte_of_an_anchored_bundle_is_free() {
    let good = whole();
    assert_eq!(whole_verdict(&good), "valid");
    for at in 0..good.len() {
        for flip in [1 << (at % 8), 0xff] {
            let mut changed = good.clone();
            changed[at] ^= flip;
            assert_ne!(whole_verdict(&changed), "valid", "byte {at} with {flip:02x}");
        }
        assert_ne!(whole_verdict(&good[..at]), "valid", "cut at {at}");
    }
}

#[test]
fn chunks_and_other_entries_cannot_change_places() {
    let entries = take_apart(&whole());
    assert_eq!(whole_verdict(&assemble(&entries)), "valid");
    for one in 0..entries.len() {
        for other in 0..one {
            let mut moved = entries.clone();
            moved.swap(one, other);
            assert_ne!(whole_verdict(&assemble(&moved)), "valid", "{other} and {one} moved");
            // The same, under the names that belong to the places.
            for (place, (name, _)) in moved.iter_mut().zip(&entries) {
                place.0.clone_from(name);
            }
            assert_ne!(whole_verdict(&assemble(&moved)), "valid", "{other} and {one} exchanged");
        }
    }
}
