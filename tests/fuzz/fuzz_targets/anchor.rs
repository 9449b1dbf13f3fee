//! libFuzzer's way into the anchor proof.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::anchor(data));
