//! A recording outlives the database of the chain that vouches for it, also one being made.
// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::path::Path;
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

#[test]
fn a_session_that_was_open_is_declared_again_on_the_new_chain() {
    const OPTIONS: &[&str] = &["--set", "record.demo=false", "--log-level", "warn"];
    let owner = Owner::of(start(OPTIONS));
    let new = json!({"name": "Test", "uri": "test://?width=160&height=120&fps=10"});
    let source = owner.call("POST", "/sources", Some(new)).json();
    let path = format!("/sources/{}", source["id"].as_str().unwrap());
    let source = owner.wait(&path, |source| source["state"] == "recording");
    let id = source["current_session_id"].as_str().unwrap().to_owned();
    let session = format!("/sessions/{id}");
    let opened = |blocks: &Value| blocks.to_string().contains(&id);
    owner.wait("/chain/blocks?limit=100", opened);
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
    assert_eq!(owner.get("/evidence-health")["quarantined"], json!([]));
}
