//! Reads a bundle and checks all of it that needs no chain: container, signatures, tree, chunks,
//! keys, video.

use super::zip::{self, Entry, ZipError};
use super::{EVENTS, KEYS, MANIFEST, PROOF, README, VideoLayout, chunk_name, readme, video_name};
use crate::checkpoint::SignedCheckpoint;
use crate::manifest::{Manifest, SignedManifest};
use crate::proof::{DisclosedKeys, KEYS_MAX_BYTES, PROOF_MAX_BYTES, Proof};
use crate::tree::{Blake3, Tree};
use crate::{Finding, Findings, Verdict, cbor};
use std::collections::HashMap;
use std::io;

/// Longest manifest entry, bytes.
const MANIFEST_MAX_BYTES: u64 = 16 << 20;
/// Longest README, bytes.
const README_MAX_BYTES: u64 = 64 << 10;

/// A file that can be read at any place from several threads.
pub trait ReadAt: Sync {
    /// Its length, bytes.
    fn size(&self) -> u64;
    /// Fills `buffer` from `offset` on; it is an error if the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..offset.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buffer)
    }
}

/// What a bundle holds, as far as it could be read, and what was found.
#[derive(Debug, Default)]
pub struct Content {
    /// The findings so far; the anchor is not among them.
    pub findings: Findings,
    /// The manifest, its signature verified.
    pub manifest: Option<SignedManifest>,
    /// The proof.
    pub proof: Option<Proof>,
    /// The checkpoints, their signatures and roots verified.
    pub checkpoints: Vec<SignedCheckpoint>,
    /// Whether the bundle discloses its chunks.
    pub disclosed: bool,
    /// The number of MP4s in it.
    pub videos: usize,
}

/// Reads `source` and checks everything up to the checkpoints. `progress` is told bytes checked and
/// bytes in all, from several threads.
pub fn read(source: &dyn ReadAt, progress: &(dyn Fn(u64, u64) + Sync)) -> Content {
    let mut content = Content::default();
    let entries = match zip::walk(source) {
        Ok(entries) => entries,
        Err(error) => {
            let verdict = match error {
                ZipError::Foreign | ZipError::Read { .. } => Verdict::Unverifiable,
                ZipError::Truncated { .. } => Verdict::Incomplete,
                ZipError::Changed { .. } => Verdict::Tampered,
            };
            content.findings.add("container", verdict, error.to_string());
            return content;
        }
    };
    let mut by_name = HashMap::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        by_name.entry(entry.name.clone()).or_insert(at);
    }
    Reader { source, entries, by_name, progress, content, lacking: false }.run()
}

pub(super) struct Reader<'a> {
    pub source: &'a dyn ReadAt,
    pub entries: Vec<Entry>,
    /// The place of the first entry of each name; a bundle may have a million.
    by_name: HashMap<String, usize>,
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    pub content: Content,
    /// Whether a chunk that should be here has no entry, so that what is derived from the chunks
    /// may hold more than the others.
    pub lacking: bool,
}

impl Reader<'_> {
    fn run(mut self) -> Content {
        self.content
            .findings
            .pass("container", format!("{} entries in canonical form", self.entries.len()));
        let Some(manifest) = self.manifest() else { return self.content };
        let proof = self.proof(manifest.manifest());
        if let Some(proof) = &proof {
            self.recording(manifest.manifest(), proof);
        }
        self.content.manifest = Some(manifest);
        self.content.proof = proof;
        self.content
    }

    /// Everything that manifest and proof count. Stops where what follows could not be told from
    /// tampering: if keys are there that cannot be read.
    fn recording(&mut self, manifest: &Manifest, proof: &Proof) {
        self.tree(manifest, proof);
        let keys = self.keys(proof);
        if keys.is_none() && self.by_name.contains_key(KEYS) {
            return;
        }
        self.content.disclosed = keys.is_some();
        let headers = self.headers(manifest, proof);
        let Some(layout) = self.layout(&headers, keys.as_ref()) else { return };
        let events = self.happened(&headers, keys.as_ref());
        self.names(proof, &layout, events);
        self.content.videos = layout.lengths.len();
        self.chunks(&headers, keys.as_ref(), &layout);
        let (disclosed, videos) = (self.content.disclosed, self.content.videos);
        let (first, count) = (proof.first_chunk, proof.chunk_count);
        let text = |videos, events| readme::text(manifest, first, count, disclosed, videos, events);
        let mut expected = vec![text(videos, events)];
        if self.lacking && disclosed {
            // With the missing chunks there may be an MP4 more, or events; two stand for several.
            let others = (0..=2).flat_map(|videos| [false, true].map(|events| (videos, events)));
            expected.extend(others.map(|(videos, events)| text(videos, events)));
        }
        self.readme(&expected);
    }

    /// What to say of a difference in what is derived from the chunks: where some are missing, it
    /// may be that their part is in it.
    pub(super) fn derived(&self, finding: Finding) -> Finding {
        if !self.lacking || finding.verdict != Verdict::Tampered {
            return finding;
        }
        let text = format!("{}; what the missing chunks held is not known", finding.text);
        Finding { verdict: Verdict::Incomplete, text, ..finding }
    }

    pub(super) fn entry(&self, name: &str) -> Option<Entry> {
        self.by_name.get(name).and_then(|at| self.entries.get(*at)).cloned()
    }

    /// The data of a small entry, its CRC-32 checked.
    fn small(&mut self, name: &'static str, check: &'static str, limit: u64) -> Option<Vec<u8>> {
        let Some(entry) = self.entry(name) else {
            self.content.findings.add(check, Verdict::Incomplete, format!("{name} is missing"));
            return None;
        };
        if entry.length > limit {
            let text = format!("{name} has {} bytes, the limit is {limit} bytes", entry.length);
            self.content.findings.add(check, Verdict::Tampered, text);
            return None;
        }
        let mut data = vec![0; entry.length as usize];
        if let Err(error) = self.source.read_at(entry.data_offset, &mut data) {
            let text = format!("{name} cannot be read: {error}");
            self.content.findings.add(check, Verdict::Unverifiable, text);
            return None;
        }
        if crc32fast::hash(&data) != entry.crc {
            let text = format!("{name} does not have its CRC-32");
            self.content.findings.add(check, Verdict::Tampered, text);
        }
        Some(data)
    }

    fn manifest(&mut self) -> Option<SignedManifest> {
        const CHECK: &str = "manifest";
        let data = self.small(MANIFEST, CHECK, MANIFEST_MAX_BYTES)?;
        let findings = &mut self.content.findings;
        match SignedManifest::verify(&data) {
            Ok(manifest) => {
                let key = manifest.manifest().device_key.fingerprint();
                findings.pass(CHECK, format!("signed by the device with key fingerprint {key}"));
                Some(manifest)
            }
            Err(error) if error.is_unknown_version() => {
                findings.add(CHECK, Verdict::Unverifiable, error.to_string());
                None
            }
            Err(error) => {
                findings.add(CHECK, Verdict::Tampered, error.to_string());
                None
            }
        }
    }

    fn proof(&mut self, manifest: &Manifest) -> Option<Proof> {
        const CHECK: &str = "proof";
        let data = self.small(PROOF, CHECK, PROOF_MAX_BYTES)?;
        let findings = &mut self.content.findings;
        match Proof::decode(&data) {
            Ok(proof) if proof.session == manifest.session => Some(proof),
            Ok(_) => {
                findings.add(CHECK, Verdict::Tampered, "proof.cbor is of another session");
                None
            }
            Err(error) => {
                let verdict = match error.problem {
                    cbor::Problem::Version { .. } => Verdict::Unverifiable,
                    _ => Verdict::Tampered,
                };
                findings.add(CHECK, verdict, error.to_string());
                None
            }
        }
    }

    /// The leaves make the manifest's root, and every checkpoint is a prefix of them.
    fn tree(&mut self, manifest: &Manifest, proof: &Proof) {
        let findings = &mut self.content.findings;
        let tree = Tree::<Blake3>::from_leaves(proof.leaves.iter().copied());
        if tree.size() != manifest.tree_size || tree.root() != manifest.root {
            let text = format!(
                "the {} leaves do not make the manifest's root over {} chunks",
                tree.size(),
                manifest.tree_size
            );
            findings.add("tree", Verdict::Tampered, text);
        } else {
            let text = match tree.size() {
                1 => format!("1 chunk makes the root {}", tree.root()),
                size => format!("{size} chunks make the root {}", tree.root()),
            };
            findings.pass("tree", text);
        }
        let mut before = None;
        for bytes in &proof.checkpoints {
            let signed = match SignedCheckpoint::verify(bytes, &manifest.session_key) {
                Ok(signed) => signed,
                Err(error) => {
                    findings.add("checkpoints", Verdict::Tampered, error.to_string());
                    continue;
                }
            };
            let checkpoint = *signed.checkpoint();
            let size = checkpoint.tree_size;
            if checkpoint.session != manifest.session {
                let text = format!("the checkpoint of size {size} is of another session");
                findings.add("checkpoints", Verdict::Tampered, text);
            } else if before.is_some_and(|(earlier, _)| size < earlier)
                || before == Some((size, checkpoint.time_us))
            {
                let text = format!("the checkpoint of size {size} is out of order or repeated");
                findings.add("checkpoints", Verdict::Tampered, text);
            } else if tree.root_at(size) != Ok(checkpoint.root) {
                let text = format!("the checkpoint of size {size} contradicts the chunks");
                findings.add("checkpoints", Verdict::Tampered, text);
            } else {
                before = Some((size, checkpoint.time_us));
                self.content.checkpoints.push(signed);
            }
        }
        if self.content.checkpoints.len() == proof.checkpoints.len() {
            let text = format!(
                "{} checkpoints signed by the session key, each a prefix of the next",
                proof.checkpoints.len()
            );
            findings.pass("checkpoints", text);
        }
    }

    fn keys(&mut self, proof: &Proof) -> Option<DisclosedKeys> {
        const CHECK: &str = "keys";
        self.entry(KEYS)?;
        let data = self.small(KEYS, CHECK, KEYS_MAX_BYTES)?;
        let findings = &mut self.content.findings;
        match DisclosedKeys::decode(&data) {
            Ok(keys)
                if keys.session == proof.session
                    && keys.first_chunk == proof.first_chunk
                    && keys.keys.len() as u64 == proof.chunk_count =>
            {
                Some(keys)
            }
            Ok(_) => {
                let text = "keys.cbor is not about the chunks that are here";
                findings.add(CHECK, Verdict::Tampered, text);
                None
            }
            Err(error) => {
                let verdict = match error.problem {
                    cbor::Problem::Version { .. } => Verdict::Unverifiable,
                    _ => Verdict::Tampered,
                };
                findings.add(CHECK, verdict, error.to_string());
                None
            }
        }
    }

    /// The entries are exactly those that the proof promises, in their order.
    fn names(&mut self, proof: &Proof, layout: &VideoLayout, events: bool) {
        let mut expected = vec![README.to_owned(), MANIFEST.to_owned()];
        expected.extend((proof.first_chunk..).take(proof.chunk_count as usize).map(chunk_name));
        expected.push(PROOF.into());
        if self.content.disclosed {
            expected.push(KEYS.into());
            expected.extend(events.then(|| EVENTS.to_owned()));
            expected.extend((0..layout.lengths.len()).map(video_name));
        }
        let found: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        let findings = &mut self.content.findings;
        let mut missing = 0;
        for name in &expected {
            if !self.by_name.contains_key(name) {
                missing += 1;
                findings.add("entries", Verdict::Incomplete, format!("{name} is missing"));
            }
        }
        let total = proof.leaves.len() as u64;
        if missing == 0 && expected == found {
            let text = match total - proof.chunk_count {
                0 if total == 1 => "the one chunk is here".to_owned(),
                0 => format!("all {total} chunks are here"),
                withheld => format!(
                    "{} of {total} chunks are here; {withheld} are withheld and only counted",
                    proof.chunk_count
                ),
            };
            findings.pass("entries", text);
        }
        if missing == 0 && expected != found {
            let other = found.iter().zip(&expected).find(|(a, b)| a != b).map(|(a, _)| *a);
            let name = other.or(found.last().copied()).unwrap_or_default();
            let text = format!("the entries are not those of this bundle, from {name} on");
            findings.add("entries", Verdict::Tampered, text);
        }
    }

    fn readme(&mut self, expected: &[String]) {
        if let Some(found) = self.small(README, "readme", README_MAX_BYTES) {
            let findings = &mut self.content.findings;
            match expected.iter().any(|text| found == text.as_bytes()) {
                true => findings.pass("readme", "README.txt says what the manifest says"),
                false => findings.add(
                    "readme",
                    Verdict::Tampered,
                    "README.txt does not say what the manifest says",
                ),
            }
        }
    }
}
