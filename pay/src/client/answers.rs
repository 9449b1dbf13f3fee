//! What nodes answer, read from their JSON (facts of the HTTP API: addresses in hexadecimal unless
//! asked to be visible, defaults left out, `{}` for what is not there). Pure.

use serde_json::Value;

use super::read::{self, ReadError, wrong};
use crate::node::{Answer, Block, Receipt, TransferLog};
use crate::payout::record::Used;
use crate::payout::types::TxId;
use crate::tron::{Address, Sun, Usdt, hex};

/// First topic of a TRC-20 `Transfer` log.
const TRANSFER: &str = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// Selector of `Error(string)`, what a contract reverts with.
const REVERT_WITH_TEXT: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// Most entries of any list in an answer.
const LIST_MAX: usize = 10_000;

/// What is staked for, or lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Bytes of transactions.
    Bandwidth,
    /// Work of contracts.
    Energy,
}

/// Staked TRX on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfreezing {
    /// What it gave.
    pub resource: Resource,
    /// How much.
    pub amount: Sun,
    /// From when on it can be withdrawn, in milliseconds since 1970.
    pub matures_ms: u64,
}

/// One signer of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// Address of the key.
    pub address: Address,
    /// Its weight.
    pub weight: u64,
}

/// Who may sign for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionSet {
    /// 0 is the owner's, 1 a witness's, from 2 active ones.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Weight a transaction needs.
    pub threshold: u64,
    /// Bit `i`, least significant first, allows contract type `i`; empty for the owner, who may do
    /// everything.
    pub operations: Vec<u8>,
    /// Who signs.
    pub signers: Vec<Signer>,
}

impl PermissionSet {
    /// Whether it may sign contracts of this type.
    pub fn allows(&self, contract_type: i32) -> bool {
        let Ok(bit) = usize::try_from(contract_type) else { return false };
        let byte = self.operations.get(bit / 8).copied().unwrap_or(0);
        self.operations.is_empty() || byte >> (bit % 8) & 1 == 1
    }

    /// Weight of a key in it; 0 if it has none.
    pub fn weight(&self, key: Address) -> u64 {
        self.signers.iter().find(|signer| signer.address == key).map_or(0, |signer| signer.weight)
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its address.
    pub address: Address,
    /// TRX that is not staked.
    pub balance: Sun,
    /// Staked for bandwidth and not lent.
    pub frozen_bandwidth: Sun,
    /// Staked for energy and not lent.
    pub frozen_energy: Sun,
    /// Stake behind bandwidth that is lent out.
    pub lent_bandwidth: Sun,
    /// Stake behind energy that is lent out.
    pub lent_energy: Sun,
    /// On its way back, soonest first.
    pub unfreezing: Vec<Unfreezing>,
    /// Votes cast: whom for, and how many.
    pub votes: Vec<(Address, u64)>,
    /// When a reward was last withdrawn, in milliseconds since 1970; 0 for never.
    pub withdrawn_ms: u64,
    /// Whether it is a contract.
    pub contract: bool,
    /// The owner permission; `None` for contracts.
    pub owner: Option<PermissionSet>,
    /// The active permissions.
    pub actives: Vec<PermissionSet>,
}

impl Account {
    /// Everything staked, lent out included.
    pub fn staked(&self) -> Sun {
        [self.frozen_bandwidth, self.frozen_energy, self.lent_bandwidth, self.lent_energy]
            .into_iter()
            .sum()
    }

    /// The permission of this id.
    pub fn permission(&self, id: i32) -> Option<&PermissionSet> {
        self.owner.iter().chain(&self.actives).find(|permission| permission.id == id)
    }

    /// Whether the key its address came from can act alone. An account whose owner permission was
    /// changed is no longer that key's.
    pub fn is_own_key(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.weight(self.address) >= owner.threshold)
    }
}

/// Energy and bandwidth of an account, in points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Free bandwidth a day.
    pub free_limit: u64,
    /// Used of it.
    pub free_used: u64,
    /// Bandwidth by stake.
    pub bandwidth_limit: u64,
    /// Used of it.
    pub bandwidth_used: u64,
    /// Energy by stake.
    pub energy_limit: u64,
    /// Used of it.
    pub energy_used: u64,
    /// Votes the stake gives.
    pub votes_limit: u64,
    /// Votes cast.
    pub votes_used: u64,
    /// Energy all stake together gives a day.
    pub total_energy: u64,
    /// TRX staked for energy by everybody.
    pub total_energy_stake: u64,
}

/// Prices and limits of the chain, as it has them now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// One point of energy.
    pub energy_price: Sun,
    /// One point of bandwidth.
    pub bandwidth_price: Sun,
    /// Making an account by sending to it.
    pub new_account_fee: Sun,
    /// The bandwidth of such a transfer where none is staked.
    pub new_account_bandwidth_fee: Sun,
    /// Two or more signatures.
    pub multi_sign_fee: Sun,
    /// A memo.
    pub memo_fee: Sun,
    /// A change of permissions.
    pub permission_fee: Sun,
    /// Highest fee limit of a transaction.
    pub fee_limit_max: Sun,
    /// Days unstaked TRX waits.
    pub unfreeze_days: u64,
}

/// What a constant call shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Energy it takes, the penalty of a busy contract included.
    pub energy: u64,
    /// What it returns.
    pub output: Vec<u8>,
    /// Why it would revert, if it would.
    pub reverted: Option<String>,
}

/// What a transaction cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// All TRX burned.
    pub burned: Sun,
    /// Energy used, of stake and bought.
    pub energy: u64,
    /// TRX burned for energy.
    pub energy_burned: Sun,
    /// Bandwidth of stake or for nothing, in points.
    pub bandwidth: u64,
    /// TRX burned for bandwidth.
    pub bandwidth_burned: Sun,
}

/// The whole answer about a transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// What the payout rules look at.
    pub receipt: Receipt,
    /// Whether it did what it says: for contract calls `SUCCESS`, for others no failure.
    pub worked: bool,
    /// Time of its block, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it cost.
    pub cost: Cost,
}

/// Who has signed a transaction of several parties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignWeight {
    /// Who signed.
    pub signed: Vec<Address>,
    /// Their weight.
    pub weight: u64,
    /// The weight needed; 0 where the node names no permission.
    pub threshold: u64,
    /// `None` when it is enough, otherwise the node's code or words.
    pub missing: Option<String>,
}

/// A loan of stake to another account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loan {
    /// Who uses it.
    pub to: Address,
    /// What is lent.
    pub resource: Resource,
    /// Stake behind it.
    pub amount: Sun,
    /// Not to be taken back before, in milliseconds since 1970.
    pub locked_until_ms: Option<u64>,
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// A block or its header; `None` for `{}`.
///
/// # Errors
/// When it is none, or its id does not carry its height.
pub fn block(value: &Value) -> Result<Option<Block>, ReadError> {
    if is_empty(value) {
        return Ok(None);
    }
    let id = read::hash(value, "blockID")?;
    let header = value.pointer("/block_header/raw_data").ok_or(wrong("block_header", "there"))?;
    let number = read::count(header, "number")?;
    let [a, b, c, d, e, f, g, h, ..] = id;
    if u64::from_be_bytes([a, b, c, d, e, f, g, h]) != number {
        return Err(wrong("blockID", "the id of a block of its number"));
    }
    Ok(Some(Block { number, id, time: read::count(header, "timestamp")? }))
}

fn resource(value: &Value) -> Result<Option<Resource>, ReadError> {
    match value.get("type") {
        None | Some(Value::Null) => Ok(Some(Resource::Bandwidth)),
        Some(Value::String(name)) => Ok(match name.as_str() {
            "BANDWIDTH" => Some(Resource::Bandwidth),
            "ENERGY" => Some(Resource::Energy),
            _ => None,
        }),
        Some(_) => Err(wrong("type", "the name of a resource")),
    }
}

fn permission(value: &Value) -> Result<PermissionSet, ReadError> {
    let signers = read::list(value, "keys")?.iter().take(LIST_MAX).map(|key| {
        Ok(Signer { address: read::address(key, "address")?, weight: read::count(key, "weight")? })
    });
    Ok(PermissionSet {
        id: i32::try_from(read::count(value, "id")?).map_err(|_| wrong("id", "a permission's"))?,
        name: super::http::words(read::text(value, "permission_name")?),
        threshold: read::count(value, "threshold")?,
        operations: read::bytes(value, "operations")?,
        signers: signers.collect::<Result<_, _>>()?,
    })
}

/// `getaccount`; `None` for an address that is no account yet.
///
/// # Errors
/// When it is none, or another's.
pub fn account(value: &Value, asked: Address) -> Result<Option<Account>, ReadError> {
    if is_empty(value) {
        return Ok(None);
    }
    if read::address(value, "address")? != asked {
        return Err(wrong("address", "the one asked for"));
    }
    let mut frozen = [Sun::ZERO; 2];
    for entry in read::list(value, "frozenV2")?.iter().take(LIST_MAX) {
        if let Some(resource) = resource(entry)? {
            let at = &mut frozen[usize::from(resource == Resource::Energy)];
            *at = at.saturating_add(read::sun(entry, "amount")?);
        }
    }
    let mut unfreezing = Vec::new();
    for entry in read::list(value, "unfrozenV2")?.iter().take(LIST_MAX) {
        if let Some(resource) = resource(entry)? {
            unfreezing.push(Unfreezing {
                resource,
                amount: read::sun(entry, "unfreeze_amount")?,
                matures_ms: read::count(entry, "unfreeze_expire_time")?,
            });
        }
    }
    unfreezing.sort_by_key(|entry| entry.matures_ms);
    let votes = read::list(value, "votes")?
        .iter()
        .take(LIST_MAX)
        .map(|vote| Ok((read::address(vote, "vote_address")?, read::count(vote, "vote_count")?)));
    let of_energy = value.get("account_resource").unwrap_or(&Value::Null);
    let actives = read::list(value, "active_permission")?.iter().take(LIST_MAX);
    Ok(Some(Account {
        address: asked,
        balance: read::sun(value, "balance")?,
        frozen_bandwidth: frozen[0],
        frozen_energy: frozen[1],
        lent_bandwidth: read::sun(value, "delegated_frozenV2_balance_for_bandwidth")?,
        lent_energy: read::sun(of_energy, "delegated_frozenV2_balance_for_energy")?,
        unfreezing,
        votes: votes.collect::<Result<_, _>>()?,
        withdrawn_ms: read::count(value, "latest_withdraw_time")?,
        contract: read::text(value, "type")? == "Contract",
        owner: value.get("owner_permission").map(permission).transpose()?,
        actives: actives.map(permission).collect::<Result<_, _>>()?,
    }))
}

/// `getaccountresource`; an account that is not there has nothing.
///
/// # Errors
/// When a number is none.
pub fn resources(value: &Value) -> Result<Resources, ReadError> {
    Ok(Resources {
        free_limit: read::count(value, "freeNetLimit")?,
        free_used: read::count(value, "freeNetUsed")?,
        bandwidth_limit: read::count(value, "NetLimit")?,
        bandwidth_used: read::count(value, "NetUsed")?,
        energy_limit: read::count(value, "EnergyLimit")?,
        energy_used: read::count(value, "EnergyUsed")?,
        votes_limit: read::count(value, "tronPowerLimit")?,
        votes_used: read::count(value, "tronPowerUsed")?,
        total_energy: read::count(value, "TotalEnergyLimit")?,
        total_energy_stake: read::count(value, "TotalEnergyWeight")?,
    })
}

/// `getchainparameters`.
///
/// # Errors
/// When one that is needed is missing: there is no default to fall back to.
pub fn parameters(value: &Value) -> Result<Parameters, ReadError> {
    let list = read::list(value, "chainParameter")?;
    let find = |key: &'static str| {
        let entry = list
            .iter()
            .take(LIST_MAX)
            .find(|entry| entry.get("key").and_then(Value::as_str) == Some(key))
            .ok_or(wrong(key, "among the chain's parameters"))?;
        match entry.get("value") {
            None | Some(Value::Null) => Ok(0),
            Some(value) => value.as_u64().ok_or(wrong(key, "a whole number of 0 or more")),
        }
    };
    let sun = |key| Sun::from_units(find(key)?).map_err(|_| wrong(key, "an amount of sun"));
    Ok(Parameters {
        energy_price: sun("getEnergyFee")?,
        bandwidth_price: sun("getTransactionFee")?,
        new_account_fee: sun("getCreateNewAccountFeeInSystemContract")?,
        new_account_bandwidth_fee: sun("getCreateAccountFee")?,
        multi_sign_fee: sun("getMultiSignFee")?,
        memo_fee: sun("getMemoFee")?,
        permission_fee: sun("getUpdateAccountPermissionFee")?,
        fee_limit_max: sun("getMaxFeeLimit")?,
        unfreeze_days: find("getUnfreezeDelayDays")?,
    })
}

/// The words of a revert: `Error(string)`, or that there are none.
fn revert_words(output: &[u8], message: String) -> String {
    let text = output
        .strip_prefix(&REVERT_WITH_TEXT)
        .and_then(|arguments| {
            let length = arguments.get(56..64)?;
            let length = u64::from_be_bytes(length.try_into().ok()?);
            arguments.get(64..64usize.checked_add(usize::try_from(length).ok()?)?)
        })
        .and_then(|text| std::str::from_utf8(text).ok())
        .map(super::http::words)
        .filter(|text| !text.is_empty());
    match (text, message.is_empty()) {
        (Some(text), _) => text,
        (None, false) => message,
        (None, true) => "the contract reverts and does not say why".to_owned(),
    }
}

/// `triggerconstantcontract`. `Err` inside the answer when the node does not even run the call.
///
/// # Errors
/// When it is none.
pub fn constant(value: &Value) -> Result<Result<Seen, String>, ReadError> {
    let result = value.get("result").ok_or(wrong("result", "there"))?;
    if let Some(code) = result.get("code").and_then(Value::as_str)
        && code != "SUCCESS"
    {
        return Ok(Err(format!("{}: {}", super::http::words(code), read::message(result))));
    }
    let output = match read::list(value, "constant_result")? {
        [] => Vec::new(),
        [first, ..] => {
            let text = first.as_str().ok_or(wrong("constant_result", "hexadecimal"))?;
            read::hex_bytes(text, "constant_result")?
        }
    };
    // The result can be true of a call that reverts; what counts is in the transaction.
    let ret = value.pointer("/transaction/ret/0/ret").and_then(Value::as_str);
    let reverted = ret.is_some_and(|ret| ret != "SUCESS" && ret != "SUCCESS")
        || result.get("result").and_then(Value::as_bool) != Some(true);
    let reverted = reverted.then(|| revert_words(&output, read::message(result)));
    Ok(Ok(Seen { energy: read::count(value, "energy_used")?, output, reverted }))
}

/// One word of output as an amount.
///
/// # Errors
/// When it is no word, or more than a transaction can carry.
pub fn amount_word(output: &[u8]) -> Result<Usdt, ReadError> {
    let word = output.get(..32).ok_or(wrong("constant_result", "a word of 32 bytes"))?;
    let (zeros, low) = word.split_at(24);
    let low = u64::from_be_bytes(low.try_into().unwrap_or_default());
    let fits = zeros.iter().all(|byte| *byte == 0);
    let amount = fits.then(|| Usdt::from_units(low).ok()).flatten();
    amount.ok_or(wrong("constant_result", "an amount a transaction can carry"))
}

fn topic_address(topic: &Value) -> Option<Address> {
    let bytes = hex::decode(topic.as_str()?).ok()?;
    let (zeros, evm) = <&[u8; 32]>::try_from(bytes.as_slice()).ok()?.split_at(12);
    let evm: [u8; 20] = evm.try_into().ok()?;
    zeros.iter().all(|byte| *byte == 0).then(|| Address::from_evm(evm))
}

fn transfer_log(log: &Value) -> Result<Option<TransferLog>, ReadError> {
    let topics = read::list(log, "topics")?;
    // Tokens that are not exchangeable have a fourth topic and no amount.
    let [first, from, to] = topics else { return Ok(None) };
    if first.as_str() != Some(TRANSFER) {
        return Ok(None);
    }
    // A log names its contract by 20 bytes, without 0x41, and some proxies by 21.
    let token = read::bytes(log, "address")?;
    let token = match <[u8; 20]>::try_from(token.as_slice()) {
        Ok(evm) => Some(Address::from_evm(evm)),
        Err(_) => Address::from_bytes(&token).ok(),
    };
    let data = read::bytes(log, "data")?;
    let parts = (token, topic_address(from), topic_address(to));
    let (Some(token), Some(from), Some(to)) = parts else {
        return Err(wrong("log", "a Transfer of a token"));
    };
    if data.len() != 32 {
        return Err(wrong("log", "a Transfer of a token"));
    }
    // More than any transaction carries belongs to another token and equals no amount of ours.
    let amount = amount_word(&data).unwrap_or(Usdt::MAX);
    Ok(Some(TransferLog { token, from, to, amount }))
}

/// `gettransactioninfobyid`; `None` for `{}`. Whose it is, the caller compares.
///
/// # Errors
/// When it is none.
pub fn executed(value: &Value) -> Result<Option<Executed>, ReadError> {
    if is_empty(value) {
        return Ok(None);
    }
    let receipt = value.get("receipt").unwrap_or(&Value::Null);
    let top = read::text(value, "result")?;
    let inner = read::text(receipt, "result")?;
    // On success the result at the top is absent; only contract calls have one inside.
    let result =
        if !top.is_empty() && top != "SUCCESS" && inner == "SUCCESS" { top } else { inner };
    let mut transfers = Vec::new();
    for log in read::list(value, "log")?.iter().take(LIST_MAX) {
        transfers.extend(transfer_log(log)?);
    }
    let burned = read::sun(value, "fee")?;
    let worked = (top.is_empty() || top == "SUCCESS") && matches!(inner, "" | "SUCCESS");
    let cost = Cost {
        burned,
        energy: read::count(receipt, "energy_usage_total")?,
        energy_burned: read::sun(receipt, "energy_fee")?,
        bandwidth: read::count(receipt, "net_usage")?,
        bandwidth_burned: read::sun(receipt, "net_fee")?,
    };
    let receipt_of = Receipt {
        txid: TxId(read::hash(value, "id")?),
        block: read::count(value, "blockNumber")?,
        success: result == "SUCCESS",
        result: super::http::words(if result.is_empty() { top } else { result }),
        worked,
        burned_sun: burned.units(),
        used: Used {
            energy: cost.energy,
            energy_sun: cost.energy_burned.units(),
            bandwidth: cost.bandwidth,
            bandwidth_sun: cost.bandwidth_burned.units(),
        },
        transfers,
    };
    Ok(Some(Executed {
        receipt: receipt_of,
        worked,
        time_ms: read::count(value, "blockTimeStamp")?,
        cost,
    }))
}

/// `broadcasthex`, for the transaction `txid`.
pub fn broadcast(value: &Value, txid: &[u8; 32]) -> Answer {
    let code = match value.get("code") {
        Some(Value::String(name)) => super::http::words(name),
        Some(Value::Number(number)) => code_name(number.as_i64()).to_owned(),
        _ => String::new(),
    };
    let accepted = value.get("result").and_then(Value::as_bool) == Some(true);
    if let Some(named) = value.get("txid").and_then(Value::as_str)
        && !named.is_empty()
        && named != hex::encode(txid)
    {
        return Answer::Unclear("the node speaks of another transaction".to_owned());
    }
    let said = match read::message(value) {
        text if text.is_empty() => code.clone(),
        text => format!("{code}: {text}"),
    };
    match code.as_str() {
        "SUCCESS" | "" if accepted => Answer::Accepted,
        "DUP_TRANSACTION_ERROR" => Answer::Duplicate,
        "SIGERROR"
        | "CONTRACT_VALIDATE_ERROR"
        | "CONTRACT_EXE_ERROR"
        | "BANDWITH_ERROR"
        | "TAPOS_ERROR"
        | "TOO_BIG_TRANSACTION_ERROR"
        | "TRANSACTION_EXPIRATION_ERROR" => Answer::Refused(said),
        "" => Answer::Unclear("the node names no code".to_owned()),
        // SERVER_BUSY, NO_CONNECTION, NOT_ENOUGH_EFFECTIVE_CONNECTION, BLOCK_UNSOLIDIFIED,
        // OTHER_ERROR and what is not known yet: the local pool may have it all the same.
        _ => Answer::Unclear(said),
    }
}

fn code_name(code: Option<i64>) -> &'static str {
    match code {
        Some(0) => "SUCCESS",
        Some(1) => "SIGERROR",
        Some(2) => "CONTRACT_VALIDATE_ERROR",
        Some(3) => "CONTRACT_EXE_ERROR",
        Some(4) => "BANDWITH_ERROR",
        Some(5) => "DUP_TRANSACTION_ERROR",
        Some(6) => "TAPOS_ERROR",
        Some(7) => "TOO_BIG_TRANSACTION_ERROR",
        Some(8) => "TRANSACTION_EXPIRATION_ERROR",
        Some(9) => "SERVER_BUSY",
        Some(10) => "NO_CONNECTION",
        Some(11) => "NOT_ENOUGH_EFFECTIVE_CONNECTION",
        Some(12) => "BLOCK_UNSOLIDIFIED",
        _ => "OTHER_ERROR",
    }
}

/// `getsignweight`.
///
/// # Errors
/// When it is none.
pub fn sign_weight(value: &Value) -> Result<SignWeight, ReadError> {
    let signed = read::list(value, "approved_list")?.iter().take(LIST_MAX).map(|entry| {
        let address = entry.as_str().and_then(read::address_of);
        address.ok_or(wrong("approved_list", "a list of addresses"))
    });
    let permission = value.get("permission").map(permission).transpose()?;
    let result = value.get("result").unwrap_or(&Value::Null);
    let code = super::http::words(read::text(result, "code")?);
    let missing = match (code.as_str(), read::message(result)) {
        ("" | "ENOUGH_PERMISSION", _) => None,
        (_, text) if text.is_empty() => Some(code),
        (_, text) => Some(format!("{code}: {text}")),
    };
    Ok(SignWeight {
        signed: signed.collect::<Result<_, _>>()?,
        weight: read::count(value, "current_weight")?,
        threshold: permission.map_or(0, |permission| permission.threshold),
        missing,
    })
}

/// `getdelegatedresourcev2`: the loans to one account.
///
/// # Errors
/// When it is none.
pub fn loans(value: &Value) -> Result<Vec<Loan>, ReadError> {
    let mut loans = Vec::new();
    for entry in read::list(value, "delegatedResource")?.iter().take(LIST_MAX) {
        let to = read::address(entry, "to")?;
        let mut add = |resource, amount: Sun, until: u64| {
            if amount > Sun::ZERO {
                let locked_until_ms = Some(until).filter(|until| *until > 0);
                loans.push(Loan { to, resource, amount, locked_until_ms });
            }
        };
        add(
            Resource::Bandwidth,
            read::sun(entry, "frozen_balance_for_bandwidth")?,
            read::count(entry, "expire_time_for_bandwidth")?,
        );
        add(
            Resource::Energy,
            read::sun(entry, "frozen_balance_for_energy")?,
            read::count(entry, "expire_time_for_energy")?,
        );
    }
    Ok(loans)
}
