//! Starts and ends the X server of a desktop.

use super::identity::Ids;
use super::launcher::{CommandLine, Launcher, cgroup_of, found};
use super::limits::Limits;
use super::{places, xauthority, xsockets};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest answer of a server to the question which display it took, bytes.
const DISPLAY_MAX_BYTES: u64 = 16;
/// How much of a server's complaints is kept, bytes from the end.
const COMPLAINT_MAX_BYTES: usize = 512;
/// How long a server that is asked to end may take.
const END_TIME: Duration = Duration::from_secs(2);

/// Which X server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerKind {
    /// `Xvfb`: a screen in memory.
    #[default]
    Xvfb,
    /// `Xorg` with the driver `dummy`: a screen in memory, with the modules of Xorg.
    Xorg,
}

impl ServerKind {
    /// Its program where it is installed, else its name.
    pub fn program(self) -> PathBuf {
        match self {
            ServerKind::Xvfb => found("Xvfb").unwrap_or_else(|| "Xvfb".into()),
            // Not Debian's wrapper, which wants a console.
            ServerKind::Xorg => match Path::new("/usr/lib/xorg/Xorg") {
                plain if plain.is_file() => plain.to_owned(),
                _ => found("Xorg").unwrap_or_else(|| "Xorg".into()),
            },
        }
    }

    /// What Debian calls it.
    fn packages(self) -> &'static str {
        match self {
            ServerKind::Xvfb => "xvfb",
            ServerKind::Xorg => "xserver-xorg-core xserver-xorg-video-dummy",
        }
    }
}

/// How an X server is started.
#[derive(Debug, Clone)]
pub struct XServerOptions {
    /// Which.
    pub kind: ServerKind,
    /// Its program.
    pub program: PathBuf,
    /// Width of the screen, pixels.
    pub width: u32,
    /// Height of the screen, pixels.
    pub height: u32,
    /// Where the desktop's authority file is written, and what else the server reads.
    pub authority: PathBuf,
    /// How long the server may take to be ready.
    pub start_timeout: Duration,
    /// What holds it to its limits.
    pub launcher: Launcher,
    /// The name of the unit, where there is one.
    pub unit: String,
    /// Its limits.
    pub limits: Limits,
    /// As whom it runs; none for the daemon's own user.
    pub ids: Option<Ids>,
}

/// Why there is no X server.
#[derive(Debug, thiserror::Error)]
pub enum XServerError {
    /// Its authority file, or its configuration.
    #[error("cannot write {}", path.display())]
    Authority {
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The program.
    #[error("cannot start {}; install it (Debian: {package}) or name another", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Where Debian has it.
        package: &'static str,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// It ended or said nothing instead of naming its display.
    #[error("{} did not say which display it took: {complaint}", program.display())]
    NoDisplay {
        /// Which.
        program: PathBuf,
        /// The last it said.
        complaint: String,
    },
}

/// A running X server; ended with all it started when dropped.
#[derive(Debug)]
pub struct XServer {
    child: Child,
    /// None until the server has said it.
    display: Option<u32>,
    authority: PathBuf,
}

impl XServer {
    /// Starts a server on a display number of its own choice, so that two never clash, and returns
    /// when it takes connections. Nothing listens on the network. It ends with the thread that
    /// started it.
    ///
    /// # Errors
    /// When it cannot be started or does not become ready in time.
    pub fn start(
        options: &XServerOptions,
        cookie: &[u8; xauthority::COOKIE_BYTES],
    ) -> Result<Self, XServerError> {
        let authority = options.authority.clone();
        let unwritten = |path: &Path, source| XServerError::Authority { path: path.into(), source };
        xauthority::write(&authority, cookie)
            .and_then(|()| places::give(&authority, options.ids))
            .map_err(|source| unwritten(&authority, source))?;
        let program = options.program.clone();
        let package = options.kind.packages();
        let no_start = |source| XServerError::Start { program: program.clone(), package, source };
        let is_there = program.is_file() || found(&program.to_string_lossy()).is_some();
        if !is_there {
            return Err(no_start(std::io::ErrorKind::NotFound.into()));
        }
        let line = options.line().map_err(|(path, source)| unwritten(&path, source))?;
        xsockets::prepare(options.ids.is_some());
        let mut command = Command::new(&line.program);
        command.args(&line.args).env_clear().env("PATH", super::PATH);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().map_err(no_start)?;
        let complaint = child.stderr.take().map(Complaint::keep);
        let stdout = child.stdout.take();
        let mut server = XServer { child, display: None, authority };
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut line = String::new();
            if let Some(stdout) = stdout {
                let mut reader = BufReader::new(stdout.take(DISPLAY_MAX_BYTES));
                let _ = reader.read_line(&mut line);
            }
            let _ = send.send(line.trim().parse::<u32>().ok());
        });
        match receive.recv_timeout(options.start_timeout) {
            Ok(Some(display)) => {
                server.display = Some(display);
                Ok(server)
            }
            _ => {
                // Dropping it ends it, and with it what it still had to say.
                drop(server);
                let complaint = complaint.map(Complaint::last_words).unwrap_or_default();
                Err(XServerError::NoDisplay { program, complaint })
            }
        }
    }

    /// Its display, as `DISPLAY` wants it.
    pub fn display(&self) -> String {
        format!(":{}", self.display.unwrap_or_default())
    }

    /// The number of its display.
    pub fn number(&self) -> u16 {
        self.display.and_then(|display| u16::try_from(display).ok()).unwrap_or_default()
    }

    /// Its authority file, as `XAUTHORITY` wants it.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The control group of its unit, if it has one.
    pub fn cgroup(&self) -> Option<PathBuf> {
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).ok()?;
        cgroup_of(&text)
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the operating system cannot say.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl XServerOptions {
    fn line(&self) -> Result<CommandLine, (PathBuf, std::io::Error)> {
        let mut args = ["-displayfd", "1", "-nolisten", "tcp", "-noreset"].map(Into::into).to_vec();
        match self.kind {
            ServerKind::Xvfb => {
                let screen = format!("{}x{}x24", self.width, self.height);
                args.extend(["-screen".into(), "0".into(), screen.into()]);
            }
            ServerKind::Xorg => {
                let path = self.authority.with_extension("conf");
                std::fs::write(&path, dummy_configuration(self.width, self.height))
                    .and_then(|()| places::give(&path, self.ids))
                    .map_err(|source| (path.clone(), source))?;
                args.extend(["-config".into(), path.into()]);
                args.extend(["-logfile", "/dev/null", "-novtswitch", "-sharevts"].map(Into::into));
            }
        }
        args.extend(["-auth".into(), self.authority.clone().into()]);
        let line = CommandLine { program: self.program.clone().into(), args };
        Ok(self.launcher.server(&self.unit, &self.limits, self.ids, line))
    }
}

/// A screen of this size on no device, and no input devices of the machine.
fn dummy_configuration(width: u32, height: u32) -> String {
    // The driver takes any mode whose clock is in range; blanking as CVT reduces it.
    let (total_x, total_y) = (width + 160, height + 40);
    let clock = f64::from(total_x) * f64::from(total_y) * 60.0 / 1_000_000.0;
    let (sync_x, sync_y) = (width + 48, height + 3);
    let kib = (u64::from(width) * u64::from(height) * 4 / 1024 + 1024).max(16 << 10);
    format!(
        r#"Section "ServerFlags"
  Option "DontVTSwitch" "true"
  Option "AutoAddDevices" "false"
  Option "AutoEnableDevices" "false"
  Option "AutoAddGPU" "false"
EndSection
Section "Device"
  Identifier "device"
  Driver "dummy"
  VideoRam {kib}
EndSection
Section "Monitor"
  Identifier "monitor"
  HorizSync 1.0 - 2000.0
  VertRefresh 1.0 - 240.0
  Modeline "desktop" {clock:.3} {width} {sync_x} {} {total_x} {height} {sync_y} {} {total_y}
EndSection
Section "Screen"
  Identifier "screen"
  Device "device"
  Monitor "monitor"
  DefaultDepth 24
  SubSection "Display"
    Depth 24
    Modes "desktop"
    Virtual {width} {height}
  EndSubSection
EndSection
"#,
        sync_x + 32,
        sync_y + 5,
    )
}

/// What a server complains of, read as long as it lives; the end is kept.
struct Complaint {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Closed when there is no more.
    over: Receiver<()>,
}

impl Complaint {
    fn keep(mut stderr: ChildStderr) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (end, over) = std::sync::mpsc::sync_channel(1);
        let keep = kept.clone();
        std::thread::spawn(move || {
            let _end = end;
            let mut bytes = [0; 512];
            while let Ok(length @ 1..) = stderr.read(&mut bytes) {
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(bytes.get(..length).unwrap_or_default());
                let over = kept.len().saturating_sub(COMPLAINT_MAX_BYTES);
                kept.drain(..over);
            }
        });
        Complaint { kept, over }
    }

    /// Of a server that has ended.
    fn last_words(self) -> String {
        // What it started may still hold its stderr.
        let _ = self.over.recv_timeout(Duration::from_secs(1));
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().replace('\n', "; ")
    }
}

impl Drop for XServer {
    fn drop(&mut self) {
        // Its screen lies in memory alone: there is nothing it could lose. Asked to end it removes
        // its socket itself.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), pid) {
            let _ = kill_process(pid, Signal::TERM);
            let asked = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < END_TIME {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // A killed server leaves its socket behind.
        if let Some(display) = self.display {
            xsockets::remove_dead(display);
        }
        let _ = std::fs::remove_file(&self.authority);
    }
}

#[cfg(test)]
mod tests;
