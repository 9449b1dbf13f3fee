//! `events.jsonl`: the events of the disclosed chunks, a line each, derived from what the chunks
//! hold.

use super::EVENTS;
use super::chunks::{Included, tampered, unread};
use super::read::Reader;
use super::zip::Entry;
use crate::cbor::{CborError, Problem};
use crate::chunk::{ChunkHeader, MediaKind, open_chunk};
use crate::event::Events;
use crate::proof::DisclosedKeys;
use crate::seal::ChunkKey;
use crate::{Finding, Verdict};

/// The check of the list.
const CHECK: &str = "events";
/// Lines are handed on once they take this much, bytes.
const BLOCK_BYTES: usize = 256 << 10;

/// Whether a chunk, disclosed, has lines in the list.
pub(super) fn holds_events(header: &ChunkHeader) -> bool {
    header.kind == MediaKind::Events && header.plaintext_bytes > 0
}

/// Gives the lines of a chunk's events to `take`, in blocks; returns their length in bytes, or what
/// is wrong with the events.
///
/// # Errors
/// That of `take`, which ends it.
pub(super) fn lines<E>(
    plaintext: &[u8],
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Result<u64, CborError>, E> {
    let mut length = 0;
    let mut block = String::new();
    for event in Events::new(plaintext) {
        match event {
            Ok(event) => event.json_line(&mut block),
            Err(error) => return Ok(Err(error)),
        }
        if block.len() >= BLOCK_BYTES {
            length += block.len() as u64;
            take(block.as_bytes())?;
            block.clear();
        }
    }
    length += block.len() as u64;
    take(block.as_bytes())?;
    Ok(Ok(length))
}

impl Reader<'_> {
    /// Checks the list of events against the disclosed chunks. Says whether there is to be one.
    pub(super) fn happened(&mut self, included: &[Included], keys: Option<&DisclosedKeys>) -> bool {
        let Some(keys) = keys else { return false };
        let of: Vec<&Included> = included.iter().filter(|one| holds_events(&one.header)).collect();
        if of.is_empty() {
            return false;
        }
        // That it is missing is said with the other names.
        let Some(entry) = self.entry(EVENTS) else { return true };
        let mut list =
            List { entry, at: 0, events: 0, crc: crc32fast::Hasher::new(), finding: None };
        for one in &of {
            let Some(key) = keys.keys.get(one.place) else { continue };
            if let Err(finding) = self.compare(one, key, &mut list) {
                self.note(finding);
                return true;
            }
        }
        let finding = if list.finding.is_some() {
            list.finding
        } else if list.at != list.entry.length {
            Some(tampered(CHECK, format!("{EVENTS} has lines that no chunk holds")))
        } else if list.crc.finalize() != list.entry.crc {
            Some(tampered(CHECK, format!("{EVENTS} does not have its CRC-32")))
        } else {
            None
        };
        if let Some(finding) = finding {
            self.note(self.derived(finding));
            return true;
        }
        let text = match list.events {
            1 => "1 event is what the chunks hold".to_owned(),
            count => format!("{count} events are what the chunks hold"),
        };
        self.content.findings.pass(CHECK, text);
        true
    }

    /// Compares the lines of one chunk with the list from where the chunk before ended, until one
    /// differs; that the events themselves are well formed is looked at to the end.
    fn compare(&self, one: &Included, key: &ChunkKey, list: &mut List) -> Result<(), Finding> {
        let header = &one.header;
        let index = header.index;
        let mut sealed = vec![0; header.sealed_bytes as usize];
        self.source
            .read_at(one.sealed_offset(), &mut sealed)
            .map_err(|error| unread("chunks", format!("chunk {index}"), &error))?;
        let plaintext = open_chunk(header, key, &sealed)
            .map_err(|error| tampered("keys", format!("chunk {index}: {error}")))?;
        drop(sealed);
        let mut found = Vec::new();
        let length = lines(&plaintext, |lines| {
            if list.finding.is_some() {
                return Ok(());
            }
            let here = lines.len() as u64 <= list.entry.length - list.at;
            if here {
                found.resize(lines.len(), 0);
                self.source
                    .read_at(list.entry.data_offset + list.at, &mut found)
                    .map_err(|error| unread(CHECK, EVENTS, &error))?;
            }
            if !here || found != lines {
                let text = format!("{EVENTS} is not what chunk {index} holds");
                list.finding = Some(tampered(CHECK, text));
                return Ok(());
            }
            list.crc.update(lines);
            list.events += lines.iter().filter(|byte| **byte == b'\n').count();
            list.at += lines.len() as u64;
            Ok(())
        })?;
        match length {
            Ok(_) => Ok(()),
            // Signed by a recorder that is newer than this verifier.
            Err(error) if matches!(error.problem, Problem::Version { .. }) => {
                let text = format!("chunk {index}: {error}");
                Err(Finding { check: CHECK, verdict: Verdict::Unverifiable, text })
            }
            Err(error) => Err(tampered(CHECK, format!("chunk {index}: {error}"))),
        }
    }
}

/// How far the list has been compared.
struct List {
    entry: Entry,
    at: u64,
    events: usize,
    crc: crc32fast::Hasher,
    /// Where it was first found to differ.
    finding: Option<Finding>,
}
