//! The canonical ZIP of a bundle: stored entries in one fixed form (APPNOTE.TXT 6.3, ZIP64 exactly
//! where a number does not fit).
//!
//! Every field but name, length and CRC-32 is a constant, so the reader rebuilds each header from
//! those and compares it byte for byte. It walks the file from its start and trusts no offset that
//! the file states.

use std::io::{self, Seek, SeekFrom, Write};

const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;
const END64_SIGNATURE: u32 = 0x0606_4b50;
const LOCATOR64_SIGNATURE: u32 = 0x0706_4b50;
const VERSION: u16 = 45;
/// Made on Unix, so that the file mode is honoured.
const MADE_BY: u16 = 3 << 8 | VERSION;
/// 1 January 1980, the earliest date the format knows.
const DATE: u16 = 0x0021;
const MODE: u32 = 0o100_644 << 16;
const FIELD_MAX: u64 = 0xffff_ffff;
const LOCAL_FIXED_BYTES: usize = 30;

/// Longest name of an entry, bytes.
pub const NAME_MAX_BYTES: usize = 32;
/// Most entries.
pub const ENTRIES_MAX: usize = (1 << 20) + 64;

/// An entry's place and checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where its header begins.
    pub header_offset: u64,
    /// Where its data begin.
    pub data_offset: u64,
    /// Bytes of data.
    pub length: u64,
    /// CRC-32 of the data, as stated.
    pub crc: u32,
}

impl Entry {
    /// Where the entry ends.
    pub fn end(&self) -> u64 {
        self.data_offset + self.length
    }
}

/// A little-endian writer of header fields.
struct Fields(Vec<u8>);

impl Fields {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }
}

/// A 32-bit field: the value, or all ones where it stands in the ZIP64 record.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).ok().filter(|v| u64::from(*v) != FIELD_MAX).unwrap_or(u32::MAX)
}

fn is_wide(value: u64) -> bool {
    value >= FIELD_MAX
}

/// The local header of an entry.
pub(crate) fn local_header(name: &str, length: u64, crc: u32) -> Vec<u8> {
    let extra = if is_wide(length) {
        Fields(vec![]).u16(1).u16(16).u64(length).u64(length).0
    } else {
        vec![]
    };
    Fields(Vec::new())
        .u32(LOCAL_SIGNATURE)
        .u16(VERSION)
        .u16(0)
        .u16(0)
        .u16(0)
        .u16(DATE)
        .u32(crc)
        .u32(narrow(length))
        .u32(narrow(length))
        .u16(name.len() as u16)
        .u16(extra.len() as u16)
        .bytes(name.as_bytes())
        .bytes(&extra)
        .0
}

/// Everything after the last entry's data: the central directory and its end records.
pub(crate) fn directory(entries: &[Entry], start: u64) -> Vec<u8> {
    let mut out = Fields(Vec::new());
    for entry in entries {
        let mut extra = Fields(vec![]);
        if is_wide(entry.length) {
            extra = extra.u64(entry.length).u64(entry.length);
        }
        if is_wide(entry.header_offset) {
            extra = extra.u64(entry.header_offset);
        }
        let mut record = Fields(vec![]);
        if !extra.0.is_empty() {
            record = record.u16(1).u16(extra.0.len() as u16).bytes(&extra.0);
        }
        out = out
            .u32(CENTRAL_SIGNATURE)
            .u16(MADE_BY)
            .u16(VERSION)
            .u16(0)
            .u16(0)
            .u16(0)
            .u16(DATE)
            .u32(entry.crc)
            .u32(narrow(entry.length))
            .u32(narrow(entry.length))
            .u16(entry.name.len() as u16)
            .u16(record.0.len() as u16)
            .u16(0)
            .u16(0)
            .u16(0)
            .u32(MODE)
            .u32(narrow(entry.header_offset))
            .bytes(entry.name.as_bytes())
            .bytes(&record.0);
    }
    let count = entries.len() as u64;
    let length = out.0.len() as u64;
    if count >= 0xffff || is_wide(length) || is_wide(start) {
        out = out
            .u32(END64_SIGNATURE)
            .u64(44)
            .u16(MADE_BY)
            .u16(VERSION)
            .u32(0)
            .u32(0)
            .u64(count)
            .u64(count)
            .u64(length)
            .u64(start)
            .u32(LOCATOR64_SIGNATURE)
            .u32(0)
            .u64(start + length)
            .u32(1);
    }
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    out.u32(END_SIGNATURE)
        .u16(0)
        .u16(0)
        .u16(count)
        .u16(count)
        .u32(narrow(length))
        .u32(narrow(start))
        .u16(0)
        .0
}

/// Writes the entries of a bundle one after the other.
pub(crate) struct Writer<W> {
    out: W,
    at: u64,
    entries: Vec<Entry>,
}

impl<W: Write + Seek> Writer<W> {
    /// Writes to `out` from its present position, which must be its start.
    pub fn new(out: W) -> Self {
        Writer { out, at: 0, entries: Vec::new() }
    }

    /// Writes a whole entry.
    pub fn entry(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let mut hasher = crc32fast::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        let length = parts.iter().map(|part| part.len() as u64).sum();
        self.begin(name, length, hasher.finalize())?;
        for part in parts {
            self.data(part)?;
        }
        Ok(())
    }

    /// Begins an entry whose data follow with [`Writer::data`]; a checksum not known yet is set by
    /// [`Writer::set_crc`].
    pub fn begin(&mut self, name: &str, length: u64, crc: u32) -> io::Result<()> {
        let header = local_header(name, length, crc);
        let header_offset = self.at;
        self.data(&header)?;
        self.entries.push(Entry {
            name: name.into(),
            header_offset,
            data_offset: self.at,
            length,
            crc,
        });
        Ok(())
    }

    /// Writes data of the entry begun last.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Sets the checksum of the entry begun last.
    pub fn set_crc(&mut self, crc: u32) -> io::Result<()> {
        let Some(entry) = self.entries.last_mut() else { return Ok(()) };
        entry.crc = crc;
        self.out.seek(SeekFrom::Start(entry.header_offset + 14))?;
        self.out.write_all(&crc.to_le_bytes())?;
        self.out.seek(SeekFrom::Start(self.at))?;
        Ok(())
    }

    /// Writes the directory and returns the file's length in bytes.
    pub fn finish(mut self) -> io::Result<u64> {
        let directory = directory(&self.entries, self.at);
        self.data(&directory)?;
        self.out.flush()?;
        Ok(self.at)
    }
}

/// Why a file is not a canonical bundle container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZipError {
    /// It does not begin like a bundle.
    #[error("this is no Lucid bundle: it does not begin with {}", super::README)]
    Foreign,
    /// It ends before it is complete.
    #[error("the file is cut: it ends at byte {end} within {what}")]
    Truncated {
        /// The file's length, bytes.
        end: u64,
        /// What it ends in.
        what: String,
    },
    /// A header or the directory is not what it must be.
    #[error("the container was changed at byte {offset}: {what}")]
    Changed {
        /// Where.
        offset: u64,
        /// What.
        what: String,
    },
    /// Reading failed.
    #[error("the file cannot be read at byte {offset}: {kind}")]
    Read {
        /// Where.
        offset: u64,
        /// How it failed.
        kind: io::ErrorKind,
    },
}

/// Walks the entries from the start of the file and checks every byte that is not an entry's data.
pub(crate) fn walk(source: &dyn super::ReadAt) -> Result<Vec<Entry>, ZipError> {
    let size = source.size();
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0u64;
    loop {
        let what = match entries.last() {
            None => "the first header".to_owned(),
            Some(entry) => format!("what follows {}", entry.name),
        };
        let truncated = |what: String| ZipError::Truncated { end: size, what };
        let mut fixed = [0; LOCAL_FIXED_BYTES];
        let have = size.saturating_sub(at).min(LOCAL_FIXED_BYTES as u64) as usize;
        read(source, at, &mut fixed[..have])?;
        if have < 4 {
            return Err(if entries.is_empty() { ZipError::Foreign } else { truncated(what) });
        }
        let signature = u32::from_le_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
        if signature == CENTRAL_SIGNATURE && !entries.is_empty() {
            break;
        }
        if signature != LOCAL_SIGNATURE {
            return Err(match entries.is_empty() {
                true => ZipError::Foreign,
                false => ZipError::Changed { offset: at, what: "no entry begins here".into() },
            });
        }
        if have < LOCAL_FIXED_BYTES {
            return Err(truncated(what));
        }
        if entries.len() == ENTRIES_MAX {
            return Err(ZipError::Changed { offset: at, what: "too many entries".into() });
        }
        let entry = read_entry(source, at, &fixed, size)?;
        if entries.is_empty() && entry.name != super::README {
            return Err(ZipError::Foreign);
        }
        at = entry.end();
        let short = at > size;
        let name = entry.name.clone();
        entries.push(entry);
        if short {
            return Err(truncated(name));
        }
    }
    check_directory(source, &entries, at, size)?;
    Ok(entries)
}

fn read(source: &dyn super::ReadAt, offset: u64, buffer: &mut [u8]) -> Result<(), ZipError> {
    source.read_at(offset, buffer).map_err(|error| ZipError::Read { offset, kind: error.kind() })
}

fn read_entry(
    source: &dyn super::ReadAt,
    at: u64,
    fixed: &[u8; LOCAL_FIXED_BYTES],
    size: u64,
) -> Result<Entry, ZipError> {
    let u16_at = |i: usize| u16::from_le_bytes([fixed[i], fixed[i + 1]]);
    let u32_at =
        |i: usize| u32::from_le_bytes([fixed[i], fixed[i + 1], fixed[i + 2], fixed[i + 3]]);
    let changed = |what: &str| ZipError::Changed { offset: at, what: what.into() };
    let crc = u32_at(14);
    let name_len = usize::from(u16_at(26));
    let extra_len = usize::from(u16_at(28));
    if name_len == 0 || name_len > NAME_MAX_BYTES || (extra_len != 0 && extra_len != 20) {
        return Err(changed("a header with a name or extra field no bundle has"));
    }
    let rest_len = name_len + extra_len;
    let header_len = (LOCAL_FIXED_BYTES + rest_len) as u64;
    if at + header_len > size {
        return Err(ZipError::Truncated { end: size, what: "an entry's header".into() });
    }
    let mut rest = vec![0; rest_len];
    read(source, at + LOCAL_FIXED_BYTES as u64, &mut rest)?;
    let name = std::str::from_utf8(&rest[..name_len])
        .ok()
        .filter(|name| name.bytes().all(is_name_byte))
        .ok_or_else(|| changed("a name no bundle has"))?;
    let length = match extra_len {
        0 => u64::from(u32_at(18)),
        _ => {
            let wide = &rest[name_len + 4..name_len + 12];
            wide.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
        }
    };
    let header = local_header(name, length, crc);
    if header.len() as u64 != header_len
        || header[..LOCAL_FIXED_BYTES] != fixed[..]
        || header[LOCAL_FIXED_BYTES..] != rest[..]
    {
        return Err(changed("an entry's header is not in its one form"));
    }
    let data_offset = at + header_len;
    data_offset.checked_add(length).ok_or_else(|| changed("an entry longer than any file"))?;
    Ok(Entry { name: name.into(), header_offset: at, data_offset, length, crc })
}

/// Names are shown to people, so they hold nothing that a terminal would obey.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'/')
}

fn check_directory(
    source: &dyn super::ReadAt,
    entries: &[Entry],
    at: u64,
    size: u64,
) -> Result<(), ZipError> {
    let expected = directory(entries, at);
    let have = (size - at).min(expected.len() as u64) as usize;
    let mut found = vec![0; have];
    read(source, at, &mut found)?;
    if let Some(differs) = found.iter().zip(&expected).position(|(a, b)| a != b) {
        let what = "the directory does not agree with the entries".into();
        return Err(ZipError::Changed { offset: at + differs as u64, what });
    }
    if have < expected.len() {
        return Err(ZipError::Truncated { end: size, what: "the directory".into() });
    }
    if at + (expected.len() as u64) < size {
        let offset = at + expected.len() as u64;
        return Err(ZipError::Changed { offset, what: "bytes follow the end".into() });
    }
    Ok(())
}
