//! The table of volumes: which exist, which are open, and what is known of each.
//!
//! A slot's lock is held for reading while its volume is read, and for writing while it is opened,
//! closed, sealed or withdrawn; so a volume is never opened twice, and never closed under a reader.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use super::{INCIDENTS_MAX, Incident, VolumeId, VolumeInfo, lock, now_us, seal};
use crate::data_dir::{keep_cut, write_durably};
use crate::engine::sled_engine::sync_dir;
use crate::engine::{Cut, Opener, Use};
use crate::framed::Room;
use crate::volume::Volume;
use crate::{Quarantined, StoreError};

/// Says of a volume that its end was cut off, and until when it reached.
const CUT: &str = "cut";

/// A volume's place in the table: its database when open, and what was learned about it.
pub(crate) struct Slot {
    pub(super) database: RwLock<Option<Volume>>,
    pub(super) facts: Mutex<Facts>,
}

#[derive(Default)]
pub(super) struct Facts {
    /// Known for the current volume and after the seal was read once.
    pub(super) info: Option<VolumeInfo>,
    pub(super) gone: bool,
}

/// Where volumes live and how large they get.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) root: PathBuf,
    pub(crate) quarantine: PathBuf,
    pub(crate) volume_bytes: u64,
    pub(crate) open_max: usize,
    pub(crate) reserve_bytes: u64,
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) opener: Arc<dyn Opener>,
    pub(super) slots: Mutex<BTreeMap<VolumeId, Arc<Slot>>>,
    /// Open sealed volumes, longest unused first.
    pub(super) open: Mutex<VecDeque<VolumeId>>,
    pub(super) incidents: Mutex<VecDeque<Incident>>,
}

impl Slot {
    fn new() -> Slot {
        Slot { database: RwLock::new(None), facts: Mutex::default() }
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, opener: Arc<dyn Opener>, ids: &[VolumeId]) -> Shared {
        let slots = ids.iter().map(|id| (*id, Arc::new(Slot::new()))).collect();
        Shared {
            settings,
            opener,
            slots: Mutex::new(slots),
            open: Mutex::default(),
            incidents: Mutex::default(),
        }
    }

    pub(crate) fn dir(&self, volume: VolumeId) -> PathBuf {
        self.settings.root.join(volume.to_string())
    }

    pub(super) fn name(volume: VolumeId) -> String {
        format!("volumes/{volume}")
    }

    pub(crate) fn room(&self) -> Room {
        Room { path: self.settings.root.clone(), reserve_bytes: self.settings.reserve_bytes }
    }

    pub(super) fn slot(&self, volume: VolumeId) -> Result<Arc<Slot>, StoreError> {
        lock(&self.slots).get(&volume).cloned().ok_or(StoreError::UnknownVolume { volume })
    }

    pub(crate) fn report(&self, incident: Incident) {
        let Incident { volume, what, quarantined } = &incident;
        tracing::error!(%volume, ?quarantined, "{what}");
        let mut incidents = lock(&self.incidents);
        if incidents.len() == INCIDENTS_MAX {
            incidents.pop_front();
        }
        incidents.push_back(incident);
    }

    /// Makes an empty volume whose directory is durable, and leaves it open.
    pub(crate) fn create(&self, volume: VolumeId) -> Result<(), StoreError> {
        let (dir, new) = (self.dir(volume), self.settings.root.join(format!("{volume}.new")));
        if new.exists() {
            fs::remove_dir_all(&new).map_err(|e| StoreError::io("remove", &new, e))?;
        }
        // Open across the rename: the engine holds its log by handle, and its other files are
        // only looked up when it opens.
        let engine = self.opener.open(&new, &Self::name(volume), Use::Volume)?;
        fs::rename(&new, &dir).map_err(|e| StoreError::io("rename", &new, e))?;
        self.opener.moved(&new, Some(&dir));
        sync_dir(&self.settings.root)?;
        let slot = Slot::new();
        *slot.database.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Volume::new(Self::name(volume), engine)?);
        *lock(&slot.facts) = Facts {
            info: Some(VolumeInfo {
                id: volume,
                sealed: false,
                bytes_on_disk: 0,
                bytes_stored: 0,
                created_us: now_us(),
            }),
            gone: false,
        };
        lock(&self.slots).insert(volume, Arc::new(slot));
        Ok(())
    }

    /// Opens the volume that was current when the last process ended; returns its stored bytes.
    pub(super) fn adopt(
        &self,
        volume: VolumeId,
        quarantined: &mut Vec<Quarantined>,
    ) -> Result<u64, StoreError> {
        let slot = self.slot(volume)?;
        let engine = self.opener.open(&self.dir(volume), &Self::name(volume), Use::Volume)?;
        let open = Volume::new(Self::name(volume), engine)?;
        quarantined.extend(self.keep_cut(volume, &open)?);
        let (_, bytes) = open.totals()?;
        lock(&slot.facts).info = Some(VolumeInfo {
            id: volume,
            sealed: false,
            bytes_on_disk: 0,
            bytes_stored: bytes,
            created_us: made_us(&self.dir(volume)),
        });
        *slot.database.write().unwrap_or_else(PoisonError::into_inner) = Some(open);
        Ok(bytes)
    }

    /// If the end of the volume was cut off, notes until when, and puts the copy aside.
    fn keep_cut(&self, volume: VolumeId, open: &Volume) -> Result<Option<Quarantined>, StoreError> {
        let Some(mut cut) = open.cut() else { return Ok(None) };
        let dir = self.dir(volume);
        cut.until_us = cut.until_us.max(cut_until_us(&dir).unwrap_or(0));
        write_durably(&dir, &dir.join(CUT), cut.to_text().as_bytes())?;
        let (name, place) = (Self::name(volume), format!("volume-{volume}"));
        keep_cut(&self.settings.quarantine, &name, &place, &cut, &dir).map(Some)
    }

    /// Calls `read` with the volume, opened if need be.
    pub(crate) fn with<T>(
        &self,
        volume: VolumeId,
        read: impl FnOnce(&Volume) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let slot = self.slot(volume)?;
        loop {
            {
                let database = slot.database.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(open) = database.as_ref() {
                    self.touch(volume);
                    return read(open);
                }
            }
            self.open_sealed(volume, &slot)?;
            self.close_surplus(volume);
        }
    }

    /// Closes a volume's database; whoever needs it next opens it again.
    pub(super) fn close(&self, volume: VolumeId) {
        if let Ok(slot) = self.slot(volume) {
            slot.database.write().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Marks an open sealed volume as just used. The current volume is not in the list.
    fn touch(&self, volume: VolumeId) {
        let mut open = lock(&self.open);
        if open.back() != Some(&volume)
            && let Some(place) = open.iter().position(|id| *id == volume)
        {
            open.remove(place);
            open.push_back(volume);
        }
    }

    fn open_sealed(&self, volume: VolumeId, slot: &Slot) -> Result<(), StoreError> {
        let mut database = slot.database.write().unwrap_or_else(PoisonError::into_inner);
        if lock(&slot.facts).gone {
            return Err(StoreError::UnknownVolume { volume });
        }
        if database.is_some() {
            return Ok(());
        }
        let dir = self.dir(volume);
        if let Some(problem) = seal::unsafe_to_open(&dir)? {
            // Opening lets the engine cut a damaged tail off; the copy keeps the bytes as they are.
            let copy = self.copy_aside(volume)?;
            seal::set_aside(&dir)?;
            self.report(Incident { volume, what: problem, quarantined: Some(copy) });
        }
        let sealed = dir.join(seal::FILE).exists();
        let purpose = if sealed { Use::SealedVolume } else { Use::Volume };
        let engine = self.opener.open(&dir, &Self::name(volume), purpose)?;
        let open = Volume::new(Self::name(volume), engine)?;
        if let Some(cut) = self.keep_cut(volume, &open)? {
            self.report(Incident { volume, what: cut.reason, quarantined: Some(cut.path) });
        }
        *database = Some(open);
        lock(&self.open).push_back(volume);
        Ok(())
    }

    /// Closes the longest unused sealed volumes beyond the allowed number, `but` excepted.
    fn close_surplus(&self, but: VolumeId) {
        loop {
            let oldest = {
                let mut open = lock(&self.open);
                if open.len() <= self.settings.open_max {
                    return;
                }
                match open.iter().position(|id| *id != but) {
                    Some(place) => open.remove(place),
                    None => return,
                }
            };
            if let Some(oldest) = oldest
                && let Ok(slot) = self.slot(oldest)
            {
                slot.database.write().unwrap_or_else(PoisonError::into_inner).take();
            }
        }
    }

    pub(crate) fn update_info(&self, volume: VolumeId, change: impl FnOnce(&mut VolumeInfo)) {
        if let Ok(slot) = self.slot(volume)
            && let Some(info) = lock(&slot.facts).info.as_mut()
        {
            change(info);
        }
    }

    pub(super) fn info(&self, volume: VolumeId) -> Option<VolumeInfo> {
        let slot = self.slot(volume).ok()?;
        let dir = self.dir(volume);
        let known = lock(&slot.facts).info.clone();
        match known {
            Some(info) if info.sealed => Some(info),
            Some(info) => Some(VolumeInfo { bytes_on_disk: seal::bytes_on_disk(&dir), ..info }),
            None => {
                let seal = seal::read(&dir).ok().flatten();
                let info = VolumeInfo {
                    id: volume,
                    sealed: true,
                    bytes_on_disk: seal::bytes_on_disk(&dir),
                    bytes_stored: seal.as_ref().map_or(0, |seal| seal.bytes_stored),
                    created_us: seal.as_ref().map_or_else(|| made_us(&dir), |seal| seal.created_us),
                };
                if seal.is_some() {
                    lock(&slot.facts).info = Some(info.clone());
                }
                Some(info)
            }
        }
    }
}

/// Until when the volume held what was cut off its end, microseconds since 1970.
pub(super) fn cut_until_us(dir: &Path) -> Option<u64> {
    let text = fs::read_to_string(dir.join(CUT)).ok()?;
    Cut::from_text(&text).map(|cut| cut.until_us)
}

fn made_us(dir: &Path) -> u64 {
    let made = fs::metadata(dir).and_then(|meta| meta.created().or_else(|_| meta.modified()));
    made.ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_micros() as u64)
}
