//! One volume: records laid out so that the engine writes each of them once.
//!
//! sled 0.34 rewrites a leaf after ten changes and splits it after sixteen entries, which costs
//! two to three times the data when records are large. So large records go into buckets, trees
//! of [`BUCKET_RECORDS_MAX`] records that never reach either mark; the default space maps every
//! key to its bucket, or holds the record itself when it is small.
//!
//! Index entry, framed like every value: `0x00 | value`, or `0x01 | bucket be32 | value length
//! be32`. A record is written to its bucket before the index names it, and the engine recovers
//! writes in their order, so an index entry without its record is damage and not an interrupted
//! write; nothing needs to be atomic beyond one entry.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{Cut, DEFAULT_SPACE, Engine, Operation};
use crate::volumes::ScrubReport;
use crate::{Pair, StoreError, frame};

/// Records in a bucket: below the ten changes after which sled rewrites a leaf.
pub(crate) const BUCKET_RECORDS_MAX: u32 = 8;
/// Values up to this many bytes stay in the index.
const INLINE_BYTES_MAX: usize = 8 * 1024;
/// Bytes that may be written and not yet synced; with all overhead less than one segment of the
/// engine.
pub(crate) const UNSYNCED_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Bytes synced at a time: while one step is synced, the next is written.
pub(crate) const STEP_BYTES_MAX: usize = UNSYNCED_BYTES_MAX / 2;
/// How often a small record is rewritten as its leaf fills, at worst; for [`Ready::cost`].
const INLINE_REWRITES: usize = 4;
/// Index entries read at a time.
const SCAN_STEP_ENTRIES: usize = 256;
/// Bytes counted for an index entry on top of its key.
const ENTRY_BYTES: usize = 64;

const TAG_INLINE: u8 = 0;
const TAG_BUCKET: u8 = 1;

/// A record ready to be written: key, framed value, and the value's own length.
pub(crate) struct Ready {
    key: Vec<u8>,
    stored: Stored,
    bytes: usize,
}

enum Stored {
    /// The framed index entry.
    Inline(Vec<u8>),
    /// The framed value for a bucket.
    Bucket(Vec<u8>),
}

impl Ready {
    /// Hashes and frames a record; the caller's thread pays for it, not the writer's.
    pub(crate) fn new(key: Vec<u8>, value: Vec<u8>) -> Ready {
        let bytes = key.len() + value.len();
        let stored = if value.len() <= INLINE_BYTES_MAX {
            let mut entry = Vec::with_capacity(1 + value.len());
            entry.push(TAG_INLINE);
            entry.extend_from_slice(&value);
            Stored::Inline(frame::wrap(&key, &entry))
        } else {
            Stored::Bucket(frame::wrap(&key, &value))
        };
        Ready { key, stored, bytes }
    }

    /// Key and value in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes this may add to the engine's log before the next sync.
    pub(crate) fn cost(&self) -> usize {
        match &self.stored {
            Stored::Inline(entry) => (self.key.len() + entry.len()) * INLINE_REWRITES,
            Stored::Bucket(value) => {
                self.key.len() + value.len() + (self.key.len() + ENTRY_BYTES) * INLINE_REWRITES
            }
        }
    }
}

/// Where the next large record goes; only the writer moves it.
struct Filling {
    bucket: u32,
    records: u32,
}

/// An open volume.
pub(crate) struct Volume {
    name: String,
    engine: Arc<dyn Engine>,
    filling: Mutex<Filling>,
}

impl Volume {
    pub(crate) fn new(name: String, engine: Arc<dyn Engine>) -> Result<Volume, StoreError> {
        let last = engine.spaces()?.last().copied().unwrap_or(DEFAULT_SPACE);
        // A bucket is never filled further after a restart: how full it is is not recorded.
        let filling = Mutex::new(Filling { bucket: last, records: BUCKET_RECORDS_MAX });
        Ok(Volume { name, engine, filling })
    }

    /// Divides records into what is written and synced together, each with its [`Ready::cost`]; at
    /// least one step, if only to be told that it is durable.
    pub(crate) fn steps(records: Vec<Ready>) -> Vec<(Vec<Ready>, usize)> {
        let mut steps: Vec<(Vec<Ready>, usize)> = vec![(Vec::new(), 0)];
        for record in records {
            let more = record.cost();
            match steps.last_mut() {
                Some((step, cost)) if step.is_empty() || *cost + more <= STEP_BYTES_MAX => {
                    step.push(record);
                    *cost += more;
                }
                _ => steps.push((vec![record], more)),
            }
        }
        steps
    }

    /// Makes durable what was written before. After an error the volume must be closed.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.engine.sync()
    }

    /// What was durable and was not there when the volume was opened.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.engine.cut()
    }

    /// How far the engine's log reaches, in bytes, if it has one.
    pub(crate) fn log_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.engine.log_bytes()
    }

    /// Writes records, durable after the next [`Volume::sync`]; of records not synced yet there
    /// are at most [`UNSYNCED_BYTES_MAX`], or a single one. After an error the volume must be
    /// closed.
    pub(crate) fn write(&self, step: Vec<Ready>) -> Result<(), StoreError> {
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut index = Vec::with_capacity(step.len());
        let mut bucket = Vec::new();
        for record in step {
            let entry = match record.stored {
                Stored::Inline(entry) => entry,
                Stored::Bucket(value) => {
                    if filling.records == BUCKET_RECORDS_MAX {
                        self.write_bucket(filling.bucket, &mut bucket)?;
                        filling.bucket += 1;
                        filling.records = 0;
                    }
                    filling.records += 1;
                    let length = (value.len() - frame::FRAME_BYTES) as u32;
                    bucket.push(Operation::Put(record.key.clone(), value));
                    let mut entry = vec![TAG_BUCKET];
                    entry.extend_from_slice(&filling.bucket.to_be_bytes());
                    entry.extend_from_slice(&length.to_be_bytes());
                    frame::wrap(&record.key, &entry)
                }
            };
            index.push(Operation::Put(record.key, entry));
        }
        self.write_bucket(filling.bucket, &mut bucket)?;
        self.engine.apply_each(DEFAULT_SPACE, index)
    }

    fn write_bucket(&self, bucket: u32, records: &mut Vec<Operation>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.engine.apply_each(bucket, std::mem::take(records))
    }

    fn damaged(&self, key: &[u8]) -> StoreError {
        StoreError::Damaged { database: self.name.clone(), key: key.into() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.engine.get(DEFAULT_SPACE, key)? {
            Some(entry) => self.resolve(key, &entry).map(Some),
            None => Ok(None),
        }
    }

    /// The value an index entry stands for.
    fn resolve(&self, key: &[u8], framed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut entry = frame::unwrap(&self.name, key, framed)?;
        match entry.first() {
            Some(&TAG_INLINE) => Ok(entry.split_off(1)),
            Some(&TAG_BUCKET) => {
                let (bucket, length) = bucket_entry(&entry).ok_or_else(|| self.damaged(key))?;
                let stored = match self.engine.get(bucket, key) {
                    Ok(Some(stored)) => stored,
                    Ok(None) | Err(StoreError::Unreadable { .. }) => return Err(self.damaged(key)),
                    Err(error) => return Err(error),
                };
                let value = frame::unwrap(&self.name, key, &stored)?;
                if value.len() == length { Ok(value) } else { Err(self.damaged(key)) }
            }
            _ => Err(self.damaged(key)),
        }
    }

    /// Index entries from `from` on, each resolved; stops when told to.
    fn each(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        mut see: impl FnMut(Vec<u8>, Result<Vec<u8>, StoreError>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut from = from.to_vec();
        loop {
            let step = self.engine.scan(DEFAULT_SPACE, &from, to, SCAN_STEP_ENTRIES, false)?;
            let Some((last, _)) = step.last() else { return Ok(()) };
            from = last.clone();
            from.push(0);
            for (key, entry) in step {
                let value = match self.resolve(&key, &entry) {
                    Err(error) if !error.is_damage() => return Err(error),
                    value => value,
                };
                if see(key, value).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// At most `limit` records, and the keys of damaged ones met on the way.
    pub(crate) fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<Pair>, Vec<Vec<u8>>), StoreError> {
        let (mut items, mut damaged) = (Vec::new(), Vec::new());
        if limit == 0 {
            return Ok((items, damaged));
        }
        self.each(from, to, |key, value| {
            match value {
                Ok(value) => items.push((key, value)),
                Err(_) => damaged.push(key),
            }
            if items.len() + damaged.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok((items, damaged))
    }

    /// At most `limit` keys from `from` on, without reading their values.
    pub(crate) fn keys(&self, from: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let step = self.engine.scan(DEFAULT_SPACE, from, None, limit, false)?;
        Ok(step.into_iter().map(|(key, _)| key).collect())
    }

    /// Number of records and their bytes, from the index alone.
    pub(crate) fn totals(&self) -> Result<(u64, u64), StoreError> {
        let (mut records, mut bytes, mut from) = (0, 0, Vec::new());
        loop {
            let step = self.engine.scan(DEFAULT_SPACE, &from, None, SCAN_STEP_ENTRIES, false)?;
            let Some((last, _)) = step.last() else { return Ok((records, bytes)) };
            from = last.clone();
            from.push(0);
            for (key, framed) in step {
                records += 1;
                let value = match frame::unwrap(&self.name, &key, &framed) {
                    Ok(entry) => match bucket_entry(&entry) {
                        Some((_, length)) => length,
                        None => entry.len().saturating_sub(1),
                    },
                    Err(_) => 0,
                };
                bytes += (key.len() + value) as u64;
            }
        }
    }

    /// Reads and verifies every record, as far as the index can be walked.
    pub(crate) fn scrub(&self) -> Result<ScrubReport, StoreError> {
        let mut report = ScrubReport::default();
        let result = self.each(&[], None, |key, value| {
            report.records += 1;
            if value.is_err() {
                report.damaged.push(key);
            }
            ControlFlow::Continue(())
        });
        match result {
            Err(error) if error.is_damage() => report.unreadable = Some(error.to_string()),
            other => other?,
        }
        Ok(report)
    }

    /// The buckets of the volume, oldest first.
    pub(crate) fn buckets(&self) -> Result<Vec<u32>, StoreError> {
        let mut spaces = self.engine.spaces()?;
        spaces.retain(|space| *space != DEFAULT_SPACE);
        Ok(spaces)
    }

    /// Whatever good records a bucket still holds, for when the index is lost.
    pub(crate) fn salvage(&self, bucket: u32) -> Result<Vec<Pair>, StoreError> {
        let limit = BUCKET_RECORDS_MAX as usize;
        let stored = match self.engine.scan(bucket, &[], None, limit, false) {
            Err(error) if error.is_damage() => return Ok(Vec::new()),
            other => other?,
        };
        let good = |(key, stored): Pair| {
            let value = frame::unwrap(&self.name, &key, &stored).ok()?;
            Some((key, value))
        };
        Ok(stored.into_iter().filter_map(good).collect())
    }
}

fn bucket_entry(entry: &[u8]) -> Option<(u32, usize)> {
    let (tag, rest) = entry.split_first()?;
    if *tag != TAG_BUCKET {
        return None;
    }
    let (bucket, length) = rest.split_first_chunk::<4>()?;
    let length: [u8; 4] = length.try_into().ok()?;
    Some((u32::from_be_bytes(*bucket), u32::from_be_bytes(length) as usize))
}
