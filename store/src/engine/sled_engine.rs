//! The engine on sled 0.34.7, with the rules that make it durable (reasons in `docs/storage.md`).
//!
//! 1. sled's own flush ends in `sync_file_range`, which neither writes the file's length nor
//!    empties the drive's cache. Every [`Engine::sync`] therefore ends in `fdatasync` of the log.
//! 2. Between two such syncs less than one segment is written, so that what sled's segment
//!    headers call stable really is.
//! 3. Before sled looks at a log left by an earlier process, that log is synced: sled makes its
//!    snapshot of it durable, and a snapshot ahead of its log does not open.
//! 4. A page larger than a quarter of a segment would go to `blobs/`, which sled never syncs.
//!    Segment sizes are chosen so that no page gets there.
//! 5. A batch ends the buffer being filled, twice, and each end is a write of its own with a
//!    `sync_file_range`. Volumes need no batches and use [`Engine::apply_each`].
//! 6. What a log has lost of what was durable is noticed by a mark in it (see `durable`).
//! 7. sled may panic on damaged bytes. Every call into it is caught and becomes an error.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::durable::{self, Cut, Mark, Noted};
use super::undo::Undo;
use super::{DEFAULT_SPACE, Engine, Opener, Operation, Use};
use crate::volumes::now_us;
use crate::{Pair, StoreError};

/// Segment of a key-value database, in bytes: 17 of the largest values fit into a quarter of it.
pub(crate) const KEY_VALUE_SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// Segment of a volume, in bytes: a whole bucket fits into a quarter of it, and what is written
/// between two syncs into less than one.
pub(crate) const VOLUME_SEGMENT_BYTES: usize = 4 * 1024 * 1024;
/// Name of the log in a database's directory.
pub(crate) const LOG: &str = "db";
/// The file that says how far a volume's log was durable, in its directory. That of a key-value
/// database lies beside it, so that it is there when the whole directory is gone.
pub(crate) const DURABLE: &str = "durable";
/// The tree that holds the same in the log, and its only key. No space has a name of this length.
const MARK: &[u8] = b"durable";
/// Records copied in one step when a database is renewed; less than a segment, even of buckets.
const COPIED_AT_A_TIME: usize = 8;
/// Bytes copied between two syncs, not counting the last step.
const UNSYNCED_BYTES: usize = 512 * 1024;
/// sled's page cache for a key-value database, in bytes.
const KEY_VALUE_CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// sled's page cache for a volume, in bytes. It hardly matters: what bounds memory is the size of
/// a volume and the number of open ones.
const VOLUME_CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// How often a database still held by sled's own threads is tried again; with the pause, 10 s.
const LOCK_TRIES_MAX: u32 = 2000;
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// sled's own tree of tree names must not be taken for a space.
const SPACE_NAME_BYTES: usize = 4;

/// Opens sled databases.
#[derive(Debug, Default, Clone, Copy)]
pub struct SledOpener;

impl Opener for SledOpener {
    fn open(&self, path: &Path, name: &str, purpose: Use) -> Result<Arc<dyn Engine>, StoreError> {
        Ok(Arc::new(SledEngine::open(path, name, purpose)?))
    }

    fn moved(&self, from: &Path, _: Option<&Path>) {
        // What is made in its place begins to count anew.
        let mark = from.with_extension(DURABLE);
        let removed = durable::remove_copy(from).and_then(|()| match fs::remove_file(&mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &mark, error))
            }
            _ => Ok(()),
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "left behind");
        }
    }
}

/// One sled database.
pub struct SledEngine {
    name: String,
    path: PathBuf,
    log: File,
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    spaces: RwLock<HashMap<u32, Option<sled::Tree>>>,
    marks: Option<Marks>,
    cut: Option<Cut>,
    segment_bytes: usize,
}

/// Where syncs are counted, for a database in which none may be missing.
struct Marks {
    tree: sled::Tree,
    file: Noted,
    /// The number of the last sync.
    count: Mutex<u64>,
}

impl SledEngine {
    /// Opens or makes the database at `path`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when sled cannot make sense of the bytes.
    pub fn open(path: &Path, name: &str, purpose: Use) -> Result<SledEngine, StoreError> {
        fs::create_dir_all(path).map_err(|e| StoreError::io("create", path, e))?;
        remove_unfinished_snapshots(path)?;
        let mark = mark_path(path, purpose);
        let noted = mark.as_deref().and_then(Noted::read);
        if noted.is_some() {
            durable::copy(path, LOG)?;
        }
        if purpose != Use::SealedVolume {
            sync_files(path)?;
        }
        let db = match open_db(path, name, purpose) {
            Err(error) if error.is_damage() && has_snapshots(path)? => {
                Undo::keep_all(path)?;
                set_snapshots_aside(path)?;
                tracing::warn!(database = name, %error, "opening again from the log alone");
                open_db(path, name, purpose)?
            }
            result => result?,
        };
        let log_path = path.join(LOG);
        let log = File::open(&log_path).map_err(|e| StoreError::io("open", &log_path, e))?;
        let mut spaces = HashMap::new();
        for tree in db.tree_names() {
            if let Some(space) = space_of(&tree) {
                spaces.insert(space, None);
            }
        }
        let mut engine = SledEngine {
            name: name.into(),
            path: path.into(),
            log,
            db: Some(db),
            spaces: RwLock::new(spaces),
            marks: None,
            cut: None,
            segment_bytes: segment_bytes(purpose),
        };
        if let Some(mark) = mark {
            let found = engine.mark()?;
            let cut = durable::cut(path, noted, found)?;
            if let Some(noted) = noted.filter(|noted| noted.count > found) {
                engine.renew(noted)?;
                engine = SledEngine::open(path, name, purpose)?;
            } else {
                engine.watch(&mark, found.max(noted.map_or(0, |noted| noted.count)))?;
            }
            match cut {
                None => durable::remove_copy(path)?,
                cut => engine.cut = cut,
            }
        }
        if purpose != Use::SealedVolume {
            engine.sync()?;
            sync_files(path)?;
        }
        Ok(engine)
    }

    /// The number of the last sync that is in the log.
    fn mark(&self) -> Result<u64, StoreError> {
        let db = self.db()?;
        let tree = self.caught(|| db.open_tree(MARK))?;
        let found = match self.caught(|| tree.get(MARK)) {
            Err(error) if error.is_damage() => None,
            found => found?,
        };
        let found = found.and_then(|bytes| Some(u64::from_be_bytes(bytes[..].try_into().ok()?)));
        Ok(found.unwrap_or(0))
    }

    /// Counts syncs from `count` on.
    fn watch(&mut self, mark: &Path, count: u64) -> Result<(), StoreError> {
        let db = self.db()?;
        let tree = self.caught(|| db.open_tree(MARK))?;
        let file = Noted::open(mark)?;
        self.marks = Some(Marks { tree, file, count: Mutex::new(count) });
        Ok(())
    }

    /// Copies what can be read into a fresh database, which takes the place of this one at once.
    /// After some damage sled goes on writing where it will not look the next time.
    fn renew(self, noted: Mark) -> Result<(), StoreError> {
        let path = self.path.clone();
        let fresh_path = path.with_extension("renewed");
        match fs::remove_dir_all(&fresh_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &fresh_path, error));
            }
            _ => {}
        }
        let purpose = match self.segment_bytes {
            KEY_VALUE_SEGMENT_BYTES => Use::KeyValue,
            _ => Use::SealedVolume,
        };
        let fresh = SledEngine::open(&fresh_path, &self.name, purpose)?;
        for space in self.spaces()? {
            let (mut from, mut unsynced) = (Vec::new(), 0);
            loop {
                let step = match self.scan(space, &from, None, COPIED_AT_A_TIME, false) {
                    // What is behind a page that cannot be read is in the copy alone.
                    Err(error) if error.is_damage() => break,
                    step => step?,
                };
                let Some((last, _)) = step.last() else { break };
                from = [last, &[0][..]].concat();
                unsynced += step.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
                let puts = step.into_iter().map(|(key, value)| Operation::Put(key, value));
                fresh.apply_each(space, puts.collect())?;
                if unsynced >= UNSYNCED_BYTES {
                    fresh.sync()?;
                    unsynced = 0;
                }
            }
            fresh.sync()?;
        }
        let db = fresh.db()?;
        fresh.caught(|| db.open_tree(MARK)?.insert(MARK, noted.count.to_be_bytes().to_vec()))?;
        fresh.sync()?;
        drop((fresh, self));
        sync_files(&fresh_path)?;
        let exchanged = rustix::fs::renameat_with(
            rustix::fs::CWD,
            &fresh_path,
            rustix::fs::CWD,
            &path,
            rustix::fs::RenameFlags::EXCHANGE,
        );
        exchanged.map_err(|e| StoreError::io("replace", &path, e.into()))?;
        if let Some(parent) = path.parent() {
            sync_dir(parent)?;
        }
        fs::remove_dir_all(&fresh_path).map_err(|e| StoreError::io("remove", &fresh_path, e))
    }

    /// The tree of a space, if the space exists or `make` says to make it.
    fn tree(&self, space: u32, make: bool) -> Result<Option<sled::Tree>, StoreError> {
        if space == DEFAULT_SPACE {
            return Ok(Some((**self.db()?).clone()));
        }
        match self.spaces.read().unwrap_or_else(PoisonError::into_inner).get(&space) {
            Some(Some(tree)) => return Ok(Some(tree.clone())),
            None if !make => return Ok(None),
            Some(None) | None => {}
        }
        let db = self.db()?;
        let tree = self.caught(|| db.open_tree(space.to_be_bytes()))?;
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        spaces.insert(space, Some(tree.clone()));
        Ok(Some(tree))
    }

    fn db(&self) -> Result<&sled::Db, StoreError> {
        self.db.as_ref().ok_or(StoreError::Closed)
    }

    fn caught<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        caught(&self.name, &self.path, call)
    }
}

impl Drop for SledEngine {
    /// sled syncs its log when it is dropped and panics when the disk refuses; that must not take
    /// the writing thread with it. What was acknowledged is synced already.
    fn drop(&mut self) {
        let spaces = std::mem::take(self.spaces.get_mut().unwrap_or_else(PoisonError::into_inner));
        let marks = self.marks.take();
        let db = self.db.take();
        let closed = caught(&self.name, &self.path, || {
            drop((spaces, marks));
            drop(db);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(database = self.name, %error, "closed with an error");
        }
    }
}

impl Engine for SledEngine {
    fn get(&self, space: u32, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(tree) = self.tree(space, false)? else { return Ok(None) };
        Ok(self.caught(|| tree.get(key))?.map(|value| value.to_vec()))
    }

    fn apply(&self, space: u32, operations: Vec<Operation>) -> Result<(), StoreError> {
        let Some(tree) = self.tree(space, true)? else { return Ok(()) };
        let mut batch = sled::Batch::default();
        for operation in operations {
            match operation {
                Operation::Put(key, value) => batch.insert(key, value),
                Operation::Delete(key) => batch.remove(key),
            }
        }
        self.caught(|| tree.apply_batch(batch))
    }

    fn apply_each(&self, space: u32, operations: Vec<Operation>) -> Result<(), StoreError> {
        let Some(tree) = self.tree(space, true)? else { return Ok(()) };
        self.caught(|| {
            for operation in operations {
                match operation {
                    Operation::Put(key, value) => tree.insert(key, value)?,
                    Operation::Delete(key) => tree.remove(key)?,
                };
            }
            Ok(())
        })
    }

    fn scan(
        &self,
        space: u32,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        back: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let Some(tree) = self.tree(space, false)? else { return Ok(Vec::new()) };
        let own = |pair: sled::Result<(sled::IVec, sled::IVec)>| {
            pair.map(|(key, value)| (key.to_vec(), value.to_vec()))
        };
        self.caught(|| {
            let iter = match to {
                Some(to) => tree.range(from..to),
                None => tree.range(from..),
            };
            if back {
                iter.rev().take(limit).map(own).collect()
            } else {
                iter.take(limit).map(own).collect()
            }
        })
    }

    fn spaces(&self) -> Result<Vec<u32>, StoreError> {
        let spaces = self.spaces.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<u32> = spaces.keys().copied().collect();
        list.push(DEFAULT_SPACE);
        list.sort_unstable();
        Ok(list)
    }

    fn log_bytes(&self) -> Result<Option<u64>, StoreError> {
        let length = self.log.metadata().map_err(|e| StoreError::io("look at", &self.path, e))?;
        Ok(Some(length.len()))
    }

    fn cut(&self) -> Option<Cut> {
        self.cut.clone()
    }

    fn sync(&self) -> Result<(), StoreError> {
        let db = self.db()?;
        let Some(marks) = &self.marks else {
            self.caught(|| db.flush())?;
            return self.log.sync_data().map_err(|e| StoreError::io("sync", &self.path, e));
        };
        // Held until the number is noted, so that the file never says more than is durable.
        let mut count = marks.count.lock().unwrap_or_else(PoisonError::into_inner);
        let next = *count + 1;
        self.caught(|| marks.tree.insert(MARK, next.to_be_bytes().to_vec()))?;
        self.caught(|| db.flush())?;
        self.log.sync_data().map_err(|e| StoreError::io("sync", &self.path, e))?;
        *count = next;
        marks.file.note(Mark { count: next, at_us: now_us() });
        Ok(())
    }
}

/// Where it is noted how far a database is durable, if it is watched.
fn mark_path(path: &Path, purpose: Use) -> Option<PathBuf> {
    match purpose {
        Use::KeyValueWatched => Some(path.with_extension(DURABLE)),
        Use::Volume => Some(path.join(DURABLE)),
        Use::KeyValue | Use::SealedVolume => None,
    }
}

/// Forgets how far a volume was durable, before it is sealed.
pub(crate) fn remove_mark(path: &Path) -> Result<(), StoreError> {
    let mark = path.join(DURABLE);
    match fs::remove_file(&mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", &mark, error))
        }
        _ => Ok(()),
    }
}

fn segment_bytes(purpose: Use) -> usize {
    match purpose {
        Use::KeyValue | Use::KeyValueWatched => KEY_VALUE_SEGMENT_BYTES,
        Use::Volume | Use::SealedVolume => VOLUME_SEGMENT_BYTES,
    }
}

fn open_db(path: &Path, name: &str, purpose: Use) -> Result<sled::Db, StoreError> {
    let segment = segment_bytes(purpose);
    let (cache, mode) = match purpose {
        Use::KeyValue | Use::KeyValueWatched => (KEY_VALUE_CACHE_BYTES, sled::Mode::LowSpace),
        Use::Volume | Use::SealedVolume => (VOLUME_CACHE_BYTES, sled::Mode::HighThroughput),
    };
    let config = sled::Config::new()
        .path(path)
        .segment_size(segment)
        .cache_capacity(cache)
        .flush_every_ms(None)
        .mode(mode);
    let mut tried = 0;
    loop {
        match caught(name, path, || config.open()) {
            // A database closed a moment ago is still held by sled's own threads, which let go of
            // it as soon as they are done. Other processes are kept out by the directory's lock.
            Err(StoreError::InUse { .. }) if tried < LOCK_TRIES_MAX => {
                tried += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            result => return result,
        }
    }
}

/// Calls into sled, making an error of a panic.
fn caught<T>(
    name: &str,
    path: &Path,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    let unreadable = |reason: String| StoreError::Unreadable { database: name.into(), reason };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(classify(name, path, error)),
        Ok(Err(error)) => Err(unreadable(error.to_string())),
        Err(payload) => Err(unreadable(panic_text(payload.as_ref()))),
    }
}

/// sled reports some damage as an I/O error of its own making, which has no system error number.
fn classify(name: &str, path: &Path, error: io::Error) -> StoreError {
    if error.raw_os_error().is_some() {
        return StoreError::io("access", path, error);
    }
    let text = error.to_string();
    if text.contains("could not acquire lock") {
        return StoreError::InUse { path: path.into(), holder: "unknown".into() };
    }
    StoreError::Unreadable { database: name.into(), reason: text }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    format!("engine gave up: {}", text.unwrap_or("no reason given"))
}

fn space_of(tree: &[u8]) -> Option<u32> {
    let bytes: [u8; SPACE_NAME_BYTES] = tree.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

/// Makes every file of a database and every directory entry durable.
pub(crate) fn sync_files(path: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(path).map_err(|e| StoreError::io("list", path, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| StoreError::io("list", path, e))?.path();
        let file = File::open(&entry).map_err(|e| StoreError::io("open", &entry, e))?;
        file.sync_all().map_err(|e| StoreError::io("sync", &entry, e))?;
    }
    sync_dir(path)
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let dir = File::open(path).map_err(|e| StoreError::io("open", path, e))?;
    dir.sync_all().map_err(|e| StoreError::io("sync", path, e))
}

/// sled takes a snapshot it was still writing at a crash for a finished one, and does not open.
/// The log holds everything that is in it.
fn remove_unfinished_snapshots(path: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(path).map_err(|e| StoreError::io("list", path, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| StoreError::io("list", path, e))?;
        let file_name = entry.file_name();
        if file_name.to_str().is_some_and(|name| name.ends_with(".generating")) {
            let file = entry.path();
            fs::remove_file(&file).map_err(|e| StoreError::io("remove", &file, e))?;
        }
    }
    Ok(())
}

fn has_snapshots(path: &Path) -> Result<bool, StoreError> {
    let entries = fs::read_dir(path).map_err(|e| StoreError::io("list", path, e))?;
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.any(|name| name.starts_with("snap.")))
}

/// Renames snapshots so that sled rebuilds them from the log.
fn set_snapshots_aside(path: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(path).map_err(|e| StoreError::io("list", path, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| StoreError::io("list", path, e))?;
        let file_name = entry.file_name();
        let Some(text) = file_name.to_str() else { continue };
        if text.starts_with("snap.") {
            let aside = path.join(format!("unusable-{}", text.trim_start_matches("snap.")));
            fs::rename(entry.path(), &aside).map_err(|e| StoreError::io("rename", &aside, e))?;
        }
    }
    Ok(())
}
