//! A recording outlives the database of the chain that vouches for it, also one being made.
// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn lucid(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lucid")).args(args).output().unwrap()
}

use support::owner::Owner;
use support::{start, start_in};

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

const OPTIONS: &[&str] = &["--set", "record.demo=false", "--log-level", "warn"];

/// A daemon with a session that records and is on the chain.
fn recording() -> (Owner, String) {
    let owner = Owner::of(start(OPTIONS));
    let new = json!({"name": "Test", "uri": "test://?width=160&height=120&fps=10"});
    let source = owner.call("POST", "/sources", Some(new)).json();
    let path = format!("/sources/{}", source["id"].as_str().unwrap());
    let source = owner.wait(&path, |source| source["state"] == "recording");
    let id = source["current_session_id"].as_str().unwrap().to_owned();
    owner.wait("/chain/blocks?limit=100", |blocks| blocks.to_string().contains(&id));
    (owner, id)
}

#[test]
fn a_session_that_was_open_is_declared_again_on_the_new_chain() {
    let (owner, id) = recording();
    let session = format!("/sessions/{id}");
    let lost = owner.get("/chain/head")["genesis"].clone();
    let data = owner.daemon.kill();
    std::fs::remove_dir_all(data.path().join("chain")).unwrap();

    let owner = Owner::again(start_in(data, OPTIONS));
    let done = owner.wait(&session, |session| session["state"] == "completed");
    let chain = owner.get("/chain/head")["genesis"].as_str().unwrap().to_owned();
    assert_ne!(lost, json!(chain));
    let said = format!("is lost; it is put on chain {} anew", &chain[..8]);
    assert!(done["transitions"].to_string().contains(&said), "{done}");
    assert_eq!(done["end_reason"], "recorder stopped without warning", "{done}");
    let asked = owner.call("POST", "/exports", Some(json!({"session_id": id}))).json();
    let export = format!("/exports/{}", asked["id"].as_str().unwrap());
    let made = owner.wait(&export, |export| export["finished_at"].is_string());
    assert_eq!(made["verdict"], "valid", "{made}");
    // The loss itself is told as long as what is left of the chain lies there.
    let health = owner.get("/evidence-health");
    assert_eq!(health["safe"], false, "{health}");
    let aside = health["quarantined"].as_array().unwrap();
    assert!(aside.len() == 1 && aside[0].to_string().contains("the whole chain"), "{health}");
}

/// A recording anchored in block 1 to n of a directory, and the directory.
fn recorded(dir: &Path) -> (PathBuf, String) {
    let (data, out) = (dir.join("data"), dir.join("a.lucid"));
    let source = "test://?width=160&height=120&fps=10";
    let args = ["record", "--source", source, "--seconds", "2", "--out", text(&out), "--json"];
    let recorded = lucid(&[&args[..], &["--data-dir", text(&data)]].concat());
    let recorded: Value = serde_json::from_slice(&recorded.stdout).unwrap();
    (data, recorded["session_id"].as_str().unwrap().to_owned())
}

fn fsck(data: &Path) -> (Option<i32>, Value) {
    let checked = lucid(&["fsck", "--json", "--data-dir", text(data)]);
    (checked.status.code(), serde_json::from_slice(&checked.stdout).unwrap())
}

fn flip(log: &Path, at: usize) -> Vec<u8> {
    let mut bytes = std::fs::read(log).unwrap();
    bytes[at] ^= 1;
    std::fs::write(log, &bytes).unwrap();
    bytes
}

#[test]
fn a_flipped_bit_of_the_chain_is_told_by_fsck_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (data, id) = recorded(dir.path());
    assert_eq!(fsck(&data).0, Some(0));
    let before = flip(&data.join("chain/db"), 3000);
    for _ in 0..2 {
        let (code, report) = fsck(&data);
        assert_eq!(code, Some(1), "{report}");
        let damage = report["damage"].as_array().unwrap();
        let aside = damage.iter().find_map(|one| one["quarantined"].as_str()).unwrap();
        assert!(std::fs::read(Path::new(aside).join("db")).unwrap() == before, "as it was");
        let named = damage.iter().find(|one| one["session_id"] == *id).unwrap();
        assert!(named.to_string().contains("are not in the chain; its kept proof"), "{named}");
    }
}

#[test]
fn a_daemon_puts_a_chain_with_a_flipped_bit_aside_and_founds_another() {
    let (owner, id) = recording();
    owner.wait("/chain/head", |head| head["height"].as_u64() >= Some(2));
    let lost = owner.get("/chain/head");
    let data = owner.daemon.kill();
    let before = flip(&data.path().join("chain/db"), 3000);

    let owner = Owner::again(start_in(data, OPTIONS));
    let head = owner.get("/chain/head");
    assert_ne!(head["genesis"], lost["genesis"], "not the same chain with other blocks");
    let health = owner.get("/evidence-health");
    assert_eq!(health["safe"], false, "{health}");
    let what = health["quarantined"][0]["what"].as_str().unwrap();
    assert!(what.contains("the whole chain") && what.contains("was final"), "{what}");
    owner.wait(&format!("/sessions/{id}"), |session| session["state"] == "completed");
    let data = owner.daemon.kill();
    let aside = std::fs::read_dir(data.path().join("quarantine")).unwrap().next().unwrap().unwrap();
    assert!(std::fs::read(aside.path().join("db")).unwrap() == before, "as it was");
    let (code, report) = fsck(data.path());
    assert_eq!(code, Some(1), "{report}");
}

#[test]
fn fsck_names_the_recordings_of_a_chain_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (data, id) = recorded(dir.path());
    std::fs::remove_dir_all(data.join("chain")).unwrap();
    let (code, report) = fsck(&data);
    assert_eq!(code, Some(1), "{report}");
    let what = report["damage"].to_string();
    assert!(what.contains("was final") && what.contains("there is no chain"), "{report}");
    assert!(what.contains(&id), "{report}");
    // Also in a directory that never had a note of its last block.
    std::fs::remove_dir_all(data.join("quarantine")).unwrap();
    let (code, report) = fsck(&data);
    assert_eq!((code, report["damage"].as_array().unwrap().len()), (Some(1), 1), "{report}");
    assert_eq!(report["damage"][0]["session_id"], *id, "{report}");
    // With another chain in its place the recording still proves itself.
    let out = dir.path().join("b.lucid");
    let exported = lucid(&["export", &id, "--out", text(&out), "--data-dir", text(&data)]);
    assert!(exported.status.success());
    let (code, report) = fsck(&data);
    assert_eq!(code, Some(0), "{report}");
    assert!(report["notes"].to_string().contains("which is not this one"), "{report}");
}
