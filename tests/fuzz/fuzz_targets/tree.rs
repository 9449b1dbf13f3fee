//! libFuzzer's way into inclusion and consistency proofs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::tree(data));
