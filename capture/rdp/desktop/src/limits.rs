//! How much of the machine one desktop may take.

/// Least and most memory, bytes.
pub const MEMORY_MIN_BYTES: u64 = 64 << 20;
/// Most memory, bytes.
pub const MEMORY_MAX_BYTES: u64 = 1 << 40;
/// Least share of the processors, percent of one core.
pub const CPU_MIN_PERCENT: u32 = 5;
/// Most, percent of one core: 64 cores.
pub const CPU_MAX_PERCENT: u32 = 6400;
/// Fewest tasks: an X server, a window manager, a terminal and a shell with a program.
pub const TASKS_MIN: u32 = 16;
/// Most tasks.
pub const TASKS_MAX: u32 = 65_536;
/// Least space of the home directory that can be demanded, bytes.
pub const DISK_MIN_BYTES: u64 = 1 << 20;
/// Files that one program may hold open.
pub const OPEN_FILES: u32 = 4096;

/// What a desktop, its X server included, may take.
///
/// Under systemd the kernel holds the whole desktop to memory, processors and tasks. Without it
/// each program is held to `memory_bytes` of its own data and, where the desktop has a user of its
/// own, the user to `tasks`; what all of them take together, and the disk, is measured and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Main memory, bytes.
    pub memory_bytes: u64,
    /// Processor time, percent of one core.
    pub cpu_percent: u32,
    /// Processes and threads.
    pub tasks: u32,
    /// What lies in the home directory, bytes; none for no limit.
    pub disk_bytes: Option<u64>,
}

impl Default for Limits {
    /// 1 GiB, two cores, 512 tasks, no limit of the disk.
    fn default() -> Self {
        Limits { memory_bytes: 1 << 30, cpu_percent: 200, tasks: 512, disk_bytes: None }
    }
}

/// A limit that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit {field} of a desktop is {found}, it may be {least} to {most} {unit}")]
pub struct LimitError {
    /// Which.
    pub field: &'static str,
    /// What stood there.
    pub found: u64,
    /// The least allowed.
    pub least: u64,
    /// The most allowed.
    pub most: u64,
    /// Of what.
    pub unit: &'static str,
}

impl Limits {
    /// Checks every field.
    ///
    /// # Errors
    /// The first that is out of its range.
    pub fn validate(&self) -> Result<(), LimitError> {
        let Limits { memory_bytes, cpu_percent, tasks, disk_bytes } = *self;
        let checks = [
            ("memory_bytes", memory_bytes, MEMORY_MIN_BYTES, MEMORY_MAX_BYTES, "bytes"),
            (
                "cpu_percent",
                cpu_percent.into(),
                CPU_MIN_PERCENT.into(),
                CPU_MAX_PERCENT.into(),
                "percent of a core",
            ),
            ("tasks", tasks.into(), TASKS_MIN.into(), TASKS_MAX.into(), "tasks"),
            (
                "disk_bytes",
                disk_bytes.unwrap_or(DISK_MIN_BYTES),
                DISK_MIN_BYTES,
                u64::MAX >> 1,
                "bytes",
            ),
        ];
        for (field, found, least, most, unit) in checks {
            if !(least..=most).contains(&found) {
                return Err(LimitError { field, found, least, most, unit });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_no_desktop_could_live_with_are_refused() {
        assert_eq!(Limits::default().validate(), Ok(()));
        let refused = [
            ("memory_bytes", Limits { memory_bytes: 1, ..Limits::default() }),
            ("memory_bytes", Limits { memory_bytes: u64::MAX, ..Limits::default() }),
            ("cpu_percent", Limits { cpu_percent: 0, ..Limits::default() }),
            ("tasks", Limits { tasks: 3, ..Limits::default() }),
            ("tasks", Limits { tasks: u32::MAX, ..Limits::default() }),
            ("disk_bytes", Limits { disk_bytes: Some(0), ..Limits::default() }),
            ("disk_bytes", Limits { disk_bytes: Some(u64::MAX), ..Limits::default() }),
        ];
        for (field, limits) in refused {
            assert_eq!(limits.validate().unwrap_err().field, field);
        }
    }
}
