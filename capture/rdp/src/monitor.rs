//! What is known of a desktop while it runs: what the wire counts, and limits that are reached.

mod counters;

pub use counters::{Counted, Counters, Rates};

use std::fmt;
use std::time::Duration;

use crate::desktop::{Limits, Usage};
use crate::event::EventKind;

/// How often a desktop should be looked at.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// From this share of a limit on it is told, percent.
pub const ALERT_PERCENT: u64 = 90;
/// Below this share it is told again the next time, percent.
const QUIET_PERCENT: u64 = 80;
/// Looks in a row over a limit after which a desktop is ended that the kernel does not hold to it.
pub const LOOKS_OVER: u32 = 3;

/// What a limit is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Main memory, bytes.
    Memory,
    /// Processor time, percent of one core.
    Cpu,
    /// Processes and threads.
    Tasks,
    /// The home directory, bytes.
    Disk,
}

impl Resource {
    /// All, in the order in which they are told.
    pub const ALL: [Resource; 4] =
        [Resource::Memory, Resource::Cpu, Resource::Tasks, Resource::Disk];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Resource::Memory => "memory",
            Resource::Cpu => "cpu",
            Resource::Tasks => "tasks",
            Resource::Disk => "disk",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Resource::Memory | Resource::Disk => "bytes",
            Resource::Cpu => "percent of a core",
            Resource::Tasks => "tasks",
        }
    }
}

/// A limit that a desktop comes close to or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// Of what.
    pub resource: Resource,
    /// What it takes.
    pub found: u64,
    /// What it may take.
    pub limit: u64,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Alert { resource, found, limit } = self;
        write!(f, "{}: {found} of {limit} {}", resource.as_str(), resource.unit())
    }
}

impl Alert {
    /// The event that tells it.
    pub fn event(&self) -> EventKind {
        EventKind::Alert { what: self.to_string() }
    }
}

/// What a look at a desktop brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// What it takes.
    pub usage: Usage,
    /// Limits that it came close to since the last look.
    pub alerts: Vec<Alert>,
    /// The limit for which it must be ended, where the kernel does not hold it to that.
    pub over: Option<Alert>,
}

/// Holds one desktop's usage against its limits, look after look.
#[derive(Debug, Clone)]
pub struct Monitor {
    limits: Limits,
    /// The kernel holds all of the desktop to memory and tasks.
    held: bool,
    /// Told, and not fallen below the quiet share since.
    told: [bool; 4],
    /// Looks in a row over memory or tasks.
    over: [u32; 4],
}

impl Monitor {
    /// A monitor of a desktop that the kernel holds to its limits or not.
    pub fn new(limits: Limits, held: bool) -> Self {
        Monitor { limits, held, told: [false; 4], over: [0; 4] }
    }

    /// Judges one measure.
    pub fn look(&mut self, usage: Usage) -> Look {
        let mut look = Look { usage, ..Look::default() };
        for (at, resource) in Resource::ALL.into_iter().enumerate() {
            let (found, limit) = match resource {
                Resource::Memory => (usage.memory_bytes, Some(self.limits.memory_bytes)),
                Resource::Cpu => {
                    (u64::from(usage.cpu_permille / 10), Some(self.limits.cpu_percent.into()))
                }
                Resource::Tasks => (usage.tasks.into(), Some(self.limits.tasks.into())),
                Resource::Disk => (usage.disk_bytes, self.limits.disk_bytes),
            };
            let Some(limit) = limit else { continue };
            let (Some(told), Some(over)) = (self.told.get_mut(at), self.over.get_mut(at)) else {
                continue;
            };
            let alert = Alert { resource, found, limit };
            let share = |percent: u64| u128::from(limit) * u128::from(percent) / 100;
            if u128::from(found) >= share(ALERT_PERCENT) {
                if !std::mem::replace(told, true) {
                    look.alerts.push(alert);
                }
            } else if u128::from(found) < share(QUIET_PERCENT) {
                *told = false;
            }
            *over = if found > limit { *over + 1 } else { 0 };
            // What it computed or wrote too much is not undone by its end.
            let ends = matches!(resource, Resource::Memory | Resource::Tasks) && !self.held;
            if ends && *over >= LOOKS_OVER {
                look.over.get_or_insert(alert);
            }
        }
        look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { memory_bytes: 100 << 20, cpu_percent: 100, tasks: 50, disk_bytes: Some(1 << 30) };

    fn memory(mib: u64) -> Usage {
        Usage { memory_bytes: mib << 20, tasks: 3, ..Usage::default() }
    }

    #[test]
    fn a_limit_is_told_once_until_there_is_room_again() {
        let mut monitor = Monitor::new(LIMITS, true);
        let told: Vec<usize> = [50, 89, 90, 200, 85, 95, 79, 90]
            .map(|mib| monitor.look(memory(mib)).alerts.len())
            .to_vec();
        assert_eq!(told, [0, 0, 1, 0, 0, 0, 0, 1]);
        let all = Usage { cpu_permille: 1500, tasks: 60, disk_bytes: 2 << 30, ..memory(95) };
        let mut monitor = Monitor::new(LIMITS, true);
        let told: Vec<String> = monitor.look(all).alerts.iter().map(Alert::to_string).collect();
        let expected = [
            "memory: 99614720 of 104857600 bytes",
            "cpu: 150 of 100 percent of a core",
            "tasks: 60 of 50 tasks",
            "disk: 2147483648 of 1073741824 bytes",
        ];
        assert_eq!(told, expected);
        assert!((0..9).all(|_| monitor.look(all).over.is_none()));
    }

    #[test]
    fn who_is_over_for_long_is_ended_where_the_kernel_does_not_care() {
        let mut monitor = Monitor::new(LIMITS, false);
        let ended: Vec<bool> = [101, 101, 99, 101, 102, 103]
            .map(|mib| monitor.look(memory(mib)).over.is_some())
            .to_vec();
        assert_eq!(ended, [false, false, false, false, false, true]);
        let mut monitor = Monitor::new(LIMITS, false);
        let busy = Usage { cpu_permille: 9000, disk_bytes: 9 << 30, ..memory(1) };
        assert!((0..9).all(|_| monitor.look(busy).over.is_none()));
        let forking = Usage { tasks: 51, ..memory(1) };
        let over = (0..3).filter_map(|_| monitor.look(forking).over).next_back().unwrap();
        assert_eq!((over.resource, over.found, over.limit), (Resource::Tasks, 51, 50));
    }
}
