//! What others may take of a wallet: shown, given to the configured router, taken back from
//! anybody.

use std::collections::BTreeSet;

use lucid_pay_api as api;
use lucid_pay_api::{MicroUsdt, Problem};
use serde_json::json;
use tron_protobuf::TriggerSmartContract;

use super::convert;
use super::office::{Office, no_node};
use super::order::{self, Order};
use super::proposals::refused;
use crate::chain::{known, proposing, usdt};
use crate::gateway::Answer;
use crate::payout::record::Stake;
use crate::payout::types::KEY_BYTES_MAX;
use crate::tron::transaction::Unsigned;
use crate::tron::{Address, Usdt};

/// Most spenders that are looked at at once; each is a question to a node.
const SPENDERS_MAX: usize = 16;

/// Whom an order that was kept lets take something.
fn spender(stake: &Stake) -> Option<Address> {
    use tron_protobuf::{Message as _, Transaction};
    let raw = Transaction::decode(stake.bytes.as_slice()).ok()?.raw_data?;
    let unsigned = Unsigned::from_bytes(&raw.encode_to_vec()).ok()?;
    let call: TriggerSmartContract = unsigned.message().ok()?;
    proposing::approved(&call.data).map(|(spender, _)| spender)
}

/// Allowances of a wallet.
pub(super) async fn shown(
    office: &Office,
    wallet: String,
    query: api::AllowanceQuery,
) -> Answer<api::Allowances> {
    let wallet = office.wallet(wallet).await?;
    let (owner, token) = (wallet.address, office.setup().token);
    let router = office.config().router.as_ref().map(|router| router.contract);
    let asked = query.spender.as_deref().map(|text| convert::address("spender", text));
    let asked = asked.transpose()?;
    let mut ever = office
        .ask(move |payer| {
            let orders = payer.driver.engine.book.stakes.all();
            let own = orders.filter(|staked| staked.stake.owner == owner);
            own.filter_map(|staked| spender(&staked.stake)).collect::<BTreeSet<_>>()
        })
        .await?;
    let mut spenders: Vec<Address> = asked.into_iter().chain(router).collect();
    spenders.dedup();
    ever.retain(|spender| !spenders.contains(spender));
    spenders.extend(ever);
    spenders.truncate(SPENDERS_MAX);
    let mut items = Vec::new();
    for spender in spenders {
        let found = usdt::allowance(office.nodes(), owner, spender, token).await;
        let found = found.map_err(|error| no_node(&error))?;
        items.push(api::Allowance {
            spender: spender.to_string(),
            amount_micro: MicroUsdt(found.units()),
            unlimited: found == Usdt::MAX,
            router: router == Some(spender),
        });
    }
    Ok(api::Allowances { wallet: wallet.id.to_string(), items })
}

/// Lets the router take USDT of a wallet whose key is here, or takes an allowance back.
pub(super) async fn allow(
    office: &Office,
    wallet: String,
    asked: api::AllowanceOrder,
) -> Answer<api::StakingReceipt> {
    let wallet = office.wallet(wallet).await?;
    let (owner, token) = (wallet.address, office.setup().token);
    let key = asked.idempotency_key;
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(convert::unfit("invalid-key", "idempotency_key: 1 to 128 bytes are right"));
    }
    let spender = convert::address("spender", &asked.spender)?;
    let amount = Usdt::from_units(asked.amount_micro.0);
    let amount = amount.map_err(|error| convert::unfit("invalid-amount", error.to_string()))?;
    let router = office.config().router.as_ref().map(|router| router.contract);
    if amount > Usdt::ZERO {
        if let Some(why) = known::refusal(spender) {
            return Err(convert::unfit("spender-refused", format!("spender: {why}")));
        }
        if router != Some(spender) {
            let detail = match router {
                Some(router) => format!("only the router {router} may be let take USDT here"),
                None => "no router is configured (`router.address`), and only it may be let take \
                         USDT here"
                    .to_owned(),
            };
            let detail = format!("spender: {detail}; others are let by a proposal, at the console");
            return Err(Problem::new(409, "not-the-router", detail));
        }
    }
    if !wallet.kind.signs() {
        let detail = "its key is not here: make a proposal and sign it where the key is";
        return Err(Problem::new(409, "cannot-sign", detail));
    }
    let action = json!({"action": "allow", "spender": spender.to_string(),
                        "amount_micro": amount.units()});
    let hash = order::hash(wallet.id, &action)?;
    if let Some(txid) = order::known(office, Some(key.clone()), hash, u64::MAX).await? {
        return order::outcome(office, txid, true).await;
    }
    let account = proposing::account(office.nodes(), owner).await.map_err(refused)?;
    if !account.is_own_key() {
        let detail = "several keys sign for this account: make a proposal";
        return Err(Problem::new(409, "several-signers", detail));
    }
    let data = proposing::approve(spender, amount);
    let data = data.map_err(|error| refused(error.into()))?;
    let call = proposing::token_call(office.nodes(), owner, token, data).await;
    let (contract, fee_limit) = call.map_err(refused)?;
    let what = match amount {
        Usdt::ZERO => format!("{spender} may take no more USDT"),
        amount => format!("{spender} may take {amount} USDT in all"),
    };
    let order = Order {
        wallet: wallet.id,
        owner,
        key: Some(key),
        by: asked.by,
        hash,
        since: u64::MAX,
        what,
        fee_limit,
        build: move |frame| Unsigned::build(&contract, frame),
    };
    let txid = order::give(office, order).await?;
    order::outcome(office, txid, false).await
}
