//! Numbers and names of the contract types: all the network knows, so that a foreign transaction
//! can be named, and the trait of those that are messages here.

use crate::{
    AccountPermissionUpdateContract, CancelAllUnfreezeV2Contract, DelegateResourceContract,
    FreezeBalanceV2Contract, TransferContract, TriggerSmartContract, UnDelegateResourceContract,
    UnfreezeBalanceV2Contract, VoteWitnessContract, WithdrawBalanceContract,
    WithdrawExpireUnfreezeContract,
};

/// A message that is the parameter of a contract.
pub trait ContractMessage: prost::Message + Default {
    /// Number of the contract type.
    const NUMBER: i32;
    /// Name of the message and of the contract type.
    const NAME: &'static str;
}

macro_rules! kinds {
    ($($number:literal $message:ident)*) => {
        $(impl ContractMessage for $message {
            const NUMBER: i32 = $number;
            const NAME: &'static str = stringify!($message);
        })*
    };
}

kinds! {
    1 TransferContract
    4 VoteWitnessContract
    13 WithdrawBalanceContract
    31 TriggerSmartContract
    46 AccountPermissionUpdateContract
    54 FreezeBalanceV2Contract
    55 UnfreezeBalanceV2Contract
    56 WithdrawExpireUnfreezeContract
    57 DelegateResourceContract
    58 UnDelegateResourceContract
    59 CancelAllUnfreezeV2Contract
}

/// Every contract type of the network.
const NAMES: &[(i32, &str)] = &[
    (0, "AccountCreateContract"),
    (1, "TransferContract"),
    (2, "TransferAssetContract"),
    (3, "VoteAssetContract"),
    (4, "VoteWitnessContract"),
    (5, "WitnessCreateContract"),
    (6, "AssetIssueContract"),
    (8, "WitnessUpdateContract"),
    (9, "ParticipateAssetIssueContract"),
    (10, "AccountUpdateContract"),
    (11, "FreezeBalanceContract"),
    (12, "UnfreezeBalanceContract"),
    (13, "WithdrawBalanceContract"),
    (14, "UnfreezeAssetContract"),
    (15, "UpdateAssetContract"),
    (16, "ProposalCreateContract"),
    (17, "ProposalApproveContract"),
    (18, "ProposalDeleteContract"),
    (19, "SetAccountIdContract"),
    (20, "CustomContract"),
    (30, "CreateSmartContract"),
    (31, "TriggerSmartContract"),
    (32, "GetContract"),
    (33, "UpdateSettingContract"),
    (41, "ExchangeCreateContract"),
    (42, "ExchangeInjectContract"),
    (43, "ExchangeWithdrawContract"),
    (44, "ExchangeTransactionContract"),
    (45, "UpdateEnergyLimitContract"),
    (46, "AccountPermissionUpdateContract"),
    (48, "ClearABIContract"),
    (49, "UpdateBrokerageContract"),
    (51, "ShieldedTransferContract"),
    (52, "MarketSellAssetContract"),
    (53, "MarketCancelOrderContract"),
    (54, "FreezeBalanceV2Contract"),
    (55, "UnfreezeBalanceV2Contract"),
    (56, "WithdrawExpireUnfreezeContract"),
    (57, "DelegateResourceContract"),
    (58, "UnDelegateResourceContract"),
    (59, "CancelAllUnfreezeV2Contract"),
];

/// Name of a contract type, if the network has it.
pub fn contract_name(number: i32) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// Number of a contract type, if the network has it.
pub fn contract_number(name: &str) -> Option<i32> {
    NAMES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}
