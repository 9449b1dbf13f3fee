//! Takes every input that fuzzing kept, and every one that once crashed, through the decoders
//! again.
//!
//! `LUCID_WRITE_SEEDS=1` writes the inputs from which fuzzing starts.

use lucid_chain::transaction::Kind;
use lucid_chain::{Ledger, Transaction};
use lucid_evidence::cose;
use lucid_tests::chain_vectors::ChainVectors;
use lucid_tests::sample::Sample;
use lucid_tests::targets::ALL;
use std::path::{Path, PathBuf};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Well-formed inputs of every target.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let sample = Sample::new();
    let mut seeds = vec![
        ("manifest", sample.manifest.encode()),
        ("manifest", sample.signed.as_bytes().to_vec()),
        ("proof", sample.proof.encode()),
        ("text", sample.manifest.session.to_string().into_bytes()),
        ("text", sample.manifest.root.to_string().into_bytes()),
        ("text", sample.manifest.device_key.to_string().into_bytes()),
        ("piece", sample.sealed[0].clone()),
        ("piece", vec![0, 1, 2, 3]),
        ("piece", vec![2]),
    ];
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x05, 0x29, 0, 0, b'l', b'u', b'c', b'i', b'd'];
    seeds.push(("piece", [&[1][..], &zstd].concat()));
    let mut proof = vec![0; 17];
    proof.extend([9, 4]);
    proof.extend(sample.proof.leaves.iter().flat_map(|leaf| leaf.0));
    seeds.push(("tree", proof));
    for header in &sample.headers {
        seeds.push(("chunk_header", header.encode()));
    }
    for checkpoint in &sample.proof.checkpoints {
        seeds.push(("checkpoint", checkpoint.clone()));
    }
    for (at, (name, bundle)) in (0u8..).zip(sample.bundles()) {
        if name == "keys" {
            let entries = lucid_tests::container::take_apart(&bundle);
            let keys = entries.into_iter().find(|(name, _)| name == "keys.cbor");
            seeds.extend(keys.map(|(_, data)| ("keys", data)));
        }
        if bundle.len() < 10_000 {
            seeds.push(("bundle", bundle));
        }
        seeds.push(("entries", vec![at]));
        seeds.push(("entries", vec![at, 2, 0, 0, 60, 0, 1, b'x', 1, 3, 2]));
        for forgery in 0..4 {
            seeds.push(("entries", vec![at | 0x80, forgery, 0, 9, 0, 2, 24, 24]));
        }
    }
    seeds.extend(chain_seeds());
    seeds
}

/// Well-formed inputs of the chain's targets.
fn chain_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let vectors = ChainVectors::read();
    assert_eq!((vectors.transactions.len(), vectors.blocks.len()), (13, 7));
    let ledger = Ledger::new(vectors.genesis.clone());
    let fingerprint = format!("device {}", ledger.chain());
    let mut seeds = vec![
        ("anchor", vectors.anchor.clone()),
        ("anchor", vec![0, 200, 1]),
        ("chain_record", vectors.genesis.to_bytes()),
        ("chain_record", vectors.genesis.validators.to_bytes()),
        ("chain_record", ledger.snapshot()),
        ("chain_record", vectors.certificates[0].clone()),
        ("chain_record", vectors.headers[0].clone()),
        ("chain_record", fingerprint.into_bytes()),
    ];
    seeds.extend(vectors.blocks.into_iter().map(|block| ("block", block)));
    for bytes in vectors.transactions {
        let kind = Transaction::from_bytes(&bytes).unwrap().kind();
        let number = Kind::ALL.iter().position(|other| *other == kind).unwrap() as u8;
        let payload = cose::open(&bytes, kind.content_type()).unwrap().payload().to_vec();
        seeds.push(("transaction", [&[number][..], &payload].concat()));
        seeds.push(("transaction", bytes));
    }
    seeds
}

#[test]
fn every_kept_input_is_judged_without_a_panic() {
    if std::env::var_os("LUCID_WRITE_SEEDS").is_some() {
        for (number, (target, seed)) in seeds().into_iter().enumerate() {
            std::fs::create_dir_all(folder(target)).unwrap();
            std::fs::write(folder(target).join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
    for (target, run) in ALL {
        let entries = std::fs::read_dir(folder(target))
            .unwrap_or_else(|error| panic!("no corpus for {target}: {error}"));
        let mut inputs = 0;
        for entry in entries {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "the corpus of {target} is empty");
    }
}

#[test]
fn every_fuzz_target_is_replayed() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut built: Vec<String> = std::fs::read_dir(targets)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    built.sort();
    let replayed: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(built, replayed);
}

#[test]
fn seeds_are_judged_without_a_panic() {
    for (target, seed) in seeds() {
        let (_, run) = ALL.iter().find(|(name, _)| *name == target).unwrap();
        run(&seed);
    }
}
