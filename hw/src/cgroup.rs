//! Whether memory limits act. Raspberry Pi OS starts without the memory controller, and then every
//! `MemoryMax=` of systemd is silently void; an operator must be told.

use crate::Machine;

/// Whether the kernel enforces memory limits for services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryControl {
    /// Limits act.
    Enforced,
    /// Limits are void, and why.
    Void {
        /// What is missing and what would be right.
        reason: String,
    },
}

/// Looks at the controllers of the unified hierarchy; `/proc/cgroups` lists controllers that are
/// built in but not given to anybody.
pub fn memory_control(machine: &Machine) -> MemoryControl {
    let void = |reason: &str| MemoryControl::Void { reason: reason.to_owned() };
    match machine.text("/sys/fs/cgroup/cgroup.controllers") {
        Some(controllers) if controllers.split_whitespace().any(|name| name == "memory") => {
            MemoryControl::Enforced
        }
        Some(_) => void(
            "the memory controller is off: add cgroup_enable=memory to the kernel command line",
        ),
        None => void("there is no unified cgroup hierarchy at /sys/fs/cgroup"),
    }
}

/// Main memory in bytes; `None` where the kernel does not say.
pub fn memory_bytes(machine: &Machine) -> Option<u64> {
    let meminfo = machine.text("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    fn control(files: &[(&str, &str)]) -> MemoryControl {
        memory_control(&Fake::new(files).machine())
    }

    #[test]
    fn a_pi_without_the_controller_is_told_what_to_do() {
        let path = "/sys/fs/cgroup/cgroup.controllers";
        assert_eq!(control(&[(path, "cpuset cpu io memory pids\n")]), MemoryControl::Enforced);
        let MemoryControl::Void { reason } = control(&[(path, "cpuset cpu io pids\n")]) else {
            panic!("enforced without a controller")
        };
        assert!(reason.contains("cgroup_enable=memory"), "{reason}");
        assert!(matches!(control(&[]), MemoryControl::Void { .. }));
    }

    #[test]
    fn main_memory_is_read() {
        let fake = Fake::new(&[("/proc/meminfo", "MemTotal:        8245100 kB\nMemFree: 1 kB\n")]);
        assert_eq!(memory_bytes(&fake.machine()), Some(8_245_100 * 1024));
        assert_eq!(memory_bytes(&Fake::new(&[]).machine()), None);
    }
}
