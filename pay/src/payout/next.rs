//! Which payout is signed next, with what, and why the others wait.

use super::book::DAY;
use super::engine::Engine;
use super::event::{Effect, View};
use super::record::Share;
use super::rules::Rules;
use super::types::{Address, Millis, PayoutId, Request, Route, Usdt};
use super::wallet::Order;
use crate::tron::abi;
use std::collections::BTreeSet;

impl<R: Rules> Engine<R> {
    /// The next order, and why the others wait.
    pub(super) fn next(&self, view: &View, now: Millis) -> Vec<Effect> {
        let policy = &self.policy;
        let skew = now.abs_diff(view.head_time);
        if skew > policy.skew {
            let minutes = policy.skew / 60_000;
            let cause = format!(
                "this machine's clock is more than {minutes} min from the newest block's time; \
                 set the clock or ask a synced node"
            );
            return self.hold_all(&cause, now);
        }
        let mut effects = Vec::new();
        let mut seen = BTreeSet::new();
        for id in self.book.waiting.values() {
            let Some(payout) = self.book.payouts.get(id) else { continue };
            let payee = payout.request.payee;
            if self.awaits_person(id) {
                continue;
            }
            let rewards = payout.request.credits.is_some();
            if rewards && !seen.insert((payee, payout.request.route)) {
                continue; // taken together with the first one
            }
            let group = if rewards { self.group(&payee, payout.request.route) } else { vec![*id] };
            if group.iter().any(|id| view.passed.contains(id)) {
                continue; // tried already, and others come before it is tried again
            }
            match self.order(&group, view, now) {
                Ok(order) => {
                    effects.push(Effect::Sign(Box::new(order)));
                    return effects;
                }
                Err(cause) => {
                    effects
                        .extend(group.iter().filter_map(|id| self.hold(*id, cause.clone(), now)));
                }
            }
        }
        effects
    }

    /// A payee's waiting rewards, up to what one transfer may carry without a second person.
    fn group(&self, payee: &Address, route: Route) -> Vec<PayoutId> {
        let cap = self.policy.maximum.min(self.policy.second_person_above);
        let mut sum = Usdt::ZERO;
        let mut group = Vec::new();
        for id in self.book.waiting.values() {
            let Some(payout) = self.book.payouts.get(id) else { continue };
            let request = &payout.request;
            let fits = request.credits.is_some()
                && request.payee == *payee
                && request.route == route
                && !self.awaits_person(id);
            if fits && (group.is_empty() || sum.saturating_add(request.amount) <= cap) {
                sum = sum.saturating_add(request.amount);
                group.push(*id);
            }
        }
        group
    }

    fn order(&self, group: &[PayoutId], view: &View, now: Millis) -> Result<Order, String> {
        let policy = &self.policy;
        let requests = group.iter().filter_map(|id| self.book.payouts.get(id));
        let requests: Vec<&Request> = requests.map(|payout| &payout.request).collect();
        let Some(first) = requests.first() else { return Err("there is nothing to pay".into()) };
        let payee = first.payee;
        let gross: Usdt = requests.iter().map(|request| request.amount).sum();
        if first.credits.is_some() && gross < policy.accumulate {
            return Err(format!("{} of {} USDT are together", gross, policy.accumulate));
        }
        self.payee(&payee).map_err(|why| format!("payee {payee} may not be paid: {why}"))?;
        if first.route == Route::Kyc {
            match self.book.kyc.get(&payee) {
                Some((_, expires)) if *expires > now => {}
                Some(_) => return Err("the payee's KYC approval has expired".into()),
                None => return Err("waits for the payee's KYC approval".into()),
            }
        }
        let net = gross.saturating_sub(policy.fee);
        if net == Usdt::ZERO {
            return Err(format!("the fee of {} USDT leaves nothing", policy.fee));
        }
        let day = now / DAY;
        let spent = self.book.spent_on(day);
        if spent.saturating_add(net) > policy.daily {
            return Err(format!("the daily limit of {} USDT is used up", policy.daily));
        }
        let spent = self.book.spent.get(&(day, payee)).copied().unwrap_or_default();
        if spent.saturating_add(net) > policy.daily_per_payee {
            let limit = policy.daily_per_payee;
            return Err(format!("the payee's daily limit of {limit} USDT is used up"));
        }
        if self.book.live.len() >= policy.live_max {
            return Err(format!(
                "{} transactions are under way, the most at once",
                policy.live_max
            ));
        }
        if view.solid.number < self.book.last_block {
            return Err("the node has not yet solidified our last transfer".into());
        }
        let reserved = self.book.reserved();
        if view.balance < reserved.saturating_add(net) {
            let account = policy.account;
            return Err(format!(
                "account {account} holds {} USDT, {reserved} of them under way; {net} are needed",
                view.balance
            ));
        }
        let (contract, call) = match (first.route, &policy.router) {
            (Route::Router, Some(router)) => {
                let call = router.call(payee, net, &first.evidence);
                (router.contract, call.map_err(|error| error.to_string())?)
            }
            (Route::Router, None) => return Err("the router contract is not configured".into()),
            _ => (policy.token, abi::transfer(&payee, net.units())),
        };
        Ok(Order {
            contract,
            call,
            shares: self.shares(group, &requests),
            from: policy.account,
            to: payee,
            token: policy.token,
            net,
            timestamp: R::timestamp(self.book.last_timestamp, now),
            expiration: view.head_time + policy.lifetime,
            reference: view.solid.number,
            reference_id: view.solid.id,
            fee_limit: 0,
        })
    }

    /// Spreads the fee over the payouts in order, each bearing what it can.
    fn shares(&self, group: &[PayoutId], requests: &[&Request]) -> Vec<Share> {
        let mut fee = self.policy.fee;
        let mut shares = Vec::with_capacity(group.len());
        for (payout, request) in group.iter().zip(requests) {
            let part = fee.min(request.amount);
            fee = fee.saturating_sub(part);
            shares.push(Share { payout: *payout, gross: request.amount, fee: part });
        }
        shares
    }
}
