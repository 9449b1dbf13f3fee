//! An append-only sequence of volumes, each a small database that is sealed when full.
//!
//! One writer thread commits for everyone: it gathers what waits, writes it in one step and
//! answers when it is durable. Sealed volumes are opened for reading through a small cache.
//! Opening reads the directory's names and the newest volume, nothing else.
//!
//! Layout: `volumes/<id>/` with the engine's files and, once sealed, a `sealed` file (see
//! [`seal`]). A volume is made as `<id>.new` and renamed when its files are durable; it is
//! renamed to `<id>.removed` before it is deleted. Leftovers of both are cleared at opening:
//! nothing in them was ever acknowledged, or all of it was given up.

pub(crate) mod retire;
pub(crate) mod seal;
mod syncing;
mod table;
mod writer;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

pub use self::retire::Relocated;
pub(crate) use self::table::{Settings, Shared};
use self::writer::Command;
use crate::batch::{check_key, check_value};
use crate::engine::Opener;
use crate::volume::{Ready, Volume};
use crate::{Pair, StoreError};

/// Most keys and values in one append, in bytes: a whole chunk of 10 MiB with its headers.
pub const APPEND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Appends waiting for the writer; the next caller waits in turn.
const APPEND_QUEUE_MAX: usize = 64;
/// Newest volumes looked at for a missing seal when opening. Sealing is at most two behind.
const UNSEALED_LOOKED_FOR: usize = 4;
/// Incidents kept in memory; the oldest are forgotten first, all of them are in the log.
const INCIDENTS_MAX: usize = 256;

/// Number of a volume; never used twice in one data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub u64);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// What is known of a volume without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Its number.
    pub id: VolumeId,
    /// Whether it is sealed; exactly the current one is not, or for a moment the one before it.
    pub sealed: bool,
    /// Bytes its files occupy on the disk.
    pub bytes_on_disk: u64,
    /// Keys and values stored, in bytes.
    pub bytes_stored: u64,
    /// When it was made, in microseconds since 1970 by this machine's clock.
    pub created_us: u64,
}

/// Records of a range, and the damaged ones in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Keys and verified values, ascending.
    pub items: Vec<Pair>,
    /// Keys whose record failed its hash.
    pub damaged: Vec<Vec<u8>>,
}

/// What reading every record found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Records looked at.
    pub records: u64,
    /// Keys of records that failed.
    pub damaged: Vec<Vec<u8>>,
    /// Why a part, or all, could not be read; keys in it are not known.
    pub unreadable: Option<String>,
    /// Stretches of sealed files that are not what was sealed, even where no record is hurt.
    pub altered: Vec<Altered>,
}

/// A stretch of a sealed volume's file that has changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// The file's name in the volume's directory.
    pub file: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; the file was compared in pieces of 1 MiB.
    pub length: u64,
}

impl ScrubReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.unreadable.is_none() && self.altered.is_empty()
    }
}

/// Something that happened to a volume while running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Which volume.
    pub volume: VolumeId,
    /// What happened, for the operator.
    pub what: String,
    /// Where the untouched bytes were put, if they were.
    pub quarantined: Option<PathBuf>,
}

/// What opening found.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) quarantined: Vec<crate::Quarantined>,
}

/// All volumes of a data directory.
pub struct Volumes {
    shared: Arc<Shared>,
    commands: Option<SyncSender<Command>>,
    writer: Option<JoinHandle<()>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

impl Volumes {
    pub(crate) fn open(
        settings: Settings,
        opener: Arc<dyn Opener>,
    ) -> Result<(Volumes, Opened), StoreError> {
        let ids = clear_and_list(&settings.root)?;
        let shared = Arc::new(Shared::new(settings, opener, &ids));

        let mut opened = Opened::default();
        let mut unsealed: Vec<VolumeId> = ids
            .iter()
            .rev()
            .take(UNSEALED_LOOKED_FOR)
            .copied()
            .filter(|id| !shared.dir(*id).join(seal::FILE).exists())
            .collect();
        let mut current = None;
        if let Some(newest) = ids.last().copied()
            && unsealed.first() == Some(&newest)
        {
            unsealed.remove(0);
            match shared.adopt(newest, &mut opened.quarantined) {
                Ok(bytes) => current = Some((newest, bytes)),
                Err(error) if error.is_damage() => {
                    // An engine without room gives up in ways that look like damage.
                    shared.room().check(0)?;
                    // Made before the damaged one leaves, so that its number is not used again.
                    shared.create(VolumeId(newest.0 + 1))?;
                    current = Some((VolumeId(newest.0 + 1), 0));
                    let path = shared.set_aside(newest)?;
                    opened.quarantined.push(crate::Quarantined {
                        name: format!("volumes/{newest}"),
                        path,
                        reason: error.to_string(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        for volume in &unsealed {
            // Looked at before they are sealed as they are; one that does not open stays as it is.
            match shared.adopt(*volume, &mut opened.quarantined) {
                Ok(_) => shared.close(*volume),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        let (commands, queue) = sync_channel(APPEND_QUEUE_MAX);
        let next = VolumeId(ids.last().map_or(1, |id| id.0 + 1).max(current.map_or(1, |c| c.0.0)));
        let writer = writer::start(shared.clone(), queue, current, next, unsealed)?;
        Ok((Volumes { shared, commands: Some(commands), writer: Some(writer) }, opened))
    }

    /// Stores records and returns their volume once they survive a power cut. A key that is
    /// already in the same volume is replaced. Order among concurrent appends is not promised.
    ///
    /// # Errors
    /// When it fails nothing was acknowledged; some of the records may still turn up.
    pub fn append(&self, records: Vec<Pair>) -> Result<VolumeId, StoreError> {
        let bytes = records.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > APPEND_BYTES_MAX || records.len() > crate::BATCH_OPERATIONS_MAX {
            return Err(StoreError::BatchTooLarge {
                bytes,
                operations: records.len(),
                bytes_max: APPEND_BYTES_MAX,
                operations_max: crate::BATCH_OPERATIONS_MAX,
            });
        }
        for (key, value) in &records {
            check_key(key)?;
            check_value(value)?;
        }
        let records = records.into_iter().map(|(key, value)| Ready::new(key, value)).collect();
        self.ask(|reply| Command::Append { records, reply })
    }

    /// Seals the current volume, if it holds anything, so that the next append begins a new one.
    ///
    /// # Errors
    /// When the volume cannot be closed cleanly.
    pub fn seal_current(&self) -> Result<(), StoreError> {
        self.ask(|reply| Command::Seal { reply })
    }

    /// Begins a volume with a given number, for an import; it ends with [`Volumes::seal_current`].
    pub(crate) fn begin(&self, volume: VolumeId, created_us: u64) -> Result<(), StoreError> {
        self.ask(|reply| Command::Begin { volume, created_us, reply })
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(SyncSender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = sync_channel(1);
        let commands = self.commands.as_ref().ok_or(StoreError::Closed)?;
        commands.send(command(reply)).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    /// The verified value under `key` in `volume`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the record fails its hash.
    pub fn get(&self, volume: VolumeId, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        self.shared.with(volume, |open| open.get(key))
    }

    /// At most `limit` records with `from <= key < to`, ascending; damaged ones count.
    ///
    /// # Errors
    /// When the volume's index cannot be read.
    pub fn scan(
        &self,
        volume: VolumeId,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Scan, StoreError> {
        self.shared.with(volume, |open| {
            let (items, damaged) = open.scan(from, Some(to), limit)?;
            Ok(Scan { items, damaged })
        })
    }

    /// At most `limit` keys of a volume from `from` on, ascending, without their values.
    ///
    /// # Errors
    /// When the volume's index cannot be read.
    pub fn keys(
        &self,
        volume: VolumeId,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.shared.with(volume, |open| open.keys(from, limit))
    }

    /// The numbers of all volumes, ascending. Touches no disk.
    pub fn ids(&self) -> Vec<VolumeId> {
        lock(&self.shared.slots).keys().copied().collect()
    }

    /// Every volume with its size and age, ascending. Reads each seal once and remembers it.
    pub fn list(&self) -> Vec<VolumeInfo> {
        self.ids().into_iter().filter_map(|id| self.shared.info(id)).collect()
    }

    /// Until when, microseconds since 1970, a volume held records that damage to its log has cut
    /// off; `None` if nothing was.
    pub fn cut_until_us(&self, volume: VolumeId) -> Option<u64> {
        table::cut_until_us(&self.shared.dir(volume))
    }

    /// What happened to volumes since opening, oldest first.
    pub fn incidents(&self) -> Vec<Incident> {
        lock(&self.shared.incidents).iter().cloned().collect()
    }

    /// Reads and verifies every record of a volume and, once sealed, every byte of its files.
    ///
    /// # Errors
    /// Only when the machine fails; damage is in the report.
    pub fn scrub(&self, volume: VolumeId) -> Result<ScrubReport, StoreError> {
        let mut report = match self.shared.with(volume, Volume::scrub) {
            Err(error) if error.is_damage() => {
                ScrubReport { unreadable: Some(error.to_string()), ..ScrubReport::default() }
            }
            other => other?,
        };
        let sealed = seal::records_sealed(&self.shared.dir(volume))?.unwrap_or(0);
        if sealed > report.records && report.unreadable.is_none() {
            let found = report.records;
            report.unreadable = Some(format!("{found} records found of {sealed} sealed"));
        }
        report.altered = seal::altered(&self.shared.dir(volume))?;
        Ok(report)
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(writer) = self.writer.take() {
            // A panic in the writer has been printed by its thread; there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

/// Removes leftovers of interrupted creation and removal, and lists the volumes, ascending.
fn clear_and_list(root: &Path) -> Result<Vec<VolumeId>, StoreError> {
    let mut ids = Vec::new();
    let entries = fs::read_dir(root).map_err(|e| StoreError::io("list", root, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| StoreError::io("list", root, e))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".new") || name.ends_with(".removed") {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(|e| StoreError::io("remove", &path, e))?;
        } else if let Ok(id) = name.parse() {
            ids.push(VolumeId(id));
        }
    }
    ids.sort_unstable();
    Ok(ids)
}
