//! libFuzzer's way into foreign TRON transactions and the device protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::pay_transaction(data));
