//! The operator's rules for payouts.

use super::router::Router;
use super::types::{Address, Millis, Usdt};
use std::collections::BTreeSet;

/// Limits and lists. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The USDT contract.
    pub token: Address,
    /// The paying account.
    pub account: Address,
    /// Smallest transfer.
    pub minimum: Usdt,
    /// Largest transfer.
    pub maximum: Usdt,
    /// Most in one day (UTC) to everybody.
    pub daily: Usdt,
    /// Most in one day (UTC) to one payee.
    pub daily_per_payee: Usdt,
    /// Node rewards of a payee wait until they reach this.
    pub accumulate: Usdt,
    /// Above this a second person approves.
    pub second_person_above: Usdt,
    /// Lucid's fee for a transfer, taken from the amount.
    pub fee: Usdt,
    /// When not empty only these are paid.
    pub allow: BTreeSet<Address>,
    /// These are never paid.
    pub deny: BTreeSet<Address>,
    /// The compliance key, Ed25519. Without one the gated route is refused.
    pub compliance: Option<[u8; 32]>,
    /// The router's contract. Without one its route is refused.
    pub router: Option<Router>,
    /// How long a signed transaction may wait for a block.
    pub lifetime: Millis,
    /// How far beyond the expiry a solidified block must lie: the answers of a load balancer may
    /// come from different nodes.
    pub expiry_margin: Millis,
    /// How far this machine's clock may be from the newest block's time.
    pub skew: Millis,
    /// Most live transactions at once.
    pub live_max: usize,
}

impl Policy {
    /// The defaults for a token and an account.
    pub fn new(token: Address, account: Address) -> Self {
        Self {
            token,
            account,
            minimum: Usdt::whole(1),
            maximum: Usdt::whole(10_000),
            daily: Usdt::whole(50_000),
            daily_per_payee: Usdt::whole(20_000),
            accumulate: Usdt::whole(10),
            second_person_above: Usdt::whole(1_000),
            fee: Usdt::ZERO,
            allow: BTreeSet::new(),
            deny: BTreeSet::new(),
            compliance: None,
            router: None,
            lifetime: 600_000,
            expiry_margin: 30_000,
            skew: 120_000,
            live_max: 100,
        }
    }
}
