//! The report of a verification: for machines as plain fields, for people as text.

use crate::anchor::{Anchored, At};
use lucid_evidence::bundle::{Content, rfc3339};
use lucid_evidence::{Findings, Verdict};
use serde::Serialize;
use std::fmt;

/// How far the device's clock and the chain's may be apart before the report points at it, seconds.
/// A session is opened on the chain within a block or two of its start.
const CLOCKS_APART_S: f64 = 60.0;

/// What was checked and what follows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// `valid`, `tampered`, `incomplete` or `unverifiable`.
    pub verdict: &'static str,
    /// The exit code of `lucid verify`: 0, 10, 11 or 12.
    pub exit_code: u8,
    /// The session id, if a manifest could be read.
    pub session: Option<String>,
    /// The device that signed the manifest.
    pub device: Option<DeviceReport>,
    /// The chain that vouches.
    pub chain: Option<ChainReport>,
    /// When it was recorded and what, by the device's word.
    pub recording: Option<RecordingReport>,
    /// How the session stands on the chain.
    pub anchor: Option<AnchorReport>,
    /// Every gap.
    pub gaps: Vec<GapReport>,
    /// Jumps of the device's clock.
    pub clock_jumps: Vec<ClockJumpReport>,
    /// Each thing that was checked, in order.
    pub checks: Vec<Check>,
    /// What the verdict says, in plain words.
    pub says: Vec<String>,
    /// What it does not say.
    pub does_not_say: Vec<String>,
}

/// The device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// The name it gives itself.
    pub name: String,
    /// The fingerprint of its key.
    pub fingerprint: String,
    /// Its public key.
    pub key: String,
    /// The software that recorded.
    pub software: String,
    /// Whether it was compared with an expected one, and was it.
    pub checked: bool,
}

/// The chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The name it gives itself.
    pub name: String,
    /// Its genesis hash.
    pub genesis: String,
    /// Whether it was compared with an expected one, and was it.
    pub checked: bool,
}

/// The recording, as the manifest describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordingReport {
    /// The source's name.
    pub source: String,
    /// The source's address without credentials.
    pub address: String,
    /// Start by the device's clock, RFC 3339.
    pub start: String,
    /// End by the device's clock, RFC 3339.
    pub end: String,
    /// Length by the stream clock, gaps included, seconds.
    pub duration_s: f64,
    /// Why it ended.
    pub end_reason: &'static str,
    /// Chunks the session has.
    pub chunks: u64,
    /// The first chunk in the bundle.
    pub first_chunk: u64,
    /// Chunks in the bundle; the others are withheld and counted.
    pub included_chunks: u64,
    /// Whether the bundle shows what they hold.
    pub disclosed: bool,
    /// MP4s in the bundle.
    pub videos: usize,
}

/// A place on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The block's height.
    pub height: u64,
    /// The block's time, RFC 3339.
    pub time: String,
    /// The transaction's id.
    pub transaction: Option<String>,
    /// Chunks it vouches for, where it does.
    pub tree_size: Option<u64>,
}

/// How the session stands on the chain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnchorReport {
    /// In words: "anchored at height H by 3 of 4 nodes".
    pub statement: String,
    /// The opening.
    pub opened: Place,
    /// The checkpoints.
    pub checkpoints: Vec<Place>,
    /// The closing.
    pub closed: Option<Place>,
    /// The tombstone.
    pub tombstone: Option<Place>,
    /// The block whose certificate vouches for all of these.
    pub certified: Place,
    /// Keys of the nodes that signed it.
    pub witnesses: Vec<String>,
    /// How many nodes could have signed it.
    pub validators: usize,
    /// Changes of the nodes since the genesis that were followed.
    pub validator_changes: usize,
    /// By how much the opening on the chain is later than the start by the device's clock, seconds;
    /// negative if earlier.
    pub opened_after_start_s: f64,
}

/// A gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GapReport {
    /// When by the device's clock, RFC 3339.
    pub at: String,
    /// Where by the stream clock, seconds.
    pub stream_time_s: f64,
    /// How long, seconds.
    pub length_s: f64,
    /// Why.
    pub reason: &'static str,
}

/// A jump of the device's clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClockJumpReport {
    /// Where by the stream clock, seconds.
    pub stream_time_s: f64,
    /// By how much it was set, seconds.
    pub by_s: f64,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its stable name.
    pub check: &'static str,
    /// What it means for the verdict; `valid` is a pass.
    pub verdict: &'static str,
    /// What was found.
    pub text: String,
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn place<T>(at: &At<T>, tree_size: Option<u64>) -> Place {
    let transaction = Some(at.transaction.to_string());
    Place { height: at.height, time: rfc3339(at.time_us), transaction, tree_size }
}

impl AnchorReport {
    fn new(anchored: &Anchored, start_us: u64) -> Self {
        let opened_after_start_s = (anchored.opened.time_us as f64 - start_us as f64) / 1e6;
        let (signed, all) = (anchored.witnesses.len(), anchored.validators);
        let mut statement = match &anchored.closed {
            Some(closed) => {
                format!("anchored at height {} by {signed} of {all} nodes", closed.height)
            }
            None => format!(
                "opened at height {} by {signed} of {all} nodes, not closed",
                anchored.opened.height
            ),
        };
        if all == 1 {
            // One of one sounds like everyone.
            statement += ": only the device itself vouches, and one node is no quorum";
        }
        let checkpoint = |at: &At<_>| {
            let content: &lucid_evidence::Checkpoint = &at.content;
            place(at, Some(content.tree_size))
        };
        AnchorReport {
            statement,
            opened: place(&anchored.opened, None),
            checkpoints: anchored.checkpoints.iter().map(checkpoint).collect(),
            closed: anchored.closed.as_ref().map(|at| place(at, Some(at.content.tree_size))),
            tombstone: anchored.tombstone.as_ref().map(|at| place(at, None)),
            certified: Place {
                height: anchored.head_height,
                time: rfc3339(anchored.head_time_us),
                transaction: None,
                tree_size: None,
            },
            witnesses: anchored.witnesses.iter().map(ToString::to_string).collect(),
            validators: all,
            validator_changes: anchored.set_changes,
            opened_after_start_s,
        }
    }
}

impl Report {
    pub(super) fn new(
        content: &Content,
        anchored: Option<&Anchored>,
        findings: &Findings,
        device_checked: bool,
        chain_checked: bool,
    ) -> Self {
        let verdict = findings.verdict();
        let manifest = content.manifest.as_ref().map(|signed| signed.manifest());
        let proof = content.proof.as_ref();
        let mut report = Report {
            verdict: verdict.as_str(),
            exit_code: verdict.exit_code(),
            session: manifest.map(|manifest| manifest.session.to_string()),
            device: manifest.map(|manifest| DeviceReport {
                name: manifest.device_name.clone(),
                fingerprint: manifest.device_key.fingerprint().to_string(),
                key: manifest.device_key.to_string(),
                software: manifest.software.clone(),
                checked: device_checked,
            }),
            chain: anchored.map(|anchored| ChainReport {
                name: anchored.chain_name.clone(),
                genesis: anchored.chain.to_string(),
                checked: chain_checked,
            }),
            recording: manifest.map(|manifest| RecordingReport {
                source: manifest.source.name.clone(),
                address: manifest.source.address.clone(),
                start: rfc3339(manifest.start_us),
                end: rfc3339(manifest.end_us),
                duration_s: seconds(manifest.duration_us),
                end_reason: manifest.end_reason.as_str(),
                chunks: manifest.tree_size,
                first_chunk: proof.map_or(0, |proof| proof.first_chunk),
                included_chunks: proof.map_or(0, |proof| proof.chunk_count),
                disclosed: content.disclosed,
                videos: content.videos,
            }),
            anchor: anchored
                .zip(manifest)
                .map(|(anchored, manifest)| AnchorReport::new(anchored, manifest.start_us)),
            gaps: Vec::new(),
            clock_jumps: Vec::new(),
            checks: Vec::new(),
            says: Vec::new(),
            does_not_say: Vec::new(),
        };
        if let Some(manifest) = manifest {
            report.gaps = manifest
                .gaps
                .iter()
                .map(|record| GapReport {
                    at: rfc3339(record.wall_us),
                    stream_time_s: seconds(record.stream_us),
                    length_s: seconds(record.gap.length_us),
                    reason: record.gap.reason.as_str(),
                })
                .collect();
            report.clock_jumps = manifest
                .clock_jumps
                .iter()
                .map(|jump| ClockJumpReport {
                    stream_time_s: seconds(jump.stream_us),
                    by_s: jump.by_us as f64 / 1e6,
                })
                .collect();
        }
        report.checks = findings
            .iter()
            .map(|finding| Check {
                check: finding.check,
                verdict: finding.verdict.as_str(),
                text: finding.text.clone(),
            })
            .collect();
        report.explain(verdict, anchored);
        report
    }

    /// What the verdict says and does not say.
    fn explain(&mut self, verdict: Verdict, anchored: Option<&Anchored>) {
        let says = match verdict {
            Verdict::Valid => {
                "What is in this bundle is what the device recorded, in that order, and nothing \
                 of it was changed \
                 since the chain vouched for it."
            }
            Verdict::Tampered => {
                "Something in this bundle contradicts a hash, a signature or an order. Do not \
                 rely on it."
            }
            Verdict::Incomplete => {
                "Something that the manifest counts is missing, or the file was cut. Ask for a \
                 complete copy."
            }
            Verdict::Unverifiable => {
                "This bundle cannot be judged as it is. That is neither a proof for it nor \
                 against it."
            }
        };
        self.says.push(says.to_owned());
        let Some(anchored) = anchored else {
            self.does_not_say.push("When this was recorded: no chain was checked.".to_owned());
            return;
        };
        if verdict == Verdict::Valid {
            if let Some(closed) = &anchored.closed {
                let (from, to) = (rfc3339(anchored.opened.time_us), rfc3339(closed.time_us));
                self.says.push(format!(
                    "By the clocks of the chain it was opened at {from} and closed at {to}."
                ));
            }
            if let Some(recording) = &self.recording
                && recording.included_chunks < recording.chunks
            {
                let withheld = recording.chunks - recording.included_chunks;
                self.says.push(format!(
                    "{withheld} of {} chunks are withheld; they exist and nothing about them is \
                     shown.",
                    recording.chunks
                ));
            }
            match self.gaps.len() {
                0 => self.says.push("The recording declares no gap.".to_owned()),
                count => {
                    self.says.push(format!("The recording declares {count} gaps, listed here."))
                }
            }
        }
        let apart = self.anchor.as_ref().map_or(0.0, |anchor| anchor.opened_after_start_s);
        if apart.abs() > CLOCKS_APART_S {
            self.does_not_say.push(format!(
                "That the device's own times are right: its start is {:.0} s {} the opening on \
                 the chain.",
                apart.abs(),
                if apart > 0.0 { "before" } else { "after" }
            ));
        }
        if anchored.validators == 1 {
            self.does_not_say.push(
                "That anyone but the device's own chain saw it: there is 1 of 1 witness, and \
                 its clock is its own."
                    .to_owned(),
            );
        }
        if !self.device.as_ref().is_some_and(|device| device.checked) {
            self.does_not_say.push(
                "Whose device it is: compare its fingerprint with the one you know \
                 (--expect-device)."
                    .to_owned(),
            );
        }
        if !self.chain.as_ref().is_some_and(|chain| chain.checked) {
            self.does_not_say.push(
                "Whose chain it is: compare its genesis hash with the one you know \
                 (--expect-chain)."
                    .to_owned(),
            );
        }
        self.does_not_say.push(
            "That what stood before the camera was real, or that the source was not replaced."
                .to_owned(),
        );
    }
}

/// Text that came from a bundle, made safe to print: a terminal obeys control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verdict: {}", self.verdict)?;
        let not = |checked: bool| if checked { "checked" } else { "not checked" };
        if let Some(session) = &self.session {
            writeln!(f, "session: {session}")?;
        }
        if let Some(recording) = &self.recording {
            let (source, address) = (printable(&recording.source), printable(&recording.address));
            writeln!(f, "source:  {source} ({address})")?;
            writeln!(
                f,
                "time:    {} to {} by the device's clock, {:.3} s, {}",
                recording.start, recording.end, recording.duration_s, recording.end_reason
            )?;
            let form = if recording.disclosed { "disclosed" } else { "sealed" };
            let (held, all) = (recording.included_chunks, recording.chunks);
            writeln!(f, "chunks:  {held} of {all} here, {form}")?;
        }
        if let Some(device) = &self.device {
            let (name, software) = (printable(&device.name), printable(&device.software));
            writeln!(f, "device:  {name}, {software}")?;
            writeln!(f, "         fingerprint {} ({})", device.fingerprint, not(device.checked))?;
        }
        if let Some(chain) = &self.chain {
            writeln!(f, "chain:   {}", printable(&chain.name))?;
            writeln!(f, "         genesis {} ({})", chain.genesis, not(chain.checked))?;
        }
        if let Some(anchor) = &self.anchor {
            writeln!(f, "anchor:  {}", anchor.statement)?;
        }
        writeln!(f, "\nchecked:")?;
        for check in &self.checks {
            let mark = if check.verdict == Verdict::Valid.as_str() { "ok" } else { check.verdict };
            writeln!(f, "  {mark:<12} {}: {}", check.check, printable(&check.text))?;
        }
        for gap in &self.gaps {
            writeln!(
                f,
                "  gap          {} at {:.3} s, {:.3} s long: {}",
                gap.at, gap.stream_time_s, gap.length_s, gap.reason
            )?;
        }
        for jump in &self.clock_jumps {
            writeln!(f, "  clock        set by {:.3} s at {:.3} s", jump.by_s, jump.stream_time_s)?;
        }
        writeln!(f, "\nthis says:")?;
        for line in &self.says {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "\nthis does not say:")?;
        for line in &self.does_not_say {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
