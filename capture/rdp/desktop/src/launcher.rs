//! Command lines that start a desktop's programs within their limits and as their user.
//!
//! Limits and user are taken on by small programs of util-linux before they become the desktop's:
//! there is no moment at which a program of the desktop runs without them. Files that a library
//! left open in the daemon, a camera for one, are closed in the same way.

use super::identity::Ids;
use super::limits::{Limits, OPEN_FILES};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The slice under which systemd keeps all desktops.
pub const SLICE: &str = "lucid-desktops.slice";
/// Where systemd says that it runs the machine.
const SYSTEMD_RUNS: &str = "/run/systemd/system";
/// Where control groups are.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// What holds a desktop to its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// A transient unit of the system's systemd for each desktop.
    Systemd,
    /// Process groups and limits of each process.
    Direct,
}

/// Closes what was inherited but for the three streams, enters the control group that is named, and
/// becomes the program. In bash, because POSIX shells close no descriptor above 9.
const ENTER: &str = r#"for f in /proc/self/fd/*; do n=${f##*/}; ((n > 2)) && eval "exec $n>&-"; done
[ -z "$0" ] || echo $$ >"$0/cgroup.procs" || exit 126
exec "$@""#;

/// Something that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// A program that is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("desktops need {program}; install it (Debian: {package})")]
pub struct Missing {
    /// Which.
    pub program: &'static str,
    /// Where Debian has it.
    pub package: &'static str,
}

impl Launcher {
    /// Systemd where it runs the machine, with control groups of version 2, and the daemon may tell
    /// it what to do; else [`Launcher::Direct`].
    pub fn detect() -> Self {
        match rustix::process::geteuid().is_root() {
            true => Launcher::of_root(),
            false => Launcher::Direct,
        }
    }

    /// What it is for a process that is root.
    pub fn of_root() -> Self {
        let unified = Path::new(CGROUPS).join("cgroup.controllers").exists();
        let systemd = Path::new(SYSTEMD_RUNS).is_dir();
        match unified && systemd && found("systemd-run").is_some() {
            true => Launcher::Systemd,
            false => Launcher::Direct,
        }
    }

    /// Checks that the programs it needs are there.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(self) -> Result<(), Missing> {
        let of_all = [("bash", "bash"), ("prlimit", "util-linux"), ("setpriv", "util-linux")];
        let more = [("systemd-run", "systemd")];
        let more = if self == Launcher::Systemd { &more[..] } else { &[] };
        for (program, package) in of_all.iter().chain(more) {
            if found(program).is_none() {
                return Err(Missing { program, package });
            }
        }
        Ok(())
    }

    /// The line that starts the X server, and with it the unit that everything else joins.
    pub fn server(
        self,
        unit: &str,
        limits: &Limits,
        ids: Option<Ids>,
        line: CommandLine,
    ) -> CommandLine {
        let line = entering(None, limited(limits, None, ids, line));
        match self {
            Launcher::Direct => line,
            Launcher::Systemd => scope(unit, limits, line),
        }
    }

    /// The line that starts the session. `cgroup` is the directory of the unit's control group.
    pub fn session(
        self,
        limits: &Limits,
        ids: Option<Ids>,
        exclusive: bool,
        cgroup: Option<&Path>,
        line: CommandLine,
    ) -> CommandLine {
        // The kernel counts a user's tasks, so the user must be the desktop's alone.
        let tasks = (self == Launcher::Direct && exclusive).then_some(limits.tasks);
        entering(cgroup, limited(limits, tasks, ids, line))
    }
}

/// The path of a program that is in one of the usual directories.
pub fn found(program: &str) -> Option<PathBuf> {
    let directories = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let paths = directories.iter().map(|directory| Path::new(directory).join(program));
    paths.into_iter().find(|path| path.is_file())
}

/// Runs `line` within the limits of a process, as `ids`, ended with the daemon.
fn limited(
    limits: &Limits,
    tasks: Option<u32>,
    ids: Option<Ids>,
    line: CommandLine,
) -> CommandLine {
    let mut args: Vec<OsString> = vec![
        format!("--data={}", limits.memory_bytes).into(),
        format!("--nofile={OPEN_FILES}").into(),
        // What is in memory must not come to lie on a disk.
        "--core=0".into(),
    ];
    args.extend(tasks.map(|tasks| format!("--nproc={tasks}").into()));
    args.push("setpriv".into());
    if let Some(Ids { uid, gid }) = ids {
        args.push(format!("--reuid={uid}").into());
        args.push(format!("--regid={gid}").into());
        args.push("--clear-groups".into());
    }
    // Nothing in a desktop becomes more than it is, whatever programs with a set-uid bit lie about;
    // and a daemon that is killed leaves nobody on an unrecorded desktop.
    args.extend(["--no-new-privs", "--pdeathsig", "KILL", "--"].map(OsString::from));
    args.push(line.program);
    args.extend(line.args);
    CommandLine { program: "prlimit".into(), args }
}

/// Runs `line` in a transient unit of its own.
fn scope(unit: &str, limits: &Limits, line: CommandLine) -> CommandLine {
    let mut args: Vec<OsString> =
        ["--scope", "--quiet", "--collect", "--no-ask-password"].map(OsString::from).into();
    args.push(format!("--unit={unit}").into());
    args.push(format!("--slice={SLICE}").into());
    let properties = [
        format!("MemoryMax={}", limits.memory_bytes),
        "MemorySwapMax=0".to_owned(),
        format!("CPUQuota={}%", limits.cpu_percent),
        format!("TasksMax={}", limits.tasks),
        // The session joins the unit after the server.
        "Delegate=yes".to_owned(),
    ];
    for property in properties {
        args.extend(["--property".into(), property.into()]);
    }
    args.push("--".into());
    args.push(line.program);
    args.extend(line.args);
    CommandLine { program: "systemd-run".into(), args }
}

/// Runs `line` without inherited descriptors, in a control group that is there.
fn entering(cgroup: Option<&Path>, line: CommandLine) -> CommandLine {
    let cgroup = cgroup.map(OsString::from).unwrap_or_default();
    let mut args: Vec<OsString> = vec!["-c".into(), ENTER.into(), cgroup, line.program];
    args.extend(line.args);
    CommandLine { program: "bash".into(), args }
}

/// The control group of a process in the unified hierarchy, from its `/proc/PID/cgroup`.
pub fn cgroup_of(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let climbs = path.split('/').any(|part| part == "..");
    (!climbs && path.ends_with(".scope")).then(|| Path::new(CGROUPS).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &CommandLine) -> String {
        let mut all = vec![line.program.to_string_lossy().into_owned()];
        all.extend(line.args.iter().map(|arg| match arg.to_string_lossy().into_owned() {
            arg if arg == ENTER => "ENTER".to_owned(),
            arg => arg,
        }));
        all.join(" ")
    }

    fn line(program: &str, args: &[&str]) -> CommandLine {
        CommandLine { program: program.into(), args: args.iter().map(OsString::from).collect() }
    }

    const LIMITS: Limits =
        Limits { memory_bytes: 512 << 20, cpu_percent: 150, tasks: 99, disk_bytes: None };

    #[test]
    fn under_systemd_the_server_makes_the_unit_and_the_session_joins_it() {
        let ids = Some(Ids { uid: 72_003, gid: 72_003 });
        let server = Launcher::Systemd.server(
            "lucid-desktop-accounts.scope",
            &LIMITS,
            ids,
            line("Xvfb", &["-displayfd", "1"]),
        );
        assert_eq!(
            text(&server),
            "systemd-run --scope --quiet --collect --no-ask-password \
             --unit=lucid-desktop-accounts.scope --slice=lucid-desktops.slice \
             --property MemoryMax=536870912 --property MemorySwapMax=0 --property CPUQuota=150% \
             --property TasksMax=99 --property Delegate=yes -- \
             bash -c ENTER  prlimit --data=536870912 --nofile=4096 --core=0 \
             setpriv --reuid=72003 --regid=72003 --clear-groups --no-new-privs --pdeathsig KILL -- \
             Xvfb -displayfd 1"
        );
        let cgroup = Path::new("/sys/fs/cgroup/lucid.slice/a.scope");
        let session = Launcher::Systemd.session(
            &LIMITS,
            None,
            true,
            Some(cgroup),
            line("/bin/sh", &["-c", "exec xterm"]),
        );
        assert_eq!(
            text(&session),
            "bash -c ENTER /sys/fs/cgroup/lucid.slice/a.scope \
             prlimit --data=536870912 --nofile=4096 --core=0 \
             setpriv --no-new-privs --pdeathsig KILL -- /bin/sh -c exec xterm"
        );
    }

    #[test]
    fn tasks_are_counted_by_user_only_where_the_user_is_the_desktops() {
        let shell = || line("/bin/sh", &["-c", "true"]);
        let ids = Some(Ids { uid: 70_001, gid: 70_001 });
        let own = Launcher::Direct.session(&LIMITS, ids, true, None, shell());
        assert!(text(&own).starts_with(
            "bash -c ENTER  prlimit --data=536870912 --nofile=4096 --core=0 --nproc=99 "
        ));
        let shared = Launcher::Direct.session(&LIMITS, ids, false, None, shell());
        assert!(!text(&shared).contains("--nproc"));
    }

    #[test]
    fn a_programs_unit_is_read_and_nothing_else_is_joined() {
        let unit = "0::/lucid.slice/lucid-desktops.slice/lucid-desktop-a.scope\n";
        let path = "/sys/fs/cgroup/lucid.slice/lucid-desktops.slice/lucid-desktop-a.scope";
        assert_eq!(cgroup_of(unit).as_deref(), Some(Path::new(path)));
        for other in ["0::/\n", "0::/../a.scope\n", "0::/system.slice/lucid.service\n", "1:cpu:/\n"]
        {
            assert_eq!(cgroup_of(other), None);
        }
    }
}
