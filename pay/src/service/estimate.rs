//! What a payout would cost.

use lucid_pay_api as api;
use lucid_pay_api::{MicroUsdt, Problem};

use super::office::{Office, no_node};
use super::{convert, now_ms};
use crate::client::HttpNode;
use crate::gateway::Answer;
use crate::payout::types::Route;
use crate::tron::transaction::{self, Frame, RefBlock, Unsigned};
use crate::tron::{Address, abi};

/// What a payout would cost, and whether it would wait.
pub(super) async fn estimate(office: &Office, asked: api::PayoutRequest) -> Answer<api::Estimate> {
    office.fits(&asked)?;
    let request = convert::request(&asked)?;
    let (payee, amount, route) = (request.payee, request.amount, request.route);
    let (net, fee, needs_approval) = office
        .ask(move |payer| {
            let engine = &payer.driver.engine;
            engine.check(&request).map_err(|refusal| convert::refusal(&refusal))?;
            let fee = engine.policy.fee.min(amount);
            let second = amount > engine.policy.second_person_above;
            Ok::<_, Problem>((amount.saturating_sub(fee), fee, second))
        })
        .await??;
    let (from, token) = (office.setup().paying.address, office.setup().token);
    let (contract, data) = match &office.setup().config.router {
        Some(router) if route == Route::Router => {
            let data = router.call(payee, net, &[0; 32]);
            let unfit = |error: crate::payout::router::RouterError| {
                convert::unfit("route-not-configured", error.to_string())
            };
            (router.contract, data.map_err(unfit)?)
        }
        _ => (token, abi::transfer(&payee, net.units())),
    };
    let bandwidth = bandwidth(from, contract, data.clone())?;
    let asked = &data;
    let found = office.setup().nodes.read(|node: HttpNode| async move {
        use crate::node::TronNode as _;
        let seen = node.constant(from, contract, asked, false).await?;
        let resources = node.resources(from).await?;
        let parameters = node.parameters().await?;
        Ok((seen, resources, parameters, node.balance(from, token).await?))
    });
    let (seen, resources, parameters, balance) = found.await.map_err(|error| no_node(&error))?;
    let (energy, reverted) = match seen {
        Ok(seen) => (seen.energy, seen.reverted),
        Err(why) => (0, Some(why)),
    };
    let staked = resources.energy_limit.saturating_sub(resources.energy_used);
    let mut burned = energy.saturating_sub(staked) * parameters.energy_price.units();
    let free = resources.free_limit.saturating_sub(resources.free_used);
    let own = resources.bandwidth_limit.saturating_sub(resources.bandwidth_used);
    // All or nothing from each source.
    if free < bandwidth && own < bandwidth {
        burned = burned.saturating_add(bandwidth * parameters.bandwidth_price.units());
    }
    let held_because = match reverted {
        Some(why) => Some(format!("the transfer would fail: {why}")),
        None if balance < net => Some(format!("the wallet holds {balance} USDT")),
        None => None,
    };
    Ok(api::Estimate {
        net_micro: MicroUsdt(net.units()),
        fee_micro: MicroUsdt(fee.units()),
        energy,
        bandwidth,
        burned_sun: api::Sun(burned),
        needs_approval,
        held_because,
    })
}

/// Bandwidth a call costs, measured on the transaction it would be.
fn bandwidth(from: Address, contract: Address, data: Vec<u8>) -> Answer<u64> {
    let call = tron_protobuf::TriggerSmartContract {
        owner_address: from.to_bytes().to_vec(),
        contract_address: contract.to_bytes().to_vec(),
        data,
        ..tron_protobuf::TriggerSmartContract::default()
    };
    let now = i64::try_from(now_ms()).unwrap_or(i64::MAX / 2);
    let frame = Frame {
        block: RefBlock::of(&[0xff; 32]),
        timestamp: now,
        expiration: now.saturating_add(600_000),
        fee_limit: 10_000_000,
        memo: Vec::new(),
        permission_id: 0,
    };
    let unsigned = Unsigned::build(&call, frame)
        .map_err(|error| Problem::new(500, "internal", error.to_string()))?;
    let signed = unsigned.signed(vec![vec![0xff; 65]]);
    Ok(u64::try_from(transaction::bandwidth(&signed)).unwrap_or(u64::MAX))
}
