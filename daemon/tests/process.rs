//! The process from outside: configuration, exit codes, one daemon a directory, the drain.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write;
use std::time::Instant;

use support::{PATIENCE, lucid, run, start, start_in};

#[test]
fn wrong_use_exits_64_and_help_0() {
    assert_eq!(run(lucid().arg("--help")).0, 0);
    assert_eq!(run(lucid().arg("--version")).0, 0);
    assert_eq!(run(lucid().args(["serve", "--help"])).0, 0);
    for wrong in [&["sing"][..], &[], &["serve", "--prot", "1"], &["serve", "--set", "burst"]] {
        let (exit, error) = run(lucid().args(wrong));
        assert_eq!(exit, 64, "{wrong:?}: {error}");
    }
}

#[test]
fn an_unknown_or_unfit_key_stops_the_start_before_anything_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let file = directory.path().join("lucid.toml");
    std::fs::write(&file, "[http]\nlisten_tsl = \"off\"\n").unwrap();
    let mut serve = lucid();
    serve.arg("serve").arg("--data-dir").arg(&data_dir).arg("--config").arg(&file);
    let (exit, error) = run(&mut serve);
    assert_eq!(exit, 78, "{error}");
    assert!(error.contains("http.listen_tsl") && error.contains("`http.listen_tls`"), "{error}");
    let (exit, error) =
        run(lucid().args(["serve", "--http", "here"]).arg("--data-dir").arg(&data_dir));
    assert_eq!(exit, 78, "{error}");
    assert!(error.contains("--http") && error.contains("ADDRESS:PORT"), "{error}");
    let (exit, error) =
        run(lucid().args(["serve", "--data-dir"]).arg(&data_dir).env("LUCID_NAEM", "x"));
    assert_eq!(exit, 78, "{error}");
    assert!(error.contains("LUCID_NAME"), "{error}");
    let (exit, error) = run(lucid().args(["serve", "--config", "/nonexistent/lucid.toml"]));
    assert_eq!(exit, 78, "{error}");
    assert!(!data_dir.exists(), "nothing was opened");
}

#[test]
fn the_printed_configuration_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let first = lucid()
        .args(["serve", "--print-config", "--http", "off", "--set", "name=gate"])
        .output()
        .unwrap();
    assert!(first.status.success());
    let file = directory.path().join("lucid.toml");
    std::fs::write(&file, &first.stdout).unwrap();
    let again = lucid().args(["serve", "--print-config", "--config"]).arg(&file).output().unwrap();
    let values = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(values(&first.stdout), values(&again.stdout));
    assert!(values(&first.stdout).contains(&"listen = \"off\"".to_owned()));
}

#[test]
fn a_second_daemon_refuses_the_directory_and_the_first_goes_on() {
    let daemon = start(&[]);
    let mut second = lucid();
    second.args(["serve", "--http", "127.0.0.1:0", "--https", "off", "--data-dir"]);
    let (exit, error) = run(second.arg(daemon.data_dir.path()));
    assert_eq!(exit, 75, "{error}");
    assert!(error.contains(&daemon.pid().to_string()), "names the holder: {error}");
    assert_eq!(daemon.send("GET", "/health", &[], None).status, 200);
}

#[test]
fn a_newer_directory_is_refused_and_left_alone() {
    let daemon = start(&[]);
    let (_, _, data_dir) = daemon.stop();
    let version = data_dir.path().join("version");
    assert!(version.exists());
    std::fs::write(&version, "999\n").unwrap();
    let mut serve = lucid();
    serve.args(["serve", "--http", "127.0.0.1:0", "--https", "off", "--data-dir"]);
    let (exit, error) = run(serve.arg(data_dir.path()));
    assert_eq!(exit, 76, "{error}");
    assert!(error.contains("999"), "{error}");
    assert_eq!(std::fs::read_to_string(&version).unwrap(), "999\n");
}

#[test]
fn an_unusable_directory_has_its_own_exit() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut serve = lucid();
    serve.args(["serve", "--http", "127.0.0.1:0", "--https", "off", "--data-dir"]);
    let (exit, error) = run(serve.arg(file.join("data")));
    assert_eq!(exit, 73, "{error}");
}

#[test]
fn a_taken_address_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let mut serve = lucid();
    serve.args(["serve", "--http", &address, "--https", "off", "--data-dir"]);
    let (exit, error) = run(serve.arg(directory.path()));
    assert_eq!(exit, 69, "{error}");
    assert!(error.contains(&address) && error.contains("http.listen"), "{error}");
}

#[test]
fn the_drain_answers_what_is_under_way_and_closes_the_rest() {
    let daemon = start(&[]);
    assert_eq!(daemon.send("GET", "/ready", &[], None).status, 200);
    // One connection idle between requests, one with half a request.
    let mut idle = daemon.connect();
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address);
    idle.write_all(request.as_bytes()).unwrap();
    assert_eq!(support::Answer::read(&mut idle).status, 200);
    let mut half = daemon.connect();
    half.write_all(&request.as_bytes()[..20]).unwrap();
    let began = Instant::now();
    let (exit, log, data_dir) = daemon.stop();
    assert_eq!(exit, 0, "{log}");
    assert!(began.elapsed() < PATIENCE);
    assert!(log.contains("\"stopping\"") && log.contains("SIGTERM"), "{log}");
    // Nothing is left that would keep the next start.
    start_in(data_dir, &[]);
}

#[test]
fn systemd_is_told_ready_and_stopping_and_the_watchdog_is_fed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut serve = lucid();
    serve
        .args(["serve", "--http", "127.0.0.1:0", "--https", "off", "--log-level", "off"])
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "600000")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = support::Killed(serve.spawn().unwrap());
    let hear = |expected: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = match socket.recv(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                received => received.unwrap_or_else(|error| panic!("no {expected}: {error}")),
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(expected) {
                return;
            }
        }
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    let killed = std::process::Command::new("kill").arg(child.0.id().to_string()).status();
    assert!(killed.unwrap().success());
    hear("STOPPING=1");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn completions_are_made_for_the_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = lucid().args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("lucid"));
    }
}

/// What only somebody who talks to TRON nodes says.
const TRON: [&str; 6] = [
    "trongrid",
    "walletsolidity",
    "broadcasthex",
    "triggersmartcontract",
    "triggerconstantcontract",
    "TRON-PRO-API-KEY",
];

fn endpoints(bytes: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    TRON.into_iter().filter(|name| text.contains(&name.to_ascii_lowercase())).collect()
}

#[test]
fn the_daemon_knows_no_tron_endpoint() {
    assert_eq!(endpoints(b"\0https://api.TronGrid.io/wallet\0"), ["trongrid"]);
    let binary = std::fs::read(env!("CARGO_BIN_EXE_lucid")).unwrap();
    assert_eq!(endpoints(&binary), [""; 0]);
    // What is not there cannot be found by a search that finds nothing.
    assert!(String::from_utf8_lossy(&binary).contains("payments/payouts/"));
}
