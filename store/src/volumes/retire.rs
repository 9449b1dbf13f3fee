//! Ends of volumes: removal by retention, and quarantine of damaged ones. Both first give the
//! records that must stay a new home.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{Incident, Shared, VolumeId, Volumes, lock, now_us};
use crate::engine::sled_engine::{sync_dir, sync_files};
use crate::volume::Volume;
use crate::{Pair, StoreError};

/// Keys looked at in one step.
const STEP_KEYS: usize = 256;
/// Bytes moved in one append.
const MOVE_BYTES: usize = 1024 * 1024;
/// Names tried for a place in quarantine.
const NAMES_TRIED: u64 = 1000;

/// What became of a volume's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relocated {
    /// Keys that live on, with the volume that now holds them.
    pub moved: Vec<(Vec<u8>, VolumeId)>,
    /// Keys that should live on but could not be read.
    pub lost: Vec<Vec<u8>>,
    /// Where the volume was put, unless it was deleted.
    pub quarantined: Option<PathBuf>,
}

/// Why a volume ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its records are no longer wanted.
    Delete,
    /// Its bytes must not be lost.
    Quarantine,
}

impl Volumes {
    /// Deletes a volume. Records for which `keep` says true are first appended to the current
    /// volume. When a kept record cannot be read, the volume is moved to quarantine instead.
    ///
    /// `settle` is called in between, when the kept records are durable in their new home and the
    /// volume is still in its place: what points to the records is to be changed there, durably,
    /// so that a crash at any moment leaves every pointer with something to point to.
    ///
    /// # Errors
    /// Those of `settle` and of the store. The volume is then still there and nothing is lost;
    /// records already moved are stored twice.
    pub fn remove<E: From<StoreError>>(
        &self,
        volume: VolumeId,
        keep: &mut dyn FnMut(&[u8]) -> bool,
        settle: &mut dyn FnMut(&Relocated) -> Result<(), E>,
    ) -> Result<Relocated, E> {
        self.retire(volume, keep, settle, End::Delete)
    }

    /// Moves a damaged volume out of the way, bytes untouched, after appending every record that
    /// can still be read to the current volume. `settle` as for [`Volumes::remove`].
    ///
    /// # Errors
    /// As [`Volumes::remove`].
    pub fn quarantine<E: From<StoreError>>(
        &self,
        volume: VolumeId,
        settle: &mut dyn FnMut(&Relocated) -> Result<(), E>,
    ) -> Result<Relocated, E> {
        self.retire(volume, &mut |_| true, settle, End::Quarantine)
    }

    fn retire<E: From<StoreError>>(
        &self,
        volume: VolumeId,
        keep: &mut dyn FnMut(&[u8]) -> bool,
        settle: &mut dyn FnMut(&Relocated) -> Result<(), E>,
        end: End,
    ) -> Result<Relocated, E> {
        self.shared.slot(volume)?;
        if self.ids().last() == Some(&volume) {
            // Sealed, and a newer one begun, so that its number is not given out a second time.
            match self.seal_current() {
                Err(error) if error.is_damage() => {}
                other => other?,
            }
            self.append(Vec::new())?;
        }
        let mut relocated = Relocated::default();
        let copied = match self.move_kept(volume, keep, &mut relocated) {
            Err(error) if error.is_damage() => {
                self.move_salvaged(volume, keep, &mut relocated)?;
                false
            }
            result => result.map(|()| true)?,
        };
        settle(&relocated)?;
        if end == End::Delete && copied && relocated.lost.is_empty() {
            self.shared.delete(volume)?;
        } else {
            let path = self.shared.set_aside(volume)?;
            let lost = relocated.lost.len();
            let what = format!("volume moved to quarantine, {lost} records known to be lost");
            self.shared.report(Incident { volume, what, quarantined: Some(path.clone()) });
            relocated.quarantined = Some(path);
        }
        Ok(relocated)
    }

    fn move_kept(
        &self,
        volume: VolumeId,
        keep: &mut dyn FnMut(&[u8]) -> bool,
        relocated: &mut Relocated,
    ) -> Result<(), StoreError> {
        let mut from = Vec::new();
        loop {
            let keys = self.keys(volume, &from, STEP_KEYS)?;
            let Some(last) = keys.last() else { return Ok(()) };
            from = last.clone();
            from.push(0);
            let (mut step, mut bytes) = (Vec::new(), 0);
            for key in keys {
                if !keep(&key) {
                    continue;
                }
                match self.get(volume, &key) {
                    Ok(Some(value)) => {
                        bytes += value.len();
                        step.push((key, value));
                    }
                    Ok(None) => {}
                    Err(error) if error.is_damage() => relocated.lost.push(key),
                    Err(error) => return Err(error),
                }
                if bytes >= MOVE_BYTES {
                    self.rehome(std::mem::take(&mut step), relocated)?;
                    bytes = 0;
                }
            }
            self.rehome(step, relocated)?;
        }
    }

    /// As far as the index goes nothing more can be read: takes what the buckets still hold.
    fn move_salvaged(
        &self,
        volume: VolumeId,
        keep: &mut dyn FnMut(&[u8]) -> bool,
        relocated: &mut Relocated,
    ) -> Result<(), StoreError> {
        let buckets = match self.shared.with(volume, Volume::buckets) {
            Err(error) if error.is_damage() => return Ok(()),
            other => other?,
        };
        // Ascending, so that of a key written twice the later record is moved last and counts.
        for bucket in buckets {
            let mut step = self.shared.with(volume, |open| open.salvage(bucket))?;
            step.retain(|(key, _)| keep(key));
            relocated.lost.retain(|key| step.iter().all(|(found, _)| found != key));
            self.rehome(step, relocated)?;
        }
        Ok(())
    }

    fn rehome(&self, step: Vec<Pair>, relocated: &mut Relocated) -> Result<(), StoreError> {
        if step.is_empty() {
            return Ok(());
        }
        let keys: Vec<Vec<u8>> = step.iter().map(|(key, _)| key.clone()).collect();
        let home = self.append(step)?;
        relocated.moved.extend(keys.into_iter().map(|key| (key, home)));
        Ok(())
    }
}

impl Shared {
    /// Takes a volume out of the table; on return nobody has it open and nobody can open it.
    fn withdraw(&self, volume: VolumeId) -> Result<(), StoreError> {
        let slot = self.slot(volume)?;
        let mut database = slot.database.write().unwrap_or_else(PoisonError::into_inner);
        lock(&slot.facts).gone = true;
        database.take();
        lock(&self.open).retain(|id| *id != volume);
        lock(&self.slots).remove(&volume);
        Ok(())
    }

    fn delete(&self, volume: VolumeId) -> Result<(), StoreError> {
        self.withdraw(volume)?;
        let (dir, removed) =
            (self.dir(volume), self.settings.root.join(format!("{volume}.removed")));
        fs::rename(&dir, &removed).map_err(|e| StoreError::io("rename", &dir, e))?;
        self.opener.moved(&dir, None);
        sync_dir(&self.settings.root)?;
        fs::remove_dir_all(&removed).map_err(|e| StoreError::io("remove", &removed, e))
    }

    /// Moves a volume to quarantine and returns where it is now.
    pub(super) fn set_aside(&self, volume: VolumeId) -> Result<PathBuf, StoreError> {
        self.withdraw(volume)?;
        let dir = self.dir(volume);
        let place = free_place(&self.settings.quarantine, &format!("volume-{volume}"))?;
        fs::rename(&dir, &place).map_err(|e| StoreError::io("move", &dir, e))?;
        self.opener.moved(&dir, Some(&place));
        sync_dir(&self.settings.root)?;
        sync_dir(&self.settings.quarantine)?;
        Ok(place)
    }

    /// Copies a volume's files to quarantine as they are.
    pub(super) fn copy_aside(&self, volume: VolumeId) -> Result<PathBuf, StoreError> {
        let dir = self.dir(volume);
        let place = free_place(&self.settings.quarantine, &format!("volume-{volume}"))?;
        fs::create_dir(&place).map_err(|e| StoreError::io("create", &place, e))?;
        let entries = fs::read_dir(&dir).map_err(|e| StoreError::io("list", &dir, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| StoreError::io("list", &dir, e))?;
            if entry.path().is_file() {
                fs::copy(entry.path(), place.join(entry.file_name()))
                    .map_err(|e| StoreError::io("copy", &entry.path(), e))?;
            }
        }
        sync_files(&place)?;
        sync_dir(&self.settings.quarantine)?;
        Ok(place)
    }
}

/// A name in the quarantine directory that is not taken.
pub(crate) fn free_place(quarantine: &Path, name: &str) -> Result<PathBuf, StoreError> {
    fs::create_dir_all(quarantine).map_err(|e| StoreError::io("create", quarantine, e))?;
    let seconds = now_us() / 1_000_000;
    let names = (0..NAMES_TRIED).map(|n| quarantine.join(format!("{name}-{seconds}-{n}")));
    names.into_iter().find(|place| !place.exists()).ok_or_else(|| {
        let taken = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        StoreError::io("find a free name in", quarantine, taken)
    })
}
