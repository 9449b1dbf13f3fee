//! Tests against a real Xvfb.

use super::*;
use std::io::Write;
use std::os::unix::net::UnixStream;

fn options(authority: &Path) -> XServerOptions {
    XServerOptions {
        kind: ServerKind::Xvfb,
        program: ServerKind::Xvfb.program(),
        width: 320,
        height: 200,
        authority: authority.to_owned(),
        start_timeout: Duration::from_secs(60),
        launcher: Launcher::Direct,
        unit: String::new(),
        limits: Limits::default(),
        ids: None,
    }
}

fn start(dir: &Path, name: &str, cookie: &[u8; 16]) -> XServer {
    XServer::start(&options(&dir.join(name)), cookie).unwrap()
}

/// The connection setup of the X protocol; returns the first byte of the answer: 1 for welcome.
fn connect(server: &XServer, cookie: Option<&[u8; 16]>) -> u8 {
    let path = format!("/tmp/.X11-unix/X{}", server.display().trim_start_matches(':'));
    let mut stream = UnixStream::connect(path).unwrap();
    let (name, data) = match cookie {
        Some(cookie) => (xauthority::SCHEME.as_bytes(), &cookie[..]),
        None => (&b""[..], &b""[..]),
    };
    let mut setup = vec![b'B', 0, 0, 11, 0, 0];
    setup.extend_from_slice(&(name.len() as u16).to_be_bytes());
    setup.extend_from_slice(&(data.len() as u16).to_be_bytes());
    setup.extend_from_slice(&[0, 0]);
    setup.extend_from_slice(name);
    setup.resize(setup.len().next_multiple_of(4), 0);
    setup.extend_from_slice(data);
    stream.write_all(&setup).unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    first[0]
}

#[test]
fn each_server_has_a_display_of_its_own_that_only_its_cookie_opens() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = ([1; 16], [2; 16]);
    let a = start(dir.path(), "a", &one);
    let b = start(dir.path(), "b", &other);
    assert_ne!(a.display(), b.display());
    assert_eq!((connect(&a, Some(&one)), connect(&b, Some(&other))), (1, 1));
    assert_eq!(connect(&a, Some(&other)), 0);
    assert_eq!(connect(&a, None), 0);
}

#[test]
fn a_server_that_dies_is_noticed_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = start(dir.path(), "a", &[7; 16]);
    assert!(server.ended().unwrap().is_none());
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(server.ended().unwrap().is_some());
    let (number, authority) = (server.number(), server.authority().to_owned());
    drop(server);
    assert!(!authority.exists());
    // The display is free from the server's death on, and servers of other tests take it: then
    // the socket is theirs.
    let socket = format!("/tmp/.X11-unix/X{number}");
    let began = Instant::now();
    while Path::new(&socket).exists() && !is_anothers(number) {
        assert!(began.elapsed() < Duration::from_secs(60), "{socket} stays");
        std::thread::yield_now();
    }
}

/// Whether a living process holds the lock of a display.
fn is_anothers(display: u16) -> bool {
    let lock = std::fs::read_to_string(format!("/tmp/.X{display}-lock")).unwrap_or_default();
    let holder = lock.trim();
    !holder.is_empty() && Path::new(&format!("/proc/{holder}")).exists()
}

#[test]
fn a_program_that_is_not_there_or_is_no_server_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir.path().join("authority"));
    options.program = dir.path().join("missing");
    let error = XServer::start(&options, &[0; 16]).unwrap_err();
    assert!(matches!(&error, XServerError::Start { .. }) && error.to_string().contains("missing"));
    options.program = "true".into();
    let error = XServer::start(&options, &[0; 16]).unwrap_err();
    assert!(matches!(error, XServerError::NoDisplay { .. }), "{error}");
    let complaining = dir.path().join("complaining");
    std::fs::write(&complaining, "#!/bin/sh\necho no memory for a screen >&2; exit 1\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&complaining, std::fs::Permissions::from_mode(0o755)).unwrap();
    options.program = complaining;
    let error = XServer::start(&options, &[0; 16]).unwrap_err().to_string();
    assert!(error.ends_with("no memory for a screen"), "{error}");
}
