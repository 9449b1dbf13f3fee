//! Who is at the socket, and how much they send.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;

use super::world::{Installation, Simulator, terminate};

/// A user that is nobody here.
const STRANGER: u32 = 65_534;
/// Bytes of a request that is far too long.
const HUGE: usize = 100_000_000;

/// The most memory a process ever had, in kilobytes.
fn peak_kb(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn status_line(stream: &mut UnixStream) -> String {
    let mut bytes = [0; 12];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_huge_request_and_a_strange_user_are_refused_and_the_process_goes_on() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    here.funded(&simulator, 1_000_000_000, 1);
    let process = here.serve();
    here.wait_until_ready();
    let socket = here.dir.path().join("data/pay.sock");

    let before = peak_kb(process.id());
    let mut stream = UnixStream::connect(&socket).unwrap();
    let head = format!(
        "POST /v1/payouts HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {HUGE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let part = [b'7'; 1 << 16];
    let mut left = HUGE;
    while left > 0 {
        let count = left.min(part.len());
        stream.write_all(&part[..count]).unwrap();
        left -= count;
    }
    assert_eq!(status_line(&mut stream), "HTTP/1.1 413");
    drop(stream);
    let grown = peak_kb(process.id()) - before;
    assert!(grown < 50_000, "{grown} kB more for what is refused");
    here.ok(&["payout", "list"]);

    // Only root can be somebody else; for others the gateway's own tests stand.
    if rustix::process::geteuid().is_root() {
        // Even where the files let everybody in, the kernel names the peer.
        let mut open = here.dir.path().to_owned();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        open.push("data");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let python = "import socket, sys\n\
                      s = socket.socket(socket.AF_UNIX)\n\
                      s.connect(sys.argv[1])\n\
                      s.sendall(b'GET /v1/wallets HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n')\n\
                      sys.stdout.write(s.recv(4096).decode())\n";
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        let mut stranger = std::process::Command::new("python3");
        let stranger = stranger.args(["-c", python]).arg(&socket).uid(STRANGER).output().unwrap();
        let said = String::from_utf8_lossy(&stranger.stdout);
        assert!(said.starts_with("HTTP/1.1 403"), "{stranger:?}");
        assert!(said.contains("the user with id 65534 may not use payments"), "{said}");
    }
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}
