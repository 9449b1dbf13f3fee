//! The ledger against the published vectors and its own rules.

use super::account::{BANDWIDTH, ENERGY, TRX};
use super::*;
use crate::schema::{self, CONTRACTS, RAW};
use serde_json::{Value, json};

const START_MS: u64 = 1_760_000_000_000;
const DAY_MS: u64 = 86_400_000;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/tron.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    all["vectors"].clone()
}

fn rows(vectors: &Value, class: &str) -> Vec<Value> {
    vectors[class].as_array().unwrap().clone()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap()
}

#[test]
fn addresses_are_those_of_the_vectors() {
    let vectors = vectors();
    for row in rows(&vectors, "a_private_key_to_address") {
        let key = SigningKey::from_slice(&crate::hex::decode(text(&row, "private_key")).unwrap());
        let address = Address::of_signer(&key.unwrap());
        assert_eq!(address.to_string(), text(&row, "address_base58"));
        assert_eq!(Address::parse(text(&row, "address_hex")), Some(address));
    }
    for row in rows(&vectors, "c_invalid_addresses") {
        assert_eq!(Address::parse(text(&row, "address")), None, "{row}");
    }
    for row in rows(&vectors, "c_valid_controls") {
        assert!(Address::parse(text(&row, "address")).is_some(), "{row}");
    }
}

/// Bytes written again from what was read of them.
fn again(tx: &Transaction) -> Vec<u8> {
    let mut head = tx.head.clone();
    let value = schema::encode(tx.contract.fields, &tx.call).unwrap();
    head["contract"][0]["parameter"]["value"] = json!(crate::hex::encode(&value));
    schema::encode(RAW, &head).unwrap()
}

#[test]
fn transactions_are_read_identified_and_measured_as_in_the_vectors() {
    for row in rows(&vectors(), "d_transactions") {
        for name in ["signed_transaction_hex_recid", "signed_transaction_hex_v27"] {
            let bytes = crate::hex::decode(text(&row, name)).unwrap();
            let tx = Transaction::decode(&bytes).unwrap();
            assert_eq!(crate::hex::encode(&tx.raw), text(&row, "raw_data_hex"));
            assert_eq!(crate::hex::encode(&again(&tx)), text(&row, "raw_data_hex"));
            assert_eq!(crate::hex::encode(&tx.id()), text(&row, "txid"));
            assert_eq!(tx.encode(), bytes);
            assert_eq!(tx.bandwidth(), row["bandwidth_points"].as_i64().unwrap(), "{row}");
            let signers = row["signers"].as_array().unwrap();
            assert_eq!(tx.signatures.len(), signers.len());
            for (signature, signer) in tx.signatures.iter().zip(signers) {
                let key = crate::hex::decode(text(signer, "private_key")).unwrap();
                let key = SigningKey::from_slice(&key).unwrap();
                assert_eq!(tx.signer(signature), Some(Address::of_signer(&key)));
            }
            let mut own = Transaction::from_raw(tx.raw.clone(), Vec::new()).unwrap();
            for signer in signers {
                let key = crate::hex::decode(text(signer, "private_key")).unwrap();
                own.sign(&SigningKey::from_slice(&key).unwrap());
            }
            let recid = text(&row, "signed_transaction_hex_recid");
            assert_eq!(crate::hex::encode(&own.encode()), recid);
        }
    }
}

#[test]
fn transactions_of_the_real_network_are_written_as_they_were_read() {
    let mut executed = 0;
    for row in rows(&vectors(), "h_real_network_transactions") {
        let raw = crate::hex::decode(text(&row, "raw_data_hex")).unwrap();
        assert_eq!(crate::hex::encode(&sha256(&raw)), text(&row, "txid"));
        let known = CONTRACTS.iter().any(|kind| kind.name == text(&row, "contract_type"));
        let tx = Transaction::from_raw(raw.clone(), Vec::new());
        assert_eq!(tx.is_some(), known, "{row}");
        if let Some(tx) = tx {
            assert_eq!(again(&tx), raw);
            executed += 1;
        }
    }
    assert!(executed >= 5);
}

/// A chain and a clock.
struct Chain {
    ledger: Ledger,
    now_ms: u64,
    stamp: u64,
}

fn key(name: &str) -> SigningKey {
    derived(7, name)
}

fn who(name: &str) -> Address {
    Address::of_signer(&key(name))
}

impl Chain {
    fn new() -> Self {
        let genesis = Genesis {
            seed: 1,
            time_ms: START_MS,
            interval_ms: 3000,
            params: Params::default(),
            router: "payout(address,uint256,bytes32)".to_owned(),
        };
        Self { ledger: Ledger::new(&genesis), now_ms: START_MS, stamp: START_MS }
    }

    fn mine(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.now_ms += 3000;
            self.ledger.make_block(self.now_ms);
        }
    }

    /// A chain where `alice` has so much.
    fn with(sun: i64, micro: u64) -> Self {
        let mut chain = Self::new();
        chain.ledger.give(who("alice"), sun, micro, chain.now_ms).unwrap();
        chain.mine(1);
        chain
    }

    fn unsigned(&mut self, name: &str, mut call: Value) -> Transaction {
        if call.get("owner_address").is_none() {
            call["owner_address"] = json!(who("alice").hex());
        }
        self.stamp += 1;
        let mut head = self.ledger.reference(self.stamp);
        head["fee_limit"] = json!(if name == "TriggerSmartContract" { 100 * TRX } else { 0 });
        let contract = CONTRACTS.iter().find(|contract| contract.name == name).unwrap();
        Transaction::build(contract, &call, head).unwrap()
    }

    fn signed(&mut self, name: &str, call: Value) -> Transaction {
        let mut tx = self.unsigned(name, call);
        tx.sign(&key("alice"));
        tx
    }

    fn send(&mut self, name: &str, call: Value) -> Result<[u8; 32], Rejected> {
        let tx = self.signed(name, call);
        let id = tx.id();
        self.ledger.broadcast(tx, self.now_ms).map(|()| id)
    }

    /// Sends, mines, and gives what it did.
    fn done(&mut self, name: &str, call: Value) -> Effect {
        let id = self.send(name, call).unwrap();
        self.mine(1);
        self.ledger.find(&id, false).unwrap().2.clone()
    }

    fn token_call(&self, to: Address, amount: u64) -> Value {
        let mut data = selector("transfer(address,uint256)").to_vec();
        data.extend([0; 12]);
        data.extend(to.evm());
        data.extend([0; 24]);
        data.extend(amount.to_be_bytes());
        let contract = self.ledger.state(false).token.address.hex();
        json!({"contract_address": contract, "data": crate::hex::encode(&data)})
    }

    #[track_caller]
    fn refused(&mut self, name: &str, call: Value, code: &str, words: &str) {
        let rejected = self.send(name, call).unwrap_err();
        assert_eq!(rejected.code, code, "{rejected}");
        assert!(rejected.message.contains(words), "{rejected}");
    }

    fn alice(&self) -> Account {
        self.ledger.state(false).account(who("alice"))
    }
}

#[test]
fn a_transfer_moves_sun_and_making_an_account_costs_more() {
    let mut chain = Chain::with(100 * TRX, 0);
    let call = json!({"to_address": who("bob").hex(), "amount": TRX});
    let effect = chain.done("TransferContract", call.clone());
    assert_eq!((effect.fee, effect.net_fee), (1_100_000, 100_000));
    assert_eq!(chain.alice().balance, 100 * TRX - TRX - 1_100_000);
    let effect = chain.done("TransferContract", call);
    assert_eq!((effect.fee, effect.net_usage), (0, 267));
    assert_eq!(chain.ledger.state(false).account(who("bob")).balance, 2 * TRX);
}

#[test]
fn usdt_returns_false_logs_the_transfer_and_burns_energy() {
    let mut chain = Chain::with(100 * TRX, 50_000_000);
    let call = chain.token_call(who("bob"), 10_000_000);
    let effect = chain.done("TriggerSmartContract", call.clone());
    assert_eq!(effect.result, Some("SUCCESS"));
    assert_eq!(effect.output, vec![0; 32], "false although it worked");
    assert_eq!(effect.logs.len(), 1);
    let topic = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    assert_eq!(crate::hex::encode(&effect.logs[0].topics[0]), topic);
    assert_eq!((effect.energy_total, effect.energy_fee), (130_285, 13_028_500));
    assert_eq!(effect.net_usage, 345);
    let effect = chain.done("TriggerSmartContract", call);
    assert_eq!(effect.energy_total, 64_285, "bob holds some already");
    let token = &chain.ledger.state(false).token;
    assert_eq!((token.balance(who("alice")), token.balance(who("bob"))), (30_000_000, 20_000_000));
}

#[test]
fn a_call_that_fails_on_the_chain_is_final_and_burns() {
    let mut chain = Chain::with(100 * TRX, 5_000_000);
    let too_much = chain.token_call(who("bob"), 5_000_001);
    let effect = chain.done("TriggerSmartContract", too_much);
    assert_eq!(effect.result, Some("REVERT"));
    assert!(effect.fee > 0 && effect.logs.is_empty());

    let call = chain.token_call(who("bob"), 1);
    let mut tx = chain.unsigned("TriggerSmartContract", call.clone());
    let mut head = tx.head.clone();
    head["fee_limit"] = json!(TRX);
    let trigger = tx.contract;
    let mut whole = call;
    whole["owner_address"] = json!(who("alice").hex());
    tx = Transaction::build(trigger, &whole, head).unwrap();
    tx.sign(&key("alice"));
    let id = tx.id();
    chain.ledger.broadcast(tx, chain.now_ms).unwrap();
    chain.mine(1);
    let effect = &chain.ledger.find(&id, false).unwrap().2;
    assert_eq!((effect.result, effect.energy_fee), (Some("OUT_OF_ENERGY"), TRX));
    let token = &chain.ledger.state(false).token;
    assert_eq!(token.balance(who("alice")), 5_000_000);
}

#[test]
fn a_transaction_is_taken_once_and_final_after_nineteen_blocks() {
    let mut chain = Chain::with(100 * TRX, 0);
    let call = json!({"to_address": who("bob").hex(), "amount": 1});
    let tx = chain.signed("TransferContract", call);
    let id = tx.id();
    chain.ledger.broadcast(tx.clone(), chain.now_ms).unwrap();
    let again = chain.ledger.broadcast(tx.clone(), chain.now_ms).unwrap_err();
    assert_eq!(again.code, "DUP_TRANSACTION_ERROR");
    chain.mine(1);
    let again = chain.ledger.broadcast(tx, chain.now_ms).unwrap_err();
    assert_eq!(again.code, "DUP_TRANSACTION_ERROR");
    chain.mine(SOLID_AFTER - 1);
    assert!(chain.ledger.find(&id, false).is_some() && chain.ledger.find(&id, true).is_none());
    chain.mine(1);
    assert!(chain.ledger.find(&id, true).is_some());
    assert_eq!(chain.ledger.state(true).account(who("bob")).balance, 1);
}

#[test]
fn reference_expiry_and_signature_are_checked() {
    let mut chain = Chain::with(100 * TRX, 0);
    let call = json!({"owner_address": who("alice").hex(), "to_address": who("bob").hex(),
                      "amount": 1});
    let mut attempt = |change: &dyn Fn(&mut Value), signer: Option<&str>| {
        let mut head = chain.ledger.reference(chain.now_ms);
        change(&mut head);
        let mut tx = Transaction::build(&CONTRACTS[0], &call, head).unwrap();
        if let Some(name) = signer {
            tx.sign(&key(name));
        }
        chain.ledger.broadcast(tx, chain.now_ms).unwrap_err().code
    };
    let head = START_MS + 3000;
    let at = |time: u64| move |raw: &mut Value| raw["expiration"] = json!(time);
    assert_eq!(attempt(&at(head), Some("alice")), "TRANSACTION_EXPIRATION_ERROR");
    assert_eq!(attempt(&at(head + 2999), Some("alice")), "TRANSACTION_EXPIRATION_ERROR");
    let day = at(head + DAY_MS + 1);
    assert_eq!(attempt(&day, Some("alice")), "TRANSACTION_EXPIRATION_ERROR");
    let reference = |raw: &mut Value| raw["ref_block_hash"] = json!("0000000000000001");
    assert_eq!(attempt(&reference, Some("alice")), "TAPOS_ERROR");
    assert_eq!(attempt(&|_| {}, Some("bob")), "SIGERROR");
    assert_eq!(attempt(&|_| {}, None), "SIGERROR");
}

#[test]
fn contract_validation_speaks_as_the_node() {
    let mut chain = Chain::with(100 * TRX, 0);
    let code = "CONTRACT_VALIDATE_ERROR";
    let pay = |to: &str, amount: i64| json!({"to_address": who(to).hex(), "amount": amount});
    let transfer = "TransferContract";
    chain.refused(transfer, pay("bob", 1_000 * TRX), code, "balance is not sufficient.");
    chain.refused(transfer, pay("alice", 1), code, "Cannot transfer TRX to yourself.");
    chain.refused(transfer, pay("bob", 0), code, "Amount must be greater than 0.");
    chain.refused(transfer, pay("bob", -1), code, "Amount must be greater than 0.");
    let freeze = |amount: i64| json!({"frozen_balance": amount, "resource": "ENERGY"});
    let name = "FreezeBalanceV2Contract";
    chain.refused(name, freeze(TRX - 1), code, "greater than or equal to 1 TRX");
    chain.refused(name, freeze(101 * TRX), code, "less than or equal to accountBalance");
    let unfreeze = json!({"unfreeze_balance": TRX, "resource": "ENERGY"});
    chain.refused("UnfreezeBalanceV2Contract", unfreeze, code, "no frozenBalance(Energy)");
    chain.refused("WithdrawExpireUnfreezeContract", json!({}), code, "no unFreeze balance");
    chain.refused("WithdrawBalanceContract", json!({}), code, "does not have any reward");
    let contract = chain.ledger.state(false).token.address.hex();
    chain.done(name, freeze(10 * TRX));
    let lend = json!({"receiver_address": contract, "balance": TRX, "resource": "ENERGY"});
    chain.refused("DelegateResourceContract", lend, code, "to contract addresses");
    let lend = json!({"receiver_address": who("bob").hex(), "balance": TRX, "resource": "ENERGY"});
    chain.refused("DelegateResourceContract", lend, code, "not exists");
}

#[test]
fn stake_gives_energy_is_lent_and_comes_back_after_fourteen_days() {
    let mut chain = Chain::with(30_000 * TRX, 50_000_000);
    chain.ledger.give(who("bob"), TRX, 0, chain.now_ms).unwrap();
    chain.mine(1);
    let amount = json!({"frozen_balance": 20_000 * TRX, "resource": "ENERGY"});
    chain.done("FreezeBalanceV2Contract", amount);
    let params = Params::default();
    assert_eq!(chain.alice().limit(ENERGY, &params), 183_673);
    let call = chain.token_call(who("bob"), 1);
    let effect = chain.done("TriggerSmartContract", call);
    assert_eq!((effect.energy_usage, effect.energy_fee), (130_285, 0));
    let call = chain.token_call(who("bob"), 1);
    let effect = chain.done("TriggerSmartContract", call);
    assert!(effect.energy_usage > 50_000 && effect.energy_fee > 0, "{effect:?}");

    chain.now_ms += DAY_MS;
    chain.mine(1);
    let lend = json!({"receiver_address": who("bob").hex(), "balance": 5_000 * TRX,
                      "resource": "ENERGY", "lock": true});
    chain.done("DelegateResourceContract", lend.clone());
    let bob = chain.ledger.state(false).account(who("bob"));
    assert_eq!(bob.limit(ENERGY, &params), 45_918);
    let back = json!({"receiver_address": who("bob").hex(), "balance": 5_000 * TRX,
                      "resource": "ENERGY"});
    let (name, code) = ("UnDelegateResourceContract", "CONTRACT_VALIDATE_ERROR");
    chain.refused(name, back.clone(), code, "unlock_balance=0");
    chain.now_ms += 3 * DAY_MS;
    chain.mine(1);
    chain.done(name, back);
    assert_eq!(chain.alice().frozen, [0, 20_000 * TRX]);

    let unfreeze = json!({"unfreeze_balance": 100 * TRX, "resource": "ENERGY"});
    for _ in 0..state::UNFREEZE_MAX {
        chain.done("UnfreezeBalanceV2Contract", unfreeze.clone());
    }
    let words = "unfreezing times is over limit";
    chain.refused("UnfreezeBalanceV2Contract", unfreeze, code, words);
    chain.refused("WithdrawExpireUnfreezeContract", json!({}), code, "no unFreeze balance");
    chain.now_ms += 14 * DAY_MS;
    chain.mine(1);
    let before = chain.alice().balance;
    let effect = chain.done("WithdrawExpireUnfreezeContract", json!({}));
    assert_eq!(effect.given, Some(("withdraw_expire_amount", 3_200 * TRX)));
    assert_eq!(chain.alice().balance, before + 3_200 * TRX);
}

#[test]
fn votes_earn_and_a_reward_is_claimed_once_a_day() {
    let mut chain = Chain::with(2_000 * TRX, 0);
    let freeze = json!({"frozen_balance": 1_000 * TRX});
    chain.done("FreezeBalanceV2Contract", freeze);
    assert_eq!(chain.alice().frozen[BANDWIDTH], 1_000 * TRX);
    let accounts = &chain.ledger.state(false).accounts;
    let witness = accounts.iter().find(|(_, account)| account.witness).unwrap().0.hex();
    let vote = |to: &str, count: i64| json!({"votes": [{"vote_address": to, "vote_count": count}]});
    let (name, code) = ("VoteWitnessContract", "CONTRACT_VALIDATE_ERROR");
    let words = "The total number of votes[1001] is greater than the tronPower[1000000000]";
    chain.refused(name, vote(&witness, 1_001), code, words);
    chain.refused(name, vote(&who("bob").hex(), 1), code, "not exists");
    chain.done(name, vote(&witness, 1_000));
    chain.now_ms += DAY_MS;
    chain.mine(1);
    let effect = chain.done("WithdrawBalanceContract", json!({}));
    let (what, reward) = effect.given.unwrap();
    assert!(what == "withdraw_amount" && (110_000..111_000).contains(&reward), "{reward}");
    chain.refused("WithdrawBalanceContract", json!({}), code, "less than 24 hours");
}

#[test]
fn two_of_three_sign_and_the_owner_alone_no_longer_does() {
    let mut chain = Chain::with(200 * TRX, 0);
    let keys: Vec<Value> = ["alice", "bob", "carol"]
        .iter()
        .map(|name| json!({"address": who(name).hex(), "weight": 1}))
        .collect();
    let operations = format!("02{}", "00".repeat(31));
    let update = json!({
        "owner": {"permission_name": "owner", "threshold": 2, "keys": keys},
        "actives": [{"type": 2, "permission_name": "payout", "threshold": 2,
                     "operations": operations, "keys": keys}],
    });
    let effect = chain.done("AccountPermissionUpdateContract", update);
    assert_eq!(effect.fee, 100 * TRX);
    let call = json!({"to_address": who("dave").hex(), "amount": 1});
    chain.refused("TransferContract", call.clone(), "SIGERROR", "sig error");
    let pay = |chain: &mut Chain, id: i64, names: &[&str]| {
        let mut head = chain.ledger.reference(chain.now_ms);
        head["Permission_id"] = json!(id);
        let mut call = call.clone();
        call["owner_address"] = json!(who("alice").hex());
        let mut tx = Transaction::build(&CONTRACTS[0], &call, head).unwrap();
        names.iter().for_each(|name| tx.sign(&key(name)));
        chain.ledger.broadcast(tx, chain.now_ms)
    };
    let twice = pay(&mut chain, 2, &["bob", "bob"]).unwrap_err();
    assert!(twice.message.contains("has signed twice!"), "{twice}");
    let stranger = pay(&mut chain, 2, &["bob", "dave"]).unwrap_err();
    assert!(stranger.message.contains("not contained of permission"), "{stranger}");
    let missing = pay(&mut chain, 3, &["bob", "carol"]).unwrap_err();
    assert!(missing.message.contains("permission isn't exit"), "{missing}");
    pay(&mut chain, 2, &["bob", "carol"]).unwrap();
    let freeze = json!({"frozen_balance": TRX, "owner_address": who("alice").hex()});
    let mut head = chain.ledger.reference(chain.now_ms);
    head["Permission_id"] = json!(2);
    let kind = CONTRACTS.iter().find(|kind| kind.number == 54).unwrap();
    let mut tx = Transaction::build(kind, &freeze, head).unwrap();
    tx.sign(&key("bob"));
    tx.sign(&key("carol"));
    let denied = chain.ledger.broadcast(tx, chain.now_ms).unwrap_err();
    assert_eq!(denied.message, "Validate signature error: Permission denied");
}

#[test]
fn a_fork_takes_back_what_was_not_final() {
    for lose in [false, true] {
        let mut chain = Chain::with(100 * TRX, 0);
        chain.mine(SOLID_AFTER);
        let call = json!({"to_address": who("bob").hex(), "amount": 1});
        let id = chain.send("TransferContract", call).unwrap();
        chain.mine(2);
        let old = chain.ledger.head_block().id;
        let number = chain.ledger.head_block().number;
        assert_eq!(chain.ledger.fork(2, lose, chain.now_ms + 1), 2);
        assert!(chain.ledger.find(&id, false).is_none());
        assert_eq!(chain.ledger.head_block().number, number + 1);
        assert_ne!(chain.ledger.block(number).unwrap().id, old);
        assert!(!chain.ledger.state(false).accounts.contains_key(&who("bob")));
        chain.mine(1);
        assert_eq!(chain.ledger.find(&id, false).is_some(), !lose);
        // What is final stays, however deep the fork is asked to be.
        let solid = chain.ledger.solid_block().clone();
        assert_eq!(chain.ledger.fork(1_000, lose, chain.now_ms + 2), SOLID_AFTER);
        assert_eq!(chain.ledger.block(solid.number).unwrap().id, solid.id);
    }
}

#[test]
fn the_pool_forgets_after_a_minute_and_an_expired_one_is_never_taken() {
    let mut chain = Chain::with(100 * TRX, 0);
    chain.ledger.hold = true;
    let call = json!({"owner_address": who("alice").hex(), "to_address": who("bob").hex(),
                      "amount": 1});
    let mut head = chain.ledger.reference(chain.now_ms);
    head["expiration"] = json!(chain.now_ms + 600_000);
    let mut tx = Transaction::build(&CONTRACTS[0], &call, head).unwrap();
    tx.sign(&key("alice"));
    chain.ledger.broadcast(tx.clone(), chain.now_ms).unwrap();
    chain.mine(19);
    assert_eq!(chain.ledger.pool().count(), 1);
    chain.mine(1);
    assert_eq!(chain.ledger.pool().count(), 0);
    chain.ledger.broadcast(tx.clone(), chain.now_ms).expect("the same bytes again");
    chain.ledger.drop_pool();
    chain.now_ms += 600_000;
    chain.mine(1);
    let late = chain.ledger.broadcast(tx, chain.now_ms).unwrap_err();
    assert_eq!(late.code, "TRANSACTION_EXPIRATION_ERROR");
}

#[test]
fn the_token_can_take_a_fee_pause_and_list() {
    let mut chain = Chain::with(500 * TRX, 50_000_000);
    chain.ledger.force(|state| state.token.fee_basis_points = 10);
    let call = chain.token_call(who("bob"), 10_000_000);
    let effect = chain.done("TriggerSmartContract", call.clone());
    assert_eq!(effect.logs.len(), 2);
    assert_eq!(chain.ledger.state(false).token.balance(who("bob")), 9_990_000);
    chain.ledger.force(|state| state.token.paused = true);
    let effect = chain.done("TriggerSmartContract", call.clone());
    assert_eq!(effect.result, Some("REVERT"));
    chain.ledger.force(|state| {
        state.token.paused = false;
        state.token.blacklist.insert(who("alice"));
    });
    assert_eq!(chain.done("TriggerSmartContract", call).result, Some("REVERT"));
}

#[test]
fn the_same_seed_makes_the_same_chain() {
    let run = || {
        let mut chain = Chain::with(100 * TRX, 1);
        chain.mine(3);
        chain.ledger.head_block().id
    };
    assert_eq!(run(), run());
}
