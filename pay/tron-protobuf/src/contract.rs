//! The messages of the contract types Lucid uses. Addresses are 21 bytes, amounts sun.

/// Resource an account stakes for or lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ResourceCode {
    /// Bytes of transactions; the default, hence absent on the wire.
    Bandwidth = 0,
    /// Work of contracts.
    Energy = 1,
    /// Votes.
    TronPower = 2,
}

/// Kind of a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PermissionType {
    /// May do everything.
    Owner = 0,
    /// Makes blocks.
    Witness = 1,
    /// May do what its operations say.
    Active = 2,
}

/// Who may sign, and with what weight together.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Permission {
    /// Kind.
    #[prost(enumeration = "PermissionType", tag = "1")]
    pub r#type: i32,
    /// 0 owner, 1 witness, from 2 active.
    #[prost(int32, tag = "2")]
    pub id: i32,
    /// Name for people.
    #[prost(string, tag = "3")]
    pub permission_name: String,
    /// Sum of weights a transaction needs.
    #[prost(int64, tag = "4")]
    pub threshold: i64,
    /// Always the owner's, 0.
    #[prost(int32, tag = "5")]
    pub parent_id: i32,
    /// 32 bytes: bit `i`, least significant first, allows contract type `i`. Active only.
    #[prost(bytes = "vec", tag = "6")]
    pub operations: Vec<u8>,
    /// At most 5.
    #[prost(message, repeated, tag = "7")]
    pub keys: Vec<Key>,
}

/// One signer of a permission.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Key {
    /// Address of the key.
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    /// Its weight.
    #[prost(int64, tag = "2")]
    pub weight: i64,
}

/// Votes for one super representative.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Vote {
    /// The super representative.
    #[prost(bytes = "vec", tag = "1")]
    pub vote_address: Vec<u8>,
    /// Votes, one for each staked TRX.
    #[prost(int64, tag = "2")]
    pub vote_count: i64,
}

/// Moves TRX.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TransferContract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Receiver.
    #[prost(bytes = "vec", tag = "2")]
    pub to_address: Vec<u8>,
    /// Amount (sun).
    #[prost(int64, tag = "3")]
    pub amount: i64,
}

/// Replaces all votes of the owner.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VoteWitnessContract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// The new votes.
    #[prost(message, repeated, tag = "2")]
    pub votes: Vec<Vote>,
    /// Unused by the network.
    #[prost(bool, tag = "3")]
    pub support: bool,
}

/// Takes the rewards of voting.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WithdrawBalanceContract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
}

/// Calls a contract.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TriggerSmartContract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// The contract.
    #[prost(bytes = "vec", tag = "2")]
    pub contract_address: Vec<u8>,
    /// TRX sent along (sun).
    #[prost(int64, tag = "3")]
    pub call_value: i64,
    /// Selector and arguments.
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
    /// TRC-10 sent along (its smallest unit).
    #[prost(int64, tag = "5")]
    pub call_token_value: i64,
    /// Which TRC-10.
    #[prost(int64, tag = "6")]
    pub token_id: i64,
}

/// Replaces all permissions of an account.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AccountPermissionUpdateContract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Owner permission.
    #[prost(message, optional, tag = "2")]
    pub owner: Option<Permission>,
    /// Witness permission, for super representatives.
    #[prost(message, optional, tag = "3")]
    pub witness: Option<Permission>,
    /// Active permissions, at most 8.
    #[prost(message, repeated, tag = "4")]
    pub actives: Vec<Permission>,
}

/// Stakes TRX.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FreezeBalanceV2Contract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Amount (sun).
    #[prost(int64, tag = "2")]
    pub frozen_balance: i64,
    /// Resource gained.
    #[prost(enumeration = "ResourceCode", tag = "3")]
    pub resource: i32,
}

/// Begins the release of staked TRX.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UnfreezeBalanceV2Contract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Amount (sun).
    #[prost(int64, tag = "2")]
    pub unfreeze_balance: i64,
    /// Resource given up.
    #[prost(enumeration = "ResourceCode", tag = "3")]
    pub resource: i32,
}

/// Takes back released TRX whose waiting time is over.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WithdrawExpireUnfreezeContract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
}

/// Lends a resource.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DelegateResourceContract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Resource lent.
    #[prost(enumeration = "ResourceCode", tag = "2")]
    pub resource: i32,
    /// Stake behind it (sun).
    #[prost(int64, tag = "3")]
    pub balance: i64,
    /// Borrower, an active account.
    #[prost(bytes = "vec", tag = "4")]
    pub receiver_address: Vec<u8>,
    /// Whether it cannot be called back for a while.
    #[prost(bool, tag = "5")]
    pub lock: bool,
    /// How long (blocks of 3 s).
    #[prost(int64, tag = "6")]
    pub lock_period: i64,
}

/// Calls a lent resource back.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UnDelegateResourceContract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Resource lent.
    #[prost(enumeration = "ResourceCode", tag = "2")]
    pub resource: i32,
    /// Stake behind it (sun).
    #[prost(int64, tag = "3")]
    pub balance: i64,
    /// Borrower.
    #[prost(bytes = "vec", tag = "4")]
    pub receiver_address: Vec<u8>,
}

/// Cancels every release that waits.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CancelAllUnfreezeV2Contract {
    /// Account that acts.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
}
