//! The desktops' programs: started within the device's settings, watched, and ended.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lucid_rdp::desktop::keeper::Order;
use lucid_rdp::desktop::{self, Limits, Places, Setup, State};
use lucid_rdp::monitor::{Alert, Counted};
use lucid_rdp::session::RunningDesktop;
use serde::Serialize;
use utoipa::ToSchema;

use super::stored::{Desktop, LimitsBody};
use crate::config;
use crate::config::Presence;
use crate::http::time::Rfc3339;

/// What a desktop took of the machine at a moment.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = DesktopUsage)]
pub struct Usage {
    /// When.
    pub at: Rfc3339,
    /// Processor time since the measure before, percent of one core.
    pub cpu_percent: f64,
    /// Main memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub tasks: u32,
    /// What lies in its home directory.
    pub disk_bytes: u64,
    /// Bytes a second from clients.
    pub in_bytes_per_s: f64,
    /// Bytes a second to clients.
    pub out_bytes_per_s: f64,
    /// Pictures a second sent to clients.
    pub frames_per_s: f64,
    /// Mean time that encoding a picture for clients took, milliseconds.
    pub encode_ms: f64,
    /// Last time from a question to the client's answer, milliseconds; 0 before the first.
    pub round_trip_ms: f64,
}

impl Usage {
    fn quiet(at: Rfc3339) -> Self {
        Self {
            at,
            cpu_percent: 0.0,
            memory_bytes: 0,
            tasks: 0,
            disk_bytes: 0,
            in_bytes_per_s: 0.0,
            out_bytes_per_s: 0.0,
            frames_per_s: 0.0,
            encode_ms: 0.0,
            round_trip_ms: 0.0,
        }
    }

    /// With what the wire counted between two moments that lie `passed` apart.
    pub fn with_wire(self, before: &Counted, now: &Counted, passed: Duration) -> Self {
        let seconds = passed.as_secs_f64().max(1e-3);
        let more = |before: u64, now: u64| now.saturating_sub(before) as f64;
        let frames = more(before.frames, now.frames);
        Self {
            in_bytes_per_s: more(before.bytes_in, now.bytes_in) / seconds,
            out_bytes_per_s: more(before.bytes_out, now.bytes_out) / seconds,
            frames_per_s: frames / seconds,
            encode_ms: more(before.encode_us, now.encode_us) / 1e3 / frames.max(1.0),
            round_trip_ms: now.round_trip_us as f64 / 1e3,
            ..self
        }
    }
}

/// The programs of one desktop.
pub struct Running {
    inner: Arc<desktop::Running>,
    /// As it is while the programs are being started anew.
    last: RunningDesktop,
}

/// Why there are no desktops on this device, if so.
pub fn unavailable(config: &config::Desktops) -> Option<String> {
    match config.presence {
        Presence::Off => Some("desktops are off (`desktops.enabled`)".into()),
        Presence::On => without_users(config),
        Presence::Auto => missing().or_else(|| without_users(config)),
    }
}

/// A service that is not root could run desktops as its own user only, who reads its keys.
fn without_users(config: &config::Desktops) -> Option<String> {
    let unable = crate::limits::is_service() && !is_root() && keeper(config).is_none();
    unable.then(|| match &config.keeper {
        Some(socket) => format!(
            "desktops need users of their own, and their keeper does not listen at {}: run \
             `systemctl enable --now lucid-desktops.socket`, then `systemctl restart lucid`",
            socket.display()
        ),
        None => "desktops need users of their own, which a service that is not root cannot give; \
                 their keeper is off (`desktops.keeper`)"
            .into(),
    })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Who starts desktops for a daemon that is not root, where there is such a keeper.
pub fn keeper(config: &config::Desktops) -> Option<&Path> {
    let listens = |path: &&Path| path.metadata().is_ok_and(|found| found.file_type().is_socket());
    config.keeper.as_deref().filter(|_| !is_root()).filter(listens)
}

/// What a desktop needs and this machine has not.
pub fn missing() -> Option<String> {
    if desktop::launcher::found("Xvfb").is_none() {
        return Some("there is no X server; install it (Debian: apt install xvfb)".into());
    }
    desktop::Launcher::detect().check().err().map(|missing| missing.to_string())
}

/// The limits of a desktop: its own, else the device's.
pub fn limits(config: &config::Desktops, own: &LimitsBody) -> Limits {
    Limits {
        memory_bytes: own.memory_bytes.unwrap_or(config.memory_bytes),
        cpu_percent: own.cpu_percent.unwrap_or(config.cpu_percent),
        tasks: own.tasks.unwrap_or(config.tasks),
        disk_bytes: own.disk_bytes,
    }
}

/// Where a desktop's files lie.
pub fn places(config: &config::Desktops, desktop: &Desktop) -> Places {
    let of = |directory: &PathBuf| directory.join(desktop.id.as_str());
    Places { runtime: of(&config.runtime), home: of(&config.home) }
}

/// Starts X server and session command.
///
/// # Errors
/// Why it does not start, in words.
pub async fn start(desktop: &Desktop, config: &config::Desktops) -> Result<Running, String> {
    let mut definition = desktop.definition.clone();
    if definition.command.is_none() {
        definition.command.clone_from(&config.session);
    }
    let limits = limits(config, &desktop.limits);
    let keeper = keeper(config).map(Path::to_owned);
    let (index, key) = (desktop.index, desktop.id.to_string());
    let places = places(config, desktop);
    let started = tokio::task::spawn_blocking(move || match keeper {
        Some(socket) => {
            desktop::Running::start_kept(&socket, Order { index, key, definition, limits })
        }
        None => {
            let mut setup = Setup::new(definition, places, index);
            setup.limits = limits;
            desktop::Running::start(setup)
        }
    })
    .await;
    let inner = match started {
        Ok(Ok(running)) => Arc::new(running),
        Ok(Err(error)) => return Err(sentence(&error)),
        Err(error) => return Err(error.to_string()),
    };
    let last = inner.desktop().ok_or("it ended at once")?;
    Ok(Running { inner, last })
}

impl Running {
    /// As wire and recorder reach it.
    pub fn desktop(&self) -> RunningDesktop {
        self.inner.desktop().unwrap_or_else(|| self.last.clone())
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.ended().is_none()
    }

    /// Why it runs no longer, if so. A desktop that starts anew is another than the one that a
    /// session was recorded on.
    pub fn ended(&self) -> Option<String> {
        if let Some(reason) = self.inner.ending() {
            return Some(reason);
        }
        match &*self.inner.state().borrow() {
            State::Running if self.inner.desktop().is_some() => None,
            State::Running | State::Stopped => Some("it was stopped".into()),
            State::Restarting { reason, .. } | State::Ended { reason } => Some(reason.clone()),
        }
    }

    /// Whether it is to be started anew by itself.
    pub fn restarts(&self) -> bool {
        matches!(&*self.inner.state().borrow(), State::Restarting { .. })
    }

    /// What it takes now, and the limits it came close to since it was last asked. One that is over
    /// a limit that nothing else holds it to is ended. Blocks a little.
    pub fn look(&self, at: Rfc3339) -> (Usage, Vec<Alert>) {
        let look = self.inner.look();
        let usage = look.usage;
        let usage = Usage {
            at,
            cpu_percent: f64::from(usage.cpu_permille) / 10.0,
            memory_bytes: usage.memory_bytes,
            tasks: usage.tasks,
            disk_bytes: usage.disk_bytes,
            ..Usage::quiet(at)
        };
        (usage, look.alerts)
    }

    /// Asks its programs to end, and waits.
    pub async fn stop(&self) {
        let inner = Arc::clone(&self.inner);
        let _joined = tokio::task::spawn_blocking(move || inner.stop()).await;
    }
}

/// An error with its causes in one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
