//! Updates that cannot brick the device: what a version is, which boot slot is the default and
//! which is on trial.
//!
//! The decisions are pure: [`boot`] works on a [`disk::Disk`]. `docs/updates.md` tells the whole
//! way of an update.
#![forbid(unsafe_code)]

pub mod boot;
pub mod disk;
pub mod verdict;
