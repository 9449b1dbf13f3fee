//! How far a database had come, noted outside it, so that one that lost its end is found out.
//!
//! The engine takes damage within its log for the end of a write that was cut off, and goes on from
//! there. What was durable behind it is gone without a word. So the owner of a database notes
//! elsewhere what it holds, after that is durable and before anybody relies on it.
//!
//! The file has two places of 4096 bytes, written in turn, each
//! `version(1) | sequence(8) | length(2) | note | BLAKE3 of all that, 16 bytes | zeros`. A write
//! cut off by a power cut leaves the other place, whose note is one older.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::StoreError;
use crate::engine::sled_engine::sync_dir;

/// Longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 1024;
/// Size of a place, in bytes: what a disk writes as a whole.
const PLACE_BYTES: usize = 4096;
/// Places in the file.
const PLACES: u64 = 2;
const VERSION: u8 = 1;
/// Version, sequence, length.
const HEAD_BYTES: usize = 11;
const SUM_BYTES: usize = 16;

/// The note of one database, in a file of its own.
pub struct Watermark {
    path: PathBuf,
    /// The open file and the sequence of its newest note.
    open: Mutex<Option<(File, u64)>>,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// There is no file: nothing was noted yet.
    Nothing,
    /// The newest note.
    Note(Vec<u8>),
    /// There is a file, and no place of it can be read.
    Damaged,
}

impl Watermark {
    /// The one kept in the file at `path`, which is made with the first note.
    pub fn at(path: &Path) -> Watermark {
        Watermark { path: path.into(), open: Mutex::new(None) }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the newest note.
    ///
    /// # Errors
    /// When the file is there and the operating system does not give it.
    pub fn read(&self) -> Result<Noted, StoreError> {
        Ok(self.newest()?.0)
    }

    /// What the file says, and the sequence of its newest note.
    fn newest(&self) -> Result<(Noted, u64), StoreError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Noted::Nothing, 0)),
            Err(error) => return Err(StoreError::io("open", &self.path, error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(PLACES * PLACE_BYTES as u64).read_to_end(&mut bytes);
        read.map_err(|e| StoreError::io("read", &self.path, e))?;
        let notes = bytes.chunks(PLACE_BYTES).filter_map(decode);
        Ok(match notes.max_by_key(|(sequence, _)| *sequence) {
            Some((sequence, note)) => (Noted::Note(note), sequence),
            None => (Noted::Damaged, 0),
        })
    }

    /// Replaces the note. On return it is durable.
    ///
    /// # Errors
    /// When it cannot be written; the one before then still stands, or this one does.
    pub fn write(&self, note: &[u8]) -> Result<(), StoreError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(StoreError::ValueLength { length: note.len() });
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, last) = match open.take() {
            Some(open) => open,
            None => match self.newest()? {
                (Noted::Note(_), sequence) => {
                    let file = OpenOptions::new().write(true).open(&self.path);
                    (file.map_err(|e| StoreError::io("open", &self.path, e))?, sequence)
                }
                _ => {
                    *open = Some((self.make(note)?, 0));
                    return Ok(());
                }
            },
        };
        let sequence = last.wrapping_add(1);
        let at = (sequence % PLACES) * PLACE_BYTES as u64;
        let written = file
            .write_all_at(&encode(sequence, note), at)
            .and_then(|()| file.sync_data())
            .map_err(|e| StoreError::io("write", &self.path, e));
        // Not taken up again after an error: the file is read anew to know what stands in it.
        written?;
        *open = Some((file, sequence));
        Ok(())
    }

    /// Makes the file with its first note, whole or not at all.
    fn make(&self, note: &[u8]) -> Result<File, StoreError> {
        let new = self.path.with_extension("new");
        let mut bytes = encode(0, note);
        bytes.resize(PLACES as usize * PLACE_BYTES, 0);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        let made = file.and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            Ok(file)
        });
        let file = made.map_err(|e| StoreError::io("write", &self.path, e))?;
        match self.path.parent() {
            Some(parent) => sync_dir(parent)?,
            None => sync_dir(Path::new("."))?,
        }
        Ok(file)
    }
}

fn encode(sequence: u64, note: &[u8]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&(note.len() as u16).to_be_bytes());
    bytes.extend_from_slice(note);
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(&sum.as_bytes()[..SUM_BYTES]);
    bytes.resize(PLACE_BYTES, 0);
    bytes
}

fn decode(place: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (head, rest) = place.split_at_checked(HEAD_BYTES)?;
    let (version, sequence) = (head[0], u64::from_be_bytes(head[1..9].try_into().ok()?));
    let length = usize::from(u16::from_be_bytes(head[9..].try_into().ok()?));
    let (note, rest) = rest.split_at_checked(length)?;
    let sum = blake3::hash(&place[..HEAD_BYTES + length]);
    let right = version == VERSION && rest.starts_with(&sum.as_bytes()[..SUM_BYTES]);
    right.then(|| (sequence, note.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_note_is_read_back_also_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.watermark");
        assert_eq!(Watermark::at(&path).read().unwrap(), Noted::Nothing);
        for round in 0..3u8 {
            let watermark = Watermark::at(&path);
            for note in 0..3u8 {
                watermark.write(&[round, note]).unwrap();
                assert_eq!(watermark.read().unwrap(), Noted::Note(vec![round, note]));
            }
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 8192);
        Watermark::at(&path).write(&[0; NOTE_BYTES_MAX + 1]).unwrap_err();
    }

    #[test]
    fn a_torn_place_leaves_the_note_before_and_no_flipped_bit_gives_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.watermark");
        let watermark = Watermark::at(&path);
        watermark.write(b"one").unwrap();
        watermark.write(b"two").unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..HEAD_BYTES + 3 + SUM_BYTES {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[PLACE_BYTES + at] ^= 1 << bit;
                fs::write(&path, &bytes).unwrap();
                assert_eq!(watermark.read().unwrap(), Noted::Note(b"one".to_vec()), "{at}.{bit}");
                bytes[at] ^= 1 << bit;
                fs::write(&path, &bytes).unwrap();
                assert_eq!(watermark.read().unwrap(), Noted::Damaged, "{at}.{bit}");
            }
        }
        for length in [0, 5, PLACE_BYTES] {
            fs::write(&path, &whole[..length]).unwrap();
            let expected = if length < 30 { Noted::Damaged } else { Noted::Note(b"one".to_vec()) };
            assert_eq!(watermark.read().unwrap(), expected, "{length}");
        }
    }
}
