//! USDT, costs and stake, by real transactions on the simulated chain.

use lucid_pay::chain::multisig::{self, MultisigError, Proposal};
use lucid_pay::chain::staking::{self, Position, StakingError};
use lucid_pay::chain::{Progress, Sending, cost, sending, usdt};
use lucid_pay::client::Nodes;
use lucid_pay::tron::transaction::{Frame, RefBlock, Unsigned};
use lucid_pay::tron::{Address, Sun, Usdt, abi};
use lucid_pay_api::{Resource, StakingAction, Sun as ApiSun, Vote};
use serde_json::{Value, json};
use tron_protobuf::TriggerSmartContract;

use crate::sim::{SOLID_AFTER, Sim, key};

const DAY_MS: u64 = 86_400_000;

/// Signs with the account's own key, sends, and waits until it is final.
async fn send(sim: &Sim, nodes: &Nodes, build: impl FnOnce(Frame) -> Unsigned) -> Progress {
    let now = sim.node.now_ms();
    let (frame, reference) = sending::frame(nodes, now, 0, Sun::whole(50), 0).await.unwrap();
    let unsigned = build(frame);
    let signature = key(1).sign(&unsigned.txid).to_bytes().to_vec();
    let sending = Sending::new(&unsigned, vec![signature], reference);
    // It survives a restart as text.
    let text = serde_json::to_string(&sending).unwrap();
    let sending: Sending = serde_json::from_str(&text).unwrap();
    assert_eq!(sending.progress(nodes).await.unwrap(), Progress::Waiting);
    sending.broadcast(nodes).await.unwrap();
    sim.mine(1);
    assert!(matches!(sending.progress(nodes).await.unwrap(), Progress::Seen { .. }));
    sim.mine(SOLID_AFTER);
    sending.broadcast(nodes).await.unwrap();
    sending.progress(nodes).await.unwrap()
}

fn call(sim: &Sim, data: Vec<u8>) -> TriggerSmartContract {
    TriggerSmartContract {
        owner_address: key(1).address().to_bytes().to_vec(),
        contract_address: sim.token().to_bytes().to_vec(),
        data,
        ..TriggerSmartContract::default()
    }
}

#[tokio::test]
async fn usdt_is_read_estimated_and_accounted_for() {
    let sim = Sim::new(20).await;
    let (rich, payee) = (key(1).address(), key(2).address());
    sim.fund(rich, 200_000_000, 40_000_000).await;
    let nodes = Nodes::new(vec![sim.client("a")]);
    let token = sim.token();
    usdt::check_token(&nodes, token, "USDT").await.unwrap();
    let error = usdt::check_token(&nodes, token, "USDC").await.unwrap_err();
    assert!(error.to_string().contains("calls itself"), "{error}");
    assert_eq!(usdt::allowance(&nodes, rich, payee, token).await.unwrap(), Usdt::ZERO);
    let approve = call(&sim, abi::approve(&payee, 9_000_000));
    let done = send(&sim, &nodes, |frame| Unsigned::build(&approve, frame).unwrap()).await;
    assert!(matches!(done, Progress::Confirmed(_)), "{done:?}");
    assert_eq!(usdt::allowance(&nodes, rich, payee, token).await.unwrap(), Usdt::whole(9));

    let node = &nodes.all()[0];
    let now = sim.node.now_ms();
    let amount = Usdt::whole(15);
    let before = cost::transfer(node, rich, token, payee, amount, 1, now).await.unwrap();
    assert_eq!((before.need.energy, before.need.bandwidth), (130_285, 345));
    assert_eq!(before.refused, None);
    let transfer = call(&sim, abi::transfer(&payee, amount.units()));
    let mut limit = Sun::ZERO;
    let done = send(&sim, &nodes, |mut frame| {
        frame.fee_limit = before.fee_limit.wire();
        limit = before.fee_limit;
        Unsigned::build(&transfer, frame).unwrap()
    });
    let Progress::Confirmed(after) = done.await else { panic!() };
    assert_eq!(after.cost.energy, before.need.energy);
    assert_eq!(after.cost.burned, before.burned(), "as estimated");
    assert!(after.cost.energy_burned <= limit);
    assert_eq!(usdt::balance(&nodes, rich, token).await.unwrap(), Usdt::whole(25));

    let solid = sim.node.ledger().solid_block().number;
    let (found, next) = usdt::movements(&nodes, rich, token, 1, solid).await.unwrap();
    let amounts: Vec<_> = found.iter().map(|moved| moved.transfer.amount).collect();
    assert_eq!(amounts, [Usdt::whole(40), Usdt::whole(15)], "in, then out");
    assert_eq!((found[1].transfer.to, next), (payee, solid + 1));

    let over = cost::transfer(node, rich, token, payee, Usdt::whole(26), 1, now).await.unwrap();
    assert!(over.refused.unwrap().contains("REVERT"));
}

#[tokio::test]
async fn a_transaction_that_failed_or_died_is_told_apart() {
    let sim = Sim::new(21).await;
    sim.fund(key(1).address(), 100_000_000, 1_000_000).await;
    let nodes = Nodes::new(vec![sim.client("a")]);
    let transfer = call(&sim, abi::transfer(&key(2).address(), 1_000_000));
    let done = send(&sim, &nodes, |mut frame| {
        frame.fee_limit = 1_000;
        Unsigned::build(&transfer, frame).unwrap()
    });
    let Progress::Failed(failed) = done.await else { panic!() };
    assert_eq!((failed.receipt.result.as_str(), failed.worked), ("OUT_OF_ENERGY", false));

    // Accepted, forgotten, and never in a block.
    let now = sim.node.now_ms();
    let (frame, reference) = sending::frame(&nodes, now, 0, Sun::whole(50), 0).await.unwrap();
    let unsigned = Unsigned::build(&transfer, frame).unwrap();
    let signature = key(1).sign(&unsigned.txid).to_bytes().to_vec();
    let lost = Sending::new(&unsigned, vec![signature], reference);
    sim.faults(json!([{"call": "broadcasthex", "times": 1, "fault": "forget"}])).await;
    lost.broadcast(&nodes).await.unwrap();
    sim.mine(200);
    assert_eq!(lost.progress(&nodes).await.unwrap(), Progress::Waiting, "not yet beyond doubt");
    sim.mine(40);
    let end = lost.progress(&nodes).await.unwrap();
    assert!(matches!(end, Progress::Expired { .. }), "{end:?}");
    assert!(lost.broadcast(&nodes).await.is_err());
}

struct Stake {
    sim: Sim,
    nodes: Nodes,
}

impl Stake {
    async fn position(&self) -> Position {
        Position::read(&self.nodes, key(1).address()).await.unwrap().unwrap()
    }

    async fn refused(&self, action: StakingAction) -> StakingError {
        staking::plan(&action, &self.position().await, staking::MINIMUM).unwrap_err()
    }

    async fn act(&self, action: StakingAction) -> Position {
        let plan = staking::plan(&action, &self.position().await, staking::MINIMUM).unwrap();
        let done = send(&self.sim, &self.nodes, |mut frame| {
            frame.fee_limit = 0;
            plan.contract.build(frame).unwrap()
        });
        let done = done.await;
        assert!(matches!(done, Progress::Confirmed(_)), "{action:?}: {done:?}");
        self.position().await
    }

    async fn pass(&self, ms: u64) {
        self.sim.control(reqwest::Method::POST, "advance", json!({"ms": ms})).await;
        self.sim.mine(SOLID_AFTER + 1);
    }
}

fn trx(amount: u64) -> ApiSun {
    ApiSun(amount * 1_000_000)
}

fn freeze(amount: u64) -> StakingAction {
    StakingAction::Freeze { resource: Resource::Energy, amount_sun: trx(amount) }
}

fn unfreeze(amount: u64) -> StakingAction {
    StakingAction::Unfreeze { resource: Resource::Energy, amount_sun: trx(amount) }
}

fn delegate(amount: u64, to: Address, lock: bool) -> StakingAction {
    let receiver = to.to_string();
    let resource = Resource::Energy;
    StakingAction::Delegate { resource, amount_sun: trx(amount), receiver, lock }
}

fn undelegate(amount: u64, to: Address) -> StakingAction {
    let receiver = to.to_string();
    StakingAction::Undelegate { resource: Resource::Energy, amount_sun: trx(amount), receiver }
}

#[tokio::test]
async fn stake_goes_its_whole_way() {
    let sim = Sim::new(22).await;
    let (owner, friend) = (key(1).address(), key(2).address());
    sim.fund(owner, 10_000_000_000, 0).await;
    sim.fund(friend, 5_000_000, 0).await;
    let state = sim.control(reqwest::Method::GET, "state", Value::Null).await;
    let witness = state["witness"].as_str().unwrap().to_owned();
    let nodes = Nodes::new(vec![sim.client("a")]);
    let stake = Stake { sim, nodes };

    assert!(matches!(stake.refused(freeze(999)).await, StakingError::BelowMinimum { .. }));
    assert!(matches!(stake.refused(freeze(10_001)).await, StakingError::TooMuch { .. }));
    assert!(matches!(stake.refused(unfreeze(1)).await, StakingError::TooMuch { .. }));
    assert_eq!(stake.refused(StakingAction::Withdraw).await, StakingError::NothingWaits);
    assert_eq!(stake.refused(StakingAction::CancelUnfreezes).await, StakingError::NothingWaits);
    assert_eq!(stake.refused(StakingAction::ClaimReward).await, StakingError::NoReward);

    let now = stake.act(freeze(5_000)).await;
    assert_eq!(now.account.frozen_energy, Sun::whole(5_000));
    assert!(now.resources.energy_limit > 0 && now.resources.votes_limit == 5_000);

    // Lending: to an account, not to itself, not what is in use, locked for three days.
    let me = stake.refused(delegate(1_000, owner, false)).await;
    assert!(matches!(me, StakingError::Receiver { .. }), "{me}");
    let nobody = staking::check_receiver(&stake.nodes, key(9).address()).await.unwrap();
    assert!(matches!(nobody, Err(StakingError::NoAccount(_))));
    let contract = staking::check_receiver(&stake.nodes, stake.sim.token()).await.unwrap();
    assert!(matches!(contract, Err(StakingError::Receiver { .. })));
    staking::check_receiver(&stake.nodes, friend).await.unwrap().unwrap();
    let now = stake.act(delegate(2_000, friend, true)).await;
    assert_eq!((now.loans.len(), now.loans[0].amount), (1, Sun::whole(2_000)));
    assert_eq!(now.account.staked(), Sun::whole(5_000), "lent stake is stake");
    let locked = stake.refused(undelegate(2_000, friend)).await;
    assert!(matches!(locked, StakingError::Locked { .. }), "{locked}");
    assert!(matches!(stake.refused(unfreeze(3_001)).await, StakingError::TooMuch { .. }));
    stake.pass(3 * DAY_MS).await;
    let over = stake.refused(undelegate(2_001, friend)).await;
    assert!(matches!(over, StakingError::TooMuch { .. }), "{over}");
    let now = stake.act(undelegate(2_000, friend)).await;
    assert_eq!((now.loans.len(), now.account.frozen_energy), (0, Sun::whole(5_000)));

    // Votes, and the reward they alone earn.
    let vote = |votes, to: &str| StakingAction::Vote {
        votes: vec![Vote { address: to.to_owned(), votes }],
    };
    assert!(matches!(stake.refused(vote(5_001, &witness)).await, StakingError::Votes(_)));
    assert!(matches!(stake.refused(vote(0, &witness)).await, StakingError::Votes(_)));
    assert!(matches!(stake.refused(vote(1, "T")).await, StakingError::Address { .. }));
    let twice = vec![Vote { address: witness.clone(), votes: 1 }; 2];
    let twice = stake.refused(StakingAction::Vote { votes: twice }).await;
    assert!(twice.to_string().contains("twice"), "{twice}");
    let now = stake.act(vote(5_000, &witness)).await;
    assert_eq!((now.account.votes[0].1, now.resources.votes_used), (5_000, 5_000));
    stake.pass(DAY_MS).await;
    let reward = stake.position().await.reward;
    assert!(reward > Sun::ZERO);
    let now = stake.act(StakingAction::ClaimReward).await;
    assert!(now.account.balance > Sun::whole(5_000));
    stake.pass(3_600_000).await;
    let early = stake.refused(StakingAction::ClaimReward).await;
    assert!(matches!(early, StakingError::ClaimedToday { .. }), "{early}");

    // Back: 14 days, shown with their dates, cancelled or withdrawn.
    let now = stake.act(unfreeze(1_000)).await;
    let shown = now.shown("w", staking::MINIMUM, 0);
    assert_eq!((shown.maturing.len(), shown.withdrawable_sun), (1, ApiSun(0)));
    let days = (shown.maturing[0].matures_ms - now.head.time).div_ceil(DAY_MS);
    assert_eq!(days, 14);
    assert!(matches!(
        stake.refused(StakingAction::Withdraw).await,
        StakingError::NotMatured { .. }
    ));
    let now = stake.act(StakingAction::CancelUnfreezes).await;
    assert_eq!(now.account.frozen_energy, Sun::whole(5_000));
    let before = stake.act(unfreeze(2_000)).await.account.balance;
    stake.pass(14 * DAY_MS).await;
    assert_eq!(stake.position().await.matured(), Sun::whole(2_000));
    let now = stake.act(StakingAction::Withdraw).await;
    assert!(now.account.balance > before.saturating_add(Sun::whole(1_999)));
    assert!(now.account.unfreezing.is_empty());
}

#[tokio::test]
async fn thirty_two_unfreezes_wait_and_no_more() {
    let sim = Sim::new(23).await;
    sim.fund(key(1).address(), 10_000_000_000, 0).await;
    let nodes = Nodes::new(vec![sim.client("a")]);
    let stake = Stake { sim, nodes };
    stake.act(freeze(5_000)).await;
    for waiting in 0..32 {
        assert_eq!(stake.position().await.account.unfreezing.len(), waiting);
        stake.act(unfreeze(1)).await;
    }
    let full = stake.refused(unfreeze(1)).await;
    assert!(matches!(full, StakingError::Unfreezes { next_ms } if next_ms > 0), "{full}");
    assert_eq!(stake.nodes.all()[0].unfreezes_left(key(1).address()).await.unwrap(), 0);
}

#[tokio::test]
async fn two_of_three_sign_what_they_see_and_one_is_not_enough() {
    let sim = Sim::new(24).await;
    let account = key(1).address();
    sim.fund(account, 900_000_000, 50_000_000).await;
    let nodes = Nodes::new(vec![sim.client("a")]);
    let node = &nodes.all()[0];
    let parties = [11, 12, 13].map(key);
    let keys = parties.clone().map(|key| key.address());
    let share = multisig::share_account(account, &keys, 2).unwrap();
    let done = send(&sim, &nodes, |mut frame| {
        frame.fee_limit = 0;
        Unsigned::build(&share, frame).unwrap()
    });
    let Progress::Confirmed(done) = done.await else { panic!() };
    assert!(done.cost.burned >= Sun::whole(100));
    let shared = node.account(account, true).await.unwrap().unwrap();
    assert!(!shared.is_own_key(), "the key its address came from is out");
    let permission = shared.permission(2).unwrap();

    let pay = call(&sim, abi::transfer(&key(2).address(), 7_000_000));
    let now = sim.node.now_ms();
    let (frame, reference) = sending::frame(&nodes, now, 0, Sun::whole(20), 2).await.unwrap();
    let mut first = Proposal::new(Unsigned::build(&pay, frame).unwrap());
    let words = first.describe();
    assert!(words.contains(&format!("7 of token {} to {}", sim.token(), key(2).address())));
    first.sign(&parties[0]);
    first.sign(&parties[0]);
    let weight = first.weigh(permission).unwrap();
    assert_eq!((weight.weight, weight.threshold, weight.is_enough()), (1, 2, false));
    assert_eq!(weight.missing, keys[1..]);
    let said = first.ask_node(node).await.unwrap();
    assert_eq!((said.weight, said.signed), (1, vec![keys[0]]));
    assert!(said.missing.unwrap().contains("NOT_ENOUGH"));
    let early = Sending::new(&first.unsigned, first.signatures(), reference);
    assert!(early.broadcast(&nodes).await.is_err(), "one is not enough");

    // The second party gets it as text, sees the same, signs, and sends it back.
    let mut second = Proposal::from_text(&first.to_text()).unwrap();
    assert_eq!(second.describe(), words);
    assert!(first.to_qr().unwrap().lines().count() > 20);
    second.sign(&parties[2]);
    let mut stranger = second.clone();
    stranger.sign(&key(99));
    assert!(matches!(stranger.weigh(permission), Err(MultisigError::Stranger(..))));
    first.merge(&second).unwrap();
    assert!(first.weigh(permission).unwrap().is_enough());
    assert_eq!(first.ask_node(node).await.unwrap().missing, None);
    let sending = Sending::new(&first.unsigned, first.signatures(), reference);
    sending.broadcast(&nodes).await.unwrap();
    sim.mine(SOLID_AFTER + 1);
    let Progress::Confirmed(paid) = sending.progress(&nodes).await.unwrap() else { panic!() };
    assert_eq!(paid.receipt.transfers[0].amount, Usdt::whole(7));
    let estimate =
        cost::transfer(node, account, sim.token(), key(2).address(), Usdt::whole(7), 2, now)
            .await
            .unwrap();
    assert_eq!((estimate.need.bandwidth, estimate.fees), (414, Sun::whole(1)));
    assert!(paid.cost.burned >= Sun::whole(1), "two signatures cost 1 TRX");
}

#[test]
fn proposals_that_were_cut_altered_or_mixed_up_are_refused() {
    let frame = Frame {
        block: RefBlock { bytes: [1; 2], hash: [2; 8] },
        timestamp: 1_000,
        expiration: 61_000,
        fee_limit: 0,
        memo: Vec::new(),
        permission_id: 2,
    };
    let contract = |amount| tron_protobuf::TransferContract {
        owner_address: key(1).address().to_bytes().to_vec(),
        to_address: key(2).address().to_bytes().to_vec(),
        amount,
    };
    let of = |amount| Proposal::new(Unsigned::build(&contract(amount), frame.clone()).unwrap());
    let mut proposal = of(5_000_000);
    proposal.sign(&key(11));
    let text = proposal.to_text();
    assert_eq!(Proposal::from_text(&format!(" {text}\n")).unwrap(), proposal);
    assert!(proposal.describe().contains("5 TRX to "));
    for at in [0, 5, 12, 80, text.len() - 1] {
        let mut altered = text.clone().into_bytes();
        altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(Proposal::from_text(&altered).is_err(), "{at}");
        assert!(Proposal::from_text(&text[..at]).is_err(), "{at}");
    }
    assert_eq!(proposal.merge(&of(6_000_000)), Err(MultisigError::Other));
    assert!(matches!(proposal.add(&[1; 64]), Err(MultisigError::Signature(_))));
    let long = format!("{text}{}", "0".repeat(4_000));
    assert_eq!(Proposal::from_text(&long), Err(MultisigError::Form));
    let keys = [11, 12].map(|n| key(n).address());
    assert!(multisig::share_account(keys[0], &keys, 3).is_err());
    assert!(multisig::share_account(keys[0], &[keys[0], keys[0]], 2).is_err());
}
