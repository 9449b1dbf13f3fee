//! The sound server of a desktop: a PulseAudio of its own, which plays into a pipe.
//!
//! It is not started here. The first program of the desktop that wants to play starts it, as the
//! desktop's user and within its limits, by the configuration that is written here; 20 s after the
//! last it ends. While nothing plays nothing is written, so a silent desktop costs nothing.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use super::identity::Ids;
use super::launcher;
use super::places::give;

/// Samples a second of each channel.
pub const RATE_HZ: u32 = 44_100;
/// Channels, interleaved, of 16-bit samples, little-endian.
pub const CHANNELS: u16 = 2;

/// The program, and where Debian has it.
const PROGRAM: &str = "pulseaudio";
/// The variable under which PulseAudio's library looks for its configuration.
pub(super) const CLIENT_CONFIG: &str = "PULSE_CLIENTCONFIG";
/// How long the sound server stays after the last program that used it, seconds.
const LINGER_S: u32 = 20;

/// Why a desktop is silent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silent {
    #[error("desktops sound through {PROGRAM}; install it (Debian: {PROGRAM})")]
    Missing,
    #[error("{PROGRAM} does not start itself for root, as whom the programs of the desktop run")]
    Root,
    #[error("{PROGRAM} cannot be told of {}: letters, digits and . _ - / are fit", path.display())]
    Name { path: PathBuf },
    #[error("the sound of a desktop cannot be prepared")]
    System(#[from] io::Error),
}

/// Writes the configuration into `runtime`, which the desktop's programs can pass and nobody but
/// this process can change. Gives what [`CLIENT_CONFIG`] is to be, and the pipe.
pub(super) fn prepare(runtime: &Path, user: Option<Ids>) -> Result<(PathBuf, PathBuf), Silent> {
    let program = launcher::found(PROGRAM).ok_or(Silent::Missing)?;
    let uid = user.map_or(rustix::process::geteuid().as_raw(), |ids| ids.uid);
    if uid == 0 {
        return Err(Silent::Root);
    }
    let is_fit = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    let name = runtime.to_str().filter(|name| name.bytes().all(is_fit));
    let name = name.ok_or_else(|| Silent::Name { path: runtime.to_owned() })?;
    let (pipe, script) = (runtime.join("sound"), runtime.join("sound.pa"));
    let client_config = runtime.join("sound-client.conf");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
    give(&pipe, user)?;
    // Timed by the clock: else it would play as fast as the pipe is read.
    let modules = format!(
        "load-module module-native-protocol-unix\n\
         load-module module-pipe-sink file={name}/sound sink_name=desktop format=s16le \
         rate={RATE_HZ} channels={CHANNELS} use_system_clock_for_timing=yes\n\
         load-module module-suspend-on-idle timeout=1\n"
    );
    std::fs::write(&script, modules)?;
    let client = format!(
        "autospawn = yes\n\
         daemon-binary = {}\n\
         extra-arguments = -n -F {name}/sound.pa --daemonize=yes --log-target=stderr \
         --realtime=no --high-priority=no --exit-idle-time={LINGER_S}\n",
        program.display()
    );
    std::fs::write(&client_config, client)?;
    Ok((client_config, pipe))
}

/// Opens the pipe of a desktop to hear it.
pub(super) fn open(pipe: &Path) -> io::Result<OwnedFd> {
    // Opened for writing too, it has no end when a sound server goes.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    let flags = i32::try_from(flags).unwrap_or_default();
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(pipe)?;
    Ok(opened.into())
}
