//! Watches for USDT that comes into the paying account, and journals it.
//!
//! Reading every block of mainnet would cost gigabytes a day. So the final balance is watched, and
//! only when it changes the blocks since the last look are read, some of them twice: a node behind
//! a balancer may show a balance of another block than it names. Each transaction counts once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::now_ms;
use super::office::Office;
use crate::chain::usdt;
use crate::client::HttpNode;
use crate::ledger::Account;
use crate::node::{NodeError, TronNode as _};
use crate::payout::event::Event;
use crate::payout::types::TxId;
use crate::tron::Usdt;
use crate::wallet::file;

/// Blocks that are read again.
const OVERLAP: u64 = 25;
/// Looks after a change in which blocks are still read.
const LOOKS: u32 = 3;
/// Shortest time between two looks: a block.
const PAUSE: Duration = Duration::from_secs(3);
/// The file of the last look.
const FILE: &str = "received.json";

/// The last look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    account: String,
    block: u64,
    balance_micro: u64,
}

/// Watches until it is time to stop. `dir` keeps how far it got.
pub async fn watch(office: Office, dir: PathBuf) {
    let path = dir.join(FILE);
    let account = office.setup().paying.address.to_string();
    let mut last = read(&path).filter(|look| look.account == account);
    let mut looks = 0;
    let mut stop = office.setup().stop.clone();
    let pause = office.config().poll.min(PAUSE);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let Ok(Some((block, balance))) = look(&office).await else { continue };
        let now = Look { account: account.clone(), block, balance_micro: balance.units() };
        let done = match &last {
            None => opening(&office, &now).await,
            Some(before) if before.block >= block => continue,
            Some(before) => {
                if before.balance_micro != now.balance_micro {
                    looks = LOOKS;
                }
                match looks {
                    0 => Some(()),
                    _ => scan(&office, before.block, block).await,
                }
            }
        };
        if done.is_none() {
            continue;
        }
        looks = looks.saturating_sub(1);
        if last.as_ref().is_none_or(|before| before.balance_micro != now.balance_micro)
            || block % OVERLAP == 0
        {
            let text = serde_json::to_vec(&now).unwrap_or_default();
            if let Err(error) = file::write(&path, &text) {
                // A later look tries again; what was journalled counts once.
                tracing::warn!(error = %error, "cannot keep how far receipts were read");
            }
        }
        last = Some(now);
    }
}

fn read(path: &Path) -> Option<Look> {
    serde_json::from_slice(&file::read(path).ok()??).ok()
}

/// A final block and the balance at it, if the node shows both of one moment.
async fn look(office: &Office) -> Result<Option<(u64, Usdt)>, NodeError> {
    let (account, token) = (office.setup().paying.address, office.setup().token);
    office
        .nodes()
        .read(|node: HttpNode| async move {
            let before = node.solid().await?.number;
            let balance = node.balance(account, token).await?;
            let after = node.solid().await?.number;
            Ok((before == after).then_some((before, balance)))
        })
        .await
}

/// What was there before anybody looked. While a transaction is under way nobody can say.
async fn opening(office: &Office, now: &Look) -> Option<()> {
    let mut hasher = blake3::Hasher::new_derive_key("lucid-pay opening balance v1");
    hasher.update(now.account.as_bytes()).update(&now.block.to_be_bytes());
    let txid = TxId(*hasher.finalize().as_bytes());
    let balance = i128::from(now.balance_micro);
    let done = office.ask(move |payer| {
        if !payer.driver.engine.book.live.is_empty() {
            return None;
        }
        let known = payer.driver.ledger.balance(Account::Wallet);
        let missing = u64::try_from(balance - known).ok().filter(|missing| *missing > 0);
        let amount = Usdt::from_units(missing.unwrap_or(0)).ok()?;
        if amount == Usdt::ZERO {
            return Some(());
        }
        payer.driver.accept(Event::Funded { amount, txid }, now_ms()).ok()
    });
    done.await.ok().flatten()
}

/// Journals what came in the blocks after `from`, up to `to`.
async fn scan(office: &Office, from: u64, to: u64) -> Option<()> {
    let (account, token) = (office.setup().paying.address, office.setup().token);
    let mut next = from.saturating_sub(OVERLAP).max(1);
    let mut received: BTreeMap<TxId, Usdt> = BTreeMap::new();
    while next <= to {
        let found = usdt::movements(office.nodes(), account, token, next, to).await;
        let (movements, on) = found.ok()?;
        for movement in movements {
            if movement.transfer.to == account && movement.transfer.from != account {
                let sum = received.entry(movement.txid).or_default();
                *sum = sum.saturating_add(movement.transfer.amount);
            }
        }
        next = on.max(next + 1);
    }
    let done = office.ask(move |payer| {
        for (txid, amount) in received {
            if payer.driver.ledger.received(&txid).is_none() {
                payer.driver.accept(Event::Funded { amount, txid }, now_ms()).ok()?;
            }
        }
        Some(())
    });
    done.await.ok().flatten()
}
