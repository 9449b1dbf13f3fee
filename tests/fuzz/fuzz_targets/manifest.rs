//! libFuzzer's way into the signed manifest.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::manifest(data));
