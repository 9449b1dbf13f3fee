//! The format's document is precise enough for a second verifier: one in plain Python, written from
//! it, judges what the first one judges, and alike.
#![allow(clippy::unwrap_used, clippy::panic)] // what is broken stops the test

use lucid_evidence::bundle;
use lucid_tests::container::{assemble, take_apart};
use lucid_tests::targets::altered_bundle;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the second verifier, which must find no difference.
fn agrees(option: &str, path: &Path) {
    let output = Command::new("python3")
        .arg(here().join("second-verifier/verify.py"))
        .arg(option)
        .arg(path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("python3 is needed, `make test` installs it: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{failed}");
    assert!(said.contains(" 0 otherwise than by the first verifier"), "{said}");
}

/// The sample bundles, and some 800 changes of their bytes.
#[test]
fn a_second_verifier_judges_the_samples_alike() {
    agrees("--check", &here().join("fixtures/evidence"));
}

/// What fuzzing came up with: bundles of any bytes, and well-formed ones with altered entries,
/// among them forgeries that are hashed and signed anew.
#[test]
fn a_second_verifier_judges_what_fuzzing_found_alike() {
    let corpus = |target: &str| {
        let folder = here().join("fuzz/corpus").join(target);
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    let altered = corpus("entries").into_iter().filter_map(|data| altered_bundle(&data));
    agree_on(corpus("bundle").into_iter().chain(altered));
}

/// Bundles from which chunks were taken, and what is left of them changed in one more place.
#[test]
fn a_second_verifier_judges_bundles_without_some_chunks_alike() {
    /// Changes tried in each entry.
    const CHANGES: usize = 3;
    let mut cases = Vec::new();
    for sample in std::fs::read_dir(here().join("fixtures/evidence/bundles")).unwrap() {
        let entries = take_apart(&std::fs::read(sample.unwrap().path()).unwrap());
        let chunks: Vec<usize> =
            (0..entries.len()).filter(|place| entries[*place].0.starts_with("chunks/")).collect();
        for taken in chunks.iter().map(std::slice::from_ref).chain([&chunks[..]]) {
            let mut rest = entries.clone();
            let mut place = 0;
            rest.retain(|_| {
                place += 1;
                !taken.contains(&(place - 1))
            });
            cases.push(assemble(&rest));
            for place in 0..rest.len() {
                let length = rest[place].1.len();
                for at in (0..CHANGES.min(length)).map(|change| change * length / CHANGES) {
                    let mut changed = rest.clone();
                    changed[place].1[at] ^= 1 << (at % 8);
                    cases.push(assemble(&changed));
                }
            }
        }
    }
    agree_on(cases);
}

/// Both verifiers come to the same verdict on each of these.
fn agree_on(bundles: impl IntoIterator<Item = Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    for (number, data) in bundles.into_iter().enumerate() {
        let name = format!("{number}.lucid");
        std::fs::write(folder.path().join(&name), &data).unwrap();
        let verdict = bundle::read(&data, &|_, _| {}).findings.verdict().as_str();
        cases.push(json!({ "bundle": name, "verdict": verdict }));
    }
    let list = folder.path().join("cases.json");
    std::fs::write(&list, serde_json::to_vec(&cases).unwrap()).unwrap();
    agrees("--compare", &list);
}
