//! The `sealed` file of a volume: what its files were when it was closed for good.
//!
//! Text, so that it can be read without this program:
//!
//! ```text
//! lucid-volume 1
//! created <microseconds since 1970>
//! records <number>
//! stored <bytes of keys and values>
//! file <name> <length> <BLAKE3 of each MiB, hex, separated by commas>
//! end <BLAKE3 of everything before this line, hex>
//! ```
//!
//! It is there for three things: size and age without opening the database; noticing bit rot also
//! where no record is hit; and not handing a damaged log to the engine, which would cut the
//! damaged tail off for good.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Altered;
use crate::StoreError;
use crate::engine::sled_engine::{VOLUME_SEGMENT_BYTES, sync_dir};

/// Name of the file in the volume's directory.
pub(crate) const FILE: &str = "sealed";
const UNFINISHED: &str = "sealed.new";
/// What the file is called once the volume was found damaged and its files were copied.
const FORMER: &str = "sealed-before-damage";
/// Hashed at a time, in bytes.
const BLOCK_BYTES: usize = 1024 * 1024;
/// Longest `sealed` file taken seriously, in bytes; one for a full volume has some 6 KiB.
const SEAL_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes at the end of a file that the engine may change when it opens it.
const TAIL_BYTES: u64 = VOLUME_SEGMENT_BYTES as u64;

/// The contents of a `sealed` file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) created_us: u64,
    pub(crate) records: u64,
    pub(crate) bytes_stored: u64,
    files: BTreeMap<String, (u64, Vec<String>)>,
}

/// Hashes the files of a closed volume and puts the `sealed` file beside them, durably.
pub(crate) fn write(
    dir: &Path,
    created_us: u64,
    records: u64,
    bytes_stored: u64,
) -> Result<(), StoreError> {
    let mut seal = Seal { created_us, records, bytes_stored, files: BTreeMap::new() };
    for (name, length) in files(dir)? {
        let mut hashes = Vec::new();
        each_block(&dir.join(&name), 0, |_, hash| hashes.push(hash))?;
        seal.files.insert(name, (length, hashes));
    }
    let (new, path) = (dir.join(UNFINISHED), dir.join(FILE));
    let result = File::create(&new).and_then(|mut file| {
        file.write_all(seal.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    });
    result.map_err(|e| StoreError::io("write", &path, e))?;
    sync_dir(dir)
}

/// Renames the `sealed` file of a volume that is no longer what was sealed.
pub(crate) fn set_aside(dir: &Path) -> Result<(), StoreError> {
    fs::rename(dir.join(FILE), dir.join(FORMER))
        .map_err(|e| StoreError::io("rename", &dir.join(FILE), e))?;
    sync_dir(dir)
}

/// How many records the volume had when it was sealed, also if it was damaged since.
pub(crate) fn records_sealed(dir: &Path) -> Result<Option<u64>, StoreError> {
    let seal = match read(dir)? {
        None => read_file(&dir.join(FORMER))?,
        seal => seal,
    };
    Ok(seal.map(|seal| seal.records))
}

/// Reads the `sealed` file; `None` when there is none or it is damaged itself.
pub(crate) fn read(dir: &Path) -> Result<Option<Seal>, StoreError> {
    read_file(&dir.join(FILE))
}

fn read_file(path: &Path) -> Result<Option<Seal>, StoreError> {
    let mut text = String::new();
    let result =
        File::open(path).and_then(|file| file.take(SEAL_BYTES_MAX).read_to_string(&mut text));
    match result {
        Ok(_) => Ok(Seal::from_text(&text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            Ok(None)
        }
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}

/// Why the engine must not get at the files of a sealed volume before they were copied. Looks at
/// the parts the engine reads or rewrites when opening: small files, and the tail of the log.
pub(crate) fn unsafe_to_open(dir: &Path) -> Result<Option<String>, StoreError> {
    let Some(seal) = read(dir)? else {
        let torn = dir.join(FILE).exists();
        return Ok(torn.then(|| format!("file {FILE} is damaged")));
    };
    let tails = seal.files.iter().map(|(name, (length, _))| {
        (name.as_str(), length.saturating_sub(TAIL_BYTES) / BLOCK_BYTES as u64)
    });
    for (name, first) in tails {
        if let Some((offset, _)) = compare(dir, &seal, name, first)?.first() {
            return Ok(Some(format!("file {name} has changed since it was sealed, at {offset}")));
        }
    }
    Ok(None)
}

/// Every stretch of a sealed volume's files that has changed; nothing for an unsealed volume.
pub(crate) fn altered(dir: &Path) -> Result<Vec<Altered>, StoreError> {
    let Some(seal) = read(dir)? else { return Ok(Vec::new()) };
    let mut altered = Vec::new();
    for name in seal.files.keys() {
        for (offset, length) in compare(dir, &seal, name, 0)? {
            altered.push(Altered { file: name.clone(), offset, length });
        }
    }
    Ok(altered)
}

/// Bytes the files of a volume occupy; files that vanish meanwhile count nothing.
pub(crate) fn bytes_on_disk(dir: &Path) -> u64 {
    /// What `st_blocks` counts in.
    const UNIT_BYTES: u64 = 512;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok());
    sizes.map(|meta| meta.blocks() * UNIT_BYTES).sum()
}

/// Offset and length of the blocks of one file, from block `first` on, that differ from the seal.
fn compare(dir: &Path, seal: &Seal, name: &str, first: u64) -> Result<Vec<(u64, u64)>, StoreError> {
    let Some((length, expected)) = seal.files.get(name) else { return Ok(Vec::new()) };
    let path = dir.join(name);
    let present = match fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![(0, *length)]),
        Err(error) => return Err(StoreError::io("look at", &path, error)),
    };
    let mut wrong = Vec::new();
    let mut seen = first;
    each_block(&path, first, |block, hash| {
        let offset = block * BLOCK_BYTES as u64;
        seen = block + 1;
        if expected.get(block as usize) != Some(&hash) {
            wrong.push((offset, (BLOCK_BYTES as u64).min(present.saturating_sub(offset))));
        }
    })?;
    if seen < expected.len() as u64 {
        let offset = seen * BLOCK_BYTES as u64;
        wrong.push((offset, length.saturating_sub(offset)));
    }
    Ok(wrong)
}

/// Hashes a file block by block from block `first` on. An unreadable block counts as a wrong one.
fn each_block(path: &Path, first: u64, mut see: impl FnMut(u64, String)) -> Result<(), StoreError> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path).map_err(|e| StoreError::io("open", path, e))?;
    let length = file.metadata().map_err(|e| StoreError::io("look at", path, e))?.len();
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut block = first;
    while block * (BLOCK_BYTES as u64) < length {
        let offset = block * BLOCK_BYTES as u64;
        let part = &mut buffer[..(length - offset).min(BLOCK_BYTES as u64) as usize];
        match file.read_exact_at(part, offset) {
            Ok(()) => see(block, blake3::hash(part).to_hex().to_string()),
            Err(_) => see(block, String::from("unreadable")),
        }
        block += 1;
    }
    Ok(())
}

/// The files of a volume with their lengths, without the seal itself.
pub(crate) fn files(dir: &Path) -> Result<Vec<(String, u64)>, StoreError> {
    let mut files = Vec::new();
    let entries = fs::read_dir(dir).map_err(|e| StoreError::io("list", dir, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| StoreError::io("list", dir, e))?;
        let meta = entry.metadata().map_err(|e| StoreError::io("look at", &entry.path(), e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if meta.is_file() && ![FILE, UNFINISHED, FORMER].contains(&name.as_str()) {
            files.push((name, meta.len()));
        }
    }
    files.sort();
    Ok(files)
}

impl Seal {
    fn to_text(&self) -> String {
        let mut text = format!(
            "lucid-volume 1\ncreated {}\nrecords {}\nstored {}\n",
            self.created_us, self.records, self.bytes_stored
        );
        for (name, (length, hashes)) in &self.files {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "file {name} {length} {}", hashes.join(","));
        }
        let end = blake3::hash(text.as_bytes()).to_hex();
        let _ = writeln!(text, "end {end}");
        text
    }

    fn from_text(text: &str) -> Option<Seal> {
        let (body, end) = text.strip_suffix('\n')?.rsplit_once("\nend ")?;
        let body = format!("{body}\n");
        if blake3::hash(body.as_bytes()).to_hex().as_str() != end {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != "lucid-volume 1" {
            return None;
        }
        let mut seal = Seal::default();
        for line in lines {
            let (word, rest) = line.split_once(' ')?;
            match word {
                "created" => seal.created_us = rest.parse().ok()?,
                "records" => seal.records = rest.parse().ok()?,
                "stored" => seal.bytes_stored = rest.parse().ok()?,
                "file" => {
                    let mut parts = rest.splitn(3, ' ');
                    let name = parts.next()?.to_owned();
                    let length = parts.next()?.parse().ok()?;
                    let hashes = parts.next()?.split(',').map(str::to_owned);
                    seal.files.insert(name, (length, hashes.filter(|h| !h.is_empty()).collect()));
                }
                _ => return None,
            }
        }
        Some(seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_and_any_change_is_refused() {
        let mut seal = Seal { created_us: 5, records: 2, bytes_stored: 9, files: BTreeMap::new() };
        seal.files.insert("db".into(), (3, vec!["aa".into(), "bb".into()]));
        seal.files.insert("empty".into(), (0, vec![]));
        let text = seal.to_text();
        assert_eq!(Seal::from_text(&text), Some(seal));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Seal::from_text(&changed), None, "byte {at}");
            assert_eq!(Seal::from_text(&text[..at]), None, "length {at}");
        }
    }

    #[test]
    fn altered_bytes_are_placed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        fs::write(&path, vec![7; 3 * BLOCK_BYTES + 10]).unwrap();
        write(dir.path(), 1, 2, 3).unwrap();
        let one = |offset, length| vec![Altered { file: "db".into(), offset, length }];
        assert_eq!(altered(dir.path()).unwrap(), vec![]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[BLOCK_BYTES + 5] = 8;
        fs::write(&path, &bytes).unwrap();
        let block = BLOCK_BYTES as u64;
        assert_eq!(altered(dir.path()).unwrap(), one(block, block));
        fs::write(&path, &bytes[..BLOCK_BYTES]).unwrap();
        assert_eq!(altered(dir.path()).unwrap(), one(block, 2 * block + 10));
        fs::remove_file(&path).unwrap();
        assert_eq!(altered(dir.path()).unwrap(), one(0, 3 * block + 10));
    }
}
