//! libFuzzer's way into the signed checkpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::checkpoint(data));
