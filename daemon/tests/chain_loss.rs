//! A recording outlives the database of the chain that vouches for it.
// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn lucid(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lucid")).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_session_is_proved_after_its_chain_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("a.lucid"));
    let source = "test://?width=160&height=120&fps=10";
    let args = ["record", "--source", source, "--seconds", "2", "--out", text(&file)];
    let recorded = lucid(&[&args[..], &["--data-dir", text(&data), "--json"]].concat());
    let recorded: Value = serde_json::from_slice(&recorded.stdout).unwrap();
    let (id, chain) = (recorded["session_id"].as_str().unwrap(), &recorded["chain_genesis"]);
    std::fs::remove_dir_all(data.join("chain")).unwrap();

    let again = dir.path().join("b.lucid");
    let exported = lucid(&["export", id, "--out", text(&again), "--data-dir", text(&data)]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let verified = lucid(&["verify", text(&again), "--json"]);
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(report["verdict"], "valid");
    // By the chain that is lost, not by the new one.
    assert_eq!(report["chain"]["genesis"], *chain);
}
