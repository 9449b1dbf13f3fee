//! libFuzzer's way into transactions.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::transaction(data));
