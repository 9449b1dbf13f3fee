//! What a program of a desktop plays is heard at the client, once it is allowed.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use lucid_rdp::desktop::{self, Definition, Launcher, Places, Setup};
use lucid_rdp::event::EventKind;
use lucid_rdp::policy::Capability;
use lucid_rdp::sound::{CHANNELS, RATE_HZ};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use super::stage::{PATIENCE, Running, SECRET, Stage, until, working};

/// What is played left and right.
const TONES_HZ: [u32; 2] = [1000, 500];
/// Another than in all tests that run at the same time.
const INDEX: u16 = 940;

/// Two seconds of the tones.
fn tones() -> Vec<u8> {
    let sample = |n: u32, hz: u32| {
        let angle = f64::from(n) * f64::from(hz) * std::f64::consts::TAU / f64::from(RATE_HZ);
        ((angle.sin() * 12_000.0) as i16).to_le_bytes()
    };
    (0..2 * RATE_HZ).flat_map(|n| TONES_HZ.map(|hz| sample(n, hz))).flatten().collect()
}

/// The pitch that most of a channel's waves have; none as long as too little was heard.
fn pitch(heard: &[u8], channel: usize) -> Option<u32> {
    let samples = heard.chunks_exact(2 * usize::from(CHANNELS));
    let samples: Vec<i16> =
        samples.map(|all| i16::from_le_bytes([all[2 * channel], all[2 * channel + 1]])).collect();
    let rises = (1..samples.len()).filter(|n| samples[n - 1] < 0 && samples[*n] >= 0);
    let rises: Vec<usize> = rises.collect();
    let mut waves: Vec<usize> = rises.windows(2).map(|pair| pair[1] - pair[0]).collect();
    waves.sort_unstable();
    let usual = *waves.get(waves.len() / 2).filter(|_| waves.len() >= 200)?;
    Some(RATE_HZ / u32::try_from(usual).unwrap().max(1))
}

/// A sound server of the client's own, which writes what it plays into a pipe.
fn ears(directory: &Path) -> (Running, std::fs::File) {
    let pipe = directory.join("heard");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let heard = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&pipe).unwrap();
    let server = Command::new("pulseaudio")
        .args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--realtime=no"])
        .arg(format!("--load=module-native-protocol-unix socket={}/ears", directory.display()))
        .arg(format!(
            "--load=module-pipe-sink file={} format=s16le rate={RATE_HZ} channels={CHANNELS} \
             use_system_clock_for_timing=yes",
            pipe.display()
        ))
        .env("HOME", directory)
        .env("PULSE_RUNTIME_PATH", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the client has a sound server", || directory.join("ears").exists());
    (Running(server), heard)
}

#[test]
fn a_tone_is_refused_then_granted_and_heard() {
    let places = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(places.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let tone = places.path().join("tones");
    std::fs::write(&tone, tones()).unwrap();
    let player = format!(
        "while :; do paplay --raw --format=s16le --rate={RATE_HZ} --channels={CHANNELS} {}; done",
        tone.display()
    );
    let definition = Definition {
        name: "tones".into(),
        width: 640,
        height: 400,
        command: Some(player),
        restart: false,
    };
    let at = Places { runtime: places.path().join("run"), home: places.path().join("home") };
    let mut setup = Setup::new(definition, at, INDEX);
    setup.launcher = Launcher::Direct;
    let player = desktop::Running::start(setup).unwrap();
    let sound = player.desktop().unwrap().sound;
    assert!(sound.is_some(), "it says why in the log");

    let stage = Stage::sounding(working(), sound);
    let (_server, mut heard) = ears(stage.directory.path());
    let server = format!("unix:{}/ears", stage.directory.path().display());
    let more = ["/sound:sys:pulse"];
    let mut client = stage.client_with(&stage.client, stage.at, ("anna", SECRET), &more);
    let _client = Running(client.env("PULSE_SERVER", server).spawn().unwrap());
    stage.accept();
    let refused = |event: &EventKind| {
        matches!(event, EventKind::Refused { capability: Capability::Audio, .. })
    };
    until("the sound is refused", || stage.gate.events.any(refused));
    let (mut all, mut buffer) = (Vec::new(), [0; 65_536]);
    let mut listen = |all: &mut Vec<u8>| {
        while let Ok(count @ 1..) = heard.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
    };
    listen(&mut all);
    assert!(all.iter().all(|byte| *byte == 0), "{} bytes were heard", all.len());

    let mut policy = working();
    policy.grant(Capability::Audio);
    stage.gate.policy.send_replace(policy.into());
    let began = std::time::Instant::now();
    let pitches = loop {
        listen(&mut all);
        if let (Some(left), Some(right)) = (pitch(&all, 0), pitch(&all, 1)) {
            break [left, right];
        }
        assert!(began.elapsed() < PATIENCE, "{} bytes were heard", all.len());
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    for (pitch, tone) in pitches.into_iter().zip(TONES_HZ) {
        assert!(pitch.abs_diff(tone) <= tone / 30, "{pitches:?} Hz were heard");
    }
    player.stop();
}
