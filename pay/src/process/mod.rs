//! The process around the payments: its directory, its memory, its secrets and its signals.

pub mod data_dir;
pub mod harden;
pub mod notify;
pub mod secret;
pub mod users;
