//! The format's document is precise enough for a second verifier: one in plain Python, written from
//! it, judges every sample bundle and some 800 changes of them as the first one does.
#![allow(clippy::panic)] // what is broken stops the test

use std::path::Path;
use std::process::Command;

#[test]
fn a_second_verifier_judges_alike() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3")
        .arg(here.join("second-verifier/verify.py"))
        .arg("--check")
        .arg(here.join("fixtures/evidence"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("python3 is needed, `make test` installs it: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{failed}");
    assert!(said.contains("0 otherwise than by the first verifier"), "{said}");
}
