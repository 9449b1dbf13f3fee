//! Keeps keys out of core dumps and swap.
//!
//! The process makes itself undumpable (`PR_SET_DUMPABLE`), which also closes `/proc/PID/mem` and
//! `ptrace` to others of its user, and sets the core size to zero for whatever it starts. Locking
//! single pages needs pointers and so unsafe code, which this crate does not have; instead all
//! present and future memory is locked with `mlockall`, pages as they are touched. That needs
//! `CAP_IPC_LOCK` or room in `RLIMIT_MEMLOCK`: with too little, later allocations would fail, so it
//! is done only where [`LOCK_BYTES_MIN`] fit.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior,
    setrlimit,
};

use crate::config::LockMemory;

/// Memory that must be lockable: the process, its threads' stacks and Argon2id's 64 MiB.
pub const LOCK_BYTES_MIN: u64 = 2 << 30;

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    /// The kernel said no.
    #[error("cannot {doing}")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// `lock_memory = "required"`, and it cannot be.
    #[error("memory cannot be locked: {0}")]
    NotLocked(String),
}

/// What was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardened {
    /// Why memory may be swapped out; `None` when it is locked.
    pub swappable: Option<String>,
}

fn refused(doing: &'static str) -> impl Fn(rustix::io::Errno) -> HardenError {
    move |error| HardenError::Refused { doing, source: error.into() }
}

/// Takes away core dumps and, as far as allowed, swapping. Done before any secret is read.
///
/// # Errors
/// When core dumps cannot be turned off, or memory must be locked and cannot.
pub fn harden(lock: LockMemory) -> Result<Hardened, HardenError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(refused("make the process undumpable"))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(refused("turn core dumps off"))?;
    let swappable = match lock {
        LockMemory::Off => Some("`lock_memory` is off".to_owned()),
        LockMemory::Auto | LockMemory::Required => lock_all().err(),
    };
    match swappable {
        Some(why) if lock == LockMemory::Required => Err(HardenError::NotLocked(why)),
        swappable => Ok(Hardened { swappable }),
    }
}

fn lock_all() -> Result<(), String> {
    let limit = getrlimit(Resource::Memlock);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // Should it fail, the present limit decides.
        let _ = setrlimit(Resource::Memlock, raised);
    }
    let limit = getrlimit(Resource::Memlock).current;
    if limit.is_some_and(|bytes| bytes < LOCK_BYTES_MIN) {
        let bytes = limit.unwrap_or_default();
        return Err(format!(
            "{bytes} bytes may be locked and {LOCK_BYTES_MIN} are needed; \
             set LimitMEMLOCK=infinity in the unit"
        ));
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| format!("mlockall: {}", std::io::Error::from(error)))
}

/// Whether this process can still be dumped.
pub fn dumpable() -> bool {
    !matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardened_process_leaves_no_core() {
        assert!(dumpable());
        let hardened = harden(LockMemory::Off).unwrap();
        assert!(!dumpable());
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert!(hardened.swappable.is_some());
    }
}
