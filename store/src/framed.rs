//! [`Store`] over any engine: limits, frames and hashes in one place, so every engine is checked
//! alike.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::batch::{Batch, Operation, check_key};
use crate::engine::{DEFAULT_SPACE, Engine, memory::MemoryEngine};
use crate::volumes::ScrubReport;
use crate::{Pair, Store, StoreError, Watermark, ballast, frame};

/// Records read at a time while scrubbing; bounds memory to this many of the largest values.
const SCRUB_STEP_RECORDS: usize = 64;
/// Of the reserve, this part is not used even by a batch that may use it: 8 MiB of
/// 64, a segment of a key-value database.
const RESERVE_KEPT_PART: u64 = 8;

/// A verified key-value database on an [`Engine`].
pub struct Framed {
    name: String,
    /// None while it is closed to be opened anew.
    engine: RwLock<Option<Arc<dyn Engine>>>,
    room: Option<Room>,
    watermark: Option<Watermark>,
}

/// Where free space is checked before a write, and how much must stay free.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) path: PathBuf,
    pub(crate) reserve_bytes: u64,
}

impl Room {
    /// As [`Self::check`] for a batch that may use the reserve.
    fn check_within(&self, bytes: u64) -> Result<(), StoreError> {
        let reserve_bytes = self.reserve_bytes / RESERVE_KEPT_PART;
        let room = Room { path: self.path.clone(), reserve_bytes };
        room.check(bytes).or_else(|error| {
            match ballast::give_up(&room.path, reserve_bytes.saturating_add(bytes))? {
                true => room.check(bytes),
                false => Err(error),
            }
        })
    }

    /// Gives up the room that was set aside where an engine needs it to be opened at all: it writes
    /// then.
    pub(crate) fn for_opening(&self) -> Result<(), StoreError> {
        ballast::give_up(&self.path, self.reserve_bytes / RESERVE_KEPT_PART).map(drop)
    }

    /// Refuses a write that would eat into the reserve. An engine that meets a full disk in the
    /// middle of a write cannot be used any further, so it is not allowed to get there.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), StoreError> {
        let needed = self.reserve_bytes.saturating_add(bytes);
        let available = available(&self.path)?;
        if available < needed {
            return Err(StoreError::Full { path: self.path.clone(), available, needed });
        }
        Ok(())
    }
}

/// Bytes an unprivileged process may still write on the file system of `path`.
pub(crate) fn available(path: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|source| StoreError::io("read the free space of", path, source.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A [`Store`] in memory with the same limits and frames as the one on disk.
pub fn memory_store(name: &str) -> Framed {
    Framed::new(name, Arc::new(MemoryEngine::default()))
}

impl Framed {
    /// Puts limits and frames around `engine`; `name` appears in errors.
    pub fn new(name: &str, engine: Arc<dyn Engine>) -> Framed {
        Framed { name: name.into(), engine: RwLock::new(Some(engine)), room: None, watermark: None }
    }

    /// Keeps the notes of [`Store::mark`] there.
    pub fn with_watermark(mut self, watermark: Watermark) -> Framed {
        self.watermark = Some(watermark);
        self
    }

    /// Closes the engine and takes the one that `open` gives. Until then others wait; when there is
    /// none they are told that the store is closed.
    pub(crate) fn reopen(
        &self,
        open: impl FnOnce() -> Result<Arc<dyn Engine>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        // Dropped first: a database is open once.
        *engine = None;
        *engine = Some(open()?);
        Ok(())
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.with(|engine| Ok(engine.cut().is_some())).unwrap_or(false)
    }

    fn with<T>(
        &self,
        call: impl FnOnce(&dyn Engine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        call(engine.as_deref().ok_or(StoreError::Closed)?)
    }

    pub(crate) fn with_room(mut self, room: Room) -> Framed {
        self.room = Some(room);
        self
    }

    fn scan_to(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        back: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        let framed = self.with(|engine| engine.scan(DEFAULT_SPACE, from, Some(to), limit, back))?;
        framed
            .into_iter()
            .map(|(key, bytes)| Ok((frame::unwrap(&self.name, &key, &bytes)?, key)))
            .map(|result| result.map(|(value, key)| (key, value)))
            .collect()
    }
}

impl Store for Framed {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        match self.with(|engine| engine.get(DEFAULT_SPACE, key))? {
            Some(bytes) => Ok(Some(frame::unwrap(&self.name, key, &bytes)?)),
            None => Ok(None),
        }
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let (bytes, of_reserve) = (batch.bytes() as u64, batch.is_of_reserve());
        let operations = batch.into_checked()?;
        if operations.is_empty() {
            return Ok(());
        }
        if let Some(room) = &self.room {
            match of_reserve {
                true => room.check_within(bytes)?,
                false => room.check(bytes)?,
            }
        }
        let framed = operations
            .into_iter()
            .map(|operation| match operation {
                Operation::Put(key, value) => {
                    let framed = frame::wrap(&key, &value);
                    Operation::Put(key, framed)
                }
                delete => delete,
            })
            .collect();
        self.with(|engine| engine.apply(DEFAULT_SPACE, framed))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.with(|engine| engine.sync())
    }

    fn mark(&self, note: &[u8]) -> Result<(), StoreError> {
        self.watermark.as_ref().map_or(Ok(()), |watermark| watermark.write(note))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.scan_to(from, to, limit, false)
    }

    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.scan_to(from, to, limit, true)
    }

    fn scrub(&self) -> Result<ScrubReport, StoreError> {
        let mut report = ScrubReport::default();
        let mut from = Vec::new();
        loop {
            let read = |engine: &dyn Engine| {
                engine.scan(DEFAULT_SPACE, &from, None, SCRUB_STEP_RECORDS, false)
            };
            let step = match self.with(read) {
                Ok(step) => step,
                Err(error) if error.is_damage() => {
                    report.unreadable = Some(error.to_string());
                    return Ok(report);
                }
                Err(error) => return Err(error),
            };
            let Some((last, _)) = step.last() else { return Ok(report) };
            from = last.clone();
            from.push(0);
            for (key, bytes) in step {
                report.records += 1;
                if frame::unwrap(&self.name, &key, &bytes).is_err() {
                    report.damaged.push(key);
                }
            }
        }
    }

    fn raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        self.with(|engine| engine.get(DEFAULT_SPACE, key))
    }
}
