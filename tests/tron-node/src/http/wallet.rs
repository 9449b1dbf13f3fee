//! The calls under `/wallet/` and `/walletsolidity/`.

use super::answers;
use crate::address::Address;
use crate::hex;
use crate::ledger::account::{BANDWIDTH, ENERGY};
use crate::ledger::{Ledger, Rejected, permission};
use crate::schema::CONTRACTS;
use crate::transaction::{Transaction, int};
use serde_json::{Value, json};

/// Class the node names in the error of a contract that does not hold.
const VALIDATE: &str = "class org.tron.core.exception.ContractValidateException : ";
const INVALID: &str = "class java.lang.IllegalArgumentException : ";

/// Calls that build a transaction, and the contract they build.
const BUILD: &[(&str, &str)] = &[
    ("createtransaction", "TransferContract"),
    ("votewitnessaccount", "VoteWitnessContract"),
    ("withdrawbalance", "WithdrawBalanceContract"),
    ("accountpermissionupdate", "AccountPermissionUpdateContract"),
    ("freezebalancev2", "FreezeBalanceV2Contract"),
    ("unfreezebalancev2", "UnfreezeBalanceV2Contract"),
    ("withdrawexpireunfreeze", "WithdrawExpireUnfreezeContract"),
    ("delegateresource", "DelegateResourceContract"),
    ("undelegateresource", "UnDelegateResourceContract"),
    ("cancelallunfreezev2", "CancelAllUnfreezeV2Contract"),
];

/// One call: its name, where it was asked, what with, and when.
#[derive(Debug)]
pub struct Call<'a> {
    /// Last part of the path.
    pub name: &'a str,
    /// Whether under `/walletsolidity/`.
    pub solid: bool,
    /// The JSON, or the query as JSON.
    pub body: &'a Value,
    /// The node's clock, in milliseconds.
    pub now_ms: u64,
}

/// An error as the node answers it, with status 200.
fn error(text: &str) -> Value {
    json!({"Error": text})
}

fn int_or_text(body: &Value, name: &str) -> i64 {
    match body.get(name) {
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        _ => int(body, name),
    }
}

fn txid(body: &Value) -> Option<[u8; 32]> {
    hex::decode(body.get("value")?.as_str()?)?.try_into().ok()
}

impl Call<'_> {
    fn visible(&self) -> bool {
        match self.body.get("visible") {
            Some(Value::Bool(visible)) => *visible,
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }

    /// An address of the body, in the form `visible` asks for; the node takes no other.
    fn address(&self, name: &str) -> Result<Address, Value> {
        let text = self.body.get(name).and_then(Value::as_str).unwrap_or_default();
        let form = (text.len() == 42) != self.visible();
        let found = Address::parse(text).filter(|_| form);
        found.ok_or_else(|| error(&format!("{INVALID}invalid {name}: {text}")))
    }

    /// The node's text, which is hex unless `visible`.
    fn message(&self, text: &str) -> String {
        if self.visible() { text.to_owned() } else { hex::encode(text.as_bytes()) }
    }

    fn resource(&self) -> usize {
        match self.body.get("type").or_else(|| self.body.get("resource")) {
            Some(Value::String(name)) if name == "ENERGY" => ENERGY,
            Some(value) if value.as_i64() == Some(1) => ENERGY,
            _ => BANDWIDTH,
        }
    }

    /// The answer; `None` if there is no such call.
    pub fn answer(&self, ledger: &mut Ledger) -> Option<Value> {
        if !self.solid && BUILD.iter().any(|(name, _)| *name == self.name) {
            return Some(self.build(ledger));
        }
        if !self.solid
            && let Some(value) = self.change(ledger)
        {
            return Some(value.unwrap_or_else(|error| error));
        }
        let value = self.read(ledger)?;
        Some(value.unwrap_or_else(|error| error))
    }

    fn build(&self, ledger: &Ledger) -> Value {
        let names = BUILD.iter().find(|(name, _)| *name == self.name);
        let contract = names.and_then(|(_, name)| CONTRACTS.iter().find(|c| c.name == *name));
        let Some(contract) = contract else { return error("no such contract") };
        match self.address("owner_address") {
            Ok(_) => {}
            Err(value) => return value,
        }
        let mut head = ledger.reference(self.now_ms);
        head["Permission_id"] = self.body.get("Permission_id").cloned().unwrap_or_default();
        if let Some(memo) = self.body.get("extra_data").and_then(Value::as_str) {
            let data = if self.visible() { hex::encode(memo.as_bytes()) } else { memo.to_owned() };
            head["data"] = json!(data);
        }
        match Transaction::build(contract, self.body, head) {
            Err(text) => error(&format!("{INVALID}{text}")),
            Ok(tx) => match ledger.state(false).check(&tx, self.now_ms) {
                Err(text) => error(&format!("{VALIDATE}{text}")),
                Ok(()) => tx.json(self.visible()),
            },
        }
    }

    fn change(&self, ledger: &mut Ledger) -> Option<Result<Value, Value>> {
        Some(match self.name {
            "broadcasthex" => self.broadcast_hex(ledger),
            "broadcasttransaction" => self.broadcast_json(ledger),
            "triggersmartcontract" => self.trigger(ledger),
            _ => return None,
        })
    }

    fn broadcast_hex(&self, ledger: &mut Ledger) -> Result<Value, Value> {
        let text = self.body.get("transaction").and_then(Value::as_str);
        let null = "class java.lang.NullPointerException : transaction";
        let bytes = hex::decode(text.ok_or_else(|| error(null))?);
        let tx = bytes.and_then(|bytes| Transaction::decode(&bytes));
        let name = "class com.google.protobuf.InvalidProtocolBufferException : ";
        let text = "Protocol message had an invalid tag or wire type.";
        let tx = tx.ok_or_else(|| error(&format!("{name}{text}")))?;
        let json = tx.json(true).to_string();
        let id = hex::encode(&tx.id());
        let answer = match ledger.broadcast(tx, self.now_ms) {
            Ok(()) => json!({"result": true, "code": "SUCCESS", "message": ""}),
            // This call never writes its text as hex.
            Err(Rejected { code, message }) => {
                json!({"result": false, "code": code, "message": message})
            }
        };
        Ok(with(with(answer, "txid", json!(id)), "transaction", json!(json)))
    }

    fn broadcast_json(&self, ledger: &mut Ledger) -> Result<Value, Value> {
        let null = "class java.lang.NullPointerException : raw_data";
        let tx = Transaction::from_json(self.body).ok_or_else(|| error(null))?;
        let id = hex::encode(&tx.id());
        Ok(match ledger.broadcast(tx, self.now_ms) {
            Ok(()) => json!({"result": true, "txid": id}),
            Err(Rejected { code, message }) => {
                json!({"code": code, "txid": id, "message": self.message(&message)})
            }
        })
    }

    /// The call data of `function_selector` and `parameter`, or of `data`.
    fn call_data(&self) -> Result<Vec<u8>, Value> {
        let text = |name: &str| self.body.get(name).and_then(Value::as_str).unwrap_or_default();
        let bad = || error(&format!("{INVALID}parameter is not hex"));
        if text("function_selector").is_empty() {
            return hex::decode(text("data")).ok_or_else(bad);
        }
        let mut data = crate::ledger::token::selector(text("function_selector")).to_vec();
        data.extend(hex::decode(text("parameter")).ok_or_else(bad)?);
        Ok(data)
    }

    fn unsigned_call(&self, ledger: &Ledger) -> Result<Transaction, Value> {
        let owner = self.address("owner_address")?;
        let contract = self.address("contract_address")?;
        let call = json!({
            "owner_address": owner.hex(),
            "contract_address": contract.hex(),
            "call_value": int_or_text(self.body, "call_value"),
            "data": hex::encode(&self.call_data()?),
        });
        let mut head = ledger.reference(self.now_ms);
        head["fee_limit"] = json!(int_or_text(self.body, "fee_limit"));
        head["Permission_id"] = self.body.get("Permission_id").cloned().unwrap_or_default();
        let kind = CONTRACTS.iter().find(|contract| contract.number == 31);
        let kind = kind.ok_or_else(|| error("no such contract"))?;
        Transaction::build(kind, &call, head).map_err(|text| error(&format!("{INVALID}{text}")))
    }

    fn no_contract(&self) -> Value {
        let text = self.message("Contract validate error : Smart contract is not exist.");
        json!({"result": {"code": "CONTRACT_VALIDATE_ERROR", "message": text}})
    }

    fn trigger(&self, ledger: &Ledger) -> Result<Value, Value> {
        let tx = self.unsigned_call(ledger)?;
        let state = ledger.state(false);
        let contract = self.address("contract_address")?;
        if contract != state.token.address && contract != state.router.0 {
            return Ok(self.no_contract());
        }
        let (limit, most) = (int(&tx.head, "fee_limit"), state.params.max_fee_limit);
        if !(0..=most).contains(&limit) {
            let text = format!("feeLimit must be >= 0 and <= {most}");
            let text = self.message(&format!("Contract validate error : {text}"));
            return Ok(json!({"result": {"code": "CONTRACT_VALIDATE_ERROR", "message": text}}));
        }
        Ok(json!({"result": {"result": true}, "transaction": tx.json(self.visible())}))
    }

    fn constant(&self, ledger: &Ledger) -> Result<Value, Value> {
        let tx = self.unsigned_call(ledger)?;
        let contract = self.address("contract_address")?;
        let mut state = ledger.state(self.solid).clone();
        if contract != state.token.address && contract != state.router.0 {
            return Ok(self.no_contract());
        }
        let out = state.view(self.address("owner_address")?, contract, &self.call_data()?);
        let plain = out.energy * 1000 / (1000 + state.params.energy_penalty_milli);
        let mut json = tx.json(self.visible());
        json["ret"] = if out.reverted { json!([{"ret": "FAILED"}]) } else { json!([{}]) };
        let mut result = json!({"result": true});
        if out.reverted {
            result["message"] = json!(self.message("REVERT opcode executed"));
        }
        let answer = answers::without_defaults(json!({
            "energy_used": out.energy,
            "energy_penalty": out.energy - plain,
            "logs": out.logs.iter().map(crate::ledger::token::Log::json).collect::<Vec<_>>(),
        }));
        let answer = with(answer, "constant_result", json!([hex::encode(&out.output)]));
        Ok(with(with(answer, "transaction", json), "result", result))
    }

    fn estimate(&self, ledger: &Ledger) -> Result<Value, Value> {
        if !ledger.state(false).params.estimate_energy {
            let text = "Contract validate error : this node does not support estimate energy";
            let text = self.message(text);
            return Ok(json!({"result": {"code": "CONTRACT_VALIDATE_ERROR", "message": text}}));
        }
        let seen = self.constant(ledger)?;
        if seen["transaction"]["ret"][0]["ret"] == "FAILED" || seen.get("energy_used").is_none() {
            return Ok(json!({"result": seen["result"]}));
        }
        Ok(json!({"result": {"result": true}, "energy_required": seen["energy_used"]}))
    }

    fn block(&self, ledger: &Ledger) -> Value {
        let newest = if self.solid { ledger.solid_block() } else { ledger.head_block() };
        let wanted = self.body.get("id_or_num").or_else(|| self.body.get("num"));
        let wanted = match wanted {
            None | Some(Value::Null) => Some(newest),
            Some(Value::String(text)) if text.len() == 64 => hex::decode(text).and_then(|id| {
                let number = u64::from_be_bytes(id.get(..8)?.try_into().ok()?);
                ledger.block(number).filter(|block| block.id[..] == id[..])
            }),
            Some(Value::String(text)) => text.parse().ok().and_then(|n| ledger.block(n)),
            Some(value) => value.as_u64().and_then(|number| ledger.block(number)),
        };
        let detail = self.name != "getblock"
            || matches!(self.body.get("detail"), Some(Value::Bool(true)))
            || self.body.get("detail").and_then(Value::as_str) == Some("true");
        match wanted.filter(|block| block.number <= newest.number) {
            Some(block) => answers::block(block, self.visible(), detail),
            None => json!({}),
        }
    }

    /// `getsignweight` and `getapprovedlist`.
    fn signatures(&self, ledger: &Ledger) -> Value {
        let Some(tx) = Transaction::from_json(self.body) else {
            return error("class java.lang.NullPointerException : raw_data");
        };
        let wrapped = json!({"result": {"result": true}, "transaction": tx.json(self.visible())});
        let found = permission::weigh(ledger.state(false), &tx);
        let list = |signers: &[Address]| -> Vec<String> {
            signers.iter().map(|signer| signer.text(self.visible())).collect()
        };
        if self.name == "getapprovedlist" {
            let signers: Vec<Address> =
                tx.signatures.iter().filter_map(|signature| tx.signer(signature)).collect();
            return json!({
                "result": {}, "approved_list": list(&signers), "transaction": wrapped,
            });
        }
        match found {
            Ok(weight) => {
                let enough = weight.weight >= weight.permission.threshold;
                let code =
                    if enough { json!({}) } else { json!({"code": "NOT_ENOUGH_PERMISSION"}) };
                answers::without_defaults(json!({
                    "permission": weight.permission.json(self.visible()),
                    "approved_list": list(&weight.signers),
                    "current_weight": weight.weight,
                    "transaction": wrapped,
                }))
                .as_object_mut()
                .map(|object| {
                    object.insert("result".to_owned(), code);
                    Value::Object(object.clone())
                })
                .unwrap_or_default()
            }
            Err(text) => json!({
                "result": {"code": "PERMISSION_ERROR", "message": text}, "transaction": wrapped,
            }),
        }
    }

    fn read(&self, ledger: &Ledger) -> Option<Result<Value, Value>> {
        let state = ledger.state(self.solid);
        let params = &state.params;
        let found = || txid(self.body).and_then(|id| ledger.find(&id, self.solid));
        let prices = |price: i64| json!({"prices": format!("0:{price}")});
        Some(Ok(match self.name {
            "getnowblock" | "getblock" | "getblockbynum" | "getblockbyid" => self.block(ledger),
            "getaccount" => match self.address("address") {
                Ok(address) => answers::account(state, address, self.now_ms, self.visible()),
                Err(value) => value,
            },
            "getaccountresource" => match self.address("address") {
                Ok(address) => match state.accounts.get(&address) {
                    Some(account) => answers::resources(account, params, self.now_ms),
                    None => json!({}),
                },
                Err(value) => value,
            },
            "gettransactionbyid" => match found() {
                Some((_, tx, effect)) => answers::transaction(tx, effect, self.visible()),
                None => json!({}),
            },
            "gettransactioninfobyid" => match found() {
                Some((block, tx, effect)) => answers::receipt(block, tx, effect),
                None => json!({}),
            },
            "gettransactioninfobyblocknum" => {
                let number = u64::try_from(int_or_text(self.body, "num")).ok();
                let newest = if self.solid { ledger.solid_block() } else { ledger.head_block() };
                let block = number
                    .filter(|number| *number <= newest.number)
                    .and_then(|number| ledger.block(number));
                block.map_or(json!([]), |block| {
                    let list = block.transactions.iter();
                    list.map(|(tx, effect)| answers::receipt(block, tx, effect)).collect()
                })
            }
            "gettransactionfrompending" if !self.solid => {
                let id = txid(self.body);
                let mut pool = ledger.pool();
                let tx = pool.find(|tx| Some(tx.id()) == id);
                tx.map_or(json!({}), |tx| tx.json(self.visible()))
            }
            "getpendingsize" if !self.solid => {
                json!({"pendingTransactionSize": ledger.pool().count()})
            }
            "triggerconstantcontract" => return Some(self.constant(ledger)),
            "estimateenergy" => return Some(self.estimate(ledger)),
            "getsignweight" | "getapprovedlist" if !self.solid => self.signatures(ledger),
            "getcandelegatedmaxsize" => match self.address("owner_address") {
                Ok(owner) => {
                    let most = state.can_delegate(owner, self.resource(), self.now_ms);
                    answers::without_defaults(json!({"max_size": answers::whole_trx(most)}))
                }
                Err(value) => value,
            },
            "getavailableunfreezecount" => match self.address("owner_address") {
                Ok(owner) => {
                    let pending = state.account(owner).unfreezing;
                    let open = pending.iter().filter(|(_, _, when)| *when > self.now_ms).count();
                    let left = crate::ledger::state::UNFREEZE_MAX.saturating_sub(open);
                    answers::without_defaults(json!({"count": left}))
                }
                Err(value) => value,
            },
            "getcanwithdrawunfreezeamount" => match self.address("owner_address") {
                Ok(owner) => {
                    let at = match int_or_text(self.body, "timestamp") {
                        0 => self.now_ms,
                        at => u64::try_from(at).unwrap_or(0),
                    };
                    let pending = state.account(owner).unfreezing;
                    let ready = pending.iter().filter(|(_, _, when)| *when <= at);
                    let sum: i64 = ready.map(|(_, amount, _)| amount).sum();
                    answers::without_defaults(json!({"amount": sum}))
                }
                Err(value) => value,
            },
            "getdelegatedresourcev2" => {
                match (self.address("fromAddress"), self.address("toAddress")) {
                    (Ok(from), Ok(to)) => answers::loans(state, from, to, self.visible()),
                    (Err(value), _) | (_, Err(value)) => value,
                }
            }
            "getdelegatedresourceaccountindexv2" => match self.address("value") {
                Ok(of) => answers::loan_index(state, of, self.visible()),
                Err(value) => value,
            },
            "getReward" | "getreward" => match self.address("address") {
                Ok(address) => {
                    json!({"reward": state.account(address).reward(params, self.now_ms)})
                }
                Err(value) => value,
            },
            "getBrokerage" | "getbrokerage" => json!({"brokerage": 20}),
            "listwitnesses" => answers::witnesses(ledger, self.visible()),
            "getchainparameters" if !self.solid => params.json(),
            "getenergyprices" => prices(params.energy_fee),
            "getbandwidthprices" => prices(params.transaction_fee),
            "getmemofee" if !self.solid => prices(params.memo_fee),
            "getcontract" if !self.solid => match self.address("value") {
                Ok(at) if at == state.token.address => json!({
                    "contract_address": at.text(self.visible()), "name": "TetherToken",
                    "origin_address": state.token.owner.text(self.visible()),
                }),
                Ok(_) => json!({}),
                Err(value) => value,
            },
            "getnodeinfo" => json!({
                "block": format!("Num:{},ID:{}", ledger.head_block().number,
                    hex::encode(&ledger.head_block().id)),
                "solidityBlock": format!("Num:{},ID:{}", ledger.solid_block().number,
                    hex::encode(&ledger.solid_block().id)),
                "configNodeInfo": {"codeVersion": "4.8.1", "p2pVersion": "simulated"},
            }),
            _ => return None,
        }))
    }
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}
