//! Looking at wallets: what they hold, what moved, what others may take.

use lucid_pay::chain::usdt;
use lucid_pay::client::Nodes;
use lucid_pay::node::{NodeError, TronNode as _};
use lucid_pay::tron::Address;
use lucid_pay_api::{self as api, ClientError, route};
use serde_json::json;

use super::{find, id, open, shown};
use crate::cli::exit::{Exit, coded};
use crate::cli::{Context, block_on, output, sandbox};

/// Blocks `movements` reads at most; each is a question to a node.
const MOVEMENT_BLOCKS_MAX: u64 = 1_000;

/// What a wallet holds.
pub(super) fn balance(context: &Context, wallet: &str) -> anyhow::Result<Exit> {
    let client = context.client();
    let path = format!("{}/{}/balance", route::WALLETS, id(&client, wallet)?);
    let found: api::Balance = block_on(async { Ok(client.get(&path).await?) })?;
    output::show(context.json, &found, || {
        format!(
            "{}\n{} staked {}\nreserved {}\nenergy {} of {}, bandwidth {} of {}\n\
             block {}, {} s old{}",
            found.usdt_micro,
            found.trx_sun,
            found.staked_sun,
            found.reserved_micro,
            found.energy.limit.saturating_sub(found.energy.used),
            found.energy.limit,
            found.bandwidth.limit.saturating_sub(found.bandwidth.used),
            found.bandwidth.limit,
            found.block,
            found.age_ms / 1000,
            if found.active { "" } else { "\nthe chain does not know this account yet" }
        )
    })?;
    Ok(Exit::Success)
}

/// What went in and out of it.
pub(super) fn history(context: &Context, wallet: &str) -> anyhow::Result<Exit> {
    let client = context.client();
    let path = format!("{}/{}/history", route::WALLETS, id(&client, wallet)?);
    let found: Vec<api::HistoryEntry> = block_on(async { Ok(client.get(&path).await?) })?;
    output::show(context.json, &found, || {
        let rows: Vec<_> = found
            .iter()
            .map(|entry| {
                vec![
                    lucid_pay::ledger::utc(entry.at_ms),
                    entry.in_micro.to_string(),
                    entry.out_micro.to_string(),
                    entry.what.clone(),
                    entry.txid.clone().unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["when", "in", "out", "what", "transaction"], &rows)
    })?;
    Ok(Exit::Success)
}

/// What somebody may take of it.
pub(super) fn allowance(context: &Context, wallet: &str, spender: &str) -> anyhow::Result<Exit> {
    let spender =
        spender.parse().map_err(|error| coded(Exit::Data, format!("{spender:?}: {error}")))?;
    let owner = address(context, wallet)?;
    let nodes = sandbox::nodes(context)?;
    let found = block_on(async {
        let token = sandbox::token(context).await?;
        let found = usdt::allowance(&nodes, owner, spender, token).await;
        found.map_err(|error| coded(Exit::Unavailable, error.to_string()))
    })?;
    let shown = json!({"allowance_micro": found.units()});
    output::show(context.json, &shown, || format!("{spender} may take {found} USDT"))?;
    Ok(Exit::Success)
}

/// USDT that moved for it in a span of final blocks.
pub(super) fn movements(
    context: &Context,
    wallet: &str,
    from: u64,
    to: Option<u64>,
) -> anyhow::Result<Exit> {
    let owner = address(context, wallet)?;
    let nodes = sandbox::nodes(context)?;
    let found = block_on(moved(context, &nodes, owner, from, to))?;
    let rows = found.iter().map(|one| {
        vec![
            lucid_pay::ledger::utc(one.time_ms),
            one.block.to_string(),
            one.transfer.from.to_string(),
            one.transfer.to.to_string(),
            one.transfer.amount.to_string(),
            one.txid.to_string(),
        ]
    });
    let shown: Vec<_> = found
        .iter()
        .map(|one| {
            json!({"at_ms": one.time_ms, "block": one.block,
                   "from": one.transfer.from.to_string(),
                   "to": one.transfer.to.to_string(),
                   "amount_micro": one.transfer.amount.units(),
                   "txid": one.txid.to_string()})
        })
        .collect();
    output::show(context.json, &shown, || {
        let head = ["when", "block", "from", "to", "USDT", "transaction"];
        output::table(&head, &rows.collect::<Vec<_>>())
    })?;
    Ok(Exit::Success)
}

/// The address somebody wrote, or that of the wallet with this name or id.
fn address(context: &Context, wanted: &str) -> anyhow::Result<Address> {
    if let Ok(address) = wanted.parse() {
        return Ok(address);
    }
    let (wallets, _) = open(context, false)?;
    Ok(find(&wallets, wanted)?.address)
}

/// Movements of USDT in final blocks, some hundred blocks at most.
async fn moved(
    context: &Context,
    nodes: &Nodes,
    owner: Address,
    from: u64,
    to: Option<u64>,
) -> anyhow::Result<Vec<usdt::Movement>> {
    let token = sandbox::token(context).await?;
    let unanswered = |error: NodeError| coded(Exit::Unavailable, error.to_string());
    let solid = nodes.read(|node| async move { node.solid().await }).await.map_err(unanswered)?;
    let to = to.unwrap_or(solid.number).min(solid.number);
    if from > to || to - from > MOVEMENT_BLOCKS_MAX {
        let text = format!(
            "blocks {from} to {to}: the first to at most {MOVEMENT_BLOCKS_MAX} further are right, \
             and {} is the newest final one",
            solid.number
        );
        return Err(coded(Exit::Data, text));
    }
    let (mut found, mut next) = (Vec::new(), from);
    while next <= to {
        let (more, on) =
            usdt::movements(nodes, owner, token, next, to).await.map_err(unanswered)?;
        found.extend(more);
        next = on.max(next + 1);
    }
    Ok(found)
}

/// From the running process without a passphrase, otherwise from the directory.
pub(super) fn list(context: &Context, all: bool) -> anyhow::Result<Exit> {
    let client = context.client();
    let asked: Result<Vec<api::Wallet>, ClientError> =
        block_on(async { Ok(client.get(route::WALLETS).await) })?;
    let found: Vec<serde_json::Value> = match asked {
        Ok(found) => found.iter().map(serde_json::to_value).collect::<Result<_, _>>()?,
        Err(ClientError::Down { .. }) => {
            let (wallets, _) = open(context, false)?;
            let listing = wallets.list()?;
            for error in listing.damaged {
                output::failure(&error.into(), Exit::Data, context.json);
            }
            listing.wallets.iter().map(shown).collect()
        }
        Err(error) => return Err(error.into()),
    };
    let found: Vec<_> =
        found.into_iter().filter(|wallet| all || wallet["archived"] != json!(true)).collect();
    output::show(context.json, &found, || {
        let text = |wallet: &serde_json::Value, key: &str| {
            wallet[key].as_str().unwrap_or_default().to_owned()
        };
        let rows: Vec<_> = found
            .iter()
            .map(|wallet| {
                let mut notes = Vec::new();
                if wallet["pays"] == json!(true) {
                    notes.push("pays".to_owned());
                }
                if wallet["archived"] == json!(true) {
                    notes.push("archived".to_owned());
                }
                vec![
                    text(wallet, "name"),
                    text(wallet, "kind"),
                    text(wallet, "address"),
                    text(wallet, "id"),
                    notes.join(", "),
                ]
            })
            .collect();
        output::table(&["name", "kind", "address", "id", ""], &rows)
    })?;
    Ok(Exit::Success)
}
