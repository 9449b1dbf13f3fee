//! The exit codes of every `lucid` command: a contract with scripts, units and tests.
//!
//! Codes from 64 up follow `sysexits.h` where it has a word for the cause. `docs/operations.md`
//! lists them for the operator.

use std::process::ExitCode;

/// Why the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well; for `verify`: the bundle is valid.
    Success = 0,
    /// The command failed for a reason none of the other codes names.
    Failure = 1,
    /// `verify`: something contradicts a hash, a signature or an order.
    Tampered = 10,
    /// `verify`, `export`: something that the manifest counts is missing.
    Incomplete = 11,
    /// `verify`: it cannot be judged.
    Unverifiable = 12,
    /// Wrong use: unknown command or option, missing argument.
    Usage = 64,
    /// An address to listen on is taken or not ours.
    AddressUnavailable = 69,
    /// The data directory cannot be created, read or written.
    DataDirUnusable = 73,
    /// Another process holds the data directory.
    DataDirLocked = 75,
    /// The data directory was written by a newer version.
    DataDirNewer = 76,
    /// Something did not stop within the drain deadline.
    DrainTimedOut = 77,
    /// The configuration is not valid.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error together with the exit code it ends the process with.
#[derive(Debug)]
pub struct Failure {
    /// The code the process exits with.
    pub exit: Exit,
    /// What went wrong, outermost context first.
    pub error: anyhow::Error,
}

impl Failure {
    /// Pairs an error with its exit code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failure, error: error.into() }
    }
}
