//! When a transaction is paid, failed or dead. The simulation breaks these one by one to show that
//! it would notice.

use super::record::Attempt;
use super::types::{Millis, Usdt};
use crate::node::{Block, Receipt};

/// What one node showed of a transaction, asked in this order.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its newest solidified block, asked first.
    pub solid: Block,
    /// The id it has for the transaction's reference block. A node that lacks it is on another
    /// chain or began later, and cannot prove that the transaction is absent.
    pub reference: Option<[u8; 32]>,
    /// The solidified receipt, asked last.
    pub receipt: Option<Receipt>,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The payee has it.
    Paid {
        /// Block of the receipt.
        block: u64,
        /// TRX burned, sun.
        burned_sun: u64,
    },
    /// Final, and not as it should be.
    Failed {
        /// Block of the receipt.
        block: u64,
        /// TRX burned, sun.
        burned_sun: u64,
        /// What reached the payee all the same.
        moved: Usdt,
        /// What went wrong.
        cause: String,
    },
}

/// The rules as they are; see [`Strict`].
pub trait Rules {
    /// A record is durable before its effects begin.
    const JOURNAL_FIRST: bool = true;

    /// A timestamp for a new transaction: never one this account has used.
    fn timestamp(last: Millis, now: Millis) -> Millis {
        now.max(last + 1)
    }

    /// Whether `look` speaks of this transaction on this chain.
    fn sound(attempt: &Attempt, look: &Look) -> bool {
        look.reference == Some(attempt.reference_id)
            && look.receipt.as_ref().is_none_or(|receipt| {
                receipt.txid == attempt.txid
                    && receipt.block <= look.solid.number
                    && receipt.block > attempt.reference
            })
    }

    /// What a receipt says: success and exactly the one transfer, or what went wrong.
    fn outcome(attempt: &Attempt, receipt: &Receipt) -> Outcome {
        let (block, burned_sun) = (receipt.block, receipt.burned_sun);
        let moved: Usdt = receipt
            .transfers
            .iter()
            .filter(|log| {
                (log.token, log.from, log.to) == (attempt.token, attempt.from, attempt.to)
            })
            .map(|log| log.amount)
            .sum();
        if receipt.success && moved == attempt.net {
            return Outcome::Paid { block, burned_sun };
        }
        let cause = if receipt.success {
            format!("the payee got {moved} of {} USDT", attempt.net)
        } else {
            format!("the contract ended with {}", receipt.result)
        };
        let moved = if receipt.success { moved } else { Usdt::ZERO };
        Outcome::Failed { block, burned_sun, moved, cause }
    }

    /// How it ended, if `needed` nodes agree and none says otherwise.
    fn settled(attempt: &Attempt, looks: &[Look], needed: usize) -> Option<Outcome> {
        let mut outcomes = looks
            .iter()
            .filter(|look| Self::sound(attempt, look))
            .filter_map(|look| look.receipt.as_ref())
            .map(|receipt| Self::outcome(attempt, receipt));
        let first = outcomes.next()?;
        let mut agreeing = 1;
        for other in outcomes {
            if other != first {
                return None;
            }
            agreeing += 1;
        }
        (agreeing >= needed).then_some(first)
    }

    /// The solidified block that proves it can never be included, if `needed` nodes are solid
    /// beyond its expiry without it and no node shows any receipt.
    fn dead(attempt: &Attempt, looks: &[Look], needed: usize, margin: Millis) -> Option<Block> {
        if looks.iter().any(|look| look.receipt.is_some()) {
            return None;
        }
        let mut proofs = looks.iter().filter(|look| {
            Self::sound(attempt, look) && look.solid.time >= attempt.expiration + margin
        });
        let first = proofs.next()?;
        (1 + proofs.count() >= needed).then_some(first.solid)
    }

    /// Whether a refused broadcast ends a transaction at once. It never does: an earlier one may
    /// have been taken.
    fn refusal_ends(_taken_before: bool) -> bool {
        false
    }
}

/// The rules of `docs/payments.md`, with nothing changed.
#[derive(Clone, Copy, Debug)]
pub struct Strict;

impl Rules for Strict {}
