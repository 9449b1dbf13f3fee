//! libFuzzer's way into a whole bundle of any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::bundle(data));
