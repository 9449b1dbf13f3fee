//! The whole verdict on a bundle: what the evidence crate finds in its content, and whether a chain
//! vouches for it.
//!
//! `lucid verify` is this and a file. It needs no network, no key and no device. A check that
//! cannot be made is never a pass, and the worst finding decides.

mod report;
mod trust;

pub use report::{AnchorReport, ChainReport, Check, DeviceReport, GapReport, Place, Report};
pub use trust::{Trust, TrustError};

use crate::anchor::{AnchorError, AnchorProof, Anchored};
use lucid_evidence::bundle::{self, Content, ReadAt};
use lucid_evidence::cbor::Problem;
use lucid_evidence::manifest::{EndReason, SignedManifest};
use lucid_evidence::proof::Proof;
use lucid_evidence::tree::{Blake3, Tree};
use lucid_evidence::{Findings, Verdict};
use std::collections::BTreeSet;

/// Reads the bundle in `source`, checks all of it, and compares it with what `trust` expects.
/// `progress` is told bytes checked and bytes in all, from several threads.
pub fn bundle(source: &dyn ReadAt, trust: &Trust, progress: &(dyn Fn(u64, u64) + Sync)) -> Report {
    judge(bundle::read(source, progress), trust)
}

/// Completes what was found in a bundle's content by its anchor and by the expectations.
pub fn judge(mut content: Content, trust: &Trust) -> Report {
    let mut findings = std::mem::take(&mut content.findings);
    let anchored = match (&content.manifest, &content.proof) {
        (Some(manifest), Some(proof)) => anchor(manifest, proof, &mut findings),
        _ => {
            findings.add(
                "anchor",
                Verdict::Unverifiable,
                "without manifest and proof there is nothing to anchor",
            );
            None
        }
    };
    let device = content.manifest.as_ref().map(|manifest| manifest.manifest().device_key);
    let device_checked = trust.check_device(device.as_ref(), &mut findings);
    let chain_checked = trust.check_chain(anchored.as_ref().map(|a| a.chain), &mut findings);
    Report::new(&content, anchored.as_ref(), &findings, device_checked, chain_checked)
}

/// Checks the anchor against manifest and leaves.
fn anchor(signed: &SignedManifest, proof: &Proof, findings: &mut Findings) -> Option<Anchored> {
    const CHECK: &str = "anchor";
    let Some(bytes) = &proof.anchor else {
        let text = "the bundle carries no anchor: no chain vouches for it";
        findings.add(CHECK, Verdict::Unverifiable, text);
        return None;
    };
    let anchor = match AnchorProof::from_bytes(bytes) {
        Ok(anchor) => anchor,
        Err(error) => {
            let verdict = match error.problem {
                Problem::Version { .. } => Verdict::Unverifiable,
                _ => Verdict::Tampered,
            };
            findings.add(CHECK, verdict, error.to_string());
            return None;
        }
    };
    let manifest = signed.manifest();
    let anchored = match anchor.verify(&manifest.session) {
        Ok(anchored) => anchored,
        Err(error) => {
            let verdict = match error {
                // One that was left out could be the one that contradicts the recording.
                AnchorError::Checkpoints { .. } => Verdict::Incomplete,
                _ => Verdict::Tampered,
            };
            findings.add(CHECK, verdict, error.to_string());
            return None;
        }
    };
    let text = format!(
        "block {} is certified by {} of {} nodes of the chain {}",
        anchored.head_height,
        anchored.witnesses.len(),
        anchored.validators,
        anchored.chain
    );
    findings.pass(CHECK, text);
    opening(signed, &anchored, findings);
    if manifest.end_reason == EndReason::Void {
        let text = "the session is void: it was ended because its policy was no longer the one \
                    under which it was opened; what is here was recorded before";
        findings.pass("void", text);
    }
    checkpoints(signed, proof, &anchored, findings);
    closing(signed, &anchored, findings);
    if let Some(tombstone) = &anchored.tombstone {
        let text = format!(
            "the device stated at height {} that it destroyed its keys to this recording",
            tombstone.height
        );
        findings.pass("tombstone", text);
    }
    Some(anchored)
}

fn opening(signed: &SignedManifest, anchored: &Anchored, findings: &mut Findings) {
    const CHECK: &str = "anchor-opening";
    let (manifest, opened) = (signed.manifest(), &anchored.opened);
    if opened.content.device != manifest.device_key {
        let text = "the session was opened on the chain by another device than the manifest's";
        findings.add(CHECK, Verdict::Tampered, text);
    } else if opened.content.session_key != manifest.session_key {
        let text = "the session was opened on the chain with another session key";
        findings.add(CHECK, Verdict::Tampered, text);
    } else if let Some(policy) = opened.content.policy
        && manifest.policy != Some(policy)
    {
        let text = "the session was opened on the chain under another policy than the manifest's";
        findings.add(CHECK, Verdict::Tampered, text);
    } else {
        let under = match (opened.content.policy, manifest.policy) {
            (Some(policy), _) => format!(" under the policy {policy}"),
            (None, Some(_)) => "; under which policy is not on the chain".to_owned(),
            (None, None) => String::new(),
        };
        let text = format!("the device opened the session at height {}{under}", opened.height);
        findings.pass(CHECK, text);
    }
}

fn checkpoints(
    signed: &SignedManifest,
    proof: &Proof,
    anchored: &Anchored,
    findings: &mut Findings,
) {
    const CHECK: &str = "anchor-checkpoints";
    let tree = Tree::<Blake3>::from_leaves(proof.leaves.iter().copied());
    let mut good = true;
    for at in &anchored.checkpoints {
        if tree.root_at(at.content.tree_size) != Ok(at.content.root) {
            let text = format!("the checkpoint at height {} contradicts the chunks", at.height);
            findings.add(CHECK, Verdict::Tampered, text);
            good = false;
        }
    }
    let anchored_at: BTreeSet<u64> = anchored.checkpoints.iter().map(|at| at.height).collect();
    for height in &signed.manifest().checkpoint_heights {
        if !anchored_at.contains(height) {
            let text =
                format!("the manifest counts a checkpoint at height {height}, the anchor has none");
            findings.add(CHECK, Verdict::Incomplete, text);
            good = false;
        }
    }
    if good {
        let text = format!("{} checkpoints stand on the chain", anchored.checkpoints.len());
        findings.pass(CHECK, text);
    }
}

fn closing(signed: &SignedManifest, anchored: &Anchored, findings: &mut Findings) {
    const CHECK: &str = "anchor-closing";
    let manifest = signed.manifest();
    let Some(closed) = &anchored.closed else {
        let text = "the manifest is not on the chain yet";
        findings.add(CHECK, Verdict::Unverifiable, text);
        return;
    };
    let content = &closed.content;
    if content.manifest != signed.hash()
        || content.tree_size != manifest.tree_size
        || content.root != manifest.root
    {
        let text = "the manifest is not the one the device put on the chain";
        findings.add(CHECK, Verdict::Tampered, text);
        return;
    }
    let text = format!(
        "the manifest is anchored at height {} by {} of {} nodes",
        closed.height,
        anchored.witnesses.len(),
        anchored.validators
    );
    findings.pass(CHECK, text);
}

#[cfg(test)]
mod tests;
