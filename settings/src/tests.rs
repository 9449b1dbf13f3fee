//! What every configuration does alike, on a small one.

use super::*;

#[derive(Debug, Default, PartialEq)]
struct Camera {
    address: Option<String>,
    path: Option<String>,
    frames: u64,
}

impl Settings for Camera {
    const KEYS: &'static [Key<Self>] = &[
        Key {
            name: "frames",
            help: "pictures a second",
            set: |camera, value| {
                camera.frames = value.number(0, 60)?;
                Ok(())
            },
            show: |camera| camera.frames.to_string(),
        },
        Key {
            name: "rtsp.address",
            help: "where it is",
            set: |camera, value| {
                camera.address = Some(value.text()?);
                Ok(())
            },
            show: |camera| camera.address.as_deref().map(quoted).unwrap_or_default(),
        },
        // Builds on the address.
        Key {
            name: "rtsp.a_path",
            help: "which of its streams",
            set: |camera, value| {
                let address = camera.address.as_deref().ok_or("set `rtsp.address` as well")?;
                camera.path = Some(format!("{address}/{}", value.text()?));
                Ok(())
            },
            show: |camera| camera.path.as_deref().map(quoted).unwrap_or_default(),
        },
    ];
    const PREFIX: &'static str = "CAMERA_";
    const NOT_KEYS: &'static [&'static str] = &["CAMERA_TEST_"];
    const LISTED_BY: &'static str = "camera config";

    fn check(&self) -> Result<(), String> {
        let fits = self.frames > 0 || self.address.is_none();
        fits.then_some(()).ok_or_else(|| "`frames` = 0 records nothing".into())
    }
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn flags(pairs: &[(&str, &str)]) -> Flags {
    pairs.iter().map(|(key, text)| ((*key).into(), "--set".into(), (*text).into())).collect()
}

fn refused(file: Option<&str>, environment: &[(&str, &str)], flags: &Flags) -> SettingsError {
    let file = file.map(|text| (Path::new("camera.toml"), text));
    merge::<Camera>(file, env(environment), flags).unwrap_err()
}

#[test]
fn a_key_that_builds_on_another_is_read_after_it_wherever_both_stand() {
    let path = Some("gate/main".to_owned());
    let file = "frames = 5\n[rtsp]\na_path = \"main\"\naddress = \"gate\"\n";
    let loaded = merge::<Camera>(Some((Path::new("x"), file)), [], &Flags::new()).unwrap();
    assert_eq!(loaded.config.path, path);
    let variables = [("CAMERA_RTSP_A_PATH", "main"), ("CAMERA_RTSP_ADDRESS", "gate")];
    let loaded = merge::<Camera>(None, env(&variables), &flags(&[("frames", "1")])).unwrap();
    assert_eq!(loaded.config.path, path);
    let given = flags(&[("rtsp.a_path", "main"), ("frames", "1"), ("rtsp.address", "gate")]);
    assert_eq!(merge::<Camera>(None, [], &given).unwrap().config.path, path);
}

#[test]
fn the_last_of_equal_flags_wins() {
    let given = flags(&[("frames", "1"), ("frames", "2")]);
    assert_eq!(merge::<Camera>(None, [], &given).unwrap().config.frames, 2);
}

#[test]
fn a_refusal_names_its_place_and_what_would_be_right() {
    let none = Flags::new();
    let cases = [
        (refused(Some("frame = 1"), &[], &none), "camera.toml: unknown key `frame`; did you mean"),
        (refused(Some("frame = 1"), &[], &none), "(`camera config` lists all)"),
        (refused(None, &[("CAMERA_FRAME", "1")], &none), "did you mean `CAMERA_FRAMES`?"),
        (refused(None, &[("CAMERA_FRAMES", "x")], &none), "environment variable CAMERA_FRAMES: "),
        (refused(None, &[], &flags(&[("frames", "61")])), "--set: `frames` = \"61\": expected a"),
        (refused(Some("[rtsp]\naddress = \"a\""), &[], &none), "`frames` = 0 records nothing"),
        (refused(Some("frames ="), &[], &none), "camera.toml is not valid TOML"),
    ];
    for (error, words) in cases {
        assert!(error.to_string().contains(words), "{error} | {words}");
    }
    merge::<Camera>(None, env(&[("CAMERA_TEST_X", "1"), ("PATH", "x")]), &none).unwrap();
}

#[test]
fn what_is_shown_says_what_is_not_set_and_reads_back() {
    let given = flags(&[("frames", "7"), ("rtsp.address", "a \"b\"")]);
    let loaded = merge::<Camera>(None, [], &given).unwrap();
    let text = loaded.to_toml();
    assert!(text.contains("# a_path is not set"), "{text}");
    assert!(text.contains("# pictures a second (CAMERA_FRAMES; from --set)\nframes = 7"), "{text}");
    let again = merge::<Camera>(Some((Path::new("x"), &text)), [], &Flags::new()).unwrap();
    assert_eq!(again.config, loaded.config);
}

#[test]
fn a_file_that_is_missing_or_too_large_is_refused() {
    let dir = std::env::temp_dir().join(format!("lucid-settings-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (file, none) = (dir.join("camera.toml"), Flags::new());
    let error = load::<Camera>(Some(&file), &file, &none).unwrap_err();
    assert!(matches!(error, SettingsError::Read { .. }), "{error}");
    // Nobody named it: nothing to read is no fault.
    assert_eq!(load::<Camera>(None, &file, &none).unwrap().config, Camera::default());
    std::fs::write(&file, vec![b'#'; MAX_FILE_BYTES as usize + 1]).unwrap();
    let error = load::<Camera>(None, &file, &none).unwrap_err();
    assert!(matches!(error, SettingsError::TooLarge(_)), "{error}");
    std::fs::remove_dir_all(&dir).unwrap();
}
