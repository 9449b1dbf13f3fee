//! What a payout would cost.

use lucid_pay_api as api;
use lucid_pay_api::{MicroUsdt, Problem};

use super::convert;
use super::office::{Office, no_node};
use crate::client::{HttpNode, cover};
use crate::gateway::Answer;
use crate::payout::types::Route;
use crate::tron::transaction::TransactionError;
use crate::tron::{Sun, abi};

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
    let internal = |error: TransactionError| Problem::new(500, "internal", error.to_string());
    let bandwidth = cover::bandwidth(from, contract, &data).map_err(internal)?;
    let asked = &data;
    let found = office.setup().nodes.read(|node: HttpNode| async move {
        use crate::node::TronNode as _;
        let seen = node.constant(from, contract, asked, false).await?;
        let account = node.account(from, false).await?;
        let (resources, parameters) = (node.resources(from).await?, node.parameters().await?);
        let held = account.map_or(Sun::ZERO, |account| account.balance);
        Ok((seen, held, resources, parameters, node.balance(from, token).await?))
    });
    let found = found.await.map_err(|error| no_node(&error))?;
    let (seen, held, resources, parameters, balance) = found;
    let (energy, reverted) = match seen {
        Ok(seen) => (seen.energy, seen.reverted),
        Err(why) => (0, Some(why)),
    };
    let burned = cover::burned(1, energy, bandwidth, &resources, &parameters);
    let held_because = match reverted {
        Some(why) => Some(format!("the transfer would fail: {why}")),
        None if balance < net => Some(format!("the wallet holds {balance} USDT")),
        None if held < burned => {
            Some(format!("the wallet holds {held} TRX, and {burned} TRX would be burned"))
        }
        None => None,
    };
    Ok(api::Estimate {
        net_micro: MicroUsdt(net.units()),
        fee_micro: MicroUsdt(fee.units()),
        energy,
        bandwidth,
        burned_sun: api::Sun(burned.units()),
        needs_approval,
        held_because,
    })
}
