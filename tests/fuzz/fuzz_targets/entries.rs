//! libFuzzer's way into a canonical container with entries of any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::entries(data));
