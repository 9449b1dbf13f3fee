//! What opening a sled database may overwrite, kept until it is known that nothing of it is lost.
//!
//! When sled recovers it takes bytes that do not read for a write that was cut off: it zeroes what
//! follows them and makes a snapshot without it. By the time anybody can ask what is missing, it is
//! gone. So the part that recovery reads is copied first, to `<database>.opening/` beside it:
//! the segments of the log from that of the newest snapshot on, those whose header does not read,
//! and all other files as links. The file `complete` is written last. It is put back when
//! something is missing, or when a process was cut off before it knew.
//!
//! A segment begins with 20 bytes, `CRC-32 | position | stable position`, each number
//! little-endian and inverted (the positions but for their sign). A snapshot is named by the
//! position up to which it holds the log, and ends in 8 bytes and the CRC-32 of what is before.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::sled_engine::{KEY_VALUE_SEGMENT_BYTES, LOG, sync_dir, sync_files};
use crate::StoreError;
use crate::framed::available;

const SEGMENT_BYTES: u64 = KEY_VALUE_SEGMENT_BYTES as u64;
const SEGMENT_HEADER_BYTES: usize = 20;
const POSITION_MASK: u64 = 0x7fff_ffff_ffff_ffff;
const SNAPSHOT: &str = "snap.";
/// Snapshots that the engine set aside because it did not open with them.
const SET_ASIDE: &str = "unusable-";
/// Length and CRC-32 at the end of a snapshot, in bytes.
const SNAPSHOT_END_BYTES: usize = 12;
const COMPLETE: &str = "complete";
const KEPT_SEGMENT: &str = "segment-";
/// How often a log still locked by sled's own threads is tried again; with the pause, 10 s.
const LOCK_TRIES_MAX: u32 = 2000;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The kept bytes of one database.
pub(crate) struct Undo {
    database: PathBuf,
    kept: PathBuf,
}

/// Where the bytes of a database are kept while it is opened.
fn place(database: &Path) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".opening");
    database.with_file_name(name)
}

impl Undo {
    /// Keeps what opening the database may overwrite; first puts back what an opening that was cut
    /// off has left. `None` if there is no log, or no room to keep it while `reserve_bytes` of the
    /// disk stay free: reading goes before keeping.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub(crate) fn keep(database: &Path, reserve_bytes: u64) -> Result<Option<Undo>, StoreError> {
        let undo = Undo { database: database.into(), kept: place(database) };
        if undo.kept.join(COMPLETE).exists() {
            tracing::warn!(database = %database.display(), "put back what a cut opening left");
            undo.restore()?;
        }
        undo.forget()?;
        let log_path = database.join(LOG);
        let log = match File::open(&log_path) {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &log_path, error)),
        };
        let length = log.metadata().map_err(|e| StoreError::io("look at", &log_path, e))?.len();
        let segments = endangered(database, &log, length)?;
        let needed = reserve_bytes.saturating_add(segments.len() as u64 * SEGMENT_BYTES);
        if available(database)? < needed {
            let database = database.display();
            tracing::warn!(%database, needed, "opened without room to keep its end meanwhile");
            return Ok(None);
        }
        let made = DirBuilder::new().mode(0o700).create(&undo.kept);
        made.map_err(|e| StoreError::io("create", &undo.kept, e))?;
        for (name, file) in files(database)? {
            if name != LOG {
                link(&file, &undo.kept.join(name))?;
            }
        }
        undo.keep_segments(&log, &segments)?;
        undo.complete(length)?;
        Ok(Some(undo))
    }

    /// Keeps all the rest of the log as well, if something is kept of this database: the engine is
    /// about to recover it without a snapshot, from its beginning.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub(crate) fn keep_all(database: &Path) -> Result<(), StoreError> {
        let undo = Undo { database: database.into(), kept: place(database) };
        if !undo.kept.join(COMPLETE).exists() {
            return Ok(());
        }
        let path = database.join(LOG);
        let log = File::open(&path).map_err(|e| StoreError::io("open", &path, e))?;
        let length = log.metadata().map_err(|e| StoreError::io("look at", &path, e))?.len();
        let kept = |at: &u64| undo.kept.join(format!("{KEPT_SEGMENT}{at}")).exists();
        let rest: Vec<u64> =
            (0..length).step_by(SEGMENT_BYTES as usize).filter(|at| !kept(at)).collect();
        let bytes = rest.len() as u64 * SEGMENT_BYTES;
        if available(database)? < bytes {
            tracing::warn!(database = %database.display(), bytes, "no room to keep all of the log");
            return Ok(());
        }
        undo.keep_segments(&log, &rest)?;
        sync_files(&undo.kept)
    }

    fn keep_segments(&self, log: &File, segments: &[u64]) -> Result<(), StoreError> {
        let mut bytes = vec![0; SEGMENT_BYTES as usize];
        for at in segments {
            let path = self.kept.join(format!("{KEPT_SEGMENT}{at}"));
            let read = read_at(log, &mut bytes, *at)
                .map_err(|e| StoreError::io("read", &self.database, e))?;
            // Whole or not at all: a part must not be taken for a segment.
            let new = path.with_extension("new");
            // The rest of the segment being filled is zeros.
            let end = bytes[..read].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let written = File::create(&new).and_then(|mut file| {
                file.write_all(&bytes[..end])?;
                fs::rename(&new, &path)
            });
            written.map_err(|e| StoreError::io("write", &path, e))?;
        }
        Ok(())
    }

    fn complete(&self, length: u64) -> Result<(), StoreError> {
        sync_files(&self.kept)?;
        let path = self.kept.join(COMPLETE);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(length.to_string().as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| StoreError::io("write", &path, e))?;
        sync_dir(&self.kept)?;
        sync_dir(self.kept.parent().unwrap_or(Path::new(".")))
    }

    /// Puts everything back as it was kept. The kept bytes stay, so that this may be cut off too.
    ///
    /// # Errors
    /// When the files cannot be read or written, or the engine still holds them.
    pub(crate) fn restore(&self) -> Result<(), StoreError> {
        let path = self.database.join(LOG);
        let log = OpenOptions::new().read(true).write(true).open(&path);
        let log = log.map_err(|e| StoreError::io("open", &path, e))?;
        wait_for(&log, &path)?;
        let kept = files(&self.kept)?;
        let complete = self.kept.join(COMPLETE);
        let length = fs::read_to_string(&complete)
            .and_then(|text| text.parse::<u64>().map_err(std::io::Error::other))
            .map_err(|e| StoreError::io("read", &complete, e))?;
        for (name, file) in &kept {
            let Some(Ok(at)) = name.strip_prefix(KEPT_SEGMENT).map(str::parse::<u64>) else {
                continue;
            };
            let mut bytes = fs::read(file).map_err(|e| StoreError::io("read", file, e))?;
            bytes.resize(length.saturating_sub(at).min(SEGMENT_BYTES) as usize, 0);
            log.write_all_at(&bytes, at).map_err(|e| StoreError::io("write", &path, e))?;
        }
        log.set_len(length).map_err(|e| StoreError::io("write", &path, e))?;
        for (name, file) in files(&self.database)? {
            let made = name.starts_with(SNAPSHOT) || name.starts_with(SET_ASIDE);
            if made && !kept.iter().any(|(kept, _)| *kept == name) {
                fs::remove_file(&file).map_err(|e| StoreError::io("remove", &file, e))?;
            }
        }
        for (name, file) in &kept {
            let target = self.database.join(name);
            if name != COMPLETE && !name.starts_with(KEPT_SEGMENT) && !target.exists() {
                link(file, &target)?;
            }
        }
        sync_files(&self.database)
    }

    /// Removes what was kept. On return nothing of it is ever put back.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn forget(&self) -> Result<(), StoreError> {
        let complete = self.kept.join(COMPLETE);
        match fs::remove_file(&complete) {
            Ok(()) => sync_dir(&self.kept)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("remove", &complete, error)),
        }
        match fs::remove_dir_all(&self.kept) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::io("remove", &self.kept, error))
            }
            _ => Ok(()),
        }
    }
}

/// The regular files of a directory, with their names.
fn files(dir: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let entries = fs::read_dir(dir).map_err(|e| StoreError::io("list", dir, e))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| StoreError::io("list", dir, e))?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && path.is_file()
        {
            found.push((name.to_owned(), path));
        }
    }
    Ok(found)
}

/// The same file under another name; a copy where the file system has no links. sled never writes
/// into these files again.
fn link(from: &Path, to: &Path) -> Result<(), StoreError> {
    let linked = fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ()));
    linked.map_err(|e| StoreError::io("write", to, e))
}

/// sled's own threads let go of a database a moment after it is closed.
fn wait_for(log: &File, path: &Path) -> Result<(), StoreError> {
    for _ in 0..LOCK_TRIES_MAX {
        match flock(log, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(StoreError::io("lock", path, error.into())),
        }
    }
    Err(StoreError::InUse { path: path.into(), holder: "unknown".into() })
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], at + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Where the segments begin that opening may overwrite.
fn endangered(database: &Path, log: &File, length: u64) -> Result<Vec<u64>, StoreError> {
    // Below it, the snapshot is used as it is.
    let from = newest_snapshot(database)? / SEGMENT_BYTES * SEGMENT_BYTES;
    let mut found = Vec::new();
    for at in (0..length).step_by(SEGMENT_BYTES as usize) {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let read = read_at(log, &mut header, at);
        read.map_err(|e| StoreError::io("read", database, e))?;
        if position(&header).is_none_or(|position| position >= from) {
            found.push(at);
        }
    }
    Ok(found)
}

/// A segment's position in the sequence of all that was ever written, if its header reads.
fn position(header: &[u8; SEGMENT_HEADER_BYTES]) -> Option<u64> {
    let (sum, rest) = header.split_at(4);
    let sum = !u32::from_le_bytes(sum.try_into().ok()?);
    let position = u64::from_le_bytes(rest[..8].try_into().ok()?) ^ POSITION_MASK;
    (crc32fast::hash(rest) == sum).then_some(position)
}

/// The position up to which the newest snapshot holds the log; 0 when it cannot be used, or there
/// is none.
fn newest_snapshot(database: &Path) -> Result<u64, StoreError> {
    let snapshots = files(database)?.into_iter().filter(|(name, _)| name.starts_with(SNAPSHOT));
    let Some((name, path)) = snapshots.max() else { return Ok(0) };
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|e| StoreError::io("read", &path, e))?;
    let Some((body, end)) =
        bytes.len().checked_sub(SNAPSHOT_END_BYTES).and_then(|body| bytes.split_at_checked(body))
    else {
        return Ok(0);
    };
    let whole = end[8..] == crc32fast::hash(body).to_le_bytes();
    let named = u64::from_str_radix(name.trim_start_matches(SNAPSHOT), 16);
    Ok(named.ok().filter(|_| whole).unwrap_or(0))
}
