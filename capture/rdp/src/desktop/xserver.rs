//! Starts and ends the X server of a desktop.

use super::xauthority;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longest answer of a server to the question which display it took, bytes.
const DISPLAY_MAX_BYTES: u64 = 16;

/// How an X server is started.
#[derive(Debug, Clone)]
pub struct XServerOptions {
    /// The program; `Xvfb`, or another that takes the same arguments.
    pub program: PathBuf,
    /// Width of the screen, pixels.
    pub width: u32,
    /// Height of the screen, pixels.
    pub height: u32,
    /// Where the desktop's authority file is written.
    pub authority: PathBuf,
    /// How long the server may take to be ready.
    pub start_timeout: Duration,
}

/// Why there is no X server.
#[derive(Debug, thiserror::Error)]
pub enum XServerError {
    /// Its authority file.
    #[error("cannot write the X authority {}", path.display())]
    Authority {
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The program.
    #[error("cannot start {}; install it (Debian: xvfb) or name another", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// It ended or said nothing instead of naming its display.
    #[error("{} did not say which display it took", program.display())]
    NoDisplay {
        /// Which.
        program: PathBuf,
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
    /// when it takes connections. Nothing listens on the network.
    ///
    /// # Errors
    /// When it cannot be started or does not become ready in time.
    pub fn start(
        options: &XServerOptions,
        cookie: &[u8; xauthority::COOKIE_BYTES],
    ) -> Result<Self, XServerError> {
        let authority = options.authority.clone();
        xauthority::write(&authority, cookie)
            .map_err(|source| XServerError::Authority { path: authority.clone(), source })?;
        let screen = format!("{}x{}x24", options.width, options.height);
        let mut command = Command::new(&options.program);
        command.args(["-displayfd", "1", "-screen", "0", &screen, "-nolisten", "tcp"]);
        command.args(["-noreset", "-auth"]).arg(&authority);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let program = options.program.clone();
        let mut child = command
            .process_group(0)
            .spawn()
            .map_err(|source| XServerError::Start { program: program.clone(), source })?;
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
            // Dropping it ends it.
            _ => Err(XServerError::NoDisplay { program }),
        }
    }

    /// Its display, as `DISPLAY` wants it.
    pub fn display(&self) -> String {
        format!(":{}", self.display.unwrap_or_default())
    }

    /// Its authority file, as `XAUTHORITY` wants it.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the operating system cannot say.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for XServer {
    fn drop(&mut self) {
        // Its screen lies in memory alone: there is nothing it could lose.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // A killed server leaves its socket and its lock behind. Another may have taken the
        // display since: only what still names this process is removed.
        if let Some(display) = self.display {
            let lock = format!("/tmp/.X{display}-lock");
            let holder = std::fs::read_to_string(&lock).unwrap_or_default();
            if holder.trim().parse() == Ok(self.child.id()) {
                let _ = std::fs::remove_file(format!("/tmp/.X11-unix/X{display}"));
                let _ = std::fs::remove_file(lock);
            }
        }
        let _ = std::fs::remove_file(&self.authority);
    }
}

#[cfg(test)]
mod tests;
