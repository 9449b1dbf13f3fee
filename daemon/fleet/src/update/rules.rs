//! What may be installed on this device, and when.

use serde::{Deserialize, Serialize};

use super::record::Attempt;
use crate::boot::Slot;
use crate::version::Version;

/// What RAUC says is in a bundle whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The kind of device it is for.
    pub compatible: String,
    /// The version of the system in it.
    pub version: Version,
    /// The format of the data directory that the system in it writes.
    pub data_format: u64,
    /// The oldest format it takes over.
    pub data_format_oldest: u64,
}

/// A span of the day, in minutes since midnight by the device's time zone; it may pass midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first minute.
    pub from: u16,
    /// The first minute after it.
    pub to: u16,
}

impl Window {
    /// Whether a minute of the day lies in it.
    pub fn holds(&self, minute: u16) -> bool {
        match self.from <= self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }
}

/// What holds on this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The kind of device; `None` is not known and then RAUC alone judges.
    pub compatible: Option<String>,
    /// The version that runs.
    pub running: Version,
    /// The slot it runs from.
    pub slot: Slot,
    /// The format of the data directory.
    pub data_format: u64,
    /// Whether a person has to agree to each update.
    pub ask: bool,
    /// Whether older versions are taken without being allowed by name.
    pub allow_older: bool,
    /// When recordings may be interrupted for an update; without one only what is idle is updated.
    pub window: Option<Window>,
}

/// Why a bundle may not be installed here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// For another kind of device.
    #[error("the bundle is for {given:?}, this device is {here:?}")]
    Compatible {
        /// The bundle's.
        given: String,
        /// Ours.
        here: String,
    },
    /// An older version.
    #[error("version {given} is older than {running}, which runs; going back must be allowed")]
    Older {
        /// The bundle's.
        given: Version,
        /// Ours.
        running: Version,
    },
    /// The version that runs.
    #[error("version {0} runs already")]
    Same(Version),
    /// The system in it could not read what this one wrote.
    #[error(
        "the recordings here are of format {here}; version {version} knows formats up to {given} \
         and could not read them"
    )]
    DataNewer {
        /// The bundle's version.
        version: Version,
        /// What it writes.
        given: u64,
        /// What is here.
        here: u64,
    },
    /// The system in it takes over only later formats.
    #[error(
        "the recordings here are of format {here}; version {version} takes over formats from \
         {oldest} on: install a version between first"
    )]
    DataTooOld {
        /// The bundle's version.
        version: Version,
        /// The oldest it takes over.
        oldest: u64,
        /// What is here.
        here: u64,
    },
}

/// Whether a bundle may be installed here.
///
/// # Errors
/// Why not.
pub fn judge(bundle: &Bundle, rules: &Rules, allow_older: bool) -> Result<(), Box<Refusal>> {
    let refuse = |refusal| Err(Box::new(refusal));
    if let Some(here) = rules.compatible.as_ref().filter(|here| **here != bundle.compatible) {
        let (given, here) = (bundle.compatible.clone(), here.clone());
        return refuse(Refusal::Compatible { given, here });
    }
    let (here, given) = (rules.data_format, bundle.data_format);
    let version = bundle.version.clone();
    if given < here {
        return refuse(Refusal::DataNewer { version, given, here });
    }
    if bundle.data_format_oldest > here {
        let oldest = bundle.data_format_oldest;
        return refuse(Refusal::DataTooOld { version, oldest, here });
    }
    let order = bundle.version.compare(&rules.running);
    if order.is_eq() {
        return refuse(Refusal::Same(version));
    }
    if order.is_lt() && !rules.allow_older && !allow_older {
        return refuse(Refusal::Older { given: version, running: rules.running.clone() });
    }
    Ok(())
}

/// Whether the device may be disturbed now; if not, what it waits for.
pub(super) fn gate(
    attempt: &Attempt,
    rules: &Rules,
    recording: usize,
    minute: u16,
) -> Result<(), String> {
    if !attempt.offer.install {
        return Err("for the server: it wants it downloaded, not installed yet".into());
    }
    if attempt.at_once {
        return Ok(());
    }
    match rules.window {
        Some(window) if window.holds(minute) => Ok(()),
        Some(Window { from, to }) => {
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            Err(format!("for the window from {} to {}", clock(from), clock(to)))
        }
        None if recording == 0 => Ok(()),
        None if recording == 1 => Err("until a recording is over".into()),
        None => Err(format!("until {recording} recordings are over")),
    }
}
