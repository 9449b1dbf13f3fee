//! How the MP4s lie around chunks that are missing from a disclosed bundle.
//!
//! Of a missing chunk neither length nor initialisation segment is known. If one stretch of chunks
//! is missing, what is before it lies where it would, and what is after it is counted from the end.
//! The bytes between cannot be compared with anything, which is said.

use super::chunks::Included;
use super::{VideoLayout, VideoPart};
use crate::Hash;
use crate::chunk::{ChunkHeader, MediaKind};

/// The layout of MP4s with the lengths `found` around the chunks of a bundle of `count` that are
/// not `included`, whose initialisation segments have the hashes `inits`; none if there is more
/// than one hole, or nothing could stand in it that gives these lengths.
pub(super) fn around(
    included: &[Included],
    inits: &[Hash],
    count: usize,
    found: &[u64],
) -> Option<VideoLayout> {
    let missing = count.checked_sub(included.len()).filter(|missing| *missing > 0)?;
    let hole = included.iter().enumerate().position(|(at, one)| one.place != at);
    let hole = hole.unwrap_or(included.len());
    let after = included.iter().enumerate().skip(hole);
    if inits.len() != included.len() || after.clone().any(|(at, one)| one.place != at + missing) {
        return None;
    }
    let mut layout = VideoLayout::default();
    for (one, init) in included[..hole].iter().zip(inits) {
        layout.add(&one.header, *init);
    }
    let before = std::mem::take(&mut layout.lengths);
    layout.parts.resize(included.len(), None);
    let groups = groups(included, inits, hole);
    // The first MP4 that may hold chunks after the hole; those between hold missing ones alone.
    let first = found.len().checked_sub(groups.len())?;
    if let Some((last, whole)) = before.split_last()
        && (found.get(..whole.len()) != Some(whole) || *found.get(whole.len())? < *last)
    {
        return None;
    }
    let shared = !groups.is_empty() && first + 1 == before.len();
    if !shared && (first < before.len() || first - before.len() > missing) {
        return None;
    }
    for (video, group) in (first..).zip(&groups) {
        let init_bytes = header(included, *group.first()?).init_bytes;
        let bytes: u64 = group.iter().map(|at| fragments(header(included, *at))).sum();
        let skipped = *found.get(video)?;
        let skipped = skipped.checked_sub(bytes)?;
        let mut skip = init_bytes;
        if video == first && shared {
            // An MP4 goes on only with the initialisation segment that it began with.
            let same = layout.init == group.first().map(|at| inits[*at]);
            if !same || skipped < *before.last()? {
                return None;
            }
        } else if skipped == init_bytes {
            skip = 0;
        } else if video != first || skipped < init_bytes {
            return None;
        }
        let mut offset = skipped - (init_bytes - skip);
        for at in group {
            let length = fragments(header(included, *at)) + (init_bytes - skip);
            let part_skip = if skip == 0 { 0 } else { header(included, *at).init_bytes };
            layout.parts[*at] = Some(VideoPart { video, offset, skip: part_skip, length });
            offset += length;
            skip = init_bytes;
        }
    }
    layout.lengths = found.to_vec();
    let mut held = vec![0; found.len()];
    for part in layout.parts.iter().flatten() {
        held[part.video] += part.length;
    }
    layout.unproved = found.iter().zip(held).map(|(length, held)| length - held).collect();
    Some(layout)
}

/// The chunks from `hole` on that hold video, by the MP4 they are in.
fn groups(included: &[Included], inits: &[Hash], hole: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in hole..included.len() {
        let header = header(included, at);
        if header.kind != MediaKind::Video || header.plaintext_bytes == 0 {
            continue;
        }
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(|last| inits[*last] == inits[at]) => {
                group.push(at);
            }
            _ => groups.push(vec![at]),
        }
    }
    groups
}

fn header(included: &[Included], at: usize) -> &ChunkHeader {
    &included[at].header
}

/// What a chunk holds beside its initialisation segment, bytes.
fn fragments(header: &ChunkHeader) -> u64 {
    header.plaintext_bytes.saturating_sub(header.init_bytes)
}
