//! Credits: what each node did for the chain within the window, and the ranking that follows from
//! it.
//!
//! Counts are kept by the hour of block time, so the window moves in steps of an hour and the state
//! stays small (at most 337 hours times 100 nodes) however short the block interval is.

use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::{Hash, PublicKey};
use std::collections::{BTreeMap, VecDeque};

/// Microseconds in an hour.
const HOUR_US: u64 = 3_600_000_000;
/// Most hours that are kept: the longest window and the hour under way.
const HOURS_MAX: u64 = 14 * 24 + 1;
/// Credits for a signed block.
pub const CREDIT_BLOCK: u64 = 1;
/// What a missed turn takes from the credits, until it has left the window.
pub const COST_MISSED_TURN: u64 = 16;
/// The uptime below which a node neither votes nor signs, in thousandths.
pub const ELIGIBLE_UPTIME_PERMILLE: u64 = 800;

/// What a node did in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Blocks that it was to sign.
    pub expected: u64,
    /// Blocks that it signed, by the certificates in the chain.
    pub signed: u64,
    /// Blocks that it proposed.
    pub proposed: u64,
    /// Turns to propose that it missed.
    pub missed: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.expected += other.expected;
        self.signed += other.signed;
        self.proposed += other.proposed;
        self.missed += other.missed;
    }

    /// The share of blocks signed, in thousandths; full where nothing was expected yet.
    pub fn uptime_permille(&self) -> u64 {
        (self.signed * 1000).checked_div(self.expected).unwrap_or(1000)
    }

    /// The score by which nodes are ranked.
    pub fn score(&self) -> u64 {
        (self.signed * CREDIT_BLOCK).saturating_sub(self.missed * COST_MISSED_TURN)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hour {
    number: u64,
    counts: BTreeMap<PublicKey, Counts>,
}

/// The counts of all nodes within the window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Credits {
    hours: VecDeque<Hour>,
}

impl Credits {
    /// Moves to the hour of `time_us` and forgets what is older than the window. Block time only
    /// grows, so the last hour is never after this one.
    pub(crate) fn advance(&mut self, time_us: u64, window_hours: u64) {
        let number = time_us / HOUR_US;
        if self.hours.back().is_none_or(|hour| hour.number < number) {
            self.hours.push_back(Hour { number, counts: BTreeMap::new() });
        }
        while self.hours.front().is_some_and(|hour| hour.number + window_hours < number) {
            self.hours.pop_front();
        }
    }

    /// Counts something for a node in the present hour.
    pub(crate) fn count(&mut self, node: PublicKey, add: Counts) {
        if let Some(hour) = self.hours.back_mut() {
            hour.counts.entry(node).or_default().add(&add);
        }
    }

    /// The first hour that is here whole, and the present one, which is not over.
    pub(crate) fn hours(&self, window_hours: u64) -> Option<(u64, u64)> {
        let now = self.hours.back()?.number;
        Some((now.saturating_sub(window_hours), now))
    }

    /// The sums over whole hours, the last not counted.
    pub(crate) fn between(&self, from: u64, to: u64) -> BTreeMap<PublicKey, Counts> {
        let mut sums: BTreeMap<PublicKey, Counts> = BTreeMap::new();
        for hour in self.hours.iter().filter(|hour| (from..to).contains(&hour.number)) {
            for (node, counts) in &hour.counts {
                sums.entry(*node).or_default().add(counts);
            }
        }
        sums
    }

    /// The sums over the window.
    pub(crate) fn totals(&self) -> BTreeMap<PublicKey, Counts> {
        let mut totals: BTreeMap<PublicKey, Counts> = BTreeMap::new();
        for hour in &self.hours {
            for (node, counts) in &hour.counts {
                totals.entry(*node).or_default().add(counts);
            }
        }
        totals
    }

    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.array(self.hours.len() as u64);
        for hour in &self.hours {
            e.array(2).uint(hour.number).array(hour.counts.len() as u64);
            for (node, counts) in &hour.counts {
                e.array(5).bytes(node.as_bytes()).uint(counts.expected).uint(counts.signed);
                e.uint(counts.proposed).uint(counts.missed);
            }
        }
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        /// Far above what blocks of a second give in the longest window; keeps sums from
        /// overflowing.
        const COUNT_MAX: u64 = 1 << 40;
        let mut hours = VecDeque::new();
        for _ in 0..d.array("credits", HOURS_MAX)? {
            d.array_of("credits.hour", 2)?;
            let number = d.u64_up_to("credits.hour.number", u64::MAX / HOUR_US)?;
            let mut counts = BTreeMap::new();
            for _ in 0..d.array("credits.hour.counts", super::NODE_RECORDS_MAX as u64)? {
                d.array_of("credits.node", 5)?;
                let node = d.public_key("credits.node.key")?;
                let mut count = || d.u64_up_to("credits.node.count", COUNT_MAX);
                let expected = count()?;
                let (signed, proposed, missed) = (count()?, count()?, count()?);
                counts.insert(node, Counts { expected, signed, proposed, missed });
            }
            hours.push_back(Hour { number, counts });
        }
        Ok(Credits { hours })
    }
}

/// Ranks `nodes` for the block after `previous`: those in cooldown (`resting`, longest rested
/// first) stand behind the others, which stand by score and then by BLAKE3(previous block id, node
/// id).
pub(crate) fn rank(
    nodes: &[PublicKey],
    totals: &BTreeMap<PublicKey, Counts>,
    resting: &[PublicKey],
    previous: &Hash,
) -> Vec<PublicKey> {
    let mut ranked: Vec<_> = nodes
        .iter()
        .map(|node| {
            let rest = resting.iter().rposition(|other| other == node).map_or(0, |at| at + 1);
            let score = totals.get(node).map_or(0, Counts::score);
            let draw = Hash::of_parts(&[&previous.0, node.as_bytes()]);
            (rest, std::cmp::Reverse(score), draw, *node)
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., node)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lucid_evidence::SigningKey;

    fn node(seed: u8) -> PublicKey {
        SigningKey::from_seed(&[seed; 32]).public()
    }

    #[test]
    fn credits_leave_with_the_window() {
        let mut credits = Credits::default();
        let signed = Counts { expected: 1, signed: 1, ..Counts::default() };
        for hour in 0..200 {
            credits.advance(hour * HOUR_US + 5, 168);
            credits.count(node(1), signed);
        }
        let totals = credits.totals();
        assert_eq!(totals[&node(1)].signed, 169, "168 whole hours and the one under way");
        credits.advance(1_000 * HOUR_US, 168);
        assert!(credits.totals().is_empty());
    }

    #[test]
    fn a_missed_turn_costs_until_it_left_the_window() {
        let mut credits = Credits::default();
        credits.advance(HOUR_US, 72);
        credits.count(node(1), Counts { expected: 20, signed: 20, missed: 1, ..Counts::default() });
        credits.count(node(2), Counts { expected: 20, signed: 10, ..Counts::default() });
        let nodes = [node(1), node(2)];
        let previous = Hash::of(b"previous");
        let order = |credits: &Credits| rank(&nodes, &credits.totals(), &[], &previous);
        assert_eq!(order(&credits)[0], node(2), "20 - 16 is less than 10");
        credits.advance(74 * HOUR_US, 72);
        credits.count(node(1), Counts { expected: 1, signed: 1, ..Counts::default() });
        assert_eq!(order(&credits)[0], node(1));
        assert_eq!(credits.totals()[&node(1)].uptime_permille(), 1000);
    }

    #[test]
    fn equal_scores_are_drawn_by_the_previous_block_and_cooldown_goes_last() {
        let nodes: Vec<_> = (0..10).map(node).collect();
        let totals = BTreeMap::new();
        let first = rank(&nodes, &totals, &[], &Hash::of(b"a"));
        let mut turned = nodes.clone();
        turned.reverse();
        assert_eq!(rank(&turned, &totals, &[], &Hash::of(b"a")), first, "input order is nothing");
        assert_ne!(rank(&nodes, &totals, &[], &Hash::of(b"b")), first);
        let resting = [first[0], first[1]];
        let ranked = rank(&nodes, &totals, &resting, &Hash::of(b"a"));
        assert_eq!(ranked[..8], first[2..]);
        assert_eq!(ranked[8..], [first[0], first[1]], "who proposed longest ago comes first");
    }
}
