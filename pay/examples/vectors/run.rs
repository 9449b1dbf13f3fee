//! Every class of the vectors: computes the answers and compares. A vector is one point.

use lucid_pay::tron::key::PrivateKey;
use lucid_pay::tron::signature::Signature;
use lucid_pay::tron::transaction::{Unsigned, bandwidth};
use lucid_pay::tron::typed_data::{self, Types};
use lucid_pay::tron::{Address, abi, hex, json, message, mnemonic, receipt};
use serde_json::Value;

use crate::build::{self, Failure, say, text};

/// What came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Vectors that passed.
    pub passed: usize,
    /// One line for each that did not.
    pub failures: Vec<String>,
}

type Checked = Result<(), Failure>;

/// Runs all classes of a file.
pub fn run(file: &Value) -> Outcome {
    let mut outcome = Outcome::default();
    let classes = file.get("vectors").and_then(Value::as_object);
    let Some(classes) = classes.filter(|classes| !classes.is_empty()) else {
        outcome.failures.push("the file has no vectors".into());
        return outcome;
    };
    for (class, vectors) in classes {
        let check: fn(&Value) -> Checked = match class.as_str() {
            "a_private_key_to_address" => private_key,
            "a_invalid_private_keys" => invalid_private_key,
            "b_bip39_bip44" => words,
            "b_invalid_mnemonics" => invalid_words,
            "c_invalid_addresses" | "c_valid_controls" => any_address,
            "d_transactions" => transaction,
            "e_message_signing" => signed_message,
            "e_tampered_or_variant_signatures" => variant_signature,
            "f_abi_calldata" => calldata,
            "f_abi_invalid" => invalid_calldata,
            "g_tip712_typed_data" => typed,
            "h_real_network_transactions" => real_transaction,
            "i_receipt_example_usdt_returns_false" => receipt_example,
            _ => {
                outcome.failures.push(format!("{class}: this class is not known"));
                continue;
            }
        };
        let Some(list) = vectors.as_array() else {
            outcome.failures.push(format!("{class}: no list"));
            continue;
        };
        for (at, vector) in list.iter().enumerate() {
            match check(vector) {
                Ok(()) => outcome.passed += 1,
                Err(why) => {
                    let name = |field| text(vector, field).unwrap_or_default().to_owned();
                    let (id, label) = (name("id"), name("label"));
                    outcome.failures.push(format!("{class}[{at}] {id} {label}: {why}"));
                }
            }
        }
    }
    outcome
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Checked {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?}, not {wanted:?}")) }
}

fn same_text(vector: &Value, field: &str, found: &str) -> Checked {
    same(field, found, text(vector, field)?)
}

fn expectation<T, E: std::fmt::Display>(vector: &Value, result: Result<T, E>) -> Checked {
    match (text(vector, "expected")?, result) {
        ("accept", Ok(_)) | ("reject", Err(_)) => Ok(()),
        ("accept", Err(error)) => Err(format!("refused: {error}")),
        ("reject", Ok(_)) => Err("accepted".into()),
        (other, _) => Err(format!("expected {other:?} is neither accept nor reject")),
    }
}

fn key_of(vector: &Value) -> Result<PrivateKey, Failure> {
    PrivateKey::from_hex(text(vector, "private_key")?).map_err(say("private key"))
}

fn private_key(vector: &Value) -> Checked {
    let key = key_of(vector)?;
    same_text(vector, "public_key_uncompressed", &hex::encode(&key.public_key()))?;
    same_text(vector, "address_hex", &hex::encode(&key.address().to_bytes()))?;
    same_text(vector, "address_base58", &key.address().to_string())
}

fn invalid_private_key(vector: &Value) -> Checked {
    expectation(vector, PrivateKey::from_hex(text(vector, "private_key")?))
}

fn words(vector: &Value) -> Checked {
    let passphrase = text(vector, "passphrase")?;
    let seed = mnemonic::seed(text(vector, "mnemonic")?, passphrase).map_err(say("mnemonic"))?;
    let derived = vector.get("derived").and_then(Value::as_array).ok_or("nothing derived")?;
    for entry in derived {
        let key = PrivateKey::derive(&seed[..], text(entry, "path")?).map_err(say("path"))?;
        same_text(entry, "private_key", &hex::encode(&key.to_bytes()[..]))?;
        same_text(entry, "address", &key.address().to_string())?;
    }
    Ok(())
}

fn invalid_words(vector: &Value) -> Checked {
    expectation(vector, mnemonic::seed(text(vector, "mnemonic")?, ""))
}

fn any_address(vector: &Value) -> Checked {
    expectation(vector, text(vector, "address")?.parse::<Address>())
}

fn transaction(vector: &Value) -> Checked {
    let built = build::transaction(vector)?;
    let owner: Address = text(vector, "owner")?.parse().map_err(say("owner"))?;
    let contract = built.contract().map_err(say("contract"))?;
    let any = contract.parameter.as_ref().ok_or("no parameter")?;
    let wanted = vector.get("contract_type_value").and_then(Value::as_i64);
    same("contract_type_value", Some(i64::from(contract.r#type)), wanted)?;
    same_text(vector, "type_url", &any.type_url)?;
    same_text(vector, "owner_hex", &hex::encode(&owner.to_bytes()))?;
    same_text(vector, "ref_block_bytes", &hex::encode(&built.raw.ref_block_bytes))?;
    same_text(vector, "ref_block_hash", &hex::encode(&built.raw.ref_block_hash))?;
    same_text(vector, "contract_value_hex", &hex::encode(&any.value))?;
    same_text(vector, "raw_data_hex", &hex::encode(&built.bytes))?;
    same_text(vector, "txid", &hex::encode(&built.txid))?;
    if vector.get("calldata").is_some_and(Value::is_string) {
        let call: tron_protobuf::TriggerSmartContract = built.message().map_err(say("call"))?;
        same_text(vector, "calldata", &hex::encode(&call.data))?;
    }
    if let Some(wanted) = vector.get("raw_data_json").filter(|json| !json.is_null()) {
        let shown = json::raw_data(&built).map_err(say("JSON"))?;
        same("raw_data_json", shown.as_ref(), Some(wanted))?;
    }
    let signers = vector.get("signers").and_then(Value::as_array).ok_or("no signers")?;
    let mut signatures = Vec::new();
    for signer in signers {
        let key = key_of(signer)?;
        same_text(signer, "address", &key.address().to_string())?;
        let signature = key.sign(&built.txid);
        let recovered = signature.recover(&built.txid).map_err(say("recovery"))?;
        same("recovered signer", recovered, key.address())?;
        signatures.push(signature);
    }
    let recid: Vec<Vec<u8>> = signatures.iter().map(|s| s.to_bytes().to_vec()).collect();
    let v27: Vec<Vec<u8>> = signatures.iter().map(|s| s.to_bytes_v27().to_vec()).collect();
    let shown = |list: &[Vec<u8>]| Value::from_iter(list.iter().map(|bytes| hex::encode(bytes)));
    same("signatures_recid_0_1", Some(&shown(&recid)), vector.get("signatures_recid_0_1"))?;
    same("signatures_v_27_28", Some(&shown(&v27)), vector.get("signatures_v_27_28"))?;
    let signed = built.signed(recid);
    same_text(vector, "signed_transaction_hex_recid", &hex::encode(&signed))?;
    same_text(vector, "signed_transaction_hex_v27", &hex::encode(&built.signed(v27)))?;
    let points = u64::try_from(bandwidth(&signed)).ok();
    same("bandwidth_points", points, vector.get("bandwidth_points").and_then(Value::as_u64))?;
    let read = Unsigned::from_bytes(&built.bytes).map_err(say("reading back"))?;
    same("what is read back", read, built)
}

fn signed_message(vector: &Value) -> Checked {
    let said = text(vector, "message")?;
    same_text(vector, "message_utf8_hex", &hex::encode(said.as_bytes()))?;
    let (key, digest) = (key_of(vector)?, message::digest(said.as_bytes()));
    same_text(vector, "signer", &key.address().to_string())?;
    same_text(vector, "digest", &hex::encode(&digest))?;
    let signature = key.sign(&digest);
    let with = |bytes: [u8; 65]| format!("0x{}", hex::encode(&bytes));
    same_text(vector, "signature", &with(signature.to_bytes_v27()))?;
    same_text(vector, "signature_recid_form", &with(signature.to_bytes()))?;
    for form in ["signature", "signature_recid_form"] {
        message::verify(said.as_bytes(), text(vector, form)?, key.address())
            .map_err(say("verify"))?;
    }
    Ok(())
}

fn variant_signature(vector: &Value) -> Checked {
    let claimed = text(vector, "claimed_signer")?.parse().map_err(say("claimed signer"))?;
    let said = text(vector, "message")?.as_bytes();
    expectation(vector, message::verify(said, text(vector, "signature")?, claimed))
}

fn arguments(vector: &Value) -> Result<Vec<String>, Failure> {
    let list = vector.get("args").and_then(Value::as_array).ok_or("args is no list")?;
    let argument = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Ok(list.iter().map(argument).collect())
}

fn calldata(vector: &Value) -> Checked {
    let function = text(vector, "function")?;
    let list = arguments(vector)?;
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let data = abi::call(function, &list).map_err(say("call"))?;
    same_text(vector, "selector", &hex::encode(&abi::selector(function)))?;
    same_text(vector, "calldata", &hex::encode(&data))
}

fn invalid_calldata(vector: &Value) -> Checked {
    let list = arguments(vector)?;
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let usual = match list.len() {
        1 => "balanceOf(address)",
        3 => "transferFrom(address,address,uint256)",
        _ => "transfer(address,uint256)",
    };
    let function = text(vector, "function").unwrap_or(usual);
    expectation(vector, abi::call(function, &list))
}

fn typed(vector: &Value) -> Checked {
    let types = Types(vector.get("types").ok_or("no types")?);
    let primary = text(vector, "primary_type")?;
    let value = vector.get("value").ok_or("no value")?;
    let domain = vector.get("domain").ok_or("no domain")?;
    same_text(vector, "encode_type", &types.encode_type(primary).map_err(say("types"))?)?;
    let separator = typed_data::domain_separator(domain).map_err(say("domain"))?;
    same_text(vector, "domain_separator", &hex::encode(&separator))?;
    let hash = types.struct_hash(primary, value).map_err(say("struct"))?;
    same_text(vector, "struct_hash", &hex::encode(&hash))?;
    let digest = typed_data::digest(&separator, &hash);
    same_text(vector, "digest", &hex::encode(&digest))?;
    let signature = key_of(vector)?.sign(&digest).to_bytes_v27();
    same_text(vector, "signature", &format!("0x{}", hex::encode(&signature)))
}

fn real_transaction(vector: &Value) -> Checked {
    let bytes = hex::decode(text(vector, "raw_data_hex")?).map_err(say("raw_data"))?;
    let read = Unsigned::from_bytes(&bytes);
    let identical = vector.get("reencodes_identically").and_then(Value::as_bool);
    same("reencodes_identically", Some(read.is_ok()), identical)?;
    let read = read.map_err(say("transaction"))?;
    let contract = read.contract().map_err(say("contract"))?;
    same_text(vector, "txid", &hex::encode(&read.txid))?;
    let name = tron_protobuf::contract_name(contract.r#type).unwrap_or_default();
    same_text(vector, "contract_type", name)?;
    same_text(vector, "ref_block_bytes", &hex::encode(&read.raw.ref_block_bytes))?;
    same_text(vector, "ref_block_hash", &hex::encode(&read.raw.ref_block_hash))?;
    same_text(vector, "fee_limit", &read.raw.fee_limit.to_string())?;
    let whole = |field: &str| vector.get(field).and_then(Value::as_i64);
    same("permission_id", Some(contract.permission_id.into()), whole("permission_id"))?;
    same("expiration", Some(read.raw.expiration), whole("expiration"))?;
    same("timestamp", Some(read.raw.timestamp), whole("timestamp"))?;
    // The documents do not print the owner of every sample; null says so.
    let Ok(owner) = text(vector, "owner") else { return Ok(()) };
    let found = read.owner().ok_or("no owner is found")?;
    same("owner", found.to_string().as_str(), owner)?;
    let Ok(signature) = text(vector, "signature") else { return Ok(()) };
    let signature = Signature::from_hex(signature).map_err(say("signature"))?;
    let signer = signature.recover(&read.txid).map_err(say("recovery"))?;
    same("signer", signer, found)
}

/// Whether the receipt proves a payout, against the words of `expected`: "successful payout of N
/// units", or anything else for one that is not.
fn receipt_example(vector: &Value) -> Checked {
    let answer = vector.get("receipt").ok_or("no receipt")?;
    let token = text(answer, "contract_address").unwrap_or_default();
    let verdict = token
        .parse()
        .map_err(|error| format!("contract: {error}"))
        .and_then(|token| receipt::transfer(answer, token).map_err(|error| error.to_string()));
    let expected = text(vector, "expected")?;
    let wanted = expected
        .strip_prefix("successful payout of ")
        .and_then(|rest| rest.split_whitespace().next());
    match (wanted, verdict) {
        (Some(wanted), Ok(found)) => {
            same("units", found.amount.units().to_string().as_str(), wanted)
        }
        (Some(_), Err(error)) => Err(format!("no payout is found: {error}")),
        (None, Ok(found)) => Err(format!("a payout of {} is found", found.amount)),
        (None, Err(_)) => Ok(()),
    }
}
