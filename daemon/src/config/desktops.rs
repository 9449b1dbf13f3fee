//! Settings of recorded desktops.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use lucid_rdp::desktop::{Limits, PORT_FIRST, PORT_LAST, PORT_SHARED, keeper};

/// Whether desktops are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Where the machine has what they need.
    Auto,
    /// Always; what is missing is said when one is started.
    On,
    /// Never.
    Off,
}

/// Recorded desktops.
#[derive(Clone, Debug, PartialEq)]
pub struct Desktops {
    /// Whether they are offered.
    pub presence: Presence,
    /// The endpoint all share; `None` is off.
    pub listen: Option<SocketAddr>,
    /// Where the desktops' own ports listen.
    pub address: IpAddr,
    /// The first and the last of the desktops' own ports.
    pub ports: (u16, u16),
    /// Clients served at once, over all desktops.
    pub clients_max: usize,
    /// Session command of desktops that name none; `None` is a window manager and a terminal.
    pub session: Option<String>,
    /// Where the workers' files lie.
    pub home: PathBuf,
    /// Where sockets and cookies of running desktops lie.
    pub runtime: PathBuf,
    /// Where the keeper of desktops listens; `None` for none.
    pub keeper: Option<PathBuf>,
    /// Who records, as the notice says; `None` is the device's name.
    pub recorded_by: Option<String>,
    /// Main memory of a desktop, bytes.
    pub memory_bytes: u64,
    /// Processor time of a desktop, percent of one core.
    pub cpu_percent: u32,
    /// Processes and threads of a desktop.
    pub tasks: u32,
    /// How long the notice waits to be accepted.
    pub notice: Duration,
    /// Without input for so long a session counts as idle.
    pub idle: Duration,
    /// How long a worker may take to come back.
    pub grace: Duration,
    /// Longest session.
    pub longest: Duration,
}

impl Default for Desktops {
    fn default() -> Self {
        let limits = Limits::default();
        let (home, runtime) = places();
        Self {
            presence: Presence::Auto,
            listen: Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT_SHARED))),
            address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ports: (PORT_FIRST, PORT_LAST),
            clients_max: 64,
            session: None,
            home,
            runtime,
            keeper: Some(keeper::SOCKET.into()),
            recorded_by: None,
            memory_bytes: limits.memory_bytes,
            cpu_percent: limits.cpu_percent,
            tasks: limits.tasks,
            notice: Duration::from_secs(300),
            idle: Duration::from_secs(300),
            grace: Duration::from_secs(600),
            longest: Duration::from_secs(24 * 3600),
        }
    }
}

/// Homes and sockets. Beside the data directory, not in it: desktops run as users of their own,
/// who must not even pass it.
fn places() -> (PathBuf, PathBuf) {
    let own =
        |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    if rustix::process::geteuid().is_root() {
        return ("/var/lib/lucid-desktops".into(), "/run/lucid-desktops".into());
    }
    let home = own("XDG_DATA_HOME")
        .or_else(|| own("HOME").map(|home| home.join(".local/share")))
        .map_or_else(
            || PathBuf::from("/var/lib/lucid-desktops"),
            |data| data.join("lucid-desktops"),
        );
    let runtime = own("XDG_RUNTIME_DIR")
        .map_or_else(|| home.join(".run"), |runtime| runtime.join("lucid-desktops"));
    (home, runtime)
}
