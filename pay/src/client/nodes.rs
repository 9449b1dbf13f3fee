//! Several nodes of one network: reads that fall over to the next, and a watch that compares them.

use std::future::Future;

use futures_util::future::join_all;
use lucid_pay_api::{NodeHealth, NodeState};

use super::node::HttpNode;
use crate::node::NodeError;
use crate::tron::hex;

/// A node whose newest block is so much older than the newest of all is behind, in milliseconds.
pub const BEHIND_MS: u64 = 60_000;
/// When the newest blocks of all nodes are so far from our clock, it is ours that is wrong, in
/// milliseconds.
pub const CLOCK_OFF_MS: u64 = 60_000;

/// Something on which nodes of one network cannot both be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// About what, in words.
    pub about: String,
    /// Who says what.
    pub said: Vec<(String, String)>,
    /// Those a majority contradicts; they are not asked until a later watch clears them. Empty
    /// where there is no majority: then nobody knows who is right.
    pub contradicted: Vec<String>,
}

/// A question to all nodes: about what, what each said, and the right answer where it is known.
type Said = (String, Vec<Option<[u8; 32]>>, Option<[u8; 32]>);

/// What a watch found.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Every node.
    pub nodes: Vec<NodeHealth>,
    /// On what they disagree.
    pub disagreements: Vec<Disagreement>,
    /// How far our clock is behind the newest blocks (negative: ahead), where all nodes say so, in
    /// milliseconds.
    pub clock_off_ms: Option<i64>,
}

/// The nodes, as the operator lists them.
#[derive(Debug, Clone)]
pub struct Nodes {
    nodes: Vec<HttpNode>,
}

impl Nodes {
    /// These nodes, in the operator's order.
    pub fn new(nodes: Vec<HttpNode>) -> Self {
        Self { nodes }
    }

    /// The nodes one by one, as the payout driver wants them.
    pub fn all(&self) -> &[HttpNode] {
        &self.nodes
    }

    /// Nodes in the order they are best asked: those that may be asked now, then fresh ones, then
    /// quick ones.
    fn ranked(&self) -> Vec<HttpNode> {
        let mut ranked: Vec<_> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(place, node)| {
                let (memory, now) = (node.memory(), node.clock_ms());
                let rank = (
                    memory.distrusted.is_some(),
                    !memory.health.would_open(now),
                    memory.behind,
                    // Within a factor of two the operator's order counts.
                    memory.health.latency_ms().map_or(0, |ms| ms.max(16).ilog2()),
                    place,
                );
                (rank, node.clone())
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, node)| node).collect()
    }

    /// Asks one node after another until one answers.
    ///
    /// # Errors
    /// What every node said, when none answers.
    pub async fn read<T, F>(&self, ask: impl Fn(HttpNode) -> F) -> Result<T, NodeError>
    where
        F: Future<Output = Result<T, NodeError>>,
    {
        let mut last = None;
        let mut said = Vec::new();
        for node in self.ranked() {
            match ask(node.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    said.push(format!("{}: {error}", node.name()));
                    last = Some(error);
                }
            }
        }
        let said = said.join("; ");
        Err(match last {
            None => NodeError::Unreachable("no node is configured".to_owned()),
            Some(NodeError::Unreachable(_)) => NodeError::Unreachable(said),
            Some(NodeError::Malformed(_)) => NodeError::Malformed(said),
            Some(NodeError::Refused(_)) => NodeError::Refused(said),
        })
    }

    /// Looks at every node: whether it answers, how new its blocks are, and whether it agrees with
    /// the others. `now_ms` is our clock, milliseconds since 1970.
    pub async fn watch(&self, now_ms: u64) -> Watch {
        join_all(self.nodes.iter().map(|node| look(node, now_ms))).await;
        let mut disagreements = Vec::new();
        let mut distrusted = vec![None; self.nodes.len()];
        let first = self.first_blocks();
        disagreements.extend(self.compare(&first, &mut distrusted));
        let solid = self.solid_blocks(&distrusted).await;
        disagreements.extend(self.compare(&solid, &mut distrusted));
        let newest = self.heads().max();
        for (node, why) in self.nodes.iter().zip(distrusted) {
            let mut memory = node.memory();
            memory.distrusted = why;
            let time = memory.head.map(|head| head.time);
            memory.behind = match (time, newest) {
                (Some(time), Some(newest)) => newest.saturating_sub(time) > BEHIND_MS,
                _ => false,
            };
        }
        let skews = self.nodes.iter().filter_map(|node| node.memory().skew_ms);
        // The node that is least behind tells best what time it is.
        let skew = skews.max().filter(|skew| skew.unsigned_abs() > CLOCK_OFF_MS);
        Watch { nodes: self.report(), disagreements, clock_off_ms: skew }
    }

    fn heads(&self) -> impl Iterator<Item = u64> {
        self.nodes.iter().filter_map(|node| node.memory().head.map(|head| head.time))
    }

    /// What is known of every node, without asking.
    pub fn report(&self) -> Vec<NodeHealth> {
        self.nodes.iter().map(health_of).collect()
    }

    fn first_blocks(&self) -> Said {
        let ids = self.nodes.iter().map(|node| node.memory().genesis).collect();
        let expected = self.nodes.iter().find_map(|node| node.network().genesis());
        ("the first block of the chain".to_owned(), ids, expected)
    }

    /// What they say of the height that all of them have solidified.
    async fn solid_blocks(&self, distrusted: &[Option<String>]) -> Said {
        let solid = |node: &HttpNode| node.memory().solid.map(|block| block.number);
        let trusted = self.nodes.iter().zip(distrusted).filter(|(_, why)| why.is_none());
        let height = trusted.filter_map(|(node, _)| solid(node)).min().unwrap_or(0);
        let ids = self.nodes.iter().zip(distrusted).map(async |(node, why)| {
            let asked = why.is_none() && solid(node).is_some();
            if asked { node.peek_id(height).await.ok().flatten() } else { None }
        });
        (format!("solidified block {height}"), join_all(ids).await, None)
    }

    /// Compares ids, and notes which nodes a majority, or what is known beforehand, contradicts.
    fn compare(
        &self,
        (about, ids, expected): &Said,
        distrusted: &mut [Option<String>],
    ) -> Option<Disagreement> {
        let known = || ids.iter().flatten().copied();
        let first = (*expected).or_else(|| known().next())?;
        if known().all(|id| id == first) {
            return None;
        }
        let votes = |id: [u8; 32]| known().filter(|other| *other == id).count();
        let right = expected.or_else(|| known().find(|id| 2 * votes(*id) > known().count()));
        let mut found =
            Disagreement { about: about.clone(), said: Vec::new(), contradicted: Vec::new() };
        for ((node, id), why) in self.nodes.iter().zip(ids).zip(distrusted) {
            let Some(id) = id else { continue };
            found.said.push((node.name().to_owned(), hex::encode(id)));
            if right.is_some_and(|right| right != *id) {
                *why = Some(format!("the others contradict it on {about}: {}", hex::encode(id)));
                found.contradicted.push(node.name().to_owned());
            }
        }
        Some(found)
    }
}

/// Asks a node for its newest blocks; what it says stays in its memory.
async fn look(node: &HttpNode, now_ms: u64) {
    // A node that is not believed is heard as well; the comparison decides anew.
    let _ = node.genesis().await;
    let head = node.peek(false).await;
    let skew = head.as_ref().ok().map(|head| {
        let ahead = i128::from(head.time) - i128::from(now_ms);
        i64::try_from(ahead).unwrap_or(i64::MAX)
    });
    let solid = node.peek(true).await.ok();
    let mut memory = node.memory();
    if head.is_err() {
        memory.head = None;
    }
    memory.skew_ms = skew;
    memory.solid = solid;
}

fn health_of(node: &HttpNode) -> NodeHealth {
    let memory = node.memory();
    let shut = memory.health.is_shut();
    let state = if memory.distrusted.is_some() {
        NodeState::Down
    } else if !memory.asked {
        NodeState::Unknown
    } else if shut && memory.health.is_limited() {
        NodeState::RateLimited
    } else if shut || memory.health.failures() > 0 {
        NodeState::Down
    } else if memory.behind {
        NodeState::Behind
    } else {
        NodeState::Healthy
    };
    NodeHealth {
        name: node.name().to_owned(),
        state,
        head: memory.head.map(|block| block.number),
        solid: memory.solid.map(|block| block.number),
        latency_ms: memory.health.latency_ms(),
        skew_ms: memory.skew_ms,
        trouble: memory.distrusted.clone().or_else(|| memory.trouble.clone()),
    }
}
