//! What breaks: the daemon, the X server, the session's own programs, and strangers at the port.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::office::{Office, until};

/// Connections of strangers.
const STRANGERS: usize = 10_000;
/// How many knock at once.
const KNOCKING: usize = 20;
/// Of all, left open at a time.
const LEFT_OPEN: usize = 400;
/// What they may cost, whatever they send: TLS handshakes in flight, and what the allocator keeps.
const COST_MAX_BYTES: u64 = 64 << 20;

#[test]
fn a_session_that_the_daemon_was_killed_in_is_closed_and_never_continued() {
    let mut office = Office::open(&[]);
    let credential = office.credential(None);
    let client = office.enter(&credential);
    office.make("before");
    let id = credential["session_id"].as_str().unwrap().to_owned();
    let session = format!("/sessions/{id}");
    office.wait(&session, |session| session["duration_s"].as_f64().unwrap() > 2.0);
    office.again();
    drop(client);
    let ended = office.wait(&session, |session| session["state"] == "completed");
    assert_eq!(ended["end_reason"], "recorder stopped without warning", "{ended}");
    let gaps = ended["gaps"].as_array().unwrap();
    let cut = gaps.iter().filter(|gap| gap["reason"] == "recorder stopped without warning");
    assert_eq!(cut.count(), 1, "{ended}");
    assert_eq!(office.get("/connections")["items"], json!([]));
    let desktop = format!("/desktops/{}", office.desktop);
    assert_eq!(office.get(&format!("{desktop}/credentials"))["items"][0]["state"], "used");
    assert_eq!(office.get(&desktop)["port"], office.port);
    office.is_refused(&credential);
    // The desktop itself serves on, with what lies in its home.
    let credential = office.credential(None);
    let _client = office.enter(&credential);
    office.make("after");
    assert!(office.file("before").exists());
}

/// The X server of the desktop, which the daemon has started.
fn x_server(office: &Office) -> String {
    let parent = office.daemon().pid().to_string();
    let found = Command::new("pgrep").args(["-x", "-P", &parent, "Xvfb"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_session_ends_with_its_x_server_and_with_its_programs_and_the_next_one_is_whole() {
    let office = Office::open(&[]);
    let desktop = format!("/desktops/{}", office.desktop);
    let credential = office.credential(None);
    let mut client = office.enter(&credential);
    office.make("before");
    let status = Command::new("kill").args(["-KILL", &x_server(&office)]).status().unwrap();
    assert!(status.success());
    let _told = client.0.wait().unwrap();
    let id = credential["session_id"].as_str().unwrap();
    let ended = office.wait(&format!("/sessions/{id}"), |one| one["state"] == "completed");
    assert_eq!(ended["end_reason"], "source failed", "{ended}");
    office.wait("/connections", |list| list["items"] == json!([]));
    office.is_refused(&credential);

    // Whoever comes next has a fresh X server, and signs out by ending what runs there.
    office.wait(&desktop, |one| one["state"] == "ready");
    let credential = office.credential(None);
    let mut client = office.enter(&credential);
    office.make("after");
    until("the programs have ended", || {
        office.screen.type_line("openbox --exit; pkill -u $(id -u) -x openbox");
        office.get("/connections")["items"] == json!([])
    });
    let _told = client.0.wait().unwrap();
    let id = credential["session_id"].as_str().unwrap();
    let ended = office.wait(&format!("/sessions/{id}"), |one| one["state"] == "completed");
    assert_eq!(ended["end_reason"], "stopped", "{ended}");
    let changes = office.events(id, "connection");
    let over = changes.iter().find(|event| event["change"] == "terminated").unwrap();
    assert_eq!(over["reason"], "logged out", "{changes:?}");
    office.wait(&desktop, |one| one["state"] == "ready" && one["session_id"] == Value::Null);
}

#[test]
fn strangers_at_the_port_cost_little_and_guessing_slows_down() {
    let office = Office::open(&[]);
    let credential = office.credential(None);
    let before = office.daemon().resident_bytes();
    // A connection request that asks for TLS, [MS-RDPBCGR] 2.2.1.1, and one for no security at all.
    let tls = [3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 1, 0, 0, 0];
    let mut plain = tls;
    plain[15] = 0;
    let garbage = [0xa5; 4096];
    let huge = [3, 0, 0xff, 0xff, 0xff, 0xe0];
    let beginnings: [&[u8]; 6] = [&garbage, &tls, &plain, &huge, &tls[..7], &[]];
    let port = u16::try_from(office.port).unwrap();
    let knock = || {
        let mut open = VecDeque::new();
        for beginning in beginnings.iter().cycle().take(STRANGERS / KNOCKING) {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            // Who is turned away at once no longer listens.
            let _turned_away = stream.write_all(beginning);
            open.push_back(stream);
            if open.len() > LEFT_OPEN / KNOCKING {
                open.pop_front();
            }
        }
        open
    };
    let open: Vec<_> = std::thread::scope(|scope| {
        let knocking: Vec<_> = (0..KNOCKING).map(|_| scope.spawn(knock)).collect();
        knocking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    // With all of them still there, a worker comes in.
    let client = office.enter(&credential);
    office.make("in-spite-of-strangers");
    let cost = office.daemon().resident_bytes().saturating_sub(before);
    assert!(cost < COST_MAX_BYTES, "{cost} bytes");
    drop((open, client));
    let id = credential["session_id"].as_str().unwrap();
    assert_eq!(office.call("DELETE", &format!("/connections/{id}"), None).status, 204);

    // Five wrong secrets, and even the right one has to wait.
    let credential = office.credential(None);
    let wrong = json!({"user": "anna", "secret": "7Q4M2V-9K3XNB-T80FHC-5WJRPA-1D"});
    until("the address is slowed down", || {
        office.is_refused(&wrong);
        office.figure("lucid_desktops_sign_ins_slowed") > 0.0
    });
    assert!(office.figure("lucid_desktops_sign_ins_refused") >= 5.0);
    let listed = office.get(&format!("/desktops/{}/credentials", office.desktop));
    assert_eq!(listed["items"][0]["state"], "unused", "{listed}");
    until("the pause is over", || {
        let _client = office.connect(&credential);
        let mut state = office.connection();
        for _ in 0..20 {
            if state["state"] == "connected" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            state = office.connection();
        }
        state["state"] == "connected"
    });
}
