//! Whether the kernel holds services to their limits, said once at the start.
//!
//! Raspberry Pi OS starts without the memory controller. Then every `MemoryMax=` is void, of the
//! payments and of desktops too, and nothing else would ever say so.

use lucid_hw::cgroup::{MemoryControl, memory_control};

use crate::supervisor::Reporter;

/// What is said where the limits are not needed, since no unit sets any.
const NO_SERVICE: &str = "not started by systemd: no limits are set";

/// Says how it is, in the log and as a component.
pub fn report(reporter: &Reporter, machine: &lucid_hw::Machine, service: bool) {
    match (service, memory_control(machine)) {
        (false, _) => reporter.nothing_to_do(NO_SERVICE),
        (true, MemoryControl::Enforced) => reporter.healthy(),
        (true, MemoryControl::Void { reason }) => {
            reporter.degraded(format!("limits of memory do not bind: {reason}"));
        }
    }
}

/// Whether this process is a service of systemd.
pub fn is_service() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() && std::env::var_os("NOTIFY_SOCKET").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Events;
    use crate::supervisor::{ComponentState, Need, Plan, Supervisor};

    fn told(controllers: Option<&str>, service: bool) -> (ComponentState, String) {
        let root = tempfile::tempdir().unwrap();
        if let Some(controllers) = controllers {
            let dir = root.path().join("sys/fs/cgroup");
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("cgroup.controllers"), controllers).unwrap();
        }
        let supervisor = Supervisor::new(Events::new());
        let plan = Plan { name: "limits", need: Need::Optional, beat_within: None };
        report(&supervisor.register(plan), &lucid_hw::Machine::at(root.path()), service);
        let shown = supervisor.components().remove(0);
        (shown.state, shown.reason.unwrap_or_default())
    }

    #[test]
    fn limits_that_do_not_bind_are_told_with_what_would_help() {
        let (state, reason) = told(Some("cpuset cpu io pids"), true);
        assert_eq!(state, ComponentState::Degraded);
        assert!(reason.contains("cgroup_enable=memory"), "{reason}");
        assert_eq!(told(None, true).0, ComponentState::Degraded);
        assert_eq!(told(Some("cpu io memory pids"), true), (ComponentState::Healthy, "".into()));
        assert_eq!(told(None, false), (ComponentState::Healthy, NO_SERVICE.into()));
    }
}
