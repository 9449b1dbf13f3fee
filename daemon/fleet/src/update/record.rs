//! What is known of updates across restarts, and how it is kept.
//!
//! File `updates.json`: the line `lucid-updates 1 ` with the BLAKE3 of the rest in hexadecimal,
//! then JSON. It is replaced whole: written beside, synced, renamed over, and the directory synced.
//! A file that does not verify is moved to `updates.damaged`; the boot files alone decide what
//! starts, so nothing but the history of updates is lost with it.

use std::io;

use serde::{Deserialize, Serialize};

use super::rules::Bundle;
use crate::boot::Slot;
use crate::disk::Disk;
use crate::version::Version;

/// Its name.
const FILE: &str = "updates.json";
/// Where it is written first.
const PART: &str = "updates.part";
/// Where one that does not read is put.
const DAMAGED: &str = "updates.damaged";
const HEAD: &str = "lucid-updates 1 ";
/// Largest file read, in bytes.
const BYTES_MAX: usize = 256 * 1024;
/// Updates that are over and still listed.
pub(super) const HISTORY_MAX: usize = 20;

/// Where an update comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The fleet server, which hears how it went.
    Server,
    /// A person gave the bundle to the device.
    Upload,
}

/// Where the bundle is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// On the server; it is downloaded first.
    Url(String),
    /// Here already, whole.
    Here,
    /// The server gives it after somebody has agreed.
    AfterAgreement,
}

/// An update as it is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Names it, among those of its origin: the server's action, or one of our own.
    pub id: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Where the bundle is.
    pub source: Source,
    /// What it is called.
    pub name: String,
    /// Length of the bundle, bytes; 0 is unknown.
    pub bytes: u64,
    /// SHA-256 of the bundle, hexadecimal, where it is told.
    pub sha256: Option<String>,
    /// Whether the server asks that a person agrees.
    pub ask: bool,
    /// Whether the server lets it be installed now; it may only want it downloaded.
    pub install: bool,
    /// Whether whoever brought it allowed a version older than what runs.
    #[serde(default)]
    pub allow_older: bool,
    /// Whether whoever brought it wants it now, even while something is recorded.
    #[serde(default)]
    pub at_once: bool,
}

/// Where an update stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Waits for a person, or for the server after a person agreed.
    Offered,
    /// The bundle comes in.
    Downloading {
        /// Bytes that are here.
        bytes: u64,
    },
    /// The bundle is whole; RAUC looks at its signature and says what is in it.
    Verified,
    /// For the window, or until nothing is recorded.
    Waiting,
    /// RAUC writes to the other slot.
    Installing {
        /// How far, of 100.
        percent: u8,
    },
    /// The other slot is written; the restart waits as the installation did.
    RebootWanted,
    /// The restart was asked for.
    TrialBoot,
    /// The new system runs and is put to the test.
    SelfTest,
}

impl Phase {
    /// Its name, as interfaces have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Downloading { .. } => "downloading",
            Self::Verified => "verified",
            Self::Waiting => "waiting",
            Self::Installing { .. } => "installing",
            Self::RebootWanted => "reboot_wanted",
            Self::TrialBoot => "trial_boot",
            Self::SelfTest => "self_test",
        }
    }

    /// Whether it can still be called off.
    pub fn cancellable(&self) -> bool {
        !matches!(self, Self::Installing { .. } | Self::TrialBoot | Self::SelfTest)
    }
}

/// An update that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What is offered.
    pub offer: Offer,
    /// Where it stands.
    #[serde(flatten)]
    pub phase: Phase,
    /// What it waits for, or what went wrong last, for people.
    pub note: Option<String>,
    /// Whether a person, or the setting, agreed.
    pub agreed: bool,
    /// Whether a version older than the running one was allowed, by name.
    pub allow_older: bool,
    /// Whether it goes ahead although something is recorded.
    pub at_once: bool,
    /// Downloads, installations or trials of the present phase that went wrong.
    pub tries: u32,
    /// Not before this, microseconds since 1970.
    pub not_before_us: u64,
    /// When it was offered, microseconds since 1970.
    pub began_us: u64,
    /// What is in the bundle.
    pub bundle: Option<Bundle>,
    /// SHA-256 of the bundle, hexadecimal, as computed here.
    pub sha256: Option<String>,
    /// The transaction that states the bundle on the chain, once a block holds it.
    #[serde(default)]
    pub statement: Option<String>,
    /// The version that was running.
    pub from_version: Version,
    /// The slot it is for, once it is installed.
    pub to: Option<Slot>,
    /// How often Lucid started on the new system.
    pub starts: u32,
}

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new system runs and proved itself.
    Confirmed,
    /// The new system did not prove itself; the one before runs.
    FellBack,
    /// It could not be downloaded or installed.
    Failed,
    /// It may not be installed here.
    Refused,
    /// It was called off.
    Cancelled,
}

/// An update that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// Where it came from.
    pub origin: Origin,
    /// What it was called.
    pub name: String,
    /// Its version, as far as it became known.
    pub version: Option<Version>,
    /// SHA-256 of the bundle, hexadecimal, if all of it was here.
    #[serde(default)]
    pub sha256: Option<String>,
    /// The transaction that states the bundle on the chain, if it was installed.
    #[serde(default)]
    pub statement: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, for people; empty when there is nothing to say.
    pub reason: String,
    /// When it was offered, microseconds since 1970.
    pub began_us: u64,
    /// When it was over, microseconds since 1970.
    pub ended_us: u64,
    /// Whether whoever offered it knows the end.
    pub reported: bool,
}

/// All that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The update under way.
    pub attempt: Option<Attempt>,
    /// Those that are over, newest first, at most 20.
    pub history: Vec<Ended>,
}

/// Why the record cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system.
    #[error("cannot {what} the record of updates")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// JSON.
    #[error("the record of updates cannot be put into words")]
    Json(#[from] serde_json::Error),
}

impl Record {
    /// Reads the record; an absent one is empty. The second value is false where one was there that
    /// did not verify and was put aside.
    ///
    /// # Errors
    /// When the file cannot be read or put aside.
    pub fn load(disk: &dyn Disk) -> Result<(Self, bool), RecordError> {
        let failed = |what| move |source| RecordError::Disk { what, source };
        let Some(bytes) = disk.read(FILE, BYTES_MAX).map_err(failed("read"))? else {
            return Ok((Self::default(), true));
        };
        if let Some(record) = decode(&bytes) {
            return Ok((record, true));
        }
        disk.rename(FILE, DAMAGED).map_err(failed("put aside"))?;
        disk.sync_names().map_err(failed("sync"))?;
        Ok((Self::default(), false))
    }

    /// Keeps the record: after a cut it is the old or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, disk: &dyn Disk) -> Result<(), RecordError> {
        let failed = |what| move |source| RecordError::Disk { what, source };
        let json = serde_json::to_string_pretty(self)?;
        let text = format!("{HEAD}{}\n{json}", blake3::hash(json.as_bytes()).to_hex());
        disk.write(PART, text.as_bytes()).map_err(failed("write"))?;
        disk.sync(PART).map_err(failed("sync"))?;
        disk.rename(PART, FILE).map_err(failed("rename"))?;
        disk.sync_names().map_err(failed("sync"))
    }

    /// Ends known to us and not yet to the server, oldest first.
    pub fn unreported(&self) -> impl Iterator<Item = &Ended> {
        self.history.iter().rev().filter(|ended| !ended.reported)
    }
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, json) = text.split_once('\n')?;
    let sum = head.strip_prefix(HEAD)?;
    let right = blake3::hash(json.as_bytes()).to_hex().as_str() == sum;
    right.then(|| serde_json::from_str(json).ok()).flatten()
}
