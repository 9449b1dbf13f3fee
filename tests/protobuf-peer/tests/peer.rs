//! Every message with the same fields, named one by one, encodes to the same bytes in both crates,
//! for 2,000 seeded values each, defaults and negative numbers among them.

use prost::Message;
use tron_protobuf as ours;
use tronz_rpc_types::proto as theirs;

const ROUNDS: u64 = 2_000;

/// SplitMix64. What a macro does not name is set afterwards.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn bytes(&mut self) -> Vec<u8> {
        let length = [0, 21, self.next() % 300][(self.next() % 3) as usize];
        (0..length).map(|_| self.next() as u8).collect()
    }
    fn long(&mut self) -> i64 {
        let value = self.next();
        match value % 5 {
            0 => 0,
            1 => (value % 1_000) as i64,
            2 => i64::MIN,
            3 => i64::MAX,
            _ => value as i64,
        }
    }
    fn int(&mut self) -> i32 {
        (self.next() % 60) as i32
    }
    fn flag(&mut self) -> bool {
        self.next() % 2 == 0
    }
    fn text(&mut self) -> String {
        ["", "owner", "Zahlungen \u{fc}ber drei"][(self.next() % 3) as usize].to_owned()
    }
}

macro_rules! same {
    ($random:ident, $name:ident { $($field:ident: $kind:ident),* $(,)? }) => {
        same!($random, ours::$name, theirs::$name { $($field: $kind),* })
    };
    ($random:ident, $our:path, $their:path { $($field:ident: $kind:ident),* $(,)? }) => {{
        $(let $field = $random.$kind();)*
        // Structs are named by alias: a path in a macro is no constructor.
        type Ours = $our;
        type Theirs = $their;
        let one = Ours { $($field: $field.clone().into(),)* ..Default::default() };
        let two = Theirs { $($field: $field.into(),)* ..Default::default() };
        assert_eq!(one.encode_to_vec(), two.encode_to_vec(), "{one:?}");
        assert_eq!(Ours::decode(&two.encode_to_vec()[..]).unwrap(), one);
        (one, two)
    }};
}

#[test]
fn the_contracts_are_the_same_bytes() {
    let mut random = Random(1);
    for _ in 0..ROUNDS {
        same!(random, TransferContract { owner_address: bytes, to_address: bytes, amount: long });
        same!(random, WithdrawBalanceContract { owner_address: bytes });
        same!(
            random,
            TriggerSmartContract {
                owner_address: bytes,
                contract_address: bytes,
                call_value: long,
                data: bytes,
                call_token_value: long,
                token_id: long,
            }
        );
        same!(
            random,
            FreezeBalanceV2Contract { owner_address: bytes, frozen_balance: long, resource: int }
        );
        same!(
            random,
            UnfreezeBalanceV2Contract {
                owner_address: bytes,
                unfreeze_balance: long,
                resource: int,
            }
        );
        same!(random, WithdrawExpireUnfreezeContract { owner_address: bytes });
        same!(
            random,
            DelegateResourceContract {
                owner_address: bytes,
                resource: int,
                balance: long,
                receiver_address: bytes,
                lock: flag,
                lock_period: long,
            }
        );
        same!(
            random,
            UnDelegateResourceContract {
                owner_address: bytes,
                resource: int,
                balance: long,
                receiver_address: bytes,
            }
        );
        same!(random, CancelAllUnfreezeV2Contract { owner_address: bytes });
    }
}

#[test]
fn votes_and_permissions_are_the_same_bytes() {
    let mut random = Random(2);
    for _ in 0..ROUNDS {
        let vote = same!(
            random,
            ours::Vote,
            theirs::vote_witness_contract::Vote { vote_address: bytes, vote_count: long }
        );
        let (owner, support) = (random.bytes(), random.flag());
        let one = ours::VoteWitnessContract {
            owner_address: owner.clone(),
            votes: vec![vote.0.clone(), vote.0],
            support,
        };
        let two = theirs::VoteWitnessContract {
            owner_address: owner.clone(),
            votes: vec![vote.1.clone(), vote.1],
            support,
        };
        assert_eq!(one.encode_to_vec(), two.encode_to_vec());

        let key = same!(random, Key { address: bytes, weight: long });
        let mut permission = same!(
            random,
            Permission {
                r#type: int,
                id: int,
                permission_name: text,
                threshold: long,
                parent_id: int,
                operations: bytes,
            }
        );
        permission.0.keys = vec![key.0.clone(), key.0];
        permission.1.keys = vec![key.1.clone(), key.1];
        assert_eq!(permission.0.encode_to_vec(), permission.1.encode_to_vec());
        let (mine, other) = permission;
        let witness = random.flag();
        let one = ours::AccountPermissionUpdateContract {
            owner_address: owner.clone(),
            owner: Some(mine.clone()),
            witness: witness.then(|| mine.clone()),
            actives: vec![mine.clone(), mine],
        };
        let two = theirs::AccountPermissionUpdateContract {
            owner_address: owner,
            owner: Some(other.clone()),
            witness: witness.then(|| other.clone()),
            actives: vec![other.clone(), other],
        };
        assert_eq!(one.encode_to_vec(), two.encode_to_vec());
    }
}

#[test]
fn the_envelope_is_the_same_bytes() {
    let mut random = Random(3);
    for _ in 0..ROUNDS {
        let (value, signature) = (random.bytes(), random.bytes());
        let mut contract = same!(
            random,
            ours::Contract,
            theirs::transaction::Contract {
                r#type: int,
                provider: bytes,
                contract_name: bytes,
                permission_id: int,
            }
        );
        let type_url = format!("{}TransferContract", ours::TYPE_URL);
        contract.0.parameter = Some(ours::Any { type_url: type_url.clone(), value: value.clone() });
        let mut foreign = contract.1;
        foreign.parameter = Some(Default::default());
        if let Some(any) = &mut foreign.parameter {
            any.type_url = type_url;
            any.value = value;
        }
        let mut raw = same!(
            random,
            ours::Raw,
            theirs::transaction::Raw {
                ref_block_bytes: bytes,
                ref_block_num: long,
                ref_block_hash: bytes,
                expiration: long,
                data: bytes,
                scripts: bytes,
                timestamp: long,
                fee_limit: long,
            }
        );
        raw.0.contract = vec![contract.0];
        raw.1.contract = vec![foreign];
        let one = ours::Transaction {
            raw_data: Some(raw.0),
            signature: vec![signature.clone(), signature.clone()],
        };
        let two = theirs::Transaction {
            raw_data: Some(raw.1),
            signature: vec![signature.clone().into(), signature.into()],
            ret: Vec::new(),
        };
        assert_eq!(one.encode_to_vec(), two.encode_to_vec());
        assert_eq!(ours::Transaction::decode(&two.encode_to_vec()[..]).unwrap(), one);
    }
}
