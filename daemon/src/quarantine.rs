//! What was put aside as damaged, in this life of the daemon and in earlier ones, and which
//! recordings and times it touches.
//!
//! The directory `quarantine/` says what was put aside, the catalogue what had been stored there.
//! An entry stays until somebody takes it out of the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lucid_capture::archive::{Archive, ArchiveError};
use lucid_capture::catalogue::SessionState;
use lucid_evidence::SessionId;

/// Things put aside that are named, at most; beyond, only their number is.
const NAMED_MAX: usize = 100;

/// Something put aside, and one recording it touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// What it was, and where it is now.
    pub what: String,
    /// The recording, where one is known.
    pub session: Option<SessionId>,
    /// The time it touches by the device's clock, microseconds since 1970; from and to.
    pub wall_us: Option<(u64, u64)>,
}

/// Looks at the directory, and remembers what it found for each entry.
#[derive(Default)]
pub struct Quarantine {
    /// Why something was put aside in this life, by the name of its place.
    reasons: BTreeMap<String, String>,
    known: Mutex<BTreeMap<String, Vec<Quarantined>>>,
}

impl Quarantine {
    /// With the reasons that opening the data directory gave.
    pub fn new(report: &lucid_store::OpenReport) -> Self {
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let reasons = report.quarantined.iter();
        let reasons = reasons.filter_map(|one| Some((name(&one.path)?, one.reason.clone())));
        Self { reasons: reasons.collect(), known: Mutex::default() }
    }

    /// Everything put aside, with what it touches. Blocks.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub fn look(&self, archive: &Archive) -> Result<Vec<Quarantined>, ArchiveError> {
        let dir = archive.path().join("quarantine");
        let entries = std::fs::read_dir(&dir).map(|entries| {
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.collect::<BTreeSet<String>>()
        });
        let names = entries.unwrap_or_else(|error| {
            tracing::warn!(%error, "the quarantine directory cannot be read");
            BTreeSet::new()
        });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|name, _| names.contains(name));
        let mut all = Vec::new();
        for name in &names {
            if all.len() >= NAMED_MAX {
                let what = format!("{} more in {}", names.len() - known.len(), dir.display());
                all.push(Quarantined { what, session: None, wall_us: None });
                break;
            }
            if !known.contains_key(name) {
                known.insert(name.clone(), self.describe(archive, name)?);
            }
            all.extend(known.get(name).into_iter().flatten().cloned());
        }
        Ok(all)
    }

    fn describe(&self, archive: &Archive, name: &str) -> Result<Vec<Quarantined>, ArchiveError> {
        let reason = self.reasons.get(name).map(|why| format!(" ({why})")).unwrap_or_default();
        let what = format!("{}{reason}, now quarantine/{name}", kind(name));
        let mut found = match volume(name) {
            Some(volume) => touched(archive, volume, &what)?,
            None => Vec::new(),
        };
        if found.is_empty() {
            found.push(Quarantined { what, session: None, wall_us: None });
        }
        Ok(found)
    }
}

/// `volume-12-1795280000-0` was volume 12.
fn volume(name: &str) -> Option<u64> {
    name.strip_prefix("volume-")?.split('-').next()?.parse().ok()
}

/// Whether a place holds a whole chain that was lost.
fn is_chain(name: &str) -> bool {
    let rest = name.strip_prefix("chain-");
    rest.is_some_and(|rest| !rest.starts_with("record-") && !rest.starts_with("watermark-"))
}

/// The places of lost chains that nobody has taken out of the quarantine directory yet.
///
/// # Errors
/// When the directory cannot be read.
pub fn lost_chains(data_dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data_dir.join("quarantine"))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_chain) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// What a place in the directory held, in words.
fn kind(name: &str) -> String {
    match (volume(name), name) {
        (Some(volume), _) => format!("volume {volume} of recordings"),
        (_, name) if name.starts_with("index-record-") => "a record of the index".into(),
        (_, name) if name.starts_with("chain-record-") => "a record of the chain".into(),
        (_, name) if name.starts_with("chain-watermark-") => {
            "the note of the chain's last block; the chain goes on, but whether it had lost blocks \
             cannot be told"
                .into()
        }
        (_, name) if name.starts_with("index-cut-") => {
            "the index as it was before its damaged end was cut off".into()
        }
        (_, name) if name.starts_with("index-") => {
            "the whole index: accounts, sources and the list of recordings".into()
        }
        (_, name) if is_chain(name) => {
            "the whole chain; recordings keep their proofs, a new chain was founded".into()
        }
        _ => "something".into(),
    }
}

/// The recordings that still have pieces of their chunks in a volume, with the time those cover.
fn touched(archive: &Archive, volume: u64, what: &str) -> Result<Vec<Quarantined>, ArchiveError> {
    let mut found = Vec::new();
    for (session, _) in archive.catalogue().volume_users(volume)? {
        let deleted = match archive.catalogue().session(session)? {
            Some(record) => record.state == SessionState::Deleted,
            None => true,
        };
        if deleted {
            continue;
        }
        let chunks = archive.catalogue().all_chunks(session)?;
        let inside = chunks.iter().filter(|chunk| {
            let mut runs = chunk.map.runs.iter();
            runs.any(|run| run.volume == volume)
        });
        let times = inside.map(|chunk| (chunk.map.wall_start_us, chunk.map.wall_end_us));
        let wall_us = times.reduce(|(from, to), (start, end)| (from.min(start), to.max(end)));
        found.push(Quarantined { what: what.to_owned(), session: Some(session), wall_us });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_was_put_aside() {
        assert_eq!(volume("volume-12-1795280000-0"), Some(12));
        for name in ["volume-", "volume-x-1-0", "index-1795280000-0", "notes.txt"] {
            assert_eq!(volume(name), None, "{name}");
        }
        assert_eq!(kind("volume-7-1795280000-1"), "volume 7 of recordings");
        assert!(kind("chain-record-1795280000-0").contains("record of the chain"));
        assert!(kind("index-1795280000-0").contains("whole index"));
        assert!(kind("chain-1795280000-0").contains("whole chain"));
        assert!(kind("chain-watermark-1795280000-0").contains("note of the chain's last block"));
    }
}
