//! Between the types of the socket and those of the payouts.

use lucid_pay_api as api;
use lucid_pay_api::{MicroUsdt, Problem};

use crate::ledger;
use crate::payout::book::{Payout, State};
use crate::payout::event::Refusal;
use crate::payout::kyc::Approval;
use crate::payout::types::{Credits, PayoutId, Request, Route};
use crate::tron::{Address, Usdt, hex};

/// Who asks when nobody is named.
const NOBODY: &str = "unnamed";

/// A problem of a request's content.
pub fn unfit(code: &str, detail: impl Into<String>) -> Problem {
    Problem::new(422, code, detail)
}

/// The address in a field.
pub fn address(field: &str, text: &str) -> Result<Address, Problem> {
    text.parse().map_err(|error| unfit("invalid-address", format!("{field}: {error}")))
}

fn usdt(amount: MicroUsdt) -> Result<Usdt, Problem> {
    Usdt::from_units(amount.0).map_err(|error| unfit("invalid-amount", error.to_string()))
}

fn hash(field: &str, text: &str) -> Result<[u8; 32], Problem> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| unfit("invalid-hash", format!("{field}: 64 hexadecimal digits are right")))
}

/// The evidence of a request without any: its key's hash, so that alike payouts stay two.
fn evidence_of_key(key: &str) -> [u8; 32] {
    blake3::derive_key("lucid-pay evidence of a request without any v1", key.as_bytes())
}

/// A payout's id.
///
/// # Errors
/// When it is none.
pub fn payout_id(text: &str) -> Result<PayoutId, Problem> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let detail = "a payout's id is 32 hexadecimal digits";
    bytes.map(PayoutId).ok_or_else(|| Problem::new(404, "not-found", detail))
}

/// What was asked for.
///
/// # Errors
/// A problem that names the field.
pub fn request(asked: &api::PayoutRequest) -> Result<Request, Problem> {
    if asked.idempotency_key.is_empty() {
        return Err(unfit("invalid-key", "idempotency_key: 1 to 128 bytes are right"));
    }
    let evidence = match &asked.evidence_hash {
        Some(text) => hash("evidence_hash", text)?,
        None => evidence_of_key(&asked.idempotency_key),
    };
    let credits = match (asked.kind, &asked.basis) {
        (api::PayoutKind::Payment, None) => None,
        (api::PayoutKind::NodeReward, Some(basis)) => Some(Credits {
            credits: basis.credits,
            rate: usdt(basis.rate_micro)?,
            span: Some((basis.from_height, basis.to_height)),
        }),
        (api::PayoutKind::NodeReward, None) => {
            return Err(unfit("basis-missing", "basis: a node's reward says its credits and rate"));
        }
        (api::PayoutKind::Payment, Some(_)) => {
            return Err(unfit("basis-unfit", "basis: only a node-reward has credits"));
        }
    };
    Ok(Request {
        payee: address("payee", &asked.payee)?,
        amount: usdt(asked.amount_micro)?,
        reason: asked.reason.clone(),
        evidence,
        route: match asked.route {
            api::Route::Direct => Route::Direct,
            api::Route::Router => Route::Router,
            api::Route::Kyc => Route::Kyc,
        },
        credits,
        requested_by: asked.requested_by.clone().unwrap_or_else(|| NOBODY.to_owned()),
        key: Some(asked.idempotency_key.clone()),
    })
}

/// The compliance key's word on the payee of a request.
///
/// # Errors
/// When it is about somebody else or no approval.
pub fn kyc(asked: &api::PayoutRequest) -> Result<Option<Approval>, Problem> {
    let Some(kyc) = &asked.kyc else { return Ok(None) };
    if kyc.payee != asked.payee {
        return Err(unfit("kyc-refused", "kyc.payee: the approval is about another payee"));
    }
    let signature = hex::decode(&kyc.signature).ok().and_then(|bytes| bytes.try_into().ok());
    let detail = "kyc.signature: 128 hexadecimal digits are right";
    Ok(Some(Approval {
        payee: address("kyc.payee", &kyc.payee)?,
        kyc: hash("kyc.kyc_hash", &kyc.kyc_hash)?,
        expires: kyc.expires_ms,
        signature: signature.ok_or_else(|| unfit("kyc-refused", detail))?,
    }))
}

/// The state, as the socket names it.
pub fn state(state: State) -> api::PayoutState {
    match state {
        State::Requested => api::PayoutState::Requested,
        State::Held => api::PayoutState::Held,
        State::Approved => api::PayoutState::Approved,
        State::Signed => api::PayoutState::Signed,
        State::Broadcast => api::PayoutState::Broadcast,
        State::Seen => api::PayoutState::Seen,
        State::Confirmed => api::PayoutState::Confirmed,
        State::Failed => api::PayoutState::Failed,
        State::Expired => api::PayoutState::Expired,
    }
}

fn basis(credits: &Credits) -> api::RewardBasis {
    let (from_height, to_height) = credits.span.unwrap_or_default();
    let rate_micro = MicroUsdt(credits.rate.units());
    api::RewardBasis { credits: credits.credits, rate_micro, from_height, to_height }
}

/// A payout, with its steps or without.
pub fn payout(id: PayoutId, found: &Payout, wallet: &str, with_steps: bool) -> api::Payout {
    let request = &found.request;
    let key = request.key.clone().unwrap_or_default();
    let given = request.evidence != evidence_of_key(&key);
    let steps = found.history.iter().filter(|_| with_steps).map(|change| api::Step {
        state: state(change.state),
        at_ms: change.at,
        cause: change.cause.clone().into_owned(),
    });
    api::Payout {
        id: id.to_string(),
        idempotency_key: key,
        payee: request.payee.to_string(),
        amount_micro: MicroUsdt(request.amount.units()),
        reason: request.reason.clone(),
        evidence_hash: given.then(|| hex::encode(&request.evidence)),
        route: match request.route {
            Route::Direct => api::Route::Direct,
            Route::Router => api::Route::Router,
            Route::Kyc => api::Route::Kyc,
        },
        kind: match request.credits {
            Some(_) => api::PayoutKind::NodeReward,
            None => api::PayoutKind::Payment,
        },
        basis: request.credits.as_ref().map(basis),
        wallet: Some(wallet.to_owned()),
        batch: found.batch.clone(),
        state: state(found.state()),
        since_ms: found.history.last().map_or(0, |change| change.at),
        cause: found.cause().to_owned(),
        txid: found.attempts.last().map(ToString::to_string),
        fee_estimate_sun: found.fee_limit_sun.map(api::Sun),
        fee_sun: found.burned_sun.map(api::Sun),
        used: found.used.map(|used| api::ResourcesUsed {
            energy: used.energy,
            energy_sun: api::Sun(used.energy_sun),
            bandwidth: used.bandwidth,
            bandwidth_sun: api::Sun(used.bandwidth_sun),
        }),
        steps: steps.collect(),
    }
}

/// A statement.
pub fn statement(found: &ledger::Statement) -> api::Statement {
    let lines = found.lines.iter().map(|line| api::StatementLine {
        at_ms: line.since,
        payout: line.payout.to_string(),
        payee: line.payee.to_string(),
        reason: line.reason.clone(),
        basis: line.credits.as_ref().map(basis),
        gross_micro: MicroUsdt(line.gross.units()),
        fee_micro: MicroUsdt(line.fee.units()),
        net_micro: MicroUsdt(line.net.units()),
        burned_sun: api::Sun(line.burned.units()),
        state: state(line.state),
        because: line.why.clone(),
        txid: Some(line.transaction.clone()).filter(|txid| !txid.is_empty()),
    });
    let (_, fee, net) = found.totals();
    let open = found.lines.iter().filter(|line| !state(line.state).is_final());
    api::Statement {
        month: found.month.to_string(),
        payee: found.payee.map(|payee| payee.to_string()),
        open_micro: MicroUsdt(open.map(|line| line.gross.units()).sum()),
        lines: lines.collect(),
        net_micro: MicroUsdt(net.units()),
        fee_micro: MicroUsdt(fee.units()),
    }
}

/// A refusal of the engine.
pub fn refusal(error: &Refusal) -> Problem {
    let (status, code) = match error {
        Refusal::TooSmall { .. } => (422, "amount-too-small"),
        Refusal::TooLarge { .. } => (422, "payout-limit"),
        Refusal::OnlyFee { .. } => (422, "only-fee"),
        Refusal::Payee(..) => (422, "payee-refused"),
        Refusal::Text { .. } => (422, "invalid-text"),
        Refusal::Credits { .. } => (422, "credits-mismatch"),
        Refusal::Route(_) => (422, "route-not-configured"),
        Refusal::Batch(_) => (422, "batch-size"),
        Refusal::Kyc(_) => (422, "kyc-refused"),
        Refusal::KeyReused(_) => (409, "idempotency-key-reused"),
        Refusal::Unknown(_) => (404, "not-found"),
        Refusal::State { .. } => (409, "wrong-state"),
        Refusal::StakeKeyReused(_) => (409, "idempotency-key-reused"),
        Refusal::Stakes => (409, "stakes-under-way"),
        Refusal::SamePerson(_) | Refusal::Cosigner { .. } => (409, "same-person"),
    };
    Problem::new(status, code, error.to_string())
}
