//! `lucid-desktopd`: the keeper of desktops. See `lucid_desktop::keeper`.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use lucid_desktop::identity;
use lucid_desktop::keeper::{self, Settings};
use rustix::net::{AddressFamily, SocketType};

const USAGE: &str = "usage: lucid-desktopd [--settings FILE] [--socket PATH]
Starts recorded desktops for lucid, as users of their own. Runs as root; systemd hands it its
socket, else it listens at PATH. See lucid's docs/desktops.md.";
/// Wrong use and wrong settings, as of sysexits(3).
const EXIT_USAGE: u8 = 64;
const EXIT_CONFIG: u8 = 78;

struct Arguments {
    settings: PathBuf,
    socket: PathBuf,
}

fn arguments() -> Option<Arguments> {
    let mut found = Arguments { settings: keeper::SETTINGS.into(), socket: keeper::SOCKET.into() };
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        match word.to_str()? {
            "--settings" => found.settings = words.next()?.into(),
            "--socket" => found.socket = words.next()?.into(),
            _ => return None,
        }
    }
    Some(found)
}

/// The socket of systemd, else one at `path` for the group `gid`.
fn listen(path: &Path, gid: u32) -> anyhow::Result<OwnedFd> {
    let (unix, packets) = (AddressFamily::UNIX.as_raw(), SocketType::SEQPACKET.as_raw());
    let (unix, packets) = (i32::from(unix), i32::try_from(packets).unwrap_or_default());
    let given = listenfd::ListenFd::from_env().take_custom(0, unix, packets, "socket of packets");
    if let Some(socket) = given.context("the socket that systemd hands over")? {
        return Ok(socket);
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listened = keeper::listen(path)?;
    chown(path, None, Some(gid))
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)))?;
    Ok(listened)
}

fn run(Arguments { settings: file, socket }: &Arguments, settings: Settings) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the keeper of desktops starts programs as other users, for which it must be root");
    }
    let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let Some(ids) = identity::named(&passwd, &settings.user) else {
        bail!("there is no user {:?}; make it, or set `user` in {}", settings.user, file.display());
    };
    // What it makes is for whom it says, whoever started it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let listener = listen(socket, ids.gid)
        .with_context(|| format!("cannot listen at {}", socket.display()))?;
    tracing::info!(user = settings.user, "keeps desktops");
    keeper::serve(&listener, settings, ids.uid)?;
    Ok(())
}

fn main() -> ExitCode {
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).without_time();
    subscriber.with_target(false).with_ansi(false).init();
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(EXIT_USAGE);
    };
    let settings = match Settings::read(&arguments.settings) {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!("{:#}", anyhow::Error::from(error));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match run(&arguments, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
