//! The `sealed` file of a volume: what its files were when it was closed for good.
//!
//! Text, so that it can be read without this program:
//!
//! ```text
//! lucid-volume 2
//! created <microseconds since 1970>
//! records <number>
//! stored <bytes of keys and values>
//! file <name> <length> <CRC-32 of each MiB, hex, separated by commas>
//! end <BLAKE3 of everything before this line, hex>
//! ```
//!
//! Version 1 had BLAKE3 in place of CRC-32 and is still read. What is looked for here is rot and
//! cut tails, in bytes that carry other sums already (every record a BLAKE3, every message of the
//! engine a CRC-32); a second BLAKE3 over everything took a quarter of a second of a core a GiB.
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
use crate::engine::sled_engine::{LOG, VOLUME_SEGMENT_BYTES, sync_dir};

/// Name of the file in the volume's directory.
pub(crate) const FILE: &str = "sealed";
const UNFINISHED: &str = "sealed.new";
/// What the file is called once the volume was found damaged and its files were copied.
const FORMER: &str = "sealed-before-damage";
/// Summed up at a time, in bytes.
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
    sum: Sum,
    files: BTreeMap<String, (u64, Vec<String>)>,
}

/// What stands for a block of a file; the version of the `sealed` file says which.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sum {
    /// Version 1.
    Blake3,
    /// Version 2.
    #[default]
    Crc32,
}

impl Sum {
    const HEADS: [(&str, Sum); 2] =
        [("lucid-volume 1", Sum::Blake3), ("lucid-volume 2", Sum::Crc32)];

    fn head(self) -> &'static str {
        Self::HEADS.iter().find(|(_, sum)| *sum == self).map_or("", |(head, _)| head)
    }

    fn from_head(line: &str) -> Option<Sum> {
        Self::HEADS.iter().find(|(head, _)| *head == line).map(|(_, sum)| *sum)
    }

    fn of(self, block: &[u8]) -> String {
        match self {
            Sum::Blake3 => blake3::hash(block).to_hex().to_string(),
            Sum::Crc32 => format!("{:08x}", crc32fast::hash(block)),
        }
    }
}

/// Sums up the files of a closed volume and puts the `sealed` file beside them, durably.
pub(crate) fn write(
    dir: &Path,
    created_us: u64,
    records: u64,
    bytes_stored: u64,
) -> Result<(), StoreError> {
    let mut seal = Seal { created_us, records, bytes_stored, ..Seal::default() };
    for (name, length) in files(dir)? {
        let mut sums = Vec::new();
        each_block(&dir.join(&name), 0, seal.sum, |_, sum| sums.push(sum))?;
        seal.files.insert(name, (length, sums));
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

/// Tells the system that the log's pages will not be read soon.
pub(crate) fn drop_from_cache(dir: &Path) {
    if let Ok(log) = File::open(dir.join(LOG)) {
        // Advice: nothing is lost when it is not taken.
        let _ = rustix::fs::fadvise(&log, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// Makes the engine's log durable, if there is one, before the engine looks at it.
pub(crate) fn sync_log(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(LOG);
    match File::open(&path).and_then(|log| log.sync_data()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(StoreError::io("sync", &path, error))
        }
        _ => Ok(()),
    }
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
    each_block(&path, first, seal.sum, |block, sum| {
        let offset = block * BLOCK_BYTES as u64;
        seen = block + 1;
        if expected.get(block as usize) != Some(&sum) {
            wrong.push((offset, (BLOCK_BYTES as u64).min(present.saturating_sub(offset))));
        }
    })?;
    if seen < expected.len() as u64 {
        let offset = seen * BLOCK_BYTES as u64;
        wrong.push((offset, length.saturating_sub(offset)));
    }
    Ok(wrong)
}

/// Sums a file up block by block from block `first` on. An unreadable block counts as a wrong one.
fn each_block(
    path: &Path,
    first: u64,
    sum: Sum,
    mut see: impl FnMut(u64, String),
) -> Result<(), StoreError> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path).map_err(|e| StoreError::io("open", path, e))?;
    let length = file.metadata().map_err(|e| StoreError::io("look at", path, e))?.len();
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut block = first;
    while block * (BLOCK_BYTES as u64) < length {
        let offset = block * BLOCK_BYTES as u64;
        let part = &mut buffer[..(length - offset).min(BLOCK_BYTES as u64) as usize];
        match file.read_exact_at(part, offset) {
            Ok(()) => see(block, sum.of(part)),
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
            "{}\ncreated {}\nrecords {}\nstored {}\n",
            self.sum.head(),
            self.created_us,
            self.records,
            self.bytes_stored
        );
        for (name, (length, sums)) in &self.files {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "file {name} {length} {}", sums.join(","));
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
        let sum = Sum::from_head(lines.next()?)?;
        let mut seal = Seal { sum, ..Seal::default() };
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
                    let sums = parts.next()?.split(',').map(str::to_owned);
                    seal.files.insert(name, (length, sums.filter(|sum| !sum.is_empty()).collect()));
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
        let mut seal = Seal { created_us: 5, records: 2, bytes_stored: 9, ..Seal::default() };
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
    fn a_seal_of_version_1_is_still_compared() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("db"), b"what was sealed").unwrap();
        let mut seal = Seal { sum: Sum::Blake3, ..Seal::default() };
        let sum = blake3::hash(b"what was sealed").to_hex().to_string();
        seal.files.insert("db".into(), (15, vec![sum]));
        let text = seal.to_text();
        assert!(text.starts_with("lucid-volume 1\n"), "{text}");
        fs::write(dir.path().join(FILE), text).unwrap();
        assert_eq!(altered(dir.path()).unwrap(), vec![]);
        fs::write(dir.path().join("db"), b"what was zealed").unwrap();
        let all = Altered { file: "db".into(), offset: 0, length: 15 };
        assert_eq!(altered(dir.path()).unwrap(), vec![all]);
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
