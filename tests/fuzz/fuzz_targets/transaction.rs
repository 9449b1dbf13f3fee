//! libFuzzer's way into a transaction.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::transaction(data));
