//! libFuzzer's way into the smaller structures of the chain.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::chain_record(data));
