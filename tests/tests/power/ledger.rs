//! What the writer was promised, kept by the side that does not lose power.
//!
//! The writer says what it is about to do and what was acknowledged, one line each; after the
//! cut a fresh process is given the promises and looks whether they were kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Keys used in the key-value databases; few, so that they are overwritten often.
pub const KEYS: u64 = 150;
/// Every so many records is kept when its volume is removed.
pub const KEPT_EVERY: u64 = 7;

/// Promises and intentions.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// Acknowledged records and their volume.
    pub records: BTreeMap<u64, u64>,
    /// The last acknowledged change of a key, by database.
    pub keys: BTreeMap<(u8, u64), u64>,
    /// The batch that was under way: database, change number, keys.
    pub under_way: Option<(u8, u64, Vec<u64>)>,
    /// Next number for records and changes.
    pub next: u64,
}

impl Ledger {
    /// Takes a line from the writer; `Err` is a line that makes no sense.
    pub fn hear(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
        let numbers = numbers.map_err(|error| format!("{error} in: {line}"))?;
        match (kind, numbers.as_slice()) {
            ("next", [next]) => self.next = self.next.max(*next),
            ("stored", [volume, records @ ..]) => {
                for record in records {
                    self.records.insert(*record, *volume);
                }
            }
            ("batch", [database, change, keys @ ..]) => {
                self.under_way = Some((*database as u8, *change, keys.to_vec()));
            }
            ("flushed", []) => {
                if let Some((database, change, keys)) = self.under_way.take() {
                    for key in keys {
                        self.keys.insert((database, key), change);
                    }
                }
            }
            ("removing", [volume]) => {
                // Kept records stay where they are until it is said where they went.
                self.records.retain(|n, v| v != volume || n % KEPT_EVERY == 0);
            }
            ("moved", [record, volume]) => {
                self.records.insert(*record, *volume);
            }
            ("key", [database, key, change]) => {
                self.keys.insert((*database as u8, *key), *change);
            }
            _ => return Err(format!("unknown line: {line}")),
        }
        Ok(())
    }

    /// The promises as lines that [`Ledger::hear`] understands.
    pub fn to_text(&self) -> String {
        let mut text = format!("next {}\n", self.next);
        for (record, volume) in &self.records {
            let _ = writeln!(text, "stored {volume} {record}");
        }
        for ((database, key), change) in &self.keys {
            let _ = writeln!(text, "key {database} {key} {change}");
        }
        if let Some((database, change, keys)) = &self.under_way {
            let _ = write!(text, "batch {database} {change}");
            for key in keys {
                let _ = write!(text, " {key}");
            }
            text.push('\n');
        }
        text
    }
}
