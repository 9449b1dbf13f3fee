//! Which processes belong to a desktop, and the end of all of them.
//!
//! A process belongs to a desktop if it is in its control group, in one of its process groups or
//! sessions, runs as the user that is the desktop's alone, or carries the desktop's mark in its
//! environment. Without a control group and without a user of its own, a program that changes its
//! session *and* wipes its environment escapes; with either, nothing does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable whose value marks a desktop's processes.
pub const MARK: &str = "LUCID_DESKTOP";
/// Between two looks at what still lives.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long processes may take to be gone after they were killed.
const KILL_TIME: Duration = Duration::from_secs(10);

/// What makes a process one of a desktop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Its control group, where there is one.
    pub cgroup: Option<PathBuf>,
    /// Process groups and sessions.
    pub groups: Vec<u32>,
    /// Users that are the desktop's alone.
    pub users: Vec<u32>,
    /// The value of [`MARK`]; empty for none.
    pub mark: String,
}

/// One process, as `/proc` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Ended, and not asked for its end yet.
    pub zombie: bool,
    /// Processor time of it and of its children that ended, ticks.
    pub cpu_ticks: u64,
    /// Threads.
    pub threads: u32,
    /// Memory that is resident, pages.
    pub resident_pages: u64,
}

/// Reads `/proc/PID/stat` ([proc_pid_stat(5)]).
///
/// [proc_pid_stat(5)]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
pub fn parse_stat(text: &str) -> Option<Process> {
    let pid = text.split(' ').next()?.parse().ok()?;
    // The name may hold anything, also parentheses.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    let small = |at: usize| number(at).and_then(|n| u32::try_from(n).ok());
    let ticks = [11, 12, 13, 14].into_iter().map(number).sum::<Option<u64>>()?;
    Some(Process {
        pid,
        group: small(2)?,
        session: small(3)?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        cpu_ticks: ticks,
        threads: small(17)?,
        resident_pages: number(21)?,
    })
}

impl Membership {
    /// The processes that live, the daemon never among them.
    pub fn living(&self) -> Vec<Process> {
        let mut all = Vec::new();
        let in_cgroup = self.cgroup.as_deref().map(cgroup_pids).unwrap_or_default();
        let Ok(entries) = std::fs::read_dir("/proc") else { return all };
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            if let Some(process) = self.member(pid, &in_cgroup) {
                all.push(process);
            }
        }
        all
    }

    fn member(&self, pid: u32, in_cgroup: &[u32]) -> Option<Process> {
        if pid == std::process::id() {
            return None;
        }
        let directory = Path::new("/proc").join(pid.to_string());
        let text = std::fs::read_to_string(directory.join("stat")).ok()?;
        let process = parse_stat(&text).filter(|process| !process.zombie)?;
        let belongs = in_cgroup.contains(&pid)
            || self.groups.contains(&process.group)
            || self.groups.contains(&process.session)
            || self.is_user(&directory)
            || self.is_marked(&directory);
        belongs.then_some(process)
    }

    fn is_user(&self, directory: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        // Of a directory of /proc the owner is the process's effective user.
        !self.users.is_empty()
            && directory.metadata().is_ok_and(|found| self.users.contains(&found.uid()))
    }

    fn is_marked(&self, directory: &Path) -> bool {
        if self.mark.is_empty() {
            return false;
        }
        let Ok(environment) = std::fs::read(directory.join("environ")) else { return false };
        let is_mark = |entry: &[u8]| {
            let value = entry.strip_prefix(MARK.as_bytes()).and_then(|e| e.strip_prefix(b"="));
            value == Some(self.mark.as_bytes())
        };
        environment.split(|byte| *byte == 0).any(is_mark)
    }

    /// Asks all to end, waits for `grace`, and kills what still lives. Returns how many could not
    /// be ended: none, unless the kernel holds one.
    pub fn end(&self, grace: Duration) -> usize {
        if grace > Duration::ZERO {
            self.signal(Signal::TERM);
            if self.wait(grace, || {}) == 0 {
                return 0;
            }
        }
        // Again and again: what forks while it is killed has children that are killed next.
        self.signal(Signal::KILL);
        self.wait(KILL_TIME, || {
            self.signal(Signal::KILL);
        })
    }

    fn wait(&self, most: Duration, each: impl Fn()) -> usize {
        let began = Instant::now();
        loop {
            let living = self.living().len();
            if living == 0 || began.elapsed() >= most {
                return living;
            }
            std::thread::sleep(LOOK_INTERVAL);
            each();
        }
    }

    fn signal(&self, signal: Signal) {
        for process in self.living() {
            let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
            let Some(pid) = pid else { continue };
            // The number may have gone to another process since: held first, then looked at again.
            let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            let in_cgroup = self.cgroup.as_deref().map(cgroup_pids).unwrap_or_default();
            if self.member(process.pid, &in_cgroup).is_some() {
                let _ = pidfd_send_signal(held, signal);
            }
        }
    }
}

fn cgroup_pids(cgroup: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    #[test]
    fn names_with_parentheses_and_spaces_are_read() {
        let text = "4321 (a) b (c) S 1 4320 4319 0 -1 4194304 100 200 0 0 7 5 3 2 20 0 6 0 99 \
                    12345 678 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";
        let process = parse_stat(text).unwrap();
        let expected = Process {
            pid: 4321,
            group: 4320,
            session: 4319,
            zombie: false,
            cpu_ticks: 17,
            threads: 6,
            resident_pages: 678,
        };
        assert_eq!(process, expected);
        for broken in ["", "1", "1 (a", "1 (a) S 1", "x (a) S 1 2 3"] {
            assert_eq!(parse_stat(broken), None);
        }
    }

    fn start(script: &str, mark: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env(MARK, mark).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn first_line(child: &mut Child) -> String {
        use std::io::BufRead as _;
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn what_left_its_group_or_ignores_the_request_is_ended_too() {
        let mark = format!("test-{}-stubborn", std::process::id());
        let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo there; exec sleep 600' & \
                      env -i sleep 600 & wait";
        let mut child = start(script, &mark);
        assert_eq!(first_line(&mut child), "there\n");
        let other = format!("{mark}-other");
        let mut stranger = start("echo there; exec sleep 600", &other);
        assert_eq!(first_line(&mut stranger), "there\n");
        let of = |group: u32, mark: &str| Membership {
            groups: vec![group],
            mark: mark.to_owned(),
            ..Membership::default()
        };
        let members = of(child.id(), &mark);
        assert!(members.living().len() >= 2);
        assert_eq!(members.end(Duration::from_millis(100)), 0);
        assert!(members.living().is_empty());
        child.wait().unwrap();
        let strangers = of(stranger.id(), &other);
        assert_eq!(strangers.living().len(), 1);
        assert_eq!(strangers.end(Duration::from_secs(60)), 0);
        stranger.wait().unwrap();
    }
}
