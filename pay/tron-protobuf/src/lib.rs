//! TRON's transaction messages, written by hand from the field numbers of the protocol. Encoding is
//! the node's: fields in the order of their numbers, defaults left out. Nothing else lives here.
#![forbid(unsafe_code)]

mod contract;
mod kind;
mod transaction;

pub use contract::{
    AccountPermissionUpdateContract, CancelAllUnfreezeV2Contract, DelegateResourceContract,
    FreezeBalanceV2Contract, Key, Permission, PermissionType, ResourceCode, TransferContract,
    TriggerSmartContract, UnDelegateResourceContract, UnfreezeBalanceV2Contract, Vote,
    VoteWitnessContract, WithdrawBalanceContract, WithdrawExpireUnfreezeContract,
};
pub use kind::{ContractMessage, contract_name, contract_number};
pub use prost::{DecodeError, Message};
pub use transaction::{Any, Contract, Raw, Transaction};

/// Start of every type address; the name of the message follows.
pub const TYPE_URL: &str = "type.googleapis.com/protocol.";
