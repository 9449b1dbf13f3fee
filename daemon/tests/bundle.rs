//! The whole way on the command line: record, verify, change, verify again; sessions, export, fsck,
//! store.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const SOURCE: &str = "test://?width=160&height=120&fps=10";

/// Longest anything may take before the test is a failure, not slow.
const PATIENCE: Duration = Duration::from_secs(60);

fn lucid(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lucid")).args(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_recording_verifies_and_a_changed_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.lucid");
    let recorded =
        lucid(&["record", "--source", SOURCE, "--seconds", "3", "--out", text(&file), "--json"]);
    assert_eq!(code(&recorded), 0, "{}", String::from_utf8_lossy(&recorded.stderr));
    let recorded = json(&recorded);
    assert_eq!(recorded["verdict"], "valid");
    assert!(recorded["duration_s"].as_f64().unwrap() >= 3.0);
    // Nothing but the bundle is left behind.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    let verified = lucid(&["verify", text(&file), "--json"]);
    assert_eq!(code(&verified), 0);
    let report = json(&verified);
    assert_eq!(report["verdict"], "valid");
    let device = recorded["device_fingerprint"].as_str().unwrap();
    let chain = recorded["chain_genesis"].as_str().unwrap();
    let args = ["verify", text(&file), "--expect-device", device, "--expect-chain", chain];
    assert_eq!(code(&lucid(&args)), 0);
    let other = "00".repeat(32);
    assert_eq!(code(&lucid(&["verify", text(&file), "--expect-device", &other])), 12);
    assert_eq!(code(&lucid(&["verify", text(&file), "--expect-chain", &other])), 12);
    assert_eq!(code(&lucid(&["verify", text(&file), "--expect-chain", "short"])), 64);

    let bytes = std::fs::read(&file).unwrap();
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&file, &changed).unwrap();
    assert_eq!(code(&lucid(&["verify", text(&file)])), 10);
    std::fs::write(&file, &bytes[..middle]).unwrap();
    assert_eq!(code(&lucid(&["verify", text(&file)])), 11);
    std::fs::write(&file, b"no bundle at all").unwrap();
    assert_eq!(code(&lucid(&["verify", text(&file)])), 12);
    assert_eq!(code(&lucid(&["verify", text(&dir.path().join("none"))])), 64);
    assert_eq!(code(&lucid(&["verify"])), 64);
}

#[test]
fn a_data_directory_keeps_its_recordings() {
    let dir = tempfile::tempdir().unwrap();
    let (data, moved) = (dir.path().join("data"), dir.path().join("moved"));
    let file = dir.path().join("a.lucid");
    let args = ["record", "--source", SOURCE, "--seconds", "2", "--out", text(&file)];
    let args = [&args[..], &["--data-dir", text(&data), "--json"]].concat();
    let first = json(&lucid(&args));
    let second = json(&lucid(&args));
    // The same device and chain, another session.
    assert_eq!(first["device_fingerprint"], second["device_fingerprint"]);
    assert_eq!(first["chain_genesis"], second["chain_genesis"]);
    let listed = lucid(&["sessions", "--json", "--data-dir", text(&data)]);
    let listed = json(&listed);
    let ids: Vec<&Value> = listed.as_array().unwrap().iter().map(|s| &s["id"]).collect();
    assert_eq!(ids, [&second["session_id"], &first["session_id"]]);
    assert_eq!(listed[0]["state"], "completed");
    // What the API says of the place on the chain, said here too.
    for session in listed.as_array().unwrap() {
        assert!(session["anchored"]["time"].is_string(), "{session}");
        assert_eq!(session["anchored"]["witnesses"], 1);
        assert_eq!(session["anchored"]["validators"], 1);
    }

    let id = first["session_id"].as_str().unwrap();
    for more in [&["--sealed"][..], &["--no-video"], &["--from", "0.5", "--to", "1"], &[]] {
        let out = dir.path().join("again.lucid");
        let args = ["export", id, "--out", text(&out), "--data-dir", text(&data)];
        let exported = lucid(&[&args[..], more].concat());
        assert_eq!(code(&exported), 0, "{}", String::from_utf8_lossy(&exported.stderr));
        assert_eq!(code(&lucid(&["verify", text(&out)])), 0, "{more:?}");
    }
    let checked = lucid(&["fsck", "--json", "--data-dir", text(&data)]);
    assert_eq!(code(&checked), 0);
    assert_eq!(json(&checked)["sessions"], 2);

    let stored = dir.path().join("store.bin");
    assert_eq!(code(&lucid(&["store", "export", text(&stored), "--data-dir", text(&data)])), 0);
    assert_eq!(code(&lucid(&["store", "import", text(&stored), "--data-dir", text(&moved)])), 0);
    let listed = json(&lucid(&["sessions", "--json", "--data-dir", text(&moved)]));
    assert_eq!(listed.as_array().unwrap().len(), 2);
    // The keys were not in it: the check says what that means.
    let checked = lucid(&["fsck", "--json", "--data-dir", text(&moved)]);
    assert_eq!(code(&checked), 1);
    assert!(json(&checked)["damage"][0]["what"].as_str().unwrap().contains("keys are lost"));
}

#[test]
fn a_mistyped_path_does_not_become_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, none) = (dir.path().join("empty"), dir.path().join("none"));
    std::fs::create_dir(&empty).unwrap();
    let (stored, bad) = (dir.path().join("store.bin"), dir.path().join("bad.bin"));
    std::fs::write(&bad, b"LUCIDARC\0\x01 and nothing more").unwrap();
    let id = "019a9c1e-0000-7000-8000-000000000000";
    for at in [&empty, &none] {
        for (command, exit) in [
            (&["fsck"][..], 73),
            (&["fsck", "--no-quarantine"], 73),
            (&["sessions"], 73),
            (&["reset-claim"], 73),
            (&["export", id], 73),
            (&["store", "export", text(&stored)], 73),
            (&["store", "import", text(&bad)], 1),
        ] {
            let output = lucid(&[command, &["--data-dir", text(at)]].concat());
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(code(&output), exit, "{command:?}: {error}");
            let named = if exit == 73 { text(at) } else { text(&bad) };
            assert!(error.contains(named), "{command:?}: {error}");
        }
    }
    assert!(!none.exists() && !stored.exists());
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
}

#[test]
fn an_export_that_cannot_be_says_why_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("a.lucid"));
    let args = ["record", "--source", SOURCE, "--seconds", "1", "--out", text(&out)];
    assert_eq!(code(&lucid(&[&args[..], &["--data-dir", text(&data)]].concat())), 0);
    let id = "019a9c1e-0000-7000-8000-000000000000";
    let output = lucid(&["export", id, "--data-dir", text(&data)]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(code(&output), 1);
    assert!(error.contains("no such session") && !error.contains("unverifiable"), "{error}");
    for (from, to) in [("9", "3"), ("1", "1")] {
        let output = lucid(&["export", id, "--from", from, "--to", to, "--data-dir", text(&data)]);
        assert_eq!(code(&output), 64, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn nothing_but_a_file_is_replaced_by_a_bundle() {
    use std::os::unix::fs::FileTypeExt;
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("a.lucid"));
    let source = ["record", "--source", SOURCE, "--seconds", "1"];
    let record = |out: &Path| lucid(&[&source[..], &["--out", text(out)]].concat());
    let kept = ["--out", text(&out), "--data-dir", text(&data), "--json"];
    let recorded = json(&lucid(&[&source[..], &kept].concat()));
    let id = recorded["session_id"].as_str().unwrap();

    let socket = dir.path().join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for there in [&socket, &link, &fifo] {
        let before = there.symlink_metadata().unwrap().file_type();
        let export = lucid(&["export", id, "--out", text(there), "--data-dir", text(&data)]);
        for output in [record(there), export] {
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(code(&output), 64, "{error}");
            assert!(error.contains(text(there)), "{error}");
        }
        assert_eq!(there.symlink_metadata().unwrap().file_type(), before);
    }
    assert!(fifo.metadata().unwrap().file_type().is_fifo());

    // Where a name could be expected beforehand, a link in its place is not followed.
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "mine").unwrap();
    std::os::unix::fs::symlink(&victim, dir.path().join(".b.lucid.part")).unwrap();
    let out = dir.path().join("b.lucid");
    assert_eq!(code(&lucid(&["export", id, "--out", text(&out), "--data-dir", text(&data)])), 0);
    assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    assert_eq!(code(&lucid(&["verify", text(&out)])), 0);
}

#[test]
fn what_is_lost_is_left_out_of_an_export_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("a.lucid"));
    let args = ["record", "--source", SOURCE, "--seconds", "1", "--out", text(&out)];
    let recorded = json(&lucid(&[&args[..], &["--data-dir", text(&data), "--json"]].concat()));
    let id = recorded["session_id"].as_str().unwrap();
    std::fs::remove_dir_all(data.join("volumes/0000000001")).unwrap();
    for form in [&[][..], &["--sealed"], &["--no-video"]] {
        let args = ["export", id, "--out", text(&out), "--data-dir", text(&data)];
        let output = lucid(&[&args[..], form].concat());
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(code(&output), 11, "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("0.000 s to 1."), "{said}");
        assert_eq!(code(&lucid(&["verify", text(&out)])), 11);
    }
}

#[test]
fn a_signal_ends_a_recording_in_order() {
    for (signal, ignored) in [("TERM", false), ("HUP", false), ("INT", false), ("HUP", true)] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a.lucid");
        let mut command = match ignored {
            false => Command::new(env!("CARGO_BIN_EXE_lucid")),
            true => {
                let mut command = Command::new("nohup");
                command.arg(env!("CARGO_BIN_EXE_lucid"));
                command
            }
        };
        command.args(["record", "--source", "test://", "--out", text(&out)]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !has_media(dir.path()) {
            assert!(child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(20));
        }
        let send = |signal: &str| {
            let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
            assert!(sent.unwrap().success());
        };
        send(signal);
        if ignored {
            // Whoever asked for it to outlive the terminal still stops it otherwise.
            send("TERM");
        }
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{signal}: {error}");
        assert_eq!(code(&lucid(&["verify", text(&out)])), 0);
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

/// Whether more than an initialisation segment lies in the first volume of a temporary directory.
fn has_media(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries.into_iter().any(|entry| {
        let log = std::fs::read(entry.path().join("volumes/0000000001/db")).unwrap_or_default();
        log.iter().filter(|byte| **byte != 0).count() > 30_000
    })
}

#[test]
fn what_cannot_be_recorded_says_why_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.lucid");
    let noise = dir.path().join("noise.mp4");
    std::fs::write(&noise, [7; 5000]).unwrap();
    let empty = dir.path().join("empty.mp4");
    std::fs::write(&empty, []).unwrap();
    for (source, expected, exit) in [
        ("gopher://x", "unknown source scheme", 64),
        ("rtsp://user:hunter2@127.0.0.1:1/x", "refused", 1),
        ("file:///no/such/file.mp4", "does not exist", 1),
        (&format!("file://{}", noise.display()), "no video", 1),
        (&format!("file://{}", empty.display()), "no media", 1),
        ("v4l2:///dev/video250", "/dev/video250", 1),
    ] {
        let args = ["record", "--source", source, "--seconds", "2", "--out", text(&out)];
        let output = lucid(&args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), exit, "{source}: {error}");
        assert!(error.contains(expected), "{source}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(!out.exists());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
