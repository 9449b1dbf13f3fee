//! Every form a source URI may have, wrong ones, and that credentials never show.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> SourceUri {
    SourceUri::parse(text).unwrap()
}

#[test]
fn every_kind_prints_as_it_was_written() {
    for text in [
        "v4l2:///dev/video0",
        "v4l2:///dev/v4l/by-id/usb-046d_C920-video-index0",
        "libcamera://",
        "libcamera:///base/axi/pcie@120000/rp1/i2c@80000/imx708@1a",
        "rtsp://camera.local/stream1?channel=1&subtype=0",
        "rtsps://[fe80::1]:8322/",
        "file:///srv/clip.mp4?loop=1",
        "file:///srv/a%20b%3F.mp4",
        "screen://:10",
        "test://?width=320&height=240&fps=10&audio=1",
    ] {
        assert_eq!(parse(text).to_string(), text);
        assert_eq!(parse(text).reveal().as_str(), text);
    }
}

#[test]
fn credentials_are_read_and_never_printed() {
    let uri = parse("rtsp://admin:p%40ss:w%2Frd@10.0.0.5:8554/h264?token=abc123&channel=2");
    let SourceKind::Rtsp(address) = uri.kind() else { panic!("rtsp") };
    assert_eq!(address.user(), Some("admin"));
    assert_eq!(address.password(), Some("p@ss:w/rd"));
    assert_eq!(uri.to_string(), "rtsp://10.0.0.5:8554/h264?token=***&channel=2");
    assert!(uri.has_credentials());
    assert_eq!(SourceUri::parse(&uri.reveal()).unwrap(), uri);
    for shown in [format!("{uri:?}"), format!("{:?}", uri.kind()), format!("{address:?}")] {
        for secret in ["admin", "p@ss", "p%40ss", "abc123"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn credentials_in_the_path_are_hidden() {
    let uri =
        parse("rtsp://10.0.0.5/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp?real_stream");
    assert_eq!(uri.to_string(), "rtsp://10.0.0.5/user=***?real_stream");
    assert!(uri.reveal().contains("tlJwpbo6"));
}

#[test]
fn what_may_be_a_credential_is_hidden_wherever_it_stands() {
    for (path, shown) in [
        ("/?u=admin&pw=Xsecret", "/?u=***&pw=***"),
        ("/0/admin:Xsecret/main", "/0/***/main"),
        ("/u=admin&p=Xsecret/ch01", "/u=***&p=***/ch01"),
        ("/cam?key=Xsecret&channel=1&subtype=0", "/cam?key=***&channel=1&subtype=0"),
        ("/cam?password%3DXsecret", "/cam?password=***"),
        ("/cam?pass%77ord=Xsecret", "/cam?password=***"),
        ("/cam?channel=1%26password%3DXsecret", "/cam?channel=***"),
        ("/AbCdEfXsecret0123", "/***"),
        ("/cam?channel=AbCdEfXsecret0123", "/cam?channel=***"),
        ("/broken%zzXsecret", "/***"),
        ("/a@Xsecret", "/***"),
        ("/=Xsecret", "/***"),
        ("/Streaming/Channels/101", "/Streaming/Channels/101"),
        ("/axis-media/media.amp?videocodec=h264&resolution=1920x1080", ""),
        ("/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif", ""),
        ("/h264Preview_01_main", ""),
    ] {
        let shown = if shown.is_empty() { path } else { shown };
        // An @ of the path is told from one before the host only where there is one.
        let uri = parse(&format!("rtsp://u:p@10.0.0.5{path}"));
        assert_eq!(uri.to_string(), format!("rtsp://10.0.0.5{shown}"));
        assert!(!format!("{uri:?}").contains("Xsecret"));
        assert!(uri.reveal().ends_with(path));
    }
}

#[test]
fn a_person_s_change_keeps_what_is_hidden_of_the_same_camera_alone() {
    let kept = parse("rtsp://ann:word@10.0.0.5:8554/cam?key=abc&channel=1");
    let read = |text: &str| SourceUri::from_person(text, Some(&kept));
    assert_eq!(read("rtsp://***@10.0.0.5:8554/cam?key=***&channel=1").unwrap(), kept);
    let other = read("rtsp://***@10.0.0.5:8554/other").unwrap();
    assert_eq!(other.reveal().as_str(), "rtsp://ann:word@10.0.0.5:8554/other");
    let anew = read("rtsp://bob:new@10.0.0.6/x").unwrap();
    assert_eq!(anew.reveal().as_str(), "rtsp://bob:new@10.0.0.6/x");
    for text in [
        "rtsp://***@10.0.0.6:8554/other",
        "rtsp://***@10.0.0.5/other",
        "rtsps://***@10.0.0.5:8554/other",
        "rtsp://***:x@10.0.0.5:8554/other",
        "rtsp://ann:***@10.0.0.5:8554/other",
        "rtsp://10.0.0.5:8554/cam?key=***&channel=2",
    ] {
        assert_eq!(read(text), Err(UriError::Hidden), "{text}");
        assert_eq!(SourceUri::from_person(text, None), Err(UriError::Hidden), "{text}");
    }
    assert_eq!(SourceUri::from_person("test://", None).unwrap(), parse("test://"));
}

#[test]
fn a_password_with_an_at_sign_typed_plainly_is_understood() {
    let SourceKind::Rtsp(a) = parse("rtsp://u:a@b@host/x").kind().clone() else { panic!("rtsp") };
    assert_eq!((a.password(), a.host.as_str()), (Some("a@b"), "host"));
}

#[test]
fn wrong_uris_are_refused_by_name() {
    for (text, says) in [
        ("", "0 bytes"),
        ("/dev/video0", "no scheme"),
        ("http://x/", "known are v4l2"),
        ("v4l2:///etc/passwd", "/dev/video0"),
        ("v4l2:///dev/../etc/passwd", "/dev/video0"),
        ("rtsp:///path", "host"),
        ("rtsp://host:0/", "port"),
        ("rtsp://host:99999/", "port"),
        ("rtsp://u:p/w@host/", "%2F"),
        ("rtsp://u:%zz@host/", "percent"),
        ("file://relative.mp4", "absolute"),
        ("file:///x?lop=1", "known are loop"),
        ("file:///x?loop=yes", "0 or 1"),
        ("screen://0", "screen://:0"),
        ("screen://:70000", "screen://:0"),
        ("test://?width=63", "even number"),
        ("test://?fps=0", "1 to 60"),
        ("test://demo", "nothing or parameters"),
        ("rtsp://a b/", "byte 8"),
    ] {
        let error = SourceUri::parse(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let long = format!("rtsp://h/{}", "a".repeat(MAX_URI_BYTES));
    assert!(matches!(SourceUri::parse(&long), Err(UriError::Length(_))));
    // Short enough as written, too long once its escapes are spelled out for storing.
    let grows = format!("rtsp://{}:c@h/", "é".repeat(900));
    assert!(matches!(SourceUri::parse(&grows), Err(UriError::Length(_))));
    let error = SourceUri::parse("rtsp://admin:hun/ter2@host/").unwrap_err();
    assert!(!error.to_string().contains("ter2") && !format!("{error:?}").contains("ter2"));
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_and_never_leaks(text in "\\PC{0,64}") {
        if let Ok(uri) = SourceUri::parse(&text) {
            prop_assert_eq!(SourceUri::parse(&uri.reveal()).unwrap(), uri);
        }
    }

    #[test]
    fn any_credentials_survive_reveal_and_are_hidden(
        user in "[a-z]{6,10}#",
        password in "\\PC{1,24}",
    ) {
        let uri = SourceUri::parse("rtsp://h/x").unwrap().with_credentials(&user, &password);
        prop_assert_eq!(uri.to_string(), "rtsp://h/x");
        prop_assert_eq!(SourceUri::parse(&uri.reveal()).unwrap(), uri);
    }
}
