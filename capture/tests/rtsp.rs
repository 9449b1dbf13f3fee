//! RTSP against a real server: kept streams, logins, TLS, everything that can go wrong on the way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{PATIENCE, failure, open, options, record, take};
use lucid_capture::{MediaEvent, RtspTransport, SourceError, TlsTrust};
use lucid_tests::camera::{Camera, CameraOptions, Picture};
use lucid_tests::relay::Relay;

fn camera(change: impl FnOnce(&mut CameraOptions)) -> Camera {
    let mut options = CameraOptions::new(Picture::small());
    change(&mut options);
    Camera::start(options).unwrap()
}

#[test]
fn pictures_and_sound_are_kept_as_they_are() {
    let camera = camera(|c| c.sound = true);
    let taken = record(open(&camera.uri(), &options()).unwrap(), 4);
    taken.check();
    let init = taken.inits()[0];
    assert_eq!(taken.inits().len(), 1);
    assert!(init.encoder.passthrough && init.encoder.name == "camera", "{:?}", init.encoder);
    assert!(init.tracks[0].codec.starts_with("avc1.") && init.tracks[1].codec == "mp4a.40.2");
    let decoded = taken.decode();
    assert!(decoded[0].0 == "h264" && decoded[1].0 == "aac", "{decoded:?}");
    // Whichever picture it joined at: a group is a second, longer than a fragment may be, so it is
    // kept in two halves once that is known.
    let fragments = taken.fragments();
    assert!(fragments.iter().all(|f| f.duration_us <= 900_000), "{fragments:?}");
    assert!(fragments.iter().filter(|f| f.keyframe).count() >= 3, "{fragments:?}");
}

#[test]
fn h265_is_kept_too() {
    if !lucid_capture::has_element("x265enc").unwrap() {
        println!("skipped: x265enc is not installed, so there is no H.265 camera");
        return;
    }
    let camera = camera(|c| c.picture = Picture::Hevc);
    let taken = record(open(&camera.uri(), &options()).unwrap(), 3);
    taken.check();
    let init = taken.inits()[0];
    assert!(init.encoder.passthrough && init.tracks[0].codec.starts_with("hvc1."), "{init:?}");
    let decoded = taken.decode();
    // The clock of the camera and ours differ by parts of a picture.
    let pictures = taken.length_us() / 100_000;
    assert!(decoded[0].0 == "hevc" && decoded[0].1.abs_diff(pictures as usize) <= 1, "{decoded:?}");
}

#[test]
fn udp_works_too() {
    let camera = camera(|_| {});
    let mut udp = options();
    udp.rtsp_transport = RtspTransport::Udp;
    let taken = record(open(&camera.uri(), &udp).unwrap(), 2);
    taken.check();
    assert_eq!(taken.decode()[0].0, "h264");
}

#[test]
fn long_groups_are_cut_all_the_same() {
    let picture = Picture::Pattern { width: 320, height: 240, fps: 10, group: 100, kbps: 200 };
    let camera = camera(|c| c.picture = picture);
    let taken = record(open(&camera.uri(), &options()).unwrap(), 5);
    taken.check();
    let fragments = taken.fragments();
    assert!(fragments.iter().all(|f| f.duration_us <= 1_200_000), "{fragments:?}");
    assert!(fragments.iter().take(5).skip(1).all(|f| !f.keyframe), "{fragments:?}");
    let pictures = taken.length_us() / 100_000;
    assert!(taken.decode()[0].1.abs_diff(pictures as usize) <= 1, "{fragments:?}");
}

#[test]
fn logins_are_used_checked_and_never_shown() {
    let camera = camera(|c| c.login = Some(("admin".into(), "s3cret".into())));
    let right = record(open(&camera.uri(), &options()).unwrap(), 1);
    right.check();
    for login in ["admin:wr0ng", "nobody:s3cret", ""] {
        let error = failure(&camera.uri_with(login, camera.port(), "live"), &options());
        assert!(matches!(error, SourceError::Unauthorised { .. }), "{login}: {error:?}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("wr0ng") && !text.contains("s3cret"), "{text}");
        }
    }
}

#[test]
fn a_path_that_is_not_there_says_so() {
    let camera = camera(|_| {});
    let error = failure(&camera.uri_with("", camera.port(), "dead"), &options());
    assert!(matches!(&error, SourceError::NoSuchStream { .. }), "{error:?}");
}

#[test]
fn closed_ports_unknown_hosts_and_silence_are_told_apart() {
    let mut quick = options();
    quick.connect_timeout = Duration::from_secs(2);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = failure(&format!("rtsp://u:p1lot@127.0.0.1:{port}/live"), &quick);
    assert_eq!(error, SourceError::Refused { host: "127.0.0.1".into(), port });

    let error = failure("rtsp://no-such-camera.invalid/live", &quick);
    assert_eq!(error, SourceError::UnknownHost { host: "no-such-camera.invalid".into() });

    // Accepts, and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let error = failure(&format!("rtsp://127.0.0.1:{port}/live"), &quick);
    assert!(matches!(error, SourceError::Protocol { .. }), "{error:?}");
}

#[test]
fn a_host_that_does_not_answer_is_unreachable() {
    let mut quick = options();
    quick.connect_timeout = Duration::from_secs(2);
    // Nobody accepts, the queue is full: further connections get no answer.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = full.local_addr().unwrap();
    let wait = Duration::from_millis(200);
    let mut held = Vec::new();
    while held.len() < 5000 {
        match TcpStream::connect_timeout(&address, wait) {
            Ok(connection) => held.push(connection),
            Err(_) => break,
        }
    }
    let error = failure(&format!("rtsp://127.0.0.1:{}/live", address.port()), &quick);
    assert!(
        matches!(error, SourceError::Unreachable { seconds: 2, .. }),
        "{error:?} after {} connections",
        held.len()
    );
}

#[test]
fn tls_is_checked_unless_switched_off() {
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = format!("{}{}", key.cert.pem(), key.signing_key.serialize_pem());
    let camera = camera(|c| c.tls = Some(pem));
    let error = failure(&camera.uri(), &options());
    assert!(matches!(error, SourceError::Tls { .. }), "{error:?}");
    let mut any = options();
    any.tls = TlsTrust::AnyCertificate;
    let taken = record(open(&camera.uri(), &any).unwrap(), 1);
    taken.check();
}

#[test]
fn other_codecs_are_decoded_and_unknown_ones_refused() {
    let jpeg = camera(|c| c.picture = Picture::Jpeg);
    let taken = record(open(&jpeg.uri(), &options()).unwrap(), 2);
    taken.check();
    let encoder = &taken.inits()[0].encoder;
    assert!(!encoder.passthrough && encoder.reason.contains("JPEG"), "{encoder:?}");
    assert_eq!(taken.decode()[0].0, "h264");

    let unknown = camera(|c| c.picture = Picture::UnknownCodec);
    let error = failure(&unknown.uri(), &options());
    assert!(matches!(&error, SourceError::Codec { codec, .. } if codec == "X-NOBODY"), "{error:?}");

    let blind = camera(|c| {
        c.picture = Picture::None;
        c.sound = true;
    });
    let error = failure(&blind.uri(), &options());
    assert!(matches!(&error, SourceError::NotVideo { .. }), "{error:?}");
}

#[test]
fn a_camera_that_loses_power_fails_and_can_be_opened_again() {
    let camera = camera(|_| {});
    let uri = camera.uri();
    let mut stream = open(&uri, &options()).unwrap();
    let before = take(&mut stream, |t| t.fragments().len() >= 2);
    before.check();
    let plug = camera.stop();
    let taken = take(&mut stream, |t| t.failure().is_some());
    let error = taken.failure().unwrap();
    assert!(matches!(error, SourceError::BrokeOff { .. }) && error.is_transient(), "{error:?}");
    assert!(stream.next(PATIENCE).is_none(), "nothing follows");
    assert!(matches!(failure(&uri, &options()), SourceError::Refused { .. }));

    let camera = Camera::start(plug).unwrap();
    let taken = record(open(&camera.uri(), &options()).unwrap(), 2);
    taken.check();
}

#[test]
fn a_network_that_goes_silent_gives_nothing_and_can_be_left() {
    let camera = camera(|_| {});
    let relay = Relay::start(([127, 0, 0, 1], camera.port()).into()).unwrap();
    let uri = camera.uri_with("", relay.port(), "live");
    let mut stream = open(&uri, &options()).unwrap();
    take(&mut stream, |t| t.fragments().len() >= 2).check();
    relay.freeze();
    // What was on its way still arrives; then nothing.
    let mut silent = false;
    for _ in 0..10 {
        match stream.next(Duration::from_millis(2500)) {
            None => {
                silent = true;
                break;
            }
            Some(MediaEvent::Failed(error)) => panic!("too early: {error}"),
            Some(_) => {}
        }
    }
    assert!(silent);
    drop(stream);
    relay.restore();
    let taken = record(open(&uri, &options()).unwrap(), 1);
    taken.check();
    relay.cut();
    assert!(open(&uri, &options()).map(|mut s| take(&mut s, |t| t.failure().is_some())).is_ok());
}
