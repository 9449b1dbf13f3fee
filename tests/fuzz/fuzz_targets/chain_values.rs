//! libFuzzer's way into what blocks and proofs are made of.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::chain_values(data));
