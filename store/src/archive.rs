//! Export and import of everything stored, as one stream: the way to another engine, another
//! disk or another version. Memory stays bounded by one step of records.
//!
//! All numbers are big-endian.
//!
//! ```text
//! stream  = "LUCIDARC" version(2)=1 entry*
//! entry   = 0x01 name_len(1) name                       a database begins
//!         | 0x02 id(8) created_us(8)                    a volume begins
//!         | 0x03 key_len(2) value_len(4) key value h(16) a record of it
//!         | 0x04 key_len(2) key                         a record that was damaged
//!         | 0x05 text_len(2) text                       a part that could not be read, why
//!         | 0xff records(8) hash(32)                    the end, last
//! ```
//!
//! `h` is the first 16 bytes of BLAKE3 over key_len, value_len, key and value as written; `hash`
//! is BLAKE3 over everything before it. Keys (`keys/`) are not part of it.

use std::io::{self, Read, Write};

use crate::batch::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::{Batch, DataDir, Pair, Store, StoreError, VolumeId};

const MAGIC: &[u8; 8] = b"LUCIDARC";
const VERSION: u16 = 1;
const DATABASE: u8 = 1;
const VOLUME: u8 = 2;
const RECORD: u8 = 3;
const DAMAGED: u8 = 4;
const UNREADABLE: u8 = 5;
const INDEX: &str = "index";
/// The databases an archive may hold.
const DATABASES: [&str; 2] = [INDEX, "chain"];
const END: u8 = 0xff;
/// Records read in one step; of the largest kind that is 5 MiB.
const STEP_RECORDS: usize = 64;
/// Bytes gathered before they are written in one step while importing.
const STEP_BYTES: usize = BATCH_BYTES_MAX / 2;
/// Bytes of the hash behind each record.
const RECORD_HASH_BYTES: usize = 16;

/// What was exported or imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    /// Records that passed their hash.
    pub records: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
    /// Where and under which key a record was damaged and left out.
    pub damaged: Vec<(String, Vec<u8>)>,
    /// Where a part could not be read, and why.
    pub unreadable: Vec<(String, String)>,
}

/// Why an export or import stopped.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream could not be read or written.
    #[error("cannot {action} archive")]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The bytes are not an archive, or not whole.
    #[error("archive is invalid at byte {offset}: {problem}")]
    Invalid {
        /// How far it was good.
        offset: u64,
        /// What was wrong, and what would be right.
        problem: String,
    },
    /// The archive is of a newer version.
    #[error("archive has version {found}, this program knows up to {known}; use a newer program")]
    VersionNewer {
        /// Its version.
        found: u16,
        /// The newest version this program reads.
        known: u16,
    },
    /// The data directory already holds something.
    #[error("data directory is not empty; import into a new one")]
    NotEmpty,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes everything in `data` to `out`. Damaged records are named in the stream and left out.
///
/// # Errors
/// When the machine fails; damage is in the answer.
pub fn export(data: &DataDir, out: impl Write) -> Result<Archived, ArchiveError> {
    let mut writer = Writer { out, hasher: blake3::Hasher::new(), archived: Archived::default() };
    writer.put(MAGIC)?;
    writer.put(&VERSION.to_be_bytes())?;
    for (name, database) in data.databases() {
        writer.put(&[DATABASE, name.len() as u8])?;
        writer.put(name.as_bytes())?;
        let report = database.scrub()?;
        writer.notes(name, report.damaged.clone(), report.unreadable)?;
        let end = vec![0xff; KEY_BYTES_MAX + 1];
        let mut from = Vec::new();
        loop {
            let step = match database.scan(&from, &end, STEP_RECORDS) {
                Err(StoreError::Damaged { key, .. }) => {
                    // What lies before the damaged one in this step is fetched on its own.
                    let before = database.scan(&from, &key, STEP_RECORDS)?;
                    for (key, value) in before {
                        writer.record(&key, &value)?;
                    }
                    from = after(&key);
                    continue;
                }
                Err(StoreError::Unreadable { .. }) => break,
                other => other?,
            };
            let Some((last, _)) = step.last() else { break };
            from = after(last);
            for (key, value) in &step {
                writer.record(key, value)?;
            }
        }
    }
    let volumes = data.volumes();
    for info in volumes.list() {
        let name = format!("volumes/{}", info.id);
        writer.put(&[VOLUME])?;
        writer.put(&info.id.0.to_be_bytes())?;
        writer.put(&info.created_us.to_be_bytes())?;
        let end = vec![0xff; KEY_BYTES_MAX + 1];
        let mut from = Vec::new();
        loop {
            let scan = match volumes.scan(info.id, &from, &end, STEP_RECORDS) {
                Err(error) if error.is_damage() => {
                    writer.notes(&name, Vec::new(), Some(error.to_string()))?;
                    break;
                }
                other => other?,
            };
            let last = scan.items.iter().map(|(key, _)| key).chain(&scan.damaged).max();
            let Some(last) = last else { break };
            from = after(last);
            for (key, value) in &scan.items {
                writer.record(key, value)?;
            }
            writer.notes(&name, scan.damaged, None)?;
        }
    }
    writer.end()
}

/// Reads an archive into an empty data directory. Volumes keep their numbers.
///
/// # Errors
/// Everything before the error is imported; the directory should then be thrown away.
pub fn import(data: &DataDir, input: impl Read) -> Result<Archived, ArchiveError> {
    let end = vec![0xff; KEY_BYTES_MAX + 1];
    for (_, database) in data.databases() {
        if !database.scan(&[], &end, 1)?.is_empty() {
            return Err(ArchiveError::NotEmpty);
        }
    }
    if !data.volumes().ids().is_empty() {
        return Err(ArchiveError::NotEmpty);
    }
    read(Some(data), input)
}

/// Reads an archive to its end and imports nothing: whether [`import`] would take it.
///
/// # Errors
/// As [`import`].
pub fn check(input: impl Read) -> Result<Archived, ArchiveError> {
    read(None, input)
}

fn read(data: Option<&DataDir>, input: impl Read) -> Result<Archived, ArchiveError> {
    let mut reader = Reader { input, hasher: blake3::Hasher::new(), offset: 0 };
    if reader.take::<8>()? != *MAGIC {
        return Err(reader.invalid("does not begin with LUCIDARC"));
    }
    let version = u16::from_be_bytes(reader.take()?);
    if version > VERSION {
        return Err(ArchiveError::VersionNewer { found: version, known: VERSION });
    }
    if version == 0 {
        return Err(reader.invalid("version is 0, versions begin at 1"));
    }
    let mut archived = Archived::default();
    let mut target = Target { data, place: Place::Nowhere, step: Vec::new(), bytes: 0 };
    let mut last_volume = 0;
    loop {
        let [tag] = reader.take()?;
        match tag {
            DATABASE => {
                target.flush()?;
                let [length] = reader.take()?;
                let name = reader.text(usize::from(length))?;
                let known = DATABASES.into_iter().find(|known| *known == name);
                let name = known
                    .ok_or_else(|| reader.invalid(&format!("no database is called {name}")))?;
                target.enter(Place::Database(name))?;
            }
            VOLUME => {
                target.flush()?;
                let id = VolumeId(u64::from_be_bytes(reader.take()?));
                let created_us = u64::from_be_bytes(reader.take()?);
                if id.0 <= last_volume {
                    return Err(StoreError::VolumeTaken { volume: id }.into());
                }
                last_volume = id.0;
                target.enter(Place::Volume(id))?;
                if let Some(data) = data {
                    data.volumes().begin(id, created_us)?;
                }
            }
            RECORD => {
                let (key, value) = reader.record()?;
                archived.records += 1;
                archived.bytes += (key.len() + value.len()) as u64;
                if matches!(target.place, Place::Nowhere) {
                    return Err(reader.invalid("record before a database or volume begins"));
                }
                target.add(key, value)?;
            }
            DAMAGED => {
                let length = reader.length16(KEY_BYTES_MAX, "key")?;
                archived.damaged.push((target.place.name(), reader.bytes(length)?));
            }
            UNREADABLE => {
                let length = usize::from(u16::from_be_bytes(reader.take()?));
                archived.unreadable.push((target.place.name(), reader.text(length)?));
            }
            END => {
                target.enter(Place::Nowhere)?;
                let records = u64::from_be_bytes(reader.take()?);
                if records != archived.records {
                    let problem = format!("holds {} records, not {records}", archived.records);
                    return Err(reader.invalid(&problem));
                }
                let expected = *reader.hasher.finalize().as_bytes();
                if reader.take::<32>()? != expected {
                    return Err(reader.invalid("hash over the whole does not match"));
                }
                return Ok(archived);
            }
            other => return Err(reader.invalid(&format!("unknown entry {other:#04x}"))),
        }
    }
}

fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

fn record_hash(lengths: &[u8], key: &[u8], value: &[u8]) -> [u8; RECORD_HASH_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(lengths).update(key).update(value);
    let mut out = [0; RECORD_HASH_BYTES];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..RECORD_HASH_BYTES]);
    out
}

struct Writer<W> {
    out: W,
    hasher: blake3::Hasher,
    archived: Archived,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.hasher.update(bytes);
        self.out.write_all(bytes).map_err(|source| ArchiveError::Io { action: "write", source })
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        let mut lengths = [0; 6];
        lengths[..2].copy_from_slice(&(key.len() as u16).to_be_bytes());
        lengths[2..].copy_from_slice(&(value.len() as u32).to_be_bytes());
        self.put(&[RECORD])?;
        self.put(&lengths)?;
        self.put(key)?;
        self.put(value)?;
        self.put(&record_hash(&lengths, key, value))?;
        self.archived.records += 1;
        self.archived.bytes += (key.len() + value.len()) as u64;
        Ok(())
    }

    fn notes(
        &mut self,
        name: &str,
        damaged: Vec<Vec<u8>>,
        unreadable: Option<String>,
    ) -> Result<(), ArchiveError> {
        for key in damaged {
            self.put(&[DAMAGED])?;
            self.put(&(key.len() as u16).to_be_bytes())?;
            self.put(&key)?;
            self.archived.damaged.push((name.into(), key));
        }
        if let Some(text) = unreadable {
            let bytes = &text.as_bytes()[..text.floor_char_boundary(usize::from(u16::MAX))];
            self.put(&[UNREADABLE])?;
            self.put(&(bytes.len() as u16).to_be_bytes())?;
            self.put(bytes)?;
            self.archived.unreadable.push((name.into(), text));
        }
        Ok(())
    }

    fn end(mut self) -> Result<Archived, ArchiveError> {
        self.put(&[END])?;
        self.put(&self.archived.records.to_be_bytes())?;
        let hash = *self.hasher.finalize().as_bytes();
        self.put(&hash)?;
        self.out.flush().map_err(|source| ArchiveError::Io { action: "write", source })?;
        Ok(self.archived)
    }
}

struct Reader<R> {
    input: R,
    hasher: blake3::Hasher,
    offset: u64,
}

impl<R: Read> Reader<R> {
    fn invalid(&self, problem: &str) -> ArchiveError {
        ArchiveError::Invalid { offset: self.offset, problem: problem.into() }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        match self.input.read_exact(bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.invalid("ends too early"));
            }
            Err(source) => return Err(ArchiveError::Io { action: "read", source }),
        }
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// `length` must have been checked against a limit.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&mut self, length: usize) -> Result<String, ArchiveError> {
        let bytes = self.bytes(length)?;
        String::from_utf8(bytes).map_err(|_| self.invalid("text is not UTF-8"))
    }

    fn length16(&mut self, max: usize, what: &str) -> Result<usize, ArchiveError> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        if length == 0 || length > max {
            let problem = format!("{what} of {length} bytes, must be 1 to {max}");
            return Err(self.invalid(&problem));
        }
        Ok(length)
    }

    fn record(&mut self) -> Result<Pair, ArchiveError> {
        let lengths: [u8; 6] = self.take()?;
        let key_length = usize::from(u16::from_be_bytes([lengths[0], lengths[1]]));
        let value_length =
            u32::from_be_bytes([lengths[2], lengths[3], lengths[4], lengths[5]]) as usize;
        if key_length == 0 || key_length > KEY_BYTES_MAX || value_length > VALUE_BYTES_MAX {
            let problem = format!(
                "record of {key_length} and {value_length} bytes, must be 1 to {KEY_BYTES_MAX} \
                 and at most {VALUE_BYTES_MAX}"
            );
            return Err(self.invalid(&problem));
        }
        let (key, value) = (self.bytes(key_length)?, self.bytes(value_length)?);
        if self.take::<RECORD_HASH_BYTES>()? != record_hash(&lengths, &key, &value) {
            return Err(self.invalid("record does not match its hash"));
        }
        Ok((key, value))
    }
}

enum Place {
    Nowhere,
    Database(&'static str),
    Volume(VolumeId),
}

impl Place {
    fn name(&self) -> String {
        match self {
            Place::Nowhere => String::new(),
            Place::Database(name) => (*name).into(),
            Place::Volume(id) => format!("volumes/{id}"),
        }
    }
}

/// Where records go while importing; nowhere while checking.
struct Target<'a> {
    data: Option<&'a DataDir>,
    place: Place,
    step: Vec<Pair>,
    bytes: usize,
}

impl Target<'_> {
    fn add(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.bytes += key.len() + value.len();
        self.step.push((key, value));
        if self.bytes >= STEP_BYTES || self.step.len() == BATCH_OPERATIONS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        let step = std::mem::take(&mut self.step);
        let Some(data) = self.data.filter(|_| !step.is_empty()) else { return Ok(()) };
        match &self.place {
            Place::Nowhere => Ok(()),
            Place::Database(name) => {
                let store = if *name == INDEX { data.index() } else { data.chain() };
                let mut batch = Batch::new();
                for (key, value) in step {
                    batch.put(key, value);
                }
                store.apply(batch)?;
                store.flush()
            }
            Place::Volume(_) => data.volumes().append(step).map(drop),
        }
    }

    /// Finishes the old place and begins `place`.
    fn enter(&mut self, place: Place) -> Result<(), StoreError> {
        self.flush()?;
        if let (Some(data), Place::Volume(_)) = (self.data, &self.place) {
            data.volumes().seal_current()?;
        }
        self.place = place;
        Ok(())
    }
}
