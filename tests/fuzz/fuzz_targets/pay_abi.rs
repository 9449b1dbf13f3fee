//! libFuzzer's way into calls of contracts as people write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::pay_abi(data));
