//! What a desktop takes of the machine: processor, memory, tasks, disk.

use super::processes::Membership;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a measure of the disk holds: looking through a home directory costs.
pub const DISK_INTERVAL: Duration = Duration::from_secs(60);
/// Most files that are counted; a home with more takes at least what was counted.
pub const FILES_MAX: usize = 200_000;

/// What a desktop takes, its X server included. Zero where it does not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since its start, microseconds. Without a control group without that of
    /// programs whose parents have ended too.
    pub cpu_us: u64,
    /// Processor time since it was last measured, thousandths of one core.
    pub cpu_permille: u32,
    /// Main memory, bytes. Without a control group the sum of what is resident: what programs
    /// share is counted for each.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub tasks: u32,
    /// What lies in its home directory, bytes on the disk; at most [`DISK_INTERVAL`] old.
    pub disk_bytes: u64,
}

/// Measures one desktop again and again.
#[derive(Debug)]
pub(super) struct UsageMeter {
    home: PathBuf,
    disk: Option<(Instant, u64)>,
    cpu: Option<(Instant, u64)>,
}

impl UsageMeter {
    pub(super) fn new(home: PathBuf) -> Self {
        UsageMeter { home, disk: None, cpu: None }
    }

    pub(super) fn measure(&mut self, members: Option<&Membership>, now: Instant) -> Usage {
        let mut usage = match members {
            None => Usage::default(),
            Some(members) => members
                .cgroup
                .as_deref()
                .and_then(of_cgroup)
                .unwrap_or_else(|| of_processes(members)),
        };
        if let Some((then, before)) = self.cpu.replace((now, usage.cpu_us)) {
            usage.cpu_permille = permille(usage.cpu_us.saturating_sub(before), now - then);
        }
        let fresh = self.disk.filter(|(then, _)| now - *then < DISK_INTERVAL);
        let (_, disk_bytes) = *self.disk.insert(fresh.unwrap_or_else(|| (now, under(&self.home))));
        usage.disk_bytes = disk_bytes;
        usage
    }
}

fn permille(cpu_us: u64, passed: Duration) -> u32 {
    let passed_us = passed.as_micros().max(1);
    u32::try_from(u128::from(cpu_us) * 1000 / passed_us).unwrap_or(u32::MAX)
}

/// From the accounts of the kernel ([cgroup-v2]).
///
/// [cgroup-v2]: https://docs.kernel.org/admin-guide/cgroup-v2.html
fn of_cgroup(cgroup: &Path) -> Option<Usage> {
    let text = |name: &str| std::fs::read_to_string(cgroup.join(name)).ok();
    let cpu = text("cpu.stat")?;
    let cpu_us = cpu.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()?;
    Some(Usage {
        cpu_us,
        memory_bytes: text("memory.current")?.trim().parse().ok()?,
        tasks: text("pids.current")?.trim().parse().ok()?,
        ..Usage::default()
    })
}

fn of_processes(members: &Membership) -> Usage {
    let (page, tick) = (rustix::param::page_size(), rustix::param::clock_ticks_per_second());
    let mut usage = Usage::default();
    for process in members.living() {
        usage.cpu_us += process.cpu_ticks.saturating_mul(1_000_000) / tick.max(1);
        usage.memory_bytes += process.resident_pages.saturating_mul(page as u64);
        usage.tasks += process.threads;
    }
    usage
}

/// What lies under a directory, bytes on the disk. Links are not followed, other file systems are
/// not entered, and files with several names are counted for each.
fn under(directory: &Path) -> u64 {
    let Ok(top) = directory.symlink_metadata() else { return 0 };
    let mut waiting = vec![directory.to_owned()];
    let (mut bytes, mut files) = (0, 0);
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            files += 1;
            if files > FILES_MAX {
                return bytes;
            }
            let Ok(found) = entry.metadata() else { continue };
            bytes += found.blocks().saturating_mul(512);
            if found.is_dir() && found.dev() == top.dev() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_is_read_where_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_cgroup(dir.path()), None);
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("cpu.stat", "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n");
        write("memory.current", "73400320\n");
        assert_eq!(of_cgroup(dir.path()), None);
        write("pids.current", "12\n");
        let usage = of_cgroup(dir.path()).unwrap();
        assert_eq!((usage.cpu_us, usage.memory_bytes, usage.tasks), (1_500_000, 73_400_320, 12));
    }

    #[test]
    fn the_disk_is_counted_without_following_links_and_not_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("large"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        std::fs::write(dir.path().join("deep/file"), vec![1; 64 << 10]).unwrap();
        let mut meter = UsageMeter::new(dir.path().to_owned());
        let now = Instant::now();
        let first = meter.measure(None, now).disk_bytes;
        assert!((64 << 10..1 << 20).contains(&first), "{first}");
        std::fs::write(dir.path().join("more"), vec![1; 64 << 10]).unwrap();
        assert_eq!(meter.measure(None, now + DISK_INTERVAL / 2).disk_bytes, first);
        assert!(meter.measure(None, now + DISK_INTERVAL).disk_bytes >= first + (64 << 10));
    }

    #[test]
    fn shares_of_the_processor_are_of_the_time_that_passed() {
        assert_eq!(permille(500_000, Duration::from_secs(1)), 500);
        assert_eq!(permille(4_000_000, Duration::from_secs(2)), 2000);
        assert_eq!(permille(1, Duration::ZERO), 1000);
    }
}
