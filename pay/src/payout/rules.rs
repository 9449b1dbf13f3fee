//! When a transaction is paid, failed or dead. The simulation breaks these one by one to show that
//! it would notice.

use super::record::{Attempt, Stake, Used};
use super::types::{Millis, TxId, Usdt};
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

/// What is needed to tell how a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its id.
    pub txid: TxId,
    /// No block whose parent has this time or a later one can take it.
    pub expiration: Millis,
    /// Height of its reference block.
    pub reference: u64,
    /// Id of its reference block.
    pub reference_id: [u8; 32],
}

impl Attempt {
    /// What is needed to tell its end.
    pub fn life(&self) -> Life {
        let Self { txid, expiration, reference, reference_id, .. } = *self;
        Life { txid, expiration, reference, reference_id }
    }
}

impl Stake {
    /// What is needed to tell its end.
    pub fn life(&self) -> Life {
        let Self { txid, expiration, reference, reference_id, .. } = *self;
        Life { txid, expiration, reference, reference_id }
    }
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
        /// Energy and bandwidth.
        used: Used,
    },
    /// Final, and not as it should be.
    Failed {
        /// Block of the receipt.
        block: u64,
        /// TRX burned, sun.
        burned_sun: u64,
        /// Energy and bandwidth.
        used: Used,
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
    fn sound(life: &Life, look: &Look) -> bool {
        look.reference == Some(life.reference_id)
            && look.receipt.as_ref().is_none_or(|receipt| {
                receipt.txid == life.txid
                    && receipt.block <= look.solid.number
                    && receipt.block > life.reference
            })
    }

    /// What a receipt says: success and exactly the one transfer, or what went wrong.
    fn outcome(attempt: &Attempt, receipt: &Receipt) -> Outcome {
        let (block, burned_sun, used) = (receipt.block, receipt.burned_sun, receipt.used);
        let moved: Usdt = receipt
            .transfers
            .iter()
            .filter(|log| {
                (log.token, log.from, log.to) == (attempt.token, attempt.from, attempt.to)
            })
            .map(|log| log.amount)
            .sum();
        if receipt.success && moved == attempt.net {
            return Outcome::Paid { block, burned_sun, used };
        }
        let cause = if receipt.success {
            format!("the payee got {moved} of {} USDT", attempt.net)
        } else {
            format!("the contract ended with {}", receipt.result)
        };
        let moved = if receipt.success { moved } else { Usdt::ZERO };
        Outcome::Failed { block, burned_sun, used, moved, cause }
    }

    /// What the receipt of a transaction of stake says.
    fn staked(receipt: &Receipt) -> Outcome {
        let (block, burned_sun, used) = (receipt.block, receipt.burned_sun, receipt.used);
        if receipt.worked {
            return Outcome::Paid { block, burned_sun, used };
        }
        let cause = format!("it ended with {}", receipt.result);
        Outcome::Failed { block, burned_sun, used, moved: Usdt::ZERO, cause }
    }

    /// How a payout's transaction ended, if `needed` nodes agree and none says otherwise.
    fn settled(attempt: &Attempt, looks: &[Look], needed: usize) -> Option<Outcome> {
        agreed::<Self>(&attempt.life(), looks, needed, |receipt| Self::outcome(attempt, receipt))
    }

    /// How a transaction of stake ended, in the same way.
    fn stake_settled(life: &Life, looks: &[Look], needed: usize) -> Option<Outcome> {
        agreed::<Self>(life, looks, needed, Self::staked)
    }

    /// The solidified block that proves it can never be included, if `needed` nodes are solid
    /// beyond its expiry without it and no node shows any receipt.
    fn dead(life: &Life, looks: &[Look], needed: usize, margin: Millis) -> Option<Block> {
        if looks.iter().any(|look| look.receipt.is_some()) {
            return None;
        }
        let mut proofs = looks.iter().filter(|look| {
            Self::sound(life, look) && look.solid.time >= life.expiration.saturating_add(margin)
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

fn agreed<R: Rules + ?Sized>(
    life: &Life,
    looks: &[Look],
    needed: usize,
    outcome: impl Fn(&Receipt) -> Outcome,
) -> Option<Outcome> {
    let mut outcomes = looks
        .iter()
        .filter(|look| R::sound(life, look))
        .filter_map(|look| look.receipt.as_ref())
        .map(outcome);
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

/// The rules of `docs/payments.md`, with nothing changed.
#[derive(Clone, Copy, Debug)]
pub struct Strict;

impl Rules for Strict {}
