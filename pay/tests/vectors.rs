//! The vectors that tronweb, tronpy and the official protobuf agree on, and that the runner itself
//! notices a wrong answer.

#[path = "../examples/vectors/build.rs"]
mod build;
#[path = "../examples/vectors/run.rs"]
mod run;

use std::collections::HashSet;

use lucid_pay::tron::{Address, key::PrivateKey, mnemonic};
use serde_json::Value;

fn file() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tron.json");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[test]
fn every_vector_passes() {
    let file = file();
    let outcome = run::run(&file);
    assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    let classes = file["vectors"].as_object().unwrap().values();
    assert_eq!(outcome.passed, classes.map(|class| class.as_array().unwrap().len()).sum::<usize>());
}

/// Changes the last digit of an answer of each class; the runner must see it.
#[test]
fn a_changed_answer_fails() {
    for (class, field) in [
        ("a_private_key_to_address", "address_hex"),
        ("d_transactions", "txid"),
        ("d_transactions", "signed_transaction_hex_v27"),
        ("e_message_signing", "digest"),
        ("f_abi_calldata", "calldata"),
        ("g_tip712_typed_data", "digest"),
        ("h_real_network_transactions", "raw_data_hex"),
    ] {
        let mut file = file();
        let answer = &mut file["vectors"][class][0][field];
        let text = answer.as_str().unwrap();
        let (start, last) = text.split_at(text.len() - 1);
        *answer = format!("{start}{}", if last == "0" { "1" } else { "0" }).into();
        assert_eq!(run::run(&file).failures.len(), 1, "{class} {field}");
    }
    let mut file = file();
    for empty in [serde_json::json!([{}]), serde_json::json!([])] {
        file["vectors"]["z_new"] = empty;
        assert_eq!(run::run(&file).failures.len(), 1, "an unknown class is not passed over");
    }
    for nothing in [serde_json::json!({}), serde_json::json!({"vectors": {}})] {
        assert_eq!(run::run(&nothing).failures.len(), 1, "nothing is not all of it");
    }
}

#[test]
fn invalid_inputs_have_errors_of_their_own() {
    let file = file();
    let texts = |class: &str, field: &str| -> Vec<(String, String)> {
        let list = file["vectors"][class].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list.iter().map(|v| (text(&v["label"]), text(&v[field]))).collect()
    };
    let mut errors = HashSet::new();
    for (_, text) in texts("c_invalid_addresses", "address") {
        errors.insert(std::mem::discriminant(&text.parse::<Address>().unwrap_err()));
    }
    assert_eq!(errors.len(), 7, "every kind of error occurs");
    let mut errors = HashSet::new();
    for (_, text) in texts("a_invalid_private_keys", "private_key") {
        let error = PrivateKey::from_hex(&text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&text), "an error repeats a key");
        errors.insert(std::mem::discriminant(&error));
    }
    assert_eq!(errors.len(), 4);
    let mut errors = HashSet::new();
    for (_, text) in texts("b_invalid_mnemonics", "mnemonic") {
        errors.insert(std::mem::discriminant(&mnemonic::seed(&text, "").unwrap_err()));
    }
    assert_eq!(errors.len(), 3);
}

#[test]
fn debug_output_of_a_key_is_its_address() {
    let hex = "3ea8a66703c19f7b17ca0459d8ab9fb9d4b85f95ac8d83c03f3df8899ecc869b";
    let key = PrivateKey::from_hex(hex).unwrap();
    assert_eq!(format!("{key:?}"), "PrivateKey of TZ6qakaUVgEwqwvH8nBBc8cjzUTH7tU9i4");
}
