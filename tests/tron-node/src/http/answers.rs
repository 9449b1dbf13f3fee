//! Answers about accounts, blocks and transactions, in the node's JSON.

use crate::address::Address;
use crate::hex;
use crate::ledger::account::{Account, BANDWIDTH, ENERGY, TRX};
use crate::ledger::params::Params;
use crate::ledger::state::{Effect, State};
use crate::ledger::{Block, Ledger};
use crate::transaction::Transaction;
use serde_json::{Map, Value, json};

/// Drops zeros, empty texts and empty lists, which the node does not print.
pub fn without_defaults(value: Value) -> Value {
    let Value::Object(object) = value else { return value };
    let kept = object.into_iter().filter(|(_, value)| match value {
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Null => false,
        Value::Bool(_) => true,
    });
    Value::Object(kept.collect::<Map<_, _>>())
}

const NAMES: [&str; 2] = ["BANDWIDTH", "ENERGY"];

/// Adds `type` unless it is the default, bandwidth.
fn typed(resource: usize, mut value: Value) -> Value {
    if resource != BANDWIDTH {
        value["type"] = json!(NAMES[resource]);
    }
    value
}

/// `getaccount`; `{}` for an address that is no account.
pub fn account(state: &State, address: Address, now_ms: u64, visible: bool) -> Value {
    let Some(account) = state.accounts.get(&address) else { return json!({}) };
    let frozen: Vec<Value> = [BANDWIDTH, ENERGY]
        .into_iter()
        .map(|resource| {
            let amount = json!({"amount": account.frozen[resource]});
            typed(resource, without_defaults(amount))
        })
        .chain([json!({"type": "TRON_POWER"})])
        .collect();
    let unfrozen: Vec<Value> = account
        .unfreezing
        .iter()
        .map(|(resource, amount, when)| {
            typed(*resource, json!({"unfreeze_amount": amount, "unfreeze_expire_time": when}))
        })
        .collect();
    let votes: Vec<Value> = account
        .votes
        .iter()
        .map(|(to, count)| json!({"vote_address": to.text(visible), "vote_count": count}))
        .collect();
    let permission = |id| account.permission(address, id).map(|found| found.json(visible));
    let actives: Vec<Value> = match (&account.actives, account.contract) {
        (_, true) => Vec::new(),
        (Some(list), _) => list.iter().map(|active| active.json(visible)).collect(),
        (None, _) => permission(2).into_iter().collect(),
    };
    let day = state.params.day_ms;
    let resource = json!({
        "energy_usage": account.used[ENERGY].now(now_ms, day),
        "energy_window_size": 28_800,
        "delegated_frozenV2_balance_for_energy": account.delegated[ENERGY],
        "acquired_delegated_frozenV2_balance_for_energy": account.acquired[ENERGY],
    });
    without_defaults(json!({
        "address": address.text(visible),
        "type": if account.contract { "Contract" } else { "" },
        "balance": account.balance,
        "create_time": account.created_ms,
        "is_witness": account.witness.then_some(true),
        "allowance": account.allowance,
        "latest_withdraw_time": account.withdrawn_ms,
        "net_usage": account.used[BANDWIDTH].now(now_ms, day),
        "free_net_usage": account.free_used.now(now_ms, day),
        "account_resource": without_defaults(resource),
        "votes": votes,
        "owner_permission": if account.contract { None } else { permission(0) },
        "active_permission": actives,
        "frozenV2": frozen,
        "unfrozenV2": unfrozen,
        "delegated_frozenV2_balance_for_bandwidth": account.delegated[BANDWIDTH],
        "acquired_delegated_frozenV2_balance_for_bandwidth": account.acquired[BANDWIDTH],
    }))
}

/// `getaccountresource`.
pub fn resources(account: &Account, params: &Params, now_ms: u64) -> Value {
    let day = params.day_ms;
    without_defaults(json!({
        "freeNetUsed": account.free_used.now(now_ms, day),
        "freeNetLimit": params.free_net_limit,
        "NetUsed": account.used[BANDWIDTH].now(now_ms, day),
        "NetLimit": account.limit(BANDWIDTH, params),
        "EnergyUsed": account.used[ENERGY].now(now_ms, day),
        "EnergyLimit": account.limit(ENERGY, params),
        "tronPowerUsed": account.votes.iter().map(|(_, count)| count).sum::<i64>(),
        "tronPowerLimit": account.tron_power(),
        "TotalNetLimit": params.total_net_limit,
        "TotalNetWeight": params.total_net_weight,
        "TotalEnergyLimit": params.total_energy_limit,
        "TotalEnergyWeight": params.total_energy_weight,
    }))
}

/// A block with its transactions, or its header alone.
pub fn block(block: &Block, visible: bool, detail: bool) -> Value {
    let header = json!({
        "number": block.number,
        "timestamp": block.time_ms,
        "parentHash": hex::encode(&block.parent),
        "version": 32,
    });
    let mut out = json!({
        "blockID": hex::encode(&block.id),
        "block_header": {"raw_data": without_defaults(header), "witness_signature": ""},
    });
    if detail && !block.transactions.is_empty() {
        let list = block.transactions.iter();
        out["transactions"] = list.map(|(tx, effect)| transaction(tx, effect, visible)).collect();
    }
    out
}

/// A transaction in a block.
pub fn transaction(tx: &Transaction, effect: &Effect, visible: bool) -> Value {
    let mut out = tx.json(visible);
    out["ret"] = json!([{"contractRet": effect.result.unwrap_or("SUCCESS")}]);
    out
}

/// `gettransactioninfobyid`.
pub fn receipt(block: &Block, tx: &Transaction, effect: &Effect) -> Value {
    let failed = !matches!(effect.result, None | Some("SUCCESS"));
    let receipt = without_defaults(json!({
        "energy_usage": effect.energy_usage,
        "energy_fee": effect.energy_fee,
        "energy_usage_total": effect.energy_total,
        "net_usage": effect.net_usage,
        "net_fee": effect.net_fee,
        "result": effect.result,
    }));
    let text = match effect.result {
        Some("REVERT") => "REVERT opcode executed",
        Some("OUT_OF_ENERGY") => "Not enough energy for 'PUSH1' operation executing",
        _ => "",
    };
    let mut out = without_defaults(json!({
        "id": hex::encode(&tx.id()),
        "fee": effect.fee,
        "blockNumber": block.number,
        "blockTimeStamp": block.time_ms,
        "contract_address": effect.contract.map(|contract| contract.hex()),
        "receipt": receipt,
        "result": if failed { "FAILED" } else { "" },
        "resMessage": hex::encode(text.as_bytes()),
        "log": effect.logs.iter().map(crate::ledger::token::Log::json).collect::<Vec<_>>(),
    }));
    out["contractResult"] = json!([hex::encode(&effect.output)]);
    if let Some((name, amount)) = effect.given {
        out[name] = json!(amount);
    }
    out
}

/// The stake one account lent another.
pub fn loans(state: &State, from: Address, to: Address, visible: bool) -> Value {
    let account = state.account(from);
    let loan = |resource| account.loans.get(&(to, resource)).copied().unwrap_or_default();
    let ((net, net_end), (energy, energy_end)) = (loan(BANDWIDTH), loan(ENERGY));
    if net == 0 && energy == 0 {
        return json!({});
    }
    let entry = without_defaults(json!({
        "from": from.text(visible),
        "to": to.text(visible),
        "frozen_balance_for_bandwidth": net,
        "frozen_balance_for_energy": energy,
        "expire_time_for_bandwidth": net_end,
        "expire_time_for_energy": energy_end,
    }));
    json!({"delegatedResource": [entry]})
}

/// Whom an account lends to and borrows from.
pub fn loan_index(state: &State, of: Address, visible: bool) -> Value {
    let mut to: Vec<Address> = state.account(of).loans.keys().map(|(to, _)| *to).collect();
    to.dedup();
    let from: Vec<Address> = state
        .accounts
        .iter()
        .filter(|(_, account)| account.loans.keys().any(|(to, _)| *to == of))
        .map(|(address, _)| *address)
        .collect();
    let texts = |list: Vec<Address>| -> Vec<String> {
        list.iter().map(|address| address.text(visible)).collect()
    };
    without_defaults(json!({
        "account": of.text(visible),
        "toAccounts": texts(to),
        "fromAccounts": texts(from),
    }))
}

/// `listwitnesses`.
pub fn witnesses(ledger: &Ledger, visible: bool) -> Value {
    let accounts = &ledger.state(false).accounts;
    let list: Vec<Value> = accounts
        .iter()
        .filter(|(_, account)| account.witness)
        .map(|(address, _)| {
            let votes: i64 = accounts
                .values()
                .flat_map(|account| &account.votes)
                .filter(|(to, _)| to == address)
                .map(|(_, count)| count)
                .sum();
            without_defaults(json!({
                "address": address.text(visible),
                "voteCount": votes,
                "url": "https://witness.invalid",
                "isJobs": true,
            }))
        })
        .collect();
    json!({"witnesses": list})
}

/// Sun in whole TRX, for `getcandelegatedmaxsize` and its kind.
pub fn whole_trx(sun: i64) -> i64 {
    sun / TRX * TRX
}
