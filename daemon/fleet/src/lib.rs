//! Updates that cannot brick the device: what a version is, which boot slot is the default and
//! which is on trial, where an update stands and what happens to it next.
//!
//! The decisions are pure: [`boot`] works on a [`disk::Disk`], [`update`] takes events and the time
//! and answers with effects. `docs/updates.md` tells the whole way of an update.
#![forbid(unsafe_code)]

pub mod boot;
pub mod disk;
pub mod download;
pub mod hawkbit;
pub mod http;
pub mod rauc;
pub mod update;
pub mod verdict;
pub mod version;
