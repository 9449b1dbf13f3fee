//! How far a database was durable, noted outside its log, so that a log that was cut is noticed.
//!
//! sled takes the first damaged message of its log for the end of it: what follows is forgotten,
//! and overwritten by what comes next. So each sync first writes a growing number into the log and,
//! once the log is durable, the same number and the time into a small file. That file is not
//! synced: after a power cut it may be older than the log, never newer. At the next opening the
//! number in the database must be at least the one in the file. If it is less, acknowledged writes
//! are gone, and the log as it was before the opening is kept as a copy.
//!
//! The copy is made before sled sees the log, for sled changes it, and removed when all is well; it
//! is never synced, so it mostly costs memory alone.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::StoreError;

/// Longest log that is copied before it is opened, bytes. Damage to a longer one is noticed too,
/// but its bytes are not kept.
const COPY_BYTES_MAX: u64 = 128 << 20;
/// Number, time, checksum.
const FILE_BYTES: usize = 24;
/// Describes the damage, in the copy of the database.
const CUT: &str = "cut-found";

/// Writes that were durable and are not there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Syncs whose writes are missing.
    pub syncs: u64,
    /// When the last of them was acknowledged, microseconds since 1970 by this machine's clock.
    pub until_us: u64,
    /// The database as it was, if it was short enough to be copied.
    pub copy: Option<PathBuf>,
}

impl Cut {
    pub(crate) fn to_text(&self) -> String {
        format!("{} {}\n", self.syncs, self.until_us)
    }

    pub(crate) fn from_text(text: &str) -> Option<Cut> {
        let (syncs, until_us) = text.trim().split_once(' ')?;
        Some(Cut { syncs: syncs.parse().ok()?, until_us: until_us.parse().ok()?, copy: None })
    }

    /// What happened, for the operator.
    pub(crate) fn reason(&self) -> String {
        format!("its log is damaged: the last {} acknowledged writes were cut off", self.syncs)
    }
}

/// The number that was durable last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) count: u64,
    pub(crate) at_us: u64,
}

impl Mark {
    fn to_bytes(self) -> [u8; FILE_BYTES] {
        let mut bytes = [0; FILE_BYTES];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.at_us.to_be_bytes());
        let sum = blake3::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.as_bytes()[..8]);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Mark> {
        let (count, rest) = bytes.split_first_chunk::<8>()?;
        let (at_us, _) = rest.split_first_chunk::<8>()?;
        let mark = Mark { count: u64::from_be_bytes(*count), at_us: u64::from_be_bytes(*at_us) };
        (mark.to_bytes() == bytes).then_some(mark)
    }
}

/// The file beside the log.
pub(crate) struct Noted {
    file: File,
}

impl Noted {
    /// What the file says; `None` when there is none, or it was torn.
    pub(crate) fn read(path: &Path) -> Option<Mark> {
        Mark::from_bytes(&fs::read(path).ok()?)
    }

    pub(crate) fn open(path: &Path) -> Result<Noted, StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(|e| StoreError::io("open", path, e))?;
        Ok(Noted { file })
    }

    /// Notes that everything up to `mark` is durable. A failure leaves an older number, which
    /// promises less.
    pub(crate) fn note(&self, mark: Mark) {
        if let Err(error) = self.file.write_all_at(&mark.to_bytes(), 0) {
            tracing::debug!(%error, "the number noted stays behind");
        }
    }
}

fn copy_place(dir: &Path) -> PathBuf {
    dir.with_extension("before")
}

/// Copies the files of a database that is about to be opened. One left by a process that died
/// while opening is older, and stays.
pub(crate) fn copy(dir: &Path, log: &str) -> Result<(), StoreError> {
    let place = copy_place(dir);
    if place.exists() {
        return Ok(());
    }
    let length = fs::metadata(dir.join(log)).map_or(0, |meta| meta.len());
    let room = crate::framed::available(dir)?;
    if length > COPY_BYTES_MAX || length.saturating_mul(2) > room {
        tracing::debug!(database = %dir.display(), length, "opened without a copy");
        return Ok(());
    }
    let unfinished = dir.with_extension("before-unfinished");
    remove(&unfinished)?;
    let failed = |e| StoreError::io("copy", dir, e);
    fs::create_dir(&unfinished).map_err(failed)?;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_file() {
            fs::copy(entry.path(), unfinished.join(entry.file_name())).map_err(failed)?;
        }
    }
    fs::rename(&unfinished, &place).map_err(failed)
}

/// Removes the copy of a database that is whole.
pub(crate) fn remove_copy(dir: &Path) -> Result<(), StoreError> {
    remove(&copy_place(dir))
}

fn remove(place: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", place, error))
        }
        _ => Ok(()),
    }
}

/// What is missing in a database whose file says `noted` and whose log says `found`; also what was
/// found missing by a process that died before it could say so.
pub(crate) fn cut(dir: &Path, noted: Option<Mark>, found: u64) -> Result<Option<Cut>, StoreError> {
    let place = copy_place(dir);
    let copy = place.is_dir().then(|| place.clone());
    let path = place.join(CUT);
    let before = fs::read_to_string(&path).ok().and_then(|text| Cut::from_text(&text));
    let now = noted.filter(|noted| noted.count > found).map(|noted| Cut {
        syncs: noted.count - found,
        until_us: noted.at_us,
        copy: None,
    });
    let Some(cut) = before.or(now) else { return Ok(None) };
    if copy.is_some() {
        fs::write(&path, cut.to_text()).map_err(|e| StoreError::io("write", &path, e))?;
    }
    Ok(Some(Cut { copy, ..cut }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_mark_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("durable");
        assert_eq!(Noted::read(&path), None);
        let mark = Mark { count: 7, at_us: 9 };
        Noted::open(&path).unwrap().note(mark);
        assert_eq!(Noted::read(&path), Some(mark));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert_eq!(Mark::from_bytes(&flipped), None, "{at}");
            assert_eq!(Mark::from_bytes(&whole[..at]), None, "{at}");
        }
    }
}
