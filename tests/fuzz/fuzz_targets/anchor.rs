//! libFuzzer's way into anchor proofs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::anchor(data));
