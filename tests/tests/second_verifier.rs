//! The format's document is precise enough for a second verifier: one in plain Python, written from
//! it, judges what the first one judges, and alike.
#![allow(clippy::unwrap_used, clippy::panic)] // what is broken stops the test

use lucid_evidence::bundle;
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
    let folder = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    for (number, data) in corpus("bundle").into_iter().chain(altered).enumerate() {
        let name = format!("{number}.lucid");
        std::fs::write(folder.path().join(&name), &data).unwrap();
        let verdict = bundle::read(&data, &|_, _| {}).findings.verdict().as_str();
        cases.push(json!({ "bundle": name, "verdict": verdict }));
    }
    let list = folder.path().join("cases.json");
    std::fs::write(&list, serde_json::to_vec(&cases).unwrap()).unwrap();
    agrees("--compare", &list);
}
